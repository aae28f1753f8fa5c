//! Pages on which people sign up, sign in and follow the links of e-mails. They are forms that a script sends to the API. Only
//! the script reads a token in the address, and opening a page changes nothing, because mail scanners open links too.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use maud::{DOCTYPE, Markup, html};

use crate::door::pages::parts::{Hand, icon};
use crate::door::pages::{assets, layout, secured};
use crate::people::auth::sign_in::PROBLEMS;

/// A page with a form.
struct AccountPage {
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
pub struct SignInOffer {
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

const PAGES: &[AccountPage] = &[
    AccountPage {
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
    AccountPage {
        path: "/signup",
        title: "Sign up",
        lead: "With an account you own workspaces: claim those that your agents have made, and invite others.",
        post: "/v1/auth/signup",
        done: "Your account is made, and you are signed in.",
        next: Some("/"),
        fields: &[
            InputField {
                name: "name",
                label: "Name",
                kind: "text",
                autocomplete: "name",
                required: false,
                note: "As others see you. It may be left out.",
            },
            EMAIL,
            NEW_PASSWORD,
        ],
        button: "Sign up",
        token: false,
        elsewhere: true,
        others: &[("/login", "I have an account")],
    },
    AccountPage {
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
    AccountPage {
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
    AccountPage {
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

/// The routes of all pages, for the sign-in methods besides passwords.
pub fn router<S: Clone + Send + Sync + 'static>(offers: &[SignInOffer]) -> Router<S> {
    PAGES.iter().fold(Router::new(), |router, it| {
        let made = Bytes::from(write(it, offers).into_string());
        let page = get(move || std::future::ready(respond(made.clone())));
        router.route(it.path, page.layer(map_response(|response: Response| std::future::ready(secured(response)))))
    })
}

/// The page for an unknown address.
pub fn nothing_here() -> Markup {
    simple("Nothing is at this address", html! { p { "The address may have a mistake, or what it named is gone." } })
}

/// A page that says what went wrong.
pub fn problem(title: &str, words: &str) -> Markup {
    simple(title, html! { p role="alert" { (words) } })
}

/// A page with a heading, a text and a way back.
fn simple(title: &str, text: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (layout::head(title, None))
            body.apart {
                main.narrow {
                    p { a href="/" { (layout::logo()) span.sr { "Kith" } } }
                    h1 { (title) }
                    (text)
                    p.btns { a.btn.main href="/" { "Go to Home" } a.btn href="/login" { "Sign in" } }
                }
            }
        }
    }
}

/// The frame of a page with a form: the form, and beside it an example of the feed.
pub fn door(title: &str, csrf: Option<&str>, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (layout::head(title, None))
            body.public.door data-csrf=[csrf] data-mode="live" {
                main #main {
                    (content)
                }
                (night())
                div #toast .toast popover="manual" role="status" aria-live="polite" { span {} }
                div #alerts .alerts {}
                script type="module" src=(assets::address("core.js")) {}
                script type="module" src=(assets::address("account.js")) {}
            }
        }
    }
}

/// The logo above a form, which leads to the landing page.
pub fn brand() -> Markup {
    html! { a.brand href="/" aria-label="Kith" { (layout::logo()) } }
}

/// An example of what agents do overnight.
fn night() -> Markup {
    html! {
        aside aria-label="Example" {
            ol.ledger {
                li.day { b.ink { "Example: while you were away" } }
                li.entry.run {
                    time { "00:12" } (Hand::agent("scout"))
                    div { p.say { b { "scout" } " read 88 contacts, changed 31" } p.why { "Weekly check of titles and phones." } }
                }
                li.entry {
                    time { "23:30" } (Hand::agent("porter"))
                    div { p.say { b { "porter" } " made 3 leads" } }
                }
                li.entry.run {
                    time { "22:01" } (Hand::agent("ledger"))
                    div { p.say { b { "ledger" } " matched 41 invoices" } p.why { "Nightly export, 39 clean, 2 left for a person." } }
                }
                li.entry {
                    time { "21:22" } span.hand.auto aria-hidden="true" { (icon("zap")) }
                    div { p.say { b { "Won, hand over to delivery" } " made 2 tasks" } }
                }
                li.entry {
                    time { "18:48" } (Hand::person("u_5", "Tomás Rey"))
                    div {
                        p.say { b { "Tomás Rey" } " moved Clinic kits, renewal" }
                        dl.diff { div { dt { "stage" } dd { del { "proposal" } ins { "won" } } } }
                    }
                }
            }
        }
    }
}

/// Links to sign in at providers. The script adds the page to which the person wanted to go.
fn elsewhere(offers: &[SignInOffer]) -> Markup {
    html! {
        @if !offers.is_empty() {
            p.center.faint { "or" }
            @for offer in offers {
                a.btn.tall href={ "/v1/auth/oidc/" (offer.key) "/start" } data-along { "Continue with " (offer.name) }
            }
        }
    }
}

/// The texts for failed sign-ins, by the code in the page's address.
fn problems() -> String {
    let words = PROBLEMS.iter().map(|problem| (problem.code.to_owned(), problem.words.into()));
    serde_json::Value::Object(words.collect()).to_string()
}

fn write(it: &AccountPage, offers: &[SignInOffer]) -> Markup {
    let form = html! {
        form.form method="post" novalidate data-account data-post=(it.post) data-done=(it.done) data-next=[it.next] data-token[it.token]
            data-problems=[it.elsewhere.then(problems)]
        {
            (brand())
            h1 { (it.title) }
            p.soft { (it.lead) }
            p.note.wait #on-the-way hidden { (icon("info")) span {} }
            @for field in it.fields { (input(field)) }
            button.btn.main.tall type="submit" { (it.button) }
            p.soft #said role="status" {}
            @if it.elsewhere { (elsewhere(offers)) }
            noscript { p { "This form needs JavaScript; the same is done by " code.inline { "POST " (it.post) } "." } }
            p.soft.center {
                @for (at, (path, words)) in it.others.iter().enumerate() {
                    @if at > 0 { " · " }
                    a.link href=(path) data-along { (words) }
                }
            }
        }
    };
    door(it.title, None, form)
}

fn input(field: &InputField) -> Markup {
    let note = format!("{}-note", field.name);
    html! {
        div.field {
            label for=(field.name) { (field.label) }
            input.input.tall id=(field.name) name=(field.name) type=(field.kind) autocomplete=(field.autocomplete)
                required[field.required] aria-describedby=[(!field.note.is_empty()).then_some(&note)];
            @if !field.note.is_empty() { p.soft.small id=(note) { (field.note) } }
        }
    }
}

/// A page of an account as a response. The browser itself never submits a form, so that no password gets into an address, and
/// nobody is told an address, because it may hold a token.
pub fn respond(page: Bytes) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; font-src 'self'; img-src 'self' data:; \
        connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}
