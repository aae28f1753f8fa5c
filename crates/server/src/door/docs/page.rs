//! The pages for people: the landing page, the documentation, the error codes, and the frame of all pages. They have one inline
//! style sheet and load nothing.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crm::dialect::DIALECTS;
use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::llms::{described_type, readable_path};
use crm::dialect::openapi::control::{self, TASKS};
use crm::dialect::openapi::people::readable;
use crm::dialect::openapi::{Act, Endpoint, Reference};
use crm::dialect::relm::RELM;
use crm::model::codes::CODES;
use crm::model::entity::{ENTITIES, Entity, Need};

/// The style sheet that is included in every page.
pub const STYLE: &str = include_str!("style.css");

const ICON: &str = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>\
    <rect width='32' height='32' rx='8' fill='%230f766e'/>\
    <path d='M11 8v16M22 8l-9 8 9 8' stroke='white' stroke-width='3.4' stroke-linecap='round' stroke-linejoin='round' fill='none'/></svg>";

/// The documentation, `/docs`.
pub fn docs(base: &str) -> String {
    let sections = [
        ("quickstart", "Quickstart"),
        ("conventions", "Conventions"),
        ("relm", "Relm's dialect"),
        ("endpoints", "Endpoints"),
        ("people", "People"),
        ("filters", "Filters"),
        ("tables", "Tables"),
        ("errors", "Errors"),
    ];
    let body = html! {
        div.columns {
            nav.contents aria-label="On this page" {
                @for (anchor, title) in sections { a href={ "#" (anchor) } { (title) } }
                hr;
                a href="/openapi.json" { "OpenAPI 3.1" }
                a href="/openapi.yaml" { "OpenAPI, Relm" }
                a href="/llms.txt" { "llms.txt" }
                a href="/llms-full.txt" { "llms-full.txt" }
            }
            main {
                h1 { "Documentation" }
                p.lead {
                    "Everything below is also in " a href="/llms-full.txt" { "llms-full.txt" } " for models and in "
                    a href="/openapi.json" { "openapi.json" } " for tools. Give your agent this address and let it read."
                }
                section id="quickstart" {
                    (heading("quickstart", "Quickstart"))
                    p { "No account is needed. The first request gives a key; it is the Bearer token of every other one." }
                    (shell(&quickstart(base)))
                }
                section id="conventions" { (heading("conventions", "Conventions")) (conventions()) }
                section id="relm" { (heading("relm", "Relm's dialect")) (relm(base)) }
                section id="endpoints" { (heading("endpoints", "Endpoints")) (endpoints()) }
                section id="people" { (heading("people", "People")) (people()) }
                section id="filters" {
                    (heading("filters", "Filters"))
                    p { "On " code { "GET /v1/{table}" } ", for every column of a built-in table or of your own. All conditions must hold; what does not fit a column's type is refused with a hint." }
                    (filters(AGENTCRM.reference))
                    p { "A value with a comma in it is written in double quotes. E-mails also filter by " code { "from_contact" } ", "
                        code { "to_contact" } ", " code { "involves_contact" } ", " code { "involves_company" } " and " code { "involves_deal" }
                        "; the activity feed by " code { "since" } "." }
                    (shell(&format!("curl -s \"{base}/v1/deals?stage=qualified&amount_cents_gte=1000000&limit=20\" \\\n  -H \"Authorization: Bearer $KEY\"")))
                    h3 { "With a Relm key" }
                    (filters(RELM.reference))
                    (shell(&format!("curl -g \"{base}/v1/deals?filter[stage]=won&filter[value_cents][gte]=1000000\" \\\n  -H \"Authorization: Bearer $RELM_KEY\"")))
                }
                section id="tables" {
                    (heading("tables", "Tables"))
                    p { "Each record also has " code { "id" } " and " code { "custom" } ", a JSON object of your own keys; most have "
                        code { "created_at" } ", " code { "updated_at" } " and " code { "deleted_at" } ". Relm's names stand beside those of the database where they differ." }
                    (tables())
                }
                section id="errors" {
                    (heading("errors", "Errors"))
                    p { "An error is " code { "{\"error\", \"message\", \"hint\"?, \"request_id\", \"docs_url\"}" }
                        " with a status that fits; with a Relm key the same stands under " code { "error" } ", its code as " code { "code" } ". " code { "docs_url" } " leads to its entry among the " a href="/docs/errors" { "error codes" } "." }
                    (error_table())
                }
            }
        }
    };
    page("Kith documentation", base, body, None).into_string()
}

/// The error codes, `/docs/errors`.
pub fn errors(base: &str) -> String {
    let body = html! {
        main.narrow {
            p.eyebrow { a href="/docs" { "Documentation" } }
            h1 { "Error codes" }
            p.lead { "What " code { "error" } " may say in an answer (with a Relm key " code { "error.code" } "), what it means, and what to do about it." }
            @for code in CODES {
                section.error id=(code.code) {
                    h2 {
                        a.anchor href={ "#" (code.code) } { code { (code.code) } }
                        @for status in code.statuses { " " (status_badge(*status)) }
                    }
                    p { (prose(code.about)) }
                    p.remedy { (prose(code.remedy)) }
                }
            }
        }
    };
    page("Kith error codes", base, body, None).into_string()
}

