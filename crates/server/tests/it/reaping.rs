//! What an unclaimed workspace can do after seven days, and what remains of it after fourteen.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kith::clock::Clock;
use kith::work::reap::reap;
use reqwest::Method;
use serde_json::json;

use crate::belongings::{joined, owned, person};
use crate::support::{Agent, agent, agent_at, home, other_process, stranger};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[tokio::test]
async fn a_workspace_that_is_read_only_is_read_in_every_way_and_written_in_none() {
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let agent = agent_at(&ahead_ms).await;
    agent.sql("create table things (id int primary key); insert into things values (1)").await.status(200);
    let contact = agent.post("/v1/contacts", json!({"email": "ann@b.example"})).await.status(201).id();
    let list = agent
        .post("/v1/lists", json!({"name": "S", "target_table": "contacts", "kind": "static"}))
        .await
        .status(201)
        .id();
    agent.post(&format!("/v1/lists/{list}/members"), json!({"member_id": contact})).await.status(201);
    ahead_ms.store(8 * DAY_MS, Ordering::Relaxed);

    let path = format!("/v1/contacts/{contact}");
    for read in [
        "/v1/contacts",
        "/v1/things/1",
        "/v1/tables",
        "/v1/schema",
        "/v1/activity",
        "/v1/contacts/search?q=ann",
        &path,
        &format!("/v1/lists/{list}/rows"),
    ] {
        let reply = agent.get(read).await.status(200);
        assert!(reply.text("/_meta/claim_url").contains("/claim/ws_"), "{}", reply.story());
        assert!(reply.text("/_meta/ttl_expires_at").starts_with("20"), "{}", reply.story());
    }
    let members = format!("/v1/lists/{list}/members");
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    for (method, path, body) in [
        (Method::POST, "/v1/contacts", json!({})),
        (Method::POST, "/v1/things", json!({"id": 2})),
        (Method::PATCH, &path, json!({"title": "x"})),
        (Method::DELETE, &path, json!({})),
        (Method::DELETE, &format!("{path}?hard=true"), json!({})),
        (Method::POST, &format!("{path}/restore"), json!({})),
        (Method::POST, &members, json!({"member_id": contact})),
        (Method::DELETE, &format!("{members}/{contact}"), json!({})),
        (Method::POST, "/v1/sql", json!({"sql": "delete from contacts"})),
        (Method::POST, "/v1/sql", json!({"sql": "create table more (id int)"})),
    ] {
        for headers in [&headers[..1], &headers] {
            let body = if method == Method::DELETE { String::new() } else { body.to_string() };
            let reply = agent.send(method.clone(), path, headers, body).await;
            if reply.code == 409 {
                // Each of these is another request with the same key.
                assert_eq!(reply.at("/error"), "idempotency_conflict", "{}", reply.story());
            } else {
                reply.fault(403, "workspace_read_only").says("claim");
            }
        }
    }
    assert_eq!(agent.get(&path).await.status(200).data()["title"], json!(null));
}

#[tokio::test]
async fn a_workspace_whose_time_is_over_leaves_nothing_behind() {
    let (old, claimed, young) = (agent().await, agent().await, agent().await);
    for agent in [&old, &claimed, &young] {
        agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    }
    let place = home().place(&old.workspace_id).await;
    let age = "UPDATE workspaces SET created_at = now() - $2::interval WHERE id = $1";
    home().control(age, &[&old.workspace_id, "14 days 1 second"]).await;
    home().control(age, &[&claimed.workspace_id, "1 year"]).await;
    home().control("UPDATE workspaces SET claimed_at = now() WHERE id = $1", &[&claimed.workspace_id]).await;
    home().control(age, &[&young.workspace_id, "13 days 23 hours"]).await;
    let reaped = home().run(async { reap(&home().kith.app.store, &Clock::System).await }).await.expect("no error");
    // The reaper of the shared Kith may have run first, and another test deletes a workspace.
    assert!(reaped <= 2, "{reaped}");

    // Another process, which has no cached keys.
    let base = other_process().await;
    old.at(base).get("/v1/contacts").await.fault(401, "unauthorized");
    claimed.at(base).post("/v1/contacts", json!({})).await.status(201);
    assert_eq!(young.at(base).get("/v1/contacts").await.status(200).column("email").len(), 1);
    young.at(base).post("/v1/contacts", json!({})).await.fault(403, "workspace_read_only");

    let mut admin = home().kith.app.store.cells.administer(place.cell, "postgres").await.expect("a session");
    let left = "SELECT datname FROM pg_database WHERE datname = $1 UNION ALL SELECT rolname FROM pg_roles WHERE rolname ~ ('^' || $2 || '(_|$)')";
    let rows = admin.query(left, &[Some(&place.database), Some(&place.role)]).await.expect("an answer");
    let left: Vec<_> = (0..rows.len()).map(|row| rows.text(row, 0)).collect();
    assert!(left.is_empty(), "{left:?}");
    let mut control = home().kith.app.store.cells.control().await.expect("a session");
    let left = "SELECT (SELECT count(*) FROM workspaces WHERE id = $1) + (SELECT count(*) FROM api_keys WHERE workspace_id = $1)
                     + (SELECT count(*) FROM databases WHERE workspace_id = $1 OR name = $2) AS n";
    let rows = control.query(left, &[Some(&old.workspace_id), Some(&place.database)]).await.expect("an answer");
    assert_eq!(rows.text(0, 0), Some("0"));
}

