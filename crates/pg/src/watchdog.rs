//! Ends backends from outside when their time is up. Every limit inside a session can be switched off or caught by
//! the tenant's code; `pg_terminate_backend` over another connection cannot. That connection is opened before it is
//! needed and kept, because a tenant who fills a shared table of the server keeps new log-ins out.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::conn::Conn;
use crate::error::Error;

/// How long the admin connection may take to open or to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried while nothing happens.
const PING: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A signal that has not ended its backend by then is sent again.
const AGAIN: Duration = Duration::from_secs(2);
/// Looks at whether a backend has gone come sooner at first, for the sake of who waits for its place.
const FIRST_LOOKS: [Duration; 4] =
    [Duration::from_millis(5), Duration::from_millis(25), Duration::from_millis(150), Duration::from_millis(500)];
/// Whoever waits for a backend to go waits no longer than this.
const HELD: Duration = Duration::from_secs(5);
/// What a limit that no clock can hold comes to: thirty years.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// After so many signals only a person can help.
const MOST_ATTEMPTS: u32 = 100;

/// The pid alone may have been given to another session since; together with role and database it is the one that
/// was meant, or one of the same tenant's. `$4` is whether to send the signal or only to look.
const TERMINATE: &str = "select case when $4::boolean then pg_catalog.pg_terminate_backend(pid) end \
                         from pg_catalog.pg_stat_activity \
                         where pid = $1::integer and usename = $2::name and datname = $3::name";

/// Opens the connections that the signals go through.
pub trait Admin: Send + Sync + 'static {
    /// Logs in to a cell, as a role with `pg_signal_backend`, in a database that no tenant may connect to.
    fn open(&self, cell: u32) -> Pin<Box<dyn Future<Output = Result<Conn, Error>> + Send + '_>>;
}

/// The watchdog; clones are the same one. It has a task and a connection for each cell that it was asked about.
#[derive(Clone)]
pub struct Watchdog {
    inner: Arc<Inner>,
}

struct Inner {
    admin: Arc<dyn Admin>,
    runtime: Handle,
    cells: Mutex<HashMap<u32, Arc<Cell>>>,
}

/// One cell's deadlines.
struct Cell {
    book: Mutex<Book>,
    wake: Notify,
}

struct Book {
    /// By time, and by number where times are the same.
    due: BTreeMap<Due, Entry>,
    next: u64,
    /// When the task will look by itself; none while it is awake and will look before it sleeps.
    sleeps_until: Option<Instant>,
    /// Whether there is a task.
    attended: bool,
    closed: bool,
}

type Due = (Instant, u64);

/// A backend whose time comes.
struct Entry {
    backend: Arc<Backend>,
    /// Signals and looks so far.
    attempts: u32,
    /// Since when it is being ended, and when the last signal was sent.
    ending: Option<Ending>,
}

struct Ending {
    since: Instant,
    signalled: Instant,
    /// Dropped when the backend has gone.
    held: Option<Box<dyn Send>>,
}

struct Backend {
    pid: i32,
    role: Arc<str>,
    database: Arc<str>,
    fired: AtomicBool,
}

/// A backend under watch. Dropping it ends the watch.
pub struct Guard {
    cell: Arc<Cell>,
    due: Due,
    backend: Arc<Backend>,
}

impl Guard {
    /// True once the time was up and the backend is being ended. It stays true: the connection must not be used
    /// again, whatever it answered (a lease must be discarded).
    pub fn fired(&self) -> bool {
        self.backend.fired.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.cell.book().due.remove(&self.due);
    }
}

impl Watchdog {
    /// A watchdog over any number of cells. Its tasks run on the current tokio runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(admin: Arc<dyn Admin>) -> Watchdog {
        Watchdog { inner: Arc::new(Inner { admin, runtime: Handle::current(), cells: Mutex::default() }) }
    }

    /// From now until the guard is dropped the backend may run for `limit`; then it is ended.
    pub fn watch(&self, cell: u32, pid: i32, role: Arc<str>, database: Arc<str>, limit: Duration) -> Guard {
        let cell = self.cell(cell);
        let backend = Arc::new(Backend { pid, role, database, fired: AtomicBool::new(false) });
        let entry = Entry { backend: backend.clone(), attempts: 0, ending: None };
        let now = Instant::now();
        let due = cell.enter(now.checked_add(limit).unwrap_or(now + NEVER), entry);
        Guard { cell, due, backend }
    }

    /// Ends the backend now.
    pub fn terminate(&self, cell: u32, pid: i32, role: Arc<str>, database: Arc<str>) {
        self.terminate_holding(cell, pid, role, database, Box::new(()));
    }

    /// Ends the backend now, and drops `held` when it has gone (or will not go).
    pub(crate) fn terminate_holding(
        &self,
        cell: u32,
        pid: i32,
        role: Arc<str>,
        database: Arc<str>,
        held: Box<dyn Send>,
    ) {
        let now = Instant::now();
        let backend = Arc::new(Backend { pid, role, database, fired: AtomicBool::new(true) });
        let ending = Ending { since: now, signalled: now, held: Some(held) };
        self.cell(cell).enter(now, Entry { backend, attempts: 0, ending: Some(ending) });
    }

    fn cell(&self, id: u32) -> Arc<Cell> {
        let cell = {
            let mut cells = self.inner.cells.lock().unwrap_or_else(PoisonError::into_inner);
            cells.entry(id).or_insert_with(|| Arc::new(Cell::new())).clone()
        };
        if !std::mem::replace(&mut cell.book().attended, true) {
            let attendant = Attendant { cell: cell.clone(), id, admin: self.inner.admin.clone() };
            self.inner.runtime.spawn(attendant.run());
        }
        cell
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let cells = self.cells.get_mut().unwrap_or_else(PoisonError::into_inner);
        for cell in cells.values() {
            cell.book().closed = true;
            cell.wake.notify_one();
        }
    }
}

