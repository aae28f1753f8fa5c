//! Duplicates over MCP: records that are merged, and records that are not created twice.

use serde_json::{Value, json};

use super::{call, code, fail};
use crate::support::{agent, both};

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_else(|| panic!("no id: {object}")).to_owned()
}

#[tokio::test]
async fn merged_records_are_counted_and_come_back() {
    let (relm, agent) = both().await;
    let a = call(&relm, "create_contact", json!({"email": "a@b.example"})).await;
    let b = call(&relm, "create_contact", json!({"first_name": "B", "metadata": {"plan": "pro"}})).await;
    call(&relm, "log_activity", json!({"type": "call", "contact_id": id(&b)})).await;
    call(&relm, "create_deal", json!({"title": "D", "primary_contact_id": id(&b)})).await;
    let arguments = json!({"table": "Contact", "id": id(&a), "from": [id(&b)], "prefer": {"First name": id(&b)}, "reason": "twins"});
    let mut dry = arguments.clone();
    dry["dry_run"] = true.into();
    let tried = call(&relm, "merge_records", dry).await;
    assert!(tried["outcome"].as_str().is_some_and(|it| it.contains("Nothing was written")), "{tried}");
    let merged = call(&relm, "merge_records", arguments).await;
    let outcome = merged["outcome"].as_str().expect("an outcome");
    assert!(outcome.starts_with("Merged 1 contact into this contact. Moved to it: "), "{outcome}");
    assert!(outcome.contains("1 deal") && outcome.contains("1 activity"), "{outcome}");
    assert_eq!((&merged["first_name"], &merged["metadata"]["plan"]), (&json!("B"), &json!("pro")));
    assert_eq!(merged["merged"]["from"], json!([id(&b)]));
    call(&relm, "undo", json!({"request_id": merged["request_id"]})).await;
    assert_eq!(call(&relm, "get_contact", json!({"id": id(&b)})).await["first_name"], "B");
    assert_eq!(call(&relm, "get_contact", json!({"id": id(&a)})).await["first_name"], Value::Null);
    // The small set reaches it by a request.
    let path = format!("/v1/contacts/{}/merge", id(&a));
    let merged = call(&agent, "call_api", json!({"method": "POST", "path": path, "body": {"from": [id(&b)]}})).await;
    assert!(merged["outcome"].as_str().is_some_and(|it| it.starts_with("Merged 1 contact")), "{merged}");
    let refused = fail(&relm, "merge_records", json!({"table": "contacts", "id": id(&a), "from": [id(&b)]})).await;
    assert_eq!(code(&refused), "invalid_reference");
}

#[tokio::test]
async fn a_record_that_matches_is_not_created_again() {
    let (relm, agent) = both().await;
    let arguments = |phone: &str| json!({"table": "People", "values": {"E-mail": "x", "email": "a@b.example", "phone": phone}, "match_on": ["Email"]});
    let refused = fail(&relm, "create_record", arguments("1")).await;
    assert_eq!(code(&refused), "invalid_request", "an unknown field stays one: {refused:?}");
    let arguments = |phone: &str| json!({"table": "People", "values": {"email": "a@b.example", "phone": phone}, "match_on": ["Email"]});
    let first = call(&relm, "create_record", arguments("1")).await;
    assert_eq!(first["outcome"], "Created 1 contact: none matched.");
    let again = call(&relm, "create_record", arguments("2")).await;
    assert_eq!((&again["outcome"], &again["phone"]), (&json!("Updated 1 contact, which matched."), &json!("2")));
    assert_eq!(id(&again), id(&first));
    let same = call(&agent, "create_record", arguments("2")).await;
    assert!(same["outcome"].as_str().is_some_and(|it| it.starts_with("Nothing was changed")), "{same}");
    call(&relm, "create_contact", json!({"phone": "2"})).await;
    let values = json!({"table": "contacts", "values": {"phone": "2"}, "match_on": ["phone"]});
    let refused = fail(&relm, "create_record", values).await;
    assert_eq!(code(&refused), "ambiguous", "{refused:?}");
}

#[tokio::test]
async fn tables_are_named_as_people_name_their_records() {
    let agent = agent().await;
    call(&agent, "create_record", json!({"table": "Company", "values": {"name": "Acme"}})).await;
    for table in ["companies", "company", "Companies", "Company", "Organizations"] {
        let page = call(&agent, "list_records", json!({"table": table})).await;
        assert_eq!(page["data"][0]["name"], "Acme", "{table}: {page}");
    }
    // A word that a table of the workspace's own may have leads to the table, unless there is one.
    let refused = fail(&agent, "list_records", json!({"table": "people"})).await;
    assert!(refused["hint"].as_str().is_some_and(|hint| hint.contains("contacts")), "{refused:?}");
    agent.sql("create table people (id int primary key)").await.status(200);
    assert_eq!(call(&agent, "list_records", json!({"table": "people"})).await["data"], json!([]));
}
