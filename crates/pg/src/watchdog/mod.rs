//! Ends backends from outside when their time is over. Every limit inside a session can be switched off or caught by the
//! tenant's code; `pg_terminate_backend` over another connection cannot. That connection is opened early and kept, because a
//! tenant who fills a shared table of the server prevents new log-ins.
//!
//! Some of PostgreSQL's own functions do not check for signals while they work, for minutes or days. A request that waits
//! for such a backend is released soon after its time is over. The backend's place in the pool stays taken until the backend
//! has ended, and its database is suspended.

mod book;
mod signaller;
mod suspensions;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use tokio::runtime::Handle;
use tokio::time::Instant;

use self::book::{Cell, Due};
use self::signaller::Signaller;
use self::suspensions::Suspensions;
use crate::alarm::{Alarm, Reason};
use crate::conn::Conn;
use crate::error::Error;

/// The replacement for a limit that is too long for the clock: thirty years.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// A boxed future that a trait of this crate returns.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Opens the connections for the signals, and handles backends that no signal ends.
pub trait Admin: Send + Sync + 'static {
    /// Logs in to a cell, as a role with `pg_signal_backend`, in a database that no tenant may connect to.
    fn open(&self, cell: u32) -> Doing<'_, Conn>;

    /// Whether a backend is a tenant's. A tenant's database is suspended if the backend does not end.
    fn is_tenants(&self, backend: &Backend) -> bool {
        let _ = backend;
        true
    }

    /// A backend does not end although it was signalled seconds ago. The pool gives no more connections to its database.
    /// This method must keep its role out in other ways, and prevent the backend from taking others' processor time. It is
    /// called again until it succeeds or the backend has ended.
    fn stuck<'a>(&'a self, backend: &'a Backend) -> Doing<'a, ()> {
        let _ = backend;
        Box::pin(async { Ok(()) })
    }

    /// The last stuck backend of this backend's database has ended: reverses what [`Admin::stuck`] did. When it has
    /// succeeded, the pool gives connections again; until then it is called again.
    fn unstuck<'a>(&'a self, backend: &'a Backend) -> Doing<'a, ()> {
        let _ = backend;
        Box::pin(async { Ok(()) })
    }
}

/// A backend and what identifies it. A pid alone may have been given to another session since.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backend {
    /// The cluster that it belongs to.
    pub cell: u32,
    /// Its process.
    pub pid: i32,
    /// The role that logged in.
    pub role: Arc<str>,
    /// The database.
    pub database: Arc<str>,
}

/// The watchdog. Clones are the same one. It has two tasks and a connection for each cell that it is used with.
#[derive(Clone)]
pub struct Watchdog {
    inner: Arc<WatchdogState>,
}

struct WatchdogState {
    admin: Arc<dyn Admin>,
    runtime: Handle,
    cells: Mutex<HashMap<u32, Arc<Cell>>>,
    suspensions: Arc<Suspensions>,
}

/// A backend under watch. Dropping it ends the watch.
pub struct Guard {
    ender: Ender,
    alarm: Arc<Alarm>,
}

impl Guard {
    /// True after the time was over and the backend is being ended. It stays true: the connection must not be used again,
    /// whatever it answered (a lease must be discarded).
    pub fn fired(&self) -> bool {
        self.alarm.has_gone_off()
    }

    /// Ends the watch. Returns whether it had fired.
    pub(crate) fn end(self) -> bool {
        self.ender.cell.forget(self.ender.due);
        self.fired()
    }

    /// The alarm that ends waits for the backend's answer.
    pub(crate) fn alarm(&self) -> Arc<Alarm> {
        self.alarm.clone()
    }

    /// Ends the backend before its time.
    pub(crate) fn ender(&self) -> Ender {
        self.ender.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.ender.cell.forget(self.ender.due);
    }
}

/// Ends a backend before its time, because other requests wait for its place.
#[derive(Clone)]
pub(crate) struct Ender {
    cell: Arc<Cell>,
    due: Due,
}

impl Ender {
    /// Has no effect if the watch has ended.
    pub(crate) fn end(&self) {
        self.cell.hasten(self.due);
    }
}

impl Watchdog {
    /// Creates a watchdog for any number of cells. Its tasks run on the current tokio runtime.
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub fn new(admin: Arc<dyn Admin>) -> Watchdog {
        let runtime = Handle::current();
        let suspensions = Arc::new(Suspensions::new(admin.clone(), runtime.clone()));
        Watchdog { inner: Arc::new(WatchdogState { admin, runtime, cells: Mutex::default(), suspensions }) }
    }

    /// From now until the guard is dropped, the backend may run for `limit`. Then it is ended.
    pub fn watch(&self, cell: u32, pid: i32, role: Arc<str>, database: Arc<str>, limit: Duration) -> Guard {
        let now = Instant::now();
        let backend = Backend { cell, pid, role, database };
        let alarm = Arc::new(Alarm::new(now));
        let cell = self.cell(cell);
        let due = cell.watch(now.checked_add(limit).unwrap_or(now + NEVER), backend, alarm.clone());
        Guard { ender: Ender { cell, due }, alarm }
    }

    /// Ends the backend now.
    pub fn terminate(&self, cell: u32, pid: i32, role: Arc<str>, database: Arc<str>) {
        self.terminate_holding(Backend { cell, pid, role, database }, Box::new(()));
    }

    /// Ends the backend now, and drops `held` when it has ended.
    pub(crate) fn terminate_holding(&self, backend: Backend, held: Box<dyn Send>) {
        self.cell(backend.cell).terminate(backend, held);
    }

    /// Registers a backend that was already stuck before this process started. Its database is suspended immediately.
    pub fn adopt(&self, backend: Backend) {
        self.cell(backend.cell).adopt(backend);
    }

    /// Whether a database is suspended because a backend of it does not end.
    pub fn is_suspended(&self, cell: u32, database: &Arc<str>) -> bool {
        self.inner.suspensions.has(cell, database)
    }

    fn cell(&self, id: u32) -> Arc<Cell> {
        let mut cells = self.inner.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = cells.entry(id).or_insert_with(|| Arc::new(Cell::default())).clone();
        drop(cells);
        let [clock, signaller] = cell.unattended();
        if clock {
            self.inner.runtime.spawn(book::run_clock(cell.clone()));
        }
        if signaller {
            let signaller = Signaller::new(cell.clone(), id, self.inner.admin.clone(), self.inner.suspensions.clone());
            self.inner.runtime.spawn(signaller.run());
        }
        cell
    }
}

impl Drop for WatchdogState {
    fn drop(&mut self) {
        let cells = self.cells.get_mut().unwrap_or_else(PoisonError::into_inner);
        cells.values().for_each(|cell| cell.close());
    }
}
