//! Paths and what can be done at them: each endpoint once for every table that it is about.

use serde_json::{Map, Value, json};

use crate::dialect::openapi::faults::Responses;
use crate::dialect::openapi::schema::{self, row_schema};
use crate::dialect::openapi::{
    Act, Endpoint, OWN_TAG, Parameter, Reference, SQL_TAG, Style, WORKSPACE_TAG, Wire, pascal, reference_to,
};
use crate::model::entity::{ENTITIES, Entity, Order, RELATED_ROWS, by_table};

/// The built-in tables that an endpoint is about, and whether tables of the workspace's own are among its subjects too.
pub fn subjects(endpoint: &Endpoint) -> (Vec<&'static Entity>, bool) {
    if !endpoint.path.contains("{table}") {
        let table = endpoint.path.split('/').nth(2).unwrap_or_default();
        return (by_table(table).into_iter().collect(), false);
    }
    let takes = |entity: &&Entity| match endpoint.act {
        Act::Create | Act::Update | Act::Delete => entity.writable,
        Act::Restore => entity.writable && entity.stamped,
        Act::Search => entity.searchable,
        _ => true,
    };
    (ENTITIES.iter().filter(takes).collect(), endpoint.act != Act::Search)
}

/// Every path, the built-in tables' before those of the workspace's own.
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
    operation.insert("operationId".into(), operation_id(act, entity).into());
    operation.insert("summary".into(), summary(act, entity).into());
    operation.insert("description".into(), description(endpoint, entity).into());
    operation.insert("tags".into(), json!([tag(act, entity)]));
    let parameters = parameters(wire, endpoint, entity);
    if !parameters.is_empty() {
        operation.insert("parameters".into(), Value::Array(parameters));
    }
    if let Some((schema, required)) = body(act, entity) {
        let body = json!({"required": required, "content": {"application/json": {"schema": schema}}});
        operation.insert("requestBody".into(), body);
    }
    let mut answers = Map::new();
    answers.insert(status(act).to_string(), answer(wire, act, entity));
    responses.add(&mut answers, act, entity);
    operation.insert("responses".into(), Value::Object(answers));
    if act == Act::SignUp {
        operation.insert("security".into(), json!([]));
    }
    Value::Object(operation)
}

/// The status of success.
fn status(act: Act) -> u16 {
    match act {
        Act::SignUp | Act::Create | Act::AddMembers => 201,
        _ => 200,
    }
}

fn answer(wire: &Wire, act: Act, entity: Option<&Entity>) -> Value {
    let mut headers = Map::new();
    headers.insert("X-Request-Id".into(), reference_to("headers", "request_id"));
    if act != Act::SignUp {
        for (name, header) in [("Limit", "rate_limit"), ("Remaining", "rate_remaining"), ("Reset", "rate_reset")] {
            headers.insert(format!("X-RateLimit-{name}"), reference_to("headers", header));
        }
    }
    if is_keyed(act) {
        headers.insert("Idempotent-Replayed".into(), reference_to("headers", "replayed"));
    }
    let schema = (wire.answer)(act, row_schema(act, entity));
    let mut answer = json!({
        "description": if status(act) == 201 { "Done; what was made." } else { "Done." },
        "headers": headers,
        "content": {"application/json": {"schema": schema}},
    });
    if act == Act::Create {
        let one =
            |act| json!({"operationId": operation_id(act, entity), "parameters": {"id": "$response.body#/data/id"}});
        answer["links"] = json!({"get": one(Act::Find), "update": one(Act::Update), "delete": one(Act::Delete)});
    }
    answer
}

/// Whether an Idempotency-Key counts.
fn is_keyed(act: Act) -> bool {
    matches!(act, Act::Sql | Act::Create | Act::Restore | Act::AddMembers)
}

fn writes(act: Act) -> bool {
    is_keyed(act) || matches!(act, Act::Update | Act::Delete | Act::RemoveMember)
}

