//! Answers that nobody reads.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kith::bounds::Bounds;
use serde_json::json;

use crate::support::{Child, Raw, Streams, TempDir, bounded_door, stranger_at};

/// Some ten megabytes.
const LARGE: &str = "select repeat('x', 1000) as x from generate_series(1, 9900)";

fn request(key: &str) -> String {
    let body = json!({"sql": LARGE}).to_string();
    format!(
        "POST /v1/sql HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn answers_that_nobody_reads_stay_within_a_budget() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let agents = join_all((0..4).map(|_| child.agent())).await;
    let neighbour = child.agent().await;
    for agent in agents.iter().chain([&neighbour]) {
        agent.sql(LARGE).await.status(200);
    }
    let before = child.measure_memory();
    let mut unread = Vec::new();
    for at in 0..40 {
        unread.push(Raw::saying(&child.base, &request(&agents[at % 4].key)).await);
    }
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    while start.elapsed() < Duration::from_secs(8) {
        let asked = Instant::now();
        neighbour.get("/v1/contacts").await.status(200);
        slowest = slowest.max(asked.elapsed());
    }
    // Who reads is answered.
    let answered = neighbour.sql(LARGE).await.status(200).body.len();
    let grown = child.memory_kb("VmHWM").saturating_sub(before);
    println!(
        "{} unread answers: {grown} kB; the neighbour waited {slowest:?} at most, and read {answered} bytes",
        unread.len()
    );
    assert!(grown < 128 * 1024, "unread answers cost {grown} kB");
}

#[tokio::test]
async fn who_reads_nothing_loses_the_connection() {
    let bounds = Bounds { unread: Duration::from_millis(400), ..Bounds::default() };
    let base = bounded_door(bounds).await;
    let agent = stranger_at(&base).with_workspace().await;
    let mut raw = Raw::saying(&base, &request(&agent.key)).await;
    // It is not read until the server must have given up.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        agent.get("/v1/contacts").await.status(200);
    }
    assert!(raw.try_answer().await.is_none(), "the whole answer came");

    // A stream whose window is shut, on a connection that is read.
    let bearer = format!("Bearer {}", agent.key);
    let headers = [("authorization", bearer.as_str())];
    let streams = Streams::connect(&base, 0).await;
    let mut requests = streams.requests.clone().ready().await.expect("a connection");
    let (response, _) =
        requests.send_request(Streams::request("GET", "/v1/contacts", &headers), true).expect("a stream");
    let response = response.await.expect("a head");
    assert_eq!(response.status(), 200);
    assert!(response.into_body().data().await.is_none_or(|part| part.is_err()), "nothing can come");
}

#[tokio::test]
async fn who_reads_slowly_gets_it_all() {
    let bounds = Bounds { unread: Duration::from_millis(500), answer_rate: 1, ..Bounds::default() };
    let base = bounded_door(bounds).await;
    let agent = stranger_at(&base).with_workspace().await;
    let bearer = format!("Bearer {}", agent.key);
    let headers = [("authorization", bearer.as_str())];
    let streams = Streams::connect(&base, 100).await;
    let (code, _, body) = streams.ask(Streams::request("GET", "/v1/tables", &headers)).await.expect("a whole answer");
    assert_eq!(code, 200);
    assert!(body.len() > 1000);
}
