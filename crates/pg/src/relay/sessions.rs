//! The number of open sessions, in total and by group, and the keys that cancel their statements.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sessions that have logged in.
pub(super) struct Sessions {
    max: usize,
    max_per_group: usize,
    table: Mutex<SessionTable>,
}

#[derive(Default)]
struct SessionTable {
    open: usize,
    /// The number of sessions of each group that has any.
    groups: HashMap<String, usize>,
    /// The body of each session's BackendKeyData.
    keys: HashSet<Vec<u8>>,
}

impl Sessions {
    pub(super) fn new(max: usize, max_per_group: usize) -> Arc<Sessions> {
        Arc::new(Sessions { max, max_per_group, table: Mutex::default() })
    }

    /// Counts a new session. `None` if its group has too many. The limit of a group decreases with the number of free
    /// places, so that a place remains for a group without sessions (dynamic thresholds, Choudhury and Hahne, 1998).
    pub(super) fn enter(self: &Arc<Self>, group: &str) -> Option<Session> {
        let mut table = self.table();
        let has = table.groups.get(group).copied().unwrap_or_default();
        let free = self.max.saturating_sub(table.open);
        if has >= self.max_per_group.min(2 * free) {
            return None;
        }
        table.open += 1;
        table.groups.insert(group.to_owned(), has + 1);
        Some(Session { sessions: Arc::clone(self), group: group.to_owned(), key: None })
    }

    /// Whether an open session has this process id and key.
    pub(super) fn have_key(&self, key: &[u8]) -> bool {
        self.table().keys.contains(key)
    }

    fn table(&self) -> MutexGuard<'_, SessionTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open session. Dropping it frees its place.
pub(super) struct Session {
    sessions: Arc<Sessions>,
    group: String,
    key: Option<Vec<u8>>,
}

impl Session {
    /// Stores the process id and key that cancel its statements.
    pub(super) fn set_key(&mut self, key: &[u8]) {
        self.sessions.table().keys.insert(key.to_vec());
        self.key = Some(key.to_vec());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut table = self.sessions.table();
        table.open -= 1;
        if let Some(key) = &self.key {
            table.keys.remove(key);
        }
        match table.groups.get_mut(&self.group) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(table.groups.remove(&self.group)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_without_sessions_finds_a_place_when_other_groups_have_many() {
        let sessions = Sessions::new(40, 24);
        let mut open = Vec::new();
        let mut take = |group: &str| {
            let before = open.len();
            open.extend(std::iter::from_fn(|| sessions.enter(group)));
            open.len() - before
        };
        assert_eq!(take("a"), 24);
        assert_eq!(take("b"), 11);
        assert_eq!(take("c"), 4);
        assert_eq!(take("d"), 1);
        assert_eq!(take("e"), 0, "forty are open");
        open.clear();
        assert!(sessions.table().groups.is_empty());
        assert_eq!(sessions.table().open, 0);
    }

    #[test]
    fn a_key_is_forgotten_with_its_session() {
        let sessions = Sessions::new(1, 1);
        let mut session = sessions.enter("a").unwrap();
        assert!(!sessions.have_key(b"key"));
        session.set_key(b"key");
        assert!(sessions.have_key(b"key") && sessions.enter("b").is_none());
        drop(session);
        assert!(!sessions.have_key(b"key") && sessions.enter("b").is_some());
    }
}
