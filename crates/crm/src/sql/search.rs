//! Fuzzy search: the database's own function finds and ranks (migrations/workspace/0002_search.sql).

use crate::plan::search::Search;
use crate::sql::{Label, Sql};

/// The records and their scores, the best first.
pub fn search(search: &Search<'_>) -> Sql {
    let mut sql = Sql::new("SELECT t.*, s.score FROM kith.search(");
    sql.bind(Some(search.table.name.clone()), Label::Own).push(", ");
    sql.bind(Some(search.words.clone()), Label::Own).push(", ");
    sql.bind(Some(search.limit.to_string()), Label::Own).push(") AS s JOIN ");
    sql.table(&search.table.name).push(" AS t ON t.id = s.id ORDER BY s.score DESC, t.id DESC");
    sql
}
