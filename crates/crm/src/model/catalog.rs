//! What a workspace's database holds at the moment: its tables and columns, built-in and its own.
//!
//! Loaded by the store from one JSON text (`sql::catalog`) and cached; a statement whose columns turn out
//! to differ tells the store that the cache is old.

use std::collections::HashMap;

use serde::Deserialize;

use crate::model::entity::{self, Entity, WriteRule};
use crate::model::fault::{Fault, nearest};
use crate::model::value::TypeKind;

/// The tables of a workspace.
#[derive(Debug, Default)]
pub struct Catalog {
    tables: HashMap<String, Table>,
}

/// A table or view that REST serves.
#[derive(Debug)]
pub struct Table {
    /// Its name in schema `public`.
    pub name: String,
    /// What it is.
    pub kind: TableKind,
    /// Whether rows can be written (a view's can't).
    pub writable: bool,
    /// Its columns in their physical order.
    pub columns: Vec<Column>,
    /// The columns of the primary key; for a view, `id` if it has such a column.
    pub primary_key: Vec<String>,
    /// Its unique indexes.
    pub unique: Vec<UniqueIndex>,
    /// The keys of `custom` that are defined in `custom_fields`.
    pub fields: Vec<CustomField>,
    /// What tells whether it is still the same.
    pub shape: Shape,
    /// The planner's estimate.
    pub estimated_rows: i64,
}

/// What PostgreSQL's own catalog said of a table's form, as texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Shape {
    /// Its `pg_class.oid`.
    pub oid: String,
    /// The transaction that last wrote its row of `pg_class`: whoever changes columns or rewrites the table does.
    pub version: String,
    /// The index of its primary key, which is another one when the key is changed.
    pub key: Option<String>,
}

/// A key of `custom` and the type of its values.
#[derive(Debug, Deserialize)]
pub struct CustomField {
    /// The key.
    pub key: String,
    /// The type that it was declared with.
    #[serde(rename = "type")]
    pub kind: CustomKind,
}

/// The types of custom fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CustomKind {
    /// A string.
    Text,
    /// One of some strings.
    Select,
    /// A number.
    Number,
    /// A boolean.
    Bool,
    /// A date or a moment.
    Date,
}

impl CustomKind {
    /// The type's name, as definitions write it.
    pub fn name(self) -> &'static str {
        match self {
            CustomKind::Text => "text",
            CustomKind::Select => "select",
            CustomKind::Number => "number",
            CustomKind::Bool => "bool",
            CustomKind::Date => "date",
        }
    }
}

/// Whether a table came with the workspace.
#[derive(Clone, Copy, Debug)]
pub enum TableKind {
    /// One of [`entity::ENTITIES`].
    Builtin(&'static Entity),
    /// Made by the workspace's own SQL.
    Custom,
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as `format_type` writes it.
    pub type_name: String,
    /// What the type means for values on their way in.
    pub kind: TypeKind,
    /// Whether it takes NULL.
    pub nullable: bool,
    /// Generated columns and `GENERATED ALWAYS` identities can't be written.
    pub generated: bool,
}

/// A unique index, as `pg_get_indexdef` writes its parts.
#[derive(Debug, Deserialize)]
pub struct UniqueIndex {
    /// The index's (and constraint's) name.
    pub name: String,
    /// Its columns or expressions, as SQL.
    pub keys: Vec<String>,
    /// The predicate of a partial index, as SQL.
    pub predicate: Option<String>,
    /// Whether two NULLs are the same key.
    pub nulls_not_distinct: bool,
}

impl Catalog {
    /// Reads the JSON text that `sql::catalog` selects.
    pub fn parse(json: &str) -> Result<Catalog, serde_json::Error> {
        let listed: Vec<ListedTable> = serde_json::from_str(json)?;
        let tables = listed.into_iter().map(Table::from).map(|table| (table.name.clone(), table)).collect();
        Ok(Catalog { tables })
    }

    /// The table of that name, or a fault that names the nearest one.
    pub fn table(&self, name: &str) -> Result<&Table, Fault> {
        self.tables.get(name).ok_or_else(|| Fault::NoSuchTable {
            name: name.to_owned(),
            nearest: nearest(name, self.tables.keys().map(String::as_str)),
        })
    }

    /// All tables, sorted by name, the built-in ones first.
    pub fn tables(&self) -> Vec<&Table> {
        let mut all: Vec<&Table> = self.tables.values().collect();
        all.sort_by_key(|table| (matches!(table.kind, TableKind::Custom), table.name.as_str()));
        all
    }
}

impl Column {
    /// Whether it takes whole numbers only.
    pub fn is_integer(&self) -> bool {
        matches!(self.type_name.as_str(), "smallint" | "integer" | "bigint")
    }
}

impl Table {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether there is a column of that name.
    pub fn has(&self, name: &str) -> bool {
        self.column(name).is_some()
    }

