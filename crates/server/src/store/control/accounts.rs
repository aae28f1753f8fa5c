//! The control plane's statements about people: accounts, sessions, failed log-ins, letters.
//!
//! What must hold together is one statement: it happens whole or not at all, whoever else is at it.

use std::str::FromStr;

use pg::Error;
use pg::rows::Rows;

use crate::store::cell::secrets::hex;
use crate::store::control::Control;
use crate::store::control::identities::{CHANGED_IF_UNPROVEN, ends_of_unproven};
use crate::store::control::lists::{First, List};

/// Somebody with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// `u_…`
    pub id: String,
    /// The e-mail address, in lower case.
    pub email: String,
    /// What they are called.
    pub name: Option<String>,
    /// Whether the address is known to be theirs.
    pub email_verified: bool,
    /// When the account was made, Unix seconds.
    pub created_at: i64,
}

/// An account with what proves that somebody may use it. The hash is no secret, but nothing for a log either.
pub struct Account {
    /// Whose it is.
    pub user: Person,
    /// Argon2id in PHC form; nothing for who signs in elsewhere only.
    pub password_hash: Option<String>,
}

/// An account that is about to be.
pub struct NewAccount<'a> {
    /// `u_…`
    pub id: &'a str,
    /// The e-mail address, in lower case.
    pub email: &'a str,
    /// What they are called.
    pub name: Option<&'a str>,
    /// Argon2id in PHC form.
    pub password_hash: &'a str,
}

/// A session that is about to be.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// `ses_…`
    pub id: &'a str,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// The program that asked for it.
    pub user_agent: Option<&'a str>,
    /// Where it was asked for.
    pub address: Option<&'a str>,
    /// Now, Unix seconds.
    pub now: i64,
    /// When it ends unless used, Unix seconds.
    pub expires_at: i64,
}

/// A letter that is about to be queued.
#[derive(Debug)]
pub struct NewLetter<'a> {
    /// `mail_…`
    pub id: &'a str,
    /// `verify_email` or `reset_password`
    pub letter: &'a str,
    /// Where its links lead.
    pub public_url: &'a str,
    /// Now, Unix seconds.
    pub now: i64,
}

/// A session that works.
#[derive(Clone, Debug)]
pub struct Session {
    /// `ses_…`
    pub id: String,
    /// Whose it is.
    pub user: Person,
    /// When it was last seen to be used, Unix seconds.
    pub last_used_at: i64,
    /// When it ends unless used, Unix seconds.
    pub expires_at: i64,
}

