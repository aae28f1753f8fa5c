//! Signals that wake workers early, and what they are about. They are hints: whoever misses one looks again soon.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crm::model::who::Mode;

/// A workspace's data set.
pub type DataSet = (Arc<str>, Mode);

/// Signals that wake workers early.
#[derive(Default)]
pub struct Wakes {
    /// A database was handed out, so that another one must be created ahead of time.
    pub database_taken: Notify,
    /// Webhook deliveries were queued.
    pub deliveries: Notify,
    /// E-mails were queued.
    pub emails: Notify,
    /// A mailbox was connected.
    pub mailboxes: Notify,
    /// Runs of automations were queued.
    pub runs: Notify,
    /// Changes that somebody listens to were committed, or somebody subscribed.
    pub to_publish: Notify,
    mailbox_watchers: Mutex<HashMap<String, Arc<Notify>>>,
    published: Mutex<Published>,
    subscribed: AtomicBool,
    watchers: Mutex<HashMap<DataSet, Arc<Notify>>>,
}

/// Data sets whose changes are published.
#[derive(Default)]
struct Published {
    /// Those that somebody listens to, as far as this process knows.
    listened: HashSet<DataSet>,
    /// Those of them in which changes were committed.
    changed: HashSet<DataSet>,
}

impl Wakes {
    /// Notes that a request has committed changes.
    pub fn committed(&self, workspace_id: &Arc<str>, mode: Mode) {
        let set = (workspace_id.clone(), mode);
        if let Some(watcher) = lock(&self.watchers).get(&set) {
            watcher.notify_waiters();
        }
        // Most commits are of nobody's interest, and wake nobody.
        let mut published = lock(&self.published);
        if published.listened.contains(&set) && published.changed.insert(set) {
            self.to_publish.notify_one();
        }
    }

    /// Notes which data sets somebody listens to.
    pub fn listened(&self, sets: impl Iterator<Item = DataSet>) {
        lock(&self.published).listened = sets.collect();
    }

    /// Notes that the list of those who listen has changed.
    pub fn subscribed(&self) {
        self.subscribed.store(true, Ordering::Relaxed);
        self.to_publish.notify_one();
    }

    /// Takes the data sets that somebody listens to in which changes were committed.
    pub fn take_changed(&self) -> HashSet<DataSet> {
        std::mem::take(&mut lock(&self.published).changed)
    }

    /// Whether the list of those who listen has changed since the last call.
    pub fn take_subscribed(&self) -> bool {
        self.subscribed.swap(false, Ordering::Relaxed)
    }

    /// A signal that comes when this process connects another mailbox of a workspace, or disconnects it.
    pub fn watch_mailbox(&self, workspace_id: &str) -> Arc<Notify> {
        let mut watchers = lock(&self.mailbox_watchers);
        watchers.retain(|_, watcher| Arc::strong_count(watcher) > 1);
        watchers.entry(workspace_id.to_owned()).or_default().clone()
    }

    /// Notes that a workspace has another mailbox, or none.
    pub fn mailbox_changed(&self, workspace_id: &str) {
        if let Some(watcher) = lock(&self.mailbox_watchers).get(workspace_id) {
            watcher.notify_waiters();
        }
        self.mailboxes.notify_one();
    }

    /// A signal that comes when this process commits changes of a data set.
    pub fn watch(&self, workspace_id: &Arc<str>, mode: Mode) -> Arc<Notify> {
        let mut watchers = lock(&self.watchers);
        watchers.retain(|_, watcher| Arc::strong_count(watcher) > 1);
        watchers.entry((workspace_id.clone(), mode)).or_default().clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
