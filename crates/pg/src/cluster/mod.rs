//! A PostgreSQL server of Kith's own in its data directory: created at the first start, run as a child process that never
//! outlives Kith, and restarted when it dies. It does not know what the databases contain.

mod account;
mod binaries;
mod checkpoint;
mod data_dir;
mod identity;
mod initdb;
mod libraries;
mod log;
mod ownership;
mod postmaster;
mod processes;
mod settings;
mod strays;
mod supervisor;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

pub use self::binaries::Binaries;
use self::checkpoint::CheckpointWork;
pub use self::data_dir::make_all as make_data_dir;
pub use self::processes::Processes;
use self::supervisor::{Shared, State};
use crate::error::Error;
use crate::secret::Secret;
use crate::target::{Host, Target, Tls};

/// The name of the server's own directory.
pub(crate) const PGDATA: &str = "pg";
/// The prefix of the names of an unfinished initdb.
pub(crate) const UNFINISHED: &str = "pg.new";

/// How long a server that is stopped may do nothing: its sessions end, and a checkpoint is written.
const FAST: Duration = Duration::from_secs(30);
/// How long its checkpoint may take.
const LONGEST: Duration = Duration::from_secs(300);
/// After this time the log says what is waited for.
const SLOW: Duration = Duration::from_secs(5);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long the server may then take to end without a checkpoint.
const IMMEDIATE: Duration = Duration::from_secs(5);
/// The port in the socket's name. The server listens nowhere else.
const PORT: u16 = 5432;

/// The options of a server.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Kith's data directory; the server's files are in `pg` inside it.
    pub data_dir: PathBuf,
    /// The programs, from [`Binaries::find`].
    pub binaries: Binaries,
    /// The password of the role `postgres`. It is set when the files are created and not changed afterwards.
    pub superuser_password: Secret,
    /// Settings that replace those of this crate, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// The maximum address space of each server process, including its shared buffers, so that one tenant's query fails
    /// instead of using up the machine's memory. [`ClusterOptions::MEMORY_LIMIT_BYTES`] is a good value; it must grow with
    /// `shared_buffers`.
    pub memory_limit_bytes: Option<u64>,
}

impl ClusterOptions {
    /// 3 GiB: far more than any reasonable query of a small machine uses.
    pub const MEMORY_LIMIT_BYTES: u64 = 3 << 30;

    /// Options with the default for everything optional.
    pub fn new(data_dir: impl Into<PathBuf>, binaries: Binaries, superuser_password: Secret) -> ClusterOptions {
        ClusterOptions {
            data_dir: data_dir.into(),
            binaries,
            superuser_password,
            settings: Vec::new(),
            memory_limit_bytes: Some(Self::MEMORY_LIMIT_BYTES),
        }
    }
}

/// A running server. Dropping it also shuts the server down, without waiting for that.
pub struct Cluster {
    shared: Arc<Shared>,
    data_dir: PathBuf,
    target: Target,
}

impl Cluster {
    /// Creates the server's files if they don't exist, starts it, and returns when it accepts connections.
    ///
    /// # Errors
    /// One line for the operator: the data directory is in use, cannot be reached, or was created by another version; or
    /// PostgreSQL's own message before it ended.
    pub async fn start(options: ClusterOptions) -> Result<Cluster, Error> {
        let starting = Starting(Some(supervisor::start(options)?));
        match until(starting.shared(), |state| !matches!(state, State::Starting)).await {
            State::Lost(why) => Err(Error::Config(why)),
            _ => {
                let shared = starting.done();
                let (data_dir, socket_dir) =
                    shared.directories().ok_or_else(|| Error::Config("PostgreSQL was stopped".into()))?;
                let target = Target { host: Host::Unix(socket_dir), port: PORT, tls: Tls::Off };
                Ok(Cluster { shared, data_dir, target })
            }
        }
    }

    /// The address of its socket, where it listens for Kith.
    pub fn target(&self) -> Target {
        self.target.clone()
    }

    /// Kith's data directory, in its canonical form.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The postmaster's process id. 0 while it is being restarted.
    pub fn pid(&self) -> u32 {
        self.shared.pid().map_or(0, |pid| pid.as_raw_pid().unsigned_abs())
    }

    /// A handle to its processes.
    pub fn processes(&self) -> Processes {
        Processes { shared: self.shared.clone() }
    }

    /// Resolves when the server has ended and restarting it has failed repeatedly. Does not resolve when it was stopped.
    pub async fn lost(&self) -> Error {
        match until(&self.shared, State::is_final).await {
            State::Lost(why) => Error::Config(why),
            _ => std::future::pending().await,
        }
    }

    /// Shuts the server down: its sessions are ended and a checkpoint is written. On a slow disk that takes minutes; it is waited for while it
    /// goes on. If the server does not end, it is killed, which costs a recovery at the next start and loses no data.
    pub async fn stop(&self) {
        self.shared.stop(Signal::INT);
        if !self.ends_by_itself().await {
            self.stop_at_once().await;
        }
    }

    /// Ends the server without a checkpoint. The next start recovers, and no data is lost.
    pub async fn stop_at_once(&self) {
        for signal in [Signal::QUIT, Signal::KILL] {
            self.shared.stop(signal);
            if tokio::time::timeout(IMMEDIATE, until(&self.shared, State::is_final)).await.is_ok() {
                return;
            }
            tracing::warn!(after = ?signal, seconds = IMMEDIATE.as_secs(), "PostgreSQL has not stopped");
        }
    }

    /// Whether a server that was told to stop ends. It is given up when its checkpoint does not go on, or takes too long.
    async fn ends_by_itself(&self) -> bool {
        let begun = Instant::now();
        let (mut last, mut worked_at, mut is_said) = (None, begun, false);
        while worked_at.elapsed() < FAST && begun.elapsed() < LONGEST {
            if tokio::time::timeout(LOOK, until(&self.shared, State::is_final)).await.is_ok() {
                return true;
            }
            let work = self.shared.pid().and_then(CheckpointWork::of);
            if work.as_ref().is_some_and(|work| work.goes_on(last.as_ref())) {
                worked_at = Instant::now();
            }
            last = work;
            if begun.elapsed() > SLOW && !is_said {
                is_said = true;
                tracing::info!("PostgreSQL writes its last checkpoint; a second signal stops it at once");
            }
        }
        tracing::warn!(seconds = begun.elapsed().as_secs(), "PostgreSQL has not stopped");
        false
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shared.stop(Signal::INT);
    }
}

/// A start that may be cancelled. If it is, no process is left running.
struct Starting(Option<Arc<Shared>>);

impl Starting {
    fn shared(&self) -> &Shared {
        self.0.as_deref().expect("taken only by done")
    }

    fn done(mut self) -> Arc<Shared> {
        self.0.take().expect("taken only here")
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.stop(Signal::INT);
        }
    }
}

async fn until(shared: &Shared, wanted: impl FnMut(&State) -> bool) -> State {
    let mut states = shared.watch();
    // The sender is in `shared`, so this cannot fail while we hold it.
    let state = states.wait_for(wanted).await.map(|state| state.clone());
    state.unwrap_or_else(|_| State::Lost("PostgreSQL is gone".into()))
}
