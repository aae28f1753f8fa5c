//! Undo of rows that others wrote between a run's own changes of them.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

async fn write(agent: &Agent, run: &str, sql: &str) {
    let headers = [("x-run-id", run), ("content-type", "application/json")];
    let headers = if run.is_empty() { &headers[1..] } else { &headers[..] };
    agent.send(reqwest::Method::POST, "/v1/sql", headers, json!({"sql": sql}).to_string()).await.status(200);
}

async fn undo(agent: &Agent, body: Value) -> Reply {
    agent.post("/v1/runs/r/undo", body).await
}

async fn rows(agent: &Agent) -> Value {
    agent.sql("select * from t order by id").await.status(200).at("/data/rows").clone()
}

/// Runs the statements, the first by the run and each further one by whom the prefix names, `own: ` or `other: `.
async fn scene(statements: &[&str]) -> Agent {
    let agent = agent().await;
    agent.sql("create table t (id int primary key, a int, b int, c jsonb)").await.status(200);
    agent.sql("insert into t values (1, 0, 0, '{\"n\": 0}')").await.status(200);
    for statement in statements {
        let (who, sql) = statement.split_once(": ").expect("a prefix");
        write(&agent, if who == "own" { "r" } else { "" }, sql).await;
    }
    agent
}

fn row(a: i64, b: i64, n: i64) -> Value {
    json!({"id": 1, "a": a, "b": b, "c": {"n": n}})
}

#[tokio::test]
async fn what_others_wrote_between_two_writes_of_a_run_stays() {
    let agent = scene(&["own: update t set a = 1", "other: update t set b = 7", "own: update t set a = 2"]).await;
    let changes = agent.get("/v1/runs/r/changes?net=true").await.status(200);
    assert_eq!(changes.at("/data/0/changes"), json!({"a": {"from": 0, "to": 2}}));
    assert_eq!(undo(&agent, json!({})).await.status(200).at("/data/undone"), 1);
    assert_eq!(rows(&agent).await, json!([row(0, 7, 0)]));

    // The run writes it afterwards: then it goes back to what the other had written.
    let agent = scene(&["own: update t set a = 1", "other: update t set b = 7", "own: update t set b = 8"]).await;
    undo(&agent, json!({})).await.status(200);
    assert_eq!(rows(&agent).await, json!([row(0, 7, 0)]));

    let agent = scene(&["own: update t set a = 1", "other: update t set b = 7", "own: delete from t"]).await;
    undo(&agent, json!({})).await.status(200);
    assert_eq!(rows(&agent).await, json!([row(0, 7, 0)]));
}

#[tokio::test]
async fn a_column_of_the_run_that_others_have_overwritten_is_a_conflict() {
    for last in ["update t set b = 1", "update t set a = 2, b = 1"] {
        let agent = scene(&["own: update t set a = 1", "other: update t set a = 7", &format!("own: {last}")]).await;
        let before = rows(&agent).await;
        let refused = undo(&agent, json!({})).await.status(409);
        assert_eq!(refused.at("/conflicts/0/reason"), "changed_since");
        assert_eq!(refused.at("/conflicts/0/columns/a/expected"), 1);
        assert_eq!(rows(&agent).await, before);
        undo(&agent, json!({"on_conflict": "skip"})).await.status(200);
        assert_eq!(rows(&agent).await, json!([row(before[0]["a"].as_i64().expect("a number"), 0, 0)]));
    }
    let documents = scene(&[
        r#"own: update t set c = '{"n": 1}'"#,
        r#"other: update t set c = '{"n": 1, "m": 2}'"#,
        "own: update t set a = 1",
    ]);
    assert_eq!(
        undo(&documents.await, json!({})).await.status(409).at("/conflicts/0/columns/c/expected"),
        json!({"n": 1})
    );
}

#[tokio::test]
async fn a_row_of_the_run_that_others_have_changed_is_not_deleted() {
    let made = "own: insert into t values (2, 0, 0, '{}')";
    let agent = scene(&[made, "other: update t set b = 7 where id = 2", "own: update t set a = 1 where id = 2"]).await;
    let refused = undo(&agent, json!({})).await.status(409);
    assert_eq!(refused.at("/conflicts/0/columns/b"), json!({"expected": 0, "now": 7, "back_to": null}));
    // Also if the run has written that column last.
    let agent = scene(&[made, "other: update t set b = 7 where id = 2", "own: update t set b = 1 where id = 2"]).await;
    undo(&agent, json!({})).await.status(409);
    // One that another has deleted and the run has made again is the run's own.
    let agent = scene(&[made, "other: delete from t where id = 2", made]).await;
    undo(&agent, json!({})).await.status(200);
    assert_eq!(rows(&agent).await, json!([row(0, 0, 0)]));
}

