//! The values of columns, converted to the text that PostgreSQL parses.

use serde_json::Value;

use crate::model::catalog::Column;
use crate::model::fault::Fault;
use crate::model::value::{TypeKind, for_column, has_nul};

/// Whether this is the free-form column of a record. It is never NULL.
pub(super) fn is_free_form(column: &Column) -> bool {
    column.name == "custom" && column.kind == TypeKind::Json
}

pub(super) fn value_for(column: &Column, value: &Value) -> Result<Option<String>, Fault> {
    if has_nul(value) {
        return Err(nul(&column.name));
    }
    if is_free_form(column) && !value.is_object() {
        return Err(Fault::invalid(format!("\"{}\" takes a JSON object.", column.name)));
    }
    for_column(value, &column.kind)
        .map_err(|why| Fault::invalid(format!("\"{}\" ({}) {why}.", column.name, column.type_name)))
}

/// The fault of a value with a NUL character.
pub(super) fn nul(column: &str) -> Fault {
    Fault::invalid(format!("\"{column}\" contains a NUL character, which PostgreSQL does not take."))
}
