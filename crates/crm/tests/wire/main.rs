//! Snapshots of the wire, so that a review shows each change: the documents, the requests and the responses of each
//! dialect. `INSTA_UPDATE=always cargo test -p kith-crm --test wire` updates them.
//!
//! The tests call only what the server calls: a dialect's `read`, `show` and `show_fault`, and the documents.

mod answers;
mod faults;
mod requests;

use std::collections::HashSet;
use std::fmt::Write as _;

use crm::dialect::{DIALECTS, Dialect, Meta, Reply, llms, openapi};
use serde_json::Value;

const BASE: &str = "https://kith.example";

/// The characters of an id after its prefix. Requests and rows have `~` in their place.
const TAIL: &str = "01kaqz3v5t8w9x2y4z6a8b0c1d";

fn ids(text: &str) -> String {
    text.replace('~', TAIL)
}

/// Compares a text with `snapshots/<name>.snap`.
#[track_caller]
fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn meta(table: Option<&str>) -> Meta<'_> {
    Meta {
        holds: false,
        request_id: "req_~",
        workspace_id: Some("ws_~"),
        claim_url: Some("https://kith.example/claim/ws_~"),
        ttl_expires_at: Some("2026-01-08T00:00:00Z"),
        public_url: BASE,
        table,
    }
}

/// Writes the response of each dialect under a title.
fn replies(text: &mut String, title: &str, reply: impl Fn(&Dialect) -> Reply) {
    for dialect in DIALECTS {
        let Reply { status, headers, body } = reply(dialect);
        let body: Value = serde_json::from_slice(&body).expect("a body is JSON");
        let _ = writeln!(text, "== {title}, {}: {status}", dialect.name);
        for (name, value) in headers {
            let _ = writeln!(text, "{name}: {value}");
        }
        let _ = writeln!(text, "{body:#}\n");
    }
}

#[test]
fn openapi_documents() {
    for dialect in DIALECTS {
        let document = openapi::document(dialect.reference, BASE);
        check(&format!("openapi_{}", dialect.name), &openapi::yaml::write(&document));
    }
}

#[test]
fn texts_for_models() {
    let (short, full) = (llms::short(BASE), llms::full(BASE));
    check("llms", &short);
    let known: HashSet<&str> = short.lines().filter(|line| !line.is_empty()).collect();
    let beyond: Vec<&str> = full.lines().filter(|line| !known.contains(line)).collect();
    check("llms_full_beyond_llms", &beyond.join("\n"));
}
