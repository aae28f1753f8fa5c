//! Converts PostgreSQL's errors to faults. This is the only file that knows what a SQLSTATE means to a caller.

use std::panic::Location;

use pg::{Error, ServerError};

use crm::model::entity::{ENTITIES, Entity, FieldKind, by_table};
use crm::model::fault::{Fault, SqlFault};
use crm::sql::unchanged::CHANGED;
use crm::sql::{Label, Sql};

use crate::store::STATEMENT_LIMIT_SECONDS;
use crate::store::results::MAX_RESULT_BYTES;

/// The failure of a plan's statements.
#[derive(Debug)]
pub enum RunError {
    /// A fault for the caller.
    Fault(Fault),
    /// A unique key is taken. The record that has it is still to be found.
    Taken {
        /// PostgreSQL's message.
        message: String,
        /// The name of the constraint.
        constraint: String,
    },
    /// The table differs from the catalog. The fault is correct if a fresh catalog agrees.
    CatalogIsOld(Fault),
}

impl RunError {
    /// The fault for the caller, if the record that has the key is not looked up, or the catalog is not read again.
    pub fn into_fault(self) -> Fault {
        match self {
            RunError::Fault(fault) | RunError::CatalogIsOld(fault) => fault,
            RunError::Taken { message, constraint } => Fault::Conflict { message, constraint, existing_id: None },
        }
    }
}

/// The SQLSTATE with which the custom-field trigger refuses a value (migrations/workspace).
const INVALID_METADATA: &str = "KF001";

/// SQLSTATEs with which the triggers of deals and pipelines refuse a change, and the codes of their faults.
const REFUSALS: &[(&str, &str)] = &[
    ("KP001", "cannot_delete_default"),
    ("KP003", "pipeline_in_use"),
    ("KP004", "stage_in_use"),
    ("KP005", "unknown_stage"),
];

/// The fault for an error in a statement that Kith wrote, if the statement is known. The labels of its parameters name the
/// wrong value.
pub fn of_statement(error: Error, statement: Option<&Sql>) -> RunError {
    let (labels, removes) = statement.map_or((&[][..], false), |statement| (&statement.labels, statement.removes));
    let error = match error {
        Error::Server(error) => error,
        other => return RunError::Fault(of_connection(other)),
    };
    let field = || {
        let named = || key_column(&error).or_else(|| checked_column(&error));
        error.column.clone().or_else(|| named().map(str::to_owned))
    };
    let message = || sentence(&error);
    RunError::Fault(match error.code.as_str() {
        "23505" => {
            return RunError::Taken { message: message(), constraint: error.constraint.clone().unwrap_or_default() };
        }
        "42P01" if error.message.contains(CHANGED) => {
            return RunError::CatalogIsOld(unavailable("The table is being changed.", "its shape did not hold still"));
        }
        // The table differs from the catalog: undefined column, table or operator, a parameter of another type, a
        // column that is generated, or a `deleted_at` that did not exist before.
        "42703" | "42P01" | "42883" | "42804" | "42P18" | "428C9" | "42702" => {
            return RunError::CatalogIsOld(of_sql(*error));
        }
        "23503" if removes => {
            Fault::StillReferenced { message: message(), constraint: error.constraint.clone().unwrap_or_default() }
        }
        // PostgreSQL's own message quotes the whole row.
        "23502" if let Some(column) = &error.column => Fault::ValidationFailed {
            message: format!("\"{column}\" must have a value."),
            hint: error.hint.clone(),
            field: field(),
        },
        "23514" if let Some(message) = choices(&error) => {
            Fault::ValidationFailed { message, hint: error.hint.clone(), field: field() }
        }
        "23503" if let Some(column) = reference(&error) => {
            let advice = "Refer to a record that exists and is not deleted. For no record, send null.";
            let hint = error.hint.clone().or_else(|| Some(advice.into()));
            Fault::InvalidReference { message: message(), hint, field: column.to_owned() }
        }
        "23502" | "23503" | "23514" | "23P01" | "P0001" | "44000" => {
            Fault::ValidationFailed { message: message(), hint: error.hint.clone(), field: field() }
        }
        INVALID_METADATA => Fault::InvalidMetadata { message: error.message.clone(), field: error.detail.clone() },
        code if let Some(code) = REFUSALS.iter().find(|(sqlstate, _)| *sqlstate == code) => {
            Fault::Refused { code: code.1, message: message(), hint: error.hint.clone() }
        }
        "KE001" => Fault::InvalidCursor,
        "KP002" => Fault::ValidationFailed { message: message(), hint: error.hint.clone(), field: field() },
        code if code.starts_with("22") => return of_value(&error, labels),
        "42501" => Fault::Forbidden { message: error.message.clone() },
        // Another transaction holds a lock that this one waits for, or there is a deadlock.
        "55P03" | "40P01" | "40001" => {
            tracing::warn!(cause = sqlstate(&error), "a row is held");
            Fault::held()
        }
        "25006" => Fault::Forbidden { message: "This key can read, not write.".into() },
        _ => of_sql(*error),
    })
}

