//! Replies: writes the result of a request in the caller's dialect, and sends it with the headers that every answer has.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::{Dialect, Meta, Reply};
use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::lifecycle::Phase;
use crm::model::who::Who;

use crate::access::Refused;
use crate::access::limits::Rate;
use crate::app::App;
use crate::clock::iso;
use crate::store::room::Room;

/// The room that an answer holds, passed from the door to the listener.
#[derive(Clone)]
pub struct Takes(pub Arc<Room>);

/// The result of a request.
pub enum Served {
    /// An answer that is not rendered yet.
    Answer(Answer),
    /// An answer with its HTTP status and headers.
    Person(PersonAnswer),
    /// A body that is sent bit by bit: events without end, or a file.
    Stream(StreamedBody),
    /// A reply that was rendered earlier.
    Written {
        /// The reply.
        reply: Reply,
        /// Whether it was the reply to an earlier request.
        is_replay: bool,
    },
}

/// A body that is sent bit by bit.
pub struct StreamedBody {
    /// Its content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Body,
    /// The name under which browsers save it, if it is a file.
    pub file_name: Option<String>,
}

/// An answer with its HTTP status and headers.
pub struct PersonAnswer {
    /// The answer.
    pub answer: Answer,
    /// The status, if it differs from the answer's own.
    pub status: Option<u16>,
    /// Additional headers.
    pub headers: Vec<(&'static str, String)>,
    /// The workspace that it is about.
    pub workspace_id: Option<String>,
}

impl PersonAnswer {
    /// The same answer, which also sets a cookie.
    pub fn with_cookie(self, cookie: String) -> PersonAnswer {
        self.with_cookies([cookie])
    }

    /// The same answer, which also sets cookies.
    pub fn with_cookies(mut self, cookies: impl IntoIterator<Item = String>) -> PersonAnswer {
        self.headers.extend(cookies.into_iter().map(|cookie| ("set-cookie", cookie)));
        self
    }

    /// An answer about a workspace.
    pub fn of(answer: Answer, workspace_id: &str) -> PersonAnswer {
        PersonAnswer { workspace_id: Some(workspace_id.to_owned()), ..PersonAnswer::from(answer) }
    }

    /// Whether it sets a cookie.
    pub fn sets_cookie(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == "set-cookie")
    }
}

impl From<Answer> for PersonAnswer {
    fn from(answer: Answer) -> PersonAnswer {
        PersonAnswer { answer, status: None, headers: Vec::new(), workspace_id: None }
    }
}

/// How a request is answered: the dialect, and the data for the headers.
pub struct Envelope<'a> {
    app: &'a App,
    request_id: &'a str,
    /// The dialect of the answer.
    pub dialect: &'static Dialect,
    /// The version of the dialect that the request asked for.
    pub version: Option<&'static str>,
    /// The table that the request is about.
    pub table: Option<String>,
    /// The preferences of the request that are honoured.
    pub preferences: Option<String>,
    /// The person of a request without a workspace, `user:u_…`.
    pub actor: Option<Arc<str>>,
    /// The tool of MCP that is called.
    pub tool: Option<String>,
    /// The code of the tool's error, which is not one of HTTP.
    pub tool_code: Option<&'static str>,
    who: Option<Who>,
    /// The workspace that a person's request was about.
    workspace_id: Option<String>,
    rate: Option<Rate>,
    /// The room that the answer holds until it is read.
    pub room: Option<Arc<Room>>,
}

