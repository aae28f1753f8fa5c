//! Requests of Relm's dialect as asks.

use crate::dialect::read::{self, RelatedWords, Words};
use crate::dialect::relm::filter::filter;
use crate::dialect::relm::names::column_of;
use crate::model::ask::{Ask, UnknownStage};
use crate::model::call::Call;
use crate::model::entity::by_table;
use crate::model::fault::Fault;

/// Relm's words.
const WORDS: Words = Words { column, filter, related: Some(RELATED), unknown_stage: UnknownStage::Refuse };

/// Records come bare; `?expand=company`, or `?expand[]=company` as often as need be, shows what they refer to.
const RELATED: RelatedWords =
    RelatedWords { parameters: &["expand", "expand[]"], relation: |table, name| named("relation", table, name) };

/// Reads a call.
pub fn read(call: &Call<'_>) -> Result<Ask, Fault> {
    read::read(call, &WORDS)
}

fn column(table: &str, field: &str) -> Result<String, Fault> {
    named("field", table, field)
}

fn named(what: &'static str, table: &str, name: &str) -> Result<String, Fault> {
    column_of(by_table(table), name).map(str::to_owned).map_err(|near| Fault::Unknown {
        what,
        name: name.to_owned(),
        nearest: near.map(str::to_owned),
    })
}
