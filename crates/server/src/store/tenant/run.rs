//! Runs a plan's statements in the workspace's own session, all in one transaction and one round trip.

use std::borrow::Cow;

use pg::Error;
use pg::conn::{Format, Frame, Outcome, Reset, Statement, Want};
use pg::pool::Lane;

use crm::model::rows::Rows;
use crm::sql::Sql;

use crate::store::fault::RunError;
use crate::store::results::{CAPS, rows_of, wanted};
use crate::store::tenant::transaction::{Transaction, borrow};
use crate::store::tenant::{Access, Tenant};
use crate::store::{WATCHDOG_LIMIT, fault};

/// How often a statement is prepared again because its table changes, before it fails.
const STALE_TRIES: usize = 4;

impl Tenant<'_> {
    /// Runs the statements in one transaction: the open one, or a new one. Before them it runs `context`, which names the actor and
    /// limits the transaction; an open one has done so.
    pub async fn run(
        &self,
        transaction: &mut Transaction,
        context: &[Sql],
        statements: &[Sql],
    ) -> Result<Vec<Rows>, RunError> {
        if let Transaction::Open(open) = transaction {
            return open.run(&self.cache.types, statements).await;
        }
        let frame = match self.access {
            Access::Full => Frame::Implicit,
            Access::ReadOnly => Frame::ReadOnly,
        };
        self.run_in(frame, context, statements).await
    }

    /// Runs the statements after `context`, and rolls them back.
    pub async fn run_and_roll_back(&self, context: &[Sql], statements: &[Sql]) -> Result<Vec<Rows>, RunError> {
        self.run_in(Frame::RolledBack, context, statements).await
    }

    async fn run_in(&self, frame: Frame, context: &[Sql], statements: &[Sql]) -> Result<Vec<Rows>, RunError> {
        let params: Vec<Vec<Option<Cow<'_, str>>>> = context.iter().chain(statements).map(borrow).collect();
        let batch: Vec<Statement<'_>> = context
            .iter()
            .chain(statements)
            .zip(&params)
            .enumerate()
            .map(|(at, (sql, params))| Statement {
                sql: &sql.text,
                params,
                format: Format::Json,
                want: if at < context.len() { Want::Nothing } else { wanted(sql) },
            })
            .collect();
        // PostgreSQL does not report which statement failed. Only the main one has the caller's parameters.
        let outcomes =
            self.run_batch(frame, &batch).await.map_err(|error| fault::of_statement(error, statements.first()))?;
        Ok(outcomes.into_iter().skip(context.len()).map(rows_of).collect())
    }

    async fn run_batch(&self, frame: Frame, batch: &[Statement<'_>]) -> Result<Vec<Outcome>, Error> {
        let types = &self.cache.types;
        let mut lease = self.lease(Lane::Rest).await?;
        lease.watch(WATCHDOG_LIMIT);
        let mut result = Err(Error::Stale);
        for _ in 0..STALE_TRIES {
            if self.cache.has_own_code() {
                // The workspace's own code (a trigger, a default, a view) may change the session's state. Prepared
                // statements stay, because their names can't be guessed.
                lease.reset_at_end(Reset::Light(None));
            }
            result = lease.run(frame, batch, types, CAPS).await;
            if !matches!(result, Err(Error::Stale)) {
                break;
            }
        }
        lease.unwatch();
        result
    }
}
