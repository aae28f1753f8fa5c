//! The databases that are suspended because one of their backends does not end, and the calls to the caller's
//! `Admin` for that. The calls that begin and end a database's suspension run one after the other.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::{Admin, Backend};

/// How long to wait before a failed call is retried.
const PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Suspensions {
    admin: Arc<dyn Admin>,
    runtime: Handle,
    databases: Mutex<HashMap<(u32, Arc<str>), Suspension>>,
    /// The number of suspended databases, so that a request for a connection need not take the lock if there are none.
    count: AtomicUsize,
}

#[derive(Default)]
struct Suspension {
    stuck: BTreeSet<i32>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Suspensions {
    pub(super) fn new(admin: Arc<dyn Admin>, runtime: Handle) -> Suspensions {
        Suspensions { admin, runtime, databases: Mutex::default(), count: AtomicUsize::new(0) }
    }

    pub(super) fn has(&self, cell: u32, database: &Arc<str>) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.databases().contains_key(&(cell, database.clone()))
    }

    /// A backend does not end. This may be called several times: when its time is over, and when its caller disconnects.
    pub(super) fn begin(self: &Arc<Self>, backend: &Backend) {
        let turn = {
            let mut databases = self.databases();
            let suspension = databases.entry(key(backend)).or_default();
            if !suspension.stuck.insert(backend.pid) {
                return;
            }
            let turn = suspension.turn.clone();
            self.count.store(databases.len(), Ordering::Release);
            turn
        };
        let (this, backend) = (self.clone(), backend.clone());
        self.runtime.spawn(async move {
            let _turn = turn.lock().await;
            while this.is_stuck(&backend) {
                match this.admin.stuck(&backend).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(pid = backend.pid, %error, "a suspension failed; trying again"),
                }
                sleep(PAUSE).await;
            }
        });
    }

    /// A stuck backend has ended. If it was the last one, its database's suspension ends.
    pub(super) fn end(self: &Arc<Self>, backend: &Backend) {
        let turn = {
            let mut databases = self.databases();
            let Some(suspension) = databases.get_mut(&key(backend)) else { return };
            if !suspension.stuck.remove(&backend.pid) {
                return;
            }
            suspension.turn.clone()
        };
        let (this, backend) = (self.clone(), backend.clone());
        self.runtime.spawn(async move {
            let _turn = turn.lock().await;
            // Another backend got stuck, or another call has already ended the suspension: there is nothing to reverse.
            while this.is_over(&backend) {
                match this.admin.unstuck(&backend).await {
                    Ok(()) => return this.lift(&backend),
                    Err(error) => {
                        tracing::warn!(role = &*backend.role, %error, "a suspension can't be ended; trying again")
                    }
                }
                sleep(PAUSE).await;
            }
        });
    }

    fn is_stuck(&self, backend: &Backend) -> bool {
        self.databases().get(&key(backend)).is_some_and(|suspension| suspension.stuck.contains(&backend.pid))
    }

    fn is_over(&self, backend: &Backend) -> bool {
        self.databases().get(&key(backend)).is_some_and(|suspension| suspension.stuck.is_empty())
    }

    /// Unless another backend got stuck meanwhile. The call for it is next, and suspends again.
    fn lift(&self, backend: &Backend) {
        let mut databases = self.databases();
        if databases.get(&key(backend)).is_some_and(|suspension| suspension.stuck.is_empty()) {
            databases.remove(&key(backend));
        }
        self.count.store(databases.len(), Ordering::Release);
    }

    fn databases(&self) -> MutexGuard<'_, HashMap<(u32, Arc<str>), Suspension>> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(backend: &Backend) -> (u32, Arc<str>) {
    (backend.cell, backend.database.clone())
}
