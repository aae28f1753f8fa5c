//! Notes how many requests workspaces make, off the requests' way, and learns what other processes have noted.

use std::time::Duration;

use crate::access::billing::Subscriptions;
use crate::store::Store;

/// How often it notes.
const EVERY: Duration = Duration::from_secs(1);

/// Notes for ever. What can't be noted is noted the next time.
pub async fn run(store: Store, subscriptions: Subscriptions) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(fault) = subscriptions.note(&store).await {
            tracing::warn!(?fault, "can't note how many requests were made");
        }
    }
}
