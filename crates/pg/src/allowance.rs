//! Room for large results. Whoever runs statements may bound the memory that results take together: rows beyond the first
//! [`STEP`] are read only when there is room for them. Meanwhile the server waits, as it does for any slow reader.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::task_local;

/// Results are counted in steps of so many bytes; one below it is not counted.
pub const STEP: usize = 256 * 1024;

/// Gives room for results.
pub trait Allowance: Send + Sync {
    /// Waits for room for so many bytes more. Says whether there is some.
    fn grow(&self, bytes: usize) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

task_local! {
    static ALLOWANCE: Arc<dyn Allowance>;
}

/// Does something whose results are bounded by an allowance. What it spawns is not.
pub async fn within<F: Future>(allowance: Arc<dyn Allowance>, work: F) -> F::Output {
    ALLOWANCE.scope(allowance, work).await
}

/// Waits for room for so many bytes more. Where nothing bounds them, there is room.
pub(crate) async fn grow(bytes: usize) -> bool {
    match ALLOWANCE.try_with(Arc::clone) {
        Ok(allowance) => allowance.grow(bytes).await,
        Err(_) => true,
    }
}
