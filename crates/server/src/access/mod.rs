//! Who a request is from: keys looked up once and remembered, so that a request is authenticated from memory.

pub mod api_key;
pub mod billing;
pub mod limits;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use crm::dialect::{self, Dialect};
use crm::model::fault::Fault;
use crm::model::lifecycle::{self, Phase};
use crm::model::who::Who;

use crate::access::billing::{Entitlements, Subscriptions};
use crate::access::limits::Window;
use crate::clock::Clock;
use crate::store::control::Access;
use crate::store::fault::of_connection;
use crate::store::{Error, Store};

/// Keys remembered at most; past this the memory starts anew.
const REMEMBERED: usize = 100_000;

/// The keys that have been seen.
#[derive(Clone, Default)]
pub struct Keys {
    known: Arc<RwLock<HashMap<[u8; 32], Arc<CachedKey>>>>,
    uses: Arc<Mutex<HashMap<[u8; 32], Arc<Uses>>>>,
    upgrading: Arc<Mutex<HashMap<i64, Arc<tokio::sync::Mutex<()>>>>>,
    subscriptions: Subscriptions,
}

/// A key that was looked up.
#[derive(Debug)]
pub struct CachedKey {
    /// What it opens.
    pub access: Access,
    /// Who shows it; the phase is for the moment to say.
    who: Who,
    /// How it is used.
    pub uses: Arc<Uses>,
    /// What the workspace's plan means for it.
    pub terms: Entitlements,
}

/// How a key is used, which outlives what is remembered of the key.
#[derive(Debug)]
pub struct Uses {
    workspace_id: String,
    /// How often it was used this minute.
    pub window: Window,
    /// When it was last used, and the last use that is noted in the control database; Unix seconds.
    last: AtomicI64,
    noted: AtomicI64,
}

/// A caller that showed a key.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key.
    pub key: Arc<CachedKey>,
    /// Who that is to the hall.
    pub who: Who,
}

impl Keys {
    /// Keys to workspaces that have these plans.
    pub fn new(subscriptions: Subscriptions) -> Keys {
        Keys { subscriptions, ..Keys::default() }
    }

    /// Forgets what keys open, as after one was ended: each is looked up again when it is next shown.
    pub fn forget(&self) {
        self.known.write().expect("no panic while keys are locked").clear();
    }

    /// The caller with this Bearer token. A token that is no key of ours is 401, never anonymous.
    pub async fn caller(&self, store: &Store, clock: &Clock, token: &str) -> Result<Caller, Fault> {
        let dialect = dialect::of_key(token).ok_or_else(unknown_key)?;
        let hash = api_key::hash(token);
        let remembered = self.known.read().expect("no panic while keys are locked").get(&hash).cloned();
        let key = match remembered {
            Some(key) => key,
            None => self.look_up(store, clock, dialect, token, hash).await?,
        };
        let access = &key.access;
        let phase = lifecycle::phase(access.created_at, access.claimed, clock.unix_seconds());
        if phase == Phase::Revoked {
            return Err(Fault::Unauthorized {
                message: "This workspace was not claimed within 14 days, and its keys have ended.".into(),
            });
        }
        key.uses.last.fetch_max(clock.unix_seconds(), Ordering::Relaxed);
        let who = Who { phase, ..key.who.clone() };
        Ok(Caller { key, who })
    }

    async fn look_up(
        &self,
        store: &Store,
        clock: &Clock,
        dialect: &Dialect,
        token: &str,
        hash: [u8; 32],
    ) -> Result<Arc<CachedKey>, Fault> {
        if !dialect.key_prefixes.iter().any(|prefix| api_key::is_well_formed(token, prefix)) {
            return Err(unknown_key());
        }
        let access = store.control.access(&hash).await.map_err(of_connection)?.ok_or_else(unknown_key)?;
        if access.version < store.workspace_version() {
            self.upgrade(store, &access).await?;
        }
        let terms = self.subscriptions.terms(store, &access, clock.unix_seconds()).await?;
        let who = Who {
            workspace_id: access.workspace_id.as_str().into(),
            actor: format!("api_key:{}", access.key_id).into(),
            role: access.role,
            mode: access.mode,
            phase: Phase::Claimed,
            features: terms.features,
        };
        let uses = self.uses(hash, &access.workspace_id);
        let key = Arc::new(CachedKey { access, who, uses, terms });
        let mut known = self.known.write().expect("no panic while keys are locked");
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(hash, key.clone());
        Ok(key)
    }

    fn uses(&self, hash: [u8; 32], workspace_id: &str) -> Arc<Uses> {
        let mut all = self.uses.lock().expect("no panic while uses are locked");
        if all.len() >= REMEMBERED {
            all.clear();
        }
        let fresh = || Uses {
            workspace_id: workspace_id.to_owned(),
            window: Window::default(),
            last: AtomicI64::default(),
            noted: AtomicI64::default(),
        };
        all.entry(hash).or_insert_with(|| Arc::new(fresh())).clone()
    }

    /// Notes in the control database when the keys were last used that were used since the last time: those of a workspace
    /// or all, in one statement.
    pub async fn note_uses(&self, store: &Store, workspace_id: Option<&str>) -> Result<(), Error> {
        let used: Vec<([u8; 32], i64, Arc<Uses>)> = {
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

    /// A workspace made by an older Kith is brought up to date before its first request is answered.
    async fn upgrade(&self, store: &Store, access: &Access) -> Result<(), Fault> {
        let turn = {
            let mut upgrading = self.upgrading.lock().expect("no panic while upgrades are locked");
            upgrading.entry(access.place.database_id).or_default().clone()
        };
        let _turn = turn.lock().await;
        store.upgrade_workspace(&access.place, access.version).await.map_err(|error| {
            tracing::error!(%error, workspace_id = access.workspace_id, "can't bring a workspace up to date");
            Fault::Unavailable { retry_after: 30, message: "The workspace is being brought up to date.".into() }
        })
    }
}

fn unknown_key() -> Fault {
    Fault::Unauthorized { message: "This API key is not known. It may have been revoked, or mistyped.".into() }
}
