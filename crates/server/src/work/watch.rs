//! Sees to it that what this process remembers of keys is never much older than a second, whichever process ended them.

use std::time::Duration;

use crate::app::App;
use crate::work::{Failed, Worker};

/// Watches for changes of what keys may do.
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

    /// The count moves before the change is committed, so what is looked up just then may be old still: after a change
    /// everything is forgotten twice.
    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        let count = match app.store.control.access_changes().await {
            Ok(count) => count,
            // It is safer to look everything up.
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
