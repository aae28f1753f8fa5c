//! Reads a batch of operations. Each operation is read as an ask only when its turn comes, by the functions that read a request,
//! because it can refer to the records of earlier ones.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::dialect::arguments::Arguments;
use crate::dialect::route::is_for_operations;
use crate::model::ask::Ask;
use crate::model::call::{Method, parse_path, parse_query};
use crate::model::fault::{Fault, OperationFault, nearest};
use crate::model::operation::{ESCAPE, MAX_OPERATIONS, MAX_REF_CHARACTERS, Operation, is_ref};
use crate::model::value::name_of;

/// The members of an operation.
const MEMBERS: &[&str] = &["method", "path", "body", "ref"];

/// The form of a batch, for hints.
const FORM: &str =
    "Send {\"operations\": [{\"method\": \"POST\", \"path\": \"/v1/companies\", \"body\": {…}, \"ref\": \"co\"}, …]}.";

/// Reads the body of a batch.
pub fn read(said: &mut Arguments<'_>) -> Result<Ask, Fault> {
    said.only_options(&[])?;
    said.only_fields(&["operations"])?;
    let Some(Value::Array(written)) = said.fields.remove("operations") else {
        return Err(Fault::invalid_with_hint("\"operations\" must be an array of operations.", FORM));
    };
    if written.is_empty() {
        return Err(Fault::invalid_with_hint("A batch has at least one operation.", FORM));
    }
    if written.len() > MAX_OPERATIONS {
        return Err(Fault::Refused {
            code: "batch_too_large",
            message: format!("A batch has at most {MAX_OPERATIONS} operations; this one has {}.", written.len()),
            hint: Some("Send several batches.".into()),
        });
    }
    let mut operations = Vec::with_capacity(written.len());
    for (index, value) in written.into_iter().enumerate() {
        let name = value.get("ref").and_then(Value::as_str).map(str::to_owned);
        operations.push(operation(value).map_err(|fault| at(index, name, fault))?);
    }
    check_refs(&operations)?;
    Ok(Ask::Operations(operations))
}

/// The fault of an operation that could not be read.
fn at(index: usize, name: Option<String>, fault: Fault) -> Fault {
    Fault::InOperation(Box::new(OperationFault { index, name, table: None, fault }))
}

fn operation(value: Value) -> Result<Operation, Fault> {
    let Value::Object(mut members) = value else {
        return Err(Fault::invalid_with_hint(format!("An operation is an object, not {}.", name_of(&value)), FORM));
    };
    if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(Fault::unknown_field(unknown, MEMBERS.iter().copied()));
    }
    let (path, query) = address(&mut members)?;
    Ok(Operation {
        method: method(&mut members)?,
        path,
        query,
        name: name(&mut members)?,
        body: members.remove("body"),
    })
}

fn method(members: &mut Map<String, Value>) -> Result<Method, Fault> {
    let written = members.remove("method");
    let text = written.as_ref().and_then(Value::as_str);
    let method = text.and_then(|text| Method::ALL.into_iter().find(|method| method.name() == text));
    method.ok_or_else(|| {
        let names = Method::ALL.map(Method::name).join(", ");
        Fault::invalid(format!("An operation's \"method\" is one of {names}."))
    })
}

/// The path below `/v1`, and the query.
type Address = (Vec<String>, Vec<(String, String)>);

fn address(members: &mut Map<String, Value>) -> Result<Address, Fault> {
    let Some(Value::String(address)) = members.remove("path") else {
        return Err(Fault::invalid_with_hint("An operation's \"path\" is a text such as \"/v1/contacts\".", FORM));
    };
    let (path, query) = address.split_once('?').unwrap_or((&address, ""));
    let below = path
        .strip_prefix("/v1/")
        .ok_or_else(|| Fault::invalid(format!("An operation's \"path\" begins with /v1/, and \"{path}\" does not.")))?;
    Ok((parse_path(below)?, parse_query(query)?))
}

fn name(members: &mut Map<String, Value>) -> Result<Option<String>, Fault> {
    match members.remove("ref") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if is_ref(&name) => Ok(Some(name)),
        Some(_) => Err(Fault::invalid(format!(
            "A \"ref\" is a text of 1 to {MAX_REF_CHARACTERS} characters without dots, dollar signs and white space."
        ))),
    }
}

/// Each ref is used once, and each reference names an earlier operation.
fn check_refs(operations: &[Operation]) -> Result<(), Fault> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (index, operation) in operations.iter().enumerate() {
        let Some(name) = &operation.name else { continue };
        if let Some(first) = places.insert(name, index) {
            let message = format!("The ref \"{name}\" is that of operation {first} already.");
            return Err(at(index, operation.name.clone(), Fault::invalid(message)));
        }
    }
    for (index, operation) in operations.iter().enumerate() {
        let check = &mut |reference: crate::model::operation::Reference<'_>| {
            let (name, field) = (reference.name, reference.field);
            let message = match places.get(name) {
                Some(place) if *place < index => return Ok(()),
                Some(place) if *place == index => format!("\"${name}.{field}\" refers to its own operation."),
                Some(place) => format!("\"${name}.{field}\" refers to operation {place}, which runs later."),
                None => format!("\"${name}.{field}\" refers to \"{name}\", and no operation has this ref."),
            };
            let earlier = operations[..index].iter().filter_map(|it| it.name.as_deref());
            let near = nearest(name, earlier).filter(|_| !places.contains_key(name));
            let hint = match near {
                Some(near) => format!("Did you mean \"${near}.{field}\"? {ESCAPE}"),
                None => ESCAPE.to_owned(),
            };
            Err(Fault::invalid_with_hint(message, hint))
        };
        operation.references(check).map_err(|fault| at(index, operation.name.clone(), fault))?;
    }
    Ok(())
}

/// Refuses a path that is not for a batch: another batch, an undo, and what is about people, keys and the workspace itself.
pub fn check_path(path: &[&str]) -> Result<(), Fault> {
    // The first segments of other undos are not for operations.
    if matches!(path, ["activity", _, "undo"]) {
        return Err(Fault::invalid_with_hint(
            "An undo can't be an operation of a batch, because it is a run of its own.",
            "Send it as a request of its own.",
        ));
    }
    match path.first() {
        Some(&"batch") => Err(Fault::invalid_with_hint(
            "A batch can't be an operation of a batch.",
            "Put its operations into this one.",
        )),
        Some(first) if !is_for_operations(first) => Err(Fault::invalid_with_hint(
            format!(
                "/v1/{first} can't be an operation of a batch: a batch reads and writes the workspace's tables only."
            ),
            "Send it as a request of its own.",
        )),
        _ => Ok(()),
    }
}
