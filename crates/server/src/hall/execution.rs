//! One call's transaction: who runs it, where, and what is remembered of the tables. It has one owner and one commit
//! point.

use std::sync::Arc;
use std::time::Instant;

use crm::dialect::Reply;
use crm::model::ask::Ask;
use crm::model::catalog::Catalog;
use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::plan;
use crm::sql::{self, Sql};

use crate::access::Caller;
use crate::app::App;
use crate::clock::iso;
use crate::hall::Effect;
use crate::hall::idempotency::Idempotency;
use crate::store::fault::RunError;
use crate::store::tenant::transaction::{OpenTransaction, Reservation, Transaction};
use crate::store::tenant::{Access, Tenant};

/// How often an ask is planned again because the tables turned out not to be what the catalog said.
const PLANS: usize = 3;

/// What a call's statements run with.
pub(super) struct Execution<'a> {
    pub(super) app: &'a App,
    pub(super) caller: &'a Caller,
    pub(super) tenant: Tenant<'a>,
    pub(super) effect: Effect,
    transaction: Transaction,
    reserved: Option<&'a Idempotency<'a>>,
}

/// What is planned and run by a catalog that may turn out to be old.
pub(super) trait Attempt: Sync {
    /// What it comes to.
    type Outcome: Send;

    /// Plans and runs by this catalog.
    fn once(
        &self,
        execution: &mut Execution<'_>,
        planning: &Planning,
    ) -> impl Future<Output = Result<Self::Outcome, PlanError>> + Send;
}

/// Why an attempt by some catalog failed.
pub(super) enum PlanError {
    /// It fails by any catalog.
    Final(Fault),
    /// It fails unless a fresh catalog says otherwise.
    PerhapsStale(Fault),
    /// The tables are not what the catalog said.
    Stale,
}

/// The catalog that an attempt is planned by.
pub(super) struct Planning {
    pub(super) catalog: Arc<Catalog>,
    /// Whether it was read for this call.
    pub(super) is_fresh: bool,
}

/// What reserving an Idempotency-Key came to.
pub(super) enum Reserved<'a> {
    /// It is new; the transaction that holds it is open.
    Fresh(Box<Execution<'a>>),
    /// The call was performed before; this was the reply.
    Stored(Reply),
}

/// The fact that a transaction was committed.
#[derive(Debug)]
pub struct Committed {
    /// What it may have changed.
    pub changed: Changed,
}

/// What a transaction may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Nothing.
    Nothing,
    /// Rows of this table, and what its triggers write.
    Table(String),
    /// Anything: the caller's own SQL says.
    Anything,
}

impl Changed {
    fn by(ask: &Ask) -> Changed {
        match (ask.writes(), ask.table()) {
            (false, _) => Changed::Nothing,
            (true, Some(table)) => Changed::Table(table.to_owned()),
            (true, None) => Changed::Anything,
        }
    }
}

