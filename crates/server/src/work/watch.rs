//! Ensures that this process's cache of keys is never much older than a second, even if another process ended a key.

use std::time::Duration;

use crate::app::App;
use crate::work::{Failed, Worker};

/// Watches for changes of the rights of keys.
#[derive(Default)]
pub struct WatchAccess {
    seen: Option<i64>,
    again: bool,
}

impl Worker for WatchAccess {
    const NAME: &'static str = "watch";

    fn every(&self) -> Duration {
        Duration::from_millis(400)
    }

    /// The counter changes before the change is committed, so a look-up at that moment may still read the old state. After a
    /// change, everything is therefore forgotten twice.
    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        let count = match app.store.control.access_changes().await {
            Ok(count) => count,
            // The change is unknown, so it is safer to look everything up again.
            Err(error) => {
                app.keys.forget();
                return Err(error.into());
            }
        };
        let changed = self.seen.is_some_and(|seen| seen != count);
        if changed || self.again {
            app.keys.forget();
        }
        (self.seen, self.again) = (Some(count), changed);
        Ok(())
    }
}
