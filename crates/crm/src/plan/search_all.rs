//! Search in all tables that people look for records in: first which records, then the records.

use crate::model::answer::Found;
use crate::model::catalog::{Catalog, Table};
use crate::model::entity::{ENTITIES, Entity};
use crate::model::fault::Fault;
use crate::model::page::PageAsk;
use crate::model::rows::Rows;
use crate::plan::search::Part;

/// A search in all of them.
#[derive(Debug)]
pub struct SearchAll {
    /// The words.
    pub words: String,
    /// Which of the records.
    pub part: Part,
}

/// A record that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Its table.
    pub table: &'static Entity,
    /// Its id.
    pub id: String,
    /// How well it fits, as JSON.
    pub score: String,
}

/// The hits in one table.
pub type InTable<'a> = (&'a Table, &'static Entity, Vec<Hit>);

/// Plans a search.
pub fn plan(words: &str, page: &PageAsk) -> Result<SearchAll, Fault> {
    if words.trim().is_empty() {
        return Err(Fault::invalid_with_hint("Search needs words.", "Add ?q=words."));
    }
    Ok(SearchAll { words: words.to_owned(), part: Part::plan("", words, page)? })
}

impl SearchAll {
    /// The hits of this page, and the cursor of the next one, if there is one.
    pub fn page(&self, mut hits: Vec<Hit>) -> (Vec<Hit>, Option<String>) {
        let mut hits = hits.split_off(self.part.offset.min(hits.len()));
        let next_cursor = (hits.len() > self.part.limit).then(|| self.part.cursor_behind(self.part.limit));
        hits.truncate(self.part.limit);
        (hits, next_cursor)
    }
}

/// Reads which records were found, the best first.
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

/// The tables in which something was found, and the ids found there with their scores.
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

/// The records in the order of the hits; one that went in the meantime is left out.
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
