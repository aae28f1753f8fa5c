//! Rows as one flat buffer, in the form in which they are sent to the client. No row or cell has an allocation of its own.

use std::str::FromStr;
use std::sync::Arc;

use crate::error::Error;
use crate::types::Type;

/// Marks an end in [`Rows`] whose cell is NULL (`Format::Text` only).
pub const NULL_MARK: u32 = 1 << 31;

/// A column of a result.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name, which is not necessarily unique within a result.
    pub name: Arc<str>,
    /// The type's OID. For a domain the server reports the base type's OID.
    pub type_oid: u32,
    /// The type as `format_type` writes it: `timestamp with time zone`, `citext`, `integer[]`.
    pub type_name: Arc<str>,
    /// The table that it comes from. 0 for an expression.
    pub table_oid: u32,
    /// Its number in that table. 0 for an expression.
    pub attnum: i16,
    /// True if the text form is not enough for [`crate::value::render`]: for an anonymous record (`row(1, 'a')` has no names
    /// and no types), `anyarray`, a type with its own cast to json, and an array or composite that contains one of them.
    /// Select `to_jsonb(column)` instead.
    pub is_anonymous_record: bool,
    /// How it is rendered.
    pub(crate) kind: Arc<Type>,
}

impl Column {
    pub(crate) fn new(name: String, kind: Arc<Type>, table_oid: u32, attnum: i16) -> Column {
        Column {
            name: name.into(),
            type_oid: kind.oid,
            type_name: kind.name.as_str().into(),
            table_oid,
            attnum,
            is_anonymous_record: kind.is_opaque(),
            kind,
        }
    }
}

/// The rows of one statement.
///
/// `data` holds the cells of all rows one after the other, as JSON text or as the server's text, depending on the requested
/// `Format`. `ends` holds the end of each cell. A NULL is `null` in JSON; in text form it is an empty cell whose end has
/// [`NULL_MARK`] set.
#[derive(Clone, Debug)]
pub struct Rows {
    columns: Arc<[Column]>,
    data: Vec<u8>,
    ends: Vec<u32>,
    /// Stored separately, because a result may have rows but no columns (`select from t`).
    len: usize,
}

impl Rows {
    pub(crate) fn new(columns: Arc<[Column]>) -> Rows {
        Rows { columns, data: Vec::new(), ends: Vec::new(), len: 0 }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The columns, even if there are no rows.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// A cell's bytes. Empty for a NULL in text form, and for a cell that does not exist.
    pub fn cell(&self, row: usize, col: usize) -> &[u8] {
        match self.index(row, col) {
            Some(index) => &self.data[self.start(index)..self.end(index)],
            None => b"",
        }
    }

    /// A cell as text. `None` for NULL (in text form) and for a cell that does not exist.
    pub fn text(&self, row: usize, col: usize) -> Option<&str> {
        let index = self.index(row, col)?;
        if self.ends[index] & NULL_MARK != 0 {
            return None;
        }
        std::str::from_utf8(self.cell(row, col)).ok()
    }

    /// A cell by its column's name, parsed as `T`. NULL is an error; use [`Rows::text`] for cells that can be NULL.
    pub fn get<T: FromStr>(&self, row: usize, name: &str) -> Result<T, Error> {
        let col = self.columns.iter().position(|column| *column.name == *name);
        let text = col.and_then(|col| self.text(row, col));
        let text = text.ok_or_else(|| unreadable(name, "is missing or NULL"))?;
        text.parse().map_err(|_| unreadable(name, "does not read as asked for"))
    }

    /// The parts from which an answer is written: columns, data, ends.
    pub fn into_parts(self) -> (Arc<[Column]>, Vec<u8>, Vec<u32>) {
        (self.columns, self.data, self.ends)
    }

    fn index(&self, row: usize, col: usize) -> Option<usize> {
        let inside = row < self.len && col < self.columns.len();
        inside.then(|| row * self.columns.len() + col)
    }

    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.end(index - 1) }
    }

    fn end(&self, index: usize) -> usize {
        (self.ends[index] & !NULL_MARK) as usize
    }

    /// A column's type, and the buffer to append its cell to.
    pub(crate) fn kind_and_data(&mut self, col: usize) -> (&Type, &mut Vec<u8>) {
        (&self.columns[col].kind, &mut self.data)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Ends the cell that was just appended to the buffer.
    pub(crate) fn end_cell(&mut self, null: bool) {
        let mark = if null { NULL_MARK } else { 0 };
        self.ends.push(self.data.len() as u32 | mark);
    }

    /// Ends the row after its last cell has ended.
    pub(crate) fn end_row(&mut self) {
        self.len += 1;
    }

    /// Removes everything appended after the last complete row.
    pub(crate) fn drop_partial_row(&mut self) {
        self.ends.truncate(self.len * self.columns.len());
        let end = self.ends.last().map_or(0, |end| end & !NULL_MARK);
        self.data.truncate(end as usize);
    }
}

fn unreadable(name: &str, what: &str) -> Error {
    Error::Protocol(format!("column {name} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TypeCache;

    fn columns(names: &[&str]) -> Arc<[Column]> {
        let text = TypeCache::default().get(25).unwrap();
        let column = |name: &&str| Column::new(name.to_string(), text.clone(), 0, 0);
        names.iter().map(column).collect()
    }

    #[test]
    fn cells_nulls_and_a_dropped_row() {
        let mut rows = Rows::new(columns(&["id", "name"]));
        rows.kind_and_data(0).1.extend_from_slice(b"17");
        rows.end_cell(false);
        rows.end_cell(true);
        rows.end_row();
        rows.kind_and_data(0).1.extend_from_slice(b"half");
        rows.end_cell(false);
        rows.drop_partial_row();

        assert_eq!(rows.len(), 1);
        assert_eq!(rows.get::<i64>(0, "id").unwrap(), 17);
        assert_eq!(rows.text(0, 1), None);
        assert!(rows.get::<String>(0, "name").is_err());
        assert!(rows.get::<String>(0, "absent").is_err());
        assert_eq!((rows.cell(0, 0), rows.cell(1, 0), rows.cell(0, 2)), (&b"17"[..], &b""[..], &b""[..]));
        assert_eq!(rows.into_parts().2, [2, 2 | NULL_MARK]);
    }
}
