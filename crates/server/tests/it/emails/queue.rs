//! When e-mail leaves: not from a dry run, from a batch after its commit, from a test key never, and once after a crash.

use reqwest::Method;
use serde_json::{Value, json};

use super::{apart, connect, hello, keyed, make_due, record, until, with};
use crate::belongings::owned;
use crate::support::{home, resend, stranger};

#[tokio::test]
async fn a_dry_run_sends_and_queues_nothing() {
    for agent in &apart().await {
        let key = connect(agent).await;
        let headers = [("content-type", "application/json"), ("x-dry-run", "true")];
        let dry = agent.send(Method::POST, "/v1/emails", &headers, hello().to_string()).await.status(200);
        assert!(dry.story().contains("\"created\":1"), "{}", dry.story());
        // As the real call would answer if the provider accepts it.
        let dry = dry.json();
        let (status, shown) = match dry.get("object") {
            Some(_) => (&dry["status"], &dry["result"]),
            None => (&dry["_meta"]["status"], &dry["data"]),
        };
        assert_eq!(
            (status, &shown["status"], &shown["provider"]),
            (&json!(201), &json!("sent"), &json!("resend")),
            "{dry}"
        );
        assert!(shown["sent_at"].is_string() && shown["provider_msg_id"].is_null(), "{dry}");
        let batch = json!({"operations": [{"method": "POST", "path": "/v1/emails", "body": hello()}]});
        let dry = agent.send(Method::POST, "/v1/batch", &headers, batch.to_string()).await.status(200);
        assert!(dry.story().contains("\"status\":202") && dry.story().contains("\"queued\""), "{}", dry.story());
        assert_eq!(agent.get("/v1/emails").await.json()["data"], json!([]));
        let none =
            "SELECT 1 / (CASE WHEN EXISTS (SELECT FROM outgoing_emails WHERE workspace_id = $1) THEN 0 ELSE 1 END)";
        home().control(none, &[&agent.workspace_id]).await;
        assert_eq!(resend().account(&key).attempts, 0);
    }
}

#[tokio::test]
async fn a_batch_sends_after_its_commit_and_a_failed_one_never() {
    for agent in &apart().await {
        let key = connect(agent).await;
        let mail = json!({"method": "POST", "path": "/v1/emails", "body": hello(), "ref": "m"});
        let wrong = json!({"method": "POST", "path": "/v1/contacts", "body": {"nothing": 1}});
        agent.post("/v1/batch", json!({"operations": [mail, wrong]})).await.status(400);
        let noted = json!({"method": "POST", "path": "/v1/activities", "body": {"type": "email", "subject": "$m.id"}});
        let done = agent.post("/v1/batch", json!({"operations": [mail, noted]})).await.status(200);
        let answers = done.json()["data"].clone();
        assert_eq!(answers[0]["status"], 202, "{answers}");
        let sent = if answers[0]["body"].get("object").is_some() {
            answers[0]["body"].clone()
        } else {
            answers[0]["body"]["data"].clone()
        };
        assert_eq!(sent["status"], "queued");
        until(agent, sent["id"].as_str().unwrap(), "sent").await;
        assert_eq!(resend().account(&key).emails.len(), 1);
    }
}

#[tokio::test]
async fn a_test_key_simulates_and_needs_no_provider() {
    let (owner, live) = owned().await;
    let made = owner.post(&format!("/v1/keys?ws={}", owner.workspace_id), json!({"mode": "test"})).await.status(201);
    let test = stranger().with_key(made.text("/data/api_key"), owner.workspace_id.clone());
    for is_connected in [false, true] {
        let key = if is_connected { connect(&live).await } else { String::new() };
        let simulated = record(&test.post("/v1/emails", hello()).await.status(201));
        assert_eq!(simulated["status"], "simulated", "{simulated}");
        let own = json!({"to": "a@b.example", "subject": "S", "html": "<p>T</p>"});
        assert_eq!(record(&keyed(&test, &format!("k{is_connected}"), &own).await.status(201))["status"], "simulated");
        test.post("/v1/emails", with("to", json!("nobody"))).await.fault(422, "validation_failed");
        if is_connected {
            assert_eq!(resend().account(&key).attempts, 0);
        }
    }
    assert_eq!(live.get("/v1/emails").await.json()["data"], json!([]));
}

