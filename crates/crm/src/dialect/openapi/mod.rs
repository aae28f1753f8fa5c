//! OpenAPI 3.1 of a dialect, written from the tables that the code itself reads: the built-in tables, the error codes, the
//! dialect's endpoints and filters.
//!
//! Nothing here knows one dialect from another: what they differ in is the [`Reference`] that each of them has.

mod answers;
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

pub use endpoints::ENDPOINTS;
pub use operation::subjects;
pub use schema::{example_of, single_value};

/// What a dialect's documentation is written from.
#[derive(Debug)]
pub struct Reference {
    /// The name of the API.
    pub title: &'static str,
    /// Where its keys come from, in one or two sentences.
    pub key: &'static str,
    /// What everybody has to know, in Markdown.
    pub about: &'static str,
    /// Every path and method, in reading order.
    pub endpoints: &'static [Endpoint],
    /// What people do, where this dialect describes it.
    pub errands: &'static [people::Errand],
    /// The parameters that filter a list, each with what it means.
    pub filter_forms: fn() -> Vec<(&'static str, &'static str)>,
    /// The text of `/llms.txt`, with places to fill in.
    pub llms: &'static str,
    /// What `/llms-full.txt` has beyond it.
    pub llms_full: &'static str,
    /// How it names and wraps things.
    pub wire: Wire,
}

/// A path with a method.
#[derive(Debug)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path, with `{table}`, `{id}` … for what is put in.
    pub path: &'static str,
    /// What it does.
    pub act: Act,
    /// One or two sentences.
    pub about: &'static str,
    /// The built-in table that it leads to by another name.
    pub alias: Option<&'static Alias>,
}

/// Another name of a built-in table's records.
#[derive(Debug)]
pub struct Alias {
    /// The table.
    pub table: &'static str,
    /// What one of its records is called, for names of operations.
    pub one: &'static str,
    /// What several are called.
    pub many: &'static str,
}

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Act {
    SignUp,
    Sql,
    Tables,
    Schema,
    SearchAll,
    Batch,
    List,
    Search,
    Stages,
    CreateStage,
    Create,
    Find,
    Update,
    Delete,
    Restore,
    ListRows,
    AddMembers,
    RemoveMember,
}

/// How a dialect names and wraps things.
#[derive(Debug)]
pub struct Wire {
    /// The name of a built-in table's column.
    pub column: fn(&Entity, &'static str) -> &'static str,
    /// The prefix of a built-in table's ids.
    pub prefix: fn(&Entity) -> &'static str,
    /// The parameters that filter a built-in table, or one that documentation does not know.
    pub filters: fn(Option<&Entity>) -> Vec<Parameter>,
    /// The schema of an answer around that of a record.
    pub answer: fn(Act, Value) -> Value,
    /// The schemas that answers refer to.
    pub schemas: fn() -> Vec<(&'static str, Value)>,
    /// The schema of an error with this code.
    pub fault: fn(&Code) -> Value,
    /// Codes that no request in the dialect ends in.
    pub never: &'static [&'static str],
    /// The field in which a record says what it is.
    pub object: Option<&'static str>,
    /// Where the id of a new record stands in the answer, as a JSON pointer.
    pub new_id: &'static str,
    /// The parameter that names what is shown with a record; all of it where there is none.
    pub expand: Option<&'static str>,
    /// The versions that requests may ask for.
    pub versions: Option<&'static Versions>,
}

/// A query parameter.
#[derive(Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its schema.
    pub schema: Value,
    /// What it does.
    pub about: String,
    /// How its values are written.
    pub style: Style,
}

/// How a parameter's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One value.
    Single,
    /// Several, separated by commas.
    Commas,
    /// An object whose keys are parameters of their own.
    Open,
}

/// The whole document; `base_url` without a slash at its end.
pub fn document(reference: &Reference, base_url: &str) -> Value {
    let mut responses = faults::Responses::default();
    let mut paths = operation::paths(reference, &mut responses);
    people::add(&mut paths, reference, &mut responses);
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

/// Puts the dialect's name of the free-form field into every description.
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

/// A text that tells of the free-form field, by the dialect's name.
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

/// The tag of what is about no single built-in table.
const WORKSPACE_TAG: &str = "workspaces";
const SQL_TAG: &str = "sql";
const OWN_TAG: &str = "your own tables";

const SEARCH_TAG: &str = "search";

fn tags(reference: &Reference) -> Value {
    let fixed = |name: &str, about: &str| json!({"name": name, "description": about});
    let signs_up = reference.endpoints.iter().any(|endpoint| endpoint.act == Act::SignUp);
    let workspace = fixed(WORKSPACE_TAG, "Where everything lives: a PostgreSQL database of its own.");
    let mut tags = vec![
        fixed(SQL_TAG, "Raw SQL on the workspace's database, and what is in it."),
        fixed(SEARCH_TAG, "Full text over several tables."),
    ];
    if signs_up {
        tags.insert(0, workspace);
    }
    tags.extend(ENTITIES.iter().map(|entity| fixed(entity.table, entity.about)));
    if !reference.errands.is_empty() {
        tags.push(people::tag());
    }
    tags.push(fixed(
        OWN_TAG,
        "Any table or view that you make by SQL is served at once, by its single-column primary key. The built-in tables \
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
            "Rows a page has at most. Above 200 it is taken as 200."),
        "cursor": query("cursor", json!({"type": "string"}),
            "Where to go on: `next_cursor` of the page before, with the same filters."),
        "include_deleted": query("include_deleted", json!({"type": "boolean", "default": false}),
            "Show soft-deleted rows too."),
        "only_deleted": query("only_deleted", json!({"type": "boolean", "default": false}),
            "Show nothing but soft-deleted rows."),
        "idempotency_key": header("Idempotency-Key", json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}),
            "Makes a retry safe: the same key with the same request within 24 hours gets the stored answer, and the work is done once."),
        "agent": header("X-Agent", said(), "Who is calling; its first 500 bytes are kept with every activity entry that the request causes."),
        "run_id": header("X-Run-Id", said(), "The run that the request belongs to; kept likewise."),
        "reason": header("X-Reason", said(), "Why it is made; kept likewise."),
    });
    if let Some(versions) = wire.versions {
        let schema = json!({"type": "string", "enum": versions.known, "default": versions.newest()});
        parameters["version"] =
            header(&header_name(versions), schema, "The version of the API that the answer is to be in.");
    }
    parameters
}

/// `relm-version` as documentation writes it: `Relm-Version`.
fn header_name(versions: &Versions) -> String {
    versions.header.split('-').map(pascal).collect::<Vec<_>>().join("-")
}

fn headers(wire: &Wire) -> Value {
    let header = |schema: Value, about: &str, required: bool| json!({"description": about, "required": required, "schema": schema});
    let number = || json!({"type": "integer", "minimum": 0});
    let mut headers = json!({
        "request_id": header(json!({"type": "string"}), "The request's id, `req_…`, to report when something is wrong.", true),
        "rate_limit": header(number(), "Requests that the key may make a minute.", true),
        "rate_remaining": header(number(), "How many of them are left.", true),
        "rate_reset": header(number(), "When the count begins anew, in Unix seconds.", true),
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

/// `pipeline_stage` as `PipelineStage`.
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
