//! A connection in text mode over the extended protocol: one write and one round trip per request.
//!
//! It does not know who may do what. It guarantees that the next user of the connection finds it unchanged: a connection
//! whose request was abandoned never reports that it is clean.

mod admin;
mod collect;
mod command;
mod open;
mod reply;
mod run;
mod settings;
mod statements;
mod stream;
mod tx;
mod wire;

use std::borrow::Cow;
use std::sync::Arc;

use crate::alarm::Alarm;
use crate::error::Error;
pub use crate::rows::{Column, Rows};
use settings::Settings;
use statements::Statements;
pub use tx::Tx;
use wire::Wire;

/// The role, password and database of a log-in.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The role.
    pub user: &'a str,
    /// Its password. Empty if the server requires none.
    pub password: &'a str,
    /// The database.
    pub database: &'a str,
    /// Settings for the startup packet. They override those of ALTER ROLE, and DISCARD ALL restores them. `client_encoding`
    /// is always UTF8.
    pub settings: &'a [(&'a str, &'a str)],
}

/// The form of a result's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As `to_jsonb` returns it.
    Json,
    /// The server's text form.
    Text,
}

/// The transaction that a request's statements run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One implicit transaction.
    Implicit,
    /// BEGIN READ ONLY, SELECT 1 (after which the transaction can't become a writing one), the statements, ROLLBACK.
    ReadOnly,
    /// BEGIN, the statements, ROLLBACK.
    RolledBack,
}

/// A statement of a request.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// One statement, with `$1 …` for its parameters. It is the key of the statement cache.
    pub sql: &'a str,
    /// The parameters in text form. The server infers their types.
    pub params: &'a [Option<Cow<'a, str>>],
    /// The form of the cells.
    pub format: Format,
    /// What the caller wants of the rows.
    pub want: Want,
}

/// What the caller wants of a statement's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing.
    Nothing,
    /// As many as the caps allow.
    Rows,
    /// All rows, up to this many bytes. If there are more, the request fails, and is rolled back if that is still possible.
    Whole {
        /// Bytes of cells.
        max_bytes: usize,
    },
}

/// Limits of one statement's result.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Rows after which the result is cut.
    pub max_rows: usize,
    /// Bytes of cells after which the result is cut. The maximum is 1 GiB.
    pub max_bytes: usize,
    /// Bytes of a single value, as text or as JSON, above which the request fails.
    pub max_value_bytes: usize,
}

/// Why a result was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncated {
    /// There were more than `Caps::max_rows`.
    Rows,
    /// There was more than `Caps::max_bytes`.
    Bytes,
}

/// The result of a statement.
#[derive(Debug)]
pub struct Outcome {
    /// The rows.
    pub rows: Rows,
    /// The command tag: `INSERT 0 1`. For a cut result it is the command without a count; for an empty statement it is
    /// empty.
    pub tag: String,
    /// Whether the result was cut.
    pub truncated: Option<Truncated>,
}

impl Outcome {
    /// The tag without its counts: `INSERT`, `CREATE TABLE`.
    pub fn command(&self) -> &str {
        self.tag.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ')
    }

    /// The number of rows returned or affected, according to the tag.
    pub fn affected(&self) -> Option<u64> {
        self.tag.rsplit(' ').next()?.parse().ok()
    }
}

/// The server's description of a statement before it runs.
#[derive(Clone, Debug)]
pub struct Description {
    /// The OIDs of its parameters' types.
    pub params: Vec<u32>,
    /// Its columns. Empty if it returns no rows.
    pub columns: Arc<[Column]>,
}

/// How a [`Tx`] begins.
#[derive(Clone, Copy, Debug)]
pub enum Begin<'a> {
    /// No transaction: exactly one statement may follow, and it runs by itself (VACUUM, CREATE INDEX CONCURRENTLY).
    Bare,
    /// BEGIN, then the preludes, whose rows are dropped.
    ReadWrite(&'a [Statement<'a>]),
    /// BEGIN READ ONLY, SELECT 1, then the preludes.
    ReadOnly(&'a [Statement<'a>]),
}

