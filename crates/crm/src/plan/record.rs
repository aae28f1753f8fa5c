//! Plans for one record: find, create, update, delete and restore.

use serde_json::{Map, Value};

use crate::model::answer::{Answer, Part, Record};
use crate::model::ask::{PipelineName, RecordName, Related, UnknownStage};
use crate::model::catalog::{Catalog, Column, Table};
use crate::model::entity::{Entity, NamedBy, READ_ONLY_COLUMNS, ToMany, WriteRule};
use crate::model::fault::{Fault, nearest};
use crate::model::filter::Deleted;
use crate::model::id::is_id;
use crate::model::naming::{called, naming_columns};
use crate::model::rows::Rows;
use crate::model::value::{TypeKind, array_of_texts, has_nul};
use crate::plan::cell::{is_free_form, nul, value_for};
use crate::plan::edits::{self, Edit, KeyEdit, kind_of};
use crate::plan::{Outcome, has_columns, left_out, one};

/// The name of a row.
#[derive(Clone, Debug)]
pub struct Name<'a> {
    /// The column that names the row.
    pub column: &'a str,
    /// The value of that column.
    pub value: String,
    /// The pipeline of the row, if the name includes it.
    pub within: Option<PipelineName>,
}

/// A plan that finds a record and its related rows.
#[derive(Debug)]
pub struct Find<'a> {
    /// The table of the record.
    pub table: &'a Table,
    /// The name of the row.
    pub name: Name<'a>,
    /// Whether a soft-deleted record is found.
    pub deleted: Deleted,
    /// The relations to single rows that the record refers to.
    pub to_one: Vec<Joined<'a>>,
    /// The relations to several rows.
    pub to_many: Vec<&'static ToMany>,
}

/// A relation to a single row.
#[derive(Debug)]
pub struct Joined<'a> {
    /// The key of the row in the answer.
    pub key: &'static str,
    /// The column of the record that has the row's id.
    pub column: &'static str,
    /// The table of the related row.
    pub table: &'a Table,
}

/// A plan that creates a record.
#[derive(Debug)]
pub struct Create<'a> {
    /// The table of the record.
    pub table: &'a Table,
    /// The columns and their values; `None` is NULL.
    pub values: Vec<(&'a str, Option<String>)>,
    /// The pipeline of a stage, if the path names it.
    pub within: Option<PipelineName>,
    /// Whether a stage that is not in the pipeline is refused.
    pub refuses_new_stage: bool,
}

impl Create<'_> {
    /// Gives the row of a built-in table an id of the caller's, of this prefix. The column's default would cost PostgreSQL more.
    pub fn give_id(&mut self, make: impl FnOnce(&'static str) -> String) {
        let entity = self.table.entity().filter(|_| self.table.primary_key == ["id"]);
        self.values.extend(entity.map(|entity| ("id", Some(make(entity.prefix)))));
    }
}

/// A plan that updates a record.
#[derive(Debug)]
pub struct Update<'a> {
    /// The table of the record.
    pub table: &'a Table,
    /// The name of the row.
    pub name: Name<'a>,
    /// The columns and their changes.
    pub changes: Vec<(&'a str, Change)>,
    /// Whether a stage that is not in the pipeline is refused.
    pub refuses_new_stage: bool,
}

/// A change of a column.
#[derive(Debug, PartialEq)]
pub enum Change {
    /// The column gets a new value; `None` is NULL.
    Set(Option<String>),
    /// Keys are set in the column's object, and other keys are removed from it.
    Merge {
        /// The keys to set, as a JSON object.
        add: String,
        /// The keys to remove, as an array literal.
        remove: Option<String>,
        /// The keys that are changed by what they have.
        edits: Vec<KeyEdit>,
    },
    /// The column is changed by what it has.
    Edit {
        /// The change.
        edit: Edit,
        /// Whether the column is JSON.
        is_json: bool,
    },
}

/// A plan that deletes a record.
#[derive(Debug)]
pub struct Delete<'a> {
    /// The table of the record.
    pub table: &'a Table,
    /// The name of the row.
    pub name: Name<'a>,
    /// The column of the record's id.
    pub key: &'a str,
    /// The columns that say what people call the record.
    pub naming: Vec<&'static str>,
    /// Whether the row is removed instead of hidden.
    pub hard: bool,
}

