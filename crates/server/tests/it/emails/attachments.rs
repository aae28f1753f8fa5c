//! Files up to 10 MiB in all, by each door that sends; and what is larger is refused, without taking the memory of others.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kith::bounds::Bounds;
use kith::budget::Size;
use reqwest::Method;
use serde_json::{Value, json};

use super::{apart, connect, hello, set, with};
use crate::mcp::call;
use crate::support::{Agent, Child, TempDir, both, bounded_door, mailbox, resend, stranger_at};

const MIB: usize = 1024 * 1024;
const MOST: usize = 10 * MIB;

/// A file of so many bytes.
fn file(bytes: usize) -> Value {
    let content: Vec<u8> = (0..bytes).map(|at| (at * 31 % 251) as u8).collect();
    json!({"filename": "a.bin", "content": STANDARD.encode(content), "content_type": "application/octet-stream"})
}

fn with_files(sizes: &[usize]) -> Value {
    with("attachments", sizes.iter().map(|bytes| file(*bytes)).collect())
}

/// The content of the last file that an account has got.
fn last_file(key: &str) -> Value {
    let emails = resend().account(key).emails;
    let files = emails.last().expect("an e-mail")["attachments"].as_array().expect("files").clone();
    files.last().expect("a file")["content"].clone()
}

#[tokio::test]
async fn files_of_10_mib_leave_by_every_door_and_larger_ones_are_refused_by_field() {
    let (relm, agentcrm) = both().await;
    let key = connect(&agentcrm).await;
    let whole = file(MOST)["content"].clone();
    for agent in [&relm, &agentcrm] {
        agent.post("/v1/emails", with_files(&[MOST])).await.status(201);
        assert_eq!(last_file(&key), whole);
        let refused = agent.post("/v1/emails", with_files(&[MOST, 1])).await.fault(422, "validation_failed");
        assert_eq!(refused.error()["field"], "attachments", "{}", refused.story());
        agent.post("/v1/emails", with_files(&[13 * MIB])).await.fault(413, "payload_too_large").says("10 MiB");
    }
    // In all, and with room for the text.
    let mut mail = with_files(&[4 * MIB, 6 * MIB]);
    mail["html"] = json!("x".repeat(MIB));
    relm.post("/v1/emails", mail).await.status(201);
    let operation = json!({"method": "POST", "path": "/v1/emails", "body": with_files(&[MOST])});
    agentcrm.post("/v1/batch", json!({"operations": [operation]})).await.status(200);
    let mut mail = json!({"to": ["sarah@acme.example"], "subject": "S", "text": "T"});
    mail["attachments"] = json!([file(MOST)]);
    assert_eq!(call(&relm, "send_email", mail).await["status"], "sent");
    resend().wait(&key, 5).await;
}

/// Only what sends has the larger limit.
#[tokio::test]
async fn other_bodies_keep_their_limits() {
    for agent in &apart().await {
        connect(agent).await;
        let text = "x".repeat(MOST);
        agent
            .post("/v1/emails", json!({"from_addr": "a@b.example", "body_text": text}))
            .await
            .fault(413, "payload_too_large");
        agent.post("/v1/contacts", json!({"first_name": text})).await.fault(413, "payload_too_large");
        let operation = json!({"method": "POST", "path": "/v1/contacts", "body": {"first_name": text}});
        agent.post("/v1/batch", json!({"operations": [operation]})).await.fault(413, "payload_too_large");
        let raw = async |bytes: usize| {
            let mut message = b"From: a@b.example\r\nSubject: Large\r\n\r\n".to_vec();
            message.resize(bytes, b'x');
            agent.send(Method::POST, "/v1/emails", &[("content-type", "message/rfc822")], message).await
        };
        raw(MOST).await.status(201);
        raw(MOST + 1).await.fault(413, "payload_too_large");
    }
}

#[tokio::test]
async fn a_mail_server_gets_10_mib() {
    let [agent, _] = apart().await;
    set(&agent, json!({"provider": "smtp", "url": mailbox().url, "from_email": "shop@shop.example"})).await.status(200);
    let to = format!("files-{}@x.example", agent.workspace_id);
    let mut mail = with_files(&[MOST]);
    mail["to"] = json!(to);
    agent.post("/v1/emails", mail).await.status(201);
    let got = &mailbox().wait(&to, 1).await[0].text;
    let lines: String = got.lines().filter(|line| line.len() == 76).collect();
    let whole = file(MOST)["content"].as_str().expect("a text").to_owned();
    assert!(lines.contains(&whole[..whole.len() / 76 * 76]), "{} bytes came", got.len());
}

/// A provider that does not answer keeps large messages, and others still send.
#[tokio::test]
async fn many_large_mails_at_once_take_a_bounded_memory() {
    const AT_ONCE: usize = 8;
    let dir = TempDir::new();
    let child = Child::serve_with(&dir, |command| {
        command.env("KITH_RESEND_BASE_URL", &resend().url).env("KITH_ALLOW_PRIVATE_TARGETS", "1");
    });
    let mut agents: Vec<Agent> = Vec::new();
    for _ in 0..AT_ONCE {
        let agent = child.owned_agent().await;
        let key = connect(&agent).await;
        resend().will_hold_answer_back(&key);
        agents.push(agent);
    }
    let body = with_files(&[MOST]).to_string();
    let before = child.measure_memory();
    let sending = agents.iter().map(|agent| agent.send_json(Method::POST, "/v1/emails", body.clone()));
    let answers = futures_util::future::join_all(sending);
    let quick = child.owned_agent().await;
    connect(&quick).await;
    let (answers, small) = tokio::join!(answers, quick.post("/v1/emails", hello()));
    small.status(201);
    // Some may have found no room for their bodies in time, if the machine is slow.
    let codes: Vec<u16> = answers.iter().map(|it| it.code).collect();
    assert!(codes.iter().all(|it| matches!(it, 202 | 408 | 503)), "{codes:?}");
    assert!(codes.iter().filter(|it| **it == 202).count() >= AT_ONCE / 2, "{codes:?}");
    let grown = (child.memory_kb("VmHWM") - before) / 1024;
    println!("{grown} MiB more at the peak");
    assert!(grown < 450, "{grown} MiB");
}

/// The values of a request are counted where its message is handed over, and their room is free for others.
#[tokio::test]
async fn a_slow_provider_keeps_no_room_of_other_requests() {
    let trees = Size { whole: 32 * MIB, share: 32 * MIB, patience: Duration::from_secs(1) };
    let base = bounded_door(Bounds { trees, ..Bounds::default() }).await;
    let agent = stranger_at(&base).with_workspace().await;
    let key = connect(&agent).await;
    resend().will_hold_answer_back(&key);
    let (slow, body) = (agent.clone(), with_files(&[MOST]).to_string());
    let asked = tokio::spawn(async move { slow.send_json(Method::POST, "/v1/emails", body).await });
    resend().wait(&key, 1).await;
    // Besides the values of that mail and a copy there would be no room for these.
    let long = json!({"sql": "select length($1) as v", "params": ["x".repeat(6 * MIB)]});
    assert_eq!(agent.post("/v1/sql", long).await.status(200).v(), 6 * MIB);
    asked.await.expect("an answer").status(202);
}
