//! The results of asks, before a dialect writes them.

use serde_json::{Map, Value};

use crate::model::change::{Change, ChangeSet};
use crate::model::email::EmailStatus;
use crate::model::entity::Entity;
use crate::model::event::{Event, EventSource};
use crate::model::fault::Fault;
use crate::model::rows::Rows;

/// The result of a successful ask.
#[derive(Debug)]
pub enum Answer {
    /// One record.
    Record {
        /// The record and the related rows.
        record: Record,
        /// Whether the record is new.
        created: bool,
    },
    /// One record, with what else there is to say about the write.
    Written {
        /// The record.
        record: Record,
        /// Whether the record is new.
        created: bool,
        /// A name and its value. Ids in it have their stored form.
        about: (&'static str, Value),
    },
    /// The record of an e-mail that is sent.
    Email {
        /// The record.
        record: Record,
        /// What became of the e-mail so far.
        status: EmailStatus,
    },
    /// A page of records.
    Page {
        /// The built-in table of the records; `None` for a custom table and for the chosen columns of a saved list.
        entity: Option<&'static Entity>,
        /// The table of the records, if the ask did not name it.
        table: Option<String>,
        /// The records, one a row.
        rows: Rows,
        /// The number of columns that belong to the records. Further columns only sort the rows.
        width: usize,
        /// The cursor of the next page, if there is one.
        next_cursor: Option<String>,
        /// The limit of the page.
        limit: usize,
    },
    /// A deleted record.
    Deleted {
        /// The built-in table of the record; `None` for a custom table.
        entity: Option<&'static Entity>,
        /// The record's id, as JSON.
        id: String,
        /// The time of the deletion, as JSON.
        deleted_at: String,
        /// What people call the record, if it has a name.
        name: Option<String>,
        /// What was removed with it from the control plane: a name of many, and how many.
        with: Vec<(&'static str, u64)>,
        /// A note on the deletion for the caller, if there is one.
        note: Option<&'static str>,
    },
    /// The outcomes of a batch of records.
    Batch(Batch),
    /// The outcome of an import.
    Imported(Imported),
    /// The answers of a batch of operations, in order.
    Operations(Vec<OperationAnswer>),
    /// Search results from several tables.
    Found(Found),
    /// A short list of rows, without pages.
    Rows {
        /// The rows, all columns shown.
        rows: Rows,
        /// Whether the rows are new.
        created: bool,
    },
    /// The workspace's tables.
    Tables {
        /// The tables, one a row, with the columns `name` and `kind`.
        rows: Rows,
        /// The cursor of the next page; `None` if this is the last one.
        next_cursor: Option<String>,
        /// The most tables that the answer could have.
        limit: usize,
    },
    /// One JSON object, as text.
    Object {
        /// The JSON text.
        text: String,
        /// Whether the object describes something new.
        created: bool,
    },
    /// A page of events.
    Events(EventPage),
    /// The result of the caller's own SQL.
    Sql(SqlResult),
    /// What a request would have done.
    DryRun(Box<DryRun>),
    /// One run.
    Run {
        /// The run's fields.
        run: Map<String, Value>,
        /// Whether the run is new.
        created: bool,
    },
    /// A page of runs.
    Runs {
        /// The runs, newest first.
        runs: Vec<Map<String, Value>>,
        /// The cursor of the next page, if there is one.
        next_cursor: Option<String>,
        /// The limit of the page.
        limit: usize,
    },
    /// A page of changes.
    Changes {
        /// The changes, oldest first.
        changes: Vec<Change>,
        /// The cursor of the next page, if there is one.
        next_cursor: Option<String>,
        /// The limit of the page.
        limit: usize,
    },
    /// The result of an undo.
    Undone {
        /// The run of the undo, `run_…`; `None` if nothing was undone.
        run_id: Option<String>,
        /// The number of rows that were put back.
        undone: u64,
        /// The rows that were left as they are: `{"table", "id", "reason"}`.
        skipped: Vec<Value>,
        /// What has left and stays: `{"effect", "id"}`.
        not_undone: Vec<Value>,
    },
    /// A new workspace.
    Workspace {
        /// `ws_…`
        workspace_id: String,
        /// The first API key. It is shown only once.
        api_key: String,
        /// The page where a person claims the workspace.
        claim_url: Option<String>,
        /// The time at which the unclaimed workspace becomes read-only, in ISO 8601.
        ttl_expires_at: Option<String>,
    },
}

impl Answer {
    /// Whether this name is what it says about a write. A column of that name has the first right to it.
    pub fn says(&self, said: &str) -> bool {
        match self {
            Answer::Written { record, about: (name, _), .. } => {
                *name == said && record.row.columns().iter().all(|column| &*column.name != said)
            }
            _ => false,
        }
    }

    /// The HTTP status: 201 if something is new, 202 if it is still to be done, otherwise 200.
    pub fn status(&self) -> u16 {
        if let Answer::Email { status: EmailStatus::Queued | EmailStatus::Held, .. } = self {
            return 202;
        }
        let is_new = match self {
            Answer::Record { created, .. }
            | Answer::Written { created, .. }
            | Answer::Rows { created, .. }
            | Answer::Object { created, .. }
            | Answer::Run { created, .. } => *created,
            Answer::Workspace { .. } | Answer::Email { .. } => true,
            Answer::Page { .. }
            | Answer::Deleted { .. }
            | Answer::Batch(_)
            | Answer::Imported(_)
            | Answer::Operations(_)
            | Answer::Found(_)
            | Answer::Tables { .. }
            | Answer::Events(_)
            | Answer::Sql(_)
            | Answer::DryRun(_)
            | Answer::Runs { .. }
            | Answer::Changes { .. }
            | Answer::Undone { .. } => false,
        };
        if is_new { 201 } else { 200 }
    }
}

/// A page of events, oldest first.
#[derive(Debug)]
pub struct EventPage {
    /// The events, each with the cursor after it.
    pub events: Vec<(Event, String)>,
    /// The cursor for the next page. An empty page has one too.
    pub cursor: String,
    /// Whether there is a next page now.
    pub has_more: bool,
    /// The limit of the page.
    pub limit: usize,
    /// The workspace.
    pub workspace_id: String,
    /// `live` or `test`.
    pub mode: &'static str,
}

impl EventPage {
    /// Where the events come from.
    pub fn source(&self) -> EventSource<'_> {
        EventSource { workspace_id: &self.workspace_id, mode: self.mode }
    }
}

/// The answer to a dry run.
#[derive(Debug)]
pub struct DryRun {
    /// The answer that the request would have had.
    pub answer: Answer,
    /// What it would have changed.
    pub outcome: ChangeSet,
}

/// The answer to an operation of a batch.
#[derive(Debug)]
pub struct OperationAnswer {
    /// The operation's ref, if it has one.
    pub name: Option<String>,
    /// The status that the operation alone would have.
    pub status: u16,
    /// The JSON body that the operation alone would have, in the caller's dialect.
    pub body: Vec<u8>,
}

/// The outcomes of a batch's records, in the order of the request.
#[derive(Debug)]
pub struct Batch {
    /// The built-in table of the records; `None` for a custom table.
    pub entity: Option<&'static Entity>,
    /// The current state of the records that were written.
    pub rows: Rows,
    /// The number of columns that belong to the records.
    pub width: usize,
    /// The outcome of each record.
    pub items: Vec<BatchItem>,
}

/// The outcome of an import.
#[derive(Debug, PartialEq)]
pub struct Imported {
    /// The table.
    pub table: String,
    /// The number of records that are new.
    pub created: usize,
    /// The number of records that existed and have the file's values now.
    pub updated: usize,
    /// The number of rows without a value.
    pub skipped: usize,
    /// The rows that were refused, by their numbers in the file.
    pub refused: Vec<(u64, Fault)>,
}

/// The outcome of one record of a batch.
#[derive(Debug, PartialEq)]
pub enum BatchItem {
    /// The record is new. The number is its row.
    Created(usize),
    /// The record existed. The number is its row, which has the new values.
    Updated(usize),
    /// The record was refused. Nothing of it was kept.
    Failed(Fault),
}

impl Batch {
    /// The numbers of records that were created, updated and refused.
    pub fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for item in &self.items {
            counts[match item {
                BatchItem::Created(_) => 0,
                BatchItem::Updated(_) => 1,
                BatchItem::Failed(_) => 2,
            }] += 1;
        }
        counts
    }
}

