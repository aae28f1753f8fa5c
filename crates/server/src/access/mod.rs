//! Admission: identifies the caller and counts the call. Only admission creates a [`Caller`], so that no door can skip the
//! limits. It does not need the body, and happens before the body is read.

pub mod api_key;
pub mod billing;
pub mod keys;
pub mod lanes;
pub mod limits;
pub mod lookups;

use std::net::IpAddr;
use std::sync::Arc;

use crm::model::fault::Fault;
use crm::model::lifecycle::{self, Phase};
use crm::model::who::{Features, Mode, Provenance, Who};

use crate::access::lanes::Turn;
use crate::access::limits::{Rate, Window};
use crate::app::App;
use crate::budget::Owner;
use crate::people::Person;
use crate::people::auth::{clerk, sessions};
use crate::store::cell::TenantDatabase;
use crate::store::control::grants::{Grant, GrantedWorkspace};

use keys::CachedKey;
pub use keys::{ConnectedApp, Keys, SQL_SCOPE};

/// A caller: their identity, their database, and their description of the current run.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The identity and rights of the caller.
    pub who: Who,
    /// The database of the caller's workspace.
    pub database: Arc<TenantDatabase>,
    /// The caller's description of the run that the call belongs to.
    pub provenance: Provenance,
    /// What is left of the caller's rate; `None` if there is no limit.
    pub rate: Option<Rate>,
    /// The owner to which the call's memory is charged.
    pub owner: Owner,
}

impl Caller {
    /// Waits for the call's place among the running calls of its address. A call to a claimed workspace needs no place. Dropping
    /// the place frees it. The place covers only the work: a call whose body is still being read holds none.
    pub async fn turn(&self, app: &App) -> Result<Option<Turn>, Fault> {
        match &self.owner {
            Owner::Workspace(_) => Ok(None),
            Owner::Network(network) => app.limits.lanes.turn(*network, &self.who.workspace_id).await.map(Some),
        }
    }
}

/// A call that was not admitted, and what is known of its caller, so that a door can answer in the caller's dialect.
#[derive(Debug)]
pub struct Refused {
    /// Why the call was not admitted.
    pub fault: Fault,
    /// The caller, if known.
    pub who: Option<Who>,
    /// What is left of the caller's rate, if the call was counted.
    pub rate: Option<Rate>,
}

impl From<Fault> for Box<Refused> {
    fn from(fault: Fault) -> Box<Refused> {
        Box::new(Refused { fault, who: None, rate: None })
    }
}

/// A person who was admitted by a session.
#[derive(Clone, Debug)]
pub struct AdmittedPerson {
    /// The person who calls.
    pub person: Person,
    /// The session, `ses_…`; `None` if it is Clerk's.
    pub session_id: Option<String>,
    /// Whether the session was just extended.
    pub prolonged: bool,
    /// What is left of the session's rate.
    pub rate: Rate,
}

/// Admits a call with an API key that has no client address, for example from a door on this machine.
pub async fn admit_key(app: &App, token: &str, provenance: Provenance) -> Result<Caller, Box<Refused>> {
    admit_key_from(app, token, None, provenance).await
}

/// What a caller was admitted with.
#[derive(Clone)]
pub enum Credential {
    /// An API key.
    Key(String),
    /// The token of a person's session.
    Session(String),
}

/// Whether a credential still gives access to the caller's workspace. The look is not counted: a call that was admitted goes
/// on.
pub async fn is_valid(app: &App, caller: &Caller, credential: &Credential) -> bool {
    let token = match credential {
        Credential::Key(token) => return app.keys.find(app, token, None).await.is_ok(),
        Credential::Session(token) => token,
    };
    let Ok(Some(session)) = known_session(app, token, None).await else { return false };
    let grant = app.store.control.member_grant(&caller.who.workspace_id, &session.person.id, caller.who.mode).await;
    matches!(grant, Ok(Some(_)))
}

/// Admits a call with an API key from this address.
pub async fn admit_key_from(
    app: &App,
    token: &str,
    address: Option<IpAddr>,
    provenance: Provenance,
) -> Result<Caller, Box<Refused>> {
    let key = app.keys.find(app, token, address).await?;
    admit_found(app, &key, address, provenance)
}

/// Looks up what a caller without a key says of itself; `None` if that is not true. An address may say little that is not true,
/// as it may send few unknown keys.
pub async fn believe<T>(
    app: &App,
    said: &str,
    address: Option<IpAddr>,
    look_up: impl Future<Output = Result<Option<T>, Fault>>,
) -> Result<Option<T>, Fault> {
    app.keys.look_ups.run(address, api_key::hash(said), app.clock.unix_ms(), look_up).await
}

