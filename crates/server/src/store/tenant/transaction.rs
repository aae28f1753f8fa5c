//! The transactions in which an ask's statements run. With an open transaction, what belongs to the work (the reply to a request
//! with an Idempotency-Key) is committed together with it or not at all.

use std::borrow::Cow;

use pg::Error;
use pg::conn::{Begin, Caps, Format, Outcome, Statement, Tx, Want};
use pg::pool::Lease;
use pg::types::TypeCache;

use crm::model::fault::{Fault, SqlFault};
use crm::model::rows::Rows;
use crm::sql::{self, Sql};

use crate::store::fault;
use crate::store::fault::RunError;
use crate::store::results::{CAPS, MAX_RECORD_BYTES, rows, rows_of};
use crate::store::tenant::{Access, Tenant};

/// The transaction in which an ask's statements run.
pub enum Transaction {
    /// Each plan in its own transaction, which commits in the same round trip.
    PerPlan,
    /// All plans in one transaction that stays open.
    Open(Box<OpenTransaction>),
}

/// An open transaction in the workspace's own role. Dropping it closes its connection, which rolls it back.
pub struct OpenTransaction {
    pub(super) tx: Tx<Lease>,
    is_aborted: bool,
}

/// Restores the settings of the session within a transaction. Code of the workspace may have changed them.
const RESTORE: &[&str] = &["SET SESSION AUTHORIZATION DEFAULT", "RESET ALL"];

/// The result of reserving an Idempotency-Key.
#[derive(Debug, PartialEq)]
pub enum Reservation {
    /// The key is new. The work has to be done.
    Fresh,
    /// The work was done. This was the reply.
    Stored {
        /// Its status.
        status: u16,
        /// Its body.
        body: String,
    },
    /// The key was used for another request.
    Conflict,
    /// Another request with the key is still being served.
    InProgress,
}

impl Tenant<'_> {
    /// Opens a transaction. It is read-only for a caller who can only read. Its connection is reset afterwards. A request with an open transaction never waits for another
    /// request's, so that open transactions can't starve each other.
    pub async fn begin(&self, context: &[Sql]) -> Result<OpenTransaction, Fault> {
        let lease = self.lease_for_sql().await?;
        let params: Vec<_> = context.iter().map(borrow).collect();
        let preludes = preludes(context, &params);
        let begin = match self.access {
            Access::Full => Begin::ReadWrite(&preludes),
            Access::ReadOnly => Begin::ReadOnly(&[]),
        };
        let tx = Tx::begin(lease, begin).map_err(fault::of_connection)?;
        Ok(OpenTransaction { tx, is_aborted: false })
    }
}

impl OpenTransaction {
    /// Whether a statement failed. After a failure PostgreSQL runs no other statement in the transaction.
    pub fn is_aborted(&self) -> bool {
        self.is_aborted
    }

    /// Records that a statement failed.
    pub(super) fn aborted(&mut self) {
        self.is_aborted = true;
    }

    /// Runs statements one after the other.
    pub(super) async fn run(&mut self, types: &TypeCache, statements: &[Sql]) -> Result<Vec<Rows>, RunError> {
        let mut results = Vec::with_capacity(statements.len());
        for statement in statements {
            let outcome = self.step(statement, types).await;
            results.push(rows_of(outcome.map_err(|error| fault::of_statement(error, Some(statement)))?));
        }
        Ok(results)
    }

    async fn step(&mut self, statement: &Sql, types: &TypeCache) -> Result<Outcome, Error> {
        let outcome = self.execute(statement, types).await;
        self.is_aborted |= outcome.is_err();
        outcome
    }

    async fn execute(&mut self, statement: &Sql, types: &TypeCache) -> Result<Outcome, Error> {
        self.tx.prepare(&statement.text, types).await?;
        let max_bytes = if statement.may_be_cut { CAPS.max_bytes } else { MAX_RECORD_BYTES };
        let outcome = self.tx.execute(&borrow(statement), Format::Json, Caps { max_bytes, ..CAPS }, types).await?;
        match outcome.truncated {
            Some(_) if !statement.may_be_cut => Err(Error::ValueTooLarge { limit: max_bytes }),
            _ => Ok(outcome),
        }
    }

    /// Restores the settings of the session before the next statement. `context` names the actor again; a caller who can only
    /// read has none.
    pub fn restore(&mut self, context: Option<&Sql>) -> Result<(), Fault> {
        let params = context.map(borrow).unwrap_or_default();
        let prelude =
            context.map(|it| Statement { sql: &it.text, params: &params, format: Format::Text, want: Want::Nothing });
        self.tx.add(RESTORE, prelude.as_slice()).map_err(fault::of_connection)
    }

