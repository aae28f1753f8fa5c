//! Calls in progress that their client can cancel by a message. Such a message comes as a request of its own, so the call is
//! found by who made it and by the id that the client gave it.

use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::{HashMap, HashMapExt};
use tokio::sync::Notify;

/// What identifies a call to its client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallName {
    /// The workspace.
    pub workspace_id: Arc<str>,
    /// The key or the person.
    pub actor: Arc<str>,
    /// The program, as it names itself. Programs that share a key number their calls alike.
    pub program: Option<String>,
    /// The id that the client gave the call, as JSON.
    pub id: String,
}

/// The calls in progress in this process.
#[derive(Debug)]
pub struct RunningCalls {
    calls: Mutex<HashMap<CallName, Vec<Arc<Notify>>>>,
}

impl Default for RunningCalls {
    fn default() -> RunningCalls {
        RunningCalls { calls: Mutex::new(HashMap::new()) }
    }
}

/// A call in progress. Dropping it ends it.
#[derive(Debug)]
pub struct RunningCall {
    calls: Arc<RunningCalls>,
    name: CallName,
    cancelled: Arc<Notify>,
}

impl RunningCalls {
    /// Begins a call.
    pub fn begin(self: &Arc<RunningCalls>, name: CallName) -> RunningCall {
        let cancelled = Arc::new(Notify::new());
        self.calls().entry(name.clone()).or_default().push(cancelled.clone());
        RunningCall { calls: self.clone(), name, cancelled }
    }

    /// Cancels a call. If several calls have the name, none is cancelled, because it could be another client's.
    pub fn cancel(&self, name: &CallName) -> bool {
        let calls = self.calls();
        let Some([only]) = calls.get(name).map(Vec::as_slice) else { return false };
        only.notify_one();
        true
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallName, Vec<Arc<Notify>>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningCall {
    /// Waits until the call is cancelled.
    pub async fn cancelled(&self) {
        self.cancelled.notified().await;
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.calls.calls().entry(self.name.clone()) {
            entry.get_mut().retain(|other| !Arc::ptr_eq(other, &self.cancelled));
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn name(id: &str) -> CallName {
        let program = Some("a-client/1".to_owned());
        CallName { workspace_id: "ws_1".into(), actor: "api_key:ak_1".into(), program, id: id.to_owned() }
    }

    #[test]
    fn only_the_named_call_is_cancelled() {
        let calls = Arc::new(RunningCalls::default());
        let (first, second) = (calls.begin(name("1")), calls.begin(name("2")));
        assert!(calls.cancel(&name("1")));
        assert!(first.cancelled().now_or_never().is_some() && second.cancelled().now_or_never().is_none());
        assert!(!calls.cancel(&CallName { actor: "api_key:ak_2".into(), ..name("2") }));
        assert!(!calls.cancel(&CallName { program: None, ..name("2") }));
        drop((first, second));
        assert!(!calls.cancel(&name("1")) && calls.calls().is_empty());
    }

    #[test]
    fn a_name_that_two_calls_have_cancels_none() {
        let calls = Arc::new(RunningCalls::default());
        let (first, second) = (calls.begin(name("1")), calls.begin(name("1")));
        assert!(!calls.cancel(&name("1")));
        drop(first);
        assert!(calls.cancel(&name("1")) && second.cancelled().now_or_never().is_some());
    }
}
