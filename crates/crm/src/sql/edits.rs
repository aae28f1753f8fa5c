//! Expressions that change a column by what it has.

use crate::plan::edits::{Edit, EditKind, KeyEdit};
use crate::sql::{Label, Sql};

/// Appends the new value of a column of the row `t`.
pub fn edited(sql: &mut Sql, column: &str, edit: &Edit, is_json: bool) {
    let label = || Label::Column(column.to_owned());
    match (edit.kind, is_json) {
        (EditKind::IfEmpty, _) => {
            sql.push("CASE WHEN ").column("t", column).push(" IS NULL OR ").column("t", column);
            sql.push("::text IN ('', '{}', '[]', '\"\"', 'null') THEN ").bind(edit.operand.clone(), label());
            sql.push(" ELSE ").column("t", column).push(" END");
        }
        (EditKind::Append, false) => {
            sql.push("(SELECT coalesce(pg_catalog.array_agg(u.e ORDER BY u.n), '{}') FROM (SELECT v.e, min(v.n) AS n");
            sql.push(" FROM pg_catalog.unnest(pg_catalog.array_cat(").column("t", column).push(", ");
            sql.bind(edit.operand.clone(), label());
            sql.push(")) WITH ORDINALITY AS v(e, n) GROUP BY v.e) AS u)");
        }
        (EditKind::Remove, false) => {
            sql.push("ARRAY(SELECT v.e FROM pg_catalog.unnest(").column("t", column);
            sql.push(") WITH ORDINALITY AS v(e, n) WHERE (v.e = ANY (").bind(edit.operand.clone(), label());
            sql.push(")) IS NOT TRUE ORDER BY v.n)");
        }
        (EditKind::Append | EditKind::Remove, true) => {
            let operand = edit.operand.clone().unwrap_or_default();
            let there = |sql: &mut Sql| {
                sql.column("t", column);
            };
            json_items(sql, edit.kind, &there, &operand, &label);
        }
    }
}

/// Appends a JSON object with some of its keys changed. `object` appends the object as it was.
pub fn with_keys(sql: &mut Sql, column: &str, edits: &[KeyEdit], object: &dyn Fn(&mut Sql)) {
    let Some((last, before)) = edits.split_last() else { return object(sql) };
    let label = || Label::Column(column.to_owned());
    sql.push("(SELECT b.o || pg_catalog.jsonb_build_object(").bind(Some(last.key.clone()), label()).push("::text, ");
    let there = |sql: &mut Sql| {
        sql.push("(b.o -> ").bind(Some(last.key.clone()), Label::Column(column.to_owned())).push("::text)");
    };
    match last.kind {
        EditKind::IfEmpty => {
            sql.push("CASE WHEN coalesce(");
            there(sql);
            sql.push(", 'null') IN ('null', '\"\"', '[]', '{}') THEN ").bind(Some(last.operand.clone()), label());
            sql.push("::jsonb ELSE ");
            there(sql);
            sql.push(" END");
        }
        kind => json_items(sql, kind, &there, &last.operand, &label),
    }
    sql.push(") FROM (SELECT ");
    with_keys(sql, column, before, object);
    sql.push(" AS o) AS b)");
}

/// Appends a JSON array with items added or removed. A single value counts as an array of one.
fn json_items(sql: &mut Sql, kind: EditKind, there: &dyn Fn(&mut Sql), items: &str, label: &dyn Fn() -> Label) {
    let array = |sql: &mut Sql| {
        sql.push("CASE coalesce(pg_catalog.jsonb_typeof(");
        there(sql);
        sql.push("), 'null') WHEN 'array' THEN ");
        there(sql);
        sql.push(" WHEN 'null' THEN '[]' ELSE pg_catalog.jsonb_build_array(");
        there(sql);
        sql.push(") END");
    };
    if kind == EditKind::Append {
        sql.push("(SELECT coalesce(pg_catalog.jsonb_agg(u.e ORDER BY u.n), '[]') FROM (SELECT v.e, min(v.n) AS n");
        sql.push(" FROM pg_catalog.jsonb_array_elements(");
        array(sql);
        sql.push(" || ").bind(Some(items.to_owned()), label());
        sql.push("::jsonb) WITH ORDINALITY AS v(e, n) GROUP BY v.e) AS u)");
    } else {
        sql.push(
            "(SELECT coalesce(pg_catalog.jsonb_agg(v.e ORDER BY v.n), '[]') FROM pg_catalog.jsonb_array_elements(",
        );
        array(sql);
        sql.push(") WITH ORDINALITY AS v(e, n) WHERE v.e NOT IN (SELECT pg_catalog.jsonb_array_elements(");
        sql.bind(Some(items.to_owned()), label()).push("::jsonb)))");
    }
}
