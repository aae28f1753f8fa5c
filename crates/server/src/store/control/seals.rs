//! The sealed secrets of the control database: which key has sealed them, and sealing them again after the key was replaced.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use pg::{Conn, Error};

use crate::store::control::{Control, bytea};
use crate::store::seal::{KEY_ID_AT, KeyId, Sealer};

/// A column of sealed secrets.
struct SealedColumn {
    /// What the secrets are.
    what: &'static str,
    table: &'static str,
    column: &'static str,
    /// What a secret is bound to, as SQL. The rooms that seal say the same.
    about: &'static str,
    /// How many are sealed again at once. Messages can be large.
    at_once: u32,
}

const SEALED: &[SealedColumn] = &[
    SealedColumn { what: "webhooks", table: "webhook_endpoints", column: "secret", about: "id", at_once: 100 },
    SealedColumn { what: "webhooks", table: "webhook_endpoints", column: "old_secret", about: "id", at_once: 100 },
    SealedColumn {
        what: "e-mail integrations",
        table: "email_integrations",
        column: "settings",
        about: "'email integration ' || workspace_id",
        at_once: 100,
    },
    SealedColumn {
        what: "e-mail integrations",
        table: "email_integrations",
        column: "webhook_secret",
        about: "'inbound webhook ' || workspace_id",
        at_once: 100,
    },
    SealedColumn {
        what: "mailboxes",
        table: "mailboxes",
        column: "password",
        about: "'mailbox ' || workspace_id",
        at_once: 100,
    },
    SealedColumn {
        what: "queued e-mails",
        table: "outgoing_emails",
        column: "message",
        about: "'email ' || workspace_id || ' ' || id",
        at_once: 1,
    },
    SealedColumn {
        what: "replies to keyed requests",
        table: "idempotent_replies",
        column: "body",
        about: "'reply ' || workspace_id || ' ' || mode",
        at_once: 100,
    },
];

/// How many secrets of a kind each key has sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealCounts {
    /// The kind.
    pub what: &'static str,
    /// All of them.
    pub all: i64,
    /// Those that the key of before has sealed.
    pub by_old_key: i64,
    /// Those that a key has sealed which is not known.
    pub by_unknown_key: i64,
}

/// The id of the key in a column, as SQL.
fn key_id_of(column: &str) -> String {
    let (from, len) = KEY_ID_AT;
    format!("substring({column} FROM {from} FOR {len})")
}

impl Control {
    /// Seals all secrets with the present key that another key has sealed. What can't be opened stays as it is.
    pub(in crate::store) async fn seal_again(&self, sealer: &Sealer) -> Result<(), Error> {
        for column in SEALED {
            let (sealed, lost) = self.seal_column_again(column, sealer).await?;
            let SealedColumn { what, .. } = column;
            if sealed > 0 {
                tracing::info!(what, sealed, "sealed secrets with the new secret key");
            }
            if lost > 0 {
                tracing::warn!(what, lost, "secrets can't be opened: another secret key has sealed them");
            }
        }
        Ok(())
    }

    /// Returns how many were sealed again, and how many can't be opened.
    async fn seal_column_again(&self, column: &SealedColumn, sealer: &Sealer) -> Result<(u64, u64), Error> {
        let SealedColumn { table, column, about, at_once, .. } = column;
        // Each row is looked at once. Its place changes when it is written, and it then has the present key.
        let find = format!(
            "SELECT ctid::text AS place, {about} AS about, encode({column}, 'base64') AS sealed FROM {table}
             WHERE {column} IS NOT NULL AND {} <> $1::bytea AND ctid > $2::tid ORDER BY ctid LIMIT {at_once}",
            key_id_of(column)
        );
        // A row that somebody else has written meanwhile has the present key too.
        let write = format!("UPDATE {table} SET {column} = $2::bytea WHERE ctid = $1::tid AND {column} = $3::bytea");
        let (key_id, mut after) = (bytea(&sealer.key_id()), "(0,0)".to_owned());
        let (mut done, mut lost) = (0, 0);
        loop {
            let rows = self.try_query(&find, &[Some(&key_id), Some(&after)]).await?;
            if rows.is_empty() {
                return Ok((done, lost));
            }
            for row in 0..rows.len() {
                after = rows.get(row, "place")?;
                let (about, text): (String, String) = (rows.get(row, "about")?, rows.get(row, "sealed")?);
                let sealed =
                    STANDARD.decode(text.replace('\n', "")).map_err(|error| Error::Config(error.to_string()))?;
                match sealer.open(&about, &sealed) {
                    Ok(secret) => {
                        let new = bytea(&sealer.seal(&about, &secret));
                        self.try_query(&write, &[Some(&after), Some(&new), Some(&bytea(&sealed))]).await?;
                        done += 1;
                    }
                    Err(_) => lost += 1,
                }
            }
        }
    }
}

/// Counts the sealed secrets, in a session that sees the control database's tables. A table that does not exist yet has none.
pub async fn seal_counts(conn: &mut Conn, current: KeyId, old: Option<KeyId>) -> Result<Vec<SealCounts>, Error> {
    let mut counts: Vec<SealCounts> = Vec::new();
    let (current, old) = (bytea(&current), bytea(&old.unwrap_or(current)));
    for SealedColumn { what, table, column, .. } in SEALED {
        let exists = "SELECT FROM information_schema.columns WHERE table_schema = 'public' AND (table_name, column_name) = ($1, $2)";
        if conn.query(exists, &[Some(table), Some(column)]).await?.is_empty() {
            continue;
        }
        let sql = format!(
            "SELECT count(*) AS all, count(*) FILTER (WHERE {id} = $2::bytea AND {id} <> $1::bytea) AS by_old_key,
                    count(*) FILTER (WHERE {id} NOT IN ($1::bytea, $2::bytea)) AS by_unknown_key
             FROM public.{table} WHERE {column} IS NOT NULL",
            id = key_id_of(column)
        );
        let rows = conn.query(&sql, &[Some(&current), Some(&old)]).await?;
        let counted = |name: &str| rows.get::<i64>(0, name);
        let of = SealCounts {
            what,
            all: counted("all")?,
            by_old_key: counted("by_old_key")?,
            by_unknown_key: counted("by_unknown_key")?,
        };
        match counts.iter_mut().find(|it| it.what == *what) {
            Some(same) => {
                same.all += of.all;
                same.by_old_key += of.by_old_key;
                same.by_unknown_key += of.by_unknown_key;
            }
            None => counts.push(of),
        }
    }
    Ok(counts)
}
