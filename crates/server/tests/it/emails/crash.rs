//! What the provider has accepted is sent once, whatever becomes of its answer: lost, held back until a kill, or repeated after the day for
//! which the provider knows the e-mail.

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use super::{apart, connect, hello, make_due, record, set, until};
use crate::support::{Agent, Child, TempDir, home, mailbox, resend};

/// Checks that an account has sent one e-mail, whose attempts had the same idempotency key.
fn sent_once(key: &str, attempts: usize) {
    let account = resend().account(key);
    assert_eq!(account.emails.len(), 1);
    assert!(account.attempts >= attempts, "{} attempts", account.attempts);
    let first = &account.keys_of_attempts[0];
    assert!(
        !first.is_empty() && account.keys_of_attempts.iter().all(|it| it == first),
        "{:?}",
        account.keys_of_attempts
    );
}

/// Changes the row of the queue that waits, as if so much time had passed.
async fn shift(agent: &Agent, change: &str) {
    let sql =
        format!("UPDATE outgoing_emails SET {change} WHERE workspace_id = $1 AND taken_by IS NULL AND outcome IS NULL");
    home().control(&sql, &[&agent.workspace_id]).await;
}

/// Checks a condition of the workspace's rows of the queue.
async fn queue_is(agent: &Agent, condition: &str) {
    let sql = format!(
        "SELECT 1 / (CASE WHEN EXISTS (SELECT FROM outgoing_emails WHERE workspace_id = $1 AND {condition}) THEN 1 ELSE 0 END)"
    );
    home().control(&sql, &[&agent.workspace_id]).await;
}

#[tokio::test]
async fn an_answer_that_is_lost_sends_nothing_twice() {
    for agent in &apart().await {
        let key = connect(agent).await;
        resend().will_lose_answer(&key);
        resend().will_lose_answer(&key);
        let queued = record(&agent.post("/v1/emails", hello()).await.status(202));
        assert_eq!((&queued["status"], resend().account(&key).emails.len()), (&json!("queued"), 1));
        queue_is(agent, "tried_at IS NOT NULL AND attempts = 1").await;
        let start = Instant::now();
        while resend().account(&key).attempts < 3 {
            make_due(agent).await;
            assert!(start.elapsed().as_secs() < 60, "{:?}", resend().account(&key).keys_of_attempts);
            tokio::task::yield_now().await;
        }
        until(agent, queued["id"].as_str().unwrap(), "sent").await;
        sent_once(&key, 3);
    }
}