/// A page of Kith: its head, a body and its foot. A script is inline, because pages load nothing.
pub fn page(title: &str, base: &str, body: Markup, script: Option<&str>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="description" content="A CRM for AI agents: typed REST and raw SQL over a PostgreSQL database of your own.";
                meta name="color-scheme" content="light dark";
                link rel="icon" href=(ICON);
                link rel="canonical" href=(base);
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    a.brand href="/" { span.mark aria-hidden="true" { "K" } "Kith" }
                    nav aria-label="Kith" {
                        a href="/docs" { "Docs" }
                        a href="/docs/errors" { "Errors" }
                        a href="/openapi.json" { "OpenAPI" }
                        a href="/llms.txt" { "llms.txt" }
                        a href="/login" { "Sign in" }
                    }
                }
                (body)
                footer { "Kith " (env!("CARGO_PKG_VERSION")) " at " code { (base) } }
                @if let Some(script) = script { script { (PreEscaped(script)) } }
            }
        }
    }
}

fn quickstart(base: &str) -> String {
    format!(
        "# 1. Create an anonymous workspace (no auth needed)\n\
         KEY=$(curl -sX POST {base}/v1/workspaces | jq -r .data.api_key)\n\
         \n\
         # 2. Create a contact via the typed REST endpoint\n\
         curl -sX POST {base}/v1/contacts \\\n\
         \x20 -H \"Authorization: Bearer $KEY\" \\\n\
         \x20 -H \"Content-Type: application/json\" \\\n\
         \x20 --data '{{\"email\":\"sarah@acme.com\",\"first_name\":\"Sarah\"}}'\n\
         \n\
         # 3. Or drop to SQL for joins / aggregates\n\
         curl -sX POST {base}/v1/sql \\\n\
         \x20 -H \"Authorization: Bearer $KEY\" \\\n\
         \x20 -H \"Content-Type: application/json\" \\\n\
         \x20 --data '{{\"sql\":\"select count(*) from contacts\"}}'"
    )
}

/// Shell lines, with the comments marked.
fn shell(text: &str) -> Markup {
    html! {
        pre tabindex="0" { code {
            @for line in text.lines() {
                @if line.starts_with('#') { span.comment { (line) } } @else { (line) }
                "\n"
            }
        } }
    }
}

fn heading(anchor: &str, title: &str) -> Markup {
    html! { h2 { a.anchor href={ "#" (anchor) } { (title) } } }
}

fn conventions() -> Markup {
    html! {
        ul.plain {
            li { "Requests and answers are JSON. A success is " code { "{\"data\": …, \"_meta\": {…}}" } "." }
            li { "While nobody has claimed the workspace, " code { "_meta" } " has " code { "claim_url" } " and " code { "ttl_expires_at" } "." }
            li { "Unknown fields and parameters are refused, with the nearest known name as a hint." }
            li { "A list has 50 rows a page, 200 at most; send " code { "_meta.next_cursor" } " back as " code { "cursor" } " while " code { "has_more" } " is true." }
            li { code { "Idempotency-Key" } " on a POST makes a retry safe for 24 hours." }
            li { code { "X-Agent" } ", " code { "X-Run-Id" } " and " code { "X-Reason" } " are kept with every activity entry that a request causes." }
            li { "PATCH merges JSON objects one level deep; a key set to null is removed." }
            li { code { "X-RateLimit-Limit" } ", " code { "-Remaining" } " and " code { "-Reset" } " are on every answer; 429 has " code { "Retry-After" } "." }
        }
    }
}

fn endpoints() -> Markup {
    let groups: [(&str, &[Act]); 6] = [
        ("Workspace and SQL", &[Act::SignUp, Act::Sql, Act::Operations, Act::Tables, Act::Schema]),
        ("Records of any table", &[Act::List, Act::Search, Act::SearchAll, Act::Create, Act::Batch, Act::Find]),
        ("Changes", &[Act::Update, Act::Delete, Act::Restore]),
        ("Runs and undo", &[Act::OpenRun, Act::ListRuns, Act::FindRun, Act::RunChanges, Act::FinishRun, Act::Undo]),
        ("Saved lists", &[Act::ListRows, Act::AddMembers, Act::RemoveMember]),
        ("Custom fields, pipelines and stages", &[Act::Stages, Act::CreateStage]),
    ];
    let last = groups.len() - 1;
    let of = |at: usize, acts: &[Act]| -> Vec<&Endpoint> {
        let is_here = |it: &&Endpoint| match it.alias {
            Some(_) => at == last,
            None => acts.contains(&it.act),
        };
        AGENTCRM.reference.endpoints.iter().filter(is_here).collect()
    };
    html! {
        @for (at, (title, acts)) in groups.into_iter().enumerate() {
            h3 { (title) }
            ul.endpoints {
                @for endpoint in of(at, acts) {
                    li {
                        span class={ "method " (endpoint.method.name().to_lowercase()) } { (endpoint.method.name()) }
                        code.path { (readable_path(endpoint)) }
                        p { (prose(endpoint.about)) }
                    }
                }
            }
        }
        h3 { "Webhooks, automations and events" }
        ul.endpoints {
            @for task in TASKS {
                @let method = task.method.name();
                li {
                    span class={ "method " (method.to_lowercase()) } { (method) }
                    code.path { (control::readable_path(task)) }
                    p { (prose(task.about)) }
                }
            }
        }
    }
}

