//! Writes answers and faults in agentCRM's format.

use serde_json::{Value, json};

use crate::dialect::changes::{self, ChangeWords};
use crate::dialect::event::body;
use crate::dialect::{Meta, Reply, fault_headers, import, json};
use crate::model::answer::{Answer, Batch, BatchItem, EventPage, Found, Record, SqlResult};
use crate::model::event::{Event, EventSource};
use crate::model::fault::{Fault, Instead};
use crate::model::operation::MAX_OPERATIONS;

/// agentCRM's names in changes are those of the physical schema.
pub const CHANGE_WORDS: ChangeWords = ChangeWords { column: |_, column| column.to_owned(), ids: |_, _| {} };

/// Writes an answer as a response: the value in `data` and everything else in `_meta`.
pub fn show(answer: &Answer, meta: &Meta<'_>) -> Reply {
    let mut out = Vec::with_capacity(512 + size(answer));
    out.extend_from_slice(b"{\"data\":");
    value(&mut out, answer, meta);
    out.extend_from_slice(b",\"_meta\":{");
    json::pair(&mut out, "request_id", meta.request_id);
    if let Some(id) = meta.workspace_id {
        json::pair(&mut out, "workspace_id", id);
    }
    if let (Some(claim_url), Some(expires)) = (meta.claim_url, meta.ttl_expires_at) {
        json::pair(&mut out, "claim_url", claim_url);
        json::pair(&mut out, "ttl_expires_at", expires);
    }
    if meta.holds {
        json::flag(&mut out, "sending", false);
    }
    about(&mut out, answer);
    out.extend_from_slice(b"}}");
    Reply { status: answer.status(), headers: Vec::new(), body: out }
}

/// Writes the value of an answer, without `data` and `_meta`.
pub fn show_value(answer: &Answer, meta: &Meta<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(size(answer));
    value(&mut out, answer, meta);
    out
}

fn value(out: &mut Vec<u8>, answer: &Answer, meta: &Meta<'_>) {
    match answer {
        Answer::DryRun(dry) => value(out, &dry.answer, meta),
        Answer::Run { run, .. } => json::write(out, run),
        Answer::Runs { runs, .. } => json::write(out, runs),
        Answer::Changes { changes, .. } => {
            json::write(out, &changes.iter().map(|it| changes::change(it, &CHANGE_WORDS)).collect::<Vec<_>>());
        }
        Answer::Undone { run_id, undone, skipped, not_undone } => {
            let skipped: Vec<Value> = skipped.iter().map(|it| changes::conflict(it, &CHANGE_WORDS)).collect();
            json::write(
                out,
                &json!({"run_id": run_id, "undone": undone, "skipped": skipped, "not_undone": not_undone}),
            );
        }
        Answer::Record { record: it, .. } | Answer::Written { record: it, .. } | Answer::Email { record: it, .. } => {
            record(out, it);
        }
        Answer::Page { rows, width, .. } => json::array(out, rows, &json::keys(rows, 0..*width, same)),
        Answer::Batch(it) => batch(out, it, meta),
        Answer::Imported(it) => json::write(out, &import::outcome(it)),
        Answer::Operations(answers) => json::operations(out, answers),
        Answer::Found(it) => found(out, it),
        Answer::Deleted { id, deleted_at, .. } => {
            out.extend_from_slice(b"{\"id\":");
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(b",\"deleted_at\":");
            out.extend_from_slice(deleted_at.as_bytes());
            out.push(b'}');
        }
        Answer::Rows { rows, .. } => json::array(out, rows, &json::keys(rows, 0..rows.columns().len(), same)),
        Answer::Tables { rows, .. } => json::tables(out, rows, None),
        Answer::Object { text, .. } => out.extend_from_slice(text.as_bytes()),
        Answer::Events(page) => events(out, page),
        Answer::Sql(result) => sql(out, result),
        Answer::Workspace { workspace_id, api_key, claim_url, ttl_expires_at } => {
            out.push(b'{');
            json::pair(out, "workspace_id", workspace_id);
            json::pair(out, "api_key", api_key);
            if let (Some(claim_url), Some(expires)) = (claim_url, ttl_expires_at) {
                json::pair(out, "claim_url", claim_url);
                json::pair(out, "ttl_expires_at", expires);
            }
            out.push(b'}');
        }
    }
}

