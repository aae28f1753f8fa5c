//! Automations and their runs. Pending runs are a queue; any number of processes take from it.

use serde_json::value::RawValue;

use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::model::value::array_of_texts;
use crm::plan::automation::AutomationFields;

use crate::store::control::Control;
use crate::store::control::lists::{First, PagedList, json_columns};
use crate::store::control::rows::ControlRow;
use crate::store::control::transaction::ControlTransaction;
use crate::store::control::webhooks::{Holder, found};

const COLUMNS: &[(&str, &str)] = &[
    ("id", "a.id"),
    ("name", "a.name"),
    ("trigger_event", "a.trigger_event"),
    ("enabled", "a.enabled"),
    ("conditions", "a.conditions"),
    ("actions", "a.actions"),
    ("disabled_reason", "a.disabled_reason"),
    ("behind_since", "a.behind_since"),
    ("created_by", "a.created_by"),
    ("created_at", "a.created_at"),
    ("updated_at", "a.updated_at"),
];

/// A workspace's automations of a mode, `$5`.
pub static AUTOMATIONS: PagedList = PagedList {
    columns: COLUMNS,
    from: "automations AS a",
    conditions: &["a.workspace_id = $1", "a.mode = $5"],
    order: ["created_at", "id"],
    first: First::Newest,
};

/// An automation's runs that have ended. `$5` is their status, or empty for all.
pub static RUNS: PagedList = PagedList {
    columns: &[
        ("id", "r.id"),
        ("automation_id", "r.automation_id"),
        ("event_id", "r.event_id"),
        ("event_type", "r.event_type"),
        ("status", "r.status"),
        ("depth", "r.depth"),
        ("caused_by", "r.caused_by"),
        ("actions", "r.actions"),
        ("error", "r.error"),
        ("duration_ms", "r.duration_ms"),
        ("request_id", "r.request_id"),
        ("created_at", "r.created_at"),
    ],
    from: "automation_runs AS r",
    conditions: &["r.automation_id = $1", "r.status <> 'pending'", "($5 = '' OR r.status = $5)"],
    order: ["created_at", "id"],
    first: First::Newest,
};

/// The most automations of a workspace and mode.
pub const MOST_AUTOMATIONS: i64 = 100;
/// Runs that fail in a row before an automation is switched off.
const MOST_FAILURES: i64 = 10;

/// Ends at most `$1` runs that wait for automations which are switched off. A run that is being made now is left to its end.
pub(super) const END_STOPPED_RUNS: &str = "UPDATE automation_runs SET status = 'skipped', next_attempt_at = NULL, taken_by = NULL,
        error = 'The automation was switched off before this run.'
    WHERE id IN (
        SELECT r.id FROM automations AS a JOIN automation_runs AS r ON r.automation_id = a.id AND r.status = 'pending'
        WHERE NOT a.enabled AND (r.taken_by IS NULL OR r.next_attempt_at < $2::timestamptz) AND ($3::text IS NULL OR a.id = $3)
        LIMIT $1::bigint FOR UPDATE OF r SKIP LOCKED)";

/// An automation to be created.
#[derive(Debug)]
pub struct NewAutomation<'a> {
    /// `auto_…`
    pub id: &'a str,
    /// The dialect in which its conditions see events.
    pub dialect: &'a str,
    /// Its fields.
    pub fields: &'a AutomationFields,
    /// The snapshot of the workspace's database at this moment.
    pub since: &'a str,
    /// The actor who creates it.
    pub created_by: &'a str,
    /// The address of this Kith.
    pub public_url: &'a str,
    /// The current time, ISO 8601.
    pub now: &'a str,
}

/// An automation that is tested.
#[derive(Debug)]
pub struct AutomationTrial {
    /// Its name.
    pub name: String,
    /// The dialect in which its conditions see events.
    pub dialect: String,
    /// The pattern of its events.
    pub trigger_event: String,
    /// Its conditions.
    pub conditions: Vec<serde_json::Value>,
    /// Its actions.
    pub actions: Vec<serde_json::Value>,
}

/// A run to be queued.
#[derive(Debug, serde::Serialize)]
pub struct NewRun<'a> {
    /// `run_…`
    pub id: String,
    /// `auto_…`
    pub automation_id: &'a str,
    /// `evt_…`. An automation runs once for each event.
    pub event_id: &'a str,
    /// The type of the event.
    pub event_type: &'a str,
    /// The event, as the automation's conditions see it.
    pub event: &'a RawValue,
    /// The records that the event is about.
    pub context: &'a RawValue,
    /// The depth of the event.
    pub depth: i64,
    /// The run or request that fired it.
    pub caused_by: Option<&'a str>,
    /// `req_…`, the request of its writes.
    pub request_id: String,
}

