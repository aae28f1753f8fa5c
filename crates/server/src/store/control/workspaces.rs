//! Workspaces and their databases: creates, claims, finds and deletes them.

use crm::model::fault::Fault;

use crate::store::cell::TenantDatabase;
use crate::store::control::audit::{AuditEntry, NO_DETAILS, insert_entry};
use crate::store::control::keys::{COUNT_CHANGE, NewKey, insert_key};
use crate::store::control::lists::{First, PagedList};
use crate::store::control::members::insert_owner;
use crate::store::control::rows::ControlRow;
use crate::store::control::{Control, is_taken};
use crate::store::fault;

/// The workspaces that a person belongs to.
pub static WORKSPACES: PagedList = PagedList {
    columns: &[
        ("id", "w.id"),
        ("name", "w.name"),
        ("role", "m.role"),
        ("sending", "w.sending"),
        ("created_at", "w.created_at"),
    ],
    from: "members AS m JOIN workspaces AS w ON w.id = m.workspace_id",
    conditions: &["m.user_id = $1"],
    order: ["created_at", "id"],
    first: First::Newest,
};

/// A workspace to be created.
#[derive(Debug)]
pub struct NewWorkspace<'a> {
    /// `ws_…`
    pub id: &'a str,
    /// The workspace's display name.
    pub name: Option<&'a str>,
    /// The current time, ISO 8601.
    pub now: &'a str,
    /// Its first key.
    pub key: NewKey<'a>,
    /// Its owner, `u_…`; with `None` the workspace is anonymous.
    pub owner_id: Option<&'a str>,
    /// The id of its first entry in the audit log, `au_…`. An anonymous workspace has no entry.
    pub audit_id: &'a str,
}

/// The result of a request for a test database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestDatabase {
    /// The workspace got it just now.
    Taken,
    /// The workspace had one already.
    Present,
    /// No database is warm.
    NoneWarm,
}