/// Appends the members of `_meta` that depend on the answer.
fn about(out: &mut Vec<u8>, answer: &Answer) {
    match answer {
        Answer::Page { next_cursor, limit, .. } | Answer::Tables { next_cursor, limit, .. } => {
            page_meta(out, next_cursor.as_deref(), *limit)
        }
        Answer::Found(it) => page_meta(out, it.next_cursor.as_deref(), it.limit),
        Answer::Events(page) => {
            json::pair(out, "next_cursor", &page.cursor);
            json::flag(out, "has_more", page.has_more);
            json::key(out, "limit");
            out.extend_from_slice(page.limit.to_string().as_bytes());
        }
        Answer::Runs { next_cursor, limit, .. } | Answer::Changes { next_cursor, limit, .. } => {
            page_meta(out, next_cursor.as_deref(), *limit);
        }
        Answer::DryRun(dry) => {
            about(out, &dry.answer);
            json::key(out, "dry_run");
            out.extend_from_slice(b"true");
            json::key(out, "status");
            json::write(out, &dry.answer.status());
            for (name, value) in changes::outcome(&dry.outcome, &CHANGE_WORDS) {
                json::key(out, name);
                json::write(out, &value);
            }
        }
        Answer::Operations(_) => page_meta(out, None, MAX_OPERATIONS),
        Answer::Batch(it) => {
            for (name, count) in ["created", "updated", "failed"].into_iter().zip(it.counts()) {
                json::key(out, name);
                out.extend_from_slice(count.to_string().as_bytes());
            }
        }
        Answer::Written { about: (name, value), .. } => {
            json::key(out, name);
            json::write(out, value);
        }
        Answer::Deleted { note: Some(note), .. } => json::pair(out, "note", note),
        Answer::Sql(result) if result.truncated => {
            json::key(out, "truncated");
            out.extend_from_slice(b"true");
        }
        Answer::Record { .. }
        | Answer::Email { .. }
        | Answer::Imported(_)
        | Answer::Deleted { note: None, .. }
        | Answer::Rows { .. }
        | Answer::Object { .. }
        | Answer::Sql(_)
        | Answer::Run { .. }
        | Answer::Undone { .. }
        | Answer::Workspace { .. } => {}
    }
}

fn size(answer: &Answer) -> usize {
    match answer {
        Answer::Page { rows, .. } | Answer::Sql(SqlResult { rows, .. }) => {
            rows.data_len() + rows.len() * rows.columns().len() * 16
        }
        Answer::Record { record, .. } | Answer::Written { record, .. } | Answer::Email { record, .. } => {
            record.row.data_len() + record.row.columns().len() * 16
        }
        Answer::Rows { rows, .. } | Answer::Tables { rows, .. } => rows.data_len() + rows.len() * 64,
        Answer::Object { text, .. } => text.len(),
        Answer::Batch(batch) => batch.rows.data_len() + batch.items.len() * 256,
        Answer::Operations(answers) => json::size_of_operations(answers),
        Answer::Found(found) => found.tables.iter().map(|(_, rows)| rows.data_len() + rows.len() * 256).sum(),
        Answer::Events(page) => page.events.len() * 1024,
        Answer::DryRun(dry) => size(&dry.answer),
        Answer::Imported(it) => it.refused.len() * 256,
        Answer::Deleted { .. }
        | Answer::Workspace { .. }
        | Answer::Run { .. }
        | Answer::Runs { .. }
        | Answer::Changes { .. }
        | Answer::Undone { .. } => 0,
    }
}

fn page_meta(out: &mut Vec<u8>, next_cursor: Option<&str>, limit: usize) {
    json::pair_or_null(out, "next_cursor", next_cursor);
    json::key(out, "has_more");
    out.extend_from_slice(if next_cursor.is_some() { b"true" } else { b"false" });
    json::key(out, "limit");
    out.extend_from_slice(limit.to_string().as_bytes());
}

/// Returns the name unchanged, because agentCRM's names are those of the physical schema.
fn same(name: &str) -> &str {
    name
}

fn record(out: &mut Vec<u8>, record: &Record) {
    let row = &record.row;
    out.push(b'{');
    json::members(out, row, 0, 0..record.width, same);
    for part in &record.parts {
        json::key(out, part.key);
        if row.cell(0, part.start + part.id_at) == b"null" {
            out.extend_from_slice(b"null");
            continue;
        }
        out.push(b'{');
        json::members(out, row, 0, part.start..part.start + part.width, same);
        out.push(b'}');
    }
    for (key, rows) in &record.related {
        json::key(out, key);
        json::array(out, rows, &json::keys(rows, 0..rows.columns().len(), same));
    }
    out.push(b'}');
}

