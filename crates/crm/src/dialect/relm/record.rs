//! Records in Relm's words: `{"id", "object", …}` with its names and ids.

use std::ops::Range;

use serde_json::{Map, Value};

use crate::dialect::json;
use crate::dialect::relm::names::{OBJECT, holds_ids, name_of, relm_id};
use crate::model::entity::{ENTITIES, Entity};
use crate::model::rows::Rows;

/// How the rows of a result are written: once for all of them.
pub struct Shape {
    /// `"id":`, where there is such a column.
    id: Option<(usize, Vec<u8>)>,
    /// `"object":"contact"`, where the rows are records.
    object: Vec<u8>,
    cells: Vec<Cell>,
}

/// How the cell of a column is written.
struct Cell {
    at: usize,
    /// `"title":`
    key: Vec<u8>,
    kind: CellKind,
}

#[derive(Clone, Copy)]
enum CellKind {
    Plain,
    /// An id or several.
    Ids,
    /// What changed, of an entry in the activity feed; the number is that of the column that says of what kind of record.
    Changes(usize),
}

impl Shape {
    /// The shape of some columns of a result: a built-in table's records, or those of one of the workspace's own by its name.
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
            // A projected column goes by its path: `company.id`.
            let own = column.rsplit('.').next().unwrap_or(column);
            let kind = match (column, subject_type) {
                ("changes", Some(subject)) if entity.is_some_and(|it| it.is_feed) => CellKind::Changes(subject),
                _ if holds_ids(own) => CellKind::Ids,
                _ => CellKind::Plain,
            };
            // What a search adds stands behind the columns, and wins over one of the same name.
            let key = key_of(name);
            shape.cells.retain(|cell| cell.key != key);
            shape.cells.push(Cell { at, key, kind });
        }
        shape
    }

    /// Appends what is between a record's braces.
    pub fn members(&self, out: &mut Vec<u8>, rows: &Rows, row: usize) {
        if let Some((at, key)) = &self.id {
            out.extend_from_slice(key);
            ids(out, rows.cell(row, *at));
            out.push(b',');
        }
        out.extend_from_slice(&self.object);
        for Cell { at, key, kind } in &self.cells {
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

/// Appends a cell that holds ids, in Relm's form. What is no stored id stays as it is.
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
            // Writing into a Vec can't fail.
            let _ = serde_json::to_writer(out, &value);
        }
        _ => out.extend_from_slice(cell),
    }
}

/// Appends what changed of a record: the columns by Relm's names, the ids in its form.
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

fn rename_ids(value: &mut Value) {
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
