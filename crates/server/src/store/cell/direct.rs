//! Direct connections: the roles by which people reach a workspace's database with psql, made, ended and held to measure.
//!
//! A person's role is a member of the workspace's own (or of its viewers') and has nothing else: it inherits nothing, for
//! `REASSIGN OWNED` is seen by no event trigger and would give it the built-in tables. `connections` says which
//! roles ought to be; a row comes before its role and goes before it, so a role without a row is one that has to end,
//! whatever crashed when.

use std::time::Duration;

use pg::{Conn, Error};

use crm::model::id;

use crate::clock::random;
use crate::store::Store;
use crate::store::cell::settings;
use crate::store::cell::{TenantDatabase, literal, name};
use crate::store::control::Control;
use crate::store::control::members::Act;

/// Sessions that a person may have open in a workspace.
const PERSONS_SESSIONS: u32 = 4;
/// Sessions of all people in a workspace.
const WORKSPACES_SESSIONS: u32 = 16;
/// Sessions of all people in a cell: what is left of its connections is for the API.
const CELLS_SESSIONS: u32 = 40;
/// Locks that a session may hold. The lock table is the whole cell's; a dump takes one for each of 2000 relations.
const MOST_LOCKS: u32 = 20_000;
/// How long a transaction may be open, in seconds.
const LONGEST_TRANSACTION_SECONDS: u32 = 3600;
/// Rounds of hashing in the stored password. One would do for a random one, but some clients refuse fewer.
const SCRAM_ROUNDS: u32 = 4096;
/// Characters of a person's role between the workspace's and the `_d`.
const RANDOM_CHARACTERS: usize = 12;

/// The names that people's roles have.
const ANYBODYS: &str = "^w_[0-9a-z]{20}_[0-9a-z]{12}_d$";

/// One change of people's roles at a time: what two do to one role or one database's rights would be an error for one.
pub const LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(7236455902);";

/// A way in that was just made.
pub struct Direct {
    /// The person's role.
    pub role: String,
    /// What opens the database; its password is stored nowhere.
    pub url: String,
}

impl Store {
    /// Gives a member a role and a new password, and ends what sessions the role has. Nothing, where they are no member
    /// (any more), or where nobody can reach the cell from outside.
    pub async fn open_direct(&self, act: Act<'_>) -> Result<Option<Direct>, Error> {
        let Some(place) = self.control.live_place(act.workspace_id).await? else {
            return Ok(None);
        };
        let Some(outside) = self.cells.outside(place.cell) else {
            return Ok(None);
        };
        let fresh = format!("{}_{}_d", place.role, id::token(&random::<RANDOM_CHARACTERS>()));
        let Some((role, is_viewer)) = self.control.reserve_connection(act, &fresh).await? else {
            return Ok(None);
        };
        let password = id::token(&random::<40>());
        let mut admin = self.cells.administer_cell(place.cell).await?;
        admin.script(&make(&place, &role, is_viewer, &password)).await?;
        end_sessions(&mut admin, &role).await?;
        if !self.control.confirm_connection(act, &role).await? {
            // Their membership ended or changed meanwhile.
            self.end_role(&mut admin, &role).await?;
            return Ok(None);
        }
        let url = outside.url(&role, &password, &place.database);
        Ok(Some(Direct { role, url }))
    }

    /// Ends the roles that ought not to be: in one workspace, or everywhere.
    pub async fn sweep_direct(&self, workspace_id: Option<&str>) -> Result<(), Error> {
        let (cell, pattern) = match workspace_id {
            None => (0, ANYBODYS.to_owned()),
            Some(workspace_id) => match self.control.live_place(workspace_id).await? {
                None => return Ok(()),
                Some(place) => (place.cell, ANYBODYS.replacen("w_[0-9a-z]{20}", &place.role, 1)),
            },
        };
        let mut admin = self.cells.administer_cell(cell).await?;
        // The roles first: one that is seen here had its row before.
        let sql = "SELECT rolname FROM pg_roles WHERE rolname ~ $1";
        let found = admin.query(sql, &[Some(&pattern)]).await?;
        let roles = (0..found.len()).map(|row| found.get(row, "rolname")).collect::<Result<Vec<String>, _>>()?;
        for role in self.control.strange_connections(&roles).await? {
            self.end_role(&mut admin, &role).await?;
        }
        Ok(())
    }

