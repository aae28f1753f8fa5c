//! E-mail that is sent: the integration, each outcome, what the provider gets, and what never leaves.

mod attachments;
mod automations;
mod crash;
mod domains;
mod held;
mod keys;
mod queue;
mod refused;
mod smtp;
mod threads;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, both, home, resend};

/// The record in an answer of either dialect.
fn record(reply: &Reply) -> Value {
    let json = reply.json();
    if json.get("object").is_some() { json } else { json["data"].clone() }
}

/// A Relm client and an agentCRM client, each with a workspace of its own.
async fn apart() -> [Agent; 2] {
    [both().await.0, both().await.1]
}

/// A key of Resend's of its own, connected to the agent's workspace.
async fn connect(agent: &Agent) -> String {
    let key = format!("re_{}", agent.workspace_id);
    set(agent, json!({"api_key": key, "from_email": "Shop <shop@shop.example>"})).await.status(200);
    key
}

async fn set(agent: &Agent, body: Value) -> Reply {
    agent.send_json(Method::PUT, "/v1/integrations/email", body.to_string()).await
}

fn hello() -> Value {
    json!({"from": "Ada <ada@shop.example>", "to": "sarah@acme.example", "subject": "Hello", "text": "Hello Sarah, how are you?"})
}

fn with(name: &str, value: Value) -> Value {
    let mut mail = hello();
    mail[name] = value;
    mail
}

async fn keyed(agent: &Agent, key: &str, body: &Value) -> Reply {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    agent.send(Method::POST, "/v1/emails", &headers, body.to_string()).await
}

/// Waits until the record of an e-mail has this status.
async fn until(agent: &Agent, id: &str, status: &str) -> Value {
    let start = std::time::Instant::now();
    loop {
        let found = record(&agent.get(&format!("/v1/emails/{id}")).await.status(200));
        if found["status"] == status {
            return found;
        }
        assert!(start.elapsed().as_secs() < 60, "{status} is expected: {found}");
        tokio::task::yield_now().await;
    }
}

/// Makes the waiting e-mails of a workspace due, as if the time of their next attempt had come.
async fn make_due(agent: &Agent) {
    let sql = "UPDATE outgoing_emails SET next_attempt_at = now() WHERE workspace_id = $1 AND taken_by IS NULL AND next_attempt_at IS NOT NULL";
    home().control(sql, &[&agent.workspace_id]).await;
    home().kith.app.wakes.emails.notify_one();
}

#[tokio::test]
async fn an_integration_is_set_read_and_removed_and_never_shows_its_secret() {
    for agent in &apart().await {
        let none = record(&agent.get("/v1/integrations/email").await.status(200));
        assert_eq!(
            (&none["configured"], &none["from_email"], &none["verified"]),
            (&json!(false), &Value::Null, &json!(false))
        );
        agent.delete("/v1/integrations/email").await.fault(404, "not_found");
        let key = format!("re_secret_{}", agent.workspace_id);
        resend().verify(&key, "shop.example");
        let put = set(agent, json!({"api_key": key, "from_email": "shop@shop.example"})).await.status(200);
        let got = agent.get("/v1/integrations/email").await.status(200);
        for reply in [&put, &got] {
            let said = record(reply);
            assert_eq!(
                (&said["configured"], &said["from_email"], &said["verified"]),
                (&json!(true), &json!("shop@shop.example"), &json!(true))
            );
            assert!(!reply.story().split("\n").skip(1).any(|line| line.contains("re_secret")), "{}", reply.story());
        }
        // Another one takes its place; its domain is not verified.
        set(agent, json!({"api_key": "re_other", "from_email": "a@nowhere.example"})).await.status(200);
        assert_eq!(record(&agent.get("/v1/integrations/email").await.status(200))["verified"], false);
        agent.delete("/v1/integrations/email").await.status(200);
        assert_eq!(record(&agent.get("/v1/integrations/email").await.status(200))["configured"], false);
        for (body, status, said) in [
            (json!({"from_email": "a@b.example"}), 422, "api_key"),
            (json!({"api_key": "sk_1", "from_email": "a@b.example"}), 422, "re_"),
            (json!({"api_key": "re_1", "from_email": "nobody"}), 422, "no e-mail address"),
            (json!({"api_key": "re_1"}), 422, "from_email"),
            (json!({"api_key": 1, "from_email": "a@b.example"}), 400, "a string"),
            (json!({"api_key": "re_1", "from_email": "a@b.example", "from": "x"}), 400, "from"),
            (json!({"provider": "smtp", "url": "smtp://u:p@", "from_email": "a@b.example"}), 422, "url"),
        ] {
            let code = if status == 400 { "invalid_request" } else { "validation_failed" };
            set(agent, body).await.fault(status, code).says(said);
        }
    }
}

