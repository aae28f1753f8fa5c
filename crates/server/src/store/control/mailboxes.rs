//! The mailboxes that workspaces have connected. Any number of processes take from them. A process holds a mailbox by a lease, and loses it
//! when the mailbox is connected again or disconnected.

use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::model::value::array_of_texts;
use crm::plan::mailbox::{ImapTls, MailboxSettings};

use crate::store::control::lists::json_columns;
use crate::store::control::rows::optional_bytes;
use crate::store::control::transaction::ControlTransaction;
use crate::store::control::webhooks::found;
use crate::store::control::{Control, bytea};

/// What callers see of a mailbox.
const COLUMNS: &[(&str, &str)] = &[
    ("configured", "(m.workspace_id IS NOT NULL)"),
    ("host", "m.host"),
    ("port", "m.port"),
    ("username", "m.username"),
    ("tls", "m.tls"),
    ("folder", "m.folder"),
    ("address", "m.address"),
    (
        "status",
        "(CASE WHEN m.workspace_id IS NULL THEN NULL WHEN m.failures > 0 THEN 'failing' WHEN m.last_checked_at IS NULL THEN 'connecting' ELSE 'connected' END)",
    ),
    ("last_error", "m.last_error"),
    ("last_checked_at", "m.last_checked_at"),
    ("received", "COALESCE(m.received, 0)"),
    ("created_at", "m.created_at"),
];

/// How far a mailbox is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxPosition {
    /// Names the numbering of the server's messages. Under another one they have other numbers.
    pub uid_validity: u32,
    /// The last message that is recorded.
    pub last_uid: u32,
}

/// A mailbox to be stored.
#[derive(Debug)]
pub struct StoredMailbox<'a> {
    /// `ws_…`
    pub workspace_id: &'a str,
    /// The settings. Their password is not stored.
    pub settings: &'a MailboxSettings,
    /// The password, sealed.
    pub password: &'a [u8],
    /// Where reading begins.
    pub position: MailboxPosition,
    /// The actor who connects it.
    pub actor: &'a str,
    /// The current time, ISO 8601.
    pub now: &'a str,
}

/// A mailbox that this process has taken.
#[derive(Debug)]
pub struct TakenMailbox {
    /// `ws_…`
    pub workspace_id: String,
    /// Names this attempt. Only it may note progress.
    pub taken_by: String,
    /// The settings. Their password is empty.
    pub settings: MailboxSettings,
    /// The password, sealed.
    pub password: Vec<u8>,
    /// How far it is read.
    pub position: MailboxPosition,
    /// The actor who connected it.
    pub actor: String,
    /// When it was last read, ISO 8601.
    pub last_checked_at: String,
    /// Attempts that failed since the last one that did not.
    pub failures: u32,
}

/// How an attempt to read a mailbox has ended.
#[derive(Debug)]
pub struct MailboxOutcome<'a> {
    /// Why it failed.
    pub error: Option<&'a str>,
    /// What became of messages that could not be recorded.
    pub note: Option<&'a str>,
    /// The current time, ISO 8601.
    pub now: &'a str,
    /// When it is read again, ISO 8601.
    pub next_at: &'a str,
}

