//! Workspaces: creates them, for a person or without an account, lists, renames and deletes them, and holds what leaves them.

use serde_json::json;

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::lifecycle::READ_ONLY_AFTER_SECONDS;
use crm::model::page::PageAsk;
use crm::model::who::Role;

use crate::clock::iso;
use crate::people::context::PersonContext;
use crate::people::paging;
use crate::people::workspace::connections;
use crate::people::workspace::keys::IssuedKey;
use crate::store::control::audit::AuditEntry;
use crate::store::control::switch::HeldCounts;
use crate::store::control::workspaces::{NewWorkspace, WORKSPACES};

pub use crate::store::control::switch::SendingSwitch;

/// The longest name of a workspace, in characters.
const MAX_NAME_CHARACTERS: usize = 200;

/// What an owner changes of a workspace. At least one member is given.
pub struct WorkspaceChange {
    /// The new name.
    pub name: Option<String>,
    /// A position of the switch that stops everything outgoing: e-mail and webhooks.
    pub switch: Option<SendingSwitch>,
}

/// Creates a workspace with a key that works at once. A visitor who is signed in owns it. Any other visitor gets an anonymous
/// workspace, which is dropped unless somebody claims it.
pub async fn create(context: &PersonContext<'_>, name: Option<&str>) -> Result<Answer, Fault> {
    check_name(name.unwrap_or_default())?;
    let clock = &context.app.clock;
    let (id, now) = (clock.id("ws"), clock.unix_seconds());
    let owner = context.visitor.person.as_ref();
    let key = match owner {
        Some(_) => IssuedKey::live(clock, None, Role::Owner)?,
        None => IssuedKey::anonymous(clock)?,
    };
    let new = NewWorkspace {
        id: &id,
        name,
        now: &iso(now),
        key: key.row(),
        owner_id: owner.map(|person| person.id.as_str()),
        audit_id: &clock.id("au"),
    };
    context.app.store.create_workspace(&new).await?;
    context.app.keys.made();
    context.app.wakes.database_taken.notify_one();
    Ok(Answer::Workspace {
        claim_url: owner.is_none().then(|| format!("{}/claim/{id}", &context.app.public_url)),
        ttl_expires_at: owner.is_none().then(|| iso(now + READ_ONLY_AFTER_SECONDS)),
        workspace_id: id,
        api_key: key.api_key,
    })
}

fn check_name(name: &str) -> Result<(), Fault> {
    if name.contains('\0') || name.chars().count() > MAX_NAME_CHARACTERS {
        return Err(Fault::invalid(format!("A workspace's name has up to {MAX_NAME_CHARACTERS} characters.")));
    }
    Ok(())
}

/// Lists the workspaces that the visitor belongs to, the newest first.
pub async fn list(context: &PersonContext<'_>, ask: PageAsk) -> Result<Answer, Fault> {
    let person = context.visitor.person()?;
    paging::page(context, &WORKSPACES, &person.id, &[], ask).await
}

/// Renames a workspace, sets the switch that stops everything outgoing, or both. The answer has the number of the e-mails and
/// deliveries that waited. For owners.
pub async fn change(context: &PersonContext<'_>, workspace_id: &str, change: WorkspaceChange) -> Result<Answer, Fault> {
    let member = context.owner(workspace_id).await?;
    let missing = || Fault::NotFound { table: "your workspaces".into(), id: workspace_id.to_owned() };
    let entry = member.audit_entry(&context.app.clock);
    let mut sends = true;
    if let Some(name) = change.name.as_deref().map(str::trim) {
        check_name(name)?;
        if name.is_empty() {
            let (message, field) = ("\"name\" is empty.".into(), Some("name".into()));
            return Err(Fault::ValidationFailed { message, hint: None, field });
        }
        sends = context.app.store.control.rename_workspace(&entry, name).await?.ok_or_else(missing)?;
    }
    if let Some(switch) = change.switch {
        return set_sending(context, &member.audit_entry(&context.app.clock), switch).await;
    }
    let none = json!({"emails": 0, "deliveries": 0});
    let said = json!({"id": workspace_id, "sending": sends, "held": none, "released": none, "dropped": none});
    Ok(Answer::Object { text: said.to_string(), created: false })
}

async fn set_sending(
    context: &PersonContext<'_>,
    entry: &AuditEntry<'_>,
    switch: SendingSwitch,
) -> Result<Answer, Fault> {
    let workspace_id = entry.workspace_id;
    let Some(HeldCounts { emails, deliveries }) = context.app.store.control.set_sending(entry, switch).await? else {
        return Err(Fault::NotFound { table: "your workspaces".into(), id: workspace_id.to_owned() });
    };
    // Answers say whether it sends.
    context.app.keys.forget();
    context.app.wakes.emails.notify_one();
    context.app.wakes.deliveries.notify_one();
    let none = json!({"emails": 0, "deliveries": 0});
    let waited = json!({"emails": emails, "deliveries": deliveries});
    let (held, released, dropped) = match switch {
        SendingSwitch::Off => (waited, none.clone(), none),
        SendingSwitch::Release => (none.clone(), waited, none),
        SendingSwitch::Drop => (none.clone(), none, waited),
    };
    let said = json!({"id": workspace_id, "sending": switch != SendingSwitch::Off, "held": held, "released": released, "dropped": dropped});
    Ok(Answer::Object { text: said.to_string(), created: false })
}

/// Deletes a workspace, whose name must be given. Its keys, members and connections end at once; its data is dropped after a
/// week. For owners.
pub async fn delete(context: &PersonContext<'_>, workspace_id: &str, name: &str) -> Result<Answer, Fault> {
    let member = context.owner(workspace_id).await?;
    let entry = member.audit_entry(&context.app.clock);
    if !context.app.store.control.delete_workspace(&entry, name).await? {
        return Err(Fault::ValidationFailed {
            message: "\"name\" is not the workspace's name.".into(),
            hint: Some("Send its name as GET /v1/workspaces shows it, or its id if it has no name.".into()),
            field: Some("name".into()),
        });
    }
    context.app.keys.forget();
    connections::end_former(context, workspace_id).await;
    Ok(Answer::Object { text: json!({"id": workspace_id, "deleted_at": entry.now}).to_string(), created: false })
}
