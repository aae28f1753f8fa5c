//! `POST /v1/batch`: operations that run in order in one transaction, all or none.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use kith::clock::Clock;
use kith::serve::Door;
use reqwest::Method;
use serde_json::{Value, json};

use crate::keyed::with_role;
use crate::support::{Agent, Child, Reply, TempDir, agent, both, door, psql};

async fn batch(agent: &Agent, operations: Value) -> Reply {
    agent.post("/v1/batch", json!({"operations": operations})).await
}

async fn keyed(agent: &Agent, key: &str, operations: Value) -> Reply {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    agent.send(Method::POST, "/v1/batch", &headers, json!({"operations": operations}).to_string()).await
}

fn op(method: &str, path: &str) -> Value {
    json!({"method": method, "path": path})
}

fn post(path: &str, body: Value) -> Value {
    json!({"method": "POST", "path": path, "body": body})
}

fn named(name: &str, mut operation: Value) -> Value {
    operation["ref"] = name.into();
    operation
}

fn sql(text: &str) -> Value {
    post("/v1/sql", json!({"sql": text}))
}

/// Checks that a batch failed in this operation.
#[track_caller]
fn failed(reply: Reply, status: u16, code: &str, operation: impl Into<Value>) -> Reply {
    let reply = reply.fault(status, code);
    assert_eq!(reply.error().get("operation").cloned().unwrap_or_default(), operation.into(), "{}", reply.story());
    reply
}

async fn count(agent: &Agent, table: &str) -> Value {
    let found = agent.sql(&format!("select count(*) as v from {table}")).await.status(200).json();
    found.pointer("/data/rows/0/v").or(found.pointer("/rows/0/v")).cloned().expect("a count")
}

#[tokio::test]
async fn later_operations_refer_to_the_records_of_earlier_ones() {
    let agent = agent().await;
    let reply = batch(
        &agent,
        json!([
            named("co", post("/v1/companies", json!({"name": "Acme", "domain": "acme.com", "custom": {"tier": [1, {"n": 12.50}]}}))),
            named("会社", post("/v1/contacts", json!({"email": "a@acme.com", "company_id": "$co.id", "custom": {"copy": ["$co.custom", "$co.name"]}}))),
            {"method": "PATCH", "path": "/v1/companies/$co.id", "body": {"industry": "$co.domain", "custom": {"champion": "$会社.id"}}},
            {"method": "GET", "path": "/v1/companies/$co.id"},
            named("d", post("/v1/deals", json!({"name": "$co.name", "contact_id": "$会社.id"}))),
            {"method": "DELETE", "path": "/v1/deals/$d.id", "ref": "gone"},
            {"method": "POST", "path": "/v1/deals/$gone.id/restore"},
        ]),
    )
    .await
    .status(200);
    assert_eq!(reply.column("status"), [201, 201, 200, 200, 201, 200, 200].map(|status| json!(status)));
    assert_eq!(reply.at("/_meta/next_cursor"), Value::Null);
    assert_eq!(
        (reply.at("/_meta/has_more"), reply.text("/_meta/workspace_id")),
        (json!(false), agent.workspace_id.clone())
    );
    let company = reply.at("/data/0/body/data");
    let contact = reply.at("/data/1/body/data");
    assert_eq!((reply.text("/data/0/ref"), reply.text("/data/1/ref")), ("co".into(), "会社".into()));
    assert!(reply.at("/data/2").get("ref").is_none(), "{}", reply.story());
    assert_eq!(contact["company_id"], company["id"]);
    assert_eq!(contact["custom"], json!({"copy": [company["custom"], "Acme"]}));
    assert_eq!(reply.at("/data/3/body/data/custom/champion"), contact["id"]);
    assert_eq!(reply.at("/data/3/body/data/industry"), "acme.com");
    assert_eq!(reply.at("/data/3/body/data/contacts/0/id"), contact["id"], "a read sees what was written before it");
    assert_eq!(reply.at("/data/5/body/data/id"), reply.at("/data/4/body/data/id"));
    // The record that is kept is the one that was shown.
    let kept = agent.get(&format!("/v1/companies/{}", company["id"].as_str().unwrap())).await.status(200);
    assert_eq!(kept.data(), reply.at("/data/3/body/data"));
    // The feed names the key and the request.
    let entries =
        agent.get(&format!("/v1/activity?custom.request_id={}", reply.header("x-request-id"))).await.status(200);
    assert_eq!(entries.column("verb"), ["restored", "deleted", "created", "updated", "created", "created"]);
    assert!(entries.column("actor").iter().all(|actor| actor.as_str().unwrap().starts_with("api_key:ak_")));
}

