//! Webhooks and automations as tools.

use serde_json::{Value, json};

use super::{call, code, fail, result};
use crate::belongings::owned;
use crate::support::{Agent, Receiver, agent, both, relm, stranger};

/// Calls a tool that lists, until its page is as expected.
async fn until(agent: &Agent, tool: &str, arguments: Value, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = std::time::Instant::now();
    loop {
        let page = call(agent, tool, arguments.clone()).await;
        if is_so(&page["data"]) {
            return page;
        }
        assert!(start.elapsed().as_secs() < 60, "{page}");
    }
}

#[tokio::test]
async fn a_webhook_is_created_tested_replayed_and_deleted() {
    let (relm, agentcrm) = both().await;
    let receiver = Receiver::start().await;
    for agent in [&relm, &agentcrm] {
        let made = call(agent, "create_webhook", json!({"url": receiver.url(), "events": ["contact.*"]})).await;
        assert_eq!(made["outcome"], "Created 1 webhook.");
        assert!(made["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{made}");
        let id = made["id"].as_str().expect("an id");
        let found = call(agent, "get_webhook", json!({"webhook_id": id})).await;
        assert_eq!((&found["url"], found.get("secret")), (&made["url"], None), "{found}");
        let listed = call(agent, "list_webhooks", json!({"limit": 10})).await;
        assert_eq!((&listed["data"][0]["id"], &listed["has_more"]), (&json!(id), &json!(false)), "{listed}");
        assert_eq!(
            call(agent, "list_records", json!({"table": "webhooks", "limit": 10})).await["data"],
            listed["data"]
        );
        assert_eq!(call(agent, "get_record", json!({"table": "webhooks", "id": id})).await["id"], id);
        let changed = call(agent, "update_webhook", json!({"id": id, "description": "mine"})).await;
        assert_eq!((&changed["outcome"], &changed["description"]), (&json!("Updated 1 webhook."), &json!("mine")));
        let queued = call(agent, "test_webhook", json!({"id": id})).await;
        assert_eq!(queued["outcome"], "Queued 1 test event.");
        let is_sent = |data: &Value| data[0]["status"] == "delivered" && data[0]["id"] == queued["id"];
        let sent = until(agent, "list_webhook_deliveries", json!({"id": id}), is_sent).await;
        assert_eq!(sent["data"][0]["response_status"], 200, "{sent}");
        let below = json!({"table": format!("webhooks/{id}/deliveries"), "filter": {"status": "failed"}});
        assert_eq!(call(agent, "list_records", below).await["data"], json!([]));
        let again = json!({"id": id, "delivery_id": queued["id"]});
        assert_eq!(call(agent, "replay_webhook_deliveries", again).await["outcome"], "Queued 1 delivery again.");
        let since = json!({"id": id, "since": "2020-01-01T00:00:00Z"});
        assert_eq!(call(agent, "replay_webhook_deliveries", since).await["outcome"], "Queued 0 deliveries again.");
        let rotated = call(agent, "rotate_webhook_secret", json!({"id": id})).await;
        assert_eq!(rotated["outcome"], "Replaced the secret of 1 webhook.");
        assert!(rotated["secret"].is_string() && rotated["secret"] != made["secret"], "{rotated}");
        let unconfirmed = fail(agent, "delete_webhook", json!({"id": id})).await;
        assert_eq!(code(&unconfirmed), "confirmation_required");
        let lost = unconfirmed["message"].as_str().expect("a message");
        assert!(lost.contains(&receiver.url()) && lost.contains("its deliveries"), "{lost}");
        assert_eq!(call(agent, "get_webhook", json!({"id": id})).await["id"], id, "it is still there");
        let deleted = call(agent, "delete_webhook", json!({"id": id, "confirm": true})).await;
        let expected = format!("Deleted 1 webhook \"{}\" for good, and with it 1 deliveries.", receiver.url());
        assert_eq!(deleted["outcome"], expected);
        assert!(deleted["_note"].is_string(), "the address is data: {deleted}");
        assert_eq!(code(&fail(agent, "get_webhook", json!({"id": id})).await), "not_found");
    }
}

#[tokio::test]
async fn an_automation_is_created_runs_and_is_deleted() {
    for agent in [&relm().await, &agent().await] {
        let rule = json!({
            "name": "Tag", "trigger_event": "contact.created",
            "conditions": [{"field": "email", "op": "contains", "value": "@vip.example"}],
            "actions": [{"type": "set_metadata", "key": "vip", "value": true}],
        });
        let made = call(agent, "create_automation", rule.clone()).await;
        assert_eq!((&made["outcome"], &made["enabled"]), (&json!("Created 1 automation."), &json!(true)), "{made}");
        let id = made["id"].as_str().expect("an id");
        let found = call(agent, "get_automation", json!({"id": id})).await;
        assert_eq!((&found["actions"], &found["conditions"]), (&rule["actions"], &rule["conditions"]));
        assert_eq!(call(agent, "list_automations", json!({})).await["data"][0]["id"], id);
        let contact = call(agent, "create_contact", json!({"email": "a@vip.example"})).await;
        let runs = until(agent, "list_automation_runs", json!({"id": id}), |data| data[0]["status"] == "success").await;
        assert_eq!(runs["has_more"], false, "{runs}");
        let contact = call(agent, "get_contact", json!({"id": contact["id"]})).await;
        let own = if contact.get("metadata").is_some() { &contact["metadata"] } else { &contact["custom"] };
        assert_eq!(own["vip"], true, "{contact}");
        let changed = json!({"table": "automations", "id": id, "values": {"enabled": false}});
        assert_eq!(call(agent, "update_record", changed).await["enabled"], false);
        assert_eq!(call(agent, "update_automation", json!({"id": id, "enabled": true})).await["enabled"], true);
        let wrong = json!({"name": "R", "trigger_event": "*", "actions": [{"type": "fly"}]});
        let refused = fail(agent, "create_automation", wrong).await;
        assert_eq!(code(&refused), "validation_failed");
        assert!(refused["message"].as_str().is_some_and(|it| it.contains("move_deal_stage")), "{refused:?}");
        let unconfirmed = json!({"table": "automations", "id": id});
        let unconfirmed = fail(agent, "delete_record", unconfirmed).await;
        assert_eq!(code(&unconfirmed), "confirmation_required");
        assert!(unconfirmed["message"].as_str().is_some_and(|it| it.contains("\"Tag\"")), "{unconfirmed:?}");
        assert_eq!(code(&fail(agent, "delete_automation", json!({"id": id})).await), "confirmation_required");
        let nothing = call(agent, "update_automation", json!({"id": id})).await;
        assert_eq!(nothing["outcome"], "Nothing was changed (0 of 1 automation): the call names no field.");
        let deleted = call(agent, "delete_automation", json!({"automation_id": id, "confirm": true})).await;
        assert_eq!(deleted["outcome"], "Deleted 1 automation \"Tag\" for good, and with it 1 runs.");
        assert_eq!(code(&fail(agent, "get_automation", json!({"id": id})).await), "not_found");
    }
}

#[tokio::test]
async fn a_definition_takes_no_controls() {
    let agent = agent().await;
    let rule = json!({"name": "R", "trigger_event": "*", "actions": [{"type": "move_deal_stage", "stage": "won"}]});
    for (name, value) in [("dry_run", json!(true)), ("max_affected", json!(1)), ("run_id", json!("r"))] {
        let mut controlled = rule.clone();
        controlled[name] = value.clone();
        assert_eq!(code(&fail(&agent, "create_automation", controlled).await), "invalid_request", "{name}");
        let mut controlled = json!({"table": "automations", "values": rule});
        controlled[name] = value;
        let (answer, is_error) = result(&agent, "create_record", controlled).await;
        // A run's name is only provenance there, so it does no harm. A control would be broken silently.
        assert_eq!(
            (is_error, answer["error"] == "control_not_supported"),
            (name != "run_id", name != "run_id"),
            "{answer}"
        );
    }
    assert_eq!(call(&agent, "list_automations", json!({})).await["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_webhook_of_another_workspace_is_not_there() {
    let (first, other) = (relm().await, relm().await);
    let malformed = fail(&first, "create_webhook", json!({"url": "ftp://a.example", "events": ["*"]})).await;
    assert_eq!(code(&malformed), "validation_failed");
    let receiver = Receiver::start().await;
    let made = call(&first, "create_webhook", json!({"url": receiver.url(), "events": ["*"]})).await;
    for tool in ["get_webhook", "delete_webhook", "test_webhook", "rotate_webhook_secret", "list_webhook_deliveries"] {
        assert_eq!(code(&fail(&other, tool, json!({"id": made["id"]})).await), "not_found", "{tool}");
    }
    let record = json!({"table": "webhooks", "id": made["id"], "confirm": true});
    assert_eq!(code(&fail(&other, "delete_record", record).await), "not_found");
    assert_eq!(call(&other, "list_webhooks", json!({})).await["data"], json!([]));
    assert_eq!(call(&first, "get_webhook", json!({"id": made["id"]})).await["id"], made["id"]);
}

#[tokio::test]
async fn a_viewer_reads_definitions_and_the_log_and_changes_none() {
    let (owner, _) = owned().await;
    let wanted = json!({"role": "viewer", "dialect": "relm"});
    let key = owner.post(&format!("/v1/keys?ws={}", owner.workspace_id), wanted).await.status(201);
    let viewer = stranger().with_key(key.text("/data/api_key"), owner.workspace_id.clone());
    for tool in ["list_webhooks", "list_automations", "list_runs", "list_events"] {
        call(&viewer, tool, json!({})).await;
    }
    for (tool, arguments) in [
        ("create_record", json!({"table": "webhooks", "values": {"url": "https://a.example", "events": ["*"]}})),
        ("create_webhook", json!({"url": "https://a.example", "events": ["*"]})),
        ("batch", json!({"operations": [{"method": "POST", "path": "/v1/contacts", "body": {}}]})),
        ("undo", json!({"run": "r"})),
    ] {
        assert_eq!(code(&fail(&viewer, tool, arguments).await), "forbidden", "{tool}");
    }
}

#[tokio::test]
async fn records_carry_the_kind_that_rest_gives_them() {
    let agent = relm().await;
    agent
        .sql("create table invoices (id int primary key, n int); insert into invoices values (1, 2)")
        .await
        .status(200);
    let webhook = call(&agent, "create_webhook", json!({"url": "https://hooks.example/", "events": ["*"]})).await;
    let actions = json!([{"type": "create_activity", "activity_type": "note"}]);
    let rule = json!({"name": "R", "trigger_event": "deal.*", "actions": actions});
    let rule = call(&agent, "create_automation", rule).await;
    let (webhook, rule) = (webhook["id"].as_str().expect("an id"), rule["id"].as_str().expect("an id"));
    for (tool, arguments, path) in [
        ("get_webhook", json!({"id": webhook}), format!("/v1/webhooks/{webhook}")),
        ("get_automation", json!({"id": rule}), format!("/v1/automations/{rule}")),
        ("get_record", json!({"table": "invoices", "id": 1}), "/v1/invoices/1".into()),
    ] {
        let (found, over_rest) = (call(&agent, tool, arguments).await, agent.get(&path).await.status(200));
        assert_eq!(found["object"], over_rest.at("/object"), "{tool}: {found}");
        assert_ne!(found["object"], "row");
    }
    for (tool, arguments, path) in [
        ("list_webhooks", json!({}), "/v1/webhooks"),
        ("list_automations", json!({}), "/v1/automations"),
        ("list_records", json!({"table": "invoices"}), "/v1/invoices"),
    ] {
        let (listed, over_rest) = (call(&agent, tool, arguments).await, agent.get(path).await.status(200));
        assert_eq!(listed["data"][0]["object"], over_rest.at("/data/0/object"), "{tool}: {listed}");
    }
}

#[tokio::test]
async fn a_field_has_one_value_though_it_has_two_names() {
    let agent = relm().await;
    for (tool, arguments) in [
        ("create_deal", json!({"title": "a", "name": "b"})),
        ("create_deal", json!({"title": "a", "metadata": {"a": 1}, "custom": {"b": 2}})),
        ("create_record", json!({"table": "deals", "values": {"title": "a", "name": "b"}})),
        ("call_api", json!({"method": "POST", "path": "/v1/deals", "body": {"title": "a", "name": "b"}})),
        (
            "batch",
            json!({"operations": [{"method": "POST", "path": "/v1/deals", "body": {"title": "a", "name": "b"}}]}),
        ),
    ] {
        assert_eq!(code(&fail(&agent, tool, arguments).await), "invalid_request", "{tool}");
    }
    // What is said twice, or not at all, is no contradiction.
    let same =
        call(&agent, "create_deal", json!({"title": "a", "name": "a", "value_cents": 5, "amount_cents": null})).await;
    assert_eq!((&same["title"], &same["value_cents"]), (&json!("a"), &json!(5)), "{same}");
}
