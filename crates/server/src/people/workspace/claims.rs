//! Claims: a person becomes the owner of an anonymous workspace. Its dev key ends, the owner gets a live key, and its data
//! stays.

use serde_json::json;

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::id::is_id;
use crm::model::lifecycle::REVOKED_AFTER_SECONDS;
use crm::model::who::Role;

use crate::clock::iso;
use crate::people::context::PersonContext;
use crate::people::workspace::keys::{self, IssuedKey};
use crate::store::control::audit::AuditEntry;

/// Whether a workspace has an owner already; `None` if there is no such workspace.
pub async fn is_claimed(context: &PersonContext<'_>, workspace_id: &str) -> Result<Option<bool>, Fault> {
    match is_id(workspace_id, "ws") {
        true => context.app.store.control.is_claimed(workspace_id).await,
        false => Ok(None),
    }
}

/// Claims a workspace for the visitor.
pub async fn claim(context: &PersonContext<'_>, workspace_id: &str) -> Result<Answer, Fault> {
    let person = context.visitor.person()?;
    let unknown = || Fault::NotFound { table: "the workspaces".into(), id: workspace_id.to_owned() };
    if !is_id(workspace_id, "ws") {
        return Err(unknown());
    }
    let born_after = iso(context.app.clock.unix_seconds() - REVOKED_AFTER_SECONDS);
    let entry = AuditEntry::new(&context.app.clock, workspace_id, &person.id);
    let key = IssuedKey::live(&context.app.clock, Some(keys::OF_CLAIM), Role::Owner)?;
    if context.app.store.control.claim(&entry, &key.row(), &born_after).await? {
        context.app.keys.forget();
        let text = json!({"workspace_id": workspace_id, "api_key": key.api_key}).to_string();
        return Ok(Answer::Object { text, created: false });
    }
    match context.app.store.control.is_claimed(workspace_id).await? {
        Some(true) => Err(Fault::Refused {
            code: "conflict",
            message: "This workspace has an owner already.".into(),
            hint: Some("Ask the owner for an invitation.".into()),
        }),
        Some(false) | None => Err(unknown()),
    }
}
