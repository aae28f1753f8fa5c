//! The protocol: versions, methods, notifications and errors.

use reqwest::Method;
use serde_json::json;

use super::{JSON, call, modern, request, send, send_modern};
use crate::support::{agent, both};

#[tokio::test]
async fn a_client_of_2025_shakes_hands_and_lists_tools() {
    let agent = agent().await;
    for (asked, answered) in [("2025-06-18", "2025-06-18"), ("2025-11-25", "2025-11-25"), ("2099-01-01", "2025-11-25")]
    {
        let client = json!({"name": "c", "version": "1"});
        let params = json!({"protocolVersion": asked, "capabilities": {}, "clientInfo": client});
        let result = request(&agent, "initialize", params).await;
        assert_eq!(result["protocolVersion"], answered);
        assert_eq!(result["serverInfo"]["name"], "kith");
        assert!(result["capabilities"]["tools"].is_object(), "{result}");
        assert!(result["instructions"].as_str().is_some_and(|text| text.contains("search")), "{result}");
    }
    let started = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let reply = send(&agent, started).await.status(202);
    assert!(reply.body.is_empty() && reply.header("content-type").is_empty(), "{}", reply.story());
    assert_eq!(request(&agent, "ping", json!({})).await, json!({}));
    let listed = request(&agent, "tools/list", json!({})).await;
    assert!(listed["tools"].as_array().is_some_and(|tools| tools.len() > 30), "{listed}");
    assert!(listed.get("resultType").is_none() && listed.get("nextCursor").is_none(), "{listed}");
}

#[tokio::test]
async fn a_client_of_2026_needs_no_handshake() {
    let agent = agent().await;
    let found = send_modern(&agent, "server/discover", json!({})).await.status(200);
    assert_eq!(found.at("/result/supportedVersions"), json!(["2026-07-28", "2025-11-25", "2025-06-18"]));
    assert_eq!(found.at("/result/_meta/io.modelcontextprotocol~1serverInfo/name"), "kith");
    let listed = send_modern(&agent, "tools/list", json!({})).await.status(200);
    for reply in [&found, &listed] {
        assert_eq!(reply.at("/id"), "a");
        assert_eq!(reply.at("/result/resultType"), "complete");
        assert!(reply.at("/result/ttlMs").is_u64());
        assert_eq!(reply.at("/result/cacheScope"), "private");
    }
    let params = json!({"name": "create_contact", "arguments": {"email": "ada@acme.example"}});
    let made = send_modern(&agent, "tools/call", params).await.status(200);
    assert_eq!(made.at("/result/resultType"), "complete");
    assert_eq!(made.at("/result/structuredContent/email"), "ada@acme.example");
    // The feed knows the client.
    let feed = agent.get("/v1/activity").await.status(200);
    assert_eq!(feed.at("/data/0/custom/agent"), "a-test/1.2");
}

#[tokio::test]
async fn the_feed_knows_a_client_of_2025_by_what_it_said_at_first() {
    let agent = agent().await;
    let send = async |program: &str, more: &[(&str, &str)], method: &str, params: serde_json::Value| {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let headers = [&[JSON, ("user-agent", program)], more].concat();
        agent.send(Method::POST, "/mcp", &headers, message).await.status(200)
    };
    let hello = |name: &str| json!({"protocolVersion": "2025-11-25", "clientInfo": {"name": name, "version": "3.1"}});
    let write = |email: &str| json!({"name": "create_contact", "arguments": {"email": email}});
    let agents = async || agent.get("/v1/activity").await.status(200).column("custom");
    send("node", &[], "initialize", hello("A Client")).await;
    send("node", &[], "tools/call", write("a@b.example")).await;
    assert_eq!(agents().await[0]["agent"], "A Client/3.1");
    // The caller's own word comes first, and another program has another name.
    send("node", &[("x-agent", "mine")], "tools/call", write("b@b.example")).await;
    assert_eq!(agents().await[0]["agent"], "mine");
    send("python", &[], "tools/call", write("c@b.example")).await;
    assert_eq!(agents().await[0]["agent"], "python");
    // Of two clients that look alike, a call could be either's.
    send("node", &[], "initialize", hello("Another")).await;
    send("node", &[], "tools/call", write("d@b.example")).await;
    assert_eq!(agents().await[0]["agent"], "node");
}

