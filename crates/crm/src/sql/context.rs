//! The statements that go with others: who is asking, for the activity feed.

use crate::model::who::{Provenance, Who};
use crate::sql::{Label, Sql};

/// Tells the transaction who is asking. `secret` is the workspace's own; without it nobody can name an actor.
pub fn begin_request(secret: &str, who: &Who, provenance: &Provenance) -> Sql {
    let mut sql = Sql::new("SELECT kith.begin_request(");
    sql.bind(Some(secret.to_owned()), Label::Own).push(", ");
    sql.bind(Some(who.actor.to_string()), Label::Own).push(", ");
    sql.bind(Some(provenance.to_json()), Label::Own).push(")");
    sql
}
