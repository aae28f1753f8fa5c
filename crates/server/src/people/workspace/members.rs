//! Who belongs to a workspace: listed, invited, accepted, given another role, removed. The last owner can't leave.

use serde_json::{Value, json};

use crm::model::answer::Answer;
use crm::model::call::Call;
use crm::model::fault::Fault;
use crm::model::id;
use crm::model::page::PageAsk;

use crate::access::api_key;
use crate::clock::{iso, random};
use crate::people::auth::address;
use crate::people::auth::letters;
use crate::people::context::{PersonContext, as_listed};
use crate::people::pages;
use crate::people::workspace::connections;
use crate::people::workspace::keys::{self, Minted};
use crate::store::control::invitations::{INVITES, NewInvite};
use crate::store::control::members::{AUDIT, Act, MEMBERS};
use crate::store::fault::of_connection;
use crm::model::who::Role;

/// What an invitation's token begins with.
const TOKEN_PREFIX: &str = "inv_";

/// The members.
pub async fn list(context: &PersonContext<'_>, workspace_id: &str, ask: PageAsk) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    pages::page(context, &MEMBERS, member.workspace_id, &[], ask).await
}

/// Removes a member: their keys and direct connections end at once. Owners remove anybody; anybody may leave.
pub async fn remove(context: &PersonContext<'_>, workspace_id: &str, user_id: &str) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    if member.role != Role::Owner && member.person.id != user_id {
        return Err(Fault::Forbidden { message: "Only an owner may remove others.".into() });
    }
    let (act_id, now) = (context.clock.id("au"), context.now());
    let word = context.store.control.remove_member(member.act(&act_id, &now), user_id).await.map_err(of_connection)?;
    done(context, word, user_id)?;
    connections::end_former(context, workspace_id).await;
    Ok(Answer::Object { text: json!({"id": user_id, "deleted_at": now}).to_string(), created: false })
}

/// Gives a member another role: `{role}`. Keys above it end, and direct connections.
pub async fn change_role(
    context: &PersonContext<'_>,
    workspace_id: &str,
    user_id: &str,
    call: &Call<'_>,
) -> Result<Answer, Fault> {
    let member = context.owner(workspace_id).await?;
    let body = call.object()?;
    only(&body, &["role"])?;
    let role = role(&body)?.ok_or_else(|| Fault::invalid("\"role\" is needed: owner, member or viewer."))?;
    let (act_id, now) = (context.clock.id("au"), context.now());
    let act = member.act(&act_id, &now);
    let word = context.store.control.change_role(act, user_id, role.name()).await.map_err(of_connection)?;
    done(context, word, user_id)?;
    connections::end_former(context, workspace_id).await;
    let text = json!({"user_id": user_id, "workspace_id": workspace_id, "role": role.name()}).to_string();
    Ok(Answer::Object { text, created: false })
}

fn done(context: &PersonContext<'_>, word: Option<String>, user_id: &str) -> Result<(), Fault> {
    match word.as_deref() {
        Some("last_owner") => Err(Fault::Refused {
            code: "last_owner",
            message: "This is the workspace's last owner.".into(),
            hint: Some("Make somebody else an owner first.".into()),
        }),
        Some(_) => {
            context.keys.forget();
            Ok(())
        }
        None => Err(Fault::NotFound { table: "the members".into(), id: user_id.to_owned() }),
    }
}

