//! A batch: planned row by row, written by few statements, and every row's fate told.

use std::sync::Arc;
use std::time::Instant;

use crm::model::answer::Answer;
use crm::model::ask::{Ask, UnknownStage};
use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::plan::batch::{self, Batch, Fate};
use crm::plan::{self, Plan, record};
use crm::sql;
use serde_json::{Map, Value};

use crate::hall::{Caller, access, broken, conflict, context, unsettled};
use crate::store::Store;
use crate::store::fault::{Refusal, of_row};
use crate::store::tenant::catalogs::DatabaseCache;
use crate::store::tenant::run::RunError;
use crate::store::tenant::transaction::Transaction;

/// Writes a batch.
pub async fn write(
    store: &Store,
    session: &mut Transaction,
    caller: Caller<'_>,
    table: &str,
    rows: &[Result<Map<String, Value>, Fault>],
    dedup_on: &[String],
) -> Result<Answer, Fault> {
    let known = store.known(caller.place);
    let mut not_before = None;
    for _ in 0..super::PLANS {
        let asked_at = Instant::now();
        let catalog = store.catalog(caller.place, access(caller.who), &known, not_before).await?;
        let planned =
            catalog.table(table).and_then(plan::writable).and_then(|table| batch::plan(table, rows, dedup_on));
        match planned {
            Ok(batch) if not_before.is_some() || !batch::may_be_by_an_old_catalog(&batch) => {
                match run(store, session, caller, &known, &batch, rows).await {
                    Err(RunError::CatalogIsOld(fault)) if broken(session) => return Err(fault),
                    Err(RunError::CatalogIsOld(_)) => {}
                    Err(RunError::Fault(fault)) => return Err(fault),
                    Err(RunError::Taken { message, .. }) => return Err(Fault::internal(message)),
                    Ok(answer) => return Ok(answer),
                }
            }
            Err(fault) if not_before.is_some() || matches!(fault, Fault::Refused { .. }) => return Err(fault),
            // By a catalog that was read just now, what it says holds.
            Ok(_) | Err(_) => {}
        }
        not_before = Some(asked_at);
    }
    Err(unsettled())
}

async fn run(
    store: &Store,
    session: &mut Transaction,
    caller: Caller<'_>,
    known: &Arc<DatabaseCache>,
    batch: &Batch<'_>,
    rows: &[Result<Map<String, Value>, Fault>],
) -> Result<Answer, RunError> {
    let mut run = async |context: Option<&sql::Sql>, statement: sql::Sql| {
        let (place, access) = (caller.place, access(caller.who));
        let results = store.run(session, place, access, &known.types, context, &[statement], false).await?;
        Ok::<_, RunError>(results.into_iter().next().unwrap_or_default())
    };
    let context = context(store, caller);
    let told = run(Some(&context), sql::batch::write(batch)).await?;
    let mut fates: Vec<(usize, Fate)> = (0..told.len()).filter_map(|row| fate(&told, row)).collect();
    let ids: Vec<String> = fates
        .iter()
        .filter_map(|(_, fate)| match fate {
            Fate::Written { id, .. } => Some(id.clone()),
            Fate::Refused(_) => None,
        })
        .collect();
    let shown = run(None, sql::batch::show(batch, &ids)).await?;
    for (place, fate) in fates.iter_mut().filter(|(_, fate)| is_conflict(fate)).take(CONFLICTS) {
        if let (Fate::Refused(fault), Some(Ok(values))) = (fate, rows.get(*place)) {
            tell_conflict(store, caller, known, batch, values, fault).await;
        }
    }
    batch.answer(fates, shown).map_err(RunError::Fault)
}

/// Conflicts of a batch whose other side is looked for: each takes a few round trips.
const CONFLICTS: usize = 50;

fn is_conflict(fate: &Fate) -> bool {
    matches!(fate, Fate::Refused(Fault::Conflict { .. }))
}

/// Finds who has the key that a row wants as well, and puts the refusal into the feed, as for a record by itself.
async fn tell_conflict(
    store: &Store,
    caller: Caller<'_>,
    known: &Arc<DatabaseCache>,
    batch: &Batch<'_>,
    values: &Map<String, Value>,
    fault: &mut Fault,
) {
    let Fault::Conflict { constraint, existing_id, .. } = fault else { return };
    let Ok(create) = record::create(batch.table, values, UnknownStage::Add) else { return };
    let table = batch.table.name.clone();
    let ask = Ask::Create { table, values: values.clone(), unknown_stage: UnknownStage::Add };
    match conflict(store, caller, known, &Plan::Create(create), &ask, constraint).await {
        Ok(found) => *existing_id = found,
        Err(fault) => tracing::warn!(?fault, "a conflict could not be recorded"),
    }
}

/// What the database says of a row, and which one it is.
fn fate(told: &Rows, row: usize) -> Option<(usize, Fate)> {
    let text = |name| told.string(row, name).filter(|text| !text.is_empty());
    let place = std::str::from_utf8(told.named(row, "place")?).ok()?.parse().ok()?;
    let fate = match text("id") {
        Some(id) => Fate::Written { id, created: told.named(row, "created") == Some(b"true") },
        None => Fate::Refused(of_row(Refusal {
            code: text("code").unwrap_or_default(),
            message: text("message").unwrap_or_default(),
            detail: text("detail"),
            hint: text("hint"),
            column: text("field"),
            constraint: text("rule"),
        })),
    };
    Some((place, fate))
}
