//! The input and output schemas of tools. They are short, because a model reads all of them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::dialect::controls::{DRY_RUN_ARGUMENT, MAX_AFFECTED_ARGUMENT};
use crate::dialect::openapi::in_words_of;
use crate::dialect::relm::filter::OPERATORS;
use crate::dialect::tools::argument::{Argument, optional, required, text};
use crate::dialect::tools::names::is_filter;
use crate::dialect::tools::{Act, ControlAct, Tool, control, log, request, tools};
use crate::dialect::{DIALECTS, Dialect};
use crate::model::entity::{Entity, Field, FieldKind, NamedBy, Need, READ_ONLY_COLUMNS};

/// The schema of a tool's arguments.
pub fn input(tool: &Tool, dialect: &Dialect) -> Value {
    let arguments = arguments(tool, dialect);
    let names: Vec<&str> = arguments.iter().filter(|it| it.is_required).map(|it| it.name.as_str()).collect();
    let mut schema = json!({"type": "object"});
    if !names.is_empty() {
        schema["required"] = json!(names);
    }
    let properties: Map<String, Value> = arguments.iter().map(|it| (it.name.clone(), it.schema.clone())).collect();
    schema["properties"] = Value::Object(properties);
    // Columns that the workspace added are fields too.
    schema["additionalProperties"] = match takes_columns(tool) {
        true => json!({"description": "A column that the workspace added; others are refused."}),
        false => false.into(),
    };
    schema
}

/// Whether the arguments of a tool can be columns that the workspace added to the table.
pub fn takes_columns(tool: &Tool) -> bool {
    match tool.kind.act {
        Act::Create | Act::Update | Act::List => tool.entity.is_some(),
        Act::CreateStage | Act::UpdateStage => true,
        _ => false,
    }
}

/// The argument that names the tool's record.
pub fn name_argument(tool: &Tool) -> &'static str {
    match tool.entity {
        Some(Entity { named_by: NamedBy::Key | NamedBy::KeyInPipeline, .. }) => "key",
        _ => "id",
    }
}

/// The arguments of a tool, in the order of its schema. They are made once, because each call is checked against them.
pub fn arguments(tool: &Tool, dialect: &Dialect) -> &'static [Argument] {
    type Key = (&'static str, &'static str, &'static str);
    static MADE: LazyLock<BTreeMap<Key, Vec<Argument>>> = LazyLock::new(|| {
        let of = |dialect: &'static Dialect| tools().map(move |tool| (key(&tool, dialect), made(&tool, dialect)));
        DIALECTS.iter().flat_map(|dialect| of(dialect)).collect()
    });
    fn key(tool: &Tool, dialect: &Dialect) -> Key {
        (dialect.name, tool.kind.name, tool.entity.map_or("", |entity| entity.name))
    }
    MADE.get(&key(tool, dialect)).map_or(&[], Vec::as_slice)
}

