//! Who listens to the events of workspaces.

use crm::model::fault::Fault;
use crm::model::value::array_of_texts;
use crm::plan::events::Snapshot;

use crate::store::cell::TenantDatabase;
use crate::store::control::Control;
use crate::store::control::rows::ControlRow;
use crate::store::control::webhooks::Holder;
use crate::store::control::workspaces::tenant_database;

/// The entries that wait in the queue of a webhook or an automation before it is full, and of those of a workspace and mode together.
const MOST_PENDING_OF_ONE: u64 = 10_000;
const MOST_PENDING_OF_ALL: u64 = 100_000;
/// The same in bytes. As many are kept after they have ended.
pub(super) const MOST_BYTES_OF_ONE: u64 = 64 * 1024 * 1024;
pub(super) const MOST_BYTES_OF_ALL: u64 = 256 * 1024 * 1024;

/// The queue of a webhook or an automation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// The position of the log up to which it has all events, if it was full. Without one it has all that are published.
    pub behind_at: Option<i64>,
    /// Whether it is full.
    pub is_full: bool,
}

impl QueueState {
    /// Whether events are queued as they are published.
    pub fn is_open(self) -> bool {
        self.behind_at.is_none() && !self.is_full
    }
}

/// A webhook endpoint that is enabled.
#[derive(Clone, Debug)]
pub struct Listener {
    /// `whep_…`
    pub id: String,
    /// The dialect of its events.
    pub dialect: String,
    /// The patterns of its events.
    pub events: Vec<String>,
    /// The snapshot of the workspace's database when it was enabled. It gets no events of what came before.
    pub since: Snapshot,
    /// Its queue.
    pub queue: QueueState,
}

/// An automation that is enabled.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `auto_…`
    pub id: String,
    /// The dialect in which its conditions see events.
    pub dialect: String,
    /// The pattern of its events.
    pub trigger_event: String,
    /// The snapshot of the workspace's database when it was enabled.
    pub since: Snapshot,
    /// Its queue.
    pub queue: QueueState,
}

/// What can fall behind: the table of its definition, and that of its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearer {
    /// A webhook endpoint.
    Webhook,
    /// An automation.
    Automation,
}

impl Hearer {
    fn table(self) -> &'static str {
        match self {
            Hearer::Webhook => "webhook_endpoints",
            Hearer::Automation => "automations",
        }
    }

    /// The number and the bytes of the entries that wait for `e`, as far as `most` of them.
    fn waiting(self, most: &str) -> String {
        let (table, owner, bytes) = match self {
            Hearer::Webhook => ("webhook_deliveries", "endpoint_id", "octet_length(q.body)"),
            Hearer::Automation => ("automation_runs", "automation_id", "pg_column_size(q.event)"),
        };
        format!(
            "SELECT count(*) AS number, COALESCE(sum(p.bytes), 0) AS bytes FROM (
                 SELECT {bytes} AS bytes FROM {table} AS q WHERE q.{owner} = e.id AND q.status = 'pending' LIMIT {most}) AS p"
        )
    }

    /// Those for which a condition holds, as `e`: with how much their queues hold, and how much waits in them, as `w`.
    fn with_queues(self, condition: &str) -> String {
        let [one, all] = [MOST_PENDING_OF_ONE, MOST_PENDING_OF_ALL];
        let [bytes_of_one, bytes_of_all] = [MOST_BYTES_OF_ONE, MOST_BYTES_OF_ALL];
        format!(
            "FROM (SELECT *, LEAST({one}, {all} / count(*) OVER same) AS most, LEAST({bytes_of_one}, {bytes_of_all} / count(*) OVER same) AS most_bytes
                   FROM {} WHERE enabled AND {condition} WINDOW same AS (PARTITION BY workspace_id, mode)) AS e
             CROSS JOIN LATERAL ({}) AS w",
            self.table(),
            self.waiting("e.most")
        )
    }

    /// Those of a workspace, `$1`, and mode, `$2`.
    fn of_workspace(self) -> String {
        self.with_queues("workspace_id = $1 AND mode = $2")
    }

    /// The workspaces and modes of those that are behind, and whose queues are at most half full.
    fn with_room(self) -> String {
        let condition = format!(
            "(workspace_id, mode) IN (SELECT workspace_id, mode FROM {} WHERE behind_at IS NOT NULL)",
            self.table()
        );
        format!(
            "SELECT e.workspace_id, e.mode {} WHERE e.behind_at IS NOT NULL AND w.number <= e.most / 2 AND w.bytes <= e.most_bytes / 2",
            self.with_queues(&condition)
        )
    }
}

