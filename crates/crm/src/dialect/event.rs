//! Writes events. Only the names and ids in their data differ between dialects.

use serde_json::{Map, Value, json};

use crate::model::event::{Event, EventSource};

/// Writes a row of a table, by its columns, in a dialect's names.
pub type Row = fn(&str, &Map<String, Value>) -> Map<String, Value>;

/// The JSON of an event: the payload of a webhook, and an entry of the list of events.
pub fn body(event: &Event, source: EventSource<'_>, record: Row, columns: Row) -> Value {
    let mut data = record(&event.table, &event.data);
    data.extend(event.moves.clone().unwrap_or_default());
    let mut body = json!({
        "id": event.id,
        "type": event.event_type,
        "created_at": event.created_at,
        "workspace_id": source.workspace_id,
        "mode": source.mode,
        "data": data,
    });
    if let Some(previous) = &event.previous {
        body["previous"] = columns(&event.table, previous).into();
    }
    body["actor"] = event.actor.as_str().into();
    body["request_id"] = event.request_id.as_deref().into();
    body["run_id"] = event.run_id.as_deref().into();
    if let Some(undo_of) = &event.undo_of {
        body["undo_of"] = undo_of.as_str().into();
    }
    body
}
