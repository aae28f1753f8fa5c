//! The control database: workspaces and the locations of their data, people, keys, members, mail. Each noun has a file with its
//! statements.
//!
//! Changes that belong together are one statement, so that they happen as a whole or not at all, even with concurrent
//! requests. Every method returns a [`Fault`], created in `store::fault`.

pub mod accounts;
pub mod apps;
pub mod audit;
pub mod automations;
pub mod billing;
pub mod connections;
pub mod deliveries;
pub mod grants;
pub mod idempotency;
pub mod identities;
pub mod integrations;
pub mod invitations;
pub mod keys;
pub mod listeners;
pub mod lists;
pub mod login_failures;
pub mod mail;
pub mod mailboxes;
pub mod members;
pub mod outgoing;
pub mod person;
pub mod request_log;
pub mod rows;
pub mod seals;
pub mod sessions;
pub mod sign_ins;
pub mod sweeps;
pub mod switch;
pub mod transaction;
pub mod webhooks;
pub mod workspaces;

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use pg::Error;
use pg::pool::{Key, Lane, Limits, Pool};
use pg::rows::Rows;
use pg::types::TypeCache;
use pg::watchdog::Watchdog;

use crm::model::fault::Fault;

use crate::store::cell::{CONTROL_DATABASE, CONTROL_ROLE, Cells};
use crate::store::control::rows::ControlRows;
use crate::store::fault;

/// The connections to the control database.
#[derive(Clone)]
pub struct Control {
    pool: Pool,
    key: Key,
    types: Arc<TypeCache>,
}

impl Control {
    /// Creates a separate pool of connections, so that load from tenants never blocks the look-up of keys.
    pub fn new(cells: Arc<Cells>, watchdog: Watchdog) -> Control {
        let limits = Limits {
            max_total: 6,
            max_per_role: 6,
            max_queue_per_role: 1000,
            wait: Duration::from_secs(10),
            max_age: Duration::from_secs(1800),
            max_idle: Duration::from_secs(300),
        };
        let key = Key { cell: 0, database: CONTROL_DATABASE.into(), role: CONTROL_ROLE.into(), lane: Lane::Rest };
        Control { pool: Pool::new(limits, cells, watchdog), key, types: Arc::default() }
    }

    /// Runs one statement with text parameters and commits it. A fault names the place of the call.
    #[track_caller]
    pub fn query<'a>(
        &'a self,
        sql: &'a str,
        params: &'a [Option<&'a str>],
    ) -> impl Future<Output = Result<ControlRows, Fault>> + Send + 'a {
        let place = Location::caller();
        async move {
            let rows = self.try_query(sql, params).await;
            rows.map(ControlRows).map_err(|error| fault::of_own_statement_at(error, place))
        }
    }

    /// The same with the driver's error, for callers that check its SQLSTATE.
    pub(in crate::store) async fn try_query(&self, sql: &str, params: &[Option<&str>]) -> Result<Rows, Error> {
        self.pool.lease(&self.key).await?.query(sql, params).await
    }

    /// Whether the control database answers.
    pub async fn ping(&self) -> Result<(), Fault> {
        self.query("SELECT 1", &[]).await.map(drop)
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Whether PostgreSQL refused a statement because a unique key is taken.
fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Server(error) if error.code == "23505")
}

/// Bytes in the text form that PostgreSQL reads as `bytea`.
fn bytea(bytes: &[u8]) -> String {
    format!("\\x{}", hex::encode(bytes))
}