/// A workspace in a mode that somebody listens to.
#[derive(Clone, Debug)]
pub struct Listened {
    /// `ws_…`
    pub workspace_id: String,
    /// `live` or `test`
    pub mode: String,
    /// The database with the data.
    pub place: TenantDatabase,
}

impl Control {
    /// The enabled endpoints of a workspace, in the order of their creation.
    pub async fn listeners(&self, holder: Holder<'_>) -> Result<Vec<Listener>, Fault> {
        let sql = format!(
            "SELECT e.id, e.dialect, to_json(e.events)::text AS events, e.since, {QUEUE_STATE} {} ORDER BY e.created_at, e.id",
            Hearer::Webhook.of_workspace()
        );
        self.query(&sql, &[Some(holder.workspace_id), Some(holder.mode)]).await?.all(|row| {
            Ok(Listener {
                id: row.get("id")?,
                dialect: row.get("dialect")?,
                events: serde_json::from_str(&row.get::<String>("events")?).map_err(Fault::internal)?,
                since: snapshot(row)?,
                queue: queue_state(row)?,
            })
        })
    }

    /// The enabled automations of a workspace, the oldest first.
    pub async fn rules(&self, holder: Holder<'_>) -> Result<Vec<Rule>, Fault> {
        let sql = format!(
            "SELECT e.id, e.dialect, e.trigger_event, e.since, {QUEUE_STATE} {} ORDER BY e.created_at, e.id",
            Hearer::Automation.of_workspace()
        );
        self.query(&sql, &[Some(holder.workspace_id), Some(holder.mode)]).await?.all(|row| {
            Ok(Rule {
                id: row.get("id")?,
                dialect: row.get("dialect")?,
                trigger_event: row.get("trigger_event")?,
                since: snapshot(row)?,
                queue: queue_state(row)?,
            })
        })
    }

    /// The snapshots after which those who listen get events, as PostgreSQL writes them.
    pub async fn snapshots(&self, holder: Holder<'_>) -> Result<Vec<String>, Fault> {
        let sql = "SELECT since FROM webhook_endpoints WHERE workspace_id = $1 AND mode = $2 AND enabled
                   UNION ALL SELECT since FROM automations WHERE workspace_id = $1 AND mode = $2 AND enabled";
        self.query(sql, &[Some(holder.workspace_id), Some(holder.mode)]).await?.all(|row| row.get("since"))
    }

    /// How many more deliveries fit into the queue of an endpoint.
    pub async fn room_of_webhook(&self, id: &str) -> Result<u64, Fault> {
        let most = MOST_PENDING_OF_ONE.to_string();
        let sql = format!(
            "SELECT w.number FROM webhook_endpoints AS e CROSS JOIN LATERAL ({}) AS w WHERE e.id = $1",
            Hearer::Webhook.waiting(&most)
        );
        let waiting: Option<u64> = self.query(&sql, &[Some(id)]).await?.first(|row| row.get("number"))?;
        Ok(MOST_PENDING_OF_ONE.saturating_sub(waiting.unwrap_or(0)))
    }

    /// Notes up to which position of the log the queue of one has all events, or that it has all. `before` is what was noted; if
    /// something else is noted by now, nothing is changed.
    pub async fn note_progress(
        &self,
        (hearer, id): (Hearer, &str),
        before: Option<i64>,
        after: Option<i64>,
        now: &str,
    ) -> Result<(), Fault> {
        let sql = format!(
            "UPDATE {} SET behind_at = $3::bigint, behind_since = CASE WHEN $3::bigint IS NOT NULL THEN COALESCE(behind_since, $4::timestamptz) END
             WHERE id = $1 AND behind_at IS NOT DISTINCT FROM $2::bigint",
            hearer.table()
        );
        let [before, after] = [before, after].map(|at| at.map(|at| at.to_string()));
        self.query(&sql, &[Some(id), before.as_deref(), after.as_deref(), Some(now)]).await.map(drop)
    }

