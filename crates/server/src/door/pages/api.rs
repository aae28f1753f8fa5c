//! `/app/v1/…`: the API as the pages' scripts call it, with the session's cookie. The path below `/app` is one of the API, in
//! the agentCRM dialect; the headers `X-Kith-Workspace` and `X-Kith-Mode` say which workspace and data the page shows, so that
//! a second tab does not change them. Whatever is not a read needs the page's token, besides the rules for cookies.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::Response;
use futures_util::FutureExt;
use subtle::ConstantTimeEq;

use crm::model::call::parse_path;
use crm::model::fault::Fault;
use crm::model::who::Mode;

use crate::access::{self, Credential};
use crate::app::App;
use crate::door::pages::visit::{self, BrowserSession, PageRequest};
use crate::door::reply::{Envelope, Served};
use crate::door::request::HttpRequest;
use crate::door::{cookie, people, rest, v1};

/// Serves a call of a page's script.
pub async fn serve(app: &Arc<App>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let id = app.clock.id("req");
    let (head, body) = request.into_parts();
    let mut request = HttpRequest::new(app, &id, &head, body);
    let mut envelope = Envelope::new(app, &id);
    let served = AssertUnwindSafe(dispatch(&mut request, &mut envelope)).catch_unwind().await;
    v1::finish(&mut request, &mut envelope, served, started).await
}

async fn dispatch(request: &mut HttpRequest<'_>, envelope: &mut Envelope<'_>) -> Result<Served, Fault> {
    let path = request.head.uri.path();
    let below = path.strip_prefix("/app/v1/").ok_or_else(|| Fault::NoSuchPath { path: path.to_owned() })?;
    let segments = parse_path(below)?;
    if people::is_here(&segments) {
        // The session is found, and the call counted, where people's paths are served.
        check(PageRequest::of(request))?;
        return Box::pin(people::serve(request, envelope, segments)).await.map(Served::Person);
    }
    let session = guarded(PageRequest::of(request)).await?;
    let said = |name: &str| request.head.headers.get(name).and_then(|value| value.to_str().ok());
    let workspace_id = said("x-kith-workspace").unwrap_or_default();
    let mode = said("x-kith-mode").map_or(Some(Mode::Live), Mode::parse);
    let mode = mode.ok_or_else(|| Fault::invalid("X-Kith-Mode is live or test."))?;
    let caller = access::admit_member(request.app, &session.person, workspace_id, mode, request.provenance()).await;
    let caller = caller.map_err(|refused| envelope.refused(*refused))?;
    envelope.admitted(Some(&caller.who), caller.rate);
    let credential = Credential::Session(session.token.to_owned());
    Box::pin(rest::answer(request, envelope, segments, (caller, credential))).await
}

/// The session of a request that a page of Kith made.
pub async fn guarded(request: PageRequest<'_>) -> Result<BrowserSession<'_>, Fault> {
    check(request)?;
    visit::session(request).await?.ok_or_else(|| Fault::NotSignedIn {
        message: "You are not signed in any more.".into(),
        hint: "Sign in again at /login.".into(),
    })
}

/// Refuses a request that changes something and does not come from a page of this session, which sends the page's token.
fn check(request: PageRequest<'_>) -> Result<(), Fault> {
    if matches!(request.head.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    cookie::keep_to_own_pages(request.head, &request.app.public_url)?;
    let session = cookie::session(&request.head.headers, &request.app.public_url);
    let expected = session.map(|session| visit::csrf(session.token)).unwrap_or_default();
    let sent = request.head.headers.get("x-csrf-token").map(|value| value.as_bytes()).unwrap_or_default();
    if expected.is_empty() || !bool::from(sent.ct_eq(expected.as_bytes())) {
        return Err(Fault::Forbidden {
            message: "This page is out of date, or the request is not its own. Load the page again.".into(),
        });
    }
    Ok(())
}
