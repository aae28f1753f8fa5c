//! Undo of what a run did with nobody else in between: all of it goes back, whatever the order that keys and references need, and comes again by
//! the undo of the undo.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

async fn sql_in_run(agent: &Agent, run: &str, sql: &str) {
    let headers = [("content-type", "application/json"), ("x-run-id", run)];
    agent.send(Method::POST, "/v1/sql", &headers, json!({"sql": sql}).to_string()).await.status(200);
}

async fn undo(agent: &Agent, run: &str) -> Reply {
    agent.post(&format!("/v1/runs/{run}/undo"), json!({})).await
}

async fn rows(agent: &Agent, tables: &[&str]) -> Vec<Value> {
    let mut all = Vec::new();
    for table in tables {
        let sql = format!(
            "select string_agg((to_jsonb(x) - 'updated_at')::text, ' ' order by x::text) as v from only {table} x"
        );
        all.push(agent.sql(&sql).await.v());
    }
    all
}

/// The rows of t as PostgreSQL writes them.
async fn texts(agent: &Agent) -> Value {
    agent.sql("select string_agg(t::text, ' ' order by id) as v from t").await.v()
}

/// Back, forth and back again. An undo of an undo makes its run stand, however often.
async fn check(agent: &Agent, tables: &[&str], run: &str, work: &str) {
    let start = rows(agent, tables).await;
    sql_in_run(agent, run, work).await;
    let changed = rows(agent, tables).await;
    assert_ne!(changed, start, "{work}");
    let mut last = run.to_owned();
    let mut undos = vec![run.to_owned()];
    for expected in [&start, &changed, &start, &changed, &start] {
        let done = undo(agent, &last).await.status(200);
        assert_eq!(&rows(agent, tables).await, expected, "{work}: undo of {last}: {}", done.story());
        assert_eq!(done.at("/data/skipped"), json!([]), "{work}");
        last = done.text("/data/run_id");
        undos.push(last.clone());
        // Of two in a row, one stands.
        for (back, id) in undos.iter().rev().enumerate() {
            let status = agent.get(&format!("/v1/runs/{id}")).await.status(200).text("/data/status");
            assert_eq!(status == "undone", back % 2 == 1, "{work}: {id} is {status}, {back} before the last");
        }
    }
    undo(agent, run).await.fault(409, "already_undone");
}

#[tokio::test]
async fn keys_that_foreign_keys_follow_are_exchanged_and_reused() {
    let agent = agent().await;
    let mut number = 0;
    for (fu, fur) in [
        ("k text unique", "k text references fu(k) on update cascade"),
        ("k text unique", "k text not null references fu(k) on update cascade"),
        ("k text not null unique", "k text references fu(k) on update set null"),
        ("k text unique", "k text references fu(k) on update cascade on delete cascade"),
        ("k text unique", "k text references fu(k) on update cascade on delete set null"),
    ] {
        for work in [
            "update fu set k = 't' where id = 1; update fu set k = 'x' where id = 2; update fu set k = 'y' where id = 1",
            "update fu set k = 't' where id = 1; update fu set k = 'x' where id = 2; update fu set k = 'y' where id = 3; update fu set k = 'z' where id = 1",
            "update fu set k = 'n' where id = 2; insert into fu values (7, 'y'); insert into fur values (9, 'y')",
        ] {
            number += 1;
            agent
                .sql(&format!(
                    "drop table if exists fur, fu; create table fu (id int primary key, {fu}); create table fur (id int primary key, {fur});
                     insert into fu values (1, 'x'), (2, 'y'), (3, 'z'); insert into fur values (1, 'x'), (2, 'y'), (3, 'z')"
                ))
                .await
                .status(200);
            check(&agent, &["fu", "fur"], &format!("r{number}"), work).await;
        }
    }
    // A key of a row that was deleted with what referred to it is taken by another one, and the other one's by a new one.
    for (fu, fur, work) in [
        (
            "k int unique",
            "k int references fu(k) on delete cascade on update cascade",
            "delete from fu where id = 1; update fu set k = 1 where id = 2; insert into fu values (7, 2)",
        ),
        // The row that refers to it ends as it began.
        (
            "k int unique",
            "k int references fu(k) on delete set null",
            "delete from fu where id = 1; insert into fu values (7, 1); update fur set k = 1 where id = 1",
        ),
        (
            "k int",
            "k int references fu(id) on delete cascade",
            "delete from fu where id = 1; update fur set k = null where id = 2; update fu set id = 1 where id = 2; insert into fur values (5, 1)",
        ),
        (
            "k int unique",
            "k int references fu(k) on update restrict",
            "delete from fur where id = 1; delete from fu where id = 1; update fur set k = null; update fu set k = 1 where id = 2; insert into fur values (5, 1)",
        ),
    ] {
        number += 1;
        agent
            .sql(&format!(
                "drop table if exists fur, fu; create table fu (id int primary key, {fu}); create table fur (id int primary key, {fur});
                 insert into fu values (1, 1), (2, 2); insert into fur values (1, 1), (2, 2)"
            ))
            .await
            .status(200);
        check(&agent, &["fu", "fur"], &format!("r{number}"), work).await;
    }
}

