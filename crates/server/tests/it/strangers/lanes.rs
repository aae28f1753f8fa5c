//! One address with many unclaimed workspaces, and invalid tokens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kith::access::api_key;
use reqwest::Method;
use serde_json::json;

use crate::support::{Agent, Reply, arena, home, stranger, stranger_at};

/// A request that a trusted proxy has forwarded from this address.
async fn from(agent: &Agent, address: &str, sql: &str) -> Reply {
    let headers = [("x-forwarded-for", address), ("content-type", "application/json")];
    agent.send(Method::POST, "/v1/sql", &headers, json!({"sql": sql}).to_string()).await
}

#[tokio::test]
async fn one_address_does_not_keep_its_neighbours_waiting() {
    const FLOOD: &str = "203.0.113.7";
    let base = &arena().base;
    let busy = join_all((0..12).map(|_| stranger_at(base).with_workspace())).await;
    let (quiet, elsewhere) = (stranger_at(base).with_workspace().await, stranger_at(base).with_workspace().await);
    let answered = AtomicUsize::new(0);
    let flood = join_all((0..96).map(async |at: usize| {
        let code = from(&busy[at % 12], FLOOD, "select pg_sleep(1.5), 1 as v").await.code;
        answered.fetch_add(1, Ordering::Relaxed);
        code
    }));
    let looks = async {
        // While they run.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(400) {
            from(&elsewhere, "203.0.113.8", "select 1 as v").await.status(200);
        }
        from(&quiet, FLOOD, "select 1 as v").await.status(200);
        let before = answered.load(Ordering::Relaxed);
        assert!(before <= 64, "{before} calls of busy workspaces were answered before the quiet one's");
    };
    let (codes, ()) = tokio::join!(flood, looks);
    let count = |code| codes.iter().filter(|it| **it == code).count();
    println!("200: {}, 503: {}", count(200), count(503));
    assert_eq!(count(200) + count(503), 96);
    assert!(count(200) >= 32, "{codes:?}");
}

#[tokio::test]
async fn hundreds_of_quick_calls_are_all_served() {
    let agent = crate::support::agent().await;
    let calls = join_all((0..300).map(|_| agent.get("/v1/contacts?limit=1"))).await;
    for reply in calls {
        reply.status(200);
    }
}

#[tokio::test]
async fn unknown_tokens_are_looked_up_at_a_pace() {
    const FLOOD: &str = "203.0.113.9";
    let known = crate::support::agent().await;
    known.get("/v1/contacts").await.status(200);
    let show = async |token: String, address: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", address)];
        stranger().send(Method::GET, "/v1/contacts", &headers, "").await
    };
    let flood = join_all((0..300).map(|_| show(api_key::make("acrm_live_"), FLOOD)));
    let (replies, ()) = tokio::join!(flood, async {
        show(known.key.clone(), FLOOD).await.status(200);
        show(api_key::make("acrm_live_"), "203.0.113.10").await.fault(401, "unauthorized");
    });
    let count = |code| replies.iter().filter(|reply| reply.code == code).count();
    println!("401: {}, 429: {}", count(401), count(429));
    assert_eq!(count(401) + count(429), 300);
    assert!(count(429) > 150, "{} were refused", count(429));
    let session = format!("kst_{}", "0".repeat(40));
    let bearer = format!("Bearer {session}");
    let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", FLOOD)];
    stranger().send(Method::GET, "/v1/auth/me", &headers, "").await.fault(401, "unauthorized");
}

#[tokio::test]
async fn a_key_works_from_the_moment_it_is_made() {
    let agent = crate::support::agent().await;
    let token = api_key::make("acrm_live_");
    let shown = stranger().with_key(token.clone(), agent.workspace_id.clone());
    shown.get("/v1/contacts").await.fault(401, "unauthorized");
    let hash: String = api_key::hash(&token).iter().map(|byte| format!("{byte:02x}")).collect();
    let made = "update api_keys set hash = decode($1, 'hex') where workspace_id = $2";
    home().control(made, &[&hash, &agent.workspace_id]).await;
    shown.get("/v1/contacts").await.status(200);
}
