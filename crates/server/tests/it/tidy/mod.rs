//! Rules for the code, checked by a test: how files open and how long they are, which part may import which, where SQL may
//! stand, and that applied migrations do not change. ARCHITECTURE.md gives the reasons. A failure lists every place that
//! breaks the rule.

mod boundary;
mod circles;
mod tokens;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

use tokens::{Kind, Token};

/// The maximum number of lines of a file, and of a file of tests.
const MOST_LINES: usize = 500;
const MOST_LINES_OF_TESTS: usize = 800;

/// Code in `within` may not use the paths in `never`, which start at the root of its crate (`crate::…`) or are external.
struct Direction {
    within: &'static str,
    never: &'static [&'static str],
}

#[rustfmt::skip]
const DIRECTIONS: &[Direction] = &[
    // model ← dialect; model ← plan ← sql; dialect and plan do not use each other.
    Direction { within: "crates/crm/src/model",    never: &["crate::dialect", "crate::plan", "crate::sql"] },
    Direction { within: "crates/crm/src/dialect",  never: &["crate::plan", "crate::sql"] },
    Direction { within: "crates/crm/src/plan",     never: &["crate::dialect", "crate::sql"] },
    Direction { within: "crates/crm/src/sql",      never: &["crate::dialect"] },
    // crm ← store ← hall ← door, work; people is beside the hall; door and work do not use each other.
    Direction { within: "crates/server/src/store",  never: &["crate::hall", "crate::door", "crate::work"] },
    Direction { within: "crates/server/src/people", never: &["crate::hall", "crate::door", "crate::work"] },
    Direction { within: "crates/server/src/access", never: &["crate::hall", "crate::door", "crate::work"] },
    Direction { within: "crates/server/src/hall",   never: &["crate::door", "crate::work"] },
    Direction { within: "crates/server/src/door",   never: &["crate::work"] },
    Direction { within: "crates/server/src/work",   never: &["crate::door"] },
    // pg and crm do not use each other.
    Direction { within: "crates/pg", never: &["crm", "kith_crm"] },
    Direction { within: "crates/crm", never: &["pg", "kith_pg", "tokio", "axum"] },
];

/// What `crates/crm` leaves to its callers, except in its tests: time, randomness and everything outside the process.
const IMPURE: &[&str] = &[
    "std::time::SystemTime",
    "std::time::Instant",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "ring",
    "jiff::Zoned::now",
    "jiff::Timestamp::now",
];

/// Crates that only some files of the server may use.
#[rustfmt::skip]
const ROOMS: &[(&str, &[&str])] = &[
    ("pg",   &["store", "main", "serve", "doctor", "config"]),
    ("axum", &["door", "main", "serve"]),
];

/// Files beside the migrations: documentation, scripts for each new clone of the template, and the generated schemas.
const NO_MIGRATIONS: &[&str] =
    &["control/schema.sql", "workspace/README.md", "workspace/adopt.sql", "workspace/schema.sql"];

#[test]
fn every_file_says_at_its_head_what_it_is() {
    let offences = sources()
        .iter()
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| file.at(1, "does not open with `//!`"))
        .collect();
    assert_none(offences, "a file opens with `//!`: what it owns and what it must not know");
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let mut offences = Vec::new();
    for file in sources() {
        let lines = file.text.lines().count();
        let most = if file.is_test() { MOST_LINES_OF_TESTS } else { MOST_LINES };
        if lines > most {
            offences.push(file.at(most + 1, format!("goes on to line {lines}")));
        }
    }
    assert_none(offences, format!("a file has at most {MOST_LINES} lines, a file of tests {MOST_LINES_OF_TESTS}"));
}

