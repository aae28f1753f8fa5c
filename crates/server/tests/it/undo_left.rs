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

async fn sql_in_run(agent: &Agent, sql: &str) {
    in_run(agent, Method::POST, "/v1/sql", json!({"sql": sql})).await.status(200);
}

/// The rows of a table as PostgreSQL writes them.
async fn texts(agent: &Agent, table: &str) -> Value {
    agent.sql(&format!("select string_agg(x::text, ' ' order by x::text) as v from {table} x")).await.v()
}

/// A row is known by its key, and another one may have got it.
#[tokio::test]
async fn a_row_that_took_the_key_of_another_stays_as_it_is() {
    let scene = "create table q (id int primary key, name text, c text); insert into q values (1, 'one', 'a'), (3, 'three', 'c')";
    for (work, since, reason) in [
        (
            "update q set id = 2 where id = 1",
            "delete from q where id = 2; insert into q values (2, 'mine', 'm')",
            Some("row_gone"),
        ),
        (
            "update q set c = null where id = 1",
            "update q set id = 9 where id = 1; insert into q values (1, 'mine', null)",
            Some("row_gone"),
        ),
        (
            "update q set id = 9 where id = 1; update q set id = 1 where id = 3; update q set id = 3 where id = 9",
            "delete from q where id = 3; insert into q values (3, 'mine', 'm')",
            Some("row_gone"),
        ),
        ("insert into q values (5, 'x', 'x')", "delete from q where id = 5; insert into q values (5, 'x', 'x')", None),
        (
            "insert into q values (5, 'x', 'x')",
            "update q set id = 6 where id = 5; insert into q values (5, 'x', 'x')",
            Some("changed_since"),
        ),
        ("insert into q values (5, 'x', 'x')", "update q set id = 6 where id = 5", Some("changed_since")),
    ] {
        let agent = agent().await;
        agent.sql(scene).await.status(200);
        sql_in_run(&agent, work).await;
        agent.sql(since).await.status(200);
        let before = texts(&agent, "q").await;
        let reply = undo(&agent, "refuse").await;
        match reason {
            Some(reason) => {
                assert_eq!(reply.fault(409, "undo_conflict").at("/conflicts/0/reason"), reason, "{work}, {since}");
            }
            None => assert_eq!(reply.status(200).at("/data/undone"), 0, "{work}, {since}"),
        }
        assert_eq!(texts(&agent, "q").await, before, "{work}, {since}");
    }
    // Somebody else's undo moved the rows under the run.
    let agent = agent().await;
    agent.sql(scene).await.status(200);
    let exchange =
        "update q set id = 9 where id = 1; update q set id = 1 where id = 3; update q set id = 3 where id = 9";
    let other = [("content-type", "application/json"), ("x-run-id", "x")];
    agent.send(Method::POST, "/v1/sql", &other, json!({"sql": exchange}).to_string()).await.status(200);
    sql_in_run(&agent, "update q set c = null").await;
    agent.post("/v1/runs/x/undo", json!({})).await.status(200);
    undo(&agent, "refuse").await.fault(409, "undo_conflict");
    assert_eq!(texts(&agent, "q").await, "(1,one,) (3,three,)");
    // What was undone in between has left no trace.
    agent.sql("insert into q values (7, 'seven', 's')").await.status(200);
    let later = [("content-type", "application/json"), ("x-run-id", "later")];
    agent
        .send(Method::POST, "/v1/sql", &later, json!({"sql": "update q set c = 't' where id = 7"}).to_string())
        .await
        .status(200);
    let gone = agent.sql("delete from q where id = 7").await.status(200).header("x-request-id");
    agent.post(&format!("/v1/requests/{gone}/undo"), json!({})).await.status(200);
    agent.post("/v1/runs/later/undo", json!({})).await.status(200);
    assert_eq!(agent.sql("select c as v from q where id = 7").await.v(), "s");
}