#[tokio::test]
async fn a_row_that_others_have_made_in_its_place_stays() {
    for last in ["update t set b = 1", "delete from t"] {
        let own = format!("own: {last}");
        let agent = scene(&["own: delete from t", "other: insert into t values (1, 9, 9, '{}')", &own]).await;
        let before = rows(&agent).await;
        assert_eq!(undo(&agent, json!({})).await.status(409).at("/conflicts/0/reason"), "changed_since");
        undo(&agent, json!({"on_conflict": "skip"})).await.status(200);
        assert_eq!(rows(&agent).await, before);
    }
    let agent = scene(&["own: update t set a = 1", "other: update t set a = 7", "own: delete from t"]).await;
    assert_eq!(undo(&agent, json!({})).await.status(409).at("/conflicts/0/reason"), "changed_since");
}

#[tokio::test]
async fn columns_that_came_between_two_writes_go_back_too() {
    let agent = scene(&["own: update t set a = 1"]).await;
    agent.sql("alter table t add column d text").await.status(200);
    write(&agent, "r", "update t set d = 'N'").await;
    undo(&agent, json!({})).await.status(200);
    assert_eq!(agent.sql("select a, d from t").await.at("/data/rows"), json!([{"a": 0, "d": null}]));

    let agent = scene(&["own: update t set a = 1"]).await;
    agent.sql("alter table t add column d text").await.status(200);
    write(&agent, "", "update t set d = 'precious'").await;
    write(&agent, "r", "delete from t").await;
    undo(&agent, json!({})).await.status(200);
    assert_eq!(agent.sql("select a, d from t").await.at("/data/rows"), json!([{"a": 0, "d": "precious"}]));

    let agent = scene(&["own: update t set a = 1"]).await;
    agent.sql("alter table t drop column a").await.status(200);
    write(&agent, "r", "update t set b = 1").await;
    assert_eq!(undo(&agent, json!({})).await.status(409).at("/conflicts/0/reason"), "schema_changed");
}

#[tokio::test]
async fn a_row_of_the_run_is_not_deleted_with_a_value_in_a_column_that_was_added_since() {
    let agent = scene(&["own: insert into t values (2, 0, 0, '{}')"]).await;
    agent.sql("alter table t add column d boolean default true, add column e text").await.status(200);
    write(&agent, "", "update t set e = 'precious' where id = 2").await;
    let refused = undo(&agent, json!({})).await.status(409);
    assert_eq!(
        refused.at("/conflicts/0/columns"),
        json!({"e": {"expected": null, "now": "precious", "back_to": null}})
    );
    write(&agent, "", "update t set e = null where id = 2").await;
    undo(&agent, json!({})).await.status(200);
    assert_eq!(agent.sql("select id from t").await.at("/data/rows"), json!([{"id": 1}]));
}

#[tokio::test]
async fn what_a_run_wrote_several_times_goes_back_at_once() {
    let agent = scene(&[
        "own: update t set a = 1, b = 1",
        r#"own: update t set b = 0, c = '{"n": 1}'"#,
        "own: update t set a = 2",
        "own: insert into t values (2, 1, 1, '{}'), (3, 0, 0, null)",
        "own: update t set b = 9 where id = 2",
        // As it began: no row of the net effect.
        "own: insert into t values (4, 0, 0, null)",
        "own: delete from t where id = 4",
        "own: update t set a = 5 where id = 3",
        "other: update t set b = 4 where id = 3",
    ])
    .await;
    let changes = agent.get("/v1/runs/r/changes?net=true").await.status(200);
    let changed = json!({"a": {"from": 0, "to": 2}, "c": {"from": {"n": 0}, "to": {"n": 1}}});
    assert_eq!(changes.at("/data/0/changes"), changed);
    let refused = undo(&agent, json!({})).await.fault(409, "undo_conflict");
    assert_eq!((refused.at("/conflicts/0/id"), refused.at("/conflicts").as_array().map(Vec::len)), (json!(3), Some(1)));
    let done = undo(&agent, json!({"on_conflict": "skip"})).await.status(200);
    assert_eq!(done.at("/data/undone"), 2);
    assert_eq!(rows(&agent).await, json!([row(0, 0, 0), {"id": 3, "a": 5, "b": 4, "c": null}]));
    assert_eq!(undo(&agent, json!({"on_conflict": "skip"})).await.status(200).at("/data/undone"), 0);
    // What the undo wrote goes back in turn, and all of it again.
    let id = done.text("/data/run_id");
    agent.post(&format!("/v1/runs/{id}/undo"), json!({})).await.status(200);
    assert_eq!(rows(&agent).await[0], row(2, 0, 1));
    agent.sql("update t set b = 0 where id = 3").await.status(200);
    assert_eq!(undo(&agent, json!({})).await.status(200).at("/data/undone"), 3);
    assert_eq!(rows(&agent).await, json!([row(0, 0, 0)]));
}
