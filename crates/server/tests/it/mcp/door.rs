//! What MCP requires of HTTP: methods, hosts, origins, keys, types and limits.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use reqwest::Method;
use serde_json::{Value, json};

use super::{JSON, call, send};
use crate::support::{agent, door, relm, stranger};
use kith::clock::Clock;
use kith::serve::Door;

fn ping() -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string()
}

#[tokio::test]
async fn only_post_is_taken() {
    let agent = agent().await;
    for method in [Method::GET, Method::DELETE, Method::PUT, Method::PATCH] {
        let reply = agent.send(method, "/mcp", &[], Vec::new()).await.fault(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), "POST");
    }
    // Also without a key, for clients that look before they sign in.
    stranger().send(Method::GET, "/mcp", &[("accept", "text/event-stream")], Vec::new()).await.status(405);
}

#[tokio::test]
async fn a_call_without_a_valid_key_is_challenged() {
    let none = stranger().send(Method::POST, "/mcp", &[JSON], ping()).await.fault(401, "unauthorized");
    let rest = format!(
        ", resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\", scope=\"crm:read crm:write\"",
        stranger().base
    );
    assert_eq!(none.header("www-authenticate"), format!("Bearer realm=\"Kith\"{rest}"));
    for key in ["Bearer sk_live_nothing", "Bearer acrm_dev_nothing", "Bearer x", "Basic YTpi"] {
        let reply = stranger().send(Method::POST, "/mcp", &[JSON, ("authorization", key)], ping()).await;
        let reply = reply.fault(401, "unauthorized");
        let expected = format!("Bearer realm=\"Kith\", error=\"invalid_token\"{rest}");
        assert_eq!(reply.header("www-authenticate"), expected, "{key}");
    }
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused() {
    let public_url = Some("https://crm.example".to_owned());
    let base = door(Door { public_url, clock: Clock::System, rate_limit: 0 }).await;
    let agent = agent().await.at(&base);
    for (host, origin, status) in [
        ("crm.example", "", 200),
        ("crm.example", "https://crm.example", 200),
        ("crm.example", "https://evil.example", 403),
        ("crm.example", "null", 403),
        ("evil.example", "", 403),
        ("evil.example", "https://crm.example", 403),
        ("localhost:8484", "", 200),
        ("localhost:8484", "http://localhost:8484", 200),
        ("localhost:8484", "http://evil.example", 403),
    ] {
        let mut headers = vec![JSON, ("host", host)];
        headers.extend(Some(("origin", origin)).filter(|_| !origin.is_empty()));
        let reply = agent.send(Method::POST, "/mcp", &headers, ping()).await;
        assert_eq!(reply.code, status, "{host} {origin}: {}", reply.story());
        // Also before anybody looks at the key or the method.
        if status == 403 {
            let stranger = stranger().at(&base);
            stranger.send(Method::GET, "/mcp", &headers, Vec::new()).await.fault(403, "forbidden");
        }
    }
}

#[tokio::test]
async fn any_accept_is_taken_and_only_json_is_read() {
    let agent = agent().await;
    for accept in ["*/*", "application/json", "application/json, text/event-stream", "text/event-stream"] {
        let reply = agent.send(Method::POST, "/mcp", &[JSON, ("accept", accept)], ping()).await.status(200);
        assert_eq!(reply.header("content-type"), "application/json");
    }
    for sent in ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"] {
        let reply = agent.send(Method::POST, "/mcp", &[("content-type", sent)], ping()).await;
        reply.fault(415, "unsupported_media_type");
    }
    agent.send(Method::POST, "/mcp", &[("content-type", "application/json; charset=utf-8")], ping()).await.status(200);
}

#[tokio::test]
async fn every_request_counts_once_against_the_rate() {
    // To the next minute, so that no window ends while the test counts.
    let ahead_ms = Arc::new(AtomicI64::new(60_000 - Clock::System.unix_ms() % 60_000));
    let base = door(Door { public_url: None, clock: Clock::Moved(ahead_ms), rate_limit: 5 }).await;
    let agent = agent().await.at(&base);
    let left = async |message: Value| {
        let reply = send(&agent, message).await;
        (reply.code, reply.header("x-ratelimit-remaining"))
    };
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let made = json!({"name": "create_contact", "arguments": {"email": "a@b.example"}});
    assert_eq!(left(ping.clone()).await, (200, "4".into()));
    assert_eq!(
        left(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": made})).await,
        (200, "3".into())
    );
    assert_eq!(left(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await, (202, "2".into()));
    assert_eq!(left(json!([])).await, (400, "1".into()));
    // The same limit as that of REST.
    agent.get("/v1/contacts").await.status(200);
    let refused = send(&agent, ping).await.fault(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{}", refused.story());
}

#[tokio::test]
async fn a_relm_key_gets_relms_headers_and_errors() {
    let relm = relm().await;
    let reply = relm.send(Method::POST, "/mcp", &[JSON, ("relm-version", "2026-07-02")], ping()).await.status(200);
    assert_eq!(reply.header("relm-version"), "2026-07-02");
    assert!(reply.header("x-request-id").starts_with("req_"));
    relm.send(Method::GET, "/mcp", &[], Vec::new()).await.status(405);
    let old = relm.send(Method::POST, "/mcp", &[JSON, ("relm-version", "1999-01-01")], ping()).await;
    old.fault(400, "invalid_request");
    let made = call(&relm, "create_contact", json!({"email": "ada@acme.example"})).await;
    assert_eq!(made["object"], "contact");
    assert!(made["id"].as_str().is_some_and(|id| id.starts_with("con_")), "{made}");
}
