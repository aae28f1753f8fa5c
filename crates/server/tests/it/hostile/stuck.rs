//! Statements that nothing interrupts: PostgreSQL does not check for signals while it compares two arrays or searches in a
//! text or a document.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kith::store::cell::TenantDatabase;
use reqwest::Method;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{Scene, outcome};
use crate::support::{Agent, Child, TempDir, arena, home, other_process};

/// A wait that long means that nothing happens any more.
const HANG: Duration = Duration::from_secs(300);

/// Compares every element with every other one.
fn comparison(size: u32) -> String {
    format!("select array_fill(1, array[{size}]) && array_fill(2, array[{size}]) as v")
}

/// A statement that takes at least so long where nothing else runs, on a machine of any speed.
async fn uninterruptible(agent: &Agent, lasting: Duration) -> String {
    const SAMPLE: u32 = 5_000;
    let mut shortest = Duration::MAX;
    for number in 0..5 {
        // The plan of a statement that was asked before has its result in it.
        let statement = comparison(SAMPLE + number);
        let begun = Instant::now();
        agent.sql(&statement).await.status(200);
        shortest = shortest.min(begun.elapsed());
    }
    comparison((f64::from(SAMPLE) * (lasting.as_secs_f64() / shortest.as_secs_f64()).sqrt()) as u32)
}

impl Scene {
    /// Whether the attacker's roles may log in.
    async fn is_let_in(&self) -> bool {
        let sql = "select count(*) = 2 from pg_roles where rolname in ($1::text, $1::text || '_r') and rolcanlogin and rolconnlimit = 30";
        let mut admin = self.home.kith.app.store.cells.administer_cell(0).await.expect("an administrator");
        let rows = admin.query(sql, &[Some(&self.place.role)]).await.expect("an answer");
        rows.text(0, 0) == Some("t")
    }
}

async fn backends(place: &TenantDatabase) -> usize {
    let mut admin = arena().kith.app.store.cells.administer_cell(0).await.expect("an administrator");
    let sql = "select pid from pg_stat_activity where datname = $1";
    admin.query(sql, &[Some(&place.database)]).await.expect("an answer").len()
}

/// How many of them run a statement.
async fn active(place: &TenantDatabase) -> usize {
    let mut admin = arena().kith.app.store.cells.administer_cell(0).await.expect("an administrator");
    let sql = "select pid from pg_stat_activity where datname = $1 and state = 'active'";
    admin.query(sql, &[Some(&place.database)]).await.expect("an answer").len()
}

fn niceness(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(16)?.parse().ok()
}

