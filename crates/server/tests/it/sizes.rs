//! Records and pages of any size are shown completely, split into pages, or refused with nothing kept. They are never cut
//! silently.

use serde_json::{Value, json};

use crate::support::{Agent, agent, relm};

const MIB: usize = 1024 * 1024;

async fn walk(agent: &Agent, path: &str, cursor_at: &str) -> Vec<Value> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = agent.get(&format!("{path}{cursor}")).await.status(200);
        ids.extend(page.column("id"));
        match page.at(cursor_at) {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => return ids,
        }
    }
}

#[tokio::test]
async fn a_page_that_would_be_too_large_is_shorter_and_says_that_there_is_more() {
    let agent = agent().await;
    let insert = "insert into companies (name, industry) select 'Large ' || n, repeat('x', 1000000) from generate_series(1, 25) n";
    agent.sql(insert).await.status(200);
    let page = agent.get("/v1/companies?limit=200").await.status(200);
    let shown = page.data().as_array().map_or(0, Vec::len);
    assert!((1..25).contains(&shown) && page.at("/_meta/has_more") == json!(true), "{shown}");
    let mut ids = walk(&agent, "/v1/companies?limit=200", "/_meta/next_cursor").await;
    ids.sort_by_key(Value::to_string);
    ids.dedup();
    assert_eq!(ids.len(), 25);
    assert!(walk(&agent, "/v1/companies/search?q=large&limit=50", "/_meta/next_cursor").await.len() >= 25);

    let relm = relm().await;
    relm.sql(insert).await.status(200);
    assert_eq!(walk(&relm, "/v1/companies?limit=200", "/next_cursor").await.len(), 25);
}

#[tokio::test]
async fn what_can_be_sent_can_be_shown() {
    let agent = agent().await;
    let long = "x".repeat(10 * MIB - 100);
    let made = agent.post("/v1/contacts", json!({"first_name": long})).await.status(201);
    let path = format!("/v1/contacts/{}", made.id());
    assert_eq!(agent.get(&path).await.status(200).text("/data/first_name").len(), long.len());
    agent.sql(&format!("update contacts set last_name = repeat('y', {})", 8 * MIB)).await.status(200);
    assert_eq!(agent.patch(&path, json!({"title": "CTO"})).await.status(200).text("/data/last_name").len(), 8 * MIB);
    // It is larger than a page.
    agent.get("/v1/contacts").await.fault(413, "result_too_large");
    assert_eq!(agent.delete(&path).await.status(200).id(), made.id());
    agent.post(&format!("{path}/restore"), json!({})).await.status(200);
}

#[tokio::test]
async fn what_is_too_large_to_be_shown_is_a_413_and_nothing_of_it_is_kept() {
    let agent = agent().await;
    agent
        .sql("create table things (id int primary key, a text, b text, c text, d text, e text, n int)")
        .await
        .status(200);
    let part = format!("repeat('x', {})", 9 * MIB);
    agent.sql(&format!("insert into things values (1, {part}, {part}, {part}, {part}, {part}, 0)")).await.status(200);
    agent.get("/v1/things/1").await.fault(413, "result_too_large");
    agent.get("/v1/things").await.fault(413, "result_too_large");
    agent.patch("/v1/things/1", json!({"n": 1})).await.fault(413, "result_too_large").says("nothing");
    assert_eq!(agent.sql("select n as v from things").await.status(200).v(), 0);
    agent.sql(&format!("update things set a = repeat('x', {})", 11 * MIB)).await.status(200);
    agent.get("/v1/things/1").await.fault(413, "result_too_large");
    // The same with a key.
    let headers = [("content-type", "application/json"), ("idempotency-key", "large")];
    agent.sql(&format!("alter table things alter b set default {part}, alter c set default {part}, alter d set default {part}, alter e set default {part}"))
        .await
        .status(200);
    let body = json!({"id": 2, "a": "x".repeat(9 * MIB)}).to_string();
    agent.send(reqwest::Method::POST, "/v1/things", &headers, body).await.fault(413, "result_too_large");
    assert_eq!(agent.sql("select count(*) as v from things").await.status(200).v(), 1);
}

#[tokio::test]
async fn a_search_says_truly_whether_there_is_more() {
    let agent = agent().await;
    let insert =
        "insert into contacts (first_name, last_name) select 'Sara', 'Walker ' || n from generate_series(1, 30) n";
    agent.sql(insert).await.status(200);
    for path in ["/v1/contacts/search?q=walker", "/v1/search?q=walker"] {
        let page = agent.get(&format!("{path}&limit=10")).await.status(200);
        assert_eq!(
            (page.data().as_array().map(Vec::len), page.at("/_meta/has_more")),
            (Some(10), json!(true)),
            "{path}"
        );
        let mut ids = walk(&agent, &format!("{path}&limit=12"), "/_meta/next_cursor").await;
        ids.sort_by_key(Value::to_string);
        ids.dedup();
        assert_eq!(ids.len(), 30, "{path}");
        let page = agent.get(&format!("{path}&limit=30")).await.status(200);
        assert_eq!((page.at("/_meta/has_more"), page.at("/_meta/next_cursor")), (json!(false), Value::Null), "{path}");
        let cursor = agent.get(&format!("{path}&limit=3")).await.status(200).text("/_meta/next_cursor");
        agent.get(&format!("{path}er&cursor={cursor}")).await.fault(400, "invalid_cursor");
    }
}
