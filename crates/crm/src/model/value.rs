//! Converts JSON values to the texts of PostgreSQL parameters.

use std::borrow::Cow;

use serde_json::Value;

/// The kinds of types that are converted differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// `text`, `varchar`, `citext`, `name`, `char`.
    Text,
    /// `smallint`, `integer`, `bigint`. A number with a zero fraction is one of their values.
    Integer,
    /// All other number types.
    Number,
    /// `boolean`.
    Bool,
    /// `json`, `jsonb`.
    Json,
    /// All types for dates and times.
    Time,
    /// pgvector's types. Their text is `[1,2,3]`.
    Vector,
    /// An array of the inner kind.
    Array(Box<TypeKind>),
    /// All other types: enums, ranges, uuid, composites and so on. The text is PostgreSQL's own.
    Other,
}

/// The name of a JSON value's type, with its article: `a string`.
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

/// Converts a value to the parameter text of a column; `None` is NULL. The conversion is strict: a value of another
/// type is refused. The error is a part of an error message ("takes text, not a number").
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
        (TypeKind::Integer, Value::String(text)) => Ok(Some(integer(text.clone()))),
        (TypeKind::Integer, Value::Number(number)) => Ok(Some(integer(number.to_string()))),
        (TypeKind::Time, Value::String(text)) if is_ambiguous(text) => Err(AMBIGUOUS.into()),
        (_, Value::String(text)) => Ok(Some(text.clone())),
        (TypeKind::Number | TypeKind::Other, Value::Number(number)) => Ok(Some(number.to_string())),
        (TypeKind::Bool, Value::Bool(flag)) => Ok(Some(flag.to_string())),
        (TypeKind::Text, _) => refuse("text"),
        (TypeKind::Integer | TypeKind::Number, _) => refuse("a number"),
        (TypeKind::Bool, _) => refuse("true or false"),
        (TypeKind::Time, _) => refuse("a date or time as text (ISO 8601)"),
        (TypeKind::Vector, _) => refuse("an array of numbers"),
        (TypeKind::Other, _) => refuse("text"),
    }
}

/// Converts a value to the text of a raw SQL parameter; `None` is NULL. The conversion is lenient: it accepts any JSON
/// value for any type, and PostgreSQL checks it. A string for a jsonb parameter is its JSON text.
pub fn for_parameter(value: &Value, kind: &TypeKind) -> Option<String> {
    match (kind, value) {
        (_, Value::Null) => None,
        (_, Value::String(text)) => Some(text.clone()),
        (TypeKind::Integer, Value::Number(number)) => Some(integer(number.to_string())),
        (TypeKind::Array(inner), Value::Array(items)) => Some(array_literal(items, inner)),
        _ => Some(value.to_string()),
    }
}

/// A PostgreSQL array literal of texts.
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

/// A PostgreSQL array literal of JSON items.
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
            (Value::Number(number), TypeKind::Integer) => push_quoted(&mut out, &integer(number.to_string())),
            (other, _) => push_quoted(&mut out, &other.to_string()),
        }
    }
    out.push('}');
    out
}

/// Appends a text in quotes, as literals of arrays and records have it.
pub fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

/// The text of an integer without a zero fraction or an exponent. PostgreSQL refuses any other text that is no integer.
pub fn integer(text: String) -> String {
    whole_number(&text).unwrap_or(text)
}

/// Returns the digits of a whole number that is written with a zero fraction or an exponent: `1000.0`, `1e3`. Returns
/// `None` for any other text, including plain digits.
fn whole_number(text: &str) -> Option<String> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if unsigned == whole || whole.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let exponent: i32 = exponent.parse().ok().filter(|exponent: &i32| exponent.unsigned_abs() < 64)?;
    let digits = format!("{whole}{fraction}");
    let end = whole.len() as i32 + exponent;
    let (kept, cut) = match usize::try_from(end) {
        Ok(end) if end >= digits.len() => (format!("{digits}{}", "0".repeat(end - digits.len())), ""),
        Ok(end) => (digits[..end].to_owned(), &digits[end..]),
        Err(_) => (String::new(), digits.as_str()),
    };
    let kept = kept.trim_start_matches('0');
    let kept = if kept.is_empty() { "0" } else { kept };
    cut.bytes().all(|byte| byte == b'0').then(|| format!("{sign}{kept}"))
}

/// Why a date is refused that PostgreSQL would read as month, day and year.
pub const AMBIGUOUS: &str =
    "takes a date as YYYY-MM-DD: of a date in another order it is not known which number is the day";

