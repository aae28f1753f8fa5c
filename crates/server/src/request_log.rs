//! The log of requests, between the doors and the control database. A door only notes a request in memory, without a lock, and
//! never waits. A worker writes what was noted. If more comes than there is room for, the rest is dropped and counted.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crm::model::fault::Fault;
use crm::model::who::Mode;

use crate::store::Store;
use crate::store::control::request_log::LoggedRequest;

/// The most requests that wait to be written.
const MOST_WAITING: usize = 16_384;
/// The most requests of one workspace among them, so that one that is busy leaves room for the others.
const MOST_OF_ONE: u32 = 2_048;
/// The number of counters that the workspaces share.
const COUNTERS: usize = 1024;
/// The most requests that one statement writes.
const BATCH: usize = 4_096;
/// A workspace's log is trimmed each time this many requests were added to it.
const TRIM_AFTER: usize = 10_000;

/// The requests that wait to be written.
pub struct RequestLog {
    sender: Sender<LoggedRequest>,
    /// How many requests of a workspace were noted since the last writing. Workspaces with the same hash share a counter.
    noted: Box<[AtomicU32]>,
    hasher: RandomState,
    written: Mutex<LogWriter>,
}

/// What the writer holds.
struct LogWriter {
    receiver: Receiver<LoggedRequest>,
    /// What was taken and not written, because the database failed.
    unwritten: Vec<LoggedRequest>,
    /// How many requests were added to each log since it was last trimmed.
    added: HashMap<(Arc<str>, Mode), usize>,
}

impl Default for RequestLog {
    fn default() -> RequestLog {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let written = LogWriter { receiver, unwritten: Vec::new(), added: HashMap::new() };
        RequestLog {
            sender,
            noted: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
            written: Mutex::new(written),
        }
    }
}

impl RequestLog {
    /// Notes a request. `made` is called only if there is room.
    pub fn note(&self, workspace_id: &str, made: impl FnOnce() -> LoggedRequest) {
        let counter = &self.noted[self.hasher.hash_one(workspace_id) as usize % COUNTERS];
        let has_room = counter.fetch_add(1, Ordering::Relaxed) < MOST_OF_ONE;
        if !has_room || self.sender.try_send(made()).is_err() {
            metrics::counter!("kith_request_log_dropped_total").increment(1);
        }
    }

    /// Writes what was noted. If that fails, the next call writes it.
    pub async fn write(&self, store: &Store) -> Result<(), Fault> {
        let mut written = self.written.lock().await;
        let LogWriter { receiver, unwritten, added } = &mut *written;
        self.noted.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
        loop {
            while unwritten.len() < BATCH
                && let Ok(request) = receiver.try_recv()
            {
                unwritten.push(request);
            }
            if unwritten.is_empty() {
                break;
            }
            store.control.log_requests(unwritten).await?;
            for request in unwritten.drain(..) {
                *added.entry((request.workspace_id, request.mode)).or_default() += 1;
            }
        }
        let long = added.iter().filter(|(_, count)| **count >= TRIM_AFTER).map(|(key, _)| key.clone());
        for key in long.collect::<Vec<_>>() {
            store.control.trim_request_log(&key.0, key.1).await?;
            added.remove(&key);
        }
        Ok(())
    }
}
