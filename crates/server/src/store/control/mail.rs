//! The queue of outgoing e-mail, and the tokens in its links.

use crm::model::fault::Fault;

use crate::store::control::{Control, bytea};

/// The most e-mails of one kind that an account gets within the limited time.
const MOST_OF_A_KIND: i64 = 3;

/// An e-mail to be queued.
#[derive(Debug)]
pub struct NewMail<'a> {
    /// `mail_…`
    pub id: &'a str,
    /// `verify_email` or `reset_password`
    pub kind: &'a str,
    /// The address of this Kith, for the link.
    pub public_url: &'a str,
    /// The current time, Unix seconds.
    pub now: i64,
}

/// An e-mail that is due.
#[derive(Debug)]
pub struct DueMail {
    /// `mail_…`
    pub id: String,
    /// `verify_email`, `reset_password`, `invite`, `webhook_disabled` or `automation_disabled`
    pub kind: String,
    /// The account, `u_…`, or the invitation, `inv_…`.
    pub about: String,
    /// What was disabled, if it is about that: `whep_…` or `auto_…`.
    pub disabled: Option<String>,
    /// The recipient's address.
    pub email: String,
    /// The address of this Kith, for the link.
    pub public_url: String,
    /// How often it was tried, this time included.
    pub attempts: i32,
}

impl Control {
    /// Queues an e-mail to an account, unless the account got several of this kind after `since`. One that was tried has a
    /// token, and is counted by it.
    pub async fn queue_mail(&self, user_id: &str, new: &NewMail<'_>, since: i64) -> Result<(), Fault> {
        let sql = "INSERT INTO outgoing_mail (id, letter, user_id, public_url, created_at)
                   SELECT $1, $2, $3, $4, to_timestamp($5::bigint)
                   WHERE (SELECT count(*) FROM outgoing_mail WHERE user_id = $3 AND letter = $2 AND attempts = 0)
                       + (SELECT count(*) FROM mail_tokens
                          WHERE user_id = $3 AND purpose = $2 AND created_at > to_timestamp($6::bigint)) < $7::bigint";
        let (now, since, most) = (new.now.to_string(), since.to_string(), MOST_OF_A_KIND.to_string());
        let params = [new.id, new.kind, user_id, new.public_url, &now, &since, &most].map(Some);
        self.query(sql, &params).await.map(drop)
    }

    /// Takes an e-mail that is due, if there is one. No other process takes it before its next attempt is due: after
    /// `retry_seconds`, twice as long each time.
    pub async fn take_mail(&self, now: i64, retry_seconds: i64) -> Result<Option<DueMail>, Fault> {
        let sql = "WITH due AS (
                       SELECT id FROM outgoing_mail WHERE next_attempt_at <= to_timestamp($1::bigint)
                       ORDER BY next_attempt_at, created_at FOR UPDATE SKIP LOCKED LIMIT 1),
                   addressed AS (
                       SELECT m.id, COALESCE(u.email, i.email) AS email FROM due JOIN outgoing_mail AS m ON m.id = due.id
                       LEFT JOIN users AS u ON u.id = m.user_id LEFT JOIN invites AS i ON i.id = m.invite_id)
                   UPDATE outgoing_mail AS m
                   SET attempts = attempts + 1,
                       next_attempt_at = to_timestamp($1::bigint) + make_interval(secs => $2::float8 * 2 ^ attempts)
                   FROM addressed AS a WHERE m.id = a.id
                   RETURNING m.id, m.letter, COALESCE(m.user_id, m.invite_id) AS about, COALESCE(m.webhook_id, m.automation_id) AS disabled,
                       a.email, m.public_url, m.attempts";
        self.query(sql, &[Some(&now.to_string()), Some(&retry_seconds.to_string())]).await?.first(|row| {
            Ok(DueMail {
                id: row.get("id")?,
                kind: row.get("letter")?,
                about: row.get("about")?,
                disabled: row.optional("disabled")?,
                email: row.get("email")?,
                public_url: row.get("public_url")?,
                attempts: row.get("attempts")?,
            })
        })
    }

    /// Removes an e-mail from the queue, because it was sent or never will be.
    pub async fn drop_mail(&self, id: &str) -> Result<(), Fault> {
        self.query("DELETE FROM outgoing_mail WHERE id = $1", &[Some(id)]).await.map(drop)
    }

    /// Stores the hash of the token in an e-mail to an account. `now` and `expires_at` are Unix seconds.
    pub async fn keep_mail_token(
        &self,
        token_hash: &[u8; 32],
        user_id: &str,
        kind: &str,
        (now, expires_at): (i64, i64),
    ) -> Result<(), Fault> {
        let sql = "INSERT INTO mail_tokens (token_hash, user_id, purpose, created_at, expires_at)
                   VALUES ($1::bytea, $2, $3, to_timestamp($4::bigint), to_timestamp($5::bigint))";
        let (hash, now, expires_at) = (bytea(token_hash), now.to_string(), expires_at.to_string());
        self.query(sql, &[&hash, user_id, kind, &now, &expires_at].map(Some)).await.map(drop)
    }

    /// Stores the hash of the token in an invitation's e-mail. The inviter has a different token.
    pub async fn keep_invitation_token(&self, invitation_id: &str, token_hash: &[u8; 32]) -> Result<(), Fault> {
        let sql = "UPDATE invites SET letter_token_hash = $2::bytea WHERE id = $1";
        self.query(sql, &[Some(invitation_id), Some(&bytea(token_hash))]).await.map(drop)
    }
}
