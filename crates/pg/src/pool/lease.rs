//! A leased connection, and the place under the cap that it occupies.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::books::Grant;
use super::{Key, Lane, PoolState};
use crate::conn::{Conn, Reset};
use crate::watchdog::{Backend, Guard};

/// How long a reset may take before the connection is closed.
const RESET_LIMIT: Duration = Duration::from_secs(3);

/// A place under the cap, with or without a connection. It is returned when it is dropped, so that neither a panic nor a
/// cancelled future leaks one.
pub(super) struct Place {
    inner: Arc<PoolState>,
    /// `None` after it was returned.
    grant: Option<HeldPlace>,
    conn: Option<Conn>,
    opened: Instant,
    resetting: bool,
}

/// What a place stores for the books.
struct HeldPlace {
    key: Key,
    turn: Instant,
    epoch: u64,
    number: u64,
}

impl Place {
    pub(super) fn new(inner: &Arc<PoolState>, grant: Grant<Conn>) -> Place {
        let Grant { key, connection, opened, turn, epoch, number } = grant;
        let grant = Some(HeldPlace { key, turn, epoch, number });
        Place { inner: inner.clone(), grant, conn: connection, opened, resetting: false }
    }

    /// Whether it has a connection that is alive. The server may have closed it while it was idle; after a restart of the
    /// server all idle connections are closed.
    pub(super) fn has_connection(&mut self) -> bool {
        if self.conn.as_mut().is_some_and(|conn| !conn.is_alive()) {
            self.conn = None;
        }
        self.conn.is_some()
    }

    /// Waits for the end of a reset that is in progress. False if there is no connection that can be used.
    pub(super) async fn ready(&mut self) -> Result<bool, i32> {
        if !self.has_connection() {
            return Ok(false);
        }
        if self.conn.as_ref().is_some_and(|conn| !conn.is_in_light_reset()) {
            return Ok(self.drop_altered());
        }
        // On the heap, because it is large and most sessions are not reset.
        Box::pin(self.end_reset()).await
    }

    async fn end_reset(&mut self) -> Result<bool, i32> {
        // The connection is taken out meanwhile: if the wait is cancelled, it is closed.
        let Some(mut conn) = self.conn.take() else { return Ok(false) };
        let is_ready = matches!(timeout(RESET_LIMIT, conn.ready()).await, Ok(Ok(())));
        if !is_ready {
            return Err(conn.pid());
        }
        self.conn = Some(conn);
        Ok(self.drop_altered())
    }

    /// Whether its connection can be used.
    fn drop_altered(&mut self) -> bool {
        if self.conn.as_ref().is_some_and(Conn::is_altered) {
            self.conn = None;
        }
        self.conn.is_some()
    }

    /// Stores a new connection.
    pub(super) fn fill(&mut self, conn: Conn) {
        self.opened = Instant::now();
        self.conn = Some(conn);
    }

    pub(super) fn disarm(&mut self) -> Option<Grant<Conn>> {
        let HeldPlace { key, turn, epoch, number } = self.grant.take()?;
        Some(Grant { key, connection: self.conn.take(), opened: self.opened, turn, epoch, number })
    }

    /// Returns the place with its connection.
    fn keep(mut self, conn: Conn) {
        self.conn = Some(conn);
    }

    fn held(&self) -> &HeldPlace {
        self.grant.as_ref().expect("held until dropped")
    }

    fn key(&self) -> &Key {
        &self.held().key
    }

    /// The place becomes free when the backend has ended, not before. Otherwise a caller who disconnects repeatedly could
    /// have more running backends than it may have connections.
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

/// A leased connection. It derefs to [`Conn`]. Dropping it returns the connection to the pool if it can be reused. A
/// connection that is dropped in the middle of a request is closed, and its backend is ended from outside.
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

    /// Sets a time limit for everything done from now until the lease is dropped, watched again or [`Lease::unwatch`] is
    /// called. When it is over, the watchdog ends the backend. It ends the backend earlier if it is slow and others wait for
    /// its place. In both cases an error that says so is returned instead of an answer, even if the backend does not end.
    pub fn watch(&mut self, limit: Duration) {
        self.unwatch();
        let (place, pid) = (self.place(), self.pid());
        let HeldPlace { key, number, .. } = place.held();
        let guard = place.inner.watchdog.watch(key.cell, pid, key.role.clone(), key.database.clone(), limit);
        place.inner.books().begin(*number, guard.ender(), Instant::now());
        self.set_alarm(Some(guard.alarm()));
        self.guard = Some(guard);
    }

    /// Ends the watch. True if the time was over or others waited: then the backend is being ended.
    pub fn unwatch(&mut self) -> bool {
        let Some(guard) = self.guard.take() else { return false };
        let place = self.place();
        place.inner.books().finish(place.held().number);
        self.set_alarm(None);
        // This call decides: whether the backend was told to end before it. After it nothing is ended.
        let fired = guard.end();
        self.discarded |= fired;
        fired
    }

    /// Closes the connection when the lease is dropped, instead of returning it to the pool.
    pub fn close_at_end(&mut self) {
        self.discarded = true;
    }

    /// Closes the connection instead of returning it to the pool.
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
            // Even if the socket is closed, the backend may still be running.
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
