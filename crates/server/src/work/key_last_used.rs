//! Saves when keys were last used, outside of requests, with one statement for all keys. If saving fails, the times are saved
//! in the next run.

use std::time::Duration;

use crate::app::App;
use crate::work::{Failed, Worker};

/// Saves when keys were last used.
pub struct NoteKeyUse;

impl Worker for NoteKeyUse {
    const NAME: &'static str = "key_last_used";

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        Ok(app.keys.note_uses(&app.store, None).await?)
    }
}
