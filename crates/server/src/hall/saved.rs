//! Saved lists: looks up the list, then finds its rows or changes its members.

use std::collections::HashSet;

use crm::model::answer::{Answer, Record};
use crm::model::catalog::Catalog;
use crm::model::entity::by_table;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::model::rows::Rows;
use crm::plan::saved::{self, Draft, ListKind, Member, Saved};
use crm::plan::{Outcome, left_out};
use crm::sql;

use crate::hall::execution::{Attempt, Execution, PlanError, Planning, attempted};
use crate::store::fault::RunError;

/// A page of a list's rows. The predicate is SQL from the workspace, so it runs read-only, under the limits of raw SQL.
pub async fn rows(execution: &mut Execution<'_>, list_id: &str, page: &PageAsk) -> Result<Answer, Fault> {
    let list = find(execution, list_id).await?;
    execution.with_fresh_catalog(&ListPage { list: &list, page }).await
}

struct ListPage<'a> {
    list: &'a Saved,
    page: &'a PageAsk,
}

impl Attempt for ListPage<'_> {
    type Outcome = Answer;

    async fn once(&self, execution: &mut Execution<'_>, planning: &Planning) -> Result<Answer, PlanError> {
        page_of(execution, &planning.catalog, self.list, self.page).await
    }
}

async fn page_of(
    execution: &mut Execution<'_>,
    catalog: &Catalog,
    list: &Saved,
    page: &PageAsk,
) -> Result<Answer, PlanError> {
    let plan = saved::plan(list, catalog, page).map_err(stale_if_about_columns)?;
    let statement = sql::saved::rows(&plan);
    let result = execution.run_query(&statement, plan.params()).await;
    let (rows, truncated) = result.map_err(|fault| match fault {
        // The position is in a statement that the caller has never seen.
        Fault::Sql(mut error) => {
            error.position = None;
            PlanError::PerhapsStale(Fault::Sql(error))
        }
        other => stale_if_about_columns(other),
    })?;
    match plan.answer(rows, truncated) {
        Outcome::Answer(answer) => Ok(answer),
        Outcome::CatalogIsOld => Err(PlanError::Stale),
        Outcome::NoRow(fault) => Err(PlanError::Final(fault)),
    }
}

/// Refuses a new definition of a list that could not be resolved. A later change of the tables can still break it.
pub async fn check_definition(
    execution: &mut Execution<'_>,
    catalog: &Catalog,
    draft: &Draft<'_>,
) -> Result<(), PlanError> {
    let row = match draft.existing {
        Some(id) => execution.read(&[sql::saved::find(id.text())]).await.map_err(attempted)?.into_iter().next(),
        None => None,
    };
    if draft.existing.is_some() && row.as_ref().is_none_or(Rows::is_empty) {
        // The write answers that the list does not exist.
        return Ok(());
    }
    let Some(list) = draft.read(row.as_ref()).map_err(PlanError::Final)? else { return Ok(()) };
    let plan = saved::plan(&list, catalog, &PageAsk::default()).map_err(of_definition)?;
    execution.check(&sql::saved::check(&plan), plan.params()).await.map_err(of_definition)
}

/// Refuses a member, written as a record, that names no record of its list's table.
pub async fn check_member(
    execution: &mut Execution<'_>,
    catalog: &Catalog,
    member: &Member<'_>,
) -> Result<(), PlanError> {
    let list_id = match (member.list_id, member.existing) {
        (Some(id), _) => Some(id.to_owned()),
        (None, Some(id)) => {
            let results = execution.read(&[sql::saved::list_of(id.text())]).await.map_err(attempted)?;
            results.first().and_then(|rows| rows.string(0, "list_id"))
        }
        (None, None) => None,
    };
    let Some(list_id) = list_id else { return Ok(()) };
    let results = execution.read(&[sql::saved::find(&list_id)]).await.map_err(attempted)?;
    match results.first() {
        Some(rows) if !rows.is_empty() => {
            let list = saved::read(rows).map_err(PlanError::Final)?;
            must_be_there(execution, catalog, &list, &[member.id.to_owned()], "member_id").await
        }
        // The write answers that the list does not exist.
        _ => Ok(()),
    }
}

/// An error that a read of the list would have, as a fault of the values.
fn of_definition(fault: Fault) -> PlanError {
    match fault {
        Fault::Sql(error) => PlanError::PerhapsStale(Fault::ValidationFailed {
            message: error.message,
            hint: error.hint,
            field: Some("filter_predicate".into()),
        }),
        Fault::ValidationFailed { message, field, .. } => {
            PlanError::PerhapsStale(Fault::ValidationFailed { message, hint: None, field })
        }
        other => PlanError::Final(other),
    }
}