/// A plan that restores a hidden record. A record that is not hidden stays as it is, so the request can be repeated.
#[derive(Debug)]
pub struct Restore<'a> {
    /// The table of the record.
    pub table: &'a Table,
    /// The name of the row.
    pub name: Name<'a>,
}

/// Plans to find a record.
pub fn find<'a>(
    catalog: &'a Catalog,
    table: &'a Table,
    id: &RecordName,
    deleted: Deleted,
    related: &Related,
) -> Result<Find<'a>, Fault> {
    let (to_one, to_many) = table.entity().map_or((&[][..], &[][..]), |entity| (entity.to_one, entity.to_many));
    let known = || to_one.iter().map(|it| it.key).chain(to_many.iter().map(|it| it.key));
    let is_shown = |key: &str| match related {
        Related::All => true,
        Related::Named(names) => names.iter().any(|name| name == key),
    };
    if let Related::Named(names) = related
        && let Some(name) = names.iter().find(|name| known().all(|key| key != *name))
    {
        return Err(Fault::Unknown { what: "relation", name: name.clone(), nearest: nearest(name, known()) });
    }
    let to_one = to_one
        .iter()
        .filter(|relation| is_shown(relation.key))
        .map(|relation| {
            Ok(Joined { key: relation.key, column: relation.column, table: catalog.table(relation.table)? })
        })
        .collect::<Result<_, Fault>>()?;
    let to_many = to_many.iter().filter(|relation| is_shown(relation.key)).collect();
    Ok(Find { table, name: name(table, id)?, deleted, to_one, to_many })
}

/// Resolves the name of a record to a column and a value.
fn name<'a>(table: &'a Table, id: &RecordName) -> Result<Name<'a>, Fault> {
    let key = table.key()?;
    let named = |is_id: bool, value: &str, within| {
        let column = if is_id { key } else { "key" };
        Ok(Name { column, value: value.to_owned(), within })
    };
    let is_id_of = |entity: Option<&Entity>, id: &str| entity.is_none_or(|entity| is_id(id, entity.prefix));
    match (id, table.entity(), table.entity().map(|entity| entity.named_by)) {
        (RecordName::Id(id), entity, Some(NamedBy::Key)) => named(is_id_of(entity, id), id, None),
        (RecordName::Id(id), _, Some(NamedBy::Id | NamedBy::KeyInPipeline) | None) => named(true, id, None),
        (RecordName::Stage { pipeline, key }, entity, _) => named(is_id_of(entity, key), key, Some(pipeline.clone())),
    }
}

/// Plans to create a record.
pub fn create<'a>(
    table: &'a Table,
    values: &Map<String, Value>,
    unknown_stage: UnknownStage,
) -> Result<Create<'a>, Fault> {
    table.key()?;
    let refuses_new_stage = refuses_new_stage(table, values, unknown_stage);
    let values = values
        .iter()
        .map(|(name, value)| {
            let column = writable_column(table, name)?;
            edits::refuse(name, value)?;
            let value = match value {
                Value::Null if is_free_form(column) => Some("{}".to_owned()),
                value => value_for(column, value)?,
            };
            Ok((column.name.as_str(), value))
        })
        .collect::<Result<_, Fault>>()?;
    Ok(Create { table, values, within: None, refuses_new_stage })
}

/// Plans to create a stage of a pipeline.
pub fn create_stage<'a>(
    table: &'a Table,
    pipeline: &PipelineName,
    values: &Map<String, Value>,
) -> Result<Create<'a>, Fault> {
    if values.contains_key("pipeline") {
        return Err(Fault::invalid_with_hint("\"pipeline\" is in the path.", "Leave it out of the body."));
    }
    Ok(Create { within: Some(pipeline.clone()), ..create(table, values, UnknownStage::Add)? })
}

fn refuses_new_stage(table: &Table, values: &Map<String, Value>, unknown_stage: UnknownStage) -> bool {
    unknown_stage == UnknownStage::Refuse
        && table.entity().is_some_and(|entity| entity.write_rule == WriteRule::InPipeline)
        && PLACE.iter().any(|column| values.contains_key(*column))
}

