//! A request under `/v1` before it is routed: its head, its client's address, and the body, which is read once the caller is
//! known.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crm::dialect::controls::{self, Limits};
use crm::model::call::{Call, Method, is_message, parse_query};
use crm::model::fault::Fault;
use crm::model::json::{self, Weight};
use crm::model::who::{Provenance, checked_run_id};

use crate::access::Caller;
use crate::app::App;
use crate::budget::{self, Budget, Held, NoRoom, Owner};
use crate::door::Peer;
use crate::door::body_buffer::BodyBuffer;

// Names that every request is searched for. As constants they need no parsing.
const X_AGENT: HeaderName = HeaderName::from_static("x-agent");
const X_REASON: HeaderName = HeaderName::from_static("x-reason");
const X_RUN_ID: HeaderName = HeaderName::from_static("x-run-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The most bytes of a body.
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// The most bytes of a person's body, which is a form with a few fields.
pub const MAX_FORM_BYTES: usize = 16 * 1024;
/// The most bytes of a provider's webhook, which has the heads of a message and no content.
const MAX_WEBHOOK_BYTES: usize = 64 * 1024;

/// A body and its values take at most this many times the largest body.
const MOST_TIMES: usize = 4;

/// Bodies up to this size are not counted against a budget.
const SMALL: usize = 16 * 1024;
/// The size of the steps in which room is requested.
const PART: usize = budget::FIRST_PART;

/// The most bytes of a refused body that are read and discarded, and the longest time for it.
const MAX_DRAINED_BYTES: usize = 32 * 1024 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A request.
pub struct HttpRequest<'a> {
    /// The state that doors share.
    pub app: &'a Arc<App>,
    /// `req_…`
    pub id: &'a str,
    /// Method, address and headers.
    pub head: &'a Parts,
    /// The client's address, as reported by trusted proxies.
    pub peer: Option<IpAddr>,
    body: Body,
}

/// A body that was read, and the room that it holds.
pub struct ReadBody {
    bytes: Bytes,
    /// Held while the bytes exist.
    _held: Option<Held>,
    values: Option<Held>,
    /// The memory of the values, if they are counted.
    tree_bytes: usize,
}

impl Deref for ReadBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl ReadBody {
    /// Drops the bytes. Returns the room of the values that were parsed from them.
    pub fn into_values(self) -> Option<Held> {
        self.values
    }

    /// Holds room for a second copy of the values.
    pub async fn hold_copy(&self) -> Result<(), Fault> {
        match &self.values {
            Some(values) => values.grow(self.tree_bytes).await.map_err(|NoRoom| busy()),
            None => Ok(()),
        }
    }
}

