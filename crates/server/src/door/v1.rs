//! `/v1`: the data plane or `door::people` serves each request. All requests are answered, counted and logged in the same way.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::Response;
use futures_util::FutureExt;

use crm::dialect;
use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::controls;
use crm::model::call::parse_path;
use crm::model::fault::Fault;
use crm::model::who::Mode;

use crate::app::App;
use crate::door::reply::{Envelope, Served};
use crate::door::request::HttpRequest;
use crate::door::{inbound, logged_path, people, rest};
use crate::store::control::request_log::LoggedRequest;

/// Serves a request.
pub async fn serve(app: &Arc<App>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let id = app.clock.id("req");
    let (head, body) = request.into_parts();
    let mut request = HttpRequest::new(app, &id, &head, body);
    let mut envelope = Envelope::new(app, &id);
    // A panic is handled like any other defect: the caller gets the request id, and other requests are not affected.
    let served = AssertUnwindSafe(dispatch(&mut request, &mut envelope)).catch_unwind().await;
    finish(&mut request, &mut envelope, served, started).await
}

/// Writes the answer to a request, and logs it. `served` is an error if there was a panic.
pub async fn finish(
    request: &mut HttpRequest<'_>,
    envelope: &mut Envelope<'_>,
    served: std::thread::Result<Result<Served, Fault>>,
    started: Instant,
) -> Response {
    let ((reply, stream), failure) = match served.unwrap_or_else(|_| Err(Fault::internal("a panic, see above"))) {
        Ok(served) => (envelope.write(served), None),
        Err(fault) => {
            let result = Err(fault);
            ((envelope.show(&result), None), result.err())
        }
    };
    log(request, envelope, reply.status, failure.as_ref(), started);
    if let Some(fault) = &failure {
        request.drain(fault).await;
    }
    envelope.respond(reply, stream)
}

async fn dispatch(request: &mut HttpRequest<'_>, envelope: &mut Envelope<'_>) -> Result<Served, Fault> {
    let path = request.head.uri.path();
    let below = path.strip_prefix("/v1/").ok_or_else(|| Fault::NoSuchPath { path: path.to_owned() });
    let segments = match below.and_then(parse_path) {
        Ok(segments) => segments,
        Err(fault) => {
            // An unknown path is answered in the caller's dialect, too.
            if let Some(key) = request.bearer()?.filter(|token| dialect::of_key(token).is_some()) {
                rest::admit(request, envelope, key).await?;
            }
            return Err(fault);
        }
    };
    let is_read = matches!(request.head.method, Method::GET | Method::HEAD);
    if segments[0] == inbound::FIRST {
        controls::none(&controls::read(request.headers())?, is_read)?;
        return Box::pin(inbound::serve(request, &segments)).await.map(Served::Person);
    }
    if people::is_here(&segments) {
        controls::none(&controls::read(request.headers())?, is_read)?;
        // On the heap, because it is large and would enlarge the future of every other request.
        let served = Box::pin(people::serve(request, envelope, segments)).await;
        // People's paths answer in one shape, even if a key of another dialect is used.
        envelope.dialect = &AGENTCRM;
        return served.map(Served::Person);
    }
    rest::serve(request, envelope, segments).await
}

/// Logs a request: one line for the operator, and an entry for the workspace. The query string is left out, since it may hold
/// customers' data.
pub fn log(request: &HttpRequest<'_>, envelope: &Envelope<'_>, status: u16, failure: Option<&Fault>, started: Instant) {
    let took = started.elapsed();
    metrics::histogram!("kith_request_seconds").record(took.as_secs_f64());
    metrics::counter!("kith_requests_total", "status" => status_class(status)).increment(1);
    let workspace_id = envelope.workspace_id().unwrap_or_default();
    let (request_id, method, took_us) = (request.id, &request.head.method, took.as_micros() as u64);
    let path = logged_path::shown(request.head.uri.path());
    if !workspace_id.is_empty() && !is_own_read(request) {
        request.app.request_log.note(workspace_id, || {
            let who = envelope.who();
            LoggedRequest {
                id: request_id.to_owned(),
                workspace_id: who.map_or_else(|| workspace_id.into(), |who| who.workspace_id.clone()),
                mode: who.map_or(Mode::Live, |who| who.mode),
                at_ms: request.app.clock.unix_ms() - (took_us / 1000) as i64,
                method: method.as_str().to_owned(),
                path: path.clone().into_owned(),
                status,
                duration_us: took_us,
                actor: who.map(|who| who.actor.clone()).or_else(|| envelope.actor.clone()),
                agent: request.agent(),
                tool: envelope.tool.clone(),
                code: failure.map(Fault::code).or(envelope.tool_code),
            }
        });
    }
    match failure.map(|fault| fault.apart().0) {
        Some(Fault::Internal { cause, place }) => {
            tracing::error!(request_id, workspace_id, %method, path = &*path, status, took_us, cause, %place, "request failed");
        }
        _ => tracing::debug!(request_id, workspace_id, %method, path = &*path, status, took_us, "request"),
    }
}

/// Whether a page of Kith reads. Otherwise the page of the log would fill the log.
fn is_own_read(request: &HttpRequest<'_>) -> bool {
    request.head.uri.path().starts_with("/app/") && matches!(request.head.method, Method::GET | Method::HEAD)
}

fn status_class(status: u16) -> &'static str {
    match status {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
