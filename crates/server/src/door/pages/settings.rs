//! The page /settings: the workspace's e-mail, what leaves it, direct connections, connected apps, its plan, and its deletion.

use maud::{Markup, html};
use serde_json::Value;

use crm::model::fault::Fault;
use crm::model::page::PageAsk;

use crate::door::pages::layout::{Page, dialog};
use crate::door::pages::members;
use crate::door::pages::parts::{field, grouped, icon, text, time};
use crate::door::pages::visit::{OwnWorkspace, PageVisit};
use crate::people::apps::grants;
use crate::people::apps::scopes::SCOPES;
use crate::people::context::PersonContext;
use crate::people::workspace::{usage, workspaces};

/// The page.
pub async fn page(visit: &PageVisit<'_>) -> Result<Option<Page>, Fault> {
    let workspace = &visit.place()?.workspace;
    let visitor = visit.session.visitor();
    let context = PersonContext { app: visit.app, visitor: &visitor };
    let ask = PageAsk { limit: members::MOST, ..PageAsk::default() };
    let own = members::rows(visit, &workspaces::list(&context, ask.clone()).await?)?;
    let row = own.into_iter().find(|row| row["id"] == workspace.id.as_str()).unwrap_or_default();
    let integration = visit.find("integrations/email").await?.map(|found| found["data"].clone());
    let mailbox = visit.find("integrations/mailbox").await?.map(|found| found["data"].clone());
    let usage = usage::of(&context, &workspace.id).await?;
    let tables = visit.get("tables").await?;
    let apps = members::rows(visit, &grants::list(&context, &workspace.id, ask.clone()).await?)?;
    let body = html! {
        div.cols {
            (section("general", "General", general(visit, workspace)))
            (section("email", "E-mail", email(visit, integration.as_ref())))
            (section("mailbox", "Mailbox", self::mailbox(visit, mailbox.as_ref())))
            @if let Some(sends) = row["sending"].as_bool() { (section("sending", "Sending", sending(visit, sends))) }
            (section("connection", "Direct connection", connection()))
            (section("apps", "Connected apps", connected(&apps)))
            (section("usage", "Usage and plan", plan(&usage, &tables)))
            @if visit.is_owner() { (section("danger", "Danger zone", danger(&workspace.name, &workspace.id))) }
        }
    };
    Ok(Some(Page { scripts: &["settings.js"], ..Page::new("Settings", "/settings", body) }))
}

fn section(id: &str, title: &str, content: Markup) -> Markup {
    let heading = format!("{id}-heading");
    html! {
        section.sect.c12.setting id=(id) aria-labelledby=(heading) {
            header { h2 id=(heading) { (title) } }
            (content)
        }
    }
}

fn general(visit: &PageVisit<'_>, workspace: &OwnWorkspace) -> Markup {
    html! {
        dl.facts {
            dt { "Name" } dd { (workspace.name) }
            dt { "Id" } dd { code { (workspace.id) } }
            dt { "Your role" } dd { (workspace.role.name()) }
        }
        @if visit.is_owner() {
            p.btns { button.btn type="button" data-open="rename" { (icon("pencil")) "Rename" } }
            (dialog("rename", "Rename", html! {
                form.form data-rename-workspace=(workspace.id) novalidate {
                    (field("rename-name", "Name", "Everybody sees it in the list of workspaces.", html! {
                        input.input #rename-name name="name" value=(workspace.name) maxlength="200" required autocomplete="off" aria-describedby="rename-name-note";
                    }))
                    p.btns {
                        button.btn.main type="submit" { "Save" }
                        button.btn.bare type="button" data-close { "Cancel" }
                    }
                }
            }))
        }
    }
}