/// Whether a text is a date in numbers that does not begin with the year: `01/02/2026`, `1.2.26 10:00`. It means different days in
/// different countries.
pub fn is_ambiguous(text: &str) -> bool {
    let text = text.trim();
    let date = text.split([' ', 'T', 't', ',']).next().unwrap_or_default();
    let Some(separator) = date.chars().find(|it| !it.is_ascii_digit()).filter(|it| matches!(it, '/' | '.' | '-'))
    else {
        return false;
    };
    let parts: Vec<&str> = date.split(separator).collect();
    let are_digits = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    matches!(parts[..], [first, second, year] if are_digits && first.len() <= 2 && second.len() <= 2 && matches!(year.len(), 2 | 4))
}

/// Whether a value contains a NUL character. PostgreSQL accepts it nowhere.
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Restores the `+` of a time's offset. A `+` that is not escaped in a query string is decoded to a space.
pub fn with_offset_sign(text: &str) -> Cow<'_, str> {
    let Some((time, offset)) = text.rsplit_once(' ') else { return Cow::Borrowed(text) };
    let digits = offset.replace(':', "");
    let is_offset = matches!(digits.len(), 2 | 4) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let clock = time.rsplit(['T', 't', ' ']).next().unwrap_or_default();
    if is_offset && clock.contains(':') && clock.ends_with(|last: char| last.is_ascii_digit()) {
        return Cow::Owned(format!("{time}+{offset}"));
    }
    Cow::Borrowed(text)
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
    fn a_whole_number_may_have_a_zero_fraction_or_an_exponent() {
        for (text, expected) in [
            ("1000.0", Some("1000")),
            ("1e3", Some("1000")),
            ("1E+3", Some("1000")),
            ("-1.50e1", Some("-15")),
            ("1200e-2", Some("12")),
            ("0.0", Some("0")),
            ("1.", Some("1")),
            ("100e-3", None),
            ("1000.5", None),
            ("12", None),
            ("1e99", None),
            ("1e", None),
            ("e3", None),
            (".0", None),
            ("1.0.0", None),
            ("0x10.0", None),
            ("", None),
        ] {
            assert_eq!(whole_number(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_offset_gets_its_sign_back() {
        for (text, expected) in [
            ("2020-01-01T00:00:00 02:00", "2020-01-01T00:00:00+02:00"),
            ("2020-01-01 00:00:00.5 0200", "2020-01-01 00:00:00.5+0200"),
            ("2020-01-01T00:00 02", "2020-01-01T00:00+02"),
            ("2020-01-01 02:00", "2020-01-01 02:00"),
            ("2020-01-01T00:00:00 UTC", "2020-01-01T00:00:00 UTC"),
            ("now", "now"),
        ] {
            assert_eq!(with_offset_sign(text), expected);
        }
    }

    #[test]
    fn a_date_of_unknown_order_is_no_date() {
        for text in
            ["01/02/2026", "1/2/26", "02.01.2026", "2-1-2026", " 13/02/2026", "01/02/2026 10:00", "1.2.2026T10:00Z"]
        {
            assert!(is_ambiguous(text), "{text}");
            assert!(column(json!(text), TypeKind::Time).is_err(), "{text}");
            assert!(column(json!(text), TypeKind::Text).is_ok(), "{text}");
        }
        for text in [
            "2026-01-02",
            "2026/1/2",
            "2026.01.02",
            "20260102",
            "2026-01-02 03:04:05",
            "Jan 2, 2026",
            "2 Jan 2026",
            "infinity",
            "today",
            "10:00",
            "10:00:00",
            "1 day",
            "12.5",
            "",
            "01-02",
            "2026-002",
            "-1-2-2026",
        ] {
            assert!(!is_ambiguous(text), "{text}");
        }
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
        assert_eq!(for_parameter(&json!(5.0), &TypeKind::Integer), Some("5".into()));
        assert_eq!(for_parameter(&json!([[1.0], [2]]), &array(TypeKind::Integer)), Some(r#"{{"1"},{"2"}}"#.into()));
        assert_eq!(for_parameter(&json!({"a": 1}), &TypeKind::Text), Some(r#"{"a":1}"#.into()));
        assert_eq!(for_parameter(&json!("{\"a\": 1}"), &TypeKind::Json), Some("{\"a\": 1}".into()));
        assert_eq!(for_parameter(&json!(["a"]), &array(TypeKind::Text)), Some(r#"{"a"}"#.into()));
        assert_eq!(for_parameter(&json!(["a"]), &TypeKind::Json), Some(r#"["a"]"#.into()));
    }
}
