//! Tables that a workspace creates: they are served immediately, whatever changes.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, psql};

#[tokio::test]
async fn a_table_is_served_as_soon_as_it_is_made() {
    let agent = agent().await;
    agent.get("/v1/projects").await.fault(404, "not_found");
    let table = "create table projects (id text primary key default 'p_' || gen_random_uuid(), name text not null, budget numeric,
                                        created_at timestamptz not null default now(), deleted_at timestamptz)";
    agent.sql(table).await.status(200);
    let made = agent.post("/v1/projects", json!({"name": "Apollo", "budget": 1.50})).await.status(201);
    assert!(made.id().starts_with("p_"));
    let path = format!("/v1/projects/{}", made.id());
    assert_eq!(agent.get(&path).await.status(200).data(), made.data());
    agent.patch(&path, json!({"budget": null})).await.status(200);
    agent.post("/v1/projects", json!({"budget": 1})).await.fault(422, "validation_failed").says("name");
    agent.delete(&path).await.status(200);
    agent.get(&path).await.fault(404, "not_found");
    agent.get(&format!("{path}?include_deleted=true")).await.status(200);
    agent.sql("drop table projects").await.status(200);
    agent.get("/v1/projects").await.fault(404, "not_found");
}

#[tokio::test]
async fn what_psql_changes_is_served_at_once() {
    let agent = agent().await;
    let mut psql = psql(&agent).await;
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    psql.script("create table things (id int primary key, name text)").await.unwrap();
    agent.post("/v1/things", json!({"id": 1, "name": "a"})).await.status(201);
    let check = async |sql: &str, expected: Value| {
        // Both the page and the record were requested before, so the server knows both in their old form.
        agent.get("/v1/things").await.status(200);
        agent.get("/v1/things/1").await.status(200);
        psql_run(&agent, sql).await;
        let page = agent.get("/v1/things").await.status(200);
        assert_eq!(page.at("/data/0"), expected, "{sql}");
        assert_eq!(agent.get("/v1/things/1").await.status(200).data(), expected, "{sql}");
    };
    check("alter table things add column size int default 5", json!({"id": 1, "name": "a", "size": 5})).await;
    check("alter table things rename name to title", json!({"id": 1, "title": "a", "size": 5})).await;
    check("alter table things alter size type text using 'n' || size", json!({"id": 1, "title": "a", "size": "n5"}))
        .await;
    check("alter table things drop column size", json!({"id": 1, "title": "a"})).await;
    check(
        "drop table things; create table things (id int primary key, other int); insert into things values (1, 2)",
        json!({"id": 1, "other": 2}),
    )
    .await;
    psql.script("alter table contacts add column score int; create type mood as enum ('ok'); alter table things add column mood mood")
        .await
        .unwrap();
    assert_eq!(agent.post("/v1/contacts", json!({"score": 5})).await.status(201).data()["score"], 5);
    assert_eq!(agent.get("/v1/contacts?score_gte=5").await.status(200).column("score"), [5]);
    assert_eq!(agent.patch("/v1/things/1", json!({"mood": "ok"})).await.status(200).data()["mood"], "ok");
    psql.script("drop table things").await.unwrap();
    agent.get("/v1/things").await.fault(404, "not_found");
    agent.post("/v1/things", json!({"id": 1})).await.fault(404, "not_found");
    let actor = agent.get("/v1/activity?verb=created&limit=1").await.status(200);
    assert!(actor.text("/data/0/actor").starts_with("api_key:"), "{}", actor.story());
    psql.script("insert into contacts (email) values ('psql@b.example')").await.unwrap();
    let actor = agent.get("/v1/activity?limit=1").await.status(200);
    assert!(actor.text("/data/0/actor").starts_with("postgres:"), "{}", actor.story());
}

