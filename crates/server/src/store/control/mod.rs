//! The control plane's statements: workspaces, their databases, keys.

pub mod accounts;
pub mod billing;
pub mod grants;
pub mod identities;
pub mod invitations;
pub mod lists;
pub mod members;

use std::sync::Arc;
use std::time::Duration;

use pg::Error;
use pg::pool::{Key, Lane, Limits, Pool};
use pg::rows::Rows;
use pg::watchdog::Watchdog;

use crate::store::cell::{CONTROL_DATABASE, CONTROL_ROLE, Cells, TenantDatabase};

/// Connections to the control database, and what is asked there.
#[derive(Clone)]
pub struct Control {
    pool: Pool,
    key: Key,
}

/// A workspace that is about to be.
#[derive(Debug)]
pub struct NewWorkspace<'a> {
    /// `ws_…`
    pub id: &'a str,
    /// What people call it.
    pub name: Option<&'a str>,
    /// Now, Unix seconds.
    pub created_at: i64,
    /// `ak_…`
    pub key_id: &'a str,
    /// The key's hash.
    pub key_hash: [u8; 32],
    /// The key's hint.
    pub key_hint: &'a str,
    /// Whose it is from the beginning, `u_…`; nobody's where it is anonymous.
    pub owner_id: Option<&'a str>,
    /// The id of its first entry in the audit, where it is somebody's.
    pub audit_id: &'a str,
}

impl Control {
    /// Control-plane connections have a pool of their own, so that no tenant's load keeps keys from being looked up.
    pub fn new(cells: Arc<Cells>, watchdog: Watchdog) -> Control {
        let limits = Limits {
            max_total: 6,
            max_per_role: 6,
            max_queue_per_role: 1000,
            wait: Duration::from_secs(10),
            max_age: Duration::from_secs(1800),
            max_idle: Duration::from_secs(300),
        };
        let key = Key { cell: 0, database: CONTROL_DATABASE.into(), role: CONTROL_ROLE.into(), lane: Lane::Rest };
        Control { pool: Pool::new(limits, cells, watchdog), key }
    }

    /// One statement with text parameters, committed by itself.
    pub async fn query(&self, sql: &str, params: &[Option<&str>]) -> Result<Rows, Error> {
        self.pool.lease(&self.key).await?.query(sql, params).await
    }

    /// Whether the control database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.query("SELECT 1", &[]).await.map(drop)
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Notes when keys were last used: hashes and Unix seconds. Another process may have noted a later use.
    pub async fn note_uses(&self, times: &[([u8; 32], i64)]) -> Result<(), Error> {
        let hashes: Vec<String> = times.iter().map(|(hash, _)| format!("\"\\{}\"", bytea(hash))).collect();
        let seconds: Vec<String> = times.iter().map(|(_, at)| at.to_string()).collect();
        self.query(
            "UPDATE api_keys AS k SET last_used_at = to_timestamp(u.at)
             FROM unnest($1::bytea[], $2::bigint[]) AS u (hash, at)
             WHERE k.hash = u.hash AND (k.last_used_at IS NULL OR k.last_used_at < to_timestamp(u.at))",
            &[Some(&format!("{{{}}}", hashes.join(","))), Some(&format!("{{{}}}", seconds.join(",")))],
        )
        .await
        .map(drop)
    }

    /// An unclaimed workspace made before a moment (Unix seconds), if there is one.
    pub async fn take_expired(&self, before: i64) -> Result<Option<String>, Error> {
        let sql =
            "SELECT id FROM workspaces WHERE claimed_at IS NULL AND created_at < to_timestamp($1::bigint) LIMIT 1";
        let rows = self.query(sql, &[Some(&before.to_string())]).await?;
        if rows.is_empty() { Ok(None) } else { rows.get(0, "id").map(Some) }
    }

    /// Where a workspace's data is, in each mode; live comes first.
    pub async fn databases(&self, workspace_id: &str) -> Result<Vec<TenantDatabase>, Error> {
        let sql = "SELECT id, cell_id, name, role, version FROM databases WHERE workspace_id = $1 ORDER BY mode";
        let rows = self.query(sql, &[Some(workspace_id)]).await?;
        (0..rows.len()).map(|row| TenantDatabase::read(&rows, row)).collect()
    }

