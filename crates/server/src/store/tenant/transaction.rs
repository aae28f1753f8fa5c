//! A transaction that stays open while an ask is answered, so that what must go with the work (the answer to a request
//! with an Idempotency-Key) is committed with it or not at all.

use std::borrow::Cow;

use pg::Error;
use pg::conn::{Begin, Caps, Format, Outcome, Statement, Tx, Want};
use pg::pool::{Lane, Lease};
use pg::types::TypeCache;

use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::sql::{self, Sql};

use crate::store::cell::TenantDatabase;
use crate::store::fault;
use crate::store::tenant::run::{CAPS, MAX_RECORD_BYTES, rows};
use crate::store::{Store, WATCHDOG_LIMIT};

/// Where an ask's statements run.
pub enum Transaction {
    /// Each plan in a transaction of its own.
    PerPlan,
    /// All in one that is kept open.
    Open(Box<OpenTransaction>),
}

/// An open transaction in the workspace's own role.
pub struct OpenTransaction {
    pub(super) tx: Tx<Lease>,
    /// A statement failed because the catalog was old: the work is to be begun anew.
    pub catalog_was_old: bool,
}

/// What became of an Idempotency-Key.
#[derive(Debug, PartialEq)]
pub enum Reservation {
    /// It is new: the work is to be done.
    Fresh,
    /// The work was done; this was the answer.
    Stored {
        /// Its status.
        status: u16,
        /// Its body.
        body: String,
    },
    /// It was used for another request.
    Conflict,
    /// Another request with it is still being served.
    InProgress,
}

impl Store {
    /// Opens a transaction. Its connection is one that is reset afterwards, and never waits for one of its own kind
    /// while it is held, so that open transactions can't starve each other.
    pub async fn begin_work(&self, place: &TenantDatabase, context: &Sql) -> Result<OpenTransaction, Fault> {
        let key = place.key(Lane::Sql, false);
        let mut lease = self.pool.lease(&key).await.map_err(fault::of_connection)?;
        lease.watch(WATCHDOG_LIMIT);
        let params = borrow(context);
        let prelude = [Statement { sql: &context.text, params: &params, format: Format::Text, want: Want::Nothing }];
        let tx = Tx::begin(lease, Begin::ReadWrite(&prelude)).map_err(fault::of_connection)?;
        Ok(OpenTransaction { tx, catalog_was_old: false })
    }
}

impl OpenTransaction {
    /// Runs one statement in the transaction.
    pub(super) async fn step(&mut self, statement: &Sql, types: &TypeCache) -> Result<Outcome, Error> {
        self.tx.prepare(&statement.text, types).await?;
        let max_bytes = if statement.may_be_cut { CAPS.max_bytes } else { MAX_RECORD_BYTES };
        let outcome = self.tx.execute(&borrow(statement), Format::Json, Caps { max_bytes, ..CAPS }, types).await?;
        match outcome.truncated {
            Some(_) if !statement.may_be_cut => Err(Error::ValueTooLarge { limit: max_bytes }),
            _ => Ok(outcome),
        }
    }

    /// Takes an Idempotency-Key. `now` is a moment in ISO 8601.
    pub async fn claim(&mut self, secret: &str, key: &str, fingerprint: &str, now: &str) -> Result<Reservation, Fault> {
        let statement = sql::idempotency::claim(secret, key, fingerprint, now);
        let found = match self.step(&statement, &TypeCache::default()).await {
            // lock_not_available: the other request did not end within the moment that we waited.
            Err(Error::Server(error)) if error.code == "55P03" => return Ok(Reservation::InProgress),
            other => rows(other.map_err(own_fault)?.rows),
        };
        read_claim(&found).ok_or_else(|| Fault::internal("an Idempotency-Key was claimed without an outcome"))
    }

    /// Keeps the answer with the work.
    pub async fn keep(&mut self, secret: &str, key: &str, status: u16, body: &str) -> Result<(), Fault> {
        let statement = sql::idempotency::keep(secret, key, status, body);
        self.step(&statement, &TypeCache::default()).await.map(|_| ()).map_err(own_fault)
    }

    /// Makes the work last.
    pub async fn commit(self) -> Result<(), Fault> {
        self.tx.commit().await.map_err(fault::of_connection)
    }

    /// Takes everything back. A connection that can't do that is closed, which does it too.
    pub async fn roll_back(self) {
        if let Err(error) = self.tx.rollback().await {
            tracing::debug!(%error, "a rollback failed; the connection is closed");
        }
    }
}

/// An error of Kith's own statement is no fault of the caller's.
#[track_caller]
fn own_fault(error: Error) -> Fault {
    match fault::of_connection(error) {
        Fault::Sql(sql) => Fault::internal(format!("{} {}", sql.sqlstate, sql.message)),
        fault => fault,
    }
}

fn read_claim(found: &Rows) -> Option<Reservation> {
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

/// A statement's parameters as the driver takes them.
pub(super) fn borrow(sql: &Sql) -> Vec<Option<Cow<'_, str>>> {
    sql.params.iter().map(|param| param.as_deref().map(Cow::Borrowed)).collect()
}
