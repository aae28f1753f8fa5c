//! Undo of rows that the triggers of built-in tables look after: references, lists, pipelines and stages.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both};

async fn sql_in_run(agent: &Agent, run: &str, sql: &str) {
    let headers = [("content-type", "application/json"), ("x-run-id", run)];
    agent.send(Method::POST, "/v1/sql", &headers, json!({"sql": sql}).to_string()).await.status(200);
}

/// All rows of these tables, as PostgreSQL writes them, `updated_at` excepted.
async fn state(agent: &Agent, tables: &[&str]) -> Value {
    let each = |table: &&str| {
        format!("select array(select (to_jsonb(whole) - 'updated_at')::text from {table} whole order by 1) as rows")
    };
    let sql = tables.iter().map(each).collect::<Vec<_>>().join(" union all ");
    agent.sql(&sql).await.status(200).at("/data/rows")
}

/// Undoes the request of this answer.
async fn undo(agent: &Agent, of: &Reply) -> Reply {
    agent.post(&format!("/v1/requests/{}/undo", of.header("x-request-id")), json!({})).await
}

#[tokio::test]
async fn a_reference_to_a_deleted_record_comes_back() {
    let agent = agent().await;
    let company = agent.post("/v1/companies", json!({"name": "C"})).await.status(201).id();
    let contact = agent.post("/v1/contacts", json!({"email": "a@b.example", "company_id": company})).await.id();
    let path = format!("/v1/contacts/{contact}");
    agent.delete(&format!("/v1/companies/{company}")).await.status(200);
    let cleared = agent.patch(&path, json!({"company_id": null})).await.status(200);
    agent.patch(&path, json!({"company_id": company})).await.fault(422, "invalid_reference");
    undo(&agent, &cleared).await.status(200);
    assert_eq!(agent.get(&path).await.at("/data/company_id"), json!(company));
}

#[tokio::test]
async fn every_column_may_refer_to_a_deleted_record_again() {
    let agent = agent().await;
    agent
        .sql(
            "insert into companies (name) values ('gone'); insert into contacts (email) values ('gone@b.example');
             insert into deals (name) values ('gone'); insert into lists (name, target_table, kind) values ('gone', 'contacts', 'static'), ('kept', 'contacts', 'static');
             insert into contacts (email, company_id) select 'kept@b.example', id from companies;
             insert into deals (name, contact_id, company_id) select 'kept', c.id, o.id from companies o, contacts c where c.email = 'gone@b.example';
             insert into activities (contact_id, company_id, deal_id) select d.contact_id, d.company_id, g.id from deals d, deals g where d.name = 'kept' and g.name = 'gone';
             insert into emails (contact_ids, company_ids, deal_ids) select array[contact_id], array[company_id], array[deal_id] from activities;
             insert into list_members (list_id, member_id) select l.id, c.id from lists l, contacts c where l.name = 'gone' and c.email = 'kept@b.example';
             update companies set deleted_at = now(); update contacts set deleted_at = now() where email = 'gone@b.example';
             update deals set deleted_at = now() where name = 'gone'; update lists set deleted_at = now() where name = 'gone'",
        )
        .await
        .status(200);
    let tables = ["contacts", "deals", "activities", "emails", "list_members"];
    let before = state(&agent, &tables).await;
    let clear = "update contacts set company_id = null; update deals set contact_id = null, company_id = null;
                 update activities set contact_id = null, company_id = null, deal_id = null;
                 update emails set contact_ids = '{}', company_ids = '{}', deal_ids = '{}';
                 update list_members set list_id = (select id from lists where name = 'kept')";
    sql_in_run(&agent, "r", clear).await;
    assert_ne!(state(&agent, &tables).await, before);
    agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    assert_eq!(state(&agent, &tables).await, before);
}

#[tokio::test]
async fn a_record_that_is_deleted_for_good_leaves_its_lists() {
    let (relm, agent) = both().await;
    agent.sql("create table invoices (id int primary key); insert into invoices values (7)").await.status(200);
    let contact = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    let deal = agent.post("/v1/deals", json!({"name": "D"})).await.status(201).id();
    let tables = ["list_members", "contacts", "deals", "invoices"];
    let path = |table: &str, id: &str| format!("/v1/{table}/{id}?hard=true");
    let doors = [
        ("contacts", contact.as_str(), Method::DELETE, path("contacts", &contact), Value::Null),
        ("deals", &deal, Method::POST, "/v1/sql".into(), json!({"sql": "delete from deals"})),
        (
            "contacts",
            &contact,
            Method::POST,
            "/v1/batch".into(),
            json!({"operations": [{"method": "DELETE", "path": path("contacts", &contact)}]}),
        ),
        ("invoices", "7", Method::POST, "/v1/sql".into(), json!({"sql": "delete from invoices"})),
    ];
    for (table, id, method, path, body) in doors {
        let list = json!({"name": "L", "target_table": table, "kind": "static"});
        let list = agent.post("/v1/lists", list).await.status(201).id();
        agent.post(&format!("/v1/lists/{list}/members"), json!({"member_ids": [id]})).await.status(201);
        let members = format!("/v1/list_members?list_id={list}");
        let before = state(&agent, &tables).await;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut last = agent.send(method, &path, &[("content-type", "application/json")], body).await.status(200);
        let without = state(&agent, &tables).await;
        assert_eq!(agent.get(&members).await.status(200).column("id").len(), 0, "{path}");
        // To and fro.
        for expected in [&before, &without, &before] {
            last = undo(&agent, &last).await.status(200);
            assert_eq!(&state(&agent, &tables).await, expected, "{path}");
        }
        assert_eq!(agent.get(&members).await.status(200).column("id").len(), 1, "{path}");
    }
    let deleted = agent.get("/v1/activity?subject_type=list_member&verb=deleted").await.status(200);
    assert!(deleted.column("id").len() >= 3);
    relm.delete(&format!("/v1/contacts/con_{}?hard=true", contact.trim_start_matches("c_"))).await.status(200);
    assert_eq!(agent.sql("select count(*) as v from list_members").await.v(), 2);
}

