//! Grants: the rights of a key, a member or an automation in a workspace, and the location of the workspace's data.

use std::sync::Arc;

use pg::pool::Share;

use crm::model::fault::Fault;
use crm::model::who::{Mode, Role};

use crate::store::cell::{TenantDatabase, UNCLAIMED};
use crate::store::control::members::RANKS;
use crate::store::control::rows::ControlRow;
use crate::store::control::workspaces::tenant_database;
use crate::store::control::{Control, bytea};

/// The rights of a caller in a workspace.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The key that the grant belongs to, `ak_…`; `None` if it is not a key's.
    pub key_id: Option<String>,
    /// The role that is granted.
    pub role: Role,
    /// The workspace that the grant is for.
    pub workspace: GrantedWorkspace,
}

/// A workspace that a caller may use, in one mode.
#[derive(Clone, Debug)]
pub struct GrantedWorkspace {
    /// `ws_…`
    pub id: String,
    /// Whether live or test data is used.
    pub mode: Mode,
    /// When the workspace was created, in Unix seconds.
    pub created_at: i64,
    /// Whether the workspace has an owner.
    pub claimed: bool,
    /// The database that holds the workspace's data of this mode.
    pub database: Arc<TenantDatabase>,
    /// Whether e-mail and webhooks leave.
    pub sends: bool,
    /// The workspace's billing plan, if it has one of its own.
    pub plan: Option<String>,
}

/// The columns of a granted workspace, from the tables `w` (workspaces) and `d` (databases).
pub(super) const WORKSPACE: &str =
    "w.id AS workspace_id, d.mode, extract(epoch FROM w.created_at)::bigint AS created_at,
    w.claimed_at IS NOT NULL AS claimed, w.sending, w.plan,
    d.id, d.cell_id, d.name, d.role, d.version";

impl Control {
    /// The grant of a key, by its hash; `None` if the key was never issued or was revoked. A person's key never grants more than
    /// the person's membership, even if the membership changed while the key was being created.
    pub async fn key_grant(&self, key_hash: &[u8; 32]) -> Result<Option<Grant>, Fault> {
        let sql = format!(
            "SELECT k.id AS key_id, {WORKSPACE},
                    CASE WHEN array_position({RANKS}, m.role) < array_position({RANKS}, k.role) THEN m.role ELSE k.role END
                        AS granted
             FROM api_keys AS k
             LEFT JOIN members AS m ON m.workspace_id = k.workspace_id AND m.user_id = k.user_id
             JOIN workspaces AS w ON w.id = k.workspace_id
             JOIN databases AS d ON d.workspace_id = w.id AND d.mode = k.mode AND d.state = 'taken'
             WHERE k.hash = $1::bytea AND k.revoked_at IS NULL AND (k.user_id IS NULL OR m.role IS NOT NULL)"
        );
        self.query(&sql, &[Some(&bytea(key_hash))]).await?.first(grant)
    }

    /// The grant of a person's membership; `None` if they are not a member, or the workspace has no data in this mode.
    pub async fn member_grant(&self, workspace_id: &str, user_id: &str, mode: Mode) -> Result<Option<Grant>, Fault> {
        let sql = format!(
            "SELECT NULL AS key_id, m.role AS granted, {WORKSPACE}
             FROM members AS m
             JOIN workspaces AS w ON w.id = m.workspace_id
             JOIN databases AS d ON d.workspace_id = w.id AND d.mode = $3 AND d.state = 'taken'
             WHERE m.workspace_id = $1 AND m.user_id = $2"
        );
        self.query(&sql, &[Some(workspace_id), Some(user_id), Some(mode.name())]).await?.first(grant)
    }

    /// The grant of a workspace's own automations.
    pub async fn automation_grant(&self, workspace_id: &str, mode: Mode) -> Result<Option<Grant>, Fault> {
        let sql = format!(
            "SELECT NULL AS key_id, 'member' AS granted, {WORKSPACE}
             FROM workspaces AS w
             JOIN databases AS d ON d.workspace_id = w.id AND d.mode = $2 AND d.state = 'taken'
             WHERE w.id = $1"
        );
        self.query(&sql, &[Some(workspace_id), Some(mode.name())]).await?.first(grant)
    }
}

pub(super) fn grant(row: ControlRow<'_>) -> Result<Grant, Fault> {
    let (role, mode): (String, String) = (row.get("granted")?, row.get("mode")?);
    let claimed = row.is("claimed")?;
    let share = if claimed { Share::Whole } else { UNCLAIMED };
    let unknown = |what: &str, name: &str| Fault::internal(format!("unknown {what} {name} in the control database"));
    Ok(Grant {
        key_id: row.optional("key_id")?,
        role: Role::parse(&role).ok_or_else(|| unknown("role", &role))?,
        workspace: GrantedWorkspace {
            id: row.get("workspace_id")?,
            mode: Mode::parse(&mode).ok_or_else(|| unknown("mode", &mode))?,
            created_at: row.get("created_at")?,
            claimed,
            database: Arc::new(tenant_database(row)?.with_share(share)),
            sends: row.is("sending")?,
            plan: row.optional("plan")?,
        },
    })
}