fn made(tool: &Tool, dialect: &Dialect) -> Vec<Argument> {
    let name = || required(name_argument(tool), text(""));
    let table = || tool.entity.is_none().then(|| required("table", text("")));
    let values = || tool.entity.is_none().then(|| required("values", json!({"type": "object"})));
    let fields = |new| tool.entity.into_iter().flat_map(move |entity| fields(entity, dialect, new));
    let pipeline = || optional("pipeline", text("Key of the pipeline; by default the default one."));
    let list_id = || required("list_id", text(""));
    let sql = || [required("sql", text("")), optional("params", json!({"type": "array"}))];
    let mut arguments: Vec<Argument> = Vec::new();
    match tool.kind.act {
        Act::Search => arguments.push(required("query", text(""))),
        Act::Fetch => arguments.push(required("id", text(""))),
        Act::Describe => arguments.push(optional("table", text(""))),
        Act::List => {
            arguments.extend(table());
            arguments.extend(tool.entity.into_iter().flat_map(|entity| filters(entity, dialect)));
            arguments.push(optional("filter", filter()));
            arguments.push(optional("include_deleted", json!({"type": "boolean"})));
            arguments.extend(tool.entity.is_none().then(|| optional("only_deleted", json!({"type": "boolean"}))));
        }
        Act::Find => {
            arguments.extend(table());
            arguments.push(name());
            arguments.push(optional("include_deleted", json!({"type": "boolean"})));
            arguments.extend(dialect.reference.wire.expand.filter(|_| has_relations(tool)).map(|expand| {
                optional(
                    expand,
                    json!({"type": "array", "items": {"type": "string"}, "description": "Related records."}),
                )
            }));
        }
        Act::Create => {
            arguments.extend(table());
            arguments.extend(values());
            arguments.extend(fields(true));
            if tool.entity.is_none() {
                let about = "Fields, e.g. [\"email\"]: if one record has the same values, it is updated instead.";
                arguments.push(optional(
                    MATCH_ON,
                    json!({"type": "array", "items": {"type": "string"}, "description": about}),
                ));
            }
        }
        Act::Update => {
            arguments.extend(table());
            arguments.push(name());
            arguments.extend(values());
            arguments.extend(fields(false).filter(|it| it.name != name_argument(tool)));
        }
        Act::Delete => {
            arguments.extend(table());
            arguments.push(name());
            if tool.entity.is_none() {
                arguments.push(optional("hard", json!({"type": "boolean"})));
            }
        }
        Act::Restore => {
            arguments.extend(table());
            arguments.push(name());
        }
        Act::Merge => {
            arguments.extend(table());
            arguments.push(name());
            arguments.push(required("from", json!({"type": "array", "items": {"type": "string"}})));
            let about = "{field: id of the record whose value wins}.";
            arguments.push(optional("prefer", json!({"type": "object", "description": about})));
        }
        Act::SendEmail => arguments.extend(message()),
        Act::Upsert => {
            let rows = json!({"type": "array", "items": {"type": "object"},
                "description": "Contacts with the fields of create_contact."});
            arguments.push(required("contacts", rows));
            arguments.push(optional(
                "dedup_on",
                json!({"type": "array", "items": {"type": "string"},
                "description": "Default: [\"email\"]."}),
            ));
        }
        Act::Move => {
            arguments.extend([name(), required("stage", text("Key of the stage.")), optional("pipeline", text(""))])
        }
        Act::ListStages => arguments.push(pipeline()),
        Act::CreateStage => {
            arguments.push(pipeline());
            arguments.extend(fields(true).filter(|it| it.name != "pipeline"));
        }
        Act::UpdateStage => {
            arguments.extend([pipeline(), name()]);
            arguments.extend(fields(false).filter(|it| !matches!(it.name.as_str(), "pipeline" | "key")));
        }
        Act::DeleteStage => arguments.extend([pipeline(), name()]),
        Act::ListRows => arguments.push(list_id()),
        Act::AddMembers => {
            let ids = json!({"type": "array", "items": {"type": "string"}});
            arguments.extend([list_id(), required("member_ids", ids)]);
        }
        Act::RemoveMember => arguments.extend([list_id(), required("member_id", text(""))]),
        Act::Query | Act::Execute => arguments.extend(sql()),
        Act::Request => arguments.extend(request::arguments()),
        Act::Control(act, resource) => arguments.extend(control::arguments(act, resource)),
        act @ (Act::Operations
        | Act::Import
        | Act::OpenRun
        | Act::ListRuns
        | Act::FindRun
        | Act::ListChanges
        | Act::FinishRun
        | Act::Undo
        | Act::ListEvents) => arguments.extend(log::arguments(act)),
    }
    arguments.extend(common(tool.kind.act));
    if takes_confirm(tool) {
        let about = "true: the person agrees that it is removed for good.";
        arguments.push(optional(CONFIRM, json!({"type": "boolean", "description": about})));
    }
    arguments
}

/// The argument with the fields by which a record is found that exists already.
pub const MATCH_ON: &str = "match_on";

/// The argument with which a permanent deletion is confirmed.
pub const CONFIRM: &str = "confirm";

/// Whether a tool can remove something for good.
pub fn takes_confirm(tool: &Tool) -> bool {
    match tool.kind.act {
        Act::Delete => tool.entity.is_none(),
        act => matches!(act, Act::Operations | Act::Request | Act::Control(ControlAct::Delete, _)),
    }
}

