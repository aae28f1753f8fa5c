//! Removes old changes from the change logs of workspaces. The administrator's session touches only tables that Kith owns.
//!
//! A database is visited when its oldest change is due, or when something was written since the last visit, so that idle workspaces
//! cost nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pg::{Conn, Error};

use crate::store::Store;
use crate::store::cell::TenantDatabase;

/// The changes that one statement removes.
const BATCH: i64 = 10_000;

const SECONDS_AN_HOUR: u64 = 3600;

/// The databases of workspaces, and how many rows were ever written in each.
const WRITES: &str = "
    SELECT d.id, d.cell_id, d.name, d.role, d.version, s.tup_inserted + s.tup_updated + s.tup_deleted AS writes
      FROM databases AS d JOIN pg_stat_database AS s ON s.datname = d.name WHERE d.state = 'taken'";

/// Removes changes that are older than `$1` hours, oldest first. It looks at no more than it may remove: the log is in the order of time.
/// A run that loses changes has a gap, because what is left of it is not the whole.
const SWEEP: &str = "
    WITH head AS (SELECT c.seq, c.at FROM kith.change AS c ORDER BY c.seq LIMIT $2::integer),
         gone AS (DELETE FROM kith.change AS c USING head
                   WHERE c.seq = head.seq AND head.at < pg_catalog.now() - pg_catalog.make_interval(hours => $1::integer) RETURNING c.run, c.at, c.undone_by),
         noted AS (INSERT INTO kith.gap (run, what, request, at)
                   SELECT g.run, 'changes that are no longer kept', '', pg_catalog.max(g.at) FROM gone AS g
                    WHERE g.run IS NOT NULL AND g.undone_by IS NULL GROUP BY g.run ON CONFLICT DO NOTHING)
    SELECT pg_catalog.count(*) AS removed FROM gone";

/// The age of the oldest change, in seconds.
const OLDEST: &str = "
    SELECT pg_catalog.floor(pg_catalog.date_part('epoch', pg_catalog.now() - c.at))::bigint AS age FROM kith.change AS c ORDER BY c.seq LIMIT 1";

/// When each database is due.
#[derive(Clone, Default)]
pub(in crate::store) struct Sweeps(Arc<Mutex<HashMap<i64, Sweep>>>);

#[derive(Clone, Copy)]
struct Sweep {
    /// How many rows had been written.
    writes: i64,
    /// When its oldest change is old enough; `None` if it had no changes.
    due: Option<Instant>,
}

impl Sweeps {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Sweep>> {
        self.0.lock().expect("no panic while sweeps are locked")
    }
}

impl Store {
    /// Removes changes that are older than this, in all databases that are due. Returns how many were removed.
    pub async fn sweep_changes(&self, days: u32) -> Result<usize, Error> {
        let rows = self.control.try_query(WRITES, &[]).await?;
        let mut removed = 0;
        for row in 0..rows.len() {
            let (database, role): (String, String) = (rows.get(row, "name")?, rows.get(row, "role")?);
            let (id, cell, version) = (rows.get(row, "id")?, rows.get(row, "cell_id")?, rows.get(row, "version")?);
            let place = TenantDatabase::new(id, cell, &database, &role, version);
            let writes = rows.get(row, "writes")?;
            let is_due = self.sweeps.all().get(&place.database_id).is_none_or(|last| match last.due {
                Some(due) => Instant::now() >= due,
                None => last.writes != writes,
            });
            // A database of an older version gets its log when it is used next.
            if !is_due || version < self.workspace_version() {
                continue;
            }
            match self.sweep(&place, days).await {
                Ok((swept, due)) => {
                    self.sweeps.all().insert(place.database_id, Sweep { writes, due });
                    removed += swept;
                }
                Err(error) => tracing::warn!(error = error.for_log(), database, "old changes were not removed"),
            }
        }
        Ok(removed)
    }

    async fn sweep(&self, place: &TenantDatabase, days: u32) -> Result<(usize, Option<Instant>), Error> {
        let mut admin = self.cells.administer(place.cell, &place.database).await?;
        let hours = hours_kept(days);
        let (hours_text, batch) = (hours.to_string(), BATCH.to_string());
        let mut removed = 0;
        loop {
            let swept: i64 = admin.query(SWEEP, &[Some(&hours_text), Some(&batch)]).await?.get(0, "removed")?;
            removed += usize::try_from(swept).unwrap_or_default();
            if swept < BATCH {
                return Ok((removed, due(&mut admin, hours).await?));
            }
        }
    }
}

/// How long changes stay. What is not kept for undo stays until it is published.
fn hours_kept(days: u32) -> u32 {
    (days * 24).max(1)
}

async fn due(admin: &mut Conn, hours: u32) -> Result<Option<Instant>, Error> {
    let oldest = admin.query(OLDEST, &[]).await?;
    if oldest.is_empty() {
        return Ok(None);
    }
    let age: i64 = oldest.get(0, "age")?;
    let left = (u64::from(hours) * SECONDS_AN_HOUR).saturating_sub(u64::try_from(age).unwrap_or_default());
    Ok(Some(Instant::now() + Duration::from_secs(left)))
}
