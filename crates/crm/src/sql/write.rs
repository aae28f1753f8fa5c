//! INSERT, UPDATE and DELETE statements for one record.

use crate::plan::record::{Change, Create, Delete, Restore, Update};
use crate::sql::{Label, Sql};

/// Stands beside a table that has no `deleted_at`, so that the bare name is this one's. Should the table have got one since
/// the catalog was read, the name is ambiguous: the statement fails before it does anything, and is planned anew.
const NO_DELETED_AT: &str = "(SELECT NULL AS deleted_at) AS no";

/// A new row, given back whole.
pub fn create(create: &Create<'_>) -> Sql {
    let mut sql = Sql::new("INSERT INTO ");
    sql.table(&create.table.name).push(" AS t");
    if create.values.is_empty() {
        sql.push(" DEFAULT VALUES");
    } else {
        for (at, (column, _)) in create.values.iter().enumerate() {
            sql.push(if at == 0 { " (" } else { ", " }).name(column);
        }
        for (at, (column, value)) in create.values.iter().enumerate() {
            sql.push(if at == 0 { ") VALUES (" } else { ", " });
            sql.bind(value.clone(), Label::Column((*column).to_owned()));
        }
        sql.push(")");
    }
    sql.push(" RETURNING t.*");
    sql
}

/// New values for a row, given back whole. Without any, the row as it is.
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
            Change::Set(value) => {
                sql.bind(value.clone(), label());
            }
            Change::Merge { add, remove } => {
                sql.push("(CASE WHEN jsonb_typeof(").column("t", column).push(") = 'object' THEN ");
                sql.column("t", column).push(" ELSE '{}' END || ").bind(Some(add.clone()), label()).push("::jsonb)");
                if let Some(remove) = remove {
                    sql.push(" - ").bind(Some(remove.clone()), label()).push("::text[]");
                }
            }
        }
    }
    if !update.table.soft_deletes() {
        sql.push(if update.changes.is_empty() { ", " } else { " FROM " }).push(NO_DELETED_AT);
    }
    sql.push(" WHERE ").column("t", update.key).push(" = ").bind(Some(update.id.clone()), Label::Id);
    sql.push(" AND deleted_at IS NULL");
    if !update.changes.is_empty() {
        sql.push(" RETURNING t.*");
    }
    sql
}

/// Shows a hidden row again.
pub fn restore(restore: &Restore<'_>) -> Sql {
    let mut sql = Sql::new("UPDATE ");
    sql.table(&restore.table.name).push(" AS t SET deleted_at = NULL WHERE ");
    sql.column("t", restore.key).push(" = ").bind(Some(restore.id.clone()), Label::Id).push(" RETURNING t.*");
    sql
}

/// Hides a row, or removes it where that was asked or the table knows no hiding.
pub fn delete(delete: &Delete<'_>) -> Sql {
    let mut sql = Sql::default();
    if delete.hard {
        sql.push("DELETE FROM ").table(&delete.table.name).push(" AS t");
    } else {
        sql.push("UPDATE ").table(&delete.table.name).push(" AS t SET deleted_at = now()");
    }
    if !delete.table.soft_deletes() {
        sql.push(" USING ").push(NO_DELETED_AT);
    }
    sql.push(" WHERE ").column("t", delete.key).push(" = ").bind(Some(delete.id.clone()), Label::Id);
    if !delete.table.soft_deletes() {
        sql.push(" AND deleted_at IS NULL");
    }
    if delete.hard {
        sql.push(" RETURNING ").column("t", delete.key).push(" AS id, now() AS deleted_at");
    } else {
        sql.push(" AND t.deleted_at IS NULL RETURNING ").column("t", delete.key).push(" AS id, t.deleted_at");
    }
    sql
}
