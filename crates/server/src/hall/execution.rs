//! One call's transaction: its caller, its database and the cached catalog. It has one owner and one commit point.

use std::sync::Arc;
use std::time::Instant;

use crm::dialect::Reply;
use crm::model::ask::Ask;
use crm::model::catalog::Catalog;
use crm::model::change::ChangeSet;
use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::plan;
use crm::sql::{self, Sql};

use crate::access::Caller;
use crate::app::App;
use crate::clock::iso;
use crate::hall::committed::{Changed, Committed};
use crate::hall::idempotency::Idempotency;
use crate::hall::outgoing::{self, OutgoingEmail};
use crate::hall::{Effect, Progress};
use crate::store::fault::RunError;
use crate::store::tenant::transaction::{OpenTransaction, Reservation, Transaction};
use crate::store::tenant::{Access, Tenant};

/// How many times an ask is planned if the tables differ from the catalog.
pub(super) const PLANS: usize = 3;

/// The context in which a call's statements run.
pub(super) struct Execution<'a> {
    pub(super) app: &'a App,
    pub(super) caller: &'a Caller,
    pub(super) tenant: Tenant<'a>,
    pub(super) effect: Effect,
    pub(super) max_affected: Option<u32>,
    /// The run of an undo, and what it undoes.
    pub(super) undo: Option<UndoRun>,
    pub(super) transaction: Transaction,
    /// Whether the caller wants to know what is changed.
    pub(super) tells: bool,
    /// What has been changed: by a dry run without an open transaction, or if the caller wants to know.
    pub(super) told: Option<ChangeSet>,
    reserved: Option<&'a Idempotency<'a>>,
    /// The e-mails that leave once the transaction is committed.
    pub(super) outgoing: Vec<OutgoingEmail>,
    /// The attempt that may send such an e-mail.
    pub(super) attempt: String,
    /// The state of a transaction in which several operations run; `None` if there is only one ask.
    pub(super) together: Option<Together>,
    /// Is told how far the call is.
    pub(super) progress: Option<&'a dyn Progress>,
}

/// The state of a transaction in which several operations run.
#[derive(Default)]
pub(super) struct Together {
    /// Whether an operation may have changed tables. The cached catalog does not have them before the commit.
    pub(super) has_changed_catalog: bool,
    /// Whether an operation has run. It may have locked any table, and another session that reads the catalog would wait for it.
    has_run: bool,
    /// The catalog as the transaction sees it, if it had to read it itself.
    own_catalog: Option<Arc<Catalog>>,
    /// Whether an operation was planned with a catalog that was stale. Its failure has undone the others too.
    pub(super) is_stale: bool,
    /// The cached catalog must not be older.
    pub(super) not_before: Option<Instant>,
}

/// Something that is planned and run with a catalog that may be stale.
pub(super) trait Attempt: Sync {
    /// The result of a successful attempt.
    type Outcome: Send;

    /// Plans and runs with this catalog.
    fn once(
        &self,
        execution: &mut Execution<'_>,
        planning: &Planning,
    ) -> impl Future<Output = Result<Self::Outcome, PlanError>> + Send;
}

/// Why an attempt failed.
pub(super) enum PlanError {
    /// It fails with any catalog.
    Final(Fault),
    /// It fails unless a fresh catalog allows it.
    PerhapsStale(Fault),
    /// The tables differ from the catalog.
    Stale,
}

/// The catalog with which an attempt is planned.
pub(super) struct Planning {
    pub(super) catalog: Arc<Catalog>,
    /// Whether the catalog was read for this call.
    pub(super) is_fresh: bool,
}

/// The run of an undo.
pub(super) struct UndoRun {
    /// `run_…`
    pub(super) id: String,
    /// What it undoes: a run, a request or an entry of the feed.
    pub(super) target: String,
}

/// The result of reserving an Idempotency-Key.
pub(super) enum Reserved<'a> {
    /// The key is new. The transaction that holds it is open.
    Fresh(Box<Execution<'a>>),
    /// The call was performed before. This was its reply.
    Stored(Reply),
}

