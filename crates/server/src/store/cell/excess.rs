//! Limits on what all workspaces of a cell share: transaction ids and the lock table.
//!
//! A server has two thousand million transaction ids before tables have to be vacuumed. A block with an exception handler takes
//! one each time it runs, up to hundreds of thousands a second, so each workspace has a budget. PostgreSQL counts ids only for
//! the whole server. A workspace's use is estimated from the newest id on which each of its sessions holds a lock.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pg::Error;
use pg::rows::Rows;

use crm::model::fault::{Fault, SqlFault};
use crm::model::value::array_of_texts;

use crate::store::cell::direct::{LIMITS, LOCK};
use crate::store::cell::name;
use crate::store::{Store, fault};

/// The ids that a workspace may take at once.
const BURST: f64 = 2_000_000.0;
/// The ids that a workspace may take each second in the long run.
const IDS_A_SECOND: f64 = 1000.0;
/// The ids that the whole cell may take, and the commits that a workspace may make, each second before anybody is charged.
const FREE_A_SECOND: f64 = 5000.0;
/// How often the sessions are checked after a second in which many ids were taken. Between two blocks a session holds no lock
/// on an id.
const LOOKS: usize = 5;
/// The time between these checks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(15);
/// The longest time between two counts of commits that are compared.
const COMMITS_COMPARED: Duration = Duration::from_secs(5);
/// The longest wait that an answer names, in seconds.
const LONGEST_WAIT: f64 = 3600.0;
/// Locks that the sessions of all workspaces may hold together. The embedded server's table has room for twice as many.
const LOCKS_OF_ALL: u32 = 100_000;
/// Advisory locks that one session may hold. The workspace's functions refuse more of them in one database, give or take a few hundred
/// (migrations/workspace/0012_direct_sessions.sql).
const ADVISORY_LOCKS: u32 = 10_000;
/// How long a broken connection is explained by the end of a session that held too many locks.
const EXPLAINED_FOR: Duration = Duration::from_secs(5);

/// The next transaction id, less three. A snapshot's xmax is not enough: it does not grow while a transaction takes ids for
/// blocks.
const NEXT: &str = "SELECT age('3'::xid) AS next";

/// The sessions of workspaces that have an id: the ages of the first id of the transaction and of the newest one.
const SESSIONS: &str = "
    SELECT age('3'::xid) AS next, a.datname, a.pid, age(a.backend_xid) AS first, h.newest,
           extract(epoch FROM clock_timestamp() - a.query_start)::double precision AS seconds
    FROM (SELECT pid, min(age(transactionid)) AS newest FROM pg_locks
          WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted GROUP BY pid) AS h
    JOIN pg_stat_activity AS a ON a.pid = h.pid
    WHERE a.usename ~ '^w_' AND a.backend_xid IS NOT NULL AND a.datname IS NOT NULL";

/// The number of ended transactions in each workspace's database.
const ENDED: &str = "SELECT datname, xact_commit + xact_rollback AS ended FROM pg_stat_database WHERE datname ~ '^w_'";

/// Ends the direct sessions of workspaces that are over their budgets, and their requests that still take ids.
const END_SPENDERS: &str = "
    SELECT usename AS role, pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = ANY ($1::text[]) AND backend_type = 'client backend' AND usename ~ '^w_' AND (usename ~ '_d$' OR backend_xid IS NOT NULL)";

/// Ends sessions of workspaces that hold too many locks: more than one workspace may hold, or more than their part while all
/// together hold too many. A request that has just started holds few. A direct session can hold advisory locks between transactions.
const END_LOCKERS: &str = "
    WITH session AS MATERIALIZED (
        SELECT pid, usename, datname FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND usename ~ '^w_'
          AND (xact_start < clock_timestamp() - interval '300 ms' OR usename ~ '_d$')),
    locks AS (
        SELECT pid, count(*) AS held, count(*) FILTER (WHERE locktype = 'advisory') AS advisory
        FROM pg_locks WHERE EXISTS (SELECT FROM session) GROUP BY pid),
    holder AS (
        SELECT usename, datname, pid, held, advisory, sum(held) OVER () AS held_by_all, count(*) FILTER (WHERE held > 1000) OVER () AS holders
        FROM session JOIN locks USING (pid))
    SELECT usename AS role, datname, pg_terminate_backend(pid) FROM holder
    WHERE held > $1::bigint OR advisory > $3::bigint OR held_by_all > $2::bigint AND held > $2::bigint / GREATEST(holders, 1)";

