//! What a key, a member or an automation may do in a workspace, and where the workspace's data is.

use std::sync::Arc;

use pg::pool::Share;

use crm::model::fault::Fault;
use crm::model::who::{Mode, Role};

use crate::store::cell::{TenantDatabase, UNCLAIMED};
use crate::store::control::members::RANKS;
use crate::store::control::rows::ControlRow;
use crate::store::control::workspaces::tenant_database;
use crate::store::control::{Control, bytea};

/// What somebody may do in a workspace.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who it is given to, if it is a key: `ak_…`.
    pub key_id: Option<String>,
    /// What they may do.
    pub role: Role,
    /// The workspace.
    pub workspace: GrantedWorkspace,
}

/// A workspace that somebody may enter, in one mode.
#[derive(Clone, Debug)]
pub struct GrantedWorkspace {
    /// `ws_…`
    pub id: String,
    /// Which data is seen.
    pub mode: Mode,
    /// When the workspace was made, Unix seconds.
    pub created_at: i64,
    /// Whether somebody owns it.
    pub claimed: bool,
    /// Where its data is.
    pub database: Arc<TenantDatabase>,
    /// The billing plan that it was given.
    pub plan: Option<String>,
}

/// Of the tables `w` (workspaces) and `d` (databases).
const WORKSPACE: &str = "w.id AS workspace_id, d.mode, extract(epoch FROM w.created_at)::bigint AS created_at,
    w.claimed_at IS NOT NULL AS claimed, w.plan,
    d.id, d.cell_id, d.name, d.role, d.version";

impl Control {
    /// What a key grants, by its hash; nothing if it was never issued or was revoked. A person's key never grants more than
    /// the person's membership, whatever was changed at the moment when it was made.
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

    /// What a person's membership grants; nothing if they are not a member, or the workspace has no data in this mode.
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

    /// What a workspace grants to its own automations.
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

fn grant(row: ControlRow<'_>) -> Result<Grant, Fault> {
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
            plan: row.optional("plan")?,
        },
    })
}
