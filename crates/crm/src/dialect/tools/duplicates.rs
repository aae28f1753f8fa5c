//! Records that a new one may repeat: those of the same name. A model that is told does not make a second one.

use serde_json::{Value, json};

use crate::dialect::Dialect;
use crate::model::answer::Answer;
use crate::model::ask::{Ask, Single};
use crate::model::naming::called;
use crate::model::page::PageAsk;

/// The tables whose records have names of their own, and the columns of the name.
const NAMED: &[(&str, &[&str])] = &[("contacts", &["first_name", "last_name"]), ("companies", &["name"])];
/// The hits of a search among which records of the same name are.
const MOST_HITS: usize = 10;
/// The most records that are shown.
const MOST_SHOWN: usize = 3;

/// The ask that finds records that a new one may repeat; `None` if its name says too little.
pub fn search_for(ask: &Ask) -> Option<Ask> {
    let (table, name) = new_name(ask)?;
    let page = PageAsk { limit: MOST_HITS, cursor: None };
    Some(Single::Search { table: table.to_owned(), words: name, page }.into())
}

/// The table and the whole name of a new record.
fn new_name(ask: &Ask) -> Option<(&'static str, String)> {
    let Ask::Single(Single::Create { table, values, .. }) = ask else { return None };
    let (table, columns) = NAMED.iter().find(|(named, _)| named == table)?;
    let parts: Option<Vec<&str>> = columns
        .iter()
        .map(|column| values.get(*column)?.as_str().map(str::trim).filter(|part| !part.is_empty()))
        .collect();
    Some((table, parts?.join(" ")))
}

/// The records of an answer to the search that have the new one's name: their ids and what people call them.
pub fn of_same_name(ask: &Ask, answer: &Answer, dialect: &Dialect) -> Vec<Value> {
    let (Some((table, name)), Answer::Page { rows, .. }) = (new_name(ask), answer) else { return Vec::new() };
    let columns = NAMED.iter().find(|(named, _)| *named == table).map_or(&[][..], |it| it.1);
    let wanted = name.to_lowercase();
    let same = (0..rows.len()).filter(|row| {
        let parts: Vec<String> = columns.iter().filter_map(|column| rows.string(*row, column)).collect();
        parts.join(" ").split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase() == wanted
    });
    let shown = same.take(MOST_SHOWN).filter_map(|row| {
        let mut id: Value = rows.string(row, "id")?.into();
        (dialect.change_words.ids)("id", &mut id);
        Some(json!({"id": id, "name": called(|column| rows.string(row, column))}))
    });
    shown.collect()
}
