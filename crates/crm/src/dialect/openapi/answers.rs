//! Names for the schemas of responses. Client generators create a type for each named schema. For an inline schema they create
//! a type with an unusable name, or no type.

use serde_json::{Map, Value};

use crate::dialect::openapi::{pascal, reference_to};

/// Moves the schemas of all successful responses to the components and replaces them by references.
pub fn name_all(paths: &mut Value, schemas: &mut Map<String, Value>) {
    for operation in paths.as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        for operation in operation.as_object_mut().into_iter().flat_map(|methods| methods.values_mut()) {
            let words = operation["operationId"].as_str().unwrap_or_default();
            let fallback = format!(
                "{}{}Answer",
                words.get(..1).unwrap_or_default().to_uppercase(),
                words.get(1..).unwrap_or_default()
            );
            for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
                if status.starts_with('2')
                    && let Some(schema) = response.pointer_mut("/content/application~1json/schema")
                {
                    *schema = named(schema.take(), &fallback, schemas);
                }
            }
        }
    }
}

/// Returns a reference to the schema. Adds the schema to the components if it is not there.
fn named(mut schema: Value, fallback: &str, schemas: &mut Map<String, Value>) -> Value {
    if schema.get("$ref").is_some() {
        return schema;
    }
    if let Some(Value::Array(parts)) = schema.get_mut("oneOf") {
        for part in parts {
            *part = named(part.take(), &format!("{fallback}Many"), schemas);
        }
    }
    if let Some(items) = schema.pointer_mut("/properties/data/items")
        && let Some(found) = name_of(items.pointer("/allOf/0")).map(|name| format!("Found{name}"))
    {
        *items = named(items.take(), &found, schemas);
    }
    let name = describing_name(&schema).filter(|name| schemas.get(name).is_none_or(|other| *other == schema));
    let name = name.unwrap_or_else(|| fallback.to_owned());
    let reference = reference_to("schemas", &name);
    schemas.entry(name).or_insert(schema);
    reference
}

/// `ContactAnswer` for one record, `ContactPage` for a page of them.
fn describing_name(schema: &Value) -> Option<String> {
    let data = schema.pointer("/properties/data")?;
    match (name_of(Some(data)), name_of(data.get("items"))) {
        (Some(name), _) => Some(format!("{name}Answer")),
        (None, Some(name)) if is_page(schema) => Some(format!("{name}Page")),
        _ => None,
    }
}

fn is_page(schema: &Value) -> bool {
    schema.pointer("/properties/has_more").is_some() || name_of(schema.pointer("/properties/_meta")) == Some("PageMeta")
}

/// The name of the component to which a schema refers.
fn name_of(schema: Option<&Value>) -> Option<&str> {
    schema?.get("$ref")?.as_str()?.strip_prefix("#/components/schemas/")
}

/// The name of a built-in table's schema. `List` is renamed, because many languages have a type of that name.
pub fn schema_of(entity: &str) -> String {
    if entity == "list" { "SavedList".into() } else { pascal(entity) }
}
