//! Generates the OpenAPI 3.1 document of a dialect from the const tables that the code uses: the built-in tables, the
//! error codes, and the dialect's endpoints and filters.
//!
//! The code here is the same for all dialects. Each dialect provides its differences in a [`Reference`].

mod answers;
pub mod control;
pub mod email;
mod endpoints;
mod faults;
mod operation;
pub mod people;
mod schema;
pub mod shared;
pub mod yaml;

use serde_json::{Map, Value, json};

use crate::dialect::Versions;
use crate::model::call::Method;
use crate::model::codes::Code;
use crate::model::entity::{CUSTOM, ENTITIES, Entity};

pub use answers::schema_of;
pub use endpoints::ENDPOINTS;
pub use operation::subjects;
pub use schema::{example_of, single_value};

/// The data for a dialect's documentation.
#[derive(Debug)]
pub struct Reference {
    /// The title of the API.
    pub title: &'static str,
    /// Explains how to get a key, in one or two sentences.
    pub key: &'static str,
    /// The introduction, in Markdown.
    pub about: &'static str,
    /// All methods and paths, in reading order.
    pub endpoints: &'static [Endpoint],
    /// The paths for people, if the document of this dialect describes them.
    pub errands: &'static [people::Errand],
    /// The forms of filter parameters, with their meanings.
    pub filter_forms: fn() -> Vec<(&'static str, &'static str)>,
    /// The template of `/llms.txt`.
    pub llms: &'static str,
    /// The template of the details in `/llms-full.txt`.
    pub llms_full: &'static str,
    /// The names and the envelopes of the dialect.
    pub wire: Wire,
}

/// A method and a path.
#[derive(Debug)]
pub struct Endpoint {
    /// The HTTP method.
    pub method: Method,
    /// The path, with placeholders such as `{table}` and `{id}`.
    pub path: &'static str,
    /// The act of the endpoint.
    pub act: Act,
    /// The description: one or two sentences.
    pub about: &'static str,
    /// The other name of a built-in table, if the path has one.
    pub alias: Option<&'static Alias>,
}

/// Another name of a built-in table.
#[derive(Debug)]
pub struct Alias {
    /// The built-in table.
    pub table: &'static str,
    /// The singular, for operation ids.
    pub one: &'static str,
    /// The plural, for operation ids.
    pub many: &'static str,
}

/// The act of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Act {
    SignUp,
    Sql,
    Operations,
    Tables,
    Schema,
    SearchAll,
    Batch,
    Import,
    List,
    Search,
    Stages,
    CreateStage,
    Create,
    Find,
    Update,
    Delete,
    Restore,
    Merge,
    Assert,
    ListRows,
    AddMembers,
    RemoveMember,
    OpenRun,
    ListRuns,
    FindRun,
    RunChanges,
    FinishRun,
    Undo,
}

/// The names and the envelopes of a dialect.
#[derive(Debug)]
pub struct Wire {
    /// Returns the wire name of a built-in table's column.
    pub column: fn(&Entity, &'static str) -> &'static str,
    /// Returns the prefix of a built-in table's ids.
    pub prefix: fn(&Entity) -> &'static str,
    /// Returns the filter parameters of a built-in table, or of any other table.
    pub filters: fn(Option<&Entity>) -> Vec<Parameter>,
    /// Returns the schema of a response, given the schema of its record.
    pub answer: fn(Act, Value) -> Value,
    /// The schema of the answer to a dry run; `None` if it is that of the usual answer.
    pub dry_run: Option<&'static str>,
    /// The schemas that responses refer to.
    pub schemas: fn() -> Vec<(&'static str, Value)>,
    /// Returns the schema of the error with this code.
    pub fault: fn(&Code) -> Value,
    /// The codes that the dialect never returns.
    pub never: &'static [&'static str],
    /// The field with the kind of a record, if the dialect has one.
    pub object: Option<&'static str>,
    /// A JSON pointer to the id of a new record in the response.
    pub new_id: &'static str,
    /// The parameter that selects related rows. If it is `None`, all related rows are shown.
    pub expand: Option<&'static str>,
    /// The versions that a request can ask for.
    pub versions: Option<&'static Versions>,
}

/// A query parameter.
#[derive(Debug)]
pub struct Parameter {
    /// The parameter's name.
    pub name: String,
    /// The schema of its values.
    pub schema: Value,
    /// The description.
    pub about: String,
    /// The serialization of its values.
    pub style: Style,
}

/// The serialization of a parameter's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One value.
    Single,
    /// Several values, separated by commas.
    Commas,
    /// An object. Each key is a separate parameter.
    Open,
}

