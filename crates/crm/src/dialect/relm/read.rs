//! Reads requests of Relm's dialect.

use crate::dialect::arguments::Arguments;
use crate::dialect::read;
use crate::dialect::relm::NAME;
use crate::dialect::relm::filter::{filter, subjects_to_sort_by};
use crate::dialect::relm::names::column_of;
use crate::dialect::words::{RelatedWords, UnknownField, Words};
use crate::model::ask::{Ask, UnknownStage};
use crate::model::entity::by_table;
use crate::model::fault::Fault;

/// Relm's names in requests.
const WORDS: Words = Words {
    dialect: NAME,
    column,
    filter,
    sort: subjects_to_sort_by,
    related: Some(RELATED),
    unknown_stage: UnknownStage::Refuse,
};

/// A record has related rows only if `?expand=company` names them. `expand[]` is accepted too, and both can be
/// repeated.
const RELATED: RelatedWords = RelatedWords { parameters: &["expand", "expand[]"], relation };

/// Reads an operation's arguments as an ask.
pub fn read(arguments: Arguments<'_>) -> Result<Ask, Fault> {
    read::read(arguments, &WORDS)
}

fn column(table: &str, field: &str) -> Result<String, UnknownField> {
    let known = column_of(by_table(table), field).map(str::to_owned);
    known.map_err(|near| UnknownField { name: field.to_owned(), nearest: near.map(str::to_owned) })
}

fn relation(table: &str, name: &str) -> Result<String, Fault> {
    column(table, name).map_err(|UnknownField { name, nearest }| Fault::Unknown { what: "relation", name, nearest })
}
