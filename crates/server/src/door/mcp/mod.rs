//! `POST /mcp`: the Model Context Protocol over stateless Streamable HTTP. Each request is one JSON-RPC message, and each
//! answer one JSON object, or a stream of events if the client wants to know how far a long call is. A call of a tool is read
//! and shown by the caller's dialect and performed by the hall.
//!
//! What concerns HTTP is refused as under `/v1`, in the dialect's shape: the origin, the method, the key, the rate and the
//! size. What concerns the message is refused as JSON-RPC. What concerns a tool is the result of its call.

mod asked;
mod call;
mod completions;
mod confirm;
mod guard;
mod labels;
mod methods;
mod operations;
mod progress;
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
use serde_json::{Map, Value};

use crm::dialect::Reply;
use crm::dialect::relm::RELM;
use crm::dialect::tools::{self, Offer};
use crm::model::call::parse_query;
use crm::model::email::MAX_SENDING_BODY_BYTES;
use crm::model::fault::Fault;

use crate::access::{self, Caller, ConnectedApp, SQL_SCOPE};
use crate::app::App;
use crate::door::reply::Envelope;
use crate::door::request::{HttpRequest, MAX_BODY_BYTES};
use crate::door::{oauth, rest, v1};
use crate::hall::Progress;
use crate::people::apps::scopes::Scopes;
use crate::running::CallName;
use crate::store::room::Room;

use progress::CallProgress;
use rpc::{Incoming, RpcError};

/// Serves a request to `/mcp`.
pub async fn serve(app: &Arc<App>, request: Request<Body>) -> Response {
    if !progress::may_be_sent(request.headers()) {
        return served(app.clone(), request, None).await;
    }
    let (progress, observer) = CallProgress::new();
    // On the heap, because it may go on while the answer is being sent.
    let call = Box::pin(served(app.clone(), request, Some(progress.clone())));
    progress::answered(call, progress, observer).await
}

