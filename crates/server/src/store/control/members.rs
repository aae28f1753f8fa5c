//! Members of workspaces: lists and removes them, and changes their roles. A workspace always keeps an owner.

use crm::model::fault::Fault;

use crate::store::control::Control;
use crate::store::control::audit::{AuditEntry, NO_DETAILS, insert_entry};
use crate::store::control::keys::COUNT_CHANGE;
use crate::store::control::lists::{First, PagedList};
use crate::store::control::rows::ControlRows;

/// The roles, the lowest first.
pub(super) const RANKS: &str = "ARRAY['viewer', 'member', 'owner']";

/// A workspace's members, in the order in which they joined.
pub static MEMBERS: PagedList = PagedList {
    columns: &[
        ("user_id", "u.id"),
        ("email", "u.email"),
        ("name", "u.name"),
        ("role", "m.role"),
        ("created_at", "m.created_at"),
    ],
    from: "members AS m JOIN users AS u ON u.id = m.user_id",
    conditions: &["m.workspace_id = $1"],
    order: ["created_at", "user_id"],
    first: First::Oldest,
};

/// The result of a change of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// The member was changed.
    Made,
    /// It was refused: the workspace would have no owner.
    LastOwner,
    /// There is no such member.
    NoSuchMember,
}

/// A statement that makes the person of an [`AuditEntry`] the owner of a workspace. `from` is a table with the workspace's `id`.
pub(super) fn insert_owner(from: &str) -> String {
    format!(
        "INSERT INTO members (workspace_id, user_id, role, created_at) SELECT id, $3, 'owner', $4::timestamptz FROM {from}"
    )
}

impl Control {
    /// A person's role in a workspace; `None` if they are not a member.
    pub async fn membership(&self, workspace_id: &str, user_id: &str) -> Result<Option<String>, Fault> {
        let sql = "SELECT role FROM members WHERE workspace_id = $1 AND user_id = $2";
        self.query(sql, &[Some(workspace_id), Some(user_id)]).await?.first(|row| row.get("role"))
    }

    /// Whether an address, in its normal form, belongs to a member of a workspace.
    pub async fn is_member(&self, workspace_id: &str, email: &str) -> Result<bool, Fault> {
        let sql =
            "SELECT FROM members AS m JOIN users AS u ON u.id = m.user_id WHERE m.workspace_id = $1 AND u.email = $2";
        Ok(!self.query(sql, &[Some(workspace_id), Some(email)]).await?.is_empty())
    }

    /// Removes a member and revokes their keys.
    pub async fn remove_member(&self, entry: &AuditEntry<'_>, user_id: &str) -> Result<MemberChange, Fault> {
        let insert_entry = insert_entry("member.removed", "user_id", NO_DETAILS, "FROM changed");
        let sql = change_member(
            "FALSE",
            "DELETE FROM members",
            "workspace_id = $2 AND user_id = (SELECT user_id FROM changed)",
            &insert_entry,
        );
        self.query(&sql, &entry.params([Some(user_id)])).await.and_then(|rows| member_change(&rows))
    }

    /// Changes a member's role, and revokes their keys with a higher role.
    pub async fn change_role(&self, entry: &AuditEntry<'_>, user_id: &str, role: &str) -> Result<MemberChange, Fault> {
        let details = "jsonb_build_object('role', $6::text)";
        let insert_entry = insert_entry("member.role_changed", "user_id", details, "FROM changed");
        let sql = change_member(
            "$6 = 'owner'",
            "UPDATE members SET role = $6",
            &format!(
                "workspace_id = $2 AND user_id = (SELECT user_id FROM changed)
                 AND array_position({RANKS}, role) > array_position({RANKS}, $6)"
            ),
            &insert_entry,
        );
        self.query(&sql, &entry.params([Some(user_id), Some(role)])).await.and_then(|rows| member_change(&rows))
    }
}

/// A statement that changes the member `$5`, unless no owner would remain. `stays_owner` says whether an owner remains one,
/// `change` is the change of the row, `keys` selects the keys to revoke. Direct connections end in any case.
fn change_member(stays_owner: &str, change: &str, keys: &str, insert_entry: &str) -> String {
    format!(
        "WITH locked AS (
             SELECT user_id, role FROM members WHERE workspace_id = $2 ORDER BY user_id FOR UPDATE),
         verdict AS (
             SELECT l.role = 'owner' AND NOT ({stays_owner})
                    AND (SELECT count(*) FROM locked WHERE role = 'owner') = 1 AS last_owner
             FROM locked AS l WHERE l.user_id = $5),
         changed AS (
             {change} WHERE workspace_id = $2 AND user_id = $5 AND NOT (SELECT last_owner FROM verdict)
             RETURNING user_id),
         ended AS (
             UPDATE api_keys SET revoked_at = $4::timestamptz WHERE revoked_at IS NULL AND {keys}),
         cut AS (
             DELETE FROM connections WHERE workspace_id = $2 AND user_id = (SELECT user_id FROM changed)),
         entry AS ({insert_entry})
         SELECT last_owner, {COUNT_CHANGE} FROM verdict"
    )
}

fn member_change(rows: &ControlRows) -> Result<MemberChange, Fault> {
    let last_owner = rows.first(|row| row.is("last_owner"))?;
    Ok(match last_owner {
        Some(true) => MemberChange::LastOwner,
        Some(false) => MemberChange::Made,
        None => MemberChange::NoSuchMember,
    })
}
