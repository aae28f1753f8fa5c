//! Messages that are wrong, huge or sly.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Value, json};

use super::{JSON, VERSION, call, code, fail, send};
use crate::support::{agent, both};

#[tokio::test]
async fn what_is_no_message_is_refused_as_json_rpc() {
    let agent = agent().await;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}1{}}}"#,
        "{\"a\":".repeat(500),
        "}".repeat(500)
    );
    for (body, expected) in [
        ("", -32700),
        ("{", -32700),
        ("nonsense", -32700),
        ("{\"jsonrpc\": \"2.0\", \"id\": 1,}", -32700),
        (deep.as_str(), -32700),
        (nested.as_str(), -32700),
        ("[]", -32600),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
        ("7", -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}"#, -32600),
    ] {
        let reply = agent.send(Method::POST, "/mcp", &[JSON], body).await.status(400);
        assert_eq!(reply.at("/error/code"), expected, "{}", reply.story());
        assert_eq!(reply.at("/id"), Value::Null, "{}", reply.story());
    }
    let forged = r#"{"jsonrpc":"2.0","id":{"$serde_json::private::Number":"x"},"method":"ping"}"#;
    agent.send(Method::POST, "/mcp", &[JSON], forged).await.status(400);
    let bytes: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"ping\"}";
    agent.send(Method::POST, "/mcp", &[JSON], bytes).await.status(400);
}

#[tokio::test]
async fn an_id_is_echoed_to_the_digit_and_has_a_limit() {
    let agent = agent().await;
    let digits = "9".repeat(300);
    for id in ["0", "-1", "1.5", "\"\"", "\"a\\u0000b\"", "\"é\"", digits.as_str()] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let reply = agent.send(Method::POST, "/mcp", &[JSON], body).await.status(200);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(text.contains(&format!("\"id\":{id}")), "{text}");
    }
    let body = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(100_000));
    let reply = agent.send(Method::POST, "/mcp", &[JSON], body).await.status(400);
    assert!(reply.body.len() < 500, "{}", reply.story());
}

#[tokio::test]
async fn a_body_has_the_limits_of_rest() {
    let agent = agent().await;
    let huge = vec![b' '; kith::door::MAX_BODY_BYTES + 1];
    agent.send(Method::POST, "/mcp", &[JSON], huge).await.fault(413, "payload_too_large");
    let many = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":[{}1]}}}}"#, "1,".repeat(3_000_000));
    agent.send(Method::POST, "/mcp", &[JSON], many).await.fault(413, "payload_too_large");
    let rows: Vec<Value> = (0..501).map(|at| json!({"email": format!("{at}@b.example")})).collect();
    let refused = fail(&agent, "upsert_contacts", json!({"contacts": rows})).await;
    assert_eq!(code(&refused), "batch_too_large");
}

