//! What every door and worker shares.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Notify;

use crate::access::Keys;
use crate::access::limits::Limits;
use crate::bounds::{Bounds, Memory};
use crate::clock::Clock;
use crate::mailer::Mailer;
use crate::people::auth::accounts::Accounts;
use crate::proxies::Proxies;
use crate::store::Store;
use crate::store::cell::TenantDatabase;

/// The application: what a door needs to serve a call, and a worker to do its work. A clone shares everything.
#[derive(Clone)]
pub struct App {
    /// Everything that is stored.
    pub store: Store,
    /// The API keys that this process remembers.
    pub keys: Keys,
    /// Passwords, sessions and the ways to sign in.
    pub accounts: Accounts,
    /// The time.
    pub clock: Clock,
    /// How e-mail leaves.
    pub mailer: Arc<Mailer>,
    /// What may be done how often.
    pub limits: Arc<Limits>,
    /// What the door bounds, whoever comes.
    pub bounds: Arc<Bounds>,
    /// The memory that the door's calls hold.
    pub memory: Memory,
    /// `http://…`, without a slash at its end.
    pub public_url: Arc<str>,
    /// What workers wait for.
    pub wakes: Arc<Wakes>,
    /// The proxies whose word on a client's address is taken.
    pub proxies: Arc<Proxies>,
    /// Set while requests can be served.
    pub ready: Arc<AtomicBool>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
}

/// What wakes workers before their time.
#[derive(Default)]
pub struct Wakes {
    /// A database was handed out, so another one is to be made ahead of time.
    pub database_taken: Notify,
    changed: Mutex<HashMap<i64, TenantDatabase>>,
}

/// Databases that are remembered as changed at most; a sweep finds the others.
const MOST_CHANGED: usize = 10_000;

impl Wakes {
    /// Notes that a transaction in a workspace's database was committed.
    pub fn committed(&self, database: &TenantDatabase) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.len() < MOST_CHANGED && !changed.contains_key(&database.database_id) {
            changed.insert(database.database_id, database.clone());
        }
    }

    /// Takes the databases in which something was committed since the last time.
    pub fn take_changed(&self) -> Vec<TenantDatabase> {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *changed).into_values().collect()
    }
}
