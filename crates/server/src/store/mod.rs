//! The only module that uses `pg`: cells and their connections, the control database, catalogs, and running a plan's
//! statements in a workspace's own sessions.
//!
//! The basic rule: a tenant's table is accessed only in a session that logged in as that tenant's own role (ARCHITECTURE.md,
//! "The one security rule").

pub mod cell;
pub mod control;
pub mod fault;
pub mod results;
pub mod room;
pub mod seal;
pub mod secrets;
pub mod tenant;

use std::sync::Arc;
use std::time::Duration;

use pg::pool::{Limits, Pool};
use pg::watchdog::Watchdog;

use crate::store::cell::change_log::Sweeps;
use crate::store::cell::excess::Excesses;
use crate::store::cell::maintain::Visits;
use crate::store::cell::{Cells, TenantDatabase};
use crate::store::control::Control;
use crate::store::seal::Sealer;
use crate::store::secrets::{SecretKey, SecretKeys};
use crate::store::tenant::catalogs::Catalogs;

/// How long a statement may run, in seconds.
pub const STATEMENT_LIMIT_SECONDS: u64 = 30;
/// The most connections to a cell in the pool.
pub const POOL_CONNECTIONS: usize = 120;
/// After this time the backend is ended from outside. The seconds beyond the statement's limit let PostgreSQL stop the
/// statement itself and report it.
const WATCHDOG_LIMIT: Duration = Duration::from_secs(STATEMENT_LIMIT_SECONDS + 2);

/// The store: the databases of workspaces and the control database.
#[derive(Clone)]
pub struct Store {
    /// Connections to tenants' databases.
    pub pool: Pool,
    /// The control database.
    pub control: Control,
    /// The cells and the log-ins to them.
    pub cells: Arc<Cells>,
    watchdog: Watchdog,
    catalogs: Catalogs,
    visits: Visits,
    sweeps: Sweeps,
    /// Workspaces that took too many of the shared resources.
    pub excesses: Arc<Excesses>,
    secret: SecretKey,
    /// Seals the secrets that the control database holds.
    pub sealer: Arc<Sealer>,
    /// The migrations that create a workspace's database.
    migrations: &'static [&'static str],
    /// Held while a sign-up creates a database for itself.
    making: Arc<tokio::sync::Mutex<()>>,
}

impl Store {
    /// Creates the store on these cells. It creates workspaces' databases with these migrations.
    pub fn new(cells: Arc<Cells>, keys: &SecretKeys, migrations: &'static [&'static str]) -> Store {
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
        let (catalogs, visits, sweeps) = (Catalogs::default(), Visits::default(), Sweeps::default());
        let (excesses, making) = (Arc::default(), Arc::default());
        let (secret, sealer) = (keys.current.clone(), Arc::new(Sealer::new(&keys.current, keys.old.as_ref())));
        Store { pool, control, cells, catalogs, watchdog, visits, sweeps, excesses, secret, sealer, migrations, making }
    }

    /// The version that workspaces' databases should have.
    pub fn workspace_version(&self) -> i32 {
        self.migrations.len() as i32
    }

    /// The secret with which this server signs actors in a workspace's database.
    pub fn secret_of(&self, place: &TenantDatabase) -> pg::Secret {
        self.secret.derive("begin request", &place.database)
    }

    /// Records the pool's numbers for `/metrics`.
    pub fn record_pool_metrics(&self) {
        let stats = self.pool.stats();
        metrics::gauge!("kith_pool_connections", "state" => "idle").set(stats.idle as f64);
        metrics::gauge!("kith_pool_connections", "state" => "in_use").set(stats.in_use as f64);
        metrics::gauge!("kith_pool_waiting").set(stats.waiting as f64);
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
        self.control.close().await;
    }
}
