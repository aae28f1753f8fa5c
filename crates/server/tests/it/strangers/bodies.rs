//! Bodies: their cost, and how long they may take.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use kith::bounds::Bounds;
use reqwest::Method;
use serde_json::json;

use crate::support::{Agent, Child, Raw, Streams, TempDir, agent, bounded_door, stranger, stranger_at};

const MIB: usize = 1024 * 1024;
/// The maximum memory for a body of 10 MiB, in kB.
const MOST_KB: u64 = 4 * 10 * 1024;

/// A body of at most this size that consists of many small values.
fn small_values(value: &str, size: usize) -> String {
    let (before, after) = (r#"{"email": ["#, "1]}");
    let count = (size - before.len() - after.len()) / (value.len() + 1);
    format!("{before}{}{after}", format!("{value},").repeat(count))
}

/// The head of a request with a body of the stated length.
fn head(path: &str, key: &str, length: usize) -> String {
    let key = if key.is_empty() { String::new() } else { format!("Authorization: Bearer {key}\r\n") };
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\n{key}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// A client after its first requests, so that the memory they allocate is already counted.
async fn warm(child: &Child) -> Agent {
    let agent = child.agent().await;
    for number in 0..20 {
        agent.post("/v1/contacts", json!({"email": format!("n{number}@b.example")})).await.status(201);
    }
    agent.sql("select 1").await.status(200);
    agent
}

#[tokio::test]
async fn a_body_of_small_values_costs_little_more_than_its_size() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let agent = warm(&child).await;
    let stranger = child.stranger();
    let numbers = small_values("1", 10 * MIB);
    let before = child.measure_memory();
    for path in ["/v1/auth/login", "/v1/auth/signup", "/v1/workspaces"] {
        let send = || stranger.send_json(Method::POST, path, numbers.clone());
        let (first, second, third) = tokio::join!(send(), send(), send());
        for reply in [first, second, third] {
            reply.fault(413, "payload_too_large");
        }
    }
    stranger.send_json(Method::POST, "/v1/contacts", numbers.clone()).await.fault(401, "unauthorized");
    let grown = child.memory_kb("VmHWM").saturating_sub(before);
    println!("without a key: {grown} kB");
    assert!(grown < 16 * 1024, "bodies without a key cost {grown} kB");
    for value in ["1", "[]", "{}", "[1]", r#"{"a":1}"#, r#""a""#, "[[[[[[1]]]]]]"] {
        let body = small_values(value, 10 * MIB);
        for headers in [&[][..], &[("idempotency-key", "k")]] {
            let headers: Vec<_> = [("content-type", "application/json")].iter().chain(headers).copied().collect();
            let before = child.measure_memory();
            let reply = agent.send(Method::POST, "/v1/contacts", &headers, body.clone()).await;
            reply.fault(413, "payload_too_large").says("fewer records");
            let grown = child.memory_kb("VmHWM").saturating_sub(before);
            println!("{value}, {headers:?}: {grown} kB");
            assert!(grown < MOST_KB, "a body of {value} costs {grown} kB");
        }
    }
    // Values inside a string: the JSON library's own tree would parse the string of such a member as JSON. Here it is a
    // string, and is stored unchanged.
    let hidden = json!({"$serde_json::private::RawValue": format!("[{}1]", "1,".repeat(4 * MIB))}).to_string();
    let before = child.measure_memory();
    let made = agent.send_json(Method::POST, "/v1/contacts", format!(r#"{{"custom": {hidden}}}"#)).await.status(201);
    let answer = String::from_utf8_lossy(&made.body);
    assert!(answer.contains(r#"{"$serde_json::private::RawValue": "[1,1,1"#), "it is not stored as it came");
    let grown = child.memory_kb("VmHWM").saturating_sub(before);
    println!("hidden: {grown} kB");
    // Measured: 58,324 kB, seven times the body. A record that is stored and returned exists as body and value, as parameter
    // and message to the server, and as row, answer and message to the client.
    assert!(grown < 2 * MOST_KB, "hidden values cost {grown} kB");
    agent.get("/v1/contacts").await.status(200);
}

#[tokio::test]
async fn many_embeddings_are_taken_at_once() {
    let agent = agent().await;
    agent.sql("alter table contacts add column embedding vector(1536)").await.status(200);
    let embedding: Vec<f64> = (0..1536).map(|at| -0.006_929_283_495_992_422 + f64::from(at) * 1e-9).collect();
    let contacts: Vec<_> = (0..200).map(|at| json!({"first_name": format!("n{at}"), "embedding": embedding})).collect();
    let body = json!({"contacts": contacts}).to_string();
    assert!(body.len() > 6 * MIB, "{}", body.len());
    agent.send_json(Method::POST, "/v1/contacts/batch", body).await.status(200);
    let made = agent.sql("select count(*) as v from contacts where vector_dims(embedding) = 1536").await.status(200);
    assert_eq!(made.v(), 200);
}

#[tokio::test]
async fn unfinished_bodies_take_a_share_and_not_all() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let agent = warm(&child).await;
    // One neighbour at another address, which has a share of its own, and one that shares the attacker's.
    let elsewhere = child.stranger().from([127, 0, 0, 9].into()).with_workspace().await;
    let beside = warm(&child).await;
    let before = child.measure_memory();
    let part = vec![b' '; 10 * MIB - 10];
    let unfinished = join_all((0..30).map(async |_| {
        let mut raw = Raw::saying(&child.base, &head("/v1/contacts", &agent.key, 10 * MIB)).await;
        // Bytes that the server does not accept wait on the client's side of the connection.
        let _ = tokio::time::timeout(Duration::from_secs(2), raw.say(&part)).await;
        raw
    }));
    let unfinished = unfinished.await;
    let email = |number| json!({"email": format!("m{number}@b.example"), "custom": {"x": "y".repeat(200_000)}});
    for (name, neighbour) in [("elsewhere", &elsewhere), ("at the same address", &beside)] {
        let start = Instant::now();
        for number in 0..5 {
            neighbour.post("/v1/contacts", email(number)).await.status(201);
        }
        println!("five large contacts of a neighbour {name} in {:?}", start.elapsed());
    }
    let grown = child.memory_kb("VmHWM").saturating_sub(before);
    println!("thirty unfinished bodies: {grown} kB");
    assert!(grown < 64 * 1024, "thirty unfinished bodies cost {grown} kB");
    drop(unfinished);
}

#[tokio::test]
async fn many_streams_of_one_connection_take_a_share_and_not_all() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let agent = warm(&child).await;
    let bearer = format!("Bearer {}", agent.key);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let before = child.measure_memory();
    let streams = Streams::connect(&child.base, 65_535).await;
    let mut open = Vec::new();
    for _ in 0..100 {
        let Ok(ready) = tokio::time::timeout(Duration::from_millis(200), streams.requests.clone().ready()).await else {
            break;
        };
        let mut requests = ready.expect("a connection");
        let (_, body) =
            requests.send_request(Streams::request("POST", "/v1/contacts", &headers), false).expect("a stream");
        open.push(body);
    }
    println!("{} streams", open.len());
    let part = Bytes::from(vec![b' '; 10 * MIB]);
    for body in &mut open {
        let _ = body.send_data(part.clone(), false);
    }
    let start = Instant::now();
    // The streams of a connection share its window, so this is another connection.
    while start.elapsed() < Duration::from_secs(3) {
        agent.get("/v1/contacts?limit=1").await.status(200);
    }
    let grown = child.memory_kb("VmHWM").saturating_sub(before);
    println!("streams that are never finished: {grown} kB");
    assert!(grown < 64 * 1024, "streams that are never finished cost {grown} kB");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let base = bounded_door(Bounds { body_stretch: Duration::from_millis(400), ..Bounds::default() }).await;
    let agent = stranger_at(&base).with_workspace().await;
    for (path, key) in [("/v1/contacts", agent.key.as_str()), ("/v1/auth/login", ""), ("/v1/workspaces", "")] {
        let mut raw = Raw::saying(&base, &head(path, key, 1000)).await;
        raw.say("{\"email\"").await;
        raw.answer().await.fault(408, "request_timeout");
        raw.end().await;
    }
    // Single bytes from time to time are too slow as well.
    let mut raw = Raw::saying(&base, &head("/v1/contacts", &agent.key, MIB)).await;
    let start = Instant::now();
    let mut answer = std::pin::pin!(async {
        loop {
            raw.say(" ").await;
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(50), raw.answer()).await {
                return answer;
            }
        }
    });
    answer.as_mut().await.fault(408, "request_timeout");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_form_has_16_kib_and_a_call_10_mib() {
    let paths = [
        "/v1/auth/signup",
        "/v1/auth/login",
        "/v1/auth/verify-email",
        "/v1/auth/request-password-reset",
        "/v1/auth/reset-password",
        "/v1/workspaces",
    ];
    for path in paths {
        let body = |size: usize| format!("{{\"name\": \"{}\"}}", "x".repeat(size - 12));
        let reply = stranger().send_json(Method::POST, path, body(16 * 1024)).await;
        assert!(matches!(reply.code, 400 | 422), "{}", reply.story());
        stranger().send_json(Method::POST, path, body(16 * 1024 + 1)).await.fault(413, "payload_too_large");
    }
    // With chunked encoding the length is not known in advance.
    let mut raw = Raw::connect(&crate::support::home().base).await;
    raw.say("POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..40 {
        raw.say(format!("400\r\n{}\r\n", " ".repeat(1024))).await;
    }
    raw.say("0\r\n\r\n").await;
    raw.answer().await.fault(413, "payload_too_large");
}

#[tokio::test]
async fn a_body_in_chunks_is_read_whole() {
    let agent = agent().await;
    let value = "x".repeat(3 * MIB);
    let body = json!({"first_name": value}).to_string();
    let mut raw = Raw::connect(&agent.base).await;
    raw.say(format!(
        "POST /v1/contacts HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        agent.key
    ))
    .await;
    for part in body.as_bytes().chunks(10_000) {
        raw.say(format!("{:x}\r\n", part.len())).await;
        raw.say(part).await;
        raw.say("\r\n").await;
    }
    raw.say("0\r\n\r\n").await;
    let answer = raw.answer().await;
    assert_eq!(answer.code, 201, "{}", answer.head);
    assert!(answer.body.len() > value.len());
}

/// An unknown caller is not told to send a body, and a body for an unknown path is not read.
#[tokio::test]
async fn no_body_is_read_before_the_caller_is_known() {
    let agent = agent().await;
    let never = "Expect: 100-continue\r\nContent-Length: 1000000\r\n";
    for (method, path) in [
        ("POST", "/v1/contacts"),
        ("POST", "/v1/sql"),
        ("POST", "/v1/nowhere/at/all"),
        ("POST", "/nowhere"),
        ("PUT", "/v1/auth/login"),
        ("POST", "/v1/auth/nowhere"),
        ("POST", "/v1/keys"),
        ("POST", "/login"),
        ("POST", "/openapi.json"),
        ("POST", "/healthz"),
    ] {
        let mut raw = Raw::saying(&agent.base, &format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{never}\r\n")).await;
        let answer = raw.answer().await;
        assert!(matches!(answer.code, 401 | 404 | 405), "{method} {path}: {answer:?}");
    }
    let key = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", agent.key);
    let mut raw = Raw::saying(&agent.base, &format!("POST /v1/contacts HTTP/1.1\r\nHost: a\r\n{key}{never}\r\n")).await;
    assert_eq!(raw.answer().await.code, 100);
}
