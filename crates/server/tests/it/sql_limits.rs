//! The maximum size of a result and the maximum time of a statement.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent;

#[tokio::test]
async fn a_result_is_cut_at_10_000_rows() {
    let agent = agent().await;
    let reply = agent.sql("select g as v from generate_series(1, 10000) g").await.status(200);
    assert_eq!((reply.column("v").len(), reply.at("/data/rowCount")), (10_000, json!(10_000)));
    assert!(reply.json()["_meta"].get("truncated").is_none());
    let reply = agent.sql("select g as v from generate_series(1, 10001) g").await.status(200);
    assert_eq!((reply.column("v").len(), reply.at("/data/rowCount")), (10_000, json!(10_000)));
    assert_eq!(reply.at("/_meta/truncated"), true);
    let start = Instant::now();
    let reply = agent.sql("select generate_series(1, 1000000000000) as v").await.status(200);
    assert_eq!(reply.at("/_meta/truncated"), true);
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_result_is_cut_at_10_mib() {
    let agent = agent().await;
    let reply = agent.sql("select repeat('x', 1024 * 1024) as v from generate_series(1, 30)").await.status(200);
    assert_eq!(reply.at("/_meta/truncated"), true);
    let rows = reply.column("v").len();
    assert!((5..=10).contains(&rows), "{rows} rows");
    assert!(reply.body.len() < 11 * 1024 * 1024, "{} bytes", reply.body.len());
    let reply = agent.sql("select repeat('x', 1024 * 1024) as v from generate_series(1, 4)").await.status(200);
    assert!(reply.json()["_meta"].get("truncated").is_none());
}

#[tokio::test]
async fn a_write_that_is_cut_in_its_answer_is_done_whole() {
    let agent = agent().await;
    agent.sql("create table t (id int)").await.status(200);
    let reply = agent.sql("insert into t select generate_series(1, 12000) returning id").await.status(200);
    assert_eq!(reply.at("/_meta/truncated"), true);
    assert_eq!(reply.column("id").len(), 10_000);
    assert_eq!(agent.sql("select count(*) as v from t").await.v(), 12_000);
}

#[tokio::test]
async fn a_single_value_over_10_mib_is_refused_and_nothing_is_kept() {
    let agent = agent().await;
    agent.sql("create table t (id int)").await.status(200);
    for sql in [
        "insert into t values (1); select repeat('x', 11 * 1024 * 1024) as v",
        "insert into t values (1) returning repeat('x', 11 * 1024 * 1024) as v",
        "insert into t values (1); select to_jsonb(repeat('x', 11 * 1024 * 1024)) as v",
        "insert into t values (1); select 1, repeat('x', 200 * 1024 * 1024) as v, 2 from generate_series(1, 3)",
    ] {
        agent.sql(sql).await.fault(413, "result_too_large");
        assert_eq!(agent.sql("select count(*) as v from t").await.status(200).v(), 0, "{sql}");
    }
    let reply = agent.sql("select repeat('x', 10 * 1024 * 1024 - 100) as v").await.status(200);
    assert_eq!(reply.v().as_str().map(str::len), Some(10 * 1024 * 1024 - 100));
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused() {
    let agent = agent().await;
    let sql = "insert into contacts (first_name) values (repeat('x', 11 * 1024 * 1024)) returning id as v";
    let id = agent.sql(sql).await.status(200).v();
    let id = id.as_str().unwrap();
    agent.get(&format!("/v1/contacts/{id}")).await.fault(413, "result_too_large");
    agent.get("/v1/contacts").await.fault(413, "result_too_large");
    agent.delete(&format!("/v1/contacts/{id}")).await.status(200);
    agent.get("/v1/contacts").await.status(200);
}

#[tokio::test]
async fn a_statement_over_its_time_is_a_408_and_nothing_is_kept() {
    let agent = agent().await;
    agent.sql("create table t (id int)").await.status(200);
    let sql = "insert into t values (1); set local statement_timeout = '200ms'; select pg_sleep(20)";
    agent.sql(sql).await.fault(408, "statement_timeout");
    assert_eq!(agent.sql("select count(*) as v from t").await.status(200).v(), 0);
}

#[tokio::test]
async fn sql_cannot_raise_the_limit_of_its_request() {
    let agent = agent().await;
    for set in ["set statement_timeout = 0", "set local statement_timeout = '10min'"] {
        let sql = format!("{set}; select extract(epoch from current_setting('statement_timeout')::interval) as v");
        let left: f64 = agent.sql(&sql).await.status(200).v().to_string().trim_matches('"').parse().expect("seconds");
        assert!(left > 0.0 && left <= 30.0, "{set}: {left}");
    }
    let lower = "set statement_timeout = '5s'; select current_setting('statement_timeout') as v";
    assert_eq!(agent.sql(lower).await.status(200).v(), "5s");
}
