//! After a unique key was found taken: which record has it, and an entry in the activity feed.

use crate::model::catalog::{Table, UniqueIndex};
use crate::sql::{Label, Sql};

/// Records the conflict and gives the id of the record that has the key. `attempted` are the columns that
/// were to be written; the workspace's own index tells how they were compared.
pub fn record(
    secret: &str,
    table: &Table,
    key: &str,
    index: &UniqueIndex,
    attempted: &[(&str, Option<String>)],
    attempted_json: String,
) -> Sql {
    let mut sql = Sql::new("SELECT e.id AS existing_id, kith.record_conflict(");
    sql.bind(Some(secret.to_owned()), Label::Own).push(", ");
    sql.bind(Some(table.subject().to_owned()), Label::Own).push(", ");
    sql.bind(Some(index.name.clone()), Label::Own).push(", e.id, ");
    sql.bind(Some(attempted_json), Label::Own).push("::jsonb) FROM (SELECT 1) AS one LEFT JOIN (SELECT t.");
    sql.name(key).push("::text AS id FROM ").table(&table.name).push(" AS t WHERE true");
    for expression in &index.keys {
        // Inside the sub-select the index's bare column names mean the attempted values.
        sql.push(" AND (")
            .workspace_text(expression)
            .push(") = (SELECT ")
            .workspace_text(expression)
            .push(" FROM (SELECT ");
        for (at, column) in table.columns.iter().filter(|column| !column.generated).enumerate() {
            sql.push(if at == 0 { "" } else { ", " });
            let value = attempted.iter().find(|(name, _)| *name == column.name).and_then(|(_, value)| value.clone());
            match value {
                None => sql.push("NULL"),
                Some(value) => sql.bind(Some(value), Label::Column(column.name.clone())),
            };
            sql.push("::").workspace_text(&column.type_name).push(" AS ").name(&column.name);
        }
        sql.push(") AS t)");
    }
    if let Some(predicate) = &index.predicate {
        sql.push(" AND (").workspace_text(predicate).push(")");
    }
    sql.push(" LIMIT 1) AS e ON true");
    sql
}
