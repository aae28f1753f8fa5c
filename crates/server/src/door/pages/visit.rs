//! A signed-in person's request for a page: who they are, the workspace and mode that they look at, and the calls that the page
//! makes as this member.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde_json::Value;

use crm::dialect::Meta;
use crm::dialect::agentcrm::AGENTCRM;
use crm::model::answer::Answer;
use crm::model::ask::Ask;
use crm::model::call::{Call, Method, parse_path, parse_query};
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::model::who::{Mode, Provenance, Role};

use crate::access::{self, AdmittedPerson, Caller, api_key};
use crate::app::App;
use crate::door::cookie;
use crate::door::request::HttpRequest;
use crate::hall::{self, Controls, Performed};
use crate::people::Visitor;
use crate::people::auth::sessions;
use crate::people::context::PersonContext;
use crate::people::workspace::workspaces;
use crate::store::room::Room;

/// The most workspaces that the switcher shows.
const MOST_WORKSPACES: usize = 200;

/// A request for a page, without its body.
#[derive(Clone, Copy)]
pub struct PageRequest<'a> {
    /// The state that doors share.
    pub app: &'a Arc<App>,
    /// `req_…`
    pub id: &'a str,
    /// Method, address and headers.
    pub head: &'a Parts,
    /// The client's address.
    pub peer: Option<IpAddr>,
}

impl<'a> PageRequest<'a> {
    /// The request, apart from its body.
    pub fn of(request: &HttpRequest<'a>) -> PageRequest<'a> {
        PageRequest { app: request.app, id: request.id, head: request.head, peer: request.peer }
    }
}

/// A session that a browser sent.
pub struct BrowserSession<'a> {
    /// The session's token.
    pub token: &'a str,
    /// The person.
    pub person: AdmittedPerson,
}

impl BrowserSession<'_> {
    /// The token that the requests of this session's pages must send.
    pub fn csrf(&self) -> String {
        csrf(self.token)
    }

    /// The person as people's requests know them.
    pub fn visitor(&self) -> Visitor {
        let (person, session_id) = (Some(self.person.person.clone()), self.person.session_id.clone());
        Visitor { person, session_id, ..Visitor::default() }
    }
}

/// The token that the requests of a session's pages must send. It follows from the session's token, which pages of other sites
/// don't know.
pub fn csrf(session_token: &str) -> String {
    hex::encode(api_key::hash(&format!("kith csrf {session_token}")))
}

/// The session of a request's cookie, if it is valid. The request is counted against the session's rate.
pub async fn session(request: PageRequest<'_>) -> Result<Option<BrowserSession<'_>>, Fault> {
    let app = request.app;
    let found = cookie::session(&request.head.headers, &app.public_url);
    let Some(found) = found.filter(|it| it.token.starts_with(sessions::TOKEN_PREFIX)) else { return Ok(None) };
    let Some(session) = access::known_session(app, found.token, request.peer).await? else { return Ok(None) };
    let person = access::admit_person(app, session).map_err(|refused| refused.fault)?;
    Ok(Some(BrowserSession { token: found.token, person }))
}

/// A workspace that the person belongs to.
#[derive(Clone, Debug)]
pub struct OwnWorkspace {
    /// `ws_…`
    pub id: String,
    /// Its display name, or its id.
    pub name: String,
    /// The person's role in it.
    pub role: Role,
}

/// The workspace and the data that a page shows.
pub struct MemberPlace {
    /// The workspace.
    pub workspace: OwnWorkspace,
    /// Live or test data.
    pub mode: Mode,
    /// The person as a caller.
    pub caller: Caller,
}

/// A signed-in person's request for a page.
pub struct PageVisit<'a> {
    /// The state that doors share.
    pub app: &'a Arc<App>,
    /// The request's headers and address.
    pub head: &'a Parts,
    /// `req_…`
    pub id: &'a str,
    /// The session.
    pub session: BrowserSession<'a>,
    /// The person's workspaces, newest first.
    pub workspaces: Vec<OwnWorkspace>,
    /// What the page shows; `None` if the person has no workspace.
    pub place: Option<MemberPlace>,
    /// The parameters in the address.
    pub query: Vec<(String, String)>,
}

