//! The audit log of workspaces.

use crate::clock::{Clock, iso};
use crate::store::control::lists::{First, PagedList};

/// The audit log of a workspace.
pub static AUDIT: PagedList = PagedList {
    columns: &[
        ("id", "a.id"),
        ("occurred_at", "a.occurred_at"),
        ("actor", "a.actor"),
        ("action", "a.action"),
        ("subject", "a.subject"),
        ("details", "a.details"),
    ],
    from: "audit AS a",
    conditions: &["a.workspace_id = $1"],
    order: ["occurred_at", "id"],
    first: First::Newest,
};

/// An entry of the audit log without its action: the actor, the workspace and the time. Statements that write an entry take it
/// as their first four parameters.
#[derive(Clone, Debug)]
pub struct AuditEntry<'a> {
    /// The entry's id, `au_…`.
    pub id: String,
    /// The workspace.
    pub workspace_id: &'a str,
    /// The person, `u_…`.
    pub user_id: &'a str,
    /// The current time, ISO 8601.
    pub now: String,
}

impl AuditEntry<'_> {
    /// Creates an entry for the current time.
    pub fn new<'a>(clock: &Clock, workspace_id: &'a str, user_id: &'a str) -> AuditEntry<'a> {
        AuditEntry { id: clock.id("au"), workspace_id, user_id, now: iso(clock.unix_seconds()) }
    }

    /// The parameters `$1` to `$4`, and those that follow them.
    pub(super) fn params<'a, const N: usize>(&'a self, rest: [Option<&'a str>; N]) -> Vec<Option<&'a str>> {
        let own = [&*self.id, self.workspace_id, self.user_id, &*self.now].map(Some);
        own.into_iter().chain(rest).collect()
    }
}

/// A statement that adds an action to the audit log. `subject` and `details` are expressions; `from` is a FROM clause, or empty.
pub(super) fn insert_entry(action: &str, subject: &str, details: &str, from: &str) -> String {
    format!(
        "INSERT INTO audit (id, workspace_id, occurred_at, actor, action, subject, details)
         SELECT $1, $2, $4::timestamptz, 'user:' || $3, '{action}', {subject}, {details} {from}"
    )
}

/// The details of an entry without details.
pub(super) const NO_DETAILS: &str = "'{}'::jsonb";
