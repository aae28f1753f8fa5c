//! `/v1`: a request is read in its key's dialect, answered by the hall, and the answer written in the same dialect.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use futures_util::FutureExt;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::{self, Dialect, Meta, Reply, table_of};
use crm::model::answer::Answer;
use crm::model::call::{Call, Method, parse_path, parse_query};
use crm::model::fault::Fault;
use crm::model::lifecycle::Phase;
use crm::model::who::Provenance;

use crate::access::Caller;
use crate::access::limits::{self, Quota, Window};
use crate::app::App;
use crate::clock::iso;
use crate::door::people::{self, Done};
use crate::door::{MAX_BODY_BYTES, Peer};
use crate::hall;
use crate::hall::idempotency::{self, Kept, Keyed};
use crate::proxies::Proxies;
use crate::store::tenant::transaction::Transaction;

/// Longest value of a provenance header that is kept, in bytes.
const MAX_PROVENANCE_BYTES: usize = 500;

/// Bytes of a refused body that are read and thrown away at most, and for how long.
const MAX_DRAINED_BYTES: usize = 32 * 1024 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A request's way through the door.
pub async fn serve(app: &Arc<App>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let request_id = app.clock.id("req");
    let (head, mut body) = request.into_parts();
    let method = head.method.clone();
    let peer = request_peer(&head, &app.proxies);
    let mut visit = HttpRequest {
        app,
        request_id: &request_id,
        caller: None,
        workspace_id: None,
        dialect: &AGENTCRM,
        version: None,
        table: None,
        quota: None,
        peer,
    };
    // A panic is a defect like any other: the caller gets its request id, the others notice nothing.
    let served = AssertUnwindSafe(visit.serve(&head, &mut body)).catch_unwind().await;
    let served = served.unwrap_or_else(|_| Err(Fault::internal("a panic, see above")));
    let (mut reply, failure) = match served {
        Ok(Served::Answer(answer)) => (visit.show(&Ok(answer)), None),
        Ok(Served::Done(done)) => {
            visit.workspace_id = done.workspace_id;
            let mut reply = visit.show(&Ok(done.answer));
            reply.status = done.status.unwrap_or(reply.status);
            reply.headers.extend(done.headers);
            (reply, None)
        }
        Ok(Served::Kept(kept)) => {
            let mut reply = kept.reply;
            if kept.replayed {
                reply.headers.push(("idempotent-replayed", "true".to_owned()));
            }
            (reply, None)
        }
        Err(fault) => {
            let result = Err(fault);
            (visit.show(&result), result.err())
        }
    };
    log(&visit, &method, head.uri.path(), reply.status, failure.as_ref(), started);
    if let Some(fault) = &failure {
        drain(&head, &mut body, fault).await;
    }
    reply.headers.extend(visit.version().map(|(header, version)| (header, version.to_owned())));
    respond(reply, &request_id, visit.quota)
}

/// Where a request comes from, as far as proxies that are known say it.
fn request_peer(head: &Parts, proxies: &Proxies) -> Option<IpAddr> {
    let peer = head.extensions.get::<Peer>()?.0.ip();
    // A line that is no text is nobody's address.
    let lines = head.headers.get_all("x-forwarded-for").iter().map(|line| line.to_str().unwrap_or("?"));
    Some(proxies.client(peer, lines))
}

/// What a request came to: an answer to be written, one of people's with what goes beside it, or one that was written and
/// kept.
enum Served {
    Answer(Answer),
    Done(Done),
    Kept(Kept),
}

/// What is known of a request while it is served.
pub struct HttpRequest<'a> {
    /// What the doors share.
    pub app: &'a Arc<App>,
    request_id: &'a str,
    /// Who has shown a key.
    pub caller: Option<Caller>,
    /// The workspace that a person's act was about.
    workspace_id: Option<String>,
    dialect: &'static Dialect,
    /// The version of the dialect that the request asked for.
    version: Option<&'static str>,
    /// The table that the request is about.
    table: Option<String>,
    quota: Option<Quota>,
    /// Where the request comes from.
    pub peer: Option<IpAddr>,
}

