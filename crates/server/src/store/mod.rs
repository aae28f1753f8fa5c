//! The only room that knows `pg`: cells and their connections, the control plane, catalogs, and running a plan's
//! statements in a workspace's own sessions.
//!
//! The rule that everything rests on: a tenant's table is touched only in a session that logged in as that
//! tenant's own role (ARCHITECTURE.md, "The one security rule").

pub mod cell;
pub mod control;
pub mod fault;
pub mod results;
pub mod room;
pub mod tenant;

use std::sync::Arc;
use std::time::Duration;

use pg::pool::{Limits, Pool};
use pg::watchdog::Watchdog;

use crate::store::cell::excess::Excesses;
use crate::store::cell::maintain::Visits;
use crate::store::cell::secrets::SecretKey;
use crate::store::cell::{Cells, TenantDatabase};
use crate::store::control::Control;
use crate::store::tenant::catalogs::Catalogs;

/// How long a statement may run, in seconds.
pub const STATEMENT_LIMIT_SECONDS: u64 = 30;
/// Connections to a cell that the pool has at most.
pub const POOL_CONNECTIONS: usize = 120;
/// Past this, the backend is ended from outside; the seconds beyond the statement's limit are for a
/// statement that stopped by itself to say so.
const WATCHDOG_LIMIT: Duration = Duration::from_secs(STATEMENT_LIMIT_SECONDS + 2);

/// Everything that is stored.
#[derive(Clone)]
pub struct Store {
    /// Connections to tenants' databases.
    pub pool: Pool,
    /// The control plane.
    pub control: Control,
    /// Where cells are and how to log in there.
    pub cells: Arc<Cells>,
    watchdog: Watchdog,
    catalogs: Catalogs,
    visits: Visits,
    /// Workspaces that took too much of what all share.
    pub excesses: Arc<Excesses>,
    secret: SecretKey,
    /// What makes a workspace's database.
    migrations: &'static [&'static str],
    /// Held while a sign-up makes a database for itself.
    making: Arc<tokio::sync::Mutex<()>>,
}

impl Store {
    /// The store over these cells, whose workspaces' databases these migrations make.
    pub fn new(cells: Arc<Cells>, secret: SecretKey, migrations: &'static [&'static str]) -> Store {
        let watchdog = Watchdog::new(cells.clone());
        let limits = Limits {
            max_total: POOL_CONNECTIONS,
            max_per_role: 8,
            max_queue_per_role: 400,
            wait: Duration::from_secs(10),
            max_age: Duration::from_secs(300),
            max_idle: Duration::from_secs(60),
        };
        let pool = Pool::new(limits, cells.clone(), watchdog.clone());
        let control = Control::new(cells.clone(), watchdog.clone());
        let (catalogs, visits, excesses, making) =
            (Catalogs::default(), Visits::default(), Arc::default(), Arc::default());
        Store { pool, control, cells, catalogs, watchdog, visits, excesses, secret, migrations, making }
    }

    /// The version that workspaces' databases should have.
    pub fn workspace_version(&self) -> i32 {
        self.migrations.len() as i32
    }

    /// The secret with which this server names actors in a workspace's database.
    pub fn secret_of(&self, place: &TenantDatabase) -> pg::Secret {
        self.secret.derive("begin request", &place.database)
    }

    /// Puts the pool's numbers where `/metrics` reads them.
    pub fn record_pool_metrics(&self) {
        let stats = self.pool.stats();
        metrics::gauge!("kith_pool_connections", "state" => "idle").set(stats.idle as f64);
        metrics::gauge!("kith_pool_connections", "state" => "in_use").set(stats.in_use as f64);
        metrics::gauge!("kith_pool_waiting").set(stats.waiting as f64);
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.pool.close().await;
        self.control.close().await;
    }
}
