//! The thread that owns the server: prepares its files, starts it, and restarts it when it dies. It is a thread and not a
//! task, because the server shuts down when the thread that started it ends.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::data_dir::DataDir;
use super::identity::Identity;
use super::postmaster::{Door, Postmaster, knock};
use super::settings::{self, ServerPaths};
use super::{ClusterOptions, PORT, initdb, strays};
use crate::error::Error;

/// How long a server may take to recover before it is given up.
const RECOVERY: Duration = Duration::from_secs(600);
/// A server that ran this long started successfully: the count of failures restarts at zero.
const SETTLED: Duration = Duration::from_secs(60);
/// The number of consecutive starts that may fail.
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The server's state.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// Its files are being created, or it starts for the first time.
    Starting,
    /// It accepts connections.
    Ready,
    /// It died and is being restarted.
    Restarting,
    /// It was told to stop and has stopped.
    Stopped,
    /// It has ended and will not be restarted. Contains the reason.
    Lost(String),
}

impl State {
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, State::Stopped | State::Lost(_))
    }
}

/// State that the thread shares with the handle.
pub(crate) struct Shared {
    state: watch::Sender<State>,
    control: Mutex<SupervisorHandle>,
    /// Notified when `control` changes.
    changed: Condvar,
}

#[derive(Default)]
struct SupervisorHandle {
    stopping: bool,
    /// The running (or unreaped) postmaster. A signal sent under this lock can't reach another process.
    pid: Option<Pid>,
    /// The socket's directory, after the data directory was locked.
    socket_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    files: Option<Files>,
}

/// The server's own files, and the user that owns them and runs its processes.
#[derive(Clone)]
pub(crate) struct Files {
    /// In its canonical form.
    pub(crate) pgdata: PathBuf,
    pub(crate) identity: Identity,
}

