//! The documentation for people: the guides and the reference, and the error codes. The reference is written from the tables that the
//! code itself reads.

use maud::{Markup, html};

use crm::dialect::DIALECTS;
use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::llms::described_type;
use crm::dialect::openapi::Reference;
use crm::dialect::relm::RELM;
use crm::model::codes::CODES;
use crm::model::entity::{ENTITIES, Entity, Need};

use crate::door::docs::guides;
use crate::door::docs::paths::{Referenced, of_keys, of_people};
use crate::door::pages::parts::icon;
use crate::door::pages::public::{PublicPage, document, plain, samples};
use crate::door::pages::samples as code;

/// The sections of the documentation, by group.
const SECTIONS: &[(&str, &[(&str, &str)])] = &[
    ("Begin", &[("quickstart", "Quickstart"), ("conventions", "Conventions"), ("safety", "Dry runs and undo")]),
    ("Connect", &[("mcp", "MCP: Claude, ChatGPT, Cursor …"), ("psql", "psql"), ("relm", "Relm’s dialect")]),
    (
        "Look up",
        &[
            ("endpoints", "Endpoints"),
            ("people", "People"),
            ("filters", "Filters"),
            ("tables", "Tables"),
            ("errors", "Errors"),
        ],
    ),
];

/// The explorer, and documents for programs.
const FOR_PROGRAMS: &[(&str, &str)] = &[
    ("/docs/reference", "Reference, with samples"),
    ("/docs/api", "API explorer"),
    ("/openapi.json", "OpenAPI 3.1"),
    ("/openapi.yaml", "OpenAPI, Relm"),
    ("/llms.txt", "llms.txt"),
    ("/llms-full.txt", "llms-full.txt"),
];

/// The documentation, `/docs`.
pub fn docs(base: &str) -> String {
    let body = html! {
        div.wrap.docs {
            nav aria-label="Documentation" { (contents()) }
            main.prose #main {
                p.only-narrow { button.btn type="button" popovertarget="contents" { (icon("list")) "Contents" } }
                div.menu #contents popover { (contents()) }
                h1 { "Documentation" }
                p.lead {
                    "Everything below is also in " a href="/llms-full.txt" { "llms-full.txt" } " for models and in "
                    a href="/openapi.json" { "openapi.json" } " for tools. Give your agent this address and let it read."
                }
                (heading("quickstart", "Quickstart"))
                p { "No account is needed. The first request gives a key; it is the Bearer token of every other one." }
                (samples("start", "Quickstart", &code::quickstart(base)))
                p { "The same with a Relm key, which an owner of the workspace makes:" }
                (samples("relm-start", "With a Relm key", &code::relm(base)))
                (heading("conventions", "Conventions"))
                (conventions())
                (guides::safety(base))
                (guides::mcp(base))
                (guides::psql())
                (heading("relm", "Relm’s dialect"))
                (relm(base))
                (heading("endpoints", "Endpoints"))
                (endpoints())
                (heading("people", "People"))
                (people())
                (heading("filters", "Filters"))
                p { "On " code.inline { "GET /v1/{table}" } ", for every column of a built-in table or of your own. All conditions must hold; what does not fit a column's type is refused with a hint." }
                (filters("Filters", AGENTCRM.reference))
                p { "A value with a comma in it is written in double quotes. E-mails also filter by " code.inline { "from_contact" } ", "
                    code.inline { "to_contact" } ", " code.inline { "involves_contact" } ", " code.inline { "involves_company" } " and " code.inline { "involves_deal" }
                    "; the activity feed by " code.inline { "since" } "." }
                (samples("filter", "A filtered list", &code::filters(base)))
                h3 { "With a Relm key" }
                (filters("Filters with a Relm key", RELM.reference))
                (plain(&format!("curl -g \"{base}/v1/deals?filter[stage]=won&filter[value_cents][gte]=1000000\" \\\n  -H \"Authorization: Bearer $RELM_KEY\"")))
                (heading("tables", "Tables"))
                p { "Each record also has " code.inline { "id" } " and " code.inline { "custom" } ", a JSON object of your own keys; most have "
                    code.inline { "created_at" } ", " code.inline { "updated_at" } " and " code.inline { "deleted_at" } ". Relm's names stand beside those of the database where they differ." }
                (tables())
                (heading("errors", "Errors"))
                p { "An error is " code.inline { "{\"error\", \"message\", \"hint\"?, \"request_id\", \"docs_url\"}" }
                    " with a status that fits; with a Relm key the same stands under " code.inline { "error" } ", its code as " code.inline { "code" } ". " code.inline { "docs_url" } " leads to its entry among the " a href="/docs/errors" { "error codes" } "." }
                (error_table())
            }
        }
    };
    document(
        base,
        &PublicPage {
            title: "Documentation",
            description: "How agents and people use Kith: quickstart, MCP, psql, endpoints, filters, tables, errors.",
            nav: "/docs",
            body,
        },
    )
    .into_string()
}