/// A run that this process has taken.
#[derive(Debug)]
pub struct TakenRun {
    /// `run_…`
    pub id: String,
    /// Names this attempt.
    pub taken_by: String,
    /// `auto_…`
    pub automation_id: String,
    /// The automation's name.
    pub name: String,
    /// `ws_…`
    pub workspace_id: String,
    /// `live` or `test`
    pub mode: String,
    /// `req_…`
    pub request_id: String,
    /// The run or request that fired it.
    pub caused_by: Option<String>,
    /// How often it was tried, this time included.
    pub attempts: u32,
    /// What there is to do, or the words for why it can't be read.
    pub work: Result<RunWork, String>,
}

/// What there is to do in a run.
#[derive(Debug)]
pub struct RunWork {
    /// The automation's conditions.
    pub conditions: Vec<serde_json::Value>,
    /// Its actions.
    pub actions: Vec<serde_json::Value>,
    /// The event.
    pub event: serde_json::Value,
    /// The records that it is about.
    pub context: serde_json::Value,
}

/// How a run ended.
#[derive(Debug)]
pub struct RunOutcome {
    /// `success`, `error` or `skipped`
    pub status: &'static str,
    /// The outcome of each action.
    pub actions: serde_json::Value,
    /// What went wrong.
    pub error: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
}

fn flag(flag: bool) -> &'static str {
    if flag { "t" } else { "f" }
}

fn json(items: &Option<Vec<serde_json::Value>>) -> Option<String> {
    items.as_ref().map(|items| serde_json::Value::from(items.clone()).to_string())
}

