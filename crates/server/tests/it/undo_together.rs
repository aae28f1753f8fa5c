//! Undo while others write or undo: nothing of theirs is lost, no deadlock ends their transactions, and nothing is undone twice.

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

#[tokio::test]
async fn of_several_undos_at_once_one_undoes() {
    let agent = agent().await;
    things(&agent).await;
    sql_in_run(&agent, "r", "update things set undone = 'new'").await;
    let undos: Vec<_> = (0..8)
        .map(|_| {
            let agent = agent.clone();
            tokio::spawn(async move { undo(&agent, "r", "refuse").await })
        })
        .collect();
    let mut done = Vec::new();
    for undo in undos {
        match undo.await.expect("an end") {
            reply if reply.code == 200 => done.push(reply.text("/data/run_id")),
            reply => drop(reply.fault(409, "already_undone")),
        }
    }
    let [id] = done.try_into().expect("one undo");
    let run = agent.get("/v1/runs/r").await.status(200);
    assert_eq!((run.at("/data/status"), run.at("/data/undone_by")), (json!("undone"), json!(id)));
    assert_eq!(agent.get("/v1/runs").await.column("id"), [json!(id), json!(run.id())], "the others are no runs");
    undo(&agent, &id, "refuse").await.status(200);
    assert_ne!(agent.get("/v1/runs/r").await.at("/data/status"), "undone");
    undo(&agent, "r", "refuse").await.status(200);
    assert!(rows(&agent).await.iter().all(|row| row["undone"] == "old"));
}

#[tokio::test]
async fn undos_that_have_read_the_same_log_do_not_both_undo() {
    for on_conflict in ["refuse", "skip"] {
        let agent = agent().await;
        things(&agent).await;
        agent
            .sql(
                "create sequence arrivals;
                  create function meet() returns trigger language plpgsql as $$ begin
                    perform nextval('arrivals');
                    while (select last_value from arrivals) < 2 loop perform pg_sleep(0.001); end loop;
                    return new;
                  end $$;
                  create trigger meet before insert on things for each row execute function meet()",
            )
            .await
            .status(200);
        sql_in_run(&agent, "r", "delete from things where id = 1").await;
        // Both have read the log before either puts the row back: they meet in the trigger.
        let undos: Vec<_> = (0..2)
            .map(|_| {
                let agent = agent.clone();
                tokio::spawn(async move { undo(&agent, "r", on_conflict).await })
            })
            .collect();
        let mut codes = Vec::new();
        for undo in undos {
            let reply = undo.await.expect("an end");
            codes.push(reply.code);
            match reply.code {
                200 => assert_eq!((reply.at("/data/undone"), reply.at("/data/skipped")), (json!(1), json!([]))),
                _ => drop(reply.fault(409, "already_undone")),
            }
        }
        codes.sort_unstable();
        assert_eq!(codes, [200, 409], "{on_conflict}");
        assert_eq!(rows(&agent).await.len(), 30);
    }
}
