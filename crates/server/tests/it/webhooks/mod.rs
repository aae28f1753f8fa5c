//! Webhooks: endpoints, signatures, attempts, the bounds of queues, and the addresses that are refused.

mod attempts;
mod endpoints;
mod fired;
mod queues;
mod receivers;
mod secrets;
mod signatures;
pub mod targets;

use serde_json::{Value, json};

use crate::support::{Agent, Receiver, Reply, home};

/// Creates a webhook for all events. Returns its id and secret, in either dialect.
pub async fn subscribe(agent: &Agent, url: &str) -> (String, String) {
    let made = agent.post("/v1/webhooks", json!({"url": url, "events": ["*"]})).await.status(201);
    (field(&made, "id"), field(&made, "secret"))
}

/// A field of the record in an answer of either dialect.
#[track_caller]
fn field(reply: &Reply, name: &str) -> String {
    let record = record(reply);
    record[name].as_str().unwrap_or_else(|| panic!("no {name}\n{}", reply.story())).to_owned()
}

/// The record in an answer of either dialect.
fn record(reply: &Reply) -> Value {
    let json = reply.json();
    if json.get("object").is_some() { json } else { json["data"].clone() }
}

/// Sends a test event. Returns the delivery's id.
pub async fn send_test(agent: &Agent, webhook: &str) -> String {
    field(&agent.post(&format!("/v1/webhooks/{webhook}/test"), json!({})).await.status(201), "id")
}

/// A delivery, as the list shows it.
async fn delivery(agent: &Agent, webhook: &str, id: &str) -> Value {
    let listed = agent.get(&format!("/v1/webhooks/{webhook}/deliveries?limit=200")).await.status(200).json();
    let found = listed["data"].as_array().expect("a list").iter().find(|it| it["id"] == id).cloned();
    found.unwrap_or_else(|| panic!("{id} is not in {listed}"))
}

/// Waits until a delivery is as wanted: the outcome is recorded after the receiver has answered.
pub async fn until(agent: &Agent, webhook: &str, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = std::time::Instant::now();
    loop {
        let found = delivery(agent, webhook, id).await;
        if is_so(&found) {
            return found;
        }
        assert!(start.elapsed().as_secs() < 60, "{found}");
        tokio::task::yield_now().await;
    }
}

/// Makes all pending deliveries of a webhook due, as if the time of their next attempt had come.
pub async fn make_due(webhook: &str) {
    let sql = "UPDATE webhook_deliveries SET next_attempt_at = now() WHERE endpoint_id = $1 AND taken_by IS NULL AND status = 'pending'";
    home().control(sql, &[webhook]).await;
    home().kith.app.wakes.deliveries.notify_one();
}

/// A receiver that answers these statuses in turn, and the last one from then on.
pub async fn answering(statuses: &'static [u16]) -> Receiver {
    Receiver::answering(move |number, _| async move { statuses[number.min(statuses.len() - 1)] }).await
}
