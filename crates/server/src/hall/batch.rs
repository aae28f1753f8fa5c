//! Writes a batch: plans each row, writes all rows with few statements, and reports each row's outcome.

use crm::model::answer::Answer;
use crm::model::ask::{BatchRow, Single, UnknownStage};
use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::plan::batch::{self, Batch, Fate};
use crm::plan::{self, Plan, record};
use crm::sql;
use serde_json::{Map, Value};

use crate::hall::conflict;
use crate::hall::execution::{Attempt, Execution, PlanError, Planning, attempted};
use crate::store::fault::RunError;
use crate::store::fault::{Refusal, of_row};

/// The number of conflicts in a batch for which the other record is looked up. Each look-up takes a few round trips.
const CONFLICTS: usize = 50;

/// A batch to be written.
pub struct BatchWrite<'a> {
    /// The table.
    pub table: &'a str,
    /// The records' values. A row that could not be read fails alone.
    pub rows: &'a [BatchRow],
    /// The columns that identify an existing record.
    pub dedup_on: &'a [String],
}

impl Attempt for BatchWrite<'_> {
    type Outcome = Answer;

    async fn once(&self, execution: &mut Execution<'_>, planning: &Planning) -> Result<Answer, PlanError> {
        let batch = self.plan(planning)?;
        run(execution, &batch, self.rows).await
    }
}

impl BatchWrite<'_> {
    fn plan<'c>(&self, planning: &'c Planning) -> Result<Batch<'c>, PlanError> {
        let table = planning.catalog.table(self.table).and_then(plan::writable);
        match table.and_then(|table| batch::plan(table, self.rows, self.dedup_on)) {
            Ok(batch) if planning.is_fresh || !batch::may_be_by_an_old_catalog(&batch) => Ok(batch),
            Ok(_) => Err(PlanError::Stale),
            Err(fault @ Fault::Refused { .. }) => Err(PlanError::Final(fault)),
            Err(fault) => Err(PlanError::PerhapsStale(fault)),
        }
    }
}

async fn run(execution: &mut Execution<'_>, batch: &Batch<'_>, rows: &[BatchRow]) -> Result<Answer, PlanError> {
    let told = one(execution.write(&[sql::batch::write(batch)]).await)?;
    let mut fates: Vec<(usize, Fate)> = (0..told.len()).filter_map(|row| fate(batch, &told, row)).collect();
    let ids: Vec<String> = fates
        .iter()
        .filter_map(|(_, fate)| match fate {
            Fate::Written { id, .. } => Some(id.clone()),
            Fate::Refused(_) => None,
        })
        .collect();
    let shown = one(execution.read(&[sql::batch::show(batch, &ids)]).await)?;
    for (place, fate) in fates.iter_mut().filter(|(_, fate)| is_conflict(fate)).take(CONFLICTS) {
        if let (Fate::Refused(fault), Some(BatchRow::Values(values))) = (fate, rows.get(*place)) {
            record_conflict(execution, batch, values, fault).await;
        }
    }
    batch.answer(fates, shown).map_err(PlanError::Final)
}

/// The result of one statement. No unique key can conflict here: `kith.write_each()` reports each row's refusal itself.
pub(super) fn one(results: Result<Vec<Rows>, RunError>) -> Result<Rows, PlanError> {
    match results {
        Ok(results) => Ok(results.into_iter().next().unwrap_or_default()),
        Err(RunError::Taken { message, .. }) => Err(PlanError::Final(Fault::internal(message))),
        Err(error) => Err(attempted(error)),
    }
}

fn is_conflict(fate: &Fate) -> bool {
    matches!(fate, Fate::Refused(Fault::Conflict { .. }))
}

/// Finds the record that already has the row's key, and enters the refusal in the activity feed.
async fn record_conflict(
    execution: &mut Execution<'_>,
    batch: &Batch<'_>,
    values: &Map<String, Value>,
    fault: &mut Fault,
) {
    let Fault::Conflict { constraint, existing_id, .. } = fault else { return };
    let Ok(create) = record::create(batch.table, values, UnknownStage::Add) else { return };
    let table = batch.table.name.clone();
    let ask = Single::Create { table, values: values.clone(), unknown_stage: UnknownStage::Add };
    match conflict::record(execution, &Plan::Create(create), &ask, constraint).await {
        Ok(found) => *existing_id = found,
        Err(fault) => tracing::warn!(fault = fault.in_log(), "a conflict could not be recorded"),
    }
}

/// The database's result for a row, with the row's number.
pub(super) fn fate(batch: &Batch<'_>, told: &Rows, row: usize) -> Option<(usize, Fate)> {
    let text = |name| told.string(row, name).filter(|text| !text.is_empty());
    let place = std::str::from_utf8(told.named(row, "place")?).ok()?.parse().ok()?;
    let fate = match text("id") {
        Some(id) => Fate::Written { id, created: told.named(row, "created") == Some(b"true") },
        None => Fate::Refused(of_row(Refusal {
            code: text("code").unwrap_or_default(),
            // The rows are values of one parameter, so PostgreSQL does not know the column of a value that it can't convert.
            column: text("field").or_else(|| batch.column_of(place, &text("message")?).map(str::to_owned)),
            message: text("message").unwrap_or_default(),
            detail: text("detail"),
            hint: text("hint"),
            constraint: text("rule"),
        })),
    };
    Some((place, fate))
}