/// Whether a token is one of a connected app, not an API key.
pub fn is_app_token(token: &str) -> bool {
    token.starts_with(keys::APP_TOKEN_PREFIX)
}

/// Admits a call with the access token of a connected app, which is good for this resource alone.
pub async fn admit_app(
    app: &App,
    token: &str,
    resource: &str,
    address: Option<IpAddr>,
    provenance: Provenance,
) -> Result<(Caller, ConnectedApp), Box<Refused>> {
    let found = app.keys.find_app(app, token, address).await?;
    let connected = found.app.clone().filter(|it| it.resource == resource);
    let connected = connected.ok_or_else(|| Fault::Unauthorized {
        message: "This token is good for another address than this one.".into(),
    })?;
    let agent = provenance.agent.or_else(|| Some(connected.name.clone()));
    let caller = admit_found(app, &found, address, Provenance { agent, ..provenance })?;
    Ok((caller, connected))
}

fn admit_found(
    app: &App,
    key: &CachedKey,
    address: Option<IpAddr>,
    provenance: Provenance,
) -> Result<Caller, Box<Refused>> {
    let now = app.clock.unix_seconds();
    let who = Who { phase: phase(&key.workspace, now)?, ..key.who.clone() };
    key.uses.used(now);
    let rate = count(app, &key.uses.window, Some(&who))?;
    if let Err(fault) = key.entitlements.take(now) {
        return Err(Box::new(Refused { fault, who: Some(who), rate: Some(rate) }));
    }
    let network = address.map(limits::network).filter(|_| who.phase != Phase::Claimed);
    let owner = network.map_or_else(|| Owner::Workspace(who.workspace_id.clone()), Owner::Network);
    let database = key.workspace.database.clone();
    Ok(Caller { who, database, provenance, rate: Some(rate), owner })
}

/// A known session of a person, whose call is not counted yet.
pub struct KnownSession {
    person: Person,
    session_id: Option<String>,
    prolonged: bool,
    window: Arc<Window>,
}

/// Returns the session of a token, Kith's or Clerk's, if it is known. The token was sent from this address.
pub async fn known_session(app: &App, token: &str, address: Option<IpAddr>) -> Result<Option<KnownSession>, Fault> {
    if let Some(clerk) = app.accounts.clerk.as_ref().filter(|_| clerk::is_jwt(token)) {
        let seen = clerk.shown(&app.store, &app.accounts, &app.clock, token).await?;
        return Ok(Some(KnownSession { person: seen.person, session_id: None, prolonged: false, window: seen.window }));
    }
    let (sessions, look_ups) = (&app.accounts.sessions, &app.keys.look_ups);
    let (hash, now_ms) = (api_key::hash(token), app.clock.unix_ms());
    let look_up = sessions.shown(&app.store, &app.clock, token);
    let is_likely = sessions.has_seen(&app.clock, token) && !look_ups.was_unknown(&hash, now_ms);
    let shown = match is_likely || !sessions::is_well_formed(token) {
        true => look_up.await?,
        false => look_ups.run(address, hash, now_ms, look_up).await?,
    };
    if is_likely && shown.is_none() {
        look_ups.note_unknown(hash, now_ms);
    }
    let Some(shown) = shown else { return Ok(None) };
    Ok(Some(KnownSession {
        person: shown.session.user.clone(),
        session_id: Some(shown.session.id.clone()),
        prolonged: shown.prolonged,
        window: shown.window,
    }))
}

/// Admits the call of a person with a session.
pub fn admit_person(app: &App, session: KnownSession) -> Result<AdmittedPerson, Box<Refused>> {
    let KnownSession { person, session_id, prolonged, window } = session;
    let rate = count(app, &window, None)?;
    Ok(AdmittedPerson { person, session_id, prolonged, rate })
}

/// Whether a token can be a session token, Kith's or Clerk's. All others are API keys or invalid.
pub fn is_session(app: &App, token: &str) -> bool {
    token.starts_with(sessions::TOKEN_PREFIX) || (app.accounts.clerk.is_some() && clerk::is_jwt(token))
}

/// Admits a person's call in a workspace that they are a member of. Their session has already been counted. The call counts
/// against the workspace's monthly quota.
pub async fn admit_member(
    app: &App,
    person: &AdmittedPerson,
    workspace_id: &str,
    mode: Mode,
    provenance: Provenance,
) -> Result<Caller, Box<Refused>> {
    let grant = app.store.control.member_grant(workspace_id, &person.person.id, mode).await?;
    let unknown = || Fault::NotFound { table: "your workspaces".into(), id: workspace_id.to_owned() };
    let grant = grant.ok_or_else(unknown)?;
    let actor = format!("user:{}", person.person.id);
    let caller = admit(app, grant, &actor, provenance).await?;
    Ok(Caller { rate: Some(person.rate), ..caller })
}

