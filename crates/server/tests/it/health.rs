//! Whether it is alive, ready, and how it is doing.

use crate::support::{agent, stranger};

#[tokio::test]
async fn it_says_that_it_is_alive_and_ready() {
    let stranger = stranger();
    assert_eq!(stranger.get("/healthz").await.status(200).body, b"ok\n");
    stranger.get("/readyz").await.status(200);
}

#[tokio::test]
async fn metrics_count_requests_and_name_nobody() {
    let agent = agent().await;
    agent.get("/v1/contacts").await.status(200);
    agent.get("/v1/nothing_like_this").await.status(404);
    let reply = agent.get("/metrics").await.status(200);
    assert!(reply.header("content-type").starts_with("text/plain"), "{}", reply.story());
    let text = String::from_utf8(reply.body.clone()).expect("text");
    for name in [
        "kith_requests_total{status=\"2xx\"}",
        "kith_requests_total{status=\"4xx\"}",
        "kith_request_seconds",
        "kith_pool_connections",
    ] {
        assert!(text.contains(name), "no {name}\n{text}");
    }
    assert!(!text.contains(&agent.workspace_id) && !text.contains("nothing_like_this"), "{text}");
}