/// The OpenAPI document. `base_url` has no slash at its end.
pub fn document(reference: &Reference, base_url: &str) -> Value {
    let mut responses = faults::Responses::default();
    let mut paths = operation::paths(reference, &mut responses);
    control::add(&mut paths, reference, &mut responses);
    people::add(&mut paths, reference, &mut responses);
    if !reference.errands.is_empty() {
        email::add_inbound(&mut paths, reference, &mut responses);
    }
    let mut schemas = schemas(reference, &responses);
    answers::name_all(&mut paths, &mut schemas);
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": reference.title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": reference.about,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "externalDocs": {"description": "The same for people to read", "url": format!("{base_url}/docs")},
        "servers": [{"url": base_url}],
        "security": [{"apiKey": []}],
        "tags": tags(reference),
        "paths": paths,
        "components": {
            "securitySchemes": security_schemes(reference),
            "parameters": parameters(&reference.wire),
            "headers": headers(&reference.wire),
            "responses": responses.written(),
            "schemas": schemas,
        },
    });
    describe(&reference.wire, &mut document);
    document
}

/// Replaces the name of the free-form field in all descriptions by that of the dialect.
fn describe(wire: &Wire, value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                match value {
                    Value::String(text) if key == "description" => *text = in_words_of(wire, text),
                    value => describe(wire, value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| describe(wire, item)),
        _ => {}
    }
}

/// Replaces the name of the free-form field in a text by that of the dialect.
pub fn in_words_of(wire: &Wire, text: &str) -> String {
    text.replace("`custom`", &format!("`{}`", (wire.column)(&ENTITIES[0], CUSTOM.name)))
}

fn security_schemes(reference: &Reference) -> Value {
    let mut schemes = json!({"apiKey": {"type": "http", "scheme": "bearer", "description": reference.key}});
    if !reference.errands.is_empty() {
        people::add_schemes(&mut schemes);
    }
    schemes
}

/// The tag of endpoints that create workspaces.
const WORKSPACE_TAG: &str = "workspaces";
const SQL_TAG: &str = "sql";
const OPERATIONS_TAG: &str = "batch";
const OWN_TAG: &str = "your own tables";

const SEARCH_TAG: &str = "search";
const SAFETY_TAG: &str = "safety";
const IMPORT_TAG: &str = "imports";

fn tags(reference: &Reference) -> Value {
    let fixed = |name: &str, about: &str| json!({"name": name, "description": about});
    let signs_up = reference.endpoints.iter().any(|endpoint| endpoint.act == Act::SignUp);
    let workspace = fixed(WORKSPACE_TAG, "A workspace is a separate PostgreSQL database.");
    let mut tags = vec![
        fixed(SQL_TAG, "Raw SQL on the workspace's database, and what is in it."),
        fixed(OPERATIONS_TAG, "Several requests in one transaction, all or none."),
        fixed(SEARCH_TAG, "Full text over several tables."),
        fixed(IMPORT_TAG, "CSV files into any table. `GET /v1/{table}` with `Accept: text/csv` is the way out."),
        fixed(SAFETY_TAG, "Runs and undo. Every write takes `X-Dry-Run` and `X-Max-Affected`."),
    ];
    if signs_up {
        tags.insert(0, workspace);
    }
    tags.extend(ENTITIES.iter().map(|entity| fixed(entity.table, entity.about)));
    tags.extend(control::tags());
    if !reference.errands.is_empty() {
        tags.push(people::tag());
    }
    tags.push(fixed(
        OWN_TAG,
        "Any table or view that you create by SQL is served at once, by its single-column primary key. The built-in tables \
         that follow the same paths are described one by one.",
    ));
    Value::Array(tags)
}

fn schemas(reference: &Reference, responses: &faults::Responses) -> Map<String, Value> {
    let mut schemas = Map::new();
    for entity in ENTITIES {
        schema::add_entity(&mut schemas, &reference.wire, entity);
    }
    for (name, schema) in (reference.wire.schemas)() {
        schemas.insert(name.to_owned(), schema);
    }
    for (name, schema) in control::schemas(&reference.wire).into_iter().chain(email::schemas(&reference.wire)) {
        schemas.insert(name.to_owned(), schema);
    }
    for (name, schema) in people::schemas().into_iter().filter(|_| !reference.errands.is_empty()) {
        schemas.insert(name.to_owned(), schema);
    }
    for code in crate::model::codes::CODES.iter().filter(|code| responses.have(code)) {
        schemas.insert(faults::schema_name(code), (reference.wire.fault)(code));
    }
    schemas.insert("PipelineStageNew".into(), schema::new_stage(&reference.wire));
    schemas
}

