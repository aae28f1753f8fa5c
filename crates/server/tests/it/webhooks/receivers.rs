//! Receivers that break HTTP, or never end: what is recorded about them, and that they delay no other one.

use std::future::Future;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::attempts::queue;
use super::{delivery, send_test, subscribe, until};
use crate::crashes::serve;
use crate::support::{Agent, Receiver, TempDir, relm};

/// A receiver that does this with each connection. Returns its address.
async fn doing<F: Future<Output = ()> + Send + 'static>(
    what: impl Fn(TcpStream) -> F + Clone + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(what(stream));
        }
    });
    url
}

/// Reads what has come of a request.
async fn read(stream: &mut TcpStream) {
    let mut space = [0; 16 * 1024];
    let _ = stream.read(&mut space).await;
}

/// Reads a request and answers with these bytes, as many times as wanted, until the other side has enough.
async fn answer(mut stream: TcpStream, first: String, again: String, every: Duration) {
    read(&mut stream).await;
    let mut more = stream.write_all(first.as_bytes()).await;
    while more.is_ok() {
        tokio::time::sleep(every).await;
        more = stream.write_all(again.as_bytes()).await;
    }
}

/// A receiver that nothing can trust: its certificate is its own. Returns its address.
fn with_a_certificate_of_its_own() -> String {
    kith::http_client::use_ring();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pg/tests/data/tls");
    let chain =
        CertificateDer::pem_file_iter(data.join("self.pem")).expect("a file").map(|it| it.expect("one")).collect();
    let key = PrivateKeyDer::from_pem_file(data.join("self.key")).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a certificate");
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://localhost:{}/", listener.local_addr().expect("an address").port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(config.clone()).expect("a connection");
            let _ = StreamOwned::new(connection, stream).read(&mut [0; 1024]);
        }
    });
    url
}