#[tokio::test]
async fn a_kill_before_the_answer_sends_nothing_twice_and_keeps_nobody_waiting() {
    let dir = TempDir::new();
    let start = || {
        Child::serve_with(&dir, |command| {
            command.env("KITH_RESEND_BASE_URL", &resend().url);
        })
    };
    let child = start();
    let agent = child.agent().await;
    let key = format!("re_{}", agent.workspace_id);
    set(&agent, json!({"api_key": key, "from_email": "shop@shop.example"})).await.status(200);
    resend().will_hold_answer_back(&key);
    let (sender, body) = (agent.at(&child.base), hello().to_string());
    let asked = tokio::spawn(async move {
        sender.try_send(Method::POST, "/v1/emails", &[("content-type", "application/json")], body).await.is_ok()
    });
    resend().wait(&key, 1).await;
    child.kill();
    assert!(!asked.await.expect("a request"), "it has no answer");
    let child = start();
    let agent = agent.at(&child.base);
    let listed = agent.get("/v1/emails").await.status(200).json()["data"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    // Sooner than after the lease of the killed process.
    until(&agent, listed[0]["id"].as_str().unwrap(), "sent").await;
    sent_once(&key, 2);
}

#[tokio::test]
async fn what_may_have_been_accepted_is_not_repeated_after_a_day() {
    for agent in &apart().await {
        let key = connect(agent).await;
        // It may have been accepted, and was held for a day then.
        resend().will_answer(&key, 503, json!({"message": "Too busy."}));
        let id = record(&agent.post("/v1/emails", hello()).await.status(202))["id"].as_str().unwrap().to_owned();
        shift(agent, "tried_at = tried_at - interval '23 hours 1 minute', next_attempt_at = now()").await;
        make_due(agent).await;
        let failed = until(agent, &id, "failed").await;
        assert!(failed["status_reason"].as_str().unwrap().contains("may have been accepted"), "{failed}");
        assert_eq!(resend().account(&key).attempts, 1);
        // The provider asks to wait until it will have forgotten the key.
        for _ in 0..2 {
            resend().will_ask_to_wait(&key, 500, 8 * 3600);
        }
        let id = record(&agent.post("/v1/emails", hello()).await.status(202))["id"].as_str().unwrap().to_owned();
        queue_is(agent, "outcome IS NULL AND next_attempt_at > now() + interval '7 hours'").await;
        shift(agent, "tried_at = tried_at - interval '16 hours', next_attempt_at = now()").await;
        make_due(agent).await;
        let failed = until(agent, &id, "failed").await;
        let said = failed["status_reason"].as_str().unwrap();
        assert!(said.contains("Too busy.") && said.contains("may have been accepted"), "{failed}");
        assert_eq!((resend().account(&key).attempts, resend().account(&key).emails.len()), (3, 0));
    }
}

#[tokio::test]
async fn what_was_surely_not_accepted_is_sent_days_later() {
    for agent in &apart().await {
        let key = connect(agent).await;
        resend().will_answer(&key, 429, json!({"message": "Too many."}));
        let id = record(&agent.post("/v1/emails", hello()).await.status(202))["id"].as_str().unwrap().to_owned();
        queue_is(agent, "tried_at IS NULL AND outcome IS NULL").await;
        shift(agent, "created_at = created_at - interval '3 days', next_attempt_at = now()").await;
        make_due(agent).await;
        assert_eq!(until(agent, &id, "sent").await["status_reason"], Value::Null);
        sent_once(&key, 2);
    }
}

/// Makes the workspace's e-mail due again and again, until its record has this status.
async fn until_due(agent: &Agent, id: &str, status: &str) -> Value {
    let start = Instant::now();
    loop {
        make_due(agent).await;
        let found = record(&agent.get(&format!("/v1/emails/{id}")).await.status(200));
        if found["status"] == status {
            return found;
        }
        assert!(start.elapsed().as_secs() < 60, "{found}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_one_account_may_have_accepted_is_not_sent_by_another_one() {
    for agent in &apart().await {
        let key = connect(agent).await;
        let smtp = json!({"provider": "smtp", "url": mailbox().url, "from_email": "shop@shop.example"});
        let other = json!({"api_key": format!("re_other_{}", agent.workspace_id), "from_email": "shop@shop.example"});
        for (number, settings) in [&smtp, &other].into_iter().enumerate() {
            set(agent, json!({"api_key": key, "from_email": "shop@shop.example"})).await.status(200);
            resend().will_lose_answer(&key);
            let to = format!("uncertain-{number}-{}@x.example", agent.key);
            let mail = json!({"to": to, "subject": "S", "text": "T"});
            let id = record(&agent.post("/v1/emails", mail).await.status(202))["id"].as_str().unwrap().to_owned();
            set(agent, settings.clone()).await.status(200);
            let failed = until_due(agent, &id, "failed").await;
            let said = failed["status_reason"].as_str().unwrap();
            assert!(said.contains("through another e-mail account may have been accepted"), "{failed}");
            assert_eq!(resend().account(&key).emails.len(), number + 1);
            assert!(mailbox().of(&to).is_empty());
        }
        assert_eq!(resend().account(other["api_key"].as_str().unwrap()).attempts, 0);
        // Without an account it says so too.
        set(agent, json!({"api_key": key, "from_email": "shop@shop.example"})).await.status(200);
        resend().will_lose_answer(&key);
        let id = record(&agent.post("/v1/emails", hello()).await.status(202))["id"].as_str().unwrap().to_owned();
        agent.delete("/v1/integrations/email").await.status(200);
        let failed = until_due(agent, &id, "failed").await;
        let said = failed["status_reason"].as_str().unwrap();
        assert!(said.contains("has no e-mail provider") && said.contains("may have been accepted"), "{failed}");
    }
}

#[tokio::test]
async fn what_was_surely_not_accepted_is_sent_by_another_account_once() {
    for agent in &apart().await {
        let key = connect(agent).await;
        resend().will_answer(&key, 429, json!({"message": "Too many."}));
        let to = format!("moved-{}@x.example", agent.key);
        let mail = json!({"to": to, "subject": "S", "text": "T"});
        let id = record(&agent.post("/v1/emails", mail).await.status(202))["id"].as_str().unwrap().to_owned();
        set(agent, json!({"provider": "smtp", "url": mailbox().url, "from_email": "shop@shop.example"}))
            .await
            .status(200);
        let sent = until_due(agent, &id, "sent").await;
        assert_eq!((&sent["provider"], &sent["status_reason"]), (&json!("smtp"), &Value::Null));
        assert_eq!((resend().account(&key).emails.len(), mailbox().wait(&to, 1).await.len()), (0, 1));
    }
}
