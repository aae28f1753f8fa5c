//! The statements of a batch, one for each group of rows, and the call that runs them
//! (migrations/workspace/0011_requests.sql).

use serde_json::Value;

use crate::model::catalog::Table;
use crate::model::value::array_of_texts;
use crate::plan::batch::{Batch, Group, Meeting};
use crate::sql::{Label, Sql};

/// Writes the batch. Each row of the result has `place`, `id` and `created`, or PostgreSQL's error.
pub fn write(batch: &Batch<'_>) -> Sql {
    let statements: Vec<String> = batch.groups.iter().map(|group| statement(batch, group).text).collect();
    let rows: Vec<Value> = batch.groups.iter().map(rows).collect();
    let mut sql = Sql::new("SELECT place, id, created, code, message, detail, hint, field, rule FROM kith.write_each(");
    sql.bind(Some(array_of_texts(&statements)), Label::Own).push("::text[], ");
    if batch.refuses_new_stage {
        // The triggers read the setting, which is there before the function gets its arguments.
        sql.push("(SELECT ").bind(Some(Value::Array(rows).to_string()), Label::Own);
        sql.push("::text FROM pg_catalog.set_config('kith.unknown_stage', 'refuse', true))::jsonb)");
    } else {
        sql.bind(Some(Value::Array(rows).to_string()), Label::Own).push("::jsonb)");
    }
    sql
}

/// Selects the records in their current state.
pub fn show(batch: &Batch<'_>, ids: &[String]) -> Sql {
    let mut sql = Sql::new("SELECT t.* FROM ");
    sql.table(&batch.table.name).push(" AS t WHERE ").column("t", batch.key).push(" = ANY (");
    sql.bind(Some(array_of_texts(ids)), Label::Own).push(")");
    sql
}

/// The rows as `[[place, value, …], …]`.
fn rows(group: &Group<'_>) -> Value {
    let row = |(place, values): &(usize, Vec<Option<String>>)| {
        let values = values.iter().map(|value| value.as_deref().map_or(Value::Null, Value::from));
        [Value::from(*place)].into_iter().chain(values).collect::<Value>()
    };
    group.rows.iter().map(row).collect()
}

fn statement(batch: &Batch<'_>, group: &Group<'_>) -> Sql {
    let mut sql = Sql::new("INSERT INTO ");
    sql.table(&batch.table.name).push(" AS t");
    for (at, (column, _)) in group.columns.iter().enumerate() {
        sql.push(if at == 0 { " (" } else { ", " }).name(column);
    }
    sql.push(if group.columns.is_empty() { " SELECT" } else { ") SELECT" });
    for (at, (column, _)) in group.columns.iter().enumerate() {
        sql.push(if at == 0 { " (" } else { ", (" }).push("r.value ->> ").number(at + 1).push(")::");
        sql.workspace_text(&bare_type(batch.table, column));
    }
    sql.push(" FROM pg_catalog.jsonb_array_elements($1) WITH ORDINALITY AS r(value, place) ORDER BY r.place");
    if let Some(index) = batch.index.filter(|_| group.can_meet) {
        sql.push(" ON CONFLICT (");
        for (at, key) in index.keys.iter().enumerate() {
            sql.push(if at == 0 { "(" } else { ", (" }).workspace_text(key).push(")");
        }
        sql.push(")");
        if let Some(predicate) = &index.predicate {
            sql.push(" WHERE ").workspace_text(predicate);
        }
        sql.push(" DO UPDATE SET ");
        for (at, (column, meeting)) in group.columns.iter().enumerate() {
            sql.push(if at == 0 { "" } else { ", " }).name(column).push(" = ");
            match meeting {
                Meeting::Replace => sql.column("excluded", column),
                Meeting::Merge => merge(&mut sql, column),
            };
        }
    }
    sql.push(" RETURNING ").column("t", batch.key).push("::text AS id, t.xmax::text = '0' AS created");
    sql
}

/// Merges as a PATCH does: one level deep, and a key that is null is removed.
fn merge<'s>(sql: &'s mut Sql, column: &str) -> &'s mut Sql {
    sql.push("(CASE WHEN jsonb_typeof(").column("t", column).push(") = 'object' THEN ").column("t", column);
    sql.push(" ELSE '{}' END || ").column("excluded", column).push(") - ARRAY(SELECT e.key FROM jsonb_each(");
    sql.column("excluded", column).push(") AS e WHERE e.value = 'null')")
}

/// The column's type without its modifier. A cast to `varchar(3)` would cut a value that an assignment refuses.
fn bare_type(table: &Table, column: &str) -> String {
    let name = table.column(column).map_or("text", |column| &column.type_name);
    let (brackets, name) = match name.find("[]") {
        Some(at) => (&name[at..], &name[..at]),
        None => ("", name),
    };
    let bare = match (name.find('('), name.rfind(')')) {
        (Some(open), Some(close)) if open < close && !name.contains('"') => {
            format!("{}{}", &name[..open], &name[close + 1..])
        }
        _ => name.to_owned(),
    };
    let bare = match bare.as_str() {
        "character" => "bpchar",
        "bit" => "varbit",
        other => other,
    };
    format!("{bare}{brackets}")
}

#[cfg(test)]
mod tests {
    use super::bare_type;
    use crate::model::catalog::Catalog;

    fn check(type_name: &str, expected: &str) {
        let column = format!(
            r#"{{"name": "c", "type": {type_name:?}, "typname": "x", "category": "S", "element": null, "not_null": false, "generated": false}}"#
        );
        let json = format!(
            r#"[{{"name": "t", "shape": {{"oid": "1", "version": "1", "key": null}}, "relkind": "r", "estimated_rows": 0, "columns": [{column}], "primary_key": null, "unique": null}}]"#
        );
        let catalog = Catalog::parse(&json).unwrap();
        assert_eq!(bare_type(catalog.table("t").unwrap(), "c"), expected);
    }

    #[test]
    fn a_type_loses_its_modifier_and_nothing_else() {
        check("citext", "citext");
        check("character varying(10)", "character varying");
        check("numeric(10,2)[]", "numeric[]");
        check("timestamp(3) with time zone", "timestamp with time zone");
        check("character(5)", "bpchar");
        check("bit(3)", "varbit");
        check("\"odd (type)\"", "\"odd (type)\"");
        check("vector(3)", "vector");
    }
}