    /// The built-in table's description, where it is one.
    pub fn entity(&self) -> Option<&'static Entity> {
        match self.kind {
            TableKind::Builtin(entity) => Some(entity),
            TableKind::Custom => None,
        }
    }

    /// What is checked on a write beyond its columns.
    pub fn write_rule(&self) -> WriteRule {
        self.entity().map_or(WriteRule::Plain, |entity| entity.write_rule)
    }

    /// The column that names a row.
    pub fn key(&self) -> Result<&str, Fault> {
        match self.primary_key.as_slice() {
            [key] => Ok(key),
            _ => Err(Fault::NoPrimaryKey {
                table: self.name.clone(),
                hint: if self.writable {
                    format!(
                        "ALTER TABLE {} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, or use POST /v1/sql.",
                        self.name
                    )
                } else {
                    "Give the view a column named id, or use POST /v1/sql.".into()
                },
            }),
        }
    }

    /// The type that a key of `custom` was declared with.
    pub fn custom_kind(&self, column: &str, key: &str) -> Option<CustomKind> {
        if column != "custom" {
            return None;
        }
        self.fields.iter().find(|field| field.key == key).map(|field| field.kind)
    }

    /// The unique index of that name.
    pub fn unique(&self, name: &str) -> Option<&UniqueIndex> {
        self.unique.iter().find(|index| index.name == name)
    }

    /// What the activity feed calls a row of this table.
    pub fn subject(&self) -> &str {
        self.entity().map_or(&self.name, |entity| entity.name)
    }

    /// Whether deletion hides rows instead of removing them.
    pub fn soft_deletes(&self) -> bool {
        self.has("deleted_at")
    }
}

#[derive(Deserialize)]
struct ListedTable {
    name: String,
    relkind: String,
    #[serde(default)]
    shape: Shape,
    estimated_rows: f64,
    columns: Vec<ListedColumn>,
    primary_key: Option<Vec<String>>,
    unique: Option<Vec<UniqueIndex>>,
    #[serde(default)]
    fields: Option<Vec<CustomField>>,
}

#[derive(Deserialize)]
struct ListedColumn {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    /// `pg_type.typname` and `typcategory` of the type, its domain resolved.
    typname: String,
    category: String,
    /// The same of the element, where the type is an array.
    element: Option<ListedElement>,
    not_null: bool,
    generated: bool,
}

#[derive(Deserialize)]
struct ListedElement {
    typname: String,
    category: String,
}

impl From<ListedTable> for Table {
    fn from(listed: ListedTable) -> Table {
        let is_table = matches!(listed.relkind.as_str(), "r" | "p");
        let columns: Vec<Column> = listed.columns.into_iter().map(Column::from).collect();
        let id = || columns.iter().filter(|column| column.name == "id").map(|column| column.name.clone()).collect();
        let primary_key = if is_table { listed.primary_key.unwrap_or_default() } else { id() };
        let kind = match entity::by_table(&listed.name) {
            Some(entity) => TableKind::Builtin(entity),
            None => TableKind::Custom,
        };
        Table {
            writable: is_table && !matches!(kind, TableKind::Builtin(entity) if !entity.writable),
            kind,
            columns,
            primary_key,
            unique: listed.unique.unwrap_or_default(),
            fields: listed.fields.unwrap_or_default(),
            shape: listed.shape,
            estimated_rows: listed.estimated_rows.max(0.0) as i64,
            name: listed.name,
        }
    }
}

impl From<ListedColumn> for Column {
    fn from(listed: ListedColumn) -> Column {
        let kind = match listed.element {
            Some(element) => TypeKind::Array(Box::new(scalar_kind(&element.typname, &element.category))),
            None => scalar_kind(&listed.typname, &listed.category),
        };
        Column {
            name: listed.name,
            type_name: listed.type_name,
            kind,
            nullable: !listed.not_null,
            generated: listed.generated,
        }
    }
}

/// What a type that is no array means on the way in, by `pg_type.typname` and `typcategory`.
pub fn scalar_kind(typname: &str, category: &str) -> TypeKind {
    match (typname, category) {
        ("json" | "jsonb", _) => TypeKind::Json,
        ("vector" | "halfvec", _) => TypeKind::Vector,
        ("oid" | "money", _) => TypeKind::Other,
        (_, "S") => TypeKind::Text,
        (_, "N") => TypeKind::Number,
        (_, "B") => TypeKind::Bool,
        (_, "D") => TypeKind::Time,
        _ => TypeKind::Other,
    }
}
