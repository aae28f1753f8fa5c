//! The operations of a batch: requests that run in order in one transaction. A string `$ref.field` in one stands for a field of
//! an earlier one's record, so an operation can be read only after those before it have run.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::call::Method;
use crate::model::fault::Fault;
use crate::model::json;

/// Maximum number of operations in a batch.
pub const MAX_OPERATIONS: usize = 100;

/// Maximum length of a ref, in characters.
pub const MAX_REF_CHARACTERS: usize = 100;

/// Maximum number of bytes that references insert into one operation. Without a limit, a long value that is named often would
/// take any amount of memory.
pub const MAX_INSERTED_BYTES: usize = 1024 * 1024;

/// An operation, in the names of the caller's dialect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The method.
    pub method: Method,
    /// The path below `/v1`, split at slashes and percent-decoded.
    pub path: Vec<String>,
    /// The query parameters, percent-decoded.
    pub query: Vec<(String, String)>,
    /// The body, if there is one.
    pub body: Option<Value>,
    /// The name by which later operations refer to the record.
    pub name: Option<String>,
}

/// The meaning of a whole string in an operation.
#[derive(Debug, PartialEq, Eq)]
enum OperationText<'a> {
    /// The string itself.
    Plain,
    /// The string without its first `$`: `$$5.00` is `$5.00`.
    Escaped(&'a str),
    /// A field of another operation's record.
    Reference(Reference<'a>),
}

/// A field of another operation's record: `$name.field`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// The ref of the other operation.
    pub name: &'a str,
    /// The field.
    pub field: &'a str,
}

/// Whether a text can be a ref: not empty, not too long, and without the characters that end a ref in a reference.
pub fn is_ref(text: &str) -> bool {
    (1..=MAX_REF_CHARACTERS).contains(&text.chars().count())
        && text.chars().all(|it| !matches!(it, '.' | '$') && !it.is_whitespace() && !it.is_control())
}

/// A reference is one word, so that prose that begins with a price stays as it is.
fn parse(text: &str) -> OperationText<'_> {
    let Some(rest) = text.strip_prefix('$') else { return OperationText::Plain };
    if rest.starts_with('$') {
        return OperationText::Escaped(rest);
    }
    match rest.split_once('.') {
        Some((name, field)) if is_ref(name) && !field.is_empty() && !field.contains(char::is_whitespace) => {
            OperationText::Reference(Reference { name, field })
        }
        _ => OperationText::Plain,
    }
}

impl Operation {
    /// Calls a function with each reference in the path and the body, in order.
    pub fn references<'a>(&'a self, each: &mut impl FnMut(Reference<'a>) -> Result<(), Fault>) -> Result<(), Fault> {
        for segment in &self.path {
            if let OperationText::Reference(reference) = parse(segment) {
                each(reference)?;
            }
        }
        self.body.as_ref().map_or(Ok(()), |body| references(body, each))
    }

    /// Returns the operation with the values of its references.
    pub fn filled(&self, records: &Records) -> Result<Operation, Fault> {
        let mut filled = self.clone();
        let mut room = MAX_INSERTED_BYTES;
        for segment in &mut filled.path {
            *segment = match parse(segment) {
                OperationText::Plain => continue,
                OperationText::Escaped(text) => text.to_owned(),
                OperationText::Reference(reference) => segment_of(records.value(reference, &mut room)?, reference)?,
            };
        }
        if let Some(body) = &mut filled.body {
            fill(body, records, &mut room)?;
        }
        Ok(filled)
    }
}

