//! Connections to many databases as many roles, under one cap. Each key has a stack of idle connections and a queue
//! of waiting requests; a key in need takes the place of what has been idle longest, and where nothing is idle the
//! waiting keys take turns. Nothing here knows how a connection is opened or what is done with it.

mod books;

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

use self::books::{Ask, Books, Grant, Outcome};
use crate::conn::Conn;
use crate::error::Error;
use crate::watchdog::{Guard, Watchdog};

/// How long a log-in may take: one that takes longer meets a server that is stuck.
const LOG_IN_LIMIT: Duration = Duration::from_secs(10);
/// How long a reset may take before the connection is given up.
const RESET_LIMIT: Duration = Duration::from_secs(3);

/// Who connects where. Connections of different keys are never exchanged.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// The cluster.
    pub cell: u32,
    /// The database in it.
    pub database: Arc<str>,
    /// The role that logs in.
    pub role: Arc<str>,
    /// What the connection is used for.
    pub lane: Lane,
}

/// What a connection is used for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lane {
    /// Kith's own statements: nothing of a request is left in the session after it.
    Rest,
    /// The caller's statements: the session is reset before it is used again.
    Sql,
}

/// Opens connections for the pool.
pub trait Connect: Send + Sync + 'static {
    /// Logs in as the key says.
    fn open<'a>(&'a self, key: &'a Key) -> Pin<Box<dyn Future<Output = Result<Conn, Error>> + Send + 'a>>;
}

/// The pool's bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all, idle ones included.
    pub max_total: usize,
    /// Connections of one key.
    pub max_per_role: usize,
    /// Requests of one key that may wait.
    pub max_queue_per_role: usize,
    /// How long one request may wait for a place.
    pub wait: Duration,
    /// A connection older than this is closed when it comes back.
    pub max_age: Duration,
    /// A connection that has been idle for this long is closed.
    pub max_idle: Duration,
}

/// Numbers for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Places taken.
    pub total: usize,
    /// Connections at rest.
    pub idle: usize,
    /// Places in use: leased, being opened, reset or ended.
    pub in_use: usize,
    /// Requests that wait for a place.
    pub waiting: usize,
    /// Connections opened since the start.
    pub opened: u64,
    /// Idle connections closed to make room for another key since the start.
    pub evicted: u64,
}

/// The pool; clones are the same pool.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    books: Mutex<Books<Conn, oneshot::Sender<Place>>>,
    limits: Limits,
    connect: Arc<dyn Connect>,
    watchdog: Watchdog,
    /// Where resets run: leases may be dropped outside of any task.
    runtime: Handle,
    opened: AtomicU64,
    /// Told when a place comes back.
    returned: Notify,
}

