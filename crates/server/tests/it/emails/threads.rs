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

/// A copy as it comes to a mailbox, with the header that names the record if `id` is given.
async fn copy(agent: &Agent, message_id: &str, id: Option<&str>, from: &str) -> Reply {
    let named = id.map(|id| format!("X-Kith-Email: {id}\r\n")).unwrap_or_default();
    let message = format!(
        "From: Ada <{from}>\r\nTo: sarah@acme.example\r\nSubject: Hello\r\nMessage-ID: {message_id}\r\n{named}\r\nHello Sarah\r\n"
    );
    agent.send(reqwest::Method::POST, "/v1/emails", &[("content-type", "message/rfc822")], message).await
}

async fn count(agent: &Agent, path: &str) -> usize {
    agent.get(path).await.status(200).json()["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_copy_that_comes_before_the_message_id_is_told_is_the_same_mail() {
    for agent in &apart().await {
        let key = connect(agent).await;
        resend().hides_message_ids(&key, true);
        let mail = sent(agent, hello()).await;
        let (id, message_id) = (mail["id"].as_str().unwrap(), message_id_of(FIRST_ID));
        assert_eq!(mail["provider_msg_id"], FIRST_ID);
        // An answer comes even before the copy: it knows the Message-ID already.
        let more = format!("In-Reply-To: {message_id}\r\n");
        let answer = record(&receive(agent, "<2@acme.example>", "Something else", &more).await.status(201));
        assert_ne!(answer["thread_id"], mail["thread_id"]);
        // Others may know the id too. A message of another sender or subject is no copy.
        copy(agent, "<forged@acme.example>", Some(id), "eve@evil.example").await.status(201);
        let known = record(&copy(agent, &message_id, Some(id), "ada@shop.example").await.status(200));
        assert_eq!((&known["id"], &known["provider_msg_id"]), (&mail["id"], &json!(message_id)));
        assert_eq!((count(agent, "/v1/emails").await, count(agent, "/v1/activities").await), (3, 2));
        // The conversation is one.
        let answer = record(&agent.get(&format!("/v1/emails/{}", answer["id"].as_str().unwrap())).await.status(200));
        assert_eq!(answer["thread_id"], known["thread_id"]);
        assert_eq!(record(&copy(agent, &message_id, None, "ada@shop.example").await.status(200))["id"], mail["id"]);
    }
}

#[tokio::test]
async fn a_copy_that_names_no_record_is_found_when_the_message_id_is_told() {
    for agent in &apart().await {
        let key = connect(agent).await;
        resend().hides_message_ids(&key, true);
        let mail = sent(agent, with("from", json!("shop@shop.example"))).await;
        let message_id = message_id_of(FIRST_ID);
        let second = record(&copy(agent, &message_id, None, "shop@shop.example").await.status(201));
        assert_eq!(second["direction"], "outbound");
        let answer = receive(agent, "<2@acme.example>", "Other", &format!("In-Reply-To: {message_id}\r\n")).await;
        let answer = record(&answer.status(201));
        resend().hides_message_ids(&key, false);
        let start = std::time::Instant::now();
        while record(&agent.get(&format!("/v1/emails/{}", mail["id"].as_str().unwrap())).await)["provider_msg_id"]
            == FIRST_ID
        {
            make_due(agent).await;
            assert!(start.elapsed().as_secs() < 60);
            tokio::task::yield_now().await;
        }
        ended(agent).await;
        agent.get(&format!("/v1/emails/{}", second["id"].as_str().unwrap())).await.status(404);
        let answer = record(&agent.get(&format!("/v1/emails/{}", answer["id"].as_str().unwrap())).await.status(200));
        assert_eq!((&answer["thread_id"], count(agent, "/v1/emails").await), (&mail["thread_id"], 2));
    }
}
