//! Publishing changes as events: reads the next changes of the log and numbers them, in the workspace's own session. The log is
//! reached through functions that require the server's secret.

use crm::model::fault::Fault;
use crm::model::rows::Rows;
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

/// Published changes, read again for one who has not got them. Until it is closed or dropped, nobody publishes changes of the
/// database.
pub struct Logged {
    open: OpenTransaction,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// The position of the last one that is published.
    pub position: i64,
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

    /// Published changes after a position, at most `most`, while nobody publishes more.
    pub async fn logged(&self, secret: &str, after: i64, most: usize) -> Result<Logged, Fault> {
        let mut open = self.begin(&[]).await?;
        let statements = [sql::events::hold_published(secret), sql::events::read(secret, 0, after, most)];
        match open.run(&self.cache.types, &statements).await {
            Ok(results) => {
                let position = position(&results[0])?;
                Ok(Logged { open, changes: changes(&results[1])?, position })
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
        changes(&results[0])
    }
}

fn changes(rows: &Rows) -> Result<Vec<Change>, Fault> {
    let read = |row| Change::read(rows, row).ok_or_else(|| Fault::internal("a change of the log can't be read"));
    (0..rows.len()).map(read).collect()
}

fn position(rows: &Rows) -> Result<i64, Fault> {
    let text = rows.string(0, "position").and_then(|text| text.parse().ok());
    text.ok_or_else(|| Fault::internal("no position of the log"))
}

impl Logged {
    /// Lets others publish again.
    pub async fn close(self) -> Result<(), Fault> {
        self.open.commit().await
    }
}

impl Unpublished {
    /// Keeps only the first changes. The others stay unpublished.
    pub fn keep(&mut self, most: usize) {
        self.more |= self.changes.len() > most;
        self.changes.truncate(most);
    }

    /// The position of the last change that is published.
    pub async fn position(&mut self, tenant: &Tenant<'_>, secret: &str) -> Result<i64, Fault> {
        let statement = sql::events::hold_published(secret);
        let results = self.open.run(&tenant.cache.types, &[statement]).await.map_err(RunError::into_fault)?;
        position(&results[0])
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
