//! Asserts a record: it is created, or the only one that matches is updated.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both};

async fn assert(agent: &Agent, table: &str, by: Value, data: Value) -> Reply {
    agent.post(&format!("/v1/{table}/assert"), json!({"match": by, "data": data})).await
}

#[tokio::test]
async fn a_record_is_created_once_and_updated_afterwards() {
    let (relm, agent) = both().await;
    let data = json!({"email": " Ada@B.example", "first_name": "Ada", "custom": {"a": 1}});
    let new = assert(&agent, "contacts", json!(["email"]), data.clone()).await.status(201);
    assert_eq!(new.at("/_meta/outcome"), json!("created"));
    let same = assert(&agent, "contacts", json!(["email"]), data).await.status(200);
    assert_eq!((same.at("/_meta/outcome"), same.id()), (json!("unchanged"), new.id()));
    let other = json!({"email": "ada@b.example", "phone": "1", "metadata": {"b": 2}});
    let other = assert(&relm, "contacts", json!("email"), other).await.status(200);
    assert_eq!((other.at("/outcome"), other.at("/object")), (json!("updated"), json!("contact")));
    assert_eq!((other.at("/metadata"), other.at("/first_name")), (json!({"a": 1, "b": 2}), json!("Ada")));

    // By a key of the free-form field, by several fields, and in a table of the workspace's own.
    let by_key = json!({"custom": {"ext": "x1"}, "title": "T"});
    let keyed = assert(&agent, "contacts", json!(["custom.ext"]), by_key.clone()).await.status(201);
    assert_eq!(assert(&agent, "contacts", json!(["custom.ext"]), by_key).await.status(200).id(), keyed.id());
    agent.sql("create table rooms (id serial primary key, house text, number int, note text)").await.status(200);
    let room = json!({"house": "a", "number": 1, "note": "n"});
    let first = assert(&agent, "rooms", json!(["house", "number"]), room).await.status(201);
    let room = json!({"house": "a", "number": 1, "note": "m"});
    let again = assert(&agent, "rooms", json!(["house", "number"]), room).await.status(200);
    assert_eq!((first.at("/data/id"), again.at("/data/note")), (again.at("/data/id"), json!("m")));

    // A deleted record does not match.
    agent.delete(&format!("/v1/contacts/{}", new.id())).await.status(200);
    assert(&agent, "contacts", json!(["email"]), json!({"email": "ada@b.example"})).await.status(201);
}

#[tokio::test]
async fn several_matches_and_missing_values_are_refused() {
    let agent = agent().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(agent.post("/v1/contacts", json!({"phone": "1"})).await.status(201).id());
    }
    let refused = assert(&agent, "contacts", json!(["phone"]), json!({"phone": "1"})).await.fault(409, "ambiguous");
    refused.says(&ids[0]).says(&ids[1]);
    for (by, data, part) in [
        (json!(["email"]), json!({"phone": "1"}), "must have a value"),
        (json!(["email"]), json!({"email": ""}), "must have a value"),
        (json!([]), json!({}), "\"match\" must be an array"),
        (json!(["emial"]), json!({"emial": "x"}), "emial"),
        (json!(["custom"]), json!({"custom": {}}), "can't be matched"),
        (json!(["phone"]), json!(null), "\"data\" must be an object"),
    ] {
        assert(&agent, "contacts", by, data).await.fault(400, "invalid_request").says(part);
    }
    agent.get("/v1/contacts/assert").await.fault(404, "not_found");
    assert(&agent, "nothing", json!(["a"]), json!({"a": 1})).await.fault(404, "not_found");
}

#[tokio::test]
async fn assertions_at_the_same_time_create_one_record() {
    let agent = agent().await;
    for (by, data) in [("phone", json!({"phone": "+1"})), ("email", json!({"email": "one@b.example"}))] {
        let writes = (0..8).map(|_| {
            let (agent, data) = (agent.clone(), data.clone());
            async move { assert(&agent, "contacts", json!([by]), data).await }
        });
        let replies = futures_util::future::join_all(writes).await;
        let outcomes: Vec<Value> = replies.iter().map(|reply| reply.at("/_meta/outcome")).collect();
        assert_eq!(outcomes.iter().filter(|it| **it == "created").count(), 1, "{outcomes:?}");
        let ids: Vec<String> = replies.iter().map(Reply::id).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
    // In a batch too, whose controls hold for it.
    let operation =
        json!({"method": "POST", "path": "/v1/contacts/assert", "body": {"match": ["phone"], "data": {"phone": "+2"}}});
    let batch = agent.post("/v1/batch", json!({"operations": [operation, operation]})).await.status(200);
    assert_eq!(batch.column("status"), [json!(201), json!(200)]);
}