    /// Ends a role and its sessions. If it can't be dropped it stays, and opens nothing.
    async fn end_role(&self, admin: &mut Conn, role: &str) -> Result<(), Error> {
        let quoted = name(role);
        let closed =
            admin.script(&format!("{LOCK} ALTER ROLE {quoted} NOLOGIN CONNECTION LIMIT 0 PASSWORD NULL;")).await;
        match closed {
            Err(error) if is_gone(&error) => return Ok(()),
            other => other?,
        }
        end_sessions(admin, role).await?;
        // In the administrator's database it owns nothing: what goes is its right to connect to the workspace's.
        let dropped = admin.script(&format!("{LOCK} DROP OWNED BY {quoted}; DROP ROLE {quoted};")).await;
        match dropped {
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Ends sessions of people's that are beyond measure, or whose log-in was good when it began and is no more.
    pub async fn hold_direct(&self) -> Result<(), Error> {
        let numbers = [WORKSPACES_SESSIONS, CELLS_SESSIONS, MOST_LOCKS, LONGEST_TRANSACTION_SECONDS];
        let [in_workspace, in_cell, locks, seconds] = numbers.map(|number| number.to_string());
        let params = [Some(ANYBODYS), Some(&in_workspace), Some(&in_cell), Some(&locks), Some(&seconds)];
        let rows = self.control.query(HOLD, &params).await?;
        for row in 0..rows.len() {
            let (role, why): (String, String) = (rows.get(row, "role")?, rows.get(row, "why")?);
            tracing::warn!(role, why, "ended a direct connection");
        }
        Ok(())
    }
}

/// The workspace with the most sessions gives way first, and in it the newest. A role that was dropped has no name.
const HOLD: &str = "
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

/// Makes the role, or makes it anew: whatever the person has set for it goes.
fn make(place: &TenantDatabase, role: &str, is_viewer: bool, password: &str) -> String {
    let verifier = literal(&pg::scram::verifier(password, SCRAM_ROUNDS, &random()));
    let (group, other) = if is_viewer { (&place.viewer, &place.role) } else { (&place.role, &place.viewer) };
    let (quoted, group, other, database) = (name(role), name(group), name(other), name(&place.database));
    let settings: String = settings::DIRECT
        .iter()
        .map(|(setting, value)| format!("ALTER ROLE {quoted} SET {setting} = {value};\n"))
        .collect();
    let read_only = if is_viewer { "on" } else { "off" };
    format!(
        "{LOCK}
         DO $$ BEGIN
             IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN CREATE ROLE {quoted}; END IF;
         END $$;
         ALTER ROLE {quoted} LOGIN NOINHERIT CONNECTION LIMIT {PERSONS_SESSIONS} PASSWORD {verifier};
         SET client_min_messages = error;
         REVOKE {other} FROM {quoted};
         GRANT {group} TO {quoted} WITH INHERIT FALSE, SET TRUE, ADMIN FALSE;
         GRANT CONNECT ON DATABASE {database} TO {quoted};
         ALTER ROLE {quoted} RESET ALL;
         ALTER ROLE {quoted} IN DATABASE {database} RESET ALL;
         ALTER ROLE {quoted} SET role = {group};
         ALTER ROLE {quoted} SET default_transaction_read_only = {read_only};
         {settings}",
        literal(role),
    )
}

/// A log-in that has just passed its password is in no list yet, and in the next one. `hold_direct` sees to those that
/// take longer.
async fn end_sessions(admin: &mut Conn, role: &str) -> Result<(), Error> {
    for _ in 0..5 {
        let sql = "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE usename = $1";
        let ended = admin.query(sql, &[Some(role)]).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
        if ended.is_empty() {
            break;
        }
    }
    Ok(())
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Server(error) if error.code == "42704")
}

impl Control {
    /// Where a workspace's live data is.
    async fn live_place(&self, workspace_id: &str) -> Result<Option<TenantDatabase>, Error> {
        let sql = "SELECT id, cell_id, name, role, version FROM databases
                   WHERE workspace_id = $1 AND mode = 'live' AND state = 'taken'";
        let rows = self.query(sql, &[Some(workspace_id)]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        TenantDatabase::read(&rows, 0).map(Some)
    }

    /// Says that a member has a role, under this name if they have none yet. Gives its name and whether it is a viewer's.
    async fn reserve_connection(&self, act: Act<'_>, fresh: &str) -> Result<Option<(String, bool)>, Error> {
        let rows = self
            .query(
                "WITH member AS (
                     SELECT role FROM members WHERE workspace_id = $1 AND user_id = $2 FOR SHARE),
                 reserved AS (
                     INSERT INTO connections AS c (workspace_id, user_id, role, created_at)
                     SELECT $1, $2, $3, clock_timestamp() FROM member
                     ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = c.role RETURNING role)
                 SELECT reserved.role, member.role AS rank FROM reserved, member",
                &[Some(act.workspace_id), Some(act.user_id), Some(fresh)],
            )
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(Some((rows.get(0, "role")?, rows.get::<String>(0, "rank")? == "viewer")))
    }

    /// Says that the role's password is new, unless the person's membership ended or changed meanwhile.
    async fn confirm_connection(&self, act: Act<'_>, role: &str) -> Result<bool, Error> {
        let rows = self
            .query(
                "WITH confirmed AS (
                     UPDATE connections SET created_at = clock_timestamp()
                     WHERE workspace_id = $2 AND user_id = $3 AND role = $5 RETURNING role),
                 entry AS (
                     INSERT INTO audit (id, workspace_id, occurred_at, actor, action, subject)
                     SELECT $1, $2, $4::timestamptz, 'user:' || $3, 'connection.opened', role FROM confirmed)
                 SELECT role FROM confirmed",
                &[Some(act.id), Some(act.workspace_id), Some(act.user_id), Some(act.now), Some(role)],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    /// Those of these roles that nobody has.
    async fn strange_connections(&self, roles: &[String]) -> Result<Vec<String>, Error> {
        let sql = "SELECT r.role FROM unnest($1::text[]) AS r (role)
                   WHERE NOT EXISTS (SELECT FROM connections AS c WHERE c.role = r.role)";
        let rows = self.query(sql, &[Some(&format!("{{{}}}", roles.join(",")))]).await?;
        (0..rows.len()).map(|row| rows.get(row, "role")).collect()
    }
}
