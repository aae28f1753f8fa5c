//! Reads requests of agentCRM's dialect. Its names are those of the physical schema.

use crate::dialect::agentcrm::NAME;
use crate::dialect::agentcrm::filter::{filter, subjects};
use crate::dialect::arguments::Arguments;
use crate::dialect::read;
use crate::dialect::words::Words;
use crate::model::ask::{Ask, UnknownStage};
use crate::model::fault::Fault;

/// agentCRM's names in requests.
const WORDS: Words = Words {
    dialect: NAME,
    column: |_, field| Ok(field.to_owned()),
    filter: |_, parameter, value| Ok(filter(parameter, value)),
    sort: |_, name| Ok(subjects(name)),
    related: None,
    unknown_stage: UnknownStage::Add,
};

/// Reads an operation's arguments as an ask.
pub fn read(arguments: Arguments<'_>) -> Result<Ask, Fault> {
    read::read(arguments, &WORDS)
}
