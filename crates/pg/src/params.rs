//! Parameters in text form: the quoting that array and composite literals require for their parts.

/// Appends a text as an element of an array literal: `"a \"b\""`. NULL is written as `NULL`, without quotes.
pub fn quote_array_element(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
}

/// Appends a text as a field of a composite literal: `"a ""b"""`. For NULL nothing is written.
pub fn quote_record_field(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            out.push(char);
        }
        out.push(char);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_escaped_as_each_literal_wants_it() {
        let (mut array, mut record) = (String::new(), String::new());
        quote_array_element(&mut array, r#"a "b" \ {,é}"#);
        quote_record_field(&mut record, r#"a "b" \ (,é)"#);
        assert_eq!(array, r#""a \"b\" \\ {,é}""#);
        assert_eq!(record, r#""a ""b"" \\ (,é)""#);
    }
}
