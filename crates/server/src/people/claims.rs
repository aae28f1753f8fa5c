//! An anonymous workspace becomes somebody's: its dev key dies, a live key is born, the data stays.

use serde_json::json;

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::id::is_id;
use crm::model::lifecycle::REVOKED_AFTER_SECONDS;

use crate::clock::iso;
use crate::people::desk::{Desk, Rank};
use crate::people::keyring::{self, Minted};
use crate::store::belongings::Act;
use crate::store::fault::of_connection;

/// Claims a workspace for the visitor.
pub async fn claim(desk: &Desk<'_>, workspace_id: &str) -> Result<Answer, Fault> {
    let person = desk.visitor.person()?;
    let unknown = || Fault::NotFound { table: "the workspaces".into(), id: workspace_id.to_owned() };
    if !is_id(workspace_id, "ws") {
        return Err(unknown());
    }
    let (now, act_id) = (desk.now(), desk.clock.id("au"));
    let born_after = iso(desk.clock.unix_seconds() - REVOKED_AFTER_SECONDS);
    let act = Act { id: &act_id, workspace_id, user_id: &person.id, now: &now };
    let key = Minted::live(desk.clock, keyring::OF_CLAIM, Rank::Owner)?;
    if desk.store.control.claim(act, &key.row(), &born_after).await.map_err(of_connection)? {
        desk.keys.forget();
        let text = json!({"workspace_id": workspace_id, "api_key": key.api_key}).to_string();
        return Ok(Answer::Object { text, created: false });
    }
    match desk.store.control.is_claimed(workspace_id).await.map_err(of_connection)? {
        Some(true) => Err(Fault::Refused {
            code: "conflict",
            message: "This workspace has an owner already.".into(),
            hint: Some("Ask the owner for an invitation.".into()),
        }),
        Some(false) | None => Err(unknown()),
    }
}
