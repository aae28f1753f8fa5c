//! Requests of agentCRM's dialect as asks. Its names are the physical schema's.

use crate::dialect::agentcrm::filter::filter;
use crate::dialect::arguments::Arguments;
use crate::dialect::read::{self, Words};
use crate::model::ask::{Ask, UnknownStage};
use crate::model::fault::Fault;

/// agentCRM's words.
const WORDS: Words = Words {
    column: |_, field| Ok(field.to_owned()),
    filter: |_, parameter, value| Ok(filter(parameter, value)),
    related: None,
    unknown_stage: UnknownStage::Add,
};

/// Reads an operation's arguments.
pub fn read(arguments: Arguments<'_>) -> Result<Ask, Fault> {
    read::read(arguments, &WORDS)
}
