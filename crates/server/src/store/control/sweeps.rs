//! Removes old rows, and the deliveries and runs of what was deleted. Each statement removes one batch, so that none holds locks
//! or takes a connection for long, whatever a workspace has written.

use crm::model::fault::Fault;

use crate::store::control::Control;
use crate::store::control::automations::END_STOPPED_RUNS;
use crate::store::control::listeners::{MOST_BYTES_OF_ALL, MOST_BYTES_OF_ONE};

/// The most rows that a statement removes.
const BATCH: u64 = 5000;
/// The most statements of a sweep. The next sweep goes on.
const MOST_BATCHES: u64 = 400;
/// The deliveries of an endpoint that are kept of each outcome, and the runs of an automation.
const MOST_KEPT: u64 = 10_000;

/// The owners of a queue's entries, whether they still exist or not.
fn owners(table: &str, owner: &str) -> String {
    format!(
        "RECURSIVE owners (id) AS (
             (SELECT {owner} FROM {table} ORDER BY {owner} LIMIT 1)
             UNION ALL
             SELECT (SELECT q.{owner} FROM {table} AS q WHERE q.{owner} > o.id ORDER BY q.{owner} LIMIT 1)
             FROM owners AS o WHERE o.id IS NOT NULL)"
    )
}

/// A queue whose entries are kept after they have ended.
struct KeptQueue {
    table: &'static str,
    /// The column that names the owner of an entry, and the table of owners.
    owner: &'static str,
    owners: &'static str,
    /// What an entry takes, in bytes.
    bytes: &'static str,
}

const DELIVERIES: KeptQueue = KeptQueue {
    table: "webhook_deliveries",
    owner: "endpoint_id",
    owners: "webhook_endpoints",
    bytes: "octet_length(q.body) + COALESCE(octet_length(q.response_body), 0)",
};

const RUNS: KeptQueue = KeptQueue {
    table: "automation_runs",
    owner: "automation_id",
    owners: "automations",
    bytes: "pg_column_size(q.event)",
};

impl Control {
    /// Repeats a statement that changes or removes at most `$1` rows until there are fewer. Returns how many there were.
    async fn in_batches(&self, sql: &str, params: &[Option<&str>]) -> Result<u64, Fault> {
        let sql = format!("WITH gone AS ({sql} RETURNING 1) SELECT count(*) AS gone FROM gone");
        let batch = BATCH.to_string();
        let params: Vec<Option<&str>> = std::iter::once(Some(&*batch)).chain(params.iter().copied()).collect();
        let mut all = 0;
        for _ in 0..MOST_BATCHES {
            let gone: u64 = self.query(&sql, &params).await?.only()?.get("gone")?;
            all += gone;
            if gone < BATCH {
                break;
            }
        }
        Ok(all)
    }

    /// Removes the rows of a table for which a condition on `$2` holds.
    async fn sweep(&self, table: &str, condition: &str, param: &str) -> Result<u64, Fault> {
        let sql = format!(
            "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT q.ctid FROM {table} AS q WHERE {condition} LIMIT $1::bigint))"
        );
        self.in_batches(&sql, &[Some(param)]).await
    }

    /// Removes deliveries of webhooks and runs of automations: those that ended before a time (Unix seconds), those of what was
    /// deleted, and of each webhook or automation that was busy since `busy_since` (Unix seconds) those beyond the newest.
    pub async fn sweep_queues(&self, before: i64, busy_since: i64) -> Result<u64, Fault> {
        let (before, busy_since, mut removed) = (before.to_string(), busy_since.to_string(), 0);
        for queue in [&DELIVERIES, &RUNS] {
            let is_old = "q.created_at < to_timestamp($2::bigint) AND q.status <> 'pending'";
            removed += self.sweep(queue.table, is_old, &before).await?;
            removed += self.remove_orphans(queue).await?;
        }
        for status in ["delivered", "failed"] {
            removed += self.keep_newest(&DELIVERIES, &format!("q.status = '{status}'"), &busy_since).await?;
        }
        removed += self.keep_newest(&RUNS, "q.status <> 'pending'", &busy_since).await?;
        Ok(removed)
    }

