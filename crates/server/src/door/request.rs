//! A request under `/v1` before anybody has decided what it is: its head, where it comes from, and the body that is read
//! once it is known who calls.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crm::model::call::{Call, Method, parse_query};
use crm::model::fault::Fault;
use crm::model::who::Provenance;

use crate::app::App;
use crate::door::Peer;

/// A body's bytes at most.
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// Bytes of a refused body that are read and thrown away at most, and for how long.
const MAX_DRAINED_BYTES: usize = 32 * 1024 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A request.
pub struct HttpRequest<'a> {
    /// What doors share.
    pub app: &'a Arc<App>,
    /// `req_…`
    pub id: &'a str,
    /// Method, address and headers.
    pub head: &'a Parts,
    /// Where it comes from, as far as known proxies say it.
    pub peer: Option<IpAddr>,
    body: Body,
}

impl<'a> HttpRequest<'a> {
    /// The request with this head and body.
    pub fn new(app: &'a Arc<App>, id: &'a str, head: &'a Parts, body: Body) -> HttpRequest<'a> {
        HttpRequest { app, id, head, peer: peer(app, head), body }
    }

    /// The Bearer token; none if there is no Authorization header.
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

    /// What the caller says of the run that the request belongs to.
    pub fn provenance(&self) -> Provenance {
        let said = |name: &str| self.head.headers.get(name).map(|value| value.as_bytes());
        Provenance::new(self.id, said("x-agent"), said("x-run-id"), said("x-reason"))
    }

    /// The whole body.
    pub async fn body(&mut self) -> Result<Bytes, Fault> {
        match Limited::new(&mut self.body, MAX_BODY_BYTES).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
                Err(Fault::PayloadTooLarge { limit: MAX_BODY_BYTES })
            }
            Err(error) => Err(Fault::invalid(format!("The body could not be read: {error}."))),
        }
    }

    /// The request as dialects read it.
    pub fn call<'b>(&self, method: Method, path: Vec<String>, body: &'b Bytes) -> Result<Call<'b>, Fault>
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

    /// Reads what is left of a refused body and throws it away, within bounds: a client that is still sending when the
    /// connection closes may never read why. One that waits to be told to send is not told.
    pub async fn drain(&mut self, fault: &Fault) {
        if self.head.headers.contains_key(header::EXPECT) && !matches!(fault, Fault::PayloadTooLarge { .. }) {
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

fn peer(app: &App, head: &Parts) -> Option<IpAddr> {
    let peer = head.extensions.get::<Peer>()?.0.ip();
    // A line that is not text is nobody's address.
    let lines = head.headers.get_all("x-forwarded-for").iter().map(|line| line.to_str().unwrap_or("?"));
    Some(app.proxies.client(peer, lines))
}
