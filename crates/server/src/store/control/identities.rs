//! Identities: accounts at issuers (OpenID Connect providers, Clerk) with which a person signs in. An identity may also be the
//! first proof that an account's address belongs to the person.

use crm::model::fault::Fault;

use crate::store::control::person::{PERSON, Person, person};
use crate::store::control::rows::ControlRows;
use crate::store::control::{Control, is_taken};
use crate::store::fault;

/// An identity to be stored.
#[derive(Debug)]
pub struct NewIdentity<'a> {
    /// The issuer of the identity.
    pub issuer: &'a str,
    /// The person's id at the issuer.
    pub subject: &'a str,
    /// The address for a new account.
    pub email: &'a str,
    /// Whether the issuer has verified that address.
    pub email_verified: bool,
    /// The person's display name.
    pub name: Option<&'a str>,
}

/// Ends access to an account whose address is now verified, but not by the account itself. Its creator may be a squatter, who
/// must keep no keys, identities, connections or invitations. Its password, sessions and e-mail tokens are ended elsewhere.
/// The text is statements of a WITH clause that follow one called `unproven`, which has the account's `id`.
pub(super) fn end_access_of_unproven(moment: &str) -> String {
    format!(
        "parted AS (
             DELETE FROM identities WHERE user_id IN (SELECT id FROM unproven)),
         withdrawn AS (
             DELETE FROM invites WHERE invited_by IN (SELECT id FROM unproven) AND accepted_at IS NULL),
         cut AS (
             DELETE FROM connections WHERE user_id IN (SELECT id FROM unproven)),
         disconnected AS (
             UPDATE app_grants SET revoked_at = {moment}, revoked_why = 'address_proven'
             WHERE user_id IN (SELECT id FROM unproven) AND revoked_at IS NULL),
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

/// Counts a change of keys if the account's address was unverified.
pub(super) const COUNT_CHANGE_IF_UNPROVEN: &str =
    "CASE WHEN EXISTS (SELECT FROM unproven) THEN nextval('access_changes') END AS changed";

/// An identity that was stored.
#[derive(Debug)]
pub struct AddedIdentity {
    /// The identity's person, `u_…`.
    pub user_id: String,
    /// Whether it took over an account with an unverified address.
    pub taken_over: bool,
}

impl Control {
    /// The person of an identity.
    pub async fn person_of_identity(&self, issuer: &str, subject: &str) -> Result<Option<Person>, Fault> {
        let sql = format!(
            "SELECT {PERSON} FROM identities AS i JOIN users AS u ON u.id = i.user_id WHERE i.issuer = $1 AND i.subject = $2"
        );
        self.query(&sql, &[Some(issuer), Some(subject)]).await?.first(person)
    }

    /// Stores an identity. If its address is verified and an account has it, the identity belongs to that account, else to a new
    /// one, `user_id`. If that account's address was unverified, the account's password, sessions, e-mail tokens, keys, direct
    /// connections and invitations end. Returns `None` if another request was faster.
    pub async fn add_identity(
        &self,
        new: &NewIdentity<'_>,
        user_id: &str,
        now: i64,
    ) -> Result<Option<AddedIdentity>, Fault> {
        let end_access = end_access_of_unproven("to_timestamp($7::bigint)");
        let sql = format!(
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
             {end_access},
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
             SELECT user_id, EXISTS (SELECT FROM unproven) AS taken_over, {COUNT_CHANGE_IF_UNPROVEN} FROM added"
        );
        let verified = if new.email_verified { "t" } else { "f" };
        let params = [
            Some(new.issuer),
            Some(new.subject),
            Some(new.email),
            Some(verified),
            Some(user_id),
            new.name,
            Some(&*now.to_string()),
        ];
        let added = self.query(&sql, &params).await?;
        added.first(|row| Ok(AddedIdentity { user_id: row.get("user_id")?, taken_over: row.is("taken_over")? }))
    }

    /// Gives a person a verified address. Returns `None` if another account has it.
    pub async fn give_address(&self, user_id: &str, email: &str, now: i64) -> Result<Option<Person>, Fault> {
        let sql = format!(
            "UPDATE users AS u SET email = $2, email_verified_at = to_timestamp($3::bigint)
             WHERE u.id = $1 AND NOT EXISTS (SELECT FROM users WHERE email = $2) RETURNING {PERSON}"
        );
        match self.try_query(&sql, &[Some(user_id), Some(email), Some(&now.to_string())]).await {
            Ok(rows) => ControlRows(rows).first(person),
            // Another request took it at the same moment.
            Err(error) if is_taken(&error) => Ok(None),
            Err(error) => Err(fault::of_own_statement(error)),
        }
    }
}
