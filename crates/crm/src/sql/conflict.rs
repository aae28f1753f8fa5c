//! The statements after a conflict on a unique key: one finds the record that has the key, one adds an entry to the
//! activity feed.

use crate::model::ask::PipelineName;
use crate::model::catalog::{Table, UniqueIndex};
use crate::plan::record::Name;
use crate::sql::read::{named, pipeline_key};
use crate::sql::{Label, Sql};

/// The write that was refused.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The row that the write would change; `None` for a new row.
    pub name: Option<&'a Name<'a>>,
    /// The pipeline of a new stage, if the path names it.
    pub within: Option<&'a PipelineName>,
    /// The columns and their new values.
    pub values: Vec<(&'a str, Option<String>)>,
}

/// Finds the record that has the key. The expressions of the workspace's own index decide how values are compared. They
/// can run the workspace's code, and such code can raise an error that quotes all parameters. So this statement has no
/// secret.
pub fn find(table: &Table, key: &str, index: &UniqueIndex, attempted: &Attempt<'_>) -> Sql {
    let mut sql = Sql::new("SELECT t.");
    sql.name(key).push("::text AS existing_id FROM ").table(&table.name).push(" AS t WHERE true");
    for expression in &index.keys {
        // Inside the sub-select, the bare column names of the index refer to the attempted values.
        sql.push(" AND (")
            .workspace_text(expression)
            .push(if index.nulls_not_distinct { ") IS NOT DISTINCT FROM (SELECT " } else { ") = (SELECT " })
            .workspace_text(expression)
            .push(" FROM (SELECT ");
        for (at, column) in table.columns.iter().enumerate() {
            sql.push(if at == 0 { "" } else { ", " });
            let value = attempted.values.iter().find(|(name, _)| *name == column.name);
            match (value, attempted.name) {
                // The value that PostgreSQL would generate is not known. Without an entry, the name would refer to the
                // found row.
                _ if column.generated => sql.push("NULL"),
                (Some((_, Some(value))), _) => {
                    let label = Label::Column(column.name.clone());
                    match table.entity().and_then(|entity| entity.normal_form(&column.name)) {
                        Some(function) => sql.push(function).push("(").bind(Some(value.clone()), label).push("::text)"),
                        None => sql.bind(Some(value.clone()), label),
                    }
                }
                (None, Some(_)) => sql.column("r", &column.name),
                (None, None) if column.name == "pipeline" && attempted.within.is_some() => {
                    attempted.within.into_iter().for_each(|pipeline| pipeline_key(&mut sql, pipeline));
                    &mut sql
                }
                (Some((_, None)) | None, _) => sql.push("NULL"),
            };
            sql.push("::").workspace_text(&column.type_name).push(" AS ").name(&column.name);
        }
        if let Some(name) = attempted.name {
            // The condition refers to a row named t.
            sql.push(" FROM (SELECT t.* FROM ").table(&table.name).push(" AS t WHERE ");
            named(&mut sql, name);
            sql.push(") AS r");
        }
        sql.push(") AS t)");
    }
    if let Some(predicate) = &index.predicate {
        sql.push(" AND (").workspace_text(predicate).push(")");
    }
    sql.push(" LIMIT 1");
    sql
}

/// Adds the conflict to the feed.
pub fn record(secret: &str, subject: &str, constraint: &str, existing_id: Option<String>, attempted: String) -> Sql {
    let mut sql = Sql::new("SELECT kith.record_conflict(");
    sql.bind(Some(secret.to_owned()), Label::Own).push(", ").bind(Some(subject.to_owned()), Label::Own).push(", ");
    sql.bind(Some(constraint.to_owned()), Label::Own).push(", ").bind(existing_id, Label::Own).push(", ");
    sql.bind(Some(attempted), Label::Own).push(")");
    sql
}
