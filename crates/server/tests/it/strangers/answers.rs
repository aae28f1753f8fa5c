//! Answers that the client does not read.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kith::bounds::Bounds;
use serde_json::{Value, json};

use crate::support::{Child, Raw, Streams, TempDir, bounded_door, stranger_at};

/// How long a test waits for expected data.
const PATIENCE: Duration = Duration::from_secs(40);

/// About ten megabytes.
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
    // Unclaimed workspaces of one address have one share of the memory.
    let neighbour = child.owned_agent().await;
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
    // A client that reads gets its answer.
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
    // Reads nothing before the server has given up.
    raw.until_closed().await;
    assert!(raw.try_answer().await.is_none(), "the whole answer came");

    // A stream with a closed window, on a connection that is read.
    let bearer = format!("Bearer {}", agent.key);
    let headers = [("authorization", bearer.as_str())];
    let streams = Streams::connect(&base, 0).await;
    let mut requests = streams.requests.clone().ready().await.expect("a connection");
    let (response, _) =
        requests.send_request(Streams::request("GET", "/v1/contacts", &headers), true).expect("a stream");
    let response = response.await.expect("a head");
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let part = tokio::time::timeout(PATIENCE, body.data()).await.expect("the connection ends");
    assert!(part.is_none_or(|part| part.is_err()), "nothing can come");
}

#[tokio::test]
async fn who_reads_slowly_gets_it_all() {
    let unread = Duration::from_secs(3);
    let base = bounded_door(Bounds { unread, answer_rate: 1, ..Bounds::default() }).await;
    let agent = stranger_at(&base).with_workspace().await;
    let name = "x".repeat(5000);
    let made = agent.post("/v1/contacts", json!({"first_name": name})).await.status(201);
    let bearer = format!("Bearer {}", agent.key);
    let request = Streams::request("GET", &format!("/v1/contacts/{}", made.id()), &[("authorization", &bearer)]);
    // A hundred bytes at a time. The total time is longer than a client may pause.
    let streams = Streams::connect(&base, 100).await;
    let mut requests = streams.requests.clone().ready().await.expect("a connection");
    let (response, _) = requests.send_request(request, true).expect("a stream");
    let (head, mut body) = response.await.expect("a head").into_parts();
    assert_eq!(head.status, 200);
    let (start, mut whole) = (Instant::now(), Vec::new());
    while let Some(part) = body.data().await {
        let part = part.expect("a part of the answer");
        whole.extend_from_slice(&part);
        tokio::time::sleep(unread / 30).await;
        let _ = body.flow_control().release_capacity(part.len());
    }
    assert!(start.elapsed() > unread, "it was read in {:?}", start.elapsed());
    let whole: Value = serde_json::from_slice(&whole).expect("the whole of it");
    assert_eq!(whole["data"]["first_name"], name);
}
