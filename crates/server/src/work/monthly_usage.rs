//! Notes how many requests workspaces make, off the requests' way, and learns what other processes have noted. What can't
//! be noted is noted the next time.

use std::time::Duration;

use crate::app::App;
use crate::work::{Failed, Worker};

/// Notes how many requests are made.
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
