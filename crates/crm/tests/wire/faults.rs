//! Snapshots of the same errors in each dialect. They include every code, and every fault with its own format.

use std::panic::Location;

use crm::model::codes::CODES;
use crm::model::fault::{Fault, HeadPart, OperationFault, SqlFault};

use crate::{check, ids, meta, replies};

fn faults() -> Vec<Fault> {
    let refused = |code| Fault::Refused { code, message: "The message.".into(), hint: Some("The hint.".into()) };
    let sql = |sqlstate: &str| {
        Fault::Sql(Box::new(SqlFault {
            message: "column \"name\" does not exist".into(),
            sqlstate: sqlstate.into(),
            detail: Some("The detail.".into()),
            hint: Some("The hint.".into()),
            position: Some(8),
        }))
    };
    let in_operation = |fault| {
        let (name, table) = (Some("deal".into()), Some("deals".into()));
        Fault::InOperation(Box::new(OperationFault { index: 2, name, table, fault }))
    };
    vec![
        Fault::invalid("\"custom\" takes a JSON object."),
        Fault::InvalidJson { reason: "expected value at line 1 column 2".into() },
        Fault::Unknown { what: "field", name: "valu_cents".into(), nearest: None },
        Fault::Unknown { what: "parameter", name: "amount".into(), nearest: Some("amount_cents".into()) },
        Fault::InvalidCursor,
        sql("42703"),
        sql("42501"),
        Fault::Unauthorized { message: "The key is not known.".into() },
        Fault::NotSignedIn { message: "The session has ended.".into(), hint: "The hint.".into() },
        Fault::Forbidden { message: "A viewer writes nothing.".into() },
        refused("plan_required"),
        Fault::WorkspaceReadOnly,
        Fault::NoSuchPath { path: "/v1/nothing".into() },
        Fault::NoSuchTable { name: "contact".into(), nearest: Some("contacts".into()) },
        Fault::NotFound { table: "deals".into(), id: ids("d_~") },
        Fault::MethodNotAllowed { allow: vec!["GET", "POST"] },
        Fault::StatementTimeout { limit_seconds: 30 },
        Fault::GaveWay { after_ms: 1250 },
        Fault::BodyTimeout,
        Fault::HeadTooLarge { part: HeadPart::Address },
        Fault::HeadTooLarge { part: HeadPart::Headers },
        Fault::Conflict {
            message: "Taken.".into(),
            constraint: "contacts_email_key".into(),
            existing_id: Some(ids("c_~")),
        },
        refused("unknown_control"),
        refused("ambiguous"),
        refused("control_not_supported"),
        refused("confirmation_required"),
        refused("run_finished"),
        refused("already_undone"),
        refused("undo_expired"),
        Fault::MaxAffectedExceeded {
            message: "Too many rows.".into(),
            affected: serde_json::json!({"deals": {"created": 0, "updated": 3, "deleted": 0, "restored": 0}}),
        },
        Fault::UndoConflict {
            conflicts: vec![serde_json::json!({"table": "deals", "id": ids("d_~"), "reason": "changed_since",
                "columns": {"amount_cents": {"expected": 1, "now": 2, "back_to": 0}}})],
            rows: 2,
        },
        refused("last_owner"),
        refused("already_member"),
        refused("cannot_delete_default"),
        refused("pipeline_in_use"),
        refused("stage_in_use"),
        Fault::StillReferenced { message: "Referred to.".into(), constraint: "deals_contact_id_fkey".into() },
        Fault::IdempotencyConflict,
        Fault::IdempotencyInProgress,
        Fault::PayloadTooLarge { limit: 10 },
        Fault::TooManyValues { values: 1_000_000 },
        Fault::ResultTooLarge { limit: 10 },
        Fault::UnsupportedMediaType { sent: "text/plain".into() },
        Fault::ValidationFailed {
            message: "null value in column \"name\".".into(),
            hint: None,
            field: Some("name".into()),
        },
        Fault::InvalidMetadata { message: "\"tier\" takes a number.".into(), field: Some("tier".into()) },
        Fault::InvalidReference { message: "There is no live record.".into(), hint: None, field: "company_id".into() },
        refused("unknown_stage"),
        refused("batch_too_large"),
        refused("target_not_allowed"),
        refused("email_not_configured"),
        refused("email_rejected"),
        Fault::NoPrimaryKey { table: "notes".into(), hint: "The hint.".into() },
        Fault::RateLimited { retry_after: 7, message: "Too many requests.".into() },
        Fault::QuotaExceeded { retry_after: 7, message: "Too many requests this month.".into() },
        Fault::Unavailable { retry_after: 7, message: "Too busy.".into() },
        in_operation(Fault::ValidationFailed {
            message: "null value in column \"name\".".into(),
            hint: None,
            field: Some("name".into()),
        }),
        in_operation(sql("42703")),
        Fault::Internal { cause: "never shown".into(), place: Location::caller() },
    ]
}

#[test]
fn faults_in_words() {
    let faults = faults();
    for code in CODES {
        assert!(faults.iter().any(|fault| fault.code() == code.code), "no fault here is {}", code.code);
    }
    let mut text = String::new();
    for fault in &faults {
        replies(&mut text, fault.code(), |dialect| (dialect.show_fault)(fault, &meta(Some("deals"))));
    }
    assert!(!text.contains("never shown"));
    check("faults", &text);
}
