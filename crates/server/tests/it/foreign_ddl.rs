//! Tables that change without Kith: by psql, and by another Kith on the same database. REST reflects this immediately.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, agent, other_process, psql};

/// A client whose catalog Kith has just read, so that every change over another interface makes it stale.
async fn known(agent: &Agent, table: &str) {
    agent.get(&format!("/v1/{table}")).await.status(200);
}

async fn by_psql(agent: &Agent, sql: &str) {
    psql(agent).await.script(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test]
async fn a_filter_fits_the_type_that_a_column_has_now() {
    let agent = agent().await;
    agent.sql("create table things (id int primary key, x text, j jsonb)").await.status(200);
    agent.sql("insert into things values (1, '5', '{\"k\": \"v\"}'), (2, '50', '{}')").await.status(200);
    let ids = async |query: &str| agent.get(&format!("/v1/things?{query}")).await.status(200).column("id");
    let refused = async |query: &str, hint: &str| {
        agent.get(&format!("/v1/things?{query}")).await.fault(400, "invalid_request").says(hint);
    };

    known(&agent, "things").await;
    assert_eq!(ids("x_starts=5").await, [1, 2]);
    by_psql(&agent, "alter table things alter x type int using x::int").await;
    refused("x_starts=5", "x=value").await;
    assert_eq!(ids("x_gte=6").await, [2]);

    by_psql(&agent, "alter table things alter x type text[] using array[x::text]").await;
    refused("x=5", "x_has=value").await;
    assert_eq!(ids("x_has=50").await, [2]);

    by_psql(&agent, "alter table things alter x type text using x[1]").await;
    assert_eq!(ids("x_contains=0").await, [2]);
    refused("x_has=5", "x=value").await;

    assert_eq!(ids("j.k=v").await, [1]);
    by_psql(&agent, "alter table things alter j type text using j::text").await;
    agent.get("/v1/things?j.k=v").await.fault(400, "invalid_request").says("j.k");
    by_psql(&agent, "alter table things alter j type jsonb using j::jsonb").await;
    assert_eq!(ids("j.k=v").await, [1]);
}

#[tokio::test]
async fn a_value_fits_the_type_that_a_column_has_now() {
    let agent = agent().await;
    agent.sql("create table things (id int primary key, x text)").await.status(200);
    agent.post("/v1/things", json!({"id": 1, "x": "a"})).await.status(201);
    by_psql(&agent, "alter table things alter x type jsonb using to_jsonb(x)").await;
    assert_eq!(agent.post("/v1/things", json!({"id": 2, "x": "b"})).await.status(201).data()["x"], "b");
    agent.patch("/v1/things/1", json!({"x": {"a": 1}})).await.status(200);
    assert_eq!(agent.patch("/v1/things/1", json!({"x": {"b": 2}})).await.data()["x"], json!({"a": 1, "b": 2}));
    by_psql(&agent, "alter table things alter x type text using x::text").await;
    agent.patch("/v1/things/1", json!({"x": {"b": 2}})).await.fault(400, "invalid_request").says("text");
    assert_eq!(agent.patch("/v1/things/1", json!({"x": "c"})).await.status(200).data()["x"], "c");
    by_psql(&agent, "alter table things add y int generated always as (id * 2) stored").await;
    assert_eq!(agent.post("/v1/things", json!({"id": 3})).await.status(201).data()["y"], 6);
    agent.post("/v1/things", json!({"id": 4, "y": 1})).await.fault(400, "invalid_request").says("read-only");
}

#[tokio::test]
async fn a_deletion_hides_from_the_moment_there_is_a_deleted_at() {
    let agent = agent().await;
    agent.sql("create table things (id int primary key, x text)").await.status(200);
    agent.sql("insert into things select g from generate_series(1, 5) g").await.status(200);
    agent.delete("/v1/things/1").await.status(200);
    by_psql(&agent, "alter table things add deleted_at timestamptz").await;
    agent.delete("/v1/things/2").await.status(200);
    assert_eq!(agent.get("/v1/things?include_deleted=true").await.status(200).column("id"), [2, 3, 4, 5]);
    assert_eq!(agent.get("/v1/things").await.status(200).column("id"), [3, 4, 5]);
    agent.post("/v1/things/2/restore", json!({})).await.status(200);

    // A PATCH of a hidden row is 404 too.
    agent.sql("alter table things drop deleted_at").await.status(200);
    agent.patch("/v1/things/3", json!({"x": "seen"})).await.status(200);
    by_psql(&agent, "alter table things add deleted_at timestamptz; update things set deleted_at = now() where id = 3")
        .await;
    agent.patch("/v1/things/3", json!({"x": "unseen"})).await.fault(404, "not_found");
    assert_eq!(agent.get("/v1/things/3?include_deleted=true").await.status(200).data()["x"], "seen");

    by_psql(&agent, "alter table things drop deleted_at").await;
    agent.delete("/v1/things/3").await.status(200);
    agent.post("/v1/things/3/restore", json!({})).await.fault(400, "invalid_request").says("deleted_at");
    assert_eq!(agent.get("/v1/things").await.status(200).column("id"), [2, 4, 5]);
}

#[tokio::test]
async fn a_key_that_came_by_psql_has_an_owner() {
    let agent = agent().await;
    agent.sql("create table things (id int primary key, code text)").await.status(200);
    agent.post("/v1/things", json!({"id": 1, "code": "x"})).await.status(201);
    by_psql(&agent, "create unique index things_code on things (lower(code))").await;
    let reply = agent.post("/v1/things", json!({"id": 2, "code": "X"})).await.fault(409, "conflict");
    assert_eq!((reply.at("/existing_id"), reply.at("/constraint")), (json!("1"), json!("things_code")));
    let feed = agent.get("/v1/activity?verb=conflict").await.status(200);
    assert_eq!(feed.column("subject_id"), ["1"], "{}", feed.story());
    by_psql(&agent, "create unique index contacts_phone on contacts (phone)").await;
    let first = agent.post("/v1/contacts", json!({"phone": "1"})).await.status(201).id();
    let reply = agent.post("/v1/contacts", json!({"phone": "1"})).await.fault(409, "conflict");
    assert_eq!(reply.at("/existing_id"), first);
}

#[tokio::test]
async fn another_name_another_key_another_thing() {
    let agent = agent().await;
    agent.sql("create table things (id int primary key, code text not null)").await.status(200);
    agent.post("/v1/things", json!({"id": 1, "code": "x"})).await.status(201);
    by_psql(&agent, "alter table things rename to objects").await;
    assert_eq!(agent.get("/v1/objects/1").await.status(200).data()["code"], "x");
    agent.get("/v1/things").await.fault(404, "not_found");
    agent.get("/v1/object").await.fault(404, "not_found").says("objects");
    by_psql(&agent, "alter table objects rename id to number").await;
    assert_eq!(agent.get("/v1/objects/1").await.status(200).data(), json!({"number": 1, "code": "x"}));
    assert_eq!(agent.patch("/v1/objects/1", json!({"code": "y"})).await.status(200).data()["code"], "y");
    by_psql(&agent, "alter table objects drop constraint things_pkey, add primary key (code), add extra int").await;
    assert_eq!(agent.get("/v1/objects").await.status(200).column("extra"), [Value::Null]);
    assert_eq!(agent.get("/v1/objects/y").await.status(200).data()["number"], 1);
    assert_eq!(agent.delete("/v1/objects/y").await.status(200).data()["id"], "y");
    by_psql(&agent, "alter table objects drop constraint objects_pkey, drop column code").await;
    agent.get("/v1/objects").await.fault(422, "no_primary_key");
    by_psql(&agent, "drop table objects; create view objects as select 7 as id, 'seven' as word").await;
    assert_eq!(agent.get("/v1/objects/7").await.status(200).data(), json!({"id": 7, "word": "seven"}));
    agent.post("/v1/objects", json!({"id": 8})).await.fault(403, "forbidden").says("view");
}

#[tokio::test]
async fn a_key_that_alone_is_another_names_the_rows_at_once() {
    let agent = agent().await;
    agent.sql("create table things (a text primary key, b text not null, x text, j jsonb)").await.status(200);
    agent.sql("insert into things values ('1', '2', 'one', '{}'), ('2', '1', 'two', '{}')").await.status(200);
    let key = |column: &str| format!("alter table things drop constraint things_pkey, add primary key ({column})");
    for (column, named) in [("b", "two"), ("a", "one"), ("b", "two")] {
        assert_ne!(agent.get("/v1/things/1").await.status(200).data()["x"], named);
        by_psql(&agent, &key(column)).await;
        assert_eq!(agent.get("/v1/things/1").await.status(200).data()["x"], named);
        assert_eq!(agent.get("/v1/things?limit=1").await.status(200).data()[0][column], "1");
    }
    by_psql(&agent, &key("a")).await;
    assert_eq!(agent.patch("/v1/things/1", json!({"x": "one, changed"})).await.status(200).data()["a"], "1");
    by_psql(&agent, &key("b")).await;
    agent.delete("/v1/things/2").await.status(200);
    assert_eq!(agent.get("/v1/things").await.status(200).column("x"), ["two"], "the row whose b was 2 is gone");

    // A text column that was a jsonb accepts no JSON.
    agent.patch("/v1/things/1", json!({"j": {"k": 1}})).await.status(200);
    by_psql(&agent, "alter table things alter j type text using 'text'").await;
    assert_eq!(agent.patch("/v1/things/1", json!({"j": "plain"})).await.status(200).data()["j"], "plain");
    agent.patch("/v1/things/1", json!({"j": {"k": 1}})).await.fault(400, "invalid_request").says("takes text");
    by_psql(&agent, "alter table contacts add j jsonb").await;
    let contact = agent.post("/v1/contacts", json!({"j": {"k": 1}})).await.status(201).id();
    by_psql(&agent, "alter table contacts alter j type text using 'text'").await;
    let contact = format!("/v1/contacts/{contact}");
    assert_eq!(agent.patch(&contact, json!({"j": "plain"})).await.status(200).data()["j"], "plain");
    assert_eq!(agent.post("/v1/contacts", json!({"j": "new"})).await.status(201).data()["j"], "new");
}

#[tokio::test]
async fn a_custom_field_that_another_process_defined_is_compared_as_its_type() {
    let here = agent().await;
    let there = here.at(other_process().await);
    for seats in [9, 10, 100] {
        here.post("/v1/contacts", json!({"custom": {"seats": seats}})).await.status(201);
    }
    for agent in [&here, &there] {
        assert_eq!(
            agent.get("/v1/contacts?custom.seats=10").await.status(200).data().as_array().map(Vec::len),
            Some(1)
        );
    }
    there
        .post("/v1/custom_fields", json!({"object_type": "contact", "key": "seats", "type": "number"}))
        .await
        .status(201);
    for agent in [&here, &there] {
        let found = agent.get("/v1/contacts?custom.seats=10.0").await.status(200).data();
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    }
    by_psql(&here, "update custom_fields set type = 'text'").await;
    for agent in [&here, &there] {
        assert_eq!(agent.get("/v1/contacts?custom.seats=10.0").await.status(200).data(), json!([]));
    }
}

#[tokio::test]
async fn composite_types_are_shown_as_they_are_now() {
    let agent = agent().await;
    agent
        .sql("create type place as (street text); create table things (id int primary key, at place)")
        .await
        .status(200);
    agent.sql("insert into things values (1, row('Main'))").await.status(200);
    assert_eq!(agent.get("/v1/things/1").await.status(200).data()["at"], json!({"street": "Main"}));
    by_psql(&agent, "alter type place add attribute zip int").await;
    let expected = json!({"street": "Main", "zip": null});
    assert_eq!(agent.get("/v1/things/1").await.status(200).data()["at"], expected);
    assert_eq!(agent.sql("select at as v from things").await.status(200).v(), expected);
    // The row of a table is a composite too.
    let row = "select c as v from contacts c";
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    assert!(agent.sql(row).await.status(200).v().get("score").is_none());
    by_psql(&agent, "alter table contacts add score int default 3").await;
    assert_eq!(agent.sql(row).await.status(200).v()["score"], 3);
    by_psql(&agent, "create type mood as enum ('sad', 'ok'); alter table things add mood mood").await;
    assert_eq!(agent.patch("/v1/things/1", json!({"mood": "ok"})).await.status(200).data()["mood"], "ok");
    by_psql(&agent, "alter type mood add value 'glad'; alter type mood rename value 'ok' to 'fine'").await;
    assert_eq!(agent.get("/v1/things?mood=glad,fine").await.status(200).column("mood"), ["fine"]);
}

#[tokio::test]
async fn a_saved_list_follows_its_table() {
    let agent = agent().await;
    agent.sql("create table things (id int primary key, x text)").await.status(200);
    agent.post("/v1/things", json!({"id": 1, "x": "a"})).await.status(201);
    let list =
        agent.post("/v1/lists", json!({"name": "L", "target_table": "things", "filter_predicate": "id < 5"})).await;
    let rows = format!("/v1/lists/{}/rows", list.status(201).id());
    assert_eq!(agent.get(&rows).await.status(200).data(), json!([{"id": 1, "x": "a"}]));
    by_psql(&agent, "alter table things add y int default 2").await;
    assert_eq!(agent.get(&rows).await.status(200).data(), json!([{"id": 1, "x": "a", "y": 2}]));
    by_psql(&agent, "alter table things drop x").await;
    assert_eq!(agent.get(&rows).await.status(200).data(), json!([{"id": 1, "y": 2}]));
    by_psql(&agent, "alter table things rename id to key").await;
    let reply = agent.get(&rows).await.fault(400, "sql_error");
    assert_eq!(reply.at("/code"), "42703", "{}", reply.story());
    by_psql(&agent, "drop table things").await;
    agent.get(&rows).await.fault(422, "validation_failed").says("things");
}

#[tokio::test]
async fn two_kiths_over_one_database_agree() {
    let here = agent().await;
    let there = here.at(other_process().await);
    here.sql("create table things (id int primary key, x text)").await.status(200);
    there.post("/v1/things", json!({"id": 1, "x": "a"})).await.status(201);
    known(&here, "things").await;
    for (number, (sql, expected)) in [
        ("alter table things add y int default 2", json!({"id": 1, "x": "a", "y": 2})),
        ("alter table things rename x to z", json!({"id": 1, "z": "a", "y": 2})),
        ("alter table things alter y type text using 'n' || y", json!({"id": 1, "z": "a", "y": "n2"})),
        ("alter table things drop z", json!({"id": 1, "y": "n2"})),
    ]
    .into_iter()
    .enumerate()
    {
        let (one, other) = if number % 2 == 0 { (&here, &there) } else { (&there, &here) };
        known(other, "things").await;
        one.sql(sql).await.status(200);
        for agent in [other, one] {
            assert_eq!(agent.get("/v1/things/1").await.status(200).data(), expected, "{sql}");
            assert_eq!(agent.get("/v1/things").await.status(200).data(), json!([expected]), "{sql}");
        }
    }
    here.sql("alter table contacts add score int").await.status(200);
    assert_eq!(there.post("/v1/contacts", json!({"score": 4})).await.status(201).data()["score"], 4);
    there.sql("alter table contacts rename score to points").await.status(200);
    assert_eq!(here.get("/v1/contacts?points_gte=4").await.status(200).column("points"), [4]);
    here.get("/v1/contacts?score=4").await.fault(400, "invalid_request").says("score");
    here.sql("drop table things").await.status(200);
    there.get("/v1/things").await.fault(404, "not_found");
    there.get("/v1/things/1").await.fault(404, "not_found");
    // Both know an Idempotency-Key.
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let body = json!({"email": "once@b.example"}).to_string();
    let first = here.send(Method::POST, "/v1/contacts", &headers, body.clone()).await.status(201);
    let again = there.send(Method::POST, "/v1/contacts", &headers, body).await.status(201);
    assert_eq!((&again.body, again.header("idempotent-replayed")), (&first.body, "true".to_owned()));
}
