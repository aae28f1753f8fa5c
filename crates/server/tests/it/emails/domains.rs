//! Sending domains: passed to Resend, and its errors passed on.

use serde_json::json;

use super::{apart, connect, record, set};

#[tokio::test]
async fn domains_are_resends_and_its_refusals_are_told_in_shape() {
    for agent in &apart().await {
        agent.get("/v1/email/domains").await.fault(422, "email_not_configured");
        agent.post("/v1/email/domains", json!({"name": "mail.shop.example"})).await.fault(422, "email_not_configured");
        connect(agent).await;
        assert_eq!(agent.get("/v1/email/domains").await.status(200).json()["data"], json!([]));
        let made = record(
            &agent
                .post("/v1/email/domains", json!({"name": "mail.shop.example", "region": "eu-west-1"}))
                .await
                .status(201),
        );
        assert_eq!((&made["name"], &made["status"]), (&json!("mail.shop.example"), &json!("not_started")));
        assert!(made["records"][0]["value"].is_string(), "{made}");
        let path = format!("/v1/email/domains/{}", made["id"].as_str().unwrap());
        assert_eq!(record(&agent.get(&path).await.status(200)), made);
        assert_eq!(record(&agent.post(&format!("{path}/verify"), json!({})).await.status(200))["status"], "pending");
        agent.post("/v1/email/domains", json!({"name": "two.shop.example"})).await.status(201);
        let page = agent.get("/v1/email/domains?limit=1").await.status(200).json();
        let more = page.get("_meta").unwrap_or(&page);
        assert_eq!((page["data"].as_array().unwrap().len(), &more["has_more"]), (1, &json!(true)), "{page}");
        let next = format!("/v1/email/domains?limit=1&cursor={}", more["next_cursor"].as_str().unwrap());
        assert_eq!(agent.get(&next).await.status(200).json()["data"][0]["name"], "two.shop.example");
        agent
            .post("/v1/email/domains", json!({"name": "mail.shop.example"}))
            .await
            .fault(422, "email_rejected")
            .says("registered already");
        agent
            .post("/v1/email/domains", json!({"name": "x.shop.example", "region": "moon"}))
            .await
            .fault(422, "email_rejected")
            .says("Invalid region");
        for id in ["none", "%2e%2e", "d91cd9bd%0A-1176", "a%2Fb"] {
            agent.get(&format!("/v1/email/domains/{id}")).await.fault(404, "not_found");
        }
        agent.post("/v1/email/domains/none/verify", json!({})).await.fault(404, "not_found");
        agent.post("/v1/email/domains", json!({"name": "nothing"})).await.fault(422, "validation_failed");
        agent.post("/v1/email/domains", json!({"domain": "a.example"})).await.fault(400, "invalid_request");
        set(agent, json!({"api_key": "re_invalid", "from_email": "a@b.example"})).await.status(200);
        agent.get("/v1/email/domains").await.fault(422, "email_rejected").says("API key is invalid");
        set(agent, json!({"provider": "smtp", "host": "mail.example", "from_email": "a@b.example"})).await.status(200);
        agent.get("/v1/email/domains").await.fault(422, "email_not_configured");
    }
}
