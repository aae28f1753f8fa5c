//! The statements that publish changes as events and read them. Their functions require the server's secret.

use crate::sql::{Label, Sql};

/// The columns of a change, as [`Change`](crate::plan::events::Change) reads them.
const COLUMNS: &str = "SELECT seq, position, xid, at, actor, request_id, run_id, undo_of, \"table\", key, op, verb, image, previous FROM ";

/// The next changes to publish. `since` is a snapshot: changes that it sees are numbered and not returned. Without it none are
/// returned. The last ones are cut off if all together are too large.
pub fn unpublished(secret: &str, since: Option<&str>, most: usize) -> Sql {
    let mut sql = Sql::new(COLUMNS);
    sql.push("kith.unpublished(").bind(Some(secret.to_owned()), Label::Own);
    sql.push(", ").bind(since.map(str::to_owned), Label::Own).push(", ").number(most).push(")");
    sql
}

/// Numbers changes as published.
pub fn publish(secret: &str, seqs: &[i64]) -> Sql {
    let seqs: Vec<String> = seqs.iter().map(i64::to_string).collect();
    let mut sql = Sql::new("SELECT kith.publish(");
    sql.bind(Some(secret.to_owned()), Label::Own).push(", ");
    sql.bind(Some(format!("{{{}}}", seqs.join(","))), Label::Own).push(")");
    sql
}

/// Published changes after a position. `reached` is the position in the reader's cursor.
pub fn read(secret: &str, reached: i64, after: i64, most: usize) -> Sql {
    let mut sql = Sql::new(COLUMNS);
    sql.push("kith.events(").bind(Some(secret.to_owned()), Label::Own);
    sql.push(", ").bind(Some(reached.to_string()), Label::Own);
    sql.push(", ").bind(Some(after.to_string()), Label::Own).push(", ").number(most).push(")");
    sql
}

/// The position of the last published change. Nobody else publishes until the transaction ends.
pub fn hold_published(secret: &str) -> Sql {
    let mut sql = Sql::new("SELECT kith.hold_published(");
    sql.bind(Some(secret.to_owned()), Label::Own).push(")::text AS position");
    sql
}

/// The snapshot of this moment: the changes that it sees came before.
pub fn snapshot() -> Sql {
    Sql::new("SELECT pg_catalog.pg_current_snapshot()::text AS snapshot")
}
