//! The effect of PATCH on each type of value, especially jsonb merges.

use serde_json::{Value, json};

use crate::support::{Agent, agent};

async fn contact(agent: &Agent, custom: Value) -> String {
    let made = agent.post("/v1/contacts", json!({"email": "a@b.example", "custom": custom})).await.status(201);
    format!("/v1/contacts/{}", made.id())
}

async fn check(start: Value, patch: Value, expected: Value) {
    let agent = agent().await;
    let path = contact(&agent, start).await;
    let reply = agent.patch(&path, json!({"custom": patch})).await.status(200);
    assert_eq!(reply.data()["custom"], expected, "{}", reply.story());
    assert_eq!(agent.get(&path).await.data()["custom"], expected);
}

#[tokio::test]
async fn a_patch_merges_custom_one_level_deep() {
    check(json!({"a": 1, "b": {"x": 1}}), json!({"b": {"y": 2}, "c": [1]}), json!({"a": 1, "b": {"y": 2}, "c": [1]}))
        .await;
}

#[tokio::test]
async fn a_key_set_to_null_is_removed() {
    check(json!({"a": 1, "b": 2}), json!({"a": null, "never": null}), json!({"b": 2})).await;
    check(json!({"a": {"b": null}}), json!({"c": {"d": null}}), json!({"a": {"b": null}, "c": {"d": null}})).await;
}

#[tokio::test]
async fn custom_set_to_null_is_emptied() {
    check(json!({"a": 1}), Value::Null, json!({})).await;
}

#[tokio::test]
async fn keys_are_any_text() {
    let odd = json!({"": 1, "a.b": 2, "\"q\"": 3, "{x,y}": 4, "é☃": 5, "\\": 6});
    let gone = json!({"": null, "a.b": null, "\"q\"": null, "{x,y}": null, "\\": null});
    check(odd, gone, json!({"é☃": 5})).await;
}

#[tokio::test]
async fn custom_takes_an_object_alone() {
    let agent = agent().await;
    let path = contact(&agent, json!({})).await;
    for bad in [json!([1]), json!("x"), json!(1), json!(true)] {
        agent.patch(&path, json!({"custom": bad})).await.fault(400, "invalid_request").says("custom");
        agent.post("/v1/contacts", json!({"custom": bad})).await.fault(400, "invalid_request").says("custom");
    }
    assert_eq!(agent.post("/v1/contacts", json!({"custom": null})).await.status(201).data()["custom"], json!({}));
}

#[tokio::test]
async fn jsonb_of_ones_own_merges_and_its_arrays_are_replaced() {
    let agent = agent().await;
    agent
        .sql("create table remarks (id bigint generated always as identity primary key, doc jsonb, raw json)")
        .await
        .status(200);
    let made = agent.post("/v1/remarks", json!({"doc": {"a": 1}, "raw": {"a": 1}})).await.status(201);
    let path = format!("/v1/remarks/{}", made.data()["id"]);
    let doc = async |patch: Value| agent.patch(&path, json!({"doc": patch})).await.status(200).data()["doc"].clone();
    assert_eq!(doc(json!({"b": 2})).await, json!({"a": 1, "b": 2}));
    assert_eq!(doc(json!([1, 2])).await, json!([1, 2]));
    assert_eq!(doc(json!([3])).await, json!([3]));
    // An array is not an object to merge into: the object replaces it.
    assert_eq!(doc(json!({"c": 3})).await, json!({"c": 3}));
    assert_eq!(doc(json!("text")).await, json!("text"));
    assert_eq!(doc(Value::Null).await, Value::Null);
    assert_eq!(doc(json!({"d": 4, "e": null})).await, json!({"d": 4}));
    let raw = agent.patch(&path, json!({"raw": {"b": 2}})).await.status(200);
    assert_eq!(raw.data()["raw"], json!({"b": 2}), "json is replaced\n{}", raw.story());
}

#[tokio::test]
async fn what_is_left_out_stays_and_null_empties() {
    let agent = agent().await;
    let given = json!({"email": "a@b.example", "first_name": "A", "title": "CTO"});
    let path = format!("/v1/contacts/{}", agent.post("/v1/contacts", given).await.status(201).id());
    let reply = agent.patch(&path, json!({"title": null, "phone": ""})).await.status(200);
    assert_eq!(reply.data()["title"], Value::Null);
    assert_eq!(reply.data()["phone"], "");
    assert_eq!(reply.data()["first_name"], "A");
}

#[tokio::test]
async fn an_empty_patch_changes_nothing_and_leaves_no_trace() {
    let agent = agent().await;
    let path = contact(&agent, json!({"a": 1})).await;
    let before = agent.get(&path).await.status(200).data();
    for nothing in [json!({}), json!({"custom": {}}), json!({"email": "a@b.example"})] {
        let reply = agent.patch(&path, nothing).await.status(200);
        assert_eq!(reply.data()["updated_at"], before["updated_at"], "{}", reply.story());
    }
    assert_eq!(agent.get("/v1/activity").await.column("verb"), ["created"]);
}

#[tokio::test]
async fn the_servers_own_columns_are_read_only() {
    let agent = agent().await;
    let path = contact(&agent, json!({})).await;
    for name in ["id", "created_at", "updated_at", "deleted_at"] {
        let body = json!({name: "2026-01-01T00:00:00Z"});
        agent.patch(&path, body.clone()).await.fault(400, "invalid_request").says(name).says("read-only");
        agent.post("/v1/contacts", body).await.fault(400, "invalid_request").says(name).says("read-only");
    }
    let mut odd = json!({"email": "x@y.example"});
    odd["emial"] = json!("z");
    let reply = agent.post("/v1/contacts", odd.clone()).await.fault(400, "invalid_request").says("emial");
    assert!(reply.text("/hint").contains("\"email\""), "{}", reply.story());
    agent.patch(&path, odd).await.fault(400, "invalid_request").says("emial");
}
