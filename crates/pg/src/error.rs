//! What can go wrong between Kith and a PostgreSQL server, as one closed enum.
//!
//! It knows SQLSTATEs and protocol fields, but not what they mean to a caller of the product. Another module turns a
//! constraint's name into advice.

use std::fmt;
use std::time::Duration;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with an error.
    #[error("{0}")]
    Server(Box<ServerError>),
    /// The socket failed, or the server closed it.
    #[error("connection to PostgreSQL: {0}")]
    Io(#[from] std::io::Error),
    /// TLS could not be negotiated, or the certificate was not accepted.
    #[error("TLS: {0}")]
    Tls(String),
    /// The log-in could not be completed (a refusal by the server is [`Error::Server`]).
    #[error("authentication: {0}")]
    Auth(String),
    /// A URL, path or option is invalid. The text says which one and why.
    #[error("{0}")]
    Config(String),
    /// The server sent a message that is not allowed at this point. The connection is broken.
    #[error("protocol: {0}")]
    Protocol(String),
    /// A prepared statement is stale because a table changed under it, or because another statement dropped it. Nothing was
    /// done. The connection has dropped its statements and is usable: run the request again.
    #[error("a prepared statement went stale")]
    Stale,
    /// One value was larger than `Caps::max_value_bytes`; the transaction does not commit.
    #[error("a value is larger than {limit} bytes")]
    ValueTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// COPY was requested, which requires a direct connection.
    #[error("COPY is not available here")]
    Copy,
    /// The watchdog ended the connection because the deadline had passed.
    #[error("the deadline has passed")]
    DeadlineExceeded,
    /// The watchdog ended the connection before its deadline, because other requests waited for its place.
    #[error("ended after {after:?}, because others waited for a database connection")]
    GaveWay {
        /// How long it had been in use.
        after: Duration,
    },
    /// A backend of this database does not end although it was signalled. Until it does, no connection to the database is
    /// given.
    #[error("database {0} is suspended until a statement of it ends")]
    Suspended(String),
    /// The pool's queue is full, or no connection became free in time.
    #[error("{0}")]
    Busy(String),
}

/// An ErrorResponse of the server, field by field.
///
/// Source: PostgreSQL documentation, "Error and Notice Message Fields".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`, never translated.
    pub severity: String,
    /// The SQLSTATE, five characters.
    pub code: String,
    /// The primary message, in the server's `lc_messages`.
    pub message: String,
    /// The detail.
    pub detail: Option<String>,
    /// The hint.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<u32>,
    /// The call stack of functions and internal queries ("where").
    pub context: Option<String>,
    /// Schema of the object that the error is about.
    pub schema: Option<String>,
    /// Table that the error is about.
    pub table: Option<String>,
    /// Column that the error is about.
    pub column: Option<String>,
    /// Data type that the error is about.
    pub data_type: Option<String>,
    /// Constraint that the error is about.
    pub constraint: Option<String>,
    /// The C function that raised the error. For some errors it is the only identification that does not depend on
    /// `lc_messages`.
    pub routine: Option<String>,
}

impl ServerError {
    /// Reads the body of an ErrorResponse: (field type, text, NUL)*, NUL. For a truncated body it returns the fields that
    /// are present, the last one truncated.
    pub(crate) fn parse(body: &[u8]) -> ServerError {
        let mut error = ServerError::default();
        let mut rest = body;
        while let Some((&field, tail)) = rest.split_first() {
            if field == 0 {
                break;
            }
            let end = tail.iter().position(|byte| *byte == 0).unwrap_or(tail.len());
            let text = String::from_utf8_lossy(&tail[..end]).into_owned();
            rest = tail.get(end + 1..).unwrap_or_default();
            match field {
                b'V' => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'P' => error.position = text.parse().ok(),
                b'W' => error.context = Some(text),
                b's' => error.schema = Some(text),
                b't' => error.table = Some(text),
                b'c' => error.column = Some(text),
                b'd' => error.data_type = Some(text),
                b'n' => error.constraint = Some(text),
                b'R' => error.routine = Some(text),
                _ => {}
            }
        }
        error
    }

    /// An error that the server would have returned, found before anything was sent.
    pub(crate) fn local(code: &str, message: &str) -> ServerError {
        ServerError { severity: "ERROR".into(), code: code.into(), message: message.into(), ..ServerError::default() }
    }

    /// True if the server closes the connection after this error.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for ServerError {}

impl From<ServerError> for Error {
    fn from(error: ServerError) -> Error {
        Error::Server(Box::new(error))
    }
}

impl Error {
    /// What may be logged of an error in a tenant's session. Of a server's error this is only the SQLSTATE: PostgreSQL
    /// quotes values in its messages, and a tenant's code can raise any text.
    pub fn for_log(&self) -> String {
        match self {
            Error::Server(error) => format!("SQLSTATE {}", error.code),
            other => other.to_string(),
        }
    }

    /// The SQLSTATE, if the error is the server's.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Server(error) => Some(&error.code),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_a_cut_body_gives_what_is_there() {
        let body = b"SFEHLER\0VERROR\0C23505\0Mduplicate key\0nk_email\0P7\0\0";
        let error = ServerError::parse(body);
        assert_eq!((error.severity.as_str(), error.code.as_str()), ("ERROR", "23505"));
        assert_eq!(error.constraint.as_deref(), Some("k_email"));
        assert_eq!(error.position, Some(7));
        assert_eq!(ServerError::parse(&body[..26]).message, "dup");
        for end in 0..body.len() {
            ServerError::parse(&body[..end]);
        }
    }
}
