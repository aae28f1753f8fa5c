//! INSERT, UPDATE and DELETE statements for one record.

use crate::model::catalog::Table;
use crate::model::naming::MAX_NAME;
use crate::plan::Plan;
use crate::plan::record::{Change, Create, Delete, Name, PLACE, Restore, Update};
use crate::sql::edits;
use crate::sql::read::{is_pipeline, named, pipeline};
use crate::sql::{Label, Sql};

/// Provides the name `deleted_at` for a table without that column. If the table has got the column since the catalog
/// was read, the name is ambiguous. The statement then fails before it does anything, and is planned again.
const NO_DELETED_AT: &str = "(SELECT NULL AS deleted_at) AS no";

/// Inserts a row and returns it.
pub fn create(create: &Create<'_>) -> Sql {
    let mut sql = Sql { inserts_one: create.table.entity().is_some(), ..Sql::new("INSERT INTO ") };
    sql.table(&create.table.name).push(" AS t");
    let columns = create.within.iter().map(|_| "pipeline").chain(create.values.iter().map(|(column, _)| *column));
    for (at, column) in columns.enumerate() {
        sql.push(if at == 0 { " (" } else { ", " }).name(column);
    }
    match &create.within {
        Some(_) => sql.push(") SELECT p.key"),
        None if create.values.is_empty() => sql.push(" DEFAULT VALUES"),
        None => sql.push(") VALUES ("),
    };
    for (at, (column, value)) in create.values.iter().enumerate() {
        sql.push(if at == 0 && create.within.is_none() { "" } else { ", " });
        set(&mut sql, column, value, create.refuses_new_stage);
    }
    match &create.within {
        Some(pipeline) => {
            sql.push(" FROM public.pipelines AS p WHERE ");
            is_pipeline(&mut sql, pipeline);
        }
        None if create.values.is_empty() => {}
        None => {
            sql.push(")");
        }
    }
    sql.push(" RETURNING t.*");
    sql
}

/// Appends a column's new value. For the place of a deal it also sets that an unknown stage is refused. The trigger
/// `kith_place_…` reads this setting in the same statement.
fn set(sql: &mut Sql, column: &str, value: &Option<String>, refuses_new_stage: bool) {
    let label = Label::Column(column.to_owned());
    if refuses_new_stage && PLACE.contains(&column) {
        sql.push("(SELECT ").bind(value.clone(), label);
        sql.push("::text FROM pg_catalog.set_config('kith.unknown_stage', 'refuse', true))");
    } else {
        sql.bind(value.clone(), label);
    }
}

/// Updates a row and returns it. Without changes it selects the row.
pub fn update(update: &Update<'_>) -> Sql {
    let mut sql = Sql::default();
    if update.changes.is_empty() {
        sql.push("SELECT t.* FROM ").table(&update.table.name).push(" AS t");
    } else {
        sql.push("UPDATE ").table(&update.table.name).push(" AS t SET ");
    }
    for (at, (column, change)) in update.changes.iter().enumerate() {
        sql.push(if at == 0 { "" } else { ", " }).name(column).push(" = ");
        let label = || Label::Column((*column).to_owned());
        match change {
            Change::Set(value) => set(&mut sql, column, value, update.refuses_new_stage),
            Change::Merge { add, remove, edits } => {
                let merged = |sql: &mut Sql| {
                    sql.push("(CASE WHEN jsonb_typeof(").column("t", column).push(") = 'object' THEN ");
                    sql.column("t", column).push(" ELSE '{}' END || ");
                    sql.bind(Some(add.clone()), label()).push("::jsonb)");
                    if let Some(remove) = remove {
                        sql.push(" - ").bind(Some(remove.clone()), label()).push("::text[]");
                    }
                };
                edits::with_keys(&mut sql, column, edits, &merged);
            }
            Change::Edit { edit, is_json } => edits::edited(&mut sql, column, edit, *is_json),
        }
    }
    if !update.table.soft_deletes() {
        sql.push(if update.changes.is_empty() { ", " } else { " FROM " }).push(NO_DELETED_AT);
    }
    sql.push(" WHERE ");
    named(&mut sql, &update.name);
    sql.push(" AND deleted_at IS NULL");
    if !update.changes.is_empty() {
        sql.push(" RETURNING t.*");
    }
    sql
}

/// Selects the row that a write changes, or the pipeline of a new stage. `None` if the plan has neither.
pub fn target(plan: &Plan<'_>) -> Option<Sql> {
    let of = |table: &Table, name: &Name<'_>, is_live: bool| {
        let mut sql = Sql::new("SELECT FROM ");
        sql.table(&table.name).push(" AS t WHERE ");
        named(&mut sql, name);
        sql.push(if is_live && table.soft_deletes() { " AND t.deleted_at IS NULL" } else { "" });
        sql
    };
    match plan {
        Plan::Create(create) => create.within.as_ref().map(pipeline),
        Plan::Update(update) => Some(of(update.table, &update.name, true)),
        Plan::Delete(delete) => Some(of(delete.table, &delete.name, !delete.hard)),
        Plan::Restore(restore) => Some(of(restore.table, &restore.name, false)),
        Plan::List(_)
        | Plan::Find(_)
        | Plan::Link(_)
        | Plan::Merge(_)
        | Plan::Search(_)
        | Plan::Tables(_)
        | Plan::Schema(_) => None,
    }
}

/// Restores a hidden row and returns it.
pub fn restore(restore: &Restore<'_>) -> Sql {
    let mut sql = Sql::new("UPDATE ");
    sql.table(&restore.table.name).push(" AS t SET deleted_at = NULL WHERE ");
    named(&mut sql, &restore.name);
    sql.push(" RETURNING t.*");
    sql
}

/// Hides a row, or removes it if the plan is a hard delete.
pub fn delete(delete: &Delete<'_>) -> Sql {
    let key = delete.key;
    let mut sql = Sql { removes: true, ..Sql::default() };
    if delete.hard {
        sql.push("DELETE FROM ").table(&delete.table.name).push(" AS t");
    } else {
        sql.push("UPDATE ").table(&delete.table.name).push(" AS t SET deleted_at = now()");
    }
    if !delete.table.soft_deletes() {
        sql.push(" USING ").push(NO_DELETED_AT);
    }
    sql.push(" WHERE ");
    named(&mut sql, &delete.name);
    if !delete.table.soft_deletes() {
        sql.push(" AND deleted_at IS NULL");
    }
    if delete.hard {
        sql.push(" RETURNING ").column("t", key).push(" AS id, now() AS deleted_at");
    } else {
        sql.push(" AND t.deleted_at IS NULL RETURNING ").column("t", key).push(" AS id, t.deleted_at");
    }
    for column in &delete.naming {
        sql.push(", pg_catalog.left(").column("t", column).push("::text, ").number(MAX_NAME + 1);
        sql.push(") AS ").name(column);
    }
    sql
}
