//! Direct connections: creates, ends and limits members' own PostgreSQL roles in a workspace's database.
//!
//! A member's role is a member of the workspace's role, or of its viewers', and has nothing else. It inherits nothing:
//! `REASSIGN OWNED` fires no event trigger and would give it the built-in tables. The control database stores which roles
//! should exist (`store::control::connections`).

use std::time::Duration;

use pg::{Conn, Error};

use crm::model::fault::Fault;
use crm::model::id;

use crate::clock::random;
use crate::store::cell::{TenantDatabase, literal, name, settings};
use crate::store::control::audit::AuditEntry;
use crate::store::control::connections::DirectLimits;
use crate::store::{Store, fault};

/// Sessions that a role may have open: the default size of drivers' pools.
const SESSIONS_OF_A_ROLE: u32 = 12;
/// The limits beyond that. The rest of a cell's connections is for the API. The lock table is shared by the whole cell; a dump
/// takes a lock for each of 2000 relations.
pub const LIMITS: DirectLimits =
    DirectLimits { sessions_in_workspace: 24, sessions_in_cell: 40, locks: 20_000, transaction_seconds: 3600 };
/// Rounds of hashing in the stored password. One would be enough for a random password, but some clients refuse fewer.
const SCRAM_ROUNDS: u32 = 4096;
/// Characters of a member's role between the workspace's role and the `_d`.
const RANDOM_CHARACTERS: usize = 12;

/// The names of all members' roles.
const ALL_ROLES: &str = "^w_[0-9a-z]{20}_[0-9a-z]{12}_d$";

/// Lets one change of members' roles run at a time. If two change one role or the rights on one database, one of them fails.
pub const LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(7236455902);";

/// The workspace's role in the name of a member's role. `None` for all other roles: they may not log in from the network,
/// because a tenant can give its API role a password that it knows.
pub fn workspace_role_of(role: &str) -> Option<&str> {
    let name = role.strip_suffix("_d")?;
    Some(name.rsplit_once('_').map_or(name, |(workspace_role, _)| workspace_role))
}

/// A direct connection that was just opened.
pub struct DirectConnection {
    /// The member's role.
    pub role: String,
    /// The URL for psql and other clients. It contains the password, which is not stored.
    pub url: String,
}

impl Store {
    /// Gives a member a role and a new password, and ends the sessions of that role. Returns `None` if the person is not a
    /// member (any more), or if the cell can't be reached from outside.
    pub async fn open_direct(&self, entry: &AuditEntry<'_>) -> Result<Option<DirectConnection>, Fault> {
        let Some(place) = self.control.live_database(entry.workspace_id).await? else {
            return Ok(None);
        };
        let Some(address) = self.cells.direct_address(place.cell) else {
            return Ok(None);
        };
        self.excesses.allow(&place.database)?;
        self.ready(&place).await?;
        let new_role = format!("{}_{}_d", place.role, id::token(&random::<RANDOM_CHARACTERS>()));
        let Some((role, is_viewer)) = self.control.reserve_connection(entry, &new_role).await? else {
            return Ok(None);
        };
        let password = id::token(&random::<40>());
        let made = make_role(&mut self.administer(place.cell).await?, &place, &role, is_viewer, &password).await;
        made.map_err(fault::of_own_statement)?;
        if !self.control.confirm_connection(entry, &role).await? {
            // Their membership ended or changed meanwhile.
            let ended = end_role(&mut self.administer(place.cell).await?, &role).await;
            return ended.map(|()| None).map_err(fault::of_own_statement);
        }
        let url = address.url(&role, &password, &place.database);
        Ok(Some(DirectConnection { role, url }))
    }

    /// Ends the roles that should not exist, in one workspace or everywhere.
    pub async fn sweep_direct(&self, workspace_id: Option<&str>) -> Result<(), Fault> {
        let (cell, pattern) = match workspace_id {
            None => (0, ALL_ROLES.to_owned()),
            Some(workspace_id) => match self.control.live_database(workspace_id).await? {
                None => return Ok(()),
                Some(place) => (place.cell, ALL_ROLES.replacen("w_[0-9a-z]{20}", &place.role, 1)),
            },
        };
        let mut admin = self.administer(cell).await?;
        // The roles are read first: a role that is found here already had its row.
        let roles = roles_like(&mut admin, &pattern).await.map_err(fault::of_own_statement)?;
        for role in self.control.unknown_connections(&roles).await? {
            end_role(&mut admin, &role).await.map_err(fault::of_own_statement)?;
        }
        Ok(())
    }