#[tokio::test]
async fn a_deleted_workspace_ends_at_once_and_its_data_is_dropped_after_a_week() {
    let (owner, live) = owned().await;
    let (member, of_member, _) = joined(&owner, "member").await;
    live.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    let place = home().place(&owner.workspace_id).await;
    let other = live.at(other_process().await);
    other.get("/v1/contacts").await.status(200);
    let path = format!("/v1/workspaces/{}", owner.workspace_id);
    let delete =
        async |person: &Agent, body: serde_json::Value| person.send_json(Method::DELETE, &path, body.to_string()).await;

    delete(&stranger(), json!({"name": "Ours"})).await.fault(401, "unauthorized");
    delete(&live, json!({"name": "Ours"})).await.fault(401, "unauthorized");
    delete(&member, json!({"name": "Ours"})).await.fault(403, "forbidden");
    delete(&person("other").await.0, json!({"name": "Ours"})).await.fault(404, "not_found");
    delete(&owner, json!({})).await.fault(400, "invalid_request").says("name");
    delete(&owner, json!({"name": "ours"})).await.fault(422, "validation_failed").says("name");
    live.get("/v1/contacts").await.status(200);

    let deleted = delete(&owner, json!({"name": " Ours "})).await.status(200);
    assert_eq!(deleted.text("/data/id"), owner.workspace_id);
    for key in [&live, &of_member] {
        key.get("/v1/contacts").await.fault(401, "unauthorized");
    }
    let since = std::time::Instant::now();
    while other.get("/v1/contacts").await.code != 401 {
        assert!(since.elapsed() < std::time::Duration::from_secs(5), "another process still takes the key");
    }
    for person in [&owner, &member] {
        assert_eq!(person.get("/v1/workspaces").await.status(200).data(), json!([]));
        person.get(&format!("/v1/members?ws={}", owner.workspace_id)).await.fault(404, "not_found");
        delete(person, json!({"name": "Ours"})).await.fault(404, "not_found");
    }
    owner.post(&format!("/v1/claim/{}", owner.workspace_id), json!({})).await.fault(409, "conflict");
    let mut control = home().kith.app.store.cells.control().await.expect("a session");
    let entry = "SELECT actor FROM audit WHERE workspace_id = $1 AND action = 'workspace.deleted'";
    assert_eq!(control.query(entry, &[Some(&owner.workspace_id)]).await.expect("an answer").len(), 1);

    let still = "SELECT count(*) FROM databases WHERE workspace_id = $1";
    let reaped = || home().run(async { reap(&home().kith.app.store, &Clock::System).await });
    let age = "UPDATE workspaces SET deleted_at = now() - $2::interval WHERE id = $1";
    home().control(age, &[&owner.workspace_id, "6 days 23 hours"]).await;
    reaped().await.expect("no error");
    assert_eq!(control.query(still, &[Some(&owner.workspace_id)]).await.expect("an answer").text(0, 0), Some("1"));
    home().control(age, &[&owner.workspace_id, "7 days 1 second"]).await;
    reaped().await.expect("no error");
    let left =
        "SELECT (SELECT count(*) FROM databases WHERE name = $2) + (SELECT count(*) FROM workspaces WHERE id = $1)";
    let since = std::time::Instant::now();
    // The reaper of the shared Kith may be at it.
    while control.query(left, &[Some(&owner.workspace_id), Some(&place.database)]).await.expect("an answer").text(0, 0)
        != Some("0")
    {
        assert!(since.elapsed() < std::time::Duration::from_secs(20), "its data is still there");
        tokio::task::yield_now().await;
    }
}
