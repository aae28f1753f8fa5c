//! Fuzzy search in one table. It finds typos, accents and parts of words, best matches first.

use crate::model::answer::Answer;
use crate::model::catalog::Table;
use crate::model::entity::ENTITIES;
use crate::model::fault::Fault;
use crate::model::page::{Cursor, PageAsk, scope};
use crate::model::rows::Rows;
use crate::plan::list::MAX_PAGE_BYTES;
use crate::plan::{Outcome, has_columns, one};

/// A plan that searches a table.
#[derive(Debug)]
pub struct Search<'a> {
    /// The table to search.
    pub table: &'a Table,
    /// The search words. The database ignores text after 200 characters or 12 words.
    pub words: String,
    /// The page of the results.
    pub part: Part,
}

/// Maximum number of records that a search finds, over all pages.
const MOST: usize = 200;

/// A page of search results, by its offset, because the results are sorted by score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The number of results before the page.
    pub offset: usize,
    /// Maximum number of results.
    pub limit: usize,
    /// The hash of the search, for its cursors.
    scope: u64,
}

impl Part {
    /// Reads a page of a search for these words. `of` distinguishes searches of different tables.
    pub fn plan(of: &str, words: &str, page: &PageAsk) -> Result<Part, Fault> {
        let scope = scope(["search", of, words].into_iter());
        let offset = match &page.cursor {
            None => 0,
            Some(text) => {
                let offset = Cursor::decode(text, scope, 1)?.keys.into_iter().next().flatten();
                let offset = offset.and_then(|text| text.parse().ok()).filter(|offset| *offset <= MOST);
                offset.ok_or(Fault::InvalidCursor)?
            }
        };
        Ok(Part { offset, limit: page.limit, scope })
    }

    /// The number of results to request. It includes one result after the page.
    pub fn wanted(&self) -> usize {
        (self.offset + self.limit + 1).min(MOST)
    }

    /// The cursor of the next page, if this page has shown so many results.
    pub fn cursor_behind(&self, shown: usize) -> String {
        Cursor { scope: self.scope, keys: vec![Some((self.offset + shown).to_string())] }.encode()
    }
}

/// Plans a search. Refuses tables without a search and empty search words.
pub fn plan<'a>(table: &'a Table, words: &str, page: &PageAsk) -> Result<Search<'a>, Fault> {
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
    let part = Part::plan(&table.name, words, page)?;
    Ok(Search { table, words: words.to_owned(), part })
}

impl Search<'_> {
    pub(super) fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        let mut rows = one(results)?;
        if !has_columns(&rows, 0, self.table) || rows.columns().len() != self.table.columns.len() + 1 {
            return Ok(Outcome::CatalogIsOld);
        }
        if rows.is_empty() && rows.is_cut {
            return Err(Fault::ResultTooLarge { limit: MAX_PAGE_BYTES });
        }
        let limit = self.part.limit;
        let more = rows.len() > limit || rows.is_cut;
        rows.truncate(limit);
        let next_cursor = more.then(|| self.part.cursor_behind(rows.len()));
        let (entity, width) = (self.table.entity(), rows.columns().len());
        Ok(Outcome::Answer(Answer::Page { entity, table: None, rows, width, next_cursor, limit }))
    }
}
