//! The data for Relm's documentation: its endpoints, its filters and its schemas.

use serde_json::{Value, json};

use crate::dialect::agentcrm::AGENTCRM;
use crate::dialect::agentcrm::filter::MAIL_RELATIONS;
use crate::dialect::openapi::{Act, ENDPOINTS, Parameter, Reference, Style, Wire, shared, single_value};
use crate::dialect::relm::VERSIONS;
use crate::dialect::relm::filter::{OPERATORS, offered};
use crate::dialect::relm::names::{OBJECT, name_of, prefix_of};
use crate::model::codes::{self, Code};
use crate::model::entity::{Entity, FieldKind};
use crate::model::filter::Op;

/// The data for Relm's documentation.
pub static REFERENCE: Reference = Reference {
    title: "Kith (Relm)",
    key: "An API key, `sk_live_…` or `sk_test_…`. The workspace's owner makes it: `POST /v1/keys {\"dialect\": \"relm\"}` with a session.",
    about: include_str!("about.md"),
    // All endpoints except sign-up, which has no key and so no dialect.
    endpoints: ENDPOINTS.split_at(1).1,
    errands: &[],
    filter_forms: || {
        let operators = OPERATORS.iter().map(|operator| (operator.shape, operator.meaning));
        SHORT_FORMS.iter().copied().chain(operators).chain(OTHER_FORMS.iter().copied()).collect()
    },
    llms: include_str!("llms.md"),
    llms_full: include_str!("llms-full.md"),
    wire: Wire {
        column: |entity, column| name_of(Some(entity), column).unwrap_or(column),
        prefix: prefix_of,
        filters,
        answer,
        dry_run: Some("DryRun"),
        schemas,
        fault,
        never: &[],
        object: Some(OBJECT),
        new_id: "/id",
        expand: Some("expand"),
        versions: Some(&VERSIONS),
    },
};

const SHORT_FORMS: &[(&str, &str)] = &[("?field=v", "the field is `v`")];

/// Parameters of a list that are not conditions on a field.
const OTHER_FORMS: &[(&str, &str)] = &[
    ("?filter[metadata->>key][op]=v", "a key of `metadata`, compared as the type of its definition"),
    ("?include_deleted=true", "bypass the soft-delete filter"),
    ("?only_deleted=true", "only soft-deleted records"),
    (
        "?sort=field",
        "sorts by the field, nulls last; `?sort=-field` descends, `?sort=metadata->>key` and `?sort=company.name` work too",
    ),
    ("?limit=N&cursor=…", "cursor pagination (default 50, max 200)"),
];

/// The filter parameters of a table.
fn filters(entity: Option<&Entity>) -> Vec<Parameter> {
    let Some(entity) = entity else { return vec![any_field()] };
    let mut parameters = Vec::new();
    for field in entity.columns().filter(|field| field.name != "custom") {
        let Some(name) = name_of(Some(entity), field.name) else { continue };
        for operator in OPERATORS.iter().filter(|operator| offered(operator.op, &field)) {
            let single = match operator.op {
                Op::Present => json!({"type": "boolean"}),
                _ => single_value(field.kind),
            };
            let (schema, style) = match operator.op {
                Op::In => (json!({"type": "array", "minItems": 1, "items": single}), Style::Commas),
                _ => (single, Style::Single),
            };
            let about = format!("`{name}` {}.", operator.about);
            if operator.op == Op::Eq {
                let (name, schema, about) = (name.to_owned(), schema.clone(), about.clone());
                parameters.push(Parameter { name, schema, about, style });
            }
            parameters.push(Parameter { name: format!("filter[{name}][{}]", operator.name), schema, about, style });
        }
    }
    parameters.push(metadata_keys());
    let single = |name: &str, schema: Value, about: &str| Parameter {
        name: name.into(),
        schema,
        about: about.into(),
        style: Style::Single,
    };
    if entity.table == "emails" {
        let ids = MAIL_RELATIONS.iter().map(|(name, _, about)| single(name, json!({"type": "string"}), about));
        parameters.extend(ids);
    }
    if entity.fields.iter().any(|field| field.name == "occurred_at") {
        let about = "Only entries at this time or later; the same as `filter[occurred_at][gte]`.";
        parameters.push(single("since", single_value(FieldKind::Time), about));
    }
    parameters
}

