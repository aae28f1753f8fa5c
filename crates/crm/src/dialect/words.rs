//! The names of a dialect in requests, and the form in which ids are stored.

use std::borrow::Cow;

use serde_json::Value;

use crate::dialect::stored_id;
use crate::model::ask::UnknownStage;
use crate::model::fault::Fault;
use crate::model::filter::{Filter, Subject};

/// The names of a dialect in requests.
#[derive(Debug)]
pub struct Words {
    /// The dialect's name.
    pub dialect: &'static str,
    /// Returns the column for a table and a field's name.
    pub column: fn(&str, &str) -> Result<String, UnknownField>,
    /// Returns the filter for a table, a parameter's name and its value.
    pub filter: fn(&str, &str, &str) -> Result<Filter, Fault>,
    /// Returns the possible meanings of a name to sort by, for a table.
    pub sort: fn(&str, &str) -> Result<Vec<Subject>, Fault>,
    /// The parameters that select the related rows of a record. If it is `None`, all related rows are shown.
    pub related: Option<RelatedWords>,
    /// The handling of a deal's stage that does not exist in its pipeline.
    pub unknown_stage: UnknownStage,
}

/// A field that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// The field's name in the request.
    pub name: String,
    /// The most similar known name.
    pub nearest: Option<String>,
}

impl UnknownField {
    /// The fault of a request that has the field.
    pub fn into_fault(self) -> Fault {
        Fault::Unknown { what: "field", name: self.name, nearest: self.nearest }
    }
}

/// The query parameters that select related rows.
#[derive(Debug)]
pub struct RelatedWords {
    /// The names of the parameters.
    pub parameters: &'static [&'static str],
    /// Returns the relation for a table and a name.
    pub relation: fn(&str, &str) -> Result<String, Fault>,
}

/// Converts ids to their stored form, in `…_id` and `…_ids` columns and in the parameters of a saved list's predicate.
pub fn store_ids(column: &str, value: &mut Value) {
    match value {
        Value::String(_) if column.ends_with("_id") => store(value),
        Value::Array(items) if column.ends_with("_ids") || column == "filter_params" => {
            items.iter_mut().for_each(store)
        }
        // Modes of a change have the same values inside.
        Value::Object(members) if column.ends_with("_id") || column.ends_with("_ids") => {
            members.values_mut().for_each(|value| store_ids(column, value));
        }
        _ => {}
    }
}

/// Converts an id to its stored form, and keeps any other value.
pub fn store(value: &mut Value) {
    if let Value::String(text) = value
        && let Cow::Owned(stored) = stored_id(text)
    {
        *text = stored;
    }
}
