//! Tenants that keep resources that others wait for: slow statements, and statements that nothing interrupts.

mod support;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pg::conn::{Begin, Caps, Format, Login};
use pg::pool::{Connect, Key, Lane, Limits, Pool};
use pg::types::TypeCache;
use pg::watchdog::{Admin, Backend, Doing, Watchdog};
use pg::{Conn, Error, Target};
use support::{Tenant, one, server, until};
use tokio::task::JoinSet;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(120);
/// Statements that nothing can interrupt use one core each, so their tests run one after the other.
static BUSY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Door {
    target: Target,
    passwords: HashMap<Arc<str>, String>,
    /// The calls about backends that do not end.
    told: Mutex<Vec<String>>,
    watchdog: Mutex<Option<Watchdog>>,
}

impl Door {
    fn watchdog(&self) -> Watchdog {
        self.watchdog.lock().unwrap().clone().unwrap()
    }

    fn tell(&self, what: String) -> usize {
        let mut told = self.told.lock().unwrap();
        told.push(what);
        told.len()
    }
}

impl Connect for Door {
    fn open<'a>(&'a self, key: &'a Key) -> Pin<Box<dyn Future<Output = Result<Conn, Error>> + Send + 'a>> {
        Box::pin(async move {
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

    fn stuck<'a>(&'a self, backend: &'a Backend) -> Doing<'a, ()> {
        self.tell(format!("stuck in {}", backend.database));
        Box::pin(async { Ok(()) })
    }

    /// Fails at first.
    fn unstuck<'a>(&'a self, backend: &'a Backend) -> Doing<'a, ()> {
        let fails = self.told.lock().unwrap().len() == 1;
        self.tell(format!("{} in {}", if fails { "failed" } else { "unstuck" }, backend.database));
        Box::pin(async move { if fails { Err(Error::Config("not now".into())) } else { Ok(()) } })
    }
}

const LIMITS: Limits = Limits {
    max_total: 8,
    max_per_role: 8,
    max_queue_per_role: 100,
    wait: Duration::from_secs(8),
    max_age: Duration::from_secs(3600),
    max_idle: Duration::from_secs(3600),
};

async fn pool(tenants: usize, limits: Limits) -> (Pool, Vec<Key>) {
    let (pool, keys, _) = logged_pool(tenants, limits).await;
    (pool, keys)
}

async fn logged_pool(tenants: usize, limits: Limits) -> (Pool, Vec<Key>, Arc<Door>) {
    let server = server().await;
    let mut made: Vec<Tenant> = Vec::new();
    for _ in 0..tenants {
        made.push(server.tenant().await);
    }
    let passwords = made.iter().map(|tenant| (tenant.role.as_str().into(), tenant.password.clone())).collect();
    let door =
        Arc::new(Door { target: server.target(), passwords, told: Mutex::default(), watchdog: Mutex::default() });
    let watchdog = Watchdog::new(door.clone());
    *door.watchdog.lock().unwrap() = Some(watchdog.clone());
    let keys = made.iter().map(|tenant| Key {
        cell: 0,
        database: tenant.database.as_str().into(),
        role: tenant.role.as_str().into(),
        lane: Lane::Sql,
    });
    (Pool::new(limits, door.clone(), watchdog), keys.collect(), door)
}

/// Runs a statement under watch. Returns its result and how long it took.
async fn run(pool: &Pool, key: &Key, sql: &str, limit: Duration) -> (Result<(), Error>, Duration) {
    let mut lease = match pool.lease(key).await {
        Ok(lease) => lease,
        Err(error) => return (Err(error), Duration::ZERO),
    };
    lease.watch(limit);
    let begun = Instant::now();
    let result = lease.query(sql, &[]).await;
    lease.unwatch();
    (result.map(drop), begun.elapsed())
}

/// No signal ends this before it is finished, which takes about 5 ns times the square of `size`.
fn uninterruptible(size: u32) -> String {
    format!("select array_fill(1, array[{size}]) && array_fill(2, array[{size}])")
}

async fn backends(key: &Key) -> usize {
    let sql = format!("select count(*) from pg_stat_activity where datname = '{}'", key.database);
    one(&mut server().await.admin().await, &sql).await.parse().unwrap()
}

#[tokio::test]
async fn who_waits_gets_a_place_of_the_slow() {
    let (pool, keys) = pool(3, LIMITS).await;
    let mut slow = JoinSet::new();
    for number in 0..8 {
        let (pool, key) = (pool.clone(), keys[number / 4].clone());
        slow.spawn(async move { run(&pool, &key, "select pg_sleep(20)", LONG).await });
    }
    until("all places are taken", LONG, || async { pool.stats().in_use == 8 }).await;
    for _ in 0..3 {
        run(&pool, &keys[2], "select 1", LONG).await.0.unwrap();
    }
    let (ended, took) = slow.join_next().await.unwrap().unwrap();
    assert!(took < Duration::from_secs(15), "before its sleep is over: {took:?}");
    let Err(Error::GaveWay { after }) = ended else { panic!("{ended:?}") };
    assert!(after >= Duration::from_millis(250), "{after:?}");
    // The statements of the others are not ended without need.
    assert!(pool.stats().in_use >= 4, "{:?}", pool.stats());
}

#[tokio::test]
async fn the_answer_comes_at_the_limit_whatever_the_backend_does() {
    let _busy = BUSY.lock().await;
    let (pool, keys) = pool(1, LIMITS).await;
    let (result, _) = run(&pool, &keys[0], &uninterruptible(60_000), Duration::from_millis(300)).await;
    assert!(matches!(result, Err(Error::DeadlineExceeded)), "{result:?}");
    assert_eq!(backends(&keys[0]).await, 1, "it answers while the backend goes on");
}

#[tokio::test]
async fn a_place_is_taken_until_its_backend_is_gone() {
    let _busy = BUSY.lock().await;
    let (pool, keys) = pool(1, Limits { max_per_role: 2, wait: Duration::from_secs(20), ..LIMITS }).await;
    let mut stuck = JoinSet::new();
    for _ in 0..4 {
        let (pool, key) = (pool.clone(), keys[0].clone());
        stuck.spawn(async move {
            let mut lease = pool.lease(&key).await?;
            // The caller disconnects.
            let statement = uninterruptible(50_000);
            let _ = timeout(Duration::from_millis(50), lease.query(&statement, &[])).await;
            Ok::<_, Error>(())
        });
    }
    let begun = Instant::now();
    let mut most = 0;
    while !stuck.is_empty() {
        while stuck.try_join_next().is_some() {}
        most = most.max(backends(&keys[0]).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(begun.elapsed() < LONG * 2);
    }
    assert_eq!(most, 2, "there are never more backends than places");
}

#[tokio::test]
async fn a_database_is_suspended_while_a_backend_of_it_does_not_end() {
    let _busy = BUSY.lock().await;
    let (pool, keys, log) = logged_pool(2, LIMITS).await;
    let (result, _) = run(&pool, &keys[0], &uninterruptible(60_000), Duration::from_millis(100)).await;
    assert!(matches!(result, Err(Error::DeadlineExceeded)), "{result:?}");
    let other_lane = Key { lane: Lane::Rest, ..keys[0].clone() };
    until("it is suspended", LONG, || async { matches!(pool.lease(&other_lane).await, Err(Error::Suspended(_))) })
        .await;
    assert!(matches!(pool.lease(&keys[0]).await, Err(Error::Suspended(_))));
    run(&pool, &keys[1], "select 1", LONG).await.0.unwrap();
    until("it is let in again", LONG, || async { pool.lease(&keys[0]).await.is_ok() }).await;
    let database = &keys[0].database;
    let told = log.told.lock().unwrap().clone();
    assert_eq!(
        told,
        [format!("stuck in {database}"), format!("failed in {database}"), format!("unstuck in {database}")]
    );
    run(&pool, &keys[0], "select 1", LONG).await.0.unwrap();
}

#[tokio::test]
async fn what_is_stuck_already_is_taken_over() {
    let _busy = BUSY.lock().await;
    let (pool, keys, log) = logged_pool(1, LIMITS).await;
    let mut lease = pool.lease(&keys[0]).await.unwrap();
    let pid = lease.pid();
    let statement = uninterruptible(45_000);
    let query = lease.query(&statement, &[]);
    let adopted = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Key { cell, database, role, .. } = keys[0].clone();
        log.watchdog().adopt(Backend { cell, pid, role, database });
        until("it is suspended", LONG, || async { matches!(pool.lease(&keys[0]).await, Err(Error::Suspended(_))) })
            .await;
    };
    let (ended, ()) = tokio::join!(query, adopted);
    assert!(ended.is_err());
    until("it is let in again", LONG, || async { pool.lease(&keys[0]).await.is_ok() }).await;
}

#[tokio::test]
async fn a_lease_in_an_open_transaction_gives_way_too() {
    let (pool, keys) = pool(2, Limits { max_total: 1, ..LIMITS }).await;
    let mut lease = pool.lease(&keys[0]).await.unwrap();
    lease.watch(LONG);
    let mut tx = pg::conn::Tx::begin(lease, Begin::ReadWrite(&[])).unwrap();
    tx.prepare("select 1", &TypeCache::default()).await.unwrap();
    // It is idle for a while, and holds the only place.
    let idle = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let caps = Caps { max_rows: 1, max_bytes: 1000, max_value_bytes: 1000 };
        let ended = tx.execute(&[], Format::Json, caps, &TypeCache::default()).await;
        drop(tx);
        ended
    };
    let (ended, (served, _)) = tokio::join!(idle, run(&pool, &keys[1], "select 1", LONG));
    assert!(matches!(ended, Err(Error::GaveWay { .. })), "{ended:?}");
    served.unwrap();
}
