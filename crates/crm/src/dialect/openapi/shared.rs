//! The schemas that both dialects have, for bodies and responses. A dialect can add properties to some of them.

use serde_json::{Map, Value, json};

use crate::dialect::openapi::reference_to;
use crate::model::operation::{MAX_OPERATIONS, MAX_REF_CHARACTERS};

/// The example of a raw SQL statement.
const EXAMPLE_SQL: &str = include_str!("example.sql").trim_ascii_end();

/// The schemas of bodies, and of the rows of custom tables.
pub fn schemas() -> Vec<(&'static str, Value)> {
    let text = |about: &str| json!({"type": "string", "description": about});
    vec![
        (
            "Row",
            json!({
                "type": "object",
                "additionalProperties": true,
                "description": "A row: its columns and their values, as PostgreSQL's to_jsonb gives them.",
            }),
        ),
        (
            "SqlRequest",
            json!({
                "type": "object",
                "required": ["sql"],
                "additionalProperties": false,
                "properties": {
                    "sql": {"type": "string", "minLength": 1, "description": "One statement, or up to 50 separated by semicolons. No BEGIN or COMMIT: a request is one transaction."},
                    "params": {"type": ["array", "null"], "items": {}, "description": "The values of $1, $2 … of a single statement; any JSON value for any type."},
                },
                "examples": [{"sql": EXAMPLE_SQL, "params": ["%acme.com"]}],
            }),
        ),
        (
            "NewMembers",
            json!({
                "oneOf": [reference_to("schemas", "NewMember"), reference_to("schemas", "SeveralNewMembers")],
            }),
        ),
        (
            "NewMember",
            json!({"type": "object", "required": ["member_id"], "additionalProperties": false, "properties": {"member_id": text("The id of one record.")}}),
        ),
        (
            "SeveralNewMembers",
            json!({"type": "object", "required": ["member_ids"], "additionalProperties": false, "properties": {"member_ids": {
                "type": "array", "minItems": 1, "maxItems": 1000, "items": {"type": "string"}, "description": "The ids of several."}}}),
        ),
        (
            "NewRun",
            json!({"type": "object", "required": ["run_id"], "additionalProperties": false, "properties": {
                "run_id": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Your own name for the run."},
                "agent": {"type": ["string", "null"], "maxLength": 500, "description": "The program that does it. At most 500 bytes."},
                "reason": {"type": ["string", "null"], "maxLength": 500, "description": "The purpose. At most 500 bytes."}}}),
        ),
        (
            "RunEnd",
            json!({"type": "object", "required": ["status"], "additionalProperties": false, "properties": {
                "status": {"type": "string", "enum": ["complete", "failed"]},
                "summary": {"type": ["string", "null"], "maxLength": 4000, "description": "What was done. At most 4000 bytes."}}}),
        ),
        (
            "Assertion",
            json!({"type": "object", "required": ["match", "data"], "additionalProperties": false, "properties": {
                "match": {"type": "array", "minItems": 1, "items": {"type": "string"}, "description": "The fields by which the record is found. A key of the free-form field has a point before it: `custom.plan`."},
                "data": {"type": "object", "description": "The fields of the record."}}}),
        ),
        (
            "MergeRequest",
            json!({"type": "object", "required": ["from"], "additionalProperties": false, "properties": {
                "from": {"type": "array", "minItems": 1, "maxItems": 20, "items": {"type": "string"},
                    "description": "The ids of the records that become part of this one."},
                "prefer": {"type": ["object", "null"], "additionalProperties": {"type": "string"},
                    "description": "The id of the record whose value wins, by field. A key of the free-form field has a point before it: `custom.plan`."}}}),
        ),
        (
            "Merged",
            json!({"type": "object", "required": ["from", "moved", "dropped"], "description": "What a merge did.", "properties": {
                "from": {"type": "array", "items": {"type": "string"}, "description": "The ids of the records that are deleted now."},
                "moved": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "How many references of each table were changed."},
                "dropped": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "How many rows of each table were deleted, because the record has the same."}}}),
        ),
        (
            "UndoRequest",
            json!({"type": "object", "additionalProperties": false, "properties": {
                "on_conflict": {"type": ["string", "null"], "enum": ["refuse", "skip", null],
                    "description": "Whether what is in the way refuses the whole undo, or is left: of an update its columns, else the row."}}}),
        ),
        (
            "NewOperations",
            json!({
                "type": "object",
                "required": ["operations"],
                "additionalProperties": false,
                "properties": {
                    "operations": {"type": "array", "minItems": 1, "maxItems": MAX_OPERATIONS, "items": reference_to("schemas", "NewOperation")},
                },
                "examples": [{"operations": [
                    {"method": "POST", "path": "/v1/companies", "ref": "co", "body": {"name": "Acme", "domain": "acme.com"}},
                    {"method": "POST", "path": "/v1/contacts", "body": {"email": "sarah@acme.com", "company_id": "$co.id"}},
                    {"method": "GET", "path": "/v1/companies/$co.id"},
                ]}],
            }),
        ),
        (
            "NewOperation",
            json!({
                "type": "object",
                "required": ["method", "path"],
                "additionalProperties": false,
                "properties": {
                    "method": {"type": "string", "enum": ["GET", "POST", "PATCH", "DELETE"]},
                    "path": {"type": "string", "pattern": "^/v1/", "description": "The path, with its query. `$ref.field` as a whole segment stands for a field of an earlier record."},
                    "body": {"type": ["object", "null"], "additionalProperties": true, "description": "The body that the request alone would have. A string `$ref.field` stands for a field of an earlier record; `$$` at the start of a string stands for `$`."},
                    "ref": {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_REF_CHARACTERS, "pattern": "^[^.$\\s]+$", "description": "The name by which later operations refer to the record."},
                },
            }),
        ),
        (
            "OperationAnswer",
            json!({
                "type": "object",
                "required": ["status", "body"],
                "properties": {
                    "ref": text("The operation's `ref`, if it has one."),
                    "status": {"type": "integer", "description": "The status that the request alone would have."},
                    "body": {"type": "object", "additionalProperties": true, "description": "The body that the request alone would have."},
                },
            }),
        ),
        (
            "NewBatch",
            json!({
                "type": "object",
                "required": ["contacts"],
                "additionalProperties": false,
                "properties": {
                    "contacts": {"type": "array", "maxItems": 500, "items": reference_to("schemas", "ContactCreate")},
                    "dedup_on": {"type": ["array", "null"], "items": {"type": "string"}, "description": "The fields that identify an existing contact; by default `[\"email\"]`."},
                },
                "examples": [{"contacts": [{"email": "a@x.com"}, {"email": "b@x.com"}], "dedup_on": ["email"]}],
            }),
        ),
    ]
}