fn batch(out: &mut Vec<u8>, batch: &Batch, meta: &Meta<'_>) {
    let name = batch.entity.map_or("record", |entity| entity.name);
    out.push(b'[');
    for (at, item) in batch.items.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",{" } else { b"{" });
        json::key(out, "index");
        out.extend_from_slice(at.to_string().as_bytes());
        let (status, row) = match item {
            BatchItem::Created(row) => ("created", Ok(*row)),
            BatchItem::Updated(row) => ("updated", Ok(*row)),
            BatchItem::Failed(fault) => ("error", Err(fault)),
        };
        json::pair(out, "status", status);
        match row {
            Ok(row) => {
                json::key(out, name);
                out.push(b'{');
                json::members(out, &batch.rows, row, 0..batch.width, same);
            }
            Err(fault) => {
                json::key(out, "error");
                out.push(b'{');
                fault_members(out, fault, meta);
            }
        }
        out.extend_from_slice(b"}}");
    }
    out.push(b']');
}

/// Appends records of several tables. `object` is the kind of each record.
fn found(out: &mut Vec<u8>, found: &Found) {
    out.push(b'[');
    for (at, (table, row)) in found.order.iter().enumerate() {
        let (entity, rows) = &found.tables[*table];
        out.extend_from_slice(if at > 0 { b",{" } else { b"{" });
        json::pair(out, "object", entity.name);
        json::members(out, rows, *row, 0..rows.columns().len(), same);
        out.push(b'}');
    }
    out.push(b']');
}

/// The JSON of an event. Its data has the names of the physical schema.
pub fn show_event(event: &Event, source: EventSource<'_>) -> Value {
    body(event, source, |_, row| row.clone(), |_, row| row.clone())
}

fn events(out: &mut Vec<u8>, page: &EventPage) {
    json::events(out, page, show_event);
}

fn sql(out: &mut Vec<u8>, result: &SqlResult) {
    out.push(b'{');
    json::sql_members(out, result);
    out.push(b'}');
}

/// Writes a fault as a response.
pub fn show_fault(fault: &Fault, meta: &Meta<'_>) -> Reply {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    fault_members(&mut out, fault, meta);
    out.push(b'}');
    Reply { status: fault.status(), headers: fault_headers(fault), body: out }
}

/// Appends the members of a fault, without braces.
fn fault_members(out: &mut Vec<u8>, fault: &Fault, meta: &Meta<'_>) {
    let (fault, operation) = fault.apart();
    json::pair(out, "error", fault.code());
    json::pair(out, "message", &fault.message());
    match fault {
        Fault::Sql(sql) => {
            json::pair(out, "code", &sql.sqlstate);
            json::pair_or_null(out, "hint", fault.hint().as_deref());
            json::key(out, "position");
            out.extend_from_slice(sql.position.map_or("null".into(), |at| at.to_string()).as_bytes());
            if let Some(detail) = fault.detail() {
                json::pair(out, "detail", &detail);
            }
        }
        Fault::Conflict { constraint, existing_id, .. } => {
            json::pair(out, "code", "23505");
            json::pair(out, "constraint", constraint);
            json::pair_or_null(out, "existing_id", existing_id.as_deref());
        }
        Fault::StillReferenced { constraint, .. } => json::pair(out, "constraint", constraint),
        Fault::ValidationFailed { field: Some(field), .. }
        | Fault::InvalidReference { field, .. }
        | Fault::InvalidMetadata { field: Some(field), .. } => json::pair(out, "field", field),
        Fault::Unknown { what, name, .. } => json::pair(out, what, name),
        Fault::MaxAffectedExceeded { affected, .. } => {
            json::key(out, "affected");
            json::write(out, affected);
        }
        Fault::UndoConflict { conflicts, .. } => {
            json::key(out, "conflicts");
            json::write(out, &conflicts.iter().map(|it| changes::conflict(it, &CHANGE_WORDS)).collect::<Vec<_>>());
        }
        _ => {}
    }
    if let (Some(hint), false) = (hint(fault), matches!(fault, Fault::Sql(_))) {
        json::pair(out, "hint", &hint);
    }
    json::operation(out, operation);
    json::pair(out, "request_id", meta.request_id);
    json::pair(out, "docs_url", &format!("{}/docs/errors#{}", meta.public_url, fault.code()));
}

/// The hint of a fault. For filters it uses agentCRM's syntax.
fn hint(fault: &Fault) -> Option<String> {
    let Fault::FilterTypeMismatch { column, instead, .. } = fault else { return fault.hint() };
    Some(match instead {
        Instead::Equality => format!("Use {column}=value."),
        Instead::EqualityNotOrder => format!("It is for numbers, dates and times; use {column}=value."),
        Instead::EqualityNotText => format!("It is for text; use {column}=value."),
        Instead::Has => format!("Use {column}_has=value."),
        Instead::Key => format!("Use {column}.key=value."),
        Instead::Distance => "Use POST /v1/sql for distances.".into(),
    })
}
