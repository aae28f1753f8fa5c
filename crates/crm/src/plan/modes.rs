//! Values of a PATCH that change a column by what it has: `{"$append": […]}`, `{"$remove": […]}` and `{"$if_empty": …}`. Without them,
//! a list of several values is replaced as a whole.

use serde_json::Value;

use crate::model::catalog::Column;
use crate::model::fault::Fault;
use crate::model::value::TypeKind;
use crate::plan::cell::value_for;

/// How a value changes what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Adds items to a list. An item that is there stays where it is.
    Append,
    /// Removes items from a list.
    Remove,
    /// Sets a value where there is none, or an empty one.
    IfEmpty,
}

/// The keys of the modes.
const MODES: [(&str, Mode); 3] = [("$append", Mode::Append), ("$remove", Mode::Remove), ("$if_empty", Mode::IfEmpty)];

/// A change of a column by what it has.
#[derive(Debug, PartialEq)]
pub struct Edit {
    /// How.
    pub mode: Mode,
    /// The items, as an array literal of the column's type or as a JSON array; or the value, which may be NULL.
    pub operand: Option<String>,
}

/// A change of one key of a JSON object.
#[derive(Debug, PartialEq)]
pub struct KeyEdit {
    /// The key.
    pub key: String,
    /// How.
    pub mode: Mode,
    /// The items, as a JSON array, or the value as JSON.
    pub operand: String,
}

/// The mode of a value and its operand, if it has one: it is an object with one key, which names a mode.
pub fn mode_of(value: &Value) -> Option<(Mode, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (name, operand) = members.iter().next()?;
    MODES.iter().find(|(known, _)| known == name).map(|(_, mode)| (*mode, operand))
}

/// Reads a change of a column. A single item is a list of one.
pub fn edit(column: &Column, mode: Mode, operand: &Value) -> Result<Edit, Fault> {
    let is_list = matches!(column.kind, TypeKind::Array(_) | TypeKind::Json);
    let operand = match mode {
        Mode::IfEmpty => value_for(column, operand)?,
        Mode::Append | Mode::Remove if is_list => value_for(column, &items(operand))?,
        Mode::Append | Mode::Remove => {
            return Err(Fault::invalid_with_hint(
                format!("\"{}\" ({}) is no list, so nothing is added to it or removed.", column.name, column.type_name),
                "Send the new value itself, or {\"$if_empty\": …}.",
            ));
        }
    };
    Ok(Edit { mode, operand })
}

/// Reads a change of a key of a JSON object.
pub fn key_edit(key: &str, mode: Mode, operand: &Value) -> KeyEdit {
    let operand = match mode {
        Mode::IfEmpty => operand.to_string(),
        Mode::Append | Mode::Remove => items(operand).to_string(),
    };
    KeyEdit { key: key.to_owned(), mode, operand }
}

fn items(operand: &Value) -> Value {
    match operand {
        Value::Array(items) => Value::Array(items.clone()),
        item => Value::Array(vec![item.clone()]),
    }
}

/// Refuses modes in the values of a record that may be new, because there is nothing to change. They would be stored as they are.
pub fn refuse(name: &str, value: &Value) -> Result<(), Fault> {
    let nested = value.as_object().into_iter().flat_map(|members| members.values());
    match [value].into_iter().chain(nested).any(|value| mode_of(value).is_some()) {
        false => Ok(()),
        true => Err(Fault::invalid_with_hint(
            format!("\"{name}\": $append, $remove and $if_empty are for changes of one record that exists."),
            "Send the value itself, or PATCH the record.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mode_is_the_only_key_of_an_object() {
        assert_eq!(mode_of(&json!({"$append": ["a"]})), Some((Mode::Append, &json!(["a"]))));
        assert_eq!(mode_of(&json!({"$if_empty": null})), Some((Mode::IfEmpty, &Value::Null)));
        for other in [json!({"$append": 1, "b": 2}), json!({"append": 1}), json!(["$append"]), json!({}), json!(7)] {
            assert_eq!(mode_of(&other), None, "{other}");
        }
        assert_eq!(key_edit("tags", Mode::Append, &json!("a")).operand, "[\"a\"]");
    }
}
