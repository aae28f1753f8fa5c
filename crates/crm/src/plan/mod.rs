//! What an ask means in a workspace: names looked up, values put into the form that the columns take, rights
//! checked. Also the way back: rows become an answer.
//!
//! Knows nothing of wire formats; writes no SQL.

pub mod batch;
pub mod filter;
pub mod link;
pub mod list;
pub mod raw;
pub mod record;
pub mod saved;
pub mod search;
pub mod search_all;

use crate::model::answer::Answer;
use crate::model::ask::Ask;
use crate::model::catalog::{Catalog, Table};
use crate::model::fault::Fault;
use crate::model::filter::Deleted;
use crate::model::lifecycle::Phase;
use crate::model::rows::Rows;
use crate::model::who::{Role, Who};

/// An ask that makes sense in its workspace.
#[derive(Debug)]
pub enum Plan<'a> {
    /// A page of a table.
    List(list::List<'a>),
    /// One record.
    Find(record::Find<'a>),
    /// A new record.
    Create(record::Create<'a>),
    /// A new association.
    Link(link::Link<'a>),
    /// New values.
    Update(record::Update<'a>),
    /// A deletion.
    Delete(record::Delete<'a>),
    /// A deletion undone.
    Restore(record::Restore<'a>),
    /// Records that some words find.
    Search(search::Search<'a>),
    /// The list of tables.
    Tables,
    /// The tables in full.
    Schema,
}

/// What became of the rows: an answer, or the news that the catalog they were planned by is old.
#[derive(Debug)]
pub enum Outcome {
    /// The answer.
    Answer(Answer),
    /// The table's columns are not what the catalog said; plan again by a fresh one.
    CatalogIsOld,
}

/// Settles what an ask means. [`Ask::Sql`] and saved lists have ways of their own, see [`raw`] and [`saved`].
pub fn plan<'a>(ask: &Ask, catalog: &'a Catalog) -> Result<Plan<'a>, Fault> {
    match ask {
        Ask::List { table, filters, deleted, page } => {
            list::plan(catalog.table(table)?, filters, *deleted, page).map(Plan::List)
        }
        Ask::Find { table, id, deleted, related } => {
            record::find(catalog, catalog.table(table)?, id, *deleted, related).map(Plan::Find)
        }
        Ask::Create { table, values, .. } if table == "associations" => {
            link::plan(catalog, catalog.table(table)?, values).map(Plan::Link)
        }
        Ask::Create { table, values, unknown_stage } => {
            record::create(writable(catalog.table(table)?)?, values, *unknown_stage).map(Plan::Create)
        }
        Ask::CreateStage { pipeline, values } => {
            record::create_stage(catalog.table("pipeline_stages")?, pipeline, values).map(Plan::Create)
        }
        Ask::Stages { pipeline, page } => {
            list::stages(catalog.table("pipeline_stages")?, pipeline, page).map(Plan::List)
        }
        Ask::Update { table, id, values, unknown_stage } => {
            if table == "associations" {
                link::stays(values)?;
            }
            record::update(writable(catalog.table(table)?)?, id, values, *unknown_stage).map(Plan::Update)
        }
        Ask::Delete { table, id, hard } => {
            record::delete(writable(catalog.table(table)?)?, id, *hard).map(Plan::Delete)
        }
        Ask::Restore { table, id } => record::restore(writable(catalog.table(table)?)?, id).map(Plan::Restore),
        Ask::Search { table, words, page } => search::plan(catalog.table(table)?, words, page).map(Plan::Search),
        Ask::Tables => Ok(Plan::Tables),
        Ask::Schema => Ok(Plan::Schema),
        Ask::Sql { .. }
        | Ask::Batch { .. }
        | Ask::SearchAll { .. }
        | Ask::ListRows { .. }
        | Ask::AddMembers { .. }
        | Ask::RemoveMember { .. } => Err(Fault::internal("what takes several steps has plans of its own")),
    }
}

/// Whether the ask changes data; raw SQL may.
pub fn writes(ask: &Ask) -> bool {
    match ask {
        Ask::List { .. }
        | Ask::Stages { .. }
        | Ask::Find { .. }
        | Ask::Search { .. }
        | Ask::SearchAll { .. }
        | Ask::ListRows { .. }
        | Ask::Tables
        | Ask::Schema => false,
        Ask::Create { .. }
        | Ask::CreateStage { .. }
        | Ask::Batch { .. }
        | Ask::Update { .. }
        | Ask::Delete { .. }
        | Ask::Restore { .. }
        | Ask::AddMembers { .. }
        | Ask::RemoveMember { .. }
        | Ask::Sql { .. } => true,
    }
}

/// Whether what is known of the tables is old once the ask was answered.
pub fn changes_catalog(ask: &Ask) -> bool {
    match ask {
        Ask::Create { table, .. }
        | Ask::Update { table, .. }
        | Ask::Delete { table, .. }
        | Ask::Restore { table, .. }
        | Ask::Batch { table, .. } => table == "custom_fields",
        Ask::Sql { sql, .. } => raw::body_may_change_catalog(sql),
        Ask::List { .. }
        | Ask::Stages { .. }
        | Ask::Find { .. }
        | Ask::CreateStage { .. }
        | Ask::Search { .. }
        | Ask::SearchAll { .. }
        | Ask::ListRows { .. }
        | Ask::AddMembers { .. }
        | Ask::RemoveMember { .. }
        | Ask::Tables
        | Ask::Schema => false,
    }
}

/// Refuses what the caller may not do. Raw SQL of one who may only read is let through, to run in a session
/// that PostgreSQL itself keeps read-only.
pub fn allow(ask: &Ask, who: &Who) -> Result<(), Fault> {
    if who.phase == Phase::Revoked {
        return Err(Fault::Unauthorized {
            message: "This workspace was not claimed within 14 days; its keys have ended.".into(),
        });
    }
    if !who.features.associations && is_about_associations(ask) {
        return Err(Fault::Refused {
            code: "plan_required",
            message: "This workspace's plan has no associations.".into(),
            hint: Some("company_id, contact_id and deal_id link records on every plan.".into()),
        });
    }
    if !writes(ask) || matches!(ask, Ask::Sql { .. }) {
        return Ok(());
    }
    if matches!(who.phase, Phase::ReadOnly { .. }) {
        return Err(Fault::WorkspaceReadOnly);
    }
    match who.role {
        Role::Viewer => Err(Fault::Forbidden { message: "A viewer's key can read, not write.".into() }),
        Role::Owner | Role::Member => Ok(()),
    }
}

fn is_about_associations(ask: &Ask) -> bool {
    match ask {
        Ask::List { table, .. }
        | Ask::Find { table, .. }
        | Ask::Create { table, .. }
        | Ask::Update { table, .. }
        | Ask::Delete { table, .. }
        | Ask::Restore { table, .. }
        | Ask::Search { table, .. }
        | Ask::Batch { table, .. } => table == "associations",
        Ask::Stages { .. }
        | Ask::CreateStage { .. }
        | Ask::SearchAll { .. }
        | Ask::ListRows { .. }
        | Ask::AddMembers { .. }
        | Ask::RemoveMember { .. }
        | Ask::Tables
        | Ask::Schema
        | Ask::Sql { .. } => false,
    }
}

/// Whether the caller's sessions must be read-only.
pub fn reads_only(who: &Who) -> bool {
    who.role == Role::Viewer || matches!(who.phase, Phase::ReadOnly { .. })
}

/// Refuses a table that can only be read.
pub fn writable(table: &Table) -> Result<&Table, Fault> {
    if table.writable {
        return Ok(table);
    }
    Err(Fault::Forbidden {
        message: match table.entity() {
            Some(_) => format!("{} is written by triggers alone; it can be read, not written.", table.name),
            None => format!("{} is a view; it can be read, not written.", table.name),
        },
    })
}

impl<'a> Plan<'a> {
    /// Whether it reads a record by its key, or a page of a built-in table by an index: work of less than a millisecond,
    /// which may be done in company.
    pub fn is_quick_read(&self) -> bool {
        match self {
            Plan::Find(_) => true,
            Plan::List(list) => {
                list.table.entity().is_some() && list.conditions.is_empty() && list.deleted == Deleted::Exclude
            }
            Plan::Create(_)
            | Plan::Link(_)
            | Plan::Update(_)
            | Plan::Delete(_)
            | Plan::Restore(_)
            | Plan::Search(_)
            | Plan::Tables
            | Plan::Schema => false,
        }
    }

    /// The table that the plan is about, if it is about one.
    pub fn table(&self) -> Option<&'a Table> {
        Some(match self {
            Plan::List(list) => list.table,
            Plan::Find(find) => find.table,
            Plan::Create(create) => create.table,
            Plan::Link(link) => link.create.table,
            Plan::Update(update) => update.table,
            Plan::Delete(delete) => delete.table,
            Plan::Restore(restore) => restore.table,
            Plan::Search(search) => search.table,
            Plan::Tables | Plan::Schema => return None,
        })
    }

    /// Makes the answer of the rows that each statement of the plan gave, in order.
    pub fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        match self {
            Plan::List(list) => list.answer(results),
            Plan::Find(find) => find.answer(results),
            Plan::Create(create) => create.answer(results),
            Plan::Link(link) => link.answer(results),
            Plan::Update(update) => update.answer(results),
            Plan::Delete(delete) => delete.answer(results),
            Plan::Restore(restore) => restore.answer(results),
            Plan::Search(search) => search.answer(results),
            Plan::Tables => Ok(Outcome::Answer(Answer::Rows { rows: one(results)?, created: false })),
            Plan::Schema => {
                let rows = one(results)?;
                let text = rows.named(0, "schema").map(|json| String::from_utf8_lossy(json).into_owned());
                Ok(Outcome::Answer(Answer::Object { text: text.unwrap_or_default(), created: false }))
            }
        }
    }
}

/// Whether the columns of a result from `start` on are those of the table, in order.
fn has_columns(rows: &Rows, start: usize, table: &Table) -> bool {
    rows.columns().len() >= start + table.columns.len()
        && rows.columns()[start..].iter().zip(&table.columns).all(|(found, known)| *found.name == *known.name)
}

fn one(results: Vec<Rows>) -> Result<Rows, Fault> {
    results.into_iter().next().ok_or_else(|| Fault::internal("a plan's statement gave no result"))
}
