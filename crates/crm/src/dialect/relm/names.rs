//! Relm's names for columns that the physical schema names differently: a const table, and the functions that use it.
//!
//! A column that the workspace added to a built-in table keeps its name. If Relm has that name for another column, only
//! SQL shows the added column. Custom tables keep all their names.

use std::borrow::Cow;

use crate::dialect::ID_ALIASES;
use crate::model::entity::Entity;
use crate::model::id::is_id;

/// A column of a built-in table and Relm's name for it.
#[derive(Debug)]
pub struct Rename {
    /// The built-in table. If it is empty, the rename is for all of them.
    pub table: &'static str,
    /// The column in the physical schema.
    pub column: &'static str,
    /// Relm's name of the column.
    pub name: &'static str,
}

/// All renamed columns.
#[rustfmt::skip] // a table
pub const RENAMES: &[Rename] = &[
    Rename { table: "",      column: "custom",       name: "metadata" },
    Rename { table: "deals", column: "name",         name: "title" },
    Rename { table: "deals", column: "amount_cents", name: "value_cents" },
    Rename { table: "deals", column: "contact_id",   name: "primary_contact_id" },
    // A related row has the name of its column without `_id`.
    Rename { table: "deals", column: "contact",      name: "primary_contact" },
];

/// The field with the kind of a record.
pub const OBJECT: &str = "object";

fn renames(entity: &Entity) -> impl Iterator<Item = &'static Rename> {
    RENAMES.iter().filter(|it| it.table.is_empty() || it.table == entity.table)
}

/// Returns Relm's name of a column. Returns `None` if Relm has that name for something else.
pub fn name_of<'a>(entity: Option<&Entity>, column: &'a str) -> Option<&'a str> {
    let renamed = entity.and_then(|entity| renames(entity).find(|it| it.column == column));
    let taken = entity.is_some_and(|entity| renames(entity).any(|it| it.name == column));
    match renamed {
        Some(rename) => Some(rename.name),
        None if taken || column == OBJECT => None,
        None => Some(column),
    }
}

/// Returns the column of a name. The error has Relm's name if the caller used the name of the physical schema.
pub fn column_of<'a>(entity: Option<&Entity>, name: &'a str) -> Result<&'a str, Option<&'static str>> {
    let Some(entity) = entity else { return if name == OBJECT { Err(None) } else { Ok(name) } };
    if let Some(rename) = renames(entity).find(|it| it.name == name) {
        return Ok(rename.column);
    }
    match renames(entity).find(|it| it.column == name) {
        Some(rename) => Err(Some(rename.name)),
        None if name == OBJECT => Err(None),
        None => Ok(name),
    }
}

/// The prefix of a built-in table's ids in Relm's dialect.
pub fn prefix_of(entity: &Entity) -> &'static str {
    ID_ALIASES.iter().find(|(_, stored)| *stored == entity.prefix).map_or(entity.prefix, |(alias, _)| alias)
}

/// Whether a column of this name has ids.
pub fn holds_ids(column: &str) -> bool {
    column == "id" || column.ends_with("_id") || column.ends_with("_ids")
}

/// Returns Relm's prefix and the rest of a stored id. Returns `None` for any other text.
pub fn relm_id(text: &str) -> Option<(&'static str, &str)> {
    let (alias, prefix) = ID_ALIASES.iter().find(|(_, prefix)| is_id(text, prefix))?;
    Some((alias, &text[prefix.len()..]))
}

/// Rewrites a message in Relm's names: its ids, and the columns that it clearly names.
pub fn words<'a>(text: &'a str, entity: Option<&Entity>) -> Cow<'a, str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let end = rest[start..].find(|character| !is_part(character)).map_or(rest.len(), |length| start + length);
        out.push_str(&rest[..start]);
        let word = &rest[start..end];
        match relm_id(word) {
            Some((prefix, tail)) => out.extend([prefix, tail]),
            None if names_a_column(&out) => out.push_str(name_of(entity, word).unwrap_or(word)),
            None => out.push_str(word),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// Whether the next word is a column's name: at the start of a message, or after certain words of PostgreSQL.
fn names_a_column(before: &str) -> bool {
    before == "\"" || before.ends_with("column \"") || before.ends_with("does not fit \"") || {
        let key = before.rfind("Key (").map(|at| &before[at + "Key (".len()..]);
        key.is_some_and(|names| !names.contains(')'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entity::{ENTITIES, by_table};

    const TAIL: &str = "01kaqz3v5t8w9x2y4z6a8b0c1d";

    #[test]
    fn every_column_has_a_name_of_its_own_that_leads_back() {
        for entity in ENTITIES {
            let names: Vec<&str> = entity
                .columns()
                .map(|field| name_of(Some(entity), field.name).unwrap_or_else(|| panic!("{} is hidden", field.name)))
                .collect();
            for (at, (field, name)) in entity.columns().zip(&names).enumerate() {
                assert_eq!(column_of(Some(entity), name), Ok(field.name), "{}", entity.table);
                assert!(!names[at + 1..].contains(name), "{} has two columns {name}", entity.table);
                if field.name != *name {
                    assert_eq!(column_of(Some(entity), field.name), Err(Some(*name)), "{}", entity.table);
                }
            }
            for relation in entity.to_one {
                let name = name_of(Some(entity), relation.key).unwrap();
                let column = name_of(Some(entity), relation.column).unwrap();
                assert_eq!(column, format!("{name}_id"), "{}", entity.table);
            }
        }
    }

    #[test]
    fn a_name_that_relm_has_is_its_own() {
        let deals = by_table("deals");
        assert_eq!(name_of(deals, "title"), None);
        assert_eq!(name_of(deals, "metadata"), None);
        assert_eq!(name_of(deals, "object"), None);
        assert_eq!(name_of(deals, "score"), Some("score"));
        assert_eq!(name_of(by_table("contacts"), "title"), Some("title"));
        assert_eq!(name_of(None, "metadata"), Some("metadata"));
        assert_eq!(name_of(None, "custom"), Some("custom"));
    }

    #[test]
    fn prefixes_are_relms() {
        let prefixes: Vec<&str> = ["contacts", "companies", "deals", "activities", "lists"]
            .into_iter()
            .map(|table| prefix_of(by_table(table).unwrap()))
            .collect();
        assert_eq!(prefixes, ["con", "cmp", "deal", "act", "l"]);
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(words(text, by_table("deals")), expected);
    }

    #[test]
    fn texts_name_relms_columns_and_ids() {
        check(
            "\"amount_cents\" (bigint) takes a number, not a string.",
            "\"value_cents\" (bigint) takes a number, not a string.",
        );
        check(
            "null value in column \"name\" of relation \"deals\"",
            "null value in column \"title\" of relation \"deals\"",
        );
        check(
            &format!("Key (contact_id)=(c_{TAIL}) is not present in table \"contacts\"."),
            &format!("Key (primary_contact_id)=(con_{TAIL}) is not present in table \"contacts\"."),
        );
        check(&format!("There is no \"d_{TAIL}\" in deals."), &format!("There is no \"deal_{TAIL}\" in deals."));
        check("The name of a stage", "The name of a stage");
        check("limit must be a number, not \"name\".", "limit must be a number, not \"name\".");
    }
}
