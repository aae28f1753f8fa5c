//! The built-in tables, as one const table that parser, plan, OpenAPI, documentation and tests all read.
//!
//! Names are those of the physical schema (`migrations/workspace`), which is agentCRM's; the Relm dialect
//! renames on the wire only.

mod tables;

pub use tables::ENTITIES;

use crate::model::who::Feature;

/// A built-in table.
#[derive(Debug)]
pub struct Entity {
    /// What one record is called: `contact`. It is the activity feed's `subject_type` too.
    pub name: &'static str,
    /// The table: `contacts`.
    pub table: &'static str,
    /// The prefix of its ids, without the underscore.
    pub prefix: &'static str,
    /// One sentence for documentation.
    pub about: &'static str,
    /// Its own columns, without the ones every record has.
    pub fields: &'static [Field],
    /// Rows that a record points to, shown with it.
    pub to_one: &'static [ToOne],
    /// Rows that point to a record, shown with it.
    pub to_many: &'static [ToMany],
    /// What a list is sorted by.
    pub order: Order,
    /// Whether the workspace may write it; the activity feed is written by triggers alone.
    pub writable: bool,
    /// Whether it has [`STAMPS`], without which a deletion is for good.
    pub stamped: bool,
    /// Whether a few words find its records.
    pub searchable: bool,
    /// Whether it is one of the tables that are searched together.
    pub searched_together: bool,
    /// How a path names one of its records.
    pub named_by: NamedBy,
    /// The billing feature that it belongs to.
    pub feature: Option<Feature>,
    /// Whether its records can be associated with others.
    pub associable: bool,
    /// Whether keys of `custom` can be defined for its records.
    pub custom_fields: bool,
    /// Whether its rows describe other tables, so that the catalog is read again once they change.
    pub describes_tables: bool,
    /// Whether its records are e-mails, which relate to contacts, companies and deals by their addresses.
    pub is_mail: bool,
    /// Whether it is the feed, whose `changes` are in the words of the changed table.
    pub is_feed: bool,
    /// What is checked on a write beyond its columns.
    pub write_rule: WriteRule,
    /// The codes by which triggers refuse a write.
    pub refusals: Refusals,
    /// What the caller should know of a deletion.
    pub deletion_note: Option<&'static str>,
}

/// How a path names a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// By its id.
    Id,
    /// By the column `key`, or by its id.
    Key,
    /// By the column `key` within a pipeline, or by its id.
    KeyInPipeline,
}

/// What is checked on a write beyond its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteRule {
    /// Nothing.
    Plain,
    /// It joins two records, which must be there and can't be changed afterwards.
    Edge,
    /// It stands in a stage of a pipeline.
    InPipeline,
}

/// The codes by which triggers refuse writes, beyond those that any table's writes may end in.
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
    /// The type, for documentation.
    pub kind: FieldKind,
    /// One short sentence.
    pub about: &'static str,
    /// Whether it always has a value, and who gives it.
    pub need: Need,
    /// A value to show, as JSON; empty where there is none to show.
    pub example: &'static str,
    /// The function of the database that gives a value's normal form, if values have one.
    pub normal_form: Option<&'static str>,
}

/// Whether a column always has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It may be null.
    Optional,
    /// It is never null; left out, it gets a value by itself.
    Filled,
    /// It is never null, and a new record must name it.
    Required,
}

/// The types that built-in columns have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FieldKind {
    Text,
    Email,
    Emails,
    Integer,
    /// Of 32 bits.
    SmallInteger,
    Bool,
    Date,
    Time,
    Json,
    JsonArray,
    JsonObject,
    /// The id of a record of the named table.
    Id(&'static str),
    /// Several ids of records of the named table.
    Ids(&'static str),
    OneOf(&'static [&'static str]),
}

/// `company` on a contact: the row that `column` names.
#[derive(Debug)]
pub struct ToOne {
    /// The key under which the row is shown.
    pub key: &'static str,
    /// The column that holds its id.
    pub column: &'static str,
    /// The table it is in.
    pub table: &'static str,
}

/// `contacts` on a company: the newest live rows that belong to a record.
#[derive(Debug)]
pub struct ToMany {
    /// The key under which the rows are shown.
    pub key: &'static str,
    /// The table they are in.
    pub table: &'static str,
    /// How they belong to the record.
    pub link: Link,
}

/// How rows belong to a record.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    /// This column of theirs holds the record's id.
    Theirs(&'static str),
    /// This array column of the record's holds their ids.
    Ours(&'static str),
}

/// Rows shown at most for a [`ToMany`] that is linked by a column of theirs.
pub const RELATED_ROWS: usize = 10;

/// What a list is sorted by; the id breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `created_at`, newest first.
    Newest,
    /// When the mail was received or sent, newest first.
    Mail,
    /// The named time column, newest first.
    NewestBy(&'static str),
    /// `position`, ascending.
    Position,
}

/// The built-in table of that name.
pub fn by_table(table: &str) -> Option<&'static Entity> {
    ENTITIES.iter().find(|entity| entity.table == table)
}

impl Entity {
    /// The function of the database that gives the normal form of a column's values, if they have one.
    pub fn normal_form(&self, column: &str) -> Option<&'static str> {
        self.fields.iter().find(|field| field.name == column)?.normal_form
    }

    /// All its columns, the shared ones included, in the order in which they are shown.
    pub fn columns(&self) -> impl Iterator<Item = Field> {
        let id = field("id", FieldKind::Id(self.table), "Made by the server; sorts by time.").filled();
        let stamps = if self.stamped { STAMPS } else { &[] };
        [id].into_iter().chain(self.fields.iter().copied()).chain([CUSTOM]).chain(stamps.iter().copied())
    }
}

/// The free-form field that every record has.
pub const CUSTOM: Field =
    field("custom", FieldKind::JsonObject, "Free-form fields; keys defined in custom_fields are checked.").filled();

/// The columns that say when a record was made, changed and hidden.
pub const STAMPS: &[Field] = &[
    field("created_at", FieldKind::Time, "When it was made.").filled(),
    field("updated_at", FieldKind::Time, "When it was last changed.").filled(),
    field("deleted_at", FieldKind::Time, "When it was deleted; null while it is live."),
];

const fn field(name: &'static str, kind: FieldKind, about: &'static str) -> Field {
    Field { name, kind, about, need: Need::Optional, example: "", normal_form: None }
}

impl Field {
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

/// Columns of every record that callers may read but never write.
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
