//! Workspaces' own sessions: running a plan's statements or a caller's SQL, the transactions in which they run, and the cached
//! catalogs of workspaces' tables. Every session here logged in as the workspace's own role.

pub mod catalogs;
mod params;
pub mod publish;
pub mod raw;
pub mod read_batch;
pub mod run;
pub mod transaction;

use std::sync::Arc;

use pg::Error;
use pg::pool::{Key, Lane, Lease};

use crm::model::fault::Fault;

use crate::store::cell::TenantDatabase;
use crate::store::tenant::catalogs::DatabaseCache;
use crate::store::{Store, WATCHDOG_LIMIT, fault};

/// The workspace's role with which a session logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The workspace's own role.
    Full,
    /// The viewer's role, in a read-only transaction.
    ReadOnly,
}

/// A workspace's database as one caller may use it. Only [`Store::tenant`] creates one, after bringing the database up to date.
pub struct Tenant<'a> {
    store: &'a Store,
    database: &'a TenantDatabase,
    access: Access,
    cache: Arc<DatabaseCache>,
}

impl Store {
    /// The database for a caller with this access. If an older Kith created it, it is brought up to date first. A workspace over
    /// its budget of transaction ids is refused.
    pub async fn tenant<'a>(&'a self, database: &'a TenantDatabase, access: Access) -> Result<Tenant<'a>, Fault> {
        self.excesses.allow(&database.database)?;
        self.ready(database).await?;
        Ok(Tenant { store: self, database, access, cache: self.catalogs.of(database) })
    }
}

impl Tenant<'_> {
    /// The cache of the database.
    pub fn cache(&self) -> &DatabaseCache {
        &self.cache
    }

    fn key(&self, lane: Lane) -> Key {
        self.database.key(lane, self.access == Access::ReadOnly)
    }

    async fn lease(&self, lane: Lane) -> Result<Lease, Error> {
        self.store.pool.lease_within(&self.key(lane), self.database.share).await
    }

    /// A session for the caller's own SQL, under the watchdog. It is reset before its next use (completely, unless the caller of
    /// this function says that less is enough), and REST never shares it.
    async fn lease_for_sql(&self) -> Result<Lease, Fault> {
        let mut lease = self.lease(Lane::Sql).await.map_err(fault::of_connection)?;
        lease.watch(WATCHDOG_LIMIT);
        Ok(lease)
    }
}
