//! Home: what the workspace holds and what was done in it last.

use maud::html;

use crm::model::fault::Fault;

use crate::door::pages::layout::Page;
use crate::door::pages::parts;
use crate::door::pages::visit::Visit;

/// Home of a person who has no workspace yet.
pub fn without_workspace(visit: &Visit<'_>) -> Result<Page, Fault> {
    let claim = format!("{}/claim/ws_…", visit.app.public_url);
    let body = html! {
        div.cols { div.c8 {
            (parts::blank(
                "You have no workspace yet",
                "Make one, claim the one that an agent of yours has made, or open the link of an invitation.",
                html! {
                    p.btns { button.btn.main type="button" data-open="new-workspace" { "New workspace" } }
                    p.soft { "An agent that makes a workspace gets a link like " code.inline { (claim) } " in each answer; open it to claim the workspace." }
                },
            ))
        } }
    };
    Ok(Page::new("Home", "/", body))
}

/// Home of a workspace.
pub async fn home(visit: &Visit<'_>) -> Result<Page, Fault> {
    let place = visit.place()?;
    let body = html! { div.cols { div.c12 { p.soft { (place.workspace.name) } } } };
    Ok(Page::new("Home", "/", body))
}
