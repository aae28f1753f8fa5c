//! The watchdog against code that tries everything to keep running.

mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pg::conn::Login;
use pg::watchdog::{Admin, Watchdog};
use pg::{Conn, Error, Target};
use support::{Tenant, one, server, until};

const CELL: u32 = 1;
const LONG: Duration = Duration::from_secs(20);
/// Longer than any watch of these tests.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Logs in as a plain role that may signal other sessions.
struct Signaller {
    target: Target,
    opened: AtomicUsize,
    pid: AtomicI32,
}

impl Admin for Signaller {
    fn open(&self, _cell: u32) -> Pin<Box<dyn Future<Output = Result<Conn, Error>> + Send + '_>> {
        Box::pin(async {
            let login = Login { user: "signaller", password: "s", database: "postgres", settings: &[] };
            let conn = Conn::open(&self.target, &login).await?;
            self.pid.store(conn.pid(), Ordering::SeqCst);
            self.opened.fetch_add(1, Ordering::SeqCst);
            Ok(conn)
        })
    }
}

async fn watchdog() -> (Watchdog, Arc<Signaller>) {
    let server = server().await;
    let role = "do $$ begin perform pg_advisory_xact_lock(1);
                if not exists (select from pg_roles where rolname = 'signaller') then
                    create role signaller login password 's' in role pg_signal_backend;
                end if; end $$";
    server.admin().await.query(role, &[]).await.unwrap();
    let target = server.target();
    let signaller = Arc::new(Signaller { target, opened: AtomicUsize::new(0), pid: AtomicI32::new(0) });
    (Watchdog::new(signaller.clone()), signaller)
}

fn names(tenant: &Tenant) -> (Arc<str>, Arc<str>) {
    (tenant.role.as_str().into(), tenant.database.as_str().into())
}

async fn is_there(pid: i32) -> bool {
    let sql = format!("select count(*) from pg_stat_activity where pid = {pid}");
    one(&mut server().await.admin().await, &sql).await == "1"
}

#[tokio::test]
async fn a_loop_that_catches_its_cancellation_is_ended_in_time() {
    let (watchdog, _) = watchdog().await;
    let tenant = server().await.tenant().await;
    let (role, database) = names(&tenant);
    for body in [
        "loop begin perform pg_sleep(60); exception when query_canceled then null; end; end loop;",
        "loop begin loop end loop; exception when query_canceled then null; end; end loop;",
    ] {
        let mut conn = tenant.connect().await;
        let pid = conn.pid();
        let limit = Duration::from_millis(300);
        let start = Instant::now();
        let guard = watchdog.watch(CELL, pid, role.clone(), database.clone(), limit);
        let ended = conn.query(&format!("do $$ begin {body} end $$"), &[]).await;
        let took = start.elapsed();
        assert!(ended.is_err() && guard.fired());
        assert!(took >= limit && took < limit + Duration::from_secs(2), "{took:?}");
        assert!(!conn.is_clean());
        eprintln!("ended after {took:?}");
        until("the backend has gone", LONG, || async { !is_there(pid).await }).await;
    }
}

#[tokio::test]
async fn who_is_done_in_time_is_left_alone() {
    let (watchdog, _) = watchdog().await;
    let tenant = server().await.tenant().await;
    let (role, database) = names(&tenant);
    let (mut quick, mut slow) = (tenant.connect().await, tenant.connect().await);
    let limit = Duration::from_millis(50);
    let guard = watchdog.watch(CELL, quick.pid(), role.clone(), database.clone(), limit);
    quick.query("select 1", &[]).await.unwrap();
    assert!(!guard.fired());
    drop(guard);
    // When a later deadline fires, the first one has passed.
    let guard = watchdog.watch(CELL, slow.pid(), role, database, limit * 2);
    slow.query("select pg_sleep(60)", &[]).await.unwrap_err();
    assert!(guard.fired());
    assert_eq!(one(&mut quick, "select 2").await, "2");
}

#[tokio::test]
async fn a_pid_that_now_belongs_to_somebody_else_is_not_hit() {
    let (watchdog, _) = watchdog().await;
    let (mine, other) = (server().await.tenant().await, server().await.tenant().await);
    let (role, database) = names(&mine);
    let (mut kept, mut ended) = (mine.connect().await, mine.connect().await);
    let (other_role, other_database) = names(&other);
    watchdog.terminate(CELL, kept.pid(), other_role, database.clone());
    watchdog.terminate(CELL, kept.pid(), role.clone(), other_database);
    watchdog.terminate(CELL, ended.pid(), role, database);
    // They are processed in order, so after the last one the others are finished.
    until("the meant one has ended", LONG, || {
        let alive = ended.is_alive();
        async move { !alive }
    })
    .await;
    assert_eq!(one(&mut kept, "select 1").await, "1");
}

#[tokio::test]
async fn a_lost_admin_connection_is_opened_again_before_it_is_needed() {
    let (watchdog, signaller) = watchdog().await;
    let tenant = server().await.tenant().await;
    let (role, database) = names(&tenant);
    let mut conn = tenant.connect().await;
    let _opens_it = watchdog.watch(CELL, conn.pid(), role.clone(), database.clone(), FOR_EVER);
    let opened = || async { signaller.opened.load(Ordering::SeqCst) >= 1 };
    until("the first connection", LONG, opened).await;
    let first = signaller.pid.load(Ordering::SeqCst);
    let end = format!("select pg_terminate_backend({first})");
    server().await.admin().await.query(&end, &[]).await.unwrap();
    until("it has ended", LONG, || async { !is_there(first).await }).await;
    let guard = watchdog.watch(CELL, conn.pid(), role, database, Duration::from_millis(100));
    conn.query("select pg_sleep(60)", &[]).await.unwrap_err();
    assert!(guard.fired());
    assert_ne!(signaller.pid.load(Ordering::SeqCst), first);
}

#[tokio::test]
async fn what_it_may_not_end_does_not_stop_it() {
    let (watchdog, _) = watchdog().await;
    let tenant = server().await.tenant().await;
    let (role, database) = names(&tenant);
    let mut superuser = server().await.admin().await;
    let mut conn = tenant.connect().await;
    watchdog.terminate(CELL, superuser.pid(), "postgres".into(), "postgres".into());
    watchdog.terminate(CELL, conn.pid(), role, database);
    until("the tenant's has ended", LONG, || {
        let alive = conn.is_alive();
        async move { !alive }
    })
    .await;
    assert_eq!(one(&mut superuser, "select 1").await, "1");
}
