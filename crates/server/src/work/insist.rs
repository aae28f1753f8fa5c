//! Repeats a write until the database takes it. PostgreSQL may be restarting, and an outcome that is lost means that work is repeated.

use std::future::Future;
use std::time::{Duration, Instant};

use crm::model::fault::Fault;

/// The wait between two tries.
const WAIT: Duration = Duration::from_millis(250);
/// How long a write is repeated.
const LIMIT: Duration = Duration::from_secs(20);

/// Repeats a write while it fails for a reason that may pass. A write that was done and whose answer was lost must do nothing again.
pub async fn insist<T, W: Future<Output = Result<T, Fault>>>(write: impl Fn() -> W) -> Result<T, Fault> {
    let started = Instant::now();
    loop {
        match write().await {
            Err(fault) if fault.status() >= 500 && started.elapsed() < LIMIT => {
                tracing::debug!(fault = fault.in_log(), "an outcome could not be recorded; trying again");
                tokio::time::sleep(WAIT).await;
            }
            ended => return ended,
        }
    }
}
