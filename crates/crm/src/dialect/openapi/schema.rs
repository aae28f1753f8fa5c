//! The schemas of the built-in tables' records: in responses, in POST bodies and in PATCH bodies.

use serde_json::{Map, Value, json};

use crate::dialect::openapi::answers::schema_of;
use crate::dialect::openapi::{Act, Wire, reference_to};
use crate::model::entity::{Entity, Field, FieldKind, Need, READ_ONLY_COLUMNS, by_table};

/// The characters after the prefix in example ids.
const EXAMPLE_ULID: &str = "01kaqz3v5t8w9x2y4z6a8b0c1d";

/// Adds the schemas of a built-in table.
pub fn add_entity(schemas: &mut Map<String, Value>, wire: &Wire, entity: &Entity) {
    let name = schema_of(entity.name);
    schemas.insert(name.clone(), record(wire, entity));
    if let Some(expanded) = expanded(wire, entity) {
        schemas.insert(format!("{name}Detail"), expanded);
    }
    if entity.writable {
        schemas.insert(format!("{name}Create"), written(wire, entity, true));
        schemas.insert(format!("{name}Patch"), written(wire, entity, false));
    }
}

/// The schema of an act's record, before the dialect wraps it.
pub fn row_schema(wire: &Wire, act: Act, entity: Option<&Entity>) -> Value {
    let Some(entity) = entity else { return reference_to("schemas", "Row") };
    let name = schema_of(entity.name);
    match act {
        Act::Find if expanded(wire, entity).is_some() => reference_to("schemas", &format!("{name}Detail")),
        Act::Search => json!({"allOf": [
            reference_to("schemas", &name),
            {"type": "object", "required": ["score"], "properties": {"score": {"type": "number",
                "description": "How well the record fits, from 0 to 1; the best comes first."}}},
        ]}),
        Act::ListRows => reference_to("schemas", "Row"),
        Act::AddMembers => reference_to("schemas", "ListMember"),
        _ => reference_to("schemas", &name),
    }
}

fn record(wire: &Wire, entity: &Entity) -> Value {
    let mut properties = Map::new();
    let mut example = Map::new();
    for field in entity.columns() {
        let name = (wire.column)(entity, field.name);
        properties.insert(name.into(), described(wire, &field, value(&field)));
        example.insert(name.into(), example_value(wire, &field));
        if let (Some(object), "id") = (wire.object, field.name) {
            properties
                .insert(object.into(), json!({"type": "string", "const": entity.name, "description": "Its kind."}));
            example.insert(object.into(), entity.name.into());
        }
    }
    let names: Vec<&String> = properties.keys().collect();
    json!({
        "type": "object",
        "description": format!("{} Columns that the workspace added by SQL are shown too.", entity.about),
        "required": names,
        "properties": properties,
        "examples": [example],
    })
}

/// The schema of a record with its related rows, if the table has relations.
fn expanded(wire: &Wire, entity: &Entity) -> Option<Value> {
    let shown = |table: &str| reference_to("schemas", &schema_of(by_table(table).map_or("row", |entity| entity.name)));
    let one = entity.to_one.iter().map(|relation| {
        (
            (wire.column)(entity, relation.key),
            json!({"description": "The record that it refers to; null if it refers to none.",
            "oneOf": [shown(relation.table), {"type": "null"}]}),
        )
    });
    let many =
        entity.to_many.iter().map(|relation| (relation.key, json!({"type": "array", "items": shown(relation.table)})));
    let related: Map<String, Value> = one.chain(many).map(|(key, schema)| (key.to_owned(), schema)).collect();
    let keys: Vec<&String> = related.keys().collect();
    if keys.is_empty() {
        return None;
    }
    Some(json!({"allOf": [
        reference_to("schemas", &schema_of(entity.name)),
        {"type": "object", "required": if wire.expand.is_none() { keys } else { Vec::new() }, "properties": related},
    ]}))
}

/// The schema of a body that creates or updates a record.
fn written(wire: &Wire, entity: &Entity, new: bool) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in entity.columns().filter(|field| !READ_ONLY_COLUMNS.contains(&field.name)) {
        let name = (wire.column)(entity, field.name);
        let schema = match field.name {
            "custom" => json!({"type": ["object", "null"], "additionalProperties": true}),
            _ => value(&field),
        };
        properties.insert(name.into(), described(wire, &field, schema));
        if new && field.need == Need::Required {
            required.push(name);
        }
    }
    let about = match new {
        true => "A new record. Columns that the workspace added by SQL are taken too; any other name is refused.",
        false => {
            "The columns to change; all others stay. JSON objects are merged one level deep, and a key that is null is removed."
        }
    };
    let mut schema = json!({"type": "object", "description": about, "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if new {
        schema["examples"] = json!([Value::Object(example_of(wire, entity))]);
    }
    schema
}

