//! The closed list of everything that can go wrong with an ask. A dialect renders it last; nothing here knows a wire shape.
//! Both dialects use the same codes and statuses.

mod words;

use std::panic::Location;

use words::shortened;
pub use words::{MAX_TEXT_CHARACTERS, nearest};

use crate::model::codes;

/// What went wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The request's shape or content is wrong in a way that its message says.
    Invalid {
        /// What is wrong.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// The body is not JSON.
    InvalidJson {
        /// The parser's words, with line and column.
        reason: String,
    },
    /// The body names a field, or the query a parameter, that does not exist.
    Unknown {
        /// `field` or `parameter`.
        what: &'static str,
        /// The name that was used.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// A filter that compares a column in a way that its type does not have.
    FilterTypeMismatch {
        /// The parameter's name on the wire.
        parameter: String,
        /// The column.
        column: String,
        /// The column's type.
        type_name: String,
        /// What would make sense.
        instead: Instead,
    },
    /// A cursor that this list did not give.
    InvalidCursor,
    /// The body's content type is not JSON.
    UnsupportedMediaType {
        /// What was sent; may be empty.
        sent: String,
    },
    /// The body is larger than the door takes.
    PayloadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body's values would take more memory than a call may.
    TooManyValues {
        /// How many there are.
        values: usize,
    },
    /// The body did not come, or came too slowly.
    BodyTimeout,
    /// The request's address or its headers are larger than the door takes.
    HeadTooLarge {
        /// Which.
        part: HeadPart,
    },
    /// The path exists, but not with this method.
    MethodNotAllowed {
        /// The methods that it has.
        allow: Vec<&'static str>,
    },
    /// No key, a wrong key, or a key that has ended.
    Unauthorized {
        /// Which of these.
        message: String,
    },
    /// No person's session, or one that has ended, or a log-in that failed.
    NotSignedIn {
        /// Which of these.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The caller is known, but may not do this.
    Forbidden {
        /// What may not be done, and why.
        message: String,
    },
    /// The workspace went unclaimed for 7 days and may only be read.
    WorkspaceReadOnly,
    /// A path that leads nowhere.
    NoSuchPath {
        /// The path.
        path: String,
    },
    /// No such table in the workspace.
    NoSuchTable {
        /// The name that was used.
        name: String,
        /// The nearest table.
        nearest: Option<String>,
    },
    /// No such record.
    NotFound {
        /// The table that was looked in.
        table: String,
        /// The id that was looked for.
        id: String,
    },
    /// A unique key is taken.
    Conflict {
        /// PostgreSQL's words.
        message: String,
        /// The constraint's name.
        constraint: String,
        /// The record that has the key.
        existing_id: Option<String>,
    },
    /// What is asked stands against a rule that has a code of its own.
    Refused {
        /// The code; its status is that of [`codes`].
        code: &'static str,
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// An Idempotency-Key that was used for another request.
    IdempotencyConflict,
    /// An Idempotency-Key whose first request is still being served.
    IdempotencyInProgress,
    /// A hard delete of a row that others refer to.
    StillReferenced {
        /// PostgreSQL's words.
        message: String,
        /// The foreign key's name.
        constraint: String,
    },
    /// The values break a rule of the table (NOT NULL, CHECK, foreign key, a trigger of the workspace).
    ValidationFailed {
        /// Which rule.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// The column, where one is known.
        field: Option<String>,
    },
    /// A column refers to a record that does not exist or is deleted.
    InvalidReference {
        /// Which record.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// The column.
        field: String,
    },
    /// A custom field's value does not fit its definition.
    InvalidMetadata {
        /// What does not fit.
        message: String,
        /// The field's key.
        field: Option<String>,
    },
    /// The table can't be served by id.
    NoPrimaryKey {
        /// The table.
        table: String,
        /// What to do.
        hint: String,
    },
    /// PostgreSQL refused the caller's own SQL.
    Sql(Box<SqlFault>),
    /// A statement ran into the time limit.
    StatementTimeout {
        /// The limit in seconds.
        limit_seconds: u64,
    },
    /// A statement was ended before its time limit, because others waited for the database.
    GaveWay {
        /// How long it had run, in milliseconds.
        after_ms: u64,
    },
    /// One value of a result is larger than a result may be.
    ResultTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Too many requests.
    RateLimited {
        /// When to come again, in seconds.
        retry_after: u64,
        /// What is limited.
        message: String,
    },
    /// More requests this month than the workspace's plan has.
    QuotaExceeded {
        /// When the next month begins, in seconds.
        retry_after: u64,
        /// What is limited.
        message: String,
    },
    /// The server is too busy, or its database is away for a moment.
    Unavailable {
        /// When to come again, in seconds.
        retry_after: u64,
        /// Why.
        message: String,
    },
    /// A defect or an outage; the cause is for the log, not for the caller.
    Internal {
        /// The cause.
        cause: String,
        /// Where in the code it was noticed.
        place: &'static Location<'static>,
    },
}

/// A part of a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadPart {
    /// Path and query.
    Address,
    /// All headers together.
    Headers,
}

/// What makes sense of a column in the place of a comparison that does not fit. How it is written is for a dialect to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// Equality.
    Equality,
    /// Equality: the comparison is for numbers, dates and times.
    EqualityNotOrder,
    /// Equality: the comparison is for text.
    EqualityNotText,
    /// Whether it has the value among its own.
    Has,
    /// One of the object's keys.
    Key,
    /// SQL, for the distance of vectors.
    Distance,
}

/// What PostgreSQL said of the caller's SQL.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SqlFault {
    /// The primary message.
    pub message: String,
    /// The SQLSTATE.
    pub sqlstate: String,
    /// The detail, where there is one.
    pub detail: Option<String>,
    /// The hint, where there is one.
    pub hint: Option<String>,
    /// Where in the text, in characters from 1.
    pub position: Option<u32>,
}