/// What a session's reset discards before the next use.
#[derive(Clone, Debug)]
pub enum Reset {
    /// All session state, except advisory locks.
    Full,
    /// Settings, roles, cursors, LISTEN and the values of sequences. Prepared statements and temporary tables remain, so
    /// this is for sessions in which no request can have created any.
    Light(Option<Doubt>),
}

/// A query at the end of a light reset that tells whether the session may hold more state than the light reset discards.
#[derive(Clone, Debug)]
pub struct Doubt {
    /// A query with one row of one boolean. If it is true, a full reset follows.
    pub sql: &'static str,
    /// The value of `$1`.
    pub param: String,
}

/// A reset that was sent and whose result has not been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resetting {
    Full,
    Light {
        /// Its number of statements.
        steps: usize,
        /// A full reset must follow in any case.
        is_too_little: bool,
    },
}

/// A connection that is logged in.
pub struct Conn {
    wire: Wire,
    pid: i32,
    /// The status of the last ReadyForQuery: `I` idle, `T` in a transaction, `E` in a failed one.
    status: u8,
    /// A request has begun and its end has not been read.
    busy: bool,
    /// The socket or the protocol is lost.
    broken: bool,
    /// Bytes of rows that have not been counted against the allowance yet.
    unpaid: usize,
    /// The reset that is sent together with the end of the next transaction.
    at_end: Option<Reset>,
    resetting: Option<Resetting>,
    settings: Settings,
    statements: Statements,
}

/// The message that ends a query.
#[derive(Clone, Copy, PartialEq)]
enum Boundary {
    /// Sync: the query is a transaction of its own.
    Sync,
    /// Flush: the query is part of a transaction.
    Flush,
}

impl Conn {
    /// The process id of its backend.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// True if no request is unfinished and no transaction is open.
    pub fn is_clean(&self) -> bool {
        !self.broken && !self.busy && self.status == b'I'
    }

    /// True while a setting that answers depend on (DateStyle, TimeZone, search_path …) differs from its value at log-in,
    /// according to the server's last report.
    pub fn is_altered(&self) -> bool {
        self.settings.are_altered()
    }

    /// Sends the reset together with the end of the next transaction, as a transaction of its own, which saves a round trip.
    /// The next call must be [`Conn::ready`] or [`Conn::reset`], which read its result.
    pub fn reset_at_end(&mut self, reset: Reset) {
        self.at_end = Some(reset);
    }

    /// True if a reset was requested for the end of a transaction, and no transaction has ended since.
    pub fn owes_reset(&self) -> bool {
        self.at_end.is_some()
    }

    /// True while a light reset is in progress. The connection can be returned to the pool; [`Conn::ready`] reads the
    /// reset's result.
    pub fn is_in_light_reset(&self) -> bool {
        matches!(self.resetting, Some(Resetting::Light { .. }))
    }

    /// Ends this connection's waits when the alarm goes off. Without an alarm, a wait lasts as long as the socket is open.
    pub(crate) fn set_alarm(&mut self, alarm: Option<Arc<Alarm>>) {
        self.wire.set_alarm(alarm);
    }

    /// False after the connection is lost. Also checks, without waiting, whether the server closed it while it was idle.
    pub fn is_alive(&mut self) -> bool {
        if !self.broken && !self.busy {
            // Unrequested messages are notices and settings. An error means that the server closes the connection.
            let is_error = |tag| tag == postgres_protocol::message::backend::ERROR_RESPONSE_TAG;
            self.broken = self.wire.glance().is_none_or(|mut tags| tags.any(is_error));
        }
        !self.broken
    }

    /// Must be called before the first byte of a request is written.
    fn begin_request(&mut self) -> Result<(), Error> {
        if self.is_clean() && self.resetting.is_none() {
            self.busy = true;
            return Ok(());
        }
        Err(Error::Protocol("a request on a connection that is not clean".into()))
    }

    /// Must be called after the last ReadyForQuery of a request is read.
    fn end_request(&mut self) {
        self.wire.shrink();
        self.unpaid = 0;
        self.busy = false;
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if self.is_clean() {
            self.wire.farewell();
        }
    }
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn").field("pid", &self.pid).field("clean", &self.is_clean()).finish()
    }
}
