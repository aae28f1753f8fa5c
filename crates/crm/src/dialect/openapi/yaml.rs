//! JSON as YAML 1.2 for people to read: blocks, with plain words where they can't be taken for anything else. A JSON string
//! is a double-quoted scalar of YAML, so everything else is written as JSON writes it.

use serde_json::Value;

/// Words that some readers of YAML take for a boolean or null.
const TAKEN: &[&str] = &["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// The document.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match is_block(value) {
        true => block(&mut out, value, 0),
        false => {
            scalar(&mut out, value);
            out.push('\n');
        }
    }
    out
}

/// Whether a value takes lines of its own.
fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(object) => !object.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Writes lines; whoever calls has indented the first.
fn block(out: &mut String, value: &Value, depth: usize) {
    let indent = |out: &mut String, first: bool| {
        if !first {
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    match value {
        Value::Object(object) => {
            for (at, (key, value)) in object.iter().enumerate() {
                indent(out, at == 0);
                text(out, key);
                out.push(':');
                match value {
                    Value::String(string) if has_lines(string) => literal(out, string, depth + 1),
                    value => below(out, value, depth + 1),
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                indent(out, at == 0);
                out.push('-');
                match is_block(item) {
                    true => {
                        out.push(' ');
                        block(out, item, depth + 1);
                    }
                    false => below(out, item, depth + 1),
                }
            }
        }
        other => scalar(out, other),
    }
}

/// Writes a value behind its key or dash: on the same line, or below.
fn below(out: &mut String, value: &Value, depth: usize) {
    if is_block(value) {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
        block(out, value, depth);
    } else {
        out.push(' ');
        scalar(out, value);
        out.push('\n');
    }
}

/// Whether a text is read best line by line: several, none of which a reader could take for something else.
fn has_lines(string: &str) -> bool {
    string.trim_end_matches('\n').contains('\n')
        && !string.starts_with([' ', '\n'])
        && !string.ends_with("\n\n")
        && string
            .chars()
            .all(|it| it == '\n' || !(it.is_control() || matches!(it, '\u{2028}' | '\u{2029}' | '\u{feff}')))
}

/// Writes a text as it stands, below its key.
fn literal(out: &mut String, string: &str, depth: usize) {
    out.push_str(if string.ends_with('\n') { " |\n" } else { " |-\n" });
    for line in string.lines() {
        if !line.is_empty() {
            out.extend(std::iter::repeat_n("  ", depth));
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn scalar(out: &mut String, value: &Value) {
    match value {
        Value::String(string) => text(out, string),
        other => out.push_str(&other.to_string()),
    }
}

fn text(out: &mut String, string: &str) {
    let is_word = string.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '/' | '$' | '_'))
        && string.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '/' | '{' | '}' | '.' | '$' | '-'))
        && !TAKEN.contains(&string.to_ascii_lowercase().as_str());
    match is_word {
        true => out.push_str(string),
        false => out.push_str(&Value::from(string).to_string()),
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
            "200": [{"a": 1, "b": [true, null]}, [1, [2]]],
            "no": "yes: \"it\" # so",
            "lines": "one:\n\n - two\n",
            "ends": "a\nb",
            "indented": " a\nb",
        });
        let expected = "openapi: \"3.1.0\"\n\
                        /v1/{table}:\n  get:\n    tags:\n      - sql\n      - \"your own\"\n    empty: {}\n    none: []\n\
                        \"200\":\n  - a: 1\n    b:\n      - true\n      - null\n  - - 1\n    - - 2\n\
                        \"no\": \"yes: \\\"it\\\" # so\"\n\
                        lines: |\n  one:\n\n   - two\nends: |-\n  a\n  b\nindented: \" a\\nb\"\n";
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
