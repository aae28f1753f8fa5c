//! Runs, and undo.

use std::collections::HashSet;
use std::time::Duration;

use crm::model::answer::Answer;
use crm::model::ask::Undoable;
use crm::model::change::Change;
use crm::model::fault::Fault;
use crm::model::page::{Cursor, PageAsk, scope};
use crm::model::rows::Rows;
use crm::model::value::array_of_texts;
use crm::model::who::Mode;
use crm::plan::events::MOST_EVENTS;
use crm::sql;
use serde_json::{Map, Value, json};

use crate::clock::iso;
use crate::hall::event::event_id;
use crate::hall::execution::{Execution, UndoRun};
use crate::hall::mail;
use crate::store::control::webhooks::Holder;
use crate::store::fault::RunError;

const SECONDS_A_DAY: i64 = 86_400;
/// How often an undo is tried while others hold its rows, and the wait before the second time, which doubles up to the longest. It
/// waits for a lock for a tenth of a second (`kith.undo()`).
const TRIES_OF_UNDO: u32 = 12;
const WAIT_OF_UNDO: Duration = Duration::from_millis(50);
const LONGEST_WAIT_OF_UNDO: Duration = Duration::from_secs(1);
/// Of so many changes it is told whether webhooks have left: of all runs of a page together, but at least of some of each run.
const MOST_TOLD: usize = 10_000;
const LEAST_TOLD: usize = 100;

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
    run(execution, &rows).map(|run| Answer::Run { run, created }).ok_or_else(|| Fault::internal("no run came"))
}

/// Finds a run.
pub async fn find(execution: &mut Execution<'_>, name: &str) -> Result<Answer, Fault> {
    let mut run = [found(execution, name).await?];
    tell_effects(execution, &mut run).await?;
    let [run] = run;
    Ok(Answer::Run { run, created: false })
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
    let mut run = [run(execution, &rows).ok_or_else(|| unknown("runs", name))?];
    tell_effects(execution, &mut run).await?;
    let [run] = run;
    Ok(Answer::Run { run, created: false })
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
    // An actor's own name for a run names one run at most.
    let own = filters.remove("run_id").and_then(|own| own.as_str().map(str::to_owned));
    let statement = match &own {
        Some(own) => {
            let actor = filters.get("actor").and_then(Value::as_str).unwrap_or(&execution.caller.who.actor).to_owned();
            filters.insert("actor".into(), actor.as_str().into());
            sql::log::find_run(&secret, &actor, own)
        }
        None => sql::log::list_runs(&secret, &filters, page.limit + 1),
    };
    let rows = read(execution, statement).await?;
    let mut runs: Vec<Map<String, Value>> =
        (0..rows.len()).filter_map(|row| object(&rows, row, "run")).map(|run| shown(execution, run)).collect();
    if own.is_some() {
        let mut fitting = Vec::new();
        for run in runs {
            if run.get("run_id").and_then(Value::as_str) == own.as_deref() && fits(&run, &filters)? {
                fitting.push(run);
            }
        }
        runs = fitting;
    }
    let has_more = runs.len() > page.limit;
    runs.truncate(page.limit);
    tell_effects(execution, &mut runs).await?;
    let last = runs.last().filter(|_| has_more).and_then(|run| run.get("id")?.as_str().map(str::to_owned));
    let next_cursor = last.map(|id| Cursor { scope, keys: vec![Some(id)] }.encode());
    Ok(Answer::Runs { runs, next_cursor, limit: page.limit })
}

