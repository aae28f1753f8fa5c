//! Endpoints as a resource: all methods in both dialects, pages, rights, idempotency, and the secret at rest.

use reqwest::Method;
use serde_json::{Value, json};

use super::{field, record, send_test, subscribe, until};
use crate::belongings::{joined, owned};
use crate::support::{Agent, Receiver, Reply, both, home, relm};

#[tokio::test]
async fn a_webhook_is_created_read_changed_and_deleted_in_both_dialects() {
    let (relm, agentcrm) = both().await;
    for agent in [&relm, &agentcrm] {
        let wanted =
            json!({"url": "http://127.0.0.1:9/hook", "events": ["contact.created", "deal.*"], "description": "CRM"});
        let made = agent.post("/v1/webhooks", wanted).await.status(201);
        let (id, secret) = (field(&made, "id"), field(&made, "secret"));
        assert!(id.starts_with("whep_") && id.len() == 31, "{id}");
        assert!(secret.starts_with("whsec_") && secret.len() == 38, "{secret}");
        let mut webhook = record(&made);
        webhook.as_object_mut().expect("an object").remove("secret");
        assert_eq!(webhook["events"], json!(["contact.created", "deal.*"]));
        assert_eq!((&webhook["enabled"], &webhook["description"]), (&json!(true), &json!("CRM")));
        assert!(webhook["created_by"].as_str().is_some_and(|actor| actor.starts_with("api_key:ak_")), "{webhook}");

        let path = format!("/v1/webhooks/{id}");
        assert_eq!(record(&agent.get(&path).await.status(200)), webhook, "the secret is shown once");
        let listed = agent.get("/v1/webhooks").await.status(200);
        assert_eq!(listed.json()["data"][0], webhook);
        let changed =
            agent.patch(&path, json!({"enabled": false, "events": ["*"], "description": null})).await.status(200);
        let changed = record(&changed);
        assert_eq!((&changed["enabled"], &changed["events"]), (&json!(false), &json!(["*"])));
        assert_eq!((&changed["description"], &changed["url"]), (&Value::Null, &webhook["url"]));

        let deleted = agent.delete(&path).await.status(200).json();
        match deleted.get("object") {
            Some(object) => assert_eq!((object, &deleted["deleted"]), (&json!("webhook"), &json!(true))),
            None => assert!(deleted["data"]["deleted_at"].is_string(), "{deleted}"),
        }
        for reply in [agent.get(&path).await, agent.patch(&path, json!({})).await, agent.delete(&path).await] {
            reply.fault(404, "not_found");
        }
    }
}

#[tokio::test]
async fn the_fields_are_checked() {
    let agent = relm().await;
    let good = json!({"url": "https://hooks.example/a", "events": ["*"]});
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for (body, status, code, said) in [
        (json!({"events": ["*"]}), 422, "validation_failed", "url"),
        (json!({"url": "https://hooks.example/a"}), 422, "validation_failed", "events"),
        (with("events", json!([])), 422, "validation_failed", "events"),
        (with("events", json!(["contact.creatd"])), 422, "validation_failed", "contact.created"),
        (with("events", json!("*")), 400, "invalid_request", "array"),
        (with("url", json!("hooks.example")), 422, "validation_failed", "URL"),
        (with("url", json!("ftp://hooks.example/")), 422, "validation_failed", "https://"),
        (with("url", json!("https://u:p@hooks.example/")), 422, "validation_failed", "password"),
        (with("enabled", json!("yes")), 400, "invalid_request", "true or false"),
        (with("secret", json!("whsec_mine")), 400, "invalid_request", "secret"),
        (with("evnets", json!(["*"])), 400, "invalid_request", "events"),
    ] {
        agent.post("/v1/webhooks", body).await.fault(status, code).says(said);
    }
    agent
        .send(Method::POST, "/v1/webhooks", &[("content-type", "text/plain")], "{}")
        .await
        .fault(415, "unsupported_media_type");
    agent.send_json(Method::PUT, "/v1/webhooks", "{}").await.fault(405, "method_not_allowed");
    agent.get("/v1/webhooks?url=x").await.fault(400, "invalid_request");
    agent.post("/v1/webhooks/whep_none/test", json!({})).await.fault(404, "not_found");
    agent.get("/v1/webhooks/whep_none/deliveries").await.fault(404, "not_found");
    assert_eq!(agent.get("/v1/webhooks").await.status(200).json()["data"], json!([]));
}

