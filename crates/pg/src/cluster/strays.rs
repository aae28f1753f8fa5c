//! Processes of an earlier server on the same data: a postmaster that outlived a killed Kith, or the backends of a killed
//! postmaster, which continue until their statement ends and prevent a new server from starting. Only the holder of the data
//! directory's lock may call this.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::identity::Identity;
use super::{PGDATA, UNFINISHED};
use crate::error::Error;

/// How long a left-over postmaster may take to shut down before it is killed.
const FAST: Duration = Duration::from_secs(30);
/// How long a process may take to end after it was killed.
const KILLED: Duration = Duration::from_secs(5);

/// Ends the processes of an earlier server, and removes a pid file that would mislead PostgreSQL. Everything runs under the
/// server's identity, so that a wrong pid can't affect another user's process.
pub(crate) fn end(data_dir: &Path, identity: &Identity) -> Result<(), Error> {
    // The path as the processes see it: an operator may have moved the directory to another disk and left a link.
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
            // Nothing is lost: committed data is in the write-ahead log.
            signal(&left, Signal::KILL);
            wait_until_gone(&left, KILLED);
        }
        // The pid may have been given to another process since, certainly after a restart of a container. PostgreSQL would
        // take that process for a running postmaster.
        if fs::exists(pgdata.join("postmaster.pid")).unwrap_or(false) && working_in(&dirs).is_empty() {
            let _ = fs::remove_file(pgdata.join("postmaster.pid"));
        }
    };
    if cfg!(target_os = "linux") { identity.act(work) } else { Ok(()) }
}

/// The running postmaster that the pid file names, if it belongs to this directory.
fn postmaster_of(pgdata: &Path) -> Option<Pid> {
    let text = fs::read_to_string(pgdata.join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0)?)?;
    (cwd(pid)? == *pgdata).then_some(pid)
}

/// Every process whose working directory is in the server's files, ended or not: a backend never leaves its data directory.
fn working_in(dirs: &[&Path]) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
        .filter(|pid| cwd(*pid).is_some_and(|cwd| dirs.contains(&cwd.as_path())))
        .collect()
}

/// Whether a process belongs to the server with these files, given by their canonical path.
pub(crate) fn works_in(pid: Pid, pgdata: &Path) -> bool {
    cwd(pid).is_some_and(|cwd| cwd == pgdata)
}

/// The working directory of a process of the current user named `postgres`. The executable is not checked, because it may
/// have been replaced.
fn cwd(pid: Pid) -> Option<PathBuf> {
    let proc = Path::new("/proc").join(pid.as_raw_pid().to_string());
    let name = fs::read_to_string(proc.join("comm")).ok()?;
    let cwd = fs::read_link(proc.join("cwd")).ok()?;
    (name.trim() == "postgres").then_some(cwd)
}

fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // It may have ended by itself.
        let _ = kill_process(*pid, signal);
    }
}

fn wait_until_gone(pids: &[Pid], limit: Duration) {
    let start = Instant::now();
    while start.elapsed() < limit && pids.iter().any(|pid| test_kill_process(*pid).is_ok() && !is_zombie(*pid)) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that has ended and has not been reaped.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}
