//! Pages on which a signed-in person accepts something with one click: an anonymous workspace or an invitation. Without a
//! session they lead to the sign-in and back. The script calls the API.

use axum::body::Bytes;
use axum::response::Response;
use maud::{Markup, html};

use crate::door::pages::account::{brand, door, respond};
use crate::door::pages::parts::icon;
use crate::door::pages::shape::encoded;
use crate::door::pages::visit::BrowserSession;

/// A page with a button.
struct PageAct {
    /// The first segment of its address. The second one names what is accepted.
    first: &'static str,
    title: &'static str,
    lead: &'static str,
    /// The path below `/v1` to which the second segment of the address is appended.
    post: &'static str,
    button: &'static str,
    done: &'static str,
}

const ACTS: &[PageAct] = &[
    PageAct {
        first: "claim",
        title: "Claim this workspace",
        lead: "An agent has made it without an account. Claimed, it is yours and stays: the agent's first key ends, you get a \
               live one to hand on, and the data is kept as it is. Claim only what an agent of yours has made: whatever else was \
               set up there is kept too.",
        post: "claim/",
        button: "Claim",
        done: "The workspace is yours.",
    },
    PageAct {
        first: "invite",
        title: "You are invited",
        lead: "Somebody wants to work with you in their workspace. The invitation is for the e-mail address that it was sent \
               to; sign in with that one.",
        post: "members/accept/",
        button: "Accept",
        done: "You are a member now.",
    },
];

/// The page at an address, if it is one of these.
pub fn page(session: &BrowserSession<'_>, segments: &[String]) -> Option<Response> {
    let [first, subject] = segments else { return None };
    let act = ACTS.iter().find(|act| act.first == first && !subject.is_empty())?;
    let csrf = session.csrf();
    let page = door(act.title, Some(&csrf), write(act, subject, &session.person.person.email));
    Some(respond(Bytes::from(page.into_string())))
}

fn write(act: &PageAct, subject: &str, email: &str) -> Markup {
    html! {
        div.form {
            (brand())
            h1 { (act.title) }
            div.form #act data-post={ (act.post) (encoded(subject)) } {
                p.soft { (act.lead) }
                p { "You are signed in as " b { (email) } "." }
                div.btns {
                    button.btn.main.tall type="button" data-act { (act.button) }
                    button.btn.bare.tall type="button" data-log-out-here { "Use another account" }
                }
                noscript { p { "This page needs JavaScript; the same is done by " code.inline { "POST /v1/" (act.post) "…" } " with a session." } }
            }
            p #said role="status" {}
            div.form #done hidden {
                p { b { (act.done) } }
                p.soft { "This is its live API key. It is shown this once; keep it where your agents find it." }
                p.secret.mono { span.grow #key {} button.btn.bare.mini type="button" data-copy="key" { (icon("copy")) span { "Copy" } } }
                div.btns { a.btn.main.tall href="/" { "Open the workspace" } }
            }
        }
    }
}