/// Invites by e-mail: `{workspace_id, email, role?}`. Says the workspace beside the answer.
pub async fn invite(context: &PersonContext<'_>, call: &Call<'_>) -> Result<(Answer, String), Fault> {
    let body = call.object()?;
    only(&body, &["workspace_id", "email", "role"])?;
    let Some(Value::String(workspace_id)) = body.get("workspace_id") else {
        return Err(Fault::invalid("\"workspace_id\" is needed: the workspace to invite to."));
    };
    let email = match body.get("email") {
        Some(Value::String(email)) => address::normal(email)?,
        _ => return Err(Fault::invalid("\"email\" is needed: whom to invite.")),
    };
    let role = role(&body)?.unwrap_or(Role::Member);
    if role == Role::Owner {
        return Err(Fault::invalid_with_hint(
            "An invitation makes a member or a viewer.",
            "PATCH /v1/members makes a member an owner, once they have accepted.",
        ));
    }
    let member = context.owner(workspace_id).await?;
    let token = format!("{TOKEN_PREFIX}{}", id::token(&random::<40>()));
    let (invite_id, act_id, now) = (context.clock.id("inv"), context.clock.id("au"), context.now());
    let expires_at = iso(context.clock.unix_seconds() + letters::INVITE.lasts_seconds);
    let act = member.act(&act_id, &now);
    let new = NewInvite {
        id: &invite_id,
        email: &email,
        role: role.name(),
        token_hash: api_key::hash(&token),
        expires_at: &expires_at,
        letter_id: &context.clock.id("mail"),
        public_url: context.public_url,
    };
    context.store.control.invite(act, &new).await.map_err(of_connection)?;
    context.accounts.letters.notify_one();
    let accept_url = format!("{}/invite/{token}", context.public_url);
    let text = json!({"id": invite_id, "workspace_id": workspace_id, "email": email, "role": role.name(),
        "token": token, "accept_url": accept_url, "expires_at": as_listed(&expires_at)});
    Ok((Answer::Object { text: text.to_string(), created: true }, workspace_id.clone()))
}

/// The open invitations. For owners.
pub async fn invites(context: &PersonContext<'_>, workspace_id: &str, ask: PageAsk) -> Result<Answer, Fault> {
    let member = context.owner(workspace_id).await?;
    pages::page(context, &INVITES, member.workspace_id, &[&context.now()], ask).await
}

/// Takes an invitation back. For owners.
pub async fn withdraw(context: &PersonContext<'_>, workspace_id: &str, invite_id: &str) -> Result<Answer, Fault> {
    let member = context.owner(workspace_id).await?;
    let (act_id, now) = (context.clock.id("au"), context.now());
    let withdrawn = context.store.control.withdraw_invite(member.act(&act_id, &now), invite_id).await;
    if !withdrawn.map_err(of_connection)? {
        return Err(Fault::NotFound { table: "the open invitations".into(), id: invite_id.to_owned() });
    }
    Ok(Answer::Object { text: json!({"id": invite_id, "deleted_at": now}).to_string(), created: false })
}

/// Accepts an invitation, which is for its own e-mail address alone. Says the workspace beside the answer.
pub async fn accept(context: &PersonContext<'_>, token: &str) -> Result<(Answer, String), Fault> {
    let person = context.visitor.person()?;
    let (hash, now) = (api_key::hash(token), context.now());
    let found = context.store.control.find_invite(&hash, &now).await.map_err(of_connection)?;
    let gone = || Fault::NotFound { table: "the open invitations".into(), id: "this token".into() };
    let (workspace_id, email, role) = found.ok_or_else(gone)?;
    if email != person.email {
        return Err(Fault::Forbidden { message: "This invitation is for another e-mail address.".into() });
    }
    let act_id = context.clock.id("au");
    let act = Act { id: &act_id, workspace_id: &workspace_id, user_id: &person.id, now: &now };
    let role = Role::parse(&role).ok_or_else(|| Fault::internal(format!("an invitation of role {role}")))?;
    let key = Minted::live(context.clock, keys::OF_INVITE, role)?;
    let accepted = context.store.control.accept_invite(act, &hash, &key.row()).await.map_err(of_connection)?;
    let role = accepted.ok_or_else(gone)?;
    let text = json!({"workspace_id": workspace_id, "role": role, "api_key": key.api_key}).to_string();
    Ok((Answer::Object { text, created: false }, workspace_id))
}

/// Who did what with the workspace, the newest first. For owners.
pub async fn audit(context: &PersonContext<'_>, workspace_id: &str, ask: PageAsk) -> Result<Answer, Fault> {
    let member = context.owner(workspace_id).await?;
    pages::page(context, &AUDIT, member.workspace_id, &[], ask).await
}

fn role(body: &serde_json::Map<String, Value>) -> Result<Option<Role>, Fault> {
    match body.get("role") {
        None | Some(Value::Null) => Ok(None),
        Some(role) => match role.as_str().and_then(Role::parse) {
            Some(role) => Ok(Some(role)),
            None => {
                Err(Fault::invalid_with_hint(format!("There is no role {role}."), "role is owner, member or viewer."))
            }
        },
    }
}

fn only(body: &serde_json::Map<String, Value>, known: &[&str]) -> Result<(), Fault> {
    match body.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(Fault::unknown_field(unknown, known.iter().copied())),
    }
}
