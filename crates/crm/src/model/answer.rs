//! What an ask came to, before a dialect puts it into words.

use crate::model::entity::Entity;
use crate::model::fault::Fault;
use crate::model::rows::Rows;

/// The result of an ask that went well.
#[derive(Debug)]
pub enum Answer {
    /// One record.
    Record {
        /// The record.
        record: Record,
        /// Whether it is new.
        created: bool,
    },
    /// A page of records.
    Page {
        /// What kind of records, where they are built-in ones.
        entity: Option<&'static Entity>,
        /// The table that they are of, where it is another than was asked about.
        table: Option<String>,
        /// The records.
        rows: Rows,
        /// How many of the columns belong to the records; the rest served the order only.
        width: usize,
        /// Where the next page begins, if there is one.
        next_cursor: Option<String>,
        /// The limit that held.
        limit: usize,
    },
    /// A record that is gone.
    Deleted {
        /// What kind of record.
        entity: Option<&'static Entity>,
        /// Its id, as JSON.
        id: String,
        /// When it was deleted, as JSON.
        deleted_at: String,
        /// What the caller should know of it, where there is something.
        note: Option<&'static str>,
    },
    /// What became of each record of a batch.
    Batch(Batch),
    /// Records of several tables that some words found.
    Found(Found),
    /// A short list of rows, not paged.
    Rows {
        /// The rows.
        rows: Rows,
        /// Whether they are new.
        created: bool,
    },
    /// One JSON object, as text.
    Object {
        /// The object.
        text: String,
        /// Whether what it tells of is new.
        created: bool,
    },
    /// The result of the caller's own SQL.
    Sql(SqlResult),
    /// A new workspace.
    Workspace {
        /// `ws_…`
        workspace_id: String,
        /// The key that opens it; shown this once.
        api_key: String,
        /// The page where a person takes it over.
        claim_url: Option<String>,
        /// When it turns read-only unless claimed, ISO 8601.
        ttl_expires_at: Option<String>,
    },
}

impl Answer {
    /// The HTTP status that goes with it: 201 where something is new, else 200.
    pub fn status(&self) -> u16 {
        let is_new = match self {
            Answer::Record { created, .. } | Answer::Rows { created, .. } | Answer::Object { created, .. } => *created,
            Answer::Workspace { .. } => true,
            Answer::Page { .. } | Answer::Deleted { .. } | Answer::Batch(_) | Answer::Found(_) | Answer::Sql(_) => {
                false
            }
        };
        if is_new { 201 } else { 200 }
    }
}

/// What became of each record of a batch, in the order in which they were sent.
#[derive(Debug)]
pub struct Batch {
    /// What kind of records, where they are built-in ones.
    pub entity: Option<&'static Entity>,
    /// The records that are there now.
    pub rows: Rows,
    /// How many of the columns belong to the records; the rest served the work only.
    pub width: usize,
    /// What became of each.
    pub items: Vec<BatchItem>,
}

/// What became of one record of a batch.
#[derive(Debug, PartialEq)]
pub enum BatchItem {
    /// It is new: the row of that number.
    Created(usize),
    /// It was there: the row of that number, as it is now.
    Updated(usize),
    /// It was refused; nothing of it was kept.
    Failed(Fault),
}

impl Batch {
    /// How many records were created, updated and refused.
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

/// Records of several tables, the best first.
#[derive(Debug)]
pub struct Found {
    /// The records of each table; the last column is the score.
    pub tables: Vec<(&'static Entity, Rows)>,
    /// Which table's which row, the best first.
    pub order: Vec<(usize, usize)>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
    /// The limit that held.
    pub limit: usize,
}

/// A record and what is shown with it: one row whose columns are cut into parts, and further rows.
#[derive(Debug)]
pub struct Record {
    /// What kind of record, where it is a built-in one.
    pub entity: Option<&'static Entity>,
    /// One row: the record's own columns, then those of each related row.
    pub row: Rows,
    /// How many columns are the record's own.
    pub width: usize,
    /// The related rows in `row`, in the order of their columns.
    pub parts: Vec<Part>,
    /// Related rows that stand in results of their own.
    pub related: Vec<(&'static str, Rows)>,
}

/// A related row that stands behind the record's own columns.
#[derive(Debug)]
pub struct Part {
    /// The key under which it is shown.
    pub key: &'static str,
    /// The first of its columns.
    pub start: usize,
    /// How many columns it has.
    pub width: usize,
    /// Which of its columns is its id (from `start`); the row is absent where that is null.
    pub id_at: usize,
}

/// A result of raw SQL.
#[derive(Debug)]
pub struct SqlResult {
    /// The rows; column names are unique already.
    pub rows: Rows,
    /// Rows returned or affected.
    pub row_count: u64,
    /// The command tag without counts: `INSERT`, `CREATE TABLE`.
    pub command: String,
    /// Whether the result was cut at a limit.
    pub truncated: bool,
}