#[tokio::test]
async fn headers_and_versions_that_do_not_fit_are_refused() {
    let agent = agent().await;
    let check = async |headers: &[(&str, &str)], body: &serde_json::Value, status, code| {
        let reply = agent.send(Method::POST, "/mcp", headers, body.to_string()).await.status(status);
        assert_eq!(reply.at("/error/code"), code, "{}", reply.story());
        assert_eq!(reply.at("/id"), body["id"], "{}", reply.story());
        reply
    };
    let (body, _) = modern("tools/list", json!({}));
    let version = ("mcp-protocol-version", "2026-07-28");
    check(&[JSON, version], &body, 400, -32020).await;
    check(&[JSON, version, ("mcp-method", "tools/call")], &body, 400, -32020).await;
    check(&[JSON, ("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/list")], &body, 400, -32020).await;
    let plain = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    check(&[JSON, version], &plain, 400, -32602).await;
    let refused = check(&[JSON, ("mcp-protocol-version", "1900-01-01")], &plain, 400, -32022).await;
    assert_eq!(refused.at("/error/data/requested"), "1900-01-01");
    assert!(refused.at("/error/data/supported").as_array().is_some_and(|them| them.len() == 3));
}

#[tokio::test]
async fn unknown_methods_are_named() {
    let agent = agent().await;
    for method in ["resources/subscribe", "logging/setLevel", "", "tools/List", "rpc.discover", "__proto__"] {
        let old = send(&agent, json!({"jsonrpc": "2.0", "id": 1, "method": method})).await.status(200);
        assert_eq!(old.at("/error/code"), -32601, "{}", old.story());
        if !method.is_empty() {
            let new = send_modern(&agent, method, json!({})).await.status(404);
            assert_eq!(new.at("/error/code"), -32601, "{}", new.story());
        }
    }
    // Each kind of version has methods that the other lacks.
    assert_eq!(send_modern(&agent, "ping", json!({})).await.status(404).at("/error/code"), -32601);
    let old = send(&agent, json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover"})).await.status(200);
    assert_eq!(old.at("/error/code"), -32601);
}

#[tokio::test]
async fn the_small_set_and_the_order_are_always_the_same() {
    let (relm, agentcrm) = both().await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    for agent in [&relm, &agentcrm] {
        let core = async || agent.send(Method::POST, "/mcp?tools=core", &[JSON], list.clone()).await.status(200);
        let (first, second) = (core().await, core().await);
        assert_eq!(first.body, second.body);
        assert!(first.at("/result/tools").as_array().is_some_and(|tools| tools.len() <= 16), "{}", first.story());
        let refused = agent.send(Method::POST, "/mcp?tools=few", &[JSON], list.clone()).await;
        refused.fault(400, "invalid_request");
        agent
            .send(Method::POST, "/mcp?tool=core", &[JSON], list.clone())
            .await
            .fault(400, "invalid_request")
            .says("tools");
    }
    let fields = async |agent| {
        let tools = request(agent, "tools/list", json!({})).await;
        let create =
            tools["tools"].as_array().into_iter().flatten().find(|tool| tool["name"] == "create_deal").cloned();
        create.expect("a tool")["inputSchema"]["properties"].clone()
    };
    let (relm, agentcrm) = (fields(&relm).await, fields(&agentcrm).await);
    assert!(relm.get("value_cents").is_some() && relm.get("amount_cents").is_none(), "{relm}");
    assert!(agentcrm.get("amount_cents").is_some() && agentcrm.get("value_cents").is_none(), "{agentcrm}");
}

#[tokio::test]
async fn resources_are_the_schema_and_records() {
    let (relm, agentcrm) = both().await;
    let made = call(&agentcrm, "create_contact", json!({"email": "ada@acme.example"})).await;
    let id = made["id"].as_str().expect("an id");
    let listed = request(&relm, "resources/list", json!({})).await;
    assert_eq!(listed["resources"][0]["uri"], "crm://schema");
    let templates = request(&relm, "resources/templates/list", json!({})).await;
    assert!(templates.to_string().contains("crm://contact/{id}"), "{templates}");
    for agent in [&relm, &agentcrm] {
        let read = request(agent, "resources/read", json!({"uri": format!("crm://contact/{id}")})).await;
        let text = read["contents"][0]["text"].as_str().expect("a text");
        assert!(text.contains("email: ada@acme.example"), "{text}");
        let schema = request(agent, "resources/read", json!({"uri": "crm://schema"})).await;
        assert!(schema["contents"][0]["text"].as_str().is_some_and(|text| text.contains("citext")), "{schema}");
    }
    let params = json!({"uri": format!("crm://contact/{id}")});
    let (body, mut headers) = modern("resources/read", params);
    let uri = format!("crm://contact/{id}");
    headers.push(("mcp-name", uri));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let read = relm.send(Method::POST, "/mcp", &headers, body.to_string()).await.status(200);
    assert_eq!((read.at("/result/ttlMs"), read.at("/result/cacheScope")), (json!(0), json!("private")));
    let deal = call(&agentcrm, "create_deal", json!({"name": "D"})).await;
    let other_kind = format!("crm://contact/{}", deal["id"].as_str().expect("an id"));
    for uri in [
        &*other_kind,
        "crm://contact/c_00000000000000000000000000",
        "crm://contact/",
        "crm://keys/1",
        "crm://contact/invoices/7",
        "file:///etc/passwd",
        "crm://email/x",
    ] {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri}});
        let refused = send(&relm, message).await.status(200);
        assert_eq!(refused.at("/error/code"), -32002, "{}", refused.story());
    }
}

