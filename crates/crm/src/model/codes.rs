//! The error codes that clients may branch on, in one const table. OpenAPI, the documentation and the tests read it.
//! [`Fault::code`](crate::model::fault::Fault::code) maps each fault to its code.

/// An error code.
#[derive(Debug)]
pub struct Code {
    /// The code on the wire: `not_found`.
    pub code: &'static str,
    /// The HTTP statuses of the code.
    pub statuses: &'static [u16],
    /// The meaning, in Markdown.
    pub about: &'static str,
    /// The advice for the caller, in Markdown.
    pub remedy: &'static str,
    /// Whether the same request may succeed later.
    pub retry: bool,
}

/// Returns the code of that name.
pub fn by_code(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|it| it.code == code)
}

const fn code(code: &'static str, statuses: &'static [u16], about: &'static str, remedy: &'static str) -> Code {
    Code { code, statuses, about, remedy, retry: false }
}

const fn passing(code: &'static str, statuses: &'static [u16], about: &'static str, remedy: &'static str) -> Code {
    Code { code, statuses, about, remedy, retry: true }
}

/// Every error code, sorted by status.
pub const CODES: &[Code] = &[
    code(
        "invalid_request",
        &[400],
        "The request is wrong in a way that its message says: a field or parameter that does not exist, a value of another \
         type, JSON that does not parse.",
        "Read `message` and `hint`; an unknown name comes with the nearest known one. Correct the request.",
    ),
    code(
        "invalid_cursor",
        &[400],
        "The cursor belongs to another list, or to this list with another order or other filters.",
        "Start again without a cursor, and send the same filters with every page.",
    ),
    code(
        "sql_error",
        &[400, 403],
        "PostgreSQL refused the SQL. `code` is the SQLSTATE. `position` is the character of the error, counted from 1. The \
         status is 403 if the key may not do it (42501, 25006).",
        "Read `message`, `hint` and `position`, correct the statement and send it again. Nothing of the request was kept.",
    ),
    code(
        "unknown_control",
        &[400],
        "A header is nearly `X-Dry-Run` or `X-Max-Affected`, has a value that they do not take, or contradicts another. Nothing was done: a control is never ignored.",
        "Correct the header. `hint` names the right one.",
    ),
    code(
        "control_not_supported",
        &[400],
        "`X-Dry-Run` and `X-Max-Affected` are for the workspace's data, not for keys, members and claims.",
        "Leave the header out.",
    ),
    code(
        "confirmation_required",
        &[400],
        "A tool of MCP would remove something for good. The message says what. Requests of REST need no confirmation.",
        "If the person agrees, call the tool again with `confirm: true`.",
    ),
    code(
        "unauthorized",
        &[401],
        "The request has no key or session, an unknown one, or one that has ended; or a log-in failed.",
        "Send `Authorization: Bearer <api key>`. `POST /v1/workspaces` creates a workspace and its first key. The paths for people take the `session_token` of `POST /v1/auth/login` instead of a key.",
    ),
    code(
        "forbidden",
        &[403],
        "The key is known but may not do this. A viewer's key cannot write, and only triggers write to the activity feed.",
        "Use a key that has the right.",
    ),
    code(
        "plan_required",
        &[403],
        "The workspace's plan does not have this feature.",
        "Work without it, or ask the operator of this Kith for a plan that has it.",
    ),
    code(
        "workspace_read_only",
        &[403],
        "The workspace was not claimed within 7 days and can only be read. After 14 days it is deleted.",
        "Open `claim_url` and claim the workspace to write again.",
    ),
    code(
        "not_found",
        &[404],
        "There is no such path, table or record. A deleted record is not found either, unless `include_deleted=true`.",
        "Check the id. `GET /v1/tables` lists the tables.",
    ),
    code(
        "method_not_allowed",
        &[405],
        "The path exists, but not with this method.",
        "Use one of the methods in the `Allow` header.",
    ),
    code(
        "statement_timeout",
        &[408],
        "The statement ran into the time limit of 30 s and was ended. Nothing of it was kept.",
        "Narrow it (WHERE, LIMIT, an index), or do the work in smaller steps.",
    ),
    passing(
        "request_timeout",
        &[408],
        "The body was incomplete or arrived too slowly.",
        "Send it again, in smaller parts if the connection is slow.",
    ),
    code(
        "conflict",
        &[409],
        "Another record has this unique value. `existing_id` names the record and `constraint` the rule. The activity feed has an entry for the refusal.",
        "PATCH the record `existing_id` instead of creating another.",
    ),
    code(
        "last_owner",
        &[409],
        "The member is the workspace's last owner, who cannot leave or get a lower role.",
        "Make somebody else an owner first.",
    ),
    code(
        "already_member",
        &[409],
        "The address belongs to a member of the workspace.",
        "PATCH /v1/members changes their role.",
    ),
    code(
        "cannot_delete_default",
        &[409],
        "The default pipeline can't be deleted or unset.",
        "Make another pipeline the default first.",
    ),
    code(
        "pipeline_in_use",
        &[409],
        "Deals are still in the pipeline.",
        "Move them to another pipeline, or delete them, first.",
    ),
    code("stage_in_use", &[409], "Deals are still in the stage.", "Move them to another stage, or delete them, first."),
    code(
        "still_referenced",
        &[409],
        "The record can't be deleted permanently while others refer to it.",
        "Delete or change those first, or leave out `hard=true`: a soft delete is always possible.",
    ),
    code(
        "run_finished",
        &[409],
        "The run that `X-Run-Id` names was finished or undone. Nothing of the request was kept.",
        "Send another `X-Run-Id`.",
    ),
    code(
        "undo_conflict",
        &[409],
        "Some rows cannot be put back: they have changed since, or others depend on them. Nothing was changed. `conflicts` has each row with its `reason`: changed_since, row_gone, row_exists, unique_taken, parent_gone, would_remove_others, schema_changed or not_permitted.",
        "Look at `conflicts`. `on_conflict: \"skip\"` leaves what is in the way, and puts back the rest.",
    ),
    code(
        "ambiguous",
        &[409],
        "Several records match. `message` names them.",
        "Match by more fields, or update one of them by its id. `POST /v1/{table}/{id}/merge` makes one of them.",
    ),
    code(
        "already_undone",
        &[409],
        "Nothing is left to undo.",
        "`GET /v1/runs/:id` says in `undone_by` which run undid it. Undo that one to make it stand again.",
    ),
    code(
        "idempotency_conflict",
        &[409],
        "This Idempotency-Key was used within 24 hours for another path or body.",
        "Make a new key for each new request; send the same key only to retry.",
    ),
    passing(
        "idempotency_in_progress",
        &[409],
        "The first request with this Idempotency-Key is still being served.",
        "Send it again in a moment to get that request's answer.",
    ),
    code(
        "undo_expired",
        &[410],
        "The changes are older than the change log, which is kept for 30 days unless the operator says otherwise.",
        "Change the records themselves; the activity feed says what they were.",
    ),
    code(
        "max_affected_exceeded",
        &[412],
        "The request would change more rows than `X-Max-Affected` allows. Nothing was kept. `affected` has the numbers by table.",
        "Narrow the request, or send a larger limit after a dry run.",
    ),
    code(
        "payload_too_large",
        &[413],
        "The body is larger than 10 MiB (16 MiB if it sends e-mail, 16 KiB on the paths for people), or its values would take too much memory.",
        "Send less at a time; a long array of numbers takes less as text.",
    ),
    code(
        "result_too_large",
        &[413],
        "A value of the result is larger than 10 MiB, or a record, or all answers of a batch together, larger than 40 MiB. Nothing of the request was kept.",
        "Select less of it, for example with left() or substring().",
    ),
    code(
        "head_too_large",
        &[414, 431],
        "The address (414) or the headers (431) are larger than 64 KiB.",
        "Shorten the query. `POST /v1/sql` takes long texts in its body.",
    ),
    code(
        "unsupported_media_type",
        &[415],
        "The body is not declared as JSON.",
        "Send `Content-Type: application/json`.",
    ),
    code(
        "validation_failed",
        &[422],
        "The values break a rule of the table: NOT NULL, CHECK, a foreign key, a trigger of the workspace.",
        "`message` names the rule, and `field` the column if it is known. Correct the value.",
    ),
    code(
        "invalid_reference",
        &[422],
        "A field such as `contact_id` or `company_id` names a record that does not exist or is deleted. `field` is the column.",
        "Name a record that exists, restore the deleted one, or set the field to null.",
    ),
    code(
        "invalid_metadata",
        &[422],
        "A key in `custom` does not fit its definition in custom_fields. `field` is the key.",
        "`GET /v1/custom_fields` lists the definitions.",
    ),
    code(
        "unknown_stage",
        &[422],
        "The deal's pipeline has no such stage.",
        "Use one of the pipeline's stages, or create the stage first.",
    ),
    code(
        "target_not_allowed",
        &[422],
        "The address of a webhook leads to a private network, to this machine, or to no place that events may be sent to.",
        "Use a public `https://` or `http://` address.",
    ),
    code(
        "email_not_configured",
        &[422],
        "The workspace has no e-mail provider, or not the one that this needs.",
        "Connect one: `PUT /v1/integrations/email {api_key, from_email}`.",
    ),
    code(
        "email_rejected",
        &[422],
        "The e-mail provider refused it, in the words of `message`. The e-mail is recorded as `failed`.",
        "Correct what the provider's words name, and send it again with another Idempotency-Key.",
    ),
    code(
        "batch_too_large",
        &[422],
        "The batch has more than 500 records, or more than 100 operations. Nothing of it was kept.",
        "Send at most 500 records, or 100 operations, at a time.",
    ),
    code(
        "no_primary_key",
        &[422],
        "The table has no single-column primary key, or the view has no column `id`, so its rows cannot be addressed by id.",
        "`hint` has the ALTER TABLE that adds one; or use `POST /v1/sql`.",
    ),
    passing(
        "rate_limited",
        &[429],
        "Too many requests with this key within a minute, or too many sign-ups from this address within an hour.",
        "Wait as many seconds as `Retry-After` says.",
    ),
    passing(
        "quota_exceeded",
        &[429],
        "The workspace has used all requests that its plan allows in this month.",
        "Wait as many seconds as `Retry-After` says, or ask the operator of this Kith for a larger plan.",
    ),
    passing(
        "internal_error",
        &[500],
        "Something went wrong on our side.",
        "Try again. If the error persists, report `request_id`.",
    ),
    passing(
        "unavailable",
        &[503],
        "The server is too busy, or its database is temporarily unavailable.",
        "Wait as many seconds as `Retry-After` says, then send it again.",
    ),
];

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::model::fault::{Fault, HeadPart, Instead, OperationFault, SqlFault};

    /// One fault of every kind. The match does not compile until it names a new kind.
    fn one_of_each() -> Vec<Fault> {
        let text = String::new;
        let sql = |sqlstate: &str| Fault::Sql(Box::new(SqlFault { sqlstate: sqlstate.into(), ..SqlFault::default() }));
        let refused = |code| Fault::Refused { code, message: text(), hint: None };
        let faults = vec![
            Fault::Invalid { message: text(), hint: None },
            Fault::InvalidJson { reason: text() },
            Fault::Unknown { what: "field", name: text(), nearest: None },
            Fault::FilterTypeMismatch {
                parameter: text(),
                column: text(),
                type_name: text(),
                instead: Instead::Equality,
            },
            Fault::InvalidCursor,
            Fault::UnsupportedMediaType { sent: text() },
            Fault::PayloadTooLarge { limit: 1 },
            Fault::TooManyValues { values: 1 },
            Fault::BodyTimeout,
            Fault::HeadTooLarge { part: HeadPart::Address },
            Fault::HeadTooLarge { part: HeadPart::Headers },
            Fault::MethodNotAllowed { allow: Vec::new() },
            Fault::Unauthorized { message: text() },
            Fault::NotSignedIn { message: text(), hint: text() },
            Fault::Forbidden { message: text() },
            Fault::WorkspaceReadOnly,
            Fault::NoSuchPath { path: text() },
            Fault::NoSuchTable { name: text(), nearest: None },
            Fault::NotFound { table: text(), id: text() },
            Fault::Conflict { message: text(), constraint: text(), existing_id: None },
            refused("last_owner"),
            refused("already_member"),
            refused("cannot_delete_default"),
            refused("pipeline_in_use"),
            refused("stage_in_use"),
            refused("unknown_stage"),
            refused("batch_too_large"),
            refused("target_not_allowed"),
            refused("email_not_configured"),
            refused("email_rejected"),
            refused("plan_required"),
            refused("unknown_control"),
            refused("control_not_supported"),
            refused("confirmation_required"),
            refused("run_finished"),
            refused("ambiguous"),
            refused("already_undone"),
            refused("undo_expired"),
            Fault::MaxAffectedExceeded { message: text(), affected: serde_json::Value::Null },
            Fault::UndoConflict { conflicts: Vec::new(), rows: 1 },
            Fault::IdempotencyConflict,
            Fault::IdempotencyInProgress,
            Fault::StillReferenced { message: text(), constraint: text() },
            Fault::ValidationFailed { message: text(), hint: None, field: None },
            Fault::InvalidReference { message: text(), hint: None, field: text() },
            Fault::InvalidMetadata { message: text(), field: None },
            Fault::NoPrimaryKey { table: text(), hint: text() },
            sql("42601"),
            sql("42501"),
            Fault::StatementTimeout { limit_seconds: 30 },
            Fault::GaveWay { after_ms: 1 },
            Fault::ResultTooLarge { limit: 1 },
            Fault::RateLimited { retry_after: 1, message: text() },
            Fault::QuotaExceeded { retry_after: 1, message: text() },
            Fault::Unavailable { retry_after: 1, message: text() },
            Fault::InOperation(Box::new(OperationFault {
                index: 0,
                name: None,
                table: None,
                fault: Fault::InvalidCursor,
            })),
            Fault::Internal { cause: text(), place: Location::caller() },
        ];
        for fault in &faults {
            match fault {
                Fault::Invalid { .. }
                | Fault::InvalidJson { .. }
                | Fault::Unknown { .. }
                | Fault::FilterTypeMismatch { .. }
                | Fault::InvalidCursor
                | Fault::UnsupportedMediaType { .. }
                | Fault::PayloadTooLarge { .. }
                | Fault::TooManyValues { .. }
                | Fault::BodyTimeout
                | Fault::HeadTooLarge { .. }
                | Fault::MethodNotAllowed { .. }
                | Fault::Unauthorized { .. }
                | Fault::NotSignedIn { .. }
                | Fault::Forbidden { .. }
                | Fault::WorkspaceReadOnly
                | Fault::NoSuchPath { .. }
                | Fault::NoSuchTable { .. }
                | Fault::NotFound { .. }
                | Fault::Conflict { .. }
                | Fault::Refused { .. }
                | Fault::IdempotencyConflict
                | Fault::IdempotencyInProgress
                | Fault::StillReferenced { .. }
                | Fault::ValidationFailed { .. }
                | Fault::InvalidReference { .. }
                | Fault::InvalidMetadata { .. }
                | Fault::NoPrimaryKey { .. }
                | Fault::Sql(_)
                | Fault::StatementTimeout { .. }
                | Fault::GaveWay { .. }
                | Fault::MaxAffectedExceeded { .. }
                | Fault::UndoConflict { .. }
                | Fault::ResultTooLarge { .. }
                | Fault::RateLimited { .. }
                | Fault::QuotaExceeded { .. }
                | Fault::Unavailable { .. }
                | Fault::InOperation(_)
                | Fault::Internal { .. } => {}
            }
        }
        faults
    }

    #[test]
    fn every_fault_has_its_code_and_status_in_the_table() {
        let faults = one_of_each();
        for fault in &faults {
            let code = by_code(fault.code()).unwrap_or_else(|| panic!("{} is not in the table", fault.code()));
            assert!(code.statuses.contains(&fault.status()), "{}: {}", fault.code(), fault.status());
            assert!(fault.retry_after().is_none_or(|_| code.retry), "{} may be tried again", fault.code());
        }
        for code in CODES {
            assert!(faults.iter().any(|fault| fault.code() == code.code), "no fault is {}", code.code);
        }
    }

    #[test]
    fn codes_stand_once_and_by_status() {
        for pair in CODES.windows(2) {
            assert!(pair[0].statuses[0] <= pair[1].statuses[0], "{} stands after {}", pair[1].code, pair[0].code);
        }
        for (at, code) in CODES.iter().enumerate() {
            assert!(CODES[at + 1..].iter().all(|other| other.code != code.code), "{} stands twice", code.code);
        }
    }
}
