//! The paths of the document. An endpoint with `{table}` is written once for each built-in table, and once for custom
//! tables.

use serde_json::{Map, Value, json};

use crate::dialect::openapi::answers::schema_of;
use crate::dialect::openapi::email;
use crate::dialect::openapi::faults::Responses;
use crate::dialect::openapi::schema::{self, row_schema};
use crate::dialect::openapi::{
    Act, Alias, Endpoint, IMPORT_TAG, OPERATIONS_TAG, OWN_TAG, Parameter, Reference, SAFETY_TAG, SEARCH_TAG, SQL_TAG,
    Style, WORKSPACE_TAG, Wire, header_name, pascal, reference_to,
};
use crate::model::entity::{ENTITIES, Entity, NamedBy, Order, RELATED_ROWS, WriteRule, by_table};

/// The built-in tables that an endpoint serves, and whether it also serves custom tables.
pub fn subjects(endpoint: &Endpoint) -> (Vec<&'static Entity>, bool) {
    if let Some(alias) = endpoint.alias {
        return (by_table(alias.table).into_iter().collect(), false);
    }
    if !endpoint.path.contains("{table}") {
        let table = endpoint.path.split('/').nth(2).unwrap_or_default();
        return (by_table(table).into_iter().collect(), false);
    }
    let takes = |entity: &&Entity| match endpoint.act {
        Act::Create | Act::Update | Act::Delete => entity.writable,
        Act::Assert => entity.writable && entity.write_rule != WriteRule::Edge && !entity.is_mail,
        Act::Restore => entity.writable && entity.stamped,
        Act::Merge => entity.merges(),
        Act::Search => entity.searchable,
        _ => true,
    };
    (ENTITIES.iter().filter(takes).collect(), endpoint.act != Act::Search)
}

/// All paths. Those of built-in tables come before those of custom tables.
pub fn paths(reference: &Reference, responses: &mut Responses) -> Value {
    let mut paths = Map::new();
    let mut add = |path: String, endpoint: &Endpoint, entity: Option<&Entity>| {
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[endpoint.method.name().to_lowercase()] = operation(&reference.wire, endpoint, entity, responses);
    };
    let (tables, fixed): (Vec<_>, Vec<_>) = reference.endpoints.iter().partition(|it| it.path.contains("{table}"));
    for endpoint in fixed {
        add(endpoint.path.to_owned(), endpoint, subjects(endpoint).0.first().copied());
    }
    for entity in ENTITIES {
        for endpoint in tables.iter().filter(|it| subjects(it).0.iter().any(|subject| subject.table == entity.table)) {
            add(endpoint.path.replace("{table}", entity.table), endpoint, Some(entity));
        }
    }
    for endpoint in tables.iter().filter(|it| subjects(it).1) {
        add(endpoint.path.to_owned(), endpoint, None);
    }
    Value::Object(paths)
}

fn operation(wire: &Wire, endpoint: &Endpoint, entity: Option<&Entity>, responses: &mut Responses) -> Value {
    let act = endpoint.act;
    let mut operation = Map::new();
    let id = match endpoint.path.strip_prefix("/v1/") {
        Some(path) if act == Act::Undo => format!("undo{}", pascal(path.split('/').next().unwrap_or_default())),
        _ => operation_id(act, entity, endpoint.alias),
    };
    operation.insert("operationId".into(), id.into());
    operation.insert("summary".into(), summary(act, entity, endpoint.alias).into());
    operation.insert("description".into(), description(wire, endpoint, entity).into());
    operation.insert("tags".into(), json!([tag(act, entity)]));
    let parameters = parameters(wire, endpoint, entity);
    if !parameters.is_empty() {
        operation.insert("parameters".into(), Value::Array(parameters));
    }
    let sends = act == Act::Create && entity.is_some_and(|entity| entity.is_mail);
    if sends {
        operation
            .insert("description".into(), format!("{} {}", description(wire, endpoint, entity), email::ABOUT).into());
    }
    if let Some((mut schema, required)) = body(act, entity) {
        if sends {
            schema = json!({"anyOf": [schema, reference_to("schemas", email::BODY)]});
        }
        let mut body = json!({"required": required, "content": {"application/json": {"schema": schema}}});
        if sends {
            body["content"][email::RAW] = json!({"schema": {"type": "string"}});
        }
        operation.insert("requestBody".into(), body);
    }
    if act == Act::Import {
        let file = json!({"type": "string", "examples": ["email,first_name\nann@example.com,Ann\n"]});
        let body = json!({"required": true, "content": {"text/csv": {"schema": file}},
            "description": "UTF-8, UTF-16 or Windows-1252; cells are divided by commas, semicolons, tabs or bars."});
        operation.insert("requestBody".into(), body);
    }
    let mut answers = Map::new();
    answers.insert(status(act).to_string(), answer(wire, endpoint, entity));
    if matches!(act, Act::OpenRun | Act::Assert)
        || act == Act::Create && entity.is_some_and(|entity| entity.write_rule == WriteRule::Edge)
    {
        let mut there = answer(wire, endpoint, entity);
        there["description"] = "It existed already; the existing one.".into();
        answers.insert("200".into(), there);
    } else if status(act) == 201 && writes(act) && wire.dry_run.is_none() {
        // Another schema is described in words only: with it, generated methods would return a union.
        let mut dry = answer(wire, endpoint, entity);
        dry["description"] = "A dry run: nothing was kept.".into();
        // The record that they lead to does not exist.
        dry.as_object_mut().and_then(|dry| dry.remove("links"));
        answers.insert("200".into(), dry);
    }
    if sends {
        let mut later = answer(wire, endpoint, entity);
        later["description"] = email::LATER.into();
        answers.insert("202".into(), later);
        let mut known = answers.get("200").cloned().unwrap_or_else(|| answer(wire, endpoint, entity));
        known["description"] = email::KNOWN.into();
        answers.insert("200".into(), known);
    }
    responses.add_of_act(&mut answers, wire, act, entity);
    operation.insert("responses".into(), Value::Object(answers));
    if act == Act::SignUp {
        // With a session, the new workspace belongs to the person from the beginning.
        operation.insert("security".into(), json!([{}, {"session": []}, {"sessionCookie": []}]));
    }
    Value::Object(operation)
}

