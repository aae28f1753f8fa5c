//! Sessions of people: creates them, finds them by their token's hash, extends and ends them.

use crm::model::fault::Fault;

use crate::store::control::lists::{First, PagedList};
use crate::store::control::person::{PERSON, Person, person};
use crate::store::control::{Control, bytea};

/// A person's valid sessions. `$5` is the current time in Unix seconds, `$6` the session of the request.
pub static SESSIONS: PagedList = PagedList {
    columns: &[
        ("id", "s.id"),
        ("created_at", "s.created_at"),
        ("last_used_at", "s.last_used_at"),
        ("user_agent", "s.user_agent"),
        ("current", "s.id = $6"),
    ],
    from: "sessions AS s",
    conditions: &["s.user_id = $1", "s.revoked_at IS NULL", "s.expires_at > to_timestamp($5::bigint)"],
    order: ["created_at", "id"],
    first: First::Newest,
};

/// A session to be stored.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// `ses_…`
    pub id: &'a str,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// The program that signed in.
    pub user_agent: Option<&'a str>,
    /// The IP address that it signed in from.
    pub address: Option<&'a str>,
    /// The current time, Unix seconds.
    pub now: i64,
    /// When it ends if it is not used, in Unix seconds.
    pub expires_at: i64,
}

/// A valid session.
#[derive(Clone, Debug)]
pub struct Session {
    /// `ses_…`
    pub id: String,
    /// The session's person.
    pub user: Person,
    /// When its use was last stored, Unix seconds.
    pub last_used_at: i64,
    /// When it ends if it is not used, in Unix seconds.
    pub expires_at: i64,
}

impl Control {
    /// Stores a new session.
    pub async fn create_session(&self, user_id: &str, new: &NewSession<'_>) -> Result<(), Fault> {
        let sql = "INSERT INTO sessions (id, user_id, token_hash, user_agent, address, created_at, last_used_at, expires_at)
                   VALUES ($1, $2, $3::bytea, $4, $5, to_timestamp($6::bigint), to_timestamp($6::bigint), to_timestamp($7::bigint))";
        let (now, expires_at, token_hash) = (new.now.to_string(), new.expires_at.to_string(), bytea(&new.token_hash));
        let ids = [Some(new.id), Some(user_id), Some(&*token_hash)];
        let rest = [new.user_agent, new.address, Some(&*now), Some(&*expires_at)];
        self.query(sql, &[&ids[..], &rest[..]].concat()).await.map(drop)
    }

    /// The session with this token's hash, if it is valid at this time.
    pub async fn session(&self, token_hash: &[u8; 32], now: i64) -> Result<Option<Session>, Fault> {
        let sql = format!(
            "SELECT s.id AS session_id, extract(epoch FROM s.last_used_at)::bigint AS last_used_at,
                    extract(epoch FROM s.expires_at)::bigint AS expires_at, {PERSON}
             FROM sessions AS s JOIN users AS u ON u.id = s.user_id
             WHERE s.token_hash = $1::bytea AND s.revoked_at IS NULL AND s.expires_at > to_timestamp($2::bigint)"
        );
        self.query(&sql, &[Some(&bytea(token_hash)), Some(&now.to_string())]).await?.first(|row| {
            let (last_used_at, expires_at) = (row.get("last_used_at")?, row.get("expires_at")?);
            Ok(Session { id: row.get("session_id")?, user: person(row)?, last_used_at, expires_at })
        })
    }

    /// Stores that a session was used, and its new end.
    pub async fn prolong_session(&self, id: &str, now: i64, expires_at: i64) -> Result<(), Fault> {
        let sql = "UPDATE sessions SET last_used_at = to_timestamp($2::bigint), expires_at = to_timestamp($3::bigint)
                   WHERE id = $1 AND revoked_at IS NULL";
        self.query(sql, &[Some(id), Some(&now.to_string()), Some(&expires_at.to_string())]).await.map(drop)
    }

    /// Ends a session of a person. Returns whether it was valid.
    pub async fn end_session(&self, user_id: &str, id: &str, now: i64) -> Result<bool, Fault> {
        let sql = "UPDATE sessions SET revoked_at = to_timestamp($3::bigint)
                   WHERE id = $2 AND user_id = $1 AND revoked_at IS NULL AND expires_at > to_timestamp($3::bigint)
                   RETURNING id";
        let ended = self.query(sql, &[Some(user_id), Some(id), Some(&now.to_string())]).await?;
        Ok(!ended.is_empty())
    }
}
