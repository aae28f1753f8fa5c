//! Conversations with a provider that sets the Message-IDs: answers and copies are recognized by them, and answers refer to them.

use serde_json::{Value, json};

use super::{apart, connect, hello, make_due, record, set, until, with};
use crate::support::{Agent, Reply, home, message_id_of, resend};

const FIRST_ID: &str = "49a3999c-0ce1-4ea6-ab68-000000000000";

/// Gives Kith a message as it came.
async fn receive(agent: &Agent, id: &str, subject: &str, more: &str) -> Reply {
    let message = format!(
        "From: Sarah <sarah@acme.example>\r\nTo: ada@shop.example\r\nSubject: {subject}\r\nMessage-ID: {id}\r\n{more}\r\nHello\r\n"
    );
    agent.send(reqwest::Method::POST, "/v1/emails", &[("content-type", "message/rfc822")], message).await
}

async fn sent(agent: &Agent, body: Value) -> Value {
    record(&agent.post("/v1/emails", body).await.status(201))
}

#[tokio::test]
async fn an_answer_and_a_copy_are_recognized_by_the_providers_message_id() {
    for agent in &apart().await {
        connect(agent).await;
        let mail = sent(agent, hello()).await;
        let message_id = message_id_of(FIRST_ID);
        assert_eq!((&mail["provider"], &mail["provider_msg_id"]), (&json!("resend"), &json!(message_id)));
        // The subject alone says nothing.
        let answer =
            receive(agent, "<2@acme.example>", "Something else", &format!("In-Reply-To: {message_id}\r\n")).await;
        assert_eq!(record(&answer.status(201))["thread_id"], mail["thread_id"]);
        let copy = receive(agent, &message_id, "Hello", "").await.status(200);
        assert_eq!(record(&copy)["id"], mail["id"]);
    }
}

#[tokio::test]
async fn an_answer_refers_to_the_whole_conversation() {
    for agent in &apart().await {
        let key = connect(agent).await;
        record(&receive(agent, "<1@acme.example>", "Hello", "").await.status(201));
        let first = sent(agent, with("in_reply_to", json!("<1@acme.example>"))).await;
        let own = first["provider_msg_id"].as_str().unwrap().to_owned();
        let more = format!("In-Reply-To: {own}\r\n");
        let answer = record(&receive(agent, "<2@acme.example>", "Re: Hello", &more).await.status(201));
        sent(agent, with("in_reply_to", answer["id"].clone())).await;
        // A message of one's own is answered too.
        sent(agent, with("in_reply_to", first["id"].clone())).await;
        let headers: Vec<Value> = resend().account(&key).emails.iter().map(|it| it["headers"].clone()).collect();
        let expected = [
            json!({"In-Reply-To": "<1@acme.example>", "References": "<1@acme.example>"}),
            json!({"In-Reply-To": "<2@acme.example>", "References": format!("<1@acme.example> {own} <2@acme.example>")}),
            json!({"In-Reply-To": own, "References": format!("<1@acme.example> {own}")}),
        ];
        assert_eq!(headers, expected);
    }
}

#[tokio::test]
async fn a_message_id_that_is_told_later_is_recorded_then() {
    for agent in &apart().await {
        let key = connect(agent).await;
        resend().hides_message_ids(&key, true);
        let mail = sent(agent, hello()).await;
        let id = mail["id"].as_str().unwrap();
        assert_eq!(mail["provider_msg_id"], FIRST_ID);
        make_due(agent).await;
        resend().hides_message_ids(&key, false);
        let start = std::time::Instant::now();
        loop {
            let found = until(agent, id, "sent").await;
            if found["provider_msg_id"] == message_id_of(FIRST_ID) {
                break;
            }
            assert!(start.elapsed().as_secs() < 60, "{found}");
            make_due(agent).await;
            tokio::task::yield_now().await;
        }
        assert_eq!((resend().account(&key).attempts, resend().account(&key).emails.len()), (1, 1));
        ended(agent).await;
    }
}

/// Waits until nothing is to be done for the workspace's e-mails.
async fn ended(agent: &Agent) {
    let start = std::time::Instant::now();
    loop {
        let workspace_id = agent.workspace_id.clone();
        let is_over = async move {
            let sql = "SELECT id FROM outgoing_emails WHERE workspace_id = $1 AND next_attempt_at IS NOT NULL";
            home().kith.app.store.control.query(sql, &[Some(&workspace_id)]).await.unwrap().is_empty()
        };
        if home().run(is_over).await {
            return;
        }
        assert!(start.elapsed().as_secs() < 60, "the queue has work");
    }
}

#[tokio::test]
async fn a_key_that_may_only_send_is_asked_once() {
    let agent = &apart().await[1];
    let key = format!("re_sends_only_{}", agent.workspace_id);
    set(agent, json!({"api_key": key, "from_email": "shop@shop.example"})).await.status(200);
    let mail = sent(agent, hello()).await;
    make_due(agent).await;
    ended(agent).await;
    assert_eq!(until(agent, mail["id"].as_str().unwrap(), "sent").await["provider_msg_id"], FIRST_ID);
}