impl Pool {
    /// An empty pool. Its reaper runs on the current tokio runtime until the pool is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(limits: Limits, connect: Arc<dyn Connect>, watchdog: Watchdog) -> Pool {
        let inner = Arc::new(Inner {
            books: Mutex::new(Books::new(limits)),
            limits,
            connect,
            watchdog,
            runtime: Handle::current(),
            opened: AtomicU64::new(0),
            returned: Notify::new(),
        });
        tokio::spawn(reap(Arc::downgrade(&inner), limits));
        Pool { inner }
    }

    /// A connection for `key`: an idle one, a new one, or the next that comes free.
    ///
    /// # Errors
    /// [`Error::Busy`] where too many wait already or nothing came free in time; else why the log-in failed.
    pub async fn lease(&self, key: &Key) -> Result<Lease, Error> {
        let mut place = self.inner.place(key).await?;
        // The server may have closed it while it was idle, all of them after a restart.
        if place.conn.as_mut().is_some_and(|conn| !conn.is_alive()) {
            place.conn = None;
        }
        if place.conn.is_none() {
            let opening = timeout(LOG_IN_LIMIT, self.inner.connect.open(key)).await;
            let conn =
                opening.map_err(|_| Error::Busy(format!("no log-in to the database within {LOG_IN_LIMIT:?}")))??;
            self.inner.opened.fetch_add(1, Ordering::Relaxed);
            place.opened = Instant::now();
            place.conn = Some(conn);
        }
        if let (Lane::Sql, Some(conn)) = (key.lane, place.conn.as_mut()) {
            conn.reset_at_end();
        }
        Ok(Lease { place: Some(place), watches: Vec::new(), discarded: false })
    }

    /// Closes the connections to a database: idle ones now, those in use when they come back.
    pub fn evict_database(&self, cell: u32, database: &str) {
        self.evict(|key| key.cell == cell && *key.database == *database);
    }

    /// Closes the connections of a role: idle ones now, those in use when they come back.
    pub fn evict_role(&self, cell: u32, role: &str) {
        self.evict(|key| key.cell == cell && *key.role == *role);
    }

    fn evict(&self, which: impl Fn(&Key) -> bool) {
        let outcome = self.inner.books().evict(which, Instant::now());
        self.inner.carry_out(outcome);
    }

    /// The numbers of this moment.
    pub fn stats(&self) -> Stats {
        let stats = self.inner.books().stats();
        Stats { opened: self.inner.opened.load(Ordering::Relaxed), ..stats }
    }

    /// Gives no more connections, closes what is idle, and waits for what is in use, for as long as a request may
    /// wait for a place.
    pub async fn close(&self) {
        let (waiters, connections) = self.inner.books().close();
        drop((waiters, connections));
        let all_back = async {
            loop {
                let returned = self.inner.returned.notified();
                if self.stats().total == 0 {
                    return;
                }
                returned.await;
            }
        };
        // What is still in use closes when it comes back.
        let _ = timeout(self.inner.limits.wait, all_back).await;
    }
}

impl Inner {
    fn books(&self) -> MutexGuard<'_, Books<Conn, oneshot::Sender<Place>>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn place(self: &Arc<Self>, key: &Key) -> Result<Place, Error> {
        let (mut close, mut receiver) = (Vec::new(), None);
        let ask = self.books().ask(
            key,
            Instant::now(),
            || {
                let (sender, waiting) = oneshot::channel();
                receiver = Some(waiting);
                sender
            },
            &mut close,
        );
        drop(close);
        let busy = |text: String| Err(Error::Busy(text));
        match (ask, receiver) {
            (Ask::Granted(grant), _) => Ok(Place::new(self, grant)),
            (Ask::Wait(number), Some(receiver)) => {
                let mut waiting = Waiting { inner: self, key, number, receiver };
                let limit = self.limits.wait;
                match timeout(limit, &mut waiting.receiver).await {
                    Ok(Ok(place)) => Ok(place),
                    Ok(Err(_)) => busy("the connection pool is closed".into()),
                    Err(_) => busy(format!("no database connection came free within {limit:?}; try again shortly")),
                }
            }
            (Ask::Full, _) => busy(format!(
                "{} requests already wait for a database connection of this role; try again shortly",
                self.limits.max_queue_per_role
            )),
            (Ask::Closed | Ask::Wait(_), _) => busy("the connection pool is closed".into()),
        }
    }

    /// Tells who was given a place, and closes what is to be closed. A waiter that has gone away in the meantime
    /// gives its place back, which may be somebody else's: hence the loop, where drops would recurse.
    fn carry_out(self: &Arc<Self>, outcome: Outcome<Conn, oneshot::Sender<Place>>) {
        let Outcome { mut granted, close } = outcome;
        drop(close);
        while let Some((waiter, grant)) = granted.pop() {
            let Err(mut place) = waiter.send(Place::new(self, grant)) else {
                continue;
            };
            if let Some(grant) = place.disarm() {
                let outcome = self.books().give_back(grant, false, Instant::now());
                granted.extend(outcome.granted);
                drop(outcome.close);
            }
        }
        self.returned.notify_waiters();
    }
}

