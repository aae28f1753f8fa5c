//! Progress of long calls, and calls that end because their client does not want them any more.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::{JSON, modern, send};
use crate::support::{Agent, Raw, Reply, agent, both, home};

const EVENTS: (&str, &str) = ("accept", "application/json, text/event-stream");

/// A call of a tool with a token for its progress.
fn tokened(tool: &str, arguments: Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": "p-1"}});
    json!({"jsonrpc": "2.0", "id": "c-1", "method": "tools/call", "params": params})
}

async fn ask(agent: &Agent, message: Value) -> Reply {
    agent.send(Method::POST, "/mcp", &[JSON, EVENTS], message.to_string()).await.status(200)
}

/// The progress that was told, as (progress, total), and the result.
fn told(reply: &Reply) -> (Vec<(f64, u64)>, Value) {
    assert_eq!(reply.header("content-type"), "text/event-stream");
    let text = String::from_utf8(reply.body.to_vec()).expect("UTF-8");
    let data = text.split("\n\n").filter(|event| !event.is_empty()).map(|event| {
        let line = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_else(|| panic!("{event}"));
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let mut messages: Vec<Value> = data.collect();
    let last = messages.pop().expect("an answer");
    assert_eq!((&last["id"], &last["jsonrpc"]), (&json!("c-1"), &json!("2.0")), "{last}");
    let progress = messages.iter().map(|message| {
        assert_eq!(message["method"], "notifications/progress", "{message}");
        let params = &message["params"];
        assert_eq!(params["progressToken"], "p-1");
        assert!(params["message"].as_str().is_some_and(|it| it.contains(" of ")), "{message}");
        (params["progress"].as_f64().expect("progress"), params["total"].as_u64().expect("a total"))
    });
    let progress: Vec<(f64, u64)> = progress.collect();
    assert!(progress.is_sorted_by(|one, other| one.0 < other.0), "{progress:?}");
    (progress, last["result"].clone())
}

#[tokio::test]
async fn a_batch_and_long_sql_tell_how_far_they_are() {
    let (relm, agentcrm) = both().await;
    for agent in [&relm, &agentcrm] {
        let reads: Vec<Value> = (0..5).map(|_| json!({"method": "GET", "path": "/v1/contacts"})).collect();
        let batch = ask(agent, tokened("batch", json!({"operations": reads}))).await;
        assert!(batch.header("x-request-id").starts_with("req_"), "{}", batch.story());
        assert_eq!(batch.header("x-accel-buffering"), "no");
        let (progress, result) = told(&batch);
        assert!(progress.len() >= 4 && progress.iter().all(|it| it.1 == 5 && it.0 <= 5.0), "{progress:?}");
        assert_eq!(result["structuredContent"]["data"].as_array().map(Vec::len), Some(5), "{result}");
        let several = "create table t (a int); insert into t values (1), (2); select count(*)::int as n from t";
        let (progress, result) = told(&ask(agent, tokened("execute_sql", json!({"sql": several}))).await);
        assert!(!progress.is_empty() && progress.iter().all(|it| it.1 == 3), "{progress:?}");
        assert_eq!(result["structuredContent"]["rows"], json!([{"n": 2}]), "{result}");
        agent.sql("drop table t").await.status(200);
    }
}

#[tokio::test]
async fn a_statement_that_takes_its_time_says_so_each_second() {
    let slow = tokened("query_sql", json!({"sql": "select pg_sleep(2.5)"}));
    let (progress, result) = told(&ask(&agent().await, slow).await);
    assert!((1..=2).contains(&progress.len()) && progress.iter().all(|it| it.1 == 1 && it.0 < 1.0), "{progress:?}");
    assert_eq!(result["isError"], false, "{result}");
}

#[tokio::test]
async fn a_failure_comes_on_the_stream_too() {
    let operations = json!([{"method": "GET", "path": "/v1/contacts"}, {"method": "GET", "path": "/v1/nothing"}]);
    let (progress, result) = told(&ask(&agent().await, tokened("batch", json!({"operations": operations}))).await);
    assert_eq!(progress, [(1.0, 2)]);
    assert_eq!((&result["isError"], &result["structuredContent"]["operation"]), (&json!(true), &json!(1)), "{result}");
}

#[tokio::test]
async fn who_does_not_ask_gets_one_object() {
    let agent = agent().await;
    let operations =
        json!({"operations": [{"method": "GET", "path": "/v1/deals"}, {"method": "GET", "path": "/v1/deals"}]});
    let mut without = tokened("batch", operations.clone());
    without["params"]["_meta"] = json!({"progressToken": {"a": 1}});
    let quick = tokened("query_sql", json!({"sql": "select 1"}));
    let other = tokened("list_contacts", json!({}));
    for message in [without, quick, other] {
        assert_eq!(ask(&agent, message).await.header("content-type"), "application/json");
    }
    let message = tokened("batch", operations).to_string();
    let only_json = agent.send(Method::POST, "/mcp", &[JSON, ("accept", "application/json")], message).await;
    assert_eq!(only_json.status(200).header("content-type"), "application/json");
}

#[tokio::test]
async fn the_way_of_2026_has_progress_too() {
    let operations = json!([{"method": "GET", "path": "/v1/deals"}, {"method": "GET", "path": "/v1/deals"}]);
    let (mut body, headers) = modern("tools/call", json!({"name": "batch", "arguments": {"operations": operations}}));
    body["id"] = "c-1".into();
    body["params"]["_meta"]["progressToken"] = "p-1".into();
    let mut headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers.push(EVENTS);
    let reply = agent().await.send(Method::POST, "/mcp", &headers, body.to_string()).await.status(200);
    let (progress, result) = told(&reply);
    assert_eq!((progress.first(), &result["resultType"]), (Some(&(1.0, 2)), &json!("complete")), "{result}");
}

/// A statement that takes almost all of its time, with a mark by which it is found.
fn endless(mark: &str) -> String {
    format!("select pg_sleep(29) as {mark}")
}

/// Waits until this many sessions of the workspace run the marked statement.
async fn until_running(agent: &Agent, mark: &str, count: usize) {
    let place = home().place(&agent.workspace_id).await;
    let mut admin = home().kith.app.store.cells.administer_cell(0).await.expect("an administrator");
    let sql = "select pid from pg_stat_activity where datname = $1 and state = 'active' and query like $2";
    let (pattern, until) = (format!("%as {mark}%"), Instant::now() + Duration::from_secs(20));
    loop {
        let running = admin.query(sql, &[Some(&place.database), Some(&pattern)]).await.expect("an answer").len();
        if running == count {
            return;
        }
        assert!(Instant::now() < until, "{running} sessions run the statement");
    }
}

#[tokio::test]
async fn a_cancelled_call_ends_its_statement() {
    let agent = agent().await;
    for (tool, mark) in [("query_sql", "cancelled_query"), ("execute_sql", "cancelled_execute")] {
        let message = json!({"jsonrpc": "2.0", "id": mark, "method": "tools/call",
            "params": {"name": tool, "arguments": {"sql": endless(mark)}}});
        let (caller, canceller) = (agent.clone(), agent.clone());
        let call = tokio::spawn(async move { send(&caller, message).await });
        until_running(&agent, mark, 1).await;
        let cancel = async |agent: &Agent, id: Value| {
            let params = json!({"requestId": id, "reason": "not needed"});
            let message = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
            assert!(send(agent, message).await.status(202).body.is_empty());
        };
        // Neither another id nor another workspace ends it.
        cancel(&canceller, json!("other")).await;
        cancel(&crate::support::agent().await, json!(mark)).await;
        until_running(&agent, mark, 1).await;
        cancel(&canceller, json!(mark)).await;
        let answer = call.await.expect("an answer").status(200);
        assert_eq!((answer.at("/error/code"), answer.at("/id")), (json!(-32800), json!(mark)), "{}", answer.story());
        until_running(&agent, mark, 0).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_ends_its_statement() {
    let agent = agent().await;
    for (accept, mark) in [("application/json", "gone_json"), ("application/json, text/event-stream", "gone_events")] {
        let mut message = tokened("execute_sql", json!({"sql": format!("select 1; {}", endless(mark))}));
        message["id"] = mark.into();
        let message = message.to_string();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\naccept: {accept}\r\n\
             content-length: {}\r\n\r\n",
            agent.key,
            message.len()
        );
        let connection = Raw::saying(&agent.base, &format!("{head}{message}")).await;
        until_running(&agent, mark, 1).await;
        drop(connection);
        until_running(&agent, mark, 0).await;
    }
}
