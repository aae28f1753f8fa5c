//! No credential gets into the log, a delivery or an error, whatever the level of the log.

use serde_json::{Value, json};

use super::{field, send_test, until};
use crate::support::{Child, Receiver, TempDir, relm};

#[tokio::test]
async fn no_credential_is_in_the_log_a_delivery_or_an_error() {
    let dir = TempDir::new();
    let child = Child::serve_with(&dir, |command| {
        command.env("KITH_ALLOW_PRIVATE_TARGETS", "1").env("KITH_LOG", "trace");
    });
    let agent = child.agent().await;
    let good = Receiver::start().await;
    let moved = Receiver::answering(|_, _| async {
        axum::response::Response::builder()
            .status(302)
            .header("location", "http://user:redirect-password@127.0.0.1:9/?token=redirect-token")
            .body(axum::body::Body::empty())
            .expect("a response")
    })
    .await;
    let mut secrets = vec![agent.key.clone()];
    let mut tests = Vec::new();
    // A receiver that answers, one that redirects, one that is not there, one that speaks no TLS, and a name that does not exist.
    let (good, moved) = (good.url(), moved.url());
    let no_tls = good.replace("http://", "https://");
    for (at, base) in
        [&*good, &*moved, "http://127.0.0.1:9/hook", &*no_tls, "http://nowhere.invalid/hook"].into_iter().enumerate()
    {
        let token = format!("url-token-{at}");
        let url = format!("{base}/path-{token}?token={token}");
        let made = agent.post("/v1/webhooks", json!({"url": url, "events": ["*"]})).await.status(201);
        let id = field(&made, "id");
        let rotated = agent.post(&format!("/v1/webhooks/{id}/rotate-secret"), json!({})).await.status(200);
        for secret in [field(&made, "secret"), field(&rotated, "secret")] {
            secrets.push(secret["whsec_".len()..].to_owned());
        }
        tests.push((id.clone(), send_test(&agent, &id).await));
        secrets.push(token);
    }
    secrets.extend(
        ["redirect-password", "redirect-token", "url-password", "smtp-password", "imap-password"].map(str::to_owned),
    );
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    let mut said = Vec::new();
    for (id, test) in &tests {
        let done = until(&agent, id, test, |it| !it["duration_ms"].is_null()).await;
        agent.post(&format!("/v1/webhooks/{id}/replay/{test}"), json!({})).await.status(200);
        said.push(agent.get(&format!("/v1/webhooks/{id}/deliveries")).await.status(200).json().to_string());
        assert!(done["status"] == "delivered" || done["error"].is_string(), "{done}");
    }
    let refused = [
        ("/v1/webhooks", json!({"url": "https://user:url-password@127.0.0.1/", "events": ["*"]})),
        ("/v1/webhooks", json!({"url": "https://user:url-password@[", "events": ["*"]})),
        ("/v1/webhooks", json!({"url": "gopher://user:url-password@127.0.0.1/", "events": ["*"]})),
        (
            "/v1/integrations/mailbox",
            json!({"host": "127.0.0.1", "port": 9, "username": "u", "password": "imap-password"}),
        ),
    ];
    for (path, body) in refused {
        let reply = agent.post(path, body).await;
        assert!((400..500).contains(&reply.code), "{}", reply.story());
        said.push(reply.json().to_string());
    }
    let smtp = json!({"provider": "smtp", "url": "smtp://u:smtp-password@127.0.0.1:9", "from_email": "a@b.example"});
    let reply = agent.send_json(reqwest::Method::PUT, "/v1/integrations/email", smtp.to_string()).await;
    said.push(reply.json().to_string());
    let emailing = json!([{"type": "send_email", "to": "a@b.example", "subject": "x"}]);
    let rule = json!({"name": "R", "trigger_event": "company.created", "actions": emailing});
    agent.post("/v1/automations", rule).await.status(201);
    agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201);
    // An error of the server's own at a wrong key.
    let stranger = agent.clone().with_key("sk_live_wrong-key-0123456789".into(), String::new());
    said.push(stranger.get("/v1/webhooks").await.status(401).json().to_string());
    secrets.push("wrong-key".into());

    for secret in &secrets {
        let found = said.iter().find(|it| it.contains(secret.as_str()));
        assert_eq!(found, None, "{secret} is in an answer");
    }
    let log = child.log();
    assert!(log.contains("TRACE") && log.contains("DEBUG"), "a log of all levels");
    for secret in secrets.iter().map(String::as_str).chain(["Bearer ", "v1=", "relm-signature: t="]) {
        let found = log.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret} is in the log");
    }
}

#[tokio::test]
async fn an_address_with_a_password_is_refused_without_repeating_it() {
    let agent = relm().await;
    for url in ["https://user:hunter2@hooks.example/", "https://user:hunter2@", "https://hunter2@hooks.example/"] {
        let reply =
            agent.post("/v1/webhooks", json!({"url": url, "events": ["*"]})).await.fault(422, "validation_failed");
        let said: Value = reply.json();
        assert!(!said.to_string().contains("hunter2"), "{said}");
    }
}