/// Admits a call of a workspace's own automation, `auto_…`. It counts against the workspace's monthly quota and has no rate,
/// because the call that triggered it was counted.
pub async fn admit_automation(
    app: &App,
    automation_id: &str,
    workspace_id: &str,
    mode: Mode,
    provenance: Provenance,
) -> Result<Caller, Box<Refused>> {
    let grant = app.store.control.automation_grant(workspace_id, mode).await?;
    let unknown = || Fault::NotFound { table: "the workspaces".into(), id: workspace_id.to_owned() };
    let actor = format!("automation:{automation_id}");
    admit(app, grant.ok_or_else(unknown)?, &actor, provenance).await
}

/// Admits the recording of what became of an e-mail, by the actor who sends it. It is part of a call that was counted. `None` if the
/// workspace is gone.
pub async fn admit_sender(
    app: &App,
    workspace_id: &str,
    actor: &str,
    provenance: Provenance,
) -> Result<Option<Caller>, Fault> {
    let Some(grant) = app.store.control.automation_grant(workspace_id, Mode::Live).await? else { return Ok(None) };
    // An e-mail that was accepted in time may leave after it, and what became of it is recorded.
    Ok(Some(uncounted(grant, actor, Phase::Claimed, provenance)))
}

/// Admits the recording of an e-mail that was received, by the actor who has connected its source. It is not counted, because nobody
/// in the workspace asked for it. `None` if the workspace is gone.
pub async fn admit_receiver(
    app: &App,
    workspace_id: &str,
    actor: &str,
    provenance: Provenance,
) -> Result<Option<Caller>, Fault> {
    let Some(grant) = app.store.control.automation_grant(workspace_id, Mode::Live).await? else { return Ok(None) };
    let phase = phase(&grant.workspace, app.clock.unix_seconds())?;
    Ok(Some(uncounted(grant, actor, phase, provenance)))
}

/// A caller who counts against no limit.
fn uncounted(grant: Grant, actor: &str, phase: Phase, provenance: Provenance) -> Caller {
    let Grant { role, workspace, .. } = grant;
    let who = Who {
        workspace_id: workspace.id.as_str().into(),
        actor: actor.into(),
        role,
        mode: workspace.mode,
        phase,
        features: Features::default(),
        may_run_sql: true,
        sends: workspace.sends,
    };
    let owner = Owner::Workspace(who.workspace_id.clone());
    Caller { who, database: workspace.database, provenance, rate: None, owner }
}

async fn admit(app: &App, grant: Grant, actor: &str, provenance: Provenance) -> Result<Caller, Box<Refused>> {
    let (workspace, now) = (grant.workspace, app.clock.unix_seconds());
    let entitlements = app.keys.subscriptions().entitlements(&app.store, &workspace, now).await?;
    let who = Who {
        workspace_id: workspace.id.as_str().into(),
        actor: actor.into(),
        role: grant.role,
        mode: workspace.mode,
        phase: phase(&workspace, now)?,
        features: entitlements.features,
        may_run_sql: true,
        sends: workspace.sends,
    };
    if let Err(fault) = entitlements.take(now) {
        return Err(Box::new(Refused { fault, who: Some(who), rate: None }));
    }
    let owner = Owner::Workspace(who.workspace_id.clone());
    Ok(Caller { who, database: workspace.database, provenance, rate: None, owner })
}

/// The phase of the workspace. A workspace that was not claimed in time is closed.
fn phase(workspace: &GrantedWorkspace, now: i64) -> Result<Phase, Fault> {
    match lifecycle::phase(workspace.created_at, workspace.claimed, now) {
        Phase::Revoked => Err(Fault::Unauthorized {
            message: "This workspace was not claimed within 14 days, and its keys have ended.".into(),
        }),
        phase => Ok(phase),
    }
}

/// Counts a call against its rate.
fn count(app: &App, window: &Window, who: Option<&Who>) -> Result<Rate, Box<Refused>> {
    let now = app.clock.unix_seconds();
    let rate = window.take(app.limits.requests_a_minute, now);
    if rate.allowed {
        return Ok(rate);
    }
    let message = format!("More than {} requests a minute with this key or session.", rate.limit);
    let fault = Fault::RateLimited { retry_after: (rate.reset_at - now).max(1) as u64, message };
    Err(Box::new(Refused { fault, who: who.cloned(), rate: Some(rate) }))
}