/// If a list can't be resolved, it may name columns that the catalog does not have yet.
fn stale_if_about_columns(fault: Fault) -> PlanError {
    match fault {
        fault @ Fault::ValidationFailed { .. } => PlanError::PerhapsStale(fault),
        fault => PlanError::Final(fault),
    }
}

/// Records to add to a static list. Existing members stay as they are.
pub struct NewMembers<'a> {
    /// The list's id.
    pub list_id: &'a str,
    /// The records' ids.
    pub ids: &'a [String],
    /// Whether the ids came as an array. If so, the answer is an array.
    pub several: bool,
}

impl Attempt for NewMembers<'_> {
    type Outcome = Answer;

    async fn once(&self, execution: &mut Execution<'_>, planning: &Planning) -> Result<Answer, PlanError> {
        let list = find_static(execution, self.list_id).await.map_err(PlanError::Final)?;
        let field = if self.several { "member_ids" } else { "member_id" };
        must_be_there(execution, &planning.catalog, &list, self.ids, field).await?;
        let statements = sql::saved::add_members(self.list_id, self.ids, &execution.caller.who.actor);
        let mut results = execution.write(&statements).await.map_err(attempted)?;
        let rows = results.pop().unwrap_or_default();
        if rows.len() < self.ids.iter().collect::<HashSet<_>>().len() {
            return Err(PlanError::Final(left_out()));
        }
        Ok(if self.several { Answer::Rows { rows, created: true } } else { member(rows) })
    }
}

/// Refuses ids that name no record of the list's table.
async fn must_be_there(
    execution: &mut Execution<'_>,
    catalog: &Catalog,
    list: &Saved,
    ids: &[String],
    field: &str,
) -> Result<(), PlanError> {
    let found = catalog.table(&list.target_table).and_then(|table| Ok((table, table.key()?)));
    let (table, key) = found.map_err(PlanError::PerhapsStale)?;
    let statement = sql::saved::missing(table, key, ids);
    let missing = execution.read(&[statement]).await.map_err(attempted)?;
    match missing.first().and_then(|rows| rows.string(0, "id")) {
        None => Ok(()),
        Some(id) => Err(PlanError::Final(Fault::InvalidReference {
            message: format!("There is no \"{id}\" in {}, which this list is of; no member was added.", table.name),
            hint: None,
            field: field.to_owned(),
        })),
    }
}

fn member(row: Rows) -> Answer {
    let width = row.columns().len();
    let record = Record { entity: by_table("list_members"), row, width, parts: Vec::new(), related: Vec::new() };
    Answer::Record { record, created: true }
}

/// Removes a record from a static list.
pub async fn remove_member(execution: &mut Execution<'_>, list_id: &str, id: &str) -> Result<Answer, Fault> {
    let list = find_static(execution, list_id).await?;
    let results = execution.write(&[sql::saved::remove_member(list_id, id)]).await.map_err(RunError::into_fault)?;
    let Some(rows) = results.into_iter().next().filter(|rows| !rows.is_empty()) else {
        let found = execution.read(&[sql::saved::member(list_id, id)]).await.map_err(RunError::into_fault)?;
        let is_there = found.first().is_some_and(|rows| !rows.is_empty());
        let absent = Fault::NotFound { table: "the list's members".into(), id: id.to_owned() };
        return Err(if is_there { left_out() } else { absent });
    };
    let text = |name| String::from_utf8_lossy(rows.named(0, name).unwrap_or(b"null")).into_owned();
    let entity = by_table("list_members");
    let (id, deleted_at) = (text("id"), text("deleted_at"));
    Ok(Answer::Deleted { entity, id, deleted_at, name: list.name, with: Vec::new(), note: None })
}

async fn find_static(execution: &mut Execution<'_>, list_id: &str) -> Result<Saved, Fault> {
    let list = find(execution, list_id).await?;
    if list.kind == ListKind::Static {
        return Ok(list);
    }
    Err(Fault::ValidationFailed {
        message: "This list is dynamic: its predicate says who is in it.".into(),
        hint: Some("PATCH its filter_predicate, or make a list of kind \"static\".".into()),
        field: None,
    })
}

async fn find(execution: &mut Execution<'_>, list_id: &str) -> Result<Saved, Fault> {
    let results = execution.read(&[sql::saved::find(list_id)]).await.map_err(RunError::into_fault)?;
    match results.first() {
        Some(rows) if !rows.is_empty() => saved::read(rows),
        _ => Err(Fault::NotFound { table: "lists".into(), id: list_id.to_owned() }),
    }
}
