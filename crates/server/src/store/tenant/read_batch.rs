//! Quick reads that arrive at the same time share a round trip. While a few reads run, the others wait until one of them ends,
//! and are then sent to the database in one write. Both sides wake up once for many requests.
//!
//! Each read is its own transaction and may be repeated. If anything goes wrong in the batch, a read is run alone in the
//! ordinary way, which has the deadline, the errors and the fresh plans.

use std::borrow::Cow;
use std::mem;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use pg::conn::{Format, Outcome, Statement};
use pg::pool::Lane;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crm::model::rows::Rows;
use crm::sql::Sql;

use crate::store::Store;
use crate::store::cell::TenantDatabase;
use crate::store::fault::RunError;
use crate::store::results::{CAPS, rows_of, wanted};
use crate::store::tenant::catalogs::DatabaseCache;
use crate::store::tenant::transaction::{Transaction, borrow};
use crate::store::tenant::{Access, Tenant};

/// How many of a workspace's reads run before others wait to be batched.
static RUNNING_AT_ONCE: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(2, usize::from).clamp(1, 4));
/// The most reads in a batch.
const BATCH: usize = 16;
/// How long reads stay batched. A read that takes longer waits for a lock, and the others must not wait with it.
const BATCH_LIMIT: Duration = Duration::from_millis(100);
/// How long reads are run alone after that.
const ALONE: Duration = Duration::from_secs(1);

/// Batches the reads of one workspace.
#[derive(Default)]
pub struct ReadBatcher {
    state: Mutex<BatchState>,
}

#[derive(Default)]
struct BatchState {
    running: usize,
    waiting: Vec<WaitingRead>,
    alone_until: Option<Instant>,
}

struct WaitingRead {
    statements: Arc<[Sql]>,
    /// Receives the outcomes. It is closed without outcomes if the read has to run alone.
    answer: oneshot::Sender<Vec<Outcome>>,
}

/// How a read is sent to the database.
enum BatchedRead {
    /// At once. It counts as running.
    Counted,
    /// In a batch.
    Batched(oneshot::Receiver<Vec<Outcome>>),
    /// At once and alone.
    Alone,
}

impl ReadBatcher {
    fn state(&self) -> MutexGuard<'_, BatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self, statements: &Arc<[Sql]>) -> BatchedRead {
        let mut state = self.state();
        if state.alone_until.is_some_and(|until| Instant::now() < until) {
            return BatchedRead::Alone;
        }
        if state.running < *RUNNING_AT_ONCE {
            state.running += 1;
            return BatchedRead::Counted;
        }
        let (answer, receiver) = oneshot::channel();
        state.waiting.push(WaitingRead { statements: statements.clone(), answer });
        BatchedRead::Batched(receiver)
    }
}

impl Tenant<'_> {
    /// Runs a few quick statements that only read, as one transaction.
    pub async fn read(&self, statements: Vec<Sql>) -> Result<Vec<Rows>, RunError> {
        // If the workspace has its own code, a session is reset after each request. A viewer's request needs several
        // messages. Neither can be batched.
        if self.access == Access::ReadOnly || self.cache.has_own_code() {
            return self.run(&mut Transaction::PerPlan, &[], &statements).await;
        }
        let statements: Arc<[Sql]> = statements.into();
        match self.cache.reads.route(&statements) {
            BatchedRead::Alone => {}
            BatchedRead::Counted => {
                let _running = RunningRead { store: self.store, database: self.database, cache: &self.cache };
                return self.run(&mut Transaction::PerPlan, &[], &statements).await;
            }
            BatchedRead::Batched(answer) => {
                if let Ok(Ok(outcomes)) = timeout(BATCH_LIMIT, answer).await {
                    return Ok(outcomes.into_iter().map(rows_of).collect());
                }
            }
        }
        self.run(&mut Transaction::PerPlan, &[], &statements).await
    }
}

/// Serves the waiting reads until there are no more.
async fn serve_waiting(store: Store, database: TenantDatabase, cache: Arc<DatabaseCache>) {
    let mut turn = ServingTurn { reads: &cache.reads, is_over: false };
    loop {
        let batch = {
            let BatchState { waiting, running, .. } = &mut *cache.reads.state();
            waiting.retain(|read| !read.answer.is_closed());
            if waiting.is_empty() {
                *running -= 1;
                turn.is_over = true;
                return;
            }
            let rest = waiting.split_off(waiting.len().min(BATCH));
            mem::replace(waiting, rest)
        };
        if timeout(BATCH_LIMIT, run_batch(&store, &database, &cache, batch)).await.is_err() {
            cache.reads.state().alone_until = Some(Instant::now() + ALONE);
        }
    }
}

async fn run_batch(store: &Store, database: &TenantDatabase, cache: &DatabaseCache, batch: Vec<WaitingRead>) {
    let (statements, mut answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|read| (read.statements, Some(read.answer))).unzip();
    let params: Vec<Vec<_>> = statements.iter().map(|each| each.iter().map(borrow).collect()).collect();
    let requests: Vec<Vec<Statement<'_>>> = statements
        .iter()
        .zip(&params)
        .map(|(statements, params)| statements.iter().zip(params).map(reading).collect())
        .collect();
    let answered = async {
        let mut lease = store.pool.lease_within(&database.key(Lane::Rest, false), database.share).await?;
        let each = |number: usize, result| {
            // A read that failed is run alone, where its own error is found if it has one.
            if let (Some(answer), Ok(outcomes)) = (answers[number].take(), result) {
                let _ = answer.send(outcomes);
            }
        };
        lease.run_each(&requests, &cache.types, CAPS, each).await
    };
    if let Err(error) = answered.await {
        tracing::debug!(error = error.for_log(), "a batch of reads failed; each goes alone");
    }
}

fn reading<'a>((sql, params): (&'a Sql, &'a Vec<Option<Cow<'a, str>>>)) -> Statement<'a> {
    Statement { sql: &sql.text, params, format: Format::Json, want: wanted(sql) }
}

/// The turn to serve the waiting reads. It ends even after a panic, so that no read waits for a turn that has ended.
struct ServingTurn<'a> {
    reads: &'a ReadBatcher,
    is_over: bool,
}

impl Drop for ServingTurn<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.reads.state().running -= 1;
        }
    }
}

/// A running read. When it ends in any way, the waiting reads are served.
struct RunningRead<'a> {
    store: &'a Store,
    database: &'a TenantDatabase,
    cache: &'a Arc<DatabaseCache>,
}

impl Drop for RunningRead<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.reads.state();
        if state.waiting.is_empty() {
            state.running -= 1;
            return;
        }
        drop(state);
        let (store, database, cache) = (self.store.clone(), self.database.clone(), self.cache.clone());
        // It is dropped within a request's task, so there is a runtime. Its place among the running reads passes on.
        tokio::spawn(serve_waiting(store, database, cache));
    }
}
