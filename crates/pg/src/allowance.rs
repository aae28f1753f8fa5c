//! Memory for large results. A caller can bound the memory that results use together: rows after the first [`STEP`] bytes
//! are read only when memory is available. Meanwhile the server waits, as it does for any slow reader.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::task_local;

/// Results are counted in steps of this many bytes. A result smaller than one step is not counted.
pub const STEP: usize = 256 * 1024;

/// Grants memory for results.
pub trait Allowance: Send + Sync {
    /// Waits until this many more bytes are available. Returns whether they are.
    fn grow(&self, bytes: usize) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

task_local! {
    static ALLOWANCE: Arc<dyn Allowance>;
}

/// Runs a future whose results are bounded by an allowance. Tasks that it spawns are not bounded.
// Not an `async fn`: that would hold the future twice, as an argument and while it runs.
pub fn within<F: Future>(allowance: Arc<dyn Allowance>, work: F) -> impl Future<Output = F::Output> {
    ALLOWANCE.scope(allowance, work)
}

/// Waits until this many more bytes are available. Without an allowance they always are.
pub(crate) async fn grow(bytes: usize) -> bool {
    match ALLOWANCE.try_with(Arc::clone) {
        Ok(allowance) => allowance.grow(bytes).await,
        Err(_) => true,
    }
}
