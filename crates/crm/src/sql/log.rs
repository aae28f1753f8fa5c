//! The statements of the change log: limits of a request, what it has changed, runs, and undo. Each function requires the
//! workspace's secret.

use serde_json::{Map, Value};

use crate::model::change::MAX_SHOWN;
use crate::sql::{Label, Sql};

/// Limits the transaction: to so many changed rows, and to no commit if it is dry.
pub fn limit_request(secret: &str, most: Option<u32>, is_dry: bool) -> Sql {
    let mut sql = Sql::new("SELECT kith.limit_request(");
    sql.bind(Some(secret.to_owned()), Label::Own).push(", ");
    sql.bind(most.map(|most| most.to_string()), Label::Own).push(if is_dry { ", true)" } else { ", false)" });
    sql
}

/// Lets the deferred constraints of a dry transaction be checked. Returns `command`, the number of this command among those of the
/// transaction that write. If it is the next one after the last call's, nothing was written in between.
pub fn lift_seal(secret: &str) -> Sql {
    let mut lift = Sql::new("SELECT kith.lift_seal(");
    lift.bind(Some(secret.to_owned()), Label::Own).push(")::text AS command");
    lift
}

/// Checks deferred constraints and runs deferred triggers.
pub fn check_constraints() -> Sql {
    Sql::new("SET CONSTRAINTS ALL IMMEDIATE")
}

/// Returns what the transaction has changed so far: `affected`, `changes`, `truncated`.
pub fn outcome(secret: &str) -> Sql {
    let mut outcome = Sql::new("SELECT affected, changes, truncated FROM kith.outcome(");
    outcome.bind(Some(secret.to_owned()), Label::Own).push(", ").number(MAX_SHOWN).push(")");
    outcome
}

/// Opens a run. Returns `run` and `created`.
pub fn open_run(secret: &str, actor: &str, run_id: &str, agent: Option<&str>, reason: Option<&str>) -> Sql {
    let mut sql = Sql::new("SELECT run, created FROM kith.open_run(");
    bind_all(&mut sql, &[Some(secret), Some(actor), Some(run_id), agent, reason]);
    sql
}

/// Finds a run by its id or the actor's name for it. Returns `run`, which may be null.
pub fn find_run(secret: &str, actor: &str, name: &str) -> Sql {
    let mut sql = Sql::new("SELECT run FROM (SELECT kith.find_run(");
    bind_all(&mut sql, &[Some(secret), Some(actor), Some(name)]);
    sql.push(" AS run) r");
    sql
}

/// Ends a run. Returns `run`, which may be null.
pub fn finish_run(secret: &str, actor: &str, name: &str, status: &str, summary: Option<&str>) -> Sql {
    let mut sql = Sql::new("SELECT run FROM (SELECT kith.finish_run(");
    bind_all(&mut sql, &[Some(secret), Some(actor), Some(name), Some(status), summary]);
    sql.push(" AS run) r");
    sql
}

/// Lists runs. Returns `run`, newest first.
pub fn list_runs(secret: &str, filters: &Map<String, Value>, most: usize) -> Sql {
    let mut sql = Sql::new("SELECT run FROM kith.list_runs(");
    sql.bind(Some(secret.to_owned()), Label::Own).push(", ");
    let label = Label::Filter { parameter: "since".into(), type_name: "timestamp with time zone".into() };
    sql.bind(Some(Value::Object(filters.clone()).to_string()), label).push(", ").number(most).push(") AS run");
    sql
}

/// Lists the changes of a run. Returns `change`, oldest first.
pub fn run_changes(secret: &str, run: &str, net: bool, after: &str, most: usize) -> Sql {
    let mut sql = Sql::new("SELECT change FROM kith.run_changes(");
    sql.bind(Some(secret.to_owned()), Label::Own).push(", ").bind(Some(run.to_owned()), Label::Own);
    sql.push(if net { ", true, " } else { ", false, " });
    sql.bind(Some(after.to_owned()), Label::Cursor).push(", ").number(most).push(") AS change");
    sql
}

/// Lists the changes of a row that have no entry in the feed. Returns `change`, newest first.
pub fn row_changes(secret: &str, table: &str, key: &str, before: Option<&str>, most: usize) -> Sql {
    let mut sql = Sql::new("SELECT change FROM kith.row_changes(");
    for value in [Some(secret), Some(table), Some(key), before] {
        sql.bind(value.map(str::to_owned), Label::Own).push(", ");
    }
    sql.number(most).push(") AS change");
    sql
}

/// An undo: its own run, and what it undoes.
#[derive(Debug)]
pub struct Undo<'a> {
    /// The run of the undo, `run_…`.
    pub id: &'a str,
    /// `run`, `request` or `activity`.
    pub kind: &'static str,
    /// The id of the run, the request or the entry.
    pub target: &'a str,
    /// The time since which changes can be undone, in ISO 8601.
    pub kept_since: &'a str,
    /// Whether rows that conflict are left as they are.
    pub skips: bool,
}

/// Opens the run of an undo and puts rows back. The last statement returns `outcome`.
pub fn undo(secret: &str, actor: &str, said: [Option<&str>; 2], undo: &Undo<'_>) -> [Sql; 2] {
    let [agent, reason] = said;
    let mut begin = Sql::new("SELECT kith.begin_undo(");
    bind_all(&mut begin, &[Some(secret), Some(undo.id), Some(actor), agent, reason, Some(undo.target)]);
    let mut run = Sql::new("SELECT kith.undo(");
    for value in [secret, undo.id, undo.kind, undo.target, undo.kept_since] {
        run.bind(Some(value.to_owned()), Label::Own).push(", ");
    }
    run.push(if undo.skips { "true) AS outcome" } else { "false) AS outcome" });
    [begin, run]
}

/// Returns the changes that an undo has put back: `seq`, and the time in `milliseconds`.
pub fn undone_changes(secret: &str, undo: &str) -> Sql {
    let mut sql = Sql::new("SELECT seq::text, milliseconds::text FROM kith.undone_changes(");
    bind_all(&mut sql, &[Some(secret), Some(undo)]);
    sql
}

/// Returns the e-mails that runs have changed: `run`, `id`. `runs` is an array's text.
pub fn emails_of_runs(secret: &str, runs: &str) -> Sql {
    let mut sql = Sql::new("SELECT run, id FROM kith.emails_of_runs(");
    bind_all(&mut sql, &[Some(secret), Some(runs)]);
    sql
}

/// Returns the first changes of each run: `run`, `seq`, and the time in `milliseconds`. `runs` is an array's text.
pub fn changes_of_runs(secret: &str, runs: &str, most: usize) -> Sql {
    let mut sql = Sql::new("SELECT run, seq::text, milliseconds::text FROM kith.changes_of_runs(");
    sql.bind(Some(secret.to_owned()), Label::Own).push(", ").bind(Some(runs.to_owned()), Label::Own);
    sql.push(", ").number(most).push(")");
    sql
}

fn bind_all(sql: &mut Sql, values: &[Option<&str>]) {
    for (at, value) in values.iter().enumerate() {
        sql.push(if at > 0 { ", " } else { "" }).bind(value.map(str::to_owned), Label::Own);
    }
    sql.push(")");
}
