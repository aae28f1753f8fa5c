//! `Idempotency-Key`: a request that is sent twice is performed once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Child, Reply, TempDir, agent};

async fn keyed(agent: &Agent, key: &str, path: &str, body: Value) -> Reply {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    agent.send(Method::POST, path, &headers, body.to_string()).await
}

#[tokio::test]
async fn a_retry_gets_the_first_answer_and_does_nothing() {
    let agent = agent().await;
    let first = keyed(&agent, "k1", "/v1/companies", json!({"name": "Acme"})).await.status(201);
    assert_eq!(first.header("idempotent-replayed"), "");
    let again = keyed(&agent, "k1", "/v1/companies", json!({"name": "Acme"})).await.status(201);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.body, first.body);
    assert_eq!(agent.get("/v1/companies").await.column("id").len(), 1);
    assert_eq!(agent.get("/v1/activity").await.column("verb"), ["created"]);
    keyed(&agent, "k2", "/v1/companies", json!({"name": "Acme"})).await.status(201);
    assert_eq!(agent.get("/v1/companies").await.column("id").len(), 2);
}

#[tokio::test]
async fn a_key_for_something_else_is_a_409() {
    let agent = agent().await;
    keyed(&agent, "k", "/v1/companies", json!({"name": "A"})).await.status(201);
    keyed(&agent, "k", "/v1/companies", json!({"name": "B"})).await.fault(409, "idempotency_conflict");
    keyed(&agent, "k", "/v1/contacts", json!({"name": "A"})).await.fault(409, "idempotency_conflict");
    // Keys of another workspace are independent.
    let other = self::agent().await;
    keyed(&other, "k", "/v1/companies", json!({"name": "B"})).await.status(201);
    keyed(&agent, "", "/v1/companies", json!({})).await.fault(400, "invalid_request");
    keyed(&agent, &"k".repeat(256), "/v1/companies", json!({})).await.fault(400, "invalid_request");
}

#[tokio::test]
async fn errors_are_kept_too_and_sql_is_done_once() {
    let agent = agent().await;
    let bad = keyed(&agent, "e", "/v1/contacts", json!({"emial": "x"})).await.fault(400, "invalid_request");
    let again = keyed(&agent, "e", "/v1/contacts", json!({"emial": "x"})).await.status(400);
    assert_eq!((again.body, again.headers["idempotent-replayed"].as_bytes()), (bad.body, &b"true"[..]));
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    for _ in 0..2 {
        keyed(&agent, "c", "/v1/contacts", json!({"email": "a@b.example"})).await.status(409);
    }
    assert_eq!(agent.get("/v1/activity?verb=conflict").await.column("verb").len(), 1);
    for _ in 0..3 {
        let sql = json!({"sql": "insert into companies (name) values ('x') returning name as v"});
        assert_eq!(keyed(&agent, "s", "/v1/sql", sql).await.status(200).v(), "x");
    }
    assert_eq!(agent.sql("select count(*) as v from companies").await.status(200).v(), 1);
}

#[tokio::test]
async fn many_at_once_do_it_once() {
    let agent = agent().await;
    let tries = (0..6).map(|_| keyed(&agent, "k", "/v1/companies", json!({"name": "Acme"})));
    for reply in futures_util::future::join_all(tries).await {
        assert!(reply.code == 201 || reply.code == 409, "{}", reply.story());
    }
    assert_eq!(agent.get("/v1/companies").await.column("id").len(), 1);
}

#[tokio::test]
async fn a_kill_and_a_retry_never_do_it_twice() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let agent = child.agent().await;
    let bodies: Vec<Value> = (0..60).map(|number| json!({"name": format!("n{number}")})).collect();
    let flying: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(number, body)| {
            let (agent, body) = (agent.clone(), body.to_string());
            tokio::spawn(async move {
                let key = format!("k{number}");
                let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
                agent.try_send(Method::POST, "/v1/companies", &headers, body).await.is_ok()
            })
        })
        .collect();
    while agent.get("/v1/companies").await.status(200).data() == json!([]) {}
    child.kill();
    for flight in flying {
        let _ = flight.await.expect("an end");
    }
    let child = Child::serve(&dir);
    let agent = agent.at(&child.base);
    for (number, body) in bodies.iter().enumerate() {
        keyed(&agent, &format!("k{number}"), "/v1/companies", body.clone()).await.status(201);
    }
    assert_eq!(agent.sql("select count(*) as v from companies").await.status(200).v(), 60);
}

#[tokio::test]
async fn sql_that_changes_its_own_transaction_spoils_no_key() {
    let agent = agent().await;
    let reads_only = "select set_config('transaction_read_only', 'on', true)";
    for (key, sql) in [
        ("r1", reads_only.to_owned()),
        ("r2", format!("insert into companies (name) values ('gone'); {reads_only}")),
        ("r3", format!("do $$ begin perform * from ({reads_only}) t; end $$")),
    ] {
        let body = json!({ "sql": sql });
        let first = keyed(&agent, key, "/v1/sql", body.clone()).await.fault(403, "sql_error");
        assert_eq!(first.text("/code"), "25006", "{}", first.story());
        let again = keyed(&agent, key, "/v1/sql", body).await;
        assert_eq!((again.header("idempotent-replayed").as_str(), &again.body), ("true", &first.body), "{sql}");
    }
    assert_eq!(agent.sql("select count(*) as v from companies").await.status(200).v(), 0);
    for (at, encoding) in ["LATIN1", "SQL_ASCII", "WIN1252", "SJIS", "GB18030", "EUC_JP"].iter().enumerate() {
        for (way, sql) in [
            format!("set client_encoding = '{encoding}'; select 'é' as v"),
            format!("select set_config('client_encoding', '{encoding}', true), 'é€' as v"),
            format!("set client_encoding = '{encoding}'; insert into companies (name) values ('é') returning name"),
        ]
        .into_iter()
        .enumerate()
        {
            let (key, body) = (format!("e{at}-{way}"), json!({ "sql": sql }));
            let first = keyed(&agent, &key, "/v1/sql", body.clone()).await;
            assert!(first.code == 200 || first.code == 400, "{}", first.story());
            let again = keyed(&agent, &key, "/v1/sql", body).await;
            assert_eq!(again.header("idempotent-replayed"), "true", "{}", again.story());
            assert_eq!((again.code, &again.body), (first.code, &first.body), "{sql}");
        }
    }
}
