//! The size limits of results, and the conversion of the driver's rows to the model's.

use pg::conn::{Caps, Outcome, Want};

use crm::model::rows::{ResultColumn, Rows};
use crm::sql::Sql;

/// The most rows of a result. Further rows are cut off, and the answer says `truncated`.
pub const MAX_RESULT_ROWS: usize = 10_000;
/// The most bytes of a result, and of one value.
pub const MAX_RESULT_BYTES: usize = 10 * 1024 * 1024;

/// The most bytes of a record with its references, or of the rows that a write returns. It is more than a body may have, so that
/// every record that can be sent can also be returned.
pub(in crate::store) const MAX_RECORD_BYTES: usize = 4 * MAX_RESULT_BYTES;

/// The caps of every result.
pub const CAPS: Caps =
    Caps { max_rows: MAX_RESULT_ROWS, max_bytes: MAX_RESULT_BYTES, max_value_bytes: MAX_RESULT_BYTES };

/// The rows to return of a statement.
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
