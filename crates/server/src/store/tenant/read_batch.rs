//! Quick reads that come at the same time share a round trip: while a few are under way, the others wait
//! for the moment until one ends, and then go to the database in one write. Both sides wake up once for many requests.
//!
//! Each look is a transaction of its own and may be made again, so whatever goes wrong with the company it is in, it
//! goes on alone by the ordinary way, which has the deadline, the errors and the fresh plans.

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
use crate::store::tenant::catalogs::DatabaseCache;
use crate::store::tenant::run::{Access, CAPS, RunError, rows_of, wanted};
use crate::store::tenant::transaction::{Transaction, borrow};

/// How many of a workspace's looks are under way before others wait to go together.
static UNDER_WAY: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(2, usize::from).clamp(1, 4));
/// How many go together at most.
const TOGETHER: usize = 16;
/// How long looks stay together. One that takes longer waits for a lock, and the others must not wait with it.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long each goes alone after that.
const ALONE: Duration = Duration::from_secs(1);

/// The looks of one workspace.
#[derive(Default)]
pub struct ReadBatcher {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    under_way: usize,
    waiting: Vec<Look>,
    alone_until: Option<Instant>,
}

/// One that waits.
struct Look {
    statements: Arc<[Sql]>,
    /// Told what came of it; closed without a word where it has to go alone.
    answer: oneshot::Sender<Vec<Outcome>>,
}

impl ReadBatcher {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be done with a look.
enum Way {
    /// It goes at once, and counts as under way.
    Counted,
    /// It goes with others.
    Together(oneshot::Receiver<Vec<Outcome>>),
    /// It goes at once and alone.
    Alone,
}

impl Store {
    /// Runs a few statements that only read, and quickly, as one transaction.
    pub async fn look_up(
        &self,
        place: &TenantDatabase,
        access: Access,
        known: &Arc<DatabaseCache>,
        statements: Vec<Sql>,
    ) -> Result<Vec<Rows>, RunError> {
        // Where a workspace has code of its own a session is tidied after each request; a viewer's request is a frame of several.
        if access == Access::ReadOnly || known.has_own_code() {
            return self.alone(place, access, known, &statements).await;
        }
        let statements: Arc<[Sql]> = statements.into();
        match way(&known.looks, &statements) {
            Way::Alone => {}
            Way::Counted => {
                let _under_way = UnderWay { store: self, place, known };
                return self.alone(place, access, known, &statements).await;
            }
            Way::Together(answer) => {
                if let Ok(Ok(outcomes)) = timeout(PATIENCE, answer).await {
                    return Ok(outcomes.into_iter().map(rows_of).collect());
                }
            }
        }
        self.alone(place, access, known, &statements).await
    }

    async fn alone(
        &self,
        place: &TenantDatabase,
        access: Access,
        known: &DatabaseCache,
        statements: &[Sql],
    ) -> Result<Vec<Rows>, RunError> {
        self.run(&mut Transaction::PerPlan, place, access, &known.types, None, statements, false).await
    }

    /// Serves those that wait until nobody does.
    async fn serve_looks(self, place: TenantDatabase, known: Arc<DatabaseCache>) {
        let mut turn = Turn { looks: &known.looks, is_over: false };
        loop {
            let looks = {
                let State { waiting, under_way, .. } = &mut *known.looks.state();
                waiting.retain(|look| !look.answer.is_closed());
                if waiting.is_empty() {
                    *under_way -= 1;
                    turn.is_over = true;
                    return;
                }
                let rest = waiting.split_off(waiting.len().min(TOGETHER));
                mem::replace(waiting, rest)
            };
            if timeout(PATIENCE, self.run_together(&place, &known, looks)).await.is_err() {
                known.looks.state().alone_until = Some(Instant::now() + ALONE);
            }
        }
    }

    async fn run_together(&self, place: &TenantDatabase, known: &DatabaseCache, looks: Vec<Look>) {
        let (statements, mut answers): (Vec<_>, Vec<_>) =
            looks.into_iter().map(|look| (look.statements, Some(look.answer))).unzip();
        let params: Vec<Vec<_>> = statements.iter().map(|each| each.iter().map(borrow).collect()).collect();
        let requests: Vec<Vec<Statement<'_>>> = statements
            .iter()
            .zip(&params)
            .map(|(statements, params)| statements.iter().zip(params).map(read).collect())
            .collect();
        let answered = async {
            let mut lease = self.pool.lease(&place.key(Lane::Rest, false)).await?;
            let each = |number: usize, result| {
                // One that failed goes alone, to fail in its own right or not.
                if let (Some(answer), Ok(outcomes)) = (answers[number].take(), result) {
                    let _ = answer.send(outcomes);
                }
            };
            lease.run_each(&requests, &known.types, CAPS, each).await
        };
        if let Err(error) = answered.await {
            tracing::debug!(%error, "looks went together in vain; each goes alone");
        }
    }
}

fn read<'a>((sql, params): (&'a Sql, &'a Vec<Option<Cow<'a, str>>>)) -> Statement<'a> {
    Statement { sql: &sql.text, params, format: Format::Json, want: wanted(sql) }
}

fn way(looks: &ReadBatcher, statements: &Arc<[Sql]>) -> Way {
    let mut state = looks.state();
    if state.alone_until.is_some_and(|until| Instant::now() < until) {
        return Way::Alone;
    }
    if state.under_way < *UNDER_WAY {
        state.under_way += 1;
        return Way::Counted;
    }
    let (answer, receiver) = oneshot::channel();
    state.waiting.push(Look { statements: statements.clone(), answer });
    Way::Together(receiver)
}

/// What serves those that wait. Even a defect must not leave them waiting for one that is no more.
struct Turn<'a> {
    looks: &'a ReadBatcher,
    is_over: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.looks.state().under_way -= 1;
        }
    }
}

/// A look that is under way. When it ends, in whatever way, those that wait have their turn.
struct UnderWay<'a> {
    store: &'a Store,
    place: &'a TenantDatabase,
    known: &'a Arc<DatabaseCache>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.known.looks.state();
        if state.waiting.is_empty() {
            state.under_way -= 1;
            return;
        }
        drop(state);
        let (store, place, known) = (self.store.clone(), self.place.clone(), self.known.clone());
        // It is dropped within a request's task, so there is a runtime. The place under way passes to it.
        tokio::spawn(store.serve_looks(place, known));
    }
}