/// The columns for the place of a record in a pipeline.
pub const PLACE: [&str; 2] = ["pipeline", "stage"];

/// Plans to update a record.
pub fn update<'a>(
    table: &'a Table,
    id: &RecordName,
    values: &Map<String, Value>,
    unknown_stage: UnknownStage,
) -> Result<Update<'a>, Fault> {
    let refuses_new_stage = refuses_new_stage(table, values, unknown_stage);
    if table.write_rule() == WriteRule::InPipeline && values.get("stage").is_some_and(Value::is_null) {
        return Err(Fault::ValidationFailed {
            message: "\"stage\" must have a value.".into(),
            hint: Some("Leave it out to keep the stage, or name another one.".into()),
            field: Some("stage".into()),
        });
    }
    let changes = values
        .iter()
        .map(|(name, value)| {
            let column = writable_column(table, name)?;
            Ok((column.name.as_str(), change(column, value)?))
        })
        .collect::<Result<_, Fault>>()?;
    Ok(Update { table, name: name(table, id)?, changes, refuses_new_stage })
}

/// Plans to delete a record.
pub fn delete<'a>(table: &'a Table, id: &RecordName, hard: bool) -> Result<Delete<'a>, Fault> {
    let naming = naming_columns(table.entity(), |column| table.column(column).is_some());
    Ok(Delete { table, name: name(table, id)?, key: table.key()?, naming, hard: hard || !table.soft_deletes() })
}

/// Plans to restore a record. Refuses tables without `deleted_at`.
pub fn restore<'a>(table: &'a Table, id: &RecordName) -> Result<Restore<'a>, Fault> {
    let name = name(table, id)?;
    if !table.soft_deletes() {
        return Err(Fault::invalid_with_hint(
            format!("Rows of \"{}\" are not hidden when deleted; there is nothing to restore.", table.name),
            format!("ALTER TABLE {} ADD COLUMN deleted_at timestamptz makes deletions undoable.", table.name),
        ));
    }
    Ok(Restore { table, name })
}

/// Merges jsonb columns one level deep. A key that is null is removed. `custom: null` empties the column.
fn change(column: &Column, value: &Value) -> Result<Change, Fault> {
    match value {
        Value::Null if is_free_form(column) => Ok(Change::Set(Some("{}".into()))),
        Value::Object(_) if has_nul(value) => Err(nul(&column.name)),
        // The operators are those of jsonb, which json lacks.
        value
            if let Some((kind, operand)) = kind_of(value)
                && !is_free_form(column)
                && (column.kind != TypeKind::Json || column.type_name == "jsonb") =>
        {
            let edit = edits::edit(column, kind, operand)?;
            Ok(Change::Edit { edit, is_json: column.kind == TypeKind::Json })
        }
        Value::Object(object) if column.type_name == "jsonb" => {
            let (mut add, mut names, mut edits) = (Map::new(), Vec::new(), Vec::new());
            for (key, value) in object {
                match kind_of(value) {
                    _ if value.is_null() => names.push(key.clone()),
                    Some((kind, operand)) => edits.push(edits::key_edit(key, kind, operand)),
                    None => drop(add.insert(key.clone(), value.clone())),
                }
            }
            let remove = (!names.is_empty()).then(|| array_of_texts(&names));
            Ok(Change::Merge { add: Value::Object(add).to_string(), remove, edits })
        }
        value => value_for(column, value).map(Change::Set),
    }
}

pub(super) fn writable_column<'a>(table: &'a Table, name: &str) -> Result<&'a Column, Fault> {
    let Some(column) = table.column(name) else {
        let known = table.columns.iter().map(|column| column.name.as_str());
        return Err(Fault::unknown_field(name, known.filter(|it| !READ_ONLY_COLUMNS.contains(it))));
    };
    let is_own_key = table.entity().is_none() && name == "id" && table.primary_key == ["id"] && !column.generated;
    if column.generated || (READ_ONLY_COLUMNS.contains(&name) && !is_own_key) {
        return Err(Fault::invalid_with_hint(format!("\"{name}\" is read-only."), "Leave it out; the server sets it."));
    }
    Ok(column)
}

