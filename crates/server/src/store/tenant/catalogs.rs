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

use crate::store::Store;
use crate::store::cell::TenantDatabase;
use crate::store::tenant::read_batch::ReadBatcher;
use crate::store::tenant::run::{Access, RunError};
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
    /// ReadBatcher at its records that are under way.
    pub looks: ReadBatcher,
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

impl Store {
    /// What is known of a database.
    pub fn known(&self, place: &TenantDatabase) -> Arc<DatabaseCache> {
        self.catalogs.of(place)
    }

    /// The catalog, read again if it was read before `not_before` or too long ago.
    pub async fn catalog(
        &self,
        place: &TenantDatabase,
        access: Access,
        known: &DatabaseCache,
        not_before: Option<Instant>,
    ) -> Result<Arc<Catalog>, Fault> {
        let fresh =
            |loaded: &Loaded| not_before.is_none_or(|moment| loaded.at >= moment) && loaded.at.elapsed() < TRUSTED_FOR;
        if let Some(loaded) = known.current.lock().expect("no panic while a catalog is locked").as_mut()
            && fresh(loaded)
        {
            loaded.used = Instant::now();
            return Ok(loaded.catalog.clone());
        }
        // One reads, the others wait for what it read.
        let _reading = known.loaded.lock().await;
        if let Some(loaded) = known.current()
            && fresh(&loaded)
        {
            return Ok(loaded.catalog);
        }
        let at = Instant::now();
        let results =
            self.run(&mut Transaction::PerPlan, place, access, &known.types, None, &[Sql::new(CATALOG)], false).await;
        let rows = match results {
            Ok(mut results) => results.pop().unwrap_or_default(),
            Err(RunError::Fault(fault) | RunError::CatalogIsOld(fault)) => return Err(fault),
            Err(RunError::Taken { message, .. }) => return Err(Fault::internal(message)),
        };
        let tables: Option<Vec<String>> = (0..rows.len()).map(|row| rows.string(row, "described")).collect();
        let json = format!("[{}]", tables.ok_or_else(|| Fault::internal("no catalog came"))?.join(","));
        let own_code = rows.named(0, "own_code") == Some(b"true");
        if own_code && !known.own_code.swap(own_code, Ordering::Relaxed) {
            // It came by another door, and may have run in these sessions already.
            self.pool.evict_role(place.cell, &place.role);
            self.pool.evict_role(place.cell, &place.viewer);
        }
        known.own_code.store(own_code, Ordering::Relaxed);
        let catalog = Arc::new(Catalog::parse(&json).map_err(Fault::internal)?);
        let loaded = Loaded { catalog: catalog.clone(), at, used: at };
        *known.current.lock().expect("no panic while a catalog is locked") = Some(loaded);
        Ok(catalog)
    }
}
