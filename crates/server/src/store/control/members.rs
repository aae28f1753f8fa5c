//! The control plane's statements about what belongs to whom: workspaces claimed, keys, members, the audit.
//!
//! What must hold together is one statement: it happens whole or not at all, whoever else is at it.

use pg::Error;
use pg::rows::Rows;

use crate::store::cell::secrets::hex;
use crate::store::control::Control;
use crate::store::control::lists::{First, List};

/// Tells every process that what it remembers of keys and sessions may be old.
const CHANGED: &str = "nextval('access_changes') AS changed";

/// The workspaces that a person belongs to.
pub static WORKSPACES: List = List {
    columns: &[("id", "w.id"), ("name", "w.name"), ("role", "m.role"), ("created_at", "w.created_at")],
    from: "members AS m JOIN workspaces AS w ON w.id = m.workspace_id",
    conditions: &["m.user_id = $1"],
    order: ["created_at", "id"],
    first: First::Newest,
};

/// A workspace's keys that work. Nothing in it opens anything.
pub static KEYS: List = List {
    columns: &[
        ("id", "k.id"),
        ("name", "k.name"),
        ("hint", "k.hint"),
        ("dialect", "k.dialect"),
        ("mode", "k.mode"),
        ("role", "k.role"),
        ("user_id", "k.user_id"),
        ("created_at", "k.created_at"),
        ("last_used_at", "k.last_used_at"),
    ],
    from: "api_keys AS k",
    conditions: &["k.workspace_id = $1", "k.revoked_at IS NULL"],
    order: ["created_at", "id"],
    first: First::Newest,
};

/// A workspace's members, as they came.
pub static MEMBERS: List = List {
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

/// Who did what with a workspace.
pub static AUDIT: List = List {
    columns: &[
        ("id", "a.id"),
        ("occurred_at", "a.occurred_at"),
        ("actor", "a.actor"),
        ("action", "a.action"),
        ("subject", "a.subject"),
        ("details", "a.details"),
    ],
    from: "audit AS a",
    conditions: &["a.workspace_id = $1"],
    order: ["occurred_at", "id"],
    first: First::Newest,
};

/// A key that is about to be.
#[derive(Debug)]
pub struct NewKey<'a> {
    /// `ak_…`
    pub id: &'a str,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    /// What people tell it by.
    pub hint: &'a str,
    /// What it is called.
    pub name: Option<&'a str>,
    /// `agentcrm` or `relm`
    pub dialect: &'a str,
    /// `live` or `test`
    pub mode: &'a str,
    /// `owner`, `member` or `viewer`
    pub role: &'a str,
}

impl NewKey<'_> {
    /// As [`new_key`] reads it.
    pub(super) fn to_json(&self) -> String {
        let hash = hex(&self.hash);
        serde_json::json!({"id": self.id, "hash": hash, "hint": self.hint, "name": self.name, "dialect": self.dialect,
            "mode": self.mode, "role": self.role})
        .to_string()
    }
}

/// Who does it and when: what every entry of the audit begins with.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// The entry's id, `au_…`.
    pub id: &'a str,
    /// The workspace.
    pub workspace_id: &'a str,
    /// The person, `u_…`.
    pub user_id: &'a str,
    /// Now, ISO 8601.
    pub now: &'a str,
}

/// The statement that makes the key `$5` for the person of an [`Act`], whose parameters come first everywhere. `role` is an
/// expression, `rest` goes on with the FROM clause.
pub(super) fn new_key(role: &str, rest: &str) -> String {
    format!(
        "INSERT INTO api_keys (id, workspace_id, user_id, created_at, hash, hint, name, dialect, mode, role)
         SELECT k.id, $2, $3, $4::timestamptz, decode(k.hash, 'hex'), k.hint, k.name, k.dialect, k.mode, {role}
         FROM jsonb_to_record($5::jsonb)
              AS k (id text, hash text, hint text, name text, dialect text, mode text, role text) {rest}"
    )
}

/// The statement that enters an [`Act`] in the audit. `subject` and `details` are expressions, `from` what they are taken from.
pub(super) fn entry(action: &str, subject: &str, details: &str, from: &str) -> String {
    format!(
        "INSERT INTO audit (id, workspace_id, occurred_at, actor, action, subject, details)
         SELECT $1, $2, $4::timestamptz, 'user:' || $3, '{action}', {subject}, {details} {from}"
    )
}

/// An entry without details has these.
pub(super) const NO_DETAILS: &str = "'{}'::jsonb";

