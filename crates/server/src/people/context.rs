//! Where people's acts are done: what they need of the app, handed in by the door.

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::model::who::Role;
use tokio::sync::Notify;

use crate::access::Keys;
use crate::clock::{Clock, iso};
use crate::people::auth::accounts::Accounts;
use crate::people::{Person, Visitor, pages};
use crate::store::Store;
use crate::store::control::members::{Act, WORKSPACES};
use crate::store::fault::of_connection;

/// The desk at which a visitor stands.
#[derive(Clone, Copy)]
pub struct PersonContext<'a> {
    /// Everything that is stored.
    pub store: &'a Store,
    /// The keys that were seen; they are forgotten when what they may do has changed.
    pub keys: &'a Keys,
    /// Passwords, sessions and letters.
    pub accounts: &'a Accounts,
    /// The time.
    pub clock: &'a Clock,
    /// The address of this Kith, without a slash at its end.
    pub public_url: &'a str,
    /// Wakes the maker of warm databases.
    pub database_taken: &'a Notify,
    /// Who stands here.
    pub visitor: &'a Visitor,
}

/// A member at the context, in one workspace.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Who.
    pub person: &'a Person,
    /// Where.
    pub workspace_id: &'a str,
    /// What they may do there.
    pub role: Role,
}

impl<'a> PersonContext<'a> {
    /// The visitor as a member of a workspace. To those outside it there is no such workspace.
    pub async fn member(&self, workspace_id: &'a str) -> Result<Member<'a>, Fault> {
        let person = self.visitor.person()?;
        let role = self.store.control.membership(workspace_id, &person.id).await.map_err(of_connection)?;
        let role = role.as_deref().and_then(Role::parse);
        let role =
            role.ok_or_else(|| Fault::NotFound { table: "your workspaces".into(), id: workspace_id.to_owned() })?;
        Ok(Member { person, workspace_id, role })
    }

    /// The visitor as an owner of a workspace.
    pub async fn owner(&self, workspace_id: &'a str) -> Result<Member<'a>, Fault> {
        let member = self.member(workspace_id).await?;
        match member.role {
            Role::Owner => Ok(member),
            Role::Member | Role::Viewer => {
                Err(Fault::Forbidden { message: "Only an owner of the workspace may do this.".into() })
            }
        }
    }

    /// Now, as the control plane writes it.
    pub fn now(&self) -> String {
        iso(self.clock.unix_seconds())
    }
}

/// A moment of [`PersonContext::now`] as lists show it.
pub fn as_listed(moment: &str) -> String {
    moment.replace('Z', "+00:00")
}

/// The workspaces that the visitor belongs to.
pub async fn workspaces(context: &PersonContext<'_>, ask: PageAsk) -> Result<Answer, Fault> {
    let person = context.visitor.person()?;
    pages::page(context, &WORKSPACES, &person.id, &[], ask).await
}

impl Member<'_> {
    /// What an entry of the audit begins with. `id` and `now` are kept by the caller.
    pub fn act<'b>(&'b self, id: &'b str, now: &'b str) -> Act<'b> {
        Act { id, workspace_id: self.workspace_id, user_id: &self.person.id, now }
    }
}