/// The status of a successful response.
fn status(act: Act) -> u16 {
    match act {
        Act::SignUp | Act::Create | Act::CreateStage | Act::AddMembers | Act::OpenRun | Act::Assert => 201,
        _ => 200,
    }
}

fn answer(wire: &Wire, endpoint: &Endpoint, entity: Option<&Entity>) -> Value {
    let act = endpoint.act;
    let mut headers = Map::new();
    if let Some(versions) = wire.versions {
        headers.insert(header_name(versions), reference_to("headers", "version"));
    }
    headers.insert("X-Request-Id".into(), reference_to("headers", "request_id"));
    if act != Act::SignUp {
        for (name, header) in [("Limit", "rate_limit"), ("Remaining", "rate_remaining"), ("Reset", "rate_reset")] {
            headers.insert(format!("X-RateLimit-{name}"), reference_to("headers", header));
        }
    }
    if is_keyed(act) {
        headers.insert("Idempotent-Replayed".into(), reference_to("headers", "replayed"));
    }
    let schema = (wire.answer)(act, row_schema(wire, act, entity));
    let mut answer = json!({
        "description": match (status(act), wire.dry_run) {
            (201, Some(schema)) if writes(act) => format!("Created. A dry run is answered 200, with a `{schema}`."),
            (201, _) => "Created.".to_owned(),
            (_, Some(schema)) if writes(act) => format!("Done. A dry run is answered with a `{schema}` instead."),
            _ => "Done.".to_owned(),
        },
        "headers": headers,
        "content": {"application/json": {"schema": schema}},
    });
    if act == Act::List && endpoint.alias.is_none() {
        // In words: as a second content type it would make every list of a generated client return a union with a string.
        answer["description"] = "Done. With `Accept: text/csv`: a file with a header line.".into();
    }
    if act == Act::Create {
        let one = |act| json!({"operationId": operation_id(act, entity, endpoint.alias), "parameters": {"id": format!("$response.body#{}", wire.new_id)}});
        answer["links"] = json!({"get": one(Act::Find), "update": one(Act::Update), "delete": one(Act::Delete)});
    }
    answer
}

/// Whether the operation accepts an Idempotency-Key.
fn is_keyed(act: Act) -> bool {
    matches!(
        act,
        Act::Sql
            | Act::Operations
            | Act::Create
            | Act::CreateStage
            | Act::Batch
            | Act::Import
            | Act::Restore
            | Act::Merge
            | Act::Assert
            | Act::AddMembers
            | Act::OpenRun
            | Act::FinishRun
            | Act::Undo
    )
}

fn writes(act: Act) -> bool {
    is_keyed(act) || matches!(act, Act::Update | Act::Delete | Act::RemoveMember)
}

