//! The action `send_email`.

use serde_json::{Value, json};

use super::{apart, connect, record};
use crate::belongings::owned;
use crate::support::{Agent, resend, stranger};

async fn rule(agent: &Agent, action: Value) -> String {
    let body = json!({"name": "Mail", "trigger_event": "deal.created", "actions": [action]});
    record(&agent.post("/v1/automations", body).await.status(201))["id"].as_str().unwrap().to_owned()
}

/// Waits for the first run of an automation.
async fn run(agent: &Agent, id: &str) -> Value {
    let start = std::time::Instant::now();
    loop {
        let page = agent.get(&format!("/v1/automations/{id}/runs")).await.status(200).json();
        if let Some(run) = page["data"].as_array().and_then(|runs| runs.first()) {
            return run.clone();
        }
        assert!(start.elapsed().as_secs() < 60, "no run came");
    }
}

/// Creates a deal of a new contact.
async fn deal(agent: &Agent) {
    let is_relm = agent.key.starts_with("sk_");
    let (title, contact) = if is_relm { ("title", "primary_contact_id") } else { ("name", "contact_id") };
    let custom = if is_relm { "metadata" } else { "custom" };
    let person = json!({"email": "sarah@acme.example", "first_name": "<Sarah>", custom: {"plan": "pro"}});
    let id = record(&agent.post("/v1/contacts", person).await.status(201))["id"].clone();
    agent.post("/v1/deals", json!({title: "Big", contact: id})).await.status(201);
}

#[tokio::test]
async fn a_rule_sends_with_its_placeholders_filled() {
    for agent in &apart().await {
        let key = connect(agent).await;
        let (title, plan) =
            if agent.key.starts_with("sk_") { ("title", "metadata.plan") } else { ("name", "custom.plan") };
        let id = rule(agent, json!({"type": "send_email", "to": "{{contact.email}}", "subject": format!("About {{{{deal.{title}}}}}"),
            "html": "<p>Hi {{contact.first_name}}</p>", "text": format!("Hi {{{{contact.first_name}}}}, {{{{contact.{plan}}}}}{{{{contact.phone}}}}.")})).await;
        deal(agent).await;
        let found = run(agent, &id).await;
        assert_eq!(
            (&found["status"], &found["actions"][0]["email_status"]),
            (&json!("success"), &json!("sent")),
            "{found}"
        );
        let mail = resend().account(&key).emails[0].clone();
        assert_eq!(
            mail,
            json!({"from": "Shop <shop@shop.example>", "to": ["sarah@acme.example"], "subject": "About Big",
                "html": "<p>Hi &lt;Sarah&gt;</p>", "text": "Hi <Sarah>, pro."})
        );
        let sent = record(
            &agent.get(&format!("/v1/emails/{}", found["actions"][0]["id"].as_str().unwrap())).await.status(200),
        );
        assert_eq!(sent["status"], "sent");
        assert_eq!(sent["contact_ids"].as_array().unwrap().len(), 1);

        // A test of the rule fills them too, and sends nothing.
        let deals = agent.get("/v1/deals").await.status(200).json();
        let event = json!({"event": {"type": "deal.created", "data": deals["data"][0]}});
        let trial = record(&agent.post(&format!("/v1/automations/{id}/test"), event).await.status(200));
        assert_eq!(trial["status"], "success", "{trial}");
        let would = trial["actions"][0].to_string();
        assert!(would.contains("About Big") && would.contains("sarah@acme.example"), "{would}");
        assert_eq!(resend().account(&key).emails.len(), 1);
    }
}

#[tokio::test]
async fn an_unknown_placeholder_is_refused_when_the_rule_is_saved() {
    for agent in &apart().await {
        for (action, path) in [
            (json!({"type": "send_email", "to": "a@b.example", "subject": "{{contact.nmae}}"}), "actions[0].subject"),
            (
                json!({"type": "send_email", "to": "a@b.example", "subject": "x", "html": "{{user.name}}"}),
                "actions[0].html",
            ),
            (json!({"type": "send_email", "to": "nobody", "subject": "x"}), "actions[0].to"),
            (json!({"type": "send_email", "subject": "x"}), "actions[0].to"),
            (
                json!({"type": "send_email", "to": "a@b.example", "subject": "x\r\nBcc: y@z.example"}),
                "actions[0].subject",
            ),
            (json!({"type": "send_email", "to": "a@b.example", "subject": "x", "from": "nobody"}), "actions[0].from"),
        ] {
            let body = json!({"name": "R", "trigger_event": "deal.created", "actions": [action]});
            let refused = agent.post("/v1/automations", body).await.fault(422, "validation_failed");
            assert_eq!(refused.error()["field"], path, "{}", refused.story());
        }
    }
}

#[tokio::test]
async fn a_run_without_provider_fails_and_in_test_mode_it_is_simulated() {
    let (owner, live) = owned().await;
    let made = owner.post(&format!("/v1/keys?ws={}", owner.workspace_id), json!({"mode": "test"})).await.status(201);
    let test = stranger().with_key(made.text("/data/api_key"), owner.workspace_id.clone());
    for (agent, status) in [(&live, "error"), (&test, "success")] {
        let id =
            rule(agent, json!({"type": "send_email", "to": "a@b.example", "subject": "Hi {{contact.first_name}}"}))
                .await;
        deal(agent).await;
        let found = run(agent, &id).await;
        assert_eq!(found["status"], status, "{found}");
        match status {
            "error" => assert!(found["error"].as_str().unwrap().contains("no e-mail provider"), "{found}"),
            _ => assert_eq!(found["actions"][0]["email_status"], "simulated", "{found}"),
        }
    }
}
