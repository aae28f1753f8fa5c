//! What is known of each workspace's tables, read once and kept until something shows that it is old.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pg::types::TypeCache;
use pg::{Conn, Error};

use crm::model::catalog::Catalog;
use crm::model::fault::Fault;
use crm::sql::Sql;
use crm::sql::catalog::{CATALOG, ROUTINES};

use crate::store::cell::TenantDatabase;
use crate::store::fault::RunError;
use crate::store::tenant::Tenant;
use crate::store::tenant::read_batch::ReadBatcher;
use crate::store::tenant::transaction::Transaction;

/// Workspaces whose catalog is kept; the one that was used longest ago goes first.
const KEPT: usize = 400;
/// Bytes that all catalogs and types may take, by an estimate. The largest goes first, so that a workspace with very many columns
/// costs no other its catalog.
const KEPT_BYTES: usize = 64 * 1024 * 1024;
/// A catalog older than this is read anew before it is used. Statements show by themselves, or by one that goes with them
/// (`crm::sql::unchanged`), that a table is another; what shows itself in none (code of the workspace's own that came by another
/// process) is seen after this at the latest.
pub(super) const TRUSTED_FOR: Duration = Duration::from_secs(20);

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
    routines: Mutex<Option<Routines>>,
}

/// The functions of a database, as far as its sessions' resets depend on them.
#[derive(Clone, Copy, Debug)]
pub struct Routines {
    /// Whether one is the workspace's own.
    pub has_own: bool,
    /// The largest OID of those that do not come with PostgreSQL.
    pub newest: u32,
    at: Instant,
}

/// A catalog and when it was read.
#[derive(Clone)]
pub struct Loaded {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    at: Instant,
    used: Instant,
    bytes: usize,
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

    /// Forgets catalogs, the largest first, until all together are within the limit. `current` is in use and stays.
    fn trim(&self, current: &DatabaseCache) {
        let known = self.known.lock().expect("no panic while the catalogs are locked");
        let mut sizes: Vec<_> = known.values().map(|cache| (cache.bytes(), cache)).collect();
        let mut total: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
        if total <= KEPT_BYTES {
            return;
        }
        sizes.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, cache) in sizes {
            if total <= KEPT_BYTES {
                return;
            }
            if !std::ptr::eq(&raw const **cache, current) {
                cache.forget();
                total -= bytes;
            }
        }
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
        *self.routines.lock().expect("no panic while the routines are locked") = None;
        self.types.clear();
    }

    /// Roughly the bytes that it takes.
    fn bytes(&self) -> usize {
        let catalog =
            self.current.lock().expect("no panic while a catalog is locked").as_ref().map_or(0, |it| it.bytes);
        catalog + self.types.bytes()
    }

    /// The functions of the database, by a query of this session's if they were not looked at lately.
    pub async fn routines(&self, conn: &mut Conn) -> Result<Routines, Error> {
        let known = *self.routines.lock().expect("no panic while the routines are locked");
        if let Some(known) = known.filter(|known| known.at.elapsed() < TRUSTED_FOR) {
            return Ok(known);
        }
        let at = Instant::now();
        let rows = conn.query(ROUTINES, &[]).await?;
        let newest = rows.text(0, 1).and_then(|oid| oid.parse().ok());
        // What is not understood counts as code of the workspace's own.
        let has_own = newest.is_none() || rows.text(0, 0) != Some("f");
        let routines = Routines { has_own, newest: newest.unwrap_or(u32::MAX), at };
        *self.routines.lock().expect("no panic while the routines are locked") = Some(routines);
        Ok(routines)
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
        // As parsed it takes about as much again as half of its text.
        let loaded = Loaded { catalog: catalog.clone(), at, used: at, bytes: json.len() + json.len() / 2 };
        *cache.current.lock().expect("no panic while a catalog is locked") = Some(loaded);
        self.store.catalogs.trim(cache);
        Ok(catalog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_catalogs_make_room_for_small_ones() {
        let catalogs = Catalogs::default();
        let catalog = Arc::new(Catalog::parse("[]").expect("an empty catalog"));
        let enter = |id: i64, bytes: usize| {
            let cache: Arc<DatabaseCache> = Arc::default();
            let now = Instant::now();
            *cache.current.lock().unwrap() = Some(Loaded { catalog: catalog.clone(), at: now, used: now, bytes });
            catalogs.known.lock().unwrap().insert(id, cache.clone());
            catalogs.trim(&cache);
            cache
        };
        let small: Vec<_> = (0..300).map(|id| enter(id, 100_000)).collect();
        let large: Vec<_> = (300..400).map(|id| enter(id, 13_000_000)).collect();
        let total: usize = catalogs.known.lock().unwrap().values().map(|cache| cache.bytes()).sum();
        assert!(total <= KEPT_BYTES, "{total}");
        assert!(small.iter().all(|cache| cache.current().is_some()));
        assert!(large.last().unwrap().current().is_some(), "the one in use stays");
    }
}
