//! What people call a record: a name and an address, from its columns.

use crate::model::entity::Entity;

/// The columns that name a record, the best first.
const NAMES: &[&str] = &["name", "subject", "label", "title", "key"];
/// The parts of a person's name.
const PARTS: [&str; 2] = ["first_name", "last_name"];
const EMAIL: &str = "email";

/// The longest name that is shown, in characters.
pub const MAX_NAME: usize = 80;

/// The columns of a table that name its records. `has` says whether the table has a column.
pub fn naming_columns(entity: Option<&Entity>, has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    // The title of a contact is a position.
    let is_name = |column: &&&str| **column != "title" || entity.is_none();
    let all = PARTS.iter().chain(NAMES.iter().filter(is_name)).chain([&EMAIL]);
    all.copied().filter(|column| has(column)).collect()
}

/// What people call a record. `text` returns the text of a naming column.
pub fn called(text: impl Fn(&str) -> Option<String>) -> Option<String> {
    let tidy = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let of = |column: &str| text(column).map(tidy).filter(|text| !text.is_empty());
    let person: Vec<String> = PARTS.iter().filter_map(|column| of(column)).collect();
    let name = match person.is_empty() {
        true => NAMES.iter().find_map(|column| of(column)),
        false => Some(person.join(" ")),
    };
    let whole = match (name, of(EMAIL)) {
        (Some(name), Some(email)) => format!("{name} <{email}>"),
        (name, email) => name.or(email)?,
    };
    Some(match whole.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    })
}

/// A name as it is told in a sentence: in quotes, after a space.
pub fn quoted(name: Option<&str>) -> String {
    name.map_or(String::new(), |name| format!(" {}", serde_json::Value::from(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entity::by_table;

    fn check(columns: &[(&str, &str)], expected: Option<&str>) {
        let text = |name: &str| columns.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned());
        assert_eq!(called(text).as_deref(), expected, "{columns:?}");
    }

    #[test]
    fn a_record_is_called_by_its_name_and_address() {
        check(
            &[("first_name", "Ada"), ("last_name", "Lovelace"), ("email", "a@b.example")],
            Some("Ada Lovelace <a@b.example>"),
        );
        check(&[("email", "a@b.example")], Some("a@b.example"));
        check(&[("name", " Acme\n Works "), ("key", "x")], Some("Acme Works"));
        check(&[("key", "won")], Some("won"));
        check(&[("name", " ")], None);
        let long = "x".repeat(500);
        check(&[("name", &long)], Some(&format!("{}…", "x".repeat(MAX_NAME))));
    }

    #[test]
    fn only_a_table_of_the_workspace_is_named_by_its_title() {
        assert!(!naming_columns(by_table("contacts"), |_| true).contains(&"title"));
        assert_eq!(naming_columns(None, |column| matches!(column, "title" | "id")), ["title"]);
    }
}
