//! Runs, and undo.

use crm::model::answer::Answer;
use crm::model::ask::Undoable;
use crm::model::change::Change;
use crm::model::fault::Fault;
use crm::model::page::{Cursor, PageAsk, scope};
use crm::model::rows::Rows;
use crm::sql;
use serde_json::{Map, Value};

use crate::clock::iso;
use crate::hall::execution::{Execution, UndoRun};
use crate::store::fault::RunError;

const SECONDS_A_DAY: i64 = 86_400;

/// Opens a run.
pub async fn open(
    execution: &mut Execution<'_>,
    run_id: &str,
    agent: Option<&str>,
    reason: Option<&str>,
) -> Result<Answer, Fault> {
    let (secret, who) = (secret(execution), &execution.caller.who);
    let said = &execution.caller.provenance;
    let (agent, reason) = (agent.or(said.agent.as_deref()), reason.or(said.reason.as_deref()));
    let statement = sql::log::open_run(&secret, &who.actor, run_id, agent, reason);
    let rows = write(execution, statement).await?;
    let created = rows.named(0, "created") == Some(b"true");
    run(&rows).map(|run| Answer::Run { run, created }).ok_or_else(|| Fault::internal("no run came"))
}

/// Finds a run.
pub async fn find(execution: &mut Execution<'_>, name: &str) -> Result<Answer, Fault> {
    found(execution, name).await.map(|run| Answer::Run { run, created: false })
}

/// Ends a run.
pub async fn finish(
    execution: &mut Execution<'_>,
    name: &str,
    is_complete: bool,
    summary: Option<&str>,
) -> Result<Answer, Fault> {
    let (secret, actor) = (secret(execution), execution.caller.who.actor.clone());
    let status = if is_complete { "complete" } else { "failed" };
    let rows = write(execution, sql::log::finish_run(&secret, &actor, name, status, summary)).await?;
    run(&rows).map(|run| Answer::Run { run, created: false }).ok_or_else(|| unknown("runs", name))
}

/// Lists a page of runs.
pub async fn list(
    execution: &mut Execution<'_>,
    filters: &Map<String, Value>,
    page: &PageAsk,
) -> Result<Answer, Fault> {
    let secret = secret(execution);
    let text = Value::Object(filters.clone()).to_string();
    let scope = scope(["runs", &text].into_iter());
    let mut filters = filters.clone();
    if let Some(cursor) = &page.cursor {
        let before = Cursor::decode(cursor, scope, 1)?.keys.pop().flatten();
        filters.insert("before".into(), before.into());
    }
    let rows = read(execution, sql::log::list_runs(&secret, &filters, page.limit + 1)).await?;
    let mut runs: Vec<Map<String, Value>> = (0..rows.len()).filter_map(|row| object(&rows, row, "run")).collect();
    let has_more = runs.len() > page.limit;
    runs.truncate(page.limit);
    let last = runs.last().filter(|_| has_more).and_then(|run| run.get("id")?.as_str().map(str::to_owned));
    let next_cursor = last.map(|id| Cursor { scope, keys: vec![Some(id)] }.encode());
    Ok(Answer::Runs { runs, next_cursor, limit: page.limit })
}

/// Lists a page of a run's changes.
pub async fn changes(execution: &mut Execution<'_>, name: &str, net: bool, page: &PageAsk) -> Result<Answer, Fault> {
    let secret = secret(execution);
    let id = id_of(&found(execution, name).await?)?;
    let scope = scope(["changes", &id, if net { "net" } else { "" }].into_iter());
    let after = match &page.cursor {
        Some(cursor) => Cursor::decode(cursor, scope, 1)?.keys.pop().flatten().ok_or(Fault::InvalidCursor)?,
        None => "0".to_owned(),
    };
    let rows = read(execution, sql::log::run_changes(&secret, &id, net, &after, page.limit + 1)).await?;
    let read = |row| json(&rows, row, "change").and_then(|json| Change::read(json, true));
    let mut changes: Vec<Change> = (0..rows.len()).filter_map(read).collect();
    let has_more = changes.len() > page.limit;
    changes.truncate(page.limit);
    let last = changes.last().filter(|_| has_more).and_then(|change| change.entry.as_ref());
    let next_cursor = last.map(|entry| Cursor { scope, keys: vec![Some(entry.seq.clone())] }.encode());
    Ok(Answer::Changes { changes, next_cursor, limit: page.limit })
}