/// The arguments that many tools have.
fn common(act: Act) -> Vec<Argument> {
    let limit = || optional("limit", json!({"type": "integer"}));
    let cursor = || optional("cursor", text("next_cursor of the page before."));
    let fields = || optional("fields", json!({"type": "array", "items": {"type": "string"}}));
    let format = || optional("response_format", json!({"type": "string", "enum": ["concise", "detailed"]}));
    let max_tokens = || optional("max_tokens", json!({"type": "integer"}));
    let mut arguments = match act {
        Act::List | Act::ListRows | Act::ListStages => vec![limit(), cursor(), fields(), format(), max_tokens()],
        Act::Search => vec![limit(), cursor(), format(), max_tokens()],
        Act::Find => vec![fields(), format(), max_tokens()],
        Act::ListRuns
        | Act::ListChanges
        | Act::ListEvents
        | Act::Control(ControlAct::List | ControlAct::History, _) => vec![limit(), cursor(), max_tokens()],
        Act::Fetch | Act::Describe | Act::Query | Act::Execute | Act::Operations | Act::Request | Act::Undo => {
            vec![max_tokens()]
        }
        _ => Vec::new(),
    };
    if act.changes_records() {
        // A run is ended under its own name.
        if act != Act::FinishRun {
            arguments.push(optional("reason", text("Why; kept in the activity feed.")));
            arguments.push(optional("run_id", text("")));
        }
        let about = "true: show what would change, and keep nothing.";
        arguments.push(optional(DRY_RUN_ARGUMENT, json!({"type": "boolean", "description": about})));
        arguments.push(optional(
            MAX_AFFECTED_ARGUMENT,
            json!({"type": "integer", "description": "Refused if more rows change."}),
        ));
    }
    arguments
}

/// The arguments of an e-mail.
fn message() -> Vec<Argument> {
    let several = |name: &str| optional(name, json!({"type": "array", "items": {"type": "string"}}));
    vec![
        optional("from", text("By default the workspace's from_email.")),
        required("to", json!({"type": "array", "items": {"type": "string"}})),
        several("cc"),
        several("bcc"),
        several("reply_to"),
        required("subject", text("")),
        optional("html", text("")),
        optional("text", text("")),
        optional("headers", json!({"type": "object"})),
        optional(
            "attachments",
            json!({"type": "array", "items": {"type": "object"},
            "description": "{filename, content, content_type?}; content in base64."}),
        ),
        optional("in_reply_to", text("Id of a recorded e-mail, or a Message-ID.")),
        several("deal_ids"),
    ]
}

fn has_relations(tool: &Tool) -> bool {
    tool.entity.is_none_or(|entity| !entity.to_one.is_empty() || !entity.to_many.is_empty())
}

fn fields(entity: &'static Entity, dialect: &Dialect, new: bool) -> impl Iterator<Item = Argument> {
    let wire = &dialect.reference.wire;
    let written = entity.columns().filter(|field| !READ_ONLY_COLUMNS.contains(&field.name));
    written.map(move |field| Argument {
        name: (wire.column)(entity, field.name).to_owned(),
        schema: value(dialect, &field, !new),
        is_required: new && field.need == Need::Required,
    })
}

fn filters(entity: &'static Entity, dialect: &Dialect) -> impl Iterator<Item = Argument> {
    let wire = &dialect.reference.wire;
    let listed = entity.fields.iter().filter(move |field| is_filter(entity, field));
    listed.map(move |field| {
        let about = Field { about: "", ..*field };
        optional((wire.column)(entity, field.name), value(dialect, &about, false))
    })
}

fn filter() -> Value {
    let names: Vec<&str> = OPERATORS.iter().map(|it| it.name).collect();
    json!({"type": "object", "description": format!("{{field: value}} or {{field: {{op: value}}}}. Ops: {}.", names.join(" "))})
}

