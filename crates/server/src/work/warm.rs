//! Keeps some databases ready for new workspaces, so that no request waits until one is created.

use std::time::Duration;

use crate::app::App;
use crate::work::{Failed, Worker};

/// Creates databases ahead of time.
pub struct KeepWarm {
    /// The number of databases to keep ready.
    pub target: usize,
}

impl Worker for KeepWarm {
    const NAME: &'static str = "warm";

    fn every(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn woken(&self, app: &App) {
        app.wakes.database_taken.notified().await;
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        Ok(app.store.refill(self.target).await?)
    }
}
