//! VACUUM and ANALYZE. The embedded server's autovacuum is off: its workers run as the superuser, and ANALYZE evaluates the
//! index expressions of workspaces in them, outside every limit. Here a workspace's tables are maintained in a session of the
//! workspace's own role, under the watchdog. The administrator's session maintains only the tables that Kith owns.
//!
//! Tables with old transaction ids are vacuumed first, without ANALYZE. VACUUM alone runs no code of the workspace, so a
//! workspace can't prevent that the age of its database goes down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pg::{Conn, Error};

use crate::store::Store;
use crate::store::cell::{CONTROL_DATABASE, TenantDatabase, literal};

/// The longest time for the maintenance of all of a workspace's own tables.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest time for one table. PostgreSQL ends the statement itself, and the session continues.
const TABLE_LIMIT_SECONDS: u64 = 40;
/// How long after running into [`LIMIT`] a workspace is tried again, because its code may exceed the limit each time.
const AGAIN: Duration = Duration::from_secs(3600);
/// Rows that must have changed in a database before its tables are checked.
const LEAST_CHANGES: i64 = 50;
/// The age of transaction ids from which a table is vacuumed even if nothing in it changed.
const OLD: &str = "100000000";
/// The age that shows that something prevents vacuuming. PostgreSQL refuses to write at about 2,140 million.
pub const ALARMING: i64 = 500_000_000;

/// Tables of which about a tenth of the rows changed, and tables with old transaction ids. Each database has its own entry, with
/// its own age, for the tables that all databases share. `$1` is the workspace's role, `$2` whether the shared tables are
/// included even if they are not old, `$3` [`OLD`].
const DUE: &str = "
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, o.rolname = $1 AS is_own, x.is_old, x.vacuum, x.analyze
      FROM pg_catalog.pg_stat_all_tables AS s
      JOIN pg_catalog.pg_class AS c ON c.oid = s.relid
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
      LEFT JOIN pg_catalog.pg_stat_all_tables AS t ON t.relid = c.reltoastrelid
      LEFT JOIN pg_catalog.pg_class AS f ON f.oid = c.reltoastrelid
     CROSS JOIN LATERAL (
           SELECT COALESCE(s.n_dead_tup > 50 + 0.1 * GREATEST(c.reltuples, 0)
                  OR s.n_ins_since_vacuum > 1000 + 0.2 * GREATEST(c.reltuples, 0)
                  OR t.n_dead_tup > 50 + 0.1 * t.n_live_tup, false) AS vacuum,
                  COALESCE(GREATEST(pg_catalog.age(c.relfrozenxid), pg_catalog.mxid_age(c.relminmxid),
                                    pg_catalog.age(f.relfrozenxid), pg_catalog.mxid_age(f.relminmxid)) > $3::integer, false) AS is_old,
                  COALESCE(s.n_mod_since_analyze > 50 + 0.1 * GREATEST(c.reltuples, 0), false) AS analyze) AS x
     WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND (NOT c.relisshared OR $2::boolean OR x.is_old) AND (x.vacuum OR x.analyze OR x.is_old)
     ORDER BY x.is_old DESC, s.n_dead_tup DESC LIMIT 500";

/// Temporary tables with old transaction ids, which nobody but their session can vacuum, and the session: 0 if it is gone. The server's
/// start removes the files of such tables, and autovacuum, which is off, would drop them.
const OLD_TEMPORARY: &str = "
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, COALESCE(b.pid, 0) AS pid
      FROM pg_catalog.pg_class AS c
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
      LEFT JOIN (
           SELECT 'pg_temp_' || i AS schema, pg_catalog.pg_stat_get_backend_pid(i) AS pid
             FROM pg_catalog.pg_stat_get_backend_idset() AS i
             JOIN pg_catalog.pg_database AS d ON d.oid = pg_catalog.pg_stat_get_backend_dbid(i)
            WHERE d.datname = pg_catalog.current_database()) AS b ON b.schema = n.nspname
     WHERE c.relpersistence = 't' AND c.relkind IN ('r', 'm')
       AND GREATEST(pg_catalog.age(c.relfrozenxid), pg_catalog.mxid_age(c.relminmxid)) > $1::integer";

/// The databases of workspaces, how many rows were ever written in each, and whether its transaction ids are old.
const WRITES: &str = "
    SELECT d.id, d.cell_id, d.name, d.role, d.version, s.tup_inserted + s.tup_updated + s.tup_deleted AS writes,
           GREATEST(age(p.datfrozenxid), mxid_age(p.datminmxid)) > $1::integer AS is_old
      FROM databases AS d JOIN pg_stat_database AS s ON s.datname = d.name JOIN pg_database AS p ON p.datname = d.name
     WHERE d.state = 'taken' ORDER BY is_old DESC, writes DESC";