#[tokio::test]
async fn webhooks_belong_to_a_workspace_and_a_mode() {
    let (owner, live) = owned().await;
    let (id, _) = subscribe(&live, "http://127.0.0.1:9/").await;
    let path = format!("/v1/keys?ws={}", owner.workspace_id);
    let key = owner.post(&path, json!({"mode": "test"})).await.status(201).text("/data/api_key");
    let test = live.clone().with_key(key, live.workspace_id.clone());
    let stranger = relm().await;
    for other in [&test, &stranger] {
        assert_eq!(other.get("/v1/webhooks").await.status(200).json()["data"], json!([]));
        let path = format!("/v1/webhooks/{id}");
        for reply in [
            other.get(&path).await,
            other.patch(&path, json!({"enabled": false})).await,
            other.delete(&path).await,
            other.post(&format!("{path}/rotate-secret"), json!({})).await,
            other.post(&format!("{path}/test"), json!({})).await,
            other.get(&format!("{path}/deliveries")).await,
            other.post(&format!("{path}/replay/whd_1"), json!({})).await,
            other.post(&format!("{path}/replay-failed"), json!({"since": "2026-01-01T00:00:00Z"})).await,
        ] {
            reply.fault(404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_viewer_reads_webhooks_and_changes_none() {
    let (owner, live) = owned().await;
    let (_, viewer, _) = joined(&owner, "viewer").await;
    let (id, secret) = subscribe(&live, "http://127.0.0.1:9/").await;
    let path = format!("/v1/webhooks/{id}");
    for read in ["/v1/webhooks", &path, &format!("{path}/deliveries")] {
        let reply = viewer.get(read).await.status(200);
        assert!(!String::from_utf8_lossy(&reply.body).contains(&secret));
    }
    for reply in [
        viewer.post("/v1/webhooks", json!({"url": "http://127.0.0.1:9/", "events": ["*"]})).await,
        viewer.patch(&path, json!({"enabled": false})).await,
        viewer.delete(&path).await,
        viewer.post(&format!("{path}/rotate-secret"), json!({})).await,
        viewer.post(&format!("{path}/test"), json!({})).await,
        viewer.post(&format!("{path}/replay/whd_1"), json!({})).await,
        viewer.post(&format!("{path}/replay-failed"), json!({"since": "2026-01-01T00:00:00Z"})).await,
    ] {
        reply.fault(403, "forbidden");
    }
}

#[tokio::test]
async fn pages_of_webhooks_repeat_and_skip_none() {
    let agent = relm().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, subscribe(&agent, "http://127.0.0.1:9/").await.0);
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = agent.get(&format!("/v1/webhooks?limit=2{cursor}")).await.status(200).json();
        found.extend(
            page["data"].as_array().expect("a page").iter().map(|it| it["id"].as_str().expect("an id").to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, ids);
    agent.get("/v1/webhooks?cursor=x").await.fault(400, "invalid_cursor");
}

async fn keyed(agent: &Agent, key: &str, path: &str, body: Value) -> Reply {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    agent.send(Method::POST, path, &headers, body.to_string()).await
}

#[tokio::test]
async fn a_keyed_request_creates_one_webhook_even_after_a_crash_between_the_databases() {
    let (relm, agentcrm) = both().await;
    let body = json!({"url": "http://127.0.0.1:9/", "events": ["*"]});
    let first = keyed(&relm, "k", "/v1/webhooks", body.clone()).await.status(201);
    let again = keyed(&relm, "k", "/v1/webhooks", body.clone()).await.status(201);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true".into(), &first.body));
    keyed(&relm, "k", "/v1/contacts", json!({})).await.fault(409, "idempotency_conflict");
    keyed(&agentcrm, "k", "/v1/webhooks", body.clone()).await.fault(409, "idempotency_conflict");
    let refused = keyed(&relm, "l", "/v1/webhooks", json!({"url": 1})).await.status(400);
    assert_eq!(keyed(&relm, "l", "/v1/webhooks", json!({"url": 1})).await.status(400).body, refused.body);

    // The crash: the control database has committed, the workspace's has not.
    let place = home().place(&relm.workspace_id).await;
    let mut admin = home().kith.app.store.cells.administer(place.cell, &place.database).await.expect("a session");
    let stored = admin.query("SELECT body FROM kith.idempotency WHERE key = 'k'", &[]).await.expect("a reply");
    let secret = field(&first, "secret");
    let body_at_rest = stored.text(0, 0).expect("a body").to_owned();
    assert!(body_at_rest.starts_with("sealed:") && !body_at_rest.contains(&secret), "{body_at_rest}");
    admin.query("DELETE FROM kith.idempotency WHERE key = 'k'", &[]).await.expect("a removal");
    let after = keyed(&relm, "k", "/v1/webhooks", body.clone()).await.status(201);
    assert_eq!((after.header("idempotent-replayed"), &after.body), ("true".into(), &first.body));
    let last = keyed(&relm, "k", "/v1/webhooks", body).await.status(201);
    assert_eq!(last.body, first.body);
    assert_eq!(relm.get("/v1/webhooks").await.status(200).json()["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_secret_is_encrypted_at_rest() {
    let agent = relm().await;
    let (id, secret) = subscribe(&agent, "http://127.0.0.1:9/").await;
    let rotated = agent.post(&format!("/v1/webhooks/{id}/rotate-secret"), json!({})).await.status(200);
    let mut control = home().kith.app.store.cells.control().await.expect("a session");
    let sql = "SELECT e::text || encode(secret, 'escape') || encode(old_secret, 'escape') FROM webhook_endpoints AS e WHERE id = $1";
    let rows = control.query(sql, &[Some(&id)]).await.expect("a row");
    let row = rows.text(0, 0).expect("a text");
    for secret in [secret, field(&rotated, "secret")] {
        assert!(!row.contains(&secret) && !row.contains(&secret["whsec_".len()..]), "{row}");
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!row.contains(&hex), "{row}");
    }
}

#[tokio::test]
async fn a_workspace_has_at_most_a_hundred_webhooks() {
    let agent = relm().await;
    let (id, _) = subscribe(&agent, "http://127.0.0.1:9/").await;
    let sql = "INSERT INTO webhook_endpoints
               SELECT (jsonb_populate_record(e, jsonb_build_object('id', e.id || n))).* FROM webhook_endpoints AS e, generate_series(1, 98) AS n
               WHERE e.id = $1";
    home().control(sql, &[&id]).await;
    subscribe(&agent, "http://127.0.0.1:9/").await;
    let body = json!({"url": "http://127.0.0.1:9/", "events": ["*"]});
    agent.post("/v1/webhooks", body).await.fault(422, "validation_failed").says("at most 100");
}

#[tokio::test]
async fn deliveries_are_listed_by_status_and_page() {
    let agent = relm().await;
    let receiver = Receiver::start().await;
    let (id, _) = subscribe(&agent, &receiver.url()).await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.insert(0, send_test(&agent, &id).await);
    }
    receiver.wait(3).await;
    for delivery in &sent {
        let done = until(&agent, &id, delivery, |it| it["status"] == "delivered").await;
        assert_eq!((&done["object"], &done["attempts"]), (&json!("webhook_delivery"), &json!(1)));
        assert_eq!((&done["response_status"], &done["next_attempt_at"]), (&json!(200), &Value::Null));
        assert!(done["duration_ms"].is_number(), "{done}");
    }
    let path = format!("/v1/webhooks/{id}/deliveries");
    let first = agent.get(&format!("{path}?status=delivered&limit=2")).await.status(200).json();
    let next = first["next_cursor"].as_str().expect("a cursor");
    let second = agent.get(&format!("{path}?status=delivered&limit=2&cursor={next}")).await.status(200).json();
    let ids: Vec<&Value> =
        [&first, &second].into_iter().flat_map(|page| page["data"].as_array().unwrap()).map(|it| &it["id"]).collect();
    assert_eq!(ids, sent.iter().map(|id| json!(id)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert_eq!(agent.get(&format!("{path}?status=failed")).await.status(200).json()["data"], json!([]));
    agent.get(&format!("{path}?status=lost")).await.fault(400, "invalid_request").says("delivered");
}
