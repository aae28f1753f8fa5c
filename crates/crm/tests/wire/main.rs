//! What is on the wire, as snapshots, so that a change of it shows in review: the documents, and what each dialect reads and
//! writes. `INSTA_UPDATE=always cargo test -p kith-crm --test wire` writes them anew.
//!
//! Only what the server calls is called here: a dialect's `read`, `show` and `show_fault`, and the documents.

mod answers;
mod faults;
mod requests;

use std::fmt::Write as _;

use crm::dialect::{DIALECTS, Dialect, Meta, Reply, llms, openapi};
use serde_json::Value;

const BASE: &str = "https://kith.example";

/// The characters of an id behind its prefix; written `~` in requests and rows.
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
        request_id: "req_~",
        workspace_id: Some("ws_~"),
        claim_url: Some("https://kith.example/claim/ws_~"),
        ttl_expires_at: Some("2026-01-08T00:00:00Z"),
        public_url: BASE,
        table,
    }
}

/// Writes replies of both dialects, each under its name.
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
    check("llms", &llms::short(BASE));
    let full = llms::full(BASE);
    let beyond = full.strip_prefix(&llms::short(BASE)).expect("the full text begins with the short one");
    check("llms_full_beyond_llms", beyond);
}