/// The message while a statement of the workspace does not end, and when to try again, in seconds.
const SUSPENDED: &str = "This workspace is suspended: one of its statements ran past its time limit and does not end, because \
                         PostgreSQL can't interrupt what it does. The workspace is let in again when it has ended.";
const SUSPENDED_SECONDS: u64 = 10;

/// PostgreSQL's refusal of one row of a batch.
#[derive(Debug, Default)]
#[allow(missing_docs)] // they have the names that any error of PostgreSQL uses
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

/// The fault for a row of a batch.
pub fn of_row(refusal: Refusal) -> Fault {
    let Refusal { code, message, detail, hint, column, constraint } = refusal;
    let error = ServerError { code, message, detail, hint, column, constraint, ..ServerError::default() };
    of_statement(Error::Server(Box::new(error)), None).into_fault()
}

/// A value that does not fit its type: 400 with the field and the type.
fn of_value(error: &ServerError, labels: &[Label]) -> RunError {
    let label = parameter_number(error).and_then(|number| labels.get(number - 1));
    RunError::Fault(match label {
        // The value was converted to the type that the column had when the catalog was read.
        Some(Label::Column(name)) => {
            return RunError::CatalogIsOld(of_column(name, error));
        }
        Some(Label::Filter { parameter, type_name }) => {
            // PostgreSQL names the type if a value can't be parsed, but not if it is out of range.
            let names_type = error.message.contains(&format!("type {type_name}"));
            let of_type = if names_type { String::new() } else { format!("; it is compared as {type_name}") };
            return RunError::CatalogIsOld(Fault::invalid(format!("{parameter}: {}{of_type}.", error.message)));
        }
        Some(Label::Cursor) => Fault::InvalidCursor,
        // No row has an id that is not a value of the key's type.
        Some(Label::Id) => Fault::NotFound { table: "this table".into(), id: "this id".into() },
        Some(Label::Own) | None => match &error.column {
            Some(name) => of_column(name, error),
            None => Fault::Invalid { message: sentence(error), hint: error.hint.clone() },
        },
    })
}

/// A value that does not fit the type of a column, with the form that fits.
fn of_column(name: &str, error: &ServerError) -> Fault {
    let is_of = |types: &[&str]| types.iter().any(|name| error.message.contains(&format!("type {name}")));
    let hint = match error.code.as_str() {
        _ if error.message.ends_with(": \"\"") => Some("Send null for a missing value."),
        "22007" | "22008" => Some("Write a date as 2026-01-31, and a time as 2026-01-31T12:00:00Z."),
        "22P02" if is_of(&["smallint", "integer", "bigint"]) => {
            Some("Send a whole number, in digits alone: no separators, currency or fraction.")
        }
        "22P02" if is_of(&["numeric", "real", "double precision"]) => {
            Some("Send a number, with a point before its fraction and no other separators.")
        }
        "22P02" if is_of(&["boolean"]) => Some("Send true or false."),
        _ => None,
    };
    Fault::Invalid {
        message: format!("\"{name}\": {}.", error.message),
        hint: hint.map(str::to_owned).or_else(|| error.hint.clone()),
    }
}

/// The number in "unnamed portal parameter $3 = '…'", which PostgreSQL reports for a parameter that it can't parse.
fn parameter_number(error: &ServerError) -> Option<usize> {
    let (_, rest) = error.context.as_deref()?.split_once("parameter $")?;
    let digits = rest.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|number| *number > 0)
}

