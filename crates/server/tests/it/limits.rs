//! Rate limits of keys, with a clock that the test controls.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kith::clock::Clock;
use kith::serve::Door;
use serde_json::json;

use crate::support::{agent, door, stranger_at};

const MINUTE_MS: i64 = 60_000;

#[tokio::test]
async fn without_limits_the_headers_say_a_million() {
    let agent = agent().await;
    for reply in [agent.get("/v1/contacts").await.status(200), agent.get("/v1/nope").await.status(404)] {
        assert_eq!(reply.header("x-ratelimit-limit"), "1000000", "{}", reply.story());
        assert_eq!(reply.header("x-ratelimit-remaining"), "1000000", "{}", reply.story());
        assert!(!reply.header("x-ratelimit-reset").is_empty(), "{}", reply.story());
    }
}

#[tokio::test]
async fn a_key_may_ask_so_often_a_minute() {
    let ahead_ms = to_the_hour();
    let base = door(Door { public_url: None, clock: Clock::Moved(ahead_ms.clone()), rate_limit: 5 }).await;
    // Created at another listener, so that the sign-up does not count here.
    let (agent, other) = (agent().await.at(&base), agent().await.at(&base));
    ahead_ms.fetch_add(2 * MINUTE_MS, Ordering::Relaxed);
    for left in (0..5).rev() {
        let reply = agent.get("/v1/contacts").await.status(200);
        assert_eq!(reply.header("x-ratelimit-limit"), "5", "{}", reply.story());
        assert_eq!(reply.header("x-ratelimit-remaining"), left.to_string(), "{}", reply.story());
    }
    let reply = agent.get("/v1/contacts").await.fault(429, "rate_limited");
    assert_eq!(reply.header("x-ratelimit-remaining"), "0", "{}", reply.story());
    let wait: i64 = reply.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    other.get("/v1/contacts").await.status(200);
    ahead_ms.fetch_add(2 * MINUTE_MS, Ordering::Relaxed);
    let reply = agent.get("/v1/contacts").await.status(200);
    assert_eq!(reply.header("x-ratelimit-remaining"), "4", "{}", reply.story());
}

#[tokio::test]
async fn an_address_may_make_60_workspaces_an_hour() {
    let ahead_ms = to_the_hour();
    let base = door(Door { public_url: None, clock: Clock::Moved(ahead_ms.clone()), rate_limit: 1200 }).await;
    let stranger = stranger_at(&base);
    // Attempts count whatever their result. These do not use the database.
    for _ in 0..60 {
        stranger.post("/v1/workspaces", json!({"nmae": "x"})).await.fault(400, "invalid_request");
    }
    let refused = stranger.post("/v1/workspaces", json!({})).await.fault(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|wait| (1..=3600).contains(&wait)));
    ahead_ms.fetch_add(61 * MINUTE_MS, Ordering::Relaxed);
    stranger.post("/v1/workspaces", json!({})).await.status(201);
}

/// The time until the next full hour, so that no window ends while a test counts.
fn to_the_hour() -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new(60 * MINUTE_MS - Clock::System.unix_ms() % (60 * MINUTE_MS)))
}
