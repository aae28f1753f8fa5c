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
        .sql("create table memos (id bigint generated always as identity primary key, doc jsonb, raw json)")
        .await
        .status(200);
    let made = agent.post("/v1/memos", json!({"doc": {"a": 1}, "raw": {"a": 1}})).await.status(201);
    let path = format!("/v1/memos/{}", made.data()["id"]);
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

#[tokio::test]
async fn a_list_in_custom_is_added_to_and_taken_from() {
    let append = |items: Value| json!({"tags": {"$append": items}});
    check(json!({"tags": ["a"], "x": 1}), append(json!(["b", "a", "c"])), json!({"tags": ["a", "b", "c"], "x": 1}))
        .await;
    check(json!({}), append(json!("a")), json!({"tags": ["a"]})).await;
    check(json!({"tags": null}), append(json!([1, {"y": [2]}])), json!({"tags": [1, {"y": [2]}]})).await;
    check(json!({"tags": "a"}), append(json!(["b"])), json!({"tags": ["a", "b"]})).await;
    check(json!({"tags": ["a", "b", 1]}), json!({"tags": {"$remove": ["a", 1, "z"]}}), json!({"tags": ["b"]})).await;
    check(json!({"tags": [["a", "b"], ["a"]]}), json!({"tags": {"$remove": [["a"]]}}), json!({"tags": [["a", "b"]]}))
        .await;
    check(json!({}), json!({"tags": {"$remove": "a"}}), json!({"tags": []})).await;
    // Several at once, and beside plain keys.
    check(
        json!({"a": [1], "b": [1, 2], "c": "there", "d": "", "gone": 1}),
        json!({"a": {"$append": [2]}, "b": {"$remove": [1]}, "c": {"$if_empty": "new"}, "d": {"$if_empty": {"x": 1}}, "e": 5, "gone": null}),
        json!({"a": [1, 2], "b": [2], "c": "there", "d": {"x": 1}, "e": 5}),
    )
    .await;
    // An object with other keys is a value as any other.
    check(json!({}), json!({"a": {"$append": [1], "b": 2}}), json!({"a": {"$append": [1], "b": 2}})).await;
}

#[tokio::test]
async fn an_array_column_is_added_to_and_a_field_is_filled() {
    let agent = agent().await;
    agent.sql("create table plans (id int primary key, tags text[], sizes int[] not null default '{}', note text, more jsonb)").await.status(200);
    agent.post("/v1/plans", json!({"id": 1, "tags": ["b", "a"], "sizes": [1]})).await.status(201);
    let patch = async |body: Value| agent.patch("/v1/plans/1", body).await;
    let changed = patch(json!({"tags": {"$append": ["c", "a"]}, "sizes": {"$append": 2}, "note": {"$if_empty": "first"}, "more": {"$append": ["x"]}})).await;
    let row = changed.status(200).data();
    assert_eq!((&row["tags"], &row["sizes"]), (&json!(["b", "a", "c"]), &json!([1, 2])));
    assert_eq!((&row["note"], &row["more"]), (&json!("first"), &json!(["x"])));
    let changed = patch(json!({"tags": {"$remove": ["b", "z"]}, "sizes": {"$remove": [1, 2]}, "note": {"$if_empty": "second"}, "more": {"$remove": "x"}})).await;
    let row = changed.status(200).data();
    assert_eq!((&row["tags"], &row["sizes"]), (&json!(["a", "c"]), &json!([])));
    assert_eq!((&row["note"], &row["more"]), (&json!("first"), &json!([])));
    let filled = patch(json!({"sizes": {"$if_empty": [7]}, "tags": {"$if_empty": ["x"]}})).await.status(200).data();
    assert_eq!((&filled["sizes"], &filled["tags"]), (&json!([7]), &json!(["a", "c"])));
    patch(json!({"note": {"$append": "x"}})).await.fault(400, "invalid_request").says("no list");
    patch(json!({"sizes": {"$append": ["x"]}})).await.fault(400, "invalid_request");
    // A new record has nothing to add to.
    for body in [json!({"id": 2, "tags": {"$append": ["a"]}}), json!({"id": 2, "more": {"x": {"$remove": 1}}})] {
        agent.post("/v1/plans", body).await.fault(400, "invalid_request").says("$append");
    }
    let rows = json!({"contacts": [{"email": "a@b.example", "custom": {"tags": {"$append": ["a"]}}}]});
    let rows = agent.post("/v1/contacts/batch", rows).await.status(200);
    assert_eq!(rows.at("/data/0/status"), "error", "{}", rows.story());
}

#[tokio::test]
async fn two_that_add_at_the_same_time_lose_nothing() {
    let agent = agent().await;
    let path = contact(&agent, json!({"tags": []})).await;
    let adds = (0..8).map(|at| {
        let (agent, path) = (agent.clone(), path.clone());
        async move { agent.patch(&path, json!({"custom": {"tags": {"$append": [at]}}})).await.status(200) }
    });
    futures_util::future::join_all(adds).await;
    let tags = agent.get(&path).await.data()["custom"]["tags"].clone();
    let mut tags: Vec<u64> = tags.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..8).collect::<Vec<u64>>());
}
