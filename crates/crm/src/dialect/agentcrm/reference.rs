//! The data for agentCRM's documentation: its endpoints, its filters and its schemas.

use serde_json::{Value, json};

use crate::dialect::agentcrm::filter::{FORMS, Form, MAIL_RELATIONS, offered};
use crate::dialect::openapi::people::ERRANDS;
use crate::dialect::openapi::{Act, ENDPOINTS, Parameter, Reference, Style, Wire, shared, single_value};
use crate::model::codes::Code;
use crate::model::entity::{Entity, FieldKind};

/// The data for agentCRM's documentation.
pub static REFERENCE: Reference = Reference {
    title: "Kith",
    about: include_str!("about.md"),
    key: "An API key. POST /v1/workspaces gives the first one, without sign-up.",
    endpoints: ENDPOINTS,
    errands: ERRANDS,
    filter_forms: || {
        let (equality, others) = FORMS.split_at(1);
        let written = |forms: &'static [Form]| forms.iter().map(|form| (form.shape, form.meaning));
        written(equality).chain(SEVERAL).chain(written(others)).chain(OTHER_FORMS.iter().copied()).collect()
    },
    llms: include_str!("llms.md"),
    llms_full: include_str!("llms-full.md"),
    wire: Wire {
        column: |_, name| name,
        prefix: |entity| entity.prefix,
        filters,
        answer,
        dry_run: None,
        schemas,
        fault,
        never: &["unknown_stage"],
        object: None,
        new_id: "/data/id",
        expand: None,
        versions: None,
    },
};

const SEVERAL: [(&str, &str); 1] = [("?col=v1,v2", "`col = ANY($1)`")];

/// Parameters of a list that are not conditions on a column.
const OTHER_FORMS: &[(&str, &str)] = &[
    ("?custom.key=v", "`(custom->>'key') = $1`"),
    ("?include_deleted=true", "bypass the soft-delete filter"),
    ("?only_deleted=true", "only soft-deleted rows"),
    (
        "?sort=col",
        "`ORDER BY col`, nulls last; `?sort=-col` descends, `?sort=custom.key` and `?sort=company.name` work too",
    ),
    ("?limit=N&cursor=…", "keyset pagination (default 50, max 200)"),
];

/// The filter parameters of a table.
fn filters(entity: Option<&Entity>) -> Vec<Parameter> {
    let Some(entity) = entity else { return vec![any_column()] };
    let mut parameters = Vec::new();
    for field in entity.columns().filter(|field| field.name != "custom") {
        for form in FORMS.iter().filter(|form| offered(form.op, form.suffix, &field)) {
            let single = one_value(field.kind, form.suffix);
            let takes_several = form.suffix.is_empty() && field.kind != FieldKind::Bool;
            let (schema, style) = match takes_several {
                true => (json!({"type": "array", "minItems": 1, "items": single}), Style::Commas),
                false => (single, Style::Single),
            };
            let about = format!("`{}` {}.", field.name, form.about);
            parameters.push(Parameter { name: format!("{}{}", field.name, form.suffix), schema, about, style });
        }
    }
    parameters.push(custom_keys());
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
        let schema = json!({"type": "string", "format": "date-time"});
        parameters.push(single("since", schema, "Only entries at this time or later; the same as `occurred_at_gte`."));
    }
    parameters
}

fn one_value(kind: FieldKind, suffix: &str) -> Value {
    if suffix == "_present" { json!({"type": "boolean"}) } else { single_value(kind) }
}

fn custom_keys() -> Parameter {
    Parameter {
        name: "custom".into(),
        schema: json!({"type": "object", "patternProperties": {"^custom\\..+$": {"type": "string"}}, "additionalProperties": false}),
        about: "Keys of `custom`, each a parameter of its own: `?custom.plan=pro`; several values separated by commas. A key \
                that `custom_fields` declares is compared as its type, and takes operators: `?custom.seats_gte=10`."
            .into(),
        style: Style::Open,
    }
}

fn any_column() -> Parameter {
    let shapes: Vec<&str> = FORMS.iter().map(|form| form.shape).collect();
    Parameter {
        name: "filters".into(),
        schema: json!({"type": "object", "additionalProperties": {"type": "string"}}),
        about: format!(
            "Any column of the table, each a parameter of its own: `{}`, and `?jsonb_col.key=v`. An unknown column, or a \
             comparison that does not fit its type, is refused with a hint.",
            shapes.join("`, `")
        ),
        style: Style::Open,
    }
}

