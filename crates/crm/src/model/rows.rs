//! The rows of a result. Their cells are JSON texts in one flat buffer.

use std::sync::Arc;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// The name, as PostgreSQL returns it.
    pub name: Arc<str>,
    /// The type, as `format_type` writes it: `timestamp with time zone`, `citext`, `integer[]`.
    pub type_name: Arc<str>,
}

/// Rows of cells, each a JSON text.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    columns: Arc<[ResultColumn]>,
    data: Vec<u8>,
    /// The end of each cell in `data`, row by row.
    ends: Vec<u32>,
    len: usize,
    /// Whether a limit cut the rows.
    pub is_cut: bool,
}

impl Rows {
    /// Creates rows from their parts. `ends` has one entry for each cell.
    pub fn new(columns: Arc<[ResultColumn]>, data: Vec<u8>, ends: Vec<u32>, len: usize) -> Rows {
        debug_assert_eq!(ends.len(), columns.len() * len);
        Rows { columns, data, ends, len, is_cut: false }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    /// The JSON text of a cell. A cell that does not exist is `null`: SQL of the workspace's decides which rows a statement returns.
    pub fn cell(&self, row: usize, column: usize) -> &[u8] {
        let at = row * self.columns.len() + column;
        let end = |at: usize| self.ends.get(at).map(|end| *end as usize);
        let start = at.checked_sub(1).map_or(Some(0), end);
        start.zip(end(at)).and_then(|(start, end)| self.data.get(start..end)).unwrap_or(b"null")
    }

    /// The JSON text of a cell, by its column's name. Returns `None` if the row or the column does not exist.
    pub fn named(&self, row: usize, column: &str) -> Option<&[u8]> {
        if row >= self.len {
            return None;
        }
        let at = self.columns.iter().position(|it| *it.name == *column)?;
        Some(self.cell(row, at))
    }

    /// The length of all JSON texts in bytes, for the size of a buffer.
    pub fn data_len(&self) -> usize {
        self.data.len()
    }

    /// Keeps only the first `len` rows.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
            self.ends.truncate(len * self.columns.len());
            self.data.truncate(self.ends.last().map_or(0, |end| *end as usize));
        }
    }

    /// The rows from `start` on, without those before.
    pub fn starting_at(&self, start: usize) -> Rows {
        let start = start.min(self.len);
        let cells = start * self.columns.len();
        let skipped = cells.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        Rows {
            columns: self.columns.clone(),
            data: self.data[skipped as usize..].to_vec(),
            ends: self.ends[cells..].iter().map(|end| end - skipped).collect(),
            len: self.len - start,
            is_cut: self.is_cut,
        }
    }

    /// The same rows with only these columns, in this order. `write` writes each cell: the column's index and the JSON text.
    pub fn rewritten(&self, columns: &[usize], write: impl Fn(&mut Vec<u8>, usize, &[u8])) -> Rows {
        let kept: Vec<ResultColumn> = columns.iter().map(|at| self.columns[*at].clone()).collect();
        let mut data = Vec::new();
        let mut ends = Vec::with_capacity(columns.len() * self.len);
        for row in 0..self.len {
            for at in columns {
                write(&mut data, *at, self.cell(row, *at));
                ends.push(data.len() as u32);
            }
        }
        Rows { columns: kept.into(), data, ends, len: self.len, is_cut: self.is_cut }
    }

    /// A cell as text that PostgreSQL can parse: the content of a JSON string, otherwise the JSON text. NULL is `None`.
    pub fn reread(&self, row: usize, column: usize) -> Option<String> {
        let cell = self.cell(row, column);
        if cell == b"null" {
            return None;
        }
        let text = serde_json::from_slice::<String>(cell);
        Some(text.unwrap_or_else(|_| String::from_utf8_lossy(cell).into_owned()))
    }

    /// A cell's JSON string, decoded. Any other value is `None`.
    pub fn string(&self, row: usize, column: &str) -> Option<String> {
        serde_json::from_slice(self.named(row, column)?).ok()
    }
}