impl Cell {
    fn new() -> Cell {
        let book = Book { due: BTreeMap::new(), next: 0, sleeps_until: None, attended: false, closed: false };
        Cell { book: Mutex::new(book), wake: Notify::new() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the task only where it would sleep too long: limits are alike, so that hardly ever happens.
    fn enter(&self, at: Instant, entry: Entry) -> Due {
        let mut book = self.book();
        book.next += 1;
        let due = (at, book.next);
        book.due.insert(due, entry);
        if book.sleeps_until.is_some_and(|until| at < until) {
            book.sleeps_until = None;
            drop(book);
            self.wake.notify_one();
        }
        due
    }

    /// The first entry whose time has come.
    fn take_due(&self) -> Option<Entry> {
        let mut book = self.book();
        let first = book.due.first_entry()?;
        if first.key().0 > Instant::now() {
            return None;
        }
        let entry = first.remove();
        // Under the lock: a guard that is dropped later finds nothing to remove and sees that it has fired.
        entry.backend.fired.store(true, Ordering::Release);
        Some(entry)
    }

    /// Sleeps until the next deadline, but not past `latest`. False where the watchdog is gone.
    async fn sleep(&self, latest: Instant) -> bool {
        let until = {
            let mut book = self.book();
            if book.closed && book.due.is_empty() {
                return false;
            }
            let until = book.due.first_key_value().map_or(latest, |((at, _), _)| latest.min(*at));
            book.sleeps_until = Some(until);
            until
        };
        // Elapsed is as good as woken.
        let _ = timeout_at(until, self.wake.notified()).await;
        self.book().sleeps_until = None;
        true
    }
}

/// The task of one cell.
struct Attendant {
    cell: Arc<Cell>,
    id: u32,
    admin: Arc<dyn Admin>,
}

impl Drop for Attendant {
    /// After a panic, the next who asks starts another.
    fn drop(&mut self) {
        self.cell.book().attended = false;
    }
}

impl Attendant {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.open().await {
                Ok(conn) => {
                    pause = FIRST_PAUSE;
                    match self.attend(conn).await {
                        Ok(()) => return,
                        Err(error) => {
                            tracing::warn!(cell = self.id, %error, "the watchdog lost its connection")
                        }
                    }
                }
                Err(error) => tracing::warn!(cell = self.id, %error, "the watchdog cannot connect"),
            }
            self.let_go();
            if self.cell.book().closed {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn open(&self) -> Result<Conn, Error> {
        in_time(self.admin.open(self.id)).await
    }

    /// Works over one connection until that is lost, or the watchdog is gone.
    async fn attend(&self, mut conn: Conn) -> Result<(), Error> {
        loop {
            while let Some(mut entry) = self.cell.take_due() {
                match end(&mut conn, &mut entry).await {
                    Ok(None) => {}
                    Ok(Some(pause)) => drop(self.cell.enter(Instant::now() + pause, entry)),
                    Err(error) => {
                        self.cell.enter(Instant::now(), entry);
                        return Err(error);
                    }
                }
            }
            let latest = Instant::now() + PING;
            if !self.cell.sleep(latest).await {
                return Ok(());
            }
            if !conn.is_alive() {
                return Err(Error::Io(std::io::ErrorKind::ConnectionReset.into()));
            }
            if Instant::now() >= latest {
                in_time(conn.query("select 1", &[])).await?;
            }
        }
    }

    /// While there is no connection, nobody is kept waiting for longer than with one.
    fn let_go(&self) {
        let mut freed = Vec::new();
        for entry in self.cell.book().due.values_mut() {
            if let Some(ending) = &mut entry.ending
                && ending.since.elapsed() >= HELD
            {
                freed.extend(ending.held.take());
            }
        }
        // Dropped without the lock: it may come back here.
        drop(freed);
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Sends the signal where it is due, or looks whether the backend has gone. The time until the next look; none where
/// there is nothing left to do. An error is one of the connection.
async fn end(conn: &mut Conn, entry: &mut Entry) -> Result<Option<Duration>, Error> {
    let now = Instant::now();
    let Backend { pid, role, database, .. } = &*entry.backend;
    let first = entry.attempts == 0;
    let ending = entry.ending.get_or_insert(Ending { since: now, signalled: now, held: None });
    let signals = first || now.saturating_duration_since(ending.signalled) >= AGAIN;
    let pid_text = pid.to_string();
    let params = [Some(pid_text.as_str()), Some(&**role), Some(&**database), Some(if signals { "t" } else { "f" })];
    let still_there = match in_time(conn.query(TERMINATE, &params)).await {
        Ok(rows) => !rows.is_empty(),
        // Its own rights, not the connection: trying again would change nothing.
        Err(Error::Server(error)) if !error.is_fatal() => {
            tracing::error!(pid, role = &**role, %error, "the watchdog may not end a backend");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if !still_there {
        return Ok(None);
    }
    if signals {
        ending.signalled = now;
        if !first {
            tracing::warn!(pid, role = &**role, database = &**database, "a backend does not end; signalled again");
        }
    }
    if ending.since.elapsed() >= HELD {
        ending.held = None;
    }
    entry.attempts += 1;
    if entry.attempts >= MOST_ATTEMPTS {
        tracing::error!(pid, role = &**role, database = &**database, "a backend cannot be ended");
        return Ok(None);
    }
    Ok(Some(FIRST_LOOKS.get(entry.attempts as usize - 1).copied().unwrap_or(AGAIN)))
}