/// The schema of a field's value. A value can be null where null clears it.
fn value(dialect: &Dialect, field: &Field, clears: bool) -> Value {
    let kind = match field.kind {
        FieldKind::Text
        | FieldKind::Email
        | FieldKind::Id(_)
        | FieldKind::OneOf(_)
        | FieldKind::Date
        | FieldKind::Time => "string",
        FieldKind::Emails | FieldKind::Ids(_) | FieldKind::JsonArray => "array",
        FieldKind::Integer | FieldKind::SmallInteger => "integer",
        FieldKind::Bool => "boolean",
        FieldKind::JsonObject => "object",
        FieldKind::Json => "",
    };
    let mut schema = Map::new();
    if clears && field.need == Need::Optional && !kind.is_empty() {
        schema.insert("type".into(), json!([kind, "null"]));
    } else if !kind.is_empty() {
        schema.insert("type".into(), kind.into());
    }
    match field.kind {
        FieldKind::OneOf(names) if clears && field.need == Need::Optional => {
            schema.insert("enum".into(), names.iter().copied().map(Value::from).chain([Value::Null]).collect());
        }
        FieldKind::OneOf(names) => {
            schema.insert("enum".into(), json!(names));
        }
        // The item's type is what clients that check strictly require of an array.
        FieldKind::Emails | FieldKind::Ids(_) => {
            schema.insert("items".into(), json!({"type": "string"}));
        }
        _ => {}
    }
    if let Some(about) = about(dialect, field) {
        schema.insert("description".into(), about.into());
    }
    Value::Object(schema)
}

/// The description of a field, where its name does not say enough.
fn about(dialect: &Dialect, field: &Field) -> Option<String> {
    let says_enough = |kind| matches!(kind, FieldKind::Id(_) | FieldKind::Bool);
    if field.about.is_empty() || says_enough(field.kind) || CLEAR.contains(&field.name) {
        return match field.kind {
            FieldKind::Date => Some("YYYY-MM-DD".into()),
            FieldKind::Time => Some("RFC 3339".into()),
            _ => None,
        };
    }
    let short = field.about.split([';', ',']).next().unwrap_or(field.about).trim_end_matches('.');
    Some(in_words_of(&dialect.reference.wire, short))
}

/// Fields whose names say enough.
const CLEAR: &[&str] = &[
    "name",
    "email",
    "first_name",
    "last_name",
    "phone",
    "label",
    "subject",
    "body",
    "type",
    "close_date",
    "occurred_at",
    "domain",
    "from_id",
    "to_id",
    "key",
    "industry",
    "custom",
];

/// The schema of a tool's structured answer. It names what models look for, and allows more.
pub fn output(act: Act) -> Value {
    let string = || json!({"type": "string"});
    let properties = match act {
        Act::Search => {
            json!({"data": {"type": "array"}, "results": {"type": "array"}, "has_more": {"type": "boolean"}, "next_cursor": {"type": ["string", "null"]}})
        }
        Act::List
        | Act::ListRows
        | Act::ListStages
        | Act::ListRuns
        | Act::ListChanges
        | Act::ListEvents
        | Act::Control(ControlAct::List | ControlAct::History | ControlAct::Logs, _) => {
            json!({"data": {"type": "array"}, "has_more": {"type": "boolean"}, "next_cursor": {"type": ["string", "null"]}})
        }
        Act::Fetch => {
            json!({"id": string(), "title": string(), "text": string(), "url": string(), "metadata": {"type": "object"}})
        }
        Act::Describe => json!({"tables": {"type": "object"}}),
        Act::Query => json!({"columns": {"type": "array"}, "rows": {"type": "array"}, "rowCount": {"type": "integer"}}),
        Act::Execute => json!({"outcome": string(), "rows": {"type": "array"}, "rowCount": {"type": "integer"}}),
        Act::Upsert | Act::Operations => json!({"outcome": string(), "data": {"type": "array"}}),
        Act::Undo => {
            json!({"outcome": string(), "run_id": {"type": ["string", "null"]}, "undone": {"type": "integer"}})
        }
        Act::Find | Act::FindRun | Act::Control(ControlAct::Find, _) => json!({"id": {}}),
        _ => json!({"outcome": string(), "id": {}}),
    };
    json!({"type": "object", "properties": properties})
}
