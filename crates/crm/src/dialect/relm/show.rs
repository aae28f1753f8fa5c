//! Writes answers and faults in Relm's format.

use std::ops::Range;

use serde_json::{Map, Value, json};

use crate::dialect::changes::{self, ChangeWords};
use crate::dialect::event::body;
use crate::dialect::relm::filter::parts;
use crate::dialect::relm::names::{OBJECT, column_of, holds_ids, name_of, words};
use crate::dialect::relm::record::{Shape, columns, ids, object, rename_ids};
use crate::dialect::{Meta, Reply, fault_headers, import, json};
use crate::model::answer::{Answer, Batch, BatchItem, Found, Record, SqlResult};
use crate::model::entity::{Entity, READ_ONLY_COLUMNS, by_table};
use crate::model::event::{Event, EventSource};
use crate::model::fault::{Fault, Instead, nearest};
use crate::model::rows::Rows;

/// The `object` of a row whose kind is not known.
const ROW: &str = "row";

/// Writes an answer as a response. Relm has no envelope.
pub fn show(answer: &Answer, meta: &Meta<'_>) -> Reply {
    Reply { status: answer.status(), headers: Vec::new(), body: show_value(answer, meta) }
}

/// Writes the value of an answer.
pub fn show_value(answer: &Answer, meta: &Meta<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let table = meta.table.unwrap_or(ROW);
    match answer {
        Answer::Record { record: it, .. } | Answer::Email { record: it, .. } => record(&mut out, it, table),
        Answer::Written { record: it, about: (name, value), .. } => {
            record(&mut out, it, table);
            if answer.says(name) {
                // It is a member of the record.
                out.pop();
                let mut value = value.clone();
                rename_ids(&mut value);
                json::key(&mut out, name);
                json::write(&mut out, &value);
                out.push(b'}');
            }
        }
        Answer::Page { entity, table: of, rows, width, next_cursor, .. } => {
            let table = of.as_deref().unwrap_or(table);
            out.reserve(rows.data_len() + rows.len() * rows.columns().len() * 16);
            list(&mut out, &Shape::of(*entity, table, rows, 0..*width), rows, next_cursor.as_deref());
        }
        Answer::Found(it) => found(&mut out, it),
        Answer::DryRun(dry) => {
            out.extend_from_slice(b"{\"object\":\"dry_run\"");
            json::key(&mut out, "status");
            json::write(&mut out, &dry.answer.status());
            json::key(&mut out, "result");
            out.extend_from_slice(&show_value(&dry.answer, meta));
            for (name, value) in changes::outcome(&dry.outcome, &CHANGE_WORDS) {
                json::key(&mut out, name);
                json::write(&mut out, &value);
            }
            out.push(b'}');
        }
        Answer::Run { run: it, .. } => json::write(&mut out, &run(it)),
        Answer::Runs { runs, next_cursor, .. } => {
            values(&mut out, &runs.iter().map(run).collect::<Vec<_>>(), next_cursor.as_deref());
        }
        Answer::Changes { changes, next_cursor, .. } => {
            let written: Vec<Value> = changes
                .iter()
                .map(|it| {
                    let mut written = changes::change(it, &CHANGE_WORDS);
                    written[OBJECT] = "change".into();
                    written
                })
                .collect();
            values(&mut out, &written, next_cursor.as_deref());
        }
        Answer::Undone { run_id, undone, skipped, not_undone } => {
            let skipped: Vec<Value> = skipped.iter().map(|it| changes::conflict(it, &CHANGE_WORDS)).collect();
            let undone = json!({"object": "undo", "run_id": run_id, "undone": undone, "skipped": skipped, "not_undone": not_undone});
            json::write(&mut out, &undone);
        }
        Answer::Batch(it) => batch(&mut out, it, meta),
        Answer::Imported(it) => {
            let mut outcome = import::outcome(it);
            outcome.insert(OBJECT.into(), "import".into());
            json::write(&mut out, &outcome);
        }
        Answer::Operations(answers) => {
            out.reserve(json::size_of_operations(answers));
            out.extend_from_slice(b"{\"object\":\"list\",\"data\":");
            json::operations(&mut out, answers);
            end_of_list(&mut out, None);
        }
        Answer::Deleted { entity, id, note, .. } => {
            out.extend_from_slice(b"{\"id\":");
            ids(&mut out, id.as_bytes());
            json::pair(&mut out, "object", entity.map_or(table, |entity| entity.name));
            json::key(&mut out, "deleted");
            out.extend_from_slice(b"true");
            if let Some(note) = note {
                json::pair(&mut out, "note", note);
            }
            out.push(b'}');
        }
        Answer::Rows { rows, .. } => {
            let entity = meta.table.and_then(by_table);
            list(&mut out, &Shape::of(entity, table, rows, 0..rows.columns().len()), rows, None);
        }
        Answer::Tables { rows, next_cursor, .. } => {
            out.extend_from_slice(b"{\"object\":\"list\",\"data\":");
            json::tables(&mut out, rows, Some((OBJECT, "table")));
            end_of_list(&mut out, next_cursor.as_deref());
        }
        Answer::Object { text, .. } => {
            out.extend_from_slice(b"{\"object\":\"schema\"");
            match text.strip_prefix('{').map(str::trim_start) {
                Some(rest) if !rest.starts_with('}') => {
                    out.push(b',');
                    out.extend_from_slice(rest.as_bytes());
                }
                _ => out.push(b'}'),
            }
        }
        Answer::Events(page) => {
            out.extend_from_slice(b"{\"object\":\"list\",\"data\":");
            json::events(&mut out, page, show_event);
            json::flag(&mut out, "has_more", page.has_more);
            json::pair(&mut out, "next_cursor", &page.cursor);
            out.push(b'}');
        }
        Answer::Sql(result) => sql(&mut out, result),
        Answer::Workspace { workspace_id, api_key, claim_url, ttl_expires_at } => {
            out.push(b'{');
            json::pair(&mut out, "id", workspace_id);
            json::pair(&mut out, "object", "workspace");
            json::pair(&mut out, "api_key", api_key);
            json::pair_or_null(&mut out, "claim_url", claim_url.as_deref());
            json::pair_or_null(&mut out, "ttl_expires_at", ttl_expires_at.as_deref());
            out.push(b'}');
        }
    }
    out
}

