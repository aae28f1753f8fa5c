//! Where people's acts are done: what they need of the house, handed in by the door.

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use tokio::sync::Notify;

use crate::access::Keys;
use crate::clock::{Clock, iso};
use crate::people::accounts::Accounts;
use crate::people::{Person, Visitor, pages};
use crate::store::Store;
use crate::store::belongings::{Act, WORKSPACES};
use crate::store::fault::of_connection;

/// The desk at which a visitor stands.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
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

/// What a member may do, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Reads.
    Viewer,
    /// Reads and writes.
    Member,
    /// Decides who else may.
    Owner,
}

impl Rank {
    /// Reads a role's name.
    pub fn parse(name: &str) -> Option<Rank> {
        [Rank::Viewer, Rank::Member, Rank::Owner].into_iter().find(|rank| rank.name() == name)
    }

    /// The role's name.
    pub fn name(self) -> &'static str {
        match self {
            Rank::Viewer => "viewer",
            Rank::Member => "member",
            Rank::Owner => "owner",
        }
    }
}

/// A member at the desk, in one workspace.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Who.
    pub person: &'a Person,
    /// Where.
    pub workspace_id: &'a str,
    /// What they may do there.
    pub rank: Rank,
}

impl<'a> Desk<'a> {
    /// The visitor as a member of a workspace. To those outside it there is no such workspace.
    pub async fn member(&self, workspace_id: &'a str) -> Result<Member<'a>, Fault> {
        let person = self.visitor.person()?;
        let role = self.store.control.membership(workspace_id, &person.id).await.map_err(of_connection)?;
        let rank = role.as_deref().and_then(Rank::parse);
        let rank =
            rank.ok_or_else(|| Fault::NotFound { table: "your workspaces".into(), id: workspace_id.to_owned() })?;
        Ok(Member { person, workspace_id, rank })
    }

    /// The visitor as an owner of a workspace.
    pub async fn owner(&self, workspace_id: &'a str) -> Result<Member<'a>, Fault> {
        let member = self.member(workspace_id).await?;
        match member.rank {
            Rank::Owner => Ok(member),
            Rank::Member | Rank::Viewer => {
                Err(Fault::Forbidden { message: "Only an owner of the workspace may do this.".into() })
            }
        }
    }

    /// Now, as the control plane writes it.
    pub fn now(&self) -> String {
        iso(self.clock.unix_seconds())
    }
}

/// A moment of [`Desk::now`] as lists show it.
pub fn as_listed(moment: &str) -> String {
    moment.replace('Z', "+00:00")
}

/// The workspaces that the visitor belongs to.
pub async fn workspaces(desk: &Desk<'_>, ask: PageAsk) -> Result<Answer, Fault> {
    let person = desk.visitor.person()?;
    pages::page(desk, &WORKSPACES, &person.id, &[], ask).await
}

impl Member<'_> {
    /// What an entry of the audit begins with. `id` and `now` are kept by the caller.
    pub fn act<'b>(&'b self, id: &'b str, now: &'b str) -> Act<'b> {
        Act { id, workspace_id: self.workspace_id, user_id: &self.person.id, now }
    }
}
