//! The closed list of errors. A dialect renders an error last; this module does not depend on a wire format. Both
//! dialects use the same codes and statuses.

mod words;

use std::borrow::Cow;
use std::panic::Location;

use serde_json::Value;
pub use words::{MAX_TEXT_CHARACTERS, nearest};
use words::{bounded, shortened};

use crate::model::codes;

/// The message of [`Fault::held`].
const HELD: &str = "Another transaction holds the row or its table.";

/// An error. The dialects write it as a response.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The request is invalid. The message says why.
    Invalid {
        /// The problem, as a sentence.
        message: String,
        /// The advice for the caller.
        hint: Option<String>,
    },
    /// The body is not JSON.
    InvalidJson {
        /// The parser's message, with line and column.
        reason: String,
    },
    /// The request names a field, a parameter or a relation that does not exist.
    Unknown {
        /// `field`, `parameter` or `relation`.
        what: &'static str,
        /// The name in the request.
        name: String,
        /// The most similar name that exists.
        nearest: Option<String>,
    },
    /// A filter has an operator that the column's type does not support.
    FilterTypeMismatch {
        /// The parameter's name on the wire.
        parameter: String,
        /// The column's name in the physical schema.
        column: String,
        /// The column's type, as `format_type` writes it.
        type_name: String,
        /// A comparison that the type supports.
        instead: Instead,
    },
    /// The cursor does not belong to this list, with this order and these filters.
    InvalidCursor,
    /// The body's content type is not JSON.
    UnsupportedMediaType {
        /// The content type of the request; it can be empty.
        sent: String,
    },
    /// The body is larger than the limit.
    PayloadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body's values would take more memory than a request may use.
    TooManyValues {
        /// The number of values.
        values: usize,
    },
    /// The body did not arrive, or arrived too slowly.
    BodyTimeout,
    /// The request's address or its headers are larger than the limit.
    HeadTooLarge {
        /// The part that is too large.
        part: HeadPart,
    },
    /// The path exists, but not with this method.
    MethodNotAllowed {
        /// The methods that the path supports.
        allow: Vec<&'static str>,
    },
    /// The request has no key, an unknown key, or a key that has ended.
    Unauthorized {
        /// Says which of these it is.
        message: String,
    },
    /// The request has no session or one that has ended, or a log-in failed.
    NotSignedIn {
        /// Says which of these it is.
        message: String,
        /// The advice for the caller.
        hint: String,
    },
    /// The caller is known, but may not do this.
    Forbidden {
        /// The action that is forbidden, and the reason.
        message: String,
    },
    /// The workspace was not claimed within 7 days and is read-only.
    WorkspaceReadOnly,
    /// The path does not exist.
    NoSuchPath {
        /// The path, with `/v1`.
        path: String,
    },
    /// The workspace has no such table.
    NoSuchTable {
        /// The table's name in the request.
        name: String,
        /// The most similar table name.
        nearest: Option<String>,
    },
    /// The record does not exist.
    NotFound {
        /// The table that was searched.
        table: String,
        /// The id in the request.
        id: String,
    },
    /// A unique value is already taken.
    Conflict {
        /// PostgreSQL's message.
        message: String,
        /// The constraint's name.
        constraint: String,
        /// The record that has the value.
        existing_id: Option<String>,
    },
    /// The request breaks a rule that has its own code.
    Refused {
        /// The code. Its status is in [`codes`].
        code: &'static str,
        /// The reason.
        message: String,
        /// The advice for the caller.
        hint: Option<String>,
    },
    /// The Idempotency-Key was used for another request.
    IdempotencyConflict,
    /// The first request with this Idempotency-Key is still running.
    IdempotencyInProgress,
    /// A hard delete of a row that other rows refer to.
    StillReferenced {
        /// PostgreSQL's message.
        message: String,
        /// The foreign key's name.
        constraint: String,
    },
    /// The values break a rule of the table (NOT NULL, CHECK, foreign key, a trigger of the workspace).
    ValidationFailed {
        /// The rule that is broken.
        message: String,
        /// The advice for the caller.
        hint: Option<String>,
        /// The column, if it is known.
        field: Option<String>,
    },
    /// A column refers to a record that does not exist or is deleted.
    InvalidReference {
        /// Names the missing record.
        message: String,
        /// The advice for the caller.
        hint: Option<String>,
        /// The column that refers to it.
        field: String,
    },
    /// A custom field's value does not fit its definition.
    InvalidMetadata {
        /// The problem, as a sentence.
        message: String,
        /// The field's key in `custom`.
        field: Option<String>,
    },
    /// The table has no single column that identifies a row.
    NoPrimaryKey {
        /// The table's name.
        table: String,
        /// The advice for the caller.
        hint: String,
    },
    /// PostgreSQL rejected the caller's own SQL.
    Sql(Box<SqlFault>),
    /// A statement exceeded the time limit.
    StatementTimeout {
        /// The limit in seconds.
        limit_seconds: u64,
    },
    /// A statement was cancelled before its time limit, because other requests waited for the database.
    GaveWay {
        /// The time that it had run, in milliseconds.
        after_ms: u64,
    },
    /// The request changes more rows than it may. Nothing was kept.
    MaxAffectedExceeded {
        /// PostgreSQL's message, with the numbers.
        message: String,
        /// The numbers of rows by table: `{table: {"created", …}}`.
        affected: Value,
    },
    /// Rows have changed since, so that an undo was refused. Nothing was kept.
    UndoConflict {
        /// The rows: `{"table", "id", "reason", "columns"}`, in the names of the physical schema.
        conflicts: Vec<Value>,
        /// The number of rows that would have been put back.
        rows: u64,
    },
    /// A value or a record of a result is larger than the limit.
    ResultTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Too many requests.
    RateLimited {
        /// Seconds until the next try can succeed.
        retry_after: u64,
        /// Says which limit was reached.
        message: String,
    },
    /// The workspace has used all requests that its plan allows in this month.
    QuotaExceeded {
        /// Seconds until the next month begins.
        retry_after: u64,
        /// Says which limit was reached.
        message: String,
    },
    /// The server is too busy, or its database is temporarily unavailable.
    Unavailable {
        /// Seconds until the next try can succeed.
        retry_after: u64,
        /// The reason.
        message: String,
    },
    /// The fault of an operation in a batch.
    InOperation(Box<OperationFault>),
    /// A defect or an outage. The cause goes to the log, not to the caller.
    Internal {
        /// The cause, for the log.
        cause: String,
        /// The place in the code that reported it.
        place: &'static Location<'static>,
    },
}