#[tokio::test]
async fn a_mail_is_sent_at_once_and_recorded() {
    for agent in &apart().await {
        agent.post("/v1/emails", hello()).await.fault(422, "email_not_configured");
        assert_eq!(agent.get("/v1/emails").await.status(200).json()["data"], json!([]));
        let contact = record(&agent.post("/v1/contacts", json!({"email": "sarah@acme.example"})).await)["id"].clone();
        let key = connect(agent).await;
        let mut mail = hello();
        mail["cc"] = json!(["Bob <bob@b.example>, cat@c.example"]);
        mail["bcc"] = json!("dan@d.example");
        mail["reply_to"] = json!("help@shop.example");
        mail["html"] = json!("<p>Hello</p>");
        mail["headers"] = json!({"X-Ref": "1"});
        mail["attachments"] = json!([{"filename": "a.txt", "content": "aGk=", "content_type": "text/plain"}]);
        let sent = record(&agent.post("/v1/emails", mail).await.status(201));
        for (name, value) in [
            ("status", json!("sent")),
            ("direction", json!("outbound")),
            ("from_addr", json!("ada@shop.example")),
            ("to_addrs", json!(["sarah@acme.example"])),
            ("cc_addrs", json!(["bob@b.example", "cat@c.example"])),
            ("subject", json!("Hello")),
            ("snippet", json!("Hello Sarah, how are you?")),
            ("body_html", json!("<p>Hello</p>")),
            ("provider", json!("resend")),
        ] {
            assert_eq!(sent[name], value, "{name}: {sent}");
        }
        assert!(sent["contact_ids"].as_array().unwrap().contains(&contact), "{sent}");
        assert!(
            sent["sent_at"].is_string() && sent["provider_msg_id"].as_str().unwrap().starts_with("<49a3999c"),
            "{sent}"
        );
        assert!(sent["id"].as_str().unwrap().starts_with("e_"));
        let account = resend().account(&key);
        assert_eq!((account.emails.len(), json!(account.records)), (1, json!([sent["id"]])));
        assert_eq!(
            account.emails[0],
            json!({"from": "Ada <ada@shop.example>", "to": ["sarah@acme.example"], "cc": ["Bob <bob@b.example>", "cat@c.example"],
                "bcc": ["dan@d.example"], "reply_to": ["help@shop.example"], "subject": "Hello", "html": "<p>Hello</p>",
                "text": "Hello Sarah, how are you?", "headers": {"X-Ref": "1"},
                "attachments": [{"filename": "a.txt", "content": "aGk=", "content_type": "text/plain"}]})
        );
        let id = sent["id"].as_str().unwrap();
        assert_eq!(record(&agent.get(&format!("/v1/emails/{id}")).await.status(200))["status"], "sent");
        // The workspace's own address is the sender if none is named.
        let own = json!({"to": ["x@y.example"], "subject": "S", "text": "T"});
        assert_eq!(record(&agent.post("/v1/emails", own).await.status(201))["from_addr"], "shop@shop.example");
        assert_eq!(resend().account(&key).emails[1]["from"], "Shop <shop@shop.example>");
        // A body with from_addr, or without sender and recipients, only records.
        let noted =
            record(&agent.post("/v1/emails", json!({"from_addr": "a@b.example", "subject": "S"})).await.status(201));
        assert_eq!((&noted["status"], &noted["direction"]), (&Value::Null, &Value::Null));
        agent.post("/v1/emails", json!({"subject": "S"})).await.status(201);
        agent.post("/v1/emails", json!({"from_addr": "a@b.example", "to": "b@c.example"})).await.status(400);
        assert_eq!(resend().account(&key).attempts, 2);
    }
}

#[tokio::test]
async fn a_refusal_has_the_providers_words_and_is_recorded() {
    for agent in &apart().await {
        let key = connect(agent).await;
        agent
            .post("/v1/emails", with("from", json!("a@unverified.example")))
            .await
            .fault(422, "email_rejected")
            .says("is not verified");
        let listed = agent.get("/v1/emails").await.status(200).json()["data"].clone();
        assert_eq!(listed[0]["status"], "failed");
        assert!(listed[0]["status_reason"].as_str().unwrap().contains("is not verified"), "{listed}");
        assert_eq!(listed[0]["sent_at"], Value::Null);
        // A retry with the same Idempotency-Key has the same answer, and the provider is not asked again.
        let refused = keyed(agent, "k", &with("to", json!("refused@x.example"))).await.fault(422, "email_rejected");
        let attempts = resend().account(&key).attempts;
        let again = keyed(agent, "k", &with("to", json!("refused@x.example"))).await.status(422);
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(refused.error()["message"], again.error()["message"]);
        assert_eq!(resend().account(&key).attempts, attempts);
        set(agent, json!({"api_key": "re_invalid", "from_email": "a@b.example"})).await.status(200);
        agent.post("/v1/emails", hello()).await.fault(422, "email_rejected").says("API key is invalid");
    }
}