impl<'a> Execution<'a> {
    /// An execution whose plans each run in a transaction of their own.
    pub(super) async fn per_plan(app: &'a App, caller: &'a Caller) -> Result<Execution<'a>, Fault> {
        let tenant = app.store.tenant(&caller.database, access(caller)).await?;
        let (effect, transaction) = (Effect::Commit, Transaction::PerPlan);
        Ok(Execution { app, caller, tenant, effect, transaction, reserved: None })
    }

    /// An execution whose plans all run in one transaction, of which nothing will be kept.
    pub(super) async fn dry(app: &'a App, caller: &'a Caller) -> Result<Execution<'a>, Fault> {
        let mut execution = Execution::per_plan(app, caller).await?;
        execution.effect = Effect::DryRun;
        execution.transaction = Transaction::Open(Box::new(execution.begin().await?));
        Ok(execution)
    }

    /// An execution in one transaction, which holds an Idempotency-Key.
    pub(super) async fn reserve(
        app: &'a App,
        caller: &'a Caller,
        idempotency: &'a Idempotency<'a>,
    ) -> Result<Reserved<'a>, Fault> {
        let mut execution = Execution::per_plan(app, caller).await?;
        execution.reserved = Some(idempotency);
        let (open, reservation) = execution.begin_reserved(idempotency).await?;
        match reservation {
            Reservation::Fresh => {
                execution.transaction = Transaction::Open(Box::new(open));
                return Ok(Reserved::Fresh(Box::new(execution)));
            }
            Reservation::Stored { .. } | Reservation::Conflict | Reservation::InProgress => open.roll_back().await,
        }
        match reservation {
            Reservation::Stored { status, body } => {
                Ok(Reserved::Stored(Reply { status, headers: Vec::new(), body: body.into_bytes() }))
            }
            Reservation::Conflict => Err(Fault::IdempotencyConflict),
            Reservation::InProgress | Reservation::Fresh => Err(Fault::IdempotencyInProgress),
        }
    }

    /// The statement that names the actor to the transaction.
    pub(super) fn context(&self) -> Sql {
        let secret = self.app.store.secret_of(&self.caller.database);
        sql::context::begin_request(secret.expose(), &self.caller.who, &self.caller.provenance)
    }

    /// Runs statements that only read.
    pub(super) async fn read(&mut self, statements: &[Sql]) -> Result<Vec<Rows>, RunError> {
        self.tenant.run(&mut self.transaction, None, statements).await
    }

    /// Runs a quick read, with others if it is in no open transaction.
    pub(super) async fn read_quickly(&mut self, statements: Vec<Sql>) -> Result<Vec<Rows>, RunError> {
        match self.transaction {
            Transaction::PerPlan => self.tenant.read(statements).await,
            Transaction::Open(_) => self.read(&statements).await,
        }
    }

    /// Runs statements that write, in the caller's name.
    pub(super) async fn write(&mut self, statements: &[Sql]) -> Result<Vec<Rows>, RunError> {
        let context = self.context();
        self.tenant.run(&mut self.transaction, Some(&context), statements).await
    }

    /// Runs the caller's own SQL.
    pub(super) async fn run_raw(&mut self, raw: &plan::raw::Raw<'_>) -> Result<crm::model::answer::SqlResult, Fault> {
        let context = self.context();
        self.tenant.run_raw(&mut self.transaction, &context, raw).await
    }

    /// Plans and runs by the cached catalog, and by a fresh one where that turns out to be old. In an open transaction that
    /// a failure has aborted, everything starts again in a new one.
    pub(super) async fn with_fresh_catalog<A: Attempt>(&mut self, attempt: &A) -> Result<A::Outcome, Fault> {
        let mut not_before = None;
        for _ in 0..PLANS {
            let asked_at = Instant::now();
            let catalog = self.tenant.catalog(not_before).await?;
            let planning = Planning { catalog, is_fresh: not_before.is_some() };
            match attempt.once(self, &planning).await {
                Ok(done) => return Ok(done),
                Err(PlanError::Final(fault)) => return Err(fault),
                // By a catalog that was read just now, what it says holds.
                Err(PlanError::PerhapsStale(fault)) if planning.is_fresh => return Err(fault),
                Err(PlanError::PerhapsStale(_) | PlanError::Stale) => {}
            }
            if matches!(&self.transaction, Transaction::Open(open) if open.is_aborted()) {
                self.restart().await?;
            }
            not_before = Some(asked_at);
        }
        Err(Fault::Unavailable { retry_after: 1, message: "The table is being changed; try again.".into() })
    }

    /// Rolls the transaction back and opens another, which holds the same Idempotency-Key.
    async fn restart(&mut self) -> Result<(), Fault> {
        if let Transaction::Open(open) = std::mem::replace(&mut self.transaction, Transaction::PerPlan) {
            open.roll_back().await;
        }
        let open = match self.reserved {
            None => self.begin().await?,
            Some(idempotency) => match self.begin_reserved(idempotency).await? {
                (open, Reservation::Fresh) => open,
                (open, Reservation::Stored { .. } | Reservation::Conflict | Reservation::InProgress) => {
                    open.roll_back().await;
                    return Err(Fault::IdempotencyInProgress);
                }
            },
        };
        self.transaction = Transaction::Open(Box::new(open));
        Ok(())
    }

    async fn begin(&self) -> Result<OpenTransaction, Fault> {
        self.tenant.begin(&self.context()).await
    }

    async fn begin_reserved(&self, idempotency: &Idempotency<'_>) -> Result<(OpenTransaction, Reservation), Fault> {
        let mut open = self.begin().await?;
        let secret = self.app.store.secret_of(&self.caller.database);
        let now = iso(self.app.clock.unix_seconds());
        match open.reserve(secret.expose(), idempotency.key, &idempotency.fingerprint, &now).await {
            Ok(reservation) => Ok((open, reservation)),
            Err(fault) => {
                open.roll_back().await;
                Err(fault)
            }
        }
    }

    /// Commits what the ask did, together with the reply that is stored under its Idempotency-Key. This is the only place
    /// where an open transaction is committed; workers learn here what changed.
    pub(super) async fn commit(self, ask: Option<&Ask>, reply: Option<&Reply>) -> Result<Committed, Fault> {
        if let Transaction::Open(mut open) = self.transaction {
            if let (Some(idempotency), Some(reply)) = (self.reserved, reply) {
                let secret = self.app.store.secret_of(&self.caller.database);
                let body = String::from_utf8_lossy(&reply.body);
                open.keep(secret.expose(), idempotency.key, reply.status, &body).await?;
            }
            open.commit().await?;
        }
        if ask.is_some_and(Ask::changes_catalog) {
            self.tenant.cache().forget();
        }
        let committed = Committed { changed: ask.map_or(Changed::Nothing, Changed::by) };
        if committed.changed != Changed::Nothing {
            self.app.wakes.committed(&self.caller.database);
        }
        Ok(committed)
    }

    /// Rolls back what is open.
    pub(super) async fn roll_back(self) {
        if let Transaction::Open(open) = self.transaction {
            open.roll_back().await;
        }
    }
}

fn access(caller: &Caller) -> Access {
    if plan::reads_only(&caller.who) { Access::ReadOnly } else { Access::Full }
}

/// The outcome of statements that a plan made, as an attempt's.
pub(super) fn attempted(error: RunError) -> PlanError {
    match error {
        RunError::CatalogIsOld(fault) => PlanError::PerhapsStale(fault),
        other => PlanError::Final(other.into_fault()),
    }
}
