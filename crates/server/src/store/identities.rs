//! The control plane's statements about accounts elsewhere by which a person signs in.

use pg::Error;

use crate::store::accounts::{Person, USER, user};
use crate::store::control::Control;

/// An account elsewhere.
#[derive(Debug)]
pub struct Identity<'a> {
    /// Who vouches for it.
    pub issuer: &'a str,
    /// Who it is there.
    pub subject: &'a str,
    /// The address of an account that is made for it.
    pub email: &'a str,
    /// Whether the issuer has verified that address.
    pub email_verified: bool,
    /// What the person is called.
    pub name: Option<&'a str>,
}

impl Control {
    /// The person of an account elsewhere.
    pub async fn person_of_identity(&self, issuer: &str, subject: &str) -> Result<Option<Person>, Error> {
        let sql = format!(
            "SELECT {USER} FROM identities AS i JOIN users AS u ON u.id = i.user_id WHERE i.issuer = $1 AND i.subject = $2"
        );
        let rows = self.query(&sql, &[Some(issuer), Some(subject)]).await?;
        if rows.is_empty() { Ok(None) } else { user(&rows, 0).map(Some) }
    }

    /// Adds an account elsewhere, and gives whose it is: of whoever has its address, if that is verified; else of
    /// somebody new, `user_id`. Where nobody had verified the address of an account, its password, sessions and letters
    /// end: whoever made it may be another. Nothing where somebody else was faster.
    pub async fn add_identity(&self, new: &Identity<'_>, user_id: &str, now: i64) -> Result<Option<String>, Error> {
        let rows = self
            .query(
                "WITH known AS (
                     SELECT FROM identities WHERE issuer = $1 AND subject = $2),
                 theirs AS (
                     SELECT id, email_verified_at IS NULL AS is_unproven FROM users
                     WHERE email = $3 AND $4::boolean AND NOT EXISTS (SELECT FROM known) FOR UPDATE),
                 proven AS (
                     UPDATE users SET email_verified_at = to_timestamp($7::bigint), password_hash = NULL
                     WHERE id IN (SELECT id FROM theirs WHERE is_unproven)),
                 ended AS (
                     UPDATE sessions SET revoked_at = to_timestamp($7::bigint)
                     WHERE user_id IN (SELECT id FROM theirs WHERE is_unproven) AND revoked_at IS NULL),
                 spent AS (
                     UPDATE mail_tokens SET used_at = to_timestamp($7::bigint)
                     WHERE user_id IN (SELECT id FROM theirs WHERE is_unproven) AND used_at IS NULL),
                 made AS (
                     INSERT INTO users (id, email, name, email_verified_at, created_at)
                     SELECT $5, $3, $6, CASE WHEN $4::boolean THEN to_timestamp($7::bigint) END, to_timestamp($7::bigint)
                     WHERE NOT EXISTS (SELECT FROM known) AND NOT EXISTS (SELECT FROM theirs)
                     ON CONFLICT (email) DO NOTHING RETURNING id)
                 INSERT INTO identities (issuer, subject, user_id, created_at)
                 SELECT $1, $2, id, to_timestamp($7::bigint) FROM (SELECT id FROM theirs UNION ALL SELECT id FROM made) AS person
                 ON CONFLICT DO NOTHING RETURNING user_id",
                &[
                    Some(new.issuer),
                    Some(new.subject),
                    Some(new.email),
                    Some(if new.email_verified { "true" } else { "false" }),
                    Some(user_id),
                    new.name,
                    Some(&now.to_string()),
                ],
            )
            .await?;
        if rows.is_empty() { Ok(None) } else { rows.get(0, "user_id").map(Some) }
    }

    /// Gives a person the address that is known to be theirs. Nothing where it is another's already.
    pub async fn give_address(&self, user_id: &str, email: &str, now: i64) -> Result<Option<Person>, Error> {
        let sql = format!(
            "UPDATE users AS u SET email = $2, email_verified_at = to_timestamp($3::bigint)
             WHERE u.id = $1 AND NOT EXISTS (SELECT FROM users WHERE email = $2) RETURNING {USER}"
        );
        match self.query(&sql, &[Some(user_id), Some(email), Some(&now.to_string())]).await {
            Ok(rows) if rows.is_empty() => Ok(None),
            Ok(rows) => user(&rows, 0).map(Some),
            // Somebody else took it at the same moment.
            Err(Error::Server(error)) if error.code == "23505" => Ok(None),
            Err(error) => Err(error),
        }
    }
}
