//! Runs the workers, each in its own task, restarts them after an error or a panic, and stops them cleanly.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::app::App;
use crate::work::{Failed, Worker};

/// The wait after the first failure. It doubles with each further failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait after a failure.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// How long a run may continue after the workers were told to stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The workers of this process. Dropping it ends them at once.
pub struct Supervisor {
    app: App,
    workers: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Supervisor {
    /// Creates a supervisor without workers.
    pub fn new(app: App) -> Supervisor {
        Supervisor { app, workers: JoinSet::new(), stop: watch::channel(false).0 }
    }

    /// Starts a worker.
    pub fn start<W: Worker>(&mut self, worker: W) {
        self.workers.spawn(keep_running(worker, self.app.clone(), self.stop.subscribe()));
    }

    /// Stops all workers. A current run may finish within a few seconds.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = timeout(STOP_LIMIT, async { while self.workers.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(workers = self.workers.len(), "some workers did not stop in time");
        }
        self.workers.shutdown().await;
    }
}

async fn keep_running<W: Worker>(mut worker: W, app: App, mut stop: watch::Receiver<bool>) {
    let mut failures = 0;
    while !*stop.borrow() {
        let started = Instant::now();
        // A panic is a defect of one run. The next run may succeed.
        let run = AssertUnwindSafe(worker.run_once(&app)).catch_unwind().await;
        metrics::histogram!("kith_worker_seconds", "worker" => W::NAME).record(started.elapsed().as_secs_f64());
        let failure = match run {
            Ok(Ok(())) => None,
            Ok(Err(Failed(why))) => Some(why),
            Err(_) => Some("a panic, see above".to_owned()),
        };
        let outcome = if failure.is_some() { "error" } else { "ok" };
        metrics::counter!("kith_worker_runs_total", "worker" => W::NAME, "outcome" => outcome).increment(1);
        let wait = match failure {
            None => {
                failures = 0;
                worker.every()
            }
            Some(why) => {
                let backoff = backoff(failures, worker.every());
                failures += 1;
                tracing::error!(worker = W::NAME, why, failures, "a worker failed; trying again");
                backoff
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // After a failure the worker waits, even if it is woken.
            () = worker.woken(&app), if failures == 0 => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// The wait after this many failures in a row. A worker that runs often also tries again soon.
fn backoff(failures: u32, every: Duration) -> Duration {
    let longest = LONGEST_BACKOFF.min(every * 4);
    FIRST_BACKOFF.saturating_mul(1 << failures.min(10)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_bound() {
        let seconds = |failures, every| backoff(failures, Duration::from_secs_f64(every)).as_secs_f64();
        assert_eq!([0, 1, 2, 7, 100].map(|failures| seconds(failures, 60.0)), [0.5, 1.0, 2.0, 60.0, 60.0]);
        assert_eq!([0, 1, 2, 100].map(|failures| seconds(failures, 0.4)), [0.5, 1.0, 1.6, 1.6]);
    }
}
