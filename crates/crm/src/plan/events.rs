//! Events from the rows of the change log.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::model::event::{Event, PIPELINE_CHANGED, STAGE_CHANGED, type_of};
use crate::model::rows::Rows;

/// A change, as the log shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its number in the log.
    pub seq: i64,
    /// Its place among the published changes, if it has one.
    pub position: Option<i64>,
    /// The transaction.
    pub xid: u64,
    /// The time, ISO 8601.
    pub at: String,
    /// The actor.
    pub actor: String,
    /// The request, if it was one.
    pub request_id: Option<String>,
    /// The caller's `X-Run-Id`.
    pub run_id: Option<String>,
    /// What the run undoes.
    pub undo_of: Option<String>,
    /// The table.
    pub table: String,
    /// The row's key, as text.
    pub key: String,
    /// Whether the row was updated, and not inserted or deleted.
    pub is_update: bool,
    /// `created`, `updated`, `deleted` or `restored`.
    pub verb: String,
    /// The row.
    pub image: Map<String, Value>,
    /// The previous values of the columns that changed.
    pub previous: Map<String, Value>,
    /// The length of both as JSON.
    pub bytes: usize,
}

/// The deepest nesting of a column that is shown. PostgreSQL stores what parsers of JSON refuse, Kith's own among them, and an event
/// nests the column in objects of its own.
const MOST_LEVELS: usize = 100;

impl Change {
    /// Reads a row. Returns `None` if it has no change. What can't be parsed of the row is left out.
    pub fn read(rows: &Rows, row: usize) -> Option<Change> {
        let number = |name| std::str::from_utf8(rows.named(row, name)?).ok()?.parse().ok();
        let json = |name| rows.named(row, name).unwrap_or_default();
        Some(Change {
            seq: number("seq")?,
            position: number("position"),
            xid: rows.string(row, "xid")?.parse().ok()?,
            at: rows.string(row, "at")?,
            actor: rows.string(row, "actor")?,
            request_id: rows.string(row, "request_id"),
            run_id: rows.string(row, "run_id"),
            undo_of: rows.string(row, "undo_of"),
            table: rows.string(row, "table")?,
            key: rows.string(row, "key")?,
            is_update: rows.string(row, "op")? == "U",
            verb: rows.string(row, "verb")?,
            image: columns(json("image")),
            previous: columns(json("previous")),
            bytes: json("image").len() + json("previous").len(),
        })
    }

    /// Leaves the row out, except its id.
    pub fn forget_row(&mut self) {
        self.image.retain(|name, value| name == ID && (value.is_string() || value.is_number()));
        self.previous.clear();
        self.bytes = 0;
    }

    /// The record that it is about. Events of one subject are sent in order.
    pub fn subject(&self) -> String {
        format!("{} {}", self.table, self.key)
    }

    /// Its events: one, and for a deal one more if the stage changed, and one if the pipeline changed. `id` makes the id of an
    /// event from its number among them.
    pub fn events(&self, id: impl Fn(usize) -> String) -> Vec<Event> {
        let mut types = vec![type_of(&self.table, &self.verb)];
        if self.is_update && self.table == DEALS {
            let moved = [(STAGE, STAGE_CHANGED), (PIPELINE, PIPELINE_CHANGED)];
            let changed = moved.into_iter().filter(|(column, _)| self.previous.contains_key(*column));
            types.extend(changed.map(|(_, event_type)| event_type.to_owned()));
        }
        let event = |(at, event_type): (usize, String)| Event {
            id: id(at),
            moves: (at > 0).then(|| self.moves()),
            event_type,
            created_at: self.at.clone(),
            table: self.table.clone(),
            data: self.image.clone(),
            previous: Some(self.previous.clone()).filter(|previous| self.is_update && !previous.is_empty()),
            actor: self.actor.clone(),
            request_id: self.request_id.clone(),
            run_id: self.run_id.clone(),
            undo_of: self.undo_of.clone(),
        };
        types.into_iter().enumerate().map(event).collect()
    }

