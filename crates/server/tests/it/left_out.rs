//! Triggers of the workspace's own that leave rows out: a refusal in words, never an answer about a row that is not there.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, relm};

const WORDS: &str = "a trigger of the workspace's own left the row out";
const NOTHING: &str = "create function nothing() returns trigger language plpgsql as $$ begin return null; end $$";

async fn leave_out(agent: &Agent, act: &str, table: &str) {
    let sql = format!("create trigger zz_nothing before {act} on {table} for each row execute function nothing()");
    agent.sql(&sql).await.status(200);
}

async fn let_in(agent: &Agent, table: &str) {
    agent.sql(&format!("drop trigger zz_nothing on {table}")).await.status(200);
}

async fn keyed(agent: &Agent, key: &str, path: &str, body: Value) -> Reply {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    agent.send(Method::POST, path, &headers, body.to_string()).await
}

fn refused(reply: Reply) {
    reply.fault(422, "validation_failed").says(WORDS);
}

#[tokio::test]
async fn a_new_row_that_a_trigger_leaves_out_is_refused() {
    for agent in [agent().await, relm().await] {
        agent.sql(NOTHING).await.status(200);
        agent.sql("create table tr (id int primary key)").await.status(200);
        let tables = [
            ("tr", json!({"id": 1})),
            ("contacts", json!({"email": "a@b.example"})),
            ("companies", json!({"name": "A"})),
            ("activities", json!({"type": "note"})),
            ("lists", json!({"name": "L", "target_table": "contacts", "kind": "static"})),
            ("emails", json!({"from_addr": "a@b.example", "subject": "S"})),
        ];
        for (table, body) in tables {
            leave_out(&agent, "insert", table).await;
            let path = format!("/v1/{table}");
            refused(agent.post(&path, body.clone()).await);
            let headers = [("content-type", "application/json"), ("x-dry-run", "true")];
            refused(agent.send(Method::POST, &path, &headers, body.to_string()).await);
            for _ in 0..2 {
                // The second one is the stored reply to the first.
                keyed(&agent, table, &path, body.clone()).await.status(422).says(WORDS);
            }
            let operations = json!({"operations": [{"method": "POST", "path": path, "body": body}]});
            refused(agent.post("/v1/batch", operations).await);
            let_in(&agent, table).await;
            agent.post(&path, body).await.status(201);
        }
        leave_out(&agent, "insert", "pipeline_stages").await;
        refused(agent.post("/v1/pipeline/stages", json!({"key": "late", "label": "Late"})).await);
    }
}

#[tokio::test]
async fn a_change_that_a_trigger_leaves_out_is_refused() {
    let agent = agent().await;
    agent.sql(NOTHING).await.status(200);
    agent.sql("create table tr (id int primary key, n int)").await.status(200);
    agent.post("/v1/tr", json!({"id": 1})).await.status(201);
    let id = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    for (table, id, body) in [("tr", "1", json!({"n": 2})), ("contacts", &*id, json!({"first_name": "A"}))] {
        let path = format!("/v1/{table}/{id}");
        leave_out(&agent, "update or delete", table).await;
        refused(agent.patch(&path, body.clone()).await);
        refused(agent.delete(&path).await);
        refused(agent.delete(&format!("{path}?hard=true")).await);
        let operations = json!({"operations": [{"method": "PATCH", "path": path, "body": body}]});
        refused(agent.post("/v1/batch", operations).await);
        // A row that is not there is still not found.
        agent.patch(&format!("/v1/{table}/0"), body).await.fault(404, "not_found");
        agent.delete(&format!("/v1/{table}/0")).await.fault(404, "not_found");
        let_in(&agent, table).await;
    }
    agent.delete(&format!("/v1/contacts/{id}")).await.status(200);
    leave_out(&agent, "update", "contacts").await;
    refused(agent.post(&format!("/v1/contacts/{id}/restore"), json!({})).await);
    agent.patch(&format!("/v1/contacts/{id}"), json!({"first_name": "A"})).await.fault(404, "not_found");
}

#[tokio::test]
async fn a_member_or_an_association_that_a_trigger_leaves_out_is_refused() {
    let agent = agent().await;
    agent.sql(NOTHING).await.status(200);
    let body = json!({"name": "L", "target_table": "contacts", "kind": "static"});
    let list = agent.post("/v1/lists", body).await.status(201).id();
    let first = agent.post("/v1/contacts", json!({})).await.status(201).id();
    let second = agent.post("/v1/contacts", json!({})).await.status(201).id();
    let members = format!("/v1/lists/{list}/members");
    let when = format!("for each row when (new.member_id = '{second}') execute function nothing()");
    agent.sql(&format!("create trigger zz_nothing before insert on list_members {when}")).await.status(200);
    refused(agent.post(&members, json!({"member_id": second})).await);
    // All or none.
    refused(agent.post(&members, json!({"member_ids": [first, second]})).await);
    assert_eq!(agent.sql("select count(*) as v from list_members").await.v(), 0);
    agent.post(&members, json!({"member_ids": [first, first]})).await.status(201);
    let_in(&agent, "list_members").await;
    leave_out(&agent, "delete", "list_members").await;
    refused(agent.delete(&format!("{members}/{first}")).await);
    agent.delete(&format!("{members}/{second}")).await.fault(404, "not_found");

    leave_out(&agent, "insert", "associations").await;
    let between = json!({"from_type": "contact", "from_id": first, "to_type": "contact", "to_id": second});
    refused(agent.post("/v1/associations", between.clone()).await);
    let_in(&agent, "associations").await;
    agent.post("/v1/associations", between.clone()).await.status(201);
    leave_out(&agent, "insert", "associations").await;
    agent.post("/v1/associations", between).await.status(200);
}