/// Members' roles of a database that may or may not log in. A role that has ended has a connection limit of 0.
const MEMBERS_ROLES: &str = "
    SELECT rolname FROM pg_roles
    WHERE rolname ~ '^w_[0-9a-z]{20}_[0-9a-z]{12}_d$' AND rolconnlimit <> 0 AND rolcanlogin = $2::boolean
      AND ($1 = '' OR starts_with(rolname, $1 || '_'))";

/// The workspaces that took too much, by the names of their databases.
#[derive(Default)]
pub struct Excesses {
    accounts: Mutex<HashMap<Arc<str>, SpentIds>>,
    /// Whether any workspace is over its budget. Most requests check nothing else.
    any_over: AtomicBool,
    ended_for_locks: Mutex<HashMap<Arc<str>, Instant>>,
}

/// The ids that a workspace took and that its rate has not covered yet.
#[derive(Clone, Copy, Debug)]
struct SpentIds {
    spent: f64,
    at: Instant,
}

impl SpentIds {
    fn spent_by(&self, now: Instant) -> f64 {
        (self.spent - now.saturating_duration_since(self.at).as_secs_f64() * IDS_A_SECOND).max(0.0)
    }

    /// Seconds until the workspace is within its budget.
    fn wait(&self, now: Instant) -> Option<u64> {
        let over = self.spent_by(now) - BURST;
        (over > 0.0).then(|| (over / IDS_A_SECOND).ceil().clamp(1.0, LONGEST_WAIT) as u64)
    }
}

/// The results of the last check.
#[derive(Default)]
pub struct LastLook {
    next: Option<(i32, Instant)>,
    ended: Option<(HashMap<Arc<str>, u64>, Instant)>,
    /// Databases whose members' roles may not log in.
    barred: HashSet<Arc<str>>,
    began: bool,
}

impl Excesses {
    fn accounts(&self) -> MutexGuard<'_, HashMap<Arc<str>, SpentIds>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended_for_locks(&self) -> MutexGuard<'_, HashMap<Arc<str>, Instant>> {
        self.ended_for_locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a request of a workspace that is over its budget of transaction ids.
    pub fn allow(&self, database: &str) -> Result<(), Fault> {
        if !self.any_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        let account = self.accounts().get(database).copied();
        account
            .and_then(|account| account.wait(Instant::now()))
            .map_or(Ok(()), |retry_after| Err(over_budget(retry_after)))
    }

    /// The fault of a request whose connection broke, if the session was ended for an excess.
    pub fn explain(&self, database: &str, fault: Fault) -> Fault {
        if !matches!(fault.apart().0, Fault::Unavailable { .. }) {
            return fault;
        }
        if let Err(over) = self.allow(database) {
            return over;
        }
        let ended = self.ended_for_locks().get(database).is_some_and(|at| at.elapsed() < EXPLAINED_FOR);
        if ended { too_many_locks() } else { fault }
    }

    /// Sets the ids that a workspace took and has not earned back. With 0 it is within its budget again.
    pub fn set_spent(&self, database: &str, spent: f64) {
        self.accounts().insert(database.into(), SpentIds { spent, at: Instant::now() });
    }

    fn charge(&self, shares: &HashMap<Arc<str>, f64>, ids: f64, now: Instant) {
        let whole: f64 = shares.values().sum();
        let mut accounts = self.accounts();
        for (database, share) in shares {
            let account = accounts.entry(database.clone()).or_insert(SpentIds { spent: 0.0, at: now });
            *account = SpentIds { spent: account.spent_by(now) + ids * share / whole, at: now };
        }
    }

    /// The databases that are over their budgets.
    fn over(&self, now: Instant) -> HashSet<Arc<str>> {
        let mut accounts = self.accounts();
        accounts.retain(|_, account| account.spent_by(now) > 0.0);
        let over: HashSet<_> =
            accounts.iter().filter(|(_, it)| it.wait(now).is_some()).map(|(name, _)| name.clone()).collect();
        self.any_over.store(!over.is_empty(), Ordering::Relaxed);
        over
    }
}

fn over_budget(retry_after: u64) -> Fault {
    let message = "This workspace took too many transaction ids: blocks with an exception handler, savepoints and transactions take one \
                   each, and all workspaces share them.";
    Fault::RateLimited { retry_after, message: message.into() }
}

fn too_many_locks() -> Fault {
    Fault::Sql(Box::new(SqlFault {
        message: format!(
            "the statement was ended because it held too many locks ({} at most, fewer while the table of locks is full)",
            LIMITS.locks
        ),
        sqlstate: "53200".into(),
        hint: Some("Do the work in several requests.".into()),
        ..SqlFault::default()
    }))
}

/// The number of ids from one id to another. Ids wrap around.
fn between(before: i32, next: i32) -> u32 {
    (next as u32).wrapping_sub(before as u32)
}

/// How many ids a session may have taken since the last check, in which all sessions together took `taken` ids.
fn taken_by_session(taken: f64, first: f64, newest: f64, ran_throughout: bool) -> f64 {
    if newest >= taken {
        return 0.0;
    }
    match newest < first {
        true => first.min(taken) - newest,
        // A procedure that commits has a new first id each time.
        false if ran_throughout => taken - newest,
        // The count of commits covers it.
        false => 0.0,
    }
}

impl Store {
    /// Charges workspaces for the transaction ids that were taken since the last check. Ends the sessions of workspaces that are
    /// over their budgets, and bars their members from logging in until they are within them.
    pub async fn charge_transaction_ids(&self, last: &mut LastLook) -> Result<(), Fault> {
        self.look_at_ids(last).await.map_err(fault::of_connection)?;
        let over = self.excesses.over(Instant::now());
        if !over.is_empty() {
            let names: Vec<String> = over.iter().map(|name| name.to_string()).collect();
            let ended = self.control.query(END_SPENDERS, &[Some(&array_of_texts(&names))]).await?;
            let roles: Vec<String> = ended.all(|row| row.get("role"))?;
            for role in roles {
                tracing::warn!(role, "ended a session of a workspace that took too many transaction ids");
            }
        }
        if over != last.barred || !last.began {
            self.bar(&over, last).await.map_err(fault::of_connection)?;
        }
        Ok(())
    }

