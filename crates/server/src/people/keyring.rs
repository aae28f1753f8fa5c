//! A workspace's API keys: made, listed, ended, rotated. The key itself is shown once, when it is made.

use serde_json::{Value, json};

use crm::model::answer::Answer;
use crm::model::call::Call;
use crm::model::fault::Fault;

use crate::keys;
use crate::people::claims::LIVE_PREFIX;
use crate::people::desk::{Desk, Rank};
use crate::store::belongings::NewKey;
use crate::store::fault::of_connection;

/// The kinds of keys that are served: dialect, mode, prefix.
const KINDS: &[(&str, &str, &str)] = &[("agentcrm", "live", LIVE_PREFIX)];

/// Longest name of a key, in characters.
const MAX_NAME_CHARACTERS: usize = 200;

/// The keys that work.
pub async fn list(desk: &Desk<'_>, workspace_id: &str) -> Result<Answer, Fault> {
    let member = desk.member(workspace_id).await?;
    let text = desk.store.control.list_keys(member.workspace_id).await.map_err(of_connection)?;
    Ok(Answer::Object { text, created: false })
}

/// A new key: `{name, dialect, mode, role}`, all of which may be left out.
pub async fn create(desk: &Desk<'_>, workspace_id: &str, call: &Call<'_>) -> Result<Answer, Fault> {
    let member = desk.member(workspace_id).await?;
    let body = call.object()?;
    let known = ["name", "dialect", "mode", "role"];
    if let Some(unknown) = body.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Fault::unknown_field(unknown, known.into_iter()));
    }
    let text = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Fault::invalid(format!("\"{name}\" takes text."))),
    };
    let name = text("name")?;
    if name.is_some_and(|name| name.chars().count() > MAX_NAME_CHARACTERS || name.contains('\0')) {
        return Err(Fault::invalid(format!("\"name\" takes up to {MAX_NAME_CHARACTERS} characters.")));
    }
    let (dialect, mode) = (text("dialect")?.unwrap_or("agentcrm"), text("mode")?.unwrap_or("live"));
    let kind = KINDS.iter().find(|(its_dialect, its_mode, _)| (*its_dialect, *its_mode) == (dialect, mode));
    let Some((dialect, mode, prefix)) = kind else {
        return Err(Fault::invalid_with_hint(
            format!("There are no keys of dialect \"{dialect}\" and mode \"{mode}\"."),
            "dialect is agentcrm, mode is live.",
        ));
    };
    let role = text("role")?.unwrap_or(member.rank.min(Rank::Member).name());
    let rank = Rank::parse(role).ok_or_else(|| {
        Fault::invalid_with_hint(format!("There is no role \"{role}\"."), "role is owner, member or viewer.")
    })?;
    if rank > member.rank {
        return Err(Fault::Forbidden { message: format!("A {} can't make a key of role {role}.", member.rank.name()) });
    }
    let (api_key, key_id, act_id, now) = (keys::make(prefix), desk.clock.id("ak"), desk.clock.id("au"), desk.now());
    let hint = keys::hint(&api_key, prefix);
    let key = NewKey { id: &key_id, hash: keys::hash(&api_key), hint: &hint, name, dialect, mode, role };
    desk.store.control.create_key(member.act(&act_id, &now), &key).await.map_err(of_connection)?;
    let text = json!({"id": key_id, "workspace_id": workspace_id, "name": name, "dialect": dialect, "mode": mode,
        "role": role, "hint": hint, "created_at": now, "api_key": api_key});
    Ok(Answer::Object { text: text.to_string(), created: true })
}

/// Ends a key. Owners may end any, others their own.
pub async fn revoke(desk: &Desk<'_>, workspace_id: &str, key_id: &str) -> Result<Answer, Fault> {
    let member = desk.member(workspace_id).await?;
    let (act_id, now) = (desk.clock.id("au"), desk.now());
    let only_own = member.rank != Rank::Owner;
    let ended =
        desk.store.control.revoke_key(member.act(&act_id, &now), key_id, only_own).await.map_err(of_connection)?;
    if !ended {
        return Err(Fault::NotFound { table: "the keys that you may end".into(), id: key_id.to_owned() });
    }
    desk.keys.forget();
    Ok(Answer::Object { text: json!({"id": key_id, "deleted_at": now}).to_string(), created: false })
}

/// Ends the visitor's own live keys and makes a new one.
pub async fn rotate(desk: &Desk<'_>, workspace_id: &str) -> Result<Answer, Fault> {
    let member = desk.member(workspace_id).await?;
    let api_key = keys::make(LIVE_PREFIX);
    let (key_id, act_id, now) = (desk.clock.id("ak"), desk.clock.id("au"), desk.now());
    let key = NewKey {
        id: &key_id,
        hash: keys::hash(&api_key),
        hint: &keys::hint(&api_key, LIVE_PREFIX),
        name: Some("rotated"),
        dialect: "agentcrm",
        mode: "live",
        role: member.rank.name(),
    };
    desk.store.control.rotate_keys(member.act(&act_id, &now), &key).await.map_err(of_connection)?;
    desk.keys.forget();
    let text = json!({"id": key_id, "workspace_id": workspace_id, "api_key": api_key}).to_string();
    Ok(Answer::Object { text, created: false })
}
