//! Attempts: when they are repeated and when not, what is recorded, and that one receiver does not delay another.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use kith::clock::Clock;
use kith::store::control::deliveries::NewDelivery;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{answering, delivery, make_due, send_test, subscribe, until};
use crate::belongings::owned;
use crate::support::{Agent, Child, Receiver, config_of_another, home, mailbox, relm};

#[tokio::test]
async fn a_failed_attempt_is_repeated_and_recorded() {
    let agent = relm().await;
    let receiver = answering(&[500, 302, 200]).await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let test = send_test(&agent, &id).await;
    receiver.wait(1).await;
    let first = until(&agent, &id, &test, |it| it["response_status"] == 500).await;
    assert_eq!((&first["status"], &first["attempts"]), (&json!("pending"), &json!(1)));
    assert!(first["next_attempt_at"].is_string() && first["error"] == "The endpoint answered 500.", "{first}");
    assert!(agent.get(&format!("/v1/webhooks/{id}")).await.status(200).json()["failing_since"].is_string());
    make_due(&id).await;
    let second = until(&agent, &id, &test, |it| it["response_status"] == 302).await;
    assert!(second["error"].as_str().is_some_and(|it| it.contains("Redirects are not followed")), "{second}");
    make_due(&id).await;
    let third = until(&agent, &id, &test, |it| it["status"] == "delivered").await;
    assert_eq!((&third["attempts"], &third["error"]), (&json!(3), &Value::Null));
    let requests = receiver.wait(3).await;
    let ids: Vec<String> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    assert_eq!(agent.get(&format!("/v1/webhooks/{id}")).await.status(200).json()["failing_since"], Value::Null);
}