    /// The old and new stage and pipeline of a deal.
    fn moves(&self) -> Map<String, Value> {
        let new = |column: &str| self.image.get(column).cloned().unwrap_or(Value::Null);
        let old = |column: &str| self.previous.get(column).cloned().unwrap_or_else(|| new(column));
        let named = [
            ("old_stage", old(STAGE)),
            ("new_stage", new(STAGE)),
            ("old_pipeline", old(PIPELINE)),
            ("new_pipeline", new(PIPELINE)),
        ];
        named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// The most events of one change: an update of a deal, its new stage and its new pipeline.
pub const MOST_EVENTS: usize = 3;

const ID: &str = "id";
const DEALS: &str = "deals";
const STAGE: &str = "stage";
const PIPELINE: &str = "pipeline";

/// The columns of a row that can be shown.
fn columns(row: &[u8]) -> Map<String, Value> {
    let mut columns = serde_json::from_slice(row).unwrap_or_else(|_| readable(row));
    columns.retain(|_, value| has_at_most(MOST_LEVELS, value));
    columns
}

/// The columns that can be parsed, each by itself.
fn readable(row: &[u8]) -> Map<String, Value> {
    let texts: BTreeMap<String, &RawValue> = serde_json::from_slice(row).unwrap_or_default();
    texts.into_iter().filter_map(|(name, text)| Some((name, serde_json::from_str(text.get()).ok()?))).collect()
}

fn has_at_most(levels: usize, value: &Value) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| has_at_most(levels - 1, item)),
        Value::Object(fields) => levels > 0 && fields.values().all(|field| has_at_most(levels - 1, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// A snapshot of a database: the transactions that had ended when it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    first_running: u64,
    next: u64,
    running: Vec<u64>,
}

impl Snapshot {
    /// Parses PostgreSQL's text form: `10:20:10,14,15`.
    pub fn parse(text: &str) -> Option<Snapshot> {
        let mut parts = text.split(':');
        let (first_running, next) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let running = parts.next()?.split(',').filter(|it| !it.is_empty()).map(str::parse).collect::<Result<_, _>>();
        Some(Snapshot { first_running, next, running: running.ok()? })
    }

    /// A number that grows from an older snapshot to a newer one.
    pub fn order(&self) -> (u64, u64, u64) {
        // Of two with the same bounds, the one in which more transactions run is older.
        (self.next, self.first_running, u64::MAX - self.running.len() as u64)
    }

    /// Whether a transaction had ended.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.first_running || (xid < self.next && !self.running.contains(&xid))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let snapshot = Snapshot::parse("10:20:10,14,15").unwrap();
        let seen: Vec<u64> = [9, 10, 11, 14, 15, 19, 20, 21].into_iter().filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [9, 11, 19]);
        assert!(Snapshot::parse("5:5:").unwrap().sees(4));
        assert!(Snapshot::parse("5:5").is_none() && Snapshot::parse("").is_none());
    }

    fn change(table: &str, verb: &str, previous: Value) -> Change {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        Change {
            seq: 1,
            position: None,
            xid: 7,
            at: "2026-01-01T00:00:00+00:00".into(),
            actor: "api_key:ak_1".into(),
            request_id: None,
            run_id: None,
            undo_of: None,
            table: table.into(),
            key: "d_1".into(),
            is_update: !previous.is_null(),
            verb: verb.into(),
            image: object(json!({"id": "d_1", "stage": "won", "pipeline": "sales"})),
            previous: object(previous),
            bytes: 0,
        }
    }

    #[test]
    fn a_row_is_shown_without_what_cannot_be_parsed() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let shown = |value: &str| columns(format!(r#"{{"id": "c_1", "custom": {value}}}"#).as_bytes());
        for fine in ["1e400", "null", &nested(MOST_LEVELS)] {
            assert_eq!(shown(fine).len(), 2, "{fine}");
        }
        let made_up = r#"{"a": {"$serde_json::private::RawValue": "[1"}}"#;
        for bad in [&*nested(MOST_LEVELS + 1), &nested(127), &nested(5000), made_up] {
            assert_eq!(Value::Object(shown(bad)), json!({"id": "c_1"}), "{bad}");
        }
        assert!(columns(b"null").is_empty() && columns(b"").is_empty());
    }

    #[test]
    fn a_deal_that_moves_has_events_of_its_own() {
        let types = |change: Change| {
            change.events(|at| format!("evt_{at}")).into_iter().map(|it| it.event_type).collect::<Vec<_>>()
        };
        assert_eq!(types(change("deals", "created", Value::Null)), ["deal.created"]);
        assert_eq!(types(change("deals", "updated", json!({"name": "x"}))), ["deal.updated"]);
        assert_eq!(types(change("deals", "updated", json!({"stage": "lead"}))), ["deal.updated", "deal.stage_changed"]);
        assert_eq!(types(change("invoices", "updated", json!({"stage": "lead"}))), ["invoices.updated"]);
        let both = change("deals", "updated", json!({"stage": "lead", "pipeline": "old"}));
        let events = both.events(|at| format!("evt_{at}"));
        assert_eq!(events[2].event_type, "deal.pipeline_changed");
        let moves = events[1].moves.clone().unwrap();
        assert_eq!(
            Value::Object(moves),
            json!({"old_stage": "lead", "new_stage": "won", "old_pipeline": "old", "new_pipeline": "sales"})
        );
        assert_eq!(events[0].moves, None);
    }
}
