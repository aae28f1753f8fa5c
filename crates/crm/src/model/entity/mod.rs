//! The built-in tables, in one const table. The readers, the plans, OpenAPI, the documentation and the tests use it.
//!
//! The names are those of the physical schema (`migrations/workspace`), which are agentCRM's. The Relm dialect renames
//! columns on the wire only.

mod tables;

pub use tables::ENTITIES;

use crate::model::who::Feature;

/// A built-in table.
#[derive(Debug)]
pub struct Entity {
    /// The name of one record: `contact`. It is also the `subject_type` in the activity feed.
    pub name: &'static str,
    /// The table's name: `contacts`.
    pub table: &'static str,
    /// The prefix of its ids, without the underscore.
    pub prefix: &'static str,
    /// One sentence for documentation.
    pub about: &'static str,
    /// The table's own columns, without those that every record has.
    pub fields: &'static [Field],
    /// Relations to single rows that a record refers to.
    pub to_one: &'static [ToOne],
    /// Relations to several rows.
    pub to_many: &'static [ToMany],
    /// The sort order of lists.
    pub order: Order,
    /// Whether callers can write to the table. Only triggers write to the activity feed.
    pub writable: bool,
    /// Whether the table has [`STAMPS`]. Without them a delete is permanent.
    pub stamped: bool,
    /// Whether the table has a search.
    pub searchable: bool,
    /// Whether the search in several tables includes this one.
    pub searched_together: bool,
    /// The columns by which a path can name a record.
    pub named_by: NamedBy,
    /// The billing feature that the table requires.
    pub feature: Option<Feature>,
    /// Whether its records can be associated with others.
    pub associable: bool,
    /// Whether keys of `custom` can be defined for its records.
    pub custom_fields: bool,
    /// Whether the rows describe other tables. A change of them makes the cached catalog out of date.
    pub describes_tables: bool,
    /// Whether the records are e-mails. They relate to contacts, companies and deals by their addresses.
    pub is_mail: bool,
    /// Whether this is the activity feed. Its `changes` have the columns of the changed table.
    pub is_feed: bool,
    /// The check on writes that goes beyond the columns.
    pub write_rule: WriteRule,
    /// The codes of the errors that triggers raise on writes.
    pub refusals: Refusals,
    /// A note for the caller on a deletion, if there is one.
    pub deletion_note: Option<&'static str>,
}

/// The columns by which a path can name a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The id.
    Id,
    /// The column `key`, or the id.
    Key,
    /// The column `key` within a pipeline, or the id.
    KeyInPipeline,
}

/// A check on writes that goes beyond the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteRule {
    /// No further check.
    Plain,
    /// The record joins two records. Both must exist, and neither can be changed later.
    Edge,
    /// The record is in a stage of a pipeline.
    InPipeline,
}

/// The codes of the errors that triggers raise on writes, beyond the errors of all tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Refusals {
    pub create: &'static [&'static str],
    pub update: &'static [&'static str],
    pub delete: &'static [&'static str],
}

/// A column of a built-in table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The column's name.
    pub name: &'static str,
    /// The type, for the documentation.
    pub kind: FieldKind,
    /// The description: one short sentence.
    pub about: &'static str,
    /// Whether it always has a value, and whether a request must give it.
    pub need: Need,
    /// An example value as JSON; empty if there is none.
    pub example: &'static str,
    /// The database function that normalizes the column's values, if there is one.
    pub normal_form: Option<&'static str>,
}

/// Whether a column always has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The column can be null.
    Optional,
    /// The column is never null. If a request leaves it out, it gets a default.
    Filled,
    /// The column is never null. A new record must name it.
    Required,
}

/// The types of the built-in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FieldKind {
    Text,
    Email,
    Emails,
    Integer,
    /// An integer of 32 bits.
    SmallInteger,
    Bool,
    Date,
    Time,
    Json,
    JsonArray,
    JsonObject,
    /// The id of a record in the named table.
    Id(&'static str),
    /// The ids of several records in the named table.
    Ids(&'static str),
    OneOf(&'static [&'static str]),
}

/// A relation to one row, by a column with its id: `company` of a contact.
#[derive(Debug, PartialEq)]
pub struct ToOne {
    /// The key of the row in the answer.
    pub key: &'static str,
    /// The column that has the row's id.
    pub column: &'static str,
    /// The row's table.
    pub table: &'static str,
}

/// A relation to several rows: `contacts` of a company. Only live rows are shown, newest first.
#[derive(Debug)]
pub struct ToMany {
    /// The key of the rows in the answer.
    pub key: &'static str,
    /// The table of the rows.
    pub table: &'static str,
    /// The column that links the rows to the record.
    pub link: Link,
}

/// The column that links rows to a record.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    /// This column of the rows has the record's id.
    Theirs(&'static str),
    /// This array column of the record has the ids of the rows.
    Ours(&'static str),
}

/// Maximum number of rows of a [`ToMany`] in an answer, for [`Link::Theirs`].
pub const RELATED_ROWS: usize = 10;

/// The sort order of a list. The id is the last key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `created_at`, newest first.
    Newest,
    /// The time at which the e-mail was received or sent, newest first.
    Mail,
    /// The named time column, newest first.
    NewestBy(&'static str),
    /// `position`, ascending.
    Position,
}

/// Returns the built-in table of that name.
pub fn by_table(table: &str) -> Option<&'static Entity> {
    ENTITIES.iter().find(|entity| entity.table == table)
}