/// The JSON of an event. Its data is a record with Relm's names and ids.
pub fn show_event(event: &Event, source: EventSource<'_>) -> Value {
    body(event, source, object, columns)
}

/// Relm's names in changes.
pub const CHANGE_WORDS: ChangeWords = ChangeWords {
    column: |table, column| name_of(by_table(table), column).unwrap_or(column).to_owned(),
    ids: |column, value| {
        if holds_ids(column) {
            rename_ids(value);
        }
    },
};

/// A run, with its kind after its id.
fn run(run: &Map<String, Value>) -> Map<String, Value> {
    let mut written = Map::with_capacity(run.len() + 1);
    for (at, (name, value)) in run.iter().enumerate() {
        written.insert(name.clone(), value.clone());
        if at == 0 {
            written.insert(OBJECT.into(), "run".into());
        }
    }
    written
}

fn values(out: &mut Vec<u8>, values: &impl serde::Serialize, next_cursor: Option<&str>) {
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":");
    json::write(out, values);
    end_of_list(out, next_cursor);
}

fn list(out: &mut Vec<u8>, shape: &Shape, rows: &Rows, next_cursor: Option<&str>) {
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":");
    shape.array(out, rows);
    end_of_list(out, next_cursor);
}

fn end_of_list(out: &mut Vec<u8>, next_cursor: Option<&str>) {
    json::key(out, "has_more");
    out.extend_from_slice(if next_cursor.is_some() { b"true" } else { b"false" });
    json::pair_or_null(out, "next_cursor", next_cursor);
    out.push(b'}');
}

fn record(out: &mut Vec<u8>, record: &Record, table: &str) {
    let row = &record.row;
    out.push(b'{');
    Shape::of(record.entity, table, row, 0..record.width).members(out, row, 0);
    for part in &record.parts {
        let columns: Range<usize> = part.start..part.start + part.width;
        let entity = related(record.entity, part.key);
        json::key(out, name_of(record.entity, part.key).unwrap_or(part.key));
        if row.cell(0, part.start + part.id_at) == b"null" {
            out.extend_from_slice(b"null");
            continue;
        }
        out.push(b'{');
        Shape::of(entity, ROW, row, columns).members(out, row, 0);
        out.push(b'}');
    }
    for (key, rows) in &record.related {
        json::key(out, key);
        Shape::of(by_table(key), ROW, rows, 0..rows.columns().len()).array(out, rows);
    }
    out.push(b'}');
}

/// Returns the built-in table of a relation.
fn related(entity: Option<&Entity>, key: &str) -> Option<&'static Entity> {
    let relation = entity?.to_one.iter().find(|relation| relation.key == key)?;
    by_table(relation.table)
}

fn found(out: &mut Vec<u8>, found: &Found) {
    let shapes: Vec<Shape> = found
        .tables
        .iter()
        .map(|(entity, rows)| Shape::of(Some(*entity), ROW, rows, 0..rows.columns().len()))
        .collect();
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    for (at, (table, row)) in found.order.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",{" } else { b"{" });
        shapes[*table].members(out, &found.tables[*table].1, *row);
        out.push(b'}');
    }
    out.push(b']');
    end_of_list(out, found.next_cursor.as_deref());
}

fn batch(out: &mut Vec<u8>, batch: &Batch, meta: &Meta<'_>) {
    let shape = Shape::of(batch.entity, ROW, &batch.rows, 0..batch.width);
    let name = batch.entity.map_or(ROW, |entity| entity.name);
    out.extend_from_slice(b"{\"object\":\"batch\",\"data\":[");
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
                shape.members(out, &batch.rows, row);
                out.push(b'}');
            }
            Err(fault) => {
                json::key(out, "error");
                fault_object(out, fault, meta);
            }
        }
        out.push(b'}');
    }
    out.push(b']');
    for (name, count) in ["created", "updated", "failed"].into_iter().zip(batch.counts()) {
        json::key(out, name);
        out.extend_from_slice(count.to_string().as_bytes());
    }
    out.push(b'}');
}