    /// The workspaces and modes in which somebody is behind whose queue is at most half full.
    pub async fn behind_with_room(&self) -> Result<Vec<(String, String)>, Fault> {
        let sql = format!("{} UNION {}", Hearer::Webhook.with_room(), Hearer::Automation.with_room());
        self.query(&sql, &[]).await?.all(|row| Ok((row.get("workspace_id")?, row.get("mode")?)))
    }

    /// Whether somebody in a workspace is behind. Unlike the state of its queues, this is quick to find.
    pub async fn is_anybody_behind(&self, holder: Holder<'_>) -> Result<bool, Fault> {
        let sql = "SELECT FROM webhook_endpoints WHERE workspace_id = $1 AND mode = $2 AND behind_at IS NOT NULL AND enabled
                   UNION ALL
                   SELECT FROM automations WHERE workspace_id = $1 AND mode = $2 AND behind_at IS NOT NULL AND enabled LIMIT 1";
        Ok(!self.query(sql, &[holder.workspace_id, holder.mode].map(Some)).await?.is_empty())
    }

    /// How many are behind: webhooks and automations.
    pub async fn count_behind(&self) -> Result<(u64, u64), Fault> {
        let sql = "SELECT (SELECT count(*) FROM webhook_endpoints WHERE behind_at IS NOT NULL AND enabled) AS webhooks,
                          (SELECT count(*) FROM automations WHERE behind_at IS NOT NULL AND enabled) AS automations";
        let rows = self.query(sql, &[]).await?;
        Ok((rows.only()?.get("webhooks")?, rows.only()?.get("automations")?))
    }

    /// All workspaces that somebody listens to.
    pub async fn listened(&self) -> Result<Vec<Listened>, Fault> {
        let sql = "SELECT d.workspace_id, d.mode, d.id, d.cell_id, d.name, d.role, d.version FROM databases AS d
                   WHERE d.state = 'taken' AND EXISTS (
                       SELECT FROM webhook_endpoints AS e WHERE e.workspace_id = d.workspace_id AND e.mode = d.mode AND e.enabled
                       UNION ALL
                       SELECT FROM automations AS a WHERE a.workspace_id = d.workspace_id AND a.mode = d.mode AND a.enabled)";
        self.query(sql, &[]).await?.all(|row| {
            let (workspace_id, mode) = (row.get("workspace_id")?, row.get("mode")?);
            Ok(Listened { workspace_id, mode, place: tenant_database(row)? })
        })
    }

    /// How many rows were written in each of these databases since the statistics were reset. Writes of direct connections
    /// show here too.
    pub async fn rows_written(&self, databases: &[String]) -> Result<Vec<(String, i64)>, Fault> {
        let sql = "SELECT datname, tup_inserted + tup_updated + tup_deleted AS written FROM pg_catalog.pg_stat_database
                   WHERE datname = ANY ($1::text[])";
        let databases = array_of_texts(databases);
        self.query(sql, &[Some(&databases)]).await?.all(|row| Ok((row.get("datname")?, row.get("written")?)))
    }
}

/// The columns of a [`QueueState`].
const QUEUE_STATE: &str = "e.behind_at, w.number >= e.most OR w.bytes >= e.most_bytes AS is_full";

fn queue_state(row: ControlRow<'_>) -> Result<QueueState, Fault> {
    Ok(QueueState { behind_at: row.optional("behind_at")?, is_full: row.is("is_full")? })
}

fn snapshot(row: ControlRow<'_>) -> Result<Snapshot, Fault> {
    Snapshot::parse(&row.get::<String>("since")?).ok_or_else(|| Fault::internal("a snapshot that is none"))
}
