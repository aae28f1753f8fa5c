//! Creates the server's files at the first start, and writes the log-in rules at every start.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::binaries::Binaries;
use super::data_dir::DataDir;
use super::identity::Identity;
use super::{PGDATA, UNFINISHED, ownership, postmaster};
use crate::error::Error;
use crate::secret::Secret;

/// The copies of certificate and key that earlier versions placed among the server's files.
const FORMER_CERTIFICATE: [&str; 2] = ["kith.crt", "kith.key"];
/// The log-in rules: a client that reaches the socket, which is in a directory that only Kith can enter, and knows a
/// password may log in. The relay forwards none of Kith's own roles (`crate::relay`).
const ACCESS: &str = "# Written by kith at every start; changes are lost.
local replication all reject
local all all scram-sha-256
host all all all reject
";

/// Creates the server's files if they don't exist. They are created in another directory and then moved, so that a Kith
/// killed in the middle starts again. `durable` is off only for trials.
pub(crate) fn ensure(binaries: &Binaries, dir: &DataDir, password: &Secret, durable: bool) -> Result<(), Error> {
    let fault = |what: &str, error: io::Error| Error::Config(format!("{}: {what}: {error}", dir.path.display()));
    remove_unfinished(&dir.path).map_err(|error| fault("cannot remove an unfinished initdb", error))?;
    let pgdata = dir.pgdata();
    if dir.identity.act(|| pgdata.join("PG_VERSION").exists())? {
        return Ok(());
    }
    if pgdata.exists() && fs::read_dir(&pgdata).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::Config(format!(
            "{} has files but is no PostgreSQL data directory: restore it or move it away",
            pgdata.display()
        )));
    }
    tracing::info!(path = %pgdata.display(), "making a new PostgreSQL data directory");
    let new = dir.path.join(UNFINISHED);
    let maker = dir.identity.for_initdb();
    DirBuilder::new().mode(0o700).create(&new).map_err(|error| fault("cannot make a directory", error))?;
    maker.own(&new).map_err(|error| fault("cannot give a directory away", error))?;
    let password = PasswordFile::write(dir, &maker, password).map_err(|error| fault("cannot write a file", error))?;
    let files = NewFiles { path: &new, password: &password.path, durable };
    run(binaries, &maker, &files)?;
    drop(password);
    if maker != dir.identity {
        ownership::hand_over(&new, maker.uid, &dir.identity)
            .map_err(|error| fault("cannot give the files away", error))?;
    }
    fs::rename(&new, &pgdata)
        .and_then(|()| File::open(&dir.path)?.sync_all())
        .map_err(|error| fault("cannot put the new files in place", error))
}

/// The parameters of initdb.
struct NewFiles<'a> {
    path: &'a Path,
    /// The file with the superuser's password.
    password: &'a Path,
    durable: bool,
}

fn run(binaries: &Binaries, maker: &Identity, files: &NewFiles<'_>) -> Result<(), Error> {
    let mut command = binaries.command("initdb");
    command.arg("--pgdata").arg(files.path).arg("--pwfile").arg(files.password);
    command.args(["--username=postgres", "--encoding=UTF8", "--auth=scram-sha-256", "--data-checksums"]);
    // The same sort order and case rules whatever the system's libraries are, if PostgreSQL includes them.
    if binaries.version.0 >= 17 {
        command.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]);
    } else {
        command.arg("--locale=C.UTF-8");
    }
    if !files.durable {
        command.arg("--no-sync");
    }
    maker.apply(&mut command);
    postmaster::die_with_parent(&mut command, rustix::process::Signal::KILL);
    let output = command
        .output()
        .map_err(|error| Error::Config(format!("cannot run {}/initdb: {error}", binaries.bin.display())))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("could not look up effective user") {
        // This is PostgreSQL's own check, which can't be disabled. It fails in containers that run as a bare number.
        return Err(Error::Config(format!(
            "initdb needs uid {0} to have a name: add a line to /etc/passwd (`kith:x:{0}:{1}::/:/bin/false`), or run as \
             a user that has one",
            maker.uid, maker.gid
        )));
    }
    let cause = text
        .lines()
        .find(|line| line.contains("error:") || line.contains("FATAL:"))
        .or_else(|| text.lines().last())
        .unwrap_or_default();
    Err(Error::Config(format!("initdb failed in {} ({}): {}", files.path.display(), output.status, cause.trim())))
}

/// The password in a file that only initdb's identity can read. The file is removed when this is dropped.
struct PasswordFile {
    path: PathBuf,
}

impl PasswordFile {
    fn write(dir: &DataDir, reader: &Identity, password: &Secret) -> io::Result<PasswordFile> {
        let file = PasswordFile { path: dir.path.join(format!("{UNFINISHED}.password")) };
        let mut open = File::options().write(true).create_new(true).mode(0o600).open(&file.path)?;
        reader.own(&file.path)?;
        open.write_all(password.expose().as_bytes())?;
        open.write_all(b"\n")?;
        Ok(file)
    }
}

impl Drop for PasswordFile {
    fn drop(&mut self) {
        // If this fails, the next start removes it.
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_unfinished(data_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(data_dir)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Writes `pg_hba.conf`.
pub(crate) fn write_access(dir: &DataDir) -> Result<(), Error> {
    write(dir, "pg_hba.conf", ACCESS.as_bytes())
}

/// Removes the copies that earlier versions made for a server that terminated TLS itself, so that no old key remains.
pub(crate) fn remove_certificate(dir: &DataDir) -> Result<(), Error> {
    for name in FORMER_CERTIFICATE {
        let path = dir.path.join(PGDATA).join(name);
        match dir.identity.act(|| fs::remove_file(&path))? {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Config(format!("cannot remove {}: {error}", path.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes one of the server's files atomically.
fn write(dir: &DataDir, name: &str, content: &[u8]) -> Result<(), Error> {
    let path = dir.path.join(PGDATA).join(name);
    let new = dir.path.join(PGDATA).join(format!("{name}.new"));
    dir.identity
        .act(|| {
            // An existing file of that name is removed first: writing to a link would change its target.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        })?
        .map_err(|error| Error::Config(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_the_network_comes_nobody() {
        let rules: Vec<&str> = ACCESS.lines().filter(|line| line.starts_with("host")).collect();
        assert_eq!(rules, ["host all all all reject"]);
    }
}
