//! The data directory and access to it: its owner, its lock, and the directory of the socket.
//!
//! ```text
//! <data_dir>/            Kith's; the server's identity may pass through
//!   postgres.lock        held by the one Kith that runs a server here
//!   pg/                  the server's files, 0700, its own
//!   pg.new*              an initdb that was cut short; removed at the next start
//!   run/                 the socket, 0700, the server's own
//! ```

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::PGDATA;
use super::identity::Identity;
use super::{ownership, strays};
use crate::error::Error;

const LOCK: &str = "postgres.lock";
const RUN: &str = "run";

/// The maximum length of a socket's directory. `sun_path` holds 108 bytes including the final zero, and the socket's name is
/// `/.s.PGSQL.` and up to five digits.
const LONGEST_SOCKET_DIR: usize = 107 - "/.s.PGSQL.".len() - 5;

/// A data directory that this process has locked. No other Kith runs a server in it until this is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    /// The directory of the server's socket.
    pub(crate) socket_dir: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if necessary, takes its lock, and corrects owners and modes.
    pub(crate) fn take(path: &Path) -> Result<DataDir, Error> {
        let at = |what: &str, path: &Path| {
            let place = format!("cannot {what} {}", path.display());
            move |error: io::Error| Error::Config(format!("{place}: {error}"))
        };
        make_all(path).map_err(at("make the data directory", path))?;
        let path = fs::canonicalize(path).map_err(at("open the data directory", path))?;
        let lock = lock(&path)?;
        let identity = Identity::for_data_dir(&path)?;
        let_through(&path, &identity).map_err(at("open the way into", &path))?;
        identity.check_reach(&path, ".")?;
        if identity.is_shared() {
            tracing::warn!(
                path = %path.display(),
                "PostgreSQL runs as nobody, which other services may run as too: give this directory and all in it to another user"
            );
        }
        if let Some(former) = Identity::of_files(&path).filter(|owner| owner.uid != identity.uid && identity.changes())
        {
            take_over(&path, &former, &identity)?;
        }
        let socket_dir = socket_dir(&path, &identity)?;
        Ok(DataDir { path, identity, socket_dir, _lock: lock })
    }

    /// The server's own files.
    pub(crate) fn pgdata(&self) -> PathBuf {
        self.path.join(PGDATA)
    }
}

/// Creates a directory and its missing parents, for this user only. Directories created as root can be passed through,
/// whatever the umask, because the server's identity must pass through them.
pub fn make_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_all(parent)?;
    }
    match fs::create_dir(path) {
        // Another process created it first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        created => created?,
    }
    let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Gives the server's files to `identity`, after processes that still use them have ended.