#[tokio::test]
async fn the_answer_comes_in_time_although_the_statement_does_not_end() {
    let scene = Scene::new(arena()).await;
    let statement = uninterruptible(&scene.attacker, Duration::from_secs(60)).await;
    let begun = Instant::now();
    let reply = scene.attacker.sql(&statement).await;
    println!("{} after {:?}", outcome(&reply), begun.elapsed());
    reply.fault(408, "statement_timeout");
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_workspace_is_suspended_until_its_statement_has_ended() {
    let scene = Scene::new(arena()).await;
    // More than it has places for, and every caller disconnects.
    let statement = uninterruptible(&scene.attacker, Duration::from_secs(15)).await;
    let calls = join_all((0..12).map(|_| scene.attacker.sql(&statement)));
    let begun = Instant::now();
    let all_places_are_taken = async {
        while active(&scene.place).await < 8 && begun.elapsed() < HANG {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        _ = calls => panic!("the statements end"),
        () = all_places_are_taken => {}
    }
    let mut suspended = None;
    let begun = Instant::now();
    while suspended.is_none() && begun.elapsed() < HANG {
        let reply = scene.attacker.sql("select 1 as v").await;
        suspended = (reply.code == 503 && reply.text("/message").contains("suspended")).then_some(reply);
        let count = backends(&scene.place).await;
        assert!(count <= 8 + 2, "{count} backends of one workspace");
        sleep(Duration::from_millis(100)).await;
    }
    let reply = suspended.expect("it is suspended");
    println!("suspended after {:?}: {}", begun.elapsed(), reply.text("/message"));
    assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{}", reply.story());
    scene.attacker.get("/v1/contacts").await.fault(503, "unavailable");
    assert!(!scene.is_let_in().await, "its roles may not log in");
    let mut admin = scene.home.kith.app.store.cells.administer_cell(0).await.expect("an administrator");
    let sql = "select pid from pg_stat_activity where datname = $1 and state = 'active'";
    // A statement that began last may not have reached its limit yet.
    let begun = Instant::now();
    loop {
        let rows = admin.query(sql, &[Some(&scene.place.database)]).await.expect("an answer");
        let pids = (0..rows.len()).map(|row| rows.get(row, "pid").expect("a pid"));
        let hurried: Vec<i32> = pids.filter(|pid| niceness(*pid).is_some_and(|nice| nice != 19)).collect();
        if hurried.is_empty() {
            break;
        }
        assert!(begun.elapsed() < HANG, "{hurried:?} keep their priority");
        sleep(Duration::from_millis(100)).await;
    }
    // The neighbour is not affected.
    scene.neighbour.get("/v1/contacts").await.status(200);
    let begun = Instant::now();
    while !scene.is_let_in().await {
        assert!(begun.elapsed() < Duration::from_secs(300), "it is never let in again");
        sleep(Duration::from_millis(200)).await;
    }
    println!("let in again after {:?}", begun.elapsed());
    scene.stands("statements that nothing interrupts").await;
}

#[tokio::test]
async fn a_keyed_request_that_is_ended_from_outside_is_told_why() {
    let scene = Scene::new(arena()).await;
    let stubborn = "set statement_timeout = 0; do $$ begin loop
             begin perform pg_sleep(100); exception when query_canceled then null; end;
         end loop; end $$";
    let headers = [("idempotency-key", "k"), ("content-type", "application/json")];
    let body = json!({"sql": stubborn}).to_string();
    scene.attacker.send(Method::POST, "/v1/sql", &headers, body).await.fault(408, "statement_timeout");
}

#[tokio::test]
async fn who_was_suspended_before_a_crash_is_let_in_again() {
    let scene = Scene::new(home()).await;
    // Another process, which has no session of the workspace.
    let elsewhere = scene.attacker.at(other_process().await);
    let mut admin = scene.home.kith.app.store.cells.administer_cell(0).await.expect("an administrator");
    let role = &scene.place.role;
    let mut refused = None;
    // Each process checks once a minute whether a role may log in again, and may be doing so now.
    for _ in 0..3 {
        for role in [&**role, &format!("{role}_r")] {
            let suspend = format!("alter role \"{role}\" nologin connection limit 0");
            admin.query(&suspend, &[]).await.expect("a role that may not log in");
        }
        let reply = elsewhere.sql("select 1 as v").await;
        if reply.code != 200 {
            refused = Some(reply.fault(503, "unavailable"));
            break;
        }
    }
    let reply = refused.expect("it is refused");
    assert!(reply.text("/message").contains("suspended"), "{}", reply.story());
    let store = scene.home.kith.app.store.clone();
    scene.home.run(async move { store.sweep_suspended().await }).await.expect("a sweep");
    assert!(scene.is_let_in().await);
    elsewhere.sql("select 1 as v").await.status(200);
}

#[tokio::test]
async fn a_server_with_too_many_of_them_begins_anew() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let neighbour = child.agent().await;
    let mut attackers = Vec::new();
    for _ in 0..4 {
        // An unclaimed workspace has too few places for so many stuck backends.
        attackers.push(child.owned_agent().await);
    }
    let statement = uninterruptible(&neighbour, Duration::from_secs(300)).await;
    let begun = Instant::now();
    let hung_up =
        attackers.iter().flat_map(|attacker| (0..8).map(|_| timeout(Duration::from_secs(2), attacker.sql(&statement))));
    join_all(hung_up).await;
    neighbour.get("/v1/contacts").await.status(200);
    while !child.log().contains("begins anew") {
        assert!(begun.elapsed() < Duration::from_secs(120), "{}", child.log());
        sleep(Duration::from_millis(200)).await;
    }
    println!("begun anew after {:?}", begun.elapsed());
    let begun = Instant::now();
    while neighbour.get("/v1/contacts").await.code != 200 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", child.log());
        sleep(Duration::from_millis(100)).await;
    }
    println!("served again after {:?}", begun.elapsed());
    neighbour.sql("select 1 as v").await.status(200);
    for attacker in &attackers {
        attacker.sql("select 1 as v").await.fault(503, "unavailable");
    }
}