impl Control {
    /// An automation, as JSON.
    pub async fn find_automation(&self, holder: Holder<'_>, id: &str) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "SELECT {} FROM automations AS a WHERE a.id = $1 AND a.workspace_id = $2 AND a.mode = $3",
            json_columns(COLUMNS)
        );
        Ok(found(self.query(&sql, &[id, holder.workspace_id, holder.mode].map(Some)).await?))
    }

    /// What a test of an automation needs.
    pub async fn trial_of(&self, holder: Holder<'_>, id: &str) -> Result<Option<AutomationTrial>, Fault> {
        let sql = "SELECT name, dialect, trigger_event, conditions::text AS conditions, actions::text AS actions FROM automations
                   WHERE id = $1 AND workspace_id = $2 AND mode = $3";
        self.query(sql, &[id, holder.workspace_id, holder.mode].map(Some)).await?.first(|row| {
            let list = |name: &str| -> Result<Vec<serde_json::Value>, Fault> {
                serde_json::from_str(&row.get::<String>(name)?).map_err(Fault::internal)
            };
            Ok(AutomationTrial {
                name: row.get("name")?,
                dialect: row.get("dialect")?,
                trigger_event: row.get("trigger_event")?,
                conditions: list("conditions")?,
                actions: list("actions")?,
            })
        })
    }

    /// The run whose writes belong to a request, and its depth.
    pub async fn run_of_request(&self, request_id: &str) -> Result<Option<(String, i64)>, Fault> {
        let sql = "SELECT r.id, r.depth FROM automation_runs AS r JOIN automations AS a ON a.id = r.automation_id WHERE r.request_id = $1";
        self.query(sql, &[Some(request_id)]).await?.first(|row| Ok((row.get("id")?, row.get("depth")?)))
    }

    /// Takes a run that is due, if there is one, of a workspace that is not among the `busy` ones. No other process takes it
    /// within `lease_seconds`. Runs of one automation are taken one after the other.
    pub async fn take_run(
        &self,
        taken_by: &str,
        now: &str,
        lease_seconds: u64,
        busy: &[String],
    ) -> Result<Option<TakenRun>, Fault> {
        // Only the first pending run of an automation may be due, however many wait behind it.
        let sql = "WITH RECURSIVE head AS (
                       (SELECT automation_id, id, next_attempt_at, place FROM automation_runs WHERE status = 'pending'
                        ORDER BY automation_id, place LIMIT 1)
                       UNION ALL
                       SELECT n.* FROM head AS h CROSS JOIN LATERAL (
                           SELECT r.automation_id, r.id, r.next_attempt_at, r.place FROM automation_runs AS r
                           WHERE r.status = 'pending' AND r.automation_id > h.automation_id
                           ORDER BY r.automation_id, r.place LIMIT 1) AS n),
                   due AS (
                       SELECT r.id FROM head AS h JOIN automations AS a ON a.id = h.automation_id AND a.enabled
                       JOIN automation_runs AS r ON r.id = h.id
                       WHERE h.next_attempt_at <= $1::timestamptz AND a.workspace_id <> ALL ($4::text[])
                         AND r.status = 'pending' AND r.next_attempt_at <= $1::timestamptz
                       ORDER BY h.next_attempt_at, h.place LIMIT 1 FOR UPDATE OF r SKIP LOCKED)
                   UPDATE automation_runs AS r
                   SET attempts = attempts + 1, taken_by = $2,
                       next_attempt_at = $1::timestamptz + make_interval(secs => $3::float8)
                   FROM due, automations AS a WHERE r.id = due.id AND a.id = r.automation_id
                   RETURNING r.id, r.automation_id, a.name, a.workspace_id, a.mode, r.request_id, r.caused_by, r.attempts,
                       a.conditions::text AS conditions, a.actions::text AS actions, r.event::text AS event, r.context::text AS context";
        let (lease, busy) = (lease_seconds.to_string(), array_of_texts(busy));
        self.query(sql, &[now, taken_by, &lease, &busy].map(Some)).await?.first(|row| taken(row, taken_by))
    }

    /// Keeps a run for another `lease_seconds`. Returns whether it was still this attempt's.
    pub async fn keep_run(&self, run: &TakenRun, now: &str, lease_seconds: u64) -> Result<bool, Fault> {
        let sql = "UPDATE automation_runs SET next_attempt_at = $3::timestamptz + make_interval(secs => $4::float8)
                   WHERE id = $1 AND taken_by = $2 AND EXISTS (SELECT FROM automations AS a WHERE a.id = automation_id) RETURNING id";
        let lease = lease_seconds.to_string();
        let rows = self.query(sql, &[&*run.id, &*run.taken_by, now, &lease].map(Some)).await?;
        Ok(rows.first(|row| row.get::<String>("id"))?.is_some())
    }

    /// Lets the run that was taken by `taken_by` be made, or all that are taken. For a process that knows that nobody makes them.
    pub async fn free_runs(&self, taken_by: Option<&str>, now: &str) -> Result<(), Fault> {
        let sql = "UPDATE automation_runs SET taken_by = NULL, next_attempt_at = $2::timestamptz
                   WHERE status = 'pending' AND ($1::text IS NULL AND taken_by IS NOT NULL OR taken_by = $1)";
        self.query(sql, &[taken_by, Some(now)]).await.map(drop)
    }

    /// Records how a run ended. An automation whose runs have failed ten times in a row is switched off, and its owners get an
    /// e-mail. Returns whether that happened.
    pub async fn end_run(&self, run: &TakenRun, outcome: &RunOutcome, now: &str, mail_id: &str) -> Result<bool, Fault> {
        let sql = "WITH done AS (
                       UPDATE automation_runs SET status = $3, next_attempt_at = NULL, taken_by = NULL, actions = $4::jsonb, error = $5,
                           duration_ms = $6::integer
                       WHERE id = $1 AND taken_by = $2 RETURNING automation_id),
                   counted AS (
                       UPDATE automations AS a
                       SET failures = CASE $3 WHEN 'error' THEN a.failures + 1 WHEN 'success' THEN 0 ELSE a.failures END,
                           enabled = a.enabled AND ($3 <> 'error' OR a.failures + 1 < $7::integer),
                           disabled_reason = CASE WHEN $3 = 'error' AND a.failures + 1 >= $7::integer
                               THEN 'Ten runs in a row have failed.' ELSE a.disabled_reason END
                       FROM done WHERE a.id = done.automation_id
                       RETURNING a.id, a.workspace_id, a.public_url, a.enabled, a.failures),
                   told AS (
                       INSERT INTO outgoing_mail (id, letter, user_id, automation_id, public_url, created_at)
                       SELECT $9 || '_' || row_number() OVER (), 'automation_disabled', m.user_id, c.id, c.public_url, $8::timestamptz
                       FROM counted AS c JOIN members AS m ON m.workspace_id = c.workspace_id AND m.role = 'owner'
                       WHERE c.failures = $7::integer AND $3 = 'error')
                   SELECT id FROM counted WHERE failures = $7::integer AND $3 = 'error'";
        let (actions, duration, most) =
            (outcome.actions.to_string(), outcome.duration_ms.to_string(), MOST_FAILURES.to_string());
        let params = [
            Some(&*run.id),
            Some(&*run.taken_by),
            Some(outcome.status),
            Some(&*actions),
            outcome.error.as_deref(),
            Some(&*duration),
            Some(&*most),
            Some(now),
            Some(mail_id),
        ];
        Ok(!self.query(sql, &params).await?.is_empty())
    }

    /// Switches an automation off and queues an e-mail to each owner of its workspace. Returns whether it was enabled before.
    pub async fn disable_automation(&self, id: &str, reason: &str, now: &str, mail_id: &str) -> Result<bool, Fault> {
        let sql = "WITH disabled AS (
                       UPDATE automations SET enabled = false, disabled_reason = $2, updated_at = $3::timestamptz,
                           behind_at = NULL, behind_since = NULL
                       WHERE id = $1 AND enabled RETURNING id, workspace_id, public_url),
                   told AS (
                       INSERT INTO outgoing_mail (id, letter, user_id, automation_id, public_url, created_at)
                       SELECT $4 || '_' || row_number() OVER (), 'automation_disabled', m.user_id, d.id, d.public_url, $3::timestamptz
                       FROM disabled AS d JOIN members AS m ON m.workspace_id = d.workspace_id AND m.role = 'owner')
                   SELECT id FROM disabled";
        Ok(!self.query(sql, &[id, reason, now, mail_id].map(Some)).await?.is_empty())
    }

    /// Lets a run be tried again at a time.
    pub async fn put_off_run(&self, run: &TakenRun, error: &str, at: &str) -> Result<(), Fault> {
        let sql = "UPDATE automation_runs SET next_attempt_at = $3::timestamptz, error = $4, taken_by = NULL
                   WHERE id = $1 AND taken_by = $2";
        self.query(sql, &[&*run.id, &*run.taken_by, at, error].map(Some)).await.map(drop)
    }
}

