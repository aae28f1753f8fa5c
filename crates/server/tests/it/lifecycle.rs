//! The life of an unclaimed workspace, with a clock that the tests control.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;

use crate::support::{agent, agent_at, home, stranger};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[tokio::test]
async fn a_workspace_is_written_for_7_days_and_read_for_7_more() {
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let agent = agent_at(&ahead_ms).await;
    let contact = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    let expires = contact.text("/_meta/ttl_expires_at");
    assert!(contact.text("/_meta/claim_url").ends_with(&format!("/claim/{}", agent.workspace_id)));
    let path = format!("/v1/contacts/{}", contact.id());

    ahead_ms.store(7 * DAY_MS - 60_000, Ordering::Relaxed);
    agent.patch(&path, json!({"title": "CTO"})).await.status(200);

    ahead_ms.store(7 * DAY_MS + 1_000, Ordering::Relaxed);
    let read = agent.get(&path).await.status(200);
    assert_eq!(read.data()["title"], "CTO");
    assert_eq!(read.at("/_meta/ttl_expires_at"), expires);
    assert_eq!(agent.sql("select count(*) as v from contacts").await.status(200).v(), 1);
    agent.patch(&path, json!({"title": "CEO"})).await.fault(403, "workspace_read_only").says("claim");
    agent.post("/v1/contacts", json!({})).await.fault(403, "workspace_read_only");
    agent.delete(&path).await.fault(403, "workspace_read_only");
    for sql in [
        "insert into contacts (email) values ('x@y.example')",
        "create table x (id int)",
        "set transaction_read_only = off; delete from contacts",
        "set default_transaction_read_only = off; update contacts set title = 'CEO'",
        "do $$ begin set transaction_read_only = off; delete from contacts; end $$",
        "with w as (delete from contacts returning id) select * from w",
        "vacuum contacts",
    ] {
        let reply = agent.sql(sql).await;
        assert!(matches!(reply.code, 400 | 403), "{}", reply.story());
    }
    agent.sql("insert into contacts (email) values ('x@y.example')").await.fault(403, "workspace_read_only");
    assert_eq!(agent.get("/v1/contacts").await.column("title"), ["CTO"]);

    ahead_ms.store(14 * DAY_MS + 1_000, Ordering::Relaxed);
    agent.get(&path).await.fault(401, "unauthorized").says("14 days");
    agent.sql("select 1").await.fault(401, "unauthorized");
    // By the clock of the other listeners it still exists.
    agent.at(&home().base).get(&path).await.status(200);
}

#[tokio::test]
async fn a_new_workspace_says_what_it_is() {
    let made = stranger().post("/v1/workspaces", json!({"name": "Acme"})).await.status(201);
    let (id, base) = (made.text("/data/workspace_id"), &home().base);
    assert!(id.starts_with("ws_") && id.len() == 29, "{id}");
    assert!(made.text("/data/api_key").starts_with("acrm_dev_"));
    assert_eq!(made.text("/data/claim_url"), format!("{base}/claim/{id}"));
    for name in ["claim_url", "ttl_expires_at"] {
        assert_eq!(made.at(&format!("/_meta/{name}")), made.at(&format!("/data/{name}")));
    }
    // No body, an empty one and JSON have the same effect.
    for body in ["", "{}", "{\"name\": null}"] {
        stranger().send_json(reqwest::Method::POST, "/v1/workspaces", body).await.status(201);
    }
    stranger().send(reqwest::Method::POST, "/v1/workspaces", &[], "").await.status(201);
}

#[tokio::test]
async fn workspaces_made_at_once_are_all_different() {
    let made = futures_util::future::join_all((0..6).map(|_| agent())).await;
    let ids: std::collections::HashSet<_> = made.iter().map(|agent| agent.workspace_id.clone()).collect();
    assert_eq!(ids.len(), 6);
    for agent in &made {
        agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
        assert_eq!(agent.get("/v1/contacts").await.status(200).column("email").len(), 1);
    }
    let databases =
        futures_util::future::join_all(made.iter().map(|agent| agent.sql("select current_database() as v"))).await;
    let databases: std::collections::HashSet<String> = databases.iter().map(|reply| reply.v().to_string()).collect();
    assert_eq!(databases.len(), 6);
}
