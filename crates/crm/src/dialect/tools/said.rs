//! The arguments of a call while they are read, and how its answer is shown.

use serde_json::{Map, Value};

use crate::dialect::Dialect;
use crate::dialect::arguments::Arguments;
use crate::dialect::route::Operation;
use crate::dialect::tools::{Act, Tool};
use crate::model::ask::Ask;
use crate::model::fault::Fault;
use crate::model::value::name_of;

/// How an answer is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// What the call does. A tool for any table may be one for a run, an event, a webhook or an automation.
    pub act: Act,
    /// The table of the records.
    pub table: Option<String>,
    /// The fields to show, in the caller's names. If it is empty, the default fields are shown.
    pub fields: Vec<String>,
    /// Whether all fields are shown.
    pub is_detailed: bool,
    /// The tokens that the answer may have.
    pub max_tokens: usize,
    /// The stage, list or statement that the call names, for the outcome in words.
    pub named: Option<String>,
    /// Whether a deletion is permanent by the caller's wish.
    pub is_hard: bool,
    /// Whether an update names no fields.
    pub is_empty: bool,
    /// The page that the call asks for.
    pub limit: usize,
}

/// The arguments of a call.
pub(super) struct Said<'a> {
    pub(super) tool: &'a Tool,
    pub(super) dialect: &'a Dialect,
    /// The arguments that are not read yet.
    pub(super) values: Map<String, Value>,
}

impl Said<'_> {
    /// Takes a text, or a number as text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Fault> {
        match self.values.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(Fault::invalid(format!("\"{name}\" must be a string, not {}.", name_of(&other)))),
        }
    }

    /// Takes a number as text, or a text that may be a number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<String>, Fault> {
        match self.values.get(name) {
            Some(other @ (Value::Bool(_) | Value::Array(_) | Value::Object(_))) => {
                Err(Fault::invalid(format!("\"{name}\" must be a number, not {}.", name_of(other))))
            }
            _ => self.text(name),
        }
    }

    /// Takes a text that the schema requires.
    pub(super) fn required(&mut self, name: &str) -> Result<String, Fault> {
        let text = self.text(name)?.unwrap_or_default();
        match text.is_empty() {
            true => Err(Fault::invalid(format!("\"{name}\" is empty."))),
            false => Ok(text),
        }
    }

    /// Takes a boolean; false if it is left out.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Fault> {
        match self.values.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(Fault::invalid(format!("\"{name}\" must be true or false, not {}.", name_of(&other)))),
        }
    }

    /// Takes an object; an empty one if it is left out.
    pub(super) fn object(&mut self, name: &str) -> Result<Map<String, Value>, Fault> {
        match self.values.remove(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(other) => Err(Fault::invalid(format!("\"{name}\" must be an object, not {}.", name_of(&other)))),
        }
    }

    /// Reads the arguments that are left as those of an operation.
    pub(super) fn rest(&mut self, operation: Operation<'_>) -> Result<Ask, Fault> {
        let rest = std::mem::take(&mut self.values);
        self.arguments(operation, rest)
    }

    /// Reads arguments as those of an operation.
    pub(super) fn arguments(&self, operation: Operation<'_>, arguments: Map<String, Value>) -> Result<Ask, Fault> {
        (self.dialect.read)(Arguments::named(operation, arguments))
    }
}