impl Find<'_> {
    pub(super) fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        let mut results = results.into_iter();
        let row = results.next().ok_or_else(|| Fault::internal("a look-up gave no result"))?;
        let mut start = self.table.columns.len();
        let mut current = has_columns(&row, 0, self.table);
        let mut parts = Vec::with_capacity(self.to_one.len());
        for relation in &self.to_one {
            let (width, id_at) = (relation.table.columns.len(), position(relation.table, "id"));
            current &= has_columns(&row, start, relation.table);
            parts.push(Part { key: relation.key, start, width, id_at });
            start += width;
        }
        if !current || row.columns().len() != start {
            return Ok(Outcome::CatalogIsOld);
        }
        if row.is_empty() {
            return Err(not_found(self.table, &self.name.value));
        }
        let related = self.to_many.iter().map(|relation| relation.key).zip(results).collect();
        let (entity, width) = (self.table.entity(), self.table.columns.len());
        Ok(Outcome::Answer(Answer::Record { record: Record { entity, row, width, parts, related }, created: false }))
    }
}

impl Create<'_> {
    pub(super) fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        let row = one(results)?;
        if row.is_empty() {
            return match &self.within {
                Some(pipeline) => Ok(Outcome::NoRow(no_pipeline(pipeline))),
                None => Err(left_out()),
            };
        }
        Ok(Outcome::Answer(Answer::Record { record: bare(self.table, row), created: true }))
    }
}

impl<'a> Update<'a> {
    /// The columns that get a new value, without merged columns.
    pub fn set_values(&self) -> Vec<(&'a str, Option<String>)> {
        let set = |change: &Change| match change {
            Change::Set(value) => Some(value.clone()),
            Change::Merge { .. } | Change::Edit { .. } => None,
        };
        self.changes.iter().filter_map(|(column, change)| Some((*column, set(change)?))).collect()
    }

    pub(super) fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        let row = one(results)?;
        if row.is_empty() {
            return Ok(Outcome::NoRow(not_found(self.table, &self.name.value)));
        }
        Ok(Outcome::Answer(Answer::Record { record: bare(self.table, row), created: false }))
    }
}

impl Restore<'_> {
    pub(super) fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        let row = one(results)?;
        if row.is_empty() {
            return Ok(Outcome::NoRow(not_found(self.table, &self.name.value)));
        }
        Ok(Outcome::Answer(Answer::Record { record: bare(self.table, row), created: false }))
    }
}

impl Delete<'_> {
    pub(super) fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        let row = one(results)?;
        if row.is_empty() {
            return Ok(Outcome::NoRow(not_found(self.table, &self.name.value)));
        }
        let text = |name| String::from_utf8_lossy(row.named(0, name).unwrap_or(b"null")).into_owned();
        Ok(Outcome::Answer(Answer::Deleted {
            entity: self.table.entity(),
            id: text("id"),
            deleted_at: text("deleted_at"),
            name: called(|column| row.string(0, column)),
            with: Vec::new(),
            note: self.table.entity().and_then(|entity| entity.deletion_note),
        }))
    }
}

/// A record as the write returned it. Its columns are not compared with the catalog, because the write is done.
pub(super) fn bare(table: &Table, row: Rows) -> Record {
    let width = row.columns().len();
    Record { entity: table.entity(), row, width, parts: Vec::new(), related: Vec::new() }
}

fn position(table: &Table, column: &str) -> usize {
    table.columns.iter().position(|it| it.name == column).unwrap_or(0)
}

/// The table of pipelines.
const PIPELINES: &str = "pipelines";

/// The fault of a pipeline that does not exist.
pub(super) fn no_pipeline(pipeline: &PipelineName) -> Fault {
    let id = match pipeline {
        PipelineName::Default => "default",
        PipelineName::Key(key) => key,
    };
    Fault::NotFound { table: PIPELINES.into(), id: id.to_owned() }
}

pub(super) fn not_found(table: &Table, id: &str) -> Fault {
    Fault::NotFound { table: table.name.clone(), id: id.to_owned() }
}
