//! Resend's webhook about received e-mail.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};

use super::{apart, count, hello, receive, record};
use crate::support::{Agent, Reply, home, resend, stranger};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970").as_secs() as i64
}

fn signature(secret: &str, id: &str, at: i64, body: &str) -> String {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("base64");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{id}.{at}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

/// Connects an account of Resend's with the webhook's secret. Returns its key and the webhook's path.
async fn connect(agent: &Agent) -> (String, String) {
    let key = format!("re_{}", agent.workspace_id);
    let body = json!({"api_key": key, "from_email": "shop@shop.example", "webhook_secret": SECRET});
    let set = record(&agent.send_json(Method::PUT, "/v1/integrations/email", body.to_string()).await.status(200));
    assert_eq!(set["receives"], true, "{set}");
    let url = set["inbound_url"].as_str().expect("an address").to_owned();
    assert!(url.ends_with(&format!("/v1/inbound/resend?ws={}", agent.workspace_id)), "{url}");
    let at = url.find("/v1/").expect("a path");
    (key, url[at..].to_owned())
}

async fn call(path: &str, secret: &str, at: i64, body: &str) -> Reply {
    let (sent_at, signed) = (at.to_string(), signature(secret, "msg_1", at, body));
    let headers = [
        ("content-type", "application/json"),
        ("svix-id", "msg_1"),
        ("svix-timestamp", &sent_at),
        ("svix-signature", &signed),
    ];
    stranger().send(Method::POST, path, &headers, body.to_owned()).await
}

fn event(id: &str) -> String {
    json!({"type": "email.received", "created_at": "2026-02-22T23:41:12.126Z", "data": {"email_id": id, "from": "Acme <a@acme.example>",
        "to": ["help@shop.example"], "subject": "Hello", "message_id": "<m1@acme.example>", "attachments": []}})
    .to_string()
}

fn message(id: &str) -> Value {
    json!({"object": "email", "id": id, "from": "Acme <a@acme.example>", "to": ["help@shop.example"], "cc": [], "bcc": [], "reply_to": [],
        "subject": "Hello", "html": "<p>Hello <b>you</b></p>", "text": null, "created_at": "2026-02-22 23:41:11.894719+00",
        "message_id": "<m1@acme.example>", "headers": {"In-Reply-To": "<1@acme.example>", "Date": "Sun, 22 Feb 2026 23:41:10 +0000"},
        "attachments": [{"id": "at_1", "filename": "a.png", "content_type": "image/png", "size": 7}]})
}

#[tokio::test]
async fn a_signed_call_brings_the_message() {
    for agent in &apart().await {
        let (key, path) = connect(agent).await;
        let thread = receive(agent, &hello("1", "Before", "")).await["thread_id"].clone();
        resend().has_received(&key, "56761188", message("56761188"));
        let taken = call(&path, SECRET, now(), &event("56761188")).await.status(200);
        assert_eq!((taken.at("/data/received"), taken.at("/data/created")), (json!(true), json!(true)));
        let email = record(&agent.get(&format!("/v1/emails/{}", taken.text("/data/id"))).await.status(200));
        for (name, value) in [
            ("direction", json!("inbound")),
            ("from_addr", json!("a@acme.example")),
            ("to_addrs", json!(["help@shop.example"])),
            ("subject", json!("Hello")),
            ("body_html", json!("<p>Hello <b>you</b></p>")),
            ("body_text", json!("Hello you")),
            ("provider_msg_id", json!("<m1@acme.example>")),
            ("thread_id", thread),
        ] {
            assert_eq!(email[name], value, "{name}: {email}");
        }
        assert!(email["received_at"].as_str().unwrap().starts_with("2026-02-22T23:41:11"), "{email}");
        assert_eq!(
            email[super::custom(agent)]["attachments"],
            json!([{"filename": "a.png", "content_type": "image/png", "bytes": 7}])
        );
        assert_eq!(count(agent, "/v1/activities").await, 2);
        // Resend calls at least once; the mailbox may have the message too.
        let again = call(&path, SECRET, now(), &event("56761188")).await.status(200);
        assert_eq!((again.at("/data/created"), again.text("/data/id")), (json!(false), taken.text("/data/id")));
        assert_eq!((count(agent, "/v1/emails").await, count(agent, "/v1/activities").await), (2, 2));
        // Other events are taken and ignored.
        call(&path, SECRET, now(), &json!({"type": "email.bounced", "data": {}}).to_string()).await.status(200);
        assert_eq!(count(agent, "/v1/emails").await, 2);
    }
}

#[tokio::test]
async fn a_call_that_is_not_signed_in_time_is_refused() {
    let agent = &apart().await[1];
    let (key, path) = connect(agent).await;
    resend().has_received(&key, "1", message("1"));
    let other = format!("whsec_{}", STANDARD.encode([7; 24]));
    for (secret, at) in [(other.as_str(), now()), (SECRET, now() - 400), (SECRET, now() + 400)] {
        call(&path, secret, at, &event("1")).await.fault(401, "unauthorized");
    }
    let signed = signature(SECRET, "msg_1", now(), &event("1"));
    for headers in [
        vec![],
        vec![("svix-id", "msg_1"), ("svix-signature", signed.as_str())],
        vec![("svix-id", "msg_2"), ("svix-timestamp", "0"), ("svix-signature", signed.as_str())],
    ] {
        let refused = stranger().send(Method::POST, &path, &headers, event("1")).await.fault(401, "unauthorized");
        // The hint is about this path: an API key is no help here.
        let said = refused.says("webhook_secret").says("inbound_url").story();
        assert!(!said.contains("Bearer <api key>"), "{said}");
    }
    let document = stranger().get("/openapi.json").await.status(200);
    assert_eq!(document.at("/paths/~1v1~1inbound~1resend/post/operationId"), "receiveFromResend");
    let elsewhere = path.replace(&agent.workspace_id, &apart().await[1].workspace_id);
    call(&elsewhere, SECRET, now(), &event("1")).await.fault(401, "unauthorized");
    call("/v1/inbound/resend", SECRET, now(), &event("1")).await.fault(401, "unauthorized");
    call("/v1/inbound/other", SECRET, now(), &event("1")).await.status(404);
    stranger().get(&path).await.fault(405, "method_not_allowed");
    call(&path, SECRET, now(), "no JSON").await.status(400);
    let long = json!({"type": "email.received", "data": {"email_id": "1", "x": "x".repeat(300_000)}}).to_string();
    call(&path, SECRET, now(), &long).await.fault(413, "payload_too_large");
    assert_eq!(count(agent, "/v1/emails").await, 0);
    call(&path, SECRET, now(), &event("1")).await.status(200);
    assert_eq!(count(agent, "/v1/emails").await, 1);
}

#[tokio::test]
async fn a_workspace_that_was_not_claimed_in_time_records_nothing() {
    let agent = &apart().await[1];
    let (key, path) = connect(agent).await;
    resend().has_received(&key, "1", message("1"));
    let age = async |days: &str| {
        let sql = "UPDATE workspaces SET created_at = now() - $2::interval, claimed_at = NULL WHERE id = $1";
        home().control(sql, &[&agent.workspace_id, days]).await;
    };
    age("8 days").await;
    call(&path, SECRET, now(), &event("1")).await.fault(403, "workspace_read_only");
    assert_eq!(count(agent, "/v1/emails").await, 0);
    age("6 days").await;
    call(&path, SECRET, now(), &event("1")).await.status(200);
    assert_eq!(count(agent, "/v1/emails").await, 1);
}

#[tokio::test]
async fn resend_calls_again_while_the_message_cannot_be_fetched() {
    let agent = &apart().await[1];
    let (key, path) = connect(agent).await;
    call(&path, SECRET, now(), &event("9")).await.status(503);
    resend().has_received(&key, "9", message("9"));
    call(&path, SECRET, now(), &event("9")).await.status(200);
    assert_eq!(count(agent, "/v1/emails").await, 1);
}

#[tokio::test]
async fn the_secret_stays_until_it_is_replaced_or_removed_and_is_never_shown() {
    let agent = &apart().await[0];
    let (key, path) = connect(agent).await;
    resend().has_received(&key, "1", message("1"));
    let put = async |more: Value| {
        let mut body = json!({"api_key": key, "from_email": "shop@shop.example"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = agent.send_json(Method::PUT, "/v1/integrations/email", body.to_string()).await.status(200);
        assert!(!record(&reply).to_string().contains("whsec_"), "{}", reply.story());
        record(&reply)["receives"].clone()
    };
    assert_eq!(put(json!({})).await, true);
    call(&path, SECRET, now(), &event("1")).await.status(200);
    let other = format!("whsec_{}", STANDARD.encode([7; 24]));
    assert_eq!(put(json!({"webhook_secret": other})).await, true);
    call(&path, SECRET, now(), &event("1")).await.status(401);
    call(&path, &other, now(), &event("1")).await.status(200);
    assert_eq!(put(json!({"webhook_secret": null})).await, false);
    call(&path, &other, now(), &event("1")).await.status(401);
    agent.delete("/v1/integrations/email").await.status(200);
    let none = record(&agent.get("/v1/integrations/email").await.status(200));
    assert_eq!((&none["inbound_url"], &none["receives"]), (&Value::Null, &json!(false)));
}

#[tokio::test]
async fn calls_that_are_not_signed_are_slowed_down_and_do_not_keep_signed_ones_out() {
    let [agent, _] = &apart().await;
    let (key, path) = connect(agent).await;
    let (at, here) = (now().to_string(), stranger().from([127, 0, 0, 77].into()));
    let forged = (0..120).map(|number| {
        let (signed, at) =
            (signature("whsec_Zm9yZ2VkIGZvcmdlZCBmb3JnZWQ=", &format!("msg_{number}"), now(), "{}"), &at);
        let (here, path) = (&here, &path);
        async move {
            let id = format!("msg_{number}");
            let headers = [("svix-id", &*id), ("svix-timestamp", at), ("svix-signature", &*signed)];
            here.send(Method::POST, path, &headers, "{}".to_owned()).await.code
        }
    });
    let codes = futures_util::future::join_all(forged).await;
    assert!(codes.iter().all(|code| matches!(code, 401 | 429)) && codes.contains(&429), "{codes:?}");
    resend().has_received(&key, "elsewhere", message("elsewhere"));
    call(&path, SECRET, now(), &event("elsewhere")).await.status(200);
}