#[tokio::test]
async fn pipelines_and_stages_that_are_exchanged_keep_their_deals() {
    let agent = agent().await;
    agent.post("/v1/pipelines", json!({"key": "other", "label": "Other"})).await.status(201);
    for stage in ["lead", "won"] {
        agent.post("/v1/pipelines/other/stages", json!({"key": stage, "label": stage})).await.status(201);
    }
    for (pipeline, stage) in
        [("sales", "won"), ("sales", "qualified"), ("sales", "lead"), ("other", "lead"), ("other", "won")]
    {
        let deal = json!({"name": format!("{pipeline} {stage}"), "pipeline": pipeline, "stage": stage});
        agent.post("/v1/deals", deal).await.status(201);
    }
    let tables = ["pipelines", "pipeline_stages", "deals"];
    for (run, work) in [
        "update pipelines set key = 'tmp' where key = 'other'; update pipelines set key = 'other' where key = 'sales'; update pipelines set key = 'sales' where key = 'tmp'",
        "update pipeline_stages set key = 'tmp' where key = 'lead' and pipeline = 'sales'; update pipeline_stages set key = 'lead' where key = 'won' and pipeline = 'sales';
         update pipeline_stages set key = 'won' where key = 'tmp'",
        "delete from deals where stage = 'won'; delete from pipeline_stages where key = 'won' and pipeline = 'sales'; update pipeline_stages set key = 'won' where key = 'proposal';
         insert into deals (name, stage) values ('dz', 'won')",
    ]
    .into_iter()
    .enumerate()
    {
        check(&agent, &tables, &format!("r{run}"), work).await;
    }
}

#[tokio::test]
async fn a_generated_column_may_be_the_key() {
    let agent = agent().await;
    let key = "g int generated always as (a * 100 + b) stored";
    agent
        .sql(&format!(
            "create table gk (a int, b int, {key} primary key); create table gc (a int, b int, c int, {key}, primary key (c, g));
             create table gf (id int primary key, g int references gk on update restrict); insert into gk (a, b) values (1, 1), (2, 2); insert into gc (a, b, c) values (1, 1, 1), (2, 2, 1)"
        ))
        .await
        .status(200);
    let tables = ["gk", "gc", "gf"];
    check(&agent, &tables, "insert", "insert into gk (a, b) values (3, 3); insert into gc (a, b, c) values (3, 3, 3)")
        .await;
    check(&agent, &tables, "update", "update gk set b = 7 where a = 1; update gc set a = a + 1, c = c + 1").await;
    check(&agent, &tables, "delete", "delete from gk where a = 2; delete from gc").await;
    check(
        &agent,
        &tables,
        "several",
        "update gk set b = 7; update gk set b = 8 where a = 1; delete from gk where a = 2",
    )
    .await;
    sql_in_run(&agent, "seen", "delete from gc where a = 1").await;
    assert_eq!(agent.get("/v1/runs/seen/changes").await.status(200).at("/data/0/id"), json!({"c": 1, "g": 101}));
}

