//! Accounts of people: creates, finds and verifies them, and changes their passwords.

use crm::model::fault::Fault;

use crate::store::control::identities::{COUNT_CHANGE_IF_UNPROVEN, end_access_of_unproven};
use crate::store::control::mail::NewMail;
use crate::store::control::person::{PERSON, Person, person};
use crate::store::control::rows::ControlRow;
use crate::store::control::sessions::NewSession;
use crate::store::control::{Control, bytea};

/// An account and its password hash. The hash is not secret, but it must not be logged.
pub struct Account {
    /// The account's person.
    pub user: Person,
    /// Argon2id in PHC form; `None` for an account that is used only through a provider.
    pub password_hash: Option<String>,
}

/// An account to be created.
pub struct NewAccount<'a> {
    /// `u_…`
    pub id: &'a str,
    /// The e-mail address, in lower case.
    pub email: &'a str,
    /// The person's display name.
    pub name: Option<&'a str>,
    /// Argon2id in PHC form.
    pub password_hash: &'a str,
}

impl Control {
    /// Creates an account with a first session, and queues an e-mail to it. Returns false if the address is taken.
    pub async fn create_account(
        &self,
        new: &NewAccount<'_>,
        session: &NewSession<'_>,
        mail: &NewMail<'_>,
    ) -> Result<bool, Fault> {
        let sql = "WITH person AS (
                       INSERT INTO users (id, email, name, password_hash, created_at)
                       VALUES ($1, $2, $3, $4, to_timestamp($5::bigint)) ON CONFLICT (email) DO NOTHING RETURNING id),
                   session AS (
                       INSERT INTO sessions (id, user_id, token_hash, user_agent, address, created_at, last_used_at, expires_at)
                       SELECT $6, id, $7::bytea, $8, $9, to_timestamp($5::bigint), to_timestamp($5::bigint), to_timestamp($10::bigint)
                       FROM person),
                   mail AS (
                       INSERT INTO outgoing_mail (id, letter, user_id, public_url, created_at)
                       SELECT $11, $12, id, $13, to_timestamp($5::bigint) FROM person)
                   SELECT id FROM person";
        let (now, expires_at) = (session.now.to_string(), session.expires_at.to_string());
        let token_hash = bytea(&session.token_hash);
        let params = [
            Some(new.id),
            Some(new.email),
            new.name,
            Some(new.password_hash),
            Some(&*now),
            Some(session.id),
            Some(&*token_hash),
            session.user_agent,
            session.address,
            Some(&*expires_at),
            Some(mail.id),
            Some(mail.kind),
            Some(mail.public_url),
        ];
        Ok(!self.query(sql, &params).await?.is_empty())
    }

    /// The account with this e-mail address.
    pub async fn account_of_email(&self, email: &str) -> Result<Option<Account>, Fault> {
        let sql = format!("SELECT {PERSON}, u.password_hash FROM users AS u WHERE u.email = $1");
        self.query(&sql, &[Some(email)]).await?.first(account)
    }

    /// The account of a person.
    pub async fn account_of_user(&self, user_id: &str) -> Result<Option<Account>, Fault> {
        let sql = format!("SELECT {PERSON}, u.password_hash FROM users AS u WHERE u.id = $1");
        self.query(&sql, &[Some(user_id)]).await?.first(account)
    }

    /// Changes an account's password and ends its sessions, except `keep`. Returns false if the account does not exist any
    /// more, or if its password is no longer the old one.
    pub async fn change_password(
        &self,
        user_id: &str,
        (old_hash, new_hash): (&str, &str),
        keep: Option<&str>,
        now: i64,
    ) -> Result<bool, Fault> {
        let sql = "WITH person AS (
                       UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 RETURNING id),
                   ended AS (
                       UPDATE sessions SET revoked_at = to_timestamp($5::bigint)
                       WHERE user_id = (SELECT id FROM person) AND id IS DISTINCT FROM $4 AND revoked_at IS NULL),
                   spent AS (
                       UPDATE mail_tokens SET used_at = to_timestamp($5::bigint)
                       WHERE user_id = (SELECT id FROM person) AND purpose = 'reset_password' AND used_at IS NULL)
                   SELECT id FROM person";
        let now = now.to_string();
        let changed = self.query(sql, &[Some(user_id), Some(old_hash), Some(new_hash), keep, Some(&now)]).await?;
        Ok(!changed.is_empty())
    }

    /// Uses an e-mail's token to verify its account's address. Returns `None` if the token is not valid.
    pub async fn verify_email(&self, token_hash: &[u8; 32], now: i64) -> Result<Option<Person>, Fault> {
        let sql = format!(
            "WITH used AS (
                 UPDATE mail_tokens SET used_at = to_timestamp($2::bigint)
                 WHERE token_hash = $1::bytea AND purpose = 'verify_email' AND used_at IS NULL
                   AND expires_at > to_timestamp($2::bigint) RETURNING user_id)
             UPDATE users AS u SET email_verified_at = coalesce(email_verified_at, to_timestamp($2::bigint))
             FROM used WHERE u.id = used.user_id RETURNING {PERSON}"
        );
        self.query(&sql, &[Some(&bytea(token_hash)), Some(&now.to_string())]).await?.first(person)
    }

    /// The account whose password an e-mail's token can reset; `None` if the token is not valid.
    pub async fn account_of_reset(&self, token_hash: &[u8; 32], now: i64) -> Result<Option<Account>, Fault> {
        let sql = format!(
            "SELECT {PERSON}, u.password_hash FROM mail_tokens AS t JOIN users AS u ON u.id = t.user_id
             WHERE t.token_hash = $1::bytea AND t.purpose = 'reset_password' AND t.used_at IS NULL
               AND t.expires_at > to_timestamp($2::bigint)"
        );
        self.query(&sql, &[Some(&bytea(token_hash)), Some(&now.to_string())]).await?.first(account)
    }

    /// Uses an e-mail's token to change its account's password. The account's sessions end, except `keep`. Its other reset
    /// tokens become void. Its address becomes verified, since its owner has read the e-mail. If the address was not verified
    /// before, all other access to the account ends too. Returns `None` if the token is not valid.
    pub async fn reset_password(
        &self,
        token_hash: &[u8; 32],
        password_hash: &str,
        keep: Option<&str>,
        now: i64,
    ) -> Result<Option<Person>, Fault> {
        let end_access = end_access_of_unproven("to_timestamp($4::bigint)");
        let sql = format!(
            "WITH used AS (
                 UPDATE mail_tokens SET used_at = to_timestamp($4::bigint)
                 WHERE token_hash = $1::bytea AND purpose = 'reset_password' AND used_at IS NULL
                   AND expires_at > to_timestamp($4::bigint) RETURNING user_id),
             unproven AS (
                 SELECT u.id FROM users AS u JOIN used ON used.user_id = u.id WHERE u.email_verified_at IS NULL),
             {end_access},
             void AS (
                 UPDATE mail_tokens SET used_at = to_timestamp($4::bigint)
                 WHERE user_id = (SELECT user_id FROM used) AND purpose = 'reset_password' AND used_at IS NULL
                   AND token_hash <> $1::bytea),
             ended AS (
                 UPDATE sessions SET revoked_at = to_timestamp($4::bigint)
                 WHERE user_id = (SELECT user_id FROM used) AND id IS DISTINCT FROM $3 AND revoked_at IS NULL)
             UPDATE users AS u
             SET password_hash = $2, email_verified_at = coalesce(email_verified_at, to_timestamp($4::bigint))
             FROM used WHERE u.id = used.user_id RETURNING {PERSON}, {COUNT_CHANGE_IF_UNPROVEN}"
        );
        let params = [Some(&*bytea(token_hash)), Some(password_hash), keep, Some(&*now.to_string())];
        self.query(&sql, &params).await?.first(person)
    }
}

fn account(row: ControlRow<'_>) -> Result<Account, Fault> {
    Ok(Account { user: person(row)?, password_hash: row.optional("password_hash")? })
}