    /// Ends sessions of workspaces that hold too many locks.
    pub async fn end_lockers(&self) -> Result<(), Fault> {
        let [of_one, of_all, advisory] = [LIMITS.locks, LOCKS_OF_ALL, ADVISORY_LOCKS].map(|locks| locks.to_string());
        let ended = self.control.query(END_LOCKERS, &[Some(&of_one), Some(&of_all), Some(&advisory)]).await?;
        let ended: Vec<(String, String)> = ended.all(|row| Ok((row.get("role")?, row.get("datname")?)))?;
        let mut explained = self.excesses.ended_for_locks();
        explained.retain(|_, at| at.elapsed() < EXPLAINED_FOR);
        for (role, database) in ended {
            tracing::warn!(role, "ended a session that held too many locks");
            explained.insert(database.into(), Instant::now());
        }
        Ok(())
    }

    async fn look_at_ids(&self, last: &mut LastLook) -> Result<(), Error> {
        let now = Instant::now();
        let next: i32 = self.control.try_query(NEXT, &[]).await?.get(0, "next")?;
        let Some((before, at)) = last.next.replace((next, now)) else { return Ok(()) };
        let (seconds, taken) = (now.duration_since(at).as_secs_f64(), between(before, next));
        metrics::counter!("kith_transaction_ids_total").increment(taken.into());
        let charged = f64::from(taken) - FREE_A_SECOND * seconds;
        if charged <= 0.0 {
            return Ok(());
        }
        let mut sessions: HashMap<(Arc<str>, i32), f64> = HashMap::new();
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            let rows = self.control.try_query(SESSIONS, &[]).await?;
            let throughout = at.elapsed().as_secs_f64();
            for row in 0..rows.len() {
                let (session, ids) = session(&rows, row, before, throughout)?;
                let most = sessions.entry(session).or_default();
                *most = most.max(ids);
            }
        }
        let mut shares: HashMap<Arc<str>, f64> = HashMap::new();
        for ((database, _), ids) in sessions.into_iter().filter(|(_, ids)| *ids > 0.0) {
            *shares.entry(database).or_default() += ids;
        }
        for (database, ids) in self.many_commits(last).await? {
            *shares.entry(database).or_default() += ids;
        }
        if !shares.is_empty() {
            self.excesses.charge(&shares, charged, now);
        }
        Ok(())
    }

    /// The commits of workspaces that made many since the last count, if that count is recent.
    async fn many_commits(&self, last: &mut LastLook) -> Result<Vec<(Arc<str>, f64)>, Error> {
        let now = Instant::now();
        let rows = self.control.try_query(ENDED, &[]).await?;
        let mut ended: HashMap<Arc<str>, u64> = HashMap::with_capacity(rows.len());
        for row in 0..rows.len() {
            ended.insert(rows.get::<String>(row, "datname")?.into(), rows.get(row, "ended")?);
        }
        let before = last.ended.replace((ended.clone(), now)).filter(|(_, at)| at.elapsed() < COMMITS_COMPARED);
        let Some((before, at)) = before else { return Ok(Vec::new()) };
        let free = FREE_A_SECOND * now.duration_since(at).as_secs_f64();
        let more = |(database, count): (Arc<str>, u64)| {
            let commits = count.saturating_sub(before.get(&database).copied().unwrap_or(count)) as f64 - free;
            (commits > 0.0).then_some((database, commits))
        };
        Ok(ended.into_iter().filter_map(more).collect())
    }

