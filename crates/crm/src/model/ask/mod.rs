//! Asks: requests that have been read, but not yet checked against the workspace. An ask has no faults and can be
//! stored.

mod names;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::control::ControlAsk;
use crate::model::entity::by_table;
use crate::model::filter::{Deleted, Filter, Sort};
use crate::model::inbound::InboundEmail;
use crate::model::operation::Operation;
use crate::model::page::PageAsk;
use crate::model::split::may_change_catalog;

pub use names::{PipelineName, Preference, RecordName, Related, UnknownStage};

/// A request, in the names of the physical schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// An ask with a single plan.
    Single(Single),
    /// An ask with several steps, each with its own plan.
    Steps(Steps),
    /// Operations that run in order in one transaction. Each is read as an ask when its turn comes.
    Operations(Vec<Operation>),
    /// An ask about the control plane.
    Control(ControlAsk),
}

/// An ask with a single plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Single {
    /// Lists a page of a table.
    List {
        /// The table's name.
        table: String,
        /// The filters. A row must match all of them.
        filters: Vec<Filter>,
        /// Whether soft-deleted rows are listed.
        deleted: Deleted,
        /// The column to sort by; `None` for the table's own order.
        #[serde(default)]
        sort: Option<Sort>,
        /// The limit and the cursor.
        page: PageAsk,
    },
    /// Finds one record by its id.
    Find {
        /// The table's name.
        table: String,
        /// The record's id.
        id: RecordName,
        /// Whether a soft-deleted record is found.
        deleted: Deleted,
        /// The related rows that are shown with it.
        related: Related,
    },
    /// Creates a record.
    Create {
        /// The table's name.
        table: String,
        /// The values, by column.
        values: Map<String, Value>,
        /// The handling of an unknown stage, for a deal.
        unknown_stage: UnknownStage,
    },
    /// Creates a stage of a pipeline.
    CreateStage {
        /// The pipeline of the stage.
        pipeline: PipelineName,
        /// The values, by column, without the pipeline.
        values: Map<String, Value>,
    },
    /// Lists a page of a pipeline's stages, by position.
    Stages {
        /// The pipeline of the stages.
        pipeline: PipelineName,
        /// The limit and the cursor.
        page: PageAsk,
    },
    /// Updates some columns of a record.
    Update {
        /// The table's name.
        table: String,
        /// The record's id.
        id: RecordName,
        /// The new values, by column. A jsonb column is merged.
        values: Map<String, Value>,
        /// The handling of an unknown stage, for a deal.
        unknown_stage: UnknownStage,
    },
    /// Hides a record, or removes it permanently.
    Delete {
        /// The table's name.
        table: String,
        /// The record's id.
        id: RecordName,
        /// Whether the record is removed permanently.
        hard: bool,
    },
    /// Restores a hidden record.
    Restore {
        /// The table's name.
        table: String,
        /// The record's id.
        id: RecordName,
    },
    /// Merges records into one.
    Merge {
        /// The table's name.
        table: String,
        /// The id of the record that stays.
        id: RecordName,
        /// The ids of the others.
        from: Vec<String>,
        /// Whose values win.
        prefer: Vec<Preference>,
    },
    /// Searches a table.
    Search {
        /// The table's name.
        table: String,
        /// The search words.
        words: String,
        /// The limit and the cursor.
        page: PageAsk,
    },
    /// Lists the workspace's tables.
    Tables {
        /// The page; `None` for all of them.
        page: Option<PageAsk>,
    },
    /// Describes the workspace's tables in full, for writing joins.
    Schema {
        /// The only table to describe; `None` for all of them.
        #[serde(default)]
        table: Option<String>,
    },
}

