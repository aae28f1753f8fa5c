//! A connection on loan, and the place under the cap that it is in.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::books::Grant;
use super::{Inner, Key, Lane};
use crate::conn::{Conn, Reset};
use crate::watchdog::{Backend, Guard};

/// How long a reset may take before the connection is given up.
const RESET_LIMIT: Duration = Duration::from_secs(3);

/// A place under the cap, with a connection in it or without. It gives itself back when it is dropped, so that no
/// panic and no cancelled future loses one.
pub(super) struct Place {
    inner: Arc<Inner>,
    /// None once given back.
    grant: Option<Held>,
    conn: Option<Conn>,
    opened: Instant,
    resetting: bool,
}

/// What a place keeps for the books.
struct Held {
    key: Key,
    turn: Instant,
    epoch: u64,
    number: u64,
}

impl Place {
    pub(super) fn new(inner: &Arc<Inner>, grant: Grant<Conn>) -> Place {
        let Grant { key, connection, opened, turn, epoch, number } = grant;
        let grant = Some(Held { key, turn, epoch, number });
        Place { inner: inner.clone(), grant, conn: connection, opened, resetting: false }
    }

    /// Whether there is a connection in it that lives: the server may have closed it while it was idle, all of them after
    /// a restart.
    pub(super) fn has_connection(&mut self) -> bool {
        if self.conn.as_mut().is_some_and(|conn| !conn.is_alive()) {
            self.conn = None;
        }
        self.conn.is_some()
    }

    /// Waits for the end of a reset that is under way. False if there is no connection in it that can be used.
    pub(super) async fn ready(&mut self) -> Result<bool, i32> {
        if !self.has_connection() {
            return Ok(false);
        }
        // Taken out meanwhile: if the wait is given up, the connection is closed.
        let Some(mut conn) = self.conn.take() else { return Ok(false) };
        let is_ready = matches!(timeout(RESET_LIMIT, conn.ready()).await, Ok(Ok(())));
        if !is_ready {
            return Err(conn.pid());
        }
        if !conn.is_altered() {
            self.conn = Some(conn);
        }
        Ok(self.conn.is_some())
    }

    /// Puts a new connection in.
    pub(super) fn fill(&mut self, conn: Conn) {
        self.opened = Instant::now();
        self.conn = Some(conn);
    }

    pub(super) fn disarm(&mut self) -> Option<Grant<Conn>> {
        let Held { key, turn, epoch, number } = self.grant.take()?;
        Some(Grant { key, connection: self.conn.take(), opened: self.opened, turn, epoch, number })
    }

    /// Gives itself back with its connection.
    fn keep(mut self, conn: Conn) {
        self.conn = Some(conn);
    }

    fn held(&self) -> &Held {
        self.grant.as_ref().expect("held until dropped")
    }

    fn key(&self) -> &Key {
        &self.held().key
    }

    /// The place is free when the backend is gone, not before: a caller who hangs up again and again would
    /// otherwise have more backends at work than it may have connections.
    pub(super) fn end_backend(self, pid: i32) {
        let Key { cell, database, role, .. } = self.key().clone();
        let watchdog = self.inner.watchdog.clone();
        watchdog.terminate_holding(Backend { cell, pid, role, database }, Box::new(self));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(grant) = self.disarm() {
            let outcome = self.inner.books().give_back(grant, self.resetting, Instant::now());
            self.inner.carry_out(outcome);
        }
    }
}

/// A connection on loan. It derefs to [`Conn`]; dropping it gives it back if it can be used again. One that was
/// dropped in the middle of a request is closed, and its backend ended from outside.
pub struct Lease {
    place: Option<Place>,
    guard: Option<Guard>,
    discarded: bool,
}

impl Lease {
    pub(super) fn new(mut place: Place) -> Lease {
        if let (Lane::Sql, Some(conn)) = (place.key().lane, place.conn.as_mut()) {
            conn.reset_at_end(Reset::Full);
        }
        Lease { place: Some(place), guard: None, discarded: false }
    }

    /// Gives what is done from here on, until the lease is dropped, watched again or [`Lease::unwatch`] is called, so much
    /// time; then the watchdog ends the backend. It ends sooner where it is slow and others wait for its place. In both cases
    /// the error that comes instead of an answer says so, and comes although the backend may not end.
    pub fn watch(&mut self, limit: Duration) {
        self.unwatch();
        let (place, pid) = (self.place(), self.pid());
        let Held { key, number, .. } = place.held();
        let guard = place.inner.watchdog.watch(key.cell, pid, key.role.clone(), key.database.clone(), limit);
        place.inner.books().begin(*number, guard.ender(), Instant::now());
        self.set_alarm(Some(guard.alarm()));
        self.guard = Some(guard);
    }

    /// Ends the watch. True where the time was up, or others waited: the backend is being ended.
    pub fn unwatch(&mut self) -> bool {
        let Some(guard) = self.guard.take() else { return false };
        let place = self.place();
        place.inner.books().finish(place.held().number);
        self.set_alarm(None);
        // What ends the watch decides: an end that came before it counts, one that comes after finds nothing.
        let fired = guard.end();
        self.discarded |= fired;
        fired
    }

    /// Closes the connection instead of giving it back.
    pub fn discard(mut self) {
        self.discarded = true;
    }

    fn place(&self) -> &Place {
        self.place.as_ref().expect("taken only by drop")
    }
}

impl Deref for Lease {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.place().conn.as_ref().expect("a lease has a connection")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Conn {
        let place = self.place.as_mut().expect("taken only by drop");
        place.conn.as_mut().expect("a lease has a connection")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.unwatch();
        let Some(mut place) = self.place.take() else { return };
        let Some(conn) = place.conn.take() else { return };
        let pid = conn.pid();
        if !conn.is_clean() {
            // Even where the socket is gone the backend may be at work yet.
            drop(conn);
            place.end_backend(pid);
        } else if self.discarded {
            drop(conn);
        } else if conn.is_in_light_reset() {
            place.keep(conn);
        } else if place.key().lane == Lane::Sql || conn.owes_reset() {
            reset(place, conn);
        } else if conn.is_altered() {
            drop(conn);
        } else {
            place.keep(conn);
        }
    }
}

/// Resets a connection in the background. Its place stays taken meanwhile.
fn reset(mut place: Place, mut conn: Conn) {
    place.resetting = true;
    place.inner.books().reset_begins(place.key());
    let runtime = place.inner.runtime.clone();
    runtime.spawn(async move {
        let was_reset = matches!(timeout(RESET_LIMIT, conn.reset()).await, Ok(Ok(())));
        if !conn.is_clean() {
            let pid = conn.pid();
            drop(conn);
            place.end_backend(pid);
            return;
        }
        if was_reset && !conn.is_altered() {
            place.keep(conn);
        }
    });
}
