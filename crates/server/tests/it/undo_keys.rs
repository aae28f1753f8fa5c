//! Undo of rows whose keys change hands, of rows that refer to each other, and of many rows.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

async fn sql_with(agent: &Agent, headers: &[(&str, &str)], sql: &str) -> Reply {
    let headers = [&[("content-type", "application/json")], headers].concat();
    agent.send(Method::POST, "/v1/sql", &headers, json!({"sql": sql}).to_string()).await
}

async fn state(agent: &Agent, tables: &[&str]) -> Vec<Value> {
    let mut all = Vec::new();
    for table in tables {
        all.push(agent.sql(&format!("select * from {table} order by 1")).await.status(200).at("/data/rows"));
    }
    all
}

/// Undoes a run of requests, undoes the undo, and undoes the run again. `expected` is the number of rows.
async fn back_and_forth(agent: &Agent, run: &str, tables: &[&str], requests: &[&str], expected: usize) {
    let before = state(agent, tables).await;
    for sql in requests {
        sql_with(agent, &[("x-run-id", run)], sql).await.status(200);
    }
    let after = state(agent, tables).await;
    assert_ne!(before, after, "{run}");
    let undone = agent.post(&format!("/v1/runs/{run}/undo"), json!({})).await.status(200);
    assert_eq!(undone.at("/data/undone"), expected, "{run}");
    assert_eq!(state(agent, tables).await, before, "{run}");
    let undo = undone.at("/data/run_id");
    let undo = undo.as_str().expect("a run");
    agent.post(&format!("/v1/runs/{undo}/undo"), json!({})).await.status(200);
    assert_eq!(state(agent, tables).await, after, "{run}, again");
    agent.post(&format!("/v1/runs/{run}/undo"), json!({})).await.status(200);
    assert_eq!(state(agent, tables).await, before, "{run}, at last");
}

#[tokio::test]
async fn keys_that_are_shifted_at_once_are_as_many_rows() {
    let agent = agent().await;
    agent
        .sql(
            "create table s (id int primary key deferrable initially deferred, v text);
             insert into s values (1, 'a'), (2, 'b'), (3, 'c');
             create table same (id int primary key deferrable, v text);
             insert into same select g, 'x' from generate_series(1, 50) g",
        )
        .await
        .status(200);
    let updated = |number: usize| json!({"created": 0, "updated": number, "deleted": 0, "restored": 0});
    for (table, sql, number) in [
        ("s", "update s set id = id + 1", 3),
        ("s", "update s set id = 4 - id", 2),
        ("same", "update same set id = id + 1", 50),
        ("same", "update same set id = 51 - id", 50),
    ] {
        let dry = sql_with(&agent, &[("x-dry-run", "true")], sql).await.status(200);
        assert_eq!(dry.at(&format!("/_meta/affected/{table}")), updated(number), "{sql}");
        let cap = (number - 1).to_string();
        let refused = sql_with(&agent, &[("x-max-affected", &cap)], sql).await.status(412);
        assert_eq!(refused.at(&format!("/affected/{table}")), updated(number), "{sql}");
        sql_with(&agent, &[("x-max-affected", &number.to_string()), ("x-dry-run", "true")], sql).await.status(200);
    }
    let run = |name, requests: &'static [&'static str], number| {
        back_and_forth(&agent, name, &["s", "same"], requests, number)
    };
    run("up", &["update s set id = id + 1"], 3).await;
    run("swap", &["update s set id = 4 - id, v = v || id"], 3).await;
    run("same", &["update same set id = id + 1"], 50).await;
    // The second statement changes no row, but writes each one.
    run("twice", &["update same set id = id + 1; update same set v = v; update same set id = id - 1, v = case id % 3 when 0 then 'y' else v end"], 17).await;
    // Two rows have a key for a moment.
    run("double", &["insert into s values (1, 'new'); delete from s where v = 'a'"], 2).await;
    run(
        "double later",
        &["update s set id = 4 - id", "insert into s values (1, 'new'); delete from s where id = 1 and v <> 'new'"],
        3,
    )
    .await;
    run("both", &["insert into s values (1, 'new'); update s set id = 7 where v = 'a'", "update s set id = id + 1"], 4)
        .await;
}