/// An ask with several steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Steps {
    /// Creates records, or updates those with the same unique values. Each row succeeds or fails on its own.
    Batch {
        /// The table's name.
        table: String,
        /// The rows. A row that can't be read fails on its own.
        rows: Vec<BatchRow>,
        /// The columns that identify an existing record.
        dedup_on: Vec<String>,
    },
    /// Creates a record, or updates the only one that matches.
    Assert {
        /// The table's name.
        table: String,
        /// The conditions that the record matches.
        matching: Vec<Filter>,
        /// The values, by column.
        values: Map<String, Value>,
        /// The handling of an unknown stage, for a deal.
        unknown_stage: UnknownStage,
    },
    /// Creates records from a file, or updates those with the same unique values. All that are not refused are kept together.
    Import {
        /// The table's name.
        table: String,
        /// The columns that the file has.
        columns: Vec<String>,
        /// The rows.
        rows: Vec<ImportRow>,
        /// The number of empty rows.
        skipped: usize,
        /// The columns that identify an existing record. If it is empty, all records are new.
        dedup_on: Vec<String>,
    },
    /// Searches all tables that are searched together.
    SearchAll {
        /// The search words.
        words: String,
        /// The limit and the cursor.
        page: PageAsk,
    },
    /// Lists a page of a saved list's rows.
    ListRows {
        /// The list's id.
        list_id: String,
        /// The limit and the cursor.
        page: PageAsk,
    },
    /// Adds members to a static list.
    AddMembers {
        /// The list's id.
        list_id: String,
        /// The ids of the records.
        ids: Vec<String>,
        /// Whether the request has an array. The answer is then an array too.
        several: bool,
    },
    /// Removes a member from a static list.
    RemoveMember {
        /// The list's id.
        list_id: String,
        /// The id of the record that is a member.
        id: String,
    },
    /// Lists a page of events, oldest first.
    Events(EventsAsk),
    /// Sends an e-mail and records it.
    SendEmail {
        /// The fields of the request. `custom` and `deal_ids` have the names of the physical schema.
        values: Map<String, Value>,
    },
    /// Records an e-mail that was received, and logs it as an activity.
    ReceiveEmail {
        /// The message.
        email: Box<InboundEmail>,
        /// The way in which it came.
        origin: InboundOrigin,
    },
    /// Opens a run.
    OpenRun {
        /// The caller's name for it.
        run_id: String,
        /// The caller's program.
        agent: Option<String>,
        /// The purpose.
        reason: Option<String>,
    },
    /// Finds a run.
    FindRun {
        /// The run's id, or the caller's name for it.
        run: String,
    },
    /// Lists runs, newest first.
    ListRuns {
        /// The filters, by name: actor, agent, status, since.
        filters: Map<String, Value>,
        /// The limit and the cursor.
        page: PageAsk,
    },
    /// Lists the changes of a run, oldest first.
    RunChanges {
        /// The run's id, or the caller's name for it.
        run: String,
        /// Whether only the net effect on each row is listed.
        net: bool,
        /// The limit and the cursor.
        page: PageAsk,
    },
    /// Lists the changes of one row that have no entry in the feed, newest first. No dialect reads it: the pages ask.
    RowChanges {
        /// The table.
        table: String,
        /// The row's key, as text.
        key: String,
        /// Only changes before this moment, in ISO 8601.
        before: Option<String>,
        /// The most changes.
        most: usize,
    },
    /// Ends a run.
    FinishRun {
        /// The run's id, or the caller's name for it.
        run: String,
        /// Whether it was completed; otherwise it failed.
        is_complete: bool,
        /// A summary.
        summary: Option<String>,
    },
    /// Puts back what was changed.
    Undo {
        /// The changes to undo.
        what: Undoable,
        /// Whether rows that conflict are left as they are; otherwise the undo is refused.
        skips: bool,
    },
    /// Runs the caller's own SQL.
    Sql {
        /// One statement, or several statements without parameters.
        sql: String,
        /// The values of `$1…`.
        params: Vec<Value>,
    },
}

/// The way in which an e-mail came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InboundOrigin {
    /// A request has it. One that was deleted is recorded again.
    Request,
    /// A mailbox or a provider hands it over, perhaps several times. One that was deleted stays so.
    Delivery,
}

/// A request for events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsAsk {
    /// The cursor after which they begin; `None` for the oldest.
    pub after: Option<String>,
    /// The patterns of their types. Without any, all events are listed.
    pub types: Vec<String>,
    /// Maximum number of events.
    pub limit: usize,
}

/// Changes that can be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Undoable {
    /// Those of a run, by its id or the caller's name for it.
    Run(String),
    /// Those of a request, by its id.
    Request(String),
    /// The one of an entry of the activity feed, by its id.
    Entry(String),
}

/// A row of a file. All its values are text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportRow {
    /// Its number in the file. The row with the names of the columns is number 1.
    pub number: u64,
    /// The values, by column, or why the row can't be read.
    pub values: Result<Map<String, Value>, String>,
}

/// A row of a batch. A row that can't be read is kept as an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BatchRow {
    /// The values of a record, by column.
    Values(Map<String, Value>),
    /// A record with a field that does not exist.
    UnknownField {
        /// The name of the field.
        name: String,
        /// The most similar known name.
        nearest: Option<String>,
    },
    /// JSON that is not an object.
    NotAnObject {
        /// The type of the JSON value, with its article: "an array".
        found: String,
    },
}

impl From<Single> for Ask {
    fn from(single: Single) -> Ask {
        Ask::Single(single)
    }
}

impl From<Steps> for Ask {
    fn from(steps: Steps) -> Ask {
        Ask::Steps(steps)
    }
}