#[tokio::test]
async fn relm_has_its_own_list_names_and_ids() {
    let (relm, _) = both().await;
    let reply = batch(
        &relm,
        json!([
            named("co", post("/v1/companies", json!({"name": "Acme", "metadata": {"tier": "gold"}}))),
            named("ada", post("/v1/contacts", json!({"email": "ada@acme.com", "company_id": "$co.id"}))),
            named("deal", post("/v1/deals", json!({"title": "Big", "value_cents": 500, "primary_contact_id": "$ada.id", "metadata": "$co.metadata"}))),
            {"method": "PATCH", "path": "/v1/companies/$co.id", "body": {"metadata": {"first": "$deal.value_cents", "kind": "$deal.object"}}},
            {"method": "GET", "path": "/v1/deals/$deal.id?expand=primary_contact"},
            post("/v1/sql", json!({"sql": "select id from contacts where id = $1", "params": ["$ada.id"]})),
            {"method": "DELETE", "path": "/v1/deals/$deal.id"},
        ]),
    )
    .await
    .status(200);
    assert_eq!(
        (reply.text("/object"), reply.at("/has_more"), reply.at("/next_cursor")),
        ("list".into(), json!(false), Value::Null)
    );
    let ada = reply.text("/data/1/body/id");
    assert!(ada.starts_with("con_"), "{ada}");
    assert_eq!(reply.at("/data/2/body/metadata"), json!({"tier": "gold"}));
    assert_eq!(reply.at("/data/3/body/metadata"), json!({"tier": "gold", "first": 500, "kind": "deal"}));
    assert_eq!(reply.at("/data/4/body/primary_contact/id"), ada);
    assert_eq!(reply.at("/data/5/body/rows/0/id"), ada.replacen("con_", "c_", 1), "SQL has the stored form");
    assert_eq!(reply.at("/data/6/body/deleted"), true);

    // Errors are in Relm's words, as they are for the operation alone.
    let wrong = post("/v1/deals", json!({"title": "T", "primary_contact_id": "con_none"}));
    let alone = relm.post("/v1/deals", wrong["body"].clone()).await.fault(422, "invalid_reference");
    let reply =
        failed(batch(&relm, json!([op("GET", "/v1/deals"), named("x", wrong)])).await, 422, "invalid_reference", 1);
    assert_eq!((reply.text("/error/ref"), reply.text("/error/field")), ("x".into(), "primary_contact_id".into()));
    assert_eq!(reply.error()["message"], alone.error()["message"]);
    failed(
        batch(&relm, json!([post("/v1/deals", json!({"title": "T", "stage": "nowhere"}))])).await,
        422,
        "unknown_stage",
        0,
    );
    let reply = batch(&relm, json!([post("/v1/deals", json!({"name": "T"}))])).await;
    assert_eq!(failed(reply, 400, "invalid_request", 0).text("/error/hint"), "Did you mean \"title\"?");
}

#[tokio::test]
async fn a_body_is_what_the_operation_alone_would_answer() {
    let (relm, agentcrm) = both().await;
    agentcrm
        .sql("insert into companies (id, name) values ('co_00000000000000000000000001', 'Acme'); insert into contacts (id, email, company_id) values ('c_00000000000000000000000001', 'a@b.example', 'co_00000000000000000000000001'); create table things (n int primary key); insert into things values (1), (2)")
        .await
        .status(200);
    let list = json!({"name": "All", "kind": "dynamic", "target_table": "contacts", "filter_predicate": "email is not null and company.name = $1", "filter_params": ["Acme"]});
    let list = agentcrm.post("/v1/lists", list).await.status(201).id();
    for agent in [&relm, &agentcrm] {
        let reads = [
            "/v1/contacts?limit=1".to_owned(),
            "/v1/contacts/c_00000000000000000000000001".to_owned(),
            "/v1/contacts/search?q=acme".to_owned(),
            "/v1/search?q=acme".to_owned(),
            "/v1/things?limit=1".to_owned(),
            "/v1/things/2".to_owned(),
            "/v1/tables".to_owned(),
            "/v1/schema".to_owned(),
            "/v1/schema/fields".to_owned(),
            "/v1/pipelines".to_owned(),
            "/v1/pipelines/sales/stages".to_owned(),
            "/v1/pipeline/stages/won".to_owned(),
            "/v1/activity".to_owned(),
            format!("/v1/lists/{list}/rows"),
        ];
        let mut operations: Vec<Value> = reads.iter().map(|path| op("GET", path)).collect();
        let statement = json!({"sql": "select 1 as a, 2.50 as a; select now() - now() as i, null as n"});
        operations.push(post("/v1/sql", statement.clone()));
        let reply = batch(agent, json!(operations)).await.status(200);
        let bare = |mut body: Value| {
            if let Some(meta) = body.get_mut("_meta").and_then(Value::as_object_mut) {
                meta.remove("request_id").expect("each body has the id");
            }
            body
        };
        for (at, path) in reads.iter().enumerate() {
            let (together, alone) = (reply.at(&format!("/data/{at}/body")), agent.get(path).await.status(200).json());
            let counted = |body: Value| match path == "/v1/tables" {
                // The number of rows is an estimate, which changes with time.
                true => body["data"].as_array().expect("tables").iter().map(|it| it["name"].clone()).collect(),
                false => bare(body),
            };
            assert_eq!(counted(together), counted(alone), "{path}");
        }
        let alone = agent.post("/v1/sql", statement).await.status(200).json();
        assert_eq!(bare(reply.at(&format!("/data/{}/body", reads.len()))), bare(alone));
        let whole = reply.json();
        if let Some(id) = whole.pointer("/_meta/request_id") {
            assert_eq!(whole.pointer("/data/0/body/_meta/request_id"), Some(id));
        }
    }
}

