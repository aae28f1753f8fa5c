//! What a committed transaction may have changed, for those who wait for changes.

use crm::model::ask::Ask;
use crm::model::change::ChangeSet;

/// Proof that a transaction was committed.
#[derive(Debug)]
pub struct Committed {
    /// What the transaction may have changed.
    pub changed: Changed,
    /// What it has changed by the change log, if the caller wants to know.
    pub effect: Option<Box<ChangeSet>>,
}

impl Committed {
    /// The end of a call that has changed no rows of the workspace.
    pub(super) fn nothing() -> Committed {
        Committed { changed: Changed::Nothing, effect: None }
    }
}

/// What a transaction may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It changed nothing.
    Nothing,
    /// Rows of this table, and the rows that its triggers write.
    Table(String),
    /// Anything: the caller's own SQL ran.
    Anything,
}

impl Changed {
    pub(super) fn by(ask: &Ask) -> Changed {
        match (ask.changes_rows(), ask.table()) {
            (false, _) => Changed::Nothing,
            (true, Some(table)) => Changed::Table(table.to_owned()),
            (true, None) => Changed::Anything,
        }
    }
}