impl<'a> PageVisit<'a> {
    /// Begins a visit: finds the person's workspaces and the one that they look at.
    pub async fn begin(request: PageRequest<'a>, session: BrowserSession<'a>) -> Result<PageVisit<'a>, Fault> {
        let (app, head) = (request.app, request.head);
        let query = parse_query(head.uri.query().unwrap_or(""))?;
        let mut visit = PageVisit { app, head, id: request.id, session, workspaces: Vec::new(), place: None, query };
        visit.workspaces = visit.own_workspaces().await?;
        let (wanted, mode) = chosen(&head.headers).unwrap_or(("", Mode::Live));
        let all = &visit.workspaces;
        let Some(workspace) = all.iter().find(|it| it.id == wanted).or(all.first()).cloned() else { return Ok(visit) };
        let mode = if workspace.id == wanted { mode } else { Mode::Live };
        let place = match visit.enter(workspace.clone(), mode).await {
            // The test data may be gone.
            Err(Fault::NotFound { .. }) if mode == Mode::Test => visit.enter(workspace, Mode::Live).await?,
            place => place?,
        };
        visit.place = Some(place);
        Ok(visit)
    }

    /// The person as a caller in one of their workspaces.
    async fn enter(&self, workspace: OwnWorkspace, mode: Mode) -> Result<MemberPlace, Fault> {
        let provenance = Provenance::new(self.id, None, None, None);
        let caller = access::admit_member(self.app, &self.session.person, &workspace.id, mode, provenance).await;
        Ok(MemberPlace { workspace, mode, caller: caller.map_err(|refused| refused.fault)? })
    }

    async fn own_workspaces(&self) -> Result<Vec<OwnWorkspace>, Fault> {
        let visitor = self.session.visitor();
        let context = PersonContext { app: self.app, visitor: &visitor };
        let ask = PageAsk { limit: MOST_WORKSPACES, ..PageAsk::default() };
        let listed = self.shown(&workspaces::list(&context, ask).await?)?;
        let rows = listed["data"].as_array().cloned().unwrap_or_default();
        Ok(rows.iter().filter_map(own_workspace).collect())
    }

    /// The workspace and the data that the page shows. A page that needs them leads elsewhere if there is none.
    pub fn place(&self) -> Result<&MemberPlace, Fault> {
        let missing = || Fault::NotFound { table: "your workspaces".into(), id: "any".into() };
        self.place.as_ref().ok_or_else(missing)
    }

    /// Whether the person may change the workspace's data. The server refuses others in any case.
    pub fn may_write(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.workspace.role != Role::Viewer)
    }

    /// Whether the person owns the workspace.
    pub fn is_owner(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.workspace.role == Role::Owner)
    }

    /// A parameter of the address, if it is given and not empty.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().rev().find(|(it, _)| it == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a cookie of the pages, such as a remembered choice.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        cookie::found(&self.head.headers, name)
    }

    /// Reads from the API as this member: `get("contacts?limit=50")` is `GET /v1/contacts?limit=50` in the agentCRM dialect. The
    /// value is the body of the response: `data` and `_meta`.
    pub async fn get(&self, path: &str) -> Result<Value, Fault> {
        self.call(Method::Get, path, &[]).await
    }

    /// Like [`PageVisit::get`]; `None` for what does not exist.
    pub async fn find(&self, path: &str) -> Result<Option<Value>, Fault> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(Fault::NotFound { .. } | Fault::NoSuchPath { .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The rows of a statement that reads, with the person's rights.
    pub async fn sql(&self, statement: &str) -> Result<Vec<Value>, Fault> {
        let body = serde_json::json!({"sql": statement}).to_string();
        let mut answer = self.call(Method::Post, "sql", body.as_bytes()).await?;
        match answer["data"]["rows"].take() {
            Value::Array(rows) => Ok(rows),
            _ => Err(Fault::internal("an SQL answer without rows")),
        }
    }

    /// Sends a call to the API as this member, and returns the body of the response.
    pub async fn call(&self, method: Method, path: &str, body: &[u8]) -> Result<Value, Fault> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (path, query) = (parse_path(path)?, parse_query(query)?);
        let call = Call { method, path, query, content_type: Some("application/json"), body };
        self.perform(&AGENTCRM.read_call(&call)?).await
    }

    /// Performs an ask as this member, and returns the body of the response.
    pub async fn perform(&self, ask: &Ask) -> Result<Value, Fault> {
        let caller = &self.place()?.caller;
        let workspace_id = caller.who.workspace_id.clone();
        let room = Room::new(self.app.memory.answers.clone(), caller.owner.clone(), workspace_id);
        let performed = room.around(hall::perform(self.app, caller, ask, &Controls::default())).await?;
        match performed {
            Performed::Done(answer, _) => self.shown(&answer),
            Performed::Stored(reply) | Performed::Replayed(reply) => parsed(&reply.body),
        }
    }

    /// An answer as the body of its response in the agentCRM dialect.
    pub fn shown(&self, answer: &Answer) -> Result<Value, Fault> {
        let meta = Meta { request_id: self.id, public_url: &self.app.public_url, ..Meta::default() };
        parsed(&(AGENTCRM.show)(answer, &meta).body)
    }
}

fn parsed(body: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(body).map_err(|error| Fault::internal(format!("an answer that is no JSON: {error}")))
}

fn own_workspace(row: &Value) -> Option<OwnWorkspace> {
    let id = row["id"].as_str()?.to_owned();
    let name = row["name"].as_str().filter(|name| !name.trim().is_empty()).unwrap_or(&id).to_owned();
    Some(OwnWorkspace { name, role: Role::parse(row["role"].as_str()?)?, id })
}

/// The cookie that remembers the workspace and the mode.
const PLACE: &str = "kith_place";

fn chosen(headers: &HeaderMap) -> Option<(&str, Mode)> {
    let (workspace, mode) = cookie::found(headers, PLACE)?.split_once('.')?;
    Some((workspace, Mode::parse(mode)?))
}

/// Remembers a workspace and a mode in the browser.
pub fn remember(workspace_id: &str, mode: Mode, public_url: &str) -> String {
    cookie::preference(PLACE, &format!("{workspace_id}.{}", mode.name()), public_url)
}
