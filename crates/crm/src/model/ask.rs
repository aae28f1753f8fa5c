//! What a caller wants, once the words are read and before anything is looked up.

use serde_json::{Map, Value};

use crate::model::filter::{Deleted, Filter};
use crate::model::page::PageAsk;

/// One wish of a caller, in the names of the physical schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// A page of a table.
    List {
        /// The table.
        table: String,
        /// Conditions; all must hold.
        filters: Vec<Filter>,
        /// With regard to soft deletion.
        deleted: Deleted,
        /// Which page.
        page: PageAsk,
    },
    /// One record by id.
    Find {
        /// The table.
        table: String,
        /// The id.
        id: String,
        /// With regard to soft deletion.
        deleted: Deleted,
    },
    /// A new record.
    Create {
        /// The table.
        table: String,
        /// Its values.
        values: Map<String, Value>,
    },
    /// New values for some fields of a record.
    Update {
        /// The table.
        table: String,
        /// The id.
        id: String,
        /// The values; jsonb columns are merged.
        values: Map<String, Value>,
    },
    /// A record to be hidden, or removed for good.
    Delete {
        /// The table.
        table: String,
        /// The id.
        id: String,
        /// For good.
        hard: bool,
    },
    /// A hidden record to be shown again.
    Restore {
        /// The table.
        table: String,
        /// The id.
        id: String,
    },
    /// The records of a table that some words find.
    Search {
        /// The table.
        table: String,
        /// The words.
        words: String,
        /// Records at most.
        limit: usize,
    },
    /// A page of a saved list's rows.
    ListRows {
        /// The list.
        list_id: String,
        /// Which page.
        page: PageAsk,
    },
    /// Records to become members of a static list.
    AddMembers {
        /// The list.
        list_id: String,
        /// The records' ids.
        ids: Vec<String>,
        /// Whether they came as an array, to be answered by one.
        several: bool,
    },
    /// A record to be a member no more.
    RemoveMember {
        /// The list.
        list_id: String,
        /// The record's id.
        id: String,
    },
    /// The workspace's tables.
    Tables,
    /// The workspace's tables with all that joins need.
    Schema,
    /// The caller's own SQL.
    Sql {
        /// One statement, or several without parameters.
        sql: String,
        /// Values of `$1…`.
        params: Vec<Value>,
    },
}