#[tokio::test]
async fn a_failure_keeps_nothing_and_names_its_operation() {
    let agent = agent().await;
    let there = agent.post("/v1/contacts", json!({"email": "there@b.example"})).await.status(201).id();
    let before = count(&agent, "activity").await;
    for (wrong, status, code) in [
        (post("/v1/contacts", json!({"email": "there@b.example"})), 409, "conflict"),
        (post("/v1/contacts", json!({"email": "new@b.example"})), 409, "conflict"),
        (post("/v1/contacts", json!({"company_id": "co_none"})), 422, "invalid_reference"),
        (post("/v1/contacts", json!({"nope": 1})), 400, "invalid_request"),
        (op("GET", "/v1/contacts/c_none"), 404, "not_found"),
        (op("GET", "/v1/nowhere"), 404, "not_found"),
        (op("GET", "/v1/a/b/c/d"), 404, "not_found"),
        (op("PUT", "/v1/contacts"), 405, "method_not_allowed"),
        (op("GET", "/v1/contacts?limit=0"), 400, "invalid_request"),
        (post("/v1/activity", json!({})), 403, "forbidden"),
        (sql("select 1 / 0"), 400, "sql_error"),
        (sql("commit"), 400, "invalid_request"),
        (sql("vacuum"), 400, "sql_error"),
    ] {
        let made = post("/v1/contacts", json!({"email": "new@b.example"}));
        let reply =
            batch(&agent, json!([made, op("GET", "/v1/contacts"), named("w", wrong.clone()), op("GET", "/v1/deals")]))
                .await;
        let reply = failed(reply, status, code, 2);
        assert_eq!(reply.error()["ref"], "w", "{}", reply.story());
        assert_eq!(count(&agent, "contacts").await, 1, "{wrong}");
    }
    // The error is that of the operation alone, with its own members and headers.
    let reply = batch(&agent, json!([post("/v1/contacts", json!({"email": "THERE@b.example"}))])).await;
    let reply = failed(reply, 409, "conflict", 0);
    assert_eq!((reply.text("/existing_id"), reply.text("/code")), (there, "23505".into()));
    assert!(reply.error().get("ref").is_none(), "{}", reply.story());
    let reply = failed(batch(&agent, json!([op("PUT", "/v1/contacts")])).await, 405, "method_not_allowed", 0);
    assert_eq!(reply.header("allow"), "GET, POST");
    assert_eq!(failed(batch(&agent, json!([sql("select\n nope")])).await, 400, "sql_error", 0).at("/position"), 9);
    assert_eq!(count(&agent, "activity").await, before, "a failed batch has no entries, of conflicts neither");
}

