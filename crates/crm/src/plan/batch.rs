//! Batches. Rows with the same columns are written together. Rows that mean the same record are written one after
//! another.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::model::answer::{Answer, Batch as Written, BatchItem};
use crate::model::ask::BatchRow;
use crate::model::catalog::{Table, UniqueIndex};
use crate::model::email::is_blank;
use crate::model::entity::WriteRule;
use crate::model::fault::Fault;
use crate::model::rows::Rows;
use crate::model::value::TypeKind;
use crate::plan::cell::{is_free_form, value_for};
use crate::plan::edits;
use crate::plan::record::writable_column;

/// Maximum number of records in a batch (docs/wire.md, "Batches").
pub const MAX_ROWS: usize = 500;

/// A batch that is ready to be written.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The table to write to.
    pub table: &'a Table,
    /// The column that identifies a row.
    pub key: &'a str,
    /// The unique index that identifies an existing record; `None` if all records are new.
    pub index: Option<&'a UniqueIndex>,
    /// Groups of rows, each for one statement, in the order of writing.
    pub groups: Vec<Group<'a>>,
    /// The rows that can't be written, with their index in the batch.
    pub refused: Vec<(usize, Fault)>,
    /// Whether a stage that the pipeline does not have is refused; otherwise it is added.
    pub refuses_new_stage: bool,
    /// The number of rows in the request.
    len: usize,
}

/// Columns, and the treatment of each if the record exists.
type Columns<'a> = Vec<(&'a str, Meeting)>;

/// Values in the order of the columns.
type RowValues = Vec<Option<String>>;

/// Rows with the same columns. No two of them mean the same record.
#[derive(Debug)]
pub struct Group<'a> {
    /// The columns, and the treatment of each if the record exists.
    pub columns: Columns<'a>,
    /// Whether a row can match an existing record: the rows have all columns of the index.
    pub can_meet: bool,
    /// The index of each row in the batch, and its values.
    pub rows: Vec<(usize, RowValues)>,
}

/// The treatment of a column if the record exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meeting {
    /// The new value replaces the old one.
    Replace,
    /// The keys of the new value are merged into the old one. A key that is null is removed.
    Merge,
}

/// The outcome of one row in the database.
#[derive(Debug)]
pub enum Fate {
    /// The row was written.
    Written {
        /// The record's id.
        id: String,
        /// Whether the record is new.
        created: bool,
    },
    /// The row was refused.
    Refused(Fault),
}

/// Plans a batch. The error concerns the whole batch; the errors of single rows are in `refused`.
pub fn plan<'a>(table: &'a Table, rows: &[BatchRow], dedup_on: &[String]) -> Result<Batch<'a>, Fault> {
    if rows.is_empty() {
        return Err(Fault::invalid_with_hint("The batch is empty.", format!("Send 1 to {MAX_ROWS} records.")));
    }
    if rows.len() > MAX_ROWS {
        return Err(Fault::Refused {
            code: "batch_too_large",
            message: format!("The batch has {} records; {MAX_ROWS} is the most.", rows.len()),
            hint: Some(format!("Send at most {MAX_ROWS} records at a time.")),
        });
    }
    planned(table, rows, dedup_on, Some(index(table, dedup_on)?))
}

/// Plans a part of an import. Without `dedup_on` all records are new. An unknown stage is refused.
pub fn plan_import<'a>(table: &'a Table, rows: &[BatchRow], dedup_on: &[String]) -> Result<Batch<'a>, Fault> {
    let index = if dedup_on.is_empty() { None } else { Some(index(table, dedup_on)?) };
    // A file's slip of the pen is no new stage.
    let refuses_new_stage = table.write_rule() == WriteRule::InPipeline;
    Ok(Batch { refuses_new_stage, ..planned(table, rows, dedup_on, index)? })
}

