//! The pages: what people see. Each is made of calls to the API as the signed-in member (see [`visit::PageVisit`]), so that a page
//! shows nothing that the person may not read. A page is rendered here; its scripts send changes to `/app/v1/…` (see [`api`]).

mod account;
mod activity;
mod acts;
mod addresses;
mod api;
mod api_keys;
pub mod assets;
mod automations;
mod bulk;
mod cells;
mod consent;
mod control;
mod deals;
mod export;
mod filters;
mod form;
mod home;
mod import;
mod landing;
pub mod layout;
mod ledger;
mod logs;
mod mail_html;
mod members;
mod names;
mod pager;
pub mod parts;
mod place;
pub mod public;
mod record;
mod runs;
pub mod samples;
mod schema;
mod settings;
mod shape;
mod sql;
mod table;
mod visit;
mod webhooks;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use futures_util::FutureExt;
use maud::{Markup, html};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crm::model::call::parse_path;
use crm::model::fault::Fault;

use crate::app::App;
use crate::door::pages::layout::Page;
use crate::door::pages::visit::{PageRequest, PageVisit};
use crate::door::request::HttpRequest;
use crate::door::{cookie, logged_path};

pub use account::{SignInOffer, router};

/// What is encoded in a query's value.
const IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'&').add(b'+').add(b'<').add(b'>').add(b'%');

/// What is encoded in a segment of a path.
const IN_SEGMENT: &AsciiSet = &IN_QUERY.add(b'/').add(b'?').add(b'\\');

/// Serves a request to an address that is no path of the API: a page, or what pages need. `None` if there is no such page and
/// the client is no browser.
pub async fn serve(app: &Arc<App>, request: Request<Body>) -> Result<Response, Request<Body>> {
    let path = request.uri().path();
    if let Some(below) = path.strip_prefix("/assets/") {
        return assets::serve(below).ok_or(request);
    }
    if path.starts_with("/app/v1/") {
        return Ok(api::serve(app, request).await);
    }
    if path == consent::PATH {
        return Ok(secured(consent::serve(app, request).await));
    }
    if path.starts_with("/app/mail/") && request.method() == Method::GET {
        return Ok(record::mail_frame(app, request).await);
    }
    if path == "/app/place" && request.method() == Method::POST {
        return Ok(secured(place::choose(app, request).await));
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match is_known(path) {
        true if !is_read => Ok(secured(only_read(&app.clock.id("req")))),
        false if !is_read || path == "/v1" || path.starts_with("/v1/") || !takes_html(&request) => Err(request),
        _ => Ok(secured(page(app, request).await)),
    }
}

/// Whether pages may exist at this address.
fn is_known(path: &str) -> bool {
    const FIRST: &[&str] = &[
        "",
        "contacts",
        "companies",
        "deals",
        "activities",
        "emails",
        "lists",
        "tables",
        "activity",
        "runs",
        "webhooks",
        "automations",
        "schema",
        "sql",
        "logs",
        "api-keys",
        "members",
        "settings",
        "import",
        "claim",
        "invite",
        "export",
    ];
    FIRST.contains(&path.trim_start_matches('/').split('/').next().unwrap_or(""))
}

/// A page is only read. What changes something goes to the API.
fn only_read(request_id: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static("GET,HEAD"));
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", value);
    }
    response
}

fn takes_html(request: &Request<Body>) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

async fn page(app: &Arc<App>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let id = app.clock.id("req");
    let (head, body) = request.into_parts();
    let request = PageRequest::of(&HttpRequest::new(app, &id, &head, body));
    let made = AssertUnwindSafe(shown(request)).catch_unwind().await;
    let made = made.unwrap_or_else(|_| Err(Fault::internal("a panic, see above")));
    let mut response = made.unwrap_or_else(|fault| apart(request, &fault));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    let (status, took_us) = (response.status().as_u16(), started.elapsed().as_micros() as u64);
    tracing::debug!(request_id = id, path = &*logged_path::shown(request.head.uri.path()), status, took_us, "page");
    response
}