/// Whether a run fits the filters besides its name.
fn fits(run: &Map<String, Value>, filters: &Map<String, Value>) -> Result<bool, Fault> {
    let is_same = |name: &&str| filters.get(*name).is_none_or(|wanted| run.get(*name) == Some(wanted));
    let moment = |at: Option<&Value>| at.and_then(Value::as_str).map(str::parse::<jiff::Timestamp>).transpose();
    let since = moment(filters.get("since")).map_err(|_| Fault::invalid("since takes a time in ISO 8601."))?;
    let started_at = moment(run.get("started_at")).map_err(Fault::internal)?;
    Ok(["actor", "agent", "status"].iter().all(is_same) && started_at >= since && !filters.contains_key("before"))
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

/// Lists the changes of a row that have no entry in the feed, as a JSON array, newest first.
pub async fn row_changes(
    execution: &mut Execution<'_>,
    table: &str,
    key: &str,
    before: Option<&str>,
    most: usize,
) -> Result<Answer, Fault> {
    let secret = secret(execution);
    let rows = read(execution, sql::log::row_changes(&secret, table, key, before, most)).await?;
    let changes: Vec<Value> = (0..rows.len()).filter_map(|row| json(&rows, row, "change")).collect();
    Ok(Answer::Object { text: Value::from(changes).to_string(), created: false })
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
    let kept_since = kept_since(execution).map_or_else(|| "infinity".to_owned(), iso);
    execution.undo = Some(UndoRun { id: id.clone(), target: target.clone() });
    execution.open().await?;
    let plan = sql::log::Undo { id: &id, kind, target: &target, kept_since: &kept_since, skips };
    let said = [caller.provenance.agent.as_deref(), caller.provenance.reason.as_deref()];
    let statements = sql::log::undo(&secret, &caller.who.actor, said, &plan);
    let results = write_patiently(execution, &statements).await?;
    let mut outcome = results.last().and_then(|rows| object(rows, 0, "outcome")).unwrap_or_default();
    let mut list = |name: &str| match outcome.remove(name) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let (conflicts, skipped) = (list("conflicts"), list("skipped"));
    let number = |name: &str| outcome.get(name).and_then(Value::as_u64).unwrap_or_default();
    let refused = |code: &'static str, message: &str| Fault::Refused { code, message: message.into(), hint: None };
    match outcome.get("status").and_then(Value::as_str) {
        Some("done") => {
            let mut not_undone = sent(execution, &id).await?;
            not_undone.extend(mail::left(execution, &id).await?);
            let run_id = Some(id).filter(|_| outcome.get("is_run") == Some(&Value::Bool(true)));
            Ok(Answer::Undone { run_id, undone: number("undone"), skipped, not_undone })
        }
        Some("conflict") => Err(Fault::UndoConflict { conflicts, rows: number("rows") }),
        Some("undone") => Err(refused("already_undone", "Nothing is left to undo.")),
        Some("expired") => Err(refused("undo_expired", "These changes are older than the change log.")),
        Some("unknown") => Err(unknown(table, &target)),
        _ => Err(Fault::internal("an undo without an outcome")),
    }
}

/// Runs the statements of an undo, again if others hold its rows: they end first, and it compares with what they have written.
async fn write_patiently(execution: &mut Execution<'_>, statements: &[sql::Sql]) -> Result<Vec<Rows>, Fault> {
    let mut tries = 1;
    loop {
        match execution.write(statements).await.map_err(RunError::into_fault) {
            Err(Fault::Unavailable { .. }) if tries < TRIES_OF_UNDO && execution.is_aborted() => {}
            result => return result,
        }
        // Without its locks, which others may wait for.
        execution.restart().await?;
        tokio::time::sleep((WAIT_OF_UNDO * 2_u32.pow(tries - 1)).min(LONGEST_WAIT_OF_UNDO)).await;
        tries += 1;
    }
}

/// What an undo cannot take back: the webhooks of the changes that were sent, or may have been.
async fn sent(execution: &mut Execution<'_>, id: &str) -> Result<Vec<Value>, Fault> {
    let (app, who) = (execution.app, &execution.caller.who);
    let holder = Holder { workspace_id: &who.workspace_id, mode: who.mode.name() };
    if !app.store.control.has_sent(holder).await? {
        return Ok(Vec::new());
    }
    let undone = sql::log::undone_changes(&secret(execution), id);
    let rows = read(execution, undone).await?;
    let mut events = Vec::with_capacity(rows.len() * MOST_EVENTS);
    for row in 0..rows.len() {
        events.extend(events_of(execution, &rows, row)?);
    }
    let deliveries = app.store.control.sent_for(holder, &events).await?;
    Ok(deliveries.into_iter().map(|id| json!({"effect": "webhook_sent", "id": id})).collect())
}

/// Says of runs that the e-mails and webhooks of their changes that have left can't be undone.
async fn tell_effects(execution: &mut Execution<'_>, runs: &mut [Map<String, Value>]) -> Result<(), Fault> {
    let (app, who) = (execution.app, execution.caller.who.clone());
    let ids: Vec<String> =
        runs.iter().filter(|run| run["undoable"] != "no").filter_map(|run| id_of(run).ok()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let most = (MOST_TOLD / ids.len()).max(LEAST_TOLD);
    let (secret, ids) = (secret(execution), array_of_texts(&ids));
    let emails = match who.mode {
        Mode::Live if app.store.control.has_outgoing(&who.workspace_id).await? => {
            pairs(&read(execution, sql::log::emails_of_runs(&secret, &ids)).await?, "id")
        }
        Mode::Live | Mode::Test => Vec::new(),
    };
    let left = match emails.is_empty() {
        true => Vec::new(),
        false => {
            let ids: Vec<String> = emails.iter().map(|(_, id)| id.clone()).collect();
            app.store.control.emails_that_left(&who.workspace_id, &ids).await?
        }
    };
    let holder = Holder { workspace_id: &who.workspace_id, mode: who.mode.name() };
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    if app.store.control.has_sent(holder).await? {
        let rows = read(execution, sql::log::changes_of_runs(&secret, &ids, most)).await?;
        for row in 0..rows.len() {
            let run = rows.string(row, "run").unwrap_or_default();
            events.extend(events_of(execution, &rows, row)?.map(|event| (run.clone(), event)));
        }
        let names: Vec<String> = events.iter().map(|(_, event)| event.clone()).collect();
        sent = app.store.control.sent_events(holder, &names).await?;
    }
    for run in runs.iter_mut().filter(|run| run["undoable"] != "no") {
        let id = id_of(run)?;
        let count = |of: &[(String, String)], gone: &[String]| {
            let own: HashSet<&str> = of.iter().filter(|(run, _)| *run == id).map(|(_, it)| it.as_str()).collect();
            gone.iter().filter(|it| own.contains(it.as_str())).count()
        };
        let said = [
            (count(&emails, &left), "e-mail has left", "e-mails have left"),
            (count(&events, &sent), "webhook delivery has left", "webhook deliveries have left"),
        ];
        for (number, one, many) in said.into_iter().filter(|(number, ..)| *number > 0) {
            run.insert("undoable".into(), "partly".into());
            let words = format!("{number} {}", if number == 1 { one } else { many });
            if let Some(Value::Array(why)) = run.get_mut("why") {
                why.push(words.into());
            }
        }
    }
    Ok(())
}

/// The runs of rows, each with another column.
fn pairs(rows: &Rows, column: &str) -> Vec<(String, String)> {
    (0..rows.len()).filter_map(|row| Some((rows.string(row, "run")?, rows.string(row, column)?))).collect()
}

/// The ids that the events of a change may have, from its `seq` and `milliseconds`.
fn events_of(execution: &Execution<'_>, rows: &Rows, row: usize) -> Result<impl Iterator<Item = String>, Fault> {
    let database = execution.caller.database.database.clone();
    let (Some(seq), Some(Ok(at))) = (rows.string(row, "seq"), rows.string(row, "milliseconds").map(|it| it.parse()))
    else {
        return Err(Fault::internal("a change without a number"));
    };
    Ok((0..MOST_EVENTS).map(move |number| event_id(&database, &seq, at, number)))
}

/// The time since which changes can be undone, Unix seconds; `None` if none can.
fn kept_since(execution: &Execution<'_>) -> Option<i64> {
    let days = i64::from(execution.app.undo_days);
    (days > 0).then(|| execution.app.clock.unix_seconds() - days * SECONDS_A_DAY)
}

fn secret(execution: &Execution<'_>) -> String {
    execution.app.store.secret_of(&execution.caller.database).expose().to_owned()
}

async fn found(execution: &mut Execution<'_>, name: &str) -> Result<Map<String, Value>, Fault> {
    let (secret, actor) = (secret(execution), execution.caller.who.actor.clone());
    let rows = read(execution, sql::log::find_run(&secret, &actor, name)).await?;
    run(execution, &rows).ok_or_else(|| unknown("runs", name))
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

/// A run, as callers see it.
fn run(execution: &Execution<'_>, rows: &Rows) -> Option<Map<String, Value>> {
    if rows.is_empty() { None } else { object(rows, 0, "run").map(|run| shown(execution, run)) }
}

/// The same run, without the age of its oldest change. One that is too old makes the run one that cannot be undone.
fn shown(execution: &Execution<'_>, mut run: Map<String, Value>) -> Map<String, Value> {
    if let Some(oldest) = run.remove("oldest").and_then(|it| it.as_i64())
        && kept_since(execution).is_none_or(|since| oldest < since)
    {
        run.insert("undoable".into(), "no".into());
        run.insert("why".into(), json!(["it is older than changes are kept"]));
    }
    run
}