impl HttpRequest<'_> {
    async fn serve(&mut self, head: &Parts, body: &mut Body) -> Result<Served, Fault> {
        let path = head.uri.path();
        let below = path.strip_prefix("/v1/").ok_or_else(|| Fault::NoSuchPath { path: path.to_owned() });
        let segments = match below.and_then(parse_path) {
            Ok(segments) => segments,
            Err(fault) => {
                // What leads nowhere is said in the words of who asks, too.
                if let Some(key) = bearer(&head.headers)?.filter(|token| dialect::of_key(token).is_some()) {
                    self.identify(key).await?;
                }
                return Err(fault);
            }
        };
        if people::is_here(&segments) {
            let served = people::serve(self, head, body, segments).await.map(Served::Done);
            // People's paths answer in one shape, whatever key is shown there.
            self.dialect = &AGENTCRM;
            return served;
        }
        match bearer(&head.headers)? {
            Some(token) => self.identify(token).await?,
            None => return Err(Fault::Unauthorized { message: "This path needs an API key.".into() }),
        }
        if let Some(versions) = self.dialect.versions {
            let asked = head.headers.get(versions.header).map(|value| String::from_utf8_lossy(value.as_bytes()));
            self.version = Some(versions.choose(asked.as_deref())?);
        }
        let method = Method::parse(head.method.as_str());
        let Some(method) = method else {
            let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
            let allow = (self.dialect.methods)(&segments).into_iter().map(Method::name).collect();
            return Err(Fault::MethodNotAllowed { allow });
        };
        let body = read_body(body).await?;
        let call = Call {
            method,
            path: segments,
            query: parse_query(head.uri.query().unwrap_or(""))?,
            content_type: head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()),
            body: &body,
        };
        let ask = (self.dialect.read)(&call);
        self.table = ask.as_ref().ok().and_then(table_of).map(str::to_owned);
        let provenance = provenance(&head.headers, self.request_id);
        let caller = self.caller.as_ref().ok_or_else(|| Fault::internal("a request without a caller got this far"))?;
        let asker = hall::Caller { who: &caller.who, place: &caller.key.access.place, provenance: &provenance };
        let key = head.headers.get("idempotency-key").filter(|_| method == Method::Post);
        if let Some(key) = key {
            let key = key.to_str().map_err(|_| Fault::invalid("The Idempotency-Key must be plain ASCII."))?;
            let keyed = Keyed::new(key, &call, self.dialect.name)?;
            let show = |result: &Result<Answer, Fault>| self.show(result);
            return idempotency::serve(self.app, asker, &keyed, ask, show).await.map(Served::Kept);
        }
        hall::answer(&self.app.store, &mut Transaction::PerPlan, asker, &ask?).await.map(Served::Answer)
    }

    /// ReadBatcher up whose key this is, and counts the request.
    pub async fn identify(&mut self, key: &str) -> Result<(), Fault> {
        // A key that has ended is refused in the words that its owner understands.
        self.dialect = dialect::of_key(key).unwrap_or(self.dialect);
        let caller = self.app.keys.caller(&self.app.store, &self.app.clock, key).await?;
        let key = caller.key.clone();
        self.caller = Some(caller);
        self.count(&key.uses.window)?;
        key.terms.take(self.app.clock.unix_seconds())
    }

    /// Counts the request of a key or a session.
    pub fn count(&mut self, window: &Window) -> Result<(), Fault> {
        let now = self.app.clock.unix_seconds();
        let quota = window.take(self.app.rate_limit, now);
        self.quota = Some(quota);
        if quota.allowed {
            return Ok(());
        }
        let message = format!("More than {} requests a minute with this key or session.", quota.limit);
        Err(Fault::RateLimited { retry_after: (quota.reset_at - now).max(1) as u64, message })
    }

    /// Counts a workspace that is made without an account.
    pub fn keep_to_workspaces(&self) -> Result<(), Fault> {
        if self.app.rate_limit > 0
            && let Some(peer) = self.peer
            && let Some(retry_after) = self.app.sign_ups.take(limits::network(peer), self.app.clock.unix_seconds())
        {
            let message = "More than 60 workspaces an hour from this address.".into();
            return Err(Fault::RateLimited { retry_after, message });
        }
        Ok(())
    }

    /// Writes the answer or the fault in the caller's dialect.
    fn show(&self, result: &Result<Answer, Fault>) -> Reply {
        let who = self.caller.as_ref().map(|caller| &caller.who);
        let expires_at = who.and_then(|who| match who.phase {
            Phase::Unclaimed { expires_at } | Phase::ReadOnly { expires_at } => Some(expires_at),
            Phase::Claimed | Phase::Revoked => None,
        });
        let workspace_id = who.map(|who| &*who.workspace_id).or(self.workspace_id.as_deref());
        let claim_url = expires_at.and(workspace_id).map(|id| format!("{}/claim/{id}", self.app.public_url));
        let expires_at = expires_at.map(iso);
        let mut meta = Meta {
            request_id: self.request_id,
            workspace_id,
            claim_url: claim_url.as_deref(),
            ttl_expires_at: expires_at.as_deref(),
            public_url: &self.app.public_url,
            table: self.table.as_deref(),
        };
        if let Ok(Answer::Workspace { workspace_id, claim_url, ttl_expires_at, .. }) = result {
            meta.workspace_id = Some(workspace_id);
            (meta.claim_url, meta.ttl_expires_at) = (claim_url.as_deref(), ttl_expires_at.as_deref());
        }
        match result {
            Ok(answer) => (self.dialect.show)(answer, &meta),
            Err(fault) => (self.dialect.show_fault)(fault, &meta),
        }
    }

    /// The header that says in which version of its dialect the answer is.
    fn version(&self) -> Option<(&'static str, &'static str)> {
        self.dialect.versions.map(|versions| (versions.header, self.version.unwrap_or(versions.newest())))
    }
}