impl Fault {
    /// A wrong request, in one sentence.
    pub fn invalid(message: impl Into<String>) -> Fault {
        Fault::Invalid { message: message.into(), hint: None }
    }

    /// A wrong request, with advice.
    pub fn invalid_with_hint(message: impl Into<String>, hint: impl Into<String>) -> Fault {
        Fault::Invalid { message: message.into(), hint: Some(hint.into()) }
    }

    /// A body field that does not exist, with the nearest that does.
    pub fn unknown_field<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Fault {
        Fault::Unknown { what: "field", name: name.to_owned(), nearest: nearest(name, known) }
    }

    /// A query parameter that does not exist, with the nearest that does.
    pub fn unknown_parameter<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Fault {
        Fault::Unknown { what: "parameter", name: name.to_owned(), nearest: nearest(name, known) }
    }

    /// A defect or outage. Remembers the line that noticed it.
    #[track_caller]
    pub fn internal(cause: impl ToString) -> Fault {
        Fault::Internal { cause: cause.to_string(), place: Location::caller() }
    }

    /// The stable code that clients may branch on.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Invalid { .. }
            | Fault::InvalidJson { .. }
            | Fault::Unknown { .. }
            | Fault::FilterTypeMismatch { .. } => "invalid_request",
            Fault::InvalidCursor => "invalid_cursor",
            Fault::UnsupportedMediaType { .. } => "unsupported_media_type",
            Fault::PayloadTooLarge { .. } | Fault::TooManyValues { .. } => "payload_too_large",
            Fault::BodyTimeout => "request_timeout",
            Fault::HeadTooLarge { .. } => "head_too_large",
            Fault::MethodNotAllowed { .. } => "method_not_allowed",
            Fault::Unauthorized { .. } | Fault::NotSignedIn { .. } => "unauthorized",
            Fault::Forbidden { .. } => "forbidden",
            Fault::WorkspaceReadOnly => "workspace_read_only",
            Fault::NoSuchPath { .. } | Fault::NoSuchTable { .. } | Fault::NotFound { .. } => "not_found",
            Fault::Conflict { .. } => "conflict",
            Fault::Refused { code, .. } => code,
            Fault::IdempotencyConflict => "idempotency_conflict",
            Fault::IdempotencyInProgress => "idempotency_in_progress",
            Fault::StillReferenced { .. } => "still_referenced",
            Fault::ValidationFailed { .. } => "validation_failed",
            Fault::InvalidReference { .. } => "invalid_reference",
            Fault::InvalidMetadata { .. } => "invalid_metadata",
            Fault::NoPrimaryKey { .. } => "no_primary_key",
            Fault::Sql(_) => "sql_error",
            Fault::StatementTimeout { .. } | Fault::GaveWay { .. } => "statement_timeout",
            Fault::ResultTooLarge { .. } => "result_too_large",
            Fault::RateLimited { .. } => "rate_limited",
            Fault::QuotaExceeded { .. } => "quota_exceeded",
            Fault::Unavailable { .. } => "unavailable",
            Fault::Internal { .. } => "internal_error",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(&self) -> u16 {
        match self {
            Fault::Invalid { .. }
            | Fault::InvalidJson { .. }
            | Fault::Unknown { .. }
            | Fault::FilterTypeMismatch { .. }
            | Fault::InvalidCursor => 400,
            Fault::Unauthorized { .. } | Fault::NotSignedIn { .. } => 401,
            Fault::Forbidden { .. } | Fault::WorkspaceReadOnly => 403,
            Fault::NoSuchPath { .. } | Fault::NoSuchTable { .. } | Fault::NotFound { .. } => 404,
            Fault::MethodNotAllowed { .. } => 405,
            Fault::StatementTimeout { .. } | Fault::GaveWay { .. } | Fault::BodyTimeout => 408,
            Fault::Refused { code, .. } => codes::by_code(code).map_or(409, |code| code.statuses[0]),
            Fault::Conflict { .. }
            | Fault::IdempotencyConflict
            | Fault::IdempotencyInProgress
            | Fault::StillReferenced { .. } => 409,
            Fault::PayloadTooLarge { .. } | Fault::TooManyValues { .. } | Fault::ResultTooLarge { .. } => 413,
            Fault::HeadTooLarge { part: HeadPart::Address } => 414,
            Fault::HeadTooLarge { part: HeadPart::Headers } => 431,
            Fault::UnsupportedMediaType { .. } => 415,
            Fault::ValidationFailed { .. }
            | Fault::InvalidReference { .. }
            | Fault::InvalidMetadata { .. }
            | Fault::NoPrimaryKey { .. } => 422,
            Fault::RateLimited { .. } | Fault::QuotaExceeded { .. } => 429,
            Fault::Internal { .. } => 500,
            Fault::Unavailable { .. } => 503,
            // 42501 is insufficient_privilege, 25006 a write in a read-only transaction: what the key may not do.
            Fault::Sql(sql) if sql.sqlstate == "42501" || sql.sqlstate == "25006" => 403,
            Fault::Sql(_) => 400,
        }
    }

    /// What went wrong, for a person or a model to read, in at most [`MAX_TEXT_CHARACTERS`].
    pub fn message(&self) -> String {
        shortened(self.whole_message())
    }

    /// What to do about it, if there is something to say, in at most [`MAX_TEXT_CHARACTERS`].
    pub fn hint(&self) -> Option<String> {
        self.whole_hint().map(shortened)
    }

    /// PostgreSQL's detail on an error of the caller's SQL, in at most [`MAX_TEXT_CHARACTERS`].
    pub fn detail(&self) -> Option<String> {
        match self {
            Fault::Sql(sql) => sql.detail.clone().map(shortened),
            _ => None,
        }
    }

    /// Seconds for a `Retry-After` header.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Fault::RateLimited { retry_after, .. }
            | Fault::QuotaExceeded { retry_after, .. }
            | Fault::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}
