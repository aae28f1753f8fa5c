//! Bounds: what happens while a queue is full, how much is kept, and that what is deleted is removed in batches.

use std::path::Path;

use serde_json::{Value, json};

use crm::model::fault::Fault;

use super::fired::{administrator, subscribe_to};
use super::{field, record, subscribe};
use crate::automations::{create, rule, runs};
use crate::belongings::owned;
use crate::support::{Agent, Child, Receiver, TempDir, agent, config_of_another, home, mailbox, relm};

/// Entries that wait in a queue before it is full.
const FULL: usize = 10_000;

/// Queues deliveries that are due in a day. Their bodies have this many bytes.
async fn fill(webhook: &str, count: usize, bytes: usize) {
    let sql = "INSERT INTO webhook_deliveries (id, endpoint_id, event_id, event_type, subject, body, created_at, next_attempt_at)
               SELECT 'whd_' || n || $1, $1, 'evt_' || n || $1, 'contact.updated', 'filler ' || n, repeat('x', $3::integer), now(), now() + interval '1 day'
               FROM generate_series(1, $2::integer) AS n";
    home().control(sql, &[webhook, &count.to_string(), &bytes.to_string()]).await;
}

/// Ends the deliveries that were queued by `fill`.
async fn empty(webhook: &str, status: &str) {
    let sql = "UPDATE webhook_deliveries SET status = $2, next_attempt_at = NULL WHERE endpoint_id = $1 AND subject LIKE 'filler %'";
    home().control(sql, &[webhook, status]).await;
}

/// A number that a statement in the control database returns.
async fn counted(sql: &str, id: &str) -> u64 {
    let mut admin = home().kith.app.store.cells.administer(0, "kith").await.expect("a session");
    let rows = admin.query(sql, &[Some(id)]).await.expect("a count");
    rows.text(0, 0).and_then(|text| text.parse().ok()).expect("a number")
}

const DELIVERIES: &str = "SELECT count(*) FROM public.webhook_deliveries WHERE endpoint_id = $1";

/// Waits until a webhook or automation is as wanted.
async fn until_it(agent: &Agent, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = std::time::Instant::now();
    loop {
        let found = record(&agent.get(path).await.status(200));
        if is_so(&found) {
            return found;
        }
        assert!(start.elapsed().as_secs() < 60, "{found}");
    }
}

fn ids(receiver: &Receiver) -> Vec<String> {
    receiver.received().iter().map(|it| it.header("webhook-id")).collect()
}