fn body(act: Act, entity: Option<&Entity>) -> Option<(Value, bool)> {
    let own = |suffix: &str| match entity {
        Some(entity) => reference_to("schemas", &format!("{}{suffix}", pascal(entity.name))),
        None => reference_to("schemas", "Row"),
    };
    Some(match act {
        Act::Create => (own("Create"), true),
        Act::Update => (own("Patch"), true),
        Act::Sql => (reference_to("schemas", "SqlRequest"), true),
        Act::AddMembers => (reference_to("schemas", "NewMembers"), true),
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
            parameters.extend(["limit", "cursor"].map(shared));
            if entity.is_none_or(|entity| entity.stamped) {
                parameters.extend(["include_deleted", "only_deleted"].map(shared));
            }
            parameters.extend((wire.filters)(entity).into_iter().map(query_parameter));
        }
        Act::ListRows => parameters.extend(["limit", "cursor"].map(shared)),
        Act::Search => {
            let words = json!({"name": "q", "in": "query", "required": true, "schema": {"type": "string", "minLength": 1},
                "description": "A few words. Case, accents and small typos do not matter; parts of words are found."});
            parameters.extend([words, shared("limit")]);
        }
        Act::Find if entity.is_none_or(|entity| entity.stamped) => {
            parameters.extend(["include_deleted", "only_deleted"].map(shared));
        }
        Act::Delete => parameters
            .push(json!({"name": "hard", "in": "query", "schema": {"type": "boolean", "default": false},
            "description": "Remove it for good instead of hiding it. Refused while other records refer to it."})),
        _ => {}
    }
    if is_keyed(act) {
        parameters.push(shared("idempotency_key"));
    }
    if writes(act) {
        parameters.extend(["agent", "run_id", "reason"].map(shared));
    }
    parameters
}

fn path_parameter(wire: &Wire, name: &str, entity: Option<&Entity>) -> Value {
    let (about, example) = match (name, entity) {
        ("table", _) => {
            ("The name of a table or view in the workspace, as `GET /v1/tables` lists it.".into(), "projects".into())
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
        (_, Some(entity)) => ENTITIES.iter().find(|it| it.table == entity.table).map_or(OWN_TAG, |it| it.table),
        (_, None) => OWN_TAG,
    }
}

/// `listContacts`, `getPipelineStage`, `createRow`.
fn operation_id(act: Act, entity: Option<&Entity>) -> String {
    let one = entity.map_or("Row".into(), |entity| pascal(entity.name));
    let many = entity.map_or("Rows".into(), |entity| pascal(entity.table));
    match act {
        Act::SignUp => "createWorkspace".into(),
        Act::Sql => "runSql".into(),
        Act::Tables => "listTables".into(),
        Act::Schema => "getSchema".into(),
        Act::List => format!("list{many}"),
        Act::Search => format!("search{many}"),
        Act::Create => format!("create{one}"),
        Act::Find => format!("get{one}"),
        Act::Update => format!("update{one}"),
        Act::Delete => format!("delete{one}"),
        Act::Restore => format!("restore{one}"),
        Act::ListRows => "getListRows".into(),
        Act::AddMembers => "addListMembers".into(),
        Act::RemoveMember => "removeListMember".into(),
    }
}

fn summary(act: Act, entity: Option<&Entity>) -> String {
    let one = entity.map_or("row".into(), |entity| entity.name.replace('_', " "));
    let many = entity.map_or("rows of a table of your own".into(), |entity| entity.table.replace('_', " "));
    let article = if one.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    match act {
        Act::SignUp => "Make a workspace and its first key".into(),
        Act::Sql => "Run SQL".into(),
        Act::Tables => "List the workspace's tables".into(),
        Act::Schema => "Describe every table: columns, keys, indexes".into(),
        Act::List => format!("List {many}"),
        Act::Search => format!("Search {many}"),
        Act::Create => format!("Create {article} {one}"),
        Act::Find => format!("Get {article} {one}"),
        Act::Update => format!("Change {article} {one}"),
        Act::Delete => format!("Delete {article} {one}"),
        Act::Restore => format!("Restore {article} {one}"),
        Act::ListRows => "Get the rows of a saved list".into(),
        Act::AddMembers => "Add members to a static list".into(),
        Act::RemoveMember => "Remove a member from a static list".into(),
    }
}

fn description(endpoint: &Endpoint, entity: Option<&Entity>) -> String {
    let mut text = endpoint.about.to_owned();
    match (endpoint.act, entity) {
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
            let one = entity.to_one.iter().map(|relation| relation.key);
            let keys: Vec<&str> = one.chain(entity.to_many.iter().map(|relation| relation.key)).collect();
            text = format!("One {}.", entity.name.replace('_', " "));
            if !keys.is_empty() {
                text = format!("{text} With it: `{}`.", keys.join("`, `"));
            }
            if entity.to_many.iter().any(|it| matches!(it.link, crate::model::entity::Link::Theirs(_))) {
                text = format!("{text} Of those the {RELATED_ROWS} newest.");
            }
        }
        (Act::Delete, Some(entity)) if !entity.stamped => text = "Removes it for good.".into(),
        _ => {}
    }
    text
}