/// The section about requests that need a person's session.
fn people() -> Markup {
    html! {
        p { "A person has an account and sessions. A session comes as " code { "Authorization: Bearer <session_token>" } " or as the cookie "
            code { "kith_session" } " (" code { "__Host-kith_session" } " over TLS). It opens what follows, not the workspace's data: that is what keys are for. The cookie does not speak for pages of other sites. Lists take "
            code { "limit" } " and " code { "cursor" } " like those of records." }
        ul.endpoints {
            @for errand in AGENTCRM.reference.errands {
                @let (method, rest) = (errand.method.name(), readable(errand));
                li {
                    span class={ "method " (method.to_lowercase()) } { (method) }
                    code.path { (rest.trim_start_matches(method).trim_start()) }
                    p { (prose(errand.about)) }
                }
            }
        }
    }
}

/// The section on how Relm's names differ, for callers with a Relm key.
fn relm(base: &str) -> Markup {
    html! {
        p { "A key that begins with " code { "sk_live_" } " or " code { "sk_test_" } " speaks Relm: the same paths on the same data, in other words. \
             A workspace may have keys of both kinds. Its owner makes them with a session by "
            code { "POST /v1/keys" } " with " code { "{\"dialect\": \"relm\"}" } "." }
        ul.plain {
            li { "A record is " code { "{\"id\": \"con_…\", \"object\": \"contact\", …}" } ", a page " code { "{\"object\": \"list\", \"data\", \"has_more\", \"next_cursor\"}" } "." }
            li { "An error is " code { "{\"error\": {\"code\", \"message\", …}}" } ", with the same codes and statuses." }
            li { code { "custom" } " is " code { "metadata" } "; a deal's " code { "name" } ", " code { "amount_cents" } " and " code { "contact_id" } " are "
                code { "title" } ", " code { "value_cents" } " and " code { "primary_contact_id" } "." }
            li { "A delete answers " code { "{\"id\", \"object\", \"deleted\": true}" } "." }
            li { "Records come bare; " code { "?expand=company" } " shows what they refer to." }
            li { code { "Relm-Version" } " is on every answer." }
        }
        (shell(&format!(
            "curl -X POST {base}/v1/contacts \\\n  -A \"relm-client\" \\\n  -H \"Authorization: Bearer $RELM_KEY\" \\\n  -H \"Idempotency-Key: create-ada-1\" \\\n  \
             -H \"Content-Type: application/json\" \\\n  -d '{{\"email\":\"ada@example.com\",\"first_name\":\"Ada\"}}'"
        )))
    }
}

fn filters(reference: &Reference) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th { "Parameter" } th { "Means" } } }
            tbody {
                @for (shape, meaning) in (reference.filter_forms)() {
                    tr { td { code { (shape) } } td { (prose(meaning)) } }
                }
            }
        } }
    }
}

fn tables() -> Markup {
    html! {
        @for entity in ENTITIES {
            details.table id=(entity.table) {
                summary { code { (entity.table) } span { (prose(entity.about)) } }
                div.scroll { table {
                    tbody {
                        @for field in entity.fields {
                            tr {
                                td { code { (field.name) }
                                    @for name in other_names(entity, field.name) { " " code { (name) } }
                                    @if field.need == Need::Required { " " span.required { "required" } } }
                                td.type { (described_type(field.kind)) }
                                td { (prose(field.about)) }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// The names that other dialects use for a column.
fn other_names(entity: &Entity, column: &'static str) -> Vec<&'static str> {
    let names = DIALECTS.iter().map(|dialect| (dialect.reference.wire.column)(entity, column));
    names.filter(|name| *name != column).collect()
}

fn error_table() -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th { "Status" } th { "Code" } th { "Means" } } }
            tbody {
                @for code in CODES {
                    tr {
                        td { @for status in code.statuses { (status_badge(*status)) " " } }
                        td { a href={ "/docs/errors#" (code.code) } { code { (code.code) } } }
                        td { (prose(code.about)) }
                    }
                }
            }
        } }
    }
}

fn status_badge(status: u16) -> Markup {
    let kind = if status >= 500 { "server" } else { "client" };
    html! { span class={ "status " (kind) } { (status) } }
}

/// Text in which backticks mark `code`.
fn prose(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_set_code_and_all_else_is_escaped() {
        assert_eq!(prose("a `b<c>` & d").into_string(), "a <code>b&lt;c&gt;</code> &amp; d");
    }

    #[test]
    fn every_endpoint_is_on_the_page() {
        let text = docs("https://kith.example");
        for endpoint in AGENTCRM.reference.endpoints {
            let path = readable_path(endpoint);
            assert!(text.contains(&format!("<code class=\"path\">{path}</code>")), "{path}");
        }
    }
}
