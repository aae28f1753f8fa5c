//! The page /members: who belongs to the workspace, and who is invited.

use maud::{Markup, html};
use serde_json::Value;

use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::model::who::Role;

use crate::door::pages::layout::{Page, dialog};
use crate::door::pages::parts::{self, Hand, field, icon};
use crate::door::pages::visit::PageVisit;
use crate::people::context::PersonContext;
use crate::people::workspace::{invitations, members};

/// The most rows of a list on a page.
pub const MOST: usize = 200;

/// The workspace's members, each with `user_id`, `email`, `name`, `role` and `created_at`.
pub async fn all(visit: &PageVisit<'_>) -> Result<Vec<Value>, Fault> {
    let visitor = visit.session.visitor();
    let context = PersonContext { app: visit.app, visitor: &visitor };
    let ask = PageAsk { limit: MOST, ..PageAsk::default() };
    rows(visit, &members::list(&context, &visit.place()?.workspace.id, ask).await?)
}

/// The rows of a list's answer.
pub fn rows(visit: &PageVisit<'_>, answer: &crm::model::answer::Answer) -> Result<Vec<Value>, Fault> {
    Ok(visit.shown(answer)?["data"].as_array().cloned().unwrap_or_default())
}

/// A member's name, or their e-mail address if they have none.
pub fn name_of(member: &Value) -> &str {
    let name = member["name"].as_str().filter(|name| !name.trim().is_empty());
    name.or(member["email"].as_str()).unwrap_or_default()
}

/// The page.
pub async fn page(visit: &PageVisit<'_>) -> Result<Option<Page>, Fault> {
    let members = all(visit).await?;
    let invited = if visit.is_owner() { open_invitations(visit).await? } else { Vec::new() };
    let body = html! {
        div.cols {
            div.c12 { (member_table(visit, &members)) }
            @if visit.is_owner() {
                section.sect.c12.gap aria-labelledby="invited-heading" {
                    header { h2 #invited-heading { "Invited" } }
                    @if invited.is_empty() {
                        p.soft { "No invitation is open. One is for its e-mail address alone, and lasts a week." }
                    } @else { (invitation_table(&invited)) }
                }
                (invite())
            } @else {
                p.soft.c12 { "Owners invite, remove and change roles." }
            }
        }
    };
    let actions = html! {
        @if visit.is_owner() { button.btn.main type="button" data-open="invite" data-new { (icon("plus")) span { "Invite" } } }
    };
    let beside = html! { span.count { (members.len()) } };
    Ok(Some(Page { beside, actions, scripts: &["settings.js"], ..Page::new("Members", "/members", body) }))
}

async fn open_invitations(visit: &PageVisit<'_>) -> Result<Vec<Value>, Fault> {
    let visitor = visit.session.visitor();
    let context = PersonContext { app: visit.app, visitor: &visitor };
    let ask = PageAsk { limit: MOST, ..PageAsk::default() };
    rows(visit, &invitations::list(&context, &visit.place()?.workspace.id, ask).await?)
}

fn member_table(visit: &PageVisit<'_>, members: &[Value]) -> Markup {
    let own = &visit.session.person.person.id;
    html! {
        table.grid.plain.stack aria-label="Members" {
            colgroup { col width="280"; col; col width="150"; col width="110"; col width="110"; }
            thead { tr { th scope="col" { "Name" } th scope="col" { "E-mail" } th scope="col" { "Role" } th.num scope="col" { "Joined" } th { span.sr { "Acts" } } } }
            tbody {
                @for member in members {
                    @let (id, name) = (member["user_id"].as_str().unwrap_or_default(), name_of(member));
                    @let is_own = id == own;
                    tr {
                        td data-m="title" {
                            span.who { (Hand::person(id, name)) b.name { (name) } @if is_own { span.faint { "you" } } }
                        }
                        td.soft data-m="sub" { (member["email"].as_str().unwrap_or_default()) }
                        td data-m="end" {
                            @if visit.is_owner() { (roles(id, name, member["role"].as_str().unwrap_or_default())) }
                            @else { (member["role"].as_str().unwrap_or_default()) }
                        }
                        td.num { (parts::time(member["created_at"].as_str().unwrap_or_default())) }
                        td.acts data-m="end2" {
                            @if visit.is_owner() || is_own {
                                button.btn.mini.bare type="button" data-remove=(id) data-name=(name) data-own[is_own] {
                                    (if is_own { "Leave" } else { "Remove" })
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The choice of a member's role.
fn roles(id: &str, name: &str, role: &str) -> Markup {
    html! {
        select.pick.short data-member=(id) data-was=(role) aria-label={ "Access of " (name) } autocomplete="off" {
            @for it in [Role::Owner, Role::Member, Role::Viewer] {
                option value=(it.name()) selected[it.name() == role] { (it.name()) }
            }
        }
    }
}

fn invitation_table(invited: &[Value]) -> Markup {
    html! {
        table.grid.plain.stack aria-label="Invitations" {
            colgroup { col; col width="150"; col width="130"; col width="130"; col width="110"; }
            thead { tr { th scope="col" { "E-mail" } th scope="col" { "Role" } th.num scope="col" { "Invited" } th.num scope="col" { "Until" } th { span.sr { "Acts" } } } }
            tbody {
                @for it in invited {
                    tr {
                        td data-m="title" { (it["email"].as_str().unwrap_or_default()) }
                        td data-m="sub" { (it["role"].as_str().unwrap_or_default()) }
                        td.num data-m="end" { (parts::time(it["created_at"].as_str().unwrap_or_default())) }
                        td.num { (parts::time(it["expires_at"].as_str().unwrap_or_default())) }
                        td.acts data-m="end2" {
                            button.btn.mini.bare type="button" data-withdraw=(it["id"].as_str().unwrap_or_default()) { "Withdraw" }
                        }
                    }
                }
            }
        }
    }
}

fn invite() -> Markup {
    dialog(
        "invite",
        "Invite",
        html! {
            form.form data-invite novalidate {
                (field("invite-email", "E-mail", "", html! {
                    input.input #invite-email name="email" type="email" required autocomplete="off";
                }))
                (field("invite-role", "Role", "", html! {
                    select.pick #invite-role name="role" {
                        option value="member" { "member: reads and writes" }
                        option value="viewer" { "viewer: reads" }
                    }
                }))
                p.soft.small { "They get an e-mail if this Kith can send any. You get a link to hand on." }
                p.btns {
                    button.btn.main type="submit" { "Invite" }
                    button.btn.bare type="button" data-close { "Cancel" }
                }
            }
            div.form data-result hidden {
                p.soft { "Hand on this link. It is for this e-mail address alone, and lasts a week." }
                p.secret { a.grow.link #invite-link href="/" {} button.btn.bare.mini type="button" data-copy="invite-link" { (icon("copy")) span { "Copy" } } }
                p.btns { button.btn.main type="button" data-close { "Done" } }
            }
        },
    )
}
