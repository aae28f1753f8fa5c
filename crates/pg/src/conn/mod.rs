//! A connection in text mode over the extended protocol: one write and one round trip per request.
//!
//! It knows nothing of who may do what. It takes care that whoever shares it next finds it as it was: a
//! connection whose request was given up half-way never claims to be clean.

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

/// Who logs in to what.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The role.
    pub user: &'a str,
    /// Its password; empty where the server asks for none.
    pub password: &'a str,
    /// The database.
    pub database: &'a str,
    /// Settings for the startup packet. They beat what ALTER ROLE set, and DISCARD ALL returns to them.
    /// `client_encoding` is always UTF8.
    pub settings: &'a [(&'a str, &'a str)],
}

/// The form of the cells of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What `to_jsonb` gives.
    Json,
    /// The server's text.
    Text,
}

/// What a request's statements are run inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One implicit transaction.
    Implicit,
    /// BEGIN READ ONLY, SELECT 1 (after which the transaction can't be made to write), the statements, ROLLBACK.
    ReadOnly,
}

/// A statement of a request.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// One statement, with `$1 …` for its parameters. It is what the statement cache goes by.
    pub sql: &'a str,
    /// The parameters in text form; their types are inferred by the server.
    pub params: &'a [Option<Cow<'a, str>>],
    /// The form of its cells.
    pub format: Format,
    /// What is wanted of its rows.
    pub want: Want,
}

/// What is wanted of a statement's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing.
    Nothing,
    /// As many as the caps leave.
    Rows,
    /// All of them, up to so many bytes: with more the request fails, and what could still be taken back is.
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
    /// Bytes of cells after which the result is cut. At most 1 GiB is possible.
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

/// What a statement gave.
#[derive(Debug)]
pub struct Outcome {
    /// Its rows.
    pub rows: Rows,
    /// The command tag: `INSERT 0 1`. Of a result that was cut, the command without a count; empty for an empty
    /// statement.
    pub tag: String,
    /// Whether the result was cut.
    pub truncated: Option<Truncated>,
}

impl Outcome {
    /// The tag without its counts: `INSERT`, `CREATE TABLE`.
    pub fn command(&self) -> &str {
        self.tag.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ')
    }

    /// How many rows the tag says were returned or affected.
    pub fn affected(&self) -> Option<u64> {
        self.tag.rsplit(' ').next()?.parse().ok()
    }
}

/// What the server says about a statement before it runs.
#[derive(Clone, Debug)]
pub struct Description {
    /// The OIDs of its parameters' types.
    pub params: Vec<u32>,
    /// Its columns; none where it gives no rows.
    pub columns: Arc<[Column]>,
}

/// The frame of a [`Tx`].
#[derive(Clone, Copy, Debug)]
pub enum Begin<'a> {
    /// None at all: exactly one statement may follow and runs by itself (VACUUM, CREATE INDEX CONCURRENTLY).
    Bare,
    /// BEGIN, then the preludes, whose rows are dropped.
    ReadWrite(&'a [Statement<'a>]),
    /// BEGIN READ ONLY, SELECT 1, then the preludes.
    ReadOnly(&'a [Statement<'a>]),
}

/// What is taken back of a session before its next use.
#[derive(Clone, Debug)]
pub enum Reset {
    /// All that a session can hold, advisory locks excepted.
    Full,
    /// Settings, roles, cursors, LISTEN and the values of sequences. Prepared statements and temporary tables stay, so this is for
    /// sessions in which nobody can have made any.
    Light(Option<Doubt>),
}

/// A question to the server at the end of a light reset: whether the session may hold more than such a reset takes back.
#[derive(Clone, Debug)]
pub struct Doubt {
    /// A query with one row of one boolean. Where it is true, a full reset follows.
    pub sql: &'static str,
    /// The value of `$1`.
    pub param: String,
}

/// A reset that was sent and whose end has not been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resetting {
    Full,
    Light {
        /// Its number of statements.
        steps: usize,
        /// A full one must follow in any case.
        is_too_little: bool,
    },
}

/// A connection that is logged in.
pub struct Conn {
    wire: Wire,
    pid: i32,
    /// What the last ReadyForQuery said: `I` idle, `T` in a transaction, `E` in a failed one.
    status: u8,
    /// A request was begun, and its end has not been read.
    busy: bool,
    /// The socket or the protocol is lost.
    broken: bool,
    /// Bytes of rows for which no room was asked yet.
    unpaid: usize,
    /// The reset that goes out together with the end of the next transaction.
    at_end: Option<Reset>,
    resetting: Option<Resetting>,
    settings: Settings,
    statements: Statements,
}

/// What ends a query that is sent.
#[derive(Clone, Copy, PartialEq)]
enum Boundary {
    /// Sync: it is a transaction of its own.
    Sync,
    /// Flush: it is inside of one.
    Flush,
}

impl Conn {
    /// The process id of its backend.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// True where no request is half done and no transaction is open.
    pub fn is_clean(&self) -> bool {
        !self.broken && !self.busy && self.status == b'I'
    }

    /// True while a setting that answers depend on (DateStyle, TimeZone, search_path …) is not as it was at
    /// log-in, by the server's last report.
    pub fn is_altered(&self) -> bool {
        self.settings.are_altered()
    }

    /// Sends the reset together with the end of the next transaction, in a transaction of its own, so that no round trip is made
    /// for it. The next call must be [`Conn::ready`] or [`Conn::reset`], which read its end.
    pub fn reset_at_end(&mut self, reset: Reset) {
        self.at_end = Some(reset);
    }

    /// True if a reset was asked for at the end of a transaction, and no transaction has ended since.
    pub fn owes_reset(&self) -> bool {
        self.at_end.is_some()
    }

    /// True while a light reset is under way. The connection can be put away; [`Conn::ready`] reads how the reset ended.
    pub fn is_in_light_reset(&self) -> bool {
        matches!(self.resetting, Some(Resetting::Light { .. }))
    }

    /// Ends the waits of this connection when the alarm says so. With none, a wait is for as long as the socket holds.
    pub(crate) fn set_alarm(&mut self, alarm: Option<Arc<Alarm>>) {
        self.wire.set_alarm(alarm);
    }

    /// False once the connection is lost. Also looks, without waiting, whether the server closed it while it was
    /// idle.
    pub fn is_alive(&mut self) -> bool {
        if !self.broken && !self.busy {
            // What comes unasked for is notices and settings; an error is a good-bye.
            let is_error = |tag| tag == postgres_protocol::message::backend::ERROR_RESPONSE_TAG;
            self.broken = self.wire.glance().is_none_or(|mut tags| tags.any(is_error));
        }
        !self.broken
    }

    /// To be called before the first byte of a request is written.
    fn begin_request(&mut self) -> Result<(), Error> {
        if self.is_clean() && self.resetting.is_none() {
            self.busy = true;
            return Ok(());
        }
        Err(Error::Protocol("a request on a connection that is not clean".into()))
    }

    /// To be called when the last ReadyForQuery of a request was read.
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
