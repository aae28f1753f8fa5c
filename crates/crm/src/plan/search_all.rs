//! Search in several tables. The first step finds the ids of the records, the second one reads the records.

use crate::model::answer::Found;
use crate::model::catalog::{Catalog, Table};
use crate::model::entity::{ENTITIES, Entity};
use crate::model::fault::Fault;
use crate::model::page::PageAsk;
use crate::model::rows::Rows;
use crate::plan::search::Part;

/// A plan that searches several tables.
#[derive(Debug)]
pub struct SearchAll {
    /// The search words.
    pub words: String,
    /// The page of the results.
    pub part: Part,
}

/// A record that the search found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The record's table.
    pub table: &'static Entity,
    /// The record's id.
    pub id: String,
    /// The score, as JSON.
    pub score: String,
}

/// A table, and the hits in it.
pub type InTable<'a> = (&'a Table, &'static Entity, Vec<Hit>);

/// Plans a search. Refuses empty search words.
pub fn plan(words: &str, page: &PageAsk) -> Result<SearchAll, Fault> {
    if words.trim().is_empty() {
        return Err(Fault::invalid_with_hint("Search needs words.", "Add ?q=words."));
    }
    Ok(SearchAll { words: words.to_owned(), part: Part::plan("", words, page)? })
}

impl SearchAll {
    /// The hits of this page, and the cursor of the next page, if there is one.
    pub fn page(&self, mut hits: Vec<Hit>) -> (Vec<Hit>, Option<String>) {
        let mut hits = hits.split_off(self.part.offset.min(hits.len()));
        let next_cursor = (hits.len() > self.part.limit).then(|| self.part.cursor_behind(self.part.limit));
        hits.truncate(self.part.limit);
        (hits, next_cursor)
    }
}

/// Reads the hits from the rows, best first.
pub fn hits(rows: &Rows) -> Vec<Hit> {
    (0..rows.len())
        .filter_map(|row| {
            let name = rows.string(row, "relation")?;
            let table = ENTITIES.iter().find(|entity| entity.table == name)?;
            let score = String::from_utf8_lossy(rows.named(row, "score")?).into_owned();
            Some(Hit { table, id: rows.string(row, "id")?, score })
        })
        .collect()
}

/// The tables with hits, and the hits in each.
pub fn by_table<'a>(hits: &[Hit], catalog: &'a Catalog) -> Result<Vec<InTable<'a>>, Fault> {
    let mut all = Vec::new();
    for entity in ENTITIES.iter().filter(|entity| entity.searched_together) {
        let of_table = hits.iter().filter(|hit| hit.table.table == entity.table);
        let hits: Vec<Hit> = of_table.cloned().collect();
        if !hits.is_empty() {
            all.push((catalog.table(entity.table)?, entity, hits));
        }
    }
    Ok(all)
}

/// Sorts the records by their hits. A record that was deleted in the meantime is left out.
pub fn found(hits: &[Hit], tables: Vec<(&'static Entity, Rows)>, next_cursor: Option<String>, limit: usize) -> Found {
    let place = |hit: &Hit| {
        let table = tables.iter().position(|(entity, _)| entity.table == hit.table.table)?;
        let rows = &tables[table].1;
        let row = (0..rows.len()).find(|row| rows.string(*row, "id").is_some_and(|id| id == hit.id))?;
        Some((table, row))
    };
    let order = hits.iter().filter_map(place).collect();
    Found { tables, order, next_cursor, limit }
}