/// A request in the queue; it leaves the queue when it is dropped.
struct Waiting<'a> {
    inner: &'a Arc<Inner>,
    key: &'a Key,
    number: u64,
    /// A place that was sent and not received gives itself back when this is dropped.
    receiver: oneshot::Receiver<Place>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut books = self.inner.books();
        books.forget_waiter(self.key, self.number);
    }
}

/// A place under the cap, with a connection in it or without. It gives itself back when it is dropped, so that no
/// panic and no cancelled future loses one.
struct Place {
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
}

impl Place {
    fn new(inner: &Arc<Inner>, grant: Grant<Conn>) -> Place {
        let Grant { key, connection, opened, turn, epoch } = grant;
        let grant = Some(Held { key, turn, epoch });
        Place { inner: inner.clone(), grant, conn: connection, opened, resetting: false }
    }

    fn disarm(&mut self) -> Option<Grant<Conn>> {
        let Held { key, turn, epoch } = self.grant.take()?;
        Some(Grant { key, connection: self.conn.take(), opened: self.opened, turn, epoch })
    }

    fn key(&self) -> &Key {
        &self.grant.as_ref().expect("held until dropped").key
    }

    fn end_backend(self, pid: i32) {
        let Key { cell, database, role, .. } = self.key().clone();
        // The place is free when the backend is gone, not before: a caller who hangs up again and again would
        // otherwise have more backends at work than it may have connections.
        let watchdog = self.inner.watchdog.clone();
        watchdog.terminate_holding(cell, pid, role, database, Box::new(self));
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
    watches: Vec<Guard>,
    discarded: bool,
}

impl Lease {
    /// Gives what is done from here on, until the lease is dropped or [`Lease::unwatch`] is called, so much time;
    /// then the watchdog ends the backend.
    pub fn watch(&mut self, limit: Duration) {
        let (key, pid) = (self.place().key(), self.pid());
        let guard = self.place().inner.watchdog.watch(key.cell, pid, key.role.clone(), key.database.clone(), limit);
        self.watches.push(guard);
    }

    /// Ends the watch. True where the time was up: the backend is being ended, and an error of the connection
    /// means [`Error::DeadlineExceeded`].
    pub fn unwatch(&mut self) -> bool {
        let fired = self.watches.drain(..).any(|guard| guard.fired());
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
        let Some(mut place) = self.place.take() else {
            return;
        };
        let Some(conn) = place.conn.take() else {
            return;
        };
        let pid = conn.pid();
        if !conn.is_clean() {
            // Even where the socket is gone the backend may be at work yet.
            drop(conn);
            place.end_backend(pid);
        } else if self.discarded || conn.is_altered() {
            drop(conn);
        } else if place.key().lane == Lane::Sql {
            reset(place, conn);
        } else {
            place.conn = Some(conn);
        }
    }
}

/// Resets a connection in the background. Its place stays taken meanwhile.
fn reset(mut place: Place, mut conn: Conn) {
    place.resetting = true;
    place.inner.books().reset_begins(place.key());
    let runtime = place.inner.runtime.clone();
    runtime.spawn(async move {
        let in_time = timeout(RESET_LIMIT, conn.reset()).await;
        let pid = conn.pid();
        place.conn = match &in_time {
            Ok(Ok(())) if conn.is_clean() && !conn.is_altered() => Some(conn),
            _ => None,
        };
        if in_time.is_err() {
            place.end_backend(pid);
        }
    });
}

/// Closes what has been idle or open for too long, for as long as the pool is there.
async fn reap(pool: Weak<Inner>, limits: Limits) {
    let shortest = limits.max_idle.min(limits.max_age);
    let pause = (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
    loop {
        tokio::time::sleep(pause).await;
        let Some(inner) = pool.upgrade() else { return };
        let close = inner.books().retire(Instant::now());
        let any = !close.is_empty();
        drop(close);
        if any {
            inner.returned.notify_waiters();
        }
    }
}
