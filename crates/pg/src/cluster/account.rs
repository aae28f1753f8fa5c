//! The user that runs PostgreSQL if Kith runs as root: the system account `kith`, which is created if it does not exist. If
//! no account can be created (there is no `useradd`, or /etc is read-only), it is a number that nothing on the system uses.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The account's name.
const NAME: &str = "kith";
/// The user without rights that every Linux has. It is shared by services without an account of their own.
pub(crate) const NOBODY: u32 = 65534;
/// A range of numbers that no distribution gives to an account. systemd gives numbers of this range to services while they
/// run, but only free ones.
const UNASSIGNED: std::ops::Range<u32> = 61184..65520;
/// How often to try to create the account. Another process may hold the lock of /etc/passwd or may be creating the account
/// too.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// The user and group for a data directory.
pub(crate) fn of_kith(data_dir: &Path) -> (u32, u32) {
    for attempt in 0..ATTEMPTS {
        if let Some(ids) = ids_of(&passwd(), NAME) {
            return ids;
        }
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        if !create() {
            break;
        }
    }
    let number = unused(data_dir);
    tracing::debug!(uid = number, "there is no account for PostgreSQL, and none can be created");
    (number, number)
}

/// Whether a user has an entry in /etc/passwd.
pub(crate) fn has_name(uid: u32) -> bool {
    users(&passwd()).any(|(_, other, _)| other == uid)
}

/// Creates the account. False if the system can't be asked to.
fn create() -> bool {
    let mut command = Command::new("useradd");
    command.args(["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]);
    command.args(["--shell", "/usr/sbin/nologin", "--comment", "PostgreSQL of Kith", NAME]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    // Success is visible in /etc/passwd.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A number without an account, a group or a process. For one data directory every call returns the same number while
/// nothing else takes it. Later the number is read from the owner of the server's files.
fn unused(data_dir: &Path) -> u32 {
    let path = fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_path_buf());
    // FNV-1a distributes the data directories of a machine over the range.
    let hash = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let (passwd, group) = (passwd(), fs::read_to_string("/etc/group").unwrap_or_default());
    let running: Vec<u32> = fs::read_dir("/proc")
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.uid())).collect())
        .unwrap_or_default();
    let is_free = |number: &u32| {
        !users(&passwd).any(|(_, uid, gid)| uid == *number || gid == *number)
            && !group.lines().any(|line| line.split(':').nth(2) == Some(&number.to_string()))
            && !running.contains(number)
    };
    first_free(hash, is_free)
}

fn first_free(hash: u32, is_free: impl Fn(&u32) -> bool) -> u32 {
    let size = UNASSIGNED.end - UNASSIGNED.start;
    let mut numbers = (0..size).map(|step| UNASSIGNED.start + (hash % size + step) % size);
    numbers.find(is_free).unwrap_or(NOBODY)
}

fn passwd() -> String {
    fs::read_to_string("/etc/passwd").unwrap_or_default()
}

/// Name, uid and gid of each line.
fn users(passwd: &str) -> impl Iterator<Item = (&str, u32, u32)> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let mut number = fields.skip(1).map_while(|field| field.parse().ok());
        Some((name, number.next()?, number.next()?))
    })
}

/// The ids of an account, unless they are root's.
fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    users(passwd).find(|(other, uid, _)| *other == name && *uid != 0).map(|(_, uid, gid)| (uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nkith:x:997:996:PostgreSQL of Kith:/nonexistent:/usr/sbin/nologin\n\
                          broken\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";

    #[test]
    fn an_account_is_known_by_its_name() {
        assert_eq!(ids_of(PASSWD, "kith"), Some((997, 996)));
        assert_eq!(ids_of(PASSWD, "nobody"), Some((NOBODY, NOBODY)));
        for missing in ["root", "kit", "broken", ""] {
            assert_eq!(ids_of(PASSWD, missing), None, "{missing}");
        }
    }

    #[test]
    fn a_number_that_is_taken_is_passed_over() {
        let check = |hash, taken: &[u32], expected| {
            assert_eq!(first_free(hash, |number| !taken.contains(number)), expected, "{hash} {taken:?}");
        };
        let size = UNASSIGNED.end - UNASSIGNED.start;
        check(0, &[], 61184);
        check(1, &[], 61185);
        check(0, &[61184, 61185], 61186);
        check(size - 1, &[65519], 61184);
        assert_eq!(first_free(7, |_| false), NOBODY);
        let number = unused(Path::new("/nonexistent/data"));
        assert!(UNASSIGNED.contains(&number) && number == unused(Path::new("/nonexistent/data")), "{number}");
    }
}
