//! Plans: the features that they include, and the requests that they allow per month.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kith::access::billing;
use kith::clock::Clock;
use kith::config::{Config, SetPlan};
use serde_json::{Value, json};

use crate::support::{Agent, Reply, TempDir, both, config_of_another, door_of, home, house_with_plans};

const PLANS: &str = r#"{"default": "free", "plans": {
    "free": {"monthly_requests": 6, "features": {"associations": false}},
    "team": {"features": {"associations": true}}}}"#;

fn file(dir: &TempDir) -> PathBuf {
    let path = dir.path.join("plans.json");
    fs::write(&path, PLANS).expect("a file of plans");
    path
}

async fn set(file: &Path, workspace: &str, plan: &str) -> Result<(), String> {
    let config = Config { plans: Some(file.to_owned()), ..config_of_another() };
    let ask = SetPlan { workspace: workspace.to_owned(), plan: plan.to_owned(), config };
    home().run(billing::set(ask)).await
}

fn refused(reply: Reply, status: u16, code: &str) -> Reply {
    let reply = reply.status(status);
    let body = reply.json();
    let found = body.pointer("/error/code").or_else(|| body.get("error")).cloned();
    assert_eq!(found, Some(json!(code)), "{}", reply.story());
    reply
}

/// Sends requests until the answer reflects a change made by another process.
async fn until(agent: &Agent, code: u16) -> Reply {
    for _ in 0..400 {
        let reply = agent.get("/v1/tables").await;
        if reply.code == code {
            return reply;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{code} never came");
}

#[tokio::test]
async fn a_months_requests_are_counted_over_all_keys() {
    let dir = TempDir::new();
    let file = file(&dir);
    let kith = house_with_plans(file.clone()).await;
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let base = door_of(kith, Clock::Moved(ahead_ms.clone())).await;
    let (relm, agentcrm) = both().await;
    let (relm, agentcrm) = (relm.at(&base), agentcrm.at(&base));
    for agent in [&relm, &agentcrm, &relm, &agentcrm, &relm, &agentcrm] {
        agent.get("/v1/tables").await.status(200);
    }
    let mut wait = 0;
    for agent in [&relm, &agentcrm, &relm] {
        let reply = refused(agent.get("/v1/contacts").await, 429, "quota_exceeded");
        wait = reply.header("retry-after").parse::<i64>().expect("seconds");
        assert!((1..=31 * 24 * 3600).contains(&wait), "{}", reply.story());
    }
    // Calls of MCP are requests too.
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    refused(relm.post("/mcp", ping.clone()).await, 429, "quota_exceeded");
    // In the Kith that all tests share, the same workspace has no plan.
    agentcrm.at(&home().base).get("/v1/contacts").await.status(200);

    // The next month starts at zero.
    ahead_ms.store((wait + 1) * 1000, Ordering::Relaxed);
    relm.post("/mcp", ping).await.status(200);
    for _ in 0..5 {
        agentcrm.get("/v1/contacts").await.status(200);
    }
    refused(relm.get("/v1/contacts").await, 429, "quota_exceeded");

    // Another plan, without a limit, is applied within a second, and all requests were recorded.
    set(&file, &relm.workspace_id, "team").await.expect("a plan");
    until(&agentcrm, 200).await;
    for _ in 0..8 {
        relm.get("/v1/contacts").await.status(200);
    }
    set(&file, &relm.workspace_id, "free").await.expect("a plan");
    refused(until(&agentcrm, 429).await, 429, "quota_exceeded");
}

#[tokio::test]
async fn two_processes_count_together() {
    let dir = TempDir::new();
    let file = file(&dir);
    let (relm, _) = both().await;
    let mut callers = Vec::new();
    for _ in 0..2 {
        let kith = house_with_plans(file.clone()).await;
        callers.push(relm.at(&door_of(kith, Clock::System).await));
    }
    for _ in 0..6 {
        callers[0].get("/v1/tables").await.status(200);
    }
    refused(callers[0].get("/v1/tables").await, 429, "quota_exceeded");
    refused(until(&callers[1], 429).await, 429, "quota_exceeded");
}

#[tokio::test]
async fn a_feature_that_the_plan_lacks_is_refused() {
    let dir = TempDir::new();
    let file = file(&dir);
    let (relm, agentcrm) = both().await;
    let contact = agentcrm.post("/v1/contacts", json!({})).await.status(201).id();
    let edge = json!({"from_type": "contact", "from_id": contact, "to_type": "contact", "to_id": contact});
    let made = agentcrm.post("/v1/associations", edge.clone()).await.status(201).id();

    let kith = house_with_plans(file.clone()).await;
    let base = door_of(kith, Clock::System).await;
    let (relm, agentcrm) = (relm.at(&base), agentcrm.at(&base));
    refused(relm.post("/v1/associations", edge.clone()).await, 403, "plan_required");
    refused(relm.get("/v1/associations").await, 403, "plan_required");
    refused(agentcrm.delete(&format!("/v1/associations/{made}")).await, 403, "plan_required");
    refused(agentcrm.get(&format!("/v1/associations/{made}")).await, 403, "plan_required");
    agentcrm.get("/v1/contacts").await.status(200);

    set(&file, &relm.workspace_id, "team").await.expect("a plan");
    let mut reply = relm.get("/v1/associations").await;
    for _ in 0..400 {
        if reply.code == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        reply = relm.get("/v1/associations").await;
    }
    assert_eq!(reply.status(200).column("id"), [Value::from(made)]);
    relm.post("/v1/associations", edge).await.status(200);
}

#[tokio::test]
async fn what_makes_no_sense_is_told_to_the_operator() {
    let dir = TempDir::new();
    let file = file(&dir);
    assert!(set(&file, "ws_none", "team").await.unwrap_err().contains("ws_none"));
    let error = set(&file, "ws_none", "gold").await.unwrap_err();
    assert!(error.contains("gold") && error.contains("free, team"), "{error}");
    let without = Config { plans: None, ..config_of_another() };
    let ask = SetPlan { workspace: "ws_none".into(), plan: "team".into(), config: without };
    assert!(billing::set(ask).await.unwrap_err().contains("KITH_PLANS"));
    fs::write(&file, r#"{"default": "free", "plans": {}}"#).expect("a file");
    assert!(set(&file, "ws_none", "free").await.unwrap_err().contains("default"));
    assert!(set(&dir.path.join("nothing.json"), "ws_none", "free").await.unwrap_err().contains("nothing.json"));
}
