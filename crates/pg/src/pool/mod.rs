//! Connections to many databases as many roles, under one cap. Each key has a stack of idle connections and a queue of
//! waiting requests. A key that needs a place takes that of the connection that has been idle longest. If no connection is
//! idle, databases wait: those with the fewest places are served first, and work that takes long is ended while others wait.
//! Nothing here knows how a connection is opened or what it is used for.

mod books;
mod lease;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

use self::books::{Ask, Books, Outcome};
pub use self::lease::Lease;
use self::lease::Place;
use crate::conn::Conn;
use crate::error::Error;
use crate::watchdog::{Doing, Ender, Watchdog};

/// How long a log-in may take. If it takes longer, the server is stuck.
const LOG_IN_LIMIT: Duration = Duration::from_secs(10);
/// SQLSTATE of a log-in beyond `max_connections`, or beyond a role's limit.
const TOO_MANY_CONNECTIONS: &str = "53300";
/// How long to ask again then, and how often.
const CROWD_LIMIT: Duration = Duration::from_secs(5);
const CROWD_PAUSE: Duration = Duration::from_millis(50);
/// How often long-held places are checked while others wait.
const RELIEF: Duration = Duration::from_millis(25);

/// The cell, database, role and use of a connection. Connections of different keys are never exchanged.
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
    /// Kith's own statements. A request leaves nothing in the session.
    Rest,
    /// The caller's statements. The session is reset before it is used again.
    Sql,
}

/// How many places a database may have, for all its keys together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// As many as the limits allow.
    Whole,
    /// This many, and more only while most of the pool is free. All databases with a small share together have at most half
    /// of the places.
    Small(usize),
}

/// Opens connections for the pool.
pub trait Connect: Send + Sync + 'static {
    /// Connects and logs in as the key's role.
    fn open<'a>(&'a self, key: &'a Key) -> Doing<'a, Conn>;
}

/// The pool's bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in total, including idle ones.
    pub max_total: usize,
    /// Connections of one key.
    pub max_per_role: usize,
    /// The number of requests of one key that may wait.
    pub max_queue_per_role: usize,
    /// How long a request may wait for a place.
    pub wait: Duration,
    /// A connection older than this is closed when it is returned.
    pub max_age: Duration,
    /// A connection that has been idle for this long is closed.
    pub max_idle: Duration,
}

/// Values for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Places taken.
    pub total: usize,
    /// Idle connections.
    pub idle: usize,
    /// Places in use: leased, being opened, reset or ended.
    pub in_use: usize,
    /// Requests that wait for a place.
    pub waiting: usize,
    /// Connections opened since the start.
    pub opened: u64,
    /// Idle connections closed to make room for another key, since the start.
    pub evicted: u64,
}

/// The pool. Clones are the same pool.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<PoolState>,
}

type PoolBooks = Books<Conn, oneshot::Sender<Place>, Ender>;

struct PoolState {
    books: Mutex<PoolBooks>,
    limits: Limits,
    connect: Arc<dyn Connect>,
    watchdog: Watchdog,
    /// The runtime for resets: a lease may be dropped outside of a task.
    runtime: Handle,
    opened: AtomicU64,
    /// Notified when a place is returned.
    returned: Notify,
    /// Notified when a request begins to wait.
    crowded: Arc<Notify>,
}

impl Pool {
    /// Creates an empty pool. Its reaper runs on the current tokio runtime until the pool is dropped.
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub fn new(limits: Limits, connect: Arc<dyn Connect>, watchdog: Watchdog) -> Pool {
        let inner = Arc::new(PoolState {
            books: Mutex::new(Books::new(limits)),
            limits,
            connect,
            watchdog,
            runtime: Handle::current(),
            opened: AtomicU64::new(0),
            returned: Notify::new(),
            crowded: Arc::default(),
        });
        tokio::spawn(reap(Arc::downgrade(&inner), limits));
        tokio::spawn(relieve(Arc::downgrade(&inner), inner.crowded.clone()));
        Pool { inner }
    }

    /// Returns a connection for `key`: an idle one, a new one, or the next one that becomes free.
    ///
    /// # Errors
    /// [`Error::Busy`] if too many requests already wait or no connection became free in time; [`Error::Suspended`] while a
    /// backend of the database does not end; otherwise the error of the log-in.
    pub async fn lease(&self, key: &Key) -> Result<Lease, Error> {
        self.lease_within(key, Share::Whole).await
    }

