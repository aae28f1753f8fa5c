//! Transactions of several statements in the control database.

use std::panic::Location;

use pg::conn::{Begin, Caps, Format, Tx};
use pg::pool::Lease;
use pg::types::TypeCache;

use crm::model::fault::Fault;

use crate::store::control::Control;
use crate::store::control::rows::ControlRows;
use crate::store::fault;

/// The limits of a result. Kith's own statements return what they ask for.
const CAPS: Caps = Caps { max_rows: 10_000, max_bytes: 64 * 1024 * 1024, max_value_bytes: 64 * 1024 * 1024 };

/// An open transaction in the control database. Dropping it rolls it back.
pub struct ControlTransaction<'a> {
    tx: Tx<Lease>,
    types: &'a TypeCache,
}

impl Control {
    /// Opens a transaction.
    pub async fn begin(&self) -> Result<ControlTransaction<'_>, Fault> {
        let lease = self.pool.lease(&self.key).await.map_err(fault::of_own_statement)?;
        let tx = Tx::begin(lease, Begin::ReadWrite(&[])).map_err(fault::of_own_statement)?;
        Ok(ControlTransaction { tx, types: &self.types })
    }
}

impl ControlTransaction<'_> {
    /// Runs one statement with text parameters. A fault names the place of the call.
    #[track_caller]
    pub fn query<'a>(
        &'a mut self,
        sql: &'a str,
        params: &'a [Option<&'a str>],
    ) -> impl Future<Output = Result<ControlRows, Fault>> + Send + 'a {
        let place = Location::caller();
        async move {
            let params: Vec<_> = params.iter().map(|param| param.map(Into::into)).collect();
            let done = async {
                self.tx.prepare(sql, self.types).await?;
                self.tx.execute(&params, Format::Text, CAPS, self.types).await
            };
            let outcome = done.await.map_err(|error| fault::of_own_statement_at(error, place))?;
            if outcome.truncated.is_some() {
                return Err(Fault::internal("a result of the control database was cut"));
            }
            Ok(ControlRows(outcome.rows))
        }
    }

    /// Commits.
    pub async fn commit(self) -> Result<(), Fault> {
        self.tx.commit().await.map_err(fault::of_own_statement)
    }

    /// Rolls back. If the connection can't roll back, it is closed, which also rolls back.
    pub async fn roll_back(self) {
        if let Err(error) = self.tx.rollback().await {
            tracing::debug!(error = error.for_log(), "a rollback in the control database failed");
        }
    }
}
