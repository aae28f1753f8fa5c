//! The queue of e-mails that workspaces send. Any number of processes take from it.
//!
//! A row is inserted before the transaction that records the e-mail in the workspace's database is committed, and is due only later.
//! So the e-mail is not lost by a crash after the commit, and is not sent if the commit never comes: whoever takes the row looks for
//! the record first.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crm::model::fault::Fault;
use crm::model::value::array_of_texts;

use crate::store::control::Control;

/// An e-mail to be queued.
#[derive(Debug)]
pub struct NewOutgoing<'a> {
    /// `e_…`, the id of its record.
    pub id: &'a str,
    /// The message, sealed.
    pub message: Vec<u8>,
    /// A hash that names the account through which it is tried first.
    pub account: &'a str,
}

/// The request that sends e-mails.
#[derive(Clone, Copy, Debug)]
pub struct SentBy<'a> {
    /// `ws_…`
    pub workspace_id: &'a str,
    /// The actor.
    pub actor: &'a str,
    /// Where the request came from, as JSON.
    pub provenance: &'a str,
}

/// An e-mail that this process has taken.
#[derive(Debug)]
pub struct TakenEmail {
    /// `ws_…`
    pub workspace_id: String,
    /// `e_…`
    pub id: String,
    /// Names this attempt. Only it may note the outcome.
    pub taken_by: String,
    /// The actor of the request.
    pub actor: String,
    /// Where the request came from, as JSON.
    pub provenance: String,
    /// The size of the sealed message; `None` if the outcome is known.
    pub message_bytes: Option<usize>,
    /// A hash that names the account through which it was last tried, if that is known.
    pub account: Option<String>,
    /// How often it was tried, this time included.
    pub attempts: u32,
    /// What became of it, if it is known and only has to be recorded.
    pub outcome: Option<EmailOutcome>,
    /// Whether the outcome is recorded. Then the provider is asked for the Message-ID.
    pub is_recorded: bool,
    /// Seconds since it was queued.
    pub age_seconds: i64,
    /// When it was first tried by an attempt before this one that the provider may have accepted, in Unix milliseconds.
    pub tried_ms: Option<i64>,
}

/// An e-mail that is put off.
#[derive(Clone, Copy, Debug)]
pub struct PutOff<'a> {
    /// Why.
    pub why: &'a str,
    /// When it is tried again, ISO 8601.
    pub at: &'a str,
    /// The first attempt that the provider may have accepted, in Unix milliseconds.
    pub tried_ms: Option<i64>,
    /// Whether the provider was asked. Otherwise it was no attempt.
    pub is_attempt: bool,
}

/// What became of an e-mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailOutcome {
    /// Whether the provider accepted it.
    pub is_sent: bool,
    /// The provider; `None` if it was not asked.
    pub provider: Option<String>,
    /// The Message-ID, or else the provider's id of the message.
    pub provider_msg_id: Option<String>,
    /// Why it was not sent, or why it may have been sent twice.
    pub error: Option<String>,
    /// The time, ISO 8601.
    pub at: String,
}

impl Control {
    /// Queues an e-mail. It is due at `due_at`, ISO 8601. Until then the attempt `taken_by` may send it.
    pub async fn queue_email(
        &self,
        by: SentBy<'_>,
        new: NewOutgoing<'_>,
        (taken_by, now, due_at): (&str, &str, &str),
    ) -> Result<(), Fault> {
        let sql = "INSERT INTO outgoing_emails (workspace_id, id, actor, provenance, message, attempts, next_attempt_at, taken_by, created_at, tried_at, account)
                   VALUES ($1, $2, $3, $4, decode($5, 'base64'), 1, $6::timestamptz, $7, $8::timestamptz, $8::timestamptz, $9)";
        let message = STANDARD.encode(&new.message);
        drop(new.message);
        let params =
            [by.workspace_id, new.id, by.actor, by.provenance, &message, due_at, taken_by, now, new.account].map(Some);
        self.query(sql, &params).await.map(drop)
    }

    /// Makes queued e-mails due now. The attempt that queued them does not send them.
    pub async fn release_emails(&self, workspace_id: &str, ids: &[String], now: &str) -> Result<(), Fault> {
        let sql = "UPDATE outgoing_emails SET next_attempt_at = $3::timestamptz, attempts = 0, taken_by = NULL, tried_at = NULL
                   WHERE workspace_id = $1 AND id = ANY ($2::text[]) AND outcome IS NULL";
        self.query(sql, &[workspace_id, &array_of_texts(ids), now].map(Some)).await.map(drop)
    }