#[tokio::test]
async fn prompts_take_their_argument() {
    let agent = agent().await;
    let listed = request(&agent, "prompts/list", json!({})).await;
    assert_eq!(listed["prompts"].as_array().map(Vec::len), Some(4), "{listed}");
    let got = request(&agent, "prompts/get", json!({"name": "prepare_meeting", "arguments": {"contact": "Ada"}})).await;
    assert!(got["messages"][0]["content"]["text"].as_str().is_some_and(|text| text.contains("with Ada.")), "{got}");
    for params in [json!({}), json!({"name": "nothing"}), json!({"name": "prepare_meeting"})] {
        let refused = send(&agent, json!({"jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": params})).await;
        assert_eq!(refused.status(200).at("/error/code"), -32602);
    }
}

#[tokio::test]
async fn arguments_of_prompts_and_ids_of_records_are_completed() {
    let (first, other) = (agent().await, agent().await);
    let contact = call(&first, "create_contact", json!({"email": "ada@acme.example", "first_name": "Ada"})).await;
    let company = call(&first, "create_company", json!({"name": "Ada Works"})).await;
    let complete = async |agent: &crate::support::Agent, reference: serde_json::Value, argument: (&str, &str)| {
        let params = json!({"ref": reference, "argument": {"name": argument.0, "value": argument.1}});
        request(agent, "completion/complete", params).await["completion"].clone()
    };
    let prompt = |name: &str| json!({"type": "ref/prompt", "name": name});
    let resource = |uri: &str| json!({"type": "ref/resource", "uri": uri});
    for (reference, argument, values) in [
        (prompt("prepare_meeting"), ("contact", "Ada"), json!(["ada@acme.example"])),
        (prompt("prepare_meeting"), ("contact", ""), json!(["ada@acme.example"])),
        (prompt("review_pipeline"), ("pipeline", "sa"), json!(["sales"])),
        (prompt("review_pipeline"), ("pipeline", "x"), json!([])),
        (prompt("find_duplicates"), ("table", "con"), json!(["contacts"])),
        (prompt("log_conversation"), ("notes", "We"), json!([])),
        (resource("crm://contact/{id}"), ("id", "Ada"), json!([contact["id"]])),
        (resource("crm://company/{id}"), ("id", ""), json!([company["id"]])),
        (resource("crm://email/{id}"), ("id", ""), json!([])),
    ] {
        let found = complete(&first, reference.clone(), argument).await;
        assert_eq!((&found["values"], &found["hasMore"]), (&values, &json!(false)), "{reference} {argument:?}");
    }
    assert_eq!(complete(&other, prompt("prepare_meeting"), ("contact", "Ada")).await["values"], json!([]));
    let wrong = [
        json!({}),
        json!({"ref": prompt("prepare_meeting"), "argument": {"name": "contact", "value": 7}}),
        json!({"ref": prompt("prepare_meeting"), "argument": {"name": "contcat", "value": ""}}),
        json!({"ref": prompt("nothing"), "argument": {"name": "x", "value": ""}}),
        json!({"ref": resource("crm://secret/{id}"), "argument": {"name": "id", "value": ""}}),
        json!({"ref": {"type": "ref/else"}, "argument": {"name": "id", "value": ""}}),
    ];
    for params in wrong {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "completion/complete", "params": params});
        let refused = send(&first, message).await.status(200);
        assert_eq!(refused.at("/error/code"), -32602, "{}", refused.story());
    }
    let params = json!({"ref": prompt("find_duplicates"), "argument": {"name": "table", "value": ""}});
    let modern = send_modern(&first, "completion/complete", params).await.status(200);
    assert_eq!(modern.at("/result/completion/values"), json!(["contacts", "companies"]));
    assert_eq!(modern.at("/result/resultType"), "complete");
}