/// The fault for an error in the caller's own SQL.
pub fn of_sql(error: ServerError) -> Fault {
    match error.code.as_str() {
        // Cancelled by the statement's time limit: Kith cancels statements for no other reason.
        "57014" => Fault::StatementTimeout { limit_seconds: STATEMENT_LIMIT_SECONDS },
        "57P01" | "57P02" | "57P03" | "57P05" => unavailable("The database is restarting.", sqlstate(&error)),
        MAX_AFFECTED_EXCEEDED if let Some(affected) = affected(&error) => {
            Fault::MaxAffectedExceeded { message: format!("{}.", error.message), affected }
        }
        RUN_FINISHED => {
            Fault::Refused { code: "run_finished", message: format!("{}.", error.message), hint: error.hint.clone() }
        }
        "53300" => unavailable("The workspace has too many connections open.", sqlstate(&error)),
        // A table that all sessions of the server share is full, mostly of locks. A process that is out of memory has
        // the same code, but that is the statement's own fault.
        "53200" if error.message.contains("shared memory") => {
            unavailable("The database is out of locks.", sqlstate(&error))
        }
        code if code.starts_with("08") => unavailable("The connection to the database broke.", sqlstate(&error)),
        // PostgreSQL looks at foreign keys first and advises CASCADE, which a trigger then refuses.
        "0A000" if let Some(table) = truncated(&error) => Fault::Sql(Box::new(SqlFault {
            message: format!("TRUNCATE is not allowed on built-in table \"{table}\""),
            sqlstate: "42501".into(),
            hint: Some(format!("DELETE FROM {table} removes the rows, and the activity feed shows it.")),
            ..SqlFault::default()
        })),
        _ => Fault::Sql(Box::new(SqlFault {
            message: error.message,
            sqlstate: error.code,
            detail: error.detail,
            hint: error.hint,
            position: error.position,
        })),
    }
}

/// The fault for an error of the connection, not of a statement.
#[track_caller]
pub fn of_connection(error: Error) -> Fault {
    match error {
        Error::Server(error) => of_sql(*error),
        Error::GaveWay { after } => Fault::GaveWay { after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX) },
        Error::Suspended(database) => {
            tracing::warn!(database, "a request of a suspended workspace");
            Fault::Unavailable { retry_after: SUSPENDED_SECONDS, message: SUSPENDED.into() }
        }
        Error::DeadlineExceeded => Fault::StatementTimeout { limit_seconds: STATEMENT_LIMIT_SECONDS },
        Error::ValueTooLarge { limit } => Fault::ResultTooLarge { limit: limit.min(MAX_RESULT_BYTES) },
        Error::Copy => Fault::Sql(Box::new(SqlFault {
            message: "COPY is not available over HTTP.".into(),
            sqlstate: "0A000".into(),
            ..SqlFault::default()
        })),
        Error::Busy(why) => {
            Fault::Unavailable { retry_after: 1, message: format!("Too many requests at once: {why}.") }
        }
        Error::Io(why) => unavailable("The database can't be reached.", why),
        Error::Stale => unavailable("The table is being changed.", "stale statements again and again"),
        other => Fault::internal(other),
    }
}

/// The fault for an error in one of Kith's own statements, such as those in the control database. The caller can only have
/// supplied a wrong value, so every other error is a defect, or the database can't be reached.
#[track_caller]
pub fn of_own_statement(error: Error) -> Fault {
    of_own_statement_at(error, Location::caller())
}

/// The same, with the place to log.
pub fn of_own_statement_at(error: Error, place: &'static Location<'static>) -> Fault {
    match error {
        // Text with U+0000, or a number that is too large.
        Error::Server(error) if error.code.starts_with("22") => {
            Fault::Invalid { message: sentence(&error), hint: error.hint }
        }
        Error::Server(error) if matches!(&*error.code, "55P03" | "40P01" | "40001") => {
            unavailable("The database is busy.", sqlstate(&error))
        }
        other => match of_connection(other) {
            Fault::Sql(sql) => Fault::Internal { cause: format!("SQLSTATE {}", sql.sqlstate), place },
            Fault::Internal { cause, .. } => Fault::Internal { cause, place },
            fault => fault,
        },
    }
}

/// The SQLSTATEs with which the change log refuses (migrations/workspace).
const MAX_AFFECTED_EXCEEDED: &str = "KL001";
const RUN_FINISHED: &str = "KL002";

/// The numbers of rows by table. The workspace's code can raise an error of the same code with any detail.
fn affected(error: &ServerError) -> Option<serde_json::Value> {
    let affected: serde_json::Value = serde_json::from_str(error.detail.as_deref()?).ok()?;
    affected.is_object().then_some(affected)
}

/// The text to log of an error. PostgreSQL's messages quote tenants' values, and a tenant's own code chooses its messages.
fn sqlstate(error: &ServerError) -> String {
    format!("SQLSTATE {}", error.code)
}

