//! What clients are called that have begun with `initialize`. Their later requests do not repeat their names, and there are no sessions,
//! so a name is kept for a while for the key and the `User-Agent` with which it came. It is what the client says of itself, and only shown.

use std::sync::Arc;

use crate::cache::Cache;

/// How long a name is kept after the client's last call.
const KEPT_MS: u64 = 60 * 60 * 1000;
/// A name that is in use is kept again when it is this old.
const RENEWED_MS: i64 = 5 * 60 * 1000;
/// The most names.
const MOST: usize = 10_000;
/// A client with a longer name or `User-Agent` is not kept, so that all of them take little memory.
const MOST_BYTES: usize = 300;

/// A program that uses a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientProgram {
    /// The workspace.
    pub workspace_id: Arc<str>,
    /// The key or the person.
    pub actor: Arc<str>,
    /// Its `User-Agent`.
    pub program: Option<String>,
}

/// A name, and when it was kept.
#[derive(Clone, Debug)]
struct KeptName {
    /// `None` if clients of several names use the key with the same `User-Agent`: a call could be any one's.
    name: Option<Arc<str>>,
    kept_ms: i64,
}

/// The names of clients.
#[derive(Debug)]
pub struct ClientNames {
    names: Cache<ClientProgram, KeptName>,
}

impl Default for ClientNames {
    fn default() -> ClientNames {
        ClientNames { names: Cache::fresh_for(KEPT_MS, MOST) }
    }
}

impl ClientNames {
    /// Keeps the name that a client says.
    pub fn keep(&self, client: ClientProgram, name: &str, now_ms: i64) {
        if name.len() > MOST_BYTES || client.program.as_ref().is_some_and(|program| program.len() > MOST_BYTES) {
            return;
        }
        let name = match self.names.get(&client, now_ms) {
            Some(known) if known.name.as_deref() != Some(name) => None,
            _ => Some(name.into()),
        };
        self.store(client, name, now_ms);
    }

    /// The name of a client, if it is known.
    pub fn name(&self, client: &ClientProgram, now_ms: i64) -> Option<Arc<str>> {
        let known = self.names.get(client, now_ms)?;
        if now_ms - known.kept_ms > RENEWED_MS {
            self.store(client.clone(), known.name.clone(), now_ms);
        }
        known.name
    }

    fn store(&self, client: ClientProgram, name: Option<Arc<str>>, now_ms: i64) {
        self.names.store(self.names.begin(now_ms), client, KeptName { name, kept_ms: now_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(actor: &str, program: &str) -> ClientProgram {
        ClientProgram { workspace_id: "ws_1".into(), actor: actor.into(), program: Some(program.to_owned()) }
    }

    #[test]
    fn a_name_is_kept_for_its_key_and_program_and_a_while() {
        let names = ClientNames::default();
        names.keep(program("a", "node"), "Cursor/1", 0);
        names.keep(program("a", "node"), "Cursor/1", 10);
        let known = |actor: &str, agent: &str, now| names.name(&program(actor, agent), now).map(|it| it.to_string());
        assert_eq!(known("a", "node", 10).as_deref(), Some("Cursor/1"));
        assert_eq!((known("b", "node", 10), known("a", "python", 10)), (None, None));
        // Calls keep it.
        let hour = KEPT_MS as i64;
        assert_eq!(known("a", "node", hour - 1).as_deref(), Some("Cursor/1"));
        assert_eq!(known("a", "node", 2 * hour - 2).as_deref(), Some("Cursor/1"));
        assert_eq!(known("a", "node", 4 * hour), None);
    }

    #[test]
    fn of_two_clients_that_look_alike_none_is_named() {
        let names = ClientNames::default();
        names.keep(program("a", "node"), "Cursor/1", 0);
        names.keep(program("a", "node"), "Other/2", 0);
        assert_eq!(names.name(&program("a", "node"), 0), None);
        names.keep(program("a", "node"), "Cursor/1", 0);
        assert_eq!(names.name(&program("a", "node"), 0), None);
        names.keep(program("a", &"x".repeat(400)), "Long/1", 0);
        assert_eq!(names.name(&program("a", &"x".repeat(400)), 0), None);
    }
}
