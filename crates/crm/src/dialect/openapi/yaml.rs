//! Writes JSON as YAML 1.2 in block style. The crate serde-saphyr writes it. It quotes texts that a reader of YAML 1.1
//! would read as a boolean, a number or a date.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// Returns the document as YAML.
pub fn write(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { compact_list_indent: false, folded_wrap_chars: 120 };
    // The crate has a limit of nesting. JSON is valid YAML and replaces it in that case.
    serde_saphyr::to_string_with_options(&YamlNode(value), options).unwrap_or_else(|_| value.to_string())
}

/// A value that serializes its numbers as numbers. With the feature `arbitrary_precision`, serde_json serializes them
/// as structs for other formats.
struct YamlNode<'a>(&'a Value);

impl Serialize for YamlNode<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => serializer.serialize_i64(integer),
                (None, Some(float)) => serializer.serialize_f64(float),
                (None, None) => serializer.serialize_str(number.as_str()),
            },
            Value::Array(items) => serializer.collect_seq(items.iter().map(YamlNode)),
            Value::Object(object) => {
                let mut map = serializer.serialize_map(Some(object.len()))?;
                for (key, value) in object {
                    map.serialize_entry(key, &YamlNode(value))?;
                }
                map.end()
            }
            Value::Null | Value::Bool(_) | Value::String(_) => self.0.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialect::DIALECTS;
    use crate::dialect::openapi::document;

    #[test]
    fn blocks_are_indented_and_words_are_plain() {
        let value = json!({
            "openapi": "3.1.0",
            "/v1/{table}": {"get": {"tags": ["sql", "your own"], "empty": {}, "none": []}},
            "200": [{"a": 1, "b": [true, null]}, [1, [2.5]]],
            "no": "yes: \"it\" # so",
            "on": ["off", "y", "~", "null", "2026-01-01", "1e3", "0x1f", "12:30:00", "+1", " x", "@a", "- a", ""],
            "lines": "one:\n\n - two\n",
            "ends": "a\nb",
            "indented": " a\nb",
        });
        let expected = r#"openapi: "3.1.0"
"/v1/{table}":
  get:
    tags:
      - sql
      - your own
    empty: {}
    none: []
"200":
  - a: 1
    b:
      - true
      - null
  - - 1
    - - 2.5
"no": "yes: \"it\" # so"
"on":
  - "off"
  - "y"
  - "~"
  - "null"
  - "2026-01-01"
  - "1e3"
  - "0x1f"
  - "12:30:00"
  - "+1"
  - " x"
  - "@a"
  - "- a"
  - ""
lines: |
  one:

   - two
ends: |-
  a
  b
indented: |2-
   a
  b
"#;
        assert_eq!(write(&value), expected);
        assert_eq!(write(&json!("x")), "x\n");
    }

    #[test]
    fn a_reader_of_yaml_finds_the_document_again() {
        for dialect in DIALECTS {
            let document = document(dialect.reference, "https://kith.example");
            let read: Value = serde_saphyr::from_str(&write(&document)).unwrap();
            assert_eq!(read.to_string(), document.to_string(), "{}", dialect.name);
        }
    }
}