#[tokio::test]
async fn while_a_queue_is_full_events_wait_in_the_log_and_nobody_else_waits() {
    let agent = relm().await;
    let (late, other) = (Receiver::start().await, Receiver::start().await);
    let id = subscribe_to(&agent, &late, &["contact.*"]).await;
    subscribe_to(&agent, &other, &["contact.*"]).await;
    let path = format!("/v1/webhooks/{id}");
    assert_eq!(record(&agent.get(&path).await.status(200))["behind_since"], Value::Null);
    fill(&id, FULL, 2).await;
    let contact = create(&agent, "/v1/contacts", json!({"email": "a@b.example"})).await;
    other.wait(1).await;
    let behind = until_it(&agent, &path, |it| it["behind_since"].is_string()).await;
    assert_eq!((&behind["enabled"], &behind["disabled_reason"]), (&json!(true), &Value::Null));
    agent.patch(&format!("/v1/contacts/{contact}"), json!({"first_name": "Ada"})).await.status(200);
    create(&agent, "/v1/contacts", json!({"email": "c@b.example"})).await;
    other.wait(3).await;
    // The queue of all workspaces has no more than its bound.
    assert_eq!(counted(DELIVERIES, &id).await, FULL as u64);
    let metrics = agent.get("/metrics").await.status(200);
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        metrics.contains("kith_queues_full_total") && metrics.contains("kith_queues_behind{of=\"webhooks\"}"),
        "{metrics}"
    );

    empty(&id, "delivered").await;
    late.wait(3).await;
    until_it(&agent, &path, |it| it["behind_since"].is_null()).await;
    create(&agent, "/v1/contacts", json!({"email": "d@b.example"})).await;
    late.wait(4).await;
    other.wait(4).await;
    let (mut of_late, mut of_other) = (ids(&late), ids(&other));
    let own = |told: &Receiver| {
        told.received()
            .iter()
            .map(|it| it.json())
            .filter(|it| it["data"]["id"] == json!(contact))
            .map(|it| it["type"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(own(&late), ["contact.created", "contact.updated"]);
    of_late.sort();
    of_other.sort();
    assert_eq!(of_late, of_other, "each event once");

    // A process that ends before it has noted how far it came begins again, and queues nothing twice.
    home().control("UPDATE webhook_endpoints SET behind_at = 0, behind_since = now() WHERE id = $1", &[&id]).await;
    until_it(&agent, &path, |it| it["behind_since"].is_null()).await;
    create(&agent, "/v1/contacts", json!({"email": "e@b.example"})).await;
    other.wait(5).await;
    late.wait(5).await;
    assert_eq!(late.received().len(), 5);
}

#[tokio::test]
async fn a_queue_of_large_events_is_full_earlier() {
    let agent = relm().await;
    let (late, other) = (Receiver::start().await, Receiver::start().await);
    let id = subscribe_to(&agent, &late, &["contact.*"]).await;
    subscribe_to(&agent, &other, &["contact.*"]).await;
    fill(&id, 64, 1024 * 1024).await;
    create(&agent, "/v1/contacts", json!({"email": "a@b.example"})).await;
    other.wait(1).await;
    until_it(&agent, &format!("/v1/webhooks/{id}"), |it| it["behind_since"].is_string()).await;
    assert_eq!(counted(DELIVERIES, &id).await, 64);
    empty(&id, "failed").await;
    late.wait(1).await;
}

#[tokio::test]
async fn what_a_workspaces_webhooks_may_queue_together_is_bounded() {
    let agent = relm().await;
    let receiver = Receiver::start().await;
    let id = subscribe_to(&agent, &receiver, &["contact.*"]).await;
    // With a hundred webhooks each may queue a tenth.
    let sql = "INSERT INTO webhook_endpoints
               SELECT (jsonb_populate_record(e, jsonb_build_object('id', e.id || n, 'events', '{deal.*}'))).* FROM webhook_endpoints AS e, generate_series(1, 99) AS n
               WHERE e.id = $1";
    home().control(sql, &[&id]).await;
    fill(&id, FULL / 10, 2).await;
    create(&agent, "/v1/contacts", json!({"email": "a@b.example"})).await;
    until_it(&agent, &format!("/v1/webhooks/{id}"), |it| it["behind_since"].is_string()).await;
}

#[tokio::test]
async fn who_is_behind_the_beginning_of_the_log_is_disabled_with_a_reason_and_told() {
    let (owner, live) = owned().await;
    let email = owner.get("/v1/auth/me").await.status(200).text("/data/user/email");
    let receiver = Receiver::start().await;
    let id = subscribe_to(&live, &receiver, &["contact.*"]).await;
    let path = format!("/v1/webhooks/{id}");
    fill(&id, FULL, 2).await;
    create(&live, "/v1/contacts", json!({"email": "a@b.example"})).await;
    until_it(&live, &path, |it| it["behind_since"].is_string()).await;
    // Nothing is kept for undo, but what it has missed stays.
    let mut admin = administrator(&live).await;
    admin.script("UPDATE kith.change SET at = at - interval '2 hours'").await.expect("an older log");
    let store = &home().kith.app.store;
    store.sweep_changes(0).await.expect("a sweep");
    let left = admin.query("SELECT count(*) FROM kith.change WHERE position IS NOT NULL", &[]).await.expect("a count");
    assert_ne!(left.text(0, 0), Some("0"));
    // Not for ever.
    admin.script("UPDATE kith.change SET at = at - interval '8 days'").await.expect("an older log");
    store.sweep_changes(0).await.expect("a sweep");
    let left = admin.query("SELECT count(*) FROM kith.change", &[]).await.expect("a count");
    assert_eq!(left.text(0, 0), Some("0"));
    empty(&id, "failed").await;
    let disabled = until_it(&live, &path, |it| it["enabled"] == false).await;
    let reason = disabled["disabled_reason"].as_str().expect("a reason");
    assert!(reason.contains("no longer has what it has missed") && reason.contains("GET /v1/events"), "{reason}");
    let mails = mailbox().wait(&email, 2).await;
    let mail = mails.iter().find(|mail| mail.text.contains("disabled")).expect("an e-mail about it");
    assert_eq!(mail.link(), format!("{}/webhooks/{id}", live.base));
    // Enabled again, it begins with what is new.
    live.patch(&path, json!({"enabled": true})).await.status(200);
    create(&live, "/v1/contacts", json!({"email": "new@b.example"})).await;
    assert_eq!(receiver.wait(1).await[0].json()["data"]["email"], "new@b.example");
}

#[tokio::test]
async fn doctor_warns_of_full_queues() {
    let agent = relm().await;
    let (id, _) = subscribe(&agent, "http://127.0.0.1:9/").await;
    fill(&id, FULL, 2).await;
    create(&agent, "/v1/contacts", json!({"email": "a@b.example"})).await;
    until_it(&agent, &format!("/v1/webhooks/{id}"), |it| it["behind_since"].is_string()).await;
    let (config, dir) = (config_of_another(), TempDir::new());
    let mut command = Child::bare(Path::new(env!("CARGO_BIN_EXE_kith")), "doctor");
    command.arg("--data-dir").arg(&dir.path).arg("--database-url").arg(config.database_url.expect("an address"));
    let doctor = command.env("KITH_SECRET_KEY", config.secret_key.expect("a key")).output().expect("the binary");
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.lines().any(|line| line.starts_with("WARN queues of webhooks and automations: ")), "{said}");
    agent.delete(&format!("/v1/webhooks/{id}")).await.status(200);
}

#[tokio::test]
async fn an_automation_whose_queue_is_full_catches_up_too() {
    let agent = relm().await;
    let actions = json!([{"type": "set_metadata", "key": "seen", "value": true}]);
    let (id, other) = (
        rule(&agent, "company.created", json!([]), actions.clone()).await,
        rule(&agent, "company.created", json!([]), actions).await,
    );
    let path = format!("/v1/automations/{id}");
    let sql = "INSERT INTO automation_runs (id, automation_id, event_id, event_type, event, context, depth, request_id, created_at, next_attempt_at)
               SELECT 'run_' || n || $1, $1, 'evt_' || n || $1, 'company.created', '{}', '{}', 0, 'req_' || n || $1, now(), now() + interval '1 day'
               FROM generate_series(1, 10000) AS n";
    home().control(sql, &[&id]).await;
    let company = create(&agent, "/v1/companies", json!({"name": "Acme"})).await;
    runs(&agent, &other, 1).await;
    let behind = until_it(&agent, &path, |it| it["behind_since"].is_string()).await;
    assert_eq!(behind["enabled"], true);
    assert_eq!(agent.get(&format!("{path}/runs")).await.status(200).json()["data"], json!([]));
    home().control("DELETE FROM automation_runs WHERE automation_id = $1", &[&id]).await;
    let run = runs(&agent, &id, 1).await.remove(0);
    assert_eq!((&run["status"], &run["actions"][0]["id"]), (&json!("success"), &json!(company)));
    until_it(&agent, &path, |it| it["behind_since"].is_null()).await;
}

#[tokio::test]
async fn dropping_what_is_held_drops_what_waits_in_the_log() {
    let (owner, live) = owned().await;
    let receiver = Receiver::start().await;
    let id = subscribe_to(&live, &receiver, &["contact.*"]).await;
    let switch = format!("/v1/workspaces/{}", live.workspace_id);
    owner.patch(&switch, json!({"sending": false})).await.status(200);
    fill(&id, FULL, 2).await;
    create(&live, "/v1/contacts", json!({"email": "held@b.example"})).await;
    let path = format!("/v1/webhooks/{id}");
    until_it(&live, &path, |it| it["behind_since"].is_string()).await;
    owner.patch(&switch, json!({"sending": true, "held": "drop"})).await.status(200);
    assert_eq!(record(&live.get(&path).await.status(200))["behind_since"], Value::Null);
    create(&live, "/v1/contacts", json!({"email": "new@b.example"})).await;
    assert_eq!(receiver.wait(1).await[0].json()["data"]["email"], "new@b.example");
}

#[tokio::test]
async fn replays_and_tests_fill_no_queue_beyond_its_bound() {
    let agent = relm().await;
    let (id, _) = subscribe(&agent, "http://127.0.0.1:9/").await;
    fill(&id, 5, 2).await;
    empty(&id, "failed").await;
    let sql = "INSERT INTO webhook_deliveries (id, endpoint_id, event_id, event_type, subject, body, created_at, next_attempt_at)
               SELECT 'whd_w' || n || $1, $1, 'evt_w' || n || $1, 'contact.updated', 'w' || n, '{}', now(), now() + interval '1 day'
               FROM generate_series(1, 9998) AS n";
    home().control(sql, &[&id]).await;
    let path = format!("/v1/webhooks/{id}/replay-failed");
    let since = json!({"since": "2026-01-01T00:00:00Z"});
    // Nothing is sent, so that the queue stays as it is.
    home().control("UPDATE workspaces SET sending = false WHERE id = $1", &[&agent.workspace_id]).await;
    let said = agent.post(&path, since.clone()).await.status(200).json();
    assert_eq!((&said["replayed"], &said["has_more"]), (&json!(2), &json!(true)));
    let said = agent.post(&path, since.clone()).await.status(200).json();
    assert_eq!((&said["replayed"], &said["has_more"]), (&json!(0), &json!(true)));
    agent.post(&format!("/v1/webhooks/{id}/test"), json!({})).await.fault(422, "validation_failed").says("waiting");
    home().control("DELETE FROM webhook_deliveries WHERE endpoint_id = $1 AND status = 'pending'", &[&id]).await;
    let said = agent.post(&path, since).await.status(200).json();
    assert_eq!((&said["replayed"], &said["has_more"]), (&json!(3), &json!(false)));
    agent.post(&format!("/v1/webhooks/{id}/test"), json!({})).await.status(201);
}

/// Sweeps the queues, as the worker does: it tries again when another sweep is in its way.
async fn sweep() -> u64 {
    let now = jiff::Timestamp::now().as_second();
    loop {
        let swept =
            home().run(async move { home().kith.app.store.control.sweep_queues(now - 30 * 86_400, now - 600).await });
        match swept.await {
            Ok(swept) => return swept,
            Err(Fault::Unavailable { .. }) => {}
            Err(fault) => panic!("{fault:?}"),
        }
    }
}

#[tokio::test]
async fn the_deliveries_of_a_deleted_webhook_go_in_batches_and_are_sent_no_more() {
    let agent = relm().await;
    let receiver = Receiver::start().await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let kept = subscribe(&agent, &receiver.url()).await.0;
    fill(&id, 12_000, 2).await;
    fill(&kept, 10, 2).await;
    agent.delete(&format!("/v1/webhooks/{id}")).await.status(200);
    home().control("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE endpoint_id = $1", &[&id]).await;
    home().kith.app.wakes.deliveries.notify_one();
    agent.get(&format!("/v1/webhooks/{id}/deliveries")).await.fault(404, "not_found");
    sweep().await;
    assert_eq!(counted(DELIVERIES, &id).await, 0);
    assert_eq!(counted(DELIVERIES, &kept).await, 10);
    assert_eq!(receiver.received().len(), 0);
}

#[tokio::test]
async fn of_ended_deliveries_and_runs_the_newest_are_kept() {
    let agent = relm().await;
    let (id, _) = subscribe(&agent, "http://127.0.0.1:9/").await;
    fill(&id, FULL + 50, 2).await;
    let sql = "UPDATE webhook_deliveries SET status = CASE WHEN subject IN ('filler 1', 'filler 2') THEN 'failed' ELSE 'delivered' END, next_attempt_at = NULL,
                   created_at = now() - interval '1 hour' + make_interval(secs => split_part(subject, ' ', 2)::integer * 0.001)
               WHERE endpoint_id = $1";
    home().control(sql, &[&id]).await;
    // A delivery that is new shows that the webhook is busy.
    home()
        .control(
            "UPDATE webhook_deliveries SET created_at = now() WHERE endpoint_id = $1 AND subject = 'filler 10050'",
            &[&id],
        )
        .await;
    sweep().await;
    let of = |status: &str| format!("{DELIVERIES} AND status = '{status}'");
    assert_eq!(counted(&of("delivered"), &id).await, FULL as u64);
    assert_eq!(counted(&of("failed"), &id).await, 2, "failed ones are kept for a replay");
    let first = "SELECT min(split_part(subject, ' ', 2)::integer) FROM public.webhook_deliveries WHERE endpoint_id = $1 AND status = 'delivered'";
    assert_eq!(counted(first, &id).await, 51);
    // In bytes too.
    let (large, _) = subscribe(&agent, "http://127.0.0.1:9/").await;
    fill(&large, 70, 1024 * 1024).await;
    empty(&large, "delivered").await;
    sweep().await;
    assert_eq!(counted(DELIVERIES, &large).await, 64);

    let automation =
        rule(&agent, "company.created", json!([]), json!([{"type": "set_metadata", "key": "a", "value": 1}])).await;
    let sql = "INSERT INTO automation_runs (id, automation_id, event_id, event_type, event, context, depth, request_id, status, created_at)
               SELECT 'run_' || n || $1, $1, 'evt_' || n || $1, 'company.created', '{}', '{}', 0, 'req_' || n || $1, 'skipped', now() - interval '1 minute'
               FROM generate_series(1, 10020) AS n";
    home().control(sql, &[&automation]).await;
    sweep().await;
    let runs = "SELECT count(*) FROM public.automation_runs WHERE automation_id = $1";
    assert_eq!(counted(runs, &automation).await, FULL as u64);
    agent.delete(&format!("/v1/automations/{automation}")).await.status(200);
    sweep().await;
    assert_eq!(counted(runs, &automation).await, 0);
}

#[tokio::test]
async fn a_workspace_that_is_dropped_leaves_nothing_in_the_control_database() {
    let agent = agent().await;
    let made = agent.post("/v1/webhooks", json!({"url": "http://127.0.0.1:9/", "events": ["*"]})).await.status(201);
    let id = field(&made, "id");
    fill(&id, 6000, 2).await;
    let sql = "INSERT INTO request_log (workspace_id, mode, created_at, id, method, path, status, duration_us)
               SELECT $1, 'live', now(), 'req_' || n, 'GET', '/', 200, 1 FROM generate_series(1, 6000) AS n";
    home().control(sql, &[&agent.workspace_id]).await;
    let (workspace, place) = (agent.workspace_id.clone(), home().place(&agent.workspace_id).await);
    let forgotten = home().run(async move {
        let store = &home().kith.app.store;
        store.drop_database(&place).await?;
        store.control.forget_workspace(&workspace).await
    });
    forgotten.await.expect("a removal");
    sweep().await;
    assert_eq!(counted(DELIVERIES, &id).await, 0);
    for table in ["request_log", "webhook_endpoints"] {
        let sql = format!("SELECT count(*) FROM public.{table} WHERE workspace_id = $1");
        assert_eq!(counted(&sql, &agent.workspace_id).await, 0, "{table}");
    }
}
