//! Publishing changes as events: reads the next changes of the log and numbers them, in the workspace's own session. The log is
//! reached through functions that require the server's secret.

use crm::model::fault::Fault;
use crm::plan::events::{Change, Snapshot};
use crm::sql;

use crate::store::fault::RunError;
use crate::store::tenant::Tenant;
use crate::store::tenant::transaction::{OpenTransaction, Transaction};

/// Changes that are about to be published. Until it is committed or dropped, nobody else publishes changes of the database.
pub struct Unpublished {
    open: OpenTransaction,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// Whether there may be more.
    pub more: bool,
}

impl Tenant<'_> {
    /// The snapshot of this moment, as PostgreSQL writes it.
    pub async fn snapshot(&self) -> Result<String, Fault> {
        let rows = self.read(vec![sql::events::snapshot()]).await.map_err(RunError::into_fault)?;
        let text = rows.first().and_then(|rows| rows.string(0, "snapshot"));
        text.filter(|text| Snapshot::parse(text).is_some()).ok_or_else(|| Fault::internal("no snapshot"))
    }

    /// The next changes to publish, at most `most`, and fewer if they are large. Changes that the snapshot `since` sees are published at once, for nobody.
    pub async fn unpublished(&self, secret: &str, since: &str, most: usize) -> Result<Unpublished, Fault> {
        let mut open = self.begin(&[]).await?;
        let statement = sql::events::unpublished(secret, Some(since), most).cuttable();
        match open.run(&self.cache.types, &[statement]).await {
            Ok(results) => {
                let rows = &results[0];
                let changes: Vec<Change> = (0..rows.len()).filter_map(|row| Change::read(rows, row)).collect();
                // A row without a change says that there may be more to number.
                let has_numbered = changes.is_empty() && !rows.is_empty();
                if !has_numbered && (changes.len() < rows.len() || (rows.is_empty() && rows.is_cut)) {
                    return Err(Fault::internal("a change of the log can't be read"));
                }
                let more = has_numbered || rows.is_cut || changes.len() == most;
                Ok(Unpublished { open, changes, more })
            }
            Err(error) => {
                open.roll_back().await;
                Err(error.into_fault())
            }
        }
    }

    /// Published changes after a position, in order. `reached` is the position in the reader's cursor.
    pub async fn published(
        &self,
        secret: &str,
        (reached, after): (i64, i64),
        most: usize,
    ) -> Result<Vec<Change>, Fault> {
        let statement = sql::events::read(secret, reached, after, most);
        let results = self.run(&mut Transaction::PerPlan, &[], &[statement]).await.map_err(RunError::into_fault)?;
        let rows = &results[0];
        let read = |row| Change::read(rows, row).ok_or_else(|| Fault::internal("a change of the log can't be read"));
        (0..rows.len()).map(read).collect()
    }
}

impl Unpublished {
    /// Keeps only the first changes. The others stay unpublished.
    pub fn keep(&mut self, most: usize) {
        self.more |= self.changes.len() > most;
        self.changes.truncate(most);
    }

    /// Closes the connection at the end, instead of keeping it for others.
    pub fn close_at_end(&mut self) {
        self.open.close_at_end();
    }

    /// Numbers the changes and commits.
    pub async fn publish(mut self, tenant: &Tenant<'_>, secret: &str) -> Result<(), Fault> {
        if !self.changes.is_empty() {
            let seqs: Vec<i64> = self.changes.iter().map(|change| change.seq).collect();
            let statement = sql::events::publish(secret, &seqs);
            self.open.run(&tenant.cache.types, &[statement]).await.map_err(RunError::into_fault)?;
        }
        self.open.commit().await
    }
}