impl From<ControlAsk> for Ask {
    fn from(ask: ControlAsk) -> Ask {
        Ask::Control(ask)
    }
}

impl Ask {
    /// The table of the ask, if it has exactly one. For an ask about the control plane, the kind of its answer.
    pub fn table(&self) -> Option<&str> {
        match self {
            Ask::Single(single) => single.table(),
            Ask::Steps(steps) => steps.table(),
            Ask::Operations(_) => None,
            Ask::Control(ask) => Some(ask.object()),
        }
    }

    /// Whether the ask may change data. Raw SQL may, and operations that are not read yet may.
    pub fn writes(&self) -> bool {
        match self {
            Ask::Single(single) => single.writes(),
            Ask::Steps(steps) => steps.writes(),
            Ask::Operations(_) => true,
            Ask::Control(ask) => ask.writes(),
        }
    }

    /// Whether it may change rows. What begins or ends a run is a write that changes none.
    pub fn changes_rows(&self) -> bool {
        self.writes() && !matches!(self, Ask::Steps(Steps::OpenRun { .. } | Steps::FinishRun { .. }))
    }

    /// Whether the cached catalog may be out of date after this ask. For operations, each of their asks says so.
    pub fn changes_catalog(&self) -> bool {
        match self {
            Ask::Steps(Steps::Sql { sql, .. }) => may_change_catalog(sql),
            Ask::Control(_) => false,
            // It may put back definitions of custom fields.
            Ask::Steps(Steps::Undo { .. }) => true,
            ask => ask.writes() && ask.table().and_then(by_table).is_some_and(|entity| entity.describes_tables),
        }
    }
}

impl Single {
    /// The table of the ask, if it has one.
    pub fn table(&self) -> Option<&str> {
        match self {
            Single::List { table, .. }
            | Single::Find { table, .. }
            | Single::Create { table, .. }
            | Single::Update { table, .. }
            | Single::Delete { table, .. }
            | Single::Restore { table, .. }
            | Single::Merge { table, .. }
            | Single::Search { table, .. } => Some(table),
            Single::CreateStage { .. } | Single::Stages { .. } => Some(STAGES),
            Single::Tables { .. } | Single::Schema { .. } => None,
        }
    }

    /// Whether the ask changes data.
    pub fn writes(&self) -> bool {
        match self {
            Single::List { .. }
            | Single::Stages { .. }
            | Single::Find { .. }
            | Single::Search { .. }
            | Single::Tables { .. }
            | Single::Schema { .. } => false,
            Single::Create { .. }
            | Single::CreateStage { .. }
            | Single::Update { .. }
            | Single::Delete { .. }
            | Single::Restore { .. }
            | Single::Merge { .. } => true,
        }
    }
}

impl Steps {
    fn table(&self) -> Option<&str> {
        match self {
            Steps::Batch { table, .. } | Steps::Assert { table, .. } | Steps::Import { table, .. } => Some(table),
            Steps::SendEmail { .. } | Steps::ReceiveEmail { .. } => Some(EMAILS),
            Steps::AddMembers { .. } | Steps::RemoveMember { .. } => Some(MEMBERS),
            Steps::SearchAll { .. }
            | Steps::ListRows { .. }
            | Steps::Events(_)
            | Steps::Sql { .. }
            | Steps::OpenRun { .. }
            | Steps::FindRun { .. }
            | Steps::ListRuns { .. }
            | Steps::RunChanges { .. }
            | Steps::RowChanges { .. }
            | Steps::FinishRun { .. }
            | Steps::Undo { .. } => None,
        }
    }

    fn writes(&self) -> bool {
        match self {
            Steps::SearchAll { .. }
            | Steps::ListRows { .. }
            | Steps::FindRun { .. }
            | Steps::ListRuns { .. }
            | Steps::Events(_)
            | Steps::RunChanges { .. }
            | Steps::RowChanges { .. } => false,
            Steps::Batch { .. }
            | Steps::Assert { .. }
            | Steps::SendEmail { .. }
            | Steps::ReceiveEmail { .. }
            | Steps::Import { .. }
            | Steps::AddMembers { .. }
            | Steps::RemoveMember { .. }
            | Steps::OpenRun { .. }
            | Steps::FinishRun { .. }
            | Steps::Undo { .. }
            | Steps::Sql { .. } => true,
        }
    }
}

/// The table of the stages of pipelines.
pub const STAGES: &str = "pipeline_stages";
/// The table of e-mails.
pub const EMAILS: &str = "emails";
/// The table of the members of static lists.
pub const MEMBERS: &str = "list_members";

#[cfg(test)]
mod tests;
