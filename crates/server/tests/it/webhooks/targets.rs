//! Addresses in private networks are refused: when they are saved, and again at each attempt, by name, by every way to write an
//! address, by a name that changes its address, and by a redirect.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kith::app::App;
use kith::door::listener;
use kith::targets::{Found, LookUp, Outgoing, SystemLookUp, Targets};
use serde_json::json;
use tokio::net::TcpListener;

use super::{answering, send_test, subscribe, until};
use crate::support::{Agent, Receiver, Reply, home, relm};

/// A client of the same Kith at a listener that refuses private addresses and looks names up like this.
pub async fn at_strict_door(agent: &Agent, look_up: Arc<dyn LookUp>) -> Agent {
    let targets = Arc::new(Targets::new(false, look_up).expect("a client"));
    let base = home().run(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(listener::serve(listener, App { targets, ..home().kith.app.clone() }, pending()));
        base
    });
    agent.at(&base.await)
}

/// A look-up that gives these addresses in turn, and the last one from then on.
struct Turns {
    addresses: Vec<&'static str>,
    asked: AtomicUsize,
}

impl Turns {
    fn of(addresses: &[&'static str]) -> Arc<Turns> {
        Arc::new(Turns { addresses: addresses.to_vec(), asked: AtomicUsize::new(0) })
    }
}

impl LookUp for Turns {
    fn addresses(&self, _name: &str) -> Found {
        let at = self.asked.fetch_add(1, Ordering::SeqCst).min(self.addresses.len() - 1);
        let address: IpAddr = self.addresses[at].parse().expect("an address");
        Box::pin(async move { Ok(vec![address]) })
    }
}

async fn create(agent: &Agent, url: &str) -> Reply {
    agent.post("/v1/webhooks", json!({"url": url, "events": ["*"]})).await
}

#[tokio::test]
async fn a_private_address_is_refused_when_it_is_saved() {
    let agent = relm().await;
    let strict = at_strict_door(&agent, Arc::new(SystemLookUp)).await;
    for url in [
        "http://127.0.0.1:8080/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a00:1]/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://metadata.google.internal/",
        "http://printer.local/",
    ] {
        create(&strict, url).await.fault(422, "target_not_allowed");
    }
    // A public literal is saved without a look-up.
    let made = create(&strict, "https://1.1.1.1/hook").await.status(201).json();
    let path = format!("/v1/webhooks/{}", made["id"].as_str().expect("an id"));
    strict.patch(&path, json!({"url": "http://127.0.0.1/"})).await.fault(422, "target_not_allowed");
    assert_eq!(strict.get(&path).await.status(200).json()["url"], "https://1.1.1.1/hook");
    strict.patch(&path, json!({"enabled": false})).await.status(200);

    let by_name = at_strict_door(&agent, Turns::of(&["10.0.0.1"])).await;
    create(&by_name, "https://hooks.example/").await.fault(422, "target_not_allowed");
    let mapped = at_strict_door(&agent, Turns::of(&["::ffff:10.0.0.1"])).await;
    create(&mapped, "https://hooks.example/").await.fault(422, "target_not_allowed");
}

fn outgoing(url: &str) -> Outgoing<'_> {
    Outgoing { url, headers: Vec::new(), body: "{}".into() }
}

#[tokio::test]
async fn a_name_that_changes_its_address_reaches_no_private_one() {
    let receiver = Receiver::start().await;
    let port = receiver.base.rsplit(':').next().expect("a port");
    let url = format!("http://rebound.example:{port}/");
    // The first answer is for the check, the second one for the connection.
    for private in ["127.0.0.1", "::ffff:127.0.0.1"] {
        let targets = Targets::new(false, Turns::of(&["1.1.1.1", private])).expect("a client");
        assert!(targets.check(&url).await.is_ok(), "it was public when it was saved");
        let words = targets.send(outgoing(&url)).await.answer.expect_err("no connection");
        assert!(words.contains("private network"), "{words}");
    }
    // A literal address needs no look-up, and the client makes none.
    for literal in ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433"] {
        let targets = Targets::new(false, Turns::of(&["1.1.1.1"])).expect("a client");
        let words =
            targets.send(outgoing(&format!("http://{literal}:{port}/"))).await.answer.expect_err("no connection");
        assert!(words.contains("private network"), "{words}");
    }
    assert_eq!(receiver.received().len(), 0);
    // The guard is what refused: with private addresses allowed, the same name arrives.
    let targets = Targets::new(true, Turns::of(&["127.0.0.1"])).expect("a client");
    assert_eq!(targets.send(outgoing(&url)).await.answer.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let agent = relm().await;
    let inner = Receiver::start().await;
    let target = inner.url();
    let outer = Receiver::answering(move |_, _| {
        let target = target.clone();
        async move {
            let redirect = axum::response::Response::builder().status(307).header("location", target);
            redirect.body(axum::body::Body::empty()).expect("a response")
        }
    })
    .await;
    let (id, _) = subscribe(&agent, &outer.url()).await;
    let test = send_test(&agent, &id).await;
    let failed = until(&agent, &id, &test, |it| it["response_status"] == 307).await;
    assert_eq!(failed["status"], "pending");
    assert_eq!(inner.received().len(), 0);
}

#[tokio::test]
async fn the_proxies_of_the_environment_are_ignored() {
    // The variables are read when a client is made, so they are set in a child.
    let dir = crate::support::TempDir::new();
    let (proxy, receiver) = (answering(&[502]).await, Receiver::start().await);
    let base = proxy.base.clone();
    let child = crate::support::Child::serve_with(&dir, |command| {
        command.env("KITH_ALLOW_PRIVATE_TARGETS", "1");
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env(name, &base);
        }
    });
    let agent = child.agent().await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    send_test(&agent, &id).await;
    receiver.wait(1).await;
    assert_eq!(proxy.received().len(), 0);
    let strict = crate::support::TempDir::new();
    let strict = crate::support::Child::serve(&strict);
    create(&strict.agent().await, "http://127.0.0.1/").await.fault(422, "target_not_allowed");
}

#[tokio::test]
async fn a_receiver_may_ask_for_a_wait_by_a_date() {
    let receiver = Receiver::answering(|_, _| async {
        let busy = axum::response::Response::builder().status(503);
        let dated = busy.header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let asked = dated.header("retry-after", "Sun, 06 Nov 1994 08:51:07 GMT");
        asked.body(axum::body::Body::empty()).expect("a response")
    })
    .await;
    let targets = Targets::new(true, Arc::new(SystemLookUp)).expect("a client");
    let answer = targets.send(outgoing(&receiver.url())).await.answer.expect("an answer");
    assert_eq!((answer.status, answer.retry_after), (503, Some(90)));
}
