//! The connection for the signals of one cell, and the checks whether backends have ended.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::book::{Attended, Cell, Ending, Task};
use super::suspensions::Suspensions;
use super::{Admin, Backend};
use crate::conn::Conn;
use crate::error::Error;

/// How long the admin connection may take to open or to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How often opening it is retried while nothing happens.
const PING: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// If the backend has not ended by then, the signal is sent again.
const AGAIN: Duration = Duration::from_secs(2);
/// Checks whether a backend has ended are more frequent at first, because requests may wait for its place.
const FIRST_LOOKS: [Duration; 5] = [
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(150),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// Finds the backend, and signals it if `$4` is true. The pid alone may have been given to another session since. With the
/// same role and database it is either the intended backend or another one of the same tenant. From the second check on, the
/// start time distinguishes those too.
const TERMINATE: &str = "select extract(epoch from backend_start), \
                                case when $4::boolean then pg_catalog.pg_terminate_backend(pid) end \
                         from pg_catalog.pg_stat_activity \
                         where pid = $1::integer and usename = $2::name and datname = $3::name \
                         and ($5::numeric is null or extract(epoch from backend_start) = $5::numeric)";

/// The task that signals one cell's backends.
pub(super) struct Signaller {
    cell: Arc<Cell>,
    id: u32,
    admin: Arc<dyn Admin>,
    suspensions: Arc<Suspensions>,
}

/// The next step for a backend that is being ended.
enum NextSignal {
    /// Nothing: it has ended.
    Gone,
    /// Nothing can be done.
    Hopeless,
    /// Check again after this time.
    Look(Duration),
}

impl Signaller {
    pub(super) fn new(cell: Arc<Cell>, id: u32, admin: Arc<dyn Admin>, suspensions: Arc<Suspensions>) -> Signaller {
        Signaller { cell, id, admin, suspensions }
    }

    pub(super) async fn run(self) {
        let _attended = Attended { cell: &self.cell, task: Task::Signaller };
        let mut pause = FIRST_PAUSE;
        loop {
            match in_time(self.admin.open(self.id)).await {
                Ok(conn) => {
                    pause = FIRST_PAUSE;
                    match self.attend(conn).await {
                        Ok(()) => return,
                        Err(error) => tracing::warn!(cell = self.id, %error, "the watchdog lost its connection"),
                    }
                }
                Err(error) => tracing::warn!(cell = self.id, %error, "the watchdog cannot connect"),
            }
            if self.cell.is_closed() {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Works over one connection until it is lost or the watchdog is dropped.
    async fn attend(&self, mut conn: Conn) -> Result<(), Error> {
        loop {
            while let Some(mut ending) = self.cell.take_ending() {
                match end(&mut conn, &mut ending).await {
                    Ok(NextSignal::Look(pause)) => {
                        self.judge(&mut ending);
                        self.cell.enter(Instant::now() + pause, ending);
                    }
                    Ok(NextSignal::Gone | NextSignal::Hopeless) => self.let_go(ending),
                    Err(error) => {
                        self.cell.enter(Instant::now(), ending);
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

    /// Suspends the database of a backend that did not end in time.
    fn judge(&self, ending: &mut Ending) {
        if !ending.is_stuck && ending.since.elapsed() >= ending.patience {
            ending.is_stuck = true;
            let Backend { pid, role, database, .. } = &ending.backend;
            tracing::error!(
                pid,
                role = &**role,
                database = &**database,
                "a backend does not end; its database is suspended"
            );
            self.suspensions.begin(&ending.backend);
        }
    }

    fn let_go(&self, ending: Ending) {
        if ending.is_stuck {
            let Backend { pid, role, database, .. } = &ending.backend;
            let seconds = ending.since.elapsed().as_secs();
            tracing::warn!(pid, role = &**role, database = &**database, seconds, "a stuck backend has gone");
            self.suspensions.end(&ending.backend);
        }
        drop(ending.held);
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(ANSWER, work).await.unwrap_or_else(|_| Err(Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Sends the signal if it is due, or checks whether the backend has ended. An error is one of the connection.
async fn end(conn: &mut Conn, ending: &mut Ending) -> Result<NextSignal, Error> {
    let now = Instant::now();
    let Backend { pid, role, database, .. } = &ending.backend;
    let signals = ending.attempts == 0 || now.saturating_duration_since(ending.signalled) >= AGAIN;
    let (pid_text, signals_text) = (pid.to_string(), if signals { "t" } else { "f" });
    let params = [Some(&*pid_text), Some(role), Some(database), Some(signals_text), ending.started.as_deref()];
    let found = match in_time(conn.query(TERMINATE, &params)).await {
        Ok(rows) => rows,
        // The cause is the role's rights, not the connection: a retry would change nothing.
        Err(Error::Server(error)) if !error.is_fatal() => {
            tracing::error!(pid, role = &**role, %error, "the watchdog may not end a backend");
            return Ok(NextSignal::Hopeless);
        }
        Err(error) => return Err(error),
    };
    if found.is_empty() {
        return Ok(NextSignal::Gone);
    }
    if signals {
        ending.signalled = now;
    }
    if ending.started.is_none() {
        ending.started = found.text(0, 0).map(str::to_owned);
    }
    ending.attempts = ending.attempts.saturating_add(1);
    Ok(NextSignal::Look(FIRST_LOOKS.get(ending.attempts as usize - 1).copied().unwrap_or(AGAIN)))
}
