//! Dry runs and limits of rows, as arguments of tools and as headers of the request.

use reqwest::Method;
use serde_json::{Value, json};

use super::{JSON, call, code, fail};
use crate::support::{Agent, Reply, agent, both};

/// Calls a tool with a header.
async fn with_header(agent: &Agent, header: (&str, &str), tool: &str, arguments: Value) -> Reply {
    let params = json!({"name": tool, "arguments": arguments});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    agent.send(Method::POST, "/mcp", &[JSON, header], message.to_string()).await
}

async fn contacts(agent: &Agent) -> usize {
    agent.get("/v1/contacts").await.status(200).column("id").len()
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_says_so_first() {
    let (relm, agent) = both().await;
    for dialect in [&relm, &agent] {
        let dry = call(dialect, "create_contact", json!({"email": "a@b.example", "dry_run": true})).await;
        assert_eq!(dry["outcome"], "Nothing was written (dry run). It would be: Created 1 contact.");
        assert_eq!((&dry["dry_run"], &dry["email"]), (&json!(true), &json!("a@b.example")), "{dry}");
        assert_eq!(dry["affected"]["contacts"]["created"], 1);
        assert_eq!((&dry["changes"][0]["verb"], &dry["changes_truncated"]), (&json!("created"), &json!(false)));
        assert_eq!(dry["changes"][0]["id"], dry["id"], "in the dialect's form: {dry}");
    }
    assert_eq!(contacts(&agent).await, 0);
    let sql =
        "insert into contacts (first_name, last_name) select repeat('x', 900), n::text from generate_series(1, 150) n";
    let dry = call(&agent, "execute_sql", json!({"sql": sql, "dry_run": true, "max_tokens": 2_000})).await;
    assert_eq!((&dry["affected"]["contacts"]["created"], &dry["changes_truncated"]), (&json!(150), &json!(true)));
    assert!(dry["changes"].as_array().is_some_and(|changes| changes.len() < 10), "{}", dry["changes"]);
    assert_eq!(contacts(&agent).await, 0);
    call(&agent, "create_contact", json!({"email": "a@b.example", "dry_run": false})).await;
    assert_eq!(contacts(&agent).await, 1);
}

#[tokio::test]
async fn more_rows_than_allowed_are_refused() {
    let agent = agent().await;
    let sql = "insert into contacts (phone) select n::text from generate_series(1, 5) n";
    let refused = fail(&agent, "execute_sql", json!({"sql": sql, "max_affected": 4})).await;
    assert_eq!(code(&refused), "max_affected_exceeded");
    assert_eq!(refused["affected"]["contacts"]["created"], 5);
    assert_eq!(contacts(&agent).await, 0);
    call(&agent, "execute_sql", json!({"sql": sql, "max_affected": 5})).await;
    assert_eq!(contacts(&agent).await, 5);
    for (name, wrong) in [
        ("max_affected", json!(-1)),
        ("max_affected", json!("5")),
        ("max_affected", json!(1_000_001)),
        ("dry_run", json!("true")),
    ] {
        let mut arguments = json!({"sql": "delete from contacts"});
        arguments[name] = wrong;
        assert_eq!(code(&fail(&agent, "execute_sql", arguments).await), "unknown_control");
    }
    assert_eq!(contacts(&agent).await, 5);
}

#[tokio::test]
async fn a_header_holds_for_every_tool_that_writes() {
    let agent = agent().await;
    let (sql, dry) = (json!({"sql": "insert into contacts (phone) values ('1'), ('2')"}), ("x-dry-run", "true"));
    let said = with_header(&agent, dry, "execute_sql", sql.clone()).await.status(200);
    assert!(said.text("/result/structuredContent/outcome").starts_with("Nothing was written"), "{}", said.story());
    with_header(&agent, ("prefer", "tx=rollback"), "execute_sql", sql.clone()).await.status(200);
    let limited = with_header(&agent, ("x-max-affected", "1"), "execute_sql", sql.clone()).await.status(200);
    assert_eq!(limited.text("/result/structuredContent/error"), "max_affected_exceeded");
    let contrary = json!({"sql": "insert into contacts (phone) values ('1')", "dry_run": false});
    let contrary = with_header(&agent, dry, "execute_sql", contrary).await.status(200);
    assert_eq!(contrary.text("/result/structuredContent/error"), "unknown_control");
    with_header(&agent, ("x-dryrun", "true"), "execute_sql", sql.clone()).await.fault(400, "unknown_control");
    with_header(&agent, ("x-run-id", ""), "execute_sql", sql).await.fault(400, "invalid_request");
    assert_eq!(contacts(&agent).await, 0);
    let read = with_header(&agent, dry, "query_sql", json!({"sql": "select 1 as one"})).await.status(200);
    assert_eq!(read.at("/result/structuredContent/rows"), json!([{"one": 1}]));
}
