//! The signatures of payloads, verified by the programs that receivers use: the snippet of Relm's documentation in Node, and
//! the packages `standardwebhooks` of npm and PyPI.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{field, make_due, send_test, subscribe, until};
use crate::support::{Agent, Received, Receiver, agent, home, relm};

/// The directory where bin/setup has installed the packages.
fn installed() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let cache = set("KITH_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("kith")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/kith")))
        .expect("a HOME");
    let dir = cache.join("webhook-verifiers");
    assert!(dir.join("requirements.txt").is_file(), "{} has no standardwebhooks: run bin/setup", dir.display());
    dir
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/webhooks").join(name)
}

/// Runs a verifier on a request, with the secrets for Relm's signature and for the standard's.
fn verify(mut command: Command, request: &Received, relm: &[&str], standard: &[&str]) -> Result<(), String> {
    let headers: Value = ["relm-signature", "webhook-id", "webhook-timestamp", "webhook-signature"]
        .into_iter()
        .map(|name| (name.to_owned(), json!(request.header(name))))
        .collect();
    let given = json!({"headers": headers, "body": request.body, "relm": relm, "standard": standard}).to_string();
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = piped.spawn().expect("node or python");
    process.stdin.take().expect("its input").write_all(given.as_bytes()).expect("a pipe");
    let output = process.wait_with_output().expect("its end");
    match String::from_utf8_lossy(&output.stdout).trim() {
        "verified" => Ok(()),
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn node() -> Command {
    let mut node = Command::new("node");
    node.arg(script("verify.mjs")).arg(installed());
    node
}

fn python() -> Command {
    let mut python = Command::new(installed().join("python/bin/python"));
    python.arg(script("verify.py"));
    python
}

#[tokio::test]
async fn receivers_verify_payloads_with_what_they_use() {
    for agent in [relm().await, agent().await] {
        let receiver = Receiver::start().await;
        let (id, secret) = subscribe(&agent, &receiver.url()).await;
        send_test(&agent, &id).await;
        let request = receiver.wait(1).await.remove(0);
        verify(node(), &request, &[&secret], &[&secret]).expect("a signature that Node verifies");
        verify(python(), &request, &[], &[&secret]).expect("a signature that Python verifies");
        let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        verify(node(), &request, &[other], &[]).expect_err("another secret");
        verify(node(), &request, &[], &[other]).expect_err("another secret");
        verify(python(), &request, &[], &[other]).expect_err("another secret");

        let body = request.json();
        assert_eq!(body["type"], "webhook.test");
        assert_eq!(body["id"], json!(request.header("webhook-id")));
        assert!(request.header("webhook-id").starts_with("evt_"), "{}", request.body);
        assert_eq!((&body["workspace_id"], &body["mode"]), (&json!(agent.workspace_id), &json!("live")));
        assert_eq!(request.header("content-type"), "application/json");
        assert!(request.header("user-agent").starts_with("Kith/"));
        assert_eq!(request.header("authorization"), "");
    }
}

/// A receiver with the snippet of Relm's documentation and this secret. It answers 500 if the snippet throws, as Node's servers do.
async fn receiver_with(secret: &Arc<Mutex<String>>) -> Receiver {
    let secret = secret.clone();
    Receiver::answering(move |_, request| {
        let secret = secret.lock().expect("a secret").clone();
        async move {
            let verified = tokio::task::spawn_blocking(move || verify(node(), &request, &[&secret], &[])).await;
            if verified.expect("an end").is_ok() { 200 } else { 500 }
        }
    })
    .await
}

/// Sends a test event, and makes it due again if it fails. Returns the attempts that it took.
async fn attempts(agent: &Agent, webhook: &str) -> u64 {
    let test = send_test(agent, webhook).await;
    let first = until(agent, webhook, &test, |it| !it["response_status"].is_null()).await;
    if first["status"] == "pending" {
        make_due(webhook).await;
    }
    let done = until(agent, webhook, &test, |it| it["status"] == "delivered").await;
    done["attempts"].as_u64().expect("a number")
}

#[tokio::test]
async fn for_a_day_after_a_rotation_both_secrets_verify() {
    let agent = relm().await;
    let held = Arc::new(Mutex::new(String::new()));
    let receiver = receiver_with(&held).await;
    let (id, old) = subscribe(&agent, &receiver.url()).await;
    held.lock().expect("a secret").clone_from(&old);
    let rotate = async || agent.post(&format!("/v1/webhooks/{id}/rotate-secret"), json!({})).await.status(200);
    let rotated = rotate().await;
    let new = field(&rotated, "secret");
    assert_ne!(old, new);
    let ends: jiff::Timestamp = field(&rotated, "previous_secret_expires_at").parse().expect("a time");
    let hours = (ends.as_second() - jiff::Timestamp::now().as_second()) as f64 / 3600.0;
    assert!((23.9..=24.1).contains(&hours), "{hours}");
    // The new secret's signature is the first. A receiver that still has the old secret and reads only that one refuses once, and
    // from then on nothing.
    assert_eq!([attempts(&agent, &id).await, attempts(&agent, &id).await], [2, 1]);
    // So does one that gets the new secret.
    held.lock().expect("a secret").clone_from(&new);
    let taken: Vec<u64> =
        [attempts(&agent, &id).await, attempts(&agent, &id).await, attempts(&agent, &id).await].into();
    assert_eq!(taken, [2, 1, 1]);
    // Others read both signatures, in either order.
    for request in receiver.received() {
        verify(node(), &request, &[], &[&new, &old]).expect("both secrets");
        assert_eq!(request.header("relm-signature").matches("v1=").count(), 2);
    }
    let request = receiver.received().remove(0);
    verify(python(), &request, &[], &[&new, &old]).expect("both secrets");

    home().control("UPDATE webhook_endpoints SET old_secret_ends = now() WHERE id = $1", &[&id]).await;
    assert_eq!(attempts(&agent, &id).await, 1);
    let request = receiver.received().pop().expect("a request");
    verify(node(), &request, &[&new], &[&new]).expect("the new secret");
    verify(python(), &request, &[], &[&old]).expect_err("a secret that has ended");
    assert_eq!(request.header("relm-signature").matches("v1=").count(), 1);
    // The next rotation begins with its new secret again.
    let newest = field(&rotate().await, "secret");
    held.lock().expect("a secret").clone_from(&newest);
    assert_eq!(attempts(&agent, &id).await, 1);
}
