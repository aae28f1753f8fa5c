//! What a caller wants, once the words are read and before anything is looked up. An ask holds no fault and can be stored.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::entity::by_table;
use crate::model::filter::{Deleted, Filter};
use crate::model::page::PageAsk;
use crate::model::split::may_change_catalog;

/// How a record is named. A pipeline's id may be its key as well, wherever one is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Related {
    /// All that its table knows.
    All,
    /// These, by the keys of [`ToOne`](crate::model::entity::ToOne) and [`ToMany`](crate::model::entity::ToMany).
    Named(Vec<String>),
}

/// How a pipeline is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PipelineName {
    /// The workspace's default one.
    Default,
    /// By its key, or its id.
    Key(String),
}

/// What becomes of a deal's stage that its pipeline lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
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

/// What a caller wants, in the names of the physical schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// One plan answers it.
    Single(Single),
    /// It takes several steps, each with a plan of its own.
    Steps(Steps),
}

/// An ask that one plan answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Single {
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
        /// What becomes of an unknown stage, if it is a deal.
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
    /// New values for some fields of a record.
    Update {
        /// The table.
        table: String,
        /// The id.
        id: RecordName,
        /// The values; jsonb columns are merged.
        values: Map<String, Value>,
        /// What becomes of an unknown stage, if it is a deal.
        unknown_stage: UnknownStage,
    },
    /// Hides a record, or removes it for good.
    Delete {
        /// The table.
        table: String,
        /// The id.
        id: RecordName,
        /// For good.
        hard: bool,
    },
    /// Shows a hidden record again.
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
    /// The workspace's tables.
    Tables,
    /// The workspace's tables with all that joins need.
    Schema,
}

/// An ask that takes several steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Steps {
    /// New records, or new values for those that have the same unique values already; each row by itself.
    Batch {
        /// The table.
        table: String,
        /// The rows; one that can't be read fails by itself.
        rows: Vec<BatchRow>,
        /// The columns by which a record is known again.
        dedup_on: Vec<String>,
    },
    /// The records that some words find in the tables that are searched together.
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
    /// Makes records members of a static list.
    AddMembers {
        /// The list.
        list_id: String,
        /// The records' ids.
        ids: Vec<String>,
        /// Whether they came as an array, to be answered by one.
        several: bool,
    },
    /// Ends a record's membership.
    RemoveMember {
        /// The list.
        list_id: String,
        /// The record's id.
        id: String,
    },
    /// The caller's own SQL.
    Sql {
        /// One statement, or several without parameters.
        sql: String,
        /// Values of `$1…`.
        params: Vec<Value>,
    },
}