/// The schema of a body that creates a stage of the pipeline in the path.
pub fn new_stage(wire: &Wire) -> Value {
    let Some(entity) = by_table("pipeline_stages") else { return json!({}) };
    let mut schema = written(wire, entity, true);
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.remove("pipeline");
    }
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| name != "pipeline");
    }
    if let Some(example) = schema.pointer_mut("/examples/0").and_then(Value::as_object_mut) {
        example.remove("pipeline");
    }
    schema
}

/// An example body that creates a record. The records that its ids name may not exist.
pub fn example_of(wire: &Wire, entity: &Entity) -> Map<String, Value> {
    let fields = entity.fields.iter().filter(|field| !field.example.is_empty() || field.need == Need::Required);
    fields.map(|field| ((wire.column)(entity, field.name).to_owned(), example_value(wire, field))).collect()
}

/// An example id of a built-in table.
pub fn id_of(wire: &Wire, entity: &Entity) -> String {
    format!("{}_{EXAMPLE_ULID}", (wire.prefix)(entity))
}

fn example_value(wire: &Wire, field: &Field) -> Value {
    if let Ok(example) = serde_json::from_str(field.example) {
        return example;
    }
    match field.kind {
        FieldKind::Id(table) => by_table(table).map(|entity| id_of(wire, entity)).into(),
        _ if field.need == Need::Optional => Value::Null,
        FieldKind::Ids(_) | FieldKind::Emails | FieldKind::JsonArray => json!([]),
        FieldKind::JsonObject | FieldKind::Json => json!({}),
        FieldKind::Bool => false.into(),
        FieldKind::Integer | FieldKind::SmallInteger => 1.into(),
        FieldKind::Date => "2026-11-20".into(),
        FieldKind::Time => "2026-11-20T15:04:05.123456+00:00".into(),
        FieldKind::OneOf(names) => names.first().copied().into(),
        FieldKind::Text | FieldKind::Email => "text".into(),
    }
}

/// The schema of a column's values.
pub fn value(field: &Field) -> Value {
    let (kind, more) = match field.kind {
        FieldKind::Text | FieldKind::Email | FieldKind::Id(_) => ("string", json!({})),
        FieldKind::Emails | FieldKind::Ids(_) => ("array", json!({"items": {"type": "string"}})),
        FieldKind::Integer => ("integer", json!({"format": "int64"})),
        FieldKind::SmallInteger => ("integer", json!({"format": "int32"})),
        FieldKind::Bool => ("boolean", json!({})),
        FieldKind::Date => ("string", json!({"format": "date"})),
        FieldKind::Time => ("string", json!({"format": "date-time"})),
        FieldKind::Json => return json!({}),
        FieldKind::JsonArray => ("array", json!({"items": {}})),
        FieldKind::JsonObject => ("object", json!({"additionalProperties": true})),
        FieldKind::OneOf(names) => ("string", json!({"enum": names})),
    };
    let mut schema = json!({"type": kind});
    for (key, part) in more.as_object().into_iter().flatten() {
        schema[key] = part.clone();
    }
    if field.need == Need::Optional {
        schema["type"] = json!([kind, "null"]);
        if let Some(Value::Array(names)) = schema.get_mut("enum") {
            names.push(Value::Null);
        }
    }
    schema
}

/// The schema of a value that a column of this kind is compared with.
pub fn single_value(kind: FieldKind) -> Value {
    match kind {
        FieldKind::Bool => json!({"type": "boolean"}),
        FieldKind::Integer => json!({"type": "integer", "format": "int64"}),
        FieldKind::SmallInteger => json!({"type": "integer", "format": "int32"}),
        FieldKind::Date => json!({"type": "string", "format": "date"}),
        FieldKind::Time => json!({"type": "string", "format": "date-time"}),
        FieldKind::OneOf(names) => json!({"type": "string", "enum": names}),
        _ => json!({"type": "string"}),
    }
}

fn described(wire: &Wire, field: &Field, mut schema: Value) -> Value {
    let mut about = field.about.to_owned();
    if let FieldKind::Id(table) | FieldKind::Ids(table) = field.kind
        && let Some(entity) = by_table(table)
    {
        about = format!("{about} `{}_…`", (wire.prefix)(entity));
    }
    schema["description"] = about.into();
    schema
}