fn body(act: Act, entity: Option<&Entity>) -> Option<(Value, bool)> {
    let own = |suffix: &str| match entity {
        Some(entity) => reference_to("schemas", &format!("{}{suffix}", schema_of(entity.name))),
        None => reference_to("schemas", "Row"),
    };
    Some(match act {
        Act::Create => (own("Create"), true),
        Act::CreateStage => (own("New"), true),
        Act::Merge => (reference_to("schemas", "MergeRequest"), true),
        Act::Assert => (reference_to("schemas", "Assertion"), true),
        Act::Batch => (reference_to("schemas", "NewBatch"), true),
        Act::Update => (own("Patch"), true),
        Act::Sql => (reference_to("schemas", "SqlRequest"), true),
        Act::Operations => (reference_to("schemas", "NewOperations"), true),
        Act::AddMembers => (reference_to("schemas", "NewMembers"), true),
        Act::OpenRun => (reference_to("schemas", "NewRun"), true),
        Act::FinishRun => (reference_to("schemas", "RunEnd"), true),
        Act::Undo => (reference_to("schemas", "UndoRequest"), false),
        Act::SignUp => (reference_to("schemas", "NewWorkspace"), false),
        _ => return None,
    })
}

fn parameters(wire: &Wire, endpoint: &Endpoint, entity: Option<&Entity>) -> Vec<Value> {
    let act = endpoint.act;
    let shared = |name: &str| reference_to("parameters", name);
    let mut parameters: Vec<Value> = endpoint
        .path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .filter(|name| *name != "table" || entity.is_none())
        .map(|name| path_parameter(wire, name, entity))
        .collect();
    match act {
        Act::List => {
            parameters.extend(["limit", "cursor", "sort"].map(shared));
            if entity.is_none_or(|entity| entity.stamped) {
                parameters.extend(["include_deleted", "only_deleted"].map(shared));
            }
            parameters.extend((wire.filters)(entity).into_iter().map(query_parameter));
        }
        Act::Schema => parameters
            .push(json!({"name": "table", "in": "query", "schema": {"type": "string", "examples": ["contacts"]},
            "description": "Describe only this table."})),
        Act::ListRows | Act::Stages | Act::Tables => parameters.extend(["limit", "cursor"].map(shared)),
        Act::ListRuns => {
            parameters.extend(["limit", "cursor"].map(shared));
            let own = |name: &str, schema: Value, about: &str| json!({"name": name, "in": "query", "schema": schema, "description": about});
            parameters.extend([
                own("actor", json!({"type": "string"}), "Only runs of this actor."),
                own("agent", json!({"type": "string"}), "Only runs of this agent."),
                own(
                    "run_id",
                    json!({"type": "string"}),
                    "The run that the actor calls so; without `actor`, that you call so.",
                ),
                own(
                    "status",
                    json!({"type": "string", "enum": ["open", "complete", "failed", "undone"]}),
                    "Only runs with this status.",
                ),
                own(
                    "since",
                    json!({"type": "string", "format": "date-time"}),
                    "Only runs that began at this time or later.",
                ),
            ]);
        }
        Act::Import => {
            let own = |name: &str, required: bool, schema: Value, about: &str| json!({"name": name, "in": "query", "required": required, "schema": schema, "description": about});
            let text = || json!({"type": "string"});
            let mut map = own(
                "map",
                false,
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
                "Which column of the file is which field: `map[E-mail]=email`, `map[Plan]=custom.plan`. Columns that are not named are left out. Without any, a column is the field of its name. A field that counts cents is also taken in the main unit, under its name without `_cents`, written like 1,234.50, 1234.5 or 1234.",
            );
            map["style"] = "deepObject".into();
            map["explode"] = true.into();
            parameters.extend([
                own("table", true, text(), "The table."),
                map,
                own("dedup_on", false, text(), "The fields, separated by commas, that identify an existing record: those of a unique index. By default `email` for contacts and `domain` for companies, if the file has them. Empty: all records are new."),
                own("delimiter", false, json!({"type": "string", "enum": [",", ";", "tab", "|"]}), "Found out by default."),
            ]);
        }
        Act::RunChanges => {
            parameters.extend(["limit", "cursor"].map(shared));
            parameters.push(json!({"name": "net", "in": "query", "schema": {"type": "boolean", "default": false},
                "description": "List each row once, from its first value to its last."}));
        }
        Act::Search | Act::SearchAll => {
            let words = json!({"name": "q", "in": "query", "required": true, "schema": {"type": "string", "minLength": 1},
                "description": "A few words. Case, accents and small typos do not matter; parts of words are found."});
            parameters.extend([words, shared("limit"), shared("cursor")]);
        }
        Act::Find => {
            if entity.is_none_or(|entity| entity.stamped) {
                parameters.extend(["include_deleted", "only_deleted"].map(shared));
            }
            if let (Some(expand), Some(names)) =
                (wire.expand, entity.map(|entity| relations(wire, entity)).filter(|it| !it.is_empty()))
            {
                let items = json!({"type": "string", "enum": names});
                parameters.push(json!({"name": expand, "in": "query", "explode": false,
                    "schema": {"type": "array", "items": items, "minItems": 1},
                    "description": "Related records to show, separated by commas."}));
            }
        }
        Act::Delete => parameters
            .push(json!({"name": "hard", "in": "query", "schema": {"type": "boolean", "default": false},
            "description": "Remove it permanently instead of hiding it. Refused while other records refer to it."})),
        _ => {}
    }
    if wire.versions.is_some() {
        parameters.push(shared("version"));
    }
    if is_keyed(act) {
        parameters.push(shared("idempotency_key"));
    }
    if writes(act) {
        parameters.extend(["agent", "run_id", "reason", "dry_run", "max_affected"].map(shared));
    }
    parameters
}

