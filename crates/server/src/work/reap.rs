//! Ends workspaces that nobody claimed within 14 days: their keys stop working by themselves (`crm::model::lifecycle`),
//! and here their data is dropped. So is what is left of sessions and log-ins that are over.

use std::time::Duration;

use crm::model::fault::Fault;
use crm::model::lifecycle::REVOKED_AFTER_SECONDS;

use crate::clock::Clock;
use crate::store::Store;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(60);

/// How long sessions, failed log-ins and tokens of letters are kept when they are over, in seconds.
const KEPT_SECONDS: i64 = 7 * 24 * 60 * 60;

/// ReadBatcher for ever.
pub async fn run(store: Store, clock: Clock) {
    loop {
        let swept = store.sweep_databases().await;
        match swept.and(reap(&store, &clock).await) {
            Ok(0) => {}
            Ok(reaped) => tracing::info!(reaped, "dropped workspaces that nobody claimed"),
            Err(fault) => tracing::error!(?fault, "can't drop unclaimed workspaces; trying again"),
        }
        if let Err(fault) = store.control.sweep_accounts(clock.unix_seconds() - KEPT_SECONDS).await {
            tracing::error!(?fault, "can't forget sessions that are over; trying again");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Drops the workspaces whose time is over by this clock; says how many.
pub async fn reap(store: &Store, clock: &Clock) -> Result<usize, Fault> {
    let before = clock.unix_seconds() - REVOKED_AFTER_SECONDS;
    let mut reaped = 0;
    while let Some(workspace_id) = store.control.find_expired(before).await? {
        for place in store.control.places(&workspace_id).await? {
            store.drop_database(&place).await?;
        }
        store.control.forget_workspace(&workspace_id).await?;
        reaped += 1;
    }
    Ok(reaped)
}
