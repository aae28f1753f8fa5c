//! Fuzzy search. Functions of the database find and rank the records (migrations/workspace/0010_search.sql).

use crate::model::catalog::Table;
use crate::model::value::array_of_texts;
use crate::plan::search::Search;
use crate::plan::search_all::{Hit, SearchAll};
use crate::sql::{Label, Sql};

/// Selects the records and their scores, best first.
pub fn search(search: &Search<'_>) -> Sql {
    let mut sql = Sql::new("SELECT t.*, s.score FROM kith.search(").cuttable();
    sql.bind(Some(search.table.name.clone()), Label::Own).push(", ");
    sql.bind(Some(search.words.clone()), Label::Own).push(", ");
    sql.bind(Some(search.part.wanted().to_string()), Label::Own).push(") AS s JOIN ");
    sql.table(&search.table.name).push(" AS t ON t.id = s.id ORDER BY s.score DESC, t.id DESC OFFSET ");
    sql.number(search.part.offset);
    sql
}

/// Selects the matching records of all tables, best first: the table, the id and the score.
pub fn all(search: &SearchAll) -> Sql {
    let mut sql = Sql::new("SELECT s.relation, s.id, s.score FROM kith.search_all(");
    sql.bind(Some(search.words.clone()), Label::Own).push(", ");
    sql.bind(Some(search.part.wanted().to_string()), Label::Own).push(") AS s");
    sql
}

/// Selects the records of one table that were found, with their scores.
pub fn records(table: &Table, hits: &[Hit]) -> Sql {
    let (ids, scores): (Vec<String>, Vec<String>) = hits.iter().map(|hit| (hit.id.clone(), hit.score.clone())).unzip();
    let mut sql = Sql::new("SELECT t.*, s.score FROM unnest(").cuttable();
    sql.bind(Some(array_of_texts(&ids)), Label::Own).push("::text[], ");
    sql.bind(Some(array_of_texts(&scores)), Label::Own).push("::real[]) AS s(id, score) JOIN ");
    sql.table(&table.name).push(" AS t ON t.id = s.id");
    sql
}