#[tokio::test]
async fn what_a_crash_leaves_is_finished_and_what_was_never_recorded_is_dropped() {
    for agent in &apart().await {
        let key = connect(agent).await;
        // The process ended after the commit: the row is taken by an attempt that is gone.
        resend().will_answer(&key, 503, json!({"message": "down"}));
        let id = record(&agent.post("/v1/emails", hello()).await.status(202))["id"].as_str().unwrap().to_owned();
        let crashed = "UPDATE outgoing_emails SET taken_by = 'try_gone', next_attempt_at = now() - interval '1 second' WHERE workspace_id = $1";
        home().control(crashed, &[&agent.workspace_id]).await;
        home().kith.app.wakes.emails.notify_one();
        until(agent, &id, "sent").await;
        // It ended after the provider had accepted it and before that was noted: the provider knows the key.
        let body = resend().account(&key).emails[0].clone();
        resend().will_answer(&key, 500, json!({"message": "the answer was lost"}));
        let second = record(&agent.post("/v1/emails", hello()).await.status(202))["id"].as_str().unwrap().to_owned();
        make_due(agent).await;
        until(agent, &second, "sent").await;
        assert_eq!(resend().account(&key).emails, [body.clone(), body]);
        // It ended after the outcome was noted and before it was recorded.
        agent.sql(&format!("UPDATE emails SET status = 'queued' WHERE id = '{second}'")).await.status(200);
        let noted = "UPDATE outgoing_emails SET taken_by = NULL, is_recorded = false, next_attempt_at = now() WHERE workspace_id = $1 AND id = $2";
        home().control(noted, &[&agent.workspace_id, &second]).await;
        home().kith.app.wakes.emails.notify_one();
        until(agent, &second, "sent").await;
        assert_eq!(resend().account(&key).emails.len(), 2);
        // A row whose record was never committed.
        let orphan =
            "INSERT INTO outgoing_emails (workspace_id, id, actor, provenance, message, next_attempt_at, created_at)
                      VALUES ($1, 'e_orphan', 'api_key:ak_1', '{}', 'x', now(), now() - interval '1 hour')";
        home().control(orphan, &[&agent.workspace_id]).await;
        home().kith.app.wakes.emails.notify_one();
        // Another e-mail of the workspace shows that the queue goes on.
        agent.post("/v1/emails", hello()).await.status(201);
        let start = std::time::Instant::now();
        loop {
            let left = home().run({
                let workspace_id = agent.workspace_id.clone();
                async move {
                    let sql = "SELECT id FROM outgoing_emails WHERE workspace_id = $1 AND id = 'e_orphan'";
                    home().kith.app.store.control.query(sql, &[Some(&workspace_id)]).await.unwrap().is_empty()
                }
            });
            if left.await {
                break;
            }
            assert!(start.elapsed().as_secs() < 60, "the orphan stays");
        }
        assert_eq!(resend().account(&key).emails.len(), 3);
    }
}

#[tokio::test]
async fn a_deleted_mail_does_not_leave_and_an_undo_says_what_has_left() {
    for agent in &apart().await {
        let key = connect(agent).await;
        resend().will_answer(&key, 503, json!({"message": "down"}));
        let waiting = record(&agent.post("/v1/emails", hello()).await.status(202))["id"].as_str().unwrap().to_owned();
        agent.delete(&format!("/v1/emails/{waiting}")).await.status(200);
        make_due(agent).await;
        let sent = agent.post("/v1/emails", with("subject", json!("Two"))).await.status(201);
        let (id, request) = (record(&sent)["id"].clone(), sent.header("x-request-id"));
        let undone = agent.post(&format!("/v1/requests/{request}/undo"), json!({})).await.status(200);
        assert!(
            undone.json().to_string().contains(&json!({"effect": "email_sent", "id": id}).to_string()),
            "{}",
            undone.story()
        );
        agent.get(&format!("/v1/emails/{}", id.as_str().unwrap())).await.fault(404, "not_found");
        let subjects: Vec<Value> = resend().account(&key).emails.iter().map(|mail| mail["subject"].clone()).collect();
        assert_eq!(subjects, ["Two"]);
    }
}

#[tokio::test]
async fn an_answer_belongs_to_the_conversation() {
    for agent in &apart().await {
        let key = connect(agent).await;
        let received = json!({"from_addr": "sarah@acme.example", "subject": "Hi", "provider": "imap", "provider_msg_id": "<1@acme.example>", "direction": "inbound"});
        let first = record(&agent.post("/v1/emails", received).await.status(201))["id"].clone();
        let by_id = record(&agent.post("/v1/emails", with("in_reply_to", first.clone())).await.status(201));
        let by_message =
            record(&agent.post("/v1/emails", with("in_reply_to", json!("<1@acme.example>"))).await.status(201));
        assert_eq!(
            (&by_id["thread_id"], &by_message["thread_id"]),
            (&json!("<1@acme.example>"), &json!("<1@acme.example>"))
        );
        assert_eq!(
            record(&agent.get(&format!("/v1/emails/{}", first.as_str().unwrap())).await)["thread_id"],
            "<1@acme.example>"
        );
        for mail in resend().account(&key).emails {
            assert_eq!(mail["headers"], json!({"In-Reply-To": "<1@acme.example>", "References": "<1@acme.example>"}));
        }
        let alone = record(&agent.post("/v1/emails", hello()).await.status(201));
        assert_eq!(alone["thread_id"], alone["id"]);
    }
}
