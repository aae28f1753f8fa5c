//! Writes records in Relm's format: `{"id", "object", …}` with its names and ids.

use std::ops::Range;

use serde_json::{Map, Value};

use crate::dialect::json;
use crate::dialect::relm::names::{OBJECT, holds_ids, name_of, relm_id};
use crate::model::control::RUN;
use crate::model::entity::{ENTITIES, Entity, by_table};
use crate::model::rows::Rows;

/// The format of the rows of a result. It is computed once for all rows.
pub struct Shape {
    /// The index of the id column and `"id":`, if there is such a column.
    id: Option<(usize, Vec<u8>)>,
    /// The bytes of `"object":"contact"`.
    object: Vec<u8>,
    cells: Vec<CellFormat>,
}

/// The format of a column's cells.
struct CellFormat {
    at: usize,
    /// The bytes of `"title":`.
    key: Vec<u8>,
    kind: CellKind,
}

#[derive(Clone, Copy)]
enum CellKind {
    Plain,
    /// An id, or an array of ids.
    Ids,
    /// The changes in an entry of the activity feed. The number is the index of `subject_type`.
    Changes(usize),
}

impl Shape {
    /// The format of some columns of a result. `entity` is the built-in table; `table` is the name of a custom table.
    pub fn of(entity: Option<&Entity>, table: &str, rows: &Rows, columns: Range<usize>) -> Shape {
        let object = entity.map_or(table, |entity| entity.name);
        let mut shape = Shape { id: None, object: key_of(OBJECT), cells: Vec::with_capacity(columns.len()) };
        json::string(&mut shape.object, object);
        let subject_type = columns.clone().find(|at| &*rows.columns()[*at].name == "subject_type");
        for at in columns {
            let column = &*rows.columns()[at].name;
            let Some(name) = name_of(entity, column) else { continue };
            if name == "id" && shape.id.is_none() {
                shape.id = Some((at, key_of(name)));
                continue;
            }
            // A column of a saved list can have a path: `company.id`.
            let own = column.rsplit('.').next().unwrap_or(column);
            let kind = match (column, subject_type) {
                ("changes", Some(subject)) if entity.is_some_and(|it| it.is_feed) => CellKind::Changes(subject),
                _ if holds_ids(own) => CellKind::Ids,
                // The records that an automation's run made.
                ("actions", _) if table == RUN => CellKind::Ids,
                _ => CellKind::Plain,
            };
            // The score of a search comes after the table's columns and replaces a column of the same name.
            let key = key_of(name);
            shape.cells.retain(|cell| cell.key != key);
            shape.cells.push(CellFormat { at, key, kind });
        }
        shape
    }

    /// Appends the members of a record, without braces.
    pub fn members(&self, out: &mut Vec<u8>, rows: &Rows, row: usize) {
        if let Some((at, key)) = &self.id {
            out.extend_from_slice(key);
            ids(out, rows.cell(row, *at));
            out.push(b',');
        }
        out.extend_from_slice(&self.object);
        for CellFormat { at, key, kind } in &self.cells {
            out.push(b',');
            out.extend_from_slice(key);
            let cell = rows.cell(row, *at);
            match kind {
                CellKind::Plain => out.extend_from_slice(cell),
                CellKind::Ids => ids(out, cell),
                CellKind::Changes(subject) => changes(out, rows.cell(row, *subject), cell),
            }
        }
    }

    /// Appends rows as an array of records.
    pub fn array(&self, out: &mut Vec<u8>, rows: &Rows) {
        out.push(b'[');
        for row in 0..rows.len() {
            out.extend_from_slice(if row > 0 { b",{" } else { b"{" });
            self.members(out, rows, row);
            out.push(b'}');
        }
        out.push(b']');
    }
}

fn key_of(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    json::string(&mut key, name);
    key.push(b':');
    key
}

/// Appends a cell with ids, in Relm's form. Text that is not a stored id stays as it is.
pub fn ids(out: &mut Vec<u8>, cell: &[u8]) {
    let text = std::str::from_utf8(cell).unwrap_or_default();
    match (text.strip_prefix('"').and_then(|text| text.strip_suffix('"')), cell.first()) {
        (Some(id), _) => match relm_id(id) {
            Some((prefix, tail)) => {
                out.push(b'"');
                out.extend_from_slice(prefix.as_bytes());
                out.extend_from_slice(tail.as_bytes());
                out.push(b'"');
            }
            None => out.extend_from_slice(cell),
        },
        (None, Some(b'[')) => {
            let mut value = serde_json::from_slice(cell).unwrap_or(Value::Null);
            rename_ids(&mut value);
            // Writing to a Vec can't fail.
            let _ = serde_json::to_writer(out, &value);
        }
        _ => out.extend_from_slice(cell),
    }
}

/// Appends the changes of a record, with Relm's names of the columns and its form of ids.
fn changes(out: &mut Vec<u8>, subject_type: &[u8], cell: &[u8]) {
    let subject: String = serde_json::from_slice(subject_type).unwrap_or_default();
    let entity = ENTITIES.iter().find(|entity| entity.name == subject);
    let Ok(Value::Object(columns)) = serde_json::from_slice::<Value>(cell) else {
        out.extend_from_slice(cell);
        return;
    };
    let mut renamed = Map::with_capacity(columns.len());
    for (column, mut value) in columns {
        if holds_ids(&column) {
            rename_ids(&mut value);
        }
        renamed.insert(name_of(entity, &column).unwrap_or(&column).to_owned(), value);
    }
    let _ = serde_json::to_writer(out, &renamed);
}

/// Some columns of a table, in Relm's names and form of ids.
pub fn columns(table: &str, row: &Map<String, Value>) -> Map<String, Value> {
    let entity = by_table(table);
    let named = row.iter().filter_map(|(column, value)| {
        let mut value = value.clone();
        if holds_ids(column) {
            rename_ids(&mut value);
        }
        Some((name_of(entity, column)?.to_owned(), value))
    });
    named.collect()
}

/// A row as a record.
pub fn object(table: &str, row: &Map<String, Value>) -> Map<String, Value> {
    let mut columns = columns(table, row);
    let mut record = Map::with_capacity(columns.len() + 1);
    if let Some(id) = columns.remove("id") {
        record.insert("id".into(), id);
    }
    record.insert(OBJECT.into(), by_table(table).map_or(table, |entity| entity.name).into());
    record.extend(columns);
    record
}

pub(super) fn rename_ids(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((prefix, tail)) = relm_id(text) {
                *text = format!("{prefix}{tail}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(rename_ids),
        Value::Object(object) => object.values_mut().for_each(rename_ids),
        _ => {}
    }
}
