//! Changes the owner of the server's files, as root. The previous owner may have placed links among them, so no link is
//! followed, and only files that belonged to the previous owner are changed.

use std::io;
use std::path::Path;

use super::identity::Identity;

/// Gives a directory and everything in it to `identity`. The directory itself is changed last: until then it records the
/// previous owner, so that the next start continues where this one was interrupted.
///
/// # Errors
/// An entry belongs neither to `from` nor to `identity`. It is not changed.
#[cfg(target_os = "linux")]
pub(crate) fn hand_over(path: &Path, from: u32, identity: &Identity) -> io::Result<()> {
    use rustix::fs::CWD;

    let directory = linux::open(CWD, path)?;
    let handing = linux::Handing { from, identity };
    handing.check(&directory, path)?;
    handing.inside(&directory, path)?;
    handing.own(&directory)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn hand_over(_path: &Path, _from: u32, _identity: &Identity) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsStr;
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, openat};
    use rustix::io::Errno;

    use super::super::identity::Identity;

    /// The previous and the new owner.
    pub(super) struct Handing<'a> {
        pub(super) from: u32,
        pub(super) identity: &'a Identity,
    }

    /// A file, directory or link itself. The entry that is checked is the entry that is changed, whatever its name refers to
    /// meanwhile.
    pub(super) fn open(directory: impl AsFd, name: &Path) -> rustix::io::Result<OwnedFd> {
        openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    }

    impl Handing<'_> {
        /// Its kind, if its owner may be changed.
        pub(super) fn check(&self, thing: &OwnedFd, path: &Path) -> io::Result<FileType> {
            let stat = fstat(thing)?;
            if ![self.from, self.identity.uid].contains(&stat.st_uid) {
                let (path, from) = (path.display(), self.from);
                let why = format!("{path} belongs to uid {}, and not to {from} like the rest", stat.st_uid);
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
            Ok(FileType::from_raw_mode(stat.st_mode))
        }

        pub(super) fn own(&self, thing: &OwnedFd) -> io::Result<()> {
            let (uid, gid) = (Uid::from_raw(self.identity.uid), Gid::from_raw(self.identity.gid));
            Ok(chownat(thing, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?)
        }

        pub(super) fn inside(&self, directory: &OwnedFd, path: &Path) -> io::Result<()> {
            let listing = openat(directory, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            for entry in Dir::new(listing)? {
                let entry = entry?;
                let name = Path::new(OsStr::from_bytes(entry.file_name().to_bytes()));
                if name.as_os_str() == "." || name.as_os_str() == ".." {
                    continue;
                }
                let path = path.join(name);
                let thing = match open(directory, name) {
                    Err(Errno::NOENT) => continue,
                    thing => thing?,
                };
                let kind = self.check(&thing, &path)?;
                self.own(&thing)?;
                if kind == FileType::Directory {
                    self.inside(&thing, &path)?;
                }
            }
            Ok(())
        }
    }
}