/// Puts back what was changed. The undo is a run of its own, in one transaction.
pub async fn undo(execution: &mut Execution<'_>, what: &Undoable, skips: bool) -> Result<Answer, Fault> {
    let (kind, table, target) = match what {
        Undoable::Run(name) => ("run", "runs", id_of(&found(execution, name).await?)?),
        Undoable::Request(id) => ("request", "requests", id.clone()),
        Undoable::Entry(id) => ("activity", "activity", id.clone()),
    };
    let (secret, caller) = (secret(execution), execution.caller);
    let id = execution.app.clock.id("run");
    let days = execution.app.undo_days;
    let kept_since = match days {
        0 => "infinity".to_owned(),
        days => iso(execution.app.clock.unix_seconds() - i64::from(days) * SECONDS_A_DAY),
    };
    execution.undo = Some(UndoRun { id: id.clone(), target: target.clone() });
    execution.open().await?;
    let plan = sql::log::Undo { id: &id, kind, target: &target, kept_since: &kept_since, skips };
    let said = [caller.provenance.agent.as_deref(), caller.provenance.reason.as_deref()];
    let statements = sql::log::undo(&secret, &caller.who.actor, said, &plan);
    let results = execution.write(&statements).await.map_err(RunError::into_fault)?;
    let mut outcome = results.last().and_then(|rows| object(rows, 0, "outcome")).unwrap_or_default();
    let mut list = |name: &str| match outcome.remove(name) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let (conflicts, skipped) = (list("conflicts"), list("skipped"));
    let number = |name: &str| outcome.get(name).and_then(Value::as_u64).unwrap_or_default();
    let refused = |code: &'static str, message: &str| Fault::Refused { code, message: message.into(), hint: None };
    match outcome.get("status").and_then(Value::as_str) {
        Some("done") => Ok(Answer::Undone { run_id: id, undone: number("undone"), skipped }),
        Some("conflict") => Err(Fault::UndoConflict { conflicts, rows: number("rows") }),
        Some("undone") => Err(refused("already_undone", "Nothing is left to undo.")),
        Some("expired") => Err(refused("undo_expired", "These changes are older than the change log.")),
        Some("unknown") => Err(unknown(table, &target)),
        _ => Err(Fault::internal("an undo without an outcome")),
    }
}

fn secret(execution: &Execution<'_>) -> String {
    execution.app.store.secret_of(&execution.caller.database).expose().to_owned()
}

async fn found(execution: &mut Execution<'_>, name: &str) -> Result<Map<String, Value>, Fault> {
    let (secret, actor) = (secret(execution), execution.caller.who.actor.clone());
    let rows = read(execution, sql::log::find_run(&secret, &actor, name)).await?;
    run(&rows).ok_or_else(|| unknown("runs", name))
}

fn unknown(table: &str, id: &str) -> Fault {
    Fault::NotFound { table: table.to_owned(), id: id.to_owned() }
}

fn id_of(run: &Map<String, Value>) -> Result<String, Fault> {
    run.get("id").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| Fault::internal("a run without an id"))
}

async fn read(execution: &mut Execution<'_>, statement: sql::Sql) -> Result<Rows, Fault> {
    only(execution.read(&[statement]).await)
}

async fn write(execution: &mut Execution<'_>, statement: sql::Sql) -> Result<Rows, Fault> {
    only(execution.write(&[statement]).await)
}

fn only(results: Result<Vec<Rows>, RunError>) -> Result<Rows, Fault> {
    results.map(|results| results.into_iter().next().unwrap_or_default()).map_err(RunError::into_fault)
}

fn json(rows: &Rows, row: usize, column: &str) -> Option<Value> {
    serde_json::from_slice(rows.named(row, column)?).ok()
}

fn object(rows: &Rows, row: usize, column: &str) -> Option<Map<String, Value>> {
    match json(rows, row, column)? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// A run, in the order in which its fields are shown.
fn run(rows: &Rows) -> Option<Map<String, Value>> {
    if rows.is_empty() { None } else { object(rows, 0, "run") }
}