#[tokio::test]
async fn after_eight_attempts_a_delivery_has_failed_and_can_be_replayed() {
    let agent = relm().await;
    let receiver = answering(&[500, 500, 500, 500, 500, 500, 500, 500, 200]).await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let test = send_test(&agent, &id).await;
    for attempt in 1..8 {
        // It may be due once more than was meant, and be one attempt ahead.
        let is_so_far = |it: &Value| it["attempts"].as_u64() >= Some(attempt as u64);
        until(&agent, &id, &test, |it| is_so_far(it) && !it["response_status"].is_null()).await;
        receiver.wait(attempt).await;
        // Nothing is made due before the attempt is recorded, and what the list shows may be the attempt before it.
        while delivery(&agent, &id, &test).await["attempts"] == attempt {
            make_due(&id).await;
        }
    }
    let failed = until(&agent, &id, &test, |it| it["status"] == "failed").await;
    assert_eq!((&failed["attempts"], &failed["next_attempt_at"]), (&json!(8), &Value::Null));
    assert_eq!(receiver.received().len(), 8);

    let since = json!({"since": "2026-01-01T00:00:00Z"});
    let future = json!({"since": "2126-01-01T00:00:00Z"});
    let path = format!("/v1/webhooks/{id}/replay-failed");
    assert_eq!(agent.post(&path, future).await.status(200).json()["replayed"], 0);
    agent.post(&path, json!({"since": "yesterday"})).await.fault(400, "invalid_request");
    agent.post(&path, json!({})).await.fault(422, "validation_failed");
    assert_eq!(agent.post(&path, since.clone()).await.status(200).json()["replayed"], 1);
    until(&agent, &id, &test, |it| it["status"] == "delivered" && it["attempts"] == 1).await;
    assert_eq!(agent.post(&path, since).await.status(200).json()["replayed"], 0);

    let replayed = agent.post(&format!("/v1/webhooks/{id}/replay/{test}"), json!({})).await.status(200).json();
    assert_eq!((&replayed["id"], &replayed["status"]), (&json!(test), &json!("pending")));
    let requests = receiver.wait(10).await;
    assert_eq!(requests[9].header("webhook-id"), requests[0].header("webhook-id"));
    agent.post(&format!("/v1/webhooks/{id}/replay/whd_none"), json!({})).await.fault(404, "not_found");
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_pause_gets_it() {
    let agent = relm().await;
    let receiver = Receiver::answering(|_, _| async {
        Response::builder().status(429).header("retry-after", "7200").body(Body::from("slow down")).expect("a response")
    })
    .await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let test = send_test(&agent, &id).await;
    let put_off = until(&agent, &id, &test, |it| it["response_status"] == 429).await;
    assert_eq!(put_off["response_body"], "slow down");
    let next: jiff::Timestamp = put_off["next_attempt_at"].as_str().expect("a time").parse().expect("a time");
    let seconds = next.as_second() - jiff::Timestamp::now().as_second();
    assert!((7000..=7200).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_and_its_owner_is_told() {
    let (owner, live) = owned().await;
    let email = owner.get("/v1/auth/me").await.status(200).text("/data/user/email");
    let receiver = answering(&[410]).await;
    let (id, _) = subscribe(&live, &receiver.url()).await;
    let test = send_test(&live, &id).await;
    let failed = until(&live, &id, &test, |it| it["status"] == "failed").await;
    assert_eq!((&failed["attempts"], &failed["response_status"]), (&json!(1), &json!(410)));
    // The first one is about the account's address.
    let mails = mailbox().wait(&email, 2).await;
    let mail = mails.iter().find(|mail| mail.text.contains("disabled")).expect("an e-mail about it");
    assert_eq!(mail.link(), format!("{}/webhooks/{id}", live.base));
    let path = format!("/v1/webhooks/{id}");
    let webhook = live.get(&path).await.status(200).data();
    assert_eq!(
        (&webhook["enabled"], &webhook["disabled_reason"]),
        (&json!(false), &json!("The endpoint answered 410 Gone."))
    );
    let enabled = live.patch(&path, json!({"enabled": true})).await.status(200).data();
    assert_eq!((&enabled["enabled"], &enabled["disabled_reason"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn an_endpoint_that_has_failed_for_five_days_is_disabled() {
    let agent = relm().await;
    let receiver = answering(&[500]).await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let [first, second] = [send_test(&agent, &id).await, send_test(&agent, &id).await];
    for test in [&first, &second] {
        until(&agent, &id, test, |it| it["response_status"] == 500).await;
    }
    let path = format!("/v1/webhooks/{id}");
    assert_eq!(agent.get(&path).await.status(200).json()["enabled"], true);
    home()
        .control("UPDATE webhook_endpoints SET failing_since = now() - interval '5 days' WHERE id = $1", &[&id])
        .await;
    home().control("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE id = $1", &[&first]).await;
    home().kith.app.wakes.deliveries.notify_one();
    // What waits for another attempt is given up.
    let failed = until(&agent, &id, &second, |it| it["status"] == "failed").await;
    assert_eq!(failed["error"], "No event could be delivered for five days.");
    let webhook = agent.get(&path).await.status(200).json();
    assert_eq!(
        (&webhook["enabled"], &webhook["disabled_reason"]),
        (&json!(false), &json!("No event could be delivered for five days."))
    );
}

#[tokio::test]
async fn a_disabled_webhook_gets_nothing_until_it_is_enabled() {
    let agent = relm().await;
    let receiver = Receiver::start().await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let other = subscribe(&agent, &receiver.url()).await.0;
    let path = format!("/v1/webhooks/{id}");
    agent.patch(&path, json!({"enabled": false})).await.status(200);
    let waiting = send_test(&agent, &id).await;
    // The other webhook's event was queued later and arrives.
    send_test(&agent, &other).await;
    receiver.wait(1).await;
    assert_eq!(delivery(&agent, &id, &waiting).await["attempts"], 0);
    agent.patch(&path, json!({"enabled": true})).await.status(200);
    until(&agent, &id, &waiting, |it| it["status"] == "delivered").await;
}

/// Queues deliveries of one endpoint: subjects in their order.
pub(super) async fn queue(webhook: &str, subjects: &[&str]) -> Vec<String> {
    let ids: Vec<String> = subjects.iter().map(|_| Clock::System.id("whd")).collect();
    let (webhook, subjects, made) =
        (webhook.to_owned(), subjects.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>(), ids.clone());
    let queued = home().run(async move {
        let mut transaction = home().kith.app.store.control.begin().await?;
        let events: Vec<String> = subjects.iter().map(|_| Clock::System.id("evt")).collect();
        let bodies: Vec<String> =
            subjects.iter().enumerate().map(|(at, it)| json!({"n": at, "subject": it}).to_string()).collect();
        let new: Vec<NewDelivery<'_>> = (0..subjects.len())
            .map(|at| NewDelivery {
                id: made[at].clone(),
                endpoint_id: &webhook,
                event_id: &events[at],
                event_type: "contact.updated",
                subject: &subjects[at],
                body: &bodies[at],
            })
            .collect();
        let now = jiff::Timestamp::now().to_string();
        transaction.queue_deliveries(&new, &now).await?;
        transaction.queue_deliveries(&new, &now).await?;
        transaction.commit().await
    });
    queued.await.expect("deliveries");
    home().kith.app.wakes.deliveries.notify_one();
    ids
}

fn numbers(receiver: &Receiver) -> Vec<u64> {
    receiver.received().iter().map(|it| it.json()["n"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn events_of_one_record_arrive_in_order_and_wait_for_no_other_record() {
    let agent = relm().await;
    // The first event of record A fails once.
    let receiver = Receiver::answering(|_, request| async move {
        let failing = request.json()["n"] == 0 && !request.headers.contains_key("x-never");
        static FAILED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        if failing && !FAILED.swap(true, std::sync::atomic::Ordering::SeqCst) { 503 } else { 200 }
    })
    .await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let ids = queue(&id, &["a", "a", "b", "a", "b"]).await;
    until(&agent, &id, &ids[0], |it| it["response_status"] == 503).await;
    until(&agent, &id, &ids[4], |it| it["status"] == "delivered").await;
    for waiting in [&ids[1], &ids[3]] {
        assert_eq!(delivery(&agent, &id, waiting).await["attempts"], 0, "it waits for the first event of its record");
    }
    make_due(&id).await;
    until(&agent, &id, &ids[3], |it| it["status"] == "delivered").await;
    let numbers = numbers(&receiver);
    let of = |wanted: &[u64]| numbers.iter().copied().filter(|n| wanted.contains(n)).collect::<Vec<_>>();
    assert_eq!(of(&[0, 1, 3]), [0, 0, 1, 3], "{numbers:?}");
    assert_eq!(of(&[2, 4]), [2, 4], "{numbers:?}");
}

#[tokio::test]
async fn many_events_of_one_record_hold_back_no_other_record() {
    let agent = relm().await;
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let receiver = Receiver::answering(move |_, request| {
        let gate = opened.clone();
        async move {
            if request.json()["subject"] == "b" {
                let _open = gate.acquire().await.expect("a gate");
            }
            200
        }
    })
    .await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let mut subjects = vec!["b"; 1200];
    subjects.extend(["a", "c"]);
    let ids = queue(&id, &subjects).await;
    let told = receiver.wait(3).await;
    let mut subjects: Vec<String> = told.iter().map(|it| it.json()["subject"].to_string()).collect();
    subjects.sort();
    assert_eq!(subjects, [r#""a""#, r#""b""#, r#""c""#]);
    // They did not wait for the first one to fail.
    let mut admin = home().kith.app.store.cells.administer(0, "kith").await.expect("a session");
    let sql = "SELECT attempts, error FROM public.webhook_deliveries WHERE id = $1";
    let first = admin.query(sql, &[Some(&ids[0])]).await.expect("a delivery");
    assert_eq!((first.text(0, 0), first.text(0, 1)), (Some("1"), None));
    home().control("UPDATE webhook_endpoints SET enabled = false WHERE id = $1", &[&id]).await;
    gate.add_permits(10_000);
}

#[tokio::test]
async fn a_slow_and_a_dead_receiver_delay_no_other() {
    let agent = relm().await;
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let slow = Receiver::answering(move |_, _| {
        let gate = opened.clone();
        async move {
            let _open = gate.acquire().await.expect("a gate");
            200
        }
    })
    .await;
    let fast = Receiver::start().await;
    let (slow_id, _) = subscribe(&agent, &slow.url()).await;
    // Nothing listens on this port any more.
    let dead = Receiver::start().await.url().replace("127.0.0.1", "127.0.0.2");
    let (dead_id, _) = subscribe(&agent, &dead).await;
    let (fast_id, _) = subscribe(&agent, &fast.url()).await;
    let subjects: Vec<String> = (0..300).map(|n| format!("s{n}")).collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    queue(&slow_id, &subjects).await;
    let lost = queue(&dead_id, &subjects[..20]).await;
    queue(&fast_id, &subjects).await;
    fast.wait(300).await;
    // Each process has 8 places for an endpoint. Several processes of the tests share the queue.
    assert!(slow.received().len() < 100, "an endpoint has few places: {}", slow.received().len());
    let refused = until(&agent, &dead_id, &lost[0], |it| it["error"].is_string()).await;
    assert_eq!((&refused["response_status"], &refused["status"]), (&Value::Null, &json!("pending")));
    gate.add_permits(1000);
    slow.wait(300).await;
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let agent = relm().await;
    let receiver = Receiver::answering(|_, _| async {
        let endless =
            futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b'x'; 1024])));
        Response::new(Body::from_stream(endless))
    })
    .await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let test = send_test(&agent, &id).await;
    let done = until(&agent, &id, &test, |it| it["status"] == "delivered").await;
    assert_eq!(done["response_body"].as_str().map(str::len), Some(4096));
}

/// A child on the same databases. The home's workers deliver too.
fn child_on_home(dir: &crate::support::TempDir) -> (Child, Agent) {
    let config = config_of_another();
    let child = Child::serve_with(dir, |command| {
        command.env("KITH_DATABASE_URL", config.database_url.as_deref().expect("a URL"));
        command.env("KITH_SECRET_KEY", config.secret_key.as_deref().expect("a key"));
        command.env("KITH_ALLOW_PRIVATE_TARGETS", "1");
    });
    let agent = child.stranger();
    (child, agent)
}

#[tokio::test]
async fn a_process_that_is_killed_while_it_sends_loses_nothing() {
    let dir = crate::support::TempDir::new();
    let serve = |dir| {
        Child::serve_with(dir, |command| {
            command.env("KITH_ALLOW_PRIVATE_TARGETS", "1");
        })
    };
    let child = serve(&dir);
    let agent = child.agent().await;
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let receiver = Receiver::answering(move |number, _| {
        let gate = opened.clone();
        async move {
            if number == 0 {
                let _never = gate.acquire().await.expect("a gate");
            }
            200
        }
    })
    .await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let test = send_test(&agent, &id).await;
    receiver.wait(1).await;
    // It is taken and sent, and its outcome is not recorded.
    let lease = delivery(&agent, &id, &test).await["next_attempt_at"].as_str().expect("a time").to_owned();
    child.kill();
    let again = serve(&dir);
    let agent = agent.at(&again.base);
    receiver.wait(2).await;
    let lease: jiff::Timestamp = lease.parse().expect("a time");
    assert!(jiff::Timestamp::now() < lease, "nobody waits for the end of a lease that nobody holds");
    let done = until(&agent, &id, &test, |it| it["status"] == "delivered").await;
    assert_eq!(done["attempts"], 2);
    let requests = receiver.wait(2).await;
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(requests[0].body, requests[1].body);
}

#[tokio::test]
async fn two_processes_send_each_event_once() {
    let dir = crate::support::TempDir::new();
    let (child, _) = child_on_home(&dir);
    let agent = relm().await;
    let receiver = Receiver::start().await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let subjects: Vec<String> = (0..200).map(|n| format!("s{n}")).collect();
    let ids = queue(&id, &subjects.iter().map(String::as_str).collect::<Vec<_>>()).await;
    receiver.wait(200).await;
    for delivered in [&ids[0], &ids[199]] {
        until(&agent, &id, delivered, |it| it["status"] == "delivered").await;
    }
    let mut found = numbers(&receiver);
    found.sort_unstable();
    assert_eq!(found, (0..200).collect::<Vec<u64>>(), "each of them once");
    drop(child);
}