    async fn remove_orphans(&self, queue: &KeptQueue) -> Result<u64, Fault> {
        let KeptQueue { table, owner, owners: of, .. } = queue;
        let sql = format!(
            "DELETE FROM {table} WHERE ctid = ANY (ARRAY(
                 WITH {} SELECT q.ctid FROM owners AS o CROSS JOIN LATERAL (
                     SELECT q.ctid FROM {table} AS q WHERE q.{owner} = o.id LIMIT $1::bigint) AS q
                 WHERE NOT EXISTS (SELECT FROM {of} AS e WHERE e.id = o.id) LIMIT $1::bigint))",
            owners(table, owner)
        );
        self.in_batches(&sql, &[]).await
    }

    /// Removes what is beyond the newest entries of each owner that has new ones, in number or in bytes.
    async fn keep_newest(&self, queue: &KeptQueue, condition: &str, busy_since: &str) -> Result<u64, Fault> {
        let KeptQueue { table, owner, owners: of, bytes } = queue;
        let sql = format!(
            "DELETE FROM {table} WHERE ctid = ANY (ARRAY(
                 SELECT beyond.ctid FROM (
                     SELECT e.id, LEAST($4::bigint, $5::bigint / count(*) OVER (PARTITION BY e.workspace_id, e.mode)) AS most
                     FROM {of} AS e) AS e
                 CROSS JOIN LATERAL (
                     SELECT l.created_at, l.id FROM (
                         SELECT n.created_at, n.id, row_number() OVER w AS number, sum(n.bytes) OVER w AS bytes FROM (
                             SELECT q.created_at, q.id, {bytes} AS bytes FROM {table} AS q WHERE q.{owner} = e.id AND {condition}
                             ORDER BY q.created_at DESC, q.id DESC LIMIT $3::bigint + 1) AS n
                         WINDOW w AS (ORDER BY n.created_at DESC, n.id DESC)) AS l
                     WHERE l.number > $3::bigint OR (l.bytes > e.most AND l.number > 1)
                     ORDER BY l.created_at DESC, l.id DESC LIMIT 1) AS last
                 CROSS JOIN LATERAL (
                     SELECT q.ctid FROM {table} AS q
                     WHERE q.{owner} = e.id AND {condition} AND (q.created_at, q.id) <= (last.created_at, last.id)
                     LIMIT $1::bigint) AS beyond
                 WHERE e.id IN (SELECT b.{owner} FROM {table} AS b WHERE b.created_at >= to_timestamp($2::bigint))
                 LIMIT $1::bigint))"
        );
        let (most, one, all) = (MOST_KEPT.to_string(), MOST_BYTES_OF_ONE.to_string(), MOST_BYTES_OF_ALL.to_string());
        self.in_batches(&sql, &[Some(busy_since), Some(&most), Some(&one), Some(&all)]).await
    }

    /// Ends the runs that wait for automations which are switched off, as skipped.
    pub async fn end_stopped_runs(&self, now: &str) -> Result<(), Fault> {
        self.in_batches(END_STOPPED_RUNS, &[Some(now), None]).await.map(drop)
    }

    /// Deletes requests that came before a time, Unix seconds.
    pub async fn sweep_request_log(&self, before: i64) -> Result<(), Fault> {
        self.sweep("request_log", "q.created_at < to_timestamp($2::bigint)", &before.to_string()).await.map(drop)
    }

    /// Forgets ended e-mails that are older than a time (Unix seconds).
    pub async fn sweep_emails(&self, before: i64) -> Result<(), Fault> {
        let is_old = "q.ended_at < to_timestamp($2::bigint) AND q.next_attempt_at IS NULL";
        self.sweep("outgoing_emails", is_old, &before.to_string()).await.map(drop)
    }

    /// Deletes sessions, tokens of e-mails and failed log-ins that ended before a time (Unix seconds), and log-ins with a
    /// provider that have expired by `now` (the same).
    pub async fn sweep_accounts(&self, before: i64, now: i64) -> Result<(), Fault> {
        let (before, now) = (before.to_string(), now.to_string());
        for (table, condition, time) in [
            ("sessions", "q.expires_at < to_timestamp($2::bigint) OR q.revoked_at < to_timestamp($2::bigint)", &before),
            ("mail_tokens", "q.expires_at < to_timestamp($2::bigint)", &before),
            ("login_failures", "q.failed_at < to_timestamp($2::bigint)", &before),
            ("sign_ins", "q.expires_at < to_timestamp($2::bigint)", &now),
        ] {
            self.sweep(table, condition, time).await?;
        }
        Ok(())
    }

    /// Removes what apps no longer use: tokens and codes that expired before a time, and, if they are older than `unused`, grants
    /// that nobody began to use and apps that nobody has connected. Times are ISO 8601.
    pub async fn sweep_apps(&self, expired: &str, unused: &str) -> Result<(), Fault> {
        let no_grant =
            "q.created_at < $2::timestamptz AND NOT EXISTS (SELECT FROM app_grants AS g WHERE g.client_id = q.id)";
        for (table, condition, time) in [
            ("app_tokens", "q.expires_at < $2::timestamptz", expired),
            ("app_codes", "q.expires_at < $2::timestamptz", expired),
            ("app_grants", "q.begun_at IS NULL AND q.created_at < $2::timestamptz", unused),
            ("app_clients", no_grant, unused),
        ] {
            self.sweep(table, condition, time).await?;
        }
        Ok(())
    }

    /// Removes an unclaimed or deleted workspace and what belongs to it, after its databases were dropped.
    pub async fn forget_workspace(&self, workspace_id: &str) -> Result<(), Fault> {
        // What there may be much of goes first, in batches. Deliveries and runs go with the next sweep.
        let is_gone = "q.workspace_id = $2 AND EXISTS (
            SELECT FROM workspaces AS w WHERE w.id = $2 AND (w.claimed_at IS NULL OR w.deleted_at IS NOT NULL))";
        for table in ["request_log", "outgoing_emails", "idempotent_replies", "audit"] {
            while self.sweep(table, is_gone, workspace_id).await? >= BATCH * MOST_BATCHES {}
        }
        let sql = "DELETE FROM workspaces WHERE id = $1 AND (claimed_at IS NULL OR deleted_at IS NOT NULL)";
        self.query(sql, &[Some(workspace_id)]).await.map(drop)
    }
}
