//! Hostile and wrong e-mails: refused by field, before anything is recorded or sent.

use serde_json::json;

use super::{apart, connect, with};
use crate::support::resend;

#[tokio::test]
async fn what_is_wrong_is_refused_by_its_field() {
    for agent in &apart().await {
        let key = connect(agent).await;
        let many: Vec<String> = (0..51).map(|it| format!("p{it}@x.example")).collect();
        for (mail, field) in [
            (with("to", json!("nobody")), "to"),
            (with("to", json!([])), "to"),
            (with("to", json!(many)), "to"),
            (with("to", json!("a@b.example\r\nBcc: evil@x.example")), "to"),
            (with("cc", json!(["a@b.example", "a b@c.example"])), "cc"),
            (with("bcc", json!("<a@b.example")), "bcc"),
            (with("from", json!("Ada\r\nBcc: evil@x.example <ada@shop.example>")), "from"),
            (with("reply_to", json!("x")), "reply_to"),
            (with("subject", json!("Hi\r\nBcc: evil@x.example")), "subject"),
            (with("subject", json!("Hi\nyou")), "subject"),
            (with("subject", json!(null)), "subject"),
            (with("text", json!(null)), "text"),
            (with("headers", json!({"X-A": "1\r\nBcc: evil@x.example"})), "headers.X-A"),
            (with("headers", json!({"Bcc": "evil@x.example"})), "headers.Bcc"),
            (with("headers", json!({"X-A: 1\r\nBcc": "evil@x.example"})), "headers.X-A: 1\\r\\nBcc"),
            (with("attachments", json!([{"filename": "a", "content": "%%"}])), "attachments[0].content"),
            (with("attachments", json!([{"filename": "a\r\nX: y", "content": "aGk="}])), "attachments[0].filename"),
            (with("in_reply_to", json!("<a@b>\r\nX: y")), "in_reply_to"),
        ] {
            let refused = agent.post("/v1/emails", mail).await.fault(422, "validation_failed");
            assert_eq!(refused.error()["field"], field, "{}", refused.story());
        }
        for (mail, said) in [
            (with("tO", json!("a@b.example")), "tO"),
            (with("to", json!({"a": 1})), "to"),
            (with("attachments", json!([{"filename": "a", "content": "", "path": "http://169.254.169.254/"}])), "path"),
            (with("subject", json!("a\u{0}b")), "NUL"),
            (with("headers", json!(["X-A"])), "headers"),
            (with("deal_ids", json!("d_1")), "deal_ids"),
        ] {
            agent.post("/v1/emails", mail).await.fault(400, "invalid_request").says(said);
        }
        agent
            .post("/v1/emails", with("in_reply_to", json!("e_01kaqz3v5t8w9x2y4z6a8b0c1d")))
            .await
            .fault(422, "invalid_reference");
        agent
            .post("/v1/emails", with("deal_ids", json!(["d_01kaqz3v5t8w9x2y4z6a8b0c1d"])))
            .await
            .fault(422, "invalid_reference");
        assert_eq!(agent.get("/v1/emails").await.status(200).json()["data"], json!([]));
        assert_eq!(resend().account(&key).attempts, 0);
    }
}
