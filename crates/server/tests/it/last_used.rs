//! The time when keys were last used: it is shown in their list, and recorded outside of the requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kith::clock::Clock;
use kith::serve::Door;
use serde_json::Value;

use crate::belongings::owned;
use crate::support::{Agent, door, home};

const HOUR_SECONDS: i64 = 60 * 60;

/// When the owner's only key was last used, in Unix seconds.
async fn last_used(owner: &Agent) -> Option<i64> {
    let listed = owner.get(&format!("/v1/keys?ws={}", owner.workspace_id)).await.status(200);
    match listed.at("/data/0/last_used_at") {
        Value::Null => None,
        Value::String(at) => Some(at.parse::<jiff::Timestamp>().expect("a time").as_second()),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_list_of_keys_says_when_each_was_last_used() {
    let (owner, live) = owned().await;
    assert_eq!(last_used(&owner).await, None, "it was never used");
    let before = Clock::System.unix_seconds();
    live.get("/v1/contacts").await.status(200);
    let first = last_used(&owner).await.expect("a time");
    assert!((before..=Clock::System.unix_seconds()).contains(&first));
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let later = door(Door { public_url: None, clock: Clock::Moved(ahead_ms.clone()), rate_limit: 0 }).await;
    for hours in [1, 2] {
        ahead_ms.store(hours * HOUR_SECONDS * 1000, Ordering::Relaxed);
        // A refused request counts as a use too.
        live.at(&later).get("/v1/nothing").await.status(404);
        let at = last_used(&owner).await.expect("a time");
        assert!((0..600).contains(&(at - first - hours * HOUR_SECONDS)), "{hours} hours later: {at} after {first}");
    }
}

#[tokio::test]
async fn a_use_that_another_process_has_noted_is_not_taken_back() {
    let (owner, live) = owned().await;
    let sql = "UPDATE api_keys SET last_used_at = now() + interval '1 hour' WHERE workspace_id = $1";
    home().control(sql, &[&owner.workspace_id]).await;
    let noted = last_used(&owner).await;
    live.get("/v1/contacts").await.status(200);
    assert_eq!(last_used(&owner).await, noted);
}
