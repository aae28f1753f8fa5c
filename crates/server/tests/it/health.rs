//! Liveness, readiness and metrics.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::json;

use crate::automations::{create, rule, runs};
use crate::support::{Agent, agent, home, relm, stranger};
use crate::webhooks::{answering, make_due, send_test, subscribe, until};

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

#[tokio::test]
async fn every_answer_has_a_name_of_its_own() {
    let (agent, stranger) = (agent().await, stranger());
    let mut seen = HashSet::new();
    let etag = stranger.get("/openapi.json").await.status(200).header("etag");
    let mut check = async |method: Method, path: &str, headers: &[(&str, &str)], code: u16| {
        let reply = stranger.send(method, path, headers, "").await.status(code);
        let names: Vec<_> = reply.headers.get_all("x-request-id").iter().collect();
        assert_eq!(names.len(), 1, "{}", reply.story());
        let name = reply.header("x-request-id");
        assert!(name.starts_with("req_") && name.len() == 30, "{name}");
        assert!(seen.insert(name), "{}", reply.story());
        reply
    };
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/docs",
        "/docs/errors",
        "/openapi.json",
        "/openapi.yaml",
        "/llms.txt",
        "/llms-full.txt",
        "/login",
        "/signup",
        "/claim/ws_1",
        "/invite/inv_1",
    ] {
        check(Method::GET, path, &[], 200).await;
        check(Method::HEAD, path, &[], 200).await;
        check(Method::POST, path, &[], 405).await;
    }
    check(Method::GET, "/openapi.json", &[("if-none-match", &etag)], 304).await;
    let refused = check(Method::GET, "/openapi.json?dialect=klingon", &[], 400).await;
    refused.fault(400, "invalid_request");
    check(Method::GET, "/nope", &[], 404).await.fault(404, "not_found");
    check(Method::GET, "/v1/contacts", &[], 401).await.fault(401, "unauthorized");
    check(Method::GET, "/v1/auth/me", &[], 401).await.fault(401, "unauthorized");
    let made = agent.post("/v1/contacts", json!({})).await.status(201);
    assert_eq!(made.headers.get_all("x-request-id").iter().count(), 1);
    assert_eq!(made.header("x-request-id"), made.text("/_meta/request_id"));
}

/// A counter in `/metrics`; 0 if it is not there.
async fn counter(agent: &Agent, name: &str) -> u64 {
    let reply = agent.get("/metrics").await.status(200);
    let text = String::from_utf8(reply.body).expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(0, |value| value.trim().parse().expect("a number"))
}

/// Waits until a counter is larger than it was: it is counted after the outcome was sent.
async fn until_counted(agent: &Agent, name: &str, before: u64) {
    let start = std::time::Instant::now();
    while counter(agent, name).await <= before {
        assert!(start.elapsed().as_secs() < 60, "{name} is not counted");
    }
}

#[tokio::test]
async fn attempts_of_deliveries_are_counted_by_outcome() {
    let agent = relm().await;
    let name = |outcome: &str| format!("kith_webhook_attempts_total{{outcome=\"{outcome}\"}}");
    for (statuses, outcome) in [(&[200][..], "delivered"), (&[500], "retried"), (&[410], "gone")] {
        let before = counter(&agent, &name(outcome)).await;
        let receiver = answering(statuses).await;
        let (id, _) = subscribe(&agent, &receiver.url()).await;
        send_test(&agent, &id).await;
        until_counted(&agent, &name(outcome), before).await;
    }
    let before = counter(&agent, &name("given_up")).await;
    let receiver = answering(&[500]).await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let test = send_test(&agent, &id).await;
    until(&agent, &id, &test, |it| it["response_status"] == 500).await;
    // The next attempt is the last one.
    home().control("UPDATE webhook_deliveries SET attempts = 7 WHERE endpoint_id = $1", &[&id]).await;
    make_due(&id).await;
    until_counted(&agent, &name("given_up"), before).await;
}

#[tokio::test]
async fn runs_of_automations_are_counted_by_outcome() {
    let agent = relm().await;
    let name = |status: &str| format!("kith_automation_runs_total{{status=\"{status}\"}}");
    let note = json!({"type": "create_activity", "activity_type": "note"});
    let unmet = json!([{"field": "email", "op": "eq", "value": "nobody"}]);
    for (conditions, action, status) in [
        (json!([]), note.clone(), "success"),
        (json!([]), json!({"type": "move_deal_stage", "stage": "won"}), "error"),
        (unmet, note, "skipped"),
    ] {
        let before = counter(&agent, &name(status)).await;
        let id = rule(&agent, "contact.created", conditions, json!([action])).await;
        create(&agent, "/v1/contacts", json!({"email": format!("{status}@b.example")})).await;
        assert_eq!(runs(&agent, &id, 1).await[0]["status"], status);
        agent.delete(&format!("/v1/automations/{id}")).await.status(200);
        until_counted(&agent, &name(status), before).await;
    }
}
