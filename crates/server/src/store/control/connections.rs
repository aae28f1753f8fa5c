//! Direct connections: the PostgreSQL roles of members, and the sessions that have to end.
//!
//! A row is written before its role is created, and deleted before its role is dropped. So after a crash at any point, a role
//! without a row can be dropped.

use crm::model::fault::Fault;
use crm::model::value::array_of_texts;

use crate::store::control::Control;
use crate::store::control::audit::{AuditEntry, NO_DETAILS, insert_entry};

/// The limits of direct connections.
pub struct DirectLimits {
    /// Sessions of all members of a workspace.
    pub sessions_in_workspace: u32,
    /// Sessions of all members in a cell.
    pub sessions_in_cell: u32,
    /// Locks that a session may hold.
    pub locks: u32,
    /// How long a transaction may be open, in seconds.
    pub transaction_seconds: u32,
}

/// A session that was ended.
pub struct EndedSession {
    /// The session's role. It is empty if the role has already been dropped.
    pub role: String,
    /// Why the session was ended.
    pub why: String,
}

/// Ends sessions. They are taken from the workspace with the most sessions first, and its newest session first. A role that was
/// dropped has no name.
const END_SESSIONS: &str = "
    WITH session AS (
        SELECT a.pid, a.usename, a.backend_start, a.xact_start, c.created_at AS since,
               row_number() OVER (PARTITION BY a.datid ORDER BY a.backend_start, a.pid) AS in_workspace
        FROM pg_stat_activity AS a LEFT JOIN connections AS c ON c.role = a.usename
        WHERE a.backend_type = 'client backend'
          AND (a.usename ~ $1 OR a.usesysid IS NOT NULL AND a.usename IS NULL)),
    locks AS (
        SELECT pid, count(*) AS held FROM pg_locks WHERE EXISTS (SELECT FROM session) GROUP BY pid),
    judged AS (
        SELECT s.pid, s.usename, CASE
                   WHEN s.since IS NULL THEN 'its role has ended'
                   WHEN s.backend_start < s.since THEN 'its password was replaced'
                   WHEN s.in_workspace > $2::bigint THEN 'too many sessions in the workspace'
                   WHEN row_number() OVER (ORDER BY s.in_workspace, s.backend_start) > $3::bigint THEN 'too many sessions'
                   WHEN l.held > $4::bigint THEN 'too many locks'
                   WHEN s.xact_start < now() - make_interval(secs => $5::integer) THEN 'its transaction is too old'
               END AS why
        FROM session AS s LEFT JOIN locks AS l ON l.pid = s.pid)
    SELECT COALESCE(usename, '') AS role, why, pg_terminate_backend(pid) FROM judged WHERE why IS NOT NULL";

impl Control {
    /// Reserves a role for a member: the role that they have, else one with this name. Returns its name and whether the
    /// member is a viewer; `None` if the person is not a member.
    pub async fn reserve_connection(
        &self,
        entry: &AuditEntry<'_>,
        new_role: &str,
    ) -> Result<Option<(String, bool)>, Fault> {
        let sql = "WITH member AS (
                       SELECT role FROM members WHERE workspace_id = $1 AND user_id = $2 FOR SHARE),
                   reserved AS (
                       INSERT INTO connections AS c (workspace_id, user_id, role, created_at)
                       SELECT $1, $2, $3, clock_timestamp() FROM member
                       ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = c.role RETURNING role)
                   SELECT reserved.role, member.role = 'viewer' AS is_viewer FROM reserved, member";
        let params = [Some(entry.workspace_id), Some(entry.user_id), Some(new_role)];
        self.query(sql, &params).await?.first(|row| Ok((row.get("role")?, row.is("is_viewer")?)))
    }

    /// Stores that a role has a new password. Returns false if the member's role ended or changed meanwhile.
    pub async fn confirm_connection(&self, entry: &AuditEntry<'_>, role: &str) -> Result<bool, Fault> {
        let insert_entry = insert_entry("connection.opened", "role", NO_DETAILS, "FROM confirmed");
        let sql = format!(
            "WITH confirmed AS (
                 UPDATE connections SET created_at = clock_timestamp()
                 WHERE workspace_id = $2 AND user_id = $3 AND role = $5 RETURNING role),
             entry AS ({insert_entry})
             SELECT role FROM confirmed"
        );
        Ok(!self.query(&sql, &entry.params([Some(role)])).await?.is_empty())
    }

    /// Returns those of these roles that belong to no member.
    pub async fn unknown_connections(&self, roles: &[String]) -> Result<Vec<String>, Fault> {
        let sql = "SELECT r.role FROM unnest($1::text[]) AS r (role)
                   WHERE NOT EXISTS (SELECT FROM connections AS c WHERE c.role = r.role)";
        self.query(sql, &[Some(&array_of_texts(roles))]).await?.all(|row| row.get("role"))
    }

    /// Ends the sessions of roles that match this pattern and exceed the limits, or whose log-in is no longer valid.
    pub async fn end_sessions(&self, roles: &str, limits: &DirectLimits) -> Result<Vec<EndedSession>, Fault> {
        let DirectLimits { sessions_in_workspace, sessions_in_cell, locks, transaction_seconds } = limits;
        let numbers = [sessions_in_workspace, sessions_in_cell, locks, transaction_seconds].map(u32::to_string);
        let [in_workspace, in_cell, locks, seconds] = &numbers;
        let params = [Some(roles), Some(in_workspace), Some(in_cell), Some(locks), Some(seconds)];
        let ended = self.query(END_SESSIONS, &params).await?;
        ended.all(|row| Ok(EndedSession { role: row.get("role")?, why: row.get("why")? }))
    }
}
