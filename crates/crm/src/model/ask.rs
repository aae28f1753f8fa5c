//! What a caller wants, once the words are read and before anything is looked up.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::model::fault::Fault;
use crate::model::filter::{Deleted, Filter};
use crate::model::page::PageAsk;

/// How a record is named. A pipeline's id may be its key as well, wherever one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordName {
    /// By its id.
    Id(String),
    /// A stage, by its own key and its pipeline.
    Stage {
        /// The pipeline.
        pipeline: PipelineName,
        /// The stage's key, or its id.
        key: String,
    },
}

/// Which related rows are shown with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Related {
    /// All that its table knows.
    All,
    /// These, by the keys of [`ToOne`](crate::model::entity::ToOne) and [`ToMany`](crate::model::entity::ToMany).
    Named(Vec<String>),
}

/// How a pipeline is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipelineName {
    /// The workspace's default one.
    Default,
    /// By its key, or its id.
    Key(String),
}

/// What becomes of a deal's stage that its pipeline lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UnknownStage {
    /// It is added to the pipeline's end.
    #[default]
    Add,
    /// The write is refused.
    Refuse,
}

impl RecordName {
    /// The words that name it, for error texts.
    pub fn text(&self) -> &str {
        match self {
            RecordName::Id(text) | RecordName::Stage { key: text, .. } => text,
        }
    }
}

impl From<&str> for RecordName {
    fn from(id: &str) -> RecordName {
        RecordName::Id(id.to_owned())
    }
}

impl From<Cow<'_, str>> for RecordName {
    fn from(id: Cow<'_, str>) -> RecordName {
        RecordName::Id(id.into_owned())
    }
}

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
        id: RecordName,
        /// With regard to soft deletion.
        deleted: Deleted,
        /// What is shown with it.
        related: Related,
    },
    /// A new record.
    Create {
        /// The table.
        table: String,
        /// Its values.
        values: Map<String, Value>,
        /// Where it is a deal.
        unknown_stage: UnknownStage,
    },
    /// A new stage of a pipeline.
    CreateStage {
        /// The pipeline.
        pipeline: PipelineName,
        /// Its values, without the pipeline.
        values: Map<String, Value>,
    },
    /// A page of a pipeline's stages, in their order.
    Stages {
        /// The pipeline.
        pipeline: PipelineName,
        /// Which page.
        page: PageAsk,
    },
    /// New records, or new values for those that have the same unique values already; each for itself.
    Batch {
        /// The table.
        table: String,
        /// The records' values; what can't be read fails by itself.
        rows: Vec<Result<Map<String, Value>, Fault>>,
        /// The columns by which a record is known again.
        dedup_on: Vec<String>,
    },
    /// New values for some fields of a record.
    Update {
        /// The table.
        table: String,
        /// The id.
        id: RecordName,
        /// The values; jsonb columns are merged.
        values: Map<String, Value>,
        /// Where it is a deal.
        unknown_stage: UnknownStage,
    },
    /// A record to be hidden, or removed for good.
    Delete {
        /// The table.
        table: String,
        /// The id.
        id: RecordName,
        /// For good.
        hard: bool,
    },
    /// A hidden record to be shown again.
    Restore {
        /// The table.
        table: String,
        /// The id.
        id: RecordName,
    },
    /// The records of a table that some words find.
    Search {
        /// The table.
        table: String,
        /// The words.
        words: String,
        /// Which page.
        page: PageAsk,
    },
    /// The contacts, companies, deals and activities that some words find.
    SearchAll {
        /// The words.
        words: String,
        /// Which page.
        page: PageAsk,
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
