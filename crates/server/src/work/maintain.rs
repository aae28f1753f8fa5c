//! Vacuums and analyzes the databases, since the embedded server's autovacuum is off.

use std::time::Duration;

use crate::store::Store;

/// The pause between two rounds.
const EVERY: Duration = Duration::from_secs(60);

/// Runs until cancelled.
pub async fn run(store: Store) {
    loop {
        tokio::time::sleep(EVERY).await;
        match store.maintain_all().await {
            Ok(0) => {}
            Ok(tables) => tracing::debug!(tables, "maintained workspaces' tables"),
            Err(error) => tracing::error!(%error, "can't maintain the databases; trying again"),
        }
    }
}
