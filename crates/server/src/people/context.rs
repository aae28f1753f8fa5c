//! The context of a person's request. The door fills it.

use crm::model::fault::Fault;
use crm::model::who::Role;

use crate::app::App;
use crate::clock::{Clock, iso};
use crate::people::{Person, Visitor};
use crate::store::control::audit::AuditEntry;

/// The context of a person's request: the app and the visitor.
#[derive(Clone, Copy)]
pub struct PersonContext<'a> {
    /// The state that doors share.
    pub app: &'a App,
    /// The person or anonymous client that makes the request.
    pub visitor: &'a Visitor,
}

/// The visitor as a member of a workspace.
#[derive(Clone, Copy, Debug)]
pub struct Membership<'a> {
    /// The person.
    pub person: &'a Person,
    /// The workspace.
    pub workspace_id: &'a str,
    /// The visitor's role in the workspace.
    pub role: Role,
}

impl<'a> PersonContext<'a> {
    /// The visitor as a member of a workspace. For a visitor who is not a member, the workspace does not exist.
    pub async fn member(&self, workspace_id: &'a str) -> Result<Membership<'a>, Fault> {
        let person = self.visitor.person()?;
        let role = self.app.store.control.membership(workspace_id, &person.id).await?;
        let role = role.as_deref().and_then(Role::parse);
        let role =
            role.ok_or_else(|| Fault::NotFound { table: "your workspaces".into(), id: workspace_id.to_owned() })?;
        Ok(Membership { person, workspace_id, role })
    }

    /// The visitor as an owner of a workspace.
    pub async fn owner(&self, workspace_id: &'a str) -> Result<Membership<'a>, Fault> {
        let member = self.member(workspace_id).await?;
        match member.role {
            Role::Owner => Ok(member),
            Role::Member | Role::Viewer => {
                Err(Fault::Forbidden { message: "Only an owner of the workspace may do this.".into() })
            }
        }
    }

    /// The current time in the control database's form.
    pub fn now(&self) -> String {
        iso(self.app.clock.unix_seconds())
    }
}

impl Membership<'_> {
    /// An entry of the audit log for an action of this member at the current time.
    pub fn audit_entry(&self, clock: &Clock) -> AuditEntry<'_> {
        AuditEntry::new(clock, self.workspace_id, &self.person.id)
    }
}

/// Converts a time of [`PersonContext::now`] to the form of lists.
pub fn as_listed(moment: &str) -> String {
    moment.replace('Z', "+00:00")
}
