//! Dry runs: everything is done, and nothing is kept.
//!
//! What runs SQL of the workspace's runs in a sealed transaction, which cannot be committed. An ask that needs one plan runs in one round trip, in
//! a transaction that is rolled back at its end, if the workspace has no code of its own.

use crm::model::ask::Ask;
use crm::model::change::ChangeSet;
use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::sql::{self, Sql};

use crate::hall::Effect;
use crate::hall::execution::Execution;
use crate::store::fault::{self, RunError};
use crate::store::tenant::transaction::Transaction;

impl Execution<'_> {
    /// Prepares the dry run of an ask.
    pub(super) async fn begin_dry(&mut self, ask: &Ask) -> Result<(), Fault> {
        if matches!(ask, Ask::Single(_)) && self.max_affected.is_none() {
            // It says whether there is such code.
            self.tenant.catalog(None).await?;
            if !self.tenant.cache().has_own_code() {
                return Ok(());
            }
        }
        self.open().await
    }

    /// Whether each plan is rolled back at its end.
    pub(super) fn is_rehearsal(&self) -> bool {
        self.effect == Effect::DryRun && matches!(self.transaction, Transaction::PerPlan)
    }

    /// Runs statements that write, and rolls them back. Records what they have changed.
    pub(super) async fn rehearse(&mut self, statements: &[Sql]) -> Result<Vec<Rows>, RunError> {
        let secret = self.app.store.secret_of(&self.caller.database);
        let last = [sql::log::check_constraints(), sql::log::outcome(secret.expose())];
        let all: Vec<Sql> = statements.iter().chain(&last).cloned().collect();
        let mut results = self.tenant.run_and_roll_back(&[self.named(statements)], &all).await?;
        let outcome =
            results.pop().as_ref().and_then(ChangeSet::read).ok_or_else(no_outcome).map_err(RunError::Fault)?;
        self.told = Some(outcome);
        results.truncate(statements.len());
        Ok(results)
    }

    /// Runs statements that write, and records what they have changed, in one round trip.
    pub(super) async fn write_and_tell(&mut self, statements: &[Sql]) -> Result<Vec<Rows>, RunError> {
        let last = sql::log::outcome(self.app.store.secret_of(&self.caller.database).expose());
        let all: Vec<Sql> = statements.iter().cloned().chain([last]).collect();
        let context = self.context(statements);
        let mut results = self.tenant.run(&mut self.transaction, &context, &all).await?;
        self.told = results.pop().as_ref().and_then(ChangeSet::read);
        Ok(results)
    }

    /// Records what the open transaction has changed so far.
    pub(super) async fn tell(&mut self) -> Result<(), Fault> {
        let outcome = sql::log::outcome(self.app.store.secret_of(&self.caller.database).expose());
        // The caller's SQL may have changed the settings.
        self.restore_session()?;
        if let Transaction::Open(open) = &mut self.transaction {
            let rows = open.conclude(&[outcome]).await.map_err(fault::of_connection)?;
            self.told = ChangeSet::read(&rows);
        }
        Ok(())
    }

    /// Checks the deferred constraints of a dry run's transaction, and returns what it has changed.
    pub(super) async fn outcome(&mut self, is_sql: bool) -> Result<ChangeSet, Fault> {
        let secret = self.app.store.secret_of(&self.caller.database);
        let Transaction::Open(open) = &mut self.transaction else {
            return Ok(self.told.take().unwrap_or_else(ChangeSet::empty));
        };
        match open.settle(secret.expose(), &sql::log::outcome(secret.expose())).await {
            Ok(rows) => ChangeSet::read(&rows).ok_or_else(no_outcome),
            Err(error) if is_sql => Err(fault::of_connection(error)),
            Err(error) => Err(fault::of_statement(error, None).into_fault()),
        }
    }
}

fn no_outcome() -> Fault {
    Fault::internal("the change log gave no outcome")
}
