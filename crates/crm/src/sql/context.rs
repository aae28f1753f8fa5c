//! The statement that names the caller of a request to the transaction, for the activity feed.

use crate::model::who::Who;
use crate::sql::{Label, Sql};

/// Names the actor and the provenance, a JSON object, to the transaction. `secret` is the workspace's own; without it nobody can set an
/// actor. If the transaction only inserts one row of a built-in table, `entry` is the id of its entry in the feed.
pub fn begin_request(secret: &str, who: &Who, provenance: &str, entry: Option<String>) -> Sql {
    let mut sql = Sql::new("SELECT kith.begin_request(");
    sql.bind(Some(secret.to_owned()), Label::Own).push(", ");
    sql.bind(Some(who.actor.to_string()), Label::Own).push(", ");
    sql.bind(Some(provenance.to_owned()), Label::Own);
    if entry.is_some() {
        sql.push(", ").bind(entry, Label::Own);
    }
    sql.push(")");
    sql
}
