//! Saves how many requests workspaces make, outside of requests, and reads the counts that other processes have saved. If saving
//! fails, the counts are saved in the next run.

use std::time::Duration;

use crate::app::App;
use crate::work::{Failed, Worker};

/// Saves how many requests workspaces make.
pub struct NoteMonthlyUsage;

impl Worker for NoteMonthlyUsage {
    const NAME: &'static str = "monthly_usage";

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        Ok(app.keys.subscriptions().note(&app.store).await?)
    }
}
