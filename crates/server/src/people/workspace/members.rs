//! Members of a workspace: lists and removes them, and changes their roles. Also the workspace's audit log.

use serde_json::json;

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::model::who::Role;

use crate::people::context::PersonContext;
use crate::people::paging;
use crate::people::workspace::connections;
use crate::store::control::audit::AUDIT;
use crate::store::control::members::{MEMBERS, MemberChange};

/// Lists the members, in the order in which they joined.
pub async fn list(context: &PersonContext<'_>, workspace_id: &str, ask: PageAsk) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    paging::page(context, &MEMBERS, member.workspace_id, &[], ask).await
}

/// Removes a member, and ends their keys and direct connections at once. Owners may remove any member; other members only
/// themselves.
pub async fn remove(context: &PersonContext<'_>, workspace_id: &str, user_id: &str) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    if member.role != Role::Owner && member.person.id != user_id {
        return Err(Fault::Forbidden { message: "Only an owner may remove others.".into() });
    }
    let entry = member.audit_entry(&context.app.clock);
    check_change(context.app.store.control.remove_member(&entry, user_id).await?, user_id)?;
    end_access(context, workspace_id).await;
    Ok(Answer::Object { text: json!({"id": user_id, "deleted_at": entry.now}).to_string(), created: false })
}

/// Changes a member's role, and ends their keys with a higher role and their direct connections. For owners.
pub async fn change_role(
    context: &PersonContext<'_>,
    workspace_id: &str,
    user_id: &str,
    role: Role,
) -> Result<Answer, Fault> {
    let member = context.owner(workspace_id).await?;
    let entry = member.audit_entry(&context.app.clock);
    check_change(context.app.store.control.change_role(&entry, user_id, role.name()).await?, user_id)?;
    end_access(context, workspace_id).await;
    let text = json!({"user_id": user_id, "workspace_id": workspace_id, "role": role.name()}).to_string();
    Ok(Answer::Object { text, created: false })
}

fn check_change(change: MemberChange, user_id: &str) -> Result<(), Fault> {
    match change {
        MemberChange::Made => Ok(()),
        MemberChange::LastOwner => Err(Fault::Refused {
            code: "last_owner",
            message: "This is the workspace's last owner.".into(),
            hint: Some("Make somebody else an owner first.".into()),
        }),
        MemberChange::NoSuchMember => Err(Fault::NotFound { table: "the members".into(), id: user_id.to_owned() }),
    }
}

/// Ends the access that a changed membership no longer allows.
async fn end_access(context: &PersonContext<'_>, workspace_id: &str) {
    context.app.keys.forget();
    connections::end_former(context, workspace_id).await;
}

/// Lists the workspace's audit log, the newest entry first. For owners.
pub async fn audit(context: &PersonContext<'_>, workspace_id: &str, ask: PageAsk) -> Result<Answer, Fault> {
    let member = context.owner(workspace_id).await?;
    paging::page(context, &AUDIT, member.workspace_id, &[], ask).await
}
