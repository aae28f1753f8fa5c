//! Reads whose answers are shown together. Their statements share one transaction and one round trip.

use crm::model::answer::Answer;
use crm::model::ask::{Ask, Single};
use crm::model::fault::Fault;
use crm::plan::{self, Outcome};
use crm::sql;

use crate::access::Caller;
use crate::app::App;
use crate::hall::execution::{Attempt, Execution, PlanError, Planning, attempted};

/// Performs asks that only read. `None` if they have to be performed one by one, because one of them is of another kind or
/// fails; then that says why. The answer to an ask that the caller may not make is left out.
pub async fn read_together(app: &App, caller: &Caller, asks: &[&Ask]) -> Option<Vec<Option<Answer>>> {
    let mut reads = Vec::with_capacity(asks.len());
    for ask in asks {
        match ask {
            _ if plan::allow(ask, &caller.who).is_err() => reads.push(None),
            Ask::Single(single) if !ask.writes() => reads.push(Some(single)),
            _ => return None,
        }
    }
    let _turn = caller.turn(app).await.ok()?;
    let mut execution = Execution::per_plan(app, caller).await.ok()?;
    execution.with_fresh_catalog(&Reads { reads }).await.ok()
}

struct Reads<'a> {
    reads: Vec<Option<&'a Single>>,
}

impl Attempt for Reads<'_> {
    type Outcome = Vec<Option<Answer>>;

    async fn once(&self, execution: &mut Execution<'_>, planning: &Planning) -> Result<Self::Outcome, PlanError> {
        let plan = |ask: &Single| plan::plan(ask, &planning.catalog).map_err(PlanError::PerhapsStale);
        let plans = self.reads.iter().map(|ask| ask.map(plan).transpose()).collect::<Result<Vec<_>, _>>()?;
        let mut statements = Vec::new();
        let mut counts = Vec::with_capacity(plans.len());
        for plan in &plans {
            let before = statements.len();
            statements.extend(plan.iter().flat_map(sql::statements));
            counts.push(statements.len() - before);
        }
        let mut rows = execution.read(&statements).await.map_err(attempted)?.into_iter();
        let mut answers = Vec::with_capacity(plans.len());
        for (plan, count) in plans.into_iter().zip(counts) {
            let own: Vec<_> = rows.by_ref().take(count).collect();
            answers.push(match plan.map(|plan| plan.answer(own)).transpose().map_err(PlanError::Final)? {
                None => None,
                Some(Outcome::Answer(answer)) => Some(answer),
                Some(Outcome::CatalogIsOld) => return Err(PlanError::Stale),
                Some(Outcome::NoRow(fault)) => return Err(PlanError::Final(fault)),
            });
        }
        match rows.next() {
            None => Ok(answers),
            Some(_) => Err(PlanError::Final(Fault::internal("more results than statements"))),
        }
    }
}
