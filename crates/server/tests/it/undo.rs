//! Runs, and undo of runs, requests and entries of the feed.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both};

async fn in_run(agent: &Agent, run: &str, method: Method, path: &str, body: Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    agent
        .send(method, path, &[("content-type", "application/json"), ("x-run-id", run), ("x-agent", "tester")], body)
        .await
}

async fn sql_in_run(agent: &Agent, run: &str, sql: &str) -> Reply {
    in_run(agent, run, Method::POST, "/v1/sql", json!({"sql": sql})).await
}

async fn undo(agent: &Agent, run: &str) -> Reply {
    agent.post(&format!("/v1/runs/{run}/undo"), json!({})).await
}

/// All rows of these tables, as PostgreSQL writes them, `updated_at` excepted.
async fn state(agent: &Agent, tables: &[&str]) -> Value {
    let each = |table: &&str| {
        format!(
            "select '{table}' as t, array(select (to_jsonb(whole) - 'updated_at')::text from {table} whole order by 1) as rows"
        )
    };
    let sql = tables.iter().map(each).collect::<Vec<_>>().join(" union all ");
    agent.sql(&sql).await.status(200).at("/data/rows")
}

#[tokio::test]
async fn a_run_is_all_that_was_done_under_one_name() {
    let (relm, agent) = both().await;
    agent.get("/v1/runs/nothing").await.fault(404, "not_found");
    let id = in_run(&agent, "import 1", Method::POST, "/v1/contacts", json!({"email": "a@b.example"}))
        .await
        .status(201)
        .id();
    in_run(&agent, "import 1", Method::PATCH, &format!("/v1/contacts/{id}"), json!({"title": "CTO"})).await.status(200);
    in_run(&agent, "import 1", Method::POST, "/v1/contacts", json!({"email": "a@b.example"}))
        .await
        .fault(409, "conflict");
    in_run(&agent, "reading", Method::POST, "/v1/sql", json!({"sql": "select 1"})).await.status(200);
    agent.get("/v1/runs/reading").await.fault(404, "not_found");
    let run = agent.get("/v1/runs/import%201").await.status(200);
    assert!(run.id().starts_with("run_"));
    assert_eq!(
        (run.at("/data/run_id"), run.at("/data/agent"), run.at("/data/status")),
        (json!("import 1"), json!("tester"), json!("open"))
    );
    assert_eq!(
        run.at("/data/affected"),
        json!({"contacts": {"created": 1, "updated": 0, "deleted": 0, "restored": 0}})
    );
    assert_eq!(
        (run.at("/data/requests"), run.at("/data/undoable"), run.at("/data/why")),
        (json!(2), json!("whole"), json!([]))
    );
    assert_eq!(agent.get(&format!("/v1/runs/{}", run.id())).await.status(200).data(), run.data());
    let changes = agent.get("/v1/runs/import%201/changes?limit=1").await.status(200);
    assert_eq!(changes.column("verb"), ["created"]);
    assert!(
        changes.text("/data/0/activity_id").starts_with("a_") && changes.text("/data/0/request_id").starts_with("req_")
    );
    let next = agent
        .get(&format!("/v1/runs/import%201/changes?cursor={}", changes.text("/_meta/next_cursor")))
        .await
        .status(200);
    assert_eq!(next.at("/data/0/changes"), json!({"title": {"from": null, "to": "CTO"}}));
    let net = agent.get("/v1/runs/import%201/changes?net=true").await.status(200);
    assert_eq!((net.column("verb"), net.at("/data/0/changes/title/to")), (vec![json!("created")], json!("CTO")));

    agent.post("/v1/runs", json!({"run_id": "planned", "reason": "why"})).await.status(201);
    agent.post("/v1/runs", json!({"run_id": "planned"})).await.status(200);
    let listed = agent.get("/v1/runs?status=open").await.status(200);
    assert_eq!(listed.column("run_id"), ["planned", "import 1"]);
    let finish = json!({"status": "complete", "summary": "done"});
    let ended = agent.post("/v1/runs/planned/finish", finish.clone()).await.status(200);
    assert_eq!((ended.at("/data/status"), ended.at("/data/summary")), (json!("complete"), json!("done")));
    agent.post("/v1/runs/planned/finish", finish).await.fault(409, "run_finished");
    agent.post("/v1/runs", json!({"run_id": "planned"})).await.fault(409, "run_finished");
    in_run(&agent, "planned", Method::POST, "/v1/contacts", json!({"email": "c@b.example"}))
        .await
        .fault(409, "run_finished");
    sql_in_run(&agent, "planned", "delete from contacts").await.fault(409, "run_finished");
    in_run(&agent, "", Method::POST, "/v1/contacts", json!({})).await.fault(400, "invalid_request");
    in_run(&agent, &"x".repeat(201), Method::POST, "/v1/contacts", json!({})).await.fault(400, "invalid_request");
    let run = relm.get(&format!("/v1/runs/{}", run.id())).await.status(200);
    assert_eq!((run.at("/object"), run.at("/run_id")), (json!("run"), json!("import 1")));
}