#[tokio::test]
async fn a_provider_that_is_down_gets_the_mail_later_and_once() {
    for agent in &apart().await {
        let key = connect(agent).await;
        for status in [503, 429] {
            resend().will_answer(&key, status, json!({"statusCode": status, "name": "x", "message": "Too busy."}));
        }
        let queued = record(&keyed(agent, "once", &hello()).await.status(202));
        assert_eq!((&queued["status"], &queued["sent_at"]), (&json!("queued"), &Value::Null));
        // It says what the provider has said, and when it is asked again.
        let said = queued["status_reason"].as_str().unwrap();
        assert!(said.starts_with("Too busy. The next attempt is at 20") && said.ends_with("Z."), "{queued}");
        assert_eq!(resend().account(&key).attempts, 1);
        let replayed = keyed(agent, "once", &hello()).await.status(202);
        assert_eq!(replayed.header("idempotent-replayed"), "true");
        assert_eq!(record(&replayed), queued);
        let stored = record(&agent.get(&format!("/v1/emails/{}", queued["id"].as_str().unwrap())).await.status(200));
        assert_eq!(stored["status_reason"], queued["status_reason"]);
        let id = queued["id"].as_str().unwrap();
        // Twice, because the second attempt is told to wait too.
        while resend().account(&key).emails.is_empty() {
            make_due(agent).await;
            tokio::task::yield_now().await;
        }
        let sent = until(agent, id, "sent").await;
        assert!(sent["sent_at"].is_string() && sent["provider"] == "resend", "{sent}");
        assert_eq!(sent["status_reason"], Value::Null);
        assert_eq!((resend().account(&key).emails.len(), resend().account(&key).attempts), (1, 3));
        // It is refused when its turn comes.
        resend().will_answer(&key, 500, json!({"message": "x"}));
        let queued = record(&agent.post("/v1/emails", with("to", json!("refused@x.example"))).await.status(202));
        while resend().account(&key).attempts < 5 {
            make_due(agent).await;
            tokio::task::yield_now().await;
        }
        let failed = until(agent, queued["id"].as_str().unwrap(), "failed").await;
        assert_eq!(failed["status_reason"], "Invalid `to` field.");
    }
}

#[tokio::test]
async fn an_idempotency_key_sends_once() {
    for agent in &apart().await {
        let key = connect(agent).await;
        let first = keyed(agent, "k", &hello()).await.status(201);
        let again = keyed(agent, "k", &hello()).await.status(201);
        assert_eq!(record(&first), record(&again));
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(record(&again)["status"], "sent");
        keyed(agent, "k", &with("subject", json!("Other"))).await.fault(409, "idempotency_conflict");
        assert_eq!(resend().account(&key).emails.len(), 1);
        assert_eq!(agent.get("/v1/emails").await.json()["data"].as_array().unwrap().len(), 1);
    }
}

/// A key is the workspace's, whoever uses it. A reply has the dialect of its request, so another dialect's key gets none; and nothing is sent twice.
#[tokio::test]
async fn an_idempotency_key_sends_once_for_all_keys_of_the_workspace() {
    let (relm, agent) = both().await;
    assert_eq!(relm.workspace_id, agent.workspace_id);
    let key = connect(&agent).await;
    let first = keyed(&agent, "k", &hello()).await.status(201);
    let another = crate::keyed::with_role(&agent, "member").await;
    assert_ne!(another.key, agent.key);
    let again = keyed(&another, "k", &hello()).await.status(201);
    assert_eq!(
        (record(&again)["id"].clone(), again.header("idempotent-replayed")),
        (record(&first)["id"].clone(), "true".into())
    );
    keyed(&relm, "k", &hello()).await.fault(409, "idempotency_conflict").says("other dialect");
    assert_eq!((resend().account(&key).attempts, resend().account(&key).emails.len()), (1, 1));
    // A key of test mode has other data, and its own keys.
    assert_eq!(agent.get("/v1/emails").await.json()["data"].as_array().unwrap().len(), 1);
}
