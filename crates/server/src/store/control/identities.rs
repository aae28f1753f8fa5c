//! The control plane's statements about accounts elsewhere by which a person signs in, and about an address whose owner is
//! known for the first time.

use pg::Error;

use crate::store::control::Control;
use crate::store::control::accounts::{Person, USER, bytea, user};

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

/// What of an account ends, beside its password, sessions and letters, when its address is proven by other means than by
/// the account: whoever made it may be a squatter, who keeps no way in by keys, accounts elsewhere or others. Statements for a WITH clause, after one called `unproven` that has the account's `id`.
pub(super) fn ends_of_unproven(moment: &str) -> String {
    format!(
        "parted AS (
             DELETE FROM identities WHERE user_id IN (SELECT id FROM unproven)),
         withdrawn AS (
             DELETE FROM invites WHERE invited_by IN (SELECT id FROM unproven) AND accepted_at IS NULL),
         cut AS (
             DELETE FROM connections WHERE user_id IN (SELECT id FROM unproven)),
         revoked AS (
             UPDATE api_keys SET revoked_at = {moment}
             WHERE user_id IN (SELECT id FROM unproven) AND revoked_at IS NULL RETURNING id, workspace_id, user_id),
         told AS (
             INSERT INTO audit (id, workspace_id, occurred_at, actor, action, subject, details)
             SELECT 'au_' || substr(id, 4), workspace_id, {moment}, 'user:' || user_id, 'key.revoked', id,
                    jsonb_build_object('reason', 'address_proven')
             FROM revoked)"
    )
}

/// Tells every process that keys have ended, if any may have.
pub(super) const CHANGED_IF_UNPROVEN: &str =
    "CASE WHEN EXISTS (SELECT FROM unproven) THEN nextval('access_changes') END AS changed";

/// Whose an account elsewhere is now.
#[derive(Debug)]
pub struct Added {
    /// `u_…`
    pub user_id: String,
    /// Whether the person took an account over whose address nobody had proven.
    pub taken_over: bool,
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
    /// somebody new, `user_id`. Where nobody had verified the address of an account, its password, sessions, letters, keys,
    /// direct connections and invitations end. Nothing where somebody else was faster.
    pub async fn add_identity(&self, new: &Identity<'_>, user_id: &str, now: i64) -> Result<Option<Added>, Error> {
        let ends = ends_of_unproven("to_timestamp($7::bigint)");
        let rows = self
            .query(
                &format!(
                    "WITH known AS (
                         SELECT FROM identities WHERE issuer = $1 AND subject = $2),
                     theirs AS (
                         SELECT id, email_verified_at FROM users
                         WHERE email = $3 AND $4::boolean AND NOT EXISTS (SELECT FROM known) FOR UPDATE),
                     unproven AS (
                         UPDATE users SET email_verified_at = to_timestamp($7::bigint), password_hash = NULL
                         WHERE id IN (SELECT id FROM theirs WHERE email_verified_at IS NULL) RETURNING id),
                     ended AS (
                         UPDATE sessions SET revoked_at = to_timestamp($7::bigint)
                         WHERE user_id IN (SELECT id FROM unproven) AND revoked_at IS NULL),
                     spent AS (
                         UPDATE mail_tokens SET used_at = to_timestamp($7::bigint)
                         WHERE user_id IN (SELECT id FROM unproven) AND used_at IS NULL),
                     {ends},
                     made AS (
                         INSERT INTO users (id, email, name, email_verified_at, created_at)
                         SELECT $5, $3, $6, CASE WHEN $4::boolean THEN to_timestamp($7::bigint) END, to_timestamp($7::bigint)
                         WHERE NOT EXISTS (SELECT FROM known) AND NOT EXISTS (SELECT FROM theirs)
                         ON CONFLICT (email) DO NOTHING RETURNING id),
                     added AS (
                         INSERT INTO identities (issuer, subject, user_id, created_at)
                         SELECT $1, $2, id, to_timestamp($7::bigint)
                         FROM (SELECT id FROM theirs UNION ALL SELECT id FROM made) AS person
                         ON CONFLICT DO NOTHING RETURNING user_id)
                     SELECT user_id, EXISTS (SELECT FROM unproven)::text AS taken_over, {CHANGED_IF_UNPROVEN} FROM added"
                ),
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
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(Some(Added { user_id: rows.get(0, "user_id")?, taken_over: rows.get(0, "taken_over")? }))
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

    /// Keeps that somebody has begun to sign in at a provider, until a moment.
    pub async fn keep_sign_in(
        &self,
        state_hash: &[u8; 32],
        provider: &str,
        next: &str,
        expires_at: i64,
    ) -> Result<(), Error> {
        let sql = "INSERT INTO sign_ins (state_hash, provider, next, expires_at)
                   VALUES ($1::bytea, $2, $3, to_timestamp($4::bigint))";
        let params = [Some(&*bytea(state_hash)), Some(provider), Some(next), Some(&*expires_at.to_string())];
        self.query(sql, &params).await.map(drop)
    }

    /// Takes out where a sign-in at a provider is to lead, once. Nothing where none is open.
    pub async fn take_sign_in(&self, state_hash: &[u8; 32], provider: &str, now: i64) -> Result<Option<String>, Error> {
        let sql = "WITH taken AS (DELETE FROM sign_ins WHERE state_hash = $1::bytea RETURNING *)
                   SELECT next FROM taken WHERE provider = $2 AND expires_at > to_timestamp($3::bigint)";
        let params = [Some(&*bytea(state_hash)), Some(provider), Some(&*now.to_string())];
        let rows = self.query(sql, &params).await?;
        if rows.is_empty() { Ok(None) } else { rows.get(0, "next").map(Some) }
    }
}
