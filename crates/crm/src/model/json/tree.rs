//! The tree of a JSON body. It is the tree of `serde_json` with two differences. A long array does not keep much unused
//! capacity. The key `$serde_json::private::RawValue` has no special meaning: `serde_json` itself reads such an object
//! as the JSON in its string, and values could hide from the weighing.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Number, Value};

/// The key under which `serde_json` passes on a number of any precision.
const NUMBER: &str = "$serde_json::private::Number";

/// Maximum unused capacity of an array, in values.
pub(super) const SPARE: usize = 16;

/// Parses a body. The errors are those of `serde_json`.
pub fn parse(text: &[u8]) -> Result<Value, Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let TreeNode(value) = TreeNode::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// A value of the tree. [`Builder`] deserializes it.
struct TreeNode(Value);

impl<'de> Deserialize<'de> for TreeNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TreeNode, D::Error> {
        deserializer.deserialize_any(Builder).map(TreeNode)
    }
}

struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(TreeNode(item)) = items.next_element()? {
            array.push(item);
        }
        if array.capacity() - array.len() > SPARE {
            array.shrink_to_fit();
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.is_empty() && key == NUMBER {
                let text: String = members.next_value()?;
                return text.parse::<Number>().map(Value::Number).map_err(A::Error::custom);
            }
            let TreeNode(value) = members.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_that_of_serde_json() {
        for text in [
            r#"{"b": [1, -2.50, 1e400, 123456789012345678901234567890.10], "a": {"x": null, "y": true}, "b": "é\u00e9\n"}"#,
            "[]",
            "[[], {}, [[1]]]",
            "\"x\"",
            " 12.0 ",
            "null",
        ] {
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(parse(text.as_bytes()).unwrap(), expected);
            assert_eq!(parse(text.as_bytes()).unwrap().to_string(), expected.to_string());
        }
        let long = format!("[{}1]", "1,".repeat(1100));
        let Value::Array(items) = parse(long.as_bytes()).unwrap() else { panic!() };
        assert!(items.capacity() <= items.len() + SPARE, "{}", items.capacity());
    }

    #[test]
    fn what_is_refused_is_refused_in_the_same_words() {
        let deep = "[".repeat(200);
        for text in ["", "{", "{\"a\": }", "[1,]", "01", "1 2", "\"\u{1}\"", "\"\\ud800\"", "nul", "{1: 2}", &deep] {
            let expected = serde_json::from_str::<Value>(text).unwrap_err().to_string();
            assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), expected, "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn keys_of_the_parser_have_no_power() {
        let hidden = r#"{"$serde_json::private::RawValue": "[1, 2, 3]"}"#;
        assert_eq!(parse(hidden.as_bytes()).unwrap()["$serde_json::private::RawValue"], "[1, 2, 3]");
        let forged = r#"{"$serde_json::private::Number": "1 or true"}"#;
        assert!(parse(forged.as_bytes()).is_err());
    }
}