#[tokio::test]
async fn calls_that_name_no_tool_are_protocol_errors() {
    let agent = agent().await;
    for (params, part) in [
        (json!({}), "name"),
        (json!({"name": 7}), "name"),
        (json!({"name": "get_contcat"}), "get_contact"),
        (json!({"name": "create_{one}"}), "create_"),
        (json!({"name": "create_person"}), "create_person"),
        (json!({"name": "../sql"}), "../sql"),
        (json!({"name": "get_contact", "arguments": []}), "arguments"),
        (json!({"name": "get_contact", "arguments": "id"}), "arguments"),
    ] {
        let reply = send(&agent, json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
            .await
            .status(200);
        assert_eq!(reply.at("/error/code"), -32602, "{}", reply.story());
        assert!(reply.text("/error/message").contains(part), "{}", reply.story());
    }
}

#[tokio::test]
async fn arguments_reach_nothing_but_their_tool() {
    let (relm, agentcrm) = both().await;
    for agent in [&relm, &agentcrm] {
        let made = call(agent, "create_contact", json!({"first_name": "'); drop table contacts; --"})).await;
        for (tool, arguments) in [
            ("get_record", json!({"table": "contacts/../keys", "id": "x"})),
            ("get_record", json!({"table": "pg_catalog.pg_authid", "id": "1"})),
            ("get_record", json!({"table": "kith.secrets", "id": "1"})),
            ("list_records", json!({"table": "contacts; drop table contacts"})),
            ("list_records", json!({"table": "contacts", "filter": {"email\" or 1=1 --": "x"}})),
            ("list_records", json!({"table": "contacts", "filter": {"custom.a'b": {"eq": "'"}}, "cursor": "' or 1=1"})),
            ("fetch", json!({"id": "activity/../contacts"})),
            ("create_contact", json!({"id": "c_00000000000000000000000000"})),
            ("create_contact", json!({"email": "a\u{0}b"})),
            ("update_contact", json!({"id": made["id"], "created_at": "2020-01-01T00:00:00Z"})),
            ("get_list_rows", json!({"list_id": "l_x' or true"})),
        ] {
            fail(agent, tool, arguments).await;
        }
        // Other words of the parser and of JavaScript are plain data.
        let custom = json!({"__proto__": {"a": 1}, "constructor": [], "$serde_json::private::RawValue": "[1,2]"});
        let own = if made["id"].as_str().is_some_and(|id| id.starts_with("con_")) { "metadata" } else { "custom" };
        let changed = call(agent, "update_contact", json!({"id": made["id"], own: custom})).await;
        assert_eq!(changed[own], custom);
    }
    assert_eq!(relm.sql("select count(*)::int as v from contacts").await.status(200).at("/rows/0/v"), 2);
}

fn text(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..most).prop_map(String::from_iter)
}

