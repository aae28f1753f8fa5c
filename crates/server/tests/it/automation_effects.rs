//! What automations do: each kind of action, each family of events that fires them, and that their work can be undone.

use reqwest::Method;
use serde_json::{Value, json};

use crate::automations::{create, rule, runs};
use crate::support::{Agent, relm};

async fn read(agent: &Agent, path: &str) -> Value {
    agent.get(path).await.status(200).json()
}

#[tokio::test]
async fn the_work_of_a_rule_is_undone_by_the_id_of_its_run() {
    let agent = relm().await;
    let actions = json!([
        {"type": "create_activity", "activity_type": "task", "subject": "Call back"},
        {"type": "set_metadata", "key": "seen", "value": true},
    ]);
    let id = rule(&agent, "contact.created", json!([]), actions).await;
    let contact = create(&agent, "/v1/contacts", json!({"email": "a@b.example", "metadata": {"kept": 1}})).await;
    let contact = format!("/v1/contacts/{contact}");
    let run = runs(&agent, &id, 1).await.remove(0);
    assert_eq!(read(&agent, &contact).await["metadata"], json!({"kept": 1, "seen": true}));
    let run = run["id"].as_str().expect("an id");
    let undone = agent.post(&format!("/v1/runs/{run}/undo"), json!({})).await.status(200).json();
    assert_eq!(undone["undone"], 2, "{undone}");
    // The contact itself was a person's work.
    assert_eq!(read(&agent, &contact).await["metadata"], json!({"kept": 1}));
    assert_eq!(read(&agent, "/v1/activities").await["data"], json!([]));
    agent.post(&format!("/v1/runs/{run}/undo"), json!({})).await.fault(409, "already_undone");
}

#[tokio::test]
async fn a_deal_is_moved_to_a_stage_of_another_pipeline() {
    let agent = relm().await;
    agent.post("/v1/pipelines", json!({"key": "renewals", "label": "Renewals"})).await.status(201);
    agent.post("/v1/pipelines/renewals/stages", json!({"key": "due", "label": "Due"})).await.status(201);
    let moves = |action: Value| {
        let agent = agent.clone();
        async move { rule(&agent, "deal.created", json!([]), json!([action])).await }
    };
    // The stage is one of the other pipeline alone, and the deal is not there.
    let without = moves(json!({"type": "move_deal_stage", "stage": "due"})).await;
    let deal = create(&agent, "/v1/deals", json!({"title": "T"})).await;
    let run = runs(&agent, &without, 1).await.remove(0);
    assert_eq!((&run["status"], &run["actions"][0]["status"]), (&json!("error"), &json!("error")), "{run}");
    let path = format!("/v1/deals/{deal}");
    assert_eq!(read(&agent, &path).await["stage"], "lead");
    agent.delete(&format!("/v1/automations/{without}")).await.status(200);

    let with = moves(json!({"type": "move_deal_stage", "pipeline": "renewals", "stage": "due"})).await;
    let deal = create(&agent, "/v1/deals", json!({"title": "U"})).await;
    let run = runs(&agent, &with, 1).await.remove(0);
    assert_eq!(run["actions"], json!([{"type": "move_deal_stage", "status": "success", "id": deal}]));
    let deal = read(&agent, &format!("/v1/deals/{deal}")).await;
    assert_eq!((&deal["pipeline"], &deal["stage"]), (&json!("renewals"), &json!("due")));
}

#[tokio::test]
async fn metadata_is_set_on_the_record_that_is_named_or_the_nearest() {
    let agent = relm().await;
    let company =
        create(&agent, "/v1/companies", json!({"name": "Acme", "metadata": {"tier": "tin", "kept": 1}})).await;
    let contact = create(&agent, "/v1/contacts", json!({"email": "a@b.example"})).await;
    let actions = json!([
        {"type": "set_metadata", "key": "last", "value": {"kinds": ["call", null], "count": 1}},
        {"type": "set_metadata", "target": "company", "key": "tier", "value": "gold"},
        {"type": "set_metadata", "target": "deal", "key": "never", "value": 1},
        {"type": "set_metadata", "target": "company", "key": "after", "value": 1},
    ]);
    let id = rule(&agent, "activity.created", json!([]), actions).await;
    create(&agent, "/v1/activities", json!({"type": "call", "contact_id": contact, "company_id": company})).await;
    let run = runs(&agent, &id, 1).await.remove(0);
    // The first action that fails ends the run, and what was done before it stays.
    assert_eq!(run["error"], "actions[2]: The event is about no deal.", "{run}");
    let done: Vec<&Value> = run["actions"].as_array().expect("actions").iter().map(|it| &it["id"]).collect();
    assert_eq!(done, [&json!(contact), &json!(company), &Value::Null]);
    assert_eq!(
        read(&agent, &format!("/v1/contacts/{contact}")).await["metadata"],
        json!({"last": {"kinds": ["call", null], "count": 1}})
    );
    let company = read(&agent, &format!("/v1/companies/{company}")).await;
    assert_eq!(company["metadata"], json!({"tier": "gold", "kept": 1}));
}

/// The types of the events that fired an automation, sorted.
async fn fired_by(agent: &Agent, id: &str, count: usize) -> Vec<String> {
    let runs = runs(agent, id, count).await;
    let mut types: Vec<String> =
        runs.iter().map(|run| run["event_type"].as_str().expect("a type").to_owned()).collect();
    types.sort_unstable();
    types
}

#[tokio::test]
async fn a_pattern_is_fired_by_each_event_of_its_family_and_by_no_other() {
    let agent = relm().await;
    // No event meets this condition, so that the runs write nothing that fires others.
    let never = || json!([{"field": "no_such_field", "op": "exists"}]);
    let note = || json!([{"type": "create_activity", "activity_type": "note"}]);
    let companies = rule(&agent, "company.*", never(), note()).await;
    let deals = rule(&agent, "deal.*", never(), note()).await;
    let activities = rule(&agent, "activity.*", never(), note()).await;

    let company = create(&agent, "/v1/companies", json!({"name": "Acme"})).await;
    let deal = create(&agent, "/v1/deals", json!({"title": "T", "company_id": company})).await;
    let activity = create(&agent, "/v1/activities", json!({"type": "note", "deal_id": deal})).await;
    let paths = [format!("/v1/companies/{company}"), format!("/v1/deals/{deal}"), format!("/v1/activities/{activity}")];
    let patches = [json!({"name": "Acme Ltd"}), json!({"stage": "won"}), json!({"subject": "S"})];
    for (path, patch) in paths.iter().zip(patches) {
        agent.patch(path, patch).await.status(200);
    }
    for path in paths.iter().rev() {
        agent.send(Method::DELETE, path, &[], "").await.status(200);
    }
    let found = fired_by(&agent, &companies, 3).await;
    assert_eq!(found, ["company.created", "company.deleted", "company.updated"]);
    let found = fired_by(&agent, &deals, 4).await;
    assert_eq!(found, ["deal.created", "deal.deleted", "deal.stage_changed", "deal.updated"]);
    let found = fired_by(&agent, &activities, 3).await;
    assert_eq!(found, ["activity.created", "activity.deleted", "activity.updated"]);
}
