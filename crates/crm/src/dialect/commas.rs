//! Several values in one parameter: `a,b`. A value with a comma is in double quotes. The syntax is the same in both
//! dialects.

/// Splits a text at commas. A value with a comma is in double quotes; a quote inside it is doubled.
pub fn values(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let (value, after) = quoted(rest).unwrap_or_else(|| {
            let end = rest.find(',').unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        });
        values.push(value);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return values,
        }
    }
}

/// Reads a parameter with a single value. Quotes around a value with a comma are removed; all other text stays as it
/// is.
pub fn one_value(text: &str) -> String {
    match quoted(text) {
        Some((value, "")) if value.contains(',') => value,
        _ => text.to_owned(),
    }
}

/// Returns a value in quotes and the text after it, if the text begins with a complete one.
fn quoted(text: &str) -> Option<(String, &str)> {
    let body = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut characters = body.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match (character, characters.peek()) {
            ('"', Some((_, '"'))) => {
                value.push('"');
                characters.next();
            }
            ('"', None | Some((_, ','))) => return Some((value, &body[at + 1..])),
            ('"', Some(_)) => return None,
            (other, _) => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(values(text), expected, "{text}");
    }

    #[test]
    fn values_are_split_at_commas_outside_quotes() {
        check("a", &["a"]);
        check("", &[""]);
        check("a,b", &["a", "b"]);
        check("a,", &["a", ""]);
        check("\"a,b\"", &["a,b"]);
        check("\"a,b\",c", &["a,b", "c"]);
        check("\"say \"\"hi\"\", you\"", &["say \"hi\", you"]);
        check("\"open", &["\"open"]);
        check("\"a\"b", &["\"a\"b"]);
        check("é,\"ü,ö\"", &["é", "ü,ö"]);
    }

    #[test]
    fn one_value_keeps_its_commas_and_loses_the_quotes_around_them() {
        for (text, expected) in [
            ("Acme, Inc", "Acme, Inc"),
            ("\"Acme, Inc\"", "Acme, Inc"),
            ("\"Acme\"", "\"Acme\""),
            ("\"a,b\",c", "\"a,b\",c"),
            ("", ""),
        ] {
            assert_eq!(one_value(text), expected, "{text}");
        }
    }
}
