//! Finds PostgreSQL's programs: in a configured directory, or else in a tree beside the data, the system's packages or a
//! tree in a cache, choosing the one with the fewest known vulnerabilities. Nothing is downloaded here. If something is
//! missing, the error says so in one line.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use super::identity::Identity;
use super::{data_dir, libraries};
use crate::advisories;
use crate::error::Error;

/// The oldest major version that Kith's roles, grants and settings work with.
const OLDEST: u32 = 16;
/// The newest major version that is searched for among the system's packages.
const NEWEST: u32 = 18;

const WHAT_TO_DO: &str = "no PostgreSQL 16+ with pgvector found: run bin/fetch-postgres, or set KITH_PG_BIN, \
                          or install postgresql-16 and postgresql-16-pgvector, or pass --database-url";

/// A usable set of PostgreSQL programs: 16 or newer, with pgvector, and with all libraries present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The directory of `postgres` and `initdb`.
    pub bin: PathBuf,
    /// The directory of the libraries that came with them, for `LD_LIBRARY_PATH`. `None` for the system's own.
    pub lib: Option<PathBuf>,
    /// Major and minor version.
    pub version: (u32, u32),
}

/// Why a candidate was not chosen.
enum RefusedTree {
    /// It does not exist. This is not reported.
    Absent,
    /// It exists but is not usable.
    Unusable(String),
}

impl Binaries {
    /// `KITH_PG_BIN` (a bin directory) if it is set. Otherwise the usable set with the fewest known vulnerabilities among:
    /// `postgres-*/bin` in the data directory, the system's packages, `postgres-*/bin` in the cache directories, `PATH`. If
    /// several have the same number, the first is chosen: the system keeps its own packages up to date.
    ///
    /// # Errors
    /// One line that says what to install, and which candidates exist but are not usable.
    pub fn find(data_dir: &Path) -> Result<Binaries, Error> {
        let search = TreeSearch::new(data_dir)?;
        if let Some(bin) = env::var_os("KITH_PG_BIN") {
            return search.inspect(Path::new(&bin)).map_err(|refused| {
                Error::Config(match refused {
                    RefusedTree::Absent => {
                        format!("KITH_PG_BIN is {bin:?}, where there is no postgres and initdb")
                    }
                    RefusedTree::Unusable(why) => format!("KITH_PG_BIN: {why}"),
                })
            });
        }
        let (mut usable, mut notes) = (Vec::new(), Vec::new());
        for bin in search.candidates() {
            match search.inspect(&bin) {
                Ok(found) => usable.push(found),
                Err(RefusedTree::Absent) => {}
                Err(RefusedTree::Unusable(why)) => notes.push(why),
            }
        }
        if let Some(soundest) = soundest(usable) {
            return Ok(soundest);
        }
        let found = if notes.is_empty() { String::new() } else { format!(" (found: {})", notes.join("; ")) };
        Err(Error::Config(format!("{WHAT_TO_DO}{found}")))
    }

    /// A command for one of the programs, with an empty environment, English messages, and the path of the libraries.
    pub(crate) fn command(&self, program: &str) -> Command {
        command(&self.bin, self.lib.as_deref(), program)
    }
}

struct TreeSearch<'a> {
    data_dir: &'a Path,
    identity: Identity,
    /// The major version that created the data directory, if it exists.
    made_by: Option<u32>,
}