fn take_over(data_dir: &Path, former: &Identity, identity: &Identity) -> Result<(), Error> {
    // PostgreSQL doesn't run as root, so files that root owns come from a backup.
    if former.changes() {
        strays::end(data_dir, former)?;
        tracing::info!(from = former.uid, to = identity.uid, "giving PostgreSQL's files to a user of their own");
    }
    // The owner of the server's files records who owned everything, so they are changed last.
    for name in [RUN, PGDATA] {
        let path = data_dir.join(name);
        match ownership::hand_over(&path, former.uid, identity) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Config(format!("cannot take over {}: {error}", path.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The major version that created the server's files, if they exist.
pub(crate) fn major_version(data_dir: &Path) -> Result<Option<u32>, Error> {
    let path = data_dir.join(PGDATA).join("PG_VERSION");
    let Some(owner) = Identity::of_files(data_dir) else { return Ok(None) };
    let text = owner.act(|| fs::read_to_string(&path))?;
    Ok(text.ok().and_then(|text| text.trim().parse().ok()))
}

/// An advisory lock that is released when the process ends, however it ends.
fn lock(data_dir: &Path) -> Result<File, Error> {
    let path = data_dir.join(LOCK);
    let fault = |error: io::Error| Error::Config(format!("cannot lock {}: {error}", path.display()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // The directory may belong to the server's user: a link there must not make root write elsewhere.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(fault)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(20).read_to_string(&mut holder);
            return Err(Error::Config(format!(
                "the data directory {} is in use by another kith (process {}): stop that one, or give this one a \
                 --data-dir of its own",
                data_dir.display(),
                holder.trim()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(fault(error)),
    }
    // This is only for the message above, so a failed write is ignored.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Lets the server's identity pass through a directory that root owns. It can only pass through: the other entries have
/// modes of their own. Parent directories belong to the operator and are only checked.
fn let_through(data_dir: &Path, identity: &Identity) -> io::Result<()> {
    let meta = fs::metadata(data_dir)?;
    if meta.uid() == 0 && identity.uid != 0 && meta.mode() & 0o001 == 0 {
        fs::set_permissions(data_dir, Permissions::from_mode(meta.mode() & 0o7777 | 0o011))?;
    }
    Ok(())
}

fn socket_dir(data_dir: &Path, identity: &Identity) -> Result<PathBuf, Error> {
    let usual = data_dir.join(RUN);
    if usual.as_os_str().as_bytes().len() <= LONGEST_SOCKET_DIR {
        return private_dir(&usual, identity)
            .map(|()| usual.clone())
            .map_err(|error| Error::Config(format!("cannot make {}: {error}", usual.display())));
    }
    // A socket's path can't be that long. A short one in the temporary directory is used, the same at every start.
    let meta = fs::metadata(data_dir).map_err(|error| Error::Config(format!("{}: {error}", data_dir.display())))?;
    let mut fault = None;
    for attempt in 0..10 {
        let name = format!("kith-{:x}-{:x}-{attempt}", meta.dev(), meta.ino());
        let short = std::env::temp_dir().join(name);
        if short.as_os_str().as_bytes().len() > LONGEST_SOCKET_DIR {
            break;
        }
        match private_dir(&short, identity) {
            Ok(()) => return Ok(short),
            Err(error) => fault = Some(format!("{}: {error}", short.display())),
        }
    }
    Err(Error::Config(format!(
        "the path {} is too long for a socket, and no short one could be made ({}): use a shorter --data-dir",
        data_dir.display(),
        fault.unwrap_or_else(|| format!("TMPDIR is {}", std::env::temp_dir().display()))
    )))
}

/// A directory that only `identity` (and root) can enter. An existing directory must already be like that: in a directory
/// that everybody can write to, another user may have created it.
fn private_dir(path: &Path, identity: &Identity) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => identity.own(path)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(path)?;
            let ours = meta.uid() == identity.uid || meta.uid() == rustix::process::geteuid().as_raw();
            if !meta.is_dir() || !ours {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it belongs to somebody else"));
            }
            identity.own(path)?;
        }
        Err(error) => return Err(error),
    }
    let set_mode = || fs::set_permissions(path, Permissions::from_mode(0o700));
    identity.act(set_mode).map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("kith-data-dir-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn one_process_at_a_time() {
        let path = temporary("lock");
        let held = DataDir::take(&path).unwrap();
        let refused = DataDir::take(&path).unwrap_err().to_string();
        assert!(refused.contains("in use by another kith"), "{refused}");
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        assert!(refused.contains(&*held.path.to_string_lossy()), "{refused}");
        drop(held);
        DataDir::take(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_long_path_gets_a_short_socket() {
        let root = temporary("long");
        let held = DataDir::take(&root.join("x".repeat(120))).unwrap();
        assert!(held.socket_dir.as_os_str().len() <= LONGEST_SOCKET_DIR, "{:?}", held.socket_dir);
        assert_eq!(fs::metadata(&held.socket_dir).unwrap().mode() & 0o777, 0o700);
        fs::remove_dir_all(&held.socket_dir).unwrap();
        fs::remove_dir_all(&root).unwrap();
    }
}
