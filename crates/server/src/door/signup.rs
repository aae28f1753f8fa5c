//! `POST /v1/workspaces`: a workspace from one request, with no sign-up; or a person's own.

use crm::model::answer::Answer;
use crm::model::call::Call;
use crm::model::fault::Fault;
use crm::model::lifecycle::READ_ONLY_AFTER_SECONDS;

use crate::access::api_key;
use crate::app::App;
use crate::clock::iso;
use crate::people::Person;
use crate::store::control::NewWorkspace;
use crate::store::fault::of_connection;

/// What the keys of workspaces begin with that nobody has claimed, and of those that are somebody's.
const DEV_PREFIX: &str = "acrm_dev_";
const LIVE_PREFIX: &str = "acrm_live_";
/// A workspace's name is a line for people to read.
const MAX_NAME_CHARACTERS: usize = 200;

/// Makes a workspace, whose key works at once. An anonymous one dies, and its key with it, unless somebody claims it; a
/// person's is theirs from the beginning.
pub async fn create_workspace(app: &App, owner: Option<&Person>, call: &Call<'_>) -> Result<Answer, Fault> {
    call.only_parameters(&[])?;
    let body = call.object()?;
    if let Some(unknown) = body.keys().find(|key| *key != "name") {
        return Err(Fault::unknown_field(unknown, ["name"].into_iter()));
    }
    let name = match body.get("name") {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(name)) if name.contains('\0') || name.chars().count() > MAX_NAME_CHARACTERS => {
            return Err(Fault::invalid(format!("\"name\" takes up to {MAX_NAME_CHARACTERS} characters.")));
        }
        Some(serde_json::Value::String(name)) => Some(name.as_str()),
        Some(other) => {
            return Err(Fault::invalid(format!("\"name\" takes text, not {}.", crm::model::value::name_of(other))));
        }
    };
    let now = app.clock.unix_seconds();
    let prefix = if owner.is_some() { LIVE_PREFIX } else { DEV_PREFIX };
    let (id, key_id, api_key) = (app.clock.id("ws"), app.clock.id("ak"), api_key::make(prefix));
    let audit_id = app.clock.id("au");
    let new = NewWorkspace {
        id: &id,
        name,
        created_at: now,
        key_id: &key_id,
        key_hash: api_key::hash(&api_key),
        key_hint: &api_key::hint(&api_key, prefix),
        owner_id: owner.map(|person| person.id.as_str()),
        audit_id: &audit_id,
    };
    app.store.create_workspace(&new).await.map_err(of_connection)?;
    app.wakes.database_taken.notify_one();
    Ok(Answer::Workspace {
        claim_url: owner.is_none().then(|| format!("{}/claim/{id}", app.public_url)),
        ttl_expires_at: owner.is_none().then(|| iso(now + READ_ONLY_AFTER_SECONDS)),
        workspace_id: id,
        api_key,
    })
}
