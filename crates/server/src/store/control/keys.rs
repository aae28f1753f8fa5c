//! API keys: finds, creates, revokes and rotates them, and counts the changes so that other processes notice.

use crm::model::fault::Fault;

use crate::store::control::audit::{AuditEntry, NO_DETAILS, insert_entry};
use crate::store::control::lists::{First, PagedList};
use crate::store::control::{Control, bytea};

/// Counts a change of the rights of keys and sessions, so that every process drops what it has cached of them.
pub(super) const COUNT_CHANGE: &str = "nextval('access_changes') AS changed";

/// A workspace's valid keys. The list holds no key itself.
pub static KEYS: PagedList = PagedList {
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

/// A key to be stored.
#[derive(Debug)]
pub struct NewKey<'a> {
    /// `ak_…`
    pub id: &'a str,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    /// Its first and last characters, for people to tell keys apart.
    pub hint: &'a str,
    /// The key's display name.
    pub name: Option<&'a str>,
    /// `agentcrm` or `relm`
    pub dialect: &'a str,
    /// `live` or `test`
    pub mode: &'a str,
    /// `owner`, `member` or `viewer`
    pub role: &'a str,
}

impl NewKey<'_> {
    /// The parameter `$5` of [`insert_key`].
    pub(super) fn to_json(&self) -> String {
        let hash = hex::encode(self.hash);
        serde_json::json!({"id": self.id, "hash": hash, "hint": self.hint, "name": self.name, "dialect": self.dialect,
            "mode": self.mode, "role": self.role})
        .to_string()
    }
}

/// A statement that stores the key `$5` for the person of an [`AuditEntry`], whose parameters come first. `role` is an
/// expression; `rest` continues the FROM clause.
pub(super) fn insert_key(role: &str, rest: &str) -> String {
    format!(
        "INSERT INTO api_keys (id, workspace_id, user_id, created_at, hash, hint, name, dialect, mode, role)
         SELECT k.id, $2, $3, $4::timestamptz, decode(k.hash, 'hex'), k.hint, k.name, k.dialect, k.mode, {role}
         FROM jsonb_to_record($5::jsonb)
              AS k (id text, hash text, hint text, name text, dialect text, mode text, role text) {rest}"
    )
}

impl Control {
    /// A number that grows with every change of the rights of keys and sessions.
    pub async fn access_changes(&self) -> Result<i64, Fault> {
        // `last_value` is the first value even before the sequence was used.
        let sql = "SELECT last_value + is_called::integer AS changes FROM access_changes";
        self.query(sql, &[]).await?.only()?.get("changes")
    }

    /// Stores a person's key.
    pub async fn create_key(&self, entry: &AuditEntry<'_>, key: &NewKey<'_>) -> Result<(), Fault> {
        let details = "$5::jsonb - 'id' - 'hash' - 'hint'";
        let insert_key = insert_key("k.role", "");
        let insert_entry = insert_entry("key.created", "$5::jsonb ->> 'id'", details, "");
        let sql = format!("WITH key AS ({insert_key}) {insert_entry}");
        self.query(&sql, &entry.params([Some(&key.to_json())])).await.map(drop)
    }

    /// Revokes a key. With `only_own`, only a key of the person. Returns whether a key was revoked.
    pub async fn revoke_key(&self, entry: &AuditEntry<'_>, key_id: &str, only_own: bool) -> Result<bool, Fault> {
        let insert_entry = insert_entry("key.revoked", "id", NO_DETAILS, "FROM ended");
        let sql = format!(
            "WITH ended AS (
                 UPDATE api_keys SET revoked_at = $4::timestamptz
                 WHERE id = $5 AND workspace_id = $2 AND revoked_at IS NULL AND (user_id = $3 OR NOT $6::boolean)
                 RETURNING id),
             entry AS ({insert_entry})
             SELECT id, {COUNT_CHANGE} FROM ended"
        );
        let only_own = if only_own { "t" } else { "f" };
        let ended = self.query(&sql, &entry.params([Some(key_id), Some(only_own)])).await?;
        Ok(!ended.is_empty())
    }

    /// Takes back a revocation that a person made by [`Control::revoke_key`] since a moment. With `only_own`, only that of a key of the
    /// person. Returns whether a key is valid again.
    pub async fn restore_key(
        &self,
        entry: &AuditEntry<'_>,
        key_id: &str,
        only_own: bool,
        since: &str,
    ) -> Result<bool, Fault> {
        let insert_entry = insert_entry("key.restored", "id", NO_DETAILS, "FROM back");
        let sql = format!(
            "WITH back AS (
                 UPDATE api_keys AS k SET revoked_at = NULL
                 WHERE k.id = $5 AND k.workspace_id = $2 AND k.revoked_at >= $7::timestamptz AND (k.user_id = $3 OR NOT $6::boolean)
                   AND EXISTS (SELECT FROM audit AS a
                               WHERE a.workspace_id = $2 AND a.action = 'key.revoked' AND a.subject = k.id
                                 AND a.occurred_at = k.revoked_at AND a.details = {NO_DETAILS})
                 RETURNING k.id),
             entry AS ({insert_entry})
             SELECT id, {COUNT_CHANGE} FROM back"
        );
        let only_own = if only_own { "t" } else { "f" };
        let back = self.query(&sql, &entry.params([Some(key_id), Some(only_own), Some(since)])).await?;
        Ok(!back.is_empty())
    }

    /// Revokes a person's live keys of the new key's dialect in a workspace, and stores the new one.
    pub async fn rotate_keys(&self, entry: &AuditEntry<'_>, key: &NewKey<'_>) -> Result<(), Fault> {
        let details = "jsonb_build_object('revoked', COALESCE((SELECT jsonb_agg(id) FROM ended), '[]'))";
        let insert_key = insert_key("k.role", "");
        let insert_entry = insert_entry("key.rotated", "$5::jsonb ->> 'id'", details, "");
        let sql = format!(
            "WITH ended AS (
                 UPDATE api_keys SET revoked_at = $4::timestamptz
                 WHERE workspace_id = $2 AND user_id = $3 AND dialect = $5::jsonb ->> 'dialect' AND mode = 'live'
                   AND revoked_at IS NULL
                 RETURNING id),
             key AS ({insert_key}),
             entry AS ({insert_entry})
             SELECT {COUNT_CHANGE}"
        );
        self.query(&sql, &entry.params([Some(&key.to_json())])).await.map(drop)
    }

    /// Stores when keys were last used: hashes and Unix seconds. A later time that another process has stored is kept.
    pub async fn note_uses(&self, times: &[([u8; 32], i64)]) -> Result<(), Fault> {
        let hashes: Vec<String> = times.iter().map(|(hash, _)| format!("\"\\{}\"", bytea(hash))).collect();
        let seconds: Vec<String> = times.iter().map(|(_, at)| at.to_string()).collect();
        let sql = "UPDATE api_keys AS k SET last_used_at = to_timestamp(u.at)
                   FROM unnest($1::bytea[], $2::bigint[]) AS u (hash, at)
                   WHERE k.hash = u.hash AND (k.last_used_at IS NULL OR k.last_used_at < to_timestamp(u.at))";
        let (hashes, seconds) = (format!("{{{}}}", hashes.join(",")), format!("{{{}}}", seconds.join(",")));
        self.query(sql, &[Some(&hashes), Some(&seconds)]).await.map(drop)
    }
}