impl<'a> HttpRequest<'a> {
    /// Creates a request from its head and body.
    pub fn new(app: &'a Arc<App>, id: &'a str, head: &'a Parts, body: Body) -> HttpRequest<'a> {
        HttpRequest { app, id, head, peer: peer(app, head), body }
    }

    /// The Bearer token; `None` if there is no Authorization header.
    pub fn bearer(&self) -> Result<Option<&'a str>, Fault> {
        let Some(value) = self.head.headers.get(header::AUTHORIZATION) else { return Ok(None) };
        let refuse =
            || Fault::Unauthorized { message: "The Authorization header must be \"Bearer <api key>\".".into() };
        let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refuse)?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
            return Err(refuse());
        }
        Ok(Some(token.trim()))
    }

    /// What the headers say about how the call is performed. They are checked before anything is done.
    pub fn limits(&self) -> Result<Limits, Fault> {
        if let Some(run_id) = self.only(&X_RUN_ID)? {
            checked_run_id(run_id.as_bytes())?;
        }
        controls::read(self.headers())
    }

    /// The value of a header that names one thing. Several values would name several.
    pub fn only(&self, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Fault> {
        let mut values = self.head.headers.get_all(name).iter();
        let first = values.next();
        match values.all(|value| Some(value) == first) {
            true => Ok(first),
            false => Err(Fault::invalid(format!("The header \"{name}\" has two values. Nothing was done."))),
        }
    }

    /// The headers, with their names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// The key under which the reply to the request is stored.
    pub fn idempotency_key(&self) -> Result<Option<&'a str>, Fault> {
        let text =
            |key: &'a HeaderValue| key.to_str().map_err(|_| Fault::invalid("The Idempotency-Key must be plain ASCII."));
        self.only(&IDEMPOTENCY_KEY)?.map(text).transpose()
    }

    /// The caller's description of the run that the request belongs to.
    pub fn provenance(&self) -> Provenance {
        let said = |name: HeaderName| self.head.headers.get(name).map(|value| value.as_bytes());
        Provenance::new(self.id, said(X_AGENT), said(X_RUN_ID), said(X_REASON))
    }

    /// The caller's program, as it names itself.
    pub fn agent(&self) -> Option<String> {
        let said = self.head.headers.get(X_AGENT).map(|value| value.as_bytes());
        said.and_then(|said| Provenance::new("", Some(said), None, None).agent)
    }

    /// Reads the whole body of a call, which has at most so many bytes. The memory of the body and its values is charged to the caller's owner.
    pub async fn body(&mut self, caller: &Caller, most: usize) -> Result<ReadBody, Fault> {
        let (bytes, held) = self.read(most, Some(caller)).await?;
        let (mut values, mut tree_bytes) = (None, 0);
        if bytes.len() > SMALL {
            let content_type = self.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let weight = match is_message(content_type) {
                // Its texts are decoded one after the other, each at most this many times as long.
                true => Weight { tree_bytes: bytes.len() * (MOST_TIMES - 1), ..Weight::default() },
                false => json::weigh(&bytes),
            };
            if bytes.len() + weight.tree_bytes > MOST_TIMES * MAX_BODY_BYTES {
                return Err(Fault::TooManyValues { values: weight.values });
            }
            let holder = holder(&self.app.memory.trees, caller);
            holder.grow(weight.tree_bytes).await.map_err(|NoRoom| busy())?;
            (values, tree_bytes) = (Some(holder), weight.tree_bytes);
        }
        Ok(ReadBody { bytes, _held: held, values, tree_bytes })
    }

    /// Reads the whole body of a provider's webhook.
    pub async fn webhook(&mut self) -> Result<Bytes, Fault> {
        Ok(self.read(MAX_WEBHOOK_BYTES, None).await?.0)
    }

    /// Reads the whole body of a form that a person sends.
    pub async fn form(&mut self) -> Result<Bytes, Fault> {
        Ok(self.read(MAX_FORM_BYTES, None).await?.0)
    }

    /// Reads the body and requires a minimum rate. Without a caller it is not charged to a budget.
    async fn read(&mut self, most: usize, caller: Option<&Caller>) -> Result<(Bytes, Option<Held>), Fault> {
        if self.body.is_end_stream() {
            return Ok((Bytes::new(), None));
        }
        let declared = self.body.size_hint().exact().map(|declared| declared as usize);
        if caller.is_some() && declared.is_some_and(|declared| declared > most) {
            return Err(Fault::PayloadTooLarge { limit: most });
        }
        let mut pace = BodyPace::new(self.app, caller.map(|caller| &caller.owner));
        let Some(first) = self.frame(&mut pace).await? else { return Ok((Bytes::new(), None)) };
        if self.body.is_end_stream() && first.len() <= most.min(SMALL) {
            return Ok((first, None));
        }
        let mut whole = BodyBuffer::new(declared.unwrap_or(most).min(most), SMALL);
        let mut held: Option<Held> = None;
        let mut paid = SMALL;
        let mut next = Some(first);
        while let Some(part) = next {
            if whole.len() + part.len() > most {
                return Err(too_large(whole.bytes(), &part, most));
            }
            if let Some(caller) = caller
                && whole.len() + part.len() > paid
            {
                let held = held.get_or_insert_with(|| holder(&self.app.memory.bodies, caller));
                let waited = Instant::now();
                pace.takes_room = true;
                let bytes = PART.max(whole.len() + part.len() - paid);
                held.grow(bytes).await.map_err(|NoRoom| busy())?;
                paid += bytes;
                pace.pause(waited.elapsed());
            }
            whole.push(&part).map_err(|error| {
                tracing::warn!(%error, "no memory for a body");
                busy()
            })?;
            drop(part);
            next = self.frame(&mut pace).await?;
        }
        Ok((whole.into_bytes(), held))
    }

    /// The next part of the body; `None` at its end.
    async fn frame(&mut self, pace: &mut BodyPace<'_>) -> Result<Option<Bytes>, Fault> {
        loop {
            let frame = match timeout_at(pace.look_at, self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(Fault::invalid(format!("The body could not be read: {error}."))),
                Ok(None) => return Ok(None),
                Err(_) => {
                    pace.look()?;
                    continue;
                }
            };
            // Other frames are trailers, which are ignored.
            if let Ok(bytes) = frame.into_data()
                && !bytes.is_empty()
            {
                pace.came(bytes.len())?;
                return Ok(Some(bytes));
            }
        }
    }

    /// The request in the form that dialects read.
    pub fn call<'b>(&self, method: Method, path: Vec<String>, body: &'b [u8]) -> Result<Call<'b>, Fault>
    where
        'a: 'b,
    {
        Ok(Call {
            method,
            path,
            query: parse_query(self.head.uri.query().unwrap_or(""))?,
            content_type: self.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()),
            body,
        })
    }

    /// Reads and discards the rest of a refused body, within bounds. If the connection closes while a client is still
    /// sending, the client may never read the refusal. A client that waits for `100 Continue` does not get it.
    pub async fn drain(&mut self, fault: &Fault) {
        let is_told = matches!(fault, Fault::PayloadTooLarge { .. } | Fault::TooManyValues { .. });
        if matches!(fault, Fault::BodyTimeout) || (self.head.headers.contains_key(header::EXPECT) && !is_told) {
            return;
        }
        let rest = async {
            let mut drained = 0;
            while let Some(Ok(frame)) = self.body.frame().await {
                drained += frame.data_ref().map_or(0, Bytes::len);
                if drained > MAX_DRAINED_BYTES {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(DRAIN_LIMIT, rest).await;
    }
}

fn holder(budget: &Arc<Budget>, caller: &Caller) -> Held {
    budget.holder(caller.owner.clone(), caller.who.workspace_id.clone())
}

/// The fault of a body that is too large, from its beginning and this part. A form that is nested too deeply is not valid JSON.
fn too_large(beginning: &[u8], part: &[u8], limit: usize) -> Fault {
    let is_too_deep = || json::weigh(&[beginning, &part[..limit - beginning.len()]].concat()).is_too_deep;
    match limit == MAX_FORM_BYTES && is_too_deep() {
        true => Fault::InvalidJson { reason: "it is nested too deeply".into() },
        false => Fault::PayloadTooLarge { limit },
    }
}

fn busy() -> Fault {
    Fault::Unavailable { retry_after: 1, message: "Other bodies take all the room that there is for them.".into() }
}

/// The rate at which a body arrives. It is checked several times in each stretch, because a lower rate is enough while no
/// other call waits for the room.
struct BodyPace<'a> {
    app: &'a App,
    owner: Option<&'a Owner>,
    /// Whether the body holds room that others could use.
    takes_room: bool,
    look_at: Instant,
    /// Checks in this stretch, bytes in it, and bytes since the last check.
    looks: u32,
    in_stretch: usize,
    since_look: usize,
}

/// Checks per stretch.
const LOOKS: u32 = 10;

impl<'a> BodyPace<'a> {
    fn new(app: &'a App, owner: Option<&'a Owner>) -> BodyPace<'a> {
        let look_at = Instant::now() + app.bounds.body_stretch / LOOKS;
        BodyPace { app, owner, takes_room: false, look_at, looks: 0, in_stretch: 0, since_look: 0 }
    }

    /// Records that bytes arrived.
    fn came(&mut self, bytes: usize) -> Result<(), Fault> {
        self.since_look += bytes;
        if Instant::now() >= self.look_at { self.look() } else { Ok(()) }
    }

    /// Records time that passed without the client's fault.
    fn pause(&mut self, time: Duration) {
        self.look_at += time;
    }

    fn look(&mut self) -> Result<(), Fault> {
        let bounds = &self.app.bounds;
        let step = bounds.body_stretch / LOOKS;
        let least = |rate: usize, time: Duration| (rate as f64 * time.as_secs_f64()) as usize;
        self.looks += 1;
        self.in_stretch += self.since_look;
        let is_slow = self.looks == LOOKS && self.in_stretch < least(bounds.body_rate, bounds.body_stretch);
        let is_in_the_way = self.since_look < least(bounds.rate_where_scarce, step) && self.is_in_the_way();
        if is_slow || is_in_the_way {
            return Err(Fault::BodyTimeout);
        }
        if self.looks == LOOKS {
            (self.looks, self.in_stretch) = (0, 0);
        }
        self.since_look = 0;
        self.look_at = Instant::now() + step;
        Ok(())
    }
}

impl BodyPace<'_> {
    /// Whether a call waits for room that this body holds. If all bodies together hold too much, any waiting call counts, else
    /// only one of the same owner, because each owner has a share.
    fn is_in_the_way(&self) -> bool {
        let bodies = &self.app.memory.bodies;
        self.takes_room && (bodies.is_scarce() || self.owner.is_some_and(|owner| bodies.waited_for().contains(owner)))
    }
}

fn peer(app: &App, head: &Parts) -> Option<IpAddr> {
    let peer = head.extensions.get::<Peer>()?.0.ip();
    // A header line that is not text holds no address.
    let lines = head.headers.get_all(X_FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("?"));
    Some(app.proxies.client(peer, lines))
}