fn metadata_keys() -> Parameter {
    let names: Vec<&str> = OPERATORS.iter().map(|operator| operator.name).collect();
    let pattern = format!("^filter\\[metadata->>.+?\\](\\[({})\\])?$", names.join("|"));
    Parameter {
        name: "metadata".into(),
        schema: json!({"type": "object", "patternProperties": {pattern: {"type": "string"}}, "additionalProperties": false}),
        about: "Keys of `metadata`, each a parameter of its own: `?filter[metadata->>plan]=pro`, \
                `?filter[metadata->>seats][gte]=10`. Compared as the type of the key's definition, else as text."
            .into(),
        style: Style::Open,
    }
}

fn any_field() -> Parameter {
    Parameter {
        name: "filters".into(),
        schema: json!({"type": "object", "additionalProperties": {"type": "string"}}),
        about: "Any column of the table, each a parameter of its own: `?col=v`, `?filter[col][gte]=v`, and \
                `?filter[jsonb_col->>key]=v`. An unknown column, or a comparison that does not fit its type, is refused with a \
                hint."
            .into(),
        style: Style::Open,
    }
}

fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn dry_run() -> Value {
    let [status, affected, changes, changes_truncated] = shared::dry_run();
    json!({
        "type": "object",
        "required": [OBJECT, "status", "result", "affected", "changes", "changes_truncated"],
        "properties": {
            OBJECT: {"type": "string", "const": "dry_run"},
            "status": status,
            "result": {"type": "object", "additionalProperties": true, "description": "The usual answer."},
            "affected": affected,
            "changes": changes,
            "changes_truncated": changes_truncated,
        },
    })
}

/// The property `object` with the kind of the value.
fn object(name: &str) -> Value {
    json!({OBJECT: {"type": "string", "const": name}})
}

/// The schema of a page. It has no shared part, because client generators do not merge an `allOf` with arrays.
fn list(items: Value) -> Value {
    json!({
        "type": "object",
        "required": ["object", "data", "has_more", "next_cursor"],
        "properties": {
            "object": {"type": "string", "const": "list"},
            "data": {"type": "array", "items": items},
            "has_more": {"type": "boolean", "description": "Whether there is a next page."},
            "next_cursor": {"type": ["string", "null"], "description": "Send it as `cursor` for the next page; null on the last."},
        },
    })
}

fn answer(act: Act, row: Value) -> Value {
    match act {
        Act::SignUp => named("Row"),
        Act::Sql => named("SqlResult"),
        Act::Operations => list(named("OperationAnswer")),
        Act::Tables => list(named("TableSummary")),
        Act::Schema => named("DatabaseSchema"),
        Act::SearchAll => list(named("FoundRecord")),
        Act::Batch => named("Batch"),
        Act::Import => named("Import"),
        Act::List | Act::Stages | Act::Search | Act::ListRows => list(row),
        Act::Create | Act::CreateStage | Act::Find | Act::Update | Act::Restore => row,
        Act::Assert => json!({"allOf": [row, {"type": "object", "properties": {"outcome": shared::outcome()}}]}),
        Act::Merge => json!({"allOf": [row, {"type": "object", "properties": {"merged": named("Merged")}}]}),
        Act::OpenRun | Act::FindRun | Act::FinishRun => named("Run"),
        Act::ListRuns => list(named("Run")),
        Act::RunChanges => list(named("Change")),
        Act::Undo => named("Undone"),
        Act::Delete | Act::RemoveMember => named("Deleted"),
        Act::AddMembers => json!({"oneOf": [row.clone(), list(row)]}),
    }
}

