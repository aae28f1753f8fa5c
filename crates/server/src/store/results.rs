//! The size of results, and the driver's rows as the model's.

use pg::conn::{Caps, Outcome, Want};

use crm::model::rows::{ResultColumn, Rows};
use crm::sql::Sql;

/// Rows of a result. Further rows are cut off, and the answer says `truncated`.
pub const MAX_RESULT_ROWS: usize = 10_000;
/// Bytes of a result, and of one value, at most.
pub const MAX_RESULT_BYTES: usize = 10 * 1024 * 1024;

/// Bytes of a record with what it refers to, or of what a write gives back, at most. It is more than a body may have, so that what
/// can be sent can be shown.
pub(in crate::store) const MAX_RECORD_BYTES: usize = 4 * MAX_RESULT_BYTES;

/// The caps of every result.
pub const CAPS: Caps =
    Caps { max_rows: MAX_RESULT_ROWS, max_bytes: MAX_RESULT_BYTES, max_value_bytes: MAX_RESULT_BYTES };

/// What is wanted of a statement's rows.
pub(in crate::store) fn wanted(sql: &Sql) -> Want {
    if sql.may_be_cut { Want::Rows } else { Want::Whole { max_bytes: MAX_RECORD_BYTES } }
}

/// The model's rows of an outcome.
pub(in crate::store) fn rows_of(outcome: Outcome) -> Rows {
    let is_cut = outcome.truncated.is_some();
    let mut rows = rows(outcome.rows);
    rows.is_cut = is_cut;
    rows
}

/// The driver's rows as the model's.
pub fn rows(rows: pg::rows::Rows) -> Rows {
    let len = rows.len();
    let (columns, data, ends) = rows.into_parts();
    let columns = columns
        .iter()
        .map(|column| ResultColumn { name: column.name.clone(), type_name: column.type_name.clone() })
        .collect();
    Rows::new(columns, data, ends, len)
}