fn references<'a>(value: &'a Value, each: &mut impl FnMut(Reference<'a>) -> Result<(), Fault>) -> Result<(), Fault> {
    match value {
        Value::String(text) => match parse(text) {
            OperationText::Reference(reference) => each(reference),
            OperationText::Plain | OperationText::Escaped(_) => Ok(()),
        },
        Value::Array(items) => items.iter().try_for_each(|item| references(item, each)),
        Value::Object(members) => members.values().try_for_each(|member| references(member, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn fill(value: &mut Value, records: &Records, room: &mut usize) -> Result<(), Fault> {
    match value {
        Value::String(text) => {
            let found = match parse(text) {
                OperationText::Plain => return Ok(()),
                OperationText::Escaped(text) => Value::String(text.to_owned()),
                OperationText::Reference(reference) => records.value(reference, room)?,
            };
            *value = found;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill(item, records, room)),
        Value::Object(members) => members.values_mut().try_for_each(|member| fill(member, records, room)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// A segment of a path is text. A value without an obvious text is refused there.
fn segment_of(value: Value, reference: Reference<'_>) -> Result<String, Fault> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        other => {
            let found = crate::model::value::name_of(&other);
            return Err(Fault::invalid(format!("{} is {found} and can't be a part of a path.", written(reference))));
        }
    };
    if text.is_empty() {
        return Err(Fault::invalid(format!("{} is empty and can't be a part of a path.", written(reference))));
    }
    Ok(text)
}

fn written(reference: Reference<'_>) -> String {
    format!("\"${}.{}\"", reference.name, reference.field)
}

/// The fields of the records that later operations refer to.
#[derive(Debug, Default)]
pub struct Records {
    /// For each ref, its fields.
    wanted: HashMap<String, HashMap<String, ReferencedField>>,
    /// The number of bytes of the fields that are kept.
    bytes: usize,
}

/// A field to which a reference refers.
#[derive(Debug, Default)]
enum ReferencedField {
    /// The operation has not run.
    #[default]
    Open,
    /// The JSON text of the field.
    Found(String),
    /// The field is longer than a reference may insert.
    TooLong,
    /// The record has no such field. It has these.
    Missing(Vec<String>),
    /// The answer has no record.
    NoRecord,
}

impl Records {
    /// The fields to which these operations refer. None of the operations has run.
    pub fn wanted(operations: &[Operation]) -> Records {
        let mut records = Records::default();
        for operation in operations {
            let _ = operation.references(&mut |reference| {
                let fields = records.wanted.entry(reference.name.to_owned()).or_default();
                fields.entry(reference.field.to_owned()).or_default();
                Ok(())
            });
        }
        records
    }

    /// Whether anything refers to this ref.
    pub fn want(&self, name: &str) -> bool {
        self.wanted.contains_key(name)
    }

    /// The number of bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps the fields of a record to which later operations refer. `record` is a JSON object, or `None` if the answer has no
    /// record.
    pub fn keep(&mut self, name: &str, record: Option<&[u8]>) -> Result<(), Fault> {
        let Some(fields) = self.wanted.get_mut(name) else { return Ok(()) };
        let Some(record) = record else {
            fields.values_mut().for_each(|field| *field = ReferencedField::NoRecord);
            return Ok(());
        };
        let found: HashMap<String, &serde_json::value::RawValue> =
            serde_json::from_slice(record).map_err(|error| Fault::internal(format!("a record's JSON: {error}")))?;
        let mut names: Vec<String> = Vec::new();
        for (field, kept) in fields {
            *kept = match found.get(field) {
                Some(value) if value.get().len() > MAX_INSERTED_BYTES => ReferencedField::TooLong,
                Some(value) => {
                    self.bytes += value.get().len();
                    ReferencedField::Found(value.get().to_owned())
                }
                None => {
                    if names.is_empty() {
                        names = found.keys().cloned().collect();
                        names.sort_unstable();
                    }
                    ReferencedField::Missing(names.clone())
                }
            };
        }
        Ok(())
    }

    fn value(&self, reference: Reference<'_>, room: &mut usize) -> Result<Value, Fault> {
        let field = self.wanted.get(reference.name).and_then(|fields| fields.get(reference.field));
        match field.unwrap_or(&ReferencedField::Open) {
            ReferencedField::Found(text) => {
                *room = room.checked_sub(text.len()).ok_or_else(too_long)?;
                json::parse(text.as_bytes()).map_err(|error| Fault::internal(format!("a field's JSON: {error}")))
            }
            ReferencedField::TooLong => Err(too_long()),
            ReferencedField::Missing(names) => {
                let message = format!(
                    "{}: the record of \"{}\" has no field \"{}\".",
                    written(reference),
                    reference.name,
                    reference.field
                );
                let near = crate::model::fault::nearest(reference.field, names.iter().map(String::as_str));
                let near = near.map(|name| format!("Did you mean \"${}.{name}\"?", reference.name));
                Err(Fault::Invalid { message, hint: near.or_else(|| Some(ESCAPE.into())) })
            }
            ReferencedField::NoRecord => Err(Fault::invalid_with_hint(
                format!("{}: the answer to \"{}\" has no single record.", written(reference), reference.name),
                "Refer to an operation that answers with one record, or to one of POST /v1/sql with at least one row.",
            )),
            ReferencedField::Open => Err(Fault::internal("a reference to an operation that has not run")),
        }
    }
}

/// The hint for a text that was not meant as a reference.
pub const ESCAPE: &str =
    "\"$name.field\" is a reference. For the text itself, write two dollar signs: \"$$5.00\" is \"$5.00\".";

fn too_long() -> Fault {
    Fault::Refused {
        code: "payload_too_large",
        message: format!("The references insert more than {MAX_INSERTED_BYTES} bytes into the operation."),
        hint: Some("Copy long values with POST /v1/sql.".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_is_a_whole_word() {
        let reference = |name, field| OperationText::Reference(Reference { name, field });
        for (text, expected) in [
            ("$co.id", reference("co", "id")),
            ("$会社-1.first.name", reference("会社-1", "first.name")),
            ("$5.00", reference("5", "00")),
            ("$q.?column?", reference("q", "?column?")),
            ("$co", OperationText::Plain),
            ("$", OperationText::Plain),
            ("", OperationText::Plain),
            ("$100", OperationText::Plain),
            ("$.store", OperationText::Plain),
            ("$co.", OperationText::Plain),
            ("a $co.id", OperationText::Plain),
            ("$co.id ", OperationText::Plain),
            ("$5.00 off, today only", OperationText::Plain),
            ("$a b.c", OperationText::Plain),
            ("$1$a.b", OperationText::Plain),
            ("$$", OperationText::Escaped("$")),
            ("$$5.00", OperationText::Escaped("$5.00")),
            ("$$$co.id", OperationText::Escaped("$$co.id")),
            ("DO $$ begin end $$", OperationText::Plain),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    fn operation(path: &[&str], body: Value) -> Operation {
        Operation {
            method: Method::Post,
            path: path.iter().map(|it| (*it).to_owned()).collect(),
            query: Vec::new(),
            body: Some(body),
            name: None,
        }
    }

    #[test]
    fn references_are_filled_at_any_depth() {
        let wants = operation(
            &["$t.table", "$t.n"],
            json!({"$t.x": ["$t.object", {"a": "$$5.00", "b": "$t.null"}], "c": "$t"}),
        );
        let mut records = Records::wanted(std::slice::from_ref(&wants));
        records
            .keep(
                "t",
                Some(br#"{"table": "deals", "n": 12345678901234567890.10, "object": {"$t.n": "$t.n"}, "null": null}"#),
            )
            .unwrap();
        let filled = wants.filled(&records).unwrap();
        assert_eq!(filled.path, ["deals", "12345678901234567890.10"]);
        let expected = json!({"$t.x": [{"$t.n": "$t.n"}, {"a": "$5.00", "b": null}], "c": "$t"});
        assert_eq!(filled.body, Some(expected), "what was inserted is not read again");
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let refused = |path: &[&str], body: Value, record: Option<&[u8]>| {
            let wants = operation(path, body);
            let mut records = Records::wanted(std::slice::from_ref(&wants));
            records.keep("t", record).unwrap();
            let fault = wants.filled(&records).unwrap_err();
            (fault.status(), fault.message(), fault.hint().unwrap_or_default())
        };
        let (status, message, hint) = refused(&[], json!("$t.nmae"), Some(br#"{"name": 1}"#));
        assert_eq!((status, hint.as_str()), (400, "Did you mean \"$t.name\"?"), "{message}");
        assert_eq!(refused(&[], json!("$t.id"), None).0, 400);
        assert_eq!(refused(&["$t.id"], json!(1), Some(br#"{"id": null}"#)).0, 400);
        assert_eq!(refused(&["$t.id"], json!(1), Some(br#"{"id": ""}"#)).0, 400);
    }

    #[test]
    fn references_insert_only_so_much() {
        let long = format!("{{\"x\": \"{}\"}}", "x".repeat(MAX_INSERTED_BYTES / 4));
        for (times, fits) in [(3, true), (5, false)] {
            let wants = operation(&[], json!(vec!["$t.x"; times]));
            let mut records = Records::wanted(std::slice::from_ref(&wants));
            records.keep("t", Some(long.as_bytes())).unwrap();
            let filled = wants.filled(&records);
            assert_eq!(filled.map_err(|fault| fault.status()).map(drop), if fits { Ok(()) } else { Err(413) });
        }
        let wants = operation(&[], json!("$t.x"));
        let mut records = Records::wanted(std::slice::from_ref(&wants));
        records.keep("t", Some(format!("[\"{}\"]", "x").as_bytes())).unwrap_err();
        records.keep("t", Some(format!("{{\"x\": \"{}\"}}", "x".repeat(MAX_INSERTED_BYTES)).as_bytes())).unwrap();
        assert_eq!(wants.filled(&records).unwrap_err().status(), 413);
    }
}