impl Shared {
    pub(crate) fn new() -> Arc<Shared> {
        Arc::new(Shared {
            state: watch::Sender::new(State::Starting),
            control: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        self.control().pid
    }

    /// The data directory and the socket's directory, as determined at the start.
    pub(crate) fn directories(&self) -> Option<(PathBuf, PathBuf)> {
        let control = self.control();
        Some((control.data_dir.clone()?, control.socket_dir.clone()?))
    }

    /// The server's own files, after the data directory was locked.
    pub(crate) fn files(&self) -> Option<Files> {
        self.control().files.clone()
    }

    /// Makes the server end, and not be restarted.
    pub(crate) fn stop(&self, signal: Signal) {
        let mut control = self.control();
        control.stopping = true;
        if let Some(pid) = control.pid {
            // It may have just ended.
            let _ = kill_process(pid, signal);
        }
        self.changed.notify_all();
    }

    fn control(&self) -> MutexGuard<'_, SupervisorHandle> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.control().stopping
    }

    /// Stores the new postmaster. If a stop was requested during the start, it is stopped immediately.
    fn started(&self, pid: Pid) {
        let mut control = self.control();
        control.pid = Some(pid);
        if control.stopping {
            let _ = kill_process(pid, Signal::INT);
        }
    }

    /// Waits, but not longer than until a stop. True if there was none.
    fn pause(&self, time: Duration) -> bool {
        let control = self.control();
        let waited = self.changed.wait_timeout_while(control, time, |control| !control.stopping);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }
}

/// Starts the thread.
pub(crate) fn start(options: ClusterOptions) -> Result<Arc<Shared>, Error> {
    let shared = Shared::new();
    let outcome = Report(shared.clone());
    std::thread::Builder::new().name("postgres-supervisor".into()).spawn(move || {
        let last = match supervise(&options, &outcome.0) {
            Ok(()) => State::Stopped,
            Err(error) => State::Lost(error.to_string()),
        };
        outcome.0.state.send_replace(last);
    })?;
    Ok(shared)
}

/// Reports a panic of the thread, because another thread waits for its final state.
struct Report(Arc<Shared>);

impl Drop for Report {
    fn drop(&mut self) {
        self.0.state.send_if_modified(|state| {
            let silent = !state.is_final();
            if silent {
                *state = State::Lost("the thread that looks after PostgreSQL has failed".into());
            }
            silent
        });
    }
}

/// Runs the server until it was told to stop or cannot be run.
fn supervise(options: &ClusterOptions, shared: &Shared) -> Result<(), Error> {
    let dir = DataDir::take(&options.data_dir)?;
    strays::end(&dir.path, &dir.identity)?;
    initdb::ensure(&options.binaries, &dir, &options.superuser_password, settings::durable(&options.settings))?;
    initdb::write_access(&dir)?;
    initdb::remove_certificate(&dir)?;
    {
        let mut control = shared.control();
        control.data_dir = Some(dir.path.clone());
        control.socket_dir = Some(dir.socket_dir.clone());
        // The path as the processes see it: an operator may have moved it to another disk and left a link.
        let pgdata = std::fs::canonicalize(dir.pgdata()).unwrap_or_else(|_| dir.pgdata());
        control.files = Some(Files { pgdata, identity: dir.identity });
    }
    let mut failures = 0;
    loop {
        if shared.stopping() {
            return Ok(());
        }
        let run = run_once(options, &dir, shared)?;
        if shared.stopping() {
            return Ok(());
        }
        failures = if run.settled { 1 } else { failures + 1 };
        let was_up = run.was_up || matches!(*shared.state.borrow(), State::Restarting);
        if failures >= ATTEMPTS || (!was_up && !run.may_pass) {
            return Err(Error::Config(format!("PostgreSQL in {} {}", dir.path.display(), run.why)));
        }
        if was_up {
            shared.state.send_replace(State::Restarting);
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_PAUSE);
        tracing::error!(
            cause = run.why,
            pause_ms = pause.as_millis() as u64,
            "PostgreSQL has ended; starting it again"
        );
        shared.pause(pause);
        strays::end(&dir.path, &dir.identity)?;
    }
}

/// The result of a run of the postmaster.
struct PostmasterRun {
    was_up: bool,
    settled: bool,
    /// The cause resolves itself: processes of the last run hold its shared memory.
    may_pass: bool,
    why: String,
}

fn run_once(options: &ClusterOptions, dir: &DataDir, shared: &Shared) -> Result<PostmasterRun, Error> {
    let place = ServerPaths { pgdata: &dir.pgdata(), socket_dir: &dir.socket_dir, port: PORT };
    let arguments = settings::arguments(&place, options.binaries.version.0, &options.settings);
    let postmaster = Postmaster::spawn(&options.binaries, &dir.identity, &arguments, options.memory_limit_bytes)
        .map_err(|error| Error::Config(format!("cannot run {}/postgres: {error}", options.binaries.bin.display())))?;
    shared.started(postmaster.pid());
    let start = Instant::now();
    let was_up = wait_until_ready(&postmaster, dir, start);
    if was_up && !shared.stopping() {
        tracing::info!(
            pid = postmaster.pid().as_raw_pid(),
            ms = start.elapsed().as_millis() as u64,
            "PostgreSQL is ready"
        );
        shared.state.send_replace(State::Ready);
    }
    postmaster.wait_for_end();
    shared.control().pid = None;
    let (status, complaint) = postmaster.reap();
    let ended = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    let complaint = complaint.unwrap_or_default();
    Ok(PostmasterRun {
        was_up,
        settled: was_up && start.elapsed() >= SETTLED,
        may_pass: complaint.contains("shared memory block") || complaint.contains("lock file"),
        why: format!("has ended ({ended}){}{complaint}", if complaint.is_empty() { "" } else { ": " }),
    })
}

/// False if the server ended first, or took longer than any recovery may.
fn wait_until_ready(postmaster: &Postmaster, dir: &DataDir, start: Instant) -> bool {
    let socket = dir.socket_dir.join(format!(".s.PGSQL.{PORT}"));
    let mut told = start;
    loop {
        let door = knock(&socket);
        if door == Door::Open {
            return true;
        }
        if postmaster.has_ended() {
            return false;
        }
        if told.elapsed() >= Duration::from_secs(10) {
            told = Instant::now();
            tracing::info!(seconds = start.elapsed().as_secs(), "waiting for PostgreSQL to recover");
        }
        if start.elapsed() >= RECOVERY {
            tracing::error!("PostgreSQL is not ready after {} s; ending it", RECOVERY.as_secs());
            let _ = kill_process(postmaster.pid(), Signal::QUIT);
            return false;
        }
        std::thread::sleep(Duration::from_millis(if start.elapsed().as_secs() < 2 { 5 } else { 100 }));
    }
}