/// A row of a batch, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BatchRow {
    /// A record's values.
    Values(Map<String, Value>),
    /// A record with a field that there is not.
    UnknownField {
        /// The field.
        name: String,
        /// The known one that is most like it.
        nearest: Option<String>,
    },
    /// JSON that is not an object.
    NotAnObject {
        /// What it is instead, in words: "an array".
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

impl Ask {
    /// The table that it is about, if it is about one.
    pub fn table(&self) -> Option<&str> {
        match self {
            Ask::Single(single) => single.table(),
            Ask::Steps(steps) => steps.table(),
        }
    }

    /// Whether it changes data. Raw SQL may.
    pub fn writes(&self) -> bool {
        match self {
            Ask::Single(single) => single.writes(),
            Ask::Steps(steps) => steps.writes(),
        }
    }

    /// Whether what is known of the workspace's tables may be old once it was performed.
    pub fn changes_catalog(&self) -> bool {
        match self {
            Ask::Steps(Steps::Sql { sql, .. }) => may_change_catalog(sql),
            ask => ask.writes() && ask.table().and_then(by_table).is_some_and(|entity| entity.describes_tables),
        }
    }
}

impl Single {
    /// The table that it is about, if it is about one.
    pub fn table(&self) -> Option<&str> {
        match self {
            Single::List { table, .. }
            | Single::Find { table, .. }
            | Single::Create { table, .. }
            | Single::Update { table, .. }
            | Single::Delete { table, .. }
            | Single::Restore { table, .. }
            | Single::Search { table, .. } => Some(table),
            Single::CreateStage { .. } | Single::Stages { .. } => Some(STAGES),
            Single::Tables | Single::Schema => None,
        }
    }

    /// Whether it changes data.
    pub fn writes(&self) -> bool {
        match self {
            Single::List { .. }
            | Single::Stages { .. }
            | Single::Find { .. }
            | Single::Search { .. }
            | Single::Tables
            | Single::Schema => false,
            Single::Create { .. }
            | Single::CreateStage { .. }
            | Single::Update { .. }
            | Single::Delete { .. }
            | Single::Restore { .. } => true,
        }
    }
}

impl Steps {
    fn table(&self) -> Option<&str> {
        match self {
            Steps::Batch { table, .. } => Some(table),
            Steps::AddMembers { .. } | Steps::RemoveMember { .. } => Some(MEMBERS),
            Steps::SearchAll { .. } | Steps::ListRows { .. } | Steps::Sql { .. } => None,
        }
    }

    fn writes(&self) -> bool {
        match self {
            Steps::SearchAll { .. } | Steps::ListRows { .. } => false,
            Steps::Batch { .. } | Steps::AddMembers { .. } | Steps::RemoveMember { .. } | Steps::Sql { .. } => true,
        }
    }
}

/// The table of pipelines' stages.
pub const STAGES: &str = "pipeline_stages";
/// The table of static lists' members.
pub const MEMBERS: &str = "list_members";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::filter::{MailRelation, Op, Reading, Subject};

    /// One ask of every kind.
    fn samples() -> Vec<Ask> {
        let (table, id) = (|| "contacts".to_owned(), || RecordName::from("c_1"));
        let values =
            || json!({"email": "a@b.example", "n": 12345678901234567890123456789_f64}).as_object().unwrap().clone();
        let page = || PageAsk { limit: 3, cursor: Some("x".into()) };
        let reading = |subject| Reading { subject, op: Op::Gte, values: vec!["1".into()] };
        let readings = vec![
            reading(Subject::Column("n".into())),
            reading(Subject::Key { column: "custom".into(), key: "k".into() }),
            reading(Subject::Mail(MailRelation::FromContact)),
        ];
        let filters = vec![Filter { parameter: "n_gte".into(), readings }];
        let stage = RecordName::Stage { pipeline: PipelineName::Key("sales".into()), key: "won".into() };
        let rows = vec![
            BatchRow::Values(values()),
            BatchRow::UnknownField { name: "nmae".into(), nearest: Some("name".into()) },
            BatchRow::NotAnObject { found: "null".into() },
        ];
        let unknown_stage = UnknownStage::Refuse;
        vec![
            Single::List { table: table(), filters, deleted: Deleted::Only, page: page() }.into(),
            Single::Find {
                table: table(),
                id: stage,
                deleted: Deleted::Include,
                related: Related::Named(vec![table()]),
            }
            .into(),
            Single::Create { table: table(), values: values(), unknown_stage }.into(),
            Single::CreateStage { pipeline: PipelineName::Default, values: values() }.into(),
            Single::Stages { pipeline: PipelineName::Default, page: page() }.into(),
            Single::Update { table: table(), id: id(), values: values(), unknown_stage }.into(),
            Single::Delete { table: table(), id: id(), hard: true }.into(),
            Single::Restore { table: table(), id: id() }.into(),
            Single::Search { table: table(), words: "w".into(), page: page() }.into(),
            Single::Tables.into(),
            Single::Schema.into(),
            Steps::Batch { table: table(), rows, dedup_on: vec!["email".into()] }.into(),
            Steps::SearchAll { words: "w".into(), page: page() }.into(),
            Steps::ListRows { list_id: "l_1".into(), page: page() }.into(),
            Steps::AddMembers { list_id: "l_1".into(), ids: vec!["c_1".into()], several: true }.into(),
            Steps::RemoveMember { list_id: "l_1".into(), id: "c_1".into() }.into(),
            Steps::Sql { sql: "select $1".into(), params: vec![json!([1, null])] }.into(),
        ]
    }

    #[test]
    fn an_ask_can_be_stored() {
        for ask in samples() {
            let stored = serde_json::to_string(&ask).expect("JSON");
            assert_eq!(serde_json::from_str::<Ask>(&stored).expect(&stored), ask, "{stored}");
        }
    }

    #[test]
    fn what_changes_the_catalog_is_known() {
        let check = |ask: Ask, expected| assert_eq!(ask.changes_catalog(), expected, "{ask:?}");
        let sql = |sql: &str| Steps::Sql { sql: sql.to_owned(), params: Vec::new() }.into();
        let delete = |table: &str| Single::Delete { table: table.to_owned(), id: "x".into(), hard: false };
        check(delete("custom_fields").into(), true);
        check(delete("contacts").into(), false);
        check(delete("a_table_of_its_own").into(), false);
        check(sql("select 1"), false);
        check(sql("select 1; create table t (id int)"), true);
        check(sql("insert into custom_fields values ('x')"), true);
        let list = Single::Find {
            table: "custom_fields".into(),
            id: "x".into(),
            deleted: Deleted::Exclude,
            related: Related::All,
        };
        check(list.into(), false);
    }
}