#[track_caller]
fn unavailable(message: &str, cause: impl std::fmt::Display) -> Fault {
    let place = std::panic::Location::caller();
    tracing::warn!(%cause, %place, "the database is unavailable");
    Fault::Unavailable { retry_after: 1, message: message.into() }
}

/// The built-in table in "Table "deals" references "contacts".", the detail of a TRUNCATE that a foreign key forbids.
fn truncated(error: &ServerError) -> Option<&'static str> {
    let detail = error.detail.as_deref().filter(|_| error.message.starts_with("cannot truncate a table"))?;
    let (_, referenced) = detail.strip_suffix("\".")?.rsplit_once("references \"")?;
    by_table(referenced).map(|entity| entity.table)
}

/// The column in "Key (company_id)=(co_…) is not present in …", the error of a foreign key with one column.
fn key_column(error: &ServerError) -> Option<&str> {
    let (column, _) = error.detail.as_deref()?.strip_prefix("Key (")?.split_once(")=")?;
    Some(column).filter(|column| column.chars().all(|it| it.is_alphanumeric() || it == '_'))
}

/// The column of a built-in table that refers to a record, if its foreign key was violated, or a trigger that takes the place of one
/// refused the value.
fn reference(error: &ServerError) -> Option<&'static str> {
    let constraint = error.constraint.as_deref()?;
    let fields = ENTITIES.iter().flat_map(|entity| entity.fields.iter().map(move |field| (entity.table, field)));
    let references = fields.filter(|(_, field)| field.refers_to_records());
    let mut broken = references.filter(|(table, field)| {
        let rest = constraint.strip_prefix(table).and_then(|rest| rest.strip_prefix('_'));
        rest.and_then(|rest| rest.strip_suffix("_fkey")) == Some(field.name)
    });
    broken.next().map(|(_, field)| field.name)
}

/// The column of a check constraint with PostgreSQL's default name, `{table}_{column}_check`.
fn checked_column(error: &ServerError) -> Option<&str> {
    let name = error.constraint.as_deref().filter(|_| error.code == "23514")?;
    let table = error.table.as_deref().or_else(|| {
        let is_its = |entity: &&Entity| name.strip_prefix(entity.table).is_some_and(|rest| rest.starts_with('_'));
        ENTITIES.iter().filter(is_its).map(|entity| entity.table).max_by_key(|table| table.len())
    })?;
    name.strip_prefix(table)?.strip_prefix('_')?.strip_suffix("_check")
}

/// The allowed values of a column of a built-in table, if it has a fixed set and the value was not one of them.
fn choices(error: &ServerError) -> Option<String> {
    let column = checked_column(error)?;
    let name = error.constraint.as_deref()?;
    let entity = ENTITIES.iter().find(|entity| name == format!("{}_{column}_check", entity.table))?;
    match entity.fields.iter().find(|field| field.name == column)?.kind {
        FieldKind::OneOf(names) => Some(format!("\"{column}\" must be one of {}.", names.join(", "))),
        _ => None,
    }
}

/// Message and detail as one text, without a detail that quotes the whole row.
fn sentence(error: &ServerError) -> String {
    match &error.detail {
        Some(detail) if !detail.starts_with("Failing row contains") => format!("{}. {detail}", error.message),
        _ => format!("{}.", error.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_shared_table_is_the_servers_fault() {
        let of = |message: &str| {
            of_sql(ServerError { code: "53200".into(), message: message.into(), ..ServerError::default() })
        };
        assert_eq!(of("out of shared memory").status(), 503);
        assert_eq!(of("out of memory").status(), 400);
    }

    #[test]
    fn a_reference_is_told_by_its_foreign_key() {
        let column = |constraint: &str| {
            let error =
                ServerError { code: "23503".into(), constraint: Some(constraint.into()), ..ServerError::default() };
            reference(&error)
        };
        assert_eq!(column("contacts_company_id_fkey"), Some("company_id"));
        assert_eq!(column("list_members_list_id_fkey"), Some("list_id"));
        assert_eq!(column("emails_deal_ids_fkey"), Some("deal_ids"));
        assert_eq!(column("list_members_member_id_fkey"), Some("member_id"));
        for other in ["deals_stage_fkey", "deals_pipeline_fkey", "things_company_id_fkey", "contacts_company_id_check"]
        {
            assert_eq!(column(other), None, "{other}");
        }
    }
}
