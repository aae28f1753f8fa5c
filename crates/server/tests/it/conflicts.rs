//! A unique value that already exists: the answer is 409 with the existing record, and there is an entry in the feed.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

async fn feed(agent: &Agent) -> Vec<Value> {
    agent.get("/v1/activity?verb=conflict").await.status(200).data().as_array().unwrap().clone()
}

async fn refused(agent: &Agent, reply: Reply, constraint: &str, existing: &str, attempted: Value) {
    let reply = reply.fault(409, "conflict");
    assert_eq!(reply.at("/code"), "23505", "{}", reply.story());
    assert_eq!(reply.at("/constraint"), constraint, "{}", reply.story());
    assert_eq!(reply.at("/existing_id"), existing, "{}", reply.story());
    let entries = feed(agent).await;
    let entry = &entries[0];
    assert_eq!(entry["subject_id"], existing, "{entry}");
    assert_eq!(entry["custom"]["request_id"], reply.header("x-request-id"), "{entry}");
    assert!(entry["actor"].as_str().unwrap().starts_with("api_key:ak_"), "{entry}");
    assert_eq!(entry["changes"]["attempted"], attempted, "{entry}");
    assert_eq!(entry["changes"]["constraint"], constraint, "{entry}");
}

#[tokio::test]
async fn an_email_is_taken_whatever_its_case() {
    let agent = agent().await;
    let first = agent.post("/v1/contacts", json!({"email": "Sarah@Acme.example"})).await.status(201).id();
    let attempt = json!({"email": "sarah@acme.EXAMPLE", "first_name": "S", "custom": {"a": 1}});
    let reply = agent.post("/v1/contacts", attempt.clone()).await;
    refused(&agent, reply, "contacts_email_key", &first, attempt).await;
    assert_eq!(feed(&agent).await[0]["subject_type"], "contact");
    // The address of a deleted contact is free again.
    agent.delete(&format!("/v1/contacts/{first}")).await.status(200);
    agent.post("/v1/contacts", json!({"email": "sarah@acme.example"})).await.status(201);
    assert_eq!(feed(&agent).await.len(), 1);
}

#[tokio::test]
async fn a_domain_is_taken_whatever_its_case() {
    let agent = agent().await;
    let first = agent.post("/v1/companies", json!({"domain": "ACME.example"})).await.status(201).id();
    agent.post("/v1/companies", json!({"domain": "other.example"})).await.status(201);
    let reply = agent.post("/v1/companies", json!({"domain": "acme.example"})).await;
    refused(&agent, reply, "companies_domain_key", &first, json!({"domain": "acme.example"})).await;
}

#[tokio::test]
async fn a_patch_collides_too() {
    let agent = agent().await;
    let first = agent.post("/v1/companies", json!({"domain": "acme.example"})).await.status(201).id();
    let second = agent.post("/v1/companies", json!({"domain": "other.example", "name": "O"})).await.status(201).id();
    let path = format!("/v1/companies/{second}");
    let reply = agent.patch(&path, json!({"domain": "Acme.Example"})).await;
    refused(&agent, reply, "companies_domain_key", &first, json!({"id": second, "domain": "Acme.Example"})).await;
    assert_eq!(agent.get(&path).await.data()["domain"], "other.example");
    // A record does not conflict with itself.
    agent.patch(&path, json!({"domain": "OTHER.example"})).await.status(200);
}

#[tokio::test]
async fn a_restore_collides_and_says_of_what() {
    let agent = agent().await;
    let hidden = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    agent.delete(&format!("/v1/contacts/{hidden}")).await.status(200);
    let first = agent.post("/v1/contacts", json!({"email": "A@b.example"})).await.status(201).id();
    let reply = agent.post(&format!("/v1/contacts/{hidden}/restore"), json!({})).await;
    refused(&agent, reply, "contacts_email_key", &first, json!({"restored": hidden})).await;
}

#[tokio::test]
async fn a_key_of_several_columns_collides_in_a_patch_of_one_of_them() {
    let agent = agent().await;
    let mail = |id: &str| json!({"provider": "gmail", "provider_msg_id": id});
    let first = agent.post("/v1/emails", mail("m1")).await.status(201).id();
    let second = agent.post("/v1/emails", mail("m2")).await.status(201).id();
    let reply = agent.post("/v1/emails", mail("m1")).await;
    refused(&agent, reply, "emails_provider_msg_id_key", &first, mail("m1")).await;
    let reply = agent.patch(&format!("/v1/emails/{second}"), json!({"provider_msg_id": "m1"})).await;
    refused(&agent, reply, "emails_provider_msg_id_key", &first, json!({"id": second, "provider_msg_id": "m1"})).await;
}

#[tokio::test]
async fn nulls_that_are_not_distinct_collide() {
    let agent = agent().await;
    agent
        .sql(
            "create table edges (id int primary key, a text, b text, constraint once unique nulls not distinct (a, b))",
        )
        .await
        .status(200);
    agent.post("/v1/edges", json!({"id": 1, "a": "x"})).await.status(201);
    let reply = agent.post("/v1/edges", json!({"id": 2, "a": "x"})).await.fault(409, "conflict");
    assert_eq!((reply.at("/existing_id"), reply.at("/constraint")), (json!("1"), json!("once")), "{}", reply.story());
}

#[tokio::test]
async fn a_key_of_ones_own_table_collides() {
    let agent = agent().await;
    let table = "create table gadgets (id int primary key, code text unique, size int not null default 3,
                                       constraint gadgets_size unique (size, code))";
    agent.sql(table).await.status(200);
    agent.post("/v1/gadgets", json!({"id": 7, "code": "x"})).await.status(201);
    let reply = agent.post("/v1/gadgets", json!({"id": 8, "code": "x"})).await.fault(409, "conflict");
    assert_eq!(reply.at("/existing_id"), "7", "{}", reply.story());
    let reply = agent.post("/v1/gadgets", json!({"id": 7, "code": "y"})).await.fault(409, "conflict");
    assert_eq!(reply.at("/constraint"), "gadgets_pkey");
    assert_eq!(reply.at("/existing_id"), "7", "{}", reply.story());
    assert_eq!(
        feed(&agent).await.iter().map(|entry| entry["subject_type"].clone()).collect::<Vec<_>>(),
        ["gadgets"; 2]
    );
}

#[tokio::test]
async fn many_at_once_make_one() {
    let agent = agent().await;
    let attempts = (0..8).map(|_| agent.post("/v1/contacts", json!({"email": "one@b.example"})));
    let replies = futures_util::future::join_all(attempts).await;
    let made: Vec<String> = replies.iter().filter(|reply| reply.code == 201).map(Reply::id).collect();
    assert_eq!(made.len(), 1);
    for reply in replies.into_iter().filter(|reply| reply.code != 201) {
        assert_eq!(reply.fault(409, "conflict").at("/existing_id"), made[0]);
    }
    assert_eq!(feed(&agent).await.len(), 7);
}

#[tokio::test]
async fn a_generated_key_is_never_said_to_be_somebody_elses() {
    let agent = agent().await;
    let table = "create table labels (id int primary key, name text,
                                   slug text generated always as (lower(name)) stored unique)";
    agent.sql(table).await.status(200);
    agent.post("/v1/labels", json!({"id": 1, "name": "Other"})).await.status(201);
    agent.post("/v1/labels", json!({"id": 2, "name": "Same"})).await.status(201);
    let reply = agent.post("/v1/labels", json!({"id": 3, "name": "SAME"})).await.fault(409, "conflict");
    assert_eq!(reply.at("/existing_id"), Value::Null, "{}", reply.story());
}