impl<'a> Execution<'a> {
    /// Creates an execution in which each plan runs in its own transaction.
    pub(super) async fn per_plan(app: &'a App, caller: &'a Caller) -> Result<Execution<'a>, Fault> {
        let tenant = app.store.tenant(&caller.database, access(caller)).await?;
        let (effect, transaction) = (Effect::Commit, Transaction::PerPlan);
        let (max_affected, undo, reserved, together) = (None, None, None, None);
        let (outgoing, attempt, progress) = (Vec::new(), String::new(), None);
        Ok(Execution {
            app,
            caller,
            tenant,
            effect,
            max_affected,
            undo,
            transaction,
            tells: false,
            told: None,
            reserved,
            outgoing,
            attempt,
            together,
            progress,
        })
    }

    /// The same, which may change at most so many rows.
    pub(super) fn at_most(mut self, rows: Option<u32>) -> Execution<'a> {
        self.max_affected = rows;
        self
    }

    /// Creates an execution in which all plans run in one transaction.
    pub(super) async fn in_one(app: &'a App, caller: &'a Caller, most: Option<u32>) -> Result<Execution<'a>, Fault> {
        let mut execution = Execution::per_plan(app, caller).await?.at_most(most);
        execution.open().await?;
        Ok(execution)
    }

    /// Creates an execution in which all plans run in one transaction that is rolled back.
    pub(super) async fn dry(app: &'a App, caller: &'a Caller, most: Option<u32>) -> Result<Execution<'a>, Fault> {
        let mut execution = Execution::per_plan(app, caller).await?.at_most(most);
        execution.effect = Effect::DryRun;
        Ok(execution)
    }

    /// The same, whose reply takes the place of the one that is stored under a key.
    pub(super) fn keeping(mut self, idempotency: &'a Idempotency<'a>) -> Execution<'a> {
        self.reserved = Some(idempotency);
        self
    }

    /// Opens a transaction for all plans. If one is open, it gets the present actor and provenance.
    pub(super) async fn open(&mut self) -> Result<(), Fault> {
        match &self.transaction {
            Transaction::PerPlan => self.transaction = Transaction::Open(Box::new(self.begin().await?)),
            Transaction::Open(_) => {
                let named = self.named(&[]);
                self.read(&[named]).await.map_err(RunError::into_fault)?;
            }
        }
        Ok(())
    }

    /// Creates an execution in one transaction that holds an Idempotency-Key.
    pub(super) async fn reserve(
        app: &'a App,
        caller: &'a Caller,
        idempotency: &'a Idempotency<'a>,
        most: Option<u32>,
    ) -> Result<Reserved<'a>, Fault> {
        let mut execution = Execution::per_plan(app, caller).await?.at_most(most);
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

    /// The statements that set the actor and the limits of a transaction, of these statements if they are known.
    pub(super) fn context(&self, statements: &[Sql]) -> Vec<Sql> {
        let mut context = vec![self.named(statements)];
        let is_dry = self.effect == Effect::DryRun;
        if is_dry || self.max_affected.is_some() {
            let secret = self.app.store.secret_of(&self.caller.database);
            context.push(sql::log::limit_request(secret.expose(), self.max_affected, is_dry));
        }
        context
    }

    /// The statement that sets the actor for a transaction, of these statements if they are known.
    pub(super) fn named(&self, statements: &[Sql]) -> Sql {
        let secret = self.app.store.secret_of(&self.caller.database);
        let mut further = Vec::new();
        if self.max_affected.is_some() {
            further.push(("limited", true.into()));
        }
        if let Some(undo) = &self.undo {
            further.extend([("run_id", undo.id.as_str().into()), ("undo_of", undo.target.as_str().into())]);
        }
        let provenance = self.caller.provenance.to_json(&further);
        let entry = matches!(statements, [only] if only.inserts_one).then(|| self.app.clock.id("a"));
        sql::context::begin_request(secret.expose(), &self.caller.who, &provenance, entry)
    }

    /// Runs statements that only read.
    pub(super) async fn read(&mut self, statements: &[Sql]) -> Result<Vec<Rows>, RunError> {
        self.tenant.run(&mut self.transaction, &[], statements).await
    }

    /// Runs a quick read. Outside an open transaction it is batched with other reads.
    pub(super) async fn read_quickly(&mut self, statements: Vec<Sql>) -> Result<Vec<Rows>, RunError> {
        match self.transaction {
            Transaction::PerPlan => self.tenant.read(statements).await,
            Transaction::Open(_) => self.read(&statements).await,
        }
    }

    /// Runs statements that write, with the caller as the actor.
    pub(super) async fn write(&mut self, statements: &[Sql]) -> Result<Vec<Rows>, RunError> {
        if self.is_rehearsal() {
            // On the heap, like all that most calls do not need.
            return Box::pin(self.rehearse(statements)).await;
        }
        if self.tells && matches!(self.transaction, Transaction::PerPlan) {
            return Box::pin(self.write_and_tell(statements)).await;
        }
        // An open transaction has its context.
        let context = match self.transaction {
            Transaction::PerPlan => self.context(statements),
            Transaction::Open(_) => Vec::new(),
        };
        self.tenant.run(&mut self.transaction, &context, statements).await
    }

    /// Runs the caller's own SQL.
    pub(super) async fn run_raw(&mut self, raw: &plan::raw::Raw<'_>) -> Result<crm::model::answer::SqlResult, Fault> {
        let context = self.context(&[]);
        let (progress, of) = (self.progress, raw.statements.len());
        let done = move |statements| progress.into_iter().for_each(|it| it.done(statements, of));
        self.tenant.run_raw(&mut self.transaction, &context, raw, &done).await
    }

    /// Runs one read-only query that contains SQL from the workspace.
    pub(super) async fn run_query(
        &mut self,
        statement: &Sql,
        values: &[serde_json::Value],
    ) -> Result<(Rows, bool), Fault> {
        self.tenant.run_query(&mut self.transaction, statement, values).await
    }

    /// Runs such a query for its error only.
    pub(super) async fn check(&mut self, statement: &Sql, values: &[serde_json::Value]) -> Result<(), Fault> {
        self.run_query(statement, values).await.map(|_| ())
    }

    /// Restores the settings of the session, and names the actor again, before the next operation.
    pub(super) fn restore_session(&mut self) -> Result<(), Fault> {
        let context = (!plan::reads_only(&self.caller.who)).then(|| self.named(&[]));
        match &mut self.transaction {
            Transaction::PerPlan => Ok(()),
            Transaction::Open(open) => open.restore(context.as_ref()),
        }
    }

    /// Records that an operation has run. If it has changed tables, the next one needs a catalog that shows them.
    pub(super) fn operation_has_run(&mut self, changes_catalog: bool) {
        let together = self.together.get_or_insert_default();
        together.has_run = true;
        if changes_catalog {
            (together.has_changed_catalog, together.own_catalog) = (true, None);
        }
    }

    /// Rolls back the transaction of a batch that has failed, so that its connection serves others.
    pub(super) async fn end_aborted_batch(&mut self) {
        if self.together.is_some()
            && matches!(&self.transaction, Transaction::Open(open) if open.is_aborted())
            && let Transaction::Open(open) = std::mem::replace(&mut self.transaction, Transaction::PerPlan)
        {
            open.roll_back().await;
        }
    }

    /// Whether a failure has aborted the open transaction.
    pub(super) fn is_aborted(&self) -> bool {
        matches!(&self.transaction, Transaction::Open(open) if open.is_aborted())
    }

    /// Whether this is a batch whose transaction was rolled back.
    pub(super) fn is_ended_batch(&self) -> bool {
        self.together.is_some() && matches!(self.transaction, Transaction::PerPlan)
    }

    /// The catalog with which the next ask is planned.
    pub(super) async fn catalog(&mut self, not_before: Option<Instant>) -> Result<Arc<Catalog>, Fault> {
        let Some(together) = &mut self.together else { return self.tenant.catalog(not_before).await };
        if !together.has_changed_catalog {
            if let Some(catalog) = self.tenant.cached_catalog(not_before) {
                return Ok(catalog);
            }
            if !together.has_run || matches!(self.transaction, Transaction::PerPlan) {
                return self.tenant.catalog(not_before).await;
            }
        }
        if let Some(catalog) = together.own_catalog.as_ref().filter(|_| not_before.is_none()) {
            return Ok(catalog.clone());
        }
        let catalog = self.tenant.catalog_within(&mut self.transaction).await?;
        together.own_catalog = Some(catalog.clone());
        Ok(catalog)
    }

    /// Plans and runs with the cached catalog, and again with a fresh one if the cached one is stale. If a failure has aborted
    /// the open transaction, everything restarts in a new one.
    pub(super) async fn with_fresh_catalog<A: Attempt>(&mut self, attempt: &A) -> Result<A::Outcome, Fault> {
        // A batch that begins again has a fresh catalog from the start.
        let mut not_before = self.together.as_ref().and_then(|together| together.not_before);
        for _ in 0..PLANS {
            let asked_at = Instant::now();
            let catalog = self.catalog(not_before).await?;
            let planning = Planning { catalog, is_fresh: not_before.is_some() };
            let fault = match attempt.once(self, &planning).await {
                Ok(done) => return Ok(done),
                Err(PlanError::Final(fault)) => return Err(fault),
                // The catalog was read just now, so the failure is final.
                Err(PlanError::PerhapsStale(fault)) if planning.is_fresh => return Err(fault),
                Err(PlanError::PerhapsStale(fault)) => Some(fault),
                Err(PlanError::Stale) => None,
            };
            if self.is_aborted() {
                if self.together.is_some() {
                    return Err(Box::pin(self.undone(&planning.catalog, fault, asked_at)).await);
                }
                // On the heap, like all that most calls do not need.
                Box::pin(self.restart()).await?;
            }
            not_before = Some(asked_at);
        }
        Err(changing())
    }

    /// The fault of an operation that has undone those before it. All must run again if its catalog was stale.
    async fn undone(&mut self, catalog: &Catalog, fault: Option<Fault>, asked_at: Instant) -> Fault {
        self.end_aborted_batch().await;
        let Some(together) = &mut self.together else { return changing() };
        // A catalog with the batch's own tables can't be compared with one that is read now.
        if let (Some(fault), false) = (&fault, together.has_changed_catalog) {
            match self.tenant.catalog(Some(asked_at)).await {
                Ok(fresh) if !fresh.is_like(catalog) => {}
                Ok(_) => return fault.clone(),
                Err(fault) => return fault,
            }
        }
        (together.is_stale, together.not_before) = (true, Some(asked_at));
        fault.unwrap_or_else(changing)
    }

    /// Rolls the transaction back and opens another one, which holds the same Idempotency-Key.
    pub(super) async fn restart(&mut self) -> Result<(), Fault> {
        self.outgoing.clear();
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
        self.tenant.begin(&self.context(&[])).await
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

    /// Commits the ask's changes, together with the reply that is stored under its Idempotency-Key. This is the only place
    /// that commits an open transaction. It returns what changed.
    pub(super) async fn commit(self, ask: Option<&Ask>, reply: Option<&Reply>) -> Result<Committed, Fault> {
        let together = self.together.as_ref().is_some_and(|it| it.has_changed_catalog);
        let forgets_catalog = together || ask.is_some_and(Ask::changes_catalog);
        self.end(ask.map_or(Changed::Nothing, Changed::by), forgets_catalog, reply).await
    }

    /// The same, for changes that are no ask's.
    pub(super) async fn commit_changed(self, changed: Changed, reply: Option<&Reply>) -> Result<Committed, Fault> {
        self.end(changed, false, reply).await
    }

    async fn end(mut self, changed: Changed, forgets_catalog: bool, reply: Option<&Reply>) -> Result<Committed, Fault> {
        if matches!(self.transaction, Transaction::Open(_)) || !self.outgoing.is_empty() {
            // On the heap, like all that most calls do not need.
            Box::pin(self.end_open(reply)).await?;
        }
        if forgets_catalog {
            self.tenant.cache().forget();
        }
        if changed != Changed::Nothing {
            self.app.wakes.committed(&self.caller.who.workspace_id, self.caller.who.mode);
        }
        if !self.outgoing.is_empty() {
            let is_batch = self.together.is_some();
            Box::pin(outgoing::release(self.app, self.caller, &self.outgoing, is_batch)).await;
        }
        Ok(Committed { changed, effect: self.told.map(Box::new) })
    }

    /// Queues the e-mails that leave, and commits the open transaction.
    async fn end_open(&mut self, reply: Option<&Reply>) -> Result<(), Fault> {
        if !self.outgoing.is_empty()
            && let Err(fault) = outgoing::queue(self.app, self.caller, &self.outgoing, &self.attempt).await
        {
            self.roll_back().await;
            return Err(fault);
        }
        let Transaction::Open(mut open) = std::mem::replace(&mut self.transaction, Transaction::PerPlan) else {
            return Ok(());
        };
        if let (Some(idempotency), Some(reply)) = (self.reserved, reply) {
            let secret = self.app.store.secret_of(&self.caller.database);
            let body = String::from_utf8_lossy(&reply.body);
            open.keep(secret.expose(), idempotency.key, reply.status, &body).await?;
        }
        open.commit().await
    }

    /// Rolls back the open transaction.
    pub(super) async fn roll_back(&mut self) {
        if let Transaction::Open(open) = std::mem::replace(&mut self.transaction, Transaction::PerPlan) {
            // On the heap, like all that most calls do not need.
            Box::pin(open.roll_back()).await;
        }
    }
}

fn access(caller: &Caller) -> Access {
    if plan::reads_only(&caller.who) { Access::ReadOnly } else { Access::Full }
}

/// The fault of an ask whose tables change as often as it is planned.
fn changing() -> Fault {
    Fault::Unavailable { retry_after: 1, message: "The table is being changed; try again.".into() }
}

/// Converts an error of a plan's statements to an attempt's error.
pub(super) fn attempted(error: RunError) -> PlanError {
    match error {
        RunError::CatalogIsOld(fault) => PlanError::PerhapsStale(fault),
        other => PlanError::Final(other.into_fault()),
    }
}
