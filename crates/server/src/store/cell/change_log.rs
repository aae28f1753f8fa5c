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

/// How long changes stay that somebody listens to and that are not published yet.
const HOURS_TO_PUBLISH: u32 = 7 * 24;

/// The databases of workspaces, how many rows were ever written in each, whether somebody listens to its changes, and the position in the
/// log of who has got the fewest, if somebody is behind.
const WRITES: &str = "
    SELECT d.id, d.cell_id, d.name, d.role, d.version, s.tup_inserted + s.tup_updated + s.tup_deleted AS writes,
           EXISTS (SELECT FROM webhook_endpoints AS e WHERE e.workspace_id = d.workspace_id AND e.mode = d.mode AND e.enabled
                   UNION ALL
                   SELECT FROM automations AS a WHERE a.workspace_id = d.workspace_id AND a.mode = d.mode AND a.enabled) AS is_heard,
           (SELECT min(b.behind_at) FROM (
                SELECT e.behind_at FROM webhook_endpoints AS e WHERE e.workspace_id = d.workspace_id AND e.mode = d.mode AND e.enabled
                UNION ALL
                SELECT a.behind_at FROM automations AS a WHERE a.workspace_id = d.workspace_id AND a.mode = d.mode AND a.enabled) AS b) AS behind_at
      FROM databases AS d JOIN pg_stat_database AS s ON s.datname = d.name WHERE d.state = 'taken'";

/// The last column of [`WRITES`].
const BEHIND_AT: usize = 7;

/// Removes changes that are older than `$1` hours, oldest first, and those that are not published up to the position `$4` after `$3` hours. It looks at no more
/// than it may remove: the log is in the order of time. A run that loses changes has a gap, because what is left of it is not the whole.
const SWEEP: &str = "
    WITH head AS (SELECT c.seq, c.at, c.position <= COALESCE($4::bigint, 9223372036854775807) AS is_published FROM kith.change AS c ORDER BY c.seq LIMIT $2::integer),
         gone AS (DELETE FROM kith.change AS c USING head
                   WHERE c.seq = head.seq AND head.at < pg_catalog.now() - pg_catalog.make_interval(hours => $1::integer)
                     AND (COALESCE(head.is_published, false) OR head.at < pg_catalog.now() - pg_catalog.make_interval(hours => $3::integer)) RETURNING c.run, c.at, c.undone_by),
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
    /// Removes changes that are older than this, in all databases that are due. What somebody waits for stays until it is published, or
    /// for a week. Returns how many were removed.
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
            let is_heard = rows.get::<String>(row, "is_heard")? == "t";
            let hours = hours_kept(days);
            let hours_unpublished = if is_heard { hours.max(HOURS_TO_PUBLISH) } else { hours };
            let kept = Kept { hours, hours_unpublished, behind_at: rows.text(row, BEHIND_AT).map(str::to_owned) };
            match self.sweep(&place, kept).await {
                Ok((swept, due)) => {
                    self.sweeps.all().insert(place.database_id, Sweep { writes, due });
                    removed += swept;
                }
                Err(error) => tracing::warn!(error = error.for_log(), database, "old changes were not removed"),
            }
        }
        Ok(removed)
    }

    async fn sweep(&self, place: &TenantDatabase, kept: Kept) -> Result<(usize, Option<Instant>), Error> {
        let mut admin = self.cells.administer(place.cell, &place.database).await?;
        let params = [kept.hours.to_string(), BATCH.to_string(), kept.hours_unpublished.to_string()];
        let [hours, batch, hours_unpublished] = params.each_ref().map(|it| Some(it.as_str()));
        let params = [hours, batch, hours_unpublished, kept.behind_at.as_deref()];
        let mut removed = 0;
        loop {
            let swept: i64 = admin.query(SWEEP, &params).await?.get(0, "removed")?;
            removed += usize::try_from(swept).unwrap_or_default();
            if swept < BATCH {
                return Ok((removed, due(&mut admin, kept.hours).await?));
            }
        }
    }
}

/// How long the changes of a database stay.
struct Kept {
    hours: u32,
    /// The same, if they are not published for all who listen.
    hours_unpublished: u32,
    /// The position in the log of who has got the fewest.
    behind_at: Option<String>,
}

/// How long changes stay that are published, or that nobody listens to.
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