#[tokio::test]
async fn a_batch_that_is_none_is_refused() {
    let agent = agent().await;
    let many = |count| vec![op("GET", "/v1/tables"); count];
    for (body, status, code) in [
        (json!({}), 400, "invalid_request"),
        (json!({"operations": {}}), 400, "invalid_request"),
        (json!({"operations": null}), 400, "invalid_request"),
        (json!({"operations": []}), 400, "invalid_request"),
        (json!({"operations": many(1), "dry_run": true}), 400, "invalid_request"),
        (json!({"operations": many(101)}), 422, "batch_too_large"),
    ] {
        failed(agent.post("/v1/batch", body).await, status, code, Value::Null);
    }
    assert_eq!(batch(&agent, json!(many(100))).await.status(200).data().as_array().unwrap().len(), 100);
    failed(agent.post("/v1/batch?x=1", json!({"operations": many(1)})).await, 400, "invalid_request", Value::Null);
    let reply = agent.get("/v1/batch").await.fault(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), "POST");
    agent.get("/v1/batch/1").await.fault(404, "not_found");
    agent
        .send(Method::POST, "/v1/batch", &[("content-type", "text/plain")], "{}")
        .await
        .fault(415, "unsupported_media_type");

    for (wrong, says) in [
        (json!(1), "an object"),
        (json!({"path": "/v1/contacts"}), "method"),
        (json!({"method": "get", "path": "/v1/contacts"}), "method"),
        (json!({"method": "HEAD", "path": "/v1/contacts"}), "method"),
        (json!({"method": 1, "path": "/v1/contacts"}), "method"),
        (json!({"method": "GET"}), "path"),
        (json!({"method": "GET", "path": 1}), "path"),
        (json!({"method": "GET", "path": "contacts"}), "/v1/"),
        (json!({"method": "GET", "path": "https://kith.example/v1/contacts"}), "/v1/"),
        (json!({"method": "GET", "path": "/v1/%ff"}), "UTF-8"),
        (json!({"method": "GET", "path": "/v1/contacts", "headers": {}}), "headers"),
        (json!({"method": "GET", "path": "/v1/contacts", "bodi": {}}), "body"),
        (json!({"method": "POST", "path": "/v1/contacts", "body": []}), "an array"),
        (json!({"method": "POST", "path": "/v1/contacts", "body": null}), "null"),
        (json!({"method": "DELETE", "path": "/v1/contacts/c_1", "body": {"a": 1}}), "\"a\""),
        (named("", op("GET", "/v1/contacts")), "ref"),
        (named("a.b", op("GET", "/v1/contacts")), "ref"),
        (named("a b", op("GET", "/v1/contacts")), "ref"),
        (named("$a", op("GET", "/v1/contacts")), "ref"),
        (named(&"x".repeat(101), op("GET", "/v1/contacts")), "ref"),
        (json!({"method": "GET", "path": "/v1/contacts", "ref": 1}), "ref"),
        (post("/v1/batch", json!({"operations": many(1)})), "batch"),
        (op("GET", "/v1/batch"), "batch"),
    ] {
        let reply = batch(&agent, json!([op("GET", "/v1/contacts"), wrong])).await;
        failed(reply, 400, "invalid_request", 1).says(says);
    }
    for path in [
        "keys",
        "members",
        "claim/x",
        "workspaces",
        "auth/me",
        "connection",
        "webhooks",
        "automations",
        "runs",
        "events",
    ] {
        let reply = batch(&agent, json!([op("GET", &format!("/v1/{path}"))])).await;
        failed(reply, 400, "invalid_request", 0).says("can't be an operation of a batch");
    }
    agent.post("/v1/contacts", json!({"email": "undone@b.example"})).await.status(201);
    let entry = agent.get("/v1/activity").await.text("/data/0/id");
    for path in [format!("/v1/activity/{entry}/undo"), "/v1/runs/r/undo".into(), "/v1/requests/r/undo".into()] {
        let reply = batch(&agent, json!([post(&path, json!({}))])).await;
        failed(reply, 400, "invalid_request", 0).says("can't be an operation of a batch");
    }
    assert_eq!(agent.sql("select count(*) as v from contacts where email = 'undone@b.example'").await.v(), 1);
    let reply = batch(&agent, json!([named("p", sql("select 'keys' as t")), op("GET", "/v1/$p.t")])).await;
    failed(reply, 400, "invalid_request", 1).says("/v1/keys");
    // A body of a GET is ignored, and an empty one of a DELETE is taken, as in requests.
    let made = named("c", post("/v1/contacts", json!({})));
    let gone = json!({"method": "DELETE", "path": "/v1/contacts/$c.id", "body": null});
    batch(&agent, json!([{"method": "GET", "path": "/v1/contacts", "body": {"x": 1}}, made, gone])).await.status(200);
}

