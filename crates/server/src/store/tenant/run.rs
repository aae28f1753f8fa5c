//! Running a plan's statements in the workspace's own session: all of them in one transaction and one round trip.

use std::borrow::Cow;
use std::time::Duration;

use pg::Error;
use pg::conn::{Caps, Format, Frame, Outcome, Statement, Want};
use pg::pool::{Lane, Lease};
use tokio::time::timeout;

use crm::model::fault::Fault;
use crm::model::rows::{ResultColumn, Rows};
use crm::sql::Sql;

use crate::store::tenant::transaction::{Transaction, borrow};
use crate::store::tenant::{Access, Tenant};
use crate::store::{WATCHDOG_LIMIT, fault};

/// Rows of a result. Further rows are cut off, and the answer says `truncated`.
pub const MAX_RESULT_ROWS: usize = 10_000;
/// Bytes of a result, and of one value, at most.
pub const MAX_RESULT_BYTES: usize = 10 * 1024 * 1024;

/// Bytes of a record with what it refers to, or of what a write gives back, at most. It is more than a body may have, so that what
/// can be sent can be shown.
pub(super) const MAX_RECORD_BYTES: usize = 4 * MAX_RESULT_BYTES;

/// The caps of every result.
pub const CAPS: Caps =
    Caps { max_rows: MAX_RESULT_ROWS, max_bytes: MAX_RESULT_BYTES, max_value_bytes: MAX_RESULT_BYTES };

/// Takes back what code of a workspace's own (a trigger, a default, a view) may have done to the session. Settings return
/// to those of the startup packet. Prepared statements stay: their names can't be guessed.
const TIDY: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *";

/// How long that may take before the session is given up.
const TIDY_LIMIT: Duration = Duration::from_secs(3);

/// How often a statement is prepared anew because the table changes under it, before giving up.
const STALE_TRIES: usize = 4;

/// What can come instead of rows.
#[derive(Debug)]
pub enum RunError {
    /// A fault for the caller.
    Fault(Fault),
    /// A unique key is taken; who has it is yet to be found.
    Taken {
        /// PostgreSQL's words.
        message: String,
        /// The constraint.
        constraint: String,
    },
    /// The table is not what the catalog said; the fault holds if a fresh catalog says the same.
    CatalogIsOld(Fault),
}

impl RunError {
    /// The fault that the caller sees where nobody looks for who has the key, or reads the catalog again.
    pub fn into_fault(self) -> Fault {
        match self {
            RunError::Fault(fault) | RunError::CatalogIsOld(fault) => fault,
            RunError::Taken { message, constraint } => Fault::Conflict { message, constraint, existing_id: None },
        }
    }
}

impl Tenant<'_> {
    /// Runs the statements in one transaction: the open one, or one of their own. `context`, if given, goes before them
    /// and names the actor.
    pub async fn run(
        &self,
        transaction: &mut Transaction,
        context: Option<&Sql>,
        statements: &[Sql],
    ) -> Result<Vec<Rows>, RunError> {
        if let Transaction::Open(open) = transaction {
            return open.run(&self.cache.types, statements).await;
        }
        let params: Vec<Vec<Option<Cow<'_, str>>>> = context.into_iter().chain(statements).map(borrow).collect();
        let batch: Vec<Statement<'_>> = context
            .into_iter()
            .chain(statements)
            .zip(&params)
            .enumerate()
            .map(|(at, (sql, params))| Statement {
                sql: &sql.text,
                params,
                format: Format::Json,
                want: if at == 0 && context.is_some() { Want::Nothing } else { wanted(sql) },
            })
            .collect();
        // PostgreSQL does not say which statement failed; only the main one has parameters of the caller's.
        let outcomes = self.run_batch(&batch).await.map_err(|error| fault::of_statement(error, statements.first()))?;
        let own = usize::from(context.is_some());
        Ok(outcomes.into_iter().skip(own).map(rows_of).collect())
    }

    async fn run_batch(&self, batch: &[Statement<'_>]) -> Result<Vec<Outcome>, Error> {
        let frame = match self.access {
            Access::Full => Frame::Implicit,
            Access::ReadOnly => Frame::ReadOnly,
        };
        let types = &self.cache.types;
        let mut lease = self.lease(Lane::Rest).await?;
        lease.watch(WATCHDOG_LIMIT);
        let mut result = lease.run(frame, batch, types, CAPS).await;
        for _ in 1..STALE_TRIES {
            if !matches!(result, Err(Error::Stale)) {
                break;
            }
            result = lease.run(frame, batch, types, CAPS).await;
        }
        let ended = lease.unwatch();
        if self.cache.has_own_code() && !ended && lease.is_clean() {
            tokio::spawn(tidy(lease));
        }
        result
    }
}

/// Makes a session as it was at log-in, while its last answer is on its way to the caller.
async fn tidy(mut lease: Lease) {
    if !matches!(timeout(TIDY_LIMIT, lease.script(TIDY)).await, Ok(Ok(()))) {
        lease.discard();
    }
}

/// What is wanted of a statement's rows.
pub(super) fn wanted(sql: &Sql) -> Want {
    if sql.may_be_cut { Want::Rows } else { Want::Whole { max_bytes: MAX_RECORD_BYTES } }
}

/// The model's rows of an outcome.
pub(super) fn rows_of(outcome: Outcome) -> Rows {
    let is_cut = outcome.truncated.is_some();
    let mut rows = rows(outcome.rows);
    rows.is_cut = is_cut;
    rows
}

/// The driver's rows as the model's.
pub fn rows(rows: pg::rows::Rows) -> Rows {
    let len = rows.len();
    let (columns, data, ends) = rows.into_parts();
    let columns = columns
        .iter()
        .map(|column| ResultColumn { name: column.name.clone(), type_name: column.type_name.clone() })
        .collect();
    Rows::new(columns, data, ends, len)
}
