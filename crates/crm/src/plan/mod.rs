//! Plans: asks that have been resolved against the workspace. This module resolves names, converts values and checks the
//! caller's rights. It also makes the answer from the rows of a plan's statements.
//!
//! This module does not depend on wire formats and does not write SQL.

pub mod automation;
pub mod automation_stages;
pub mod batch;
mod cell;
pub mod control;
pub mod edits;
pub mod email;
pub mod email_settings;
pub mod events;
pub mod filter;
pub mod link;
pub mod list;
pub mod mailbox;
pub mod merge;
pub mod placeholder;
pub mod raw;
pub mod record;
pub mod saved;
pub mod search;
pub mod search_all;
pub mod tables;

use crate::model::answer::Answer;
use crate::model::ask::{Ask, STAGES, Single, Steps};
use crate::model::catalog::{Catalog, Table};
use crate::model::entity::{WriteRule, by_table};
use crate::model::fault::Fault;
use crate::model::filter::Deleted;
use crate::model::lifecycle::Phase;
use crate::model::rows::Rows;
use crate::model::who::{Feature, Role, Who};

/// An ask, resolved against the tables of the workspace.
#[derive(Debug)]
pub enum Plan<'a> {
    /// List a page of a table.
    List(list::List<'a>),
    /// Find one record.
    Find(record::Find<'a>),
    /// Create a record.
    Create(record::Create<'a>),
    /// Create an association.
    Link(link::Link<'a>),
    /// Update a record.
    Update(record::Update<'a>),
    /// Delete a record.
    Delete(record::Delete<'a>),
    /// Restore a deleted record.
    Restore(record::Restore<'a>),
    /// Merge records.
    Merge(merge::Merge<'a>),
    /// Search a table.
    Search(search::Search<'a>),
    /// List the tables, or a page of them.
    Tables(Option<tables::TablePage>),
    /// Describe the tables in full, or one of them.
    Schema(Option<&'a Table>),
}

/// The outcome of a plan's statements.
#[derive(Debug)]
pub enum Outcome {
    /// The answer to the ask.
    Answer(Answer),
    /// The columns of the result differ from the catalog. The ask must be planned again with a fresh catalog.
    CatalogIsOld,
    /// No row was written. The fault says why, unless the row is there for it (`sql::write::target`): then code of the workspace's own left it out.
    NoRow(Fault),
}

/// The fault of a row that a trigger of the workspace's own does not let the server write. `kith.write_each()` says the same.
pub fn left_out() -> Fault {
    let message = "a trigger of the workspace's own left the row out.".into();
    Fault::ValidationFailed { message, hint: None, field: None }
}

/// Resolves an ask. Asks of several steps have their own plans: [`raw`], [`saved`], [`batch`], [`search_all`].
pub fn plan<'a>(ask: &Single, catalog: &'a Catalog) -> Result<Plan<'a>, Fault> {
    match ask {
        Single::List { table, filters, deleted, sort, page } => {
            let asked = list::Asked { filters, deleted: *deleted, sort: sort.as_ref(), page };
            list::plan(catalog.table(table)?, &asked).map(Plan::List)
        }
        Single::Find { table, id, deleted, related } => {
            record::find(catalog, catalog.table(table)?, id, *deleted, related).map(Plan::Find)
        }
        Single::Create { table, values, unknown_stage } => {
            let table = catalog.table(table)?;
            match table.write_rule() {
                WriteRule::Edge => link::plan(catalog, table, values).map(Plan::Link),
                WriteRule::Plain | WriteRule::InPipeline => {
                    record::create(writable(table)?, values, *unknown_stage).map(Plan::Create)
                }
            }
        }
        Single::CreateStage { pipeline, values } => {
            record::create_stage(catalog.table(STAGES)?, pipeline, values).map(Plan::Create)
        }
        Single::Stages { pipeline, page } => list::stages(catalog.table(STAGES)?, pipeline, page).map(Plan::List),
        Single::Update { table, id, values, unknown_stage } => {
            let table = catalog.table(table)?;
            if table.write_rule() == WriteRule::Edge {
                link::stays(values)?;
            }
            record::update(writable(table)?, id, values, *unknown_stage).map(Plan::Update)
        }
        Single::Delete { table, id, hard } => {
            record::delete(writable(catalog.table(table)?)?, id, *hard).map(Plan::Delete)
        }
        Single::Restore { table, id } => record::restore(writable(catalog.table(table)?)?, id).map(Plan::Restore),
        Single::Merge { table, id, from, prefer } => {
            merge::plan(writable(catalog.table(table)?)?, id, from, prefer).map(Plan::Merge)
        }
        Single::Search { table, words, page } => search::plan(catalog.table(table)?, words, page).map(Plan::Search),
        Single::Tables { page } => page.as_ref().map(tables::plan).transpose().map(Plan::Tables),
        Single::Schema { table } => {
            let table = table.as_deref().map(|name| catalog.table(name)).transpose()?;
            Ok(Plan::Schema(table))
        }
    }
}

/// Refuses an ask if the caller may not do it. Raw SQL of a caller who can only read is allowed here. It runs in a
/// session that PostgreSQL keeps read-only. Operations of a batch are refused one by one.
pub fn allow(ask: &Ask, who: &Who) -> Result<(), Fault> {
    if who.phase == Phase::Revoked {
        return Err(Fault::Unauthorized {
            message: "This workspace was not claimed within 14 days; its keys have ended.".into(),
        });
    }
    let feature = ask.table().and_then(by_table).and_then(|entity| entity.feature);
    if let Some(feature) = feature.filter(|feature| !who.features.has(*feature)) {
        return Err(lacking(feature));
    }
    if !who.may_run_sql && matches!(ask, Ask::Steps(Steps::Sql { .. })) {
        return Err(Fault::Forbidden { message: "This app was connected without the right to run SQL.".into() });
    }
    if !ask.writes() || matches!(ask, Ask::Steps(Steps::Sql { .. }) | Ask::Operations(_)) {
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

fn lacking(feature: Feature) -> Fault {
    let (message, hint) = match feature {
        Feature::Associations => (
            "This workspace's plan has no associations.",
            "company_id, contact_id and deal_id link records on every plan.",
        ),
    };
    Fault::Refused { code: "plan_required", message: message.into(), hint: Some(hint.into()) }
}

/// Whether the caller's sessions must be read-only.
pub fn reads_only(who: &Who) -> bool {
    who.role == Role::Viewer || matches!(who.phase, Phase::ReadOnly { .. })
}

/// Refuses a table that can't be written.
pub fn writable(table: &Table) -> Result<&Table, Fault> {
    if table.writable {
        return Ok(table);
    }
    Err(Fault::Forbidden {
        message: match table.entity() {
            Some(_) => format!("Only triggers write to {}; it can be read, not written.", table.name),
            None => format!("{} is a view; it can be read, not written.", table.name),
        },
    })
}

impl<'a> Plan<'a> {
    /// Whether the plan reads a record by its key, or a page of a built-in table by an index. Such a read takes less
    /// than a millisecond and can share a round trip with others.
    pub fn is_quick_read(&self) -> bool {
        match self {
            Plan::Find(_) => true,
            Plan::List(list) => {
                let is_plain = list.conditions.is_empty() && list.deleted == Deleted::Exclude;
                is_plain && !list.order.is_asked && list.table.entity().is_some()
            }
            Plan::Create(_)
            | Plan::Link(_)
            | Plan::Update(_)
            | Plan::Delete(_)
            | Plan::Restore(_)
            | Plan::Merge(_)
            | Plan::Search(_)
            | Plan::Tables(_)
            | Plan::Schema(_) => false,
        }
    }

    /// The table of the plan, if it has one.
    pub fn table(&self) -> Option<&'a Table> {
        Some(match self {
            Plan::List(list) => list.table,
            Plan::Find(find) => find.table,
            Plan::Create(create) => create.table,
            Plan::Link(link) => link.create.table,
            Plan::Update(update) => update.table,
            Plan::Delete(delete) => delete.table,
            Plan::Restore(restore) => restore.table,
            Plan::Merge(merge) => merge.table,
            Plan::Search(search) => search.table,
            Plan::Tables(_) | Plan::Schema(_) => return None,
        })
    }

    /// Creates the answer from the rows of the plan's statements, in their order.
    pub fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        match self {
            Plan::List(list) => list.answer(results),
            Plan::Find(find) => find.answer(results),
            Plan::Create(create) => create.answer(results),
            Plan::Link(link) => link.answer(results),
            Plan::Update(update) => update.answer(results),
            Plan::Delete(delete) => delete.answer(results),
            Plan::Restore(restore) => restore.answer(results),
            Plan::Merge(merge) => merge.answer(results),
            Plan::Search(search) => search.answer(results),
            Plan::Tables(page) => Ok(Outcome::Answer(tables::answer(page.as_ref(), one(results)?))),
            Plan::Schema(_) => {
                let rows = one(results)?;
                let text = rows.named(0, "schema").map(|json| String::from_utf8_lossy(json).into_owned());
                Ok(Outcome::Answer(Answer::Object { text: text.unwrap_or_default(), created: false }))
            }
        }
    }
}

/// Whether the result has the columns of the table, in order, beginning at `start`.
fn has_columns(rows: &Rows, start: usize, table: &Table) -> bool {
    rows.columns().len() >= start + table.columns.len()
        && rows.columns()[start..].iter().zip(&table.columns).all(|(found, known)| *found.name == *known.name)
}

fn one(results: Vec<Rows>) -> Result<Rows, Fault> {
    results.into_iter().next().ok_or_else(|| Fault::internal("a plan's statement gave no result"))
}