impl<'a> Envelope<'a> {
    /// Creates the envelope of a caller who is not known yet.
    pub fn new(app: &'a App, request_id: &'a str) -> Envelope<'a> {
        Envelope {
            app,
            request_id,
            dialect: &AGENTCRM,
            version: None,
            table: None,
            preferences: None,
            actor: None,
            tool: None,
            tool_code: None,
            who: None,
            workspace_id: None,
            rate: None,
            room: None,
        }
    }

    /// Records who was admitted, and what is left of their rate.
    pub fn admitted(&mut self, who: Option<&Who>, rate: Option<Rate>) {
        self.who = who.cloned();
        self.rate = rate;
    }

    /// Records what is known of a caller who was not admitted.
    pub fn refused(&mut self, refused: Refused) -> Fault {
        self.admitted(refused.who.as_ref(), refused.rate);
        refused.fault
    }

    /// The workspace of the caller, or of a person's request.
    pub fn workspace_id(&self) -> Option<&str> {
        self.who.as_ref().map(|who| &*who.workspace_id).or(self.workspace_id.as_deref())
    }

    /// Whether the workspace's e-mail and webhooks wait.
    fn holds(&self) -> bool {
        self.who.as_ref().is_some_and(|who| !who.sends)
    }

    /// Who was admitted to a workspace.
    pub fn who(&self) -> Option<&Who> {
        self.who.as_ref()
    }

    /// Renders the result of a request. A stream has a body of its own.
    pub fn write(&mut self, served: Served) -> (Reply, Option<StreamedBody>) {
        let reply = match served {
            Served::Stream(body) => {
                // The room of an answer is for one that ends.
                self.room = None;
                return (Reply { status: 200, headers: Vec::new(), body: Vec::new() }, Some(body));
            }
            Served::Answer(answer) => self.show(&Ok(answer)),
            Served::Person(done) => {
                self.workspace_id = done.workspace_id;
                let mut reply = self.show(&Ok(done.answer));
                reply.status = done.status.unwrap_or(reply.status);
                reply.headers.extend(done.headers);
                reply
            }
            Served::Written { mut reply, is_replay } => {
                if is_replay {
                    reply.headers.push(("idempotent-replayed", "true".to_owned()));
                }
                reply
            }
        };
        (reply, None)
    }

    /// Renders an answer or a fault in the caller's dialect.
    pub fn show(&self, result: &Result<Answer, Fault>) -> Reply {
        self.with_meta(self.table.as_deref(), |dialect, meta| {
            let mut meta = *meta;
            if let Ok(Answer::Workspace { workspace_id, claim_url, ttl_expires_at, .. }) = result {
                meta.workspace_id = Some(workspace_id);
                (meta.claim_url, meta.ttl_expires_at) = (claim_url.as_deref(), ttl_expires_at.as_deref());
            }
            match result {
                Ok(answer) => (dialect.show)(answer, &meta),
                Err(fault) => (dialect.show_fault)(fault, &meta),
            }
        })
    }

    /// Writes something in the caller's dialect, about this table.
    pub fn with_meta<T>(&self, table: Option<&str>, write: impl FnOnce(&Dialect, &Meta<'_>) -> T) -> T {
        let expires_at = self.who.as_ref().and_then(|who| match who.phase {
            Phase::Unclaimed { expires_at } | Phase::ReadOnly { expires_at } => Some(expires_at),
            Phase::Claimed | Phase::Revoked => None,
        });
        let workspace_id = self.workspace_id();
        let claim_url = expires_at.and(workspace_id).map(|id| format!("{}/claim/{id}", self.app.public_url));
        let expires_at = expires_at.map(iso);
        let meta = Meta {
            request_id: self.request_id,
            workspace_id,
            claim_url: claim_url.as_deref(),
            ttl_expires_at: expires_at.as_deref(),
            public_url: &self.app.public_url,
            table,
            holds: self.holds(),
        };
        write(self.dialect, &meta)
    }

    /// The response, with the headers that every answer under `/v1` has.
    pub fn respond(&self, reply: Reply, stream: Option<StreamedBody>) -> Response {
        let (content_type, file_name, body) = match stream {
            Some(StreamedBody { content_type, body, file_name }) => (content_type, file_name, body),
            None => ("application/json", None, Body::from(reply.body)),
        };
        let mut response = Response::new(body);
        if let Some(room) = &self.room {
            response.extensions_mut().insert(Takes(room.clone()));
        }
        *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut add = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.append(HeaderName::from_static(name), value);
            }
        };
        add("x-request-id", self.request_id);
        if self.holds() {
            // Relm has no envelope that could say it.
            add("x-sending", "held");
        }
        if let Some(name) = file_name {
            add("content-disposition", &format!("attachment; filename=\"{name}\""));
        }
        for (name, value) in &reply.headers {
            add(name, value);
        }
        if let Some(preferences) = &self.preferences {
            add("preference-applied", preferences);
        }
        if let Some(versions) = self.dialect.versions {
            add(versions.header, self.version.unwrap_or(versions.newest()));
        }
        if let Some(rate) = self.rate {
            add("x-ratelimit-limit", &rate.limit.to_string());
            add("x-ratelimit-remaining", &rate.remaining.to_string());
            add("x-ratelimit-reset", &rate.reset_at.to_string());
        }
        response
    }
}