/// The fault of an operation in a batch. It has the code, the status and the words of the fault itself.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationFault {
    /// The index of the operation, from 0.
    pub index: usize,
    /// The operation's ref, if it has one.
    pub name: Option<String>,
    /// The table of the operation, if it could be read.
    pub table: Option<String>,
    /// The fault itself.
    pub fault: Fault,
}

/// A part of a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadPart {
    /// Path and query.
    Address,
    /// All headers together.
    Headers,
}

/// A comparison that a column supports, for the hint of [`Fault::FilterTypeMismatch`]. The dialect writes the hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// Equality.
    Equality,
    /// Equality: the comparison is for numbers, dates and times.
    EqualityNotOrder,
    /// Equality: the comparison is for text.
    EqualityNotText,
    /// Whether the array contains the value.
    Has,
    /// A comparison of one of the object's keys.
    Key,
    /// SQL, for distances between vectors.
    Distance,
}

/// PostgreSQL's error about the caller's SQL.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SqlFault {
    /// The primary message.
    pub message: String,
    /// The SQLSTATE.
    pub sqlstate: String,
    /// The detail, if there is one.
    pub detail: Option<String>,
    /// The hint, if there is one.
    pub hint: Option<String>,
    /// The position in the text, in characters, counted from 1.
    pub position: Option<u32>,
}

impl Fault {
    /// An invalid request, without a hint.
    pub fn invalid(message: impl Into<String>) -> Fault {
        Fault::Invalid { message: message.into(), hint: None }
    }

    /// An invalid request, with a hint.
    pub fn invalid_with_hint(message: impl Into<String>, hint: impl Into<String>) -> Fault {
        Fault::Invalid { message: message.into(), hint: Some(hint.into()) }
    }

    /// A body field that does not exist, with the most similar known name.
    pub fn unknown_field<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Fault {
        Fault::Unknown { what: "field", name: name.to_owned(), nearest: nearest(name, known) }
    }