impl ControlTransaction<'_> {
    /// Creates an automation, or returns nothing if the workspace has as many as it may have.
    pub async fn create_automation(
        &mut self,
        holder: Holder<'_>,
        new: &NewAutomation<'_>,
    ) -> Result<Option<Rows>, Fault> {
        self.query("SELECT FROM workspaces WHERE id = $1 FOR UPDATE", &[Some(holder.workspace_id)]).await?;
        let sql = format!(
            "INSERT INTO automations AS a (id, workspace_id, mode, dialect, name, trigger_event, enabled, conditions, actions, since,
                 created_by, public_url, created_at, updated_at)
             SELECT $1, $2, $3, $4, $5, $6, $7::boolean, $8::jsonb, $9::jsonb, $10, $11, $12, $13::timestamptz, $13::timestamptz
             WHERE (SELECT count(*) FROM automations WHERE workspace_id = $2 AND mode = $3) < $14::bigint
             RETURNING {}",
            json_columns(COLUMNS)
        );
        let fields = new.fields;
        let (conditions, actions) = (json(&fields.conditions), json(&fields.actions));
        let most = MOST_AUTOMATIONS.to_string();
        let params = [
            Some(new.id),
            Some(holder.workspace_id),
            Some(holder.mode),
            Some(new.dialect),
            fields.name.as_deref(),
            fields.trigger_event.as_deref(),
            Some(flag(fields.enabled.unwrap_or(true))),
            Some(conditions.as_deref().unwrap_or("[]")),
            Some(actions.as_deref().unwrap_or("[]")),
            Some(new.since),
            Some(new.created_by),
            Some(new.public_url),
            Some(new.now),
            Some(&*most),
        ];
        Ok(found(self.query(&sql, &params).await?))
    }

    /// Changes an automation. Enabling it forgets why it was disabled, and begins with what the snapshot `since` does not see. Disabling it
    /// ends the runs that wait.
    pub async fn update_automation(
        &mut self,
        holder: Holder<'_>,
        id: &str,
        (fields, since): (&AutomationFields, &str),
        now: &str,
    ) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "UPDATE automations AS a
             SET name = COALESCE($4, a.name), trigger_event = COALESCE($5, a.trigger_event), enabled = COALESCE($6::boolean, a.enabled),
                 conditions = COALESCE($7::jsonb, a.conditions), actions = COALESCE($8::jsonb, a.actions),
                 disabled_reason = CASE WHEN $6::boolean THEN NULL ELSE a.disabled_reason END,
                 failures = CASE WHEN $6::boolean THEN 0 ELSE a.failures END,
                 since = CASE WHEN $6::boolean AND NOT a.enabled THEN $10 ELSE a.since END,
                 behind_at = CASE WHEN $6::boolean AND NOT a.enabled THEN NULL ELSE a.behind_at END,
                 behind_since = CASE WHEN $6::boolean AND NOT a.enabled THEN NULL ELSE a.behind_since END, updated_at = $9::timestamptz
             WHERE a.id = $1 AND a.workspace_id = $2 AND a.mode = $3 RETURNING {}",
            json_columns(COLUMNS)
        );
        let (conditions, actions) = (json(&fields.conditions), json(&fields.actions));
        let params = [
            Some(id),
            Some(holder.workspace_id),
            Some(holder.mode),
            fields.name.as_deref(),
            fields.trigger_event.as_deref(),
            fields.enabled.map(flag),
            conditions.as_deref(),
            actions.as_deref(),
            Some(now),
            Some(since),
        ];
        let changed = found(self.query(&sql, &params).await?);
        if changed.is_some() && fields.enabled == Some(false) {
            // The queue is bounded, so these are not many.
            self.query(END_STOPPED_RUNS, &[None, Some(now), Some(id)]).await?;
        }
        Ok(changed)
    }

    /// Deletes an automation. Its runs are not made any more; a sweep removes them. Returns its name and the number of runs, if there
    /// was one.
    pub async fn delete_automation(&mut self, holder: Holder<'_>, id: &str) -> Result<Option<(String, u64)>, Fault> {
        let sql = "DELETE FROM automations AS a WHERE id = $1 AND workspace_id = $2 AND mode = $3
                   RETURNING name, (SELECT count(*) FROM automation_runs AS r WHERE r.automation_id = a.id) AS with_it";
        let rows = self.query(sql, &[id, holder.workspace_id, holder.mode].map(Some)).await?;
        rows.first(|row| Ok((row.get("name")?, row.get("with_it")?)))
    }

    /// Queues runs in their order. An event for which an automation runs already is left out.
    pub async fn queue_runs(&mut self, new: &[NewRun<'_>], now: &str) -> Result<(), Fault> {
        let sql = "INSERT INTO automation_runs (id, automation_id, event_id, event_type, event, context, depth, caused_by, request_id,
                       created_at, next_attempt_at)
                   SELECT n.id, n.automation_id, n.event_id, n.event_type, n.event, n.context, n.depth, n.caused_by, n.request_id,
                          $2::timestamptz, $2::timestamptz
                   FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (id text, automation_id text, event_id text, event_type text, event jsonb,
                            context jsonb, depth integer, caused_by text, request_id text)) WITH ORDINALITY
                            AS n (id, automation_id, event_id, event_type, event, context, depth, caused_by, request_id, number)
                   JOIN automations AS a ON a.id = n.automation_id AND a.enabled
                   ORDER BY n.number
                   ON CONFLICT ON CONSTRAINT automation_runs_event_key DO NOTHING";
        let new = serde_json::to_string(new).map_err(Fault::internal)?;
        self.query(sql, &[Some(&new), Some(now)]).await.map(drop)
    }
}

/// The run is taken already, so what a workspace has written fails the run and not the worker.
fn taken(row: ControlRow<'_>, taken_by: &str) -> Result<TakenRun, Fault> {
    let (conditions, actions): (String, String) = (row.get("conditions")?, row.get("actions")?);
    let (event, context): (String, String) = (row.get("event")?, row.get("context")?);
    Ok(TakenRun {
        id: row.get("id")?,
        taken_by: taken_by.to_owned(),
        automation_id: row.get("automation_id")?,
        name: row.get("name")?,
        workspace_id: row.get("workspace_id")?,
        mode: row.get("mode")?,
        request_id: row.get("request_id")?,
        caused_by: row.optional("caused_by")?,
        attempts: row.get("attempts")?,
        work: work(&conditions, &actions, &event, &context),
    })
}

fn work(conditions: &str, actions: &str, event: &str, context: &str) -> Result<RunWork, String> {
    Ok(RunWork {
        conditions: parsed("conditions", conditions)?,
        actions: parsed("actions", actions)?,
        event: parsed("event", event)?,
        context: parsed("context", context)?,
    })
}

/// JSON in which values are nested deeper than a request may nest them can't be read.
fn parsed<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("The {name} can't be read: {error}."))
}