impl Control {
    /// Gives an unclaimed workspace to a person: ends its keys, makes the person its owner and makes a live key, all at
    /// once. Of two who try at once, one wins. `born_after` is the moment before which workspaces are beyond claiming.
    pub async fn claim(&self, act: Act<'_>, key: &NewKey<'_>, born_after: &str) -> Result<bool, Error> {
        let new_key = new_key("k.role", "WHERE EXISTS (SELECT FROM claimed)");
        let entry = entry("workspace.claimed", "id", NO_DETAILS, "FROM claimed");
        let rows = self
            .query(
                &format!(
                    "WITH claimed AS (
                         UPDATE workspaces SET claimed_at = $4::timestamptz
                         WHERE id = $2 AND claimed_at IS NULL AND created_at > $6::timestamptz RETURNING id),
                     ended AS (
                         UPDATE api_keys SET revoked_at = $4::timestamptz
                         WHERE workspace_id = (SELECT id FROM claimed) AND revoked_at IS NULL),
                     member AS (
                         INSERT INTO members (workspace_id, user_id, role, created_at)
                         SELECT id, $3, 'owner', $4::timestamptz FROM claimed),
                     key AS ({new_key}),
                     entry AS ({entry})
                     SELECT id, {CHANGED} FROM claimed"
                ),
                &[
                    Some(act.id),
                    Some(act.workspace_id),
                    Some(act.user_id),
                    Some(act.now),
                    Some(&key.to_json()),
                    Some(born_after),
                ],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    /// Whether there is such a workspace, and whether somebody owns it.
    pub async fn is_claimed(&self, workspace_id: &str) -> Result<Option<bool>, Error> {
        let sql = "SELECT claimed_at IS NOT NULL AS claimed FROM workspaces WHERE id = $1";
        let rows = self.query(sql, &[Some(workspace_id)]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(Some(rows.get::<String>(0, "claimed")? == "t"))
    }

    /// What a person may do in a workspace; nothing if they are no member.
    pub async fn membership(&self, workspace_id: &str, user_id: &str) -> Result<Option<String>, Error> {
        let sql = "SELECT role FROM members WHERE workspace_id = $1 AND user_id = $2";
        let rows = self.query(sql, &[Some(workspace_id), Some(user_id)]).await?;
        if rows.is_empty() { Ok(None) } else { rows.get(0, "role").map(Some) }
    }

    /// Makes a key for a person.
    pub async fn create_key(&self, act: Act<'_>, key: &NewKey<'_>) -> Result<(), Error> {
        let details = "$5::jsonb - 'id' - 'hash' - 'hint'";
        let (new_key, entry) = (new_key("k.role", ""), entry("key.created", "$5::jsonb ->> 'id'", details, ""));
        self.query(
            &format!("WITH key AS ({new_key}) {entry}"),
            &[Some(act.id), Some(act.workspace_id), Some(act.user_id), Some(act.now), Some(&key.to_json())],
        )
        .await
        .map(|_| ())
    }

    /// Ends a key. A person who is no owner ends only their own (`only_own`). False where there is none.
    pub async fn revoke_key(&self, act: Act<'_>, key_id: &str, only_own: bool) -> Result<bool, Error> {
        let only_own = if only_own { "t" } else { "f" };
        let entry = entry("key.revoked", "id", NO_DETAILS, "FROM ended");
        let rows = self
            .query(
                &format!(
                    "WITH ended AS (
                         UPDATE api_keys SET revoked_at = $4::timestamptz
                         WHERE id = $5 AND workspace_id = $2 AND revoked_at IS NULL AND (user_id = $3 OR NOT $6::boolean)
                         RETURNING id),
                     entry AS ({entry})
                     SELECT id, {CHANGED} FROM ended"
                ),
                &[
                    Some(act.id),
                    Some(act.workspace_id),
                    Some(act.user_id),
                    Some(act.now),
                    Some(key_id),
                    Some(only_own),
                ],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    /// Ends a person's live keys in a workspace, those of the new key's dialect, and makes that.
    pub async fn rotate_keys(&self, act: Act<'_>, key: &NewKey<'_>) -> Result<(), Error> {
        let details = "jsonb_build_object('revoked', COALESCE((SELECT jsonb_agg(id) FROM ended), '[]'))";
        let (new_key, entry) = (new_key("k.role", ""), entry("key.rotated", "$5::jsonb ->> 'id'", details, ""));
        self.query(
            &format!(
                "WITH ended AS (
                     UPDATE api_keys SET revoked_at = $4::timestamptz
                     WHERE workspace_id = $2 AND user_id = $3 AND dialect = $5::jsonb ->> 'dialect' AND mode = 'live'
                       AND revoked_at IS NULL
                     RETURNING id),
                 key AS ({new_key}),
                 entry AS ({entry})
                 SELECT {CHANGED}"
            ),
            &[Some(act.id), Some(act.workspace_id), Some(act.user_id), Some(act.now), Some(&key.to_json())],
        )
        .await
        .map(|_| ())
    }

    /// Removes a member, unless they are the last owner: ends their keys in the same statement. Says what happened:
    /// `removed`, `last_owner`, or nothing where there is no such member.
    pub async fn remove_member(&self, act: Act<'_>, user_id: &str) -> Result<Option<String>, Error> {
        let entry = entry("member.removed", "user_id", NO_DETAILS, "FROM gone");
        let rows = self
            .query(
                &format!(
                    "WITH locked AS (
                         SELECT user_id, role FROM members WHERE workspace_id = $2 ORDER BY user_id FOR UPDATE),
                     fate AS (
                         SELECT CASE WHEN l.role = 'owner' AND (SELECT count(*) FROM locked WHERE role = 'owner') = 1
                                     THEN 'last_owner' ELSE 'removed' END AS word
                         FROM locked AS l WHERE l.user_id = $5),
                     gone AS (
                         DELETE FROM members WHERE workspace_id = $2 AND user_id = $5
                           AND (SELECT word FROM fate) = 'removed' RETURNING user_id),
                     ended AS (
                         UPDATE api_keys SET revoked_at = $4::timestamptz
                         WHERE workspace_id = $2 AND user_id = (SELECT user_id FROM gone) AND revoked_at IS NULL),
                     cut AS (
                         DELETE FROM connections WHERE workspace_id = $2 AND user_id = (SELECT user_id FROM gone)),
                     entry AS ({entry})
                     SELECT word, {CHANGED} FROM fate"
                ),
                &[Some(act.id), Some(act.workspace_id), Some(act.user_id), Some(act.now), Some(user_id)],
            )
            .await?;
        word(&rows)
    }

    /// Gives a member another role, unless they are the last owner; keys above the new role end. Says what happened:
    /// `changed`, `last_owner`, or nothing where there is no such member.
    pub async fn change_role(&self, act: Act<'_>, user_id: &str, role: &str) -> Result<Option<String>, Error> {
        let details = "jsonb_build_object('role', $6::text)";
        let entry = entry("member.role_changed", "user_id", details, "FROM changed");
        let rows = self
            .query(
                &format!(
                    "WITH locked AS (
                         SELECT user_id, role FROM members WHERE workspace_id = $2 ORDER BY user_id FOR UPDATE),
                     fate AS (
                         SELECT CASE WHEN l.role = 'owner' AND $6 <> 'owner'
                                      AND (SELECT count(*) FROM locked WHERE role = 'owner') = 1
                                     THEN 'last_owner' ELSE 'changed' END AS word
                         FROM locked AS l WHERE l.user_id = $5),
                     changed AS (
                         UPDATE members SET role = $6 WHERE workspace_id = $2 AND user_id = $5
                           AND (SELECT word FROM fate) = 'changed' RETURNING user_id),
                     ended AS (
                         UPDATE api_keys SET revoked_at = $4::timestamptz
                         WHERE workspace_id = $2 AND user_id = (SELECT user_id FROM changed) AND revoked_at IS NULL
                           AND array_position(ARRAY['viewer', 'member', 'owner'], role)
                             > array_position(ARRAY['viewer', 'member', 'owner'], $6)),
                     cut AS (
                         DELETE FROM connections WHERE workspace_id = $2 AND user_id = (SELECT user_id FROM changed)),
                     entry AS ({entry})
                     SELECT word, {CHANGED} FROM fate"
                ),
                &[Some(act.id), Some(act.workspace_id), Some(act.user_id), Some(act.now), Some(user_id), Some(role)],
            )
            .await?;
        word(&rows)
    }

    /// A number that grows with every change of what keys and sessions may do.
    pub async fn access_changes(&self) -> Result<i64, Error> {
        // The first value is there before anybody has taken it.
        let sql = "SELECT last_value + is_called::integer AS changes FROM access_changes";
        self.query(sql, &[]).await?.get(0, "changes")
    }
}

fn word(rows: &Rows) -> Result<Option<String>, Error> {
    if rows.is_empty() { Ok(None) } else { rows.get(0, "word").map(Some) }
}
