//! Notes when keys were last used, off the requests' way: for all of them in one statement, once a minute.

use std::time::Duration;

use crate::access::Keys;
use crate::store::Store;

/// How often it notes.
const EVERY: Duration = Duration::from_secs(60);

/// Notes for ever.
pub async fn run(store: Store, keys: Keys) {
    loop {
        tokio::time::sleep(EVERY).await;
        note(&store, &keys).await;
    }
}

/// Notes now. What can't be noted is noted the next time.
pub async fn note(store: &Store, keys: &Keys) {
    if let Err(fault) = keys.note_uses(store, None).await {
        tracing::warn!(?fault, "can't note when keys were last used");
    }
}
