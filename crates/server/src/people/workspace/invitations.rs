//! Invitations: an owner invites by e-mail, and the owner of that address becomes a member.

use serde_json::json;

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::id;
use crm::model::page::PageAsk;
use crm::model::who::Role;

use crate::access::api_key;
use crate::clock::{iso, random};
use crate::people::auth::{address, emails};
use crate::people::context::{PersonContext, as_listed};
use crate::people::paging;
use crate::people::workspace::keys::{self, IssuedKey};
use crate::store::control::audit::AuditEntry;
use crate::store::control::invitations::{INVITATIONS, NewInvitation, OpenInvitation};

/// The prefix of an invitation's token.
const TOKEN_PREFIX: &str = "inv_";

/// Lists the open invitations. For owners.
pub async fn list(context: &PersonContext<'_>, workspace_id: &str, ask: PageAsk) -> Result<Answer, Fault> {
    let member = context.owner(workspace_id).await?;
    paging::page(context, &INVITATIONS, member.workspace_id, &[&context.now()], ask).await
}

/// Invites an address as a member or viewer. For owners. The inviter gets a token too; the e-mail contains a different one.
pub async fn create(
    context: &PersonContext<'_>,
    workspace_id: &str,
    email: &str,
    role: Option<Role>,
) -> Result<Answer, Fault> {
    let email = address::normal(email)?;
    let role = role.unwrap_or(Role::Member);
    if role == Role::Owner {
        return Err(Fault::invalid_with_hint(
            "An invitation makes a member or a viewer.",
            "PATCH /v1/members makes a member an owner, once they have accepted.",
        ));
    }
    let member = context.owner(workspace_id).await?;
    if context.app.store.control.is_member(workspace_id, &email).await? {
        return Err(Fault::Refused {
            code: "already_member",
            message: format!("\"{email}\" belongs to a member of this workspace."),
            hint: Some("PATCH /v1/members changes a member's role.".into()),
        });
    }
    let token = format!("{TOKEN_PREFIX}{}", id::token(&random::<40>()));
    let invitation_id = context.app.clock.id("inv");
    let expires_at = iso(context.app.clock.unix_seconds() + emails::INVITATION.lasts_seconds);
    let new = NewInvitation {
        id: &invitation_id,
        email: &email,
        role: role.name(),
        token_hash: api_key::hash(&token),
        expires_at: &expires_at,
        mail_id: &context.app.clock.id("mail"),
        public_url: &context.app.public_url,
    };
    context.app.store.control.invite(&member.audit_entry(&context.app.clock), &new).await?;
    context.app.accounts.mail_queued.notify_one();
    let accept_url = format!("{}/invite/{token}", &context.app.public_url);
    let text = json!({"id": invitation_id, "workspace_id": workspace_id, "email": email, "role": role.name(),
        "token": token, "accept_url": accept_url, "expires_at": as_listed(&expires_at)});
    Ok(Answer::Object { text: text.to_string(), created: true })
}

/// Withdraws an invitation. For owners.
pub async fn withdraw(context: &PersonContext<'_>, workspace_id: &str, invitation_id: &str) -> Result<Answer, Fault> {
    let member = context.owner(workspace_id).await?;
    let entry = member.audit_entry(&context.app.clock);
    if !context.app.store.control.withdraw_invitation(&entry, invitation_id).await? {
        return Err(Fault::NotFound { table: "the open invitations".into(), id: invitation_id.to_owned() });
    }
    Ok(Answer::Object { text: json!({"id": invitation_id, "deleted_at": entry.now}).to_string(), created: false })
}

/// The open invitation with this token, without accepting it.
pub async fn find(context: &PersonContext<'_>, token: &str) -> Result<Option<OpenInvitation>, Fault> {
    if !token.starts_with(TOKEN_PREFIX) {
        return Ok(None);
    }
    context.app.store.control.find_invitation(&api_key::hash(token), &context.now()).await
}

/// Accepts an invitation. The visitor must have the invited address. Returns the answer and the workspace.
pub async fn accept(context: &PersonContext<'_>, token: &str) -> Result<(Answer, String), Fault> {
    let person = context.visitor.person()?;
    let hash = api_key::hash(token);
    let void = || Fault::NotFound { table: "the open invitations".into(), id: "this token".into() };
    let invitation = context.app.store.control.find_invitation(&hash, &context.now()).await?.ok_or_else(void)?;
    if invitation.email != person.email {
        return Err(Fault::Forbidden { message: "This invitation is for another e-mail address.".into() });
    }
    let (role, workspace_id) = (invitation.role, invitation.workspace_id);
    let role = Role::parse(&role).ok_or_else(|| Fault::internal(format!("an invitation of role {role}")))?;
    let key = IssuedKey::live(&context.app.clock, Some(keys::OF_INVITATION), role)?;
    let entry = AuditEntry::new(&context.app.clock, &workspace_id, &person.id);
    let accepted = context.app.store.control.accept_invitation(&entry, &hash, &key.row()).await?;
    let role = accepted.ok_or_else(void)?;
    let text = json!({"workspace_id": workspace_id, "role": role, "api_key": key.api_key}).to_string();
    Ok((Answer::Object { text, created: false }, workspace_id))
}