fn contents() -> Markup {
    html! {
        @for (group, sections) in SECTIONS {
            h2 { (group) }
            @for (anchor, title) in *sections { a href={ "#" (anchor) } { (title) } }
        }
        h2 { "For programs" }
        @for (path, title) in FOR_PROGRAMS { a href=(path) { (title) } }
    }
}

/// The error codes, `/docs/errors`.
pub fn errors(base: &str) -> String {
    let body = html! {
        div.wrap.docs {
            nav aria-label="Error codes" {
                h2 { "Error codes" }
                @for code in CODES { a href={ "#" (code.code) } { (code.code) } }
            }
            main.prose #main {
                h1 { "Error codes" }
                p.lead { "What " code.inline { "error" } " may say in an answer (with a Relm key " code.inline { "error.code" } "), what it means, and what to do about it. They belong to the " a href="/docs" { "documentation" } "." }
                @for code in CODES {
                    section.code-entry id=(code.code) {
                        h2 {
                            a href={ "#" (code.code) } { code { (code.code) } }
                            @for status in code.statuses { " " (status_badge(*status)) }
                        }
                        p { (prose(code.about)) }
                        p.soft { (prose(code.remedy)) }
                    }
                }
            }
        }
    };
    document(
        base,
        &PublicPage {
            title: "Error codes",
            description: "Every error that Kith's API returns: its status, what it means and what to do.",
            nav: "/docs/errors",
            body,
        },
    )
    .into_string()
}

fn heading(anchor: &str, title: &str) -> Markup {
    html! { h2 id=(anchor) { a href={ "#" (anchor) } { (title) } } }
}

fn conventions() -> Markup {
    html! {
        ul.bullets {
            li { "Requests and answers are JSON. A success is " code.inline { "{\"data\": …, \"_meta\": {…}}" } "." }
            li { "While nobody has claimed the workspace, " code.inline { "_meta" } " has " code.inline { "claim_url" } " and " code.inline { "ttl_expires_at" } "." }
            li { "Unknown fields and parameters are refused, with the nearest known name as a hint." }
            li { "A list has 50 rows a page, 200 at most; send " code.inline { "_meta.next_cursor" } " back as " code.inline { "cursor" } " while " code.inline { "has_more" } " is true." }
            li { code.inline { "Idempotency-Key" } " on a POST makes a retry safe for 24 hours." }
            li { code.inline { "X-Agent" } ", " code.inline { "X-Run-Id" } " and " code.inline { "X-Reason" } " are kept with every activity entry that a request causes." }
            li { "PATCH merges JSON objects one level deep; a key set to null is removed." }
            li { code.inline { "X-RateLimit-Limit" } ", " code.inline { "-Remaining" } " and " code.inline { "-Reset" } " are on every answer; 429 has " code.inline { "Retry-After" } "." }
        }
    }
}

fn endpoints() -> Markup {
    html! {
        p { "The " a href="/docs/reference" { "reference" } " has a call of each in curl, JavaScript and Python, in both dialects." }
        @for group in of_keys() {
            h3 { (group.title) }
            ul.endpoints { @for path in &group.paths { (row(path)) } }
        }
    }
}

/// A method, a path and what they do.
fn row(path: &Referenced) -> Markup {
    let method = path.method.name();
    html! {
        li {
            span class={ "verb mono " (method.to_lowercase()) } { (method) }
            a href={ "/docs/reference#" (path.anchor()) } { code class="path" { (path.shown) } }
            p.soft { (prose(path.about)) }
        }
    }
}

