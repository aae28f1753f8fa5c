//! Values of a PATCH that change a column by what it has: `{"$append": […]}`, `{"$remove": […]}` and `{"$if_empty": …}`. Without them,
//! a list of several values is replaced as a whole.

use serde_json::Value;

use crate::model::catalog::Column;
use crate::model::fault::Fault;
use crate::model::value::TypeKind;
use crate::plan::cell::value_for;

/// How a value changes what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditKind {
    /// Adds items to a list. An item that is there stays where it is.
    Append,
    /// Removes items from a list.
    Remove,
    /// Sets a value where there is none, or an empty one.
    IfEmpty,
}

/// The names of the kinds.
const KINDS: [(&str, EditKind); 3] =
    [("$append", EditKind::Append), ("$remove", EditKind::Remove), ("$if_empty", EditKind::IfEmpty)];

/// A change of a column by what it has.
#[derive(Debug, PartialEq)]
pub struct Edit {
    /// How.
    pub kind: EditKind,
    /// The items, as an array literal of the column's type or as a JSON array; or the value, which may be NULL.
    pub operand: Option<String>,
}

/// A change of one key of a JSON object.
#[derive(Debug, PartialEq)]
pub struct KeyEdit {
    /// The key.
    pub key: String,
    /// How.
    pub kind: EditKind,
    /// The items, as a JSON array, or the value as JSON.
    pub operand: String,
}

/// The kind of the edit that a value asks for, and its operand. Such a value is an object with one key, which names the kind.
pub fn kind_of(value: &Value) -> Option<(EditKind, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (name, operand) = members.iter().next()?;
    KINDS.iter().find(|(known, _)| known == name).map(|(_, kind)| (*kind, operand))
}

/// Reads a change of a column. A single item is a list of one.
pub fn edit(column: &Column, kind: EditKind, operand: &Value) -> Result<Edit, Fault> {
    let is_list = matches!(column.kind, TypeKind::Array(_) | TypeKind::Json);
    let operand = match kind {
        EditKind::IfEmpty => value_for(column, operand)?,
        EditKind::Append | EditKind::Remove if is_list => value_for(column, &items(operand))?,
        EditKind::Append | EditKind::Remove => {
            return Err(Fault::invalid_with_hint(
                format!("\"{}\" ({}) is no list, so nothing is added to it or removed.", column.name, column.type_name),
                "Send the new value itself, or {\"$if_empty\": …}.",
            ));
        }
    };
    Ok(Edit { kind, operand })
}

/// Reads a change of a key of a JSON object.
pub fn key_edit(key: &str, kind: EditKind, operand: &Value) -> KeyEdit {
    let operand = match kind {
        EditKind::IfEmpty => operand.to_string(),
        EditKind::Append | EditKind::Remove => items(operand).to_string(),
    };
    KeyEdit { key: key.to_owned(), kind, operand }
}

fn items(operand: &Value) -> Value {
    match operand {
        Value::Array(items) => Value::Array(items.clone()),
        item => Value::Array(vec![item.clone()]),
    }
}

/// Refuses edits in the values of a record that may be new, because there is nothing to change. They would be stored as they are.
pub fn refuse(name: &str, value: &Value) -> Result<(), Fault> {
    let nested = value.as_object().into_iter().flat_map(|members| members.values());
    match [value].into_iter().chain(nested).any(|value| kind_of(value).is_some()) {
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
        assert_eq!(kind_of(&json!({"$append": ["a"]})), Some((EditKind::Append, &json!(["a"]))));
        assert_eq!(kind_of(&json!({"$if_empty": null})), Some((EditKind::IfEmpty, &Value::Null)));
        for other in [json!({"$append": 1, "b": 2}), json!({"append": 1}), json!(["$append"]), json!({}), json!(7)] {
            assert_eq!(kind_of(&other), None, "{other}");
        }
        assert_eq!(key_edit("tags", EditKind::Append, &json!("a")).operand, "[\"a\"]");
    }
}
