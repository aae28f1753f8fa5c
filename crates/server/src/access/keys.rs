//! This process's cache of API keys. It authenticates a request without a query.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crm::dialect;
use crm::model::fault::Fault;
use crm::model::lifecycle::Phase;
use crm::model::who::Who;

use crate::access::api_key;
use crate::access::billing::{Entitlements, Subscriptions};
use crate::access::limits::Window;
use crate::access::lookups::LookUps;
use crate::app::App;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::control::grants::GrantedWorkspace;

/// The most keys that are cached.
const REMEMBERED: usize = 100_000;

/// The prefix of a connected app's access token.
pub const APP_TOKEN_PREFIX: &str = "kat_";
/// The right to run SQL.
pub const SQL_SCOPE: &str = "crm:sql";

/// The cached keys.
#[derive(Clone)]
pub struct Keys {
    known: Arc<Cache<[u8; 32], Arc<CachedKey>>>,
    uses: Arc<Mutex<HashMap<[u8; 32], Arc<KeyUse>>>>,
    subscriptions: Subscriptions,
    /// Limits how often unknown keys and sessions are looked up.
    pub(super) look_ups: Arc<LookUps>,
}

/// A key that was looked up.
#[derive(Debug)]
pub(super) struct CachedKey {
    /// The workspace that the key gives access to.
    pub(super) workspace: GrantedWorkspace,
    /// The caller; its phase is that of a claimed workspace.
    pub(super) who: Who,
    pub(super) uses: Arc<KeyUse>,
    pub(super) entitlements: Entitlements,
    /// The connected app, if the token is not an API key but an app's.
    pub(super) app: Option<ConnectedApp>,
}

/// A connected app whose access token was looked up.
#[derive(Clone, Debug)]
pub struct ConnectedApp {
    /// Its name.
    pub name: String,
    /// Its rights, with spaces between them.
    pub scopes: String,
    /// Whether its person may write, and so could let it write.
    pub person_writes: bool,
    /// The address that the token is good for.
    pub(super) resource: String,
    /// When the token expires, in Unix seconds.
    expires_at: i64,
}

/// The use of a key. It is kept when the cached key is forgotten.
#[derive(Debug)]
pub(super) struct KeyUse {
    workspace_id: String,
    /// How often the key was used this minute.
    pub(super) window: Window,
    /// When the key was last used, and the last use that the control database knows; in Unix seconds.
    last: AtomicI64,
    noted: AtomicI64,
}

impl KeyUse {
    /// Records a use at this time, in Unix seconds.
    pub(super) fn used(&self, now: i64) {
        self.last.fetch_max(now, Ordering::Relaxed);
    }
}

impl Keys {
    /// Creates an empty cache for workspaces with these billing plans.
    pub fn new(subscriptions: Subscriptions) -> Keys {
        let known = Arc::new(Cache::until_forgotten(REMEMBERED));
        Keys { known, uses: Arc::default(), subscriptions, look_ups: Arc::default() }
    }

    /// The billing plans and their counts.
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Clears the cached keys, for example after a key was revoked. Each key is looked up again on its next use.
    pub fn forget(&self) {
        self.known.forget_all();
        self.look_ups.forget();
    }

    /// Records that a key was created. It works at once, even if it was used before and was unknown then.
    pub fn made(&self) {
        self.look_ups.forget();
    }

    /// Finds the key of this Bearer token, used from this address. A token that is not a Kith key is 401, never anonymous.
    pub(super) async fn find(&self, app: &App, token: &str, address: Option<IpAddr>) -> Result<Arc<CachedKey>, Fault> {
        let (hash, now_ms) = (api_key::hash(token), app.clock.unix_ms());
        let look_up = async || {
            let mut prefixes = dialect::of_key(token).into_iter().flat_map(|dialect| dialect.key_prefixes);
            if !prefixes.any(|prefix| api_key::is_well_formed(token, prefix)) {
                return Ok(None);
            }
            // If many calls use a new key at the same time, one of them looks it up.
            let ask = self.look_ups.ask(hash);
            let _alone = ask.alone().await;
            if let Some(known) = self.known.get(&hash, app.clock.unix_ms()) {
                return Ok(Some(known));
            }
            self.look_ups.run(address, hash, now_ms, self.look_up(&app.store, &app.clock, hash)).await
        };
        let found = self.known.get_or_look_up(hash, now_ms, look_up).await?;
        // An app's token is in the same cache, and is no API key.
        found.filter(|key| key.app.is_none()).ok_or_else(unknown_key)
    }