impl Control {
    /// The mailbox of a workspace, as JSON. A workspace without one has a row too.
    pub async fn mailbox(&self, workspace_id: &str) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "SELECT {} FROM workspaces AS w LEFT JOIN mailboxes AS m ON m.workspace_id = w.id WHERE w.id = $1",
            json_columns(COLUMNS)
        );
        Ok(found(self.query(&sql, &[Some(workspace_id)]).await?))
    }

    /// Takes a mailbox that is due, if there is one, and not one of these workspaces. Other processes do not take it within `lease_seconds`.
    pub async fn take_mailbox(
        &self,
        taken_by: &str,
        now: &str,
        lease_seconds: u64,
        busy: &[String],
    ) -> Result<Option<TakenMailbox>, Fault> {
        let sql = "WITH due AS (
                       SELECT m.workspace_id FROM mailboxes AS m
                       WHERE m.next_attempt_at <= $1::timestamptz AND m.workspace_id <> ALL ($4::text[])
                       ORDER BY m.next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
                   UPDATE mailboxes AS m SET taken_by = $2, next_attempt_at = $1::timestamptz + make_interval(secs => $3::float8)
                   FROM due WHERE m.workspace_id = due.workspace_id
                   RETURNING m.workspace_id, m.host, m.port, m.username, m.password, m.tls, m.folder, m.address, m.uid_validity, m.last_uid,
                       m.created_by, m.failures, to_json(COALESCE(m.last_checked_at, m.created_at) AT TIME ZONE 'UTC') #>> '{}' AS last_checked_at";
        let (lease, busy) = (lease_seconds.to_string(), array_of_texts(busy));
        self.query(sql, &[now, taken_by, &lease, &busy].map(Some)).await?.first(|row| {
            let tls: String = row.get("tls")?;
            let settings = MailboxSettings {
                host: row.get("host")?,
                port: row.get("port")?,
                username: row.get("username")?,
                password: String::new(),
                tls: ImapTls::parse(&tls).ok_or_else(|| Fault::internal("a mailbox with an unknown encryption"))?,
                folder: row.get("folder")?,
                address: row.optional("address")?,
            };
            Ok(TakenMailbox {
                workspace_id: row.get("workspace_id")?,
                taken_by: taken_by.to_owned(),
                settings,
                password: optional_bytes(row, "password")?.unwrap_or_default(),
                position: MailboxPosition { uid_validity: row.get("uid_validity")?, last_uid: row.get("last_uid")? },
                actor: row.get("created_by")?,
                last_checked_at: row.get("last_checked_at")?,
                failures: row.get("failures")?,
            })
        })
    }

    /// Renews the lease of a mailbox. Returns false if it was lost.
    pub async fn keep_mailbox(&self, taken: &TakenMailbox, now: &str, lease_seconds: u64) -> Result<bool, Fault> {
        let sql = "UPDATE mailboxes SET next_attempt_at = $3::timestamptz + make_interval(secs => $4::float8)
                   WHERE workspace_id = $1 AND taken_by = $2 RETURNING workspace_id";
        let lease = lease_seconds.to_string();
        let params = [&*taken.workspace_id, &taken.taken_by, now, &lease].map(Some);
        Ok(!self.query(sql, &params).await?.is_empty())
    }

    /// Notes how far a mailbox is read, and how many messages of it were new. Returns false if it was lost.
    pub async fn move_mailbox(
        &self,
        taken: &TakenMailbox,
        position: MailboxPosition,
        received: u32,
    ) -> Result<bool, Fault> {
        let sql =
            "UPDATE mailboxes SET uid_validity = $3::bigint, last_uid = $4::bigint, received = received + $5::bigint, tried_uid = NULL, tries = 0
                   WHERE workspace_id = $1 AND taken_by = $2 RETURNING workspace_id";
        let [validity, last, received] = [position.uid_validity, position.last_uid, received].map(|it| it.to_string());
        let params = [&*taken.workspace_id, &taken.taken_by, &validity, &last, &received].map(Some);
        Ok(!self.query(sql, &params).await?.is_empty())
    }

    /// Counts a try of a message that failed. Returns how often it has failed; `None` if the mailbox was lost.
    pub async fn count_mailbox_try(&self, taken: &TakenMailbox, uid: u32) -> Result<Option<u32>, Fault> {
        let sql = "UPDATE mailboxes SET tries = CASE WHEN tried_uid = $3::bigint THEN tries + 1 ELSE 1 END, tried_uid = $3::bigint
                   WHERE workspace_id = $1 AND taken_by = $2 RETURNING tries";
        let uid = uid.to_string();
        let params = [&*taken.workspace_id, &taken.taken_by, &uid].map(Some);
        self.query(sql, &params).await?.first(|row| row.get("tries"))
    }

    /// Notes that a mailbox was read up to its end.
    pub async fn note_mailbox_read(&self, taken: &TakenMailbox, note: Option<&str>, now: &str) -> Result<(), Fault> {
        // The word about a message that was refused stays until reading fails.
        let sql = "UPDATE mailboxes SET failures = 0, last_error = COALESCE($3, CASE WHEN failures = 0 THEN last_error END), last_checked_at = $4::timestamptz
                   WHERE workspace_id = $1 AND taken_by = $2";
        self.query(sql, &[Some(&taken.workspace_id), Some(&taken.taken_by), note, Some(now)]).await.map(drop)
    }

    /// Makes the mailboxes due that were taken. For a process that knows that nobody reads them.
    pub async fn free_mailboxes(&self, now: &str) -> Result<(), Fault> {
        let sql = "UPDATE mailboxes SET taken_by = NULL, next_attempt_at = $1::timestamptz WHERE taken_by IS NOT NULL";
        self.query(sql, &[Some(now)]).await.map(drop)
    }

    /// Ends an attempt.
    pub async fn end_mailbox(&self, taken: &TakenMailbox, outcome: &MailboxOutcome<'_>) -> Result<(), Fault> {
        let sql = "UPDATE mailboxes
                   SET failures = CASE WHEN $3::text IS NULL THEN 0 ELSE failures + 1 END, last_error = COALESCE($3, $4, CASE WHEN failures = 0 THEN last_error END),
                       last_checked_at = CASE WHEN $3::text IS NULL THEN $5::timestamptz ELSE last_checked_at END,
                       next_attempt_at = $6::timestamptz, taken_by = NULL
                   WHERE workspace_id = $1 AND taken_by = $2";
        let params = [
            Some(&*taken.workspace_id),
            Some(&*taken.taken_by),
            outcome.error,
            outcome.note,
            Some(outcome.now),
            Some(outcome.next_at),
        ];
        self.query(sql, &params).await.map(drop)
    }
}

