//! Holds direct connections to measure, and ends those of people who are members no more, should that have been missed.

use std::time::Duration;

use crate::store::Store;

/// How often sessions are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// After how many looks at sessions there is one at roles.
const ROLES_EVERY: u32 = 30;

/// ReadBatcher for ever.
pub async fn run(store: Store) {
    for look in (0..ROLES_EVERY).cycle() {
        if let Err(fault) = store.hold_direct().await {
            tracing::warn!(?fault, "can't look after direct connections; trying again");
        }
        if look == 0
            && let Err(fault) = store.sweep_direct(None).await
        {
            tracing::error!(?fault, "can't end the direct connections of former members; trying again");
        }
        tokio::time::sleep(EVERY).await;
    }
}