/// The keys of the related rows of a record.
fn relations(wire: &Wire, entity: &Entity) -> Vec<&'static str> {
    let one = entity.to_one.iter().map(|relation| (wire.column)(entity, relation.key));
    one.chain(entity.to_many.iter().map(|relation| relation.key)).collect()
}

fn path_parameter(wire: &Wire, name: &str, entity: Option<&Entity>) -> Value {
    let (about, example) = match (name, entity) {
        ("table", _) => {
            ("The name of a table or view in the workspace, as `GET /v1/tables` lists it.".into(), "projects".into())
        }
        ("key", _) => ("The pipeline's key, or its id.".into(), "sales".to_owned()),
        ("run", _) => ("The run's id, or your own X-Run-Id.".into(), "import-2026-11-28".to_owned()),
        ("request_id", _) => {
            ("The id of a request, as X-Request-Id has it.".into(), "req_01kaqz3v5t8w9x2y4z6a8b0c1d".to_owned())
        }
        ("stage_key", _) => ("The stage's key, or its id.".into(), "qualified".to_owned()),
        ("id", Some(entity)) if entity.named_by == NamedBy::Key => {
            ("The pipeline's key, or its id.".into(), "sales".to_owned())
        }
        ("id", Some(entity)) => (format!("The {}'s id.", entity.name.replace('_', " ")), schema::id_of(wire, entity)),
        ("id", None) => ("The row's primary key.".into(), "1".to_owned()),
        _ => (
            "The id of the record that is a member.".into(),
            schema::id_of(wire, by_table("contacts").unwrap_or(&ENTITIES[0])),
        ),
    };
    json!({"name": name, "in": "path", "required": true, "description": about, "schema": {"type": "string"}, "example": example})
}

fn query_parameter(parameter: Parameter) -> Value {
    let mut written = json!({"name": parameter.name, "in": "query", "description": parameter.about});
    match parameter.style {
        Style::Single => {}
        Style::Commas => written["explode"] = false.into(),
        Style::Open => {
            written["style"] = "form".into();
            written["explode"] = true.into();
        }
    }
    written["schema"] = parameter.schema;
    written
}

fn tag(act: Act, entity: Option<&Entity>) -> &'static str {
    match (act, entity) {
        (Act::SignUp, _) => WORKSPACE_TAG,
        (Act::Sql | Act::Tables | Act::Schema, _) => SQL_TAG,
        (Act::Operations, _) => OPERATIONS_TAG,
        (Act::SearchAll, _) => SEARCH_TAG,
        (Act::Import, _) => IMPORT_TAG,
        (Act::OpenRun | Act::ListRuns | Act::FindRun | Act::RunChanges | Act::FinishRun | Act::Undo, _) => SAFETY_TAG,
        (_, Some(entity)) => ENTITIES.iter().find(|it| it.table == entity.table).map_or(OWN_TAG, |it| it.table),
        (_, None) => OWN_TAG,
    }
}