/// The section about requests that need a person's session.
fn people() -> Markup {
    html! {
        p { "A person has an account and sessions. A session comes as " code.inline { "Authorization: Bearer <session_token>" } " or as the cookie "
            code.inline { "kith_session" } " (" code.inline { "__Host-kith_session" } " over TLS). It opens what follows, not the workspace's data: that is what keys are for. The cookie does not speak for pages of other sites. Lists take "
            code.inline { "limit" } " and " code.inline { "cursor" } " like those of records." }
        ul.endpoints {
            @for path in &of_people().paths { (row(path)) }
        }
    }
}

/// The section on how Relm's names differ, for callers with a Relm key.
fn relm(base: &str) -> Markup {
    html! {
        p { "A key that begins with " code.inline { "sk_live_" } " or " code.inline { "sk_test_" } " speaks Relm: the same paths on the same data, in other words. \
             A workspace may have keys of both kinds. Its owner makes them with a session by "
            code.inline { "POST /v1/keys" } " with " code.inline { "{\"dialect\": \"relm\"}" } "." }
        ul.bullets {
            li { "A record is " code.inline { "{\"id\": \"con_…\", \"object\": \"contact\", …}" } ", a page " code.inline { "{\"object\": \"list\", \"data\", \"has_more\", \"next_cursor\"}" } "." }
            li { "An error is " code.inline { "{\"error\": {\"code\", \"message\", …}}" } ", with the same codes and statuses." }
            li { code.inline { "custom" } " is " code.inline { "metadata" } "; a deal's " code.inline { "name" } ", " code.inline { "amount_cents" } " and " code.inline { "contact_id" } " are "
                code.inline { "title" } ", " code.inline { "value_cents" } " and " code.inline { "primary_contact_id" } "." }
            li { "A delete answers " code.inline { "{\"id\", \"object\", \"deleted\": true}" } "." }
            li { "Records come bare; " code.inline { "?expand=company" } " shows what they refer to." }
            li { code.inline { "Relm-Version" } " is on every answer." }
        }
        (plain(&format!(
            "curl -X POST {base}/v1/contacts \\\n  -A \"relm-client\" \\\n  -H \"Authorization: Bearer $RELM_KEY\" \\\n  -H \"Idempotency-Key: create-ada-1\" \\\n  \
             -H \"Content-Type: application/json\" \\\n  -d '{{\"email\":\"ada@example.com\",\"first_name\":\"Ada\"}}'"
        )))
    }
}

fn filters(name: &str, reference: &Reference) -> Markup {
    html! {
        div.scroller tabindex="0" role="region" aria-label=(name) { table.grid.plain {
            colgroup { col width="260"; col; }
            thead { tr { th scope="col" { "Parameter" } th scope="col" { "Means" } } }
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
                div.scroller tabindex="0" role="region" aria-label={ "Columns of " (entity.table) } { table.grid.plain {
                    colgroup { col width="190"; col width="150"; col; }
                    tbody {
                        @for field in entity.fields {
                            tr {
                                td { code { (field.name) }
                                    @for name in other_names(entity, field.name) { " " code { (name) } }
                                    @if field.need == Need::Required { " " span.chip.wait { "required" } } }
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
        div.scroller tabindex="0" role="region" aria-label="Error codes" { table.grid.plain {
            colgroup { col width="90"; col width="220"; col; }
            thead { tr { th scope="col" { "Status" } th scope="col" { "Code" } th scope="col" { "Means" } } }
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
    html! { span.chip.bad { (status) } }
}

/// Text in which backticks mark `code`.
pub fn prose(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code.inline { (part) } } @else { (part) }
        }
    }
}

#[cfg(test)]
mod tests {
    use crm::dialect::llms::readable_path;

    use super::*;

    #[test]
    fn backticks_set_code_and_all_else_is_escaped() {
        assert_eq!(prose("a `b<c>` & d").into_string(), "a <code class=\"inline\">b&lt;c&gt;</code> &amp; d");
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
