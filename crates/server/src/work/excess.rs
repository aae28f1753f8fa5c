//! Ends sessions that take too many of the resources that all workspaces share.

use std::time::Duration;

use crate::app::App;
use crate::store::cell::excess::LastLook;
use crate::work::{Failed, Worker};

/// Checks transaction ids and locks.
#[derive(Default)]
pub struct EndExcesses {
    last: LastLook,
}

impl Worker for EndExcesses {
    const NAME: &'static str = "excess";

    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        let charged = app.store.charge_transaction_ids(&mut self.last).await;
        app.store.end_lockers().await?;
        Ok(charged?)
    }
}
