//! Replies to requests with an Idempotency-Key whose work is in the control database.

use crm::model::fault::Fault;

use crate::store::control::bytea;
use crate::store::control::rows::bytes;
use crate::store::control::transaction::ControlTransaction;

/// How long a reply is kept, in seconds.
const KEPT_SECONDS: i64 = 24 * 60 * 60;

/// A request with an Idempotency-Key.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRequest<'a> {
    /// `ws_…`
    pub workspace_id: &'a str,
    /// `live` or `test`
    pub mode: &'a str,
    /// The key.
    pub key: &'a str,
    /// The hash of the request.
    pub fingerprint: &'a str,
    /// The current time, ISO 8601.
    pub now: &'a str,
}

impl ControlTransaction<'_> {
    /// The reply to this request, sealed, if its work was committed before: its status and body.
    pub async fn reply_to(&mut self, request: &KeyedRequest<'_>) -> Result<Option<(u16, Vec<u8>)>, Fault> {
        let KeyedRequest { workspace_id, mode, key, fingerprint, now } = *request;
        let sql = "SELECT status, body FROM idempotent_replies
                   WHERE workspace_id = $1 AND mode = $2 AND key = $3 AND fingerprint = $4
                     AND created_at > $5::timestamptz - make_interval(secs => $6::float8)";
        let kept = KEPT_SECONDS.to_string();
        let params = [workspace_id, mode, key, fingerprint, now, &kept].map(Some);
        self.query(sql, &params).await?.first(|row| Ok((row.get("status")?, bytes(row, "body")?)))
    }

    /// Stores the sealed reply to this request, and removes some that have expired.
    pub async fn keep_reply(&mut self, request: &KeyedRequest<'_>, status: u16, body: &[u8]) -> Result<(), Fault> {
        let KeyedRequest { workspace_id, mode, key, fingerprint, now } = *request;
        let sql = "WITH old AS (
                       DELETE FROM idempotent_replies WHERE (workspace_id, mode, key) IN (
                           SELECT o.workspace_id, o.mode, o.key FROM idempotent_replies AS o
                           WHERE o.created_at < $5::timestamptz - make_interval(secs => $8::float8)
                             AND (o.workspace_id, o.mode, o.key) <> ($1, $2, $3)
                           ORDER BY o.created_at LIMIT 20 FOR UPDATE SKIP LOCKED))
                   INSERT INTO idempotent_replies (workspace_id, mode, key, fingerprint, created_at, status, body)
                   VALUES ($1, $2, $3, $4, $5::timestamptz, $6::integer, $7::bytea)
                   ON CONFLICT (workspace_id, mode, key) DO UPDATE
                   SET fingerprint = EXCLUDED.fingerprint, created_at = EXCLUDED.created_at, status = EXCLUDED.status,
                       body = EXCLUDED.body";
        let (status, body, kept) = (status.to_string(), bytea(body), KEPT_SECONDS.to_string());
        let params = [workspace_id, mode, key, fingerprint, now, &status, &body, &kept].map(Some);
        self.query(sql, &params).await.map(drop)
    }
}