/// What followed a key does not go back to another row that has that key now.
#[tokio::test]
async fn references_to_a_row_that_is_left_stay_with_it() {
    for action in ["on update cascade", "on update cascade on delete cascade"] {
        let agent = agent().await;
        agent
            .sql(&format!(
                "create table p (id int primary key, k text unique); create table c (id int primary key, k text references p(k) {action}, n text); insert into p values (1, 'p1'); insert into c values (1, 'p1', 'n')"
            ))
            .await
            .status(200);
        sql_in_run(&agent, "update p set k = 'p2' where id = 1; update c set n = 'new'").await;
        agent.sql("insert into p values (2, 'p1')").await.status(200);
        let done = undo(&agent, "skip").await.status(200);
        assert_eq!((texts(&agent, "p").await, texts(&agent, "c").await), (json!("(1,p2) (2,p1)"), json!("(1,p2,n)")));
        assert_eq!(reasons(&done, "/data/skipped"), ["c parent_gone", "p unique_taken"]);
    }
    // Deleted with its children, and made again by another.
    let agent = agent().await;
    agent
        .sql("create table p (id int primary key, k text); create table c (id int primary key, p int references p on delete cascade); insert into p values (1, 'mine'), (2, 'b'); insert into c values (1, 1), (2, 2)")
        .await
        .status(200);
    sql_in_run(&agent, "delete from p").await;
    agent.sql("insert into p values (1, 'other')").await.status(200);
    let done = undo(&agent, "skip").await.status(200);
    assert_eq!((texts(&agent, "p").await, texts(&agent, "c").await), (json!("(1,other) (2,b)"), json!("(2,2)")));
    assert_eq!(reasons(&done, "/data/skipped"), ["c parent_gone", "p row_exists"]);

    let agent = crate::support::agent().await;
    agent.post("/v1/pipelines", json!({"key": "p1", "label": "P"})).await.status(201);
    agent.post("/v1/pipelines/p1/stages", json!({"key": "s", "label": "S"})).await.status(201);
    agent.post("/v1/deals", json!({"name": "D", "pipeline": "p1", "stage": "s"})).await.status(201);
    sql_in_run(&agent, "update pipelines set key = 'p2' where key = 'p1'").await;
    agent.post("/v1/pipelines", json!({"key": "p1", "label": "other"})).await.status(201);
    undo(&agent, "skip").await.status(200);
    assert_eq!(agent.sql("select concat_ws(' ', pipeline, stage) as v from deals").await.v(), "p2 s");
    assert_eq!(agent.sql("select pipeline as v from pipeline_stages where key = 's'").await.v(), "p2");
}

#[tokio::test]
async fn what_others_chose_for_pipelines_stays() {
    // The default.
    let agent = agent().await;
    for key in ["a", "d"] {
        agent.post("/v1/pipelines", json!({"key": key, "label": key})).await.status(201);
    }
    in_run(&agent, Method::PATCH, "/v1/pipelines/a", json!({"is_default": true})).await.status(200);
    agent.patch("/v1/pipelines/d", json!({"is_default": true})).await.status(200);
    undo(&agent, "refuse").await.fault(409, "undo_conflict");
    undo(&agent, "skip").await.status(200);
    assert_eq!(agent.sql("select key as v from pipelines where is_default").await.v(), "d");

    // A stage that was deleted since, softly and for good.
    for gone in [
        "update pipeline_stages set deleted_at = now() where key = 'qualified'",
        "delete from pipeline_stages where key = 'qualified'",
    ] {
        let agent = crate::support::agent().await;
        let deal = agent.post("/v1/deals", json!({"name": "D", "stage": "qualified"})).await.status(201).id();
        let path = format!("/v1/deals/{deal}");
        in_run(&agent, Method::PATCH, &path, json!({"stage": "won", "name": "E"})).await.status(200);
        agent.sql(gone).await.status(200);
        let refused = undo(&agent, "refuse").await.fault(409, "undo_conflict");
        assert_eq!(reasons(&refused, "/conflicts"), ["deals parent_gone"]);
        undo(&agent, "skip").await.status(200);
        assert_eq!(agent.sql("select concat_ws(' ', name, stage) as v from deals").await.v(), "D won");
        assert_eq!(
            agent
                .sql("select count(*) as v from pipeline_stages where key = 'qualified' and deleted_at is null")
                .await
                .v(),
            0
        );
    }

    // A renamed stage that has another's deal by now.
    let agent = crate::support::agent().await;
    agent.post("/v1/pipelines/sales/stages", json!({"key": "c1", "label": "C"})).await.status(201);
    agent.post("/v1/deals", json!({"name": "D", "stage": "c1"})).await.status(201);
    let other = agent.post("/v1/deals", json!({"name": "O", "stage": "won"})).await.status(201).id();
    sql_in_run(&agent, "update pipeline_stages set key = 'c2' where key = 'c1'").await;
    agent.patch(&format!("/v1/deals/{other}"), json!({"stage": "c2"})).await.status(200);
    let refused = undo(&agent, "refuse").await.fault(409, "undo_conflict");
    assert_eq!(reasons(&refused, "/conflicts"), ["deals parent_gone", "pipeline_stages would_remove_others"]);
    undo(&agent, "skip").await.status(200);
    assert_eq!(agent.sql("select string_agg(distinct stage, ',') as v from deals").await.v(), "c2");
    assert_eq!(agent.sql("select count(*) as v from pipeline_stages where key in ('c1', 'c2')").await.v(), 1);
}

/// All that is wrong with a row is told at once.
#[tokio::test]
async fn a_row_may_have_several_conflicts() {
    let agent = agent().await;
    agent
        .sql("create table p (id int primary key); create table t (id int primary key, a int, u int unique, pid int references p, b int); insert into p values (1), (2); insert into t values (1, 1, 1, 1, 1)")
        .await
        .status(200);
    sql_in_run(&agent, "update t set a = 2, u = 2, pid = 2, b = 2").await;
    agent.sql("update t set a = 3; insert into t values (2, 0, 1, 2, 0); delete from p where id = 1").await.status(200);
    let expected = ["t changed_since", "t parent_gone", "t unique_taken"];
    let refused = undo(&agent, "refuse").await.fault(409, "undo_conflict").says("1 of 1 rows");
    assert_eq!(reasons(&refused, "/conflicts"), expected);
    let done = undo(&agent, "skip").await.status(200);
    assert_eq!(reasons(&done, "/data/skipped"), expected);
    assert_eq!(texts(&agent, "t").await, "(1,3,2,2,1) (2,0,1,2,0)");
}

