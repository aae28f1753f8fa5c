//! Wraps a caller's query, so that PostgreSQL converts columns without a named type to JSON.

use crate::sql::Sql;

/// Returns the query as a sub-select. The columns that are marked in `records` are converted by `to_jsonb`. The text was a
/// complete statement before, so it cannot close the parentheses around it. A line break follows it, because its last line
/// can be a comment.
pub fn rows_as_json(query: &str, names: &[String], records: &[bool]) -> String {
    let mut sql = Sql::new("SELECT ");
    for (at, (name, is_record)) in names.iter().zip(records).enumerate() {
        sql.push(if at > 0 { ", " } else { "" });
        sql.push(if *is_record { "pg_catalog.to_jsonb(q." } else { "q." }).push("c").number(at);
        sql.push(if *is_record { ") AS " } else { " AS " }).name(name);
    }
    sql.push(" FROM (").workspace_text(query).push("\n) AS q(");
    for at in 0..names.len() {
        sql.push(if at > 0 { ", c" } else { "c" }).number(at);
    }
    sql.push(")");
    sql.text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_records_are_converted() {
        let names = ["a".to_owned(), "row".to_owned()];
        assert_eq!(
            rows_as_json("SELECT 1, ROW(1)", &names, &[false, true]),
            "SELECT q.c0 AS \"a\", pg_catalog.to_jsonb(q.c1) AS \"row\" FROM (SELECT 1, ROW(1)\n) AS q(c0, c1)"
        );
    }
}