    /// Bars the members of these workspaces from logging in, and allows the others to log in again.
    async fn bar(&self, over: &HashSet<Arc<str>>, last: &mut LastLook) -> Result<(), Error> {
        let mut admin = self.cells.administer_cell(0).await?;
        let mut changes = Vec::new();
        let mut let_in: Vec<&str> = last.barred.difference(over).map(|name| &**name).collect();
        if !last.began {
            // Another process may have barred some before.
            let_in = vec![""];
        }
        let keep_out = over.difference(&last.barred).map(|name| (&**name, "t", "NOLOGIN"));
        let let_in = let_in.into_iter().map(|name| (name, "f", "LOGIN"));
        for (database, can_log_in, change) in let_in.chain(keep_out) {
            let rows = admin.query(MEMBERS_ROLES, &[Some(database), Some(can_log_in)]).await?;
            for row in 0..rows.len() {
                let role: String = rows.get(row, "rolname")?;
                changes.push(format!("ALTER ROLE {} {change};", name(&role)));
            }
        }
        for change in changes {
            match admin.script(&format!("{} {change}", LOCK)).await {
                // The role was dropped meanwhile.
                Err(Error::Server(error)) if error.code == "42704" => {}
                other => other?,
            }
        }
        (last.barred, last.began) = (over.clone(), true);
        Ok(())
    }
}

/// A session, and how many ids it may have taken since the id `before`, `throughout` seconds ago.
fn session(rows: &Rows, row: usize, before: i32, throughout: f64) -> Result<((Arc<str>, i32), f64), Error> {
    let (database, pid): (String, i32) = (rows.get(row, "datname")?, rows.get(row, "pid")?);
    let (first, newest, seconds): (f64, f64, f64) =
        (rows.get(row, "first")?, rows.get(row, "newest")?, rows.get(row, "seconds")?);
    let taken = f64::from(between(before, rows.get(row, "next")?));
    Ok(((database.into(), pid), taken_by_session(taken, first, newest, seconds > throughout)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_wrap_around() {
        assert_eq!(between(10, 15), 5);
        assert_eq!(between(i32::MAX, i32::MIN + 2), 3);
        assert_eq!(between(-2, 3), 5);
    }

    #[test]
    fn only_a_session_with_a_new_id_is_charged() {
        for (what, first, newest, ran_throughout, expected) in [
            ("one statement that writes for long", 500_000.0, 500_000.0, true, 0.0),
            ("blocks in a transaction of its own time", 500_000.0, 10.0, true, 99_990.0),
            ("blocks in a transaction that has just begun", 300.0, 10.0, false, 290.0),
            ("a procedure that commits", 5.0, 5.0, true, 99_995.0),
            ("a write of one statement", 5.0, 5.0, false, 0.0),
        ] {
            assert_eq!(taken_by_session(100_000.0, first, newest, ran_throughout), expected, "{what}");
        }
    }

    #[test]
    fn a_workspace_over_its_budget_is_refused_until_it_has_earned_enough() {
        let (excesses, now) = (Excesses::default(), Instant::now());
        let shares = HashMap::from([("w_many".into(), 99.0), ("w_few".into(), 1.0)]);
        excesses.charge(&shares, 2_100_000.0, now);
        assert_eq!(excesses.over(now), HashSet::from(["w_many".into()]));
        assert!(matches!(excesses.allow("w_many"), Err(Fault::RateLimited { retry_after: 70..=79, .. })));
        assert!(excesses.allow("w_few").is_ok() && excesses.allow("w_none").is_ok());
        assert_eq!(excesses.over(now + Duration::from_secs(80)), HashSet::new());
    }

    #[test]
    fn only_a_broken_connection_is_explained() {
        let excesses = Excesses::default();
        let broken = || Fault::Unavailable { retry_after: 1, message: String::new() };
        assert_eq!(excesses.explain("w_a", broken()).status(), 503);
        excesses.ended_for_locks().insert("w_a".into(), Instant::now());
        assert_eq!(excesses.explain("w_a", broken()).status(), 400);
        assert_eq!(excesses.explain("w_b", broken()).status(), 503);
        assert_eq!(excesses.explain("w_a", Fault::IdempotencyConflict).status(), 409);
    }
}