    /// Ends members' sessions that are beyond the limits, or whose log-in is no longer valid.
    pub async fn hold_direct(&self) -> Result<(), Fault> {
        for ended in self.control.end_sessions(ALL_ROLES, &LIMITS).await? {
            tracing::warn!(role = ended.role, why = ended.why, "ended a direct connection");
        }
        Ok(())
    }

    async fn administer(&self, cell: u32) -> Result<Conn, Fault> {
        self.cells.administer_cell(cell).await.map_err(fault::of_own_statement)
    }
}

/// Creates a member's role, or resets it. A reset removes the settings that the member made for it.
async fn make_role(
    admin: &mut Conn,
    place: &TenantDatabase,
    role: &str,
    is_viewer: bool,
    password: &str,
) -> Result<(), Error> {
    admin.script(&role_script(place, role, is_viewer, password)).await?;
    end_sessions(admin, role).await
}

async fn roles_like(admin: &mut Conn, pattern: &str) -> Result<Vec<String>, Error> {
    let rows = admin.query("SELECT rolname FROM pg_roles WHERE rolname ~ $1", &[Some(pattern)]).await?;
    (0..rows.len()).map(|row| rows.get(row, "rolname")).collect()
}

/// Ends a role and its sessions. If the role can't be dropped, it stays but can't be used.
async fn end_role(admin: &mut Conn, role: &str) -> Result<(), Error> {
    let quoted = name(role);
    let closed = admin.script(&format!("{LOCK} ALTER ROLE {quoted} NOLOGIN CONNECTION LIMIT 0 PASSWORD NULL;")).await;
    match closed {
        Err(error) if is_gone(&error) => return Ok(()),
        other => other?,
    }
    end_sessions(admin, role).await?;
    // In the administrator's database the role owns nothing. This revokes its right to connect to the workspace's database.
    let dropped = admin.script(&format!("{LOCK} DROP OWNED BY {quoted}; DROP ROLE {quoted};")).await;
    match dropped {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}

fn role_script(place: &TenantDatabase, role: &str, is_viewer: bool, password: &str) -> String {
    let verifier = literal(&pg::scram::verifier(password, SCRAM_ROUNDS, &random()));
    let (group, other) = if is_viewer { (&place.viewer, &place.role) } else { (&place.role, &place.viewer) };
    let (quoted, group, other, database) = (name(role), name(group), name(other), name(&place.database));
    let settings: String = settings::DIRECT
        .iter()
        .map(|(setting, value)| format!("ALTER ROLE {quoted} SET {setting} = {value};\n"))
        .collect();
    let read_only = if is_viewer { "on" } else { "off" };
    // Members may create schemas. The guards give them to the workspace.
    let (create, and_create) = if is_viewer { ("REVOKE CREATE", "FROM") } else { ("GRANT CREATE", "TO") };
    format!(
        "{LOCK}
         DO $$ BEGIN
             IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN CREATE ROLE {quoted}; END IF;
         END $$;
         ALTER ROLE {quoted} LOGIN NOINHERIT CONNECTION LIMIT {SESSIONS_OF_A_ROLE} PASSWORD {verifier};
         SET client_min_messages = error;
         REVOKE {other} FROM {quoted};
         GRANT {group} TO {quoted} WITH INHERIT FALSE, SET TRUE, ADMIN FALSE;
         GRANT CONNECT ON DATABASE {database} TO {quoted};
         {create} ON DATABASE {database} {and_create} {quoted};
         ALTER ROLE {quoted} RESET ALL;
         ALTER ROLE {quoted} IN DATABASE {database} RESET ALL;
         ALTER ROLE {quoted} SET role = {group};
         ALTER ROLE {quoted} SET default_transaction_read_only = {read_only};
         {settings}",
        literal(role),
    )
}

/// Ends a role's sessions. A log-in whose password was just accepted is not listed yet, so the list is read again. Slower
/// log-ins are ended by `hold_direct`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_roles_belong_to_a_workspace_role() {
        let workspace = "w_0123456789abcdefghij";
        assert_eq!(workspace_role_of(&format!("{workspace}_0123456789ab_d")), Some(workspace));
        assert_eq!(workspace_role_of("nobody_d"), Some("nobody"));
        for other in
            [workspace, "w_0123456789abcdefghij_r", "w_0123456789abcdefghij_s", "kith_control", "postgres", "d", ""]
        {
            assert_eq!(workspace_role_of(other), None, "{other}");
        }
    }
}
