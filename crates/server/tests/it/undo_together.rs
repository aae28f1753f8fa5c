//! Undo while others write: nothing of theirs is lost, and no deadlock ends their transactions.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

async fn sql_in_run(agent: &Agent, run: &str, sql: &str) {
    let headers = [("content-type", "application/json"), ("x-run-id", run)];
    agent.send(Method::POST, "/v1/sql", &headers, json!({"sql": sql}).to_string()).await.status(200);
}

/// An undo, again for as long as others hold the rows.
async fn undo(agent: &Agent, run: &str, on_conflict: &str) -> Reply {
    loop {
        let reply = agent.post(&format!("/v1/runs/{run}/undo"), json!({"on_conflict": on_conflict})).await;
        if reply.code != 503 {
            return reply;
        }
    }
}

async fn rows(agent: &Agent) -> Vec<Value> {
    let sql = "select id, undone, others from things order by id";
    agent.sql(sql).await.status(200).at("/data/rows").as_array().unwrap().clone()
}

async fn things(agent: &Agent) {
    agent
        .sql("create table things (id int primary key, undone text not null default 'old', others int not null default 0);
              insert into things select generate_series(1, 30)")
        .await
        .status(200);
}

#[tokio::test]
async fn a_second_writer_loses_nothing() {
    let agent = agent().await;
    things(&agent).await;
    // Before the second writer begins: two plain statements over many rows may well deadlock, which PostgreSQL ends itself.
    let mut name = "r".to_owned();
    sql_in_run(&agent, &name, "update things set undone = 'new'").await;
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let writing = {
        let (agent, stop) = (agent.clone(), stop.clone());
        tokio::spawn(async move {
            let (mut number, mut written) = (0_u64, vec![0_u64; 31]);
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                // From the end to the start, while undo goes the other way.
                let (high, low) = (16 + number * 7 % 15, 1 + number * 11 % 15);
                let add = |id| format!("update things set others = others + 1 where id = {id}");
                agent.sql(&format!("{}; {}", add(high), add(low))).await.status(200);
                written[high as usize] += 1;
                written[low as usize] += 1;
            }
            written
        })
    };
    for _ in 0..7 {
        let undone = undo(&agent, &name, "refuse").await.status(200);
        name = undone.text("/data/run_id");
    }
    stop.store(true, Ordering::Relaxed);
    let written = writing.await.expect("an end");
    for row in rows(&agent).await {
        let id = row["id"].as_u64().unwrap() as usize;
        assert_eq!((&row["undone"], &row["others"]), (&json!("old"), &json!(written[id])), "{row}");
    }
}

#[tokio::test]
async fn a_second_writers_values_are_conflicts() {
    let agent = agent().await;
    things(&agent).await;
    sql_in_run(&agent, "r", "update things set undone = 'new'").await;
    let writing = {
        let agent = agent.clone();
        tokio::spawn(async move {
            for id in (1..=30).rev().step_by(3) {
                agent.sql(&format!("update things set undone = 'theirs' where id = {id}")).await.status(200);
            }
        })
    };
    let done = undo(&agent, "r", "skip").await.status(200);
    writing.await.expect("an end");
    let skipped = done.at("/data/skipped").as_array().unwrap().clone();
    assert_eq!(done.at("/data/undone").as_u64().unwrap() as usize + skipped.len(), 30);
    assert!(skipped.iter().all(|it| it["reason"] == "changed_since"), "{skipped:?}");
    for row in rows(&agent).await {
        let expected = if row["id"].as_u64().unwrap().is_multiple_of(3) { "theirs" } else { "old" };
        assert_eq!(row["undone"], expected, "{row}");
    }
}