/// An object schema. All properties are required; the dialect's own properties (`more`) come first.
fn object(more: Value, properties: Value) -> Value {
    let properties: Map<String, Value> =
        [more, properties].into_iter().filter_map(|it| it.as_object().cloned()).flatten().collect();
    let names: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "required": names, "properties": properties})
}

fn array(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

/// The properties of an error in a batch of operations.
pub fn operation_of_fault() -> [(&'static str, Value); 2] {
    [
        (
            "operation",
            json!({"type": "integer", "minimum": 0, "description": "In a batch: the index of the operation that failed, from 0."}),
        ),
        (
            "ref",
            json!({"type": "string", "description": "In a batch: the ref of the operation that failed, if it has one."}),
        ),
    ]
}

/// The schema of the outcome of an import.
pub fn import(more: Value) -> Value {
    let count = |about: &str| json!({"type": "integer", "minimum": 0, "description": about});
    let refused = json!({
        "type": "object",
        "required": ["row", "code", "reason", "hint"],
        "properties": {
            "row": {"type": "integer", "description": "The row's number in the file. The row of names is number 1."},
            "code": {"type": "string", "description": "An error code."},
            "reason": {"type": "string"},
            "hint": {"type": ["string", "null"]},
        },
    });
    object(
        more,
        json!({
            "table": {"type": "string"},
            "created": count("Records that are new."),
            "updated": count("Records that existed and have the file's values now."),
            "skipped": count("Rows without a value."),
            "refused": {"type": "array", "items": refused, "description": "Rows of which nothing was kept."},
        }),
    )
}

/// The schema of a raw SQL result.
pub fn sql_result(more: Value) -> Value {
    let kind = "As PostgreSQL writes it: `timestamp with time zone`, `citext`, `integer[]`.";
    let column =
        object(json!({}), json!({"name": {"type": "string"}, "type": {"type": "string", "description": kind}}));
    object(
        more,
        json!({
            "columns": {"type": "array", "description": "The second column of a name is `name_2`.", "items": column},
            "rows": array(reference_to("schemas", "Row")),
            "rowCount": {"type": "integer", "description": "Rows returned or affected."},
            "command": {"type": "string", "description": "The command tag without counts: `SELECT`, `CREATE TABLE`."},
        }),
    )
}

/// The schema of an entry in the list of tables.
pub fn table_summary(more: Value) -> Value {
    let kind = json!({"type": "string", "enum": ["builtin", "custom"]});
    let mut schema =
        object(more, json!({"name": {"type": "string"}, "kind": kind, "estimated_rows": {"type": "integer"}}));
    schema["properties"]["reserved"] = json!({"type": "boolean", "const": true,
        "description": "The name is that of another path, so only SQL reaches the table."});
    schema
}

fn affected() -> Value {
    let count = || json!({"type": "integer", "minimum": 0});
    let counts =
        object(json!({}), json!({"created": count(), "updated": count(), "deleted": count(), "restored": count()}));
    json!({"type": "object", "additionalProperties": counts, "description": "The numbers of rows by table."})
}

/// The schema of a run.
pub fn run(more: Value) -> Value {
    let (text, text_or_null) = (json!({"type": "string"}), json!({"type": ["string", "null"]}));
    let time = json!({"type": "string", "format": "date-time"});
    object(
        more,
        json!({
            "id": {"type": "string", "description": "`run_…`"},
            "run_id": {"type": "string", "description": "The caller's name for the run, X-Run-Id."},
            "actor": text, "agent": text_or_null, "reason": text_or_null,
            "status": {"type": "string", "enum": ["open", "complete", "failed", "undone"]},
            "summary": text_or_null,
            "affected": affected(),
            "requests": {"type": "integer", "description": "Requests that changed something."},
            "started_at": time, "last_at": time,
            "undone_by": {"type": ["string", "null"], "description": "The run that undid it."},
            "undo_of": {"type": ["string", "null"], "description": "What it undoes: a run, a request or an entry of the feed."},
            "caused_by": text_or_null,
            "undoable": {"type": "string", "enum": ["whole", "partly", "no"]},
            "why": {"type": "array", "items": {"type": "string"}, "description": "What cannot be undone: DDL, TRUNCATE, tables without a primary key."},
        }),
    )
}

/// The schema of a change.
pub fn change(more: Value) -> Value {
    let text_or_null = json!({"type": ["string", "null"]});
    let mut properties = planned();
    properties["at"] = json!({"type": "string", "format": "date-time"});
    properties["request_id"] = text_or_null.clone();
    properties["activity_id"] = text_or_null;
    may_be_hard(object(more, properties))
}

/// The schema of a change that a dry run would make.
pub fn planned_change() -> Value {
    may_be_hard(object(json!({}), planned()))
}

fn planned() -> Value {
    let sides = object(json!({}), json!({"from": {}, "to": {}}));
    json!({
        "table": {"type": "string"},
        "id": {"description": "The row's key; an object if it has several columns."},
        "verb": {"type": "string", "enum": ["created", "updated", "deleted", "restored"]},
        "changes": {"type": "object", "additionalProperties": sides},
        "via": {"type": "string", "enum": ["request", "cascade", "trigger"], "description": "The request itself, a foreign key, or a trigger."},
    })
}

fn may_be_hard(mut change: Value) -> Value {
    change["properties"]["hard"] =
        json!({"type": "boolean", "description": "True if the row was removed permanently."});
    change
}

/// What the answer to a dry run says: the schemas of `status`, `affected`, `changes` and `changes_truncated`.
pub fn dry_run() -> [Value; 4] {
    [
        json!({"type": "integer", "description": "The status that the request would have had."}),
        affected(),
        json!({"type": "array", "items": reference_to("schemas", "PlannedChange"), "description": "The first changes that it would have made: at most 200, and 4 MB of text. `clipped` has the lengths in bytes of values that were cut."}),
        json!({"type": "boolean", "description": "Whether it would have made more."}),
    ]
}

/// The schema of the answer to an undo.
pub fn undone(more: Value) -> Value {
    let skipped = object(json!({}), json!({"table": {"type": "string"}, "id": {}, "reason": {"type": "string"}}));
    let effect = object(json!({}), json!({"effect": {"type": "string"}, "id": {"type": "string"}}));
    object(
        more,
        json!({
            "run_id": {"type": ["string", "null"], "description": "The run of the undo. Undo it to take the undo back. Null if nothing was undone."},
            "undone": {"type": "integer", "description": "Rows that were put back."},
            "skipped": array(skipped),
            "not_undone": array(effect),
        }),
    )
}

/// The schema of a record's outcome in a batch. `error` is the schema of its fault.
pub fn batch_item(error: Value) -> Value {
    json!({
        "type": "object",
        "required": ["index", "status"],
        "properties": {
            "index": {"type": "integer", "description": "Its place in the request, from 0."},
            "status": {"type": "string", "enum": ["created", "updated", "error"]},
            "contact": reference_to("schemas", "Contact"),
            "error": error,
        },
    })
}

/// The kinds of records that the search in several tables finds.
pub const FOUND: [&str; 4] = ["Contact", "Company", "Deal", "Activity"];

/// The schema of a result of the search in several tables: one of these schemas, each with a `const` that tells it from the others.
pub fn found_record(parts: [String; 4]) -> Value {
    json!({"oneOf": parts.map(|name| reference_to("schemas", &name))})
}

/// The schema of the description of all tables.
pub fn database_schema(more: Value) -> Value {
    let plain = |properties: Value| object(json!({}), properties);
    let texts = || array(json!({"type": "string"}));
    let (text, text_or_null) = (json!({"type": "string"}), json!({"type": ["string", "null"]}));
    let column = plain(json!({
        "name": text, "type": text, "nullable": {"type": "boolean"}, "default": text_or_null, "comment": text_or_null,
        "description": text_or_null, "generated": {"type": ["string", "null"], "enum": ["always", "by default", null]},
    }));
    let foreign_key = plain(json!({
        "columns": texts(),
        "references": plain(json!({"table": text, "columns": texts()})),
        "on_delete": {"type": "string", "enum": ["no action", "restrict", "cascade", "set null", "set default"]},
    }));
    let table = plain(json!({
        "name": text,
        "kind": {"type": "string", "enum": ["builtin", "custom"]},
        "comment": text_or_null,
        "columns": array(column),
        "primary_key": texts(),
        "foreign_keys": array(foreign_key),
        "indexes": array(plain(json!({"name": text, "definition": text, "unique": {"type": "boolean"}}))),
    }));
    let enumeration = plain(json!({"name": text, "values": texts()}));
    object(more, json!({"tables": array(table), "enums": array(enumeration)}))
}

/// The schema of the outcome of an assertion.
pub fn outcome() -> Value {
    json!({"type": "string", "enum": ["created", "updated", "unchanged"], "description": "What was done."})
}