/// The Bearer token; none where there is no Authorization header.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let refuse = || Fault::Unauthorized { message: "The Authorization header must be \"Bearer <api key>\".".into() };
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refuse)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(refuse());
    }
    Ok(Some(token.trim()))
}

/// The whole body.
pub async fn read_body(body: &mut Body) -> Result<Bytes, Fault> {
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(Fault::PayloadTooLarge { limit: MAX_BODY_BYTES })
        }
        Err(error) => Err(Fault::invalid(format!("The body could not be read: {error}."))),
    }
}

/// Reads what is left of a refused body and throws it away: who is still sending when the connection closes may never
/// read why. Within bounds; and who waits to be told to send is not told.
async fn drain(head: &Parts, body: &mut Body, fault: &Fault) {
    if head.headers.contains_key(header::EXPECT) && !matches!(fault, Fault::PayloadTooLarge { .. }) {
        return;
    }
    let rest = async {
        let mut drained = 0;
        while let Some(Ok(frame)) = body.frame().await {
            drained += frame.data_ref().map_or(0, Bytes::len);
            if drained > MAX_DRAINED_BYTES {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_LIMIT, rest).await;
}

fn provenance(headers: &HeaderMap, request_id: &str) -> Provenance {
    let text = |name: &str| {
        let bytes = headers.get(name)?.as_bytes();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_PROVENANCE_BYTES)]);
        Some(text.trim_end_matches('\u{fffd}').to_owned())
    };
    Provenance {
        agent: text("x-agent"),
        run_id: text("x-run-id"),
        reason: text("x-reason"),
        request_id: request_id.to_owned(),
    }
}

fn respond(reply: Reply, request_id: &str, quota: Option<Quota>) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut add = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    };
    add("x-request-id", request_id);
    for (name, value) in &reply.headers {
        add(name, value);
    }
    if let Some(quota) = quota {
        add("x-ratelimit-limit", &quota.limit.to_string());
        add("x-ratelimit-remaining", &quota.remaining.to_string());
        add("x-ratelimit-reset", &quota.reset_at.to_string());
    }
    response
}

/// One line a request; the query string stays out of it, since it may hold customers' data.
fn log(
    visit: &HttpRequest<'_>,
    method: &axum::http::Method,
    path: &str,
    status: u16,
    failure: Option<&Fault>,
    started: Instant,
) {
    let took = started.elapsed();
    metrics::histogram!("kith_request_seconds").record(took.as_secs_f64());
    metrics::counter!("kith_requests_total", "status" => status_class(status)).increment(1);
    let workspace_id = visit
        .caller
        .as_ref()
        .map(|caller| &*caller.who.workspace_id)
        .or(visit.workspace_id.as_deref())
        .unwrap_or_default();
    let (request_id, took_us) = (visit.request_id, took.as_micros() as u64);
    let path = without_secret(path);
    match failure {
        Some(Fault::Internal { cause, place }) => {
            tracing::error!(request_id, workspace_id, %method, path, status, took_us, cause, %place, "request failed");
        }
        _ => tracing::debug!(request_id, workspace_id, %method, path, status, took_us, "request"),
    }
}

/// A path as it may be logged: one that ends in an invitation's token does so without it.
fn without_secret(path: &str) -> &str {
    const ACCEPT: &str = "/v1/members/accept/";
    if path.starts_with(ACCEPT) { ACCEPT } else { path }
}

fn status_class(status: u16) -> &'static str {
    match status {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::without_secret;

    #[test]
    fn an_invitations_token_is_not_logged() {
        assert_eq!(without_secret("/v1/members/accept/kin_0123456789"), "/v1/members/accept/");
        assert_eq!(without_secret("/v1/contacts/c_1"), "/v1/contacts/c_1");
    }
}