#[tokio::test]
async fn a_row_that_takes_the_key_of_another_is_not_that_row() {
    let agent = agent().await;
    agent
        .sql(
            "create table t (id int primary key, v text not null);
             insert into t values (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
             create table u (id int primary key, code text not null unique);
             insert into u values (1, 'a'), (2, 'b');
             create table parents (id int primary key);
             create table children (id int primary key, parent int references parents on update cascade on delete cascade);
             insert into parents values (1), (2);
             insert into children values (1, 1), (2, 2), (3, 1)",
        )
        .await
        .status(200);
    let run = |name, tables: &'static [&'static str], requests: &'static [&'static str], number| {
        back_and_forth(&agent, name, tables, requests, number)
    };
    let swap: [&str; 3] =
        ["update t set id = 99 where id = 1", "update t set id = 1 where id = 2", "update t set id = 2 where id = 99"];
    back_and_forth(&agent, "swap in one", &["t"], &[&swap.join("; ")], 2).await;
    back_and_forth(&agent, "swap", &["t"], &swap, 2).await;
    run("take in one", &["t"], &["delete from t where id = 1; update t set id = 1 where id = 2"], 2).await;
    run("take", &["t"], &["delete from t where id = 1", "update t set id = 1 where id = 2"], 2).await;
    run(
        "close the gap",
        &["t"],
        &[
            "delete from t where id = 1",
            "update t set id = -id; update t set id = -id - 1",
            "insert into t values (4, 'new')",
            "delete from t where id = 2",
        ],
        5,
    )
    .await;
    run("codes", &["u"], &["update u set code = 't' where id = 1; update u set code = 'a' where id = 2; update u set code = 'b' where id = 1"], 2).await;
    run(
        "with children",
        &["parents", "children"],
        &["update parents set id = 99 where id = 1; update parents set id = 1 where id = 2; update parents set id = 2 where id = 99; delete from parents where id = 1"],
        5,
    )
    .await;
    // Somebody else has the key now.
    sql_with(&agent, &[("x-run-id", "late")], "delete from t where id = 1; update t set id = 1 where id = 2")
        .await
        .status(200);
    agent.sql("insert into t values (2, 'other')").await.status(200);
    let before = state(&agent, &["t"]).await;
    let refused = agent.post("/v1/runs/late/undo", json!({})).await.status(409);
    let reasons: Vec<Value> =
        refused.at("/conflicts").as_array().expect("conflicts").iter().map(|it| it["reason"].clone()).collect();
    assert_eq!(reasons, ["unique_taken", "unique_taken"]);
    assert_eq!(state(&agent, &["t"]).await, before);
}

#[tokio::test]
async fn rows_that_refer_to_each_other_go_and_come_together() {
    let agent = agent().await;
    agent
        .sql(
            "create table na (id int primary key, b int);
             create table nb (id int primary key, a int references na);
             alter table na add foreign key (b) references nb;
             create table ma (id int primary key, b int not null);
             create table mb (id int primary key, a int references ma);
             alter table ma add foreign key (b) references mb",
        )
        .await
        .status(200);
    let run = |name, tables: &'static [&'static str], requests: &'static [&'static str], number| {
        back_and_forth(&agent, name, tables, requests, number)
    };
    const TIE: &str = "insert into na values (1, null); insert into nb values (1, 1); update na set b = 1";
    run("tie", &["na", "nb"], &[TIE], 2).await;
    run(
        "tie in steps",
        &["na", "nb"],
        &["insert into na values (1, null)", "insert into nb values (1, 1)", "update na set b = 1"],
        2,
    )
    .await;
    run(
        "half",
        &["ma", "mb"],
        &["insert into mb values (1, null); insert into ma values (1, 1); update mb set a = 1"],
        2,
    )
    .await;
    run("many", &["na", "nb"], &["insert into na select g, null from generate_series(1, 30) g; insert into nb select g, g from generate_series(1, 30) g; update na set b = id % 30 + 1"], 60).await;
    agent.sql(TIE).await.status(200);
    run("untie", &["na", "nb"], &["update na set b = null; delete from nb; delete from na"], 2).await;
    // Another row refers to one of them: with all that depends on it, it is left, and the others go.
    sql_with(&agent, &[("x-run-id", "some")], "insert into na values (5, null), (6, null); insert into nb values (5, 5), (6, 6); update na set b = id where id > 1").await.status(200);
    agent.sql("insert into nb values (7, 5)").await.status(200);
    let refused = agent.post("/v1/runs/some/undo", json!({})).await.status(409);
    let conflicts = refused.at("/conflicts");
    let mut told: Vec<String> = conflicts
        .as_array()
        .expect("conflicts")
        .iter()
        .map(|it| format!("{} {} {}", it["table"], it["id"], it["reason"]))
        .collect();
    told.sort();
    assert_eq!(told, ["\"na\" 5 \"would_remove_others\"", "\"nb\" 5 \"would_remove_others\""]);
    let skipped = agent.post("/v1/runs/some/undo", json!({"on_conflict": "skip"})).await.status(200);
    assert_eq!(skipped.at("/data/undone"), 2);
    assert_eq!(
        state(&agent, &["na", "nb"]).await,
        [
            json!([{"id": 1, "b": 1}, {"id": 5, "b": 5}]),
            json!([{"id": 1, "a": 1}, {"id": 5, "a": 5}, {"id": 7, "a": 5}])
        ]
    );
}

