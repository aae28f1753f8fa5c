//! The error responses: the codes that each act can return, and one response for each set of codes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::dialect::openapi::{Act, Wire, header_name, pascal, reference_to};
use crate::model::codes::{CODES, Code};
use crate::model::entity::Entity;

/// Codes that every request can return.
const ALWAYS: &[&str] = &[
    "invalid_request",
    "unknown_control",
    "control_not_supported",
    "unauthorized",
    "request_timeout",
    "payload_too_large",
    "head_too_large",
    "rate_limited",
    "internal_error",
    "unavailable",
];
/// Codes of requests that use a workspace's database.
const DATABASE: &[&str] = &["sql_error", "statement_timeout", "result_too_large"];
/// Codes of requests that change records.
const WRITE: &[&str] = &[
    "forbidden",
    "workspace_read_only",
    "validation_failed",
    "invalid_reference",
    "max_affected_exceeded",
    "run_finished",
];
/// Codes of requests with an Idempotency-Key.
const KEYED: &[&str] = &["idempotency_conflict", "idempotency_in_progress"];
/// Codes of single operations that a batch can return besides.
const OPERATIONS: &[&str] = &[
    "batch_too_large",
    "cannot_delete_default",
    "conflict",
    "invalid_cursor",
    "invalid_metadata",
    "pipeline_in_use",
    "plan_required",
    "stage_in_use",
    "still_referenced",
    "unknown_stage",
    "unsupported_media_type",
];
/// Codes of paths for any table.
const ANY_TABLE: &[&str] = &["not_found", "forbidden", "no_primary_key", "method_not_allowed"];

/// The codes of changes to this built-in table, beyond those of all tables.
fn codes_of_table(act: Act, entity: &Entity) -> &'static [&'static str] {
    match act {
        Act::Create => entity.refusals.create,
        Act::Update => entity.refusals.update,
        Act::Delete => entity.refusals.delete,
        _ => &[],
    }
}

/// The codes that an act can return, for a built-in table or for any table.
#[rustfmt::skip] // a table
fn codes(act: Act, entity: Option<&Entity>) -> impl Fn(&str) -> bool {
    let own: &[&[&str]] = match act {
        Act::SignUp       => &[&["unsupported_media_type"]],
        Act::Sql          => &[DATABASE, KEYED, &["unsupported_media_type", "workspace_read_only", "max_affected_exceeded", "run_finished"]],
        Act::Operations   => &[DATABASE, WRITE, KEYED, ANY_TABLE, OPERATIONS],
        Act::Tables       => &[DATABASE, &["invalid_cursor"]],
        Act::Schema       => &[DATABASE, &["not_found"]],
        Act::List         => &[DATABASE, &["invalid_cursor"]],
        Act::Stages       => &[DATABASE, &["invalid_cursor", "not_found"]],
        Act::Search       => &[DATABASE, &["invalid_cursor"]],
        Act::SearchAll    => &[DATABASE, &["invalid_cursor"]],
        Act::Batch        => &[DATABASE, WRITE, KEYED, &["unsupported_media_type", "batch_too_large"]],
        Act::Import       => &[DATABASE, WRITE, KEYED, &["unsupported_media_type", "batch_too_large", "not_found", "no_primary_key", "plan_required"]],
        Act::CreateStage  => &[DATABASE, WRITE, KEYED, &["unsupported_media_type", "not_found", "conflict"]],
        Act::Create       => &[DATABASE, WRITE, KEYED, &["unsupported_media_type", "conflict", "invalid_metadata"]],
        Act::Find         => &[DATABASE, &["not_found"]],
        Act::Update       => &[DATABASE, WRITE, &["unsupported_media_type", "not_found", "conflict", "invalid_metadata"]],
        Act::Delete       => &[DATABASE, WRITE, &["unsupported_media_type", "not_found", "still_referenced"]],
        Act::Restore      => &[DATABASE, WRITE, KEYED, &["unsupported_media_type", "not_found", "conflict", "invalid_metadata"]],
        Act::Merge        => &[DATABASE, WRITE, KEYED, &["unsupported_media_type", "not_found", "conflict", "invalid_metadata", "invalid_reference", "still_referenced"]],
        Act::Assert       => &[DATABASE, WRITE, KEYED, &["unsupported_media_type", "not_found", "conflict", "ambiguous", "invalid_metadata"]],
        Act::ListRows     => &[DATABASE, &["invalid_cursor", "not_found", "validation_failed"]],
        Act::AddMembers   => &[DATABASE, WRITE, KEYED, &["unsupported_media_type", "not_found", "conflict"]],
        Act::RemoveMember => &[DATABASE, WRITE, &["unsupported_media_type", "not_found"]],
        Act::OpenRun      => &[DATABASE, WRITE, KEYED, &["unsupported_media_type"]],
        Act::ListRuns     => &[DATABASE, &["invalid_cursor"]],
        Act::FindRun      => &[DATABASE, &["not_found"]],
        Act::RunChanges   => &[DATABASE, &["invalid_cursor", "not_found"]],
        Act::FinishRun    => &[DATABASE, WRITE, KEYED, &["unsupported_media_type", "not_found"]],
        Act::Undo         => &[DATABASE, WRITE, KEYED, &["unsupported_media_type", "not_found", "undo_conflict", "already_undone", "undo_expired"]],
    };
    let is_about_a_table =
        matches!(act, Act::List | Act::Create | Act::Find | Act::Update | Act::Delete | Act::Restore | Act::Merge | Act::Assert);
    let table: &[&str] = match entity {
        None if is_about_a_table => ANY_TABLE,
        Some(entity) => codes_of_table(act, entity),
        None => &[],
    };
    // Requests of all keys count for the quota of the workspace.
    let counts = act != Act::SignUp;
    let has_feature = entity.is_some_and(|entity| entity.feature.is_some());
    move |code| (counts && code == "quota_exceeded") || (has_feature && code == "plan_required") || table.contains(&code) || own.iter().any(|some| some.contains(&code))
}