fn parameters(wire: &Wire) -> Value {
    let query = |name: &str, schema: Value, about: &str| json!({"name": name, "in": "query", "description": about, "schema": schema});
    let header = |name: &str, schema: Value, about: &str| json!({"name": name, "in": "header", "description": about, "schema": schema});
    let said = || json!({"type": "string"});
    let mut parameters = json!({
        "limit": query("limit", json!({"type": "integer", "minimum": 1, "default": 50}),
            "Maximum rows of a page. A value above 200 becomes 200."),
        "cursor": query("cursor", json!({"type": "string"}),
            "`next_cursor` of the previous page. Send the same filters and the same `sort` with it."),
        "sort": query("sort", json!({"type": "string", "examples": ["-id"]}),
            "The field to sort by, ascending; with `-` before its name, descending. Rows without a value come last. By default a list has the newest first."),
        "include_deleted": query("include_deleted", json!({"type": "boolean", "default": false}),
            "Show soft-deleted rows too."),
        "only_deleted": query("only_deleted", json!({"type": "boolean", "default": false}),
            "Show only soft-deleted rows."),
        "idempotency_key": header("Idempotency-Key", json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}),
            "Makes a retry safe. The same key with the same request within 24 hours gets the stored answer, and the work is done once."),
        "agent": header("X-Agent", said(), "The caller. The first 500 bytes are stored in every activity entry that the request causes."),
        "run_id": header("X-Run-Id", json!({"type": "string", "minLength": 1, "maxLength": 200}), "The run that the request belongs to: your own name for a piece of work, which can be undone as a whole. Stored likewise."),
        "dry_run": header("X-Dry-Run", json!({"type": "boolean", "default": false}), "Do everything, answer with what would change, and keep nothing. `Prefer: tx=rollback` is the same."),
        "max_affected": header("X-Max-Affected", json!({"type": "integer", "minimum": 0, "maximum": 1_000_000}), "The most rows that the request may change, those by cascades and triggers included. More: 412, and nothing is kept. `Prefer: max-affected=N` is the same."),
        "reason": header("X-Reason", said(), "The reason for the request, stored likewise."),
    });
    if let Some(versions) = wire.versions {
        let schema = json!({"type": "string", "enum": versions.known, "default": versions.newest()});
        parameters["version"] =
            header(&header_name(versions), schema, "The version of the API that the answer is to be in.");
    }
    parameters
}

/// Writes `relm-version` as `Relm-Version`.
fn header_name(versions: &Versions) -> String {
    versions.header.split('-').map(pascal).collect::<Vec<_>>().join("-")
}

fn headers(wire: &Wire) -> Value {
    let header = |schema: Value, about: &str, required: bool| json!({"description": about, "required": required, "schema": schema});
    let number = || json!({"type": "integer", "minimum": 0});
    let mut headers = json!({
        "request_id": header(json!({"type": "string"}), "The request's id, `req_…`, to report when something is wrong.", true),
        "rate_limit": header(number(), "Requests that the key may make a minute.", true),
        "rate_remaining": header(number(), "Requests that are left of them.", true),
        "rate_reset": header(number(), "The time at which the count begins again, in Unix seconds.", true),
        "retry_after": header(number(), "Seconds to wait before the next try.", true),
        "replayed": header(json!({"type": "string", "enum": ["true"]}),
            "Whether this is the stored answer to an earlier request with the same Idempotency-Key.", false),
        "allow": header(json!({"type": "string"}), "The methods that the path has.", true),
        "authenticate": header(json!({"type": "string"}), "How to authenticate: `Bearer`.", true),
    });
    if let Some(versions) = wire.versions {
        let schema = json!({"type": "string", "enum": versions.known});
        headers["version"] = header(schema, "The version of the API that the answer is in.", true);
    }
    headers
}

/// Writes `pipeline_stage` as `PipelineStage`.
fn pascal(name: &str) -> String {
    name.split('_')
        .map(|word| {
            word.chars().take(1).map(|it| it.to_ascii_uppercase()).chain(word.chars().skip(1)).collect::<String>()
        })
        .collect()
}

fn reference_to(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

#[cfg(test)]
mod tests;
