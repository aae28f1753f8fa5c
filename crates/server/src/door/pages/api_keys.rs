//! The page /api-keys: the keys of the workspace, without the keys themselves.

use maud::{Markup, html};
use serde_json::Value;

use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::model::who::Role;

use crate::door::pages::layout::{Page, dialog};
use crate::door::pages::members;
use crate::door::pages::parts::{self, Hand, blank, field, icon};
use crate::door::pages::public::{Sample, samples};
use crate::door::pages::samples as code;
use crate::door::pages::visit::PageVisit;
use crate::people::context::PersonContext;
use crate::people::workspace::keys;

/// The page.
pub async fn page(visit: &PageVisit<'_>) -> Result<Option<Page>, Fault> {
    let place = visit.place()?;
    let visitor = visit.session.visitor();
    let context = PersonContext { app: visit.app, visitor: &visitor };
    let ask = PageAsk { limit: members::MOST, ..PageAsk::default() };
    let listed = members::rows(visit, &keys::list(&context, &place.workspace.id, ask).await?)?;
    let people = members::all(visit).await?;
    let base = &visit.app.public_url;
    let uses: [Sample<'_>; 4] = code::with_a_key(base);
    let body = html! {
        div.cols {
            div.c12 {
                @if listed.is_empty() {
                    (blank("There is no key", "A key lets a program in: an agent, a script, another system. Each has a role, and what is done with it \
                        stands in the activity under its name.", html! {}))
                } @else { (table(visit, &listed, &people)) }
            }
            section.sect.c8.gap aria-labelledby="use-heading" {
                header { h2 #use-heading { "Use it" } }
                (samples("use", "Language", &uses))
            }
            section.sect.c4.gap aria-labelledby="psql-heading" {
                header { h2 #psql-heading { "Straight to PostgreSQL" } }
                p.soft { "Any client that speaks PostgreSQL sees the same data, under the same triggers. The connection is yours, not a key's." }
                p.after { a.btn href="/settings#connection" { (icon("database")) "Connection" } }
            }
            (new_key(place.workspace.role))
        }
    };
    let actions =
        html! { button.btn.main type="button" data-open="new-key" data-new { (icon("plus")) span { "New key" } } };
    let beside = html! { span.count { (listed.len()) } };
    Ok(Some(Page {
        beside,
        actions,
        scripts: &["settings.js", "public.js"],
        ..Page::new("API keys", "/api-keys", body)
    }))
}

fn table(visit: &PageVisit<'_>, keys: &[Value], people: &[Value]) -> Markup {
    let own = &visit.session.person.person.id;
    let text = |key: &Value, name: &str| key[name].as_str().unwrap_or_default().to_owned();
    html! {
        table.grid.plain.stack aria-label="API keys" {
            colgroup { col; col width="200"; col width="100"; col width="80"; col width="90"; col width="110"; col width="150"; col width="100"; }
            thead { tr {
                @for name in ["Name", "Key", "Dialect", "Mode", "Role"] { th scope="col" { (name) } }
                th.num scope="col" { "Last used" } th scope="col" { "Made" } th { span.sr { "Acts" } }
            } }
            tbody {
                @for key in keys {
                    @let (id, owner) = (text(key, "id"), text(key, "user_id"));
                    @let name = key["name"].as_str().filter(|name| !name.trim().is_empty()).unwrap_or("unnamed");
                    tr {
                        td data-m="title" { span.who { (Hand::agent(name)) b.name { (name) } } }
                        td.mono.soft data-m="sub" { (text(key, "hint")) }
                        td { (if text(key, "dialect") == "relm" { "Relm" } else { "agentCRM" }) }
                        td data-m="end" { @if text(key, "mode") == "test" { span.chip.wait { "test" } } @else { "live" } }
                        td { (text(key, "role")) }
                        td.num {
                            @if let Some(used) = key["last_used_at"].as_str() { (parts::time(used)) } @else { span.faint { "never" } }
                        }
                        td {
                            span.who.soft {
                                @if let Some(person) = people.iter().find(|it| it["user_id"] == owner.as_str()) {
                                    (Hand::person(&owner, members::name_of(person)))
                                }
                                (parts::time(&text(key, "created_at")))
                            }
                        }
                        td.acts data-m="end2" {
                            @if visit.is_owner() || owner == *own {
                                button.btn.mini.bare.danger type="button" data-revoke=(id) data-name=(name) { "Revoke" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The dialog for a new key. A key's role is at most that of its maker.
fn new_key(most: Role) -> Markup {
    let roles = [
        (Role::Member, "member: reads and writes"),
        (Role::Viewer, "viewer: reads"),
        (Role::Owner, "owner: reads and writes"),
    ];
    dialog(
        "new-key",
        "New key",
        html! {
            form.form data-new-key novalidate {
                (field("key-name", "Name", "The activity shows it beside each change.", html! {
                    input.input #key-name name="name" maxlength="200" autocomplete="off" aria-describedby="key-name-note";
                }))
                div.pair {
                    (field("key-dialect", "Dialect", "", html! {
                        select.pick #key-dialect name="dialect" {
                            option value="agentcrm" { "agentCRM" }
                            option value="relm" { "Relm" }
                        }
                    }))
                    (field("key-mode", "Mode", "", html! {
                        select.pick #key-mode name="mode" {
                            option value="live" { "live" }
                            option value="test" { "test" }
                        }
                    }))
                }
                (field("key-role", "Role", "", html! {
                    select.pick #key-role name="role" {
                        @for (role, words) in roles.iter().filter(|(role, _)| *role <= most) { option value=(role.name()) { (words) } }
                    }
                }))
                p.soft.small { "Both dialects see the same rows, each in its own words. Only Relm's keys have test data." }
                p.btns {
                    button.btn.main type="submit" { "Create" }
                    button.btn.bare type="button" data-close { "Cancel" }
                }
            }
            div.form data-result hidden {
                p.soft { "Keep this key now: it is shown this once. If it is lost, make another." }
                p.secret.mono { span.grow #new-key-value {} button.btn.bare.mini type="button" data-copy="new-key-value" { (icon("copy")) span { "Copy" } } }
                p.btns { button.btn.main type="button" data-close { "Done" } }
            }
        },
    )
}
