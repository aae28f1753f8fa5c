//! MCP over HTTP: `POST /mcp`.

mod answers;
mod bridge;
mod confirm;
mod control;
mod controls;
mod day;
mod door;
mod email;
mod hostile;
mod install;
mod log;
mod merge;
mod oauth;
mod progress;
mod protocol;
mod rights;
mod work;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::support::{Agent, Reply};

const JSON: (&str, &str) = ("content-type", "application/json");
const VERSION: &str = "2026-07-28";

/// Sends a message.
async fn send(agent: &Agent, message: Value) -> Reply {
    agent.send(Method::POST, "/mcp", &[JSON], message.to_string()).await
}

/// Sends a request in the way of 2025, and returns its result.
#[track_caller]
fn request(agent: &Agent, method: &str, params: Value) -> impl Future<Output = Value> {
    let (agent, method) = (agent.clone(), method.to_owned());
    async move {
        let reply =
            send(&agent, json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})).await.status(200);
        assert_eq!((reply.at("/jsonrpc"), reply.at("/id")), (json!("2.0"), json!(7)), "{}", reply.story());
        reply.at("/result")
    }
}

/// Calls a tool. Returns its object, and fails unless the text says the same.
pub async fn result(agent: &Agent, tool: &str, arguments: Value) -> (Value, bool) {
    let result = request(agent, "tools/call", json!({"name": tool, "arguments": arguments})).await;
    let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}"));
    let said: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(said, result["structuredContent"], "the text and the object say the same");
    (said, result["isError"].as_bool().expect("isError"))
}

/// Calls a tool that succeeds.
pub async fn call(agent: &Agent, tool: &str, arguments: Value) -> Value {
    let (object, is_error) = result(agent, tool, arguments.clone()).await;
    assert!(!is_error, "{tool} {arguments}: {object}");
    object
}

/// Calls a tool that fails. Returns the members of its error.
async fn fail(agent: &Agent, tool: &str, arguments: Value) -> Map<String, Value> {
    let (object, is_error) = result(agent, tool, arguments.clone()).await;
    assert!(is_error, "{tool} {arguments}: {object}");
    let members = object["error"].as_object().unwrap_or_else(|| object.as_object().expect("an object"));
    assert!(members["next"].as_str().is_some_and(|next| !next.is_empty()), "what to do next: {object}");
    members.clone()
}

/// The code of an error in either dialect.
fn code(members: &Map<String, Value>) -> &str {
    members.get("error").or(members.get("code")).and_then(Value::as_str).unwrap_or_default()
}

/// A request in the way of 2026: its body and its headers.
fn modern(method: &str, params: Value) -> (Value, Vec<(&'static str, String)>) {
    let mut params = params;
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "a-test", "version": "1.2"},
    });
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("mcp-protocol-version", VERSION.to_owned()),
        ("mcp-method", method.to_owned()),
    ];
    if let Some(name) = params["name"].as_str() {
        headers.push(("mcp-name", name.to_owned()));
    }
    (json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params}), headers)
}

async fn send_modern(agent: &Agent, method: &str, params: Value) -> Reply {
    let (body, headers) = modern(method, params);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    agent.send(Method::POST, "/mcp", &headers, body.to_string()).await
}
