//! A request's body as a form: known fields, each of them text. It may hold a password, so it is never printed.

use serde_json::{Map, Value};

use crm::model::call::Call;
use crm::model::fault::Fault;
use crm::model::value::name_of;

/// The fields that were sent.
pub struct Form(Map<String, Value>);

impl Form {
    /// Reads a call's body; a field that is not among the known ones is refused.
    pub fn read(call: &Call<'_>, known: &[&str]) -> Result<Form, Fault> {
        call.only_parameters(&[])?;
        let body = call.object()?;
        match body.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(Form(body)),
            Some(unknown) => Err(Fault::unknown_field(unknown, known.iter().copied())),
        }
    }

    /// A field's text, if it was sent.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Fault> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(Fault::invalid(format!("\"{name}\" takes text without the character U+0000.")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Fault::invalid(format!("\"{name}\" takes text, not {}.", name_of(other)))),
        }
    }

    /// A field's text, which has to be there.
    pub fn required(&self, name: &str) -> Result<&str, Fault> {
        self.text(name)?.ok_or_else(|| Fault::invalid(format!("\"{name}\" is missing.")))
    }
}
