//! Rows of the control database, read column by column. If a column is missing or has another type, the statement is wrong, so
//! the result is an internal fault.

use std::str::FromStr;

use pg::rows::Rows;

use crm::model::fault::Fault;

/// The result of a statement in the control database.
pub struct ControlRows(pub(super) Rows);

/// One row of a result.
#[derive(Clone, Copy)]
pub struct ControlRow<'a> {
    rows: &'a Rows,
    at: usize,
}

impl ControlRows {
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first row, parsed by `read`; `None` if there are no rows.
    pub fn first<T>(&self, read: impl FnOnce(ControlRow<'_>) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
        if self.is_empty() { Ok(None) } else { read(self.row(0)).map(Some) }
    }

    /// The only row of a statement that always returns one.
    #[track_caller]
    pub fn only(&self) -> Result<ControlRow<'_>, Fault> {
        if self.is_empty() { Err(Fault::internal("a statement returned no row")) } else { Ok(self.row(0)) }
    }

    /// All rows, parsed by `read`.
    pub fn all<C: FromIterator<T>, T>(&self, read: impl Fn(ControlRow<'_>) -> Result<T, Fault>) -> Result<C, Fault> {
        (0..self.0.len()).map(|at| read(self.row(at))).collect()
    }

    fn row(&self, at: usize) -> ControlRow<'_> {
        ControlRow { rows: &self.0, at }
    }
}

impl ControlRow<'_> {
    /// A column that is not NULL.
    #[track_caller]
    pub fn get<T: FromStr>(&self, name: &str) -> Result<T, Fault> {
        match self.rows.get(self.at, name) {
            Ok(value) => Ok(value),
            Err(error) => Err(Fault::internal(error)),
        }
    }

    /// A column that may be NULL.
    #[track_caller]
    pub fn optional<T: FromStr>(&self, name: &str) -> Result<Option<T>, Fault> {
        let column = self.rows.columns().iter().position(|column| *column.name == *name);
        match column.and_then(|column| self.rows.text(self.at, column)) {
            Some(_) => self.get(name).map(Some),
            None => Ok(None),
        }
    }

    /// A boolean column that is not NULL.
    #[track_caller]
    pub fn is(&self, name: &str) -> Result<bool, Fault> {
        self.get::<String>(name).map(|text| text == "t")
    }
}

/// A column of type `bytea` that is not NULL.
#[track_caller]
pub(super) fn bytes(row: ControlRow<'_>, name: &str) -> Result<Vec<u8>, Fault> {
    optional_bytes(row, name)?.ok_or_else(|| Fault::internal(format!("{name} is NULL")))
}

/// A column of type `bytea`.
#[track_caller]
pub(super) fn optional_bytes(row: ControlRow<'_>, name: &str) -> Result<Option<Vec<u8>>, Fault> {
    let Some(text) = row.optional::<String>(name)? else { return Ok(None) };
    let digits = text.strip_prefix("\\x").map(str::as_bytes).unwrap_or_default();
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes = digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>();
    bytes.map(Some).ok_or_else(|| Fault::internal(format!("{name} is not hexadecimal")))
}
