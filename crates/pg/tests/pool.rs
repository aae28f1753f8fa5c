//! The pool over a real server: each connection goes to the right key, connections are returned, and the books are
//! consistent.

mod support;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pg::conn::Login;
use pg::pool::{Connect, Key, Lane, Lease, Limits, Pool};
use pg::watchdog::{Admin, Watchdog};
use pg::{Conn, Error, Target};
use support::{Tenant, one, server, until};
use tokio::task::JoinSet;
use tokio::time::timeout;

const CELL: u32 = 0;
const LONG: Duration = Duration::from_secs(30);

/// Logs in with the tenants' passwords, and as the superuser for the watchdog.
struct Door {
    target: Target,
    passwords: HashMap<Arc<str>, String>,
    /// The log-ins so far.
    log_ins: Arc<AtomicUsize>,
}

impl Connect for Door {
    fn open<'a>(&'a self, key: &'a Key) -> Pin<Box<dyn Future<Output = Result<Conn, Error>> + Send + 'a>> {
        Box::pin(async move {
            self.log_ins.fetch_add(1, Ordering::Relaxed);
            let password = self.passwords.get(&key.role).map_or("", String::as_str);
            let login = Login { user: &key.role, password, database: &key.database, settings: &[] };
            Conn::open(&self.target, &login).await
        })
    }
}

impl Admin for Door {
    fn open(&self, _cell: u32) -> Pin<Box<dyn Future<Output = Result<Conn, Error>> + Send + '_>> {
        Box::pin(async { Ok(support::admin(&self.target).await) })
    }
}

const LIMITS: Limits = Limits {
    max_total: 8,
    max_per_role: 3,
    max_queue_per_role: 100,
    wait: LONG,
    max_age: Duration::from_secs(3600),
    max_idle: Duration::from_secs(3600),
};

/// A pool over this many tenants of its own.
async fn pool(tenants: usize, limits: Limits) -> (Pool, Vec<Key>) {
    counting_pool(tenants, limits, Arc::default()).await
}

async fn counting_pool(tenants: usize, limits: Limits, log_ins: Arc<AtomicUsize>) -> (Pool, Vec<Key>) {
    let server = server().await;
    let mut made: Vec<Tenant> = Vec::new();
    for _ in 0..tenants {
        made.push(server.tenant().await);
    }
    let passwords = made.iter().map(|tenant| (tenant.role.as_str().into(), tenant.password.clone())).collect();
    let door = Arc::new(Door { target: server.target(), passwords, log_ins });
    let keys = made.iter().map(|tenant| key(tenant, Lane::Rest)).collect();
    (Pool::new(limits, door.clone(), Watchdog::new(door)), keys)
}

fn key(tenant: &Tenant, lane: Lane) -> Key {
    Key { cell: CELL, database: tenant.database.as_str().into(), role: tenant.role.as_str().into(), lane }
}

fn sql(key: &Key) -> Key {
    Key { lane: Lane::Sql, ..key.clone() }
}

async fn at_rest(pool: &Pool) {
    until("every place has come back", LONG, || async { pool.stats().in_use == 0 }).await;
    let stats = pool.stats();
    assert_eq!((stats.total, stats.waiting), (stats.idle, 0), "{stats:?}");
}

/// The number of backends of the keys' databases.
async fn backends(keys: &[Key]) -> usize {
    let names: Vec<String> = keys.iter().map(|key| format!("'{}'", key.database)).collect();
    let sql = format!("select count(*) from pg_stat_activity where datname in ({})", names.join(","));
    one(&mut server().await.admin().await, &sql).await.parse().unwrap()
}

#[tokio::test]
async fn a_log_in_that_a_full_server_refuses_is_tried_again() {
    let log_ins = Arc::new(AtomicUsize::new(0));
    let (pool, keys) = counting_pool(1, LIMITS, log_ins.clone()).await;
    let mut admin = server().await.admin().await;
    admin.script(&format!("alter role \"{}\" connection limit 1", keys[0].role)).await.unwrap();
    let (first, second) = (pool.lease(&keys[0]).await.unwrap(), sql(&keys[0]));
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.lease(&second).await.map(drop) }
    });
    until("the second log-in was refused once", LONG, || async { log_ins.load(Ordering::Relaxed) > 2 }).await;
    first.discard();
    waiting.await.unwrap().unwrap();
    at_rest(&pool).await;
}

