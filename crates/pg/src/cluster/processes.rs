//! What can be done to the server's processes from outside, where no signal that PostgreSQL knows of helps.

use std::io;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process, setpriority_process};

use super::strays;
use super::supervisor::Shared;
use crate::error::Error;

/// The lowest priority: processor time that nobody else wants.
const LAST: i32 = 19;

/// A hand on the processes of an embedded server; clones are the same one.
#[derive(Clone)]
pub struct Processes {
    pub(super) shared: Arc<Shared>,
}

impl Processes {
    /// Leaves a backend what processor time nobody else wants. It can't be taken back.
    ///
    /// # Errors
    /// Where there is no such backend of this server, or Kith may not.
    pub fn put_last(&self, pid: i32) -> Result<(), Error> {
        self.act(pid, |pid| setpriority_process(Some(pid), LAST))
    }

    /// Kills a backend. PostgreSQL then ends all its sessions and recovers, which takes it seconds and loses nothing that was
    /// committed: for a server that is of no use to anybody as it is.
    ///
    /// # Errors
    /// Where there is no such backend of this server, or Kith may not.
    pub fn kill(&self, pid: i32) -> Result<(), Error> {
        self.act(pid, |pid| kill_process(pid, Signal::KILL))
    }

    /// Acts under the server's identity, so that a wrong guess can hit nobody else's process.
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
