//! What is known of each workspace's tables, read once and kept until something shows that it is old.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pg::types::TypeCache;

use crm::model::catalog::Catalog;
use crm::model::fault::Fault;
use crm::sql::Sql;
use crm::sql::catalog::CATALOG;

use crate::store::cell::TenantDatabase;
use crate::store::fault::RunError;
use crate::store::tenant::Tenant;
use crate::store::tenant::read_batch::ReadBatcher;
use crate::store::tenant::transaction::Transaction;

/// Workspaces whose catalog is kept; the one that was used longest ago goes first.
const KEPT: usize = 400;
/// A catalog older than this is read anew before it is used. Statements show by themselves, or by one that goes with them
/// (`crm::sql::unchanged`), that a table is another; what shows itself in none (code of the workspace's own that came by another
/// process) is seen after this at the latest.
const TRUSTED_FOR: Duration = Duration::from_secs(20);

/// The catalogs of the workspaces in use.
#[derive(Clone, Default)]
pub struct Catalogs {
    known: Arc<Mutex<HashMap<i64, Arc<DatabaseCache>>>>,
}

/// What is known of one database.
#[derive(Default)]
pub struct DatabaseCache {
    /// Its types, shared by all its connections.
    pub types: TypeCache,
    /// The reads of its records that run at the moment.
    pub reads: ReadBatcher,
    /// Set once the database is known to be up to date.
    pub up_to_date: tokio::sync::OnceCell<()>,
    loaded: tokio::sync::Mutex<()>,
    current: Mutex<Option<Loaded>>,
    own_code: AtomicBool,
}

/// A catalog and when it was read.
#[derive(Clone)]
pub struct Loaded {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    at: Instant,
    used: Instant,
}

impl Catalogs {
    /// What is known of a database; nothing at first.
    pub fn of(&self, place: &TenantDatabase) -> Arc<DatabaseCache> {
        let mut known = self.known.lock().expect("no panic while the catalogs are locked");
        if let Some(found) = known.get(&place.database_id) {
            return found.clone();
        }
        if known.len() >= KEPT {
            let oldest = known.iter().min_by_key(|(_, known)| known.used()).map(|(id, _)| *id);
            oldest.map(|id| known.remove(&id));
        }
        known.entry(place.database_id).or_default().clone()
    }
}

impl DatabaseCache {
    fn used(&self) -> Option<Instant> {
        self.current().map(|loaded| loaded.used)
    }

    fn current(&self) -> Option<Loaded> {
        self.current.lock().expect("no panic while a catalog is locked").clone()
    }

    /// Whether a plain statement can run code of the workspace's own, which may leave something behind in the session.
    pub fn has_own_code(&self) -> bool {
        self.own_code.load(Ordering::Relaxed)
    }

    /// Forgets the catalog and the types, as after DDL.
    pub fn forget(&self) {
        *self.current.lock().expect("no panic while a catalog is locked") = None;
        self.types.clear();
    }
}

impl Tenant<'_> {
    /// The catalog, read again if it was read before `not_before` or too long ago.
    pub async fn catalog(&self, not_before: Option<Instant>) -> Result<Arc<Catalog>, Fault> {
        let cache = &self.cache;
        let fresh =
            |loaded: &Loaded| not_before.is_none_or(|moment| loaded.at >= moment) && loaded.at.elapsed() < TRUSTED_FOR;
        if let Some(loaded) = cache.current.lock().expect("no panic while a catalog is locked").as_mut()
            && fresh(loaded)
        {
            loaded.used = Instant::now();
            return Ok(loaded.catalog.clone());
        }
        // One reads, the others wait for what it read.
        let _reading = cache.loaded.lock().await;
        if let Some(loaded) = cache.current()
            && fresh(&loaded)
        {
            return Ok(loaded.catalog);
        }
        let at = Instant::now();
        let results = self.run(&mut Transaction::PerPlan, None, &[Sql::new(CATALOG)]).await;
        let rows = results.map_err(RunError::into_fault)?.pop().unwrap_or_default();
        let tables: Option<Vec<String>> = (0..rows.len()).map(|row| rows.string(row, "described")).collect();
        let json = format!("[{}]", tables.ok_or_else(|| Fault::internal("no catalog came"))?.join(","));
        let own_code = rows.named(0, "own_code") == Some(b"true");
        if own_code && !cache.own_code.swap(own_code, Ordering::Relaxed) {
            // It came by another door, and may have run in these sessions already.
            let (pool, database) = (&self.store.pool, self.database);
            pool.evict_role(database.cell, &database.role);
            pool.evict_role(database.cell, &database.viewer);
        }
        cache.own_code.store(own_code, Ordering::Relaxed);
        let catalog = Arc::new(Catalog::parse(&json).map_err(Fault::internal)?);
        let loaded = Loaded { catalog: catalog.clone(), at, used: at };
        *cache.current.lock().expect("no panic while a catalog is locked") = Some(loaded);
        Ok(catalog)
    }
}
