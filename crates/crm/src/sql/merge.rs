//! The statements of a merge (migrations/workspace/0021_merge.sql).

use serde_json::Value;

use crate::model::value::array_of_texts;
use crate::plan::merge::Merge;
use crate::sql::{Label, Sql};

/// Waits until no other transaction merges records, or looks for one that it may create.
pub fn take_turn() -> Sql {
    Sql::new("SELECT kith_guard.take_record_turn()")
}

/// Merges the records. The result has `merged`. Then selects the record that stays.
pub fn merge(merge: &Merge<'_>) -> Vec<Sql> {
    let own = |text: String| (Some(text), Label::Own);
    let object = |object: &serde_json::Map<String, Value>| own(Value::Object(object.clone()).to_string());
    let columns: Vec<String> = merge.columns.iter().map(|column| (*column).to_owned()).collect();
    let mut sql = Sql::new("SELECT kith.merge(");
    sql.removes = true;
    let values = [
        // The first parameter of both statements holds ids: PostgreSQL does not tell in which of them it can't read one.
        ("ids", (Some(array_of_texts(&merge.ids)), Label::Id)),
        ("relation", own(merge.table.name.clone())),
        ("key", own(merge.key.to_owned())),
        ("columns", own(array_of_texts(&columns))),
        ("prefer", object(&merge.prefer)),
        ("prefer_keys", object(&merge.prefer_keys)),
        ("together", own(merge.together.to_string())),
    ];
    for (at, (name, (value, label))) in values.into_iter().enumerate() {
        sql.push(if at == 0 { "" } else { ", " }).push(name).push(" => ").bind(value, label);
    }
    sql.push(") AS merged");
    let mut stays = Sql::new("SELECT t.* FROM ");
    stays.table(&merge.table.name).push(" AS t WHERE ").column("t", merge.key).push(" = ");
    stays.bind(merge.ids.first().cloned(), Label::Id);
    vec![sql, stays]
}