fn answer(act: Act, row: Value) -> Value {
    let wrapped = |data: Value, meta: &str| {
        json!({
            "type": "object",
            "required": ["data", "_meta"],
            "properties": {"data": data, "_meta": {"$ref": format!("#/components/schemas/{meta}")}},
        })
    };
    let array = |items: Value| json!({"type": "array", "items": items});
    match act {
        Act::SignUp => wrapped(named("Workspace"), "Meta"),
        Act::Sql => wrapped(named("SqlResult"), "SqlMeta"),
        Act::Operations => wrapped(array(named("OperationAnswer")), "PageMeta"),
        Act::Tables => wrapped(array(named("TableSummary")), "PageMeta"),
        Act::Schema => wrapped(named("DatabaseSchema"), "Meta"),
        Act::SearchAll => wrapped(array(named("FoundRecord")), "PageMeta"),
        Act::Batch => wrapped(array(named("BatchItem")), "BatchMeta"),
        Act::Import => wrapped(named("Import"), "Meta"),
        Act::List | Act::Stages | Act::Search => wrapped(array(row), "PageMeta"),
        Act::ListRows => wrapped(array(row), "ListRowsMeta"),
        Act::Create | Act::CreateStage | Act::Find | Act::Update | Act::Restore => wrapped(row, "Meta"),
        Act::Merge => wrapped(row, "MergeMeta"),
        Act::Assert => wrapped(row, "AssertMeta"),
        Act::OpenRun | Act::FindRun | Act::FinishRun => wrapped(named("Run"), "Meta"),
        Act::ListRuns => wrapped(array(named("Run")), "PageMeta"),
        Act::RunChanges => wrapped(array(named("Change")), "PageMeta"),
        Act::Undo => wrapped(named("Undone"), "Meta"),
        Act::Delete | Act::RemoveMember => wrapped(named("Deleted"), "Meta"),
        Act::AddMembers => wrapped(json!({"oneOf": [row, array(named("AddedMember"))]}), "Meta"),
    }
}

/// The results of the search in several tables: the schema, the schema of the record with its score, and the value of `object`.
const FOUND_RECORDS: [(&str, &str, &str); 4] = [
    ("FoundContactRecord", "FoundContact", "contact"),
    ("FoundCompanyRecord", "FoundCompany", "company"),
    ("FoundDealRecord", "FoundDeal", "deal"),
    ("FoundActivityRecord", "FoundActivity", "activity"),
];

fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schemas that responses and bodies refer to, besides those of the tables.
fn schemas() -> Vec<(&'static str, Value)> {
    let text = |about: &str| json!({"type": "string", "description": about});
    let text_or_null = |about: &str| json!({"type": ["string", "null"], "description": about});
    let with_meta = |properties: Value, required: Value| json!({"allOf": [{"$ref": "#/components/schemas/Meta"}, {"type": "object", "required": required, "properties": properties}]});
    let page = || {
        json!({
            "next_cursor": text_or_null("Send it as `cursor` for the next page; null on the last."),
            "has_more": {"type": "boolean", "description": "Whether there is a next page."},
            "limit": {"type": "integer", "description": "The limit of the page."},
        })
    };
    let mut list_page = page();
    list_page["truncated"] = json!({"type": "boolean", "description": "True if the page was cut at 10 MiB."});
    let [status, affected, changes, changes_truncated] = shared::dry_run();
    let mut schemas = shared::schemas();
    schemas.extend([
        (
            "Meta",
            json!({
                "type": "object",
                "required": ["request_id"],
                "properties": {
                    "request_id": text("`req_…`, the same as the X-Request-Id header."),
                    "workspace_id": text("`ws_…`"),
                    "claim_url": {"type": "string", "format": "uri", "description": "The page for claiming the workspace, until somebody claims it."},
                    "ttl_expires_at": {"type": "string", "format": "date-time", "description": "The time at which the unclaimed workspace becomes read-only."},
                    "dry_run": {"type": "boolean", "description": "True if nothing was kept. The following fields come with it."},
                    "status": status,
                    "affected": affected,
                    "changes": changes,
                    "changes_truncated": changes_truncated,
                },
            }),
        ),
        ("PlannedChange", shared::planned_change()),
        ("PageMeta", with_meta(page(), json!(["next_cursor", "has_more", "limit"]))),
        ("ListRowsMeta", with_meta(list_page, json!(["next_cursor", "has_more", "limit"]))),
        (
            "Deleted",
            json!({
                "type": "object",
                "required": ["id", "deleted_at"],
                "properties": {
                    "id": {"description": "The record's id.", "oneOf": [{"type": "string"}, {"type": "number"}]},
                    "deleted_at": {"type": "string", "format": "date-time", "description": "The time of deletion."},
                },
            }),
        ),
        (
            "NewWorkspace",
            json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {"name": {"type": ["string", "null"], "maxLength": 200, "description": "A name for people to read."}},
            }),
        ),
        (
            "Workspace",
            json!({
                "type": "object",
                "required": ["workspace_id", "api_key"],
                "properties": {
                    "workspace_id": text("`ws_…`"),
                    "api_key": text("`acrm_dev_…`: the Bearer token of every other request. Shown this once."),
                    "claim_url": {"type": "string", "format": "uri", "description": "The page for claiming the workspace."},
                    "ttl_expires_at": {"type": "string", "format": "date-time", "description": "The time at which the unclaimed workspace becomes read-only."},
                },
            }),
        ),
        ("SqlResult", shared::sql_result(json!({}))),
        ("Run", shared::run(json!({}))),
        ("Change", shared::change(json!({}))),
        ("Undone", shared::undone(json!({}))),
        (
            "SqlMeta",
            with_meta(
                json!({"truncated": {"type": "boolean", "description": "True if the result was cut at a limit."}}),
                json!([]),
            ),
        ),
        ("TableSummary", shared::table_summary(json!({}))),
        ("DatabaseSchema", shared::database_schema(json!({}))),
        (
            "BatchMeta",
            with_meta(
                json!({"created": {"type": "integer"}, "updated": {"type": "integer"}, "failed": {"type": "integer"}}),
                json!(["created", "updated", "failed"]),
            ),
        ),
        ("AssertMeta", with_meta(json!({"outcome": shared::outcome()}), json!(["outcome"]))),
        ("MergeMeta", with_meta(json!({"merged": named("Merged")}), json!(["merged"]))),
        ("Import", shared::import(json!({}))),
        ("BatchItem", shared::batch_item(json!({"type": "object", "required": ["error", "message"], "properties": {
            "error": text("The error's code."), "message": text("The error message."), "hint": text("Advice for the caller."),
        }}))),
        ("FoundRecord", shared::found_record(FOUND_RECORDS.map(|(name, ..)| name.to_owned()))),
        ("AddedMember", json!({"allOf": [named("ListMember"), {"type": "object", "description": "One of several new members."}]})),
    ]);
    schemas.extend(FOUND_RECORDS.map(|(name, found, object)| {
        let kind = json!({"type": "object", "required": ["object"], "properties": {"object": {"type": "string", "const": object}}});
        (name, json!({"allOf": [named(found), kind]}))
    }));
    schemas
}

/// The schema of the error with this code.
fn fault(code: &Code) -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let text_or_null = |about: &str| json!({"type": ["string", "null"], "description": about});
    let mut properties = json!({
        "error": {"type": "string", "const": code.code},
        "message": text("The error message."),
        "hint": text("Advice for the caller."),
        "request_id": text("`req_…`, to report when something is wrong."),
        "docs_url": {"type": "string", "format": "uri", "description": "The documentation of this code."},
    });
    let mut required = vec!["error", "message", "request_id", "docs_url"];
    let mut add = |name: &'static str, schema: Value, always: bool| {
        properties[name] = schema;
        if always {
            required.push(name);
        }
    };
    match code.code {
        "sql_error" => {
            add("code", json!({"type": "string", "pattern": "^[0-9A-Z]{5}$", "description": "The SQLSTATE."}), true);
            add("hint", text_or_null("PostgreSQL's hint."), true);
            let position =
                json!({"type": ["integer", "null"], "description": "The character of the error, counted from 1."});
            add("position", position, true);
            add("detail", text("PostgreSQL's detail."), false);
        }
        "conflict" => {
            add("code", json!({"type": "string", "const": "23505"}), true);
            add("constraint", text("The unique constraint or index."), true);
            add("existing_id", text_or_null("The record that has the value."), true);
        }
        "still_referenced" => add("constraint", text("The foreign key."), true),
        "validation_failed" => add("field", text("The column, if it is known."), false),
        "invalid_reference" => add("field", text("The column."), true),
        "invalid_metadata" => add("field", text("The key in `custom`."), false),
        "invalid_request" => {
            add("field", text("The body's field that does not exist."), false);
            add("parameter", text("The query parameter that does not exist."), false);
        }
        _ => {}
    }
    for (name, schema) in shared::operation_of_fault() {
        properties[name] = schema;
    }
    json!({"type": "object", "description": code.about, "required": required, "properties": properties})
}