impl Control {
    /// Creates a workspace with a warm database, its first key and its owner. Returns false if no database is warm.
    pub async fn create_workspace(&self, version: i32, new: &NewWorkspace<'_>) -> Result<bool, Fault> {
        let insert_owner = insert_owner("workspace WHERE $3::text IS NOT NULL");
        let insert_key = insert_key("k.role", "WHERE EXISTS (SELECT FROM workspace)");
        let created = "FROM workspace WHERE $3::text IS NOT NULL";
        let insert_entry = insert_entry("workspace.created", "id", NO_DETAILS, created);
        let sql = format!(
            "WITH free AS (
                 SELECT id FROM databases WHERE state = 'warm' AND version = $6::integer
                 ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1),
             workspace AS (
                 INSERT INTO workspaces (id, name, created_at, claimed_at)
                 SELECT $2, $7, $4::timestamptz, CASE WHEN $3::text IS NOT NULL THEN $4::timestamptz END
                 FROM free RETURNING id),
             owner AS ({insert_owner}),
             key AS ({insert_key}),
             entry AS ({insert_entry}),
             taken AS (
                 UPDATE databases SET state = 'taken', workspace_id = $2, mode = 'live'
                 FROM free WHERE databases.id = free.id)
             SELECT id FROM workspace"
        );
        let (key, version) = (new.key.to_json(), version.to_string());
        let who = [Some(new.audit_id), Some(new.id), new.owner_id, Some(new.now)];
        let params: Vec<_> = who.into_iter().chain([Some(&*key), Some(&version), new.name]).collect();
        Ok(!self.query(&sql, &params).await?.is_empty())
    }

    /// Gives an unclaimed workspace to a person: revokes its keys, makes the person its owner and stores a live key. If two
    /// people claim it at the same time, one of them succeeds. Workspaces created before `born_after` can't be claimed.
    /// Returns whether the workspace was claimed.
    pub async fn claim(&self, entry: &AuditEntry<'_>, key: &NewKey<'_>, born_after: &str) -> Result<bool, Fault> {
        let insert_owner = insert_owner("claimed");
        let insert_key = insert_key("k.role", "WHERE EXISTS (SELECT FROM claimed)");
        let insert_entry = insert_entry("workspace.claimed", "id", NO_DETAILS, "FROM claimed");
        let sql = format!(
            "WITH claimed AS (
                 UPDATE workspaces SET claimed_at = $4::timestamptz
                 WHERE id = $2 AND claimed_at IS NULL AND created_at > $6::timestamptz RETURNING id),
             ended AS (
                 UPDATE api_keys SET revoked_at = $4::timestamptz
                 WHERE workspace_id = (SELECT id FROM claimed) AND revoked_at IS NULL),
             owner AS ({insert_owner}),
             key AS ({insert_key}),
             entry AS ({insert_entry})
             SELECT id, {COUNT_CHANGE} FROM claimed"
        );
        let claimed = self.query(&sql, &entry.params([Some(&key.to_json()), Some(born_after)])).await?;
        Ok(!claimed.is_empty())
    }

    /// Whether a workspace has an owner; `None` if the workspace does not exist.
    pub async fn is_claimed(&self, workspace_id: &str) -> Result<Option<bool>, Fault> {
        let sql = "SELECT claimed_at IS NOT NULL AS claimed FROM workspaces WHERE id = $1";
        self.query(sql, &[Some(workspace_id)]).await?.first(|row| row.is("claimed"))
    }

    /// Whether a workspace has a database for its test data.
    pub async fn has_test_database(&self, workspace_id: &str) -> Result<bool, Fault> {
        let sql = "SELECT FROM databases WHERE workspace_id = $1 AND mode = 'test' AND state = 'taken'";
        Ok(!self.query(sql, &[Some(workspace_id)]).await?.is_empty())
    }

    /// Gives a workspace a warm database for its test data. If two requests try at the same time, the constraint
    /// `databases_workspace_id_mode_key` refuses one of them.
    pub async fn take_test_database(&self, version: i32, workspace_id: &str) -> Result<TestDatabase, Fault> {
        let sql = "WITH free AS (
                       SELECT id FROM databases WHERE state = 'warm' AND version = $1::integer
                       ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)
                   UPDATE databases SET state = 'taken', workspace_id = $2, mode = 'test'
                   FROM free WHERE databases.id = free.id RETURNING databases.id";
        match self.try_query(sql, &[Some(&version.to_string()), Some(workspace_id)]).await {
            Ok(rows) if rows.is_empty() => Ok(TestDatabase::NoneWarm),
            Ok(_) => Ok(TestDatabase::Taken),
            Err(error) if is_taken(&error) => Ok(TestDatabase::Present),
            Err(error) => Err(fault::of_own_statement(error)),
        }
    }

    /// The databases of a workspace: live, then test.
    pub async fn databases(&self, workspace_id: &str) -> Result<Vec<TenantDatabase>, Fault> {
        let sql = "SELECT id, cell_id, name, role, version FROM databases WHERE workspace_id = $1 ORDER BY mode";
        self.query(sql, &[Some(workspace_id)]).await?.all(tenant_database)
    }

    /// The database of a workspace's live data.
    pub async fn live_database(&self, workspace_id: &str) -> Result<Option<TenantDatabase>, Fault> {
        let sql = "SELECT id, cell_id, name, role, version FROM databases
                   WHERE workspace_id = $1 AND mode = 'live' AND state = 'taken'";
        self.query(sql, &[Some(workspace_id)]).await?.first(tenant_database)
    }

    /// Renames a workspace. Returns whether e-mail and webhooks leave it; `None` if there is no such workspace.
    pub async fn rename_workspace(&self, entry: &AuditEntry<'_>, name: &str) -> Result<Option<bool>, Fault> {
        let insert_entry =
            insert_entry("workspace.renamed", "id", "jsonb_build_object('name', $5::text)", "FROM renamed");
        let sql = format!(
            "WITH renamed AS (UPDATE workspaces SET name = $5 WHERE id = $2 AND deleted_at IS NULL RETURNING id, sending),
             entry AS ({insert_entry})
             SELECT sending FROM renamed"
        );
        self.query(&sql, &entry.params([Some(name)])).await?.first(|row| row.is("sending"))
    }

    /// Deletes a workspace, if this is its name, or its id if it has no name: ends its members, keys, invitations and
    /// connections, and stops its webhooks and automations. Its data stays until it is dropped. Returns whether it was deleted.
    pub async fn delete_workspace(&self, entry: &AuditEntry<'_>, name: &str) -> Result<bool, Fault> {
        let insert_entry = insert_entry("workspace.deleted", "id", NO_DETAILS, "FROM deleted");
        let sql = format!(
            "WITH deleted AS (
                 UPDATE workspaces SET deleted_at = $4::timestamptz
                 WHERE id = $2 AND deleted_at IS NULL AND COALESCE(NULLIF(btrim(name), ''), id) = btrim($5) RETURNING id),
             ended AS (
                 UPDATE api_keys SET revoked_at = $4::timestamptz
                 WHERE workspace_id = (SELECT id FROM deleted) AND revoked_at IS NULL),
             left_by AS (DELETE FROM members WHERE workspace_id = (SELECT id FROM deleted)),
             uninvited AS (DELETE FROM invites WHERE workspace_id = (SELECT id FROM deleted)),
             cut AS (DELETE FROM connections WHERE workspace_id = (SELECT id FROM deleted)),
             silenced AS (UPDATE webhook_endpoints SET enabled = false WHERE workspace_id = (SELECT id FROM deleted)),
             stopped AS (UPDATE automations SET enabled = false WHERE workspace_id = (SELECT id FROM deleted)),
             entry AS ({insert_entry})
             SELECT id, {COUNT_CHANGE} FROM deleted"
        );
        Ok(!self.query(&sql, &entry.params([Some(name)])).await?.is_empty())
    }

    /// A workspace to be dropped, if there is one: unclaimed and created before a time, or deleted before another one (Unix
    /// seconds).
    pub async fn find_expired(&self, created_before: i64, deleted_before: i64) -> Result<Option<String>, Fault> {
        let sql = "SELECT id FROM workspaces
                   WHERE claimed_at IS NULL AND created_at < to_timestamp($1::bigint) OR deleted_at < to_timestamp($2::bigint)
                   LIMIT 1";
        let params = [created_before.to_string(), deleted_before.to_string()];
        self.query(sql, &[Some(&params[0]), Some(&params[1])]).await?.first(|row| row.get("id"))
    }
}

/// Reads a row of `databases`: `id`, `cell_id`, `name`, `role`, `version`.
pub(super) fn tenant_database(row: ControlRow<'_>) -> Result<TenantDatabase, Fault> {
    let (database, role): (String, String) = (row.get("name")?, row.get("role")?);
    Ok(TenantDatabase::new(row.get("id")?, row.get("cell_id")?, &database, &role, row.get("version")?))
}
