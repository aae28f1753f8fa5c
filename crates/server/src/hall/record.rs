//! Asks that need only one plan.

use crm::model::answer::Answer;
use crm::model::ask::Single;
use crm::model::catalog::Catalog;
use crm::model::fault::Fault;
use crm::plan::{self, Outcome, Plan};
use crm::sql;

use crate::hall::execution::{Attempt, Execution, PlanError, Planning, attempted};
use crate::hall::{conflict, saved};
use crate::store::fault::RunError;

/// An ask that needs only one plan.
pub struct OnePlan<'a> {
    /// The caller's ask.
    pub ask: &'a Single,
}

impl Attempt for OnePlan<'_> {
    type Outcome = Answer;

    async fn once(&self, execution: &mut Execution<'_>, planning: &Planning) -> Result<Answer, PlanError> {
        once(execution, &planning.catalog, self.ask).await
    }
}

async fn once(execution: &mut Execution<'_>, catalog: &Catalog, ask: &Single) -> Result<Answer, PlanError> {
    let mut plan = plan::plan(ask, catalog).map_err(PlanError::PerhapsStale)?;
    if let Plan::Create(create) = &mut plan {
        create.give_id(|prefix| execution.app.clock.id(prefix));
    }
    if let Some(draft) = plan::saved::draft(ask) {
        // On the heap, because it is large and other asks do not need it.
        Box::pin(saved::check_definition(execution, catalog, &draft)).await?;
    }
    if let Some(member) = plan::saved::member(ask) {
        Box::pin(saved::check_member(execution, catalog, &member)).await?;
    }
    let statements = sql::statements(&plan);
    let rows = if plan.is_quick_read() {
        execution.read_quickly(statements).await
    } else if ask.writes() {
        execution.write(&statements).await
    } else {
        execution.read(&statements).await
    };
    match rows {
        Ok(rows) => match plan.answer(rows).map_err(PlanError::Final)? {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::CatalogIsOld => Err(PlanError::Stale),
            // On the heap, like all that most calls do not need.
            Outcome::NoRow(fault) => Box::pin(without_row(execution, &plan, fault)).await,
        },
        Err(RunError::Fault(fault)) => Err(PlanError::Final(named(fault, &plan, ask))),
        Err(RunError::Taken { message, constraint }) => {
            let recorded = Box::pin(conflict::record(execution, &plan, ask, &constraint)).await;
            let existing_id = recorded.unwrap_or_else(|fault| {
                tracing::warn!(fault = fault.in_log(), "a conflict could not be recorded");
                None
            });
            Err(PlanError::Final(Fault::Conflict { message, constraint, existing_id }))
        }
        Err(error @ RunError::CatalogIsOld(_)) => Err(attempted(error)),
    }
}

/// The outcome of a write that has left no row: the fault, or that of a row that code of the workspace's own left out.
async fn without_row(execution: &mut Execution<'_>, plan: &Plan<'_>, fault: Fault) -> Result<Answer, PlanError> {
    if let Some(target) = sql::write::target(plan) {
        let found = execution.read(&[target]).await.map_err(attempted)?;
        let is_there = found.first().is_some_and(|rows| !rows.is_empty());
        return Err(PlanError::Final(if is_there { plan::left_out() } else { fault }));
    }
    // An association that another request has deleted in the meantime can be made now.
    let rows = execution.write(&sql::statements(plan)).await.map_err(attempted)?;
    match plan.answer(rows).map_err(PlanError::Final)? {
        Outcome::Answer(answer) => Ok(answer),
        Outcome::CatalogIsOld => Err(PlanError::Stale),
        Outcome::NoRow(_) => Err(PlanError::Final(plan::left_out())),
    }
}

/// If PostgreSQL can't parse an id, no record has it. The fault then names the table and id of the path.
fn named(fault: Fault, plan: &Plan<'_>, ask: &Single) -> Fault {
    match (fault, ask, plan.table()) {
        (
            Fault::NotFound { .. },
            Single::Find { id, .. }
            | Single::Update { id, .. }
            | Single::Delete { id, .. }
            | Single::Restore { id, .. }
            | Single::Merge { id, .. },
            Some(table),
        ) => Fault::NotFound { table: table.name.clone(), id: id.text().to_owned() },
        (fault, _, _) => fault,
    }
}
