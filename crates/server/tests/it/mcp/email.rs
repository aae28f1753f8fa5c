//! E-mail as tools.

use serde_json::json;

use super::{call, code, fail};
use crate::support::{both, resend};

#[tokio::test]
async fn mail_is_connected_sent_and_its_domains_are_looked_after() {
    for agent in [both().await.0, both().await.1] {
        let agent = &agent;
        assert_eq!(call(agent, "get_email_integration", json!({})).await["configured"], false);
        let mail = json!({"to": ["sarah@acme.example"], "subject": "Hello", "text": "Hi"});
        assert_eq!(code(&fail(agent, "send_email", mail.clone()).await), "email_not_configured");
        let key = format!("re_mcp_{}", agent.workspace_id);
        let set =
            call(agent, "set_email_integration", json!({"api_key": key, "from_email": "shop@shop.example"})).await;
        assert_eq!((&set["outcome"], &set["configured"]), (&json!("Set the e-mail integration."), &json!(true)));
        assert!(!set.to_string().contains(&key), "{set}");
        let sent = call(agent, "send_email", mail.clone()).await;
        assert_eq!((&sent["outcome"], &sent["status"]), (&json!("Sent 1 e-mail."), &json!("sent")), "{sent}");
        assert_eq!(resend().account(&key).emails.len(), 1);
        // Whatever tool it is sent by, the outcome is not that a record was created.
        let mut values = mail.clone();
        values["to"] = json!(["jo@acme.example"]);
        let sent = call(agent, "create_record", json!({"table": "emails", "values": values})).await;
        assert_eq!(sent["outcome"], "Sent 1 e-mail.", "{sent}");
        let dry =
            call(agent, "send_email", json!({"to": ["a@b.example"], "subject": "S", "text": "T", "dry_run": true}))
                .await;
        assert_eq!(dry["dry_run"], true);
        assert_eq!(resend().account(&key).attempts, 2);
        assert_eq!(
            code(&fail(agent, "send_email", json!({"to": ["nobody"], "subject": "S", "text": "T"})).await),
            "validation_failed"
        );
        let added = call(agent, "add_email_domain", json!({"name": "mail.shop.example"})).await;
        let id = added["id"].as_str().expect("an id");
        assert!(added["records"].is_array(), "{added}");
        assert_eq!(call(agent, "get_email_domain", json!({"id": id})).await["name"], "mail.shop.example");
        assert_eq!(call(agent, "verify_email_domain", json!({"id": id})).await["status"], "pending");
        assert_eq!(call(agent, "list_email_domains", json!({})).await["data"][0]["id"], id);
    }
}
