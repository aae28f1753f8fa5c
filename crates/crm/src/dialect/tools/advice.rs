//! Errors for models: the dialect's error, and what to do next in terms of tools.

use serde_json::{Map, Value};

use crate::dialect::relm::names::relm_id;
use crate::dialect::tools::schema::arguments;
use crate::dialect::tools::show::{NOTE, NOTE_TEXT};
use crate::dialect::tools::{Act, Tool};
use crate::dialect::{Dialect, Meta};
use crate::model::fault::{Fault, nearest};

/// What to do next, by the code of an error. `{tool}` stands for the tool's name.
#[rustfmt::skip] // a table
const NEXT: &[(&str, &str)] = &[
    ("invalid_request",         "Correct the arguments and call {tool} again."),
    ("invalid_cursor",          "Call {tool} without cursor, then page with the same arguments."),
    ("sql_error",               "Correct the statement; describe_schema lists tables and columns."),
    ("unauthorized",            "Ask the person for a valid API key."),
    ("forbidden",               "This key may not do it. Tell the person which right is missing."),
    ("plan_required",           "The workspace's plan lacks this. Work without it."),
    ("workspace_read_only",     "Ask the person to claim the workspace, then try again."),
    ("not_found",               "Call search or list_records to find the right id, with include_deleted for deleted records; describe_schema lists the tables."),
    ("statement_timeout",       "Narrow the statement with WHERE or LIMIT, or work in smaller steps."),
    ("conflict",                "Get the existing record, then call update_record on it instead of creating another."),
    ("still_referenced",        "Change or delete the records that refer to it first, or leave out hard."),
    ("unknown_stage",           "Call list_pipeline_stages, or list_records on pipeline_stages, and use one of its keys."),
    ("stage_in_use",            "Move its deals to another stage first."),
    ("pipeline_in_use",         "Move its deals to another pipeline first."),
    ("cannot_delete_default",   "Make another pipeline the default first."),
    ("validation_failed",       "Correct the named field; describe_schema with the table shows its type."),
    ("invalid_reference",       "Call search or list_records for the id of an existing record."),
    ("invalid_metadata",        "list_records on custom_fields shows the definitions. Correct the value."),
    ("no_primary_key",          "Use query_sql or execute_sql for this table."),
    ("batch_too_large",         "Send at most 500 records at a time."),
    ("payload_too_large",       "Send less at a time."),
    ("result_too_large",        "Select less of it, for example with left() or substring()."),
    ("max_affected_exceeded",   "Nothing was kept. Narrow the call, or ask the person whether so many rows may change, then raise max_affected."),
    ("unknown_control",         "Nothing was done. Correct dry_run or max_affected, and call {tool} again."),
    ("control_not_supported",   "Leave out dry_run and max_affected; this changes no records."),
    ("confirmation_required",   "Nothing was done. Tell the person what is lost. If they agree, call {tool} again with \"confirm\": true."),
    ("run_finished",            "Use another run_id."),
    ("undo_conflict",           "Nothing was undone. Show the person the conflicts; on_conflict: skip undoes the rest."),
    ("already_undone",          "Nothing is left to undo. To take back an undo, undo its run."),
    ("undo_expired",            "It is too old to be undone. Correct the records with update_record."),
    ("target_not_allowed",      "Ask the person for a public https address."),
    ("email_not_configured",    "Ask the person to connect an e-mail provider, or call set_email_integration."),
    ("email_rejected",          "The provider refused it. Correct what its words name."),
    ("rate_limited",            "Wait, then call it again."),
    ("quota_exceeded",          "Stop, and tell the person that the workspace's monthly quota is used up."),
    ("unavailable",             "Wait a few seconds, then call it again."),
    ("internal_error",          "Try once more. If it fails again, tell the person the request_id."),
];

/// The error of a tool as an object.
pub fn error(fault: &Fault, tool: &Tool, dialect: &Dialect, meta: &Meta<'_>) -> Map<String, Value> {
    let fault = &with_nearest_argument(fault.clone(), tool, dialect);
    let shown = serde_json::from_slice((dialect.show_fault)(fault, meta).body.as_slice());
    let Ok(Value::Object(mut object)) = shown else { return Map::new() };
    // Relm has the members of an error in `error`, agentCRM beside it.
    let members = match object.get_mut("error") {
        Some(Value::Object(_)) => object.get_mut("error").and_then(Value::as_object_mut),
        _ => Some(&mut object),
    };
    if let Some(members) = members {
        members.remove("docs_url");
        // These hints name HTTP methods and paths; the next step below says it in tools.
        if matches!(
            fault.apart().0,
            Fault::Conflict { .. } | Fault::StillReferenced { .. } | Fault::InvalidMetadata { .. }
        ) {
            members.remove("hint");
        }
        members.insert("next".into(), next(fault, tool, dialect).into());
        if matches!(
            fault.apart().0,
            Fault::Sql(_) | Fault::UndoConflict { .. } | Fault::Refused { code: "confirmation_required", .. }
        ) {
            // Their texts have values of records.
            members.insert(NOTE.into(), NOTE_TEXT.into());
        }
    }
    object
}

/// A name that is no field of a record may be a misspelled argument of the tool.
fn with_nearest_argument(fault: Fault, tool: &Tool, dialect: &Dialect) -> Fault {
    match fault {
        Fault::Unknown { what, name, nearest: field } => {
            let arguments = arguments(tool, dialect);
            let names = arguments.iter().map(|it| it.name.as_str()).chain(field.as_deref());
            let nearest = nearest(&name, names);
            Fault::Unknown { what, name, nearest }
        }
        fault => fault,
    }
}

fn next(fault: &Fault, tool: &Tool, dialect: &Dialect) -> String {
    // Of a batch, the fault of the operation counts.
    let (fault, operation) = fault.apart();
    match fault {
        Fault::Conflict { existing_id: Some(id), .. } => {
            let own = match (dialect.reference.wire.object, relm_id(id)) {
                (Some(_), Some((prefix, tail))) => format!("{prefix}{tail}"),
                _ => id.clone(),
            };
            return match operation {
                Some(_) => format!("PATCH the record {own} in this batch instead of creating another."),
                None => format!("Call update_record with the id {own} instead of creating another."),
            };
        }
        Fault::Sql(sql) if matches!(sql.sqlstate.as_str(), "25006" | "42501") && tool.kind.act == Act::Query => {
            return "query_sql only reads. Use execute_sql, if it is listed, to change something.".into();
        }
        // The person was asked already.
        Fault::Refused { code: "confirmation_required", hint: Some(hint), .. } => return hint.clone(),
        Fault::RateLimited { retry_after, .. } => return format!("Wait {retry_after} s, then call it again."),
        _ => {}
    }
    let next = NEXT.iter().find(|(code, _)| *code == fault.code()).map_or("Correct the call and try again.", |it| it.1);
    next.replace("{tool}", &tool.name())
}