impl ControlTransaction<'_> {
    /// Connects a mailbox, in the place of a previous one.
    pub async fn set_mailbox(&mut self, new: &StoredMailbox<'_>) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "INSERT INTO mailboxes AS m (workspace_id, host, port, username, password, tls, folder, address, uid_validity, last_uid,
                 created_by, created_at, next_attempt_at)
             VALUES ($1, $2, $3::integer, $4, $5::bytea, $6, $7, $8, $9::bigint, $10::bigint, $11, $12::timestamptz, $12::timestamptz)
             ON CONFLICT (workspace_id) DO UPDATE SET host = EXCLUDED.host, port = EXCLUDED.port, username = EXCLUDED.username,
                 password = EXCLUDED.password, tls = EXCLUDED.tls, folder = EXCLUDED.folder, address = EXCLUDED.address,
                 uid_validity = EXCLUDED.uid_validity, last_uid = EXCLUDED.last_uid, received = 0, failures = 0, tried_uid = NULL, tries = 0, last_error = NULL,
                 last_checked_at = NULL, next_attempt_at = EXCLUDED.next_attempt_at, taken_by = NULL, created_by = EXCLUDED.created_by,
                 created_at = EXCLUDED.created_at
             RETURNING {}",
            json_columns(COLUMNS)
        );
        let MailboxSettings { host, port, username, tls, folder, address, .. } = new.settings;
        let (port, sealed) = (port.to_string(), bytea(new.password));
        let (validity, last) = (new.position.uid_validity.to_string(), new.position.last_uid.to_string());
        let params = [
            Some(new.workspace_id),
            Some(host),
            Some(&port),
            Some(username),
            Some(&sealed),
            Some(tls.name()),
            Some(folder),
            address.as_deref(),
            Some(&validity),
            Some(&last),
            Some(new.actor),
            Some(new.now),
        ];
        Ok(found(self.query(&sql, &params).await?))
    }

    /// Disconnects the mailbox of a workspace. Returns whether there was one.
    pub async fn remove_mailbox(&mut self, workspace_id: &str) -> Result<bool, Fault> {
        let sql = "DELETE FROM mailboxes WHERE workspace_id = $1 RETURNING workspace_id";
        Ok(!self.query(sql, &[Some(workspace_id)]).await?.is_empty())
    }
}
