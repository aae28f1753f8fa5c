//! An operation with named arguments. Reading a request has two steps. The first step turns an HTTP call into an
//! operation; a call of a tool is one already. The second step (`dialect::read`) turns the operation into an ask, by
//! the names of a dialect.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::dialect::encoding;
use crate::dialect::route::{Body, Operation, methods, route};
use crate::model::ask::EMAILS;
use crate::model::call::{Call, Method, no_fields, object};
use crate::model::fault::Fault;
use crate::model::inbound::InboundEmail;
use crate::model::page::{PageAsk, parse_limit};

/// An operation with named arguments, in a dialect's names.
#[derive(Clone, Debug, PartialEq)]
pub struct Arguments<'a> {
    /// The operation and its path arguments.
    pub operation: Operation<'a>,
    /// The query parameters: filters, `limit`, `cursor` and so on. A name can occur several times.
    pub options: Cow<'a, [(String, String)]>,
    /// The fields of the body: the values of a record, or the members of another body.
    pub fields: Map<String, Value>,
    /// The message in the body of [`Operation::ReceiveEmail`].
    pub message: Option<Box<InboundEmail>>,
}

impl<'a> Arguments<'a> {
    /// Reads the arguments of an HTTP call. `path` has the segments of its path.
    pub fn of_call(call: &'a Call<'_>, path: &[&'a str]) -> Result<Arguments<'a>, Fault> {
        let mut operation = routed(call.method, path)?;
        if operation == Operation::Create(EMAILS) && call.is_message() {
            operation = Operation::ReceiveEmail;
        }
        let mut message = None;
        let fields = match operation.body() {
            Body::Fields => call.object()?,
            Body::Empty => {
                call.no_fields()?;
                Map::new()
            }
            Body::Ignored => Map::new(),
            Body::Csv => encoding::body(call)?,
            Body::Message => {
                message = Some(Box::new(InboundEmail::parse(call.body)));
                Map::new()
            }
        };
        Ok(Arguments { operation, options: Cow::Borrowed(&call.query), fields, message })
    }

    /// Reads the arguments of an operation of a batch. `path` has the segments of its path.
    pub fn of_operation(
        method: Method,
        path: &[&'a str],
        query: &'a [(String, String)],
        body: Option<Value>,
    ) -> Result<Arguments<'a>, Fault> {
        let operation = routed(method, path)?;
        let fields = match (operation.body(), body) {
            (Body::Ignored, _) | (_, None) | (Body::Empty, Some(Value::Null)) => Map::new(),
            (Body::Fields | Body::Csv | Body::Message, Some(body)) => object(body)?,
            (Body::Empty, Some(body)) => {
                no_fields(&object(body)?)?;
                Map::new()
            }
        };
        Ok(Arguments { operation, options: Cow::Borrowed(query), fields, message: None })
    }

    /// Reads the arguments of a tool call from one JSON object. They are fields if the operation has a body, and
    /// options otherwise. An array becomes several options of that name. A null is left out.
    pub fn named(operation: Operation<'a>, arguments: Map<String, Value>) -> Arguments<'a> {
        if operation.body() == Body::Fields {
            return Arguments { operation, options: Cow::Borrowed(&[]), fields: arguments, message: None };
        }
        let mut options = Vec::with_capacity(arguments.len());
        for (name, value) in arguments {
            let values = match value {
                Value::Array(items) => items,
                value => vec![value],
            };
            for value in values {
                match value {
                    Value::Null => {}
                    Value::String(text) => options.push((name.clone(), text)),
                    value => options.push((name.clone(), value.to_string())),
                }
            }
        }
        Arguments { operation, options: Cow::Owned(options), fields: Map::new(), message: None }
    }

    /// Returns the value of an option. If it is given several times, the last value counts.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The limit and the cursor.
    pub fn page(&self) -> Result<PageAsk, Fault> {
        let cursor = self.option("cursor").filter(|cursor| !cursor.is_empty()).map(str::to_owned);
        Ok(PageAsk { limit: parse_limit(self.option("limit"))?, cursor })
    }

    /// Refuses options that are not in `known`.
    pub fn only_options(&self, known: &[&str]) -> Result<(), Fault> {
        match self.options.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(Fault::unknown_parameter(name, known.iter().copied())),
        }
    }

    /// Refuses fields that are not in `known`.
    pub fn only_fields(&self, known: &[&str]) -> Result<(), Fault> {
        match self.fields.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(name) => Err(Fault::unknown_field(name, known.iter().copied())),
        }
    }
}

/// The operation of a method and a path. The fault says whether the path exists.
fn routed<'a>(method: Method, path: &[&'a str]) -> Result<Operation<'a>, Fault> {
    route(method, path).ok_or_else(|| {
        let allow: Vec<_> = methods(path).into_iter().map(Method::name).collect();
        match allow.is_empty() {
            true => Fault::NoSuchPath { path: format!("/v1/{}", path.join("/")) },
            false => Fault::MethodNotAllowed { allow },
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(operation: Operation<'_>, arguments: Value, options: &[(&str, &str)], fields: Value) {
        let Value::Object(arguments) = arguments else { panic!("{arguments}") };
        let named = Arguments::named(operation, arguments);
        let found: Vec<(&str, &str)> =
            named.options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!((found.as_slice(), Value::Object(named.fields)), (options, fields));
    }

    #[test]
    fn a_tools_arguments_are_options_or_fields() {
        let asked = json!({"limit": 5, "stage": ["won", "lost"], "cursor": null, "include_deleted": true});
        let options = [("limit", "5"), ("stage", "won"), ("stage", "lost"), ("include_deleted", "true")];
        check(Operation::List("deals"), asked, &options, json!({}));
        check(Operation::Create("deals"), json!({"title": "T", "limit": 1}), &[], json!({"title": "T", "limit": 1}));
        check(Operation::Delete("deals", "d_1"), json!({"hard": false}), &[("hard", "false")], json!({}));
    }
}
