//! The SELECT statements of lists and single records.

use crate::model::ask::PipelineName;
use crate::model::entity::{Link, RELATED_ROWS};
use crate::model::filter::Deleted;
use crate::model::id::is_id;
use crate::plan::list::{List, OrderKey, order_column};
use crate::plan::record::{Find, Name};
use crate::sql::{Label, Sql, filter};

/// Selects a page and one more row. The additional row tells whether there is a next page.
pub fn list(list: &List<'_>) -> Sql {
    let mut sql = Sql::new("SELECT t.*").cuttable();
    for (at, key) in list.order.keys.iter().enumerate() {
        if key.is_computed() {
            sql.push(", ");
            order_key(&mut sql, key);
            let as_text = if let OrderKey::Reread { .. } = key { "::pg_catalog.text" } else { "" };
            sql.push(as_text).push(" AS ").name(order_column(at));
        }
    }
    sql.push(" FROM ").table(&list.table.name).push(" AS t");
    if let Some(OrderKey::Referred { relation, .. }) = list.order.keys.first() {
        sql.push(" LEFT JOIN ").table(relation.table).push(" AS r ON r.id = ").column("t", relation.column);
    }
    sql.push(" WHERE true");
    if let Some(pipeline) = &list.within {
        sql.push(" AND t.pipeline = ");
        pipeline_key(&mut sql, pipeline);
    }
    visible(&mut sql, list.table.soft_deletes(), list.deleted);
    filter::conditions(&mut sql, &list.conditions);
    if let Some(cursor) = &list.cursor {
        after(&mut sql, list, cursor);
    }
    sql.push(" ORDER BY ");
    for (at, key) in list.order.keys.iter().enumerate() {
        if at > 0 {
            sql.push(", ");
        }
        order_key(&mut sql, key);
        sql.push(if list.order.descending { " DESC" } else { "" });
        sql.push(if at == 0 && list.order.nulls_last && list.order.descending { " NULLS LAST" } else { "" });
    }
    sql.push(" LIMIT ").number(list.limit + 1);
    sql
}

/// Appends the condition that a row has this name.
pub fn named(sql: &mut Sql, name: &Name<'_>) {
    sql.column("t", name.column).push(" = ").bind(Some(name.value.clone()), Label::Id);
    if let Some(pipeline) = &name.within {
        sql.push(" AND t.pipeline = ");
        pipeline_key(sql, pipeline);
    }
}

/// Appends a sub-select of the pipeline's key. It is NULL if the pipeline does not exist.
pub fn pipeline_key(sql: &mut Sql, name: &PipelineName) {
    sql.push("(SELECT p.key FROM public.pipelines AS p WHERE ");
    is_pipeline(sql, name);
    sql.push(")");
}

/// Appends the condition that `p` is this pipeline.
pub fn is_pipeline(sql: &mut Sql, name: &PipelineName) {
    match name {
        PipelineName::Default => sql.push("p.is_default"),
        PipelineName::Key(key) if is_id(key, "pl") => sql.push("p.id = ").bind(Some(key.clone()), Label::Own),
        PipelineName::Key(key) => sql.push("p.key = ").bind(Some(key.clone()), Label::Own),
    };
    sql.push(" AND p.deleted_at IS NULL");
}

/// Selects the pipeline, to check that it exists.
pub fn pipeline(name: &PipelineName) -> Sql {
    let mut sql = Sql::new("SELECT p.key FROM public.pipelines AS p WHERE ");
    is_pipeline(&mut sql, name);
    sql
}

fn order_key(sql: &mut Sql, key: &OrderKey<'_>) {
    match key {
        OrderKey::Column { name } | OrderKey::Reread { name, .. } => sql.column("t", name),
        OrderKey::Key { column, key, declared } => filter::value_of_key(sql, column, key, *declared),
        OrderKey::Referred { column, .. } => sql.column("r", column),
        OrderKey::MailTime => sql.push("COALESCE(t.received_at, t.sent_at, t.created_at)"),
    };
}

