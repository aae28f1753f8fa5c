//! Operations on the server's processes from outside, for cases where no PostgreSQL signal helps.

use std::io;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process, setpriority_process};

use super::strays;
use super::supervisor::Shared;
use crate::error::Error;

/// The lowest priority: only processor time that no other process uses.
const LAST: i32 = 19;

/// A handle to the processes of an embedded server. Clones are the same one.
#[derive(Clone)]
pub struct Processes {
    pub(super) shared: Arc<Shared>,
}

impl Processes {
    /// Gives a backend only the processor time that no other process uses. This can't be reversed.
    ///
    /// # Errors
    /// If this server has no such backend, or Kith has no permission.
    pub fn put_last(&self, pid: i32) -> Result<(), Error> {
        self.act(pid, |pid| setpriority_process(Some(pid), LAST))
    }

    /// Kills a backend. PostgreSQL then ends all its sessions and recovers, which takes seconds and loses no committed data.
    /// Only for a server that is not usable otherwise.
    ///
    /// # Errors
    /// If this server has no such backend, or Kith has no permission.
    pub fn kill(&self, pid: i32) -> Result<(), Error> {
        self.act(pid, |pid| kill_process(pid, Signal::KILL))
    }

    /// Runs under the server's identity, so that a wrong pid can't affect another user's process.
    fn act(&self, pid: i32, act: fn(Pid) -> rustix::io::Result<()>) -> Result<(), Error> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let (pid, files) = Pid::from_raw(pid).zip(self.shared.files()).ok_or_else(gone)?;
        let is_postmaster = self.shared.pid() == Some(pid);
        let done = files.identity.act(|| match strays::works_in(pid, &files.pgdata) && !is_postmaster {
            true => act(pid).map_err(io::Error::from),
            false => Err(gone()),
        })?;
        done.map_err(Error::Io)
    }
}