#[tokio::test]
async fn receivers_that_break_the_rules_are_cut_off_described_and_delay_no_other() {
    const SECOND: Duration = Duration::from_secs(1);
    let agent = relm().await;
    let ok = || "HTTP/1.1 200 OK\r\n".to_owned();
    let silent = doing(async |mut stream: TcpStream| {
        read(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let deaf = doing(async |_stream: TcpStream| std::future::pending::<()>().await).await;
    let slow_head = doing(move |stream| answer(stream, ok(), "x".into(), SECOND)).await;
    let endless_head = doing(move |stream| answer(stream, ok(), "x-more: more\r\n".repeat(1000), Duration::ZERO)).await;
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
    let slow_body = doing(move |stream| answer(stream, length.into(), "x".into(), SECOND)).await;
    let huge_body = doing(move |stream| answer(stream, length.into(), "y".repeat(64 * 1024), Duration::ZERO)).await;
    let reset = doing(async |mut stream: TcpStream| {
        read(&mut stream).await;
        stream.set_zero_linger().expect("a reset at its end");
    })
    .await;
    let closed = doing(async |mut stream: TcpStream| read(&mut stream).await).await;
    let garbage = doing(move |stream| answer(stream, "SSH-2.0-OpenSSH_9.6\r\n".into(), "\r\n".into(), SECOND)).await;
    let untrusted = with_a_certificate_of_its_own();

    // What each of them leads to: in words, or, if its status was good, the beginning of its body.
    let cases = [
        ("silent", silent, Err("No answer within 15 seconds.")),
        ("deaf", deaf, Err("No answer within 15 seconds.")),
        ("slow head", slow_head, Err("No answer within 15 seconds.")),
        ("endless head", endless_head, Err("")),
        ("slow body", slow_body, Ok(0..=4)),
        ("huge body", huge_body, Ok(4096..=4096)),
        ("reset", reset, Err("")),
        ("closed", closed, Err("")),
        ("garbage", garbage, Err("")),
        ("untrusted", untrusted, Err("certificate")),
    ];
    let mut sent = Vec::new();
    for (name, url, expected) in cases {
        let (id, _) = subscribe(&agent, &url).await;
        let first = send_test(&agent, &id).await;
        queue(&id, &["a", "b", "c", "d", "e", "f", "g", "h"]).await;
        sent.push((name, id, first, expected));
    }
    let healthy = Receiver::start().await;
    let (id, _) = subscribe(&agent, &healthy.url()).await;
    queue(&id, &["a"; 50]).await;
    healthy.wait(50).await;
    // None of the silent ones had been given up by then.
    for (name, id, first, _) in &sent[..2] {
        let waiting = delivery(&agent, id, first).await;
        assert_eq!((&waiting["error"], &waiting["duration_ms"]), (&Value::Null, &Value::Null), "{name}: {waiting}");
    }
    for (name, id, first, expected) in sent {
        let done = until(&agent, &id, &first, |it| !it["duration_ms"].is_null()).await;
        match expected {
            Ok(lengths) => {
                let length = done["response_body"].as_str().expect("a body").len();
                assert!(done["status"] == "delivered" && lengths.contains(&length), "{name}: {done}");
            }
            Err(words) => {
                let error = done["error"].as_str().unwrap_or_else(|| panic!("{name}: {done}"));
                assert!(error.contains(words) && error.ends_with('.') && error.len() < 300, "{name}: {error}");
                assert_eq!((&done["response_status"], &done["status"]), (&Value::Null, &"pending".into()), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn many_receivers_that_never_answer_delay_no_other() {
    const SILENT: usize = 20;
    let silent = doing(async |mut stream: TcpStream| {
        read(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let mut waiting = Vec::new();
    for _ in 0..SILENT {
        let agent = relm().await;
        let (id, _) = subscribe(&agent, &silent).await;
        let ids = queue(&id, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]).await;
        waiting.push((agent, id, ids));
    }
    let agent = relm().await;
    let healthy = Receiver::start().await;
    let (id, _) = subscribe(&agent, &healthy.url()).await;
    queue(&id, &["a"; 20]).await;
    healthy.wait(20).await;
    // None of the last ones had been given up by then: nobody waited for them.
    let (agent, id, ids) = waiting.last().expect("one");
    for one in ids {
        let found = delivery(agent, id, one).await;
        assert_eq!((&found["error"], &found["duration_ms"]), (&Value::Null, &Value::Null), "{found}");
    }
}

/// A receiver that answers nothing until its gate is open.
async fn gated() -> (Receiver, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let receiver = Receiver::answering(move |_, _| {
        let gate = opened.clone();
        async move {
            let _open = gate.acquire().await.expect("a gate");
            200
        }
    })
    .await;
    (receiver, gate)
}

/// A webhook of an agentCRM workspace for all events of contacts.
async fn listen(agent: &Agent, receiver: &Receiver) -> String {
    let body = json!({"url": receiver.url(), "events": ["contact.*"]});
    agent.post("/v1/webhooks", body).await.status(201).id()
}

/// Checks that no delivery of a webhook was answered or given up so far.
async fn all_wait(agent: &Agent, webhook: &str) {
    let listed = agent.get(&format!("/v1/webhooks/{webhook}/deliveries?limit=200")).await.status(200);
    for one in listed.data().as_array().expect("a list") {
        assert_eq!((&one["status"], &one["duration_ms"]), (&json!("pending"), &Value::Null), "{one}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workspaces_that_take_all_places_they_may_leave_some_for_another() {
    const WORKSPACES: usize = 8;
    const ENDPOINTS: usize = 48;
    // A process of its own, so that nobody else has places.
    let dir = TempDir::new();
    let child = serve(&dir);
    let (silent, gate) = gated().await;
    let mut crowd = Vec::new();
    for _ in 0..WORKSPACES {
        let agent = child.agent().await;
        let mut first = String::new();
        for _ in 0..ENDPOINTS {
            first = listen(&agent, &silent).await;
        }
        crowd.push((agent, first));
    }
    let (agent, healthy) = (child.agent().await, Receiver::start().await);
    listen(&agent, &healthy).await;
    // Together they want all 384 places of the process, at once.
    for (agent, _) in &crowd {
        agent.post("/v1/contacts", json!({"email": "a@crowd.example"})).await.status(201);
    }
    silent.wait(300).await;
    for n in 0..20 {
        agent.post("/v1/contacts", json!({"email": format!("{n}@b.example")})).await.status(201);
    }
    healthy.wait(20).await;
    // An attempt at a silent one holds its place until it is given up, and none was by then.
    for (agent, webhook) in &crowd {
        all_wait(agent, webhook).await;
    }
    gate.add_permits(10_000);
}

/// By order, not by time: whatever arrives for the flood is held, and the other event arrives all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_arrives_before_the_flood_of_another_workspace_is_delivered() {
    const ENDPOINTS: usize = 48;
    const CONTACTS: usize = 20;
    /// What a workspace may take of the places.
    const SHARE: usize = 48;
    let dir = TempDir::new();
    let child = serve(&dir);
    let (flood, agent) = (child.agent().await, child.agent().await);
    let ((flooded, gate), receiver) = (gated().await, Receiver::start().await);
    let mut webhooks = Vec::new();
    for _ in 0..ENDPOINTS {
        webhooks.push(listen(&flood, &flooded).await);
    }
    listen(&agent, &receiver).await;
    let contacts: Vec<Value> = (0..CONTACTS).map(|n| json!({"email": format!("{n}@flood.example")})).collect();
    flood.post("/v1/contacts/batch", json!({"contacts": contacts})).await.status(200);
    flooded.wait(SHARE).await;
    agent.post("/v1/contacts", json!({"email": "one@b.example"})).await.status(201);
    receiver.wait(1).await;
    assert_eq!(flooded.received().len(), SHARE, "the flood has no more than its share, and it is not answered");
    for webhook in &webhooks {
        all_wait(&flood, webhook).await;
    }
    gate.add_permits(1_000_000);
    flooded.wait(ENDPOINTS * CONTACTS).await;
}