#[tokio::test]
async fn references_that_lead_nowhere_are_refused() {
    let agent = agent().await;
    let co = || named("co", post("/v1/companies", json!({"name": "A"})));
    let wants = |text: &str| post("/v1/contacts", json!({"custom": {"deep": [{"x": text}]}}));
    for (operations, at, says) in [
        (json!([named("company", sql("select 1")), wants("$compamy.id")]), 1, "Did you mean \"$company.id\"?"),
        (json!([wants("$co.id"), co()]), 0, "later"),
        (json!([named("me", wants("$me.id"))]), 0, "its own"),
        (json!([co(), wants("$co.nmae")]), 1, "Did you mean \"$co.name\"?"),
        (json!([co(), op("GET", "/v1/companies/$co.nope")]), 1, "nope"),
        (json!([co(), op("GET", "/v1/companies/$co.domain")]), 1, "null"),
        (json!([co(), co()]), 1, "already"),
        (json!([wants("$5.00")]), 0, "$$5.00"),
        (json!([named("l", op("GET", "/v1/companies")), wants("$l.id")]), 1, "no single record"),
        (json!([named("q", sql("select 1 as a where false")), wants("$q.a")]), 1, "no single record"),
        (json!([named("q", sql("select 1 as a")), wants("$q.b")]), 1, "has no field"),
        (json!([named("t", op("GET", "/v1/tables")), wants("$t.name")]), 1, "no single record"),
    ] {
        failed(batch(&agent, operations).await, 400, "invalid_request", at).says(says);
    }
    assert_eq!(count(&agent, "companies").await, 0);
    // These are no references.
    let texts = json!({"a": "$", "b": "$$", "c": "$co", "d": "$$5.00", "e": "$5.00 off", "f": "x $co.id", "g": "$.a", "$co.id": "$$$x"});
    let reply = batch(
        &agent,
        json!([co(), post("/v1/contacts", json!({"custom": texts})), op("GET", "/v1/contacts?custom.c=$co")]),
    )
    .await;
    let expected = json!({"a": "$", "b": "$", "c": "$co", "d": "$5.00", "e": "$5.00 off", "f": "x $co.id", "g": "$.a", "$co.id": "$$x"});
    let reply = reply.status(200);
    assert_eq!(reply.at("/data/1/body/data/custom"), expected);
    assert_eq!(reply.at("/data/2/body/data").as_array().unwrap().len(), 1, "query strings take no references");
    // Dollar quotes of SQL are left alone.
    batch(&agent, json!([sql("do $$ begin perform 1; end $$"), sql("select $a$x.y$a$ as v")])).await.status(200);
}

#[tokio::test]
async fn the_record_of_sql_is_its_first_row() {
    let agent = agent().await;
    let reply = batch(
        &agent,
        json!([
            named("q", sql("select 12345678901234567890.10 as n, '{\"a\": [1]}'::jsonb as j, 'x y' as t, 2 as \"first.name\" union all select 1, null, null, null")),
            post("/v1/sql", json!({"sql": "select $1::numeric as n, $2::jsonb as j, $3::text as t, $4::int as d", "params": ["$q.n", "$q.j", "$q.t", "$q.first.name"]})),
            named("i", sql("insert into companies (name) values ('A'), ('B') returning id, name")),
            {"method": "GET", "path": "/v1/companies/$i.id"},
        ]),
    )
    .await
    .status(200);
    let text = String::from_utf8(reply.body.clone()).unwrap();
    assert_eq!(text.matches("12345678901234567890.10").count(), 2, "{text}");
    let row = reply.at("/data/1/body/data/rows/0");
    assert_eq!((&row["j"], &row["t"], &row["d"]), (&json!({"a": [1]}), &json!("x y"), &json!(2)));
    assert_eq!(reply.at("/data/3/body/data/name"), "A");
}

#[tokio::test]
async fn tables_and_fields_that_a_batch_makes_serve_it_at_once() {
    let (relm, agentcrm) = both().await;
    for (number, agent) in [&relm, &agentcrm].into_iter().enumerate() {
        let table = format!("projects_{number}");
        let free = if number == 0 { "metadata" } else { "custom" };
        let reply = batch(
            agent,
            json!([
                op("GET", "/v1/contacts"),
                sql(&format!("create table {table} (id int primary key, title text)")),
                named("p", post(&format!("/v1/{table}"), json!({"id": 1, "title": "First"}))),
                sql(&format!("alter table {table} add owner text default 'nobody'")),
                {"method": "PATCH", "path": format!("/v1/{table}/$p.id"), "body": {"owner": "Ada"}},
                {"method": "GET", "path": format!("/v1/{table}?owner=Ada")},
                sql(&format!("alter table contacts add score_{number} int")),
                named("c", post("/v1/contacts", json!({"email": format!("s{number}@b.example"), format!("score_{number}"): 7}))),
                post("/v1/schema/fields", json!({"object_type": "contact", "key": format!("seats_{number}"), "type": "number"})),
                {"method": "PATCH", "path": "/v1/contacts/$c.id", "body": {free: {format!("seats_{number}"): 5}}},
                sql(&format!("create unique index on contacts (score_{number})")),
                {"method": "GET", "path": "/v1/tables"},
            ]),
        )
        .await
        .status(200);
        assert_eq!(reply.column("status")[2], 201, "{}", reply.story());
        let rows = reply.at("/data/5/body/data");
        assert_eq!((&rows[0]["owner"], rows.as_array().unwrap().len()), (&json!("Ada"), 1));
        agent.get(&format!("/v1/{table}/1")).await.status(200);
        // A failed batch takes its tables along.
        let gone = json!([
            sql("create table gone (id int primary key)"),
            post("/v1/gone", json!({"id": 1})),
            sql("select 1 / 0")
        ]);
        failed(batch(agent, gone).await, 400, "sql_error", 2);
        agent.get("/v1/gone").await.fault(404, "not_found");
        let field = json!([
            post("/v1/schema/fields", json!({"object_type": "deal", "key": "k", "type": "number"})),
            post("/v1/deals", json!({free: {"k": "x"}}))
        ]);
        let reply = batch(agent, field).await;
        assert!(reply.code == 422 && reply.error()["operation"] == 1, "{}", reply.story());
    }
}

