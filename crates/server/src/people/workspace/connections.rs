//! Direct connections: a member gets their own role in the workspace's PostgreSQL database.

use serde_json::json;

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::id::is_id;

use crate::people::context::PersonContext;

/// Returns a URL for psql and other clients, with a new password. The member's former password and its sessions end.
pub async fn open(context: &PersonContext<'_>, workspace_id: &str) -> Result<Answer, Fault> {
    let member = match context.member(workspace_id).await {
        Err(Fault::NotFound { .. }) if is_unclaimed(context, workspace_id).await? => {
            return Err(Fault::Forbidden {
                message: "Direct connections are for members: claim the workspace first.".into(),
            });
        }
        member => member?,
    };
    if context.app.store.cells.direct_address(0).is_none() {
        return Err(Fault::Forbidden { message: "This server takes no direct connections.".into() });
    }
    let opened = context.app.store.open_direct(&member.audit_entry(&context.app.clock)).await?;
    let direct =
        opened.ok_or_else(|| Fault::NotFound { table: "your workspaces".into(), id: workspace_id.to_owned() })?;
    let text = json!({"url": direct.url, "role": direct.role}).to_string();
    Ok(Answer::Object { text, created: false })
}

/// Ends the connections of people whose membership has just ended or changed. If this fails, a worker ends them soon.
pub async fn end_former(context: &PersonContext<'_>, workspace_id: &str) {
    if let Err(fault) = context.app.store.sweep_direct(Some(workspace_id)).await {
        tracing::error!(fault = fault.in_log(), workspace_id, "can't end a former member's direct connection at once");
    }
}

async fn is_unclaimed(context: &PersonContext<'_>, workspace_id: &str) -> Result<bool, Fault> {
    Ok(is_id(workspace_id, "ws") && context.app.store.control.is_claimed(workspace_id).await? == Some(false))
}