/// The integration that sends e-mail. Its key is never shown again.
fn email(visit: &PageVisit<'_>, integration: Option<&Value>) -> Markup {
    let is_configured = integration.is_some_and(|it| it["configured"] == true);
    let from = integration.and_then(|it| it["from_email"].as_str()).unwrap_or_default();
    let is_verified = integration.is_some_and(|it| it["verified"] == true);
    let note = if is_configured {
        "A key is stored, encrypted, and is not shown again. A new one replaces it."
    } else {
        "It begins with re_ and is of your account at Resend. It is stored encrypted and never shown again."
    };
    let url = integration.and_then(|it| it["inbound_url"].as_str());
    let received = match (url, integration.is_some_and(|it| it["receives"] == true)) {
        (_, true) => "Resend brings received e-mail. A new secret replaces the stored one.".to_owned(),
        (Some(url), false) => format!(
            "To receive e-mail, add a webhook at Resend for {url} with the event email.received. Its signing secret begins with whsec_."
        ),
        (None, false) => {
            "To receive e-mail, save the key first. Then this says which webhook to add at Resend.".to_owned()
        }
    };
    html! {
        p.soft { "Agents and automations send e-mail through your own account. Each one is recorded with its contact." }
        @if is_configured {
            p {
                span.chip.calm { (icon("check")) "Sends as " (from) }
                @if !is_verified { " " span.chip.wait { "the provider has not verified this sender yet" } }
            }
        }
        @if visit.may_write() {
            form.form.narrow-form data-email novalidate {
                (field("email-key", "API key", note, html! {
                    input.input #email-key name="api_key" type="password" required autocomplete="off" spellcheck="false" aria-describedby="email-key-note";
                }))
                (field("email-from", "From", "Ada <ada@example.com>, at a domain that the account may send from.", html! {
                    input.input #email-from name="from_email" value=(from) required autocomplete="off" aria-describedby="email-from-note";
                }))
                (field("email-webhook", "Webhook secret", &received, html! {
                    input.input #email-webhook name="webhook_secret" type="password" autocomplete="off" spellcheck="false" aria-describedby="email-webhook-note";
                }))
                p.btns {
                    button.btn.main type="submit" { "Save" }
                    @if is_configured { button.btn type="button" data-disconnect-email { "Disconnect" } }
                }
            }
        } @else if !is_configured { p.soft { "Nothing is set up." } }
    }
}

/// The mailbox that is read. Its password is never shown again.
fn mailbox(visit: &PageVisit<'_>, mailbox: Option<&Value>) -> Markup {
    let shown = |name: &str| mailbox.and_then(|it| it[name].as_str()).unwrap_or_default();
    let is_configured = mailbox.is_some_and(|it| it["configured"] == true);
    let port = mailbox.and_then(|it| it["port"].as_u64()).map(|port| port.to_string()).unwrap_or_default();
    html! {
        p.soft { "Kith reads new e-mail from it by IMAP, and changes nothing in it. Each message is recorded with its contact and logged as an activity." }
        @if is_configured {
            p {
                @match shown("status") {
                    "failing" => { span.chip.wait { "Can't be read" } }
                    "connecting" => { span.chip.wait { "Connecting" } }
                    _ => { span.chip.calm { (icon("check")) "Reads " (shown("folder")) " of " (shown("username")) } }
                }
                @if !shown("last_checked_at").is_empty() { " " span.soft.small { "Last read " (time(shown("last_checked_at"))) } }
            }
            @if !shown("last_error").is_empty() { p role="note" { (shown("last_error")) } }
        }
        @if visit.may_write() {
            form.form.narrow-form data-mailbox novalidate {
                (field("mailbox-host", "IMAP server", "Such as imap.example.com.", html! {
                    input.input #mailbox-host name="host" value=(shown("host")) required autocomplete="off" spellcheck="false" aria-describedby="mailbox-host-note";
                }))
                (field("mailbox-port", "Port", "993 if it is empty.", html! {
                    input.input #mailbox-port name="port" value=(port) inputmode="numeric" autocomplete="off" aria-describedby="mailbox-port-note";
                }))
                (field("mailbox-username", "User name", "Mostly the e-mail address.", html! {
                    input.input #mailbox-username name="username" value=(shown("username")) required autocomplete="off" spellcheck="false" aria-describedby="mailbox-username-note";
                }))
                (field("mailbox-password", "Mailbox password", "An app password, if the provider has them. It is stored encrypted and never shown again.", html! {
                    input.input #mailbox-password name="password" type="password" required autocomplete="off" aria-describedby="mailbox-password-note";
                }))
                (field("mailbox-folder", "Folder", "INBOX if it is empty.", html! {
                    input.input #mailbox-folder name="folder" value=(shown("folder")) autocomplete="off" spellcheck="false" aria-describedby="mailbox-folder-note";
                }))
                p.btns {
                    button.btn.main type="submit" { "Connect mailbox" }
                    @if is_configured { button.btn type="button" data-disconnect-mailbox { "Disconnect mailbox" } }
                }
            }
        } @else if !is_configured { p.soft { "No mailbox is connected." } }
    }
}