#[tokio::test]
async fn a_table_that_another_session_changes_does_not_do_the_work_twice() {
    let agent = agent().await;
    agent.sql("create table things (id int primary key, a int, b int)").await.status(200);
    agent.post("/v1/things", json!({"id": 1})).await.status(201);
    let mut direct = psql(&agent).await;
    for (number, ddl) in
        ["alter table things drop a", "alter table things rename b to c", "alter table things add a text"]
            .into_iter()
            .enumerate()
    {
        agent.get("/v1/things/1").await.status(200);
        direct.query(ddl, &[]).await.expect("a change");
        let made = post("/v1/contacts", json!({"email": format!("s{number}@b.example")}));
        let reply = batch(&agent, json!([made, op("GET", "/v1/things/1"), sql("select count(*) as n from contacts")]))
            .await
            .status(200);
        assert_eq!(reply.at("/data/2/body/data/rows/0/n"), number + 1, "{}", reply.story());
        let reply = keyed(&agent, &format!("k{number}"), json!([op("GET", "/v1/things/1")])).await.status(200);
        assert_eq!(reply.at("/data/0/body/data/id"), 1);
    }
    let reply = batch(&agent, json!([op("GET", "/v1/things/1")])).await.status(200);
    assert_eq!(reply.at("/data/0/body/data"), json!({"id": 1, "c": null, "a": null}));
}

#[tokio::test]
async fn rows_of_lists_and_batches_of_contacts_are_part_of_the_transaction() {
    let agent = agent().await;
    let list =
        json!({"name": "All", "kind": "dynamic", "target_table": "contacts", "filter_predicate": "title = 'CTO'"});
    let members = json!({"name": "Some", "kind": "static", "target_table": "contacts"});
    let reply = batch(
        &agent,
        json!([
            named("l", post("/v1/lists", list)),
            named("s", post("/v1/lists", members)),
            named("c", post("/v1/contacts", json!({"email": "cto@b.example", "title": "CTO"}))),
            op("GET", "/v1/lists/$l.id/rows"),
            named("m", post("/v1/lists/$s.id/members", json!({"member_id": "$c.id"}))),
            op("GET", "/v1/lists/$s.id/rows"),
            op("DELETE", "/v1/lists/$s.id/members/$c.id"),
            op("GET", "/v1/lists/$s.id/rows"),
            post("/v1/contacts/batch", json!({"contacts": [{"email": "CTO@b.example", "title": "CEO"}, {"nope": 1}, {"email": "two@b.example"}]})),
            op("GET", "/v1/lists/$l.id/rows"),
            post("/v1/associations", json!({"from_type": "contact", "from_id": "$c.id", "to_type": "list", "to_id": "$l.id"})),
        ]),
    )
    .await;
    let reply = if reply.code == 200 { reply } else { panic!("{}", reply.story()) };
    let rows = |at: usize| reply.at(&format!("/data/{at}/body/data")).as_array().unwrap().len();
    assert_eq!([rows(3), rows(5), rows(7), rows(9)], [1, 1, 0, 0], "{}", reply.story());
    assert_eq!(reply.at("/data/8/body/_meta/created"), 1);
    assert_eq!((reply.at("/data/8/body/_meta/updated"), reply.at("/data/8/body/_meta/failed")), (json!(1), json!(1)));
}

#[tokio::test]
async fn conflicts_within_a_batch_of_contacts_are_in_the_feed_if_the_whole_is_kept() {
    let agent = agent().await;
    agent.sql("create unique index on contacts (phone)").await.status(200);
    let contacts = |first: &str| json!({"contacts": [{"email": first, "phone": "1"}, {"email": format!("other-{first}"), "phone": "1"}]});
    let reply = batch(&agent, json!([post("/v1/contacts/batch", contacts("a@b.example")), sql("select 1 / 0")])).await;
    failed(reply, 400, "sql_error", 1);
    assert_eq!(count(&agent, "activity where verb = 'conflict'").await, 0);
    // The server has no catalog of the workspace now, and no other session can read one while the batch holds the table.
    agent.sql("create table just_made ()").await.status(200);
    let begun = Instant::now();
    let operations = json!([
        sql("lock table contacts in access exclusive mode"),
        post("/v1/contacts/batch", contacts("a@b.example"))
    ]);
    let reply = batch(&agent, operations).await.status(200);
    assert!(begun.elapsed() < Duration::from_secs(9), "it waits for its own lock");
    assert_eq!(reply.at("/data/1/body/_meta/failed"), 1);
    let kept = reply.at("/data/1/body/data/0/contact/id");
    assert_eq!(reply.at("/data/1/body/data/1/error/existing_id"), kept);
    let entries = agent.get("/v1/activity?verb=conflict").await.status(200);
    assert_eq!(entries.column("subject_id"), [kept]);
}