/// Refuses columns that don't exist or can't be written.
pub fn check_columns(table: &Table, columns: &[String]) -> Result<(), Fault> {
    columns.iter().try_for_each(|name| writable_column(table, name).map(drop))
}

fn planned<'a>(
    table: &'a Table,
    rows: &[BatchRow],
    dedup_on: &[String],
    index: Option<&'a UniqueIndex>,
) -> Result<Batch<'a>, Fault> {
    let key = table.key()?;
    let mut batch =
        Batch { table, key, index, groups: Vec::new(), refused: Vec::new(), refuses_new_stage: false, len: rows.len() };
    // `meant` counts the rows that mean each record. `found` has a group for each wave and set of columns.
    let mut meant: HashMap<Vec<String>, usize> = HashMap::new();
    let mut found: HashMap<(usize, Columns<'a>), Vec<(usize, RowValues)>> = HashMap::new();
    for (place, row) in rows.iter().enumerate() {
        match values_of(row).and_then(|row| read(table, row)) {
            Ok((columns, values)) => {
                let wave = identity(dedup_on, &columns, &values).map_or(0, |identity| {
                    let times = meant.entry(identity).or_default();
                    *times += 1;
                    *times - 1
                });
                found.entry((wave, columns)).or_default().push((place, values));
            }
            Err(fault) => batch.refused.push((place, fault)),
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|((wave, _), rows)| (*wave, rows[0].0));
    batch.groups = found
        .into_iter()
        .map(|((_, columns), mut rows)| {
            // All batches have the same order of rows. So two batches never wait for each other's row locks.
            rows.sort_by_cached_key(|(place, values)| (identity(dedup_on, &columns, values), *place));
            let can_meet =
                index.is_some() && dedup_on.iter().all(|name| columns.iter().any(|(column, _)| column == name));
            Group { columns, can_meet, rows }
        })
        .collect();
    Ok(batch)
}

/// Returns a row's values, or the fault of a row that can't be read.
fn values_of(row: &BatchRow) -> Result<&Map<String, Value>, Fault> {
    match row {
        BatchRow::Values(values) => Ok(values),
        BatchRow::UnknownField { name, nearest } => {
            Err(Fault::Unknown { what: "field", name: name.clone(), nearest: nearest.clone() })
        }
        BatchRow::NotAnObject { found } => Err(Fault::invalid(format!("A record must be a JSON object, not {found}."))),
    }
}

/// The unique index of these columns. An index on `lower(domain)` is an index of `domain`.
fn index<'a>(table: &'a Table, dedup_on: &[String]) -> Result<&'a UniqueIndex, Fault> {
    if dedup_on.is_empty() {
        return Err(Fault::invalid_with_hint("\"dedup_on\" names no column.", "Leave it out for [\"email\"]."));
    }
    for name in dedup_on {
        writable_column(table, name)?;
    }
    let is_of = |key: &str, name: &str| key.trim_matches('"') == name || key == format!("lower({name})");
    let serves = |index: &&UniqueIndex| {
        index.keys.len() == dedup_on.len() && dedup_on.iter().all(|name| index.keys.iter().any(|key| is_of(key, name)))
    };
    table.unique.iter().find(serves).ok_or_else(|| {
        Fault::invalid_with_hint(
            format!("\"{}\" has no unique index on {}.", table.name, dedup_on.join(", ")),
            "dedup_on names the columns of a unique index; leave it out for [\"email\"].",
        )
    })
}

/// The columns and values of a row, sorted by column.
fn read<'a>(table: &'a Table, row: &Map<String, Value>) -> Result<(Columns<'a>, RowValues), Fault> {
    let mut read = row.iter().map(|(name, value)| cell(table, name, value)).collect::<Result<Vec<_>, Fault>>()?;
    read.sort_by_key(|((column, _), _)| *column);
    Ok(read.into_iter().unzip())
}

