//! Associations: edges between any two existing records. They are deleted with the records.

use serde_json::{Value, json};

use crate::support::{Agent, agent, both};

async fn make(agent: &Agent, table: &str, body: Value) -> String {
    agent.post(&format!("/v1/{table}"), body).await.status(201).id()
}

fn edge(from: (&str, &str), to: (&str, &str)) -> Value {
    json!({"from_type": from.0, "from_id": from.1, "to_type": to.0, "to_id": to.1})
}

async fn count(agent: &Agent) -> usize {
    agent.sql("select count(*)::int as v from associations").await.status(200).v().as_u64().unwrap() as usize
}

#[tokio::test]
async fn an_edge_is_made_once_and_listed_by_either_end() {
    let agent = agent().await;
    let contact = make(&agent, "contacts", json!({})).await;
    let deal = make(&agent, "deals", json!({"name": "D"})).await;
    let mut body = edge(("contact", &contact), ("deal", &deal));
    let first = agent.post("/v1/associations", body.clone()).await.status(201);
    assert!(first.id().starts_with("as_"));
    let again = agent.post("/v1/associations", body.clone()).await.status(200);
    assert_eq!(again.data(), first.data());
    body["label"] = json!("champion");
    let labelled = agent.post("/v1/associations", body.clone()).await.status(201);
    assert_eq!(agent.post("/v1/associations", body).await.status(200).id(), labelled.id());
    let reverse = edge(("deal", &deal), ("contact", &contact));
    agent.post("/v1/associations", reverse).await.status(201);
    assert_eq!(count(&agent).await, 3);

    for (query, found) in [
        (format!("from_type=contact&from_id={contact}"), 2),
        (format!("to_type=deal&to_id={deal}"), 2),
        (format!("to_type=contact&to_id={contact}"), 1),
        (format!("from_type=contact&from_id={contact}&label=champion"), 1),
        ("from_id=c_none".to_owned(), 0),
    ] {
        let page = agent.get(&format!("/v1/associations?{query}")).await.status(200);
        assert_eq!(page.column("id").len(), found, "{query}");
    }

    let path = format!("/v1/associations/{}", first.id());
    agent.patch(&path, json!({"custom": {"since": 2020}})).await.status(200);
    agent.patch(&path, json!({"to_id": contact})).await.fault(400, "invalid_request").says("can't be changed");
    agent.delete(&path).await.status(200);
    agent.get(&path).await.fault(404, "not_found");
    // It can be created again.
    let body = edge(("contact", &contact), ("deal", &deal));
    assert_ne!(agent.post("/v1/associations", body).await.status(201).id(), first.id());
}

#[tokio::test]
async fn many_at_once_make_one_edge() {
    let agent = agent().await;
    let company = make(&agent, "companies", json!({})).await;
    let attempts = (0..8).map(|_| agent.post("/v1/associations", edge(("company", &company), ("company", &company))));
    let replies = futures_util::future::join_all(attempts).await;
    assert_eq!(replies.iter().filter(|reply| reply.code == 201).count(), 1);
    for reply in replies.into_iter().filter(|reply| reply.code != 201) {
        reply.status(200);
    }
    assert_eq!(count(&agent).await, 1);
}

#[tokio::test]
async fn both_ends_must_be_there() {
    let (relm, agent) = both().await;
    let contact = make(&agent, "contacts", json!({})).await;
    let hidden = make(&agent, "companies", json!({})).await;
    agent.delete(&format!("/v1/companies/{hidden}")).await.status(200);
    agent.sql("create view seen as select 1 as id").await.status(200);
    for (body, field, says) in [
        (edge(("contacts", &contact), ("contact", &contact)), "from_type", "Did you mean \"contact\"?"),
        (edge(("contact", &contact), ("comapny", &contact)), "to_type", "Did you mean \"company\"?"),
        (edge(("contact", &contact), ("association", "as_1")), "to_type", "no records of type"),
        (edge(("contact", &contact), ("seen", "1")), "to_type", "no records of type"),
        (json!({"from_type": "contact", "from_id": contact, "to_type": "contact"}), "to_id", "required"),
        (json!({"to_type": "contact", "to_id": contact, "from_id": contact}), "from_type", "required"),
        (edge(("contact", ""), ("contact", &contact)), "from_id", "required"),
    ] {
        let reply = agent.post("/v1/associations", body).await.fault(422, "validation_failed").says(says);
        assert_eq!(reply.at("/field"), field, "{}", reply.story());
    }
    for (body, field, says) in [
        (edge(("contact", "c_none"), ("contact", &contact)), "from_id", "there is no contact \"c_none\""),
        (edge(("contact", &contact), ("deal", "d_none")), "to_id", "there is no deal \"d_none\""),
        (edge(("contact", &contact), ("company", &hidden)), "to_id", "there is no company"),
        (edge(("contact", &contact), ("deal", &contact)), "to_id", "there is no deal"),
    ] {
        for client in [&agent, &relm] {
            let reply = client.post("/v1/associations", body.clone()).await.fault(422, "invalid_reference").says(says);
            assert_eq!(reply.error()["field"], field, "{}", reply.story());
        }
    }
    let wrong = json!({"from_type": "contact", "from_id": 7, "to_type": "contact", "to_id": contact});
    agent.post("/v1/associations", wrong).await.fault(400, "invalid_request");
    agent.post("/v1/associations", json!({"from": 1})).await.fault(400, "invalid_request");
    assert_eq!(count(&agent).await, 0);
}

#[tokio::test]
async fn edges_lead_to_tables_of_ones_own_and_go_with_their_rows() {
    let agent = agent().await;
    agent.sql("create table \"Odd things\" (code int primary key, deleted_at timestamptz); create table plain (id text primary key)").await.status(200);
    agent.sql("insert into \"Odd things\" values (1), (2), (3); insert into plain values ('p')").await.status(200);
    let contact = make(&agent, "contacts", json!({})).await;
    for code in ["1", "2", "3"] {
        let body = edge(("Odd things", code), ("contact", &contact));
        agent.post("/v1/associations", body).await.status(201);
    }
    agent.post("/v1/associations", edge(("plain", "p"), ("Odd things", "1"))).await.status(201);
    for code in ["4", "one"] {
        let body = edge(("Odd things", code), ("contact", &contact));
        agent.post("/v1/associations", body).await.fault(422, "invalid_reference").says("no Odd things");
    }
    assert_eq!(count(&agent).await, 4);
    // A hidden record keeps its edges. A deleted one loses them, over whichever interface it is deleted.
    agent.delete("/v1/Odd%20things/1").await.status(200);
    assert_eq!(count(&agent).await, 4);
    agent.delete("/v1/Odd%20things/1?hard=true").await.status(200);
    assert_eq!(count(&agent).await, 2);
    agent.sql("delete from \"Odd things\" where code = 2").await.status(200);
    assert_eq!(count(&agent).await, 1);
    agent.delete(&format!("/v1/contacts/{contact}")).await.status(200);
    assert_eq!(count(&agent).await, 1);
    agent.delete(&format!("/v1/contacts/{contact}?hard=true")).await.status(200);
    assert_eq!(count(&agent).await, 0);
    // The removed edges are in the feed.
    let deleted = agent.get("/v1/activity?subject_type=association&verb=deleted").await.status(200);
    assert_eq!(deleted.column("id").len(), 4);
}
