//! How an ask names records and pipelines.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The name of a record. A pipeline can be named by its id or its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordName {
    /// An id.
    Id(String),
    /// A stage, by its key within a pipeline.
    Stage {
        /// The pipeline of the stage.
        pipeline: PipelineName,
        /// The stage's key or id.
        key: String,
    },
}

/// The related rows that are shown with a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Related {
    /// All relations of its table.
    All,
    /// Only these relations, by the keys of [`ToOne`](crate::model::entity::ToOne) and
    /// [`ToMany`](crate::model::entity::ToMany).
    Named(Vec<String>),
}

/// The name of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PipelineName {
    /// The workspace's default pipeline.
    Default,
    /// A key or an id.
    Key(String),
}

/// The record whose value a field takes in a merge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// The field's name on the wire, for error messages.
    pub said: String,
    /// The column.
    pub column: String,
    /// The key in the column, if the value is that of a key.
    pub key: Option<String>,
    /// The record's id.
    pub id: String,
}

/// The handling of a deal's stage that does not exist in its pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum UnknownStage {
    /// The stage is added to the end of the pipeline.
    #[default]
    Add,
    /// The write is refused.
    Refuse,
}

impl RecordName {
    /// The id or key, for error messages.
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
