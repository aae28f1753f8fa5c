//! Sees to it that what this process remembers of keys is never much older than a second, whichever process ended them.

use std::time::Duration;

use crate::access::Keys;
use crate::store::Store;

/// How often it looks.
const EVERY: Duration = Duration::from_millis(400);

/// ReadBatcher for ever. The count moves before the change is committed, so what is looked up anew just then may be old still:
/// after a change everything is forgotten twice.
pub async fn run(store: Store, keys: Keys) {
    let mut seen = None;
    let mut again = false;
    loop {
        match store.control.access_changes().await {
            Ok(count) => {
                let changed = seen.is_some_and(|seen| seen != count);
                if changed || again {
                    keys.forget();
                }
                (seen, again) = (Some(count), changed);
            }
            // Not knowing, it is safer to look everything up.
            Err(fault) => {
                tracing::warn!(?fault, "can't see whether keys have changed");
                keys.forget();
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}