/// A page, or the way to the sign-in.
async fn shown(request: PageRequest<'_>) -> Result<Response, Fault> {
    let (app, head) = (request.app, request.head);
    let segments = parse_path(head.uri.path().trim_start_matches('/'))?;
    let Some(session) = visit::session(request).await? else {
        if head.uri.path() == "/" {
            return Ok(respond(StatusCode::OK, landing::landing(&app.public_url)));
        }
        if !is_known(head.uri.path()) {
            return Ok(respond(StatusCode::NOT_FOUND, account::nothing_here()));
        }
        return Ok(lead_to_login(head));
    };
    if let Some(response) = acts::page(app, &session, &segments).await? {
        return Ok(response);
    }
    let (token, prolonged) = (session.token, session.person.prolonged);
    let visit = PageVisit::begin(request, session).await?;
    match export::file(&visit, &segments).await {
        Ok(None) => {}
        Ok(Some(file)) => return Ok(file),
        Err(fault) => {
            let (status, page) = failed(&visit, &fault);
            return Ok(respond(status, framed(&visit, &page).await?));
        }
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
    let mut response = match made(&visit, &segments).await {
        Ok(Some(page)) => respond(StatusCode::OK, framed(&visit, &page).await?),
        Ok(None) => respond(StatusCode::NOT_FOUND, framed(&visit, &not_found()).await?),
        Err(Fault::NotFound { .. } | Fault::NoSuchPath { .. } | Fault::NoSuchTable { .. }) => {
            respond(StatusCode::NOT_FOUND, framed(&visit, &not_found()).await?)
        }
        Err(fault) => {
            let (status, page) = failed(&visit, &fault);
            respond(status, framed(&visit, &page).await?)
        }
    };
    if prolonged && let Ok(value) = HeaderValue::from_str(&cookie::set(token, &app.public_url)) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    Ok(response)
}

/// The page at an address; `None` if there is none.
async fn made(visit: &PageVisit<'_>, segments: &[&str]) -> Result<Option<Page>, Fault> {
    if visit.place.is_none() {
        return if is_known(visit.head.uri.path()) { home::without_workspace(visit).map(Some) } else { Ok(None) };
    }
    match segments {
        [] => home::home(visit).await.map(Some),
        [table @ ("contacts" | "companies" | "activities" | "emails" | "lists")] => table::page(visit, table).await,
        [table @ ("contacts" | "companies" | "deals" | "activities" | "emails" | "lists"), id] => {
            record::page(visit, table, id).await
        }
        ["deals"] => deals::page(visit).await,
        ["tables", table] => table::page(visit, table).await,
        ["tables", table, id] => record::page(visit, table, id).await,
        ["import"] => import::page(visit).await,
        ["activity"] => activity::page(visit).await,
        ["runs", rest @ ..] => runs::page(visit, rest).await,
        ["webhooks", rest @ ..] => webhooks::page(visit, rest).await,
        ["automations", rest @ ..] => automations::page(visit, rest).await,
        ["schema"] => schema::page(visit).await,
        ["sql"] => sql::page(visit).await,
        ["logs"] => logs::page(visit).await,
        ["api-keys"] => api_keys::page(visit).await,
        ["members"] => members::page(visit).await,
        ["settings"] => settings::page(visit).await,
        _ => Ok(None),
    }
}

/// A page in its frame.
async fn framed(visit: &PageVisit<'_>, page: &Page) -> Result<Markup, Fault> {
    let tables = match &visit.place {
        Some(_) => own_tables(visit).await.unwrap_or_default(),
        None => Vec::new(),
    };
    Ok(layout::document(visit, page, &tables))
}

/// The names of the workspace's custom tables, which the API serves.
async fn own_tables(visit: &PageVisit<'_>) -> Result<Vec<String>, Fault> {
    let listed = visit.get("tables").await?;
    let rows = listed["data"].as_array().cloned().unwrap_or_default();
    let own = rows.iter().filter(|row| row["kind"] != "builtin" && row["reserved"] != true);
    Ok(own.filter_map(|row| row["name"].as_str().map(str::to_owned)).collect())
}

fn not_found() -> Page {
    let body = html! {
        div.cols { div.c12 {
            (parts::blank(
                "Nothing is at this address",
                "The record may be in another workspace or among the other data, it may have been deleted for good, or the address has a mistake.",
                html! { p.btns { a.btn.main href="/" { "Go to Home" } } },
            ))
        } }
    };
    Page::new("Not found", "", body)
}

fn failed(visit: &PageVisit<'_>, fault: &Fault) -> (StatusCode, Page) {
    let (status, message, hint) = said(visit.app, visit.id, fault);
    let body = html! {
        div.cols { div.c12 {
            div.blank role="alert" {
                h2 { (message) }
                @if let Some(hint) = hint { p { (hint) } }
                p.soft { "Nothing was changed. Request " code { (visit.id) } }
                p.btns { a.btn.main href="" { "Try again" } a.btn.bare href="/" { "Go to Home" } }
            }
        } }
    };
    (status, Page::new("This page could not be shown", "", body))
}

/// A fault's status, message and hint, for a person. A defect is logged.
fn said(app: &App, id: &str, fault: &Fault) -> (StatusCode, String, Option<String>) {
    if matches!(fault, Fault::Internal { .. }) {
        tracing::error!(request_id = id, fault = fault.in_log(), "a page failed");
    }
    let meta = crm::dialect::Meta { request_id: id, public_url: &app.public_url, ..crm::dialect::Meta::default() };
    let reply = (crm::dialect::agentcrm::AGENTCRM.show_fault)(fault, &meta);
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let word = |name: &str| body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let hint = word("hint").filter(|hint| is_for_people(hint));
    (status, word("message").unwrap_or_else(|| "This did not work.".to_owned()), hint)
}

/// What a hint contains that speaks of the API to a program. Each page tells it to its scripts (`layout::head`).
const FOR_PROGRAMS: &[&str] =
    &["GET ", "POST ", "PUT ", "PATCH ", "DELETE ", "/v1", "X-", "_", "[", "]", "{", "}", "`"];

/// Whether a hint is for people.
fn is_for_people(hint: &str) -> bool {
    !FOR_PROGRAMS.iter().any(|mark| hint.contains(mark))
}

/// A page without a frame, for a failure before the person is known.
fn apart(request: PageRequest<'_>, fault: &Fault) -> Response {
    let (status, message, _) = said(request.app, request.id, fault);
    respond(status, account::problem("This page could not be shown", &message))
}

/// Leads to the sign-in, and from there back.
fn lead_to_login(head: &Parts) -> Response {
    let wanted = head.uri.path_and_query().map_or("/", |it| it.as_str());
    let address = format!("/login?next={}", utf8_percent_encode(wanted, IN_QUERY));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_str(&address).unwrap_or(HeaderValue::from_static("/login")));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Adds the headers that every answer of a page has, where it has none of its own.
pub fn secured(mut response: Response) -> Response {
    /// A page loads only what this Kith serves, and no page of others may frame it.
    const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; font-src 'self'; img-src 'self' data:; \
        connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// A document as a response. Pages hold customers' data and are never kept.
pub fn respond(status: StatusCode, document: Markup) -> Response {
    let mut response = Response::new(Body::from(document.into_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    secured(response)
}
