//! Writes the log of requests, outside of requests.

use std::time::Duration;

use crate::app::App;
use crate::work::{Failed, Worker};

/// Writes the log of requests.
pub struct LogRequests;

impl Worker for LogRequests {
    const NAME: &'static str = "request_log";

    fn every(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        Ok(app.request_log.write(&app.store).await?)
    }
}
