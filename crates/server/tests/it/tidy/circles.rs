//! Import cycles. In each folder, its files and folders are nodes, and a use of one by another is an edge. A folder's own
//! `mod.rs` is not a node: it uses its parts, and they may use what it defines for all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, assert_none, sources};

/// Allowed cycles, each with its reason: the folder, and the parts that use each other.
#[rustfmt::skip]
const ALLOWED: &[(&str, &[&str])] = &[
    // The definition of a type is read by a query, and rows have types.
    ("crates/pg/src",                    &["rows", "types"]),
    // App holds the state of admission and of the users' actions, and they use App. Admission recognizes a user by a
    // session.
    ("crates/server/src",                &["access", "app", "people"]),
    // Accounts holds the settings of each way to sign in, and each way opens or joins an account.
    ("crates/server/src/people/auth",    &["accounts", "clerk", "emails", "identities", "oidc"]),
    // The control database is in a cell, and lists the databases of the cells.
    ("crates/server/src/store",          &["cell", "control"]),
    // A database's cache holds its batcher, which uses the types in the cache.
    ("crates/server/src/store/tenant",   &["catalogs", "read_batch"]),
];

type Arrows = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn imports_form_no_circle() {
    let mut offences = Vec::new();
    for (folder, arrows) in folders() {
        for circle in circles(&arrows) {
            let parts: Vec<&str> = circle.iter().map(String::as_str).collect();
            if ALLOWED.contains(&(folder.as_str(), parts.as_slice())) {
                continue;
            }
            for (from, to) in circle.iter().flat_map(|from| circle.iter().map(move |to| (from, to))) {
                if let Some(place) = arrows.get(from).and_then(|uses| uses.get(to)) {
                    offences.push(format!("{place}: in {folder}, {from} uses {to}, and {to} uses {from}"));
                }
            }
        }
    }
    assert_none(offences, "what uses each other is one thing, or a third part holds what both need");
}

/// The edges within each folder, each with one place in the code.
fn folders() -> BTreeMap<String, Arrows> {
    let sources: Vec<Source> =
        sources().into_iter().filter(|file| file.path.contains("/src/") && !file.is_test()).collect();
    let mut modules: BTreeSet<(String, Vec<String>)> = BTreeSet::new();
    for file in &sources {
        modules.insert((crate_of(file), file.module()));
    }
    let mut folders: BTreeMap<String, Arrows> = BTreeMap::new();
    for file in &sources {
        let (home, from) = (crate_of(file), file.module());
        for (path, line, in_test) in file.uses() {
            let Some(path) = path.strip_prefix("crate::").filter(|_| !in_test) else { continue };
            let mut to: Vec<String> = path.split("::").map(str::to_owned).collect();
            while !to.is_empty() && !modules.contains(&(home.clone(), to.clone())) {
                to.pop();
            }
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if let (Some(part), Some(other)) = (from.get(shared), to.get(shared)) {
                let folder = [home.as_str()].into_iter().chain(from[..shared].iter().map(String::as_str));
                let arrows = folders.entry(folder.collect::<Vec<_>>().join("/")).or_default();
                arrows
                    .entry(part.clone())
                    .or_default()
                    .entry(other.clone())
                    .or_insert_with(|| format!("{}:{line}", file.path));
            }
        }
    }
    folders
}

/// `crates/server/src/door/rest.rs` belongs to `crates/server/src`.
fn crate_of(file: &Source) -> String {
    file.path.split_once("/src/").map_or_else(|| file.path.clone(), |(home, _)| format!("{home}/src"))
}

/// The largest sets of two or more nodes that can all reach each other.
fn circles(arrows: &Arrows) -> BTreeSet<BTreeSet<String>> {
    let reached = |from: &str| {
        let (mut found, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(node) = next.pop() {
            for to in arrows.get(&node).into_iter().flat_map(BTreeMap::keys) {
                if found.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        found
    };
    let reach: BTreeMap<&String, BTreeSet<String>> = arrows.keys().map(|node| (node, reached(node))).collect();
    let circle = |node: &String| -> BTreeSet<String> {
        reach[node].iter().filter(|other| reach.get(other).is_some_and(|back| back.contains(node))).cloned().collect()
    };
    arrows.keys().map(circle).filter(|circle| circle.len() > 1).collect()
}

#[test]
fn a_circle_is_found() {
    let arrows = |pairs: &[(&str, &str)]| {
        let mut arrows = Arrows::new();
        for (from, to) in pairs {
            arrows.entry((*from).to_owned()).or_default().insert((*to).to_owned(), String::new());
        }
        circles(&arrows).into_iter().map(|circle| circle.into_iter().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(arrows(&[("a", "b"), ("b", "c"), ("a", "c")]), Vec::<String>::new());
    assert_eq!(arrows(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]), ["a b c"]);
    assert_eq!(arrows(&[("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]), ["a b", "c d"]);
}
