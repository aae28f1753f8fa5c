//! `POST /mcp`: the Model Context Protocol over stateless Streamable HTTP. Each request is one JSON-RPC message, and each
//! answer one JSON object. A call of a tool is read and shown by the caller's dialect and performed by the hall.
//!
//! What concerns HTTP is refused as under `/v1`, in the dialect's shape: the origin, the method, the key, the rate and the
//! size. What concerns the message is refused as JSON-RPC. What concerns a tool is the result of its call.

mod call;
mod completions;
mod guard;
mod methods;
mod operations;
mod resources;
mod rpc;
mod session;
mod version;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use futures_util::FutureExt;

use crm::dialect::Reply;
use crm::dialect::relm::RELM;
use crm::dialect::tools::Offer;
use crm::model::call::parse_query;
use crm::model::fault::Fault;

use crate::access::{self, Caller};
use crate::app::App;
use crate::door::reply::Envelope;
use crate::door::request::HttpRequest;
use crate::door::{oauth, rest, v1};
use crate::people::apps::scopes::Scopes;
use crate::store::room::Room;

use rpc::Incoming;

/// Serves a request to `/mcp`.
pub async fn serve(app: &Arc<App>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let id = app.clock.id("req");
    let (head, body) = request.into_parts();
    let mut request = HttpRequest::new(app, &id, &head, body);
    let mut envelope = Envelope::new(app, &id);
    let served = AssertUnwindSafe(answer(&mut request, &mut envelope)).catch_unwind().await;
    let (reply, failure) = match served.unwrap_or_else(|_| Err(Fault::internal("a panic, see above"))) {
        Ok(reply) => (reply, None),
        Err(fault) => (refusal(&request, &envelope, &fault), Some(fault)),
    };
    v1::log(&request, &envelope, reply.status, failure.as_ref(), started);
    if let Some(fault) = &failure {
        // People who set up a client see only that it could not connect.
        tracing::info!(request_id = %id, status = reply.status, code = fault.code(), reason = %fault.message(), "MCP request refused");
        request.drain(fault).await;
    }
    let has_body = !reply.body.is_empty();
    let mut response = envelope.respond(reply, None);
    if !has_body {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    response
}

/// The reply to a request that is refused before its message counts.
fn refusal(request: &HttpRequest<'_>, envelope: &Envelope<'_>, fault: &Fault) -> Reply {
    let mut reply = envelope.show(&Err(fault.clone()));
    for (name, value) in &mut reply.headers {
        if *name == "www-authenticate" {
            *value = challenge(&request.app.public_url, request.head.headers.contains_key(header::AUTHORIZATION));
        }
    }
    reply
}

/// The challenge of a refusal without a valid key or token (RFC 6750). It says where clients learn how to get one (RFC 9728).
fn challenge(public_url: &str, had_token: bool) -> String {
    let error = if had_token { ", error=\"invalid_token\"" } else { "" };
    let (metadata, scopes) = (oauth::resource_metadata(public_url), Scopes::USUAL);
    format!("Bearer realm=\"Kith\"{error}, resource_metadata=\"{metadata}\", scope=\"{scopes}\"")
}

/// Admits a caller with an API key or with the token of a connected app, which speaks Relm.
async fn admit(request: &mut HttpRequest<'_>, envelope: &mut Envelope<'_>, token: &str) -> Result<Caller, Fault> {
    if !access::is_app_token(token) {
        return rest::admit(request, envelope, token).await;
    }
    envelope.dialect = &RELM;
    let resource = oauth::resource(&request.app.public_url);
    match access::admit_app(request.app, token, &resource, request.peer, request.provenance()).await {
        Ok(caller) => {
            envelope.admitted(Some(&caller.who), caller.rate);
            Ok(caller)
        }
        Err(refused) => Err(envelope.refused(*refused)),
    }
}

async fn answer(request: &mut HttpRequest<'_>, envelope: &mut Envelope<'_>) -> Result<Reply, Fault> {
    guard::check(request.head, &request.app.public_url)?;
    if request.head.method != Method::POST {
        return Err(Fault::MethodNotAllowed { allow: vec!["POST"] });
    }
    let Some(token) = request.bearer()? else {
        return Err(Fault::Unauthorized {
            message: "MCP needs an API key, or an app that a person has connected.".into(),
        });
    };
    let caller = admit(request, envelope, token).await?;
    rest::choose_version(request, envelope)?;
    let limits = request.limits()?;
    let offer = offer(request, &caller)?;
    let room = Room::new(request.app.memory.answers.clone(), caller.owner.clone(), caller.who.workspace_id.clone());
    envelope.room = Some(room.clone());
    is_json(request)?;
    let body = request.body(&caller).await?;
    let incoming = rpc::read(&body);
    if let Ok(Incoming::Request(message)) = &incoming
        && message.calls("batch")
    {
        // Each operation is copied when its turn comes.
        body.hold_copy().await?;
    }
    let _values = body.into_values();
    let message = match incoming {
        Ok(Incoming::Request(message)) => message,
        // Nothing is sent to clients that they could answer, and nothing depends on their notifications.
        Ok(Incoming::Notification | Incoming::Response) => return Ok(reply(202, Vec::new())),
        Err(error) => return Ok(reply(error.status, rpc::error(None, &error))),
    };
    let rpc::Message { id, method, params } = message;
    let era = match version::era(request.head, &method, &params) {
        Ok(era) => era,
        Err(error) => return Ok(reply(error.status, rpc::error(Some(&id), &error))),
    };
    let session = session::Session {
        app: request.app,
        id: request.id,
        head: request.head,
        envelope,
        caller: &caller,
        offer,
        era,
        limits,
    };
    Ok(match room.around(session.answer(&method, params)).await {
        Ok(result) => reply(200, rpc::result(&id, &result)),
        Err(error) => reply(error.status, rpc::error(Some(&id), &error)),
    })
}

fn reply(status: u16, body: Vec<u8>) -> Reply {
    debug_assert!(StatusCode::from_u16(status).is_ok());
    Reply { status, headers: Vec::new(), body }
}

/// The tools that the caller may use. `?tools=core` lists the small set.
fn offer(request: &HttpRequest<'_>, caller: &Caller) -> Result<Offer, Fault> {
    let mut is_core = false;
    for (name, value) in parse_query(request.head.uri.query().unwrap_or(""))? {
        match (name.as_str(), value.as_str()) {
            ("tools", "core") => is_core = true,
            ("tools", "all") => is_core = false,
            ("tools", other) => return Err(Fault::invalid(format!("tools is core or all, not \"{other}\"."))),
            (name, _) => return Err(Fault::unknown_parameter(name, ["tools"].into_iter())),
        }
    }
    Ok(Offer::of(is_core, &caller.who))
}

fn is_json(request: &HttpRequest<'_>) -> Result<(), Fault> {
    let sent = request.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = sent.split(';').next().unwrap_or("").trim();
    match media_type.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(Fault::UnsupportedMediaType { sent: media_type.to_owned() }),
    }
}
