//! Enforces the limits of direct connections, ends the connections of people who are no longer members, and allows suspended
//! workspaces to log in again, in case any of this was missed.

use std::time::Duration;

use crate::app::App;
use crate::work::{Failed, Worker};

/// How many checks of sessions there are for each check of roles.
const ROLES_EVERY: u32 = 30;

/// Checks direct connections.
#[derive(Default)]
pub struct HoldDirect {
    looks: u32,
}

impl Worker for HoldDirect {
    const NAME: &'static str = "direct";

    fn every(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        let held = app.store.hold_direct().await;
        if self.looks == 0 {
            app.store.sweep_direct(None).await?;
            app.store.sweep_suspended().await?;
        }
        self.looks = (self.looks + 1) % ROLES_EVERY;
        Ok(held?)
    }
}