fn cell<'a>(table: &'a Table, name: &str, value: &Value) -> Result<((&'a str, Meeting), Option<String>), Fault> {
    let column = writable_column(table, name)?;
    edits::refuse(name, value)?;
    let (meeting, text) = match value {
        Value::Null if is_free_form(column) => (Meeting::Replace, Some("{}".to_owned())),
        Value::Object(_) if column.type_name == "jsonb" => (Meeting::Merge, value_for(column, value)?),
        value => (Meeting::Replace, value_for(column, value)?),
    };
    Ok(((column.name.as_str(), meeting), text))
}

/// The values that identify the record of a row. Returns `None` if one of them is missing or null. Two spellings of one address are the
/// same: the database removes the characters around it, compares without case, and takes an empty text as null.
fn identity(dedup_on: &[String], columns: &[(&str, Meeting)], values: &[Option<String>]) -> Option<Vec<String>> {
    if dedup_on.is_empty() {
        return None;
    }
    dedup_on
        .iter()
        .map(|name| {
            let at = columns.iter().position(|(column, _)| column == name)?;
            let text = values[at].as_ref()?.trim_matches(is_blank);
            (!text.is_empty()).then(|| text.to_lowercase())
        })
        .collect()
}

/// Whether a row was refused because of the catalog, which may be out of date.
pub fn may_be_by_an_old_catalog(batch: &Batch<'_>) -> bool {
    batch.refused.iter().any(|(_, fault)| matches!(fault, Fault::Unknown { .. } | Fault::Invalid { .. }))
}

impl Batch<'_> {
    /// The column of a row that PostgreSQL could not convert. Its message quotes the value and mostly names the type.
    pub fn column_of(&self, place: usize, message: &str) -> Option<&str> {
        let mut groups = self.groups.iter();
        let (columns, values) =
            groups.find_map(|group| Some((&group.columns, &group.rows.iter().find(|(of, _)| *of == place)?.1)))?;
        let fits = |name: &str, value: &Option<String>| {
            let column = self.table.column(name).filter(|column| column.kind != TypeKind::Text)?;
            let is_quoted = message.contains(&format!("\"{}\"", value.as_ref()?));
            let names_another = message.contains("type ") && !message.contains(&format!("type {}", column.type_name));
            (is_quoted && !names_another).then_some(())
        };
        let mut cells = columns.iter().zip(values);
        cells.find(|((name, _), value)| fits(name, value).is_some()).map(|((name, _), _)| *name)
    }

    /// Creates the answer from the outcome of each row and the current state of the records.
    pub fn answer(&self, fates: Vec<(usize, Fate)>, rows: Rows) -> Result<Answer, Fault> {
        let at: HashMap<String, usize> =
            (0..rows.len()).filter_map(|row| Some((rows.string(row, self.key)?, row))).collect();
        let mut items: Vec<Option<BatchItem>> = std::iter::repeat_with(|| None).take(self.len).collect();
        for (place, fault) in &self.refused {
            items[*place] = Some(BatchItem::Failed(fault.clone()));
        }
        for (place, fate) in fates {
            let item = match fate {
                Fate::Refused(fault) => BatchItem::Failed(fault),
                Fate::Written { id, created } => match (at.get(&id), created) {
                    (Some(row), true) => BatchItem::Created(*row),
                    (Some(row), false) => BatchItem::Updated(*row),
                    // Another request has removed the record in the meantime.
                    (None, _) => BatchItem::Failed(Fault::NotFound { table: self.table.name.clone(), id }),
                },
            };
            *items.get_mut(place).ok_or_else(|| Fault::internal("a row of no batch"))? = Some(item);
        }
        let items = items.into_iter().collect::<Option<Vec<_>>>();
        let items = items.ok_or_else(|| Fault::internal("a row of a batch was lost"))?;
        let (entity, width) = (self.table.entity(), rows.columns().len());
        Ok(Answer::Batch(Written { entity, rows, width, items }))
    }
}
