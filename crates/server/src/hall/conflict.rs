//! Conflicts on a unique key: finds the record that has the key, and enters the refusal in the activity feed. Both happen
//! outside the call's transaction, because the refusal has aborted it. If it has not, in a batch of operations, both are part of
//! the transaction. A batch that fails leaves no entry.

use std::time::Instant;

use crm::model::ask::Single;
use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::plan::Plan;
use crm::sql::Sql;
use crm::sql::conflict::{self, Attempt};
use serde_json::{Map, Value};

use crate::hall::Effect;
use crate::hall::execution::Execution;
use crate::store::fault::RunError;
use crate::store::tenant::transaction::Transaction;

/// Finds the record that has the key, and enters the refusal in the activity feed.
pub async fn record(
    execution: &mut Execution<'_>,
    plan: &Plan<'_>,
    ask: &Single,
    constraint: &str,
) -> Result<Option<String>, Fault> {
    let Some(table) = plan.table() else { return Ok(None) };
    execution.end_aborted_batch().await;
    let fresh;
    let (table, index) = match table.unique(constraint) {
        Some(index) => (table, index),
        // The key was created after the catalog was read, or it belongs to another table that a trigger wrote to.
        None => {
            fresh = execution.catalog(Some(Instant::now())).await?;
            let table = fresh.table(&table.name)?;
            let Some(index) = table.unique(constraint) else { return Ok(None) };
            (table, index)
        }
    };
    let nothing = Map::new();
    let (attempt, values) = match (plan, ask) {
        (Plan::Create(create), Single::Create { values, .. } | Single::CreateStage { values, .. }) => {
            (Attempt { name: None, within: create.within.as_ref(), values: create.values.clone() }, values)
        }
        (Plan::Update(update), Single::Update { values, .. }) => {
            (Attempt { name: Some(&update.name), within: None, values: update.set_values() }, values)
        }
        (Plan::Restore(restore), _) => {
            (Attempt { name: Some(&restore.name), within: None, values: Vec::new() }, &nothing)
        }
        _ => return Ok(None),
    };
    let found = run(execution, &[], conflict::find(table, table.key()?, index, &attempt)).await?;
    let existing_id = if found.is_empty() { None } else { found.string(0, "existing_id") };
    if execution.effect == Effect::DryRun || execution.is_ended_batch() {
        return Ok(existing_id);
    }
    let secret = execution.app.store.secret_of(&execution.caller.database);
    let json = Value::Object(attempted(ask, values)).to_string();
    let statement = conflict::record(secret.expose(), table.subject(), constraint, existing_id.clone(), json);
    let context = [execution.named(&[])];
    run(execution, &context, statement).await?;
    Ok(existing_id)
}

async fn run(execution: &mut Execution<'_>, context: &[Sql], statement: Sql) -> Result<Rows, Fault> {
    let results = match execution.together {
        Some(_) => execution.read(&[statement]).await,
        None => execution.tenant.run(&mut Transaction::PerPlan, context, &[statement]).await,
    };
    results.map(|results| results.into_iter().next().unwrap_or_default()).map_err(RunError::into_fault)
}

/// The attempt, as the feed describes it: the values, and the row to be updated or restored.
fn attempted(ask: &Single, values: &Map<String, Value>) -> Map<String, Value> {
    let mut attempted = values.clone();
    match ask {
        Single::Update { id, .. } => {
            attempted.entry("id").or_insert_with(|| id.text().into());
        }
        Single::Restore { id, .. } => {
            attempted.insert("restored".to_owned(), id.text().into());
        }
        _ => {}
    }
    attempted
}