    /// Finds the access token of a connected app.
    pub(super) async fn find_app(
        &self,
        app: &App,
        token: &str,
        address: Option<IpAddr>,
    ) -> Result<Arc<CachedKey>, Fault> {
        let (hash, now_ms) = (api_key::hash(token), app.clock.unix_ms());
        let look_up = async || {
            if !api_key::is_well_formed(token, APP_TOKEN_PREFIX) {
                return Ok(None);
            }
            self.look_ups.run(address, hash, now_ms, self.look_up_app(&app.store, &app.clock, hash)).await
        };
        let found = self.known.get_or_look_up(hash, now_ms, look_up).await?;
        let is_valid = |found: &Arc<CachedKey>| {
            found.app.as_ref().is_some_and(|connected| connected.expires_at > now_ms.div_euclid(1000))
        };
        found.filter(is_valid).ok_or_else(|| Fault::Unauthorized {
            message: "This token is not known. It has expired, or the app was disconnected.".into(),
        })
    }

    async fn look_up_app(&self, store: &Store, clock: &Clock, hash: [u8; 32]) -> Result<Option<Arc<CachedKey>>, Fault> {
        let Some(access) = store.control.app_access(&hash).await? else { return Ok(None) };
        let workspace = access.grant.workspace;
        let entitlements = self.subscriptions.entitlements(store, &workspace, clock.unix_seconds()).await?;
        let who = Who {
            workspace_id: workspace.id.as_str().into(),
            actor: format!("user:{}", access.user_id).into(),
            role: access.grant.role,
            mode: workspace.mode,
            phase: Phase::Claimed,
            features: entitlements.features,
            sends: workspace.sends,
            may_run_sql: access.scopes.split(' ').any(|scope| scope == SQL_SCOPE),
        };
        let uses = self.uses_of(hash, &workspace.id);
        let app = ConnectedApp {
            name: access.client_name,
            scopes: access.scopes,
            person_writes: access.person_writes,
            resource: access.resource,
            expires_at: access.expires_at,
        };
        Ok(Some(Arc::new(CachedKey { workspace, who, uses, entitlements, app: Some(app) })))
    }

    async fn look_up(&self, store: &Store, clock: &Clock, hash: [u8; 32]) -> Result<Option<Arc<CachedKey>>, Fault> {
        let Some(grant) = store.control.key_grant(&hash).await? else { return Ok(None) };
        let workspace = grant.workspace;
        let entitlements = self.subscriptions.entitlements(store, &workspace, clock.unix_seconds()).await?;
        let who = Who {
            workspace_id: workspace.id.as_str().into(),
            actor: format!("api_key:{}", grant.key_id.unwrap_or_default()).into(),
            role: grant.role,
            mode: workspace.mode,
            phase: Phase::Claimed,
            features: entitlements.features,
            may_run_sql: true,
            sends: workspace.sends,
        };
        let uses = self.uses_of(hash, &workspace.id);
        Ok(Some(Arc::new(CachedKey { workspace, who, uses, entitlements, app: None })))
    }

    fn uses_of(&self, hash: [u8; 32], workspace_id: &str) -> Arc<KeyUse> {
        let mut all = self.uses.lock().expect("no panic while uses are locked");
        if all.len() >= REMEMBERED {
            all.clear();
        }
        let fresh = || KeyUse {
            workspace_id: workspace_id.to_owned(),
            window: Window::default(),
            last: AtomicI64::default(),
            noted: AtomicI64::default(),
        };
        all.entry(hash).or_insert_with(|| Arc::new(fresh())).clone()
    }

    /// Saves in the control database when keys were last used, for keys used since the last save: the keys of one workspace
    /// or all of them, in one statement.
    pub async fn note_uses(&self, store: &Store, workspace_id: Option<&str>) -> Result<(), Fault> {
        let used: Vec<([u8; 32], i64, Arc<KeyUse>)> = {
            let all = self.uses.lock().expect("no panic while uses are locked");
            let meant = all.iter().filter(|(_, uses)| workspace_id.is_none_or(|id| uses.workspace_id == id));
            let with_time = meant.map(|(hash, uses)| (*hash, uses.last.load(Ordering::Relaxed), uses.clone()));
            with_time.filter(|(_, last, uses)| *last > uses.noted.load(Ordering::Relaxed)).collect()
        };
        if used.is_empty() {
            return Ok(());
        }
        let times: Vec<([u8; 32], i64)> = used.iter().map(|(hash, last, _)| (*hash, *last)).collect();
        store.control.note_uses(&times).await?;
        for (_, last, uses) in used {
            uses.noted.fetch_max(last, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn unknown_key() -> Fault {
    Fault::Unauthorized { message: "This API key is not known. It may have been revoked, or mistyped.".into() }
}