#[test]
fn imports_run_one_way() {
    let mut offences = Vec::new();
    for file in sources() {
        for (path, line, _) in file.uses() {
            for direction in DIRECTIONS.iter().filter(|direction| file.is_within(direction.within)) {
                if direction.never.iter().any(|never| leads_into(&path, never)) {
                    offences.push(file.at(line, format!("{} uses {path}", direction.within)));
                }
            }
        }
    }
    for (manifest, other) in [("crates/pg/Cargo.toml", "kith-crm"), ("crates/crm/Cargo.toml", "kith-pg")] {
        let text = fs::read_to_string(root().join(manifest)).unwrap_or_default();
        let named = text.lines().enumerate().filter(|(_, line)| line.starts_with(other));
        offences.extend(named.map(|(at, _)| format!("{manifest}:{}: depends on {other}", at + 1)));
    }
    assert_none(offences, "model ← dialect; model ← plan ← sql; crm ← store ← hall ← door, work; pg and crm apart");
}

#[test]
fn crm_is_pure() {
    let mut offences = Vec::new();
    for file in sources().iter().filter(|file| file.is_within("crates/crm/src")) {
        for (path, line, in_test) in file.uses() {
            if !in_test && IMPURE.iter().any(|impure| leads_into(&path, impure)) {
                offences.push(file.at(line, format!("uses {path}")));
            }
        }
    }
    assert_none(offences, "crates/crm has no I/O, clock or randomness: time and ids come in as arguments");
}

#[test]
fn only_the_store_knows_pg_and_only_the_door_knows_axum() {
    let mut offences = Vec::new();
    for file in sources().iter().filter(|file| file.is_within("crates/server/src")) {
        for (path, line, _) in file.uses() {
            for (dependency, rooms) in ROOMS {
                let may = rooms.iter().any(|room| file.is_within(&format!("crates/server/src/{room}")));
                if leads_into(&path, dependency) && !may {
                    offences.push(file.at(line, format!("uses {path}")));
                }
            }
        }
    }
    assert_none(offences, "pg is for store/, axum for door/, both for what wires them up");
}

#[test]
fn only_the_dialects_ask_which_dialect_it_is() {
    let mut offences = Vec::new();
    for file in sources().iter().filter(|file| file.path.contains("/src/") && !file.is_within("crates/crm/src/dialect"))
    {
        for pair in file.tokens().windows(2) {
            let compares =
                pair[0].kind == Kind::Word && pair[0].text == "dialect" && matches!(pair[1].text.as_str(), "==" | "!=");
            if compares && !pair[0].in_test {
                offences.push(file.at(pair[0].line, "compares dialects"));
            }
        }
    }
    assert_none(offences, "a difference between dialects is data in crates/crm/src/dialect, never an `if`");
}

#[test]
fn sql_stands_only_where_sql_is_made() {
    let mut offences = Vec::new();
    for file in sources().iter().filter(|file| file.path.contains("/src/") && !file.is_test()) {
        let may =
            ["crates/pg", "crates/crm/src/sql", "crates/server/src/store"].iter().any(|room| file.is_within(room));
        for token in file.tokens().iter().filter(|token| !may && !token.in_test && is_sql(token)) {
            let shown: String = token.text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(60).collect();
            offences.push(file.at(token.line, format!("\"{shown}\"")));
        }
    }
    assert_none(offences, "SQL text belongs into crates/crm/src/sql, the server's store/ and the migrations");
}

