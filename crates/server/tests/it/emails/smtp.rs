//! E-mail through a mail server.

use serde_json::json;

use super::{apart, hello, make_due, record, set, until, with};
use crate::support::mailbox;

#[tokio::test]
async fn a_mail_server_gets_the_mail_and_its_refusals_are_told() {
    for (agent, name) in apart().await.iter().zip(["relm", "agentcrm"]) {
        let server = json!({"provider": "smtp", "url": mailbox().url, "from_email": "Shop <shop@shop.example>"});
        let said = record(&set(agent, server).await.status(200));
        assert_eq!(
            (&said["provider"], &said["configured"], &said["verified"]),
            (&json!("smtp"), &json!(true), &json!(true))
        );
        let to = format!("smtp-{name}@x.example");
        let sent = record(&agent.post("/v1/emails", with("to", json!(to))).await.status(201));
        assert_eq!((&sent["status"], &sent["provider"]), (&json!("sent"), &json!("smtp")));
        let mails = mailbox().wait(&to, 1).await;
        let message_id = sent["provider_msg_id"].as_str().unwrap();
        assert_eq!(message_id, format!("<{}@shop.example>", sent["id"].as_str().unwrap()));
        for part in [message_id, "Subject: Hello", "From: Ada <ada@shop.example>", "Hello Sarah, how are you?"] {
            assert!(mails[0].text.contains(part), "{part}: {}", mails[0].text);
        }
        agent
            .post("/v1/emails", with("to", json!(format!("refused-{name}@x.example"))))
            .await
            .fault(422, "email_rejected")
            .says("no such mailbox");
        let later = format!("later-smtp-{name}@x.example");
        let queued = record(&agent.post("/v1/emails", with("to", json!(later))).await.status(202));
        make_due(agent).await;
        until(agent, queued["id"].as_str().unwrap(), "sent").await;
        assert_eq!(mailbox().wait(&later, 1).await.len(), 1);
        // A server that is not there.
        let gone = json!({"provider": "smtp", "host": "127.0.0.1", "port": 1, "from_email": "a@b.example"});
        assert_eq!(record(&set(agent, gone).await.status(200))["verified"], false);
        assert_eq!(record(&agent.post("/v1/emails", hello()).await.status(202))["status"], "queued");
    }
}
