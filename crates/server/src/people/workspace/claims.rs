//! An anonymous workspace becomes somebody's: its dev key dies, a live key is born, the data stays.

use serde_json::json;

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::id::is_id;
use crm::model::lifecycle::REVOKED_AFTER_SECONDS;

use crate::clock::iso;
use crate::people::context::PersonContext;
use crate::people::workspace::keys::{self, Minted};
use crate::store::control::members::Act;
use crate::store::fault::of_connection;
use crm::model::who::Role;

/// Claims a workspace for the visitor.
pub async fn claim(context: &PersonContext<'_>, workspace_id: &str) -> Result<Answer, Fault> {
    let person = context.visitor.person()?;
    let unknown = || Fault::NotFound { table: "the workspaces".into(), id: workspace_id.to_owned() };
    if !is_id(workspace_id, "ws") {
        return Err(unknown());
    }
    let (now, act_id) = (context.now(), context.clock.id("au"));
    let born_after = iso(context.clock.unix_seconds() - REVOKED_AFTER_SECONDS);
    let act = Act { id: &act_id, workspace_id, user_id: &person.id, now: &now };
    let key = Minted::live(context.clock, keys::OF_CLAIM, Role::Owner)?;
    if context.store.control.claim(act, &key.row(), &born_after).await.map_err(of_connection)? {
        context.keys.forget();
        let text = json!({"workspace_id": workspace_id, "api_key": key.api_key}).to_string();
        return Ok(Answer::Object { text, created: false });
    }
    match context.store.control.is_claimed(workspace_id).await.map_err(of_connection)? {
        Some(true) => Err(Fault::Refused {
            code: "conflict",
            message: "This workspace has an owner already.".into(),
            hint: Some("Ask the owner for an invitation.".into()),
        }),
        Some(false) | None => Err(unknown()),
    }
}