#[tokio::test]
async fn a_pipeline_that_was_replaced_comes_back_with_its_stages() {
    for query in ["", "?hard=true"] {
        let agent = agent().await;
        agent.post("/v1/pipelines", json!({"key": "p", "label": "Old"})).await.status(201);
        for key in ["a", "b"] {
            agent.post("/v1/pipelines/p/stages", json!({"key": key, "label": key})).await.status(201);
        }
        let tables = ["pipelines", "pipeline_stages"];
        let before = state(&agent, &tables).await;
        let operations = json!([
            {"method": "DELETE", "path": format!("/v1/pipelines/p/stages/a{query}")},
            {"method": "DELETE", "path": format!("/v1/pipelines/p/stages/b{query}")},
            {"method": "DELETE", "path": format!("/v1/pipelines/p{query}")},
            {"method": "POST", "path": "/v1/pipelines", "body": {"key": "p", "label": "New"}},
            {"method": "POST", "path": "/v1/pipelines/p/stages", "body": {"key": "a", "label": "A"}},
            {"method": "POST", "path": "/v1/pipelines/p/stages", "body": {"key": "c", "label": "C"}},
        ]);
        let replaced = agent.post("/v1/batch", json!({"operations": operations})).await.status(200);
        let after = state(&agent, &tables).await;
        let undone = undo(&agent, &replaced).await.status(200);
        assert_eq!(state(&agent, &tables).await, before, "{query}");
        undo(&agent, &undone).await.status(200);
        assert_eq!(state(&agent, &tables).await, after, "{query}");
    }
}

#[tokio::test]
async fn a_stage_that_was_replaced_comes_back_with_its_deals() {
    let stages = "/v1/pipelines/p/stages";
    for query in ["", "?hard=true"] {
        for (away, home) in [(json!({"stage": "b"}), json!(null)), (json!({"pipeline": "sales"}), json!("c"))] {
            let agent = agent().await;
            agent.post("/v1/pipelines", json!({"key": "p", "label": "Old"})).await.status(201);
            for key in ["a", "b"] {
                agent.post(stages, json!({"key": key, "label": key})).await.status(201);
            }
            let deal =
                agent.post("/v1/deals", json!({"name": "D", "pipeline": "p", "stage": "a"})).await.status(201).id();
            let tables = ["pipelines", "pipeline_stages", "deals"];
            let before = state(&agent, &tables).await;
            let deal = format!("/v1/deals/{deal}");
            let mut operations = vec![json!({"method": "PATCH", "path": deal, "body": away})];
            if home.is_null() {
                operations.extend([
                    json!({"method": "DELETE", "path": format!("{stages}/a{query}")}),
                    json!({"method": "POST", "path": stages, "body": {"key": "a", "label": "New"}}),
                ]);
            } else {
                operations.extend([
                    json!({"method": "DELETE", "path": format!("/v1/pipelines/p{query}")}),
                    json!({"method": "POST", "path": "/v1/pipelines", "body": {"key": "p", "label": "New"}}),
                    json!({"method": "POST", "path": stages, "body": {"key": home, "label": "New"}}),
                    json!({"method": "PATCH", "path": deal, "body": {"pipeline": "p", "stage": home}}),
                ]);
            }
            let replaced = agent.post("/v1/batch", json!({"operations": operations})).await.status(200);
            undo(&agent, &replaced).await.status(200);
            assert_eq!(state(&agent, &tables).await, before, "{operations:?}");
        }
    }
}

#[tokio::test]
async fn a_replaced_pipeline_that_others_use_stays() {
    let agent = agent().await;
    let old = agent.post("/v1/pipelines", json!({"key": "p", "label": "Old"})).await.status(201).id();
    agent.post("/v1/pipelines/p/stages", json!({"key": "a", "label": "A"})).await.status(201);
    let operations = json!([
        {"method": "DELETE", "path": format!("/v1/pipelines/{old}")},
        {"method": "POST", "path": "/v1/pipelines", "body": {"key": "p", "label": "New"}},
        {"method": "POST", "path": "/v1/pipelines/p/stages", "body": {"key": "a", "label": "A"}},
    ]);
    let replaced = agent.post("/v1/batch", json!({"operations": operations})).await.status(200);
    agent.post("/v1/deals", json!({"name": "D", "pipeline": "p"})).await.status(201);
    let tables = ["pipelines", "pipeline_stages", "deals"];
    let before = state(&agent, &tables).await;
    undo(&agent, &replaced).await.fault(409, "undo_conflict");
    assert_eq!(state(&agent, &tables).await, before);
    let path = format!("/v1/requests/{}/undo", replaced.header("x-request-id"));
    agent.post(&path, json!({"on_conflict": "skip"})).await.status(200);
    assert_eq!(agent.get("/v1/pipelines/p").await.status(200).at("/data/label"), "New");
}

