//! Imports a file: writes its rows in parts, in one transaction, and reports those that were refused.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crm::model::answer::{Answer, Imported};
use crm::model::ask::{BatchRow, ImportRow, Single};
use crm::model::entity::{CUSTOM, by_table};
use crm::model::fault::Fault;
use crm::model::filter::Deleted;
use crm::model::page::PageAsk;
use crm::plan;
use crm::plan::batch::{self, Fate};
use crm::sql;

use crate::hall::batch::{fate, one};
use crate::hall::execution::{Attempt, Execution, PlanError, Planning};
use crate::hall::record::OnePlan;

/// The rows that are written together.
const PART: usize = batch::MAX_ROWS;

/// The table of the definitions of custom fields.
const FIELDS: &str = "custom_fields";

/// An import to be written.
pub struct Import<'a> {
    /// The table.
    pub table: &'a str,
    /// The columns that the file has.
    pub columns: &'a [String],
    /// The rows.
    pub rows: &'a [ImportRow],
    /// The number of empty rows.
    pub skipped: usize,
    /// The columns that identify an existing record. If it is empty, all records are new.
    pub dedup_on: &'a [String],
}

impl Import<'_> {
    /// Writes the import. The execution is one transaction.
    pub async fn run(&self, execution: &mut Execution<'_>) -> Result<Answer, Fault> {
        let types = match self.columns.iter().any(|column| column == CUSTOM.name) {
            true => field_types(execution, self.table).await?,
            false => HashMap::new(),
        };
        let rows: Vec<(u64, BatchRow)> = self.rows.iter().filter_map(|row| readable(row, &types)).collect();
        let mut imported = execution.with_fresh_catalog(&Write { import: self, rows: &rows }).await?;
        imported.refused.extend(self.rows.iter().filter_map(unreadable));
        imported.refused.sort_by_key(|(row, _)| *row);
        Ok(Answer::Imported(imported))
    }
}

fn readable(row: &ImportRow, types: &HashMap<String, String>) -> Option<(u64, BatchRow)> {
    let mut values = row.values.as_ref().ok()?.clone();
    if let Some(Value::Object(custom)) = values.get_mut(CUSTOM.name) {
        typed(custom, types);
    }
    Some((row.number, BatchRow::Values(values)))
}

fn unreadable(row: &ImportRow) -> Option<(u64, Fault)> {
    row.values.as_ref().err().map(|why| (row.number, Fault::invalid(why.clone())))
}

/// Gives the values of custom fields their types. A text that is no value of the type stays a text, and is refused as one.
fn typed(custom: &mut Map<String, Value>, types: &HashMap<String, String>) {
    for (key, value) in custom.iter_mut() {
        let (Some(kind), Value::String(text)) = (types.get(key), &*value) else { continue };
        let read = match kind.as_str() {
            "number" => serde_json::from_str::<Value>(text).ok().filter(Value::is_number),
            "bool" => match text.to_lowercase().as_str() {
                "true" | "yes" | "1" => Some(Value::Bool(true)),
                "false" | "no" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            _ => None,
        };
        if let Some(read) = read {
            *value = read;
        }
    }
}

/// The types of a table's custom fields, by key.
async fn field_types(execution: &mut Execution<'_>, table: &str) -> Result<HashMap<String, String>, Fault> {
    let object = by_table(table).map_or(table, |entity| entity.name);
    let mut types = HashMap::new();
    let mut page = PageAsk { limit: 200, cursor: None };
    loop {
        let (filters, deleted) = (Vec::new(), Deleted::Exclude);
        let ask = Single::List { table: FIELDS.into(), filters, sort: None, deleted, page: page.clone() };
        let Answer::Page { rows, next_cursor, .. } = execution.with_fresh_catalog(&OnePlan { ask: &ask }).await? else {
            return Err(Fault::internal("a list that is no page"));
        };
        for row in (0..rows.len()).filter(|row| rows.string(*row, "object_type").as_deref() == Some(object)) {
            if let (Some(key), Some(kind)) = (rows.string(row, "key"), rows.string(row, "type")) {
                types.insert(key, kind);
            }
        }
        match next_cursor {
            None => return Ok(types),
            cursor => page.cursor = cursor,
        }
    }
}

/// The rows of an import that can be read. If the catalog was stale, all of them are written again.
struct Write<'a> {
    import: &'a Import<'a>,
    rows: &'a [(u64, BatchRow)],
}

impl Attempt for Write<'_> {
    type Outcome = Imported;

    async fn once(&self, execution: &mut Execution<'_>, planning: &Planning) -> Result<Imported, PlanError> {
        let Import { table, columns, skipped, dedup_on, .. } = self.import;
        let perhaps = PlanError::PerhapsStale;
        let table = planning.catalog.table(table).and_then(plan::writable).map_err(perhaps)?;
        batch::check_columns(table, columns).map_err(perhaps)?;
        let mut imported =
            Imported { table: table.name.clone(), created: 0, updated: 0, skipped: *skipped, refused: Vec::new() };
        for part in self.rows.chunks(PART) {
            let rows: Vec<BatchRow> = part.iter().map(|(_, row)| row.clone()).collect();
            let batch = batch::plan_import(table, &rows, dedup_on).map_err(perhaps)?;
            if !planning.is_fresh && batch::may_be_by_an_old_catalog(&batch) {
                return Err(PlanError::Stale);
            }
            let number = |place: usize| part.get(place).map_or(0, |(number, _)| *number);
            imported.refused.extend(batch.refused.iter().map(|(place, fault)| (number(*place), fault.clone())));
            let told = one(execution.write(&[sql::batch::write(&batch)]).await)?;
            for (place, fate) in (0..told.len()).filter_map(|row| fate(&batch, &told, row)) {
                match fate {
                    Fate::Written { created: true, .. } => imported.created += 1,
                    Fate::Written { created: false, .. } => imported.updated += 1,
                    Fate::Refused(fault) => imported.refused.push((number(place), fault)),
                }
            }
        }
        Ok(imported)
    }
}