/// Random values that look like the parts of a call.
fn part() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text(12).prop_map(Value::from),
        prop::sample::select(vec![
            "contacts",
            "deals",
            "id",
            "c_00000000000000000000000000",
            "won",
            "%",
            "a,b",
            "select 1",
            "2026-01-01",
            "DELETE",
            "POST",
            "/v1/contacts/c_00000000000000000000000000?hard=true",
            "/v1/webhooks",
            "/v1/integrations/email",
            "lists/l_1/rows",
            "email/domains",
            "Closed Won",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key = prop_oneof![
            prop::sample::select(vec![
                "id",
                "table",
                "values",
                "filter",
                "fields",
                "limit",
                "cursor",
                "query",
                "sql",
                "params",
                "contacts",
                "email",
                "title",
                "stage",
                "gte",
                "in",
                "reason",
                "run_id",
                "max_tokens",
                "response_format",
                "member_ids",
                "list_id",
                "pipeline",
                "key",
                "method",
                "path",
                "body",
                "operations",
                "confirm",
                "hard",
            ])
            .prop_map(str::to_owned),
            text(8),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Random messages with the methods and members of the protocol.
fn message() -> impl Strategy<Value = Value> {
    let methods = vec![
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "tools/call",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "notifications/cancelled",
        "notifications/initialized",
        "logging/setLevel",
    ];
    let names = vec!["name", "arguments", "uri", "ref", "argument", "cursor", "_meta", "requestId", "protocolVersion"];
    let known = vec![
        json!("batch"),
        json!("query_sql"),
        json!("crm://schema"),
        json!("crm://contact/c_00000000000000000000000000"),
        json!("prepare_meeting"),
        json!({"type": "ref/prompt", "name": "prepare_meeting"}),
        json!({"type": "ref/resource", "uri": "crm://contact/{id}"}),
        json!({"name": "contact", "value": "a"}),
        json!({"progressToken": 1}),
        json!({"progressToken": {}, "io.modelcontextprotocol/protocolVersion": VERSION}),
        json!({"operations": [{"method": "GET", "path": "/v1/contacts"}, {"method": "GET", "path": "/v1/x"}]}),
        json!({"sql": "select 1; select 2"}),
    ];
    let value = prop_oneof![2 => prop::sample::select(known), 1 => part()];
    let params = prop::collection::vec((prop::sample::select(names), value), 0..6)
        .prop_map(|members| Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()));
    let params = prop_oneof![5 => params, 1 => part()];
    let id = prop_oneof![3 => any::<u32>().prop_map(Value::from), 1 => part()];
    let method = prop_oneof![6 => prop::sample::select(methods).prop_map(Value::from), 1 => part()];
    (id, method, params)
        .prop_map(|(id, method, params)| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
}

/// The same bytes with some of them changed, left out or repeated.
fn damaged(bytes: &[u8], runner: &mut TestRunner) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    let draw = |runner: &mut TestRunner, most: usize| (0..most.max(1)).new_tree(runner).expect("a number").current();
    for _ in 0..=draw(runner, 3) {
        let (at, byte) = (draw(runner, damaged.len()), draw(runner, 256) as u8);
        match draw(runner, 4) {
            0 => damaged.truncate(at),
            1 => damaged.insert(at.min(damaged.len()), byte),
            2 => damaged.extend_from_within(..at.min(damaged.len())),
            _ => damaged.iter_mut().skip(at).take(1).for_each(|it| *it = byte),
        }
    }
    damaged
}

#[tokio::test]
async fn random_messages_are_answered_without_a_defect() {
    let (relm, agentcrm) = both().await;
    let mut runner = TestRunner::deterministic();
    let messages = message();
    for turn in 0..600 {
        let text = messages.new_tree(&mut runner).expect("a message").current().to_string();
        let body = if turn % 3 == 0 { damaged(text.as_bytes(), &mut runner) } else { text.into_bytes() };
        let agent = if turn % 2 == 0 { &relm } else { &agentcrm };
        let accept = ("accept", if turn % 4 < 2 { "application/json, text/event-stream" } else { "*/*" });
        let mut headers = vec![JSON, accept];
        if turn % 5 == 0 {
            headers.extend([("mcp-protocol-version", VERSION), ("mcp-method", "tools/call"), ("mcp-name", "batch")]);
        }
        let sent = String::from_utf8_lossy(&body).into_owned();
        let reply = agent.send(Method::POST, "/mcp", &headers, body).await;
        assert!(reply.code < 500, "{sent}: {}", reply.story());
        let said = String::from_utf8_lossy(&reply.body);
        assert!(!said.contains("internal_error") && !said.contains("-32603"), "{sent}: {said}");
        assert!(matches!(reply.code, 200 | 202 | 400 | 404), "{sent}: {}", reply.story());
        assert_eq!(reply.body.is_empty(), reply.code == 202, "{sent}: {}", reply.story());
    }
}

#[tokio::test]
async fn random_calls_are_answered_without_a_defect() {
    let (relm, agentcrm) = both().await;
    let tools: Vec<String> = crm::dialect::tools::tools().map(|tool| tool.name()).collect();
    let mut runner = TestRunner::deterministic();
    let arguments = prop::collection::vec(part(), 1..3);
    for turn in 0..400 {
        let drawn = arguments.new_tree(&mut runner).expect("values").current();
        let mut object = json!({});
        for value in drawn {
            if let Value::Object(members) = value {
                object.as_object_mut().expect("an object").extend(members);
            }
        }
        let name = &tools[turn % tools.len()];
        let agent = if turn % 2 == 0 { &relm } else { &agentcrm };
        let message = json!({"jsonrpc": "2.0", "id": turn, "method": "tools/call", "params": {"name": name, "arguments": object}});
        let reply = send(agent, message).await.status(200);
        let text = reply.text("/result/content/0/text");
        assert!(!text.contains("internal_error"), "{}", reply.story());
    }
    // The headers of 2026 are hostile too.
    for value in ["", "\t", "2026-07-28, 2025-11-25", "=?base64?!!?=", &"x".repeat(4_000)] {
        let headers = [JSON, ("mcp-protocol-version", VERSION), ("mcp-method", value), ("mcp-name", value)];
        let (body, _) = super::modern("tools/call", json!({"name": "get_contact", "arguments": {}}));
        let reply = relm.send(Method::POST, "/mcp", &headers, body.to_string()).await;
        assert_eq!((reply.code, reply.at("/error/code")), (400, json!(-32020)), "{}", reply.story());
    }
}
