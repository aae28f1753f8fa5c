//! Changes of rows, as the change log has them.

use serde_json::{Map, Value};

use crate::model::rows::Rows;

/// Maximum number of changes that the answer to a dry run shows.
pub const MAX_SHOWN: usize = 200;

/// A change of a row, in the names of the physical schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The table.
    pub table: String,
    /// The row's key; an object if it has several columns.
    pub id: Value,
    /// `created`, `updated`, `deleted` or `restored`.
    pub verb: String,
    /// Whether the row was removed permanently.
    pub hard: bool,
    /// The columns that changed: `{column: {"from", "to"}}`.
    pub columns: Map<String, Value>,
    /// `request`, `cascade` or `trigger`.
    pub via: String,
    /// The change's place in the log, if it is listed by itself.
    pub entry: Option<LogEntry>,
}

/// The place of a change in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// The number of the change.
    pub seq: String,
    /// The time, in ISO 8601.
    pub at: Value,
    /// The request that made it, or null.
    pub request_id: Value,
    /// The entry in the activity feed, or null.
    pub activity_id: Value,
}

/// What a request changed or would change.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ChangeSet {
    /// The numbers of rows: `{table: {"created", "updated", "deleted", "restored"}}`.
    pub affected: Value,
    /// The first changes.
    pub changes: Vec<Change>,
    /// Whether there are more.
    pub truncated: bool,
}

impl ChangeSet {
    /// Reads what a transaction has changed from its columns `affected`, `changes` and `truncated`.
    pub fn read(rows: &Rows) -> Option<ChangeSet> {
        let affected = serde_json::from_slice(rows.named(0, "affected")?).ok()?;
        let Value::Array(changes) = serde_json::from_slice(rows.named(0, "changes")?).ok()? else { return None };
        let truncated = serde_json::from_slice(rows.named(0, "truncated")?).ok()?;
        let changes = changes.into_iter().map(|it| Change::read(it, false)).collect::<Option<_>>()?;
        Some(ChangeSet { affected, changes, truncated })
    }

    /// No change.
    pub fn empty() -> ChangeSet {
        ChangeSet { affected: Value::Object(Map::new()), ..ChangeSet::default() }
    }
}

impl Change {
    /// Reads a change from the JSON of the database. `is_listed` says whether its place in the log is wanted.
    pub fn read(json: Value, is_listed: bool) -> Option<Change> {
        let Value::Object(mut members) = json else { return None };
        let mut take = |name: &str| members.remove(name).unwrap_or(Value::Null);
        let text = |value: Value| if let Value::String(text) = value { Some(text) } else { None };
        let (table, verb, via) = (text(take("table"))?, text(take("verb"))?, text(take("via"))?);
        let Value::Object(columns) = take("changes") else { return None };
        let hard = take("hard") == Value::Bool(true);
        let id = take("id");
        let entry = is_listed.then(|| LogEntry {
            seq: take("seq").to_string(),
            at: take("at"),
            request_id: take("request_id"),
            activity_id: take("activity_id"),
        });
        Some(Change { table, id, verb, hard, columns, via, entry })
    }
}