/// The schemas that responses and bodies refer to, besides those of the tables.
fn schemas() -> Vec<(&'static str, Value)> {
    let mut schemas = shared::schemas();
    let truncated = json!({"type": "boolean", "description": "True if the result was cut at a limit."});
    let mut sql_result = shared::sql_result(object("sql_result"));
    sql_result["properties"]["truncated"] = truncated;
    let count = || json!({"type": "integer", "minimum": 0});
    schemas.extend([
        (
            "Deleted",
            json!({
                "type": "object",
                "required": ["id", "object", "deleted"],
                "properties": {
                    "id": {"description": "The record's id.", "oneOf": [{"type": "string"}, {"type": "number"}]},
                    "object": {"type": "string", "description": "Kind of record."},
                    "deleted": {"type": "boolean", "description": "Always true."},
                    "note": {"type": "string", "description": "A note on the deletion, if there is one."},
                },
            }),
        ),
        ("SqlResult", sql_result),
        ("Run", shared::run(object("run"))),
        ("Change", shared::change(object("change"))),
        ("Undone", shared::undone(object("undo"))),
        ("DryRun", dry_run()),
        ("PlannedChange", shared::planned_change()),
        ("TableSummary", shared::table_summary(object("table"))),
        ("DatabaseSchema", shared::database_schema(object("schema"))),
        ("Import", shared::import(json!({"object": {"type": "string", "const": "import"}}))),
        ("BatchItem", shared::batch_item(error_object(json!({"type": "string"}), Vec::new()))),
        (
            "Batch",
            json!({
                "type": "object",
                "required": ["object", "data", "created", "updated", "failed"],
                "properties": {
                    "object": {"type": "string", "const": "batch"},
                    "data": {"type": "array", "items": named("BatchItem")},
                    "created": count(),
                    "updated": count(),
                    "failed": count(),
                },
            }),
        ),
        ("FoundRecord", shared::found_record(shared::FOUND.map(|name| format!("Found{name}")))),
    ]);
    let unauthorized = codes::by_code("unauthorized");
    schemas.extend(unauthorized.into_iter().flat_map(|code| UNAUTHORIZED.map(|(name, schema)| (name, schema(code)))));
    schemas
}

/// The schema of `error`. `more` has the properties of some codes only, and whether each is required.
fn error_object(code: Value, more: Vec<(&'static str, Value, bool)>) -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let mut properties = json!({
        "code": code,
        "message": text("The error message."),
        "hint": text("Advice for the caller."),
        "request_id": text("`req_…`, to report when something is wrong."),
        "docs_url": {"type": "string", "format": "uri", "description": "The documentation of this code."},
    });
    let mut required = vec!["code", "message", "request_id", "docs_url"];
    for (name, schema, always) in more {
        properties[name] = schema;
        if always {
            required.push(name);
        }
    }
    json!({"type": "object", "required": required, "properties": properties})
}

/// The schema of the error with this code. A request without a key of either dialect is answered in agentCRM's format.
fn fault(code: &Code) -> Value {
    match code.code {
        "unauthorized" => json!({"description": code.about, "oneOf": UNAUTHORIZED.map(|(name, _)| named(name))}),
        _ => own_fault(code),
    }
}

/// Makes the schema of an error.
type FaultSchema = fn(&Code) -> Value;

/// The two formats of `unauthorized`. Each has a name, because client generators drop unnamed parts of a `oneOf`.
const UNAUTHORIZED: [(&str, FaultSchema); 2] =
    [("KeyUnauthorizedError", own_fault), ("NoKeyUnauthorizedError", AGENTCRM.reference.wire.fault)];

fn own_fault(code: &Code) -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let text_or_null = |about: &str| json!({"type": ["string", "null"], "description": about});
    let number_or_null = |about: &str| json!({"type": ["integer", "null"], "description": about});
    let mut more = match code.code {
        "sql_error" => vec![
            ("sqlstate", json!({"type": "string", "pattern": "^[0-9A-Z]{5}$", "description": "The SQLSTATE."}), true),
            ("hint", text_or_null("PostgreSQL's hint."), true),
            ("position", number_or_null("The character of the error, counted from 1."), true),
            ("detail", text("PostgreSQL's detail."), false),
        ],
        "conflict" => vec![
            ("constraint", text("The unique constraint or index."), true),
            ("existing_id", text_or_null("The record that has the value."), true),
        ],
        "still_referenced" => vec![("constraint", text("The foreign key."), true)],
        "validation_failed" => vec![("field", text("The field, if it is known."), false)],
        "invalid_reference" => vec![("field", text("The field."), true)],
        "invalid_metadata" => vec![("field", text("The key in `metadata`."), false)],
        "invalid_request" => vec![
            ("field", text("The body's field that does not exist."), false),
            ("parameter", text("The query parameter that does not exist."), false),
            ("relation", text("The relation that can't be expanded."), false),
        ],
        _ => Vec::new(),
    };
    more.extend(shared::operation_of_fault().map(|(name, schema)| (name, schema, false)));
    let error = error_object(json!({"type": "string", "const": code.code}), more);
    json!({"type": "object", "description": code.about, "required": ["error"], "properties": {"error": error}})
}