async fn served(app: Arc<App>, request: Request<Body>, progress: Option<Arc<CallProgress>>) -> Response {
    let started = Instant::now();
    let id = app.clock.id("req");
    let (head, body) = request.into_parts();
    let mut request = HttpRequest::new(&app, &id, &head, body);
    let mut envelope = Envelope::new(&app, &id);
    let served = AssertUnwindSafe(answer(&mut request, &mut envelope, progress.as_deref())).catch_unwind().await;
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
async fn admit(
    request: &mut HttpRequest<'_>,
    envelope: &mut Envelope<'_>,
    token: &str,
) -> Result<(Caller, Option<ConnectedApp>), Fault> {
    if !access::is_app_token(token) {
        return Ok((rest::admit(request, envelope, token).await?, None));
    }
    envelope.dialect = &RELM;
    let resource = oauth::resource(&request.app.public_url);
    match access::admit_app(request.app, token, &resource, request.peer, request.provenance()).await {
        Ok((caller, connected)) => {
            envelope.admitted(Some(&caller.who), caller.rate);
            Ok((caller, Some(connected)))
        }
        Err(refused) => Err(envelope.refused(*refused)),
    }
}

async fn answer(
    request: &mut HttpRequest<'_>,
    envelope: &mut Envelope<'_>,
    progress: Option<&CallProgress>,
) -> Result<Reply, Fault> {
    guard::check(request.head, &request.app.public_url)?;
    if request.head.method != Method::POST {
        return Err(Fault::MethodNotAllowed { allow: vec!["POST"] });
    }
    let Some(token) = request.bearer()? else {
        return Err(Fault::Unauthorized {
            message: "MCP needs an API key, or an app that a person has connected.".into(),
        });
    };
    let (caller, connected) = admit(request, envelope, token).await?;
    rest::choose_version(request, envelope)?;
    let limits = request.limits()?;
    let offer = offer(request, &caller)?;
    let room = Room::new(request.app.memory.answers.clone(), caller.owner.clone(), caller.who.workspace_id.clone());
    envelope.room = Some(room.clone());
    is_json(request)?;
    let body = request.body(&caller, MAX_SENDING_BODY_BYTES).await?;
    let incoming = rpc::read(&body);
    let calls = |tool| matches!(&incoming, Ok(Incoming::Request(message)) if message.calls(tool));
    if calls("batch") || calls("call_api") || calls("send_email") {
        // Each operation of a batch is copied when its turn comes, and a message when it is read. A request may be either.
        body.hold_copy().await?;
    } else if body.len() > MAX_BODY_BYTES {
        return Err(Fault::PayloadTooLarge { limit: MAX_BODY_BYTES });
    }
    let values = body.into_values();
    let message = match incoming {
        Ok(Incoming::Request(message)) => message,
        Ok(Incoming::Cancellation(id)) => {
            request.app.running.cancel(&name(request, &caller, &id));
            return Ok(reply(202, Vec::new()));
        }
        // Nothing is sent to clients that they could answer, and nothing depends on their notifications.
        Ok(Incoming::Notification | Incoming::Response) => return Ok(reply(202, Vec::new())),
        Err(error) => return Ok(reply(error.status, rpc::error(None, &error))),
    };
    let rpc::Message { id, method, params } = message;
    let era = match version::era(request.head, &method, &params) {
        Ok(era) => era,
        Err(error) => return Ok(reply(error.status, rpc::error(Some(&id), &error))),
    };
    if let Some(connected) = connected
        && let Some(scopes) = lacking(&connected, offer, &method, &params)
    {
        return Ok(step_up(request, envelope, scopes));
    }
    let wanted = progress.filter(|progress| {
        let steps = steps_of(&method, &params);
        steps.is_some_and(|steps| progress.is_wanted(&id, &params, steps, envelope))
    });
    let running = (method == "tools/call").then(|| request.app.running.begin(name(request, &caller, &id)));
    let session = session::Session {
        app: request.app,
        id: request.id,
        head: request.head,
        envelope,
        caller: &caller,
        offer,
        era,
        limits,
        progress: wanted.map(|progress| progress as &dyn Progress),
        values: values.as_ref(),
    };
    let work = room.around(session.answer(&method, params));
    let answered = match &running {
        None => work.await,
        Some(running) => tokio::select! {
            biased;
            answered = work => answered,
            () = running.cancelled() => Err(RpcError::cancelled()),
        },
    };
    Ok(match answered {
        Ok(result) => reply(200, rpc::result(&id, &result)),
        Err(error) => {
            if error.code == rpc::CANCELLED {
                envelope.tool_code = Some("cancelled");
            }
            reply(error.status, rpc::error(Some(&id), &error))
        }
    })
}

/// The rights with which a connected app could call the tool that it calls, if it lacks some that its person could give.
fn lacking(app: &ConnectedApp, offer: Offer, method: &str, params: &Map<String, Value>) -> Option<Scopes> {
    let name = params.get("name").and_then(Value::as_str).filter(|_| method == "tools/call")?;
    let tool = tools::by_name(name).filter(|tool| !offer.allows(tool))?;
    let widest = Offer { writes: app.person_writes, may_run_sql: true, ..offer };
    if !widest.allows(&tool) {
        return None;
    }
    let needed = [("crm:write", tool.kind.act.writes()), (SQL_SCOPE, tool.kind.act.runs_sql())];
    let needed = needed.into_iter().filter(|(_, is_needed)| *is_needed).map(|(scope, _)| scope);
    let has = app.scopes.split(' ');
    Scopes::parse(Some(&has.chain(needed).collect::<Vec<_>>().join(" "))).ok()
}

/// Refuses a call for which an app lacks rights, and names all that it must ask the person for (RFC 6750).
fn step_up(request: &HttpRequest<'_>, envelope: &mut Envelope<'_>, scopes: Scopes) -> Reply {
    let message = format!("This app was connected without the rights that this tool needs: {scopes}.");
    let mut reply = envelope.show(&Err(Fault::Forbidden { message }));
    envelope.tool_code = Some("forbidden");
    let metadata = oauth::resource_metadata(&request.app.public_url);
    let challenge = format!(
        "Bearer realm=\"Kith\", error=\"insufficient_scope\", scope=\"{scopes}\", resource_metadata=\"{metadata}\""
    );
    reply.headers.push(("www-authenticate", challenge));
    reply
}

/// What a call's steps are, if it has steps that take their time.
fn steps_of(method: &str, params: &Map<String, Value>) -> Option<&'static str> {
    let name = params.get("name").and_then(Value::as_str).filter(|_| method == "tools/call")?;
    tools::by_name(name)?.kind.act.steps()
}

/// The name of a caller's call.
fn name(request: &HttpRequest<'_>, caller: &Caller, id: &Value) -> CallName {
    let program = request.head.headers.get(header::USER_AGENT);
    CallName {
        workspace_id: caller.who.workspace_id.clone(),
        actor: caller.who.actor.clone(),
        program: program.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        id: id.to_string(),
    }
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
