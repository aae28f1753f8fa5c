//! A new association. Both records must exist. If the association exists already, the answer is the existing one.

use serde_json::{Map, Value};

use crate::model::answer::{Answer, Record};
use crate::model::ask::UnknownStage;
use crate::model::catalog::{Catalog, Table};
use crate::model::entity::{ENTITIES, Entity};
use crate::model::fault::{Fault, nearest};
use crate::model::rows::Rows;
use crate::plan::record::{self, Create};
use crate::plan::{Outcome, has_columns};

/// A new association between two records.
#[derive(Debug)]
pub struct Link<'a> {
    /// The row to insert.
    pub create: Create<'a>,
    /// The record at which it starts.
    pub from: End<'a>,
    /// The record to which it leads.
    pub to: End<'a>,
    /// The label, if there is one.
    pub label: Option<String>,
}

/// One of the two records.
#[derive(Debug)]
pub struct End<'a> {
    /// The kind of record: `contact`, or the name of a custom table.
    pub kind: String,
    /// The table of the record.
    pub table: &'a Table,
    /// The column that identifies the record.
    pub key: &'a str,
    /// The id of the record.
    pub id: String,
}

/// Plans a new association. Refuses unknown kinds of records.
pub fn plan<'a>(catalog: &'a Catalog, table: &'a Table, values: &Map<String, Value>) -> Result<Link<'a>, Fault> {
    let create = record::create(table, values, UnknownStage::Add)?;
    let text = |column: &str| match values.get(column) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(refused(column, format!("\"{column}\" is required."), None)),
    };
    let end = |kind_column: &str, id_column: &str| {
        let (kind, id) = (text(kind_column)?, text(id_column)?);
        let table = table_of(catalog, kind_column, &kind)?;
        Ok::<_, Fault>(End { kind, table, key: table.key()?, id })
    };
    let (from, to) = (end("from_type", "from_id")?, end("to_type", "to_id")?);
    let label = values.get("label").and_then(Value::as_str).map(str::to_owned);
    Ok(Link { create, from, to, label })
}

/// Refuses an update that would change the records of an association, because it would bypass the check that they
/// exist.
pub fn stays(values: &Map<String, Value>) -> Result<(), Fault> {
    match values.keys().find(|name| ["from_type", "from_id", "to_type", "to_id"].contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Fault::invalid_with_hint(
            format!("\"{name}\" of an association can't be changed."),
            "Delete the association and make another.",
        )),
    }
}

/// Returns the table of a kind of record.
fn table_of<'a>(catalog: &'a Catalog, column: &str, kind: &str) -> Result<&'a Table, Fault> {
    let joinable = || ENTITIES.iter().filter(|entity| entity.associable);
    if let Some(entity) = joinable().find(|entity| entity.name == kind) {
        return catalog.table(entity.table);
    }
    let own = |table: &&&Table| table.entity().is_none() && table.writable;
    let tables = catalog.tables();
    match tables.iter().find(|table| table.name == kind).filter(own) {
        Some(table) => Ok(table),
        None => {
            let of_tables =
                joinable().find(|entity: &&Entity| entity.table == kind).map(|entity| entity.name.to_owned());
            let own_names = tables.iter().filter(own).map(|table| table.name.as_str());
            let near = of_tables.or_else(|| nearest(kind, joinable().map(|entity| entity.name).chain(own_names)));
            let hint = near.map(|name| format!("Did you mean \"{name}\"?"));
            Err(refused(column, format!("\"{column}\": there are no records of type \"{kind}\"."), hint))
        }
    }
}

fn refused(column: &str, message: String, hint: Option<String>) -> Fault {
    Fault::ValidationFailed { message, hint, field: Some(column.to_owned()) }
}

impl Link<'_> {
    /// Expects three results: the new association, the existence of both records, and the existing association.
    pub(super) fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        let [made, ends, known] = <[Rows; 3]>::try_from(results)
            .map_err(|results| Fault::internal(format!("{} results of an association", results.len())))?;
        let record = |row: Rows, created| {
            let (entity, width) = (self.create.table.entity(), row.columns().len());
            Answer::Record { record: Record { entity, row, width, parts: Vec::new(), related: Vec::new() }, created }
        };
        if !made.is_empty() {
            return Ok(Outcome::Answer(record(made, true)));
        }
        for (end, name, column) in [(&self.from, "from_is_there", "from_id"), (&self.to, "to_is_there", "to_id")] {
            if ends.named(0, name) != Some(b"true") {
                return Err(Fault::InvalidReference {
                    message: format!("\"{column}\": there is no {} \"{}\".", end.kind, end.id),
                    hint: None,
                    field: column.to_owned(),
                });
            }
        }
        if !has_columns(&known, 0, self.create.table) {
            return Ok(Outcome::CatalogIsOld);
        }
        if known.is_empty() {
            let message = "Another request created and deleted this association at the same time.".into();
            return Ok(Outcome::NoRow(Fault::Unavailable { retry_after: 1, message }));
        }
        Ok(Outcome::Answer(record(known, false)))
    }
}
