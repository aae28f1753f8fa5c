//! Fuzzy search in one table: typos, accents and parts of words are found, the best first.

use crate::model::answer::Answer;
use crate::model::catalog::Table;
use crate::model::entity::ENTITIES;
use crate::model::fault::Fault;
use crate::model::rows::Rows;
use crate::plan::{Outcome, has_columns, one};

/// Records that some words find.
#[derive(Debug)]
pub struct Search<'a> {
    /// The table.
    pub table: &'a Table,
    /// The words. What is beyond 200 characters or 12 words is left out of account by the database.
    pub words: String,
    /// Records at most.
    pub limit: usize,
}

/// Plans a search.
pub fn plan<'a>(table: &'a Table, words: &str, limit: usize) -> Result<Search<'a>, Fault> {
    if !table.entity().is_some_and(|entity| entity.searchable) {
        let searchable = ENTITIES.iter().filter(|entity| entity.searchable).map(|entity| entity.table);
        return Err(Fault::invalid_with_hint(
            format!("\"{}\" has no search.", table.name),
            format!(
                "Search is for {}; filter other tables, or use POST /v1/sql.",
                searchable.collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    if words.trim().is_empty() {
        return Err(Fault::invalid_with_hint("Search needs words.", "Add ?q=words."));
    }
    Ok(Search { table, words: words.to_owned(), limit })
}

impl Search<'_> {
    pub(super) fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        let rows = one(results)?;
        if !has_columns(&rows, 0, self.table) || rows.columns().len() != self.table.columns.len() + 1 {
            return Ok(Outcome::CatalogIsOld);
        }
        let (entity, width, limit) = (self.table.entity(), rows.columns().len(), self.limit);
        Ok(Outcome::Answer(Answer::Page { entity, table: None, rows, width, next_cursor: None, limit }))
    }
}
