//! Writes JSON as bytes. The cells of rows are JSON texts already.

use serde_json::Value;

use crate::dialect::route::RESERVED;
use crate::model::answer::{EventPage, OperationAnswer, SqlResult};
use crate::model::event::{Event, EventSource};
use crate::model::fault::OperationFault;
use crate::model::rows::Rows;

/// Appends a JSON string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec can't fail, and a str is always valid JSON.
    let _ = serde_json::to_writer(out, text);
}

/// Appends a value.
pub fn write(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Writing to a Vec can't fail.
    let _ = serde_json::to_writer(out, value);
}

/// Appends `"key":`. A comma comes before it, except at the start of an object.
pub fn key(out: &mut Vec<u8>, name: &str) {
    if !matches!(out.last(), Some(b'{')) {
        out.push(b',');
    }
    string(out, name);
    out.push(b':');
}

/// Appends `"key":"text"`.
pub fn pair(out: &mut Vec<u8>, name: &str, text: &str) {
    key(out, name);
    string(out, text);
}

/// Appends `"key":"text"` or `"key":null`.
pub fn pair_or_null(out: &mut Vec<u8>, name: &str, text: Option<&str>) {
    key(out, name);
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends `"key":true` or `"key":false`.
pub fn flag(out: &mut Vec<u8>, name: &str, value: bool) {
    key(out, name);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends events as an array.
pub fn events(out: &mut Vec<u8>, page: &EventPage, show: impl Fn(&Event, EventSource<'_>) -> Value) {
    out.push(b'[');
    for (at, (event, _)) in page.events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let _ = serde_json::to_writer(&mut *out, &show(event, page.source()));
    }
    out.push(b']');
}

/// The keys of some columns, as they are written before each cell: `"email":`.
pub fn keys(rows: &Rows, columns: std::ops::Range<usize>, name: impl Fn(&str) -> &str) -> Vec<Vec<u8>> {
    rows.columns()[columns]
        .iter()
        .map(|column| {
            let mut out = Vec::with_capacity(column.name.len() + 4);
            string(&mut out, name(&column.name));
            out.push(b':');
            out
        })
        .collect()
}

/// Appends the cells of a row, beginning at the column `start`, with their keys and without braces.
fn cells(out: &mut Vec<u8>, rows: &Rows, row: usize, start: usize, keys: &[Vec<u8>]) {
    for (at, key) in keys.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        out.extend_from_slice(rows.cell(row, start + at));
    }
}

/// Appends some cells of a row as `"name":cell`. A comma comes before the first one, except at the start of an object.
pub fn members(
    out: &mut Vec<u8>,
    rows: &Rows,
    row: usize,
    columns: std::ops::Range<usize>,
    name: impl Fn(&str) -> &str,
) {
    for at in columns {
        key(out, name(&rows.columns()[at].name));
        out.extend_from_slice(rows.cell(row, at));
    }
}

/// A row as an object, in the names of its columns.
pub fn row(rows: &Rows, row: usize) -> Vec<u8> {
    let mut out = vec![b'{'];
    members(&mut out, rows, row, 0..rows.columns().len(), |name| name);
    out.push(b'}');
    out
}

/// Appends the workspace's tables as an array. `kind` is the member that each has in the dialect, if there is one. A table under a
/// reserved name has `reserved`, because no path leads to it.
pub fn tables(out: &mut Vec<u8>, rows: &Rows, kind: Option<(&str, &str)>) {
    out.push(b'[');
    for row in 0..rows.len() {
        out.extend_from_slice(if row > 0 { b",{" } else { b"{" });
        if let Some((name, kind)) = kind {
            pair(out, name, kind);
        }
        members(out, rows, row, 0..rows.columns().len(), |name| name);
        if rows.string(row, "name").is_some_and(|name| RESERVED.contains(&name.as_str())) {
            key(out, "reserved");
            out.extend_from_slice(b"true");
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// Appends the answers of a batch of operations as an array. Their bodies are JSON already.
pub fn operations(out: &mut Vec<u8>, answers: &[OperationAnswer]) {
    out.push(b'[');
    for (at, answer) in answers.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",{" } else { b"{" });
        if let Some(name) = &answer.name {
            pair(out, "ref", name);
        }
        key(out, "status");
        out.extend_from_slice(answer.status.to_string().as_bytes());
        key(out, "body");
        out.extend_from_slice(&answer.body);
        out.push(b'}');
    }
    out.push(b']');
}

/// The approximate size of the answers of a batch of operations in bytes.
pub fn size_of_operations(answers: &[OperationAnswer]) -> usize {
    answers.iter().map(|answer| answer.body.len() + 160).sum()
}

/// Appends `operation` and `ref` to the members of a fault.
pub fn operation(out: &mut Vec<u8>, at: Option<&OperationFault>) {
    let Some(at) = at else { return };
    key(out, "operation");
    out.extend_from_slice(at.index.to_string().as_bytes());
    if let Some(name) = &at.name {
        pair(out, "ref", name);
    }
}

/// Appends rows as an array of objects. `keys` belong to the columns from the first one on.
pub fn array(out: &mut Vec<u8>, rows: &Rows, keys: &[Vec<u8>]) {
    out.push(b'[');
    for row in 0..rows.len() {
        out.extend_from_slice(if row > 0 { b",{" } else { b"{" });
        cells(out, rows, row, 0, keys);
        out.push(b'}');
    }
    out.push(b']');
}

/// Appends the members of a raw SQL result, without braces.
pub fn sql_members(out: &mut Vec<u8>, result: &SqlResult) {
    out.extend_from_slice(b"\"columns\":[");
    for (at, column) in result.rows.columns().iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",{" } else { b"{" });
        pair(out, "name", &column.name);
        pair(out, "type", &column.type_name);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"rows\":");
    array(out, &result.rows, &keys(&result.rows, 0..result.rows.columns().len(), |name| name));
    out.extend_from_slice(format!(",\"rowCount\":{}", result.row_count).as_bytes());
    pair(out, "command", &result.command);
}