/// Appends the condition that a row comes after the cursor. With NULLs last, the rows without a value come after all values;
/// among themselves they are sorted by the remaining keys. Otherwise a descending order has NULLs first, so the remaining NULLs
/// and then all other values come after a NULL. A row comparison with a NULL is never true, which is correct after a
/// value.
fn after(sql: &mut Sql, list: &List<'_>, cursor: &[Option<String>]) {
    let keys = &list.order.keys;
    if list.order.nulls_last
        && let [first, rest @ ..] = keys.as_slice()
    {
        match cursor.first() {
            Some(None) => {
                sql.push(" AND ");
                order_key(sql, first);
                sql.push(" IS NULL AND ");
                compare(sql, rest, &cursor[1..], list.order.descending);
            }
            _ => {
                sql.push(" AND (");
                compare(sql, keys, cursor, list.order.descending);
                sql.push(" OR ");
                order_key(sql, first);
                sql.push(" IS NULL)");
            }
        }
    } else if let (Some(None), [first, rest @ ..]) = (cursor.first(), keys.as_slice()) {
        sql.push(" AND (");
        order_key(sql, first);
        sql.push(" IS NOT NULL OR (");
        compare(sql, rest, &cursor[1..], list.order.descending);
        sql.push("))");
    } else {
        sql.push(" AND ");
        compare(sql, keys, cursor, list.order.descending);
    }
}

fn compare(sql: &mut Sql, keys: &[OrderKey<'_>], values: &[Option<String>], descending: bool) {
    sql.push("(");
    for (at, key) in keys.iter().enumerate() {
        sql.push(if at > 0 { ", " } else { "" });
        order_key(sql, key);
    }
    sql.push(if descending { ") < (" } else { ") > (" });
    for (at, (key, value)) in keys.iter().zip(values).enumerate() {
        sql.push(if at > 0 { ", " } else { "" });
        sql.bind(value.clone(), Label::Cursor);
        // Compared with a composite, a parameter without a cast would be read as an anonymous record.
        if let OrderKey::Reread { type_name, .. } = key {
            sql.push("::").workspace_text(type_name);
        }
    }
    sql.push(")");
}

fn visible(sql: &mut Sql, soft_deletes: bool, deleted: Deleted) {
    match (soft_deletes, deleted) {
        (true, Deleted::Exclude) => sql.push(" AND t.deleted_at IS NULL"),
        (true, Deleted::Only) => sql.push(" AND t.deleted_at IS NOT NULL"),
        (false, Deleted::Only) => sql.push(" AND false"),
        (_, Deleted::Include) | (false, Deleted::Exclude) => sql,
    };
}

/// The aliases of the joined relations. A record has at most three.
const ALIASES: [&str; 3] = ["j1", "j2", "j3"];

/// Selects the record with the rows that it refers to. Further statements select each set of rows that refer to it.
pub fn find(find: &Find<'_>) -> Vec<Sql> {
    let mut sql = Sql::new("SELECT t.*");
    for alias in &ALIASES[..find.to_one.len()] {
        sql.push(", ").push(alias).push(".*");
    }
    sql.push(" FROM ").table(&find.table.name).push(" AS t");
    for (alias, relation) in ALIASES.iter().zip(&find.to_one) {
        sql.push(" LEFT JOIN ").table(relation.table.name.as_str()).push(" AS ").push(alias);
        sql.push(" ON ").column(alias, "id").push(" = ").column("t", relation.column);
    }
    sql.push(" WHERE ");
    named(&mut sql, &find.name);
    visible(&mut sql, find.table.soft_deletes(), find.deleted);
    let mut all = vec![sql];
    all.extend(find.to_many.iter().map(|relation| {
        let mut sql = Sql::new("SELECT t.* FROM ").cuttable();
        sql.table(relation.table).push(" AS t WHERE t.deleted_at IS NULL AND ");
        match relation.link {
            Link::Theirs(column) => {
                sql.column("t", column).push(" = ").bind(Some(find.name.value.clone()), Label::Id);
            }
            Link::Ours(column) => {
                sql.push("t.id = ANY (ARRAY(SELECT unnest(").column("o", column).push(") FROM ");
                sql.table(&find.table.name).push(" AS o WHERE ").column("o", find.name.column).push(" = ");
                sql.bind(Some(find.name.value.clone()), Label::Id).push("))");
            }
        }
        sql.push(" ORDER BY t.created_at DESC, t.id DESC LIMIT ").number(RELATED_ROWS);
        sql
    }));
    all
}
