//! Arguments of tools.

use serde_json::{Value, json};

/// An argument of a tool.
#[derive(Debug)]
pub struct Argument {
    /// The name.
    pub name: String,
    /// The schema of its value.
    pub schema: Value,
    /// Whether a call must have it.
    pub is_required: bool,
}

/// An argument that a call can leave out.
pub fn optional(name: impl Into<String>, schema: Value) -> Argument {
    Argument { name: name.into(), schema, is_required: false }
}

/// An argument that a call must have.
pub fn required(name: impl Into<String>, schema: Value) -> Argument {
    Argument { name: name.into(), schema, is_required: true }
}

/// The schema of a text, with a description if there is one.
pub fn text(about: &str) -> Value {
    match about.is_empty() {
        true => json!({"type": "string"}),
        false => json!({"type": "string", "description": about}),
    }
}
