//! `/v1/inbound/resend?ws=ws_…`: the address that Resend calls when e-mail comes. Its signature is the credential.

use axum::http::Method;
use serde_json::json;

use crm::model::answer::Answer;
use crm::model::call::parse_query;
use crm::model::fault::Fault;

use crate::door::reply::PersonAnswer;
use crate::door::request::HttpRequest;
use crate::hall::inbound::{check_head, take_resend_webhook};
use crate::providers::WebhookCall;

/// The first segment of the paths that this module serves.
pub const FIRST: &str = "inbound";

/// Serves a request.
pub async fn serve(request: &mut HttpRequest<'_>, path: &[String]) -> Result<PersonAnswer, Fault> {
    if path != [FIRST, "resend"] {
        return Err(Fault::NoSuchPath { path: format!("/v1/{}", path.join("/")) });
    }
    if request.head.method != Method::POST {
        return Err(Fault::MethodNotAllowed { allow: vec!["POST"] });
    }
    let query = parse_query(request.head.uri.query().unwrap_or_default())?;
    let workspace_id = query.into_iter().find(|(name, _)| name == "ws").map(|(_, id)| id).unwrap_or_default();
    let head = request.head;
    // Svix sends its own names, and those of Standard Webhooks are usual too.
    let header = |name: &str| {
        let found = head.headers.get(format!("svix-{name}")).or_else(|| head.headers.get(format!("webhook-{name}")));
        found.and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let call =
        WebhookCall { id: header("id"), timestamp: header("timestamp"), signatures: header("signature"), body: b"" };
    check_head(request.app, &call)?;
    let body = request.webhook().await?;
    let call = WebhookCall { body: &body, ..call };
    let taken = take_resend_webhook(request.app, &workspace_id, &call, request.peer, request.id).await?;
    let said = match taken {
        Some(email) => json!({"received": true, "id": email.id, "created": email.is_new}),
        None => json!({"received": true}),
    };
    Ok(PersonAnswer::of(Answer::Object { text: said.to_string(), created: false }, &workspace_id))
}