#[tokio::test]
async fn a_connection_comes_back_and_is_used_again() {
    let (pool, keys) = pool(2, LIMITS).await;
    let first = pool.lease(&keys[0]).await.unwrap().pid();
    assert_eq!(pool.lease(&keys[0]).await.unwrap().pid(), first);
    let mut other = pool.lease(&keys[1]).await.unwrap();
    assert_ne!(other.pid(), first);
    assert_eq!(one(&mut other, "select current_user").await, *keys[1].role);
    assert_eq!(pool.stats().opened, 2);
    drop(other);
    at_rest(&pool).await;
}

#[tokio::test]
async fn a_session_that_sql_was_run_in_is_reset_and_rest_never_gets_it() {
    let (pool, keys) = pool(1, LIMITS).await;
    let mut lease = pool.lease(&sql(&keys[0])).await.unwrap();
    let pid = lease.pid();
    lease.query("set work_mem = '77MB'", &[]).await.unwrap();
    lease.query("prepare left_over as select 1", &[]).await.unwrap();
    lease.query("declare left_open cursor with hold for select 1", &[]).await.unwrap();
    lease.query("listen left_on", &[]).await.unwrap();
    lease.query("create temp table left_lying (a int)", &[]).await.unwrap();
    drop(lease);
    // Immediately: the request waits for the reset instead of opening another connection.
    let mut lease = pool.lease(&sql(&keys[0])).await.unwrap();
    assert_eq!(lease.pid(), pid);
    assert_ne!(one(&mut lease, "show work_mem").await, "77MB");
    for left in ["pg_prepared_statements where name = 'left_over'", "pg_cursors where name = 'left_open'"] {
        assert_eq!(one(&mut lease, &format!("select count(*) from {left}")).await, "0", "{left}");
    }
    assert_eq!(one(&mut lease, "select count(*) from pg_listening_channels()").await, "0");
    assert_eq!(one(&mut lease, "select to_regclass('left_lying') is null").await, "t");
    assert_ne!(pool.lease(&keys[0]).await.unwrap().pid(), pid);
    drop(lease);
    at_rest(&pool).await;
    assert_eq!(pool.stats().opened, 2);
}

#[tokio::test]
async fn a_lease_dropped_in_mid_request_ends_its_backend_and_frees_its_place() {
    let (pool, keys) = pool(1, Limits { max_total: 1, ..LIMITS }).await;
    for lane in [Lane::Rest, Lane::Sql] {
        let key = Key { lane, ..keys[0].clone() };
        let mut lease = pool.lease(&key).await.unwrap();
        let pid = lease.pid();
        let cut = timeout(Duration::from_millis(50), lease.query("do $$ begin loop end loop; end $$", &[])).await;
        assert!(cut.is_err());
        drop(lease);
        let mut next = pool.lease(&key).await.unwrap();
        let sql = format!("select count(*) from pg_stat_activity where pid = {pid}");
        assert_eq!(one(&mut next, &sql).await, "0", "there are never more backends than places");
    }
    at_rest(&pool).await;
}

#[tokio::test]
async fn a_lease_whose_time_is_up_is_not_used_again() {
    let (pool, keys) = pool(1, LIMITS).await;
    let mut lease = pool.lease(&keys[0]).await.unwrap();
    lease.watch(Duration::from_millis(50));
    lease.query("select pg_sleep(60)", &[]).await.unwrap_err();
    assert!(lease.unwatch());
    drop(lease);
    let mut lease = pool.lease(&keys[0]).await.unwrap();
    lease.watch(LONG);
    assert_eq!(one(&mut lease, "select 1").await, "1");
    assert!(!lease.unwatch());
}

#[tokio::test]
async fn who_waits_too_long_or_behind_too_many_is_told_so() {
    let limits = Limits { max_per_role: 1, max_queue_per_role: 2, wait: Duration::from_secs(1), ..LIMITS };
    let (pool, keys) = pool(1, limits).await;
    let lease = pool.lease(&keys[0]).await.unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (pool, key) = (pool.clone(), keys[0].clone());
            tokio::spawn(async move { pool.lease(&key).await.map(drop) })
        })
        .collect();
    until("two wait", LONG, || async { pool.stats().waiting == 2 }).await;
    let Err(Error::Busy(text)) = pool.lease(&keys[0]).await else { panic!("the queue is full") };
    assert!(text.contains("already wait"), "{text}");
    for task in waiting {
        let Err(Error::Busy(text)) = task.await.unwrap() else { panic!("nothing came free") };
        assert!(text.contains("came free"), "{text}");
    }
    drop(lease);
    at_rest(&pool).await;
}

