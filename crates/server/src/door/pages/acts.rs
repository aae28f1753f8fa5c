//! Pages on which a signed-in person accepts something with one click: an anonymous workspace or an invitation. Without a
//! session they lead to the sign-in and back. The script calls the API.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use crm::model::fault::Fault;

use crate::app::App;
use crate::door::pages::account::{brand, door, respond};
use crate::door::pages::addresses::encoded;
use crate::door::pages::parts::icon;
use crate::door::pages::visit::BrowserSession;
use crate::people::context::PersonContext;
use crate::people::workspace::{claims, invitations};

/// A page with a button.
struct PageAct {
    /// The first segment of its address. The second one names what is accepted.
    first: &'static str,
    title: &'static str,
    /// The path below `/v1` to which the second segment of the address is appended.
    post: &'static str,
    button: &'static str,
    done: &'static str,
    /// What is said where there is nothing to accept.
    gone: &'static str,
}

const ACTS: &[PageAct] = &[
    PageAct {
        first: "claim",
        title: "Claim this workspace",
        post: "claim/",
        button: "Claim",
        done: "The workspace is yours.",
        gone: "There is no workspace to claim at this address. A workspace that nobody claims is deleted after some days, or the \
               address has a mistake.",
    },
    PageAct {
        first: "invite",
        title: "You are invited",
        post: "members/accept/",
        button: "Accept",
        done: "You are a member now.",
        gone: "There is no open invitation at this address. It was accepted or withdrawn, it has ended, or the address has a \
               mistake. Ask for another one.",
    },
];

/// What there is to accept.
enum Offer {
    /// It can be accepted; what it is, in words.
    Open(Markup),
    /// It can't be accepted, and why.
    Taken(&'static str),
    /// There is no such thing.
    Gone,
}

/// The page at an address, if it is one of these.
pub async fn page(app: &App, session: &BrowserSession<'_>, segments: &[String]) -> Result<Option<Response>, Fault> {
    let [first, subject] = segments else { return Ok(None) };
    let Some(act) = ACTS.iter().find(|act| act.first == first && !subject.is_empty()) else { return Ok(None) };
    let visitor = session.visitor();
    let context = PersonContext { app, visitor: &visitor };
    let email = &session.person.person.email;
    let offer = match act.first {
        "claim" => claim(&context, subject).await?,
        _ => invitation(&context, email, subject).await?,
    };
    let (status, title, content) = match offer {
        Offer::Open(about) => (StatusCode::OK, act.title, write(act, subject, &about, email)),
        Offer::Taken(why) => (StatusCode::OK, act.title, write(act, subject, &refusal(why), email)),
        Offer::Gone => (StatusCode::NOT_FOUND, "Not found", gone(act)),
    };
    let page = door(title, Some(&session.csrf()), content);
    let mut response = respond(Bytes::from(page.into_string()));
    *response.status_mut() = status;
    Ok(Some(response))
}

async fn claim(context: &PersonContext<'_>, workspace_id: &str) -> Result<Offer, Fault> {
    const LEAD: &str = "An agent has made it without an account. Claimed, it is yours and stays: the agent's first key ends, you get a \
        live one to hand on, and the data is kept as it is. Claim only what an agent of yours has made: whatever else was \
        set up there is kept too.";
    Ok(match claims::is_claimed(context, workspace_id).await? {
        Some(false) => Offer::Open(html! { p.soft { (LEAD) } }),
        Some(true) => Offer::Taken("This workspace has an owner already. Ask the owner for an invitation."),
        None => Offer::Gone,
    })
}

async fn invitation(context: &PersonContext<'_>, email: &str, token: &str) -> Result<Offer, Fault> {
    let Some(found) = invitations::find(context, token).await? else { return Ok(Offer::Gone) };
    if found.email != email {
        return Ok(Offer::Taken(
            "This invitation is for another e-mail address. Sign in with the one that it was sent to.",
        ));
    }
    let name = found.workspace_name.filter(|name| !name.trim().is_empty()).unwrap_or(found.workspace_id);
    let may = if found.role == "viewer" { "see everything and change nothing" } else { "see and change its data" };
    Ok(Offer::Open(html! {
        p { "You are invited to the workspace " b { (name) } " as a " b { (found.role) } "." }
        p.soft { "As a " (found.role) " you may " (may) "." }
    }))
}

/// Why this can't be accepted, where another account may. What the API says takes its place.
fn refusal(why: &str) -> Markup {
    html! { p.note.bad role="alert" data-complaint { (icon("circle-alert")) span { (why) } } }
}

fn gone(act: &PageAct) -> Markup {
    html! {
        div.form {
            (brand())
            h1 { "Not found" }
            p role="alert" { (act.gone) }
            div.btns { a.btn.main.tall href="/" { "Go to Home" } }
        }
    }
}

fn write(act: &PageAct, subject: &str, about: &Markup, email: &str) -> Markup {
    html! {
        div.form {
            (brand())
            h1 { (act.title) }
            div.form #act data-post={ (act.post) (encoded(subject)) } {
                (about)
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
