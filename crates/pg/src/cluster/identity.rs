//! The user that PostgreSQL's processes run as. PostgreSQL refuses to run as root. If Kith runs as root, it runs the server
//! as another user, an account of its own, and also uses that user for its own work inside the server's directories: an
//! attacker who takes over a tenant's backend could place a symlink there, and root must not follow it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::PGDATA;
use super::account::{self, NOBODY};
use crate::error::Error;

/// A user and group, and whether this process must switch to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// True if Kith runs as root and the server may not.
    changes: bool,
}

impl Identity {
    /// If Kith is not root: its own user. If it is: `KITH_PG_UID` (`uid` or `uid:gid`), else the owner of what exists
    /// already (the server's files, then the data directory), else the account `kith`. Files that belong to `nobody` are
    /// given to that account too, unless the data directory itself belongs to nobody, which means that the operator chose
    /// it.
    pub(crate) fn for_data_dir(data_dir: &Path) -> Result<Identity, Error> {
        let (euid, egid) = (rustix::process::geteuid(), rustix::process::getegid());
        if !euid.is_root() {
            return Ok(Identity { uid: euid.as_raw(), gid: egid.as_raw(), changes: false });
        }
        if let Some(text) = env::var_os("KITH_PG_UID") {
            let (uid, gid) = parse_ids(&text)?;
            return Ok(Identity { uid, gid, changes: true });
        }
        let (files, directory) = (Identity::owner_of(&data_dir.join(PGDATA)), Identity::owner_of(data_dir));
        let owner = [files, directory].into_iter().flatten().find(|owner| owner.changes);
        let is_left = owner.is_some_and(|owner| owner.uid == NOBODY)
            && directory.is_some_and(|owner| owner.uid == 0)
            && stands_alone(&data_dir.join(PGDATA));
        Ok(owner.filter(|_| !is_left).unwrap_or_else(|| {
            let (uid, gid) = account::of_kith(data_dir);
            Identity { uid, gid, changes: true }
        }))
    }

    /// The owner of the server's files. `None` if there are no files.
    pub(crate) fn of_files(data_dir: &Path) -> Option<Identity> {
        Identity::owner_of(&data_dir.join(PGDATA))
    }

    fn owner_of(path: &Path) -> Option<Identity> {
        let meta = fs::metadata(path).ok()?;
        let changes = rustix::process::geteuid().is_root() && meta.uid() != 0;
        Some(Identity { uid: meta.uid(), gid: meta.gid(), changes })
    }

    /// The user that runs initdb, which refuses a user without a name: this identity, or `nobody` if it is a bare number.
    pub(crate) fn for_initdb(&self) -> Identity {
        let is_nameless = self.changes && !account::has_name(self.uid) && account::has_name(NOBODY);
        if is_nameless { Identity { uid: NOBODY, gid: NOBODY, changes: true } } else { *self }
    }

    /// Whether the server's user is one that other services share and that nobody configured.
    pub(crate) fn is_shared(&self) -> bool {
        self.changes && self.uid == NOBODY && env::var_os("KITH_PG_UID").is_none()
    }

    /// Whether this process must switch to it.
    pub(crate) fn changes(&self) -> bool {
        self.changes
    }

    /// Lets a command run under this identity. The supplementary groups are dropped by std along with root.
    pub(crate) fn apply(&self, command: &mut Command) {
        if self.changes {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Changes one path's owner to this identity. For a symlink it changes the link itself, never its target.
    pub(crate) fn own(&self, path: &Path) -> io::Result<()> {
        if self.changes { lchown(path, Some(self.uid), Some(self.gid)) } else { Ok(()) }
    }

    /// Runs `work` with the rights of this identity and no others. The change applies to a short-lived thread: on Linux,
    /// credentials belong to the thread.
    pub(crate) fn act<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        if !self.changes {
            return Ok(work());
        }
        std::thread::scope(|scope| {
            let acting = scope.spawn(|| self.assume().map(|()| work()));
            match acting.join() {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(Error::Config(format!(
                    "cannot run PostgreSQL as uid {} (it refuses to run as root): {error}; start kith as a plain user, \
                     or let it have CAP_SETUID, CAP_SETGID and CAP_CHOWN",
                    self.uid
                ))),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    #[cfg(target_os = "linux")]
    fn assume(&self) -> io::Result<()> {
        use rustix::process::{Gid, Uid};
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    }

    /// On other systems credentials belong to the process, so the work runs under the current user.
    #[cfg(not(target_os = "linux"))]
    fn assume(&self) -> io::Result<()> {
        Ok(())
    }

    /// Checks that this identity can reach `name` in `dir`. Otherwise the error names the directory that prevents it.
    pub(crate) fn check_reach(&self, dir: &Path, name: &str) -> Result<(), Error> {
        let closed = self.act(|| first_closed(&dir.join(name)))?;
        match closed {
            None => Ok(()),
            Some(closed) => Err(Error::Config(format!(
                "uid {}, which PostgreSQL runs as, cannot reach {}: {} is closed to it; run `chmod o+x {}`, choose another place, \
                 or set KITH_PG_UID",
                self.uid,
                dir.display(),
                closed.display(),
                closed.display()
            ))),
        }
    }
}

/// Whether all of the server's files are in this one directory. If an operator has moved some of them to another disk and
/// left links, changing their owner is the operator's task too.
fn stands_alone(pgdata: &Path) -> bool {
    let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let tablespaces = fs::read_dir(pgdata.join("pg_tblspc")).map_or(0, Iterator::count);
    is_directory(pgdata) && is_directory(&pgdata.join("pg_wal")) && tablespaces == 0
}

/// The first directory on the way to `path` that this thread can't pass through.
fn first_closed(path: &Path) -> Option<PathBuf> {
    let denied =
        |path: &Path| matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::PermissionDenied);
    if !denied(path) {
        return None;
    }
    let mut ancestors: Vec<&Path> = path.ancestors().collect();
    ancestors.reverse();
    ancestors.windows(2).find(|pair| denied(pair[1])).map(|pair| pair[0].to_path_buf())
}

fn parse_ids(text: &OsStr) -> Result<(u32, u32), Error> {
    let fault = || Error::Config(format!("KITH_PG_UID must be a uid other than 0, or uid:gid; it is {text:?}"));
    let text = text.to_str().ok_or_else(fault)?;
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    let (uid, gid) = (uid.parse().map_err(|_| fault())?, gid.parse().map_err(|_| fault())?);
    if uid == 0 { Err(fault()) } else { Ok((uid, gid)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_a_uid_or_a_uid_and_a_gid() {
        assert_eq!(parse_ids(OsStr::new("70")).unwrap(), (70, 70));
        assert_eq!(parse_ids(OsStr::new("70:71")).unwrap(), (70, 71));
        for bad in ["", "0", "postgres", "70:", "-1"] {
            assert!(parse_ids(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}
