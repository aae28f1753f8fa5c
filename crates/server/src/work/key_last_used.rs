//! Notes when keys were last used, off the requests' way: for all of them in one statement. What can't be noted is noted
//! the next time.

use std::time::Duration;

use crate::app::App;
use crate::work::{Failed, Worker};

/// Notes when keys were last used.
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
