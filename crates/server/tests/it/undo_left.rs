//! What an undo leaves: it does not go with what is put back, and under `refuse` it is a conflict.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

async fn in_run(agent: &Agent, method: Method, path: &str, body: Value) -> Reply {
    let headers = [("content-type", "application/json"), ("x-run-id", "r")];
    agent.send(method, path, &headers, body.to_string()).await
}

async fn undo(agent: &Agent, on_conflict: &str) -> Reply {
    agent.post("/v1/runs/r/undo", json!({"on_conflict": on_conflict})).await
}

fn reasons(reply: &Reply, place: &str) -> Vec<String> {
    let mut all: Vec<_> = reply
        .at(place)
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| format!("{} {}", it["table"].as_str().unwrap_or_default(), it["reason"].as_str().unwrap_or_default()))
        .collect();
    all.sort();
    all
}

/// Both kinds of undo find these conflicts, and nothing is lost.
async fn check(agent: &Agent, tables: &[&str], expected: &[&str]) {
    let all = async || {
        let mut all = Vec::new();
        for table in tables {
            let sql = format!("select string_agg(x::text, ' ' order by x::text) as v from {table} x");
            all.push(agent.sql(&sql).await.v());
        }
        all
    };
    let before = all().await;
    let refused = undo(agent, "refuse").await.fault(409, "undo_conflict");
    assert_eq!(reasons(&refused, "/conflicts"), expected, "{}", refused.story());
    let done = undo(agent, "skip").await.status(200);
    assert_eq!(reasons(&done, "/data/skipped"), expected, "{}", done.story());
    assert_eq!(done.at("/data/undone"), 0);
    assert_eq!(all().await, before);
}

#[tokio::test]
async fn a_row_that_is_left_keeps_what_it_belongs_to() {
    for action in ["on delete cascade", "on delete set null", "on delete set default", ""] {
        let agent = agent().await;
        agent
            .sql(&format!(
                "create table parents (id int primary key); create table children (id int primary key, parent int references parents {action}, note text);
                 create table grandchildren (id int primary key, child int references children {action})"
            ))
            .await
            .status(200);
        let made = "insert into parents values (1); insert into children values (1, 1, 'n'); insert into grandchildren values (1, 1)";
        in_run(&agent, Method::POST, "/v1/sql", json!({"sql": made})).await.status(200);
        agent.sql("update children set note = 'other'").await.status(200);
        let before = agent.sql("select count(*) as v from parents join children on parent = parents.id").await.v();
        let refused = undo(&agent, "refuse").await.fault(409, "undo_conflict");
        assert_eq!(
            reasons(&refused, "/conflicts"),
            ["children changed_since", "parents would_remove_others"],
            "{action}"
        );
        // The grandchild is the run's own, and goes.
        assert_eq!(undo(&agent, "skip").await.status(200).at("/data/undone"), 1, "{action}");
        assert_eq!(
            agent.sql("select count(*) as v from parents join children on parent = parents.id").await.v(),
            before
        );
        assert_eq!(agent.sql("select count(*) as v from grandchildren").await.v(), 0);
    }
}

#[tokio::test]
async fn a_record_that_is_left_keeps_what_it_belongs_to() {
    let agent = agent().await;
    in_run(&agent, Method::POST, "/v1/pipelines", json!({"key": "px", "label": "PX"})).await.status(201);
    in_run(&agent, Method::POST, "/v1/pipelines/px/stages", json!({"key": "s", "label": "S"})).await.status(201);
    agent.patch("/v1/pipelines/px/stages/s", json!({"label": "edited"})).await.status(200);
    check(
        &agent,
        &["pipelines", "pipeline_stages"],
        &["pipeline_stages changed_since", "pipelines would_remove_others"],
    )
    .await;

    let agent = crate::support::agent().await;
    let contact = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    let list =
        in_run(&agent, Method::POST, "/v1/lists", json!({"name": "L", "target_table": "contacts", "kind": "static"}))
            .await
            .status(201)
            .id();
    in_run(&agent, Method::POST, &format!("/v1/lists/{list}/members"), json!({"member_id": contact})).await.status(201);
    agent.sql("update list_members set custom = '{\"x\": 1}'").await.status(200);
    check(&agent, &["lists", "list_members"], &["list_members changed_since", "lists would_remove_others"]).await;

    let agent = crate::support::agent().await;
    let company = agent.post("/v1/companies", json!({"name": "C"})).await.status(201).id();
    let contact = in_run(&agent, Method::POST, "/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    let link =
        json!({"from_type": "contact", "from_id": contact, "to_type": "company", "to_id": company, "label": "advises"});
    in_run(&agent, Method::POST, "/v1/associations", link).await.status(201);
    agent.sql("update associations set label = 'left'").await.status(200);
    check(&agent, &["contacts", "associations"], &["associations changed_since", "contacts would_remove_others"]).await;

    let agent = crate::support::agent().await;
    let contact = in_run(&agent, Method::POST, "/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    let email = json!({"subject": "S", "contact_ids": [contact]});
    let email = in_run(&agent, Method::POST, "/v1/emails", email).await.status(201).id();
    agent.patch(&format!("/v1/emails/{email}"), json!({"subject": "edited"})).await.status(200);
    check(&agent, &["contacts", "emails"], &["contacts would_remove_others", "emails changed_since"]).await;
}

/// The child cannot go to its old parent, which is known only after the new one was deleted with it.
#[tokio::test]
async fn an_update_that_fails_late_keeps_its_new_parent() {
    let agent = agent().await;
    agent
        .sql("create table parents (id int primary key); create table children (id int primary key, parent int references parents on delete cascade); insert into parents values (1); insert into children values (1, 1);
              create function no() returns trigger language plpgsql as $$ begin if new.parent = 1 then raise exception 'no'; end if; return new; end $$")
        .await
        .status(200);
    let moved = "insert into parents values (2); update children set parent = 2";
    in_run(&agent, Method::POST, "/v1/sql", json!({"sql": moved})).await.status(200);
    agent.sql("create trigger no before update on children for each row execute function no()").await.status(200);
    check(&agent, &["parents", "children"], &["children not_permitted", "parents would_remove_others"]).await;
}

/// What a trigger wrote is the run's doing as well. Only stages that Kith's triggers add may stay.
#[tokio::test]
async fn what_a_trigger_wrote_and_others_changed_is_a_conflict() {
    let scene = "create table par (id int primary key, st text, n int); create table chi (id int primary key, v int); insert into par values (1, 'new', 0); insert into chi values (1, 1);
                 create function touch() returns trigger language plpgsql as $$ begin update par set st = 'touched'; return null; end $$;
                 create trigger touch after update on chi for each row execute function touch()";
    for work in ["update chi set v = 2", "update chi set v = 2; update par set st = 'mine'"] {
        let agent = agent().await;
        agent.sql(scene).await.status(200);
        in_run(&agent, Method::POST, "/v1/sql", json!({"sql": work})).await.status(200);
        agent.sql("update par set st = 'reviewed'").await.status(200);
        let refused = undo(&agent, "refuse").await.fault(409, "undo_conflict");
        assert_eq!(reasons(&refused, "/conflicts"), ["par changed_since"], "{work}");
        assert_eq!(agent.sql("select v from chi").await.v(), 2);
        assert_eq!(agent.get("/v1/runs/r").await.status(200).at("/data/status"), "open");
    }
}
