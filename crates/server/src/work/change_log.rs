//! Removes what is older than the change log is kept.

use std::time::Duration;

use crate::app::App;
use crate::store::fault::of_connection;
use crate::work::{Failed, Worker};

/// Removes old changes from the databases of workspaces.
pub struct SweepChanges;

impl Worker for SweepChanges {
    const NAME: &'static str = "sweep_changes";

    fn every(&self) -> Duration {
        Duration::from_secs(600)
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        match app.store.sweep_changes(app.undo_days).await.map_err(of_connection)? {
            0 => {}
            changes => tracing::debug!(changes, "removed old changes"),
        }
        Ok(())
    }
}
