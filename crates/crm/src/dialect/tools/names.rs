//! The names of fields in tools. A tool understands the names of both dialects, and answers with those of the caller's.

use serde_json::{Map, Value};

use crate::dialect::Dialect;
use crate::dialect::relm::names::RENAMES;
use crate::dialect::stored_id;
use crate::model::entity::{ENTITIES, Entity, Field, FieldKind, WriteRule};
use crate::model::fault::Fault;
use crate::model::id::is_id;

/// Returns the column of a field's name, in whichever dialect it is. A name that no dialect has stays as it is.
pub fn column_of<'a>(entity: &Entity, name: &'a str) -> &'a str {
    if entity.columns().any(|field| field.name == name) {
        return name;
    }
    let renamed =
        |name: &str| RENAMES.iter().find(|it| (it.table.is_empty() || it.table == entity.table) && it.name == name);
    if let Some(rename) = renamed(name) {
        return rename.column;
    }
    // A name as people read it: `First name`, `firstName`.
    let slug = slug(name);
    let column = entity.columns().map(|field| field.name).find(|column| *column == slug);
    column.or_else(|| renamed(&slug).map(|rename| rename.column)).unwrap_or(name)
}

/// A name as names are written here: in small letters, with underscores.
pub fn slug(name: &str) -> String {
    let mut slug = String::with_capacity(name.len() + 4);
    let mut follows_small = false;
    for it in name.trim().chars() {
        match it {
            ' ' | '-' | '_' => slug.push('_'),
            it => {
                if it.is_uppercase() && follows_small {
                    slug.push('_');
                }
                slug.extend(it.to_lowercase());
            }
        }
        follows_small = it.is_lowercase() || it.is_ascii_digit();
    }
    slug
}

/// A value as the field's column has it, if it is one of some words: `Call` is `call`.
pub fn word(entity: &Entity, column: &str, text: &str) -> Option<&'static str> {
    let field = entity.columns().find(|field| field.name == column)?;
    let FieldKind::OneOf(words) = field.kind else { return None };
    let slug = slug(text);
    words.iter().copied().find(|word| *word != text && *word == slug)
}

/// Returns the caller's name of a field that is named in any dialect.
pub fn own<'a>(dialect: &Dialect, entity: &Entity, name: &'a str) -> &'a str {
    let column = column_of(entity, name);
    let known = entity.columns().map(|field| field.name).find(|it| *it == column);
    match known {
        Some(column) => (dialect.reference.wire.column)(entity, column),
        None => name,
    }
}

/// The fields of a record by the caller's names. None is lost if a call has a field by the names of both dialects.
pub fn in_own_names(
    dialect: &Dialect,
    entity: &Entity,
    fields: Map<String, Value>,
) -> Result<Map<String, Value>, Fault> {
    let mut renamed = Map::with_capacity(fields.len());
    for (name, value) in fields {
        let own = own(dialect, entity, &name).to_owned();
        put(&mut renamed, own, value)?;
    }
    Ok(renamed)
}

/// Adds a value under its right name. It may be there under another name already, but not with another value.
pub fn put(values: &mut Map<String, Value>, name: String, value: Value) -> Result<(), Fault> {
    match values.get(&name) {
        Some(known) if !known.is_null() && !value.is_null() && *known != value => {
            Err(Fault::invalid(format!("\"{name}\" has two values, by two of its names. Send one of them.")))
        }
        Some(_) if value.is_null() => Ok(()),
        _ => {
            values.insert(name, value);
            Ok(())
        }
    }
}

/// Returns the built-in table of an id.
pub fn table_of_id(id: &str) -> Option<&'static Entity> {
    let id = stored_id(id);
    ENTITIES.iter().find(|entity| is_id(&id, entity.prefix))
}

/// Whether a field identifies its record or is short enough for a list of many.
pub fn is_brief(field: &Field) -> bool {
    match field.kind {
        FieldKind::Json | FieldKind::JsonArray | FieldKind::JsonObject | FieldKind::Ids(_) => false,
        FieldKind::Text
        | FieldKind::Email
        | FieldKind::Emails
        | FieldKind::Integer
        | FieldKind::SmallInteger
        | FieldKind::Bool
        | FieldKind::Date
        | FieldKind::Time
        | FieldKind::Id(_)
        | FieldKind::OneOf(_) => !LONG.contains(&field.name) && !STAMPED.contains(&field.name),
    }
}

/// Columns with long or rarely needed texts, which lists leave out.
const LONG: &[&str] = &["body", "body_text", "body_html", "provider_msg_id", "thread_id", "filter_predicate"];

/// Columns that a list of a custom table leaves out.
pub const STAMPED: &[&str] = &["created_at", "updated_at", "deleted_at"];

/// Whether a tool that lists a table offers a parameter for equality with this column.
pub fn is_filter(entity: &Entity, field: &Field) -> bool {
    matches!(field.kind, FieldKind::Id(_) | FieldKind::OneOf(_) | FieldKind::Email)
        || field.normal_form.is_some()
        || (entity.write_rule == WriteRule::InPipeline && matches!(field.name, "pipeline" | "stage"))
}
