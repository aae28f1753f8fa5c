//! Requests of Relm's dialect as asks.

use crate::dialect::read::{self, Words};
use crate::dialect::relm::filter::filter;
use crate::dialect::relm::names::{column_of, entity_of};
use crate::model::ask::{Ask, UnknownStage};
use crate::model::call::Call;
use crate::model::fault::Fault;

/// Relm's words.
const WORDS: Words = Words { column, filter, unknown_stage: UnknownStage::Refuse };

/// Reads a call.
pub fn read(call: &Call<'_>) -> Result<Ask, Fault> {
    read::read(call, &WORDS)
}

fn column(table: &str, field: &str) -> Result<String, Fault> {
    column_of(entity_of(table), field).map(str::to_owned).map_err(|near| Fault::Unknown {
        what: "field",
        name: field.to_owned(),
        nearest: near.map(str::to_owned),
    })
}