/// Databases with old transaction ids in which no workspace has ever run anything: templates, databases that wait for a
/// workspace, and the server's own databases. PostgreSQL itself freezes a database that accepts no connections.
const OLD_AND_UNUSED: &str = "
    SELECT p.datname FROM pg_database AS p
     WHERE p.datallowconn AND GREATEST(age(p.datfrozenxid), mxid_age(p.datminmxid)) > $1::integer
       AND (p.datname !~ '^w_[0-9a-z]{20}$' OR EXISTS (SELECT FROM databases AS d WHERE d.name = p.datname AND d.state = 'warm'))";

/// The database whose transaction ids are oldest, and the age.
pub const OLDEST: &str = "
    SELECT datname, GREATEST(age(datfrozenxid), mxid_age(datminmxid)) AS age FROM pg_catalog.pg_database ORDER BY 2 DESC LIMIT 1";

/// When each database was maintained.
#[derive(Clone, Default)]
pub(in crate::store) struct Visits(Arc<Mutex<HashMap<i64, Visit>>>);

#[derive(Clone, Copy)]
struct Visit {
    /// How many rows had been written.
    writes: i64,
    not_before: Instant,
}

impl Visits {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Visit>> {
        self.0.lock().expect("no panic while visits are locked")
    }
}

/// A table that needs maintenance.
struct DueTable {
    /// Its qualified name, quoted.
    name: String,
    /// Whether the workspace owns it.
    is_own: bool,
    /// Whether its transaction ids are old.
    is_old: bool,
    vacuum: bool,
    analyze: bool,
}

impl DueTable {
    /// A table that another session has locked is skipped, so that no session has to wait behind the maintenance's lock.
    fn statement(&self) -> String {
        match (self.vacuum, self.analyze) {
            _ if self.is_old => format!("VACUUM (SKIP_LOCKED, FREEZE) {}", self.name),
            (true, true) => format!("VACUUM (SKIP_LOCKED, ANALYZE) {}", self.name),
            (true, false) => format!("VACUUM (SKIP_LOCKED) {}", self.name),
            (false, _) => format!("ANALYZE (SKIP_LOCKED) {}", self.name),
        }
    }
}

impl Store {
    /// Maintains all databases in which enough was written since the last time. Returns how many tables of workspaces were
    /// maintained.
    pub async fn maintain_all(&self) -> Result<usize, Error> {
        self.maintain_older_than(OLD).await
    }

    /// The same, with another age at which transaction ids are old.
    pub async fn maintain_older_than(&self, old: &str) -> Result<usize, Error> {
        self.maintain_own(old).await?;
        self.freeze_unused(old).await?;
        let rows = self.control.try_query(WRITES, &[Some(old)]).await?;
        let mut maintained = 0;
        for row in 0..rows.len() {
            let (database, role): (String, String) = (rows.get(row, "name")?, rows.get(row, "role")?);
            let (id, cell, version) = (rows.get(row, "id")?, rows.get(row, "cell_id")?, rows.get(row, "version")?);
            let place = TenantDatabase::new(id, cell, &database, &role, version);
            let writes = rows.get(row, "writes")?;
            let is_old = rows.get::<String>(row, "is_old")? == "t";
            let last = self.visits.all().get(&place.database_id).copied();
            if last.is_some_and(|last| {
                let changed = is_old || writes - last.writes >= LEAST_CHANGES;
                !changed || Instant::now() < last.not_before
            }) {
                continue;
            }
            let done = self.maintain_place(&place, LIMIT, old).await;
            let not_before = Instant::now() + if done.is_ok() { Duration::ZERO } else { AGAIN };
            self.visits.all().insert(place.database_id, Visit { writes, not_before });
            match done {
                Ok(tables) => maintained += tables,
                Err(error) => {
                    tracing::warn!(error = error.for_log(), database, "a database was not maintained to the end")
                }
            }
        }
        self.watch_ages().await?;
        Ok(maintained)
    }

    /// Freezes the databases with old transaction ids that no workspace has used.
    async fn freeze_unused(&self, old: &str) -> Result<(), Error> {
        let rows = self.control.try_query(OLD_AND_UNUSED, &[Some(old)]).await?;
        for row in 0..rows.len() {
            let database: String = rows.get(row, "datname")?;
            self.cells.administer(0, &database).await?.script("VACUUM (FREEZE, SKIP_LOCKED)").await?;
        }
        Ok(())
    }

