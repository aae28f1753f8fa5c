//! What is removed for good is confirmed, and named: before, to the person who decides, and after.

use serde_json::{Value, json};

use super::{VERSION, call, code, fail, modern};
use crate::support::{Agent, Receiver, Reply, agent, both, relm};

/// A contact with an association, and an order of a table of the workspace's own.
async fn ada(agent: &Agent) -> String {
    let person = json!({"email": "ada@acme.example", "first_name": "Ada", "last_name": "Lovelace"});
    let contact = call(agent, "create_contact", person).await["id"].clone();
    let orders = "create table if not exists orders (id int primary key, contact_id text references contacts (id) on delete set null)";
    call(agent, "execute_sql", json!({"sql": orders})).await;
    let order = json!({"sql": "insert into orders values (1, $1)", "params": [contact]});
    call(agent, "execute_sql", order).await;
    let company = call(agent, "create_company", json!({"name": "Acme"})).await["id"].clone();
    let edge = json!({"from_type": "contact", "from_id": contact, "to_type": "company", "to_id": company});
    call(agent, "create_association", edge).await;
    contact.as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_permanent_deletion_names_what_it_would_hit_and_what_it_hit() {
    for agent in [&relm().await, &agent().await] {
        let contact = ada(agent).await;
        let mut hard = json!({"table": "contacts", "id": contact, "hard": true});
        let refused = fail(agent, "delete_record", hard.clone()).await;
        assert_eq!(code(&refused), "confirmation_required");
        let lost = refused["message"].as_str().expect("a message").to_owned();
        assert!(lost.contains("1 contact \"Ada Lovelace <ada@acme.example>\""), "{lost}");
        assert!(lost.contains("deleted 1 association") && lost.contains("updated 1 row of orders"), "{lost}");
        assert!(refused["next"].as_str().is_some_and(|next| next.contains("\"confirm\": true")), "{refused:?}");
        assert!(refused["_note"].is_string(), "the name is data: {refused:?}");
        agent.get(&format!("/v1/contacts/{contact}")).await.status(200);
        // A dry run needs no confirmation, because it keeps nothing.
        hard["dry_run"] = true.into();
        assert!(
            call(agent, "delete_record", hard.clone()).await["outcome"].as_str().is_some_and(|it| it.contains("Ada"))
        );
        (hard["dry_run"], hard["confirm"]) = (false.into(), true.into());
        let removed = call(agent, "delete_record", hard.clone()).await;
        let outcome = removed["outcome"].as_str().expect("an outcome");
        assert!(outcome.starts_with("Removed 1 contact \"Ada Lovelace <ada@acme.example>\" for good"), "{outcome}");
        assert!(outcome.contains("deleted 1 association") && outcome.contains("updated 1 row of orders"), "{outcome}");
        assert!(removed["_note"].is_string(), "{removed}");
        assert_eq!(code(&fail(agent, "delete_record", hard).await), "not_found");
        // What stands in the way is named before anybody is asked.
        let other = call(agent, "create_contact", json!({"email": "b@b.example"})).await["id"].clone();
        call(agent, "log_activity", json!({"type": "note", "contact_id": other})).await;
        let refused = fail(agent, "delete_record", json!({"table": "contacts", "id": other, "hard": true})).await;
        assert_eq!(code(&refused), "still_referenced");
        assert!(refused["message"].as_str().is_some_and(|it| it.contains("activities")), "{refused:?}");
    }
}

#[tokio::test]
async fn a_batch_that_removes_for_good_is_confirmed() {
    for agent in [&relm().await, &agent().await] {
        let contact = ada(agent).await;
        let path = format!("/v1/contacts/{contact}?hard=true");
        let batch = |confirm: bool| {
            let operations = json!([
                {"method": "POST", "path": "/v1/companies", "body": {"name": "B"}},
                {"method": "DELETE", "path": path},
            ]);
            json!({"operations": operations, "confirm": confirm})
        };
        let refused = fail(agent, "batch", batch(false)).await;
        assert_eq!(code(&refused), "confirmation_required");
        let lost = refused["message"].as_str().expect("a message");
        assert!(lost.contains("Ada Lovelace") && lost.contains("deleted 1 contact"), "{lost}");
        agent.get(&format!("/v1/contacts/{contact}")).await.status(200);
        assert_eq!(agent.get("/v1/companies").await.status(200).column("id").len(), 1, "nothing of it was kept");
        let done = call(agent, "batch", batch(true)).await;
        let outcome = done["outcome"].as_str().expect("an outcome");
        assert!(outcome.contains("created 1 company") && outcome.contains("1 contact"), "{outcome}");
        // What can be brought back needs none.
        let company = agent.get("/v1/companies").await.status(200).column("id")[0].clone();
        let soft = json!([{"method": "DELETE", "path": format!("/v1/companies/{}", company.as_str().expect("an id"))}]);
        let soft = call(agent, "batch", json!({"operations": soft})).await;
        assert_eq!(soft["outcome"], "Performed 1 operation: deleted 1 company.");
        let wrong = json!([{"method": "DELETE", "path": "/v1/contacts/c_00000000000000000000000000?hard=true"}]);
        assert_eq!(code(&fail(agent, "batch", json!({"operations": wrong})).await), "not_found");
    }
}

#[tokio::test]
async fn what_has_no_tool_is_reached_by_a_request() {
    let (relm, agentcrm) = both().await;
    let receiver = Receiver::start().await;
    for agent in [&relm, &agentcrm] {
        let request = async |method: &str, path: &str, body: Value| {
            call(agent, "call_api", json!({"method": method, "path": path, "body": body})).await
        };
        let hook = json!({"url": receiver.url(), "events": ["*"]});
        let hook = request("POST", "/v1/webhooks", hook).await["id"].as_str().expect("an id").to_owned();
        let at = |act: &str| format!("/v1/webhooks/{hook}/{act}");
        assert_eq!(request("POST", &at("test"), Value::Null).await["outcome"], "Queued 1 test event.");
        let rotated = request("POST", &at("rotate-secret"), Value::Null).await;
        assert_eq!(rotated["outcome"], "Replaced the secret of 1 webhook.");
        let since = json!({"since": "2020-01-01T00:00:00Z"});
        assert_eq!(request("POST", &at("replay-failed"), since).await["outcome"], "Queued 0 deliveries again.");
        let run = json!({"run_id": "r", "reason": "asked"});
        assert_eq!(request("POST", "/v1/runs", run.clone()).await["outcome"], "Opened 1 run.");
        assert_eq!(
            request("POST", "/v1/runs", run).await["outcome"],
            "Nothing was opened (0 runs): this run is open already."
        );
        let ended = request("POST", "/v1/runs/r/finish", json!({"status": "complete"})).await;
        assert_eq!(ended["outcome"], "Ended 1 run: complete.");
        let email = format!("{}@import.example", &agent.key[..4]);
        let file = json!({"csv": format!("email,first_name\n{email},Ada\n,\n")});
        let imported = request("POST", "/v1/imports?table=contacts", file).await;
        assert_eq!(imported["outcome"], "Created 1, updated 0, refused 0 and skipped 1 rows of contacts.");
        let logs = call(agent, "list_records", json!({"table": "logs", "limit": 1})).await;
        assert!(logs["data"].is_array() && logs["has_more"].is_boolean(), "{logs}");
        let mail = call(agent, "get_record", json!({"table": "integrations", "id": "email"})).await;
        assert_eq!(mail["configured"], false, "{mail}");
        let stages = call(agent, "list_records", json!({"table": "pipelines/sales/stages"})).await;
        assert_eq!(stages["data"][0]["key"], "lead", "{stages}");
        // Reading and nonsense are not for it.
        for (method, path, part) in [
            ("GET", "/v1/contacts", "list_records"),
            ("POST", "/contacts", "/v1/"),
            ("POST", "/v1/nothing/at/all/x", "nothing"),
            ("DELETE", "/v1/webhooks", "GET, POST"),
        ] {
            let refused = fail(agent, "call_api", json!({"method": method, "path": path})).await;
            assert!(json!(refused).to_string().contains(part), "{refused:?}");
        }
        let gone = json!({"method": "DELETE", "path": format!("/v1/webhooks/{hook}")});
        assert_eq!(code(&fail(agent, "call_api", gone).await), "confirmation_required");
        call(agent, "get_webhook", json!({"id": hook})).await;
        // A control that would not hold is refused.
        let dry = json!({"method": "POST", "path": at("test"), "dry_run": true});
        assert_eq!(code(&fail(agent, "call_api", dry).await), "control_not_supported");
    }
}

/// Calls a tool as a client of 2026 with these capabilities, perhaps with the person's answer.
async fn ask(agent: &Agent, capabilities: Value, arguments: &Value, answer: Option<Value>) -> Reply {
    let mut params = json!({"name": "delete_record", "arguments": arguments});
    if let Some(answer) = answer {
        params["inputResponses"] = json!({"confirm": answer, "other": {}});
    }
    let (mut body, headers) = modern("tools/call", params);
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(headers.contains(&("mcp-protocol-version", VERSION)));
    agent.send(reqwest::Method::POST, "/mcp", &headers, body.to_string()).await.status(200)
}

#[tokio::test]
async fn a_client_that_can_ask_the_person_does() {
    let agent = agent().await;
    let contact = ada(&agent).await;
    let hard = json!({"table": "contacts", "id": contact, "hard": true});
    for cannot in [json!({}), json!({"elicitation": {"url": {}}}), json!({"elicitation": true})] {
        let refused = ask(&agent, cannot, &hard, None).await;
        assert_eq!(refused.at("/result/structuredContent/error"), "confirmation_required", "{}", refused.story());
    }
    let can = || json!({"elicitation": {}});
    for can in [can(), json!({"elicitation": {"form": {}}})] {
        let asked = ask(&agent, can, &hard, None).await;
        assert_eq!(asked.at("/result/resultType"), "input_required", "{}", asked.story());
        let question = asked.at("/result/inputRequests/confirm");
        assert_eq!(question["method"], "elicitation/create");
        assert!(question["params"]["message"].as_str().is_some_and(|it| it.contains("Ada Lovelace")), "{question}");
        assert_eq!(question["params"]["requestedSchema"]["properties"]["confirm"]["type"], "boolean");
    }
    for no in [
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
        json!({"action": "accept", "content": {"confirm": false}}),
        json!({"action": "accept"}),
        json!(7),
    ] {
        let refused = ask(&agent, can(), &hard, Some(no)).await;
        assert_eq!(refused.at("/result/isError"), true, "{}", refused.story());
        assert!(refused.text("/result/content/0/text").contains("did not agree"), "{}", refused.story());
        let next = refused.text("/result/structuredContent/next");
        assert!(next.starts_with("Do not call it again"), "{next}");
    }
    agent.get(&format!("/v1/contacts/{contact}")).await.status(200);
    let yes = json!({"action": "accept", "content": {"confirm": true}});
    let removed = ask(&agent, can(), &hard, Some(yes)).await;
    assert!(removed.text("/result/structuredContent/outcome").starts_with("Removed 1 contact"), "{}", removed.story());
    agent.get(&format!("/v1/contacts/{contact}")).await.status(404);
}
