//! Clients that use Relm, with a workspace of their own.

use serde_json::json;
use tokio::sync::OnceCell;

use super::{Agent, stranger};
use crate::belongings::owned;

/// A client with a live Relm key to a new workspace.
pub async fn relm() -> Agent {
    both().await.0
}

/// A Relm client and an agentCRM client of the same new workspace.
pub async fn both() -> (Agent, Agent) {
    // One user owns all of these workspaces, because creating an account is slow. An HTTP client belongs to the test that
    // created it.
    static OWNER: OnceCell<String> = OnceCell::const_new();
    let session = OWNER.get_or_init(async || owned().await.0.key).await;
    let owner = stranger().with_key(session.clone(), String::new());
    let made = owner.post("/v1/workspaces", json!({})).await.status(201);
    let workspace_id = made.text("/data/workspace_id");
    let agentcrm = stranger().with_key(made.text("/data/api_key"), workspace_id.clone());
    let wanted = json!({"dialect": "relm", "mode": "live"});
    let key = owner.post(&format!("/v1/keys?ws={workspace_id}"), wanted).await.status(201).text("/data/api_key");
    assert!(key.starts_with("sk_live_"), "{key}");
    (stranger().with_key(key, workspace_id), agentcrm)
}