/// Appends a raw SQL result. Its rows have the names and ids of the database.
fn sql(out: &mut Vec<u8>, result: &SqlResult) {
    out.extend_from_slice(b"{\"object\":\"sql_result\",");
    json::sql_members(out, result);
    json::key(out, "truncated");
    out.extend_from_slice(if result.truncated { b"true" } else { b"false" });
    out.push(b'}');
}

/// Writes a fault as a response.
pub fn show_fault(fault: &Fault, meta: &Meta<'_>) -> Reply {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"error\":");
    fault_object(&mut out, fault, meta);
    out.push(b'}');
    Reply { status: fault.status(), headers: fault_headers(fault), body: out }
}

fn fault_object(out: &mut Vec<u8>, fault: &Fault, meta: &Meta<'_>) {
    let (fault, operation) = fault.apart();
    let table = operation.map_or(meta.table, |it| it.table.as_deref());
    let entity = table.and_then(by_table);
    out.push(b'{');
    json::pair(out, "code", fault.code());
    match fault {
        // The message is PostgreSQL's and refers to the caller's own SQL.
        Fault::Sql(sql) => {
            json::pair(out, "message", &fault.message());
            json::pair(out, "sqlstate", &sql.sqlstate);
            json::pair_or_null(out, "hint", fault.hint().as_deref());
            json::key(out, "position");
            out.extend_from_slice(sql.position.map_or("null".into(), |at| at.to_string()).as_bytes());
            if let Some(detail) = fault.detail() {
                json::pair(out, "detail", &detail);
            }
        }
        _ => json::pair(out, "message", &fault.message_in(|text| words(text, entity))),
    }
    match fault {
        Fault::Conflict { constraint, existing_id, .. } => {
            json::pair(out, "constraint", constraint);
            json::pair_or_null(out, "existing_id", existing_id.as_deref().map(|id| words(id, None)).as_deref());
        }
        Fault::StillReferenced { constraint, .. } => json::pair(out, "constraint", constraint),
        Fault::ValidationFailed { field: Some(field), .. } | Fault::InvalidReference { field, .. } => {
            json::pair(out, "field", name_of(entity, field).unwrap_or(field));
        }
        Fault::InvalidMetadata { field: Some(field), .. } => json::pair(out, "field", field),
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
    if let (Some(hint), false) = (hint(fault, entity), matches!(fault, Fault::Sql(_))) {
        json::pair(out, "hint", &hint);
    }
    json::operation(out, operation);
    json::pair(out, "request_id", meta.request_id);
    json::pair(out, "docs_url", &format!("{}/docs/errors#{}", meta.public_url, fault.code()));
    out.push(b'}');
}

/// The hint of a fault, in Relm's names and filter syntax.
fn hint(fault: &Fault, entity: Option<&Entity>) -> Option<String> {
    match fault {
        Fault::Unknown { what, name, nearest: known } => {
            let near = match entity {
                Some(entity) => nearest_name(entity, what, name, known.as_deref()),
                None => known.clone(),
            };
            near.map(|name| format!("Did you mean \"{name}\"?"))
        }
        Fault::FilterTypeMismatch { column, instead, .. } => {
            let name = name_of(entity, column).unwrap_or(column);
            Some(match instead {
                Instead::Equality => format!("Use filter[{name}]=value."),
                Instead::EqualityNotOrder => {
                    format!("It is for numbers, dates and times; use filter[{name}]=value.")
                }
                Instead::EqualityNotText => format!("It is for text; use filter[{name}]=value."),
                Instead::Has => format!("Use filter[{name}][has]=value."),
                Instead::Key => format!("Use filter[{name}->>key]=value."),
                Instead::Distance => "Use POST /v1/sql for distances.".into(),
            })
        }
        Fault::InvalidMetadata { .. } => Some("GET /v1/schema/fields lists the definitions.".into()),
        fault => fault.hint_in(|text| words(text, entity)),
    }
}

/// Returns the name of Relm's that is most similar to an unknown name. `known` is the most similar name in the physical
/// schema.
fn nearest_name(entity: &Entity, what: &str, name: &str, known: Option<&str>) -> Option<String> {
    if let Err(Some(right)) = column_of(Some(entity), name) {
        return Some(right.to_owned());
    }
    let own = known.filter(|known| column_of(Some(entity), known).is_ok());
    if what == "relation" {
        let one = entity.to_one.iter().filter_map(|relation| name_of(Some(entity), relation.key));
        return nearest(name, one.chain(entity.to_many.iter().map(|relation| relation.key)));
    }
    let field = if what == "parameter" { parts(name).map_or(name, |(field, _)| field) } else { name };
    let names = entity
        .columns()
        .filter(|column| what == "parameter" || !READ_ONLY_COLUMNS.contains(&column.name))
        .filter_map(|column| name_of(Some(entity), column.name));
    nearest(field, names.chain(own))
}
