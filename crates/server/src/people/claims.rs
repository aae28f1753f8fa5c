//! An anonymous workspace becomes somebody's: its dev key dies, a live key is born, the data stays.

use serde_json::json;

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::id::is_id;
use crm::model::lifecycle::REVOKED_AFTER_SECONDS;

use crate::clock::iso;
use crate::keys;
use crate::people::desk::Desk;
use crate::store::belongings::{Act, NewKey};
use crate::store::fault::of_connection;

/// What live agentCRM keys begin with.
pub const LIVE_PREFIX: &str = "acrm_live_";

/// Claims a workspace for the visitor.
pub async fn claim(desk: &Desk<'_>, workspace_id: &str) -> Result<Answer, Fault> {
    let person = desk.visitor.person()?;
    let unknown = || Fault::NotFound { table: "the workspaces".into(), id: workspace_id.to_owned() };
    if !is_id(workspace_id, "ws") {
        return Err(unknown());
    }
    let (now, api_key) = (desk.now(), keys::make(LIVE_PREFIX));
    let born_after = iso(desk.clock.unix_seconds() - REVOKED_AFTER_SECONDS);
    let (act_id, key_id) = (desk.clock.id("au"), desk.clock.id("ak"));
    let act = Act { id: &act_id, workspace_id, user_id: &person.id, now: &now };
    let key = NewKey {
        id: &key_id,
        hash: keys::hash(&api_key),
        hint: &keys::hint(&api_key, LIVE_PREFIX),
        name: None,
        dialect: "agentcrm",
        mode: "live",
        role: "owner",
    };
    if desk.store.control.claim(act, &key, &born_after).await.map_err(of_connection)? {
        desk.keys.forget();
        let text = json!({"workspace_id": workspace_id, "api_key": api_key}).to_string();
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