/// A person's sessions that work, now being `$5` in seconds and the one that was shown `$6`.
pub static SESSIONS: List = List {
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

/// A letter that is due.
#[derive(Debug)]
pub struct DueLetter {
    /// `mail_…`
    pub id: String,
    /// `verify_email`, `reset_password` or `invite`
    pub letter: String,
    /// The account that it is about, `u_…`, or the invitation, `inv_…`.
    pub about: String,
    /// The address that it goes to.
    pub email: String,
    /// Where its links lead.
    pub public_url: String,
    /// How often it was tried, this time included.
    pub attempts: i32,
}

/// A row's columns as a [`Person`], wherever `users` is called `u`.
pub(super) const USER: &str =
    "u.id AS user_id, u.email, u.name, (u.email_verified_at IS NOT NULL)::text AS email_verified,
                    extract(epoch FROM u.created_at)::bigint AS user_created_at";

/// Letters of one kind that an account may get in a while.
const MAX_LETTERS: i64 = 3;

impl Control {
    /// Makes an account with a first session, and queues a letter to it. False where the address is taken.
    pub async fn create_account(
        &self,
        new: &NewAccount<'_>,
        session: &NewSession<'_>,
        letter: &NewLetter<'_>,
    ) -> Result<bool, Error> {
        let (now, expires_at) = (session.now.to_string(), session.expires_at.to_string());
        let token_hash = bytea(&session.token_hash);
        let rows = self
            .query(
                "WITH person AS (
                     INSERT INTO users (id, email, name, password_hash, created_at)
                     VALUES ($1, $2, $3, $4, to_timestamp($5::bigint)) ON CONFLICT (email) DO NOTHING RETURNING id),
                 session AS (
                     INSERT INTO sessions (id, user_id, token_hash, user_agent, address, created_at, last_used_at, expires_at)
                     SELECT $6, id, $7::bytea, $8, $9, to_timestamp($5::bigint), to_timestamp($5::bigint), to_timestamp($10::bigint)
                     FROM person),
                 letter AS (
                     INSERT INTO outgoing_mail (id, letter, user_id, public_url, created_at)
                     SELECT $11, $12, id, $13, to_timestamp($5::bigint) FROM person)
                 SELECT id FROM person",
                &[
                    Some(new.id),
                    Some(new.email),
                    new.name,
                    Some(new.password_hash),
                    Some(&now),
                    Some(session.id),
                    Some(&token_hash),
                    session.user_agent,
                    session.address,
                    Some(&expires_at),
                    Some(letter.id),
                    Some(letter.letter),
                    Some(letter.public_url),
                ],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    /// The account with this e-mail address.
    pub async fn account_of_email(&self, email: &str) -> Result<Option<Account>, Error> {
        let sql = format!("SELECT {USER}, u.password_hash FROM users AS u WHERE u.email = $1");
        account(&self.query(&sql, &[Some(email)]).await?)
    }

    /// The account of a person.
    pub async fn account_of_user(&self, user_id: &str) -> Result<Option<Account>, Error> {
        let sql = format!("SELECT {USER}, u.password_hash FROM users AS u WHERE u.id = $1");
        account(&self.query(&sql, &[Some(user_id)]).await?)
    }

    /// Begins a session.
    pub async fn create_session(&self, user_id: &str, new: &NewSession<'_>) -> Result<(), Error> {
        let (now, expires_at, token_hash) = (new.now.to_string(), new.expires_at.to_string(), bytea(&new.token_hash));
        self.query(
            "INSERT INTO sessions (id, user_id, token_hash, user_agent, address, created_at, last_used_at, expires_at)
             VALUES ($1, $2, $3::bytea, $4, $5, to_timestamp($6::bigint), to_timestamp($6::bigint), to_timestamp($7::bigint))",
            &[
                Some(new.id),
                Some(user_id),
                Some(&token_hash),
                new.user_agent,
                new.address,
                Some(&now),
                Some(&expires_at),
            ],
        )
        .await
        .map(drop)
    }

    /// The session of a token, by its hash, if it works at this moment.
    pub async fn session(&self, token_hash: &[u8; 32], now: i64) -> Result<Option<Session>, Error> {
        let sql = format!(
            "SELECT s.id AS session_id, extract(epoch FROM s.last_used_at)::bigint AS last_used_at,
                    extract(epoch FROM s.expires_at)::bigint AS expires_at, {USER}
             FROM sessions AS s JOIN users AS u ON u.id = s.user_id
             WHERE s.token_hash = $1::bytea AND s.revoked_at IS NULL AND s.expires_at > to_timestamp($2::bigint)"
        );
        let rows = self.query(&sql, &[Some(&bytea(token_hash)), Some(&now.to_string())]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let (last_used_at, expires_at) = (rows.get(0, "last_used_at")?, rows.get(0, "expires_at")?);
        Ok(Some(Session { id: rows.get(0, "session_id")?, user: user(&rows, 0)?, last_used_at, expires_at }))
    }

    /// Notes that a session is used, and puts its end off.
    pub async fn prolong_session(&self, id: &str, now: i64, expires_at: i64) -> Result<(), Error> {
        let sql = "UPDATE sessions SET last_used_at = to_timestamp($2::bigint), expires_at = to_timestamp($3::bigint)
                   WHERE id = $1 AND revoked_at IS NULL";
        self.query(sql, &[Some(id), Some(&now.to_string()), Some(&expires_at.to_string())]).await.map(drop)
    }

    /// Ends a person's session. False where there is none of that id that works.
    pub async fn end_session(&self, user_id: &str, id: &str, now: i64) -> Result<bool, Error> {
        let sql = "UPDATE sessions SET revoked_at = to_timestamp($3::bigint)
                   WHERE id = $2 AND user_id = $1 AND revoked_at IS NULL AND expires_at > to_timestamp($3::bigint)
                   RETURNING id";
        let rows = self.query(sql, &[Some(user_id), Some(id), Some(&now.to_string())]).await?;
        Ok(!rows.is_empty())
    }

    /// Gives an account another password and ends its sessions but one. False where the account is gone, or its
    /// password is no longer what it was.
    pub async fn change_password(
        &self,
        user_id: &str,
        (old_hash, new_hash): (&str, &str),
        keep: Option<&str>,
        now: i64,
    ) -> Result<bool, Error> {
        let rows = self
            .query(
                "WITH person AS (
                     UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 RETURNING id),
                 ended AS (
                     UPDATE sessions SET revoked_at = to_timestamp($5::bigint)
                     WHERE user_id = (SELECT id FROM person) AND id IS DISTINCT FROM $4 AND revoked_at IS NULL),
                 spent AS (
                     UPDATE mail_tokens SET used_at = to_timestamp($5::bigint)
                     WHERE user_id = (SELECT id FROM person) AND purpose = 'reset_password' AND used_at IS NULL)
                 SELECT id FROM person",
                &[Some(user_id), Some(old_hash), Some(new_hash), keep, Some(&now.to_string())],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    /// When the last of ten failures among these subjects happened that lock one of them, Unix seconds: the tenth newest
    /// since a moment.
    pub async fn locking_failure(&self, subjects: &[String], most: u32, since: i64) -> Result<Option<i64>, Error> {
        let rows = self
            .query(
                "SELECT max(at) AS at FROM (
                     SELECT extract(epoch FROM failed_at)::bigint AS at,
                            row_number() OVER (PARTITION BY subject ORDER BY failed_at DESC) AS place
                     FROM login_failures WHERE subject = ANY ($1::text[]) AND failed_at > to_timestamp($3::bigint)) AS failures
                 WHERE place = $2::bigint",
                &[Some(&text_array(subjects)), Some(&most.to_string()), Some(&since.to_string())],
            )
            .await?;
        optional(&rows, 0, "at")
    }

    /// Notes a failed log-in of each of these subjects.
    pub async fn note_failure(&self, subjects: &[String], now: i64) -> Result<(), Error> {
        let sql = "INSERT INTO login_failures (subject, failed_at)
                   SELECT subject, to_timestamp($2::bigint) FROM unnest($1::text[]) AS subject";
        self.query(sql, &[Some(&text_array(subjects)), Some(&now.to_string())]).await.map(drop)
    }

    /// Forgets a subject's failed log-ins.
    pub async fn forget_failures(&self, subject: &str) -> Result<(), Error> {
        self.query("DELETE FROM login_failures WHERE subject = $1", &[Some(subject)]).await.map(drop)
    }

    /// Queues a letter, unless the account got several of the kind since a moment.
    pub async fn queue_letter(&self, user_id: &str, new: &NewLetter<'_>, since: i64) -> Result<(), Error> {
        self.query(
            "INSERT INTO outgoing_mail (id, letter, user_id, public_url, created_at)
             SELECT $1, $2, $3, $4, to_timestamp($5::bigint)
             WHERE (SELECT count(*) FROM outgoing_mail WHERE user_id = $3 AND letter = $2)
                 + (SELECT count(*) FROM mail_tokens
                    WHERE user_id = $3 AND purpose = $2 AND created_at > to_timestamp($6::bigint)) < $7::bigint",
            &[
                Some(new.id),
                Some(new.letter),
                Some(user_id),
                Some(new.public_url),
                Some(&new.now.to_string()),
                Some(&since.to_string()),
                Some(&MAX_LETTERS.to_string()),
            ],
        )
        .await
        .map(drop)
    }

    /// Takes a letter that is due, so that nobody else takes it before `next_attempt_at`.
    pub async fn take_letter(&self, now: i64, retry_seconds: i64) -> Result<Option<DueLetter>, Error> {
        let rows = self
            .query(
                "WITH due AS (
                     SELECT id FROM outgoing_mail WHERE next_attempt_at <= to_timestamp($1::bigint)
                     ORDER BY next_attempt_at, created_at FOR UPDATE SKIP LOCKED LIMIT 1),
                 addressed AS (
                     SELECT m.id, COALESCE(u.email, i.email) AS email FROM due JOIN outgoing_mail AS m ON m.id = due.id
                     LEFT JOIN users AS u ON u.id = m.user_id LEFT JOIN invites AS i ON i.id = m.invite_id)
                 UPDATE outgoing_mail AS m
                 SET attempts = attempts + 1,
                     next_attempt_at = to_timestamp($1::bigint) + make_interval(secs => $2::float8 * 2 ^ attempts)
                 FROM addressed AS a WHERE m.id = a.id
                 RETURNING m.id, m.letter, COALESCE(m.user_id, m.invite_id) AS about, a.email, m.public_url, m.attempts",
                &[Some(&now.to_string()), Some(&retry_seconds.to_string())],
            )
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(Some(DueLetter {
            id: rows.get(0, "id")?,
            letter: rows.get(0, "letter")?,
            about: rows.get(0, "about")?,
            email: rows.get(0, "email")?,
            public_url: rows.get(0, "public_url")?,
            attempts: rows.get(0, "attempts")?,
        }))
    }

    /// Takes a letter off the queue: it is sent, or never will be.
    pub async fn drop_letter(&self, id: &str) -> Result<(), Error> {
        self.query("DELETE FROM outgoing_mail WHERE id = $1", &[Some(id)]).await.map(drop)
    }

    /// Keeps the hash of a token that goes out in a letter.
    pub async fn keep_mail_token(
        &self,
        token_hash: &[u8; 32],
        user_id: &str,
        purpose: &str,
        (now, expires_at): (i64, i64),
    ) -> Result<(), Error> {
        self.query(
            "INSERT INTO mail_tokens (token_hash, user_id, purpose, created_at, expires_at)
             VALUES ($1::bytea, $2, $3, to_timestamp($4::bigint), to_timestamp($5::bigint))",
            &[
                Some(&bytea(token_hash)),
                Some(user_id),
                Some(purpose),
                Some(&now.to_string()),
                Some(&expires_at.to_string()),
            ],
        )
        .await
        .map(drop)
    }

    /// Uses a token from a letter: the address is its owner's. Nothing where the token does not work.
    pub async fn verify_email(&self, token_hash: &[u8; 32], now: i64) -> Result<Option<Person>, Error> {
        let sql = format!(
            "WITH used AS (
                 UPDATE mail_tokens SET used_at = to_timestamp($2::bigint)
                 WHERE token_hash = $1::bytea AND purpose = 'verify_email' AND used_at IS NULL
                   AND expires_at > to_timestamp($2::bigint) RETURNING user_id)
             UPDATE users AS u SET email_verified_at = coalesce(email_verified_at, to_timestamp($2::bigint))
             FROM used WHERE u.id = used.user_id RETURNING {USER}"
        );
        let rows = self.query(&sql, &[Some(&bytea(token_hash)), Some(&now.to_string())]).await?;
        if rows.is_empty() { Ok(None) } else { user(&rows, 0).map(Some) }
    }

    /// Whether a token would give an account another password, and which account.
    pub async fn account_of_reset(&self, token_hash: &[u8; 32], now: i64) -> Result<Option<Account>, Error> {
        let sql = format!(
            "SELECT {USER}, u.password_hash FROM mail_tokens AS t JOIN users AS u ON u.id = t.user_id
             WHERE t.token_hash = $1::bytea AND t.purpose = 'reset_password' AND t.used_at IS NULL
               AND t.expires_at > to_timestamp($2::bigint)"
        );
        account(&self.query(&sql, &[Some(&bytea(token_hash)), Some(&now.to_string())]).await?)
    }

    /// Uses a token from a letter: the account gets another password, its sessions but one end, the other such letters
    /// are void, and the address is its owner's, who has read the letter. If nobody had proven that, all else by which
    /// somebody may have come to the account ends too. Nothing where the token does not work.
    pub async fn reset_password(
        &self,
        token_hash: &[u8; 32],
        password_hash: &str,
        keep: Option<&str>,
        now: i64,
    ) -> Result<Option<Person>, Error> {
        let ends = ends_of_unproven("to_timestamp($4::bigint)");
        let sql = format!(
            "WITH used AS (
                 UPDATE mail_tokens SET used_at = to_timestamp($4::bigint)
                 WHERE token_hash = $1::bytea AND purpose = 'reset_password' AND used_at IS NULL
                   AND expires_at > to_timestamp($4::bigint) RETURNING user_id),
             unproven AS (
                 SELECT u.id FROM users AS u JOIN used ON used.user_id = u.id WHERE u.email_verified_at IS NULL),
             {ends},
             void AS (
                 UPDATE mail_tokens SET used_at = to_timestamp($4::bigint)
                 WHERE user_id = (SELECT user_id FROM used) AND purpose = 'reset_password' AND used_at IS NULL
                   AND token_hash <> $1::bytea),
             ended AS (
                 UPDATE sessions SET revoked_at = to_timestamp($4::bigint)
                 WHERE user_id = (SELECT user_id FROM used) AND id IS DISTINCT FROM $3 AND revoked_at IS NULL)
             UPDATE users AS u
             SET password_hash = $2, email_verified_at = coalesce(email_verified_at, to_timestamp($4::bigint))
             FROM used WHERE u.id = used.user_id RETURNING {USER}, {CHANGED_IF_UNPROVEN}"
        );
        let params = [Some(&*bytea(token_hash)), Some(password_hash), keep, Some(&*now.to_string())];
        let rows = self.query(&sql, &params).await?;
        if rows.is_empty() { Ok(None) } else { user(&rows, 0).map(Some) }
    }

    /// Forgets what was over before a moment: sessions, tokens of letters, failed log-ins.
    pub async fn sweep_accounts(&self, before: i64) -> Result<(), Error> {
        let before = before.to_string();
        for sql in [
            "DELETE FROM sessions WHERE expires_at < to_timestamp($1::bigint) OR revoked_at < to_timestamp($1::bigint)",
            "DELETE FROM mail_tokens WHERE expires_at < to_timestamp($1::bigint)",
            "DELETE FROM login_failures WHERE failed_at < to_timestamp($1::bigint)",
        ] {
            self.query(sql, &[Some(&before)]).await?;
        }
        // Of these nothing is worth keeping.
        self.query("DELETE FROM sign_ins WHERE expires_at < now()", &[]).await.map(drop)
    }
}

fn account(rows: &Rows) -> Result<Option<Account>, Error> {
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(Account { user: user(rows, 0)?, password_hash: optional(rows, 0, "password_hash")? }))
}

pub(super) fn user(rows: &Rows, row: usize) -> Result<Person, Error> {
    Ok(Person {
        id: rows.get(row, "user_id")?,
        email: rows.get(row, "email")?,
        name: optional(rows, row, "name")?,
        email_verified: rows.get(row, "email_verified")?,
        created_at: rows.get(row, "user_created_at")?,
    })
}

/// A value that may be NULL.
fn optional<T: FromStr>(rows: &Rows, row: usize, name: &str) -> Result<Option<T>, Error> {
    let is_there =
        rows.columns().iter().position(|column| *column.name == *name).and_then(|at| rows.text(row, at)).is_some();
    if is_there { rows.get(row, name).map(Some) } else { Ok(None) }
}

/// Texts as an array's literal.
fn text_array(texts: &[String]) -> String {
    let quoted = texts.iter().map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")));
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

/// Bytes as a bytea literal's text.
pub(super) fn bytea(bytes: &[u8]) -> String {
    format!("\\x{}", hex(bytes))
}