/// The operation's id: `listContacts`, `getPipelineStage`, `createRow`.
fn operation_id(act: Act, entity: Option<&Entity>, alias: Option<&Alias>) -> String {
    let names = |entity: &Entity| (pascal(entity.name), pascal(entity.table));
    let (one, many) = match alias {
        Some(alias) => (alias.one.to_owned(), alias.many.to_owned()),
        None => entity.map_or(("Row".into(), "Rows".into()), names),
    };
    match act {
        Act::SignUp => "createWorkspace".into(),
        Act::Sql => "runSql".into(),
        Act::Operations => "runBatch".into(),
        Act::Tables => "listTables".into(),
        Act::Schema => "getSchema".into(),
        Act::SearchAll => "search".into(),
        Act::Batch => format!("batch{many}"),
        Act::Import => "importFile".into(),
        Act::List | Act::Stages => format!("list{many}"),
        Act::Search => format!("search{many}"),
        Act::Create | Act::CreateStage => format!("create{one}"),
        Act::Find => format!("get{one}"),
        Act::Update => format!("update{one}"),
        Act::Delete => format!("delete{one}"),
        Act::Restore => format!("restore{one}"),
        Act::Merge => format!("merge{many}"),
        Act::Assert => format!("assert{one}"),
        Act::ListRows => "getListRows".into(),
        Act::AddMembers => "addListMembers".into(),
        Act::RemoveMember => "removeListMember".into(),
        Act::OpenRun => "openRun".into(),
        Act::ListRuns => "listRuns".into(),
        Act::FindRun => "getRun".into(),
        Act::RunChanges => "listRunChanges".into(),
        Act::FinishRun => "finishRun".into(),
        Act::Undo => "undo".into(),
    }
}

fn summary(act: Act, entity: Option<&Entity>, alias: Option<&Alias>) -> String {
    let names = |entity: &Entity| (entity.name.replace('_', " "), entity.table.replace('_', " "));
    let (one, many) = match alias {
        Some(alias) => (spaced(alias.one), spaced(alias.many)),
        None => entity.map_or(("row".into(), "rows of a table of your own".into()), names),
    };
    let article = if one.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    match act {
        Act::SignUp => "Create a workspace and its first key".into(),
        Act::Sql => "Run SQL".into(),
        Act::Operations => "Run several operations in one transaction".into(),
        Act::Tables => "List the workspace's tables".into(),
        Act::Schema => "Describe every table: columns, keys, indexes".into(),
        Act::SearchAll => "Search contacts, companies, deals and activities".into(),
        Act::Batch => format!("Create or update many {many}"),
        Act::Import => "Import a CSV file".into(),
        Act::List | Act::Stages => format!("List {many}"),
        Act::Search => format!("Search {many}"),
        Act::Create | Act::CreateStage => format!("Create {article} {one}"),
        Act::Find => format!("Get {article} {one}"),
        Act::Update => format!("Change {article} {one}"),
        Act::Delete => format!("Delete {article} {one}"),
        Act::Restore => format!("Restore {article} {one}"),
        Act::Merge => format!("Merge {many}"),
        Act::Assert => format!("Create or update {article} {one}"),
        Act::ListRows => "Get the rows of a saved list".into(),
        Act::AddMembers => "Add members to a static list".into(),
        Act::RemoveMember => "Remove a member from a static list".into(),
        Act::OpenRun => "Open a run".into(),
        Act::ListRuns => "List runs".into(),
        Act::FindRun => "Get a run".into(),
        Act::RunChanges => "List what a run changed".into(),
        Act::FinishRun => "End a run".into(),
        Act::Undo => "Undo what was changed".into(),
    }
}

/// Writes `StagesOfPipeline` as `stages of pipeline`.
fn spaced(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(character.to_ascii_lowercase());
    }
    words
}

fn description(wire: &Wire, endpoint: &Endpoint, entity: Option<&Entity>) -> String {
    let mut text = endpoint.about.to_owned();
    match (endpoint.act, entity) {
        _ if endpoint.alias.is_some() => {}
        (Act::List, Some(entity)) => {
            text = format!(
                "{} {text} {}",
                entity.about,
                match entity.order {
                    Order::Newest => "Newest first.",
                    Order::Mail => "Newest first, by when the mail was received, else sent.",
                    Order::NewestBy(_) => "Newest first.",
                    Order::Position => "By position.",
                }
            );
        }
        (Act::Find, Some(entity)) => {
            let keys = relations(wire, entity);
            text = format!("One {}.", entity.name.replace('_', " "));
            if !keys.is_empty() {
                let keys = keys.join("`, `");
                text = match wire.expand {
                    Some(expand) => format!("{text} Related records, if `{expand}` names them: `{keys}`."),
                    None => format!("{text} Related records: `{keys}`."),
                };
            }
            if entity.to_many.iter().any(|it| matches!(it.link, crate::model::entity::Link::Theirs(_))) {
                text = format!("{text} At most the {RELATED_ROWS} newest of each.");
            }
        }
        (Act::Delete, Some(entity)) if !entity.stamped => text = "Removes it permanently.".into(),
        _ => {}
    }
    text
}