    /// Reserves an Idempotency-Key. `now` is a time in ISO 8601.
    pub async fn reserve(
        &mut self,
        secret: &str,
        key: &str,
        fingerprint: &str,
        now: &str,
    ) -> Result<Reservation, Fault> {
        let statement = sql::idempotency::claim(secret, key, fingerprint, now);
        let found = match self.step(&statement, &TypeCache::default()).await {
            // lock_not_available: the other request did not end within the short time that this one waited.
            Err(Error::Server(error)) if error.code == "55P03" => return Ok(Reservation::InProgress),
            other => rows(other.map_err(own_fault)?.rows),
        };
        read_reservation(&found).ok_or_else(|| Fault::internal("an Idempotency-Key was reserved without an outcome"))
    }

    /// Stores the reply with the work. If the work has changed the transaction so that this fails, it is the caller's fault.
    pub async fn keep(&mut self, secret: &str, key: &str, status: u16, body: &str) -> Result<(), Fault> {
        let statement = sql::idempotency::keep(secret, key, status, body);
        match self.step(&statement, &TypeCache::default()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(match fault::of_connection(error) {
                Fault::Sql(sql) => not_kept(*sql),
                fault => fault,
            }),
        }
    }

    /// Runs Kith's statements that end a dry run. A deferred constraint of the workspace's may fail.
    pub async fn conclude(&mut self, statements: &[Sql]) -> Result<Rows, Error> {
        let mut last = Rows::default();
        for statement in statements {
            last = rows_of(self.step(statement, &TypeCache::default()).await?);
        }
        Ok(last)
    }

    /// Does in a dry run what a commit does with deferred constraints and triggers, and runs its last statement. A trigger may defer
    /// what it causes, so the constraints are checked until nothing is written: what is deferred comes from a written row.
    pub async fn settle(&mut self, secret: &str, last: &Sql) -> Result<Rows, Error> {
        let (lift, check) = (sql::log::lift_seal(secret), sql::log::check_constraints());
        let command = |rows: Rows| -> Option<u64> { rows.string(0, "command")?.parse().ok() };
        let mut before = command(self.conclude(std::slice::from_ref(&lift)).await?);
        loop {
            let after = command(self.conclude(&[check.clone(), lift.clone()]).await?);
            if after == before.map(|before| before + 1) {
                return self.conclude(std::slice::from_ref(last)).await;
            }
            before = after;
        }
    }

    /// Closes the connection at the end of the transaction, instead of keeping it for others.
    pub(super) fn close_at_end(&mut self) {
        self.tx.holder().close_at_end();
    }

    /// Commits the transaction.
    pub async fn commit(self) -> Result<(), Fault> {
        self.tx.commit().await.map_err(fault::of_connection)
    }

    /// Rolls back. If the connection can't roll back, it is closed, which also rolls back.
    pub async fn roll_back(self) {
        if let Err(error) = self.tx.rollback().await {
            tracing::debug!(error = error.for_log(), "a rollback failed; the connection is closed");
        }
    }
}

fn not_kept(sql: SqlFault) -> Fault {
    let message = format!("the answer cannot be stored under the Idempotency-Key: {}", sql.message);
    let hint = "The statement changed its own transaction. Leave that out, or send it without a key.";
    Fault::Sql(Box::new(SqlFault { message, hint: Some(hint.into()), sqlstate: sql.sqlstate, ..SqlFault::default() }))
}

/// An error of Kith's own statement is not the caller's fault.
#[track_caller]
fn own_fault(error: Error) -> Fault {
    match fault::of_connection(error) {
        Fault::Sql(sql) => Fault::internal(format!("{} {}", sql.sqlstate, sql.message)),
        fault => fault,
    }
}

fn read_reservation(found: &Rows) -> Option<Reservation> {
    match found.string(0, "outcome")?.as_str() {
        "fresh" => Some(Reservation::Fresh),
        "conflict" => Some(Reservation::Conflict),
        "stored" => {
            let status = std::str::from_utf8(found.named(0, "status")?).ok()?.parse().ok()?;
            Some(Reservation::Stored { status, body: found.string(0, "body")? })
        }
        _ => None,
    }
}

/// Statements that run before the others.
pub(super) fn preludes<'a>(context: &'a [Sql], params: &'a [Vec<Option<Cow<'a, str>>>]) -> Vec<Statement<'a>> {
    let prelude = |(sql, params): (&'a Sql, &'a Vec<Option<Cow<'a, str>>>)| Statement {
        sql: &sql.text,
        params,
        format: Format::Text,
        want: Want::Nothing,
    };
    context.iter().zip(params).map(prelude).collect()
}

/// A statement's parameters in the driver's form.
pub(super) fn borrow(sql: &Sql) -> Vec<Option<Cow<'_, str>>> {
    sql.params.iter().map(|param| param.as_deref().map(Cow::Borrowed)).collect()
}