#[test]
fn applied_migrations_stay_as_they_are() {
    let migrations = root().join("crates/server/migrations");
    let list = migrations.join("checksums.txt");
    let mut offences = Vec::new();
    let mut found = BTreeMap::new();
    for path in files_under(&migrations).iter().filter(|path| **path != list) {
        let name = relative(path, &migrations);
        if NO_MIGRATIONS.contains(&name.as_str()) {
            continue;
        }
        if !is_migration(&name) {
            offences.push(format!("crates/server/migrations/{name}:1: is not named like folder/0001_what_it_does.sql"));
            continue;
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, &fs::read(path).expect("a migration can be read"));
        found.insert(
            name,
            digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").expect("a string can be written to");
                hex
            }),
        );
    }
    if env::var_os("KITH_BLESS").is_some_and(|value| value == "1") && !found.is_empty() {
        // In the format of `sha256sum`, so that `sha256sum --check` can read it.
        let text: String = found.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
        fs::write(&list, text).expect("checksums.txt can be written");
    }
    let text = fs::read_to_string(&list).unwrap_or_default();
    let listed: BTreeMap<&str, (usize, &str)> = text
        .lines()
        .enumerate()
        .filter_map(|(at, line)| line.split_once("  ").map(|(digest, name)| (name, (at + 1, digest))))
        .collect();
    for (name, digest) in &found {
        match listed.get(name.as_str()) {
            Some((_, wanted)) if wanted == digest => {}
            Some((line, _)) => {
                offences.push(format!("crates/server/migrations/checksums.txt:{line}: {name} was changed"))
            }
            None => offences.push(format!("crates/server/migrations/{name}:1: is not in checksums.txt")),
        }
    }
    let gone = listed.iter().filter(|(name, _)| !found.contains_key(**name));
    offences
        .extend(gone.map(|(name, (line, _))| format!("crates/server/migrations/checksums.txt:{line}: {name} is gone")));
    assert_none(
        offences,
        "an applied migration is never changed: write the next one. A new one is entered by a run with KITH_BLESS=1",
    );
}

#[test]
fn scripts_can_be_run() {
    let mut offences = Vec::new();
    for path in [files_under(&root().join("bin")), files_under(&root().join(".ci"))].concat() {
        let name = relative(&path, &root());
        if !fs::read(&path).unwrap_or_default().starts_with(b"#!") {
            offences.push(format!("{name}:1: does not open with `#!`"));
        }
        if fs::metadata(&path).is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0o111) {
            offences.push(format!("{name}:1: is not executable"));
        }
    }
    assert_none(offences, "a script opens with `#!` and is executable");
}

#[test]
fn nothing_is_left_half_done() {
    // Written in two halves, so that this list does not break the rule itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("for", " now"),
        concat!("dbg", "!("),
        concat!("to", "do!("),
    ];
    let mut offences = Vec::new();
    for folder in ["crates", "bin", ".ci", "bench"] {
        // What others have written is brought here as it is.
        let own = |path: &PathBuf| !relative(path, &root()).contains("/assets/swagger-ui/");
        for path in files_under(&root().join(folder)).into_iter().filter(own) {
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            for (at, line) in text.lines().enumerate() {
                for mark in marks.iter().filter(|mark| has_word(line, mark)) {
                    offences.push(format!("{}:{}: {mark}", relative(&path, &root()), at + 1));
                }
            }
        }
    }
    assert_none(offences, "what is not done yet is no mark in the code");
}

#[track_caller]
fn assert_none(offences: Vec<String>, rule: impl AsRef<str>) {
    assert!(offences.is_empty(), "{}\n  {}\n", rule.as_ref(), offences.join("\n  "));
}

/// One Rust file. The path is relative to the repository's root.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn at(&self, line: usize, what: impl AsRef<str>) -> String {
        format!("{}:{line}: {}", self.path, what.as_ref())
    }

    /// Whether it is in this folder, or is the module file beside it: `…/src/store` is `store.rs` and everything in
    /// `store/`.
    fn is_within(&self, room: &str) -> bool {
        self.path.strip_prefix(room).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    fn tokens(&self) -> Vec<Token> {
        tokens::tokens(&self.text)
    }

    /// The module of the file: `["model", "ask"]`.
    fn module(&self) -> Vec<String> {
        let inside = self.path.split_once("/src/").map_or("", |(_, inside)| inside).trim_end_matches(".rs");
        let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
        module.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
        module
    }

    /// Every path in the code, its line, and whether only tests use it. `self` and `super` are resolved.
    fn uses(&self) -> Vec<(String, usize, bool)> {
        let absolute = |path: tokens::Path| {
            let ups = path.segments.iter().take_while(|segment| *segment == "super").count();
            let here = path.segments[0] == "self";
            if ups == 0 && !here {
                return (path.segments.join("::"), path.line, path.in_test);
            }
            // The names of the inline modules don't matter, because `super` leaves them first.
            let mut from = self.module();
            from.extend((0..path.inline_modules).map(|_| "inline".to_owned()));
            from.truncate(from.len().saturating_sub(ups));
            let rest = path.segments.iter().skip(ups + usize::from(here));
            let whole: Vec<&str> =
                ["crate"].into_iter().chain(from.iter().map(String::as_str)).chain(rest.map(String::as_str)).collect();
            (whole.join("::"), path.line, path.in_test)
        };
        tokens::paths(&self.tokens()).into_iter().filter(|path| !path.segments.is_empty()).map(absolute).collect()
    }
}