/// The switch that stops everything outgoing.
fn sending(visit: &PageVisit<'_>, sends: bool) -> Markup {
    html! {
        p.soft { "Switched off, all e-mail and webhooks wait: nothing leaves until it is switched on again." }
        label.who {
            input.switch type="checkbox" role="switch" data-sending checked[sends] disabled[!visit.is_owner()] autocomplete="off";
            " Send e-mail and webhooks"
        }
    }
}

fn connection() -> Markup {
    html! {
        p.soft {
            "psql, an ORM or a BI tool works on the live data, under the same triggers and with your role. The URL holds a password of \
             its own; a new URL ends the former one."
        }
        p.btns { button.btn type="button" data-connect { (icon("key-round")) "Show a connection URL" } }
        div.form #connection-result hidden {
            p.secret.mono { span.grow #connection-url {} button.btn.bare.mini type="button" data-copy="connection-url" { (icon("copy")) span { "Copy" } } }
            p.soft.small { "It is shown this once. Its changes are signed " code.inline #connection-role {} "." }
        }
    }
}

/// The apps that act in the workspace by OAuth: for an owner all of them, for others their own.
fn connected(apps: &[Value]) -> Markup {
    html! {
        @if apps.is_empty() {
            p.soft { "No app is connected. Give the address of MCP to an app that can hold no key, such as Claude or ChatGPT: it asks you here." }
        } @else {
            table.grid.plain aria-label="Connected apps" {
                thead { tr { th scope="col" { "App" } th scope="col" { "It may" } th scope="col" { "Last used" } th scope="col" { span.sr { "Disconnect" } } } }
                tbody {
                    @for app in apps {
                        @let name = text(&app["name"]);
                        tr {
                            td { b.name { (name) } }
                            td { @for scope in SCOPES.iter().filter(|it| app["scopes"].as_array().is_some_and(|all| all.contains(&it.name.into()))) { div { (scope.words) } } }
                            td { @if let Some(at) = app["last_used_at"].as_str() { (time(at)) } }
                            td.acts { button.btn.mini type="button" data-disconnect-app=(text(&app["id"])) data-name=(name) { "Disconnect" } }
                        }
                    }
                }
            }
        }
    }
}

fn plan(usage: &Value, tables: &Value) -> Markup {
    let rows = tables["data"].as_array().into_iter().flatten();
    let estimated = |kind: fn(&Value) -> bool| {
        let counts = rows.clone().filter(|row| kind(row)).filter_map(|row| row["estimated_rows"].as_u64());
        grouped(counts.sum())
    };
    html! {
        dl.facts {
            dt { "Plan" }
            dd { @match usage["plan"].as_str() { Some(name) => (name), None => "Everything is open; this Kith has no plans" } }
            dt { "Requests this month" }
            dd.num {
                @match (usage["requests"].as_u64(), usage["monthly_requests"].as_u64()) {
                    (Some(used), Some(most)) => { (grouped(used)) " of " (grouped(most)) },
                    _ => "not counted, there is no limit",
                }
            }
            @if usage["associations"] == false { dt { "Associations" } dd { "not in this plan" } }
            dt { "Rows, estimated" }
            dd.num { (estimated(|row| row["kind"] == "builtin")) " in built-in tables, " (estimated(|row| row["kind"] != "builtin")) " in your own" }
        }
    }
}

fn danger(name: &str, id: &str) -> Markup {
    html! {
        p.soft {
            "Deleting ends all keys, memberships and connections at once, and nobody sees the workspace any more. Its data is dropped after \
             7 days."
        }
        form.form.narrow-form data-delete-workspace=(id) data-name=(name) novalidate {
            (field("delete-name", "Name to confirm", &format!("Type {name} to confirm."), html! {
                input.input #delete-name name="name" autocomplete="off" spellcheck="false" aria-describedby="delete-name-note";
            }))
            p.btns { button.btn.danger.main type="submit" disabled { (icon("trash-2")) "Delete workspace" } }
        }
    }
}
