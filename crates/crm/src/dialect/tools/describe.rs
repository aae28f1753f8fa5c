//! Describes the tables of a workspace for a model: one line of columns a table, or everything about one table.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::dialect::Dialect;
use crate::dialect::tools::View;
use crate::dialect::tools::names::own;
use crate::model::entity::by_table;
use crate::model::fault::{Fault, nearest};
use crate::model::json;

/// The tables of `GET /v1/schema`. Only the parts that a summary shows are read.
#[derive(Deserialize)]
struct Schema<'a> {
    #[serde(borrow)]
    tables: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct DescribedTable {
    name: String,
    #[serde(default)]
    columns: Vec<DescribedColumn>,
    #[serde(default)]
    primary_key: Vec<String>,
    #[serde(default)]
    foreign_keys: Vec<ForeignKey>,
}

#[derive(Deserialize)]
struct DescribedColumn {
    name: String,
    r#type: String,
}

#[derive(Deserialize)]
struct ForeignKey {
    columns: Vec<String>,
    references: References,
}

#[derive(Deserialize)]
struct References {
    table: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Types with a shorter name that PostgreSQL understands too.
const SHORT_TYPES: &[(&str, &str)] = &[
    ("timestamp with time zone", "timestamptz"),
    ("timestamp without time zone", "timestamp"),
    ("character varying", "varchar"),
];

/// Bytes of the summary a token.
const BYTES_A_TOKEN: usize = 3;

/// Writes the description.
pub fn describe(text: &str, view: &View, dialect: &Dialect) -> Result<Map<String, Value>, Fault> {
    let schema: Schema<'_> = serde_json::from_str(text).map_err(Fault::internal)?;
    match &view.table {
        Some(table) => one(&schema, table, dialect),
        None => all(&schema, view, dialect),
    }
}

fn one(schema: &Schema<'_>, wanted: &str, dialect: &Dialect) -> Result<Map<String, Value>, Fault> {
    let mut names = Vec::with_capacity(schema.tables.len());
    for table in &schema.tables {
        let Named { name } = serde_json::from_str(table.get()).map_err(Fault::internal)?;
        if name == wanted {
            let mut value = json::parse(table.get().as_bytes()).map_err(Fault::internal)?;
            tidy(&mut value, &name, dialect);
            let tables: Map<String, Value> = [(name, value)].into_iter().collect();
            return Ok([("tables".to_owned(), Value::Object(tables))].into_iter().collect());
        }
        names.push(name);
    }
    let nearest = nearest(wanted, names.iter().map(String::as_str));
    Err(Fault::NoSuchTable { name: wanted.to_owned(), nearest })
}

/// Leaves out what says nothing, and names the field of a column where it differs from the column.
fn tidy(table: &mut Value, name: &str, dialect: &Dialect) {
    let Value::Object(members) = table else { return };
    members.remove("name");
    let columns = members.get_mut("columns").and_then(Value::as_array_mut).into_iter().flatten();
    for column in columns.filter_map(Value::as_object_mut) {
        column.remove("description");
        let own = match (by_table(name), column.get("name").and_then(Value::as_str)) {
            (Some(entity), Some(column)) => Some(own(dialect, entity, column)).filter(|own| *own != column),
            _ => None,
        };
        let own = own.map(str::to_owned);
        column.retain(|_, value| !value.is_null());
        if let Some(own) = own {
            column.insert("field".into(), own.into());
        }
    }
    members.retain(|_, value| !value.is_null());
}

fn all(schema: &Schema<'_>, view: &View, dialect: &Dialect) -> Result<Map<String, Value>, Fault> {
    let (mut tables, mut names) = (Map::new(), Vec::new());
    let mut left = view.max_tokens * BYTES_A_TOKEN;
    for table in &schema.tables {
        let table: DescribedTable = serde_json::from_str(table.get()).map_err(Fault::internal)?;
        let line = line(&table, dialect);
        if names.is_empty() && line.len() <= left {
            left -= line.len();
            tables.insert(table.name, line.into());
        } else {
            names.push(Value::String(table.name));
        }
    }
    let mut object = Map::new();
    object.insert("tables".into(), Value::Object(tables));
    if !names.is_empty() {
        let shown = names.len().min(left / 40 + 20);
        let cut = format!("{} more tables are not described. Name one as `table`, or raise max_tokens.", names.len());
        names.truncate(shown);
        object.insert("more_tables".into(), Value::Array(names));
        object.insert("cut".into(), cut.into());
    }
    let about = "These are the names for SQL. In brackets: the field's name in other tools, where it differs. * is the primary key.";
    object.insert("about".into(), about.into());
    Ok(object)
}

/// The columns of a table: `id* text, company_id text → companies`.
fn line(table: &DescribedTable, dialect: &Dialect) -> String {
    let entity = by_table(&table.name);
    let mut line = String::new();
    for DescribedColumn { name, r#type } in &table.columns {
        let short = SHORT_TYPES.iter().find(|(long, _)| long == r#type).map_or(r#type.as_str(), |(_, short)| short);
        let key = if table.primary_key.contains(name) { "*" } else { "" };
        let comma = if line.is_empty() { "" } else { ", " };
        let _ = write!(line, "{comma}{name}{key} {short}");
        if let Some(own) = entity.map(|entity| own(dialect, entity, name)).filter(|own| own != name) {
            let _ = write!(line, " [{own}]");
        }
        let refers = table.foreign_keys.iter().find(|it| it.columns.len() == 1 && it.columns[0] == *name);
        if let Some(ForeignKey { references, .. }) = refers {
            let _ = write!(line, " → {}", references.table);
        }
    }
    line
}
