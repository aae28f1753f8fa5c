//! The log of requests: what is in it, its filters and pages in both dialects, who may read it, and what is never in it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::belongings::{joined, owned};
use crate::support::{Agent, both, home};

/// The workspace's log, once all requests so far are written.
async fn logs(agent: &Agent, query: &str) -> Vec<Value> {
    written().await;
    let reply = agent.get(&format!("/v1/logs{query}")).await.status(200);
    reply.json()["data"].as_array().expect("a list").clone()
}

async fn written() {
    let home = home();
    home.run(async { home.kith.app.request_log.write(&home.kith.app.store).await })
        .await
        .expect("a log that is written");
}

fn lines(logs: &[Value]) -> Vec<String> {
    logs.iter()
        .map(|it| format!("{} {} {}", it["method"].as_str().unwrap(), it["path"].as_str().unwrap(), it["status"]))
        .collect()
}

#[tokio::test]
async fn requests_are_listed_with_who_made_them_in_both_dialects() {
    let (relm, agentcrm) = both().await;
    agentcrm.post("/v1/contacts", json!({"email": "log@x.example"})).await.status(201);
    agentcrm.get("/v1/contacts/c_none?include_deleted=true").await.status(404);
    let headers = [("x-agent", "scout"), ("content-type", "application/json")];
    relm.send(Method::POST, "/v1/deals", &headers, json!({"title": "A"}).to_string()).await.status(201);
    for agent in [&relm, &agentcrm] {
        let found = logs(agent, "?limit=3&since=2020-01-01").await;
        let found: Vec<&Value> = found.iter().filter(|it| it["path"] != "/v1/logs").collect();
        let deal = found.iter().find(|it| it["path"] == "/v1/deals").expect("the deal's request");
        assert_eq!((&deal["method"], &deal["status"], &deal["agent"]), (&json!("POST"), &json!(201), &json!("scout")));
        assert!(deal["duration_ms"].as_f64().is_some_and(|it| it > 0.0), "{deal}");
        assert!(deal["actor"].as_str().is_some_and(|it| it.starts_with("api_key:ak_")), "{deal}");
        assert!(deal["key_hint"].as_str().is_some_and(|it| it.starts_with("sk_live_")), "{deal}");
        assert!(deal["id"].as_str().is_some_and(|it| it.starts_with("req_")), "{deal}");
        assert_eq!(deal["code"], Value::Null);
    }
    let failed = logs(&agentcrm, "?status=4xx").await;
    assert_eq!(lines(&failed), ["GET /v1/contacts/c_none 404"]);
    assert_eq!(failed[0]["code"], "not_found");
    let created = lines(&logs(&agentcrm, "?status=201&method=post").await);
    assert_eq!(created[..2], ["POST /v1/deals 201", "POST /v1/contacts 201"]);
    assert_eq!(logs(&agentcrm, "?since=2100-01-01T00:00:00Z").await.len(), 0);
    for (bad, said) in
        [("status=ok", "status"), ("method=FETCH", "method"), ("since=yesterday", "since"), ("path=/v1", "path")]
    {
        for agent in [&relm, &agentcrm] {
            agent.get(&format!("/v1/logs?{bad}")).await.fault(400, "invalid_request").says(said);
        }
    }
    relm.get("/v1/logs/req_1").await.fault(404, "not_found");
    relm.post("/v1/logs", json!({})).await.status(405);
}

#[tokio::test]
async fn the_log_has_pages() {
    let (_, agent) = both().await;
    for number in 0..5 {
        agent.get(&format!("/v1/tables?number={number}")).await.status(400);
    }
    written().await;
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let reply = agent.get(&format!("/v1/logs?status=400&limit=2&cursor={cursor}")).await.status(200);
        seen.extend(reply.column("id"));
        match reply.at("/_meta/next_cursor") {
            Value::String(next) => cursor = next,
            _ => break,
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 5);
    agent.get("/v1/logs?cursor=x").await.fault(400, "invalid_cursor");
}

#[tokio::test]
async fn a_call_of_a_tool_and_a_persons_request_are_in_the_log_and_secrets_are_not() {
    let (session, agent) = owned().await;
    let ws = session.workspace_id.clone();
    session.get(&format!("/v1/members?ws={ws}")).await.status(200);
    session.post(&format!("/v1/keys?ws={ws}"), json!({"name": "viewer", "role": "viewer"})).await.status(201);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "get_contact", "arguments": {"id": "c_none"}}});
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2025-06-18"),
    ];
    agent.send(Method::POST, "/mcp", &headers, call.to_string()).await.status(200);
    agent.get("/v1/nothing/acrm_live_0123456789/kst_1").await.status(404);
    let found = logs(&agent, "").await;
    let at = |path: &str| found.iter().find(|it| it["path"] == path).unwrap_or_else(|| panic!("{path}: {found:?}"));
    let tool = at("/mcp");
    assert_eq!(
        (&tool["tool"], &tool["code"], &tool["status"]),
        (&json!("get_contact"), &json!("not_found"), &json!(200))
    );
    let members = at("/v1/members");
    assert!(members["actor"].as_str().is_some_and(|it| it.starts_with("user:u_")), "{members}");
    assert!(members["actor_name"].is_string(), "{members}");
    at("/v1/nothing/***/***");
    assert!(!Value::from(found.clone()).to_string().contains("0123456789"), "{found:?}");
}

#[tokio::test]
async fn a_viewer_reads_the_log_and_another_workspace_does_not() {
    let (owner, agent) = owned().await;
    agent.get("/v1/contacts").await.status(200);
    let (_, viewer, _) = joined(&owner, "viewer").await;
    assert!(logs(&viewer, "").await.iter().any(|it| it["path"] == "/v1/contacts"));
    let (_, other) = both().await;
    assert!(logs(&other, "").await.iter().all(|it| it["path"] != "/v1/contacts"));
}

#[tokio::test]
async fn the_log_is_kept_for_seven_days() {
    let (_, agent) = both().await;
    agent.get("/v1/contacts").await.status(200);
    agent.get("/v1/deals").await.status(200);
    written().await;
    let sql =
        "UPDATE request_log SET created_at = now() - interval '8 days' WHERE workspace_id = $1 AND path = '/v1/deals'";
    home().control(sql, &[&agent.workspace_id]).await;
    let home = home();
    let before = home.kith.app.clock.unix_seconds() - 7 * 24 * 60 * 60;
    home.run(async move { home.kith.app.store.control.sweep_request_log(before).await }).await.expect("a sweep");
    let paths: Vec<Value> = logs(&agent, "").await.iter().map(|it| it["path"].clone()).collect();
    assert!(paths.contains(&json!("/v1/contacts")) && !paths.contains(&json!("/v1/deals")), "{paths:?}");
}

#[tokio::test]
async fn a_table_of_that_name_is_reached_by_sql() {
    let (_, agent) = both().await;
    agent.sql("create table logs (id int primary key); insert into logs values (7)").await.status(200);
    assert_eq!(agent.sql("select id from logs").await.status(200).at("/data/rows/0/id"), 7);
    assert!(logs(&agent, "").await.iter().all(|it| it["path"].is_string()));
}