impl TreeSearch<'_> {
    fn new(data_dir: &Path) -> Result<TreeSearch<'_>, Error> {
        let identity = Identity::for_data_dir(data_dir)?;
        let made_by = data_dir::major_version(data_dir)?;
        Ok(TreeSearch { data_dir, identity, made_by })
    }

    fn candidates(&self) -> Vec<PathBuf> {
        let mut bins = trees(self.data_dir);
        bins.extend((OLDEST..=NEWEST).rev().map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"))));
        for cache in cache_dirs(|name| env::var_os(name)) {
            bins.extend(trees(&cache));
        }
        bins.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()).filter(|path| path.is_absolute()));
        bins
    }

    fn inspect(&self, bin: &Path) -> Result<Binaries, RefusedTree> {
        let unusable = |why: String| RefusedTree::Unusable(format!("{} {why}", bin.display()));
        // Runs under Kith's own identity: as root, Kith can report more about a directory that the server cannot reach.
        if !["postgres", "initdb"].iter().all(|program| bin.join(program).is_file()) {
            return Err(RefusedTree::Absent);
        }
        let bin = &fs::canonicalize(bin).map_err(|error| unusable(error.to_string()))?;
        self.identity.check_reach(bin, "postgres").map_err(|error| RefusedTree::Unusable(error.to_string()))?;
        let lib = bundled_lib(bin);
        let version = self.version(bin, lib.as_deref()).map_err(unusable)?;
        if version.0 < OLDEST {
            return Err(unusable(format!("is PostgreSQL {}", version.0)));
        }
        if let Some(made_by) = self.made_by
            && made_by != version.0
        {
            let data_dir = self.data_dir.display();
            return Err(unusable(format!(
                "is PostgreSQL {}, but the data in {data_dir} was made by {made_by}",
                version.0
            )));
        }
        let share = share_dir(bin, lib.as_deref(), version.0);
        let has = |file: &str| share.as_ref().is_some_and(|share| share.join(file).exists());
        if !has("extension/vector.control") {
            return Err(unusable(format!(
                "is PostgreSQL {} without pgvector (postgresql-{}-pgvector)",
                version.0, version.0
            )));
        }
        if !has("timezone/UTC") && !Path::new("/usr/share/zoneinfo/UTC").exists() {
            return Err(unusable("needs the time zone data (apt-get install tzdata)".into()));
        }
        Ok(Binaries { bin: bin.clone(), lib, version })
    }

    /// Runs the program itself, which also shows whether it can be loaded.
    fn version(&self, bin: &Path, lib: Option<&Path>) -> Result<(u32, u32), String> {
        let ask = || {
            let mut command = command(bin, lib, "postgres");
            command.arg("--version");
            self.identity.apply(&mut command);
            command
        };
        let output = ask().output().map_err(|error| format!("does not run: {error}"))?;
        if !output.status.success() {
            return Err(libraries::explain(&String::from_utf8_lossy(&output.stderr), &mut ask()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        parse_version(&text).ok_or_else(|| format!("gives no version: {}", text.trim()))
    }
}

fn command(bin: &Path, lib: Option<&Path>, program: &str) -> Command {
    let mut command = Command::new(bin.join(program));
    command.env_clear().envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C"), ("TZ", "UTC")]);
    if let Some(lib) = lib {
        command.env("LD_LIBRARY_PATH", lib);
    }
    // A directory that every identity can enter.
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// The one with the fewest known vulnerabilities. If there are several, the first.
fn soundest(usable: Vec<Binaries>) -> Option<Binaries> {
    usable.into_iter().min_by_key(|binaries| advisories::open_in(binaries.version).len())
}

/// `postgres-*/bin` in a directory, the newest version first.
fn trees(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<OsString> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| name.as_encoded_bytes().starts_with(b"postgres-"))
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(numbers(name)));
    names.into_iter().map(|name| dir.join(name).join("bin")).collect()
}

/// The numbers in a name, so that 18.10 sorts after 18.9.
fn numbers(name: &OsStr) -> Vec<u64> {
    let name = name.to_string_lossy();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn cache_dirs(var: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let under =
        |name: &str, rest: &str| var(name).filter(|value| !value.is_empty()).map(|value| Path::new(&value).join(rest));
    [
        under("KITH_CACHE_DIR", ""),
        under("XDG_CACHE_HOME", "kith"),
        under("HOME", ".cache/kith"),
        Some("/var/cache/kith".into()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `../lib`, if libraries came with the programs. The system's own libraries are found without it, and its directories must
/// not take precedence over others.
fn bundled_lib(bin: &Path) -> Option<PathBuf> {
    let lib = bin.parent()?.join("lib");
    let bundled = !lib.starts_with("/usr/lib") && lib != Path::new("/lib") && lib.is_dir();
    bundled.then_some(lib)
}

/// `postgres (PostgreSQL) 16.4 (Debian 16.4-1.pgdg120+1)`, `19devel`, `18beta2`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let word = text.split_once("(PostgreSQL)")?.1.split_whitespace().next()?;
    let digits = |text: &str| -> String { text.chars().take_while(char::is_ascii_digit).collect() };
    let major = digits(word);
    let minor = word[major.len()..].strip_prefix('.').map(digits).unwrap_or_default();
    Some((major.parse().ok()?, minor.parse().unwrap_or(0)))
}

/// The directories of the extensions' control files: the usual places first, then the output of `pg_config`.
fn share_dir(bin: &Path, lib: Option<&Path>, major: u32) -> Option<PathBuf> {
    let prefix = bin.parent()?;
    let usual = [
        prefix.join("share"),
        prefix.join("share/postgresql"),
        PathBuf::from(format!("/usr/share/postgresql/{major}")),
    ];
    let has_extensions = |share: &PathBuf| share.join("extension/plpgsql.control").exists();
    usual.into_iter().find(has_extensions).or_else(|| {
        let output = command(bin, lib, "pg_config").arg("--sharedir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim())).filter(has_extensions)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_every_build_are_read() {
        let check = |text: &str, version| assert_eq!(parse_version(text), version, "{text}");
        check("postgres (PostgreSQL) 18.1\n", Some((18, 1)));
        check("postgres (PostgreSQL) 16.4 (Debian 16.4-1.pgdg120+1)\n", Some((16, 4)));
        check("postgres (PostgreSQL) 19devel\n", Some((19, 0)));
        check("postgres (PostgreSQL) 18beta2\n", Some((18, 0)));
        check("postgres 9\n", None);
    }

    #[test]
    fn the_newest_tree_comes_first() {
        let dir = env::temp_dir().join(format!("kith-trees-{}", std::process::id()));
        for name in ["postgres-18.9-a", "postgres-18.10-a", "postgres-17.2", "other-19"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        let names: Vec<_> =
            trees(&dir).iter().map(|bin| bin.parent().unwrap().file_name().unwrap().to_owned()).collect();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(names, ["postgres-18.10-a", "postgres-18.9-a", "postgres-17.2"]);
    }

    #[test]
    fn fewer_known_holes_come_before_the_order() {
        let check = |versions: &[(u32, u32)], expected| {
            let made = |version: &(u32, u32)| Binaries { bin: "/b".into(), lib: None, version: *version };
            let found = soundest(versions.iter().map(made).collect()).map(|found| found.version);
            assert_eq!(found, expected, "{versions:?}");
        };
        check(&[(17, 4), (18, 4)], Some((18, 4)));
        check(&[(17, 12), (18, 4)], Some((17, 12)));
        check(&[(17, 12), (18, 7)], Some((17, 12)));
        check(&[(18, 1), (18, 4), (18, 4)], Some((18, 4)));
        check(&[], None);
    }

    #[test]
    fn caches_are_looked_at_in_order_and_empty_variables_are_none() {
        let dirs = cache_dirs(|name| match name {
            "KITH_CACHE_DIR" => Some("/k".into()),
            "XDG_CACHE_HOME" => Some("".into()),
            "HOME" => Some("/home/a".into()),
            _ => None,
        });
        let expected = ["/k/", "/home/a/.cache/kith", "/var/cache/kith"].map(PathBuf::from);
        assert_eq!(dirs, expected);
    }
}
