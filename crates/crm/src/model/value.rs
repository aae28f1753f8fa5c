//! JSON values on their way into PostgreSQL: the text that a parameter of a given type takes.

use serde_json::Value;

/// What a column's or parameter's type means for the way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// text, varchar, citext, name, char
    Text,
    /// Any number type.
    Number,
    /// boolean
    Bool,
    /// json, jsonb
    Json,
    /// Dates and times of every kind.
    Time,
    /// pgvector's types: `[1,2,3]`
    Vector,
    /// An array of the inner kind.
    Array(Box<TypeKind>),
    /// Everything else: enums, ranges, uuid, composites … PostgreSQL's own text form.
    Other,
}

/// A name for a JSON value's type, with its article.
pub fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The parameter text of a value for a column, strictly: what is plainly of another type is refused with
/// the words for an error message ("takes text, not a number").
pub fn for_column(value: &Value, kind: &TypeKind) -> Result<Option<String>, String> {
    let refuse = |takes: &str| Err(format!("takes {takes}, not {}", name_of(value)));
    match (kind, value) {
        (TypeKind::Json, Value::Null) => Ok(None),
        (TypeKind::Json, _) => Ok(Some(value.to_string())),
        (_, Value::Null) => Ok(None),
        (TypeKind::Array(inner), Value::Array(items)) => {
            for item in items.iter().filter(|item| !matches!(item, Value::Array(_))) {
                for_column(item, inner)?;
            }
            Ok(Some(array_literal(items, inner)))
        }
        (TypeKind::Array(_), Value::String(text)) if text.starts_with('{') => Ok(Some(text.clone())),
        (TypeKind::Array(_), _) => refuse("an array"),
        (TypeKind::Vector, Value::Array(_)) => Ok(Some(value.to_string())),
        (_, Value::String(text)) => Ok(Some(text.clone())),
        (TypeKind::Number | TypeKind::Other, Value::Number(number)) => Ok(Some(number.to_string())),
        (TypeKind::Bool, Value::Bool(flag)) => Ok(Some(flag.to_string())),
        (TypeKind::Text, _) => refuse("text"),
        (TypeKind::Number, _) => refuse("a number"),
        (TypeKind::Bool, _) => refuse("true or false"),
        (TypeKind::Time, _) => refuse("a date or time as text (ISO 8601)"),
        (TypeKind::Vector, _) => refuse("an array of numbers"),
        (TypeKind::Other, _) => refuse("text"),
    }
}

/// The parameter text of a value for a raw SQL parameter, leniently: any JSON value for any type, and
/// PostgreSQL judges. A string for a jsonb parameter is its JSON text.
pub fn for_parameter(value: &Value, kind: &TypeKind) -> Option<String> {
    match (kind, value) {
        (_, Value::Null) => None,
        (_, Value::String(text)) => Some(text.clone()),
        (TypeKind::Array(inner), Value::Array(items)) => Some(array_literal(items, inner)),
        _ => Some(value.to_string()),
    }
}

/// PostgreSQL's array literal of texts.
pub fn array_of_texts(texts: &[String]) -> String {
    let mut out = String::from("{");
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_quoted(&mut out, text);
    }
    out.push('}');
    out
}

/// PostgreSQL's array literal of JSON items.
fn array_literal(items: &[Value], inner: &TypeKind) -> String {
    let mut out = String::from("{");
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        match (item, inner) {
            (Value::Null, _) => out.push_str("NULL"),
            (Value::Array(nested), kind) if !matches!(kind, TypeKind::Json | TypeKind::Vector) => {
                out.push_str(&array_literal(nested, inner));
            }
            (Value::String(text), TypeKind::Json) => push_quoted(&mut out, &Value::from(text.as_str()).to_string()),
            (Value::String(text), _) => push_quoted(&mut out, text),
            (other, _) => push_quoted(&mut out, &other.to_string()),
        }
    }
    out.push('}');
    out
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn column(value: Value, kind: TypeKind) -> Result<Option<String>, String> {
        for_column(&value, &kind)
    }

    fn array(kind: TypeKind) -> TypeKind {
        TypeKind::Array(Box::new(kind))
    }

    #[test]
    fn columns_take_their_own_type_or_text() {
        assert_eq!(column(json!("a"), TypeKind::Text), Ok(Some("a".into())));
        assert_eq!(column(json!("12"), TypeKind::Number), Ok(Some("12".into())));
        assert_eq!(column(json!(true), TypeKind::Bool), Ok(Some("true".into())));
        assert_eq!(column(json!({"a": [1]}), TypeKind::Json), Ok(Some(r#"{"a":[1]}"#.into())));
        assert_eq!(column(json!("a"), TypeKind::Json), Ok(Some(r#""a""#.into())));
        assert_eq!(column(json!(null), TypeKind::Text), Ok(None));
        assert_eq!(column(json!(42), TypeKind::Text), Err("takes text, not a number".into()));
        assert_eq!(column(json!({}), TypeKind::Number), Err("takes a number, not an object".into()));
        assert_eq!(column(json!([1, 2.5]), TypeKind::Vector), Ok(Some("[1,2.5]".into())));
    }

    #[test]
    fn digits_survive_on_the_way_in() {
        let value: Value = serde_json::from_str("12345678901234567890.000000000000000000010").unwrap();
        assert_eq!(column(value, TypeKind::Number), Ok(Some("12345678901234567890.000000000000000000010".into())));
    }

    #[test]
    fn arrays_become_literals() {
        assert_eq!(
            column(json!(["a", "b,\"c\\", null]), array(TypeKind::Text)),
            Ok(Some(r#"{"a","b,\"c\\",NULL}"#.into()))
        );
        assert_eq!(
            column(json!([[1, 2], [3, 4]]), array(TypeKind::Number)),
            Ok(Some(r#"{{"1","2"},{"3","4"}}"#.into()))
        );
        assert_eq!(column(json!([{"a": 1}, "x"]), array(TypeKind::Json)), Ok(Some(r#"{"{\"a\":1}","\"x\""}"#.into())));
        assert_eq!(column(json!([1]), array(TypeKind::Text)), Err("takes text, not a number".into()));
        assert_eq!(column(json!("{a,b}"), array(TypeKind::Text)), Ok(Some("{a,b}".into())));
    }

    #[test]
    fn parameters_of_raw_sql_take_anything() {
        assert_eq!(for_parameter(&json!(5), &TypeKind::Text), Some("5".into()));
        assert_eq!(for_parameter(&json!({"a": 1}), &TypeKind::Text), Some(r#"{"a":1}"#.into()));
        assert_eq!(for_parameter(&json!("{\"a\": 1}"), &TypeKind::Json), Some("{\"a\": 1}".into()));
        assert_eq!(for_parameter(&json!(["a"]), &array(TypeKind::Text)), Some(r#"{"a"}"#.into()));
        assert_eq!(for_parameter(&json!(["a"]), &TypeKind::Json), Some(r#"["a"]"#.into()));
    }
}
