//! Connections that send nothing, or too little.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kith::bounds::Bounds;
use reqwest::Method;
use serde_json::json;

use crate::support::{Child, Raw, Streams, TempDir, bounded_door, stranger_at};

const GET: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
/// The preface of HTTP/2, and an empty SETTINGS frame.
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &str = "\0\0\0\u{4}\0\0\0\0\0";

/// How long a test waits for expected data.
const PATIENCE: Duration = Duration::from_secs(200);

/// Limits that a test can reach by waiting.
fn quick() -> Bounds {
    let moment = Duration::from_millis(300);
    Bounds { first_request: moment, head: moment, idle: moment, ..Bounds::default() }
}

#[tokio::test]
async fn silent_connections_do_not_take_the_api_away() {
    let dir = TempDir::new();
    let child = Child::serve_with_files(&dir, 400);
    let agent = child.agent().await;
    let silent = join_all((0..420).map(|at| {
        let said = ["", "PRI * HT", PREFACE, "GET / HTTP/1.1\r\nHos"][at % 4];
        Raw::saying(&child.base, said)
    }))
    .await;
    for number in 0..20 {
        let body = json!({"email": format!("n{number}@b.example")}).to_string();
        let sent = async || {
            let kind = [("content-type", "application/json")];
            agent.at(&child.base).try_send(Method::POST, "/v1/contacts", &kind, body.clone()).await
        };
        // A kept connection may make room just when it is used. Clients then take another one.
        let reply = match sent().await {
            Err(_) => sent().await.expect("an answer"),
            Ok(reply) => reply,
        };
        reply.status(201);
        // Another client, so another connection.
        child.stranger().get("/readyz").await.status(200);
        stranger_at(&child.base).get("/healthz").await.status(200);
    }
    let files = child.open_files();
    assert!(files < 360, "{files} files are open");
    assert!(!child.log().contains("can't accept"), "{}", child.log());
    let (start, mut open) = (Instant::now(), usize::MAX);
    while open >= 240 {
        open = silent.iter().filter(|raw| raw.is_open()).count();
        assert!(start.elapsed() < PATIENCE, "{open} are still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{files} files, {open} of 420 silent connections are still open");
}

/// No time limit closes any of them here: each new connection takes the place of the one that has been silent longest.
#[tokio::test]
async fn silent_connections_make_room_for_the_next() {
    let hour = Duration::from_secs(3600);
    let bounds = Bounds { connections: 100, first_request: hour, head: hour, idle: hour, ..Bounds::default() };
    let base = bounded_door(bounds).await;
    let mut silent = Vec::new();
    for said in ["", "PRI * HT", PREFACE, "GET / HTTP/1.1\r\nHos"].into_iter().cycle().take(400) {
        silent.push(Raw::saying(&base, said).await);
    }
    for raw in &mut silent[..300] {
        raw.end().await;
    }
    assert!(silent[300..].iter().all(Raw::is_open), "the last hundred have their places");
    stranger_at(&base).get("/healthz").await.status(200);
    silent[300].end().await;
    assert!(silent[301..].iter().all(Raw::is_open), "one request takes one place");
}

#[tokio::test]
async fn a_flood_of_connections_leaves_time_to_ask() {
    let dir = TempDir::new();
    let child = Child::serve_with_files(&dir, 400);
    let base = child.base.clone();
    let flood = tokio::spawn(async move {
        loop {
            let _held = join_all((0..200).map(|_| Raw::connect(&base))).await;
            tokio::task::yield_now().await;
        }
    });
    let (mut served, start) = (0, Instant::now());
    while served < 50 {
        let asked = stranger_at(&child.base).try_send(reqwest::Method::GET, "/readyz", &[], "").await;
        served += usize::from(asked.is_ok_and(|reply| reply.code == 200));
        assert!(start.elapsed() < Duration::from_secs(60), "{served} requests were served");
    }
    flood.abort();
    println!("50 requests through a flood in {:?}", start.elapsed());
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed() {
    let base = bounded_door(quick()).await;
    let said =
        ["", "P", "PRI * HTTP/2.0\r\n", PREFACE, &format!("{PREFACE}{SETTINGS}"), "GET /healthz HTTP/1.1\r\nHost:"];
    let took = join_all(said.iter().map(async |said| {
        let mut raw = Raw::saying(&base, said).await;
        raw.end().await
    }));
    for (said, took) in said.iter().zip(took.await) {
        assert!(took >= Duration::from_millis(250), "{said:?} was closed after {took:?}");
    }
}

#[tokio::test]
async fn a_connection_is_kept_between_requests_and_not_for_ever() {
    let base = bounded_door(quick()).await;
    let mut raw = Raw::connect(&base).await;
    for _ in 0..3 {
        raw.say(GET).await;
        assert_eq!(raw.answer().await.code, 200);
    }
    let took = raw.end().await;
    assert!(took >= Duration::from_millis(250), "{took:?}");

    // The head of the next request has a time limit too.
    let mut raw = Raw::saying(&base, &format!("{GET}{}", &GET[..20])).await;
    assert_eq!(raw.answer().await.code, 200);
    raw.end().await;

    let mut streams = Streams::connect(&base, 65_535).await;
    let (code, _, _) = streams.ask(Streams::request("GET", "/healthz", &[])).await.expect("an answer");
    assert_eq!(code, 200);
    // A ping is not a request.
    let start = Instant::now();
    while std::future::poll_fn(|cx| streams.requests.poll_ready(cx)).await.is_ok() {
        assert!(start.elapsed() < PATIENCE, "it stays open");
        tokio::task::yield_now().await;
    }
    assert!(start.elapsed() > Duration::from_millis(200), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_is_under_way_is_waited_for() {
    let base = bounded_door(quick()).await;
    let agent = stranger_at(&base).with_workspace().await;
    let slow = json!({"sql": "select pg_sleep(1.2), 1 as v"}).to_string();
    assert_eq!(agent.sql("select pg_sleep(1.2), 1 as v").await.status(200).v(), 1);
    let streams = Streams::connect(&base, 65_535).await;
    let bearer = format!("Bearer {}", agent.key);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let mut requests = streams.requests.clone().ready().await.expect("a connection");
    let (response, mut body) =
        requests.send_request(Streams::request("POST", "/v1/sql", &headers), false).expect("a stream");
    body.send_data(slow.into(), true).expect("a body");
    assert_eq!(response.await.expect("an answer").status(), 200);
}
