//! Processes of an earlier server on the same data: a postmaster that outlived a killed Kith, or the backends
//! of a postmaster that was killed, which go on until their statement ends and keep a new server from starting.
//! Only who holds the data directory's lock may call this.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::identity::Identity;
use super::{PGDATA, UNFINISHED};
use crate::error::Error;

/// How long a left-over postmaster may take to shut down before it is made to.
const FAST: Duration = Duration::from_secs(30);
/// How long a process may take to go after it was killed.
const KILLED: Duration = Duration::from_secs(5);

/// Ends what is left of an earlier server, and removes a pid file that would mislead PostgreSQL. Everything is
/// done under the server's identity, so that a wrong guess can hit nobody else's process.
pub(crate) fn end(data_dir: &Path, identity: &Identity) -> Result<(), Error> {
    // As the processes see it: an operator may have put it on another disk, with a link in its place.
    let pgdata = data_dir.join(PGDATA);
    let pgdata = fs::canonicalize(&pgdata).unwrap_or(pgdata);
    let unfinished = data_dir.join(UNFINISHED);
    let work = || {
        if let Some(pid) = postmaster_of(&pgdata) {
            tracing::warn!(pid = pid.as_raw_pid(), "stopping a PostgreSQL that an earlier kith left behind");
            signal(&[pid], Signal::INT);
            wait_until_gone(&[pid], FAST);
        }
        let dirs = [&*pgdata, &*unfinished];
        let left = working_in(&dirs);
        if !left.is_empty() {
            tracing::warn!(processes = left.len(), "ending processes of an earlier PostgreSQL");
            // Nothing is lost: what they had committed is in the log of the write-ahead.
            signal(&left, Signal::KILL);
            wait_until_gone(&left, KILLED);
        }
        // A pid may have been given to somebody else since, after a restart of a container for certain; PostgreSQL
        // would take that process for a living postmaster.
        if fs::exists(pgdata.join("postmaster.pid")).unwrap_or(false) && working_in(&dirs).is_empty() {
            let _ = fs::remove_file(pgdata.join("postmaster.pid"));
        }
    };
    if cfg!(target_os = "linux") { identity.act(work) } else { Ok(()) }
}

/// The living postmaster that the pid file names, if it is one of this directory.
fn postmaster_of(pgdata: &Path) -> Option<Pid> {
    let text = fs::read_to_string(pgdata.join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0)?)?;
    (cwd(pid)? == *pgdata).then_some(pid)
}

/// Every process that works in the server's files, finished or not: a backend never leaves its data directory.
fn working_in(dirs: &[&Path]) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
        .filter(|pid| cwd(*pid).is_some_and(|cwd| dirs.contains(&cwd.as_path())))
        .collect()
}

/// Whether a process is one of the server whose files these are, by their canonical path.
pub(crate) fn works_in(pid: Pid, pgdata: &Path) -> bool {
    cwd(pid).is_some_and(|cwd| cwd == pgdata)
}

/// The working directory of a process of ours that is called `postgres`. Not its executable: that may have been
/// replaced under it.
fn cwd(pid: Pid) -> Option<PathBuf> {
    let proc = Path::new("/proc").join(pid.as_raw_pid().to_string());
    let name = fs::read_to_string(proc.join("comm")).ok()?;
    let cwd = fs::read_link(proc.join("cwd")).ok()?;
    (name.trim() == "postgres").then_some(cwd)
}

fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // It may have ended on its own.
        let _ = kill_process(*pid, signal);
    }
}

fn wait_until_gone(pids: &[Pid], limit: Duration) {
    let start = Instant::now();
    while start.elapsed() < limit && pids.iter().any(|pid| test_kill_process(*pid).is_ok() && !is_zombie(*pid)) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that has ended and that nobody has asked for yet.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}