/// Other words for the records of built-in tables.
const SYNONYMS: &[(&str, &str)] = &[
    ("people", "contacts"),
    ("person", "contacts"),
    ("organization", "companies"),
    ("organizations", "companies"),
    ("opportunity", "deals"),
    ("opportunities", "deals"),
];

/// Returns the built-in table that a word means: the name of one record, or another word for them.
pub fn by_word(word: &str) -> Option<&'static Entity> {
    let of_one = ENTITIES.iter().find(|entity| entity.name == word && by_table(word).is_none());
    let table = SYNONYMS.iter().find(|(synonym, _)| *synonym == word).map(|(_, table)| *table);
    of_one.or_else(|| by_table(table.unwrap_or(word)))
}

impl Entity {
    /// The database function that normalizes the values of a column, if there is one.
    pub fn normal_form(&self, column: &str) -> Option<&'static str> {
        self.fields.iter().find(|field| field.name == column)?.normal_form
    }

    /// Whether records can be merged into one. Others describe tables, join records, or are what was sent.
    pub fn merges(&self) -> bool {
        let is_plain = !self.describes_tables && self.write_rule != WriteRule::Edge && self.named_by == NamedBy::Id;
        is_plain && self.writable && self.stamped && !self.is_mail
    }

    /// All columns in the order of the answer, including those that every record has.
    pub fn columns(&self) -> impl Iterator<Item = Field> {
        let id = field("id", FieldKind::Id(self.table), "Created by the server; sorts by time.").filled();
        let stamps = if self.stamped { STAMPS } else { &[] };
        [id].into_iter().chain(self.fields.iter().copied()).chain([CUSTOM]).chain(stamps.iter().copied())
    }
}

/// The free-form field that every record has.
pub const CUSTOM: Field =
    field("custom", FieldKind::JsonObject, "Free-form fields; keys defined in custom_fields are checked.").filled();

/// The times at which a record was created, changed and deleted.
pub const STAMPS: &[Field] = &[
    field("created_at", FieldKind::Time, "Time of creation.").filled(),
    field("updated_at", FieldKind::Time, "Time of the last change.").filled(),
    field("deleted_at", FieldKind::Time, "Time of deletion; null for a live record."),
];

const fn field(name: &'static str, kind: FieldKind, about: &'static str) -> Field {
    Field { name, kind, about, need: Need::Optional, example: "", normal_form: None }
}

impl Field {
    /// Whether the values are ids of records: of one table, or of the table that another column names.
    pub fn refers_to_records(&self) -> bool {
        matches!(self.kind, FieldKind::Id(_) | FieldKind::Ids(_)) || self.name.ends_with("_id")
    }

    const fn filled(self) -> Field {
        Field { need: Need::Filled, ..self }
    }

    const fn required(self) -> Field {
        Field { need: Need::Required, ..self }
    }

    const fn example(self, json: &'static str) -> Field {
        Field { example: json, ..self }
    }

    const fn normal_form(self, function: &'static str) -> Field {
        Field { normal_form: Some(function), ..self }
    }
}

/// The columns of every record that callers cannot write.
pub const READ_ONLY_COLUMNS: &[&str] = &["id", "created_at", "updated_at", "deleted_at"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_fields_are_defined_for_the_tables_that_may_have_them() {
        let definitions = ENTITIES.iter().find(|entity| entity.describes_tables).expect("a table of definitions");
        let kind = definitions.fields.iter().find(|field| field.name == "object_type").map(|field| field.kind);
        let mut names: Vec<&str> =
            ENTITIES.iter().filter(|entity| entity.custom_fields).map(|entity| entity.name).collect();
        let FieldKind::OneOf(listed) = kind.expect("its column") else { panic!("{kind:?}") };
        let mut listed = listed.to_vec();
        names.sort_unstable();
        listed.sort_unstable();
        assert_eq!(names, listed);
    }

    #[test]
    fn names_prefixes_and_relations_hold_together() {
        for (at, entity) in ENTITIES.iter().enumerate() {
            for other in &ENTITIES[at + 1..] {
                assert_ne!(entity.table, other.table);
                assert_ne!(entity.prefix, other.prefix);
                assert_ne!(entity.name, other.name);
            }
            for relation in entity.to_one {
                assert!(by_table(relation.table).is_some(), "{}", relation.key);
                assert!(entity.fields.iter().any(|field| field.name == relation.column), "{}", relation.key);
            }
            for relation in entity.to_many {
                let owner = match relation.link {
                    Link::Theirs(column) => (by_table(relation.table).expect("a built-in table"), column),
                    Link::Ours(column) => (entity, column),
                };
                assert!(owner.0.fields.iter().any(|field| field.name == owner.1), "{}", relation.key);
            }
        }
    }
}