#[tokio::test]
async fn a_constraint_that_fails_at_the_commit_has_no_operation() {
    let (relm, agent) = both().await;
    agent
        .sql("create table parents (id int primary key); create table children (id int primary key, parent int references parents deferrable initially deferred)")
        .await
        .status(200);
    let operations =
        json!([named("c", post("/v1/children", json!({"id": 1, "parent": 7}))), op("GET", "/v1/children")]);
    for agent in [&agent, &relm] {
        let reply = batch(agent, operations.clone()).await.status(400);
        assert_eq!(reply.error().get("operation"), None, "{}", reply.story());
        assert_eq!(reply.error().get("ref"), None, "{}", reply.story());
        let reply = keyed(agent, &format!("at the commit of {}", agent.key), operations.clone()).await.status(400);
        assert_eq!(reply.error().get("operation"), None, "{}", reply.story());
    }
    assert_eq!(count(&agent, "children").await, 0);
    let both = json!([operations[0], post("/v1/parents", json!({"id": 7}))]);
    batch(&agent, both).await.status(200);
}

#[tokio::test]
async fn viewers_batch_reads_and_nothing_else() {
    let agent = agent().await;
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    let list = json!({"name": "All", "kind": "dynamic", "target_table": "contacts", "filter_predicate": "true"});
    let list = agent.post("/v1/lists", list).await.status(201).id();
    let viewer = with_role(&agent, "viewer").await;
    let rows = format!("/v1/lists/{list}/rows");
    let reads = json!([
        named("q", sql("select id from contacts; select id from contacts")),
        op("GET", "/v1/contacts/$q.id"),
        op("GET", &rows),
        op("GET", "/v1/search?q=a"),
        op("GET", "/v1/tables")
    ]);
    let reply = batch(&viewer, reads.clone()).await.status(200);
    assert_eq!(reply.at("/data/2/body/data").as_array().unwrap().len(), 1, "{}", reply.story());
    keyed(&viewer, "a viewer's", reads).await.status(200);
    for (write, code) in [
        (post("/v1/contacts", json!({"email": "v@b.example"})), "forbidden"),
        (op("DELETE", "/v1/contacts/c_1"), "forbidden"),
        (post("/v1/contacts/batch", json!({"contacts": [{}]})), "forbidden"),
        (sql("delete from contacts"), "sql_error"),
        (sql("set transaction read write; delete from contacts"), "invalid_request"),
        (sql("select set_config('transaction_read_only', 'off', true); delete from contacts"), "sql_error"),
        (sql("do $$ begin set session authorization default; delete from contacts; end $$"), "sql_error"),
    ] {
        let reply = batch(&viewer, json!([op("GET", "/v1/contacts"), write.clone()])).await;
        assert!(matches!(reply.code, 400 | 403), "{}", reply.story());
        let status = reply.code;
        failed(reply, status, code, 1);
        assert_eq!(count(&agent, "contacts").await, 1, "{write}");
    }
}

#[tokio::test]
async fn an_idempotency_key_holds_for_the_whole() {
    let (relm, agent) = both().await;
    for (number, agent) in [&agent, &relm].into_iter().enumerate() {
        let operations = |email: &str| {
            json!([
                named("c", post("/v1/contacts", json!({"email": email}))),
                op("GET", "/v1/contacts/$c.id"),
                sql("set search_path = pg_catalog"),
                post("/v1/companies", json!({"name": "A"}))
            ])
        };
        let email = format!("once{number}@b.example");
        let (right, wrong) = (format!("right{number}"), format!("wrong{number}"));
        let first = keyed(agent, &right, operations(&email)).await.status(200);
        let again = keyed(agent, &right, operations(&email)).await;
        assert_eq!((again.header("idempotent-replayed").as_str(), &again.body), ("true", &first.body));
        keyed(agent, &right, operations("other@b.example")).await.fault(409, "idempotency_conflict");
        let refused = failed(keyed(agent, &wrong, operations(&email)).await, 409, "conflict", 0);
        let again = keyed(agent, &wrong, operations(&email)).await;
        assert_eq!((again.header("idempotent-replayed").as_str(), &again.body), ("true", &refused.body));
    }
    assert_eq!((count(&agent, "contacts").await, count(&agent, "companies").await), (json!(2), json!(2)));
}