#[tokio::test]
async fn what_is_left_is_not_emptied() {
    let agent = agent().await;
    agent
        .sql("create table p (id int primary key); create table c (id int primary key, pid int references p on delete set null); insert into p values (9); insert into c values (9, 9)")
        .await
        .status(200);
    sql_in_run(&agent, "insert into p values (1); update c set pid = 1 where id = 9").await;
    agent.sql("delete from p where id = 9").await.status(200);
    check(&agent, &["p", "c"], &["c parent_gone", "p would_remove_others"]).await;
}

/// They name their records without a foreign key.
#[tokio::test]
async fn a_member_of_a_record_that_is_gone_does_not_come_back() {
    let agent = agent().await;
    let contact = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    let company = agent.post("/v1/companies", json!({"name": "C"})).await.status(201).id();
    let list = agent
        .post("/v1/lists", json!({"name": "L", "target_table": "contacts", "kind": "static"}))
        .await
        .status(201)
        .id();
    agent.post(&format!("/v1/lists/{list}/members"), json!({"member_id": contact})).await.status(201);
    let link = json!({"from_type": "contact", "from_id": contact, "to_type": "company", "to_id": company});
    agent.post("/v1/associations", link).await.status(201);
    sql_in_run(&agent, "delete from list_members; delete from associations; delete from lists").await;
    agent.sql("delete from contacts").await.status(200);
    let refused = undo(&agent, "refuse").await.fault(409, "undo_conflict");
    assert_eq!(reasons(&refused, "/conflicts"), ["associations parent_gone", "list_members parent_gone"]);
    assert_eq!(undo(&agent, "skip").await.status(200).at("/data/undone"), 1);
}

/// What two undos put back in parts stands again with the first of them.
#[tokio::test]
async fn columns_that_are_undone_in_parts_stand_in_parts() {
    let agent = agent().await;
    agent
        .sql("create table t (id int primary key, a text, b text); insert into t values (1, 'a', 'b')")
        .await
        .status(200);
    sql_in_run(&agent, "update t set a = 'A', b = 'B'").await;
    agent.sql("update t set a = 'mine'").await.status(200);
    let first = undo(&agent, "skip").await.status(200).text("/data/run_id");
    agent.sql("update t set a = 'A'").await.status(200);
    undo(&agent, "refuse").await.status(200);
    assert_eq!(texts(&agent, "t").await, "(1,a,b)");
    agent.post(&format!("/v1/runs/{first}/undo"), json!({})).await.status(200);
    assert_eq!(texts(&agent, "t").await, "(1,a,B)");
    assert_eq!(agent.get("/v1/runs/r").await.status(200).at("/data/undone_by"), Value::Null);
    undo(&agent, "refuse").await.status(200);
    assert_eq!(texts(&agent, "t").await, "(1,a,b)");
}

/// The run wrote two rows under one key, because others gave it to another row in between.
#[tokio::test]
async fn two_rows_that_a_run_wrote_under_one_key_are_no_single_one() {
    for steps in [
        [
            "own: update q set id = 12 where id = 2",
            "update q set id = 90 where id = 12; update q set id = 12 where id = 3",
            "own: update q set y = y + 1 where id = 12",
        ],
        [
            "own: insert into q values (5, 'new', 0)",
            "update q set id = 1 where id = 5; insert into q values (5, 'bs', 0)",
            "own: delete from q where id = 5",
        ],
        [
            "own: update q set y = 9 where id = 2",
            "delete from q where id = 2; insert into q values (2, 'R2', 9)",
            "own: update q set y = 7 where id = 2",
        ],
    ] {
        let agent = agent().await;
        agent
            .sql(
                "create table q (id int primary key, tag text, y int); insert into q values (2, 'R2', 2), (3, 'R3', 3)",
            )
            .await
            .status(200);
        for step in steps {
            match step.strip_prefix("own: ") {
                Some(sql) => sql_in_run(&agent, sql).await,
                None => {
                    agent.sql(step).await.status(200);
                }
            }
        }
        let before = texts(&agent, "q").await;
        let refused = undo(&agent, "refuse").await.fault(409, "undo_conflict");
        assert_eq!(reasons(&refused, "/conflicts"), ["q changed_since"], "{steps:?}");
        assert_eq!(reasons(&undo(&agent, "skip").await.status(200), "/data/skipped"), ["q changed_since"], "{steps:?}");
        assert_eq!(texts(&agent, "q").await, before, "{steps:?}");
    }
}
