//! JSON values as parameters of the caller's own SQL.

use std::borrow::Cow;

use pg::types::{Fields, Kind, Type, TypeCache};
use serde_json::{Map, Value};

use crm::model::value::{TypeKind, for_parameter, push_quoted};

/// JSON values as parameters of these types.
pub fn values<'v>(values: &[Value], oids: &[u32], types: &TypeCache) -> Vec<Option<Cow<'v, str>>> {
    let value = |(value, oid): (&Value, &u32)| match types.get(*oid) {
        Some(it) => text(value, &it),
        None => for_parameter(value, &TypeKind::Other),
    };
    values.iter().zip(oids).map(|pair| value(pair).map(Cow::Owned)).collect()
}

/// The text of a value. Types can contain each other in many ways, so it goes as deep as the value does.
fn text(value: &Value, of: &Type) -> Option<String> {
    match (&of.kind, value) {
        (Kind::Composite(fields), Value::Object(members)) => Some(record(members, fields)),
        (Kind::Array { element, delimiter: b',' }, Value::Array(items)) if is_composite(element) => {
            let mut out = String::from("{");
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                match (item, text(item, if item.is_array() { of } else { element })) {
                    (_, None) => out.push_str("NULL"),
                    (Value::Array(_), Some(nested)) => out.push_str(&nested),
                    (_, Some(text)) => push_quoted(&mut out, &text),
                }
            }
            out.push('}');
            Some(out)
        }
        _ => for_parameter(value, &kind_of(of)),
    }
}

fn is_composite(it: &Type) -> bool {
    matches!(it.kind, Kind::Composite(_))
}

/// A record literal. Fields that the object lacks are NULL. An object with other members stays JSON, which PostgreSQL refuses.
fn record(members: &Map<String, Value>, fields: &Fields) -> String {
    if members.keys().any(|name| fields.iter().all(|field| field.name != *name)) {
        return Value::Object(members.clone()).to_string();
    }
    let mut out = String::from("(");
    for (at, field) in fields.iter().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        if let Some(text) = members.get(&field.name).and_then(|value| text(value, &field.kind)) {
            push_quoted(&mut out, &text);
        }
    }
    out.push(')');
    out
}

/// The kind of JSON value that a type takes.
fn kind_of(it: &Type) -> TypeKind {
    match it.element() {
        Some((element, b',')) => TypeKind::Array(Box::new(kind_of(element))),
        _ if it.is_json() => TypeKind::Json,
        _ if it.is_vector() => TypeKind::Vector,
        _ if it.is_integer() => TypeKind::Integer,
        _ => TypeKind::Other,
    }
}