#[tokio::test]
async fn a_batch_counts_as_one_request() {
    let base =
        door(Door { public_url: None, clock: Clock::Moved(Arc::new(AtomicI64::new(0))), rate_limit: 1000 }).await;
    let agent = agent().await.at(&base);
    let left = |reply: Reply| reply.status(200).header("x-ratelimit-remaining").parse::<i64>().expect("a number");
    let (first, second) =
        (left(batch(&agent, json!(vec![op("GET", "/v1/tables"); 50])).await), left(agent.get("/v1/tables").await));
    // A new minute may have begun between them.
    assert!(first == 999 && (second == 998 || second == 999), "{first} {second}");
}

#[tokio::test]
async fn the_operations_together_have_thirty_seconds() {
    let agent = agent().await;
    let begun = Instant::now();
    let made = post("/v1/contacts", json!({"email": "late@b.example"}));
    let nap = || sql("set statement_timeout = 0; select pg_sleep(12)");
    let reply = batch(&agent, json!([made, nap(), nap(), nap(), op("GET", "/v1/contacts")])).await;
    failed(reply, 408, "statement_timeout", 3);
    let took = begun.elapsed();
    assert!((Duration::from_secs(29)..Duration::from_secs(45)).contains(&took), "{took:?}");
    assert_eq!(count(&agent, "contacts").await, 0);
}

#[tokio::test]
async fn the_answers_together_are_bounded() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let agent = child.owned_agent().await;
    let large = || sql("select repeat('x', 1000) as x from generate_series(1, 9900)");
    let reply = batch(&agent, json!([post("/v1/contacts", json!({})), large(), large(), large()])).await.status(200);
    assert!(reply.body.len() > 29_000_000, "{}", reply.body.len());
    drop(reply);
    let before = child.measure_memory();
    let mut operations = vec![post("/v1/contacts", json!({}))];
    operations.extend((0..99).map(|_| large()));
    let reply = failed(batch(&agent, json!(operations)).await, 413, "result_too_large", 5);
    reply.says("nothing of the batch was kept");
    let grown = child.memory_kb("VmHWM").saturating_sub(before);
    println!("a batch of 100 large answers: {grown} kB");
    assert!(grown < 160 * 1024, "{grown} kB");
    assert_eq!(count(&agent, "contacts").await, 1);
}

#[tokio::test]
async fn a_table_under_a_reserved_name_says_so() {
    let (relm, agent) = both().await;
    let reserved = [
        "automations",
        "batch",
        "duplicates",
        "email",
        "events",
        "exports",
        "files",
        "imports",
        "integrations",
        "logs",
        "notes",
        "policies",
        "proposals",
        "requests",
        "runs",
        "tags",
        "tasks",
        "usage",
        "views",
        "webhooks",
        "keys",
    ];
    let tables: Vec<String> = reserved.iter().map(|name| format!("create table {name} (id int primary key)")).collect();
    agent.sql(&format!("{}; create table projects (id int primary key)", tables.join("; "))).await.status(200);
    agent.sql("insert into notes values (1)").await.status(200);
    for agent in [&agent, &relm] {
        for entry in agent.get("/v1/tables").await.status(200).data().as_array().unwrap() {
            let is_reserved = reserved.contains(&entry["name"].as_str().unwrap());
            assert_eq!(entry.get("reserved"), is_reserved.then_some(&json!(true)), "{entry}");
        }
        for name in reserved.iter().filter(|name| !["keys", "batch"].contains(name)) {
            agent.get(&format!("/v1/{name}/1")).await.fault(404, "not_found");
        }
        assert_eq!(count(agent, "notes").await, 1);
    }
}

#[tokio::test]
async fn batches_that_write_the_same_rows_in_opposite_order_all_succeed() {
    let agent = agent().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(agent.post("/v1/companies", json!({"name": "A"})).await.status(201).id());
    }
    for round in 0..3 {
        let batch = |ids: Vec<&String>, name: &str| {
            let patch =
                |id: &String| json!({"method": "PATCH", "path": format!("/v1/companies/{id}"), "body": {"name": name}});
            json!({"operations": ids.into_iter().map(patch).collect::<Vec<_>>()})
        };
        let (forwards, backwards) = (batch(ids.iter().collect(), "F"), batch(ids.iter().rev().collect(), "B"));
        let replies = futures_util::join!(agent.post("/v1/batch", forwards), agent.post("/v1/batch", backwards));
        for reply in [replies.0, replies.1] {
            assert_eq!(reply.code, 200, "{round}: {}", reply.story());
        }
        let names = "select count(distinct name) as v from companies";
        assert_eq!(agent.sql(names).await.status(200).v(), 1);
    }
}
