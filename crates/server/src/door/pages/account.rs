//! Pages on which people sign up, sign in and follow the links of e-mails. They are forms that a small inline script sends to
//! the API. Only the script reads a token in the address, and opening a page changes nothing, because mail scanners open links
//! too.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ring::digest::{SHA256, digest};

use crate::door::docs::page::{self, STYLE, page};
use crate::door::pages::acts;
use crate::door::pages::layout;
use crate::people::auth::sign_in::PROBLEMS;

/// The script that sends a page's form and shows the result.
const SCRIPT: &str = include_str!("form.js");

/// A page with a form.
struct Page {
    path: &'static str,
    title: &'static str,
    lead: &'static str,
    /// The path that the form is sent to, the text after success, and the page that follows.
    post: &'static str,
    done: &'static str,
    next: Option<&'static str>,
    fields: &'static [InputField],
    button: &'static str,
    /// Whether the form sends the token in the page's address.
    token: bool,
    /// Whether the page offers sign-in at providers.
    elsewhere: bool,
    /// Links to other pages.
    others: &'static [(&'static str, &'static str)],
}

/// A provider at which people may sign in.
pub struct Offer {
    /// The provider's name in paths.
    pub key: &'static str,
    /// The provider's display name.
    pub name: String,
}

/// A field of a form.
struct InputField {
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    autocomplete: &'static str,
    required: bool,
    note: &'static str,
}

const EMAIL: InputField = InputField {
    name: "email",
    label: "E-mail address",
    kind: "email",
    autocomplete: "username",
    required: true,
    note: "",
};
const NEW_PASSWORD: InputField = InputField {
    name: "password",
    label: "Password",
    kind: "password",
    autocomplete: "new-password",
    required: true,
    note: "10 characters or more. A few words that nobody would put together make a good one.",
};

const PAGES: &[Page] = &[
    Page {
        path: "/login",
        title: "Sign in",
        lead: "Welcome back.",
        post: "/v1/auth/login",
        done: "You are signed in.",
        next: Some("/"),
        fields: &[EMAIL, InputField { autocomplete: "current-password", note: "", ..NEW_PASSWORD }],
        button: "Sign in",
        token: false,
        elsewhere: true,
        others: &[("/signup", "Make an account"), ("/forgot-password", "I have lost my password")],
    },
    Page {
        path: "/signup",
        title: "Make an account",
        lead: "With an account you own workspaces: claim those that your agents have made, and invite others.",
        post: "/v1/auth/signup",
        done: "Your account is made, and you are signed in.",
        next: Some("/"),
        fields: &[
            InputField { name: "name", label: "Name", kind: "text", autocomplete: "name", required: false, note: "" },
            EMAIL,
            NEW_PASSWORD,
        ],
        button: "Make the account",
        token: false,
        elsewhere: true,
        others: &[("/login", "I have an account")],
    },
    Page {
        path: "/forgot-password",
        title: "Lost password",
        lead: "We send you a link by which to choose a new one.",
        post: "/v1/auth/request-password-reset",
        done: "If there is an account with this address, an e-mail is on its way.",
        next: None,
        fields: &[EMAIL],
        button: "Send the link",
        token: false,
        elsewhere: false,
        others: &[("/login", "Sign in")],
    },
    Page {
        path: "/reset-password",
        title: "Choose a new password",
        lead: "It holds from now on; wherever else you are signed in, you are signed out.",
        post: "/v1/auth/reset-password",
        done: "Your password is changed. Sign in with it.",
        next: None,
        fields: &[InputField { label: "New password", ..NEW_PASSWORD }],
        button: "Change the password",
        token: true,
        elsewhere: false,
        others: &[("/login", "Sign in"), ("/forgot-password", "Send me another link")],
    },
    Page {
        path: "/verify-email",
        title: "Confirm your e-mail address",
        lead: "One click, and the address is yours.",
        post: "/v1/auth/verify-email",
        done: "Thank you. The address is confirmed.",
        next: None,
        fields: &[],
        button: "Confirm the address",
        token: true,
        elsewhere: false,
        others: &[("/login", "Sign in")],
    },
];

/// The routes of all pages, for a public address and the sign-in methods besides passwords.
pub fn router<S: Clone + Send + Sync + 'static>(public_url: &Arc<str>, offers: &[Offer]) -> Router<S> {
    PAGES.iter().fold(acts::router(public_url, offers), |router, it| {
        let made = Bytes::from(write(it, public_url, offers).into_string());
        router.route(it.path, get(move || std::future::ready(respond(made.clone(), SCRIPT))))
    })
}

/// The landing page.
pub fn landing(public_url: &str) -> Markup {
    PreEscaped(page::landing(public_url))
}

/// The page for an unknown address.
pub fn nothing_here() -> Markup {
    simple("Nothing is at this address", "The address may have a mistake, or what it named is gone.")
}

/// A page with a heading, a sentence and a way back.
pub fn simple(title: &str, text: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (layout::head(title, None))
            body.apart {
                main.narrow {
                    p { a href="/" { (layout::logo()) span.sr { "Kith" } } }
                    h1 { (title) }
                    p { (text) }
                    p.btns { a.btn.main href="/" { "Go to Home" } a.btn href="/login" { "Sign in" } }
                }
            }
        }
    }
}

/// Links to sign in at providers. The script adds the page to which the person wanted to go.
pub fn elsewhere(offers: &[Offer]) -> Markup {
    html! {
        @if !offers.is_empty() {
            div.elsewhere {
                span.or { "or" }
                @for offer in offers {
                    a.button.quiet href={ "/v1/auth/oidc/" (offer.key) "/start" } data-along { "Continue with " (offer.name) }
                }
            }
        }
    }
}

/// The texts for failed sign-ins, by the code in the page's address.
fn problems() -> String {
    let words = PROBLEMS.iter().map(|problem| (problem.code.to_owned(), problem.words.into()));
    serde_json::Value::Object(words.collect()).to_string()
}

fn write(it: &Page, base: &str, offers: &[Offer]) -> Markup {
    let body = html! {
        main.narrow.account {
            h1 { (it.title) }
            p.lead { (it.lead) }
            form.account method="post" data-post=(it.post) data-done=(it.done) data-next=[it.next] data-token[it.token] {
                @for field in it.fields {
                    label {
                        (field.label)
                        @if !field.required { span.type { " (may be left out)" } }
                        input name=(field.name) type=(field.kind) autocomplete=(field.autocomplete) required[field.required];
                        @if !field.note.is_empty() { span.note { (field.note) } }
                    }
                }
                button.button type="submit" { (it.button) }
            }
            @if it.elsewhere { (elsewhere(offers)) }
            p.said #said role="status" aria-live="polite" data-problems=[it.elsewhere.then(problems)] {}
            noscript { p { "This form needs JavaScript; the same is done by " code { "POST " (it.post) } "." } }
            p.others {
                @for (at, (path, words)) in it.others.iter().enumerate() {
                    @if at > 0 { " · " }
                    a href=(path) data-along { (words) }
                }
            }
        }
    };
    page(&format!("{} · Kith", it.title), base, body, Some(SCRIPT))
}

/// A page as a response. `script` is the page's inline script.
pub fn respond(page: Bytes, script: &str) -> Response {
    let mut response = Response::new(Body::from(page));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy(script));
    response
}

/// A page loads nothing and connects only to this Kith. Its style sheet and its script are inline and are allowed by their
/// hashes. The browser itself never submits a form, so that no password gets into an address.
fn policy(script: &str) -> HeaderValue {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(script)
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}