async fn psql_run(agent: &Agent, sql: &str) {
    psql(agent).await.script(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test]
async fn requests_and_alterations_at_once_give_no_nonsense() {
    let agent = agent().await;
    agent.sql("create table moving (id int primary key, a int)").await.status(200);
    agent.sql("insert into moving select g, g from generate_series(1, 5) g").await.status(200);
    let alter = async {
        let mut psql = psql(&agent).await;
        for number in 0..20 {
            psql.script(&format!("alter table moving add column c{number} int default {number}")).await.unwrap();
            psql.script(&format!("alter table moving drop column c{number}")).await.unwrap();
        }
    };
    // A table that changes all the time may get "try again", but no wrong answer and no other error.
    let still = |reply: &Reply| match reply.code {
        200 => true,
        503 if !reply.header("retry-after").is_empty() => false,
        _ => panic!("{}", reply.story()),
    };
    let read = async {
        for number in 0..60 {
            let reply = agent.get("/v1/moving").await;
            if still(&reply) {
                assert_eq!(reply.column("a"), [1, 2, 3, 4, 5]);
            }
            let reply = agent.patch("/v1/moving/1", json!({"a": 1})).await;
            if still(&reply) {
                assert_eq!(reply.data()["a"], 1, "{number}");
            }
        }
    };
    tokio::join!(alter, read);
    assert_eq!(agent.get("/v1/moving").await.status(200).at("/data/0"), json!({"id": 1, "a": 1}));
}

#[tokio::test]
async fn a_table_without_a_single_key_is_a_422_that_says_what_to_do() {
    let agent = agent().await;
    agent.sql("create table keyless (a int); create table pairs (a int, b int, primary key (a, b))").await.status(200);
    agent.sql("create view idless as select email from contacts").await.status(200);
    for table in ["keyless", "pairs"] {
        agent.get(&format!("/v1/{table}")).await.fault(422, "no_primary_key").says("ALTER TABLE");
        agent.get(&format!("/v1/{table}/1")).await.fault(422, "no_primary_key");
        agent.post(&format!("/v1/{table}"), json!({"a": 1})).await.fault(422, "no_primary_key");
    }
    agent.get("/v1/idless").await.fault(422, "no_primary_key").says("id");
    agent.get("/v1/idless/1").await.fault(422, "no_primary_key");
    // The request that the hint describes works.
    agent.sql("alter table keyless add column id bigint generated always as identity primary key").await.status(200);
    assert_eq!(agent.post("/v1/keyless", json!({"a": 1})).await.status(201).data(), json!({"a": 1, "id": 1}));
    agent.post("/v1/keyless", json!({"id": 5})).await.fault(400, "invalid_request").says("read-only");
}

#[tokio::test]
async fn a_view_with_an_id_is_read_and_not_written() {
    let agent = agent().await;
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    agent.sql("create view people as select id, email::text as mail, created_at from contacts").await.status(200);
    agent.sql("create materialized view counted as select 1 as id, count(*) as n from contacts").await.status(200);
    let page = agent.get("/v1/people?mail=a@b.example").await.status(200);
    let id = page.text("/data/0/id");
    assert_eq!(agent.get(&format!("/v1/people/{id}")).await.status(200).data()["mail"], "a@b.example");
    assert_eq!(agent.get("/v1/counted").await.status(200).data(), json!([{"id": 1, "n": 1}]));
    agent.post("/v1/people", json!({"mail": "x"})).await.fault(403, "forbidden").says("view");
    agent.patch(&format!("/v1/people/{id}"), json!({"mail": "x"})).await.fault(403, "forbidden");
    agent.delete(&format!("/v1/people/{id}")).await.fault(403, "forbidden");
}

#[tokio::test]
async fn names_that_need_quotes_are_served() {
    let agent = agent().await;
    let odd =
        r#"create table "My ""Table""" ("The Id" int primary key, "a b" text, "select" text, "é" text, "x.y" int)"#;
    agent.sql(odd).await.status(200);
    let path = "/v1/My%20%22Table%22";
    let row = json!({"The Id": 1, "a b": "1", "select": "2", "é": "3", "x.y": 4});
    assert_eq!(agent.post(path, row.clone()).await.status(201).data(), row);
    assert_eq!(agent.get(&format!("{path}/1")).await.status(200).data(), row);
    assert_eq!(agent.get(&format!("{path}?a+b=1&select=2&%C3%A9=3&x.y=4")).await.status(200).data(), json!([row]));
    assert_eq!(agent.get(&format!("{path}?The+Id_gte=2")).await.status(200).data(), json!([]));
    agent.patch(&format!("{path}/1"), json!({"a b": "new"})).await.status(200);
    assert_eq!(agent.delete(&format!("{path}/1")).await.status(200).data()["id"], 1);
    agent
        .sql("create table \"CamelCase\" (id int primary key); create table sql (id int primary key)")
        .await
        .status(200);
    agent.get("/v1/CamelCase").await.status(200);
    agent.get("/v1/camelcase").await.fault(404, "not_found").says("CamelCase");
    // Reserved paths take precedence.
    agent.get("/v1/sql").await.fault(405, "method_not_allowed");
}

#[tokio::test]
async fn built_in_tables_take_columns_indexes_and_triggers_of_ones_own() {
    let agent = agent().await;
    agent
        .sql("alter table contacts add column embedding vector(3), add column tags text[] not null default '{}'")
        .await
        .status(200);
    agent.sql("create index on contacts using hnsw (embedding vector_cosine_ops); create index on contacts (lower(last_name))").await.status(200);
    let made = agent.post("/v1/contacts", json!({"embedding": [1, 2, 3], "tags": ["a", "b"]})).await.status(201);
    assert_eq!(made.data()["embedding"], "[1,2,3]");
    assert_eq!(agent.get("/v1/contacts?tags_has=a").await.status(200).column("tags"), [json!(["a", "b"])]);
    let near =
        agent.sql_with("select id as v from contacts order by embedding <=> $1 limit 1", json!([[1, 2, 2]])).await;
    assert_eq!(near.status(200).v(), made.data()["id"]);
    let found = agent.get(&format!("/v1/contacts/{}", made.id())).await.status(200);
    assert_eq!(found.data()["tags"], json!(["a", "b"]));
    agent.sql("create table ledger (id int generated always as identity primary key, what text);
               create trigger activity after insert or update or delete on ledger for each row execute function record_activity()")
        .await
        .status(200);
    agent.post("/v1/ledger", json!({"what": "x"})).await.status(201);
    let feed = agent.get("/v1/activity?subject_type=ledger").await.status(200);
    assert_eq!((feed.column("verb"), feed.column("subject_id")), (vec![json!("created")], vec![json!("1")]));
}