    /// Logs an alarm if the transaction ids of a database get old although they are vacuumed.
    async fn watch_ages(&self) -> Result<(), Error> {
        let oldest = self.control.try_query(OLDEST, &[]).await?;
        let (database, age): (String, i64) = (oldest.get(0, "datname")?, oldest.get(0, "age")?);
        metrics::gauge!("kith_oldest_transaction_id_age").set(age as f64);
        if age > ALARMING {
            tracing::error!(
                database,
                age,
                "transaction ids are running out: find what keeps this database from being vacuumed"
            );
        }
        Ok(())
    }

    /// Maintains the tables of a workspace's database that need it. Returns how many of the workspace's own tables were
    /// maintained. The workspace's code runs in a session of its own role, and is ended after a minute.
    pub async fn maintain(&self, place: &TenantDatabase) -> Result<usize, Error> {
        self.maintain_within(place, LIMIT).await
    }

    /// The same with another limit.
    pub async fn maintain_within(&self, place: &TenantDatabase, limit: Duration) -> Result<usize, Error> {
        self.maintain_place(place, limit, OLD).await
    }

    async fn maintain_place(&self, place: &TenantDatabase, limit: Duration, old: &str) -> Result<usize, Error> {
        let mut admin = self.cells.administer(place.cell, &place.database).await?;
        let (own, others): (Vec<DueTable>, Vec<DueTable>) =
            due(&mut admin, &place.role, false, old).await?.into_iter().partition(|table| table.is_own);
        for table in others {
            admin.script(&table.statement()).await?;
        }
        end_old_temporary(&mut admin, old).await?;
        drop(admin);
        if own.is_empty() {
            return Ok(0);
        }
        let mut tenant = self.cells.tenant(place.cell, &place.role, &place.database).await?;
        let (role, database) = (place.role.clone(), place.database.clone());
        let guard = self.watchdog.watch(place.cell, tenant.pid(), role, database, limit);
        tenant.script(&format!("SET statement_timeout = {}", literal(&format!("{TABLE_LIMIT_SECONDS}s")))).await?;
        let mut maintained = 0;
        for table in own {
            match tenant.script(&table.statement()).await {
                Ok(()) => maintained += 1,
                // An index expression of the workspace fails, or the table was dropped. The next table follows.
                Err(error @ Error::Server(_)) if !guard.fired() && tenant.is_alive() => {
                    tracing::debug!(error = error.for_log(), database = &*place.database, "a table was not maintained");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(maintained)
    }

    /// Maintains the control database, and the catalogs that all databases share.
    async fn maintain_own(&self, old: &str) -> Result<(), Error> {
        let mut admin = self.cells.administer(0, CONTROL_DATABASE).await?;
        for table in due(&mut admin, "", true, old).await? {
            admin.script(&table.statement()).await?;
        }
        Ok(())
    }
}

/// Ends sessions whose temporary tables have old transaction ids, and drops tables that a crash left over. Dropping a table runs none of
/// the workspace's code.
async fn end_old_temporary(admin: &mut Conn, old: &str) -> Result<(), Error> {
    let rows = admin.query(OLD_TEMPORARY, &[Some(old)]).await?;
    for row in 0..rows.len() {
        let (name, pid): (String, String) = (rows.get(row, "name")?, rows.get(row, "pid")?);
        if pid == "0" {
            admin.script(&format!("DROP TABLE IF EXISTS {name} CASCADE")).await?;
            continue;
        }
        tracing::warn!(pid, table = name, "ended a session whose temporary table is too old");
        admin.query("SELECT pg_catalog.pg_terminate_backend($1::integer, 1000)", &[Some(&pid)]).await?;
    }
    Ok(())
}

async fn due(admin: &mut Conn, role: &str, with_shared: bool, old: &str) -> Result<Vec<DueTable>, Error> {
    let rows = admin.query(DUE, &[Some(role), Some(if with_shared { "t" } else { "f" }), Some(old)]).await?;
    let is = |row, name| rows.get::<String>(row, name).map(|it| it == "t");
    let table = |row| {
        Ok(DueTable {
            name: rows.get(row, "name")?,
            is_own: is(row, "is_own")?,
            is_old: is(row, "is_old")?,
            vacuum: is(row, "vacuum")?,
            analyze: is(row, "analyze")?,
        })
    };
    (0..rows.len()).map(table).collect()
}
