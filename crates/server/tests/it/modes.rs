//! Live and test data of a workspace: keys of either mode, each with data of its own.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::belongings::{joined, owned};
use crate::support::{Agent, Reply, home, other_process, stranger};

/// An agent with a new key of the workspace, and the key's id.
async fn key(person: &Agent, wanted: Value) -> (Agent, String) {
    let made = person.post(&format!("/v1/keys?ws={}", person.workspace_id), wanted).await.status(201);
    (stranger().with_key(made.text("/data/api_key"), person.workspace_id.clone()), made.id())
}

fn test(role: &str) -> Value {
    json!({"dialect": "relm", "mode": "test", "role": role})
}

/// The record's id in either dialect's answer.
fn id(reply: Reply) -> String {
    let json = reply.status(201).json();
    let id = json.get("id").or_else(|| json.pointer("/data/id")).and_then(Value::as_str);
    id.unwrap_or_else(|| panic!("no id in {json}")).to_owned()
}

/// The e-mail addresses of the contacts that a key can see.
async fn emails(agent: &Agent) -> Vec<String> {
    let mut found: Vec<String> = (agent.get("/v1/contacts").await.status(200).column("email").iter())
        .map(|email| email.as_str().unwrap_or_default().to_owned())
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_key_tells_by_its_prefix_what_it_speaks_and_what_it_sees() {
    let (owner, _) = owned().await;
    for (wanted, prefix, dialect, mode) in [
        (json!({}), "acrm_live_", "agentcrm", "live"),
        (json!({"dialect": "agentcrm", "mode": "live"}), "acrm_live_", "agentcrm", "live"),
        (json!({"dialect": "relm"}), "sk_live_", "relm", "live"),
        (json!({"dialect": "relm", "mode": "live"}), "sk_live_", "relm", "live"),
        (json!({"dialect": "relm", "mode": "test"}), "sk_test_", "relm", "test"),
        (json!({"mode": "test"}), "sk_test_", "relm", "test"),
    ] {
        let path = format!("/v1/keys?ws={}", owner.workspace_id);
        let made = owner.post(&path, wanted).await.status(201);
        let secret = made.text("/data/api_key");
        assert!(secret.starts_with(prefix), "{}", made.story());
        assert_eq!((made.text("/data/dialect"), made.text("/data/mode")), (dialect.into(), mode.into()));
        assert!(made.text("/data/hint").starts_with(prefix), "{}", made.story());
        let listed = owner.get(&path).await.status(200);
        assert!(!String::from_utf8_lossy(&listed.body).contains(&secret), "a list never shows a key");
        let mine = listed.data().as_array().and_then(|keys| keys.iter().find(|it| it["id"] == made.id()).cloned());
        let mine = mine.unwrap_or_else(|| panic!("{} is not listed", made.id()));
        assert_eq!((&mine["dialect"], &mine["mode"]), (&json!(dialect), &json!(mode)));
        stranger().with_key(secret, String::new()).get("/v1/contacts").await.status(200);
    }
    let path = format!("/v1/keys?ws={}", owner.workspace_id);
    for (wanted, words) in [
        (json!({"dialect": "agentcrm", "mode": "test"}), "relm"),
        (json!({"dialect": "esperanto"}), "agentcrm or relm"),
        (json!({"mode": "sandbox"}), "live or test"),
        (json!({"dialect": "relm", "mode": 1}), "text"),
    ] {
        owner.post(&path, wanted).await.fault(400, "invalid_request").says(words);
    }
}

#[tokio::test]
async fn live_and_test_data_never_mix() {
    let (owner, live) = owned().await;
    let (relm_live, _) = key(&owner, json!({"dialect": "relm", "role": "owner"})).await;
    let (test_key, _) = key(&owner, test("owner")).await;
    let of_live = id(live.post("/v1/contacts", json!({"email": "live@modes.example"})).await);
    let of_test = id(test_key.post("/v1/contacts", json!({"email": "test@modes.example"})).await);
    // The same unique value is free in the other mode, and so is the same Idempotency-Key.
    let headers = [("content-type", "application/json"), ("idempotency-key", "one key")];
    for agent in [&relm_live, &test_key] {
        let body = json!({"email": "both@modes.example"}).to_string();
        let made = agent.send(Method::POST, "/v1/contacts", &headers, body).await;
        assert_eq!(made.header("idempotent-replayed"), "", "{}", made.story());
        id(made);
    }
    assert_eq!(emails(&live).await, ["both@modes.example", "live@modes.example"]);
    assert_eq!(emails(&relm_live).await, ["both@modes.example", "live@modes.example"]);
    assert_eq!(emails(&test_key).await, ["both@modes.example", "test@modes.example"]);
    for (agent, id) in [(&test_key, &of_live), (&live, &of_test), (&relm_live, &of_test)] {
        let path = format!("/v1/contacts/{id}");
        agent.get(&path).await.status(404);
        agent.patch(&path, json!({"last_name": "x"})).await.status(404);
        agent.delete(&path).await.status(404);
    }
    test_key.sql("create table of_test (id int primary key)").await.status(200);
    test_key.get("/v1/of_test").await.status(200);
    live.get("/v1/of_test").await.status(404);
    test_key.sql("delete from contacts").await.status(200);
    assert_eq!(emails(&live).await.len(), 2, "what SQL deletes in the test data stays in the live data");
    // The databases share nothing, not even a role.
    let workspace_id = owner.workspace_id.clone();
    let places = home().run(async move { home().kith.app.store.control.databases(&workspace_id).await });
    let places = places.await.expect("its places");
    assert_eq!(places.len(), 2);
    assert!(places[0].role != places[1].role && places[0].database != places[1].database);
    let direct = owner.post(&format!("/v1/connection?ws={}", owner.workspace_id), json!({})).await.status(200);
    assert!(direct.text("/data/url").contains(&*places[0].database), "direct connections reach the live data");
}

#[tokio::test]
async fn a_viewers_test_key_reads_and_never_writes() {
    let (owner, _) = owned().await;
    let (test_key, _) = key(&owner, test("member")).await;
    let contact = id(test_key.post("/v1/contacts", json!({"email": "seen@modes.example"})).await);
    let (viewer, _) = key(&owner, test("viewer")).await;
    assert_eq!(emails(&viewer).await, ["seen@modes.example"]);
    viewer.post("/v1/contacts", json!({})).await.status(403);
    viewer.delete(&format!("/v1/contacts/{contact}")).await.status(403);
    viewer.sql("insert into contacts default values").await.status(403);
    viewer.sql("select 1 as v").await.status(200);
}

#[tokio::test]
async fn a_members_test_keys_end_with_the_membership_and_a_rotation_leaves_them() {
    let (owner, live) = owned().await;
    let (guest, _, user_id) = joined(&owner, "member").await;
    let (of_guest, _) = key(&guest, test("member")).await;
    let (of_owner, _) = key(&owner, test("member")).await;
    let (relm, _) = key(&owner, json!({"dialect": "relm"})).await;
    owner.post(&format!("/v1/keys/rotate?ws={}", owner.workspace_id), json!({})).await.status(200);
    live.get("/v1/contacts").await.status(401);
    relm.get("/v1/contacts").await.status(200);
    of_owner.get("/v1/contacts").await.status(200);
    owner.delete(&format!("/v1/members?ws={}&user_id={user_id}", owner.workspace_id)).await.status(200);
    of_guest.get("/v1/contacts").await.status(401);
    of_owner.get("/v1/contacts").await.status(200);
}

#[tokio::test]
async fn first_test_keys_made_at_once_share_one_database_in_every_process() {
    let (owner, _) = owned().await;
    let there = owner.at(other_process().await);
    let made = join_all((0..8).map(|at| key(if at % 2 == 0 { &owner } else { &there }, test("member")))).await;
    for (at, (agent, _)) in made.iter().enumerate() {
        id(agent.post("/v1/contacts", json!({"email": format!("{at}@modes.example")})).await);
    }
    for (agent, _) in &made {
        assert_eq!(emails(agent).await.len(), 8, "each sees what all have written");
    }
    let places = home().run(async move { home().kith.app.store.control.databases(&owner.workspace_id).await }).await;
    assert_eq!(places.expect("its places").len(), 2);
}

#[tokio::test]
async fn a_test_key_that_was_ended_is_refused_in_another_process_within_moments() {
    let (owner, _) = owned().await;
    let (test_key, key_id) = key(&owner, test("member")).await;
    let elsewhere = test_key.at(other_process().await);
    elsewhere.get("/v1/contacts").await.status(200);
    owner.delete(&format!("/v1/keys/{key_id}?ws={}", owner.workspace_id)).await.status(200);
    test_key.get("/v1/contacts").await.status(401);
    let since = Instant::now();
    while elsewhere.get("/v1/contacts").await.code != 401 {
        assert!(since.elapsed() < Duration::from_secs(20), "the other process never saw that the key had ended");
    }
}

#[tokio::test]
async fn a_key_is_never_worth_more_than_its_persons_membership() {
    let (owner, _) = owned().await;
    let (_, live, user_id) = joined(&owner, "member").await;
    // As if the role had been removed and the membership ended at the moment when the key was created.
    let set = "UPDATE members SET role = 'viewer' WHERE workspace_id = $1 AND user_id = $2";
    home().control(set, &[&owner.workspace_id, &user_id]).await;
    live.get("/v1/contacts").await.status(200);
    live.post("/v1/contacts", json!({})).await.fault(403, "forbidden");
    let (guest, of_guest, user_id) = joined(&owner, "member").await;
    home()
        .control("DELETE FROM members WHERE workspace_id = $1 AND user_id = $2", &[&owner.workspace_id, &user_id])
        .await;
    of_guest.get("/v1/contacts").await.fault(401, "unauthorized");
    guest.get(&format!("/v1/keys?ws={}", owner.workspace_id)).await.fault(404, "not_found");
}
