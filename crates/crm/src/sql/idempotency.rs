//! The statements that claim an Idempotency-Key and store the answer.

use crate::sql::{Label, Sql};

/// Claims a key for this transaction. Returns `outcome`, `status` and `body`.
pub fn claim(secret: &str, key: &str, fingerprint: &str, now: &str) -> Sql {
    let mut sql = Sql::new("SELECT outcome, status, body FROM kith.claim_key(");
    bind_all(&mut sql, [secret, key, fingerprint, now]);
    sql
}

/// Stores the answer to the request with this key.
pub fn keep(secret: &str, key: &str, status: u16, body: &str) -> Sql {
    let mut sql = Sql::new("SELECT kith.keep_answer(");
    bind_all(&mut sql, [secret, key, &status.to_string(), body]);
    sql
}

fn bind_all<const N: usize>(sql: &mut Sql, values: [&str; N]) {
    for (at, value) in values.into_iter().enumerate() {
        sql.push(if at > 0 { ", " } else { "" }).bind(Some(value.to_owned()), Label::Own);
    }
    sql.push(")");
}