    /// Takes an e-mail that is due, if there is one, of a workspace that is not busy and may send. Other processes do not take it
    /// within `lease_seconds`.
    pub async fn take_email(
        &self,
        taken_by: &str,
        now: &str,
        lease_seconds: u64,
        busy: &[String],
    ) -> Result<Option<TakenEmail>, Fault> {
        let sql = "WITH due AS (
                       SELECT o.workspace_id, o.id, o.tried_at FROM outgoing_emails AS o JOIN workspaces AS w ON w.id = o.workspace_id
                       WHERE o.next_attempt_at <= $1::timestamptz AND (w.sending OR o.outcome IS NOT NULL)
                         AND o.workspace_id <> ALL ($4::text[])
                       ORDER BY o.next_attempt_at LIMIT 1 FOR UPDATE OF o SKIP LOCKED)
                   UPDATE outgoing_emails AS o
                   SET attempts = o.attempts + CASE WHEN o.outcome IS NULL THEN 1 ELSE 0 END, taken_by = $2, tried_at = COALESCE(o.tried_at, $1::timestamptz),
                       next_attempt_at = $1::timestamptz + make_interval(secs => $3::float8)
                   FROM due WHERE o.workspace_id = due.workspace_id AND o.id = due.id
                   RETURNING o.workspace_id, o.id, o.actor, o.provenance, octet_length(o.message) AS message_bytes, o.account, o.attempts, o.outcome, o.is_recorded,
                       o.provider, o.provider_msg_id, o.error, to_json(o.ended_at AT TIME ZONE 'UTC') #>> '{}' AS ended_at,
                       floor(extract(epoch FROM $1::timestamptz - o.created_at))::bigint AS age_seconds,
                       floor(extract(epoch FROM due.tried_at) * 1000)::bigint AS tried_ms";
        let (lease, busy) = (lease_seconds.to_string(), array_of_texts(busy));
        self.query(sql, &[now, taken_by, &lease, &busy].map(Some)).await?.first(|row| {
            let outcome = match row.optional::<String>("outcome")? {
                Some(outcome) => Some(EmailOutcome {
                    is_sent: outcome == "sent",
                    provider: row.optional("provider")?,
                    provider_msg_id: row.optional("provider_msg_id")?,
                    error: row.optional("error")?,
                    at: format!("{}Z", row.get::<String>("ended_at")?),
                }),
                None => None,
            };
            Ok(TakenEmail {
                workspace_id: row.get("workspace_id")?,
                id: row.get("id")?,
                taken_by: taken_by.to_owned(),
                actor: row.get("actor")?,
                provenance: row.get("provenance")?,
                message_bytes: row.optional("message_bytes")?,
                account: row.optional("account")?,
                attempts: row.get("attempts")?,
                outcome,
                is_recorded: row.is("is_recorded")?,
                age_seconds: row.get("age_seconds")?,
                tried_ms: row.optional("tried_ms")?,
            })
        })
    }

    /// The sealed message of a taken e-mail. `None` if another attempt has taken over.
    pub async fn outgoing_message(
        &self,
        (workspace_id, id, taken_by): (&str, &str, &str),
    ) -> Result<Option<Vec<u8>>, Fault> {
        let sql = "SELECT translate(encode(message, 'base64'), E'\\n', '') AS message FROM outgoing_emails
                   WHERE workspace_id = $1 AND id = $2 AND taken_by = $3 AND message IS NOT NULL";
        self.query(sql, &[workspace_id, id, taken_by].map(Some))
            .await?
            .first(|row| STANDARD.decode(row.get::<String>("message")?).map_err(Fault::internal))
    }

    /// Notes the account through which an e-mail is tried from now on.
    pub async fn note_email_account(
        &self,
        (workspace_id, id, taken_by): (&str, &str, &str),
        account: &str,
    ) -> Result<(), Fault> {
        let sql = "UPDATE outgoing_emails SET account = $4 WHERE workspace_id = $1 AND id = $2 AND taken_by = $3";
        self.query(sql, &[workspace_id, id, taken_by, account].map(Some)).await.map(drop)
    }

    /// Notes what became of an e-mail, and forgets its message. Its record has still to be written: it is due for that at `due_at`.
    /// Returns false if another attempt has taken over.
    pub async fn note_email(
        &self,
        (workspace_id, id, taken_by): (&str, &str, &str),
        outcome: &EmailOutcome,
        due_at: &str,
    ) -> Result<bool, Fault> {
        let sql =
            "UPDATE outgoing_emails SET outcome = $4, message = NULL, provider = $5, provider_msg_id = $6, error = $7,
                       ended_at = $8::timestamptz, next_attempt_at = $9::timestamptz
                   WHERE workspace_id = $1 AND id = $2 AND taken_by = $3 AND outcome IS NULL RETURNING id";
        let params = [
            Some(workspace_id),
            Some(id),
            Some(taken_by),
            Some(if outcome.is_sent { "sent" } else { "failed" }),
            outcome.provider.as_deref(),
            outcome.provider_msg_id.as_deref(),
            outcome.error.as_deref(),
            Some(outcome.at.as_str()),
            Some(due_at),
        ];
        Ok(!self.query(sql, &params).await?.is_empty())
    }

    /// Puts an e-mail off.
    pub async fn put_email_off(
        &self,
        (workspace_id, id, taken_by): (&str, &str, &str),
        put_off: PutOff<'_>,
    ) -> Result<(), Fault> {
        let sql = "UPDATE outgoing_emails SET next_attempt_at = $5::timestamptz, taken_by = NULL, error = $4,
                       tried_at = to_timestamp($6::bigint / 1000.0), attempts = attempts - CASE WHEN $7::boolean THEN 0 ELSE 1 END
                   WHERE workspace_id = $1 AND id = $2 AND taken_by = $3 AND outcome IS NULL";
        let tried_ms = put_off.tried_ms.map(|it| it.to_string());
        let is_attempt = if put_off.is_attempt { "t" } else { "f" };
        let params = [
            Some(workspace_id),
            Some(id),
            Some(taken_by),
            Some(put_off.why),
            Some(put_off.at),
            tried_ms.as_deref(),
            Some(is_attempt),
        ];
        self.query(sql, &params).await.map(drop)
    }

    /// Makes the e-mails due that were taken. For a process that knows that nobody works on them.
    pub async fn free_emails(&self, now: &str) -> Result<(), Fault> {
        let sql = "UPDATE outgoing_emails SET taken_by = NULL, next_attempt_at = $1::timestamptz
                   WHERE taken_by IS NOT NULL AND next_attempt_at IS NOT NULL";
        self.query(sql, &[Some(now)]).await.map(drop)
    }

    /// Ends the work on an e-mail whose record has its outcome, except that its Message-ID is asked for at a time, ISO 8601.
    pub async fn end_email(&self, workspace_id: &str, id: &str, ask_at: Option<&str>) -> Result<(), Fault> {
        let sql = "UPDATE outgoing_emails SET next_attempt_at = $3::timestamptz, taken_by = NULL, is_recorded = true
                   WHERE workspace_id = $1 AND id = $2 AND outcome IS NOT NULL";
        self.query(sql, &[Some(workspace_id), Some(id), ask_at]).await.map(drop)
    }

    /// Removes an e-mail from the queue that was never recorded.
    pub async fn forget_email(&self, workspace_id: &str, id: &str) -> Result<(), Fault> {
        let sql = "DELETE FROM outgoing_emails WHERE workspace_id = $1 AND id = $2";
        self.query(sql, &[Some(workspace_id), Some(id)]).await.map(drop)
    }

    /// Whether a workspace has an e-mail in the queue, or one that has left it and is not forgotten.
    pub async fn has_outgoing(&self, workspace_id: &str) -> Result<bool, Fault> {
        let sql = "SELECT FROM outgoing_emails WHERE workspace_id = $1 LIMIT 1";
        Ok(!self.query(sql, &[Some(workspace_id)]).await?.is_empty())
    }

    /// Those of these e-mails that have left.
    pub async fn emails_that_left(&self, workspace_id: &str, ids: &[String]) -> Result<Vec<String>, Fault> {
        let sql = "SELECT id FROM outgoing_emails WHERE workspace_id = $1 AND id = ANY ($2::text[]) AND outcome = 'sent' ORDER BY ended_at, id";
        self.query(sql, &[workspace_id, &array_of_texts(ids)].map(Some)).await?.all(|row| row.get("id"))
    }
}
