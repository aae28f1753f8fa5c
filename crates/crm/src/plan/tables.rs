//! The plan for the list of tables. The statement returns all of them, built-in ones first, and the answer is a page of them.

use crate::model::answer::Answer;
use crate::model::fault::Fault;
use crate::model::page::{Cursor, PageAsk, scope};
use crate::model::rows::Rows;

/// The columns by which tables are ordered. `builtin` comes before `custom`.
const ORDER: [&str; 2] = ["kind", "name"];

/// A page of the list of tables.
#[derive(Debug)]
pub struct TablePage {
    limit: usize,
    /// The kind and the name of the last table of the page before.
    after: Option<Vec<Option<String>>>,
}

/// Plans a page.
pub fn plan(page: &PageAsk) -> Result<TablePage, Fault> {
    let after = page.cursor.as_deref().map(|text| Cursor::decode(text, of_tables(), ORDER.len())).transpose()?;
    Ok(TablePage { limit: page.limit, after: after.map(|cursor| cursor.keys) })
}

fn of_tables() -> u64 {
    scope(["GET /v1/tables"].into_iter())
}

/// The answer from all tables.
pub(super) fn answer(page: Option<&TablePage>, rows: Rows) -> Answer {
    let Some(page) = page else {
        let limit = rows.len();
        return Answer::Tables { rows, next_cursor: None, limit };
    };
    let keys = |rows: &Rows, row: usize| ORDER.map(|column| rows.string(row, column)).to_vec();
    let start =
        page.after.as_ref().map_or(0, |after| (0..rows.len()).filter(|row| keys(&rows, *row) <= *after).count());
    let mut rows = rows.starting_at(start);
    let has_more = rows.len() > page.limit;
    rows.truncate(page.limit);
    let next_cursor =
        has_more.then(|| Cursor { scope: of_tables(), keys: keys(&rows, rows.len().saturating_sub(1)) }.encode());
    Answer::Tables { rows, next_cursor, limit: page.limit }
}