    /// Forgets an unclaimed workspace and its keys, once its databases are gone.
    pub async fn forget_workspace(&self, workspace_id: &str) -> Result<(), Error> {
        let sql = "DELETE FROM workspaces WHERE id = $1 AND claimed_at IS NULL";
        self.query(sql, &[Some(workspace_id)]).await.map(|_| ())
    }

    /// Hands a warm database out to a new workspace, with its first key: all in one statement. False where no
    /// database is warm.
    pub async fn take_database(&self, version: i32, new: &NewWorkspace<'_>) -> Result<bool, Error> {
        let (version, created_at, hash) = (version.to_string(), new.created_at.to_string(), bytea(&new.key_hash));
        let rows = self
            .query(
                "WITH free AS (
                     SELECT id FROM databases WHERE state = 'warm' AND version = $1::integer
                     ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1),
                 workspace AS (
                     INSERT INTO workspaces (id, name, created_at, claimed_at)
                     SELECT $2, $3, to_timestamp($4::bigint), CASE WHEN $8::text IS NOT NULL THEN to_timestamp($4::bigint) END
                     FROM free RETURNING id),
                 member AS (
                     INSERT INTO members (workspace_id, user_id, role, created_at)
                     SELECT id, $8, 'owner', to_timestamp($4::bigint) FROM workspace WHERE $8::text IS NOT NULL),
                 key AS (
                     INSERT INTO api_keys (id, workspace_id, user_id, hash, hint, mode, role, created_at)
                     SELECT $5, id, $8, $6::bytea, $7, 'live', CASE WHEN $8::text IS NULL THEN 'member' ELSE 'owner' END,
                            to_timestamp($4::bigint)
                     FROM workspace),
                 entry AS (
                     INSERT INTO audit (id, workspace_id, occurred_at, actor, action, subject)
                     SELECT $9, id, to_timestamp($4::bigint), 'user:' || $8, 'workspace.created', id
                     FROM workspace WHERE $8::text IS NOT NULL),
                 taken AS (
                     UPDATE databases SET state = 'taken', workspace_id = $2, mode = 'live'
                     FROM free WHERE databases.id = free.id)
                 SELECT count(*) AS taken FROM free",
                &[
                    Some(&version),
                    Some(new.id),
                    new.name,
                    Some(&created_at),
                    Some(new.key_id),
                    Some(&hash),
                    Some(new.key_hint),
                    new.owner_id,
                    Some(new.audit_id),
                ],
            )
            .await?;
        let taken: i64 = rows.get(0, "taken")?;
        Ok(taken == 1)
    }

    /// Whether a workspace has a database for its test data.
    pub async fn has_test_database(&self, workspace_id: &str) -> Result<bool, Error> {
        let sql = "SELECT FROM databases WHERE workspace_id = $1 AND mode = 'test' AND state = 'taken'";
        Ok(!self.query(sql, &[Some(workspace_id)]).await?.is_empty())
    }

    /// Hands a warm database out for a workspace's test data. False where no database is warm. Of two who try at once one
    /// is refused by the constraint `databases_workspace_id_mode_key`.
    pub async fn take_test_database(&self, version: i32, workspace_id: &str) -> Result<bool, Error> {
        let rows = self
            .query(
                "WITH free AS (
                     SELECT id FROM databases WHERE state = 'warm' AND version = $1::integer
                     ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)
                 UPDATE databases SET state = 'taken', workspace_id = $2, mode = 'test'
                 FROM free WHERE databases.id = free.id RETURNING databases.id",
                &[Some(&version.to_string()), Some(workspace_id)],
            )
            .await?;
        Ok(!rows.is_empty())
    }
}

/// Bytes as a bytea literal's text.
fn bytea(bytes: &[u8]) -> String {
    format!("\\x{}", crate::store::cell::secrets::hex(bytes))
}