#[tokio::test]
async fn who_gave_up_does_not_stand_in_the_queue() {
    let limits = Limits { max_per_role: 1, max_queue_per_role: 5, ..LIMITS };
    let (pool, keys) = pool(1, limits).await;
    let lease = pool.lease(&keys[0]).await.unwrap();
    for _ in 0..20 {
        let gave_up = timeout(Duration::from_millis(1), pool.lease(&keys[0])).await;
        assert!(gave_up.is_err(), "neither served nor refused");
    }
    assert_eq!(pool.stats().waiting, 0);
    drop(lease);
    at_rest(&pool).await;
}

#[tokio::test]
async fn a_failed_log_in_gives_its_place_to_who_waits() {
    let (pool, keys) = pool(1, Limits { max_total: 1, ..LIMITS }).await;
    let nobody = Key { role: "nobody_of_that_name".into(), ..keys[0].clone() };
    let mut tasks = JoinSet::new();
    for i in 0..40 {
        let (pool, key) = (pool.clone(), if i % 2 == 0 { nobody.clone() } else { keys[0].clone() });
        tasks.spawn(async move { (i % 2 == 0, pool.lease(&key).await.err().map(|e| e.code().map(str::to_owned))) });
    }
    while let Some(result) = tasks.join_next().await {
        match result.unwrap() {
            (true, error) => assert_eq!(error, Some(Some("28P01".into()))),
            (false, error) => assert_eq!(error, None),
        }
    }
    at_rest(&pool).await;
}

#[tokio::test]
async fn a_panic_loses_no_place() {
    let (pool, keys) = pool(1, Limits { max_total: 1, ..LIMITS }).await;
    let panicking = {
        let (pool, key) = (pool.clone(), keys[0].clone());
        tokio::spawn(async move {
            let _lease = pool.lease(&key).await.unwrap();
            panic!("on purpose");
        })
    };
    assert!(panicking.await.unwrap_err().is_panic());
    pool.lease(&keys[0]).await.unwrap();
    at_rest(&pool).await;
}

#[tokio::test]
async fn connections_that_the_server_closed_are_not_handed_out() {
    let (pool, keys) = pool(1, LIMITS).await;
    let pid = pool.lease(&keys[0]).await.unwrap().pid();
    at_rest(&pool).await;
    let end = format!("select pg_terminate_backend({pid}, 10000)");
    server().await.admin().await.query(&end, &[]).await.unwrap();
    let mut lease = pool.lease(&keys[0]).await.unwrap();
    assert_eq!(one(&mut lease, "select 1").await, "1");
    assert_ne!(lease.pid(), pid);
}

#[tokio::test]
async fn an_evicted_database_can_be_dropped() {
    let (pool, keys) = pool(2, LIMITS).await;
    let held = pool.lease(&keys[0]).await.unwrap();
    drop((pool.lease(&keys[0]).await.unwrap(), pool.lease(&keys[1]).await.unwrap()));
    at_rest_but(&pool, 1).await;
    pool.evict_database(CELL, &keys[0].database);
    assert_eq!((pool.stats().idle, pool.stats().total), (1, 2));
    drop(held);
    assert_eq!((pool.stats().idle, pool.stats().total), (1, 1), "what was in use is closed as well");
    until("its backends have gone", LONG, || async { backends(&keys[..1]).await == 0 }).await;
    let drop_it = format!("drop database {}", keys[0].database);
    server().await.admin().await.query(&drop_it, &[]).await.unwrap();
    pool.evict_role(CELL, &keys[1].role);
    assert_eq!(pool.stats().total, 0);
}

async fn at_rest_but(pool: &Pool, in_use: usize) {
    until("the others have come back", LONG, || async { pool.stats().in_use == in_use }).await;
}