#[tokio::test]
async fn a_row_of_a_child_table_is_none_of_its_parents() {
    let agent = agent().await;
    agent
        .sql("create table inh (id int primary key, v text); create table inhc (w int, primary key (id)) inherits (inh); insert into inh values (1, 'a'), (2, 'b'); insert into inhc values (1, 'c', 5), (3, 'd', 6)")
        .await
        .status(200);
    let tables = ["inh", "inhc"];
    check(&agent, &tables, "both", "update inh set v = v || '!' where id = 1").await;
    check(&agent, &tables, "parent", "update only inh set v = v || '?' where id = 1").await;
    check(&agent, &tables, "gone", "delete from inh where id = 1").await;
    check(&agent, &tables, "again", "delete from inh where id = 1; insert into inh values (1, 're')").await;
    check(&agent, &tables, "moved", "update inh set id = id + 10").await;
}

/// E-mails name their contacts without a foreign key. One that was there before named a deleted contact already.
#[tokio::test]
async fn a_contact_that_is_deleted_again_leaves_its_emails() {
    let agent = agent().await;
    let id = agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201).id();
    agent.post("/v1/emails", json!({"subject": "S", "contact_ids": [id]})).await.status(201);
    check(&agent, &["contacts", "emails"], "r", "delete from contacts").await;
}

#[tokio::test]
async fn what_an_undo_passed_over_stands_with_its_run() {
    let agent = agent().await;
    agent
        .sql("create table t (id int primary key, v text, w text); insert into t values (1, 'one', 'w')")
        .await
        .status(200);
    // r1 makes 8 and changes 1. r2 deletes 8 and puts a column of 1 back.
    sql_in_run(&agent, "r1", "insert into t values (8, 'n'); update t set v = 'two', w = 'x' where id = 1").await;
    sql_in_run(&agent, "r2", "delete from t where id = 8; update t set w = 'w' where id = 1").await;
    let first = undo(&agent, "r1").await.status(200);
    assert_eq!(texts(&agent).await, "(1,one,w)");
    undo(&agent, &first.text("/data/run_id")).await.status(200);
    undo(&agent, "r2").await.status(200);
    assert_eq!(texts(&agent).await, "(1,two,x) (8,n,)");
    assert_eq!(undo(&agent, "r1").await.status(200).at("/data/undone"), 2);
    assert_eq!(texts(&agent).await, "(1,one,w)");

    // An undo that has nothing to write can be undone too.
    sql_in_run(&agent, "r3", "insert into t values (9, 'n')").await;
    sql_in_run(&agent, "r4", "delete from t where id = 9").await;
    let nothing = undo(&agent, "r3").await.status(200);
    assert_eq!(nothing.at("/data/undone"), 0);
    undo(&agent, "r3").await.fault(409, "already_undone");
    undo(&agent, &nothing.text("/data/run_id")).await.status(200);
    assert_eq!(agent.get("/v1/runs/r3").await.status(200).at("/data/undone_by"), Value::Null);
    undo(&agent, "r4").await.status(200);
    assert_eq!(undo(&agent, "r3").await.status(200).at("/data/undone"), 1);
    assert_eq!(texts(&agent).await, "(1,one,w)");
}

#[tokio::test]
async fn a_run_without_effect_is_undone_once() {
    let agent = agent().await;
    agent.sql("create table t (id int primary key, v text); insert into t values (1, 'one')").await.status(200);
    sql_in_run(&agent, "r", "update t set v = 'two'; update t set v = 'one'").await;
    assert_eq!(undo(&agent, "r").await.status(200).at("/data/undone"), 0);
    undo(&agent, "r").await.fault(409, "already_undone");
}

/// Each row's key is referred to by others of the table, and all keys are shifted at once.
#[tokio::test]
async fn keys_that_a_table_refers_to_itself_are_shifted() {
    let agent = agent().await;
    for (number, rows) in
        ["(3,1),(2,1),(1,3)", "(3,2),(2,3),(1,1)", "(4,1),(3,4),(2,2),(1,4)", "(4,null),(3,4),(2,3),(1,2)"]
            .iter()
            .enumerate()
    {
        for (kind, work) in
            ["update w set id = id + 1", "update w set id = id + 1, n = n + 1; update w set n = 7"].iter().enumerate()
        {
            agent
                .sql(&format!(
                    "drop table if exists w; create table w (id int primary key, pid int references w(id) on update cascade, n int default 0); insert into w values {rows}"
                ))
                .await
                .status(200);
            check(&agent, &["w"], &format!("r{number}-{kind}"), work).await;
        }
    }
}
