//! Reads merges. All dialects have the same names for them, besides those of the fields.

use serde_json::{Map, Value};

use crate::dialect::arguments::Arguments;
use crate::dialect::stored_id;
use crate::dialect::words::{UnknownField, Words};
use crate::model::ask::{Preference, Single};
use crate::model::entity::CUSTOM;
use crate::model::fault::Fault;
use crate::model::value::name_of;

/// Reads a merge: the records that become one, and whose values win.
pub fn read(said: &mut Arguments<'_>, table: &str, id: &str, words: &Words) -> Result<Single, Fault> {
    said.only_options(&[])?;
    said.only_fields(&["from", "prefer"])?;
    let from = match said.fields.remove("from") {
        Some(Value::Array(ids)) => {
            ids.iter().enumerate().map(|(at, it)| name(it, &format!("from[{at}]"))).collect::<Result<Vec<_>, _>>()?
        }
        // One record is a list of one.
        Some(id @ Value::String(_)) => vec![name(&id, "from")?],
        _ => {
            return Err(Fault::invalid_with_hint(
                "\"from\" must be an array of ids: the records that are merged into this one.",
                "Send {\"from\": [\"…\"], \"prefer\": {\"phone\": \"…\"}}.",
            ));
        }
    };
    let prefer = match said.fields.remove("prefer") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(prefer)) => prefer,
        Some(other) => {
            return Err(Fault::invalid_with_hint(
                format!("\"prefer\" must be an object, not {}.", name_of(&other)),
                "Send {\"phone\": \"…\"}: for each field the id of the record whose value wins.",
            ));
        }
    };
    let prefer = prefer.iter().map(|(field, id)| preference(table, field, id, words)).collect::<Result<_, _>>()?;
    Ok(Single::Merge { table: table.into(), id: stored_id(id).into(), from, prefer })
}

/// Reads whose value a field takes: a column, or a key of the free-form one.
fn preference(table: &str, said: &str, id: &Value, words: &Words) -> Result<Preference, Fault> {
    let path = format!("prefer.{said}");
    let unknown = |UnknownField { name: _, nearest }| Fault::Unknown { what: "field", name: path.clone(), nearest };
    let (column, key) = column_and_key(table, said, words).map_err(unknown)?;
    Ok(Preference { said: said.to_owned(), column, key, id: name(id, &path)? })
}

/// The column of a field's name; and the key, if it names one of the free-form column.
pub fn column_and_key(table: &str, said: &str, words: &Words) -> Result<(String, Option<String>), UnknownField> {
    if let Some((head, key)) = said.split_once('.')
        && let Ok(column) = (words.column)(table, head)
        && column == CUSTOM.name
    {
        return Ok((column, Some(key.to_owned())));
    }
    Ok(((words.column)(table, said)?, None))
}

/// The id of a record. A key of a table of the workspace's own can be a number.
fn name(value: &Value, path: &str) -> Result<String, Fault> {
    match value {
        Value::String(id) => Ok(stored_id(id).into_owned()),
        Value::Number(id) => Ok(id.to_string()),
        other => Err(Fault::invalid(format!("\"{path}\" must be the id of a record, not {}.", name_of(other)))),
    }
}
