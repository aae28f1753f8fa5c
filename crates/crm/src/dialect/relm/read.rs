//! Requests of Relm's dialect as asks.

use crate::dialect::arguments::Arguments;
use crate::dialect::read::{self, RelatedWords, UnknownField, Words};
use crate::dialect::relm::filter::filter;
use crate::dialect::relm::names::column_of;
use crate::model::ask::{Ask, UnknownStage};
use crate::model::entity::by_table;
use crate::model::fault::Fault;

/// Relm's words.
const WORDS: Words = Words { column, filter, related: Some(RELATED), unknown_stage: UnknownStage::Refuse };

/// Records come bare; `?expand=company`, or `?expand[]=company` as often as need be, shows what they refer to.
const RELATED: RelatedWords = RelatedWords { parameters: &["expand", "expand[]"], relation };

/// Reads an operation's arguments.
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