/// Lists of runs have the texts whole.
#[tokio::test]
async fn what_is_said_of_a_run_is_short() {
    let (relm, agent) = both().await;
    for dialect in [&relm, &agent] {
        let name = if dialect.key == relm.key { "a" } else { "b" };
        for field in ["agent", "reason"] {
            let long = dialect.post("/v1/runs", json!({"run_id": name, field: "x".repeat(501)})).await;
            long.fault(400, "invalid_request").says(&format!("\"{field}\" has at most 500 bytes"));
        }
        for wrong in ["a\nb", "a\tb", "a\u{1b}[31m", " a", "a ", ""] {
            dialect.post("/v1/runs", json!({"run_id": wrong})).await.fault(400, "invalid_request").says("X-Run-Id");
        }
        let said = json!({"run_id": name, "agent": "x".repeat(500), "reason": "y".repeat(500)});
        dialect.post("/v1/runs", said).await.status(201);
        let finish = |length: usize| json!({"status": "complete", "summary": "z".repeat(length)});
        let path = format!("/v1/runs/{name}/finish");
        dialect
            .post(&path, finish(4001))
            .await
            .fault(400, "invalid_request")
            .says("\"summary\" has at most 4000 bytes");
        dialect.post(&path, finish(4000)).await.status(200);
    }
}

