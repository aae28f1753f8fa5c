//! Holds direct connections to their limits, ends those of people who are no longer members, and lets suspended workspaces
//! in again, should either have been missed.

use std::time::Duration;

use crate::app::App;
use crate::work::{Failed, Worker};

/// How many looks at sessions there are for one look at roles.
const ROLES_EVERY: u32 = 30;

/// Looks after direct connections.
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