/// All Rust files of the three crates.
fn sources() -> Vec<Source> {
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "rs");
    let read = |path: PathBuf| Source {
        path: relative(&path, &root()),
        text: fs::read_to_string(&path).expect("a source can be read"),
    };
    files_under(&root().join("crates")).into_iter().filter(is_rust).map(read).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

fn relative(path: &Path, base: &Path) -> String {
    path.strip_prefix(base).unwrap_or(path).display().to_string()
}

/// Every file in a folder and its subfolders, in order. Empty if the folder does not exist.
fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name() == "target" || entry.file_name() == "__pycache__" {
            continue;
        }
        if path.is_dir() { found.extend(files_under(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Whether a path equals the named one or is inside it: `std::fs::File` is inside `std::fs`.
fn leads_into(path: &str, name: &str) -> bool {
    path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether a literal is the text of a statement, and not a sentence that begins with an SQL keyword.
fn is_sql(token: &Token) -> bool {
    let text = token.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let starts = |word: &str| text.starts_with(word);
    token.kind == Kind::Text
        && (["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "insert into ", "delete from "]
            .iter()
            .any(|word| starts(word))
            || starts("update ") && text.contains(" set ")
            || starts("select ") && (text.contains(" from ") || text.contains(['(', '$', '\'']) || text == "select 1"))
}

/// `control/0001_begin.sql`
fn is_migration(name: &str) -> bool {
    let Some((_, file)) = name.split_once('/') else {
        return false;
    };
    let Some((number, rest)) = file.split_once('_') else {
        return false;
    };
    number.len() == 4
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && rest.ends_with(".sql")
        && !rest.contains('/')
}

/// Whether `line` contains `mark` as a separate word.
fn has_word(line: &str, mark: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(mark).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_part);
        let after =
            mark.ends_with(char::is_alphanumeric) && line[at + mark.len()..].chars().next().is_some_and(is_part);
        !before && !after
    })
}

#[test]
fn sql_is_told_from_prose() {
    let check = |text: &str| {
        is_sql(&Token { kind: Kind::Text, text: text.to_owned(), line: 1, in_test: false, inline_modules: 0 })
    };
    for sql in [
        "SELECT 1",
        "select id\n  from contacts",
        "select version()",
        "insert into t values ($1)",
        "update t\nset a = 1",
        "delete from t",
    ] {
        assert!(check(sql), "{sql}");
    }
    for prose in [
        "Select one of these",
        "select an option",
        "update the record",
        "Delete a contact from a list",
        "insert or update",
        "selected",
    ] {
        assert!(!check(prose), "{prose}");
    }
}

#[test]
fn super_is_resolved() {
    let check = |path: &str, text: &str| {
        Source { path: path.to_owned(), text: text.to_owned() }
            .uses()
            .into_iter()
            .map(|(path, ..)| path)
            .collect::<Vec<_>>()
    };
    assert_eq!(check("crates/crm/src/model/ask.rs", "use super::super::plan::Plan;"), ["crate::plan::Plan"]);
    assert_eq!(
        check("crates/crm/src/model/mod.rs", "use super::sql; use self::ask::Ask;"),
        ["crate::sql", "crate::model::ask::Ask"]
    );
    assert_eq!(check("crates/crm/src/model.rs", "mod tests { use super::id; }"), ["crate::model::id"]);
}