/// The name of the error's schema: `SqlError`, `NotFoundError`.
pub fn schema_name(code: &Code) -> String {
    let name = pascal(code.code);
    if name.ends_with("Error") { name } else { format!("{name}Error") }
}

/// The error responses that operations refer to. Each is written once.
#[derive(Default)]
pub struct Responses {
    written: BTreeMap<String, Value>,
    codes: BTreeSet<&'static str>,
}

impl Responses {
    /// Adds the error responses of an act to an operation.
    pub fn add_of_act(&mut self, responses: &mut Map<String, Value>, wire: &Wire, act: Act, entity: Option<&Entity>) {
        self.add(responses, wire, codes(act, entity));
    }

    /// Adds the error responses with these codes and with the codes of every request to an operation.
    pub fn add(&mut self, responses: &mut Map<String, Value>, wire: &Wire, own: impl Fn(&str) -> bool) {
        let may_end_in = |code: &str| ALWAYS.contains(&code) || own(code);
        let mut by_status: BTreeMap<u16, Vec<&'static Code>> = BTreeMap::new();
        for code in CODES.iter().filter(|code| may_end_in(code.code) && !wire.never.contains(&code.code)) {
            for status in code.statuses {
                by_status.entry(*status).or_default().push(code);
            }
        }
        for (status, codes) in by_status {
            responses.insert(status.to_string(), self.refer(wire, status, &codes));
        }
    }

    fn refer(&mut self, wire: &Wire, status: u16, codes: &[&'static Code]) -> Value {
        self.codes.extend(codes.iter().map(|code| code.code));
        let names: Vec<String> = codes.iter().map(|code| pascal(code.code)).collect();
        let name = format!("{}{status}", names.join("Or"));
        let reference = reference_to("responses", &name);
        self.written.entry(name).or_insert_with(|| response(wire, status, codes));
        reference
    }

    /// Whether an operation can return this code.
    pub fn have(&self, code: &Code) -> bool {
        self.codes.contains(code.code)
    }

    /// The responses for the document's components.
    pub fn written(self) -> Value {
        Value::Object(self.written.into_iter().collect())
    }
}

fn response(wire: &Wire, status: u16, codes: &[&Code]) -> Value {
    let about: Vec<String> = codes.iter().map(|code| format!("`{}`: {}", code.code, code.about)).collect();
    let mut schemas: Vec<Value> = codes.iter().map(|code| reference_to("schemas", &schema_name(code))).collect();
    let schema = if schemas.len() == 1 { schemas.remove(0) } else { json!({"oneOf": schemas}) };
    let mut headers = Map::new();
    headers.insert("X-Request-Id".into(), reference_to("headers", "request_id"));
    // A request without a key has no dialect, and so no version.
    if let Some(versions) = wire.versions.filter(|_| status != 401) {
        headers.insert(header_name(versions), reference_to("headers", "version"));
    }
    let own = match status {
        401 => Some(("WWW-Authenticate", "authenticate")),
        405 => Some(("Allow", "allow")),
        429 | 503 => Some(("Retry-After", "retry_after")),
        _ => None,
    };
    if let Some((name, header)) = own {
        headers.insert(name.into(), reference_to("headers", header));
    }
    json!({
        "description": about.join("\n\n"),
        "headers": headers,
        "content": {"application/json": {"schema": schema}},
    })
}
