//! Reads assertions of a record. All dialects have the same names for them, besides those of the fields.

use serde_json::{Map, Value};

use crate::dialect::arguments::Arguments;
use crate::dialect::merge::column_and_key;
use crate::dialect::words::{UnknownField, Words, store_ids};
use crate::model::ask::Steps;
use crate::model::fault::Fault;
use crate::model::filter::{Filter, Op, Reading, Subject};
use crate::model::value::name_of;

/// Reads an assertion: the fields by which a record is found, and its values.
pub fn read(said: &mut Arguments<'_>, table: &str, words: &Words) -> Result<Steps, Fault> {
    said.only_options(&[])?;
    said.only_fields(&["match", "data"])?;
    let names: Option<Vec<String>> = match said.fields.remove("match") {
        Some(Value::Array(names)) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        Some(Value::String(name)) => Some(vec![name]),
        _ => None,
    };
    let names = names.filter(|names| !names.is_empty()).ok_or_else(|| {
        Fault::invalid_with_hint(
            "\"match\" must be an array of field names: those by which the record is found.",
            "Send {\"match\": [\"email\"], \"data\": {…}}.",
        )
    })?;
    let Some(Value::Object(fields)) = said.fields.remove("data") else {
        return Err(Fault::invalid_with_hint(
            "\"data\" must be an object: the fields of the record.",
            "Send {\"match\": [\"email\"], \"data\": {…}}.",
        ));
    };
    let mut values = Map::with_capacity(fields.len());
    for (name, mut value) in fields {
        let column = (words.column)(table, &name).map_err(UnknownField::into_fault)?;
        store_ids(&column, &mut value);
        values.insert(column, value);
    }
    let matching = names.iter().map(|name| condition(table, name, &values, words)).collect::<Result<_, _>>()?;
    Ok(Steps::Assert { table: table.into(), matching, values, unknown_stage: words.unknown_stage })
}

/// The condition that a record has the value of the request.
fn condition(table: &str, name: &str, values: &Map<String, Value>, words: &Words) -> Result<Filter, Fault> {
    let (column, key) = column_and_key(table, name, words).map_err(UnknownField::into_fault)?;
    let value = match (&key, values.get(&column)) {
        (None, value) => value,
        (Some(key), value) => value.and_then(|object| object.get(key)),
    };
    let text = match value {
        Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        None | Some(Value::Null | Value::String(_)) => {
            return Err(Fault::invalid_with_hint(
                format!("\"{name}\" is in \"match\", so \"data\" must have a value for it."),
                "Match by fields that have a value, or create the record.",
            ));
        }
        Some(other) => {
            return Err(Fault::invalid(format!("\"{name}\" can't be matched by {}.", name_of(other))));
        }
    };
    let subject = match key {
        None => Subject::Column(column),
        Some(key) => Subject::Key { column, key },
    };
    Ok(Filter { parameter: name.to_owned(), readings: vec![Reading { subject, op: Op::Eq, values: vec![text] }] })
}