#[tokio::test]
async fn all_conflicts_of_many_rows_are_reported_at_once() {
    let agent = agent().await;
    agent.sql("create table p (id int primary key, code text unique); create table c (id int primary key, p int references p)").await.status(200);
    let insert = "insert into p select g, 'c' || g from generate_series(1, 400) g";
    sql_with(&agent, &[("x-run-id", "made")], insert).await.status(200);
    agent.sql("insert into c select g, g from generate_series(1, 399) g").await.status(200);
    let reasons = |reply: &Reply| -> Vec<Value> {
        reply.at("/conflicts").as_array().expect("conflicts").iter().map(|it| it["reason"].clone()).collect()
    };
    let refused = agent.post("/v1/runs/made/undo", json!({})).await.status(409);
    assert_eq!(reasons(&refused), vec![json!("would_remove_others"); 399]);
    agent.sql("delete from c").await.status(200);
    sql_with(&agent, &[("x-run-id", "gone")], "delete from p").await.status(200);
    agent.sql("insert into p select 1000 + g, 'c' || g from generate_series(1, 399) g").await.status(200);
    let refused = agent.post("/v1/runs/gone/undo", json!({})).await.status(409);
    assert_eq!(reasons(&refused), vec![json!("unique_taken"); 399]);
    let skipped = agent.post("/v1/runs/gone/undo", json!({"on_conflict": "skip"})).await.status(200);
    assert_eq!(skipped.at("/data/undone"), 1);
}

#[tokio::test]
async fn many_rows_are_undone_in_the_time_that_a_request_has() {
    let agent = agent().await;
    agent.sql("create table many (id int primary key, v text); insert into many select g, 'v' || g from generate_series(1, 8000) g").await.status(200);
    for (run, sql) in [
        ("gone", "delete from many"),
        ("changed", "update many set v = v || '!'"),
        ("made", "insert into many select 10000 + g, 'new' from generate_series(1, 8000) g"),
    ] {
        sql_with(&agent, &[("x-run-id", run)], sql).await.status(200);
        if run == "gone" {
            // What autovacuum may do at any time: the planner then takes the table for empty, and does so while it fills again.
            agent.sql("analyze many").await.status(200);
        }
        let undone = agent.post(&format!("/v1/runs/{run}/undo"), json!({})).await.status(200);
        assert_eq!(undone.at("/data/undone"), 8000, "{run}");
    }
    let left = agent
        .sql("select count(*)::int as rows, count(*) filter (where v = 'v' || id)::int as same from many")
        .await
        .status(200);
    assert_eq!(left.at("/data/rows/0"), json!({"rows": 8000, "same": 8000}));
}

#[tokio::test]
async fn many_rows_of_a_built_in_table_are_undone_in_the_time_that_a_request_has() {
    let agent = agent().await;
    agent
        .sql("insert into companies (name, industry) select 'Co ' || g, 'old' from generate_series(1, 20000) g")
        .await
        .status(200);
    sql_with(&agent, &[("x-run-id", "changed")], "update companies set industry = 'new'").await.status(200);
    let undone = agent.post("/v1/runs/changed/undo", json!({})).await.status(200);
    assert_eq!(undone.at("/data/undone"), 20000);
    let left = agent.sql("select count(*)::int as rows from companies where industry = 'old'").await.status(200);
    assert_eq!(left.at("/data/rows/0/rows"), 20000);
}

#[tokio::test]
async fn the_triggers_of_rows_that_are_put_back_have_the_usual_plans() {
    let agent = agent().await;
    for sql in [
        "create table t (id int primary key, v int); create table seen (id int generated always as identity primary key, op text, settings text)",
        "create function note() returns trigger language plpgsql as $$ begin
           insert into seen (op, settings) select tg_op, string_agg(setting, ' ') from pg_settings where name like 'enable_%scan' or name like 'enable_%join';
           return null;
         end $$",
        "create trigger note after insert or update or delete on t for each row execute function note()",
    ] {
        agent.sql(sql).await.status(200);
    }
    for (run, sql) in
        [("made", "insert into t values (1, 1)"), ("changed", "update t set v = 2"), ("gone", "delete from t")]
    {
        sql_with(&agent, &[("x-run-id", run)], sql).await.status(200);
    }
    agent.sql("delete from seen").await.status(200);
    for run in ["gone", "changed", "made"] {
        agent.post(&format!("/v1/runs/{run}/undo"), json!({})).await.status(200);
    }
    let seen = agent.sql("select op, settings from seen order by id").await.status(200);
    let ops: Vec<(Value, Value)> = seen
        .at("/data/rows")
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["op"].clone(), row["settings"].clone()))
        .collect();
    let usual = agent
        .sql("select string_agg(setting, ' ') as settings from pg_settings where name like 'enable_%scan' or name like 'enable_%join'")
        .await
        .status(200);
    assert_eq!(ops, ["INSERT", "UPDATE", "DELETE"].map(|op| (json!(op), usual.at("/data/rows/0/settings").clone())));
}