    /// A query parameter that does not exist, with the most similar known name.
    pub fn unknown_parameter<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Fault {
        Fault::Unknown { what: "parameter", name: name.to_owned(), nearest: nearest(name, known) }
    }

    /// A defect or an outage. The fault records the caller's place in the code.
    #[track_caller]
    pub fn internal(cause: impl ToString) -> Fault {
        Fault::Internal { cause: cause.to_string(), place: Location::caller() }
    }

    /// The fault itself, without the operation of a batch to which it belongs, and that operation.
    pub fn apart(&self) -> (&Fault, Option<&OperationFault>) {
        match self {
            Fault::InOperation(it) => (&it.fault, Some(it)),
            fault => (fault, None),
        }
    }

    /// What a log may say of it: the code, or the cause and the place of a defect. The message is left out, because it can hold a
    /// workspace's values.
    pub fn in_log(&self) -> String {
        match self.apart().0 {
            Fault::Internal { cause, place } => format!("{cause}, at {place}"),
            fault => fault.code().to_owned(),
        }
    }

    /// The stable code. Clients may branch on it.
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
            Fault::MaxAffectedExceeded { .. } => "max_affected_exceeded",
            Fault::UndoConflict { .. } => "undo_conflict",
            Fault::ResultTooLarge { .. } => "result_too_large",
            Fault::RateLimited { .. } => "rate_limited",
            Fault::QuotaExceeded { .. } => "quota_exceeded",
            Fault::Unavailable { .. } => "unavailable",
            Fault::InOperation(it) => it.fault.code(),
            Fault::Internal { .. } => "internal_error",
        }
    }

    /// The HTTP status of the response.
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
            | Fault::UndoConflict { .. }
            | Fault::StillReferenced { .. } => 409,
            Fault::MaxAffectedExceeded { .. } => 412,
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
            // 42501 is insufficient_privilege, 25006 is a write in a read-only transaction. In both cases the key lacks
            // the right.
            Fault::Sql(sql) if sql.sqlstate == "42501" || sql.sqlstate == "25006" => 403,
            Fault::Sql(_) => 400,
            Fault::InOperation(it) => it.fault.status(),
        }
    }

    /// The fault of a write that waits for a row which another transaction holds.
    pub fn held() -> Fault {
        Fault::Unavailable { retry_after: 1, message: HELD.into() }
    }

    /// Whether another transaction held what this one needed. The same work may succeed at once if it is done again.
    pub fn is_held(&self) -> bool {
        match self {
            Fault::Unavailable { message, .. } => message == HELD,
            Fault::Sql(sql) => ["55P03", "40P01", "40001"].contains(&sql.sqlstate.as_str()),
            Fault::InOperation(it) => it.fault.is_held(),
            _ => false,
        }
    }

    /// The message for people and models, with at most [`MAX_TEXT_CHARACTERS`] characters.
    pub fn message(&self) -> String {
        shortened(self.whole_message())
    }

    /// The message in other words, as long as [`Fault::message`]. It is cut after it is worded, because names may be longer then.
    pub fn message_in(&self, worded: impl Fn(&str) -> Cow<'_, str>) -> String {
        shortened(worded(&bounded(self.whole_message())).into_owned())
    }

    /// The hint in other words, as long as [`Fault::hint`].
    pub fn hint_in(&self, worded: impl Fn(&str) -> Cow<'_, str>) -> Option<String> {
        self.whole_hint().map(|hint| shortened(worded(&bounded(hint)).into_owned()))
    }

    /// The advice for the caller, if there is any, with at most [`MAX_TEXT_CHARACTERS`] characters.
    pub fn hint(&self) -> Option<String> {
        self.whole_hint().map(shortened)
    }

    /// PostgreSQL's detail on an error in the caller's SQL, with at most [`MAX_TEXT_CHARACTERS`] characters.
    pub fn detail(&self) -> Option<String> {
        match self {
            Fault::Sql(sql) => sql.detail.clone().map(shortened),
            Fault::InOperation(it) => it.fault.detail(),
            _ => None,
        }
    }

    /// The seconds of the `Retry-After` header, if the fault has one.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Fault::RateLimited { retry_after, .. }
            | Fault::QuotaExceeded { retry_after, .. }
            | Fault::Unavailable { retry_after, .. } => Some(*retry_after),
            Fault::InOperation(it) => it.fault.retry_after(),
            _ => None,
        }
    }
}