/// Search results from several tables, best first.
#[derive(Debug)]
pub struct Found {
    /// The records of each table. The last column is the score.
    pub tables: Vec<(&'static Entity, Rows)>,
    /// For each result the index of its table and of its row, best first.
    pub order: Vec<(usize, usize)>,
    /// The cursor of the next page, if there is one.
    pub next_cursor: Option<String>,
    /// The limit of the page.
    pub limit: usize,
}

/// A record and its related rows. One row has the record and the rows that it refers to; further results have the other
/// related rows.
#[derive(Debug)]
pub struct Record {
    /// The built-in table of the record; `None` for a custom table.
    pub entity: Option<&'static Entity>,
    /// One row: the record's own columns, then those of each related row.
    pub row: Rows,
    /// The number of columns that belong to the record itself.
    pub width: usize,
    /// The related rows within `row`, in the order of their columns.
    pub parts: Vec<Part>,
    /// The related rows in results of their own, with the key of each.
    pub related: Vec<(&'static str, Rows)>,
}

/// A related row whose columns follow the record's own columns.
#[derive(Debug)]
pub struct Part {
    /// The key of the related row in the answer.
    pub key: &'static str,
    /// The index of its first column.
    pub start: usize,
    /// The number of its columns.
    pub width: usize,
    /// The index of its id column, counted from `start`. A null id means that there is no related row.
    pub id_at: usize,
}

/// A result of raw SQL.
#[derive(Debug)]
pub struct SqlResult {
    /// The rows. The names of the columns are unique.
    pub rows: Rows,
    /// The number of rows that were returned or affected.
    pub row_count: u64,
    /// The command tag without counts: `INSERT`, `CREATE TABLE`.
    pub command: String,
    /// Whether a limit cut the result.
    pub truncated: bool,
    /// The statements before, of which only these are known.
    pub before: Vec<RanStatement>,
}

/// A statement that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RanStatement {
    /// The command tag without counts.
    pub command: String,
    /// The number of rows that were returned or affected; `None` if the command has no count.
    pub rows: Option<u64>,
}
