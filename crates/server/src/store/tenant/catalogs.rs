//! The cached catalogs of workspaces' tables. A catalog is kept until there is a sign that it is stale.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use pg::types::TypeCache;
use pg::{Conn, Error};

use crm::model::catalog::Catalog;
use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::sql::Sql;
use crm::sql::catalog::{CATALOG, ROUTINES};

use crate::store::cell::TenantDatabase;
use crate::store::fault::RunError;
use crate::store::tenant::Tenant;
use crate::store::tenant::read_batch::ReadBatcher;
use crate::store::tenant::transaction::Transaction;

/// The most workspaces whose catalog is cached. The least recently used one is removed first.
const KEPT: usize = 400;
/// The most bytes of all catalogs and types, by an estimate. The largest is removed first, so that a workspace with very many
/// columns does not cause the catalogs of others to be removed.
const KEPT_BYTES: usize = 64 * 1024 * 1024;
/// A catalog older than this is read again before it is used. A change of a table is usually detected by the statement itself
/// or by a check that is sent with it (`crm::sql::unchanged`). A change that neither detects (code of the workspace that was
/// created through another process) takes effect after this time at the latest.
pub(super) const TRUSTED_FOR: Duration = Duration::from_secs(20);

/// The catalogs of the workspaces in use.
#[derive(Clone, Default)]
pub struct Catalogs {
    known: Arc<Mutex<HashMap<i64, Arc<DatabaseCache>>>>,
}

/// The cache of one database.
#[derive(Default)]
pub struct DatabaseCache {
    /// Its types, shared by all its connections.
    pub types: TypeCache,
    /// The reads of its records that are running.
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
    /// Whether any function is the workspace's own.
    pub has_own: bool,
    /// The largest OID of the functions that do not belong to PostgreSQL.
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
    /// The cache of a database. It is empty at first.
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

    /// Removes catalogs, the largest first, until all together are within the limit. `current` is in use and is kept.
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

    /// Whether a plain statement can run the workspace's own code, which may change the state of the session.
    pub fn has_own_code(&self) -> bool {
        self.own_code.load(Ordering::Relaxed)
    }

    /// Forgets the catalog and the types, for example after DDL.
    pub fn forget(&self) {
        *self.current.lock().expect("no panic while a catalog is locked") = None;
        *self.routines.lock().expect("no panic while the routines are locked") = None;
        self.types.clear();
    }

    /// The approximate size in bytes.
    fn bytes(&self) -> usize {
        let catalog =
            self.current.lock().expect("no panic while a catalog is locked").as_ref().map_or(0, |it| it.bytes);
        catalog + self.types.bytes()
    }

    /// The functions of the database. They are queried in this session if they were not read recently.
    pub async fn routines(&self, conn: &mut Conn) -> Result<Routines, Error> {
        let known = *self.routines.lock().expect("no panic while the routines are locked");
        if let Some(known) = known.filter(|known| known.at.elapsed() < TRUSTED_FOR) {
            return Ok(known);
        }
        let at = Instant::now();
        let rows = conn.query(ROUTINES, &[]).await?;
        let newest = rows.text(0, 1).and_then(|oid| oid.parse().ok());
        // An unexpected result counts as the workspace's own code.
        let has_own = newest.is_none() || rows.text(0, 0) != Some("f");
        let routines = Routines { has_own, newest: newest.unwrap_or(u32::MAX), at };
        *self.routines.lock().expect("no panic while the routines are locked") = Some(routines);
        Ok(routines)
    }
}

impl Tenant<'_> {
    /// The cached catalog, unless it was read before `not_before` or too long ago.
    pub fn cached_catalog(&self, not_before: Option<Instant>) -> Option<Arc<Catalog>> {
        let mut current = self.cache.current.lock().expect("no panic while a catalog is locked");
        let is_fresh =
            |it: &&mut Loaded| not_before.is_none_or(|moment| it.at >= moment) && it.at.elapsed() < TRUSTED_FOR;
        let loaded = current.as_mut().filter(is_fresh)?;
        loaded.used = Instant::now();
        Some(loaded.catalog.clone())
    }

    /// The catalog, read again if it was read before `not_before` or too long ago.
    pub async fn catalog(&self, not_before: Option<Instant>) -> Result<Arc<Catalog>, Fault> {
        if let Some(catalog) = self.cached_catalog(not_before) {
            return Ok(catalog);
        }
        // One call reads it, and the others wait for the result.
        let cache = &self.cache;
        let _reading = cache.loaded.lock().await;
        if let Some(catalog) = self.cached_catalog(not_before) {
            return Ok(catalog);
        }
        let at = Instant::now();
        let results = self.run(&mut Transaction::PerPlan, &[], &[Sql::new(CATALOG)]).await;
        let rows = results.map_err(RunError::into_fault)?.pop().unwrap_or_default();
        let (json, own_code) = described(&rows)?;
        if own_code && !cache.own_code.swap(own_code, Ordering::Relaxed) {
            // The code was created through another process, and may already have run in these sessions.
            let (pool, database) = (&self.store.pool, self.database);
            pool.evict_role(database.cell, &database.role);
            pool.evict_role(database.cell, &database.viewer);
        }
        cache.own_code.store(own_code, Ordering::Relaxed);
        let catalog = Arc::new(Catalog::parse(&json).map_err(Fault::internal)?);
        // The estimate is one and a half times the size of the text.
        let loaded = Loaded { catalog: catalog.clone(), at, used: at, bytes: json.len() + json.len() / 2 };
        *cache.current.lock().expect("no panic while a catalog is locked") = Some(loaded);
        self.store.catalogs.trim(cache);
        Ok(catalog)
    }

    /// The catalog as an open transaction sees it, with the tables that it has changed itself. It is not cached, because the
    /// transaction may be rolled back.
    pub async fn catalog_within(&self, transaction: &mut Transaction) -> Result<Arc<Catalog>, Fault> {
        let results = self.run(transaction, &[], &[Sql::new(CATALOG)]).await;
        let rows = results.map_err(RunError::into_fault)?.pop().unwrap_or_default();
        Catalog::parse(&described(&rows)?.0).map(Arc::new).map_err(Fault::internal)
    }
}

/// The JSON of a catalog, and whether the workspace has code of its own.
fn described(rows: &Rows) -> Result<(String, bool), Fault> {
    let tables: Option<Vec<String>> = (0..rows.len()).map(|row| rows.string(row, "described")).collect();
    let json = format!("[{}]", tables.ok_or_else(|| Fault::internal("no catalog came"))?.join(","));
    Ok((json, rows.named(0, "own_code") == Some(b"true")))
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
