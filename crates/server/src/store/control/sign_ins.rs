//! Sign-ins in progress at an OpenID Connect provider.

use crm::model::fault::Fault;

use crate::store::control::{Control, bytea};

impl Control {
    /// Stores that a sign-in at a provider has started, until a time (Unix seconds). `next` is the path to go to afterwards.
    pub async fn keep_sign_in(
        &self,
        state_hash: &[u8; 32],
        provider: &str,
        next: &str,
        expires_at: i64,
    ) -> Result<(), Fault> {
        let sql = "INSERT INTO sign_ins (state_hash, provider, next, expires_at)
                   VALUES ($1::bytea, $2, $3, to_timestamp($4::bigint))";
        let (hash, expires_at) = (bytea(state_hash), expires_at.to_string());
        self.query(sql, &[&hash, provider, next, &expires_at].map(Some)).await.map(drop)
    }

    /// Removes a sign-in and returns the path to go to afterwards, so that it works only once. Returns `None` if it is not open.
    pub async fn take_sign_in(&self, state_hash: &[u8; 32], provider: &str, now: i64) -> Result<Option<String>, Fault> {
        let sql = "WITH taken AS (DELETE FROM sign_ins WHERE state_hash = $1::bytea RETURNING *)
                   SELECT next FROM taken WHERE provider = $2 AND expires_at > to_timestamp($3::bigint)";
        let (hash, now) = (bytea(state_hash), now.to_string());
        self.query(sql, &[&hash, provider, &now].map(Some)).await?.first(|row| row.get("next"))
    }
}
