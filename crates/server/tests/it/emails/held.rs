//! The switch that stops everything outgoing.

use serde_json::{Value, json};

use super::{connect, hello, record, until};
use crate::belongings::{joined, owned};
use crate::mcp::call;
use crate::support::{Agent, Receiver, resend};

async fn switch(owner: &Agent, body: Value) -> Value {
    owner.patch(&format!("/v1/workspaces/{}", owner.workspace_id), body).await.status(200).data()
}

/// The workspace as its owner's list shows it.
async fn sends(owner: &Agent) -> Value {
    let listed = owner.get("/v1/workspaces").await.status(200).data();
    let own = listed.as_array().unwrap().iter().find(|it| it["id"] == json!(owner.workspace_id)).cloned();
    own.expect("the workspace")["sending"].clone()
}

#[tokio::test]
async fn mail_and_webhooks_wait_and_are_released_or_dropped() {
    let (owner, agent) = owned().await;
    let key = connect(&agent).await;
    let receiver = Receiver::start().await;
    let hook =
        record(&agent.post("/v1/webhooks", json!({"url": receiver.url(), "events": ["contact.*"]})).await.status(201));
    let hook = hook["id"].as_str().unwrap().to_owned();
    assert_eq!(sends(&owner).await, true);
    for is_dropped in [false, true] {
        let (mails, events) = (resend().account(&key).emails.len(), receiver.received().len());
        assert_eq!(switch(&owner, json!({"sending": false})).await["sending"], false);
        assert_eq!(sends(&owner).await, false);
        let held = agent.post("/v1/emails", hello()).await.status(202);
        assert_eq!((held.text("/data/status"), held.at("/_meta/sending")), ("held".to_owned(), json!(false)));
        assert_eq!(held.header("x-sending"), "held");
        let batch = json!({"operations": [{"method": "POST", "path": "/v1/emails", "body": hello()}]});
        agent.post("/v1/batch", batch).await.status(200);
        agent.post(&format!("/v1/webhooks/{hook}/test"), json!({})).await.status(201);
        assert_eq!(agent.get("/v1/contacts").await.status(200).at("/_meta/sending"), false);
        let again = switch(&owner, json!({"sending": false})).await;
        assert_eq!(again["held"], json!({"emails": 2, "deliveries": 1}), "{again}");
        assert_eq!((resend().account(&key).emails.len(), receiver.received().len()), (mails, events));
        let lifted = if is_dropped { json!({"sending": true, "held": "drop"}) } else { json!({"sending": true}) };
        let lifted = switch(&owner, lifted).await;
        assert_eq!(
            lifted[if is_dropped { "dropped" } else { "released" }],
            json!({"emails": 2, "deliveries": 1}),
            "{lifted}"
        );
        let record = until(&agent, &held.id(), if is_dropped { "failed" } else { "sent" }).await;
        if is_dropped {
            assert!(record["status_reason"].as_str().unwrap().contains("dropped"), "{record}");
        } else {
            resend().wait(&key, mails + 2).await;
            receiver.wait(events + 1).await;
        }
        assert!(agent.get("/v1/contacts").await.status(200).json()["_meta"].get("sending").is_none());
    }
    // What was dropped stays so, and what comes now leaves.
    agent.post(&format!("/v1/webhooks/{hook}/test"), json!({})).await.status(201);
    agent.post("/v1/emails", hello()).await.status(201);
    assert_eq!((resend().wait(&key, 3).await.len(), receiver.wait(2).await.len()), (3, 2));
}

#[tokio::test]
async fn tools_say_that_what_they_send_is_held() {
    let (owner, agentcrm) = owned().await;
    let path = format!("/v1/keys?ws={}", owner.workspace_id);
    let made = owner.post(&path, json!({"name": "relm", "dialect": "relm", "mode": "live"})).await.status(201);
    let relm = agentcrm.clone().with_key(made.text("/data/api_key"), owner.workspace_id.clone());
    let key = connect(&agentcrm).await;
    let receiver = Receiver::start().await;
    for agent in [&agentcrm, &relm] {
        let hook = json!({"url": receiver.url(), "events": ["contact.*"]});
        let hook = call(agent, "create_webhook", hook).await["id"].clone();
        let mail = json!({"to": ["sarah@acme.example"], "subject": "Hello", "text": "Hi"});
        let test = async || call(agent, "test_webhook", json!({"id": hook})).await;
        let sent = test().await;
        assert_eq!((&sent["outcome"], sent.get("sending")), (&json!("Queued 1 test event."), None), "{sent}");
        switch(&owner, json!({"sending": false})).await;
        let held = call(agent, "send_email", mail.clone()).await;
        assert_eq!((&held["status"], &held["sending"]), (&json!("held"), &json!("held")), "{held}");
        let held = test().await;
        assert_eq!(held["sending"], "held", "{held}");
        assert!(held["outcome"].as_str().unwrap().starts_with("Held 1 test event"), "{held}");
        let again = json!({"id": hook, "delivery_id": sent["id"]});
        let again = call(agent, "replay_webhook_deliveries", again).await;
        assert!(again["outcome"].as_str().unwrap().starts_with("Held 1 delivery"), "{again}");
        // What holds nothing back does not say so.
        assert!(call(agent, "get_webhook", json!({"id": hook})).await.get("sending").is_none());
        switch(&owner, json!({"sending": true, "held": "drop"})).await;
        assert_eq!(call(agent, "send_email", mail).await.get("sending"), None);
    }
    assert_eq!(resend().account(&key).emails.len(), 2);
}

#[tokio::test]
async fn only_an_owner_sets_it_and_with_a_plain_body() {
    let (owner, agent) = owned().await;
    let (member, _, _) = joined(&owner, "member").await;
    let path = format!("/v1/workspaces/{}", owner.workspace_id);
    member.patch(&path, json!({"sending": false})).await.fault(403, "forbidden");
    agent.patch(&path, json!({"sending": false})).await.status(401);
    let (stranger, _) = owned().await;
    stranger.patch(&path, json!({"sending": false})).await.fault(404, "not_found");
    for body in [
        json!({}),
        json!({"sending": "no"}),
        json!({"sending": false, "held": "drop"}),
        json!({"sending": true, "held": "keep"}),
        json!({"sendin": true}),
    ] {
        owner.patch(&path, body).await.fault(400, "invalid_request");
    }
    assert_eq!(sends(&owner).await, true);
}