#[tokio::test]
async fn what_is_idle_for_too_long_is_closed() {
    let (pool, keys) = pool(1, Limits { max_idle: Duration::from_millis(50), ..LIMITS }).await;
    drop((pool.lease(&keys[0]).await.unwrap(), pool.lease(&keys[0]).await.unwrap()));
    until("nothing is left", LONG, || async { pool.stats().total == 0 }).await;
    until("nor on the server", LONG, || async { backends(&keys).await == 0 }).await;
}

#[tokio::test]
async fn a_closed_pool_waits_for_what_is_in_use_and_gives_nothing_more() {
    let (pool, keys) = pool(1, LIMITS).await;
    let lease = pool.lease(&keys[0]).await.unwrap();
    drop(pool.lease(&keys[0]).await.unwrap());
    let closing = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.close().await })
    };
    until("what was idle is closed", LONG, || async { pool.stats().idle == 0 }).await;
    assert!(matches!(pool.lease(&keys[0]).await, Err(Error::Busy(_))));
    assert!(!closing.is_finished());
    drop(lease);
    closing.await.unwrap();
    assert_eq!(pool.stats().total, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_busy_role_does_not_starve_the_rest() {
    let limits = Limits { max_total: 4, max_per_role: 4, ..LIMITS };
    let (pool, keys) = pool(4, limits).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (mut hog, hogged) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..60 {
        let (pool, key, stop, hogged) = (pool.clone(), keys[0].clone(), stop.clone(), hogged.clone());
        hog.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let mut lease = pool.lease(&key).await.unwrap();
                lease.query("select pg_sleep(0.002)", &[]).await.unwrap();
                hogged.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    until("it has all places and a queue", LONG, || async { pool.stats().waiting > 40 }).await;
    let mut others = JoinSet::new();
    for key in &keys[1..] {
        let (pool, key) = (pool.clone(), key.clone());
        others.spawn(async move {
            for _ in 0..20 {
                let start = tokio::time::Instant::now();
                let mut lease = pool.lease(&key).await.unwrap();
                let waited = start.elapsed();
                // The queue of the greedy tenant alone takes longer than any of them may wait.
                assert!(waited < Duration::from_secs(1), "{waited:?}");
                one(&mut lease, "select 1").await;
            }
        });
    }
    while let Some(done) = others.join_next().await {
        done.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = hog.join_next().await {
        done.unwrap();
    }
    assert!(hogged.load(Ordering::Relaxed) > 60, "and the busy one gets on too");
    at_rest(&pool).await;
}

/// What a request of the storm does with its connection.
async fn weather(mut lease: Lease, kind: u64) {
    match kind % 12 {
        0 => lease.discard(),
        1 => drop(timeout(Duration::from_micros(300), lease.query("select pg_sleep(60)", &[])).await),
        2 => drop(lease.query("begin", &[]).await),
        3 => drop(lease.query("select 1/0", &[]).await),
        4 => drop(lease.query("select pg_terminate_backend(pg_backend_pid())", &[]).await),
        _ => assert_eq!(one(&mut lease, "select 1").await, "1"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_balance_after_a_storm() {
    let (pool, keys) = pool(5, LIMITS).await;
    let keys: Vec<Key> = keys.iter().flat_map(|key| [key.clone(), sql(key)]).collect();
    let mut tasks = JoinSet::new();
    for task in 0..120_u64 {
        let (pool, keys) = (pool.clone(), keys.clone());
        tasks.spawn(async move {
            let mut random = (task + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            for _ in 0..12 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let key = &keys[(random >> 8) as usize % keys.len()];
                if random % 5 == 0 {
                    // Cancelled while it waits, while it logs in, or while its place is being sent.
                    drop(timeout(Duration::from_micros(random % 9000), pool.lease(key)).await);
                } else if random % 47 == 0 {
                    pool.evict_role(CELL, &key.role);
                } else {
                    weather(pool.lease(key).await.unwrap(), random >> 32).await;
                }
                assert!(pool.stats().total <= LIMITS.max_total);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    at_rest(&pool).await;
    eprintln!("{:?}", pool.stats());
    until("the server agrees", LONG, || async { backends(&keys).await == pool.stats().idle }).await;
    pool.close().await;
    until("and all is closed", LONG, || async { backends(&keys).await == 0 }).await;
}