#[tokio::test]
async fn a_run_of_raw_sql_comes_back_to_the_letter() {
    let agent = agent().await;
    agent
        .sql("create type mood as enum ('sad', 'ok'); create type pair as (a int, b text);
              create table things (id int generated always as identity primary key, n numeric, f float8, j jsonb, o json, a int[], r int4range, m mood, p pair,
                b bytea, i interval, t timestamptz, v vector, x bit(3), g int generated always as (1 + 1) stored);
              create table parts (id int primary key, thing int references things on delete cascade, other int references parts);
              insert into things (n, f, j, o, a, r, m, p, b, i, t, v, x) values (1.50, '-0', 'null', '{\"a\":  1}', '[0:1]={1,2}', '[1,3)', 'ok', '(1,\"x y\")', '\\x00ff', '1 mon -2 days', 'infinity', '[1,2.5]', B'101'),
                ('NaN', 'infinity', null, null, '{}', 'empty', null, null, '', '0', null, null, null);
              insert into parts values (1, 1, null), (2, 1, 1); update parts set other = 2 where id = 1")
        .await
        .status(200);
    agent.post("/v1/companies", json!({"name": "Acme", "domain": "acme.example"})).await.status(201);
    let tables = [
        "things",
        "parts",
        "contacts",
        "companies",
        "deals",
        "pipeline_stages",
        "lists",
        "list_members",
        "associations",
    ];
    let letters = "select array(select things::text from things order by id)::text || array(select parts::text from parts order by id)::text as v";
    let (before, exact) = (state(&agent, &tables).await, agent.sql(letters).await.status(200).v());
    let work = "delete from things where id = 1; update things set j = '{}', f = 0, n = 2 where id = 2;
        insert into contacts (email, company_id) select 'a@acme.example', id from companies;
        insert into deals (name, stage, contact_id) select 'D', 'quite_new', id from contacts;
        insert into associations (from_type, from_id, to_type, to_id) select 'contact', c.id, 'company', o.id from contacts c, companies o;
        insert into lists (name, target_table, kind) values ('L', 'contacts', 'static');
        insert into list_members (list_id, member_id) select l.id, c.id from lists l, contacts c;
        update companies set name = 'Acme Inc', deleted_at = now()";
    sql_in_run(&agent, "r", work).await.status(200);
    let after = state(&agent, &tables).await;
    assert_ne!(before, after);
    let undone = undo(&agent, "r").await.status(200);
    assert_eq!(undone.at("/data/skipped"), json!([]));
    assert_eq!(state(&agent, &tables).await, before);
    assert_eq!(agent.sql(letters).await.v(), exact);
    let run = agent.get("/v1/runs/r").await.status(200);
    assert_eq!((run.at("/data/status"), run.at("/data/undone_by")), (json!("undone"), undone.at("/data/run_id")));
    undo(&agent, "r").await.fault(409, "already_undone");
    sql_in_run(&agent, "r", "delete from companies").await.fault(409, "run_finished");
    // An undo is a run, and can be undone.
    let again = undo(&agent, &undone.text("/data/run_id")).await.status(200);
    assert_eq!(state(&agent, &tables).await, after);
    assert_eq!(agent.get("/v1/runs/r").await.at("/data/undone_by"), Value::Null);
    undo(&agent, &again.text("/data/run_id")).await.status(200);
    assert_eq!(agent.sql(letters).await.v(), exact);
}

#[tokio::test]
async fn what_others_changed_since_is_not_lost() {
    let (relm, agent) = both().await;
    let make =
        async |email: &str| agent.post("/v1/contacts", json!({"email": email, "phone": "1"})).await.status(201).id();
    let (one, two) = (make("a@b.example").await, make("b@b.example").await);
    let new = in_run(&agent, "r", Method::POST, "/v1/companies", json!({"name": "New"})).await.status(201).id();
    sql_in_run(
        &agent,
        "r",
        &format!("update contacts set phone = '2', title = 'T'; delete from contacts where id = '{two}'"),
    )
    .await
    .status(200);
    let path = format!("/v1/contacts/{one}");
    agent.patch(&path, json!({"phone": "3", "company_id": new})).await.status(200);
    agent.post("/v1/contacts", json!({"email": "b@b.example"})).await.status(201);
    let refused = undo(&agent, "r").await.fault(409, "undo_conflict");
    let conflicts = refused.at("/conflicts");
    let reason =
        |id: &str| conflicts.as_array().unwrap().iter().find(|it| it["id"] == id).map(|it| it["reason"].clone());
    assert_eq!(reason(&one), Some(json!("changed_since")), "{conflicts}");
    assert_eq!(reason(&two), Some(json!("unique_taken")), "{conflicts}");
    assert_eq!(reason(&new), Some(json!("would_remove_others")), "{conflicts}");
    let changed = conflicts.as_array().unwrap().iter().find(|it| it["id"] == one.as_str()).unwrap();
    assert_eq!(changed["columns"], json!({"phone": {"expected": "2", "now": "3", "back_to": "1"}}));
    assert_eq!(agent.get(&path).await.at("/data/title"), "T", "nothing was kept");
    let id = agent.get("/v1/runs/r").await.id();
    let told = relm.post(&format!("/v1/runs/{id}/undo"), json!({})).await.fault(409, "undo_conflict");
    assert!(
        told.at("/error/conflicts").as_array().unwrap().iter().any(|it| it["id"].as_str().unwrap().starts_with("con_"))
    );
    let dry = [("content-type", "application/json"), ("x-dry-run", "true")];
    let skipping = json!({"on_conflict": "skip"});
    let would = agent.send(Method::POST, "/v1/runs/r/undo", &dry, skipping.to_string()).await.status(200);
    assert_eq!(
        would.at("/_meta/affected"),
        json!({"contacts": {"created": 0, "updated": 1, "deleted": 0, "restored": 0}})
    );
    assert_eq!(agent.get(&path).await.at("/data/title"), "T");
    let done = agent.post("/v1/runs/r/undo", skipping).await.status(200);
    assert_eq!(done.at("/data/undone"), 1);
    assert_eq!(done.at("/data/skipped").as_array().unwrap().len(), 3);
    let contact = agent.get(&path).await.status(200);
    assert_eq!((contact.at("/data/title"), contact.at("/data/phone")), (Value::Null, json!("3")));
    // What was left can be undone once nothing is in its way.
    agent.patch(&path, json!({"phone": "2", "company_id": null})).await.status(200);
    let rest = agent.post("/v1/runs/r/undo", json!({"on_conflict": "skip"})).await.status(200);
    assert_eq!((rest.at("/data/undone"), agent.get(&path).await.at("/data/phone")), (json!(2), json!("1")));
    agent.get(&format!("/v1/companies/{new}")).await.status(404);
    // An undo that can undo nothing is no run.
    let runs = agent.get("/v1/runs").await.column("id");
    let nothing = agent.post("/v1/runs/r/undo", json!({"on_conflict": "skip"})).await.status(200);
    assert_eq!((nothing.at("/data/undone"), nothing.at("/data/run_id")), (json!(0), Value::Null));
    assert_eq!(nothing.at("/data/skipped/0/reason"), "unique_taken");
    assert_eq!(agent.get("/v1/runs").await.column("id"), runs);
    // Undoing the first undo leaves what the second has put back.
    undo(&agent, &done.text("/data/run_id")).await.status(200);
    let contact = agent.get(&path).await.status(200);
    assert_eq!((contact.at("/data/title"), contact.at("/data/phone")), (json!("T"), json!("1")));
}

#[tokio::test]
async fn a_request_and_an_entry_can_be_undone() {
    let agent = agent().await;
    let made = agent.post("/v1/contacts", json!({"email": "a@b.example", "title": "A"})).await.status(201);
    let path = format!("/v1/contacts/{}", made.id());
    let patched = agent.patch(&path, json!({"title": "B"})).await.status(200);
    agent.delete(&format!("{path}?hard=true")).await.status(200);
    let gone = agent.get("/v1/activity?verb=deleted").await.text("/data/0/id");
    agent.post(&format!("/v1/activity/{gone}/undo"), json!({})).await.status(200);
    assert_eq!(agent.get(&path).await.status(200).at("/data/title"), "B");
    assert_eq!(agent.get("/v1/activity?verb=restored").await.column("id").len(), 1);
    let request = patched.header("x-request-id");
    agent.post(&format!("/v1/requests/{request}/undo"), json!({})).await.status(200);
    assert_eq!(agent.get(&path).await.at("/data/title"), "A");
    agent.post(&format!("/v1/requests/{request}/undo"), json!({})).await.fault(409, "already_undone");
    agent.post("/v1/requests/req_nothing/undo", json!({})).await.fault(404, "not_found");
    agent.post("/v1/activity/a_nothing/undo", json!({})).await.fault(404, "not_found");
    agent.post("/v1/runs/nothing/undo", json!({})).await.fault(404, "not_found");
    agent.post(&format!("/v1/requests/{request}/undo"), json!({"force": true})).await.fault(400, "invalid_request");
}

#[tokio::test]
async fn a_key_of_jsonb_may_be_null_in_json() {
    let agent = agent().await;
    agent.sql("create table jb (id jsonb primary key, n int)").await.status(200);
    let rows = r#"insert into jb values ('null', 1), ('"null"', 2), ('1', 3), ('"1"', 4)"#;
    sql_in_run(&agent, "made", rows).await.status(200);
    let before = state(&agent, &["jb"]).await;
    sql_in_run(&agent, "gone", "update jb set n = n + 1; delete from jb where n <> 3; update jb set n = 9")
        .await
        .status(200);
    assert_eq!(undo(&agent, "gone").await.status(200).at("/data/undone"), 4);
    assert_eq!(state(&agent, &["jb"]).await, before);
    assert_eq!(undo(&agent, "made").await.status(200).at("/data/undone"), 4);
    assert_eq!(agent.sql("select count(*) as v from jb").await.v(), 0);
}

#[tokio::test]
async fn long_values_of_a_run_are_clipped_and_come_back_whole() {
    let agent = agent().await;
    agent.sql("create table t (id int primary key, v text); insert into t select g, repeat('a', 3000000) from generate_series(1, 5) g").await.status(200);
    sql_in_run(
        &agent,
        "r",
        "update t set v = repeat('b', 2000000); update t set v = repeat('c', 2000000) where id = 1",
    )
    .await
    .status(200);
    for query in ["", "?net=true"] {
        let page = agent.get(&format!("/v1/runs/r/changes{query}")).await.status(200);
        let clipped = json!({"from": 3_000_000, "to": 2_000_000});
        assert_eq!(page.at("/data/0/changes/v/clipped"), clipped, "{query}");
    }
    undo(&agent, "r").await.status(200);
    assert_eq!(agent.sql("select count(*) as v from t where v = repeat('a', 3000000)").await.v(), 5);
}