#[tokio::test]
async fn positions_come_back_whatever_else_a_request_changed() {
    let agent = agent().await;
    for key in ["p", "q"] {
        agent.post("/v1/pipelines", json!({"key": key, "label": key})).await.status(201);
    }
    let tables = ["pipelines", "pipeline_stages", "deals"];
    let path = "/v1/pipelines/sales/stages";
    for (number, stage) in agent.get(path).await.status(200).column("key").iter().enumerate() {
        agent.post("/v1/deals", json!({"name": format!("D{number}"), "stage": stage})).await.status(201);
    }
    let keys = agent.get(path).await.column("key");
    let before = state(&agent, &tables).await;
    for key in [&keys[0], &keys[2], keys.last().expect("stages")] {
        for position in 0..8 {
            let stage = format!("{path}/{}", key.as_str().expect("a key"));
            let moved = agent.patch(&stage, json!({"key": "u", "position": position})).await.status(200);
            let after = state(&agent, &tables).await;
            let undone = undo(&agent, &moved).await.status(200);
            assert_eq!(state(&agent, &tables).await, before, "{key} to {position}");
            let again = undo(&agent, &undone).await.status(200);
            assert_eq!(state(&agent, &tables).await, after, "{key} to {position}");
            undo(&agent, &again).await.status(200);
        }
    }
    for position in 0..4 {
        let moved = agent.patch("/v1/pipelines/p", json!({"key": "u", "position": position})).await.status(200);
        undo(&agent, &moved).await.status(200);
        assert_eq!(state(&agent, &tables).await, before, "p to {position}");
    }
}

#[tokio::test]
async fn a_stage_that_came_since_makes_way() {
    let agent = agent().await;
    agent.post("/v1/pipelines", json!({"key": "p", "label": "P"})).await.status(201);
    let path = "/v1/pipelines/p/stages";
    for key in ["a", "b", "c"] {
        agent.post(path, json!({"key": key, "label": key})).await.status(201);
    }
    let gone = agent.delete(&format!("{path}/a?hard=true")).await.status(200);
    agent.post(path, json!({"key": "n", "label": "N", "position": 0})).await.status(201);
    undo(&agent, &gone).await.status(200);
    let page = agent.get(path).await.status(200);
    let order: Vec<_> = page.column("key").into_iter().zip(page.column("position")).collect();
    let expected = [("a", 0), ("n", 1), ("b", 2), ("c", 3)];
    assert_eq!(order, expected.map(|(key, at)| (json!(key), json!(at))));
}

#[tokio::test]
async fn a_replay_says_which_request_can_be_undone() {
    let (relm, agent) = both().await;
    for (agent, key) in [(&agent, "a"), (&relm, "r")] {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        let create =
            async || agent.send(Method::POST, "/v1/companies", &headers, r#"{"name": "Acme"}"#).await.status(201);
        let (first, again) = (create().await, create().await);
        assert_eq!(again.header("idempotent-replayed"), "true");
        undo(agent, &again).await.fault(404, "not_found").says("Idempotency-Key");
        undo(agent, &first).await.status(200);
    }
    let again = [("content-type", "application/json"), ("idempotency-key", "l")];
    let create = async || agent.send(Method::POST, "/v1/companies", &again, r#"{"name": "Acme"}"#).await.status(201);
    create().await;
    let request = create().await.text("/_meta/request_id");
    agent.post(&format!("/v1/requests/{request}/undo"), json!({})).await.status(200);
}

#[tokio::test]
async fn the_undo_of_an_undos_request_makes_its_run_stand_again() {
    let agent = agent().await;
    sql_in_run(&agent, "r", "insert into companies (name) values ('A'), ('B')").await;
    let undone = agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    undo(&agent, &undone).await.status(200);
    let run = agent.get("/v1/runs/r").await.status(200);
    assert_eq!((run.at("/data/status"), run.at("/data/undone_by")), (json!("open"), Value::Null));
    agent.post("/v1/runs/r/undo", json!({})).await.status(200);
}

#[tokio::test]
async fn rows_that_a_run_created_and_deleted_are_nothing_to_undo() {
    let agent = agent().await;
    sql_in_run(&agent, "r", "insert into companies (name) values ('A'), ('B')").await;
    sql_in_run(&agent, "r", "delete from companies where name = 'A'").await;
    agent.post("/v1/runs/r/undo", json!({})).await.status(200);
    agent.post("/v1/runs/r/undo", json!({})).await.fault(409, "already_undone");
}