    /// The same for a database that has this share of the pool. The share given last applies.
    ///
    /// # Errors
    /// As for [`Pool::lease`].
    pub async fn lease_within(&self, key: &Key, share: Share) -> Result<Lease, Error> {
        self.inner.refuse_suspended(key)?;
        let (mut place, is_ready) = loop {
            let mut place = self.inner.place(key, share).await?;
            self.inner.refuse_suspended(key)?;
            match place.ready().await {
                Ok(is_ready) => break (place, is_ready),
                // Its backend may still be running.
                Err(pid) => place.end_backend(pid),
            }
        };
        if !is_ready {
            // On the heap, because it is large and rare.
            place.fill(Box::pin(self.inner.open(key)).await?);
        }
        Ok(Lease::new(place))
    }

    /// Closes the connections to a database: idle ones now, those in use when they are returned.
    pub fn evict_database(&self, cell: u32, database: &str) {
        self.evict(|key| key.cell == cell && *key.database == *database);
    }

    /// Closes the connections of a role: idle ones now, those in use when they are returned.
    pub fn evict_role(&self, cell: u32, role: &str) {
        self.evict(|key| key.cell == cell && *key.role == *role);
    }

    fn evict(&self, which: impl Fn(&Key) -> bool) {
        let outcome = self.inner.books().evict(which, Instant::now());
        self.inner.carry_out(outcome);
    }

    /// The current values.
    pub fn stats(&self) -> Stats {
        let stats = self.inner.books().stats();
        Stats { opened: self.inner.opened.load(Ordering::Relaxed), ..stats }
    }

    /// Stops giving connections, closes idle ones, and waits for those in use, for as long as a request may wait for a
    /// place.
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
        // Connections still in use are closed when they are returned.
        let _ = timeout(self.inner.limits.wait, all_back).await;
    }
}

impl PoolState {
    /// Opens a connection. Closed connections have given their places back, but on a busy machine their backends still count
    /// for a moment: PostgreSQL then refuses one more.
    async fn open(&self, key: &Key) -> Result<Conn, Error> {
        let begun = Instant::now();
        let opening = async {
            loop {
                match self.connect.open(key).await {
                    Err(Error::Server(error))
                        if error.code == TOO_MANY_CONNECTIONS && begun.elapsed() < CROWD_LIMIT =>
                    {
                        tokio::time::sleep(CROWD_PAUSE).await;
                    }
                    opened => return opened,
                }
            }
        };
        let opened = timeout(LOG_IN_LIMIT, opening).await;
        let conn = opened.map_err(|_| Error::Busy(format!("no log-in to the database within {LOG_IN_LIMIT:?}")))??;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(conn)
    }

    fn books(&self) -> MutexGuard<'_, PoolBooks> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_suspended(&self, key: &Key) -> Result<(), Error> {
        match self.watchdog.is_suspended(key.cell, &key.database) {
            true => Err(Error::Suspended(key.database.to_string())),
            false => Ok(()),
        }
    }

    async fn place(self: &Arc<Self>, key: &Key, share: Share) -> Result<Place, Error> {
        let (mut close, mut receiver) = (Vec::new(), None);
        let ask = self.books().ask(
            key,
            share,
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
                self.crowded.notify_one();
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

    /// Tells waiters that they were given a place, and closes connections that are to be closed. A waiter that was cancelled
    /// meanwhile returns its place, which may go to another waiter. This is a loop because drops would recurse.
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

/// A request in the queue. Dropping it removes it from the queue.
struct Waiting<'a> {
    inner: &'a Arc<PoolState>,
    key: &'a Key,
    number: u64,
    /// A place that was sent but not received is returned when this is dropped.
    receiver: oneshot::Receiver<Place>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut books = self.inner.books();
        books.forget_waiter(self.key, self.number);
    }
}

/// While requests wait, ends work in places that are held too long.
async fn relieve(pool: Weak<PoolState>, crowded: Arc<Notify>) {
    loop {
        crowded.notified().await;
        loop {
            let Some(inner) = pool.upgrade() else { return };
            let (enders, waiting) = {
                let mut books = inner.books();
                (books.relieve(Instant::now()), books.stats().waiting)
            };
            drop(inner);
            enders.iter().for_each(Ender::end);
            if waiting == 0 {
                break;
            }
            tokio::time::sleep(RELIEF).await;
        }
    }
}

/// Closes connections that have been idle or open for too long, until the pool is dropped.
async fn reap(pool: Weak<PoolState>, limits: Limits) {
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
