//! Merges: records of one table become one of them.

use serde_json::{Map, Value, json};

use crate::model::answer::Answer;
use crate::model::ask::{Preference, RecordName};
use crate::model::catalog::Table;
use crate::model::entity::READ_ONLY_COLUMNS;
use crate::model::fault::Fault;
use crate::model::rows::Rows;
use crate::plan::cell::is_free_form;
use crate::plan::record::{PLACE, bare, not_found, writable_column};
use crate::plan::{Outcome, one};

/// Maximum number of records that are merged into another one at a time.
pub const MAX_MERGED: usize = 20;

/// Columns that get their values from one record: an amount without its currency is another amount. If no column of the group is
/// preferred, the first one that has a value decides.
const TOGETHER: &[&[&str]] = &[&["amount_cents", "currency"], &[PLACE[1], PLACE[0]]];

/// A plan that merges records.
#[derive(Debug)]
pub struct Merge<'a> {
    /// The table of the records.
    pub table: &'a Table,
    /// The column of their ids.
    pub key: &'a str,
    /// Their ids. The first one stays.
    pub ids: Vec<String>,
    /// The columns that are filled.
    pub columns: Vec<&'a str>,
    /// The place in `ids` of the record whose value a column takes, from 1.
    pub prefer: Map<String, Value>,
    /// The same for the keys of free-form columns. Each of these columns is merged key by key.
    pub prefer_keys: Map<String, Value>,
    /// The groups of columns that get their values from one record.
    pub together: Value,
}

/// Plans a merge.
pub fn plan<'a>(table: &'a Table, id: &RecordName, from: &[String], prefer: &[Preference]) -> Result<Merge<'a>, Fault> {
    let key = table.key()?;
    if table.entity().is_some_and(|entity| !entity.merges()) {
        return Err(Fault::invalid_with_hint(
            format!("Records of {} can't be merged.", table.name),
            "Contacts, companies, deals, activities, lists and rows of your own tables can.",
        ));
    }
    if from.is_empty() || from.len() > MAX_MERGED {
        return Err(Fault::invalid_with_hint(
            format!("\"from\" has {} records; 1 to {MAX_MERGED} can be merged at a time.", from.len()),
            "Merge more in several requests.",
        ));
    }
    let ids: Vec<String> = [id.text()].into_iter().chain(from.iter().map(String::as_str)).map(str::to_owned).collect();
    if let Some(at) = ids.iter().position(|id| id.contains('\0')) {
        return Err(if at == 0 { not_found(table, id.text()) } else { missing(table, &ids, at) });
    }
    let is_filled = |name: &str| !READ_ONLY_COLUMNS.contains(&name) && !table.primary_key.iter().any(|key| key == name);
    let filled = || table.columns.iter().filter(|column| !column.generated && is_filled(&column.name));
    let mut merge = Merge {
        table,
        key,
        columns: filled().map(|column| column.name.as_str()).collect(),
        prefer: Map::new(),
        prefer_keys: filled().filter(|it| is_free_form(it)).map(|it| (it.name.clone(), json!({}))).collect(),
        together: if table.entity().is_some() { json!(TOGETHER) } else { json!([]) },
        ids,
    };
    for Preference { said, column, key, id } in prefer {
        let place = merge.ids.iter().position(|it| it == id).map(|at| at + 1).ok_or_else(|| {
            let message = format!("\"prefer.{said}\" names \"{id}\", which is none of the records.");
            Fault::invalid_with_hint(message, "Name the record that stays, or one of \"from\".")
        })?;
        let column = writable_column(table, column).map_err(|fault| match fault {
            Fault::Unknown { what, nearest, .. } => Fault::Unknown { what, name: format!("prefer.{said}"), nearest },
            fault => fault,
        })?;
        match key {
            None => merge.prefer.insert(column.name.clone(), place.into()),
            Some(key) => {
                let keys = merge.prefer_keys.entry(&column.name).or_insert_with(|| json!({}));
                keys.as_object_mut().and_then(|keys| keys.insert(key.clone(), place.into()))
            }
        };
    }
    Ok(merge)
}

/// The fault of a record that is to be merged and does not exist.
fn missing(table: &Table, ids: &[String], at: usize) -> Fault {
    Fault::InvalidReference {
        message: format!("There is no live record \"{}\" in {}.", ids[at], table.name),
        hint: Some("Restore it first, or leave it out.".into()),
        field: format!("from[{}]", at - 1),
    }
}

impl Merge<'_> {
    pub(super) fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        let mut results = results.into_iter();
        let merged = one(results.by_ref().take(1).collect())?;
        let row = one(results.collect())?;
        let merged: Map<String, Value> =
            merged.named(0, "merged").and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
        let place = |name: &str| Some(merged.get(name)?.as_u64()? as usize - 1);
        match (place("twice"), place("missing")) {
            (Some(at), _) => {
                let first = self.ids.iter().position(|id| *id == self.ids[at]).unwrap_or(0);
                let message = match first {
                    0 => format!("\"from[{}]\" names the record that stays.", at - 1),
                    _ => format!("\"from[{}]\" names a record twice.", at - 1),
                };
                return Err(Fault::invalid_with_hint(
                    message,
                    "Name each record once, and the one that stays in the path.",
                ));
            }
            (None, Some(0)) => return Err(not_found(self.table, &self.ids[0])),
            (None, Some(at)) => return Err(missing(self.table, &self.ids, at)),
            (None, None) => {}
        }
        if row.is_empty() {
            return Err(not_found(self.table, &self.ids[0]));
        }
        let about = json!({"from": self.ids[1..], "moved": merged["moved"], "dropped": merged["dropped"]});
        Ok(Outcome::Answer(Answer::Written { record: bare(self.table, row), created: false, about: ("merged", about) }))
    }
}
