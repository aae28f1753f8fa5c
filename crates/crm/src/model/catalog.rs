//! The catalog: the current tables and columns of a workspace's database, both built-in and custom.
//!
//! The store loads it from one JSON text (`sql::catalog`) and caches it. If the columns of a result differ from it, the
//! cache is out of date.

use foldhash::HashMap;
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
    /// Whether the table is built-in or custom.
    pub kind: TableKind,
    /// Whether rows can be written. Rows of a view can't.
    pub writable: bool,
    /// Its columns in their physical order.
    pub columns: Vec<Column>,
    /// The columns of the primary key; for a view, `id` if it has such a column.
    pub primary_key: Vec<String>,
    /// Its unique indexes.
    pub unique: Vec<UniqueIndex>,
    /// The keys of `custom` that are defined in `custom_fields`.
    pub fields: Vec<CustomField>,
    /// The values that show whether the table has changed.
    pub shape: Shape,
    /// The planner's estimate of the number of rows.
    pub estimated_rows: i64,
}

/// Values of PostgreSQL's catalog that change when the structure of the table changes, as texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Shape {
    /// The table's `pg_class.oid`.
    pub oid: String,
    /// The transaction that last wrote the table's row of `pg_class` (`xmin`). A change of columns or a rewrite of the
    /// table writes that row.
    pub version: String,
    /// The oid of the primary key's index. A changed key has another index.
    pub key: Option<String>,
}

/// A key of `custom` that has a definition.
#[derive(Debug, PartialEq, Deserialize)]
pub struct CustomField {
    /// The key in `custom`.
    pub key: String,
    /// The declared type of its values.
    #[serde(rename = "type")]
    pub kind: CustomKind,
}

/// The types of custom fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CustomKind {
    /// A string.
    Text,
    /// One of a list of strings.
    Select,
    /// A number.
    Number,
    /// A boolean.
    Bool,
    /// A date, or a date and a time.
    Date,
}

impl CustomKind {
    /// The type's name in `custom_fields`.
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

/// Whether a table is built-in or custom.
#[derive(Clone, Copy, Debug)]
pub enum TableKind {
    /// One of [`entity::ENTITIES`].
    Builtin(&'static Entity),
    /// The workspace's own SQL created it.
    Custom,
}

/// A column of a table or view.
#[derive(Debug)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// The type, as `format_type` writes it.
    pub type_name: String,
    /// The kind of the type, which decides how values are converted.
    pub kind: TypeKind,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Whether the column can't be written: a generated column or a `GENERATED ALWAYS` identity.
    pub generated: bool,
}

/// A unique index, as `pg_get_indexdef` writes its parts.
#[derive(Debug, PartialEq, Deserialize)]
pub struct UniqueIndex {
    /// The index's (and constraint's) name.
    pub name: String,
    /// Its columns or expressions, as SQL.
    pub keys: Vec<String>,
    /// The predicate of a partial index, as SQL.
    pub predicate: Option<String>,
    /// Whether two NULLs count as equal (`NULLS NOT DISTINCT`).
    pub nulls_not_distinct: bool,
}

impl Catalog {
    /// Parses the JSON text that `sql::catalog` selects.
    pub fn parse(json: &str) -> Result<Catalog, serde_json::Error> {
        let listed: Vec<ListedTable> = serde_json::from_str(json)?;
        let tables = listed.into_iter().map(Table::from).map(|table| (table.name.clone(), table)).collect();
        Ok(Catalog { tables })
    }

    /// Returns the table of that name. The error names the most similar table.
    pub fn table(&self, name: &str) -> Result<&Table, Fault> {
        self.tables.get(name).ok_or_else(|| Fault::NoSuchTable {
            name: name.to_owned(),
            nearest: entity::by_word(&name.to_lowercase())
                .map(|it| it.table.to_owned())
                .or_else(|| nearest(name, self.tables.keys().map(String::as_str))),
        })
    }

    /// Whether an ask that fails with one of these catalogs fails with the other: they have the same tables in the same shape.
    pub fn is_like(&self, other: &Catalog) -> bool {
        let are_alike = |table: &Table, other: &Table| {
            table.shape == other.shape && table.fields == other.fields && table.unique == other.unique
        };
        self.tables.len() == other.tables.len()
            && self.tables.iter().all(|(name, table)| other.tables.get(name).is_some_and(|it| are_alike(table, it)))
    }

    /// Returns all tables: the built-in ones first, then the custom ones, each sorted by name.
    pub fn tables(&self) -> Vec<&Table> {
        let mut all: Vec<&Table> = self.tables.values().collect();
        all.sort_by_key(|table| (matches!(table.kind, TableKind::Custom), table.name.as_str()));
        all
    }
}

impl Table {
    /// Returns the column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether the table has a column of that name.
    pub fn has(&self, name: &str) -> bool {
        self.column(name).is_some()
    }

    /// The description of a built-in table; `None` for a custom table.
    pub fn entity(&self) -> Option<&'static Entity> {
        match self.kind {
            TableKind::Builtin(entity) => Some(entity),
            TableKind::Custom => None,
        }
    }

    /// The check on writes that goes beyond the columns.
    pub fn write_rule(&self) -> WriteRule {
        self.entity().map_or(WriteRule::Plain, |entity| entity.write_rule)
    }

    /// The single column of the primary key. The error explains how to add one.
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

    /// The declared type of a key of `custom`, if it has a definition.
    pub fn custom_kind(&self, column: &str, key: &str) -> Option<CustomKind> {
        if column != "custom" {
            return None;
        }
        self.fields.iter().find(|field| field.key == key).map(|field| field.kind)
    }

    /// Returns the unique index of that name.
    pub fn unique(&self, name: &str) -> Option<&UniqueIndex> {
        self.unique.iter().find(|index| index.name == name)
    }

    /// The `subject_type` of this table's rows in the activity feed.
    pub fn subject(&self) -> &str {
        self.entity().map_or(&self.name, |entity| entity.name)
    }

    /// Whether a delete hides rows instead of removing them.
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
    /// `pg_type.typname`. This and `category` are those of the base type if the type is a domain.
    typname: String,
    category: String,
    /// The element type, if the type is an array.
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

/// The kind of a type that is not an array, by `pg_type.typname` and `typcategory`.
pub fn scalar_kind(typname: &str, category: &str) -> TypeKind {
    match (typname, category) {
        ("json" | "jsonb", _) => TypeKind::Json,
        ("vector" | "halfvec", _) => TypeKind::Vector,
        ("oid" | "money", _) => TypeKind::Other,
        ("int2" | "int4" | "int8", _) => TypeKind::Integer,
        (_, "S") => TypeKind::Text,
        (_, "N") => TypeKind::Number,
        (_, "B") => TypeKind::Bool,
        (_, "D") => TypeKind::Time,
        _ => TypeKind::Other,
    }
}
