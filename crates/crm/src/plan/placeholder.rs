//! Placeholders in the texts of automations: `{{contact.first_name}}`, `{{deal.custom.plan}}`.

use serde_json::{Map, Value};

use crate::model::email::is_address;
use crate::model::entity::{Entity, by_table};
use crate::model::fault::nearest;

/// The column of a built-in table that has this name in any dialect.
pub type ColumnLookUp = fn(&Entity, &str) -> Option<&'static str>;

/// The records that placeholders can name, and their tables.
pub const SUBJECTS: [(&str, &str); 3] = [("contact", "contacts"), ("company", "companies"), ("deal", "deals")];

/// A placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// `contact`, `company` or `deal`
    pub subject: &'static str,
    /// The column of its table.
    pub column: &'static str,
    /// The keys within the column's value.
    keys: Vec<String>,
}

/// A part of a text.
enum TextPart<'a> {
    Plain(&'a str),
    Filled(Placeholder),
}

/// How a value is written into a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    /// As it is.
    Text,
    /// On one line.
    Line,
    /// One e-mail address: a record's value must not add recipients.
    Address,
    /// With the characters escaped that mean something in HTML.
    Html,
}

/// The placeholders of a text. The error says which one is unknown.
pub fn placeholders(text: &str, columns: ColumnLookUp) -> Result<Vec<Placeholder>, String> {
    let filled = |part| match part {
        TextPart::Plain(_) => None,
        TextPart::Filled(placeholder) => Some(placeholder),
    };
    Ok(split(text, columns)?.into_iter().filter_map(filled).collect())
}

/// Fills a text. `records` has the columns of each subject; `None` if the event is about none.
pub fn fill<'r>(
    text: &str,
    written: TextForm,
    columns: ColumnLookUp,
    records: impl Fn(&str) -> Option<&'r Map<String, Value>>,
) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    for part in split(text, columns)? {
        match part {
            TextPart::Plain(plain) => out.push_str(plain),
            TextPart::Filled(Placeholder { subject, column, keys }) => {
                let record = records(subject).ok_or_else(|| format!("The event is about no {subject}."))?;
                let value = keys.iter().try_fold(record.get(column), |value, key| Some(value?.get(key))).flatten();
                let value = value.unwrap_or(&Value::Null);
                if written == TextForm::Address && !value.as_str().is_some_and(|text| is_address(text.trim())) {
                    return Err(format!("The {subject}'s {column} is not one e-mail address."));
                }
                push(&mut out, value, written);
            }
        }
    }
    Ok(out)
}

fn split(text: &str, columns: ColumnLookUp) -> Result<Vec<TextPart<'_>>, String> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((plain, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else {
            return Err("\"{{\" begins a placeholder, which \"}}\" ends.".into());
        };
        parts.push(TextPart::Plain(plain));
        parts.push(TextPart::Filled(parse(name.trim(), columns)?));
        rest = after;
    }
    parts.push(TextPart::Plain(rest));
    Ok(parts)
}

fn parse(name: &str, columns: ColumnLookUp) -> Result<Placeholder, String> {
    let shown: String = name.chars().take(100).flat_map(char::escape_debug).collect();
    let mut keys = name.split('.');
    let (subject, field) = (keys.next().unwrap_or_default(), keys.next().unwrap_or_default());
    let Some((subject, table)) = SUBJECTS.into_iter().find(|(known, _)| *known == subject) else {
        return Err(format!(
            "There is no {{{{{shown}}}}}; a placeholder is one of a contact, company or deal, such as {{{{contact.first_name}}}}."
        ));
    };
    let entity = by_table(table).ok_or("a built-in table is missing")?;
    let keys: Vec<String> = keys.map(str::to_owned).collect();
    let column = columns(entity, field).filter(|column| keys.is_empty() != (*column == "custom"));
    let column = column.filter(|_| keys.iter().all(|key| !key.is_empty()));
    let column = column.ok_or_else(|| {
        let near = nearest(field, entity.columns().map(|it| it.name)).filter(|near| *near != field);
        let near = near.map_or(String::new(), |near| format!(" Did you mean {{{{{subject}.{near}}}}}?"));
        format!("There is no {{{{{shown}}}}}.{near}")
    })?;
    Ok(Placeholder { subject, column, keys })
}

fn push(out: &mut String, value: &Value, written: TextForm) {
    let text = match value {
        Value::Null => return,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for character in text.chars() {
        match (written, character) {
            (TextForm::Line | TextForm::Address, it) if it.is_control() || matches!(it, '\u{2028}' | '\u{2029}') => {
                out.push(' ')
            }
            (TextForm::Html, '&') => out.push_str("&amp;"),
            (TextForm::Html, '<') => out.push_str("&lt;"),
            (TextForm::Html, '>') => out.push_str("&gt;"),
            (TextForm::Html, '"') => out.push_str("&quot;"),
            (TextForm::Html, '\'') => out.push_str("&#39;"),
            (_, it) => out.push(it),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column(entity: &Entity, name: &str) -> Option<&'static str> {
        entity.columns().find(|field| field.name == name).map(|field| field.name)
    }

    #[test]
    fn a_text_is_filled() {
        let contact = json!({"first_name": "<Ada>\r\nBcc: x", "custom": {"plan": "pro", "n": 2}, "last_name": null});
        let check = |text: &str, written, expected: &str| {
            let filled = fill(text, written, column, |it| contact.as_object().filter(|_| it == "contact"));
            assert_eq!(filled.as_deref(), Ok(expected), "{text}");
        };
        check("Hi {{contact.first_name}}!", TextForm::Html, "Hi &lt;Ada&gt;\r\nBcc: x!");
        let many = json!({"email": "v@t.example, \"x\" <evil@z.example>", "last_name": "me@t.example "});
        let filled = |text| fill(text, TextForm::Address, column, |_| many.as_object());
        assert!(filled("{{contact.email}}").unwrap_err().contains("not one e-mail address"));
        assert_eq!(filled("a@b.example, {{contact.last_name}}").as_deref(), Ok("a@b.example, me@t.example "));
        check("Hi {{ contact.first_name }}", TextForm::Line, "Hi <Ada>  Bcc: x");
        check(
            "{{contact.custom.plan}} {{contact.custom.n}}{{contact.custom.none}}{{contact.last_name}}",
            TextForm::Text,
            "pro 2",
        );
        check("{ } }} no", TextForm::Text, "{ } }} no");
        assert!(fill("{{deal.name}}", TextForm::Text, column, |_| None).unwrap_err().contains("about no deal"));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for (text, said) in [
            ("{{contact.firstname}}", "{{contact.first_name}}"),
            ("{{contact}}", "{{contact}}"),
            ("{{contact.}}", "There is no"),
            ("{{contact.custom}}", "There is no"),
            ("{{contact.custom.}}", "There is no"),
            ("{{contact.email.x}}", "There is no"),
            ("{{user.name}}", "a contact, company or deal"),
            ("{{contact.email", "}}"),
            ("{{}}", "There is no"),
        ] {
            let words = placeholders(text, column).expect_err(text);
            assert!(words.contains(said), "{text}: {words}");
        }
        assert_eq!(placeholders("a {{deal.name}} {{company.domain}}", column).unwrap().len(), 2);
    }
}
