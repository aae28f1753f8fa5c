//! Pages on which a person accepts something with one click: an anonymous workspace or an invitation. A page's content does not
//! depend on its address, so that it reveals nothing before the person has signed in. The script calls the API.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use maud::{Markup, html};

use crate::door::docs::page::page;
use crate::door::pages::account::{Offer, elsewhere, respond};

/// The script that calls the API and shows the result.
pub const SCRIPT: &str = include_str!("act.js");

/// A page with a button.
struct PageAct {
    path: &'static str,
    title: &'static str,
    lead: &'static str,
    /// The path to which the last segment of the page's address is appended.
    post: &'static str,
    button: &'static str,
    done: &'static str,
}

const ACTS: &[PageAct] = &[
    PageAct {
        path: "/claim/{workspace_id}",
        title: "Claim this workspace",
        lead: "An agent has made it without an account. Claimed, it is yours and stays: the agent's first key ends, you get a \
               live one to hand on, and the data is kept as it is. Claim only what an agent of yours has made: whatever else was \
               set up there is kept too.",
        post: "/v1/claim/",
        button: "Claim the workspace",
        done: "The workspace is yours.",
    },
    PageAct {
        path: "/invite/{token}",
        title: "You are invited",
        lead: "Somebody wants to work with you in their workspace. The invitation is for the e-mail address that it was sent \
               to; sign in with that one.",
        post: "/v1/members/accept/",
        button: "Accept the invitation",
        done: "You are a member now.",
    },
];

/// The routes of these pages, for a public address and the sign-in methods besides passwords.
pub fn router<S: Clone + Send + Sync + 'static>(public_url: &Arc<str>, offers: &[Offer]) -> Router<S> {
    ACTS.iter().fold(Router::new(), |router, act| {
        let made = Bytes::from(write(act, public_url, offers).into_string());
        router.route(act.path, get(move || std::future::ready(respond(made.clone(), SCRIPT))))
    })
}

fn write(act: &PageAct, base: &str, offers: &[Offer]) -> Markup {
    let body = html! {
        main.narrow.account {
            h1 { (act.title) }
            p.lead { (act.lead) }
            div #stranger hidden {
                p {
                    a.button href="/login" data-along { "Sign in" }
                    " or "
                    a href="/signup" data-along { "make an account" }
                    ", and you come back here."
                }
                (elsewhere(offers))
            }
            div #act data-post=(act.post) hidden {
                p { "You are signed in as " strong #who {} "." }
                p { button.button type="button" { (act.button) } }
            }
            p.said #said role="status" aria-live="polite" {}
            div #done hidden {
                p { strong { (act.done) } }
                p { "Workspace " code #workspace {} }
                p { "This is its live API key. It is shown this once; keep it where your agents find it." }
                pre { code #key {} }
                p { button.button #copy type="button" { "Copy the key" } }
            }
            noscript { p { "This page needs JavaScript; the same is done by " code { "POST " (act.post) "…" } " with a session." } }
        }
    };
    page(&format!("{} · Kith", act.title), base, body, Some(SCRIPT))
}
