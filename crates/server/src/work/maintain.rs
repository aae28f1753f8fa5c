//! Vacuums and analyzes the databases, because the embedded server's autovacuum is off.

use std::time::Duration;

use crate::app::App;
use crate::store::fault::of_connection;
use crate::work::{Failed, Worker};

/// Maintains the databases in which enough has changed.
pub struct Maintain;

impl Worker for Maintain {
    const NAME: &'static str = "maintain";

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        match app.store.maintain_all().await.map_err(of_connection)? {
            0 => {}
            tables => tracing::debug!(tables, "maintained workspaces' tables"),
        }
        Ok(())
    }
}
