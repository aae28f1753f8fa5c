//! Writes changes and conflicts: the part that is common to all dialects. The names of a dialect are its [`ChangeWords`].

use serde_json::{Map, Value, json};

use crate::model::change::{Change, ChangeSet};

/// The names of a dialect in changes.
#[derive(Debug)]
pub struct ChangeWords {
    /// Returns the wire name of a table's column.
    pub column: fn(&str, &str) -> String,
    /// Converts the ids in a value to their form on the wire. The name is that of the column.
    pub ids: fn(&str, &mut Value),
}

/// Writes a change.
pub fn change(change: &Change, words: &ChangeWords) -> Value {
    let mut written = Map::new();
    written.insert("table".into(), change.table.as_str().into());
    written.insert("id".into(), id(&change.id, words));
    written.insert("verb".into(), change.verb.as_str().into());
    if change.hard {
        written.insert("hard".into(), true.into());
    }
    written.insert("changes".into(), columns(&change.table, &change.columns, words));
    written.insert("via".into(), change.via.as_str().into());
    if let Some(entry) = &change.entry {
        written.insert("at".into(), entry.at.clone());
        written.insert("request_id".into(), entry.request_id.clone());
        written.insert("activity_id".into(), entry.activity_id.clone());
    }
    Value::Object(written)
}

/// Writes the members of a dry run's answer that say what would change.
pub fn outcome(set: &ChangeSet, words: &ChangeWords) -> [(&'static str, Value); 3] {
    let changes = set.changes.iter().map(|it| change(it, words)).collect();
    [("affected", set.affected.clone()), ("changes", changes), ("changes_truncated", set.truncated.into())]
}

/// Writes a conflict or a row that was skipped: `{"table", "id", "reason", "columns"?}`.
pub fn conflict(found: &Value, words: &ChangeWords) -> Value {
    let table = found["table"].as_str().unwrap_or_default();
    let mut written = json!({"table": table, "id": id(&found["id"], words), "reason": found["reason"]});
    if let Value::Object(members) = &found["columns"] {
        written["columns"] = columns(table, members, words);
    }
    written
}

fn id(id: &Value, words: &ChangeWords) -> Value {
    let mut id = id.clone();
    match &mut id {
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| (words.ids)(name, value)),
        id => (words.ids)("id", id),
    }
    id
}

/// Writes values by column. Each value is an object with sides such as `from` and `to`.
fn columns(table: &str, columns: &Map<String, Value>, words: &ChangeWords) -> Value {
    let renamed = columns.iter().map(|(column, sides)| {
        let mut sides = sides.clone();
        (words.ids)(column, &mut sides);
        ((words.column)(table, column), sides)
    });
    Value::Object(renamed.collect())
}
