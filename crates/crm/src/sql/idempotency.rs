//! The statements that claim an Idempotency-Key and store the answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::sql::{Label, Sql};

/// Claims a key for this transaction. Returns `outcome`, `status` and `body`.
pub fn claim(secret: &str, key: &str, fingerprint: &str, now: &str) -> Sql {
    let mut sql = Sql::new("SELECT outcome, status, body FROM kith.claim_key(");
    bind_all(&mut sql, [secret, key, fingerprint, now]);
    sql.push(")");
    sql
}

/// Stores the answer to the request with this key. The body is sent in ASCII, because the caller's SQL may have changed the session's
/// `client_encoding`.
pub fn keep(secret: &str, key: &str, status: u16, body: &str) -> Sql {
    let mut sql = Sql::new("SELECT kith.keep_answer(");
    bind_all(&mut sql, [secret, key, &status.to_string()]);
    sql.push(", pg_catalog.convert_from(pg_catalog.decode(").bind(Some(STANDARD.encode(body)), Label::Own);
    sql.push(", 'base64'), 'UTF8'))");
    sql
}

fn bind_all<const N: usize>(sql: &mut Sql, values: [&str; N]) {
    for (at, value) in values.into_iter().enumerate() {
        sql.push(if at > 0 { ", " } else { "" }).bind(Some(value.to_owned()), Label::Own);
    }
}
