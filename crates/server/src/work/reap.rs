//! Removes workspaces that nobody claimed within 14 days, and those that their owners deleted 7 days ago: their keys stop working on
//! time (`crm::model::lifecycle`), and their data is dropped here. Also deletes old sessions and log-ins that have ended, and ends runs
//! that wait for automations which are switched off.

use std::time::Duration;

use crm::model::fault::Fault;
use crm::model::lifecycle::{DROPPED_AFTER_SECONDS, REVOKED_AFTER_SECONDS};

use crate::app::App;
use crate::clock::{Clock, iso};
use crate::store::Store;
use crate::work::{Failed, Worker};

/// How long sessions, failed log-ins and tokens of e-mails are kept after they have ended, in seconds.
const KEPT_SECONDS: i64 = 7 * 24 * 60 * 60;

/// How long deliveries of webhooks and runs of automations are kept, in seconds.
const DELIVERIES_KEPT_SECONDS: i64 = 30 * 24 * 60 * 60;
/// The webhooks and automations that were busy within this time may have more deliveries and runs than are kept. Longer than the
/// time between two sweeps.
const BUSY_SECONDS: i64 = 10 * 60;

/// How long an app that registered itself, but that nobody connected, is kept, in seconds.
const UNUSED_APPS_SECONDS: i64 = 24 * 60 * 60;
/// How long the log of requests is kept, in seconds.
const REQUESTS_KEPT_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Drops expired data.
pub struct Reap;

impl Worker for Reap {
    const NAME: &'static str = "reap";

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        let swept = app.store.sweep_databases().await;
        let reaped = reap(&app.store, &app.clock).await;
        let now = app.clock.unix_seconds();
        let forgotten = app.store.control.sweep_accounts(now - KEPT_SECONDS, now).await;
        let queues = app.store.control.sweep_queues(now - DELIVERIES_KEPT_SECONDS, now - BUSY_SECONDS).await;
        let (expired, unused) = (iso(now - KEPT_SECONDS), iso(now - UNUSED_APPS_SECONDS));
        let disconnected = app.store.control.sweep_apps(&expired, &unused).await;
        let stopped = app.store.control.end_stopped_runs(&iso(now)).await;
        let logged = app.store.control.sweep_request_log(now - REQUESTS_KEPT_SECONDS).await;
        swept?;
        queues?;
        disconnected?;
        stopped?;
        logged?;
        forgotten?;
        match reaped? {
            0 => {}
            reaped => tracing::info!(reaped, "dropped workspaces that nobody claimed or that were deleted"),
        }
        Ok(())
    }
}

/// Drops the workspaces that have expired by this clock. Returns their number.
pub async fn reap(store: &Store, clock: &Clock) -> Result<usize, Fault> {
    let now = clock.unix_seconds();
    let (created_before, deleted_before) = (now - REVOKED_AFTER_SECONDS, now - DROPPED_AFTER_SECONDS);
    let mut reaped = 0;
    while let Some(workspace_id) = store.control.find_expired(created_before, deleted_before).await? {
        for place in store.control.databases(&workspace_id).await? {
            store.drop_database(&place).await?;
        }
        store.control.forget_workspace(&workspace_id).await?;
        reaped += 1;
    }
    Ok(reaped)
}
