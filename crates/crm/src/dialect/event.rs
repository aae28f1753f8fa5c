//! Writes events. Only the names and ids in their data differ between dialects.

use serde_json::{Map, Value, json};

use crate::dialect::{Dialect, stored_id};
use crate::model::entity::by_table;
use crate::model::event::{self, Event, EventSource};
use crate::model::fault::Fault;

/// The members of an event. Only `type`, `data` and `previous` matter to who reads one.
const MEMBERS: [&str; 10] =
    ["id", "type", "created_at", "workspace_id", "mode", "data", "previous", "actor", "request_id", "run_id"];

/// Reads an event that a caller writes in a dialect, in the form that the list of events has.
pub fn read(dialect: &Dialect, written: Option<&Value>) -> Result<Event, Fault> {
    let broken =
        |message: String, hint: Option<String>| Fault::ValidationFailed { message, hint, field: Some("event".into()) };
    let form = || {
        Some("Send {\"event\": {\"type\": \"deal.updated\", \"data\": {…}, \"previous\": {…}}}, as GET /v1/events shows one.".into())
    };
    let Some(Value::Object(members)) = written else {
        return Err(broken("\"event\" takes an object: an event.".into(), form()));
    };
    if let Some(name) = members.keys().find(|name| !MEMBERS.contains(&name.as_str()) && *name != "undo_of") {
        return Err(broken(format!("An event has no \"{name}\"."), form()));
    }
    let Some(event_type) = members.get("type").and_then(Value::as_str) else {
        return Err(broken("\"event.type\" must be the type of an event.".into(), form()));
    };
    if let Err((message, hint)) = event::check(event_type) {
        return Err(broken(message, hint));
    }
    let Some((subject, _)) = event_type.rsplit_once('.').filter(|(_, verb)| *verb != "*") else {
        return Err(broken(format!("\"{event_type}\" stands for several events; \"event.type\" is one."), None));
    };
    let table = event::table_of(subject);
    let rows = ["data", "previous"].map(|name| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(row)) => Ok(Some(columns(dialect, table, row))),
        Some(_) => Err(broken(format!("\"event.{name}\" takes an object."), form())),
    });
    let [data, previous] = rows;
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(Event {
        id: text("id").unwrap_or_default(),
        event_type: event_type.to_owned(),
        created_at: text("created_at").unwrap_or_default(),
        table: table.to_owned(),
        data: data?.unwrap_or_default(),
        previous: previous?,
        moves: None,
        actor: text("actor").unwrap_or_default(),
        request_id: text("request_id"),
        run_id: text("run_id"),
        undo_of: None,
    })
}

/// A row by its columns, with stored ids. What is no column's name stays as it is.
fn columns(dialect: &Dialect, table: &str, row: &Map<String, Value>) -> Map<String, Value> {
    let own = by_table(table).into_iter().flat_map(|entity| entity.fields.iter().map(|field| field.name));
    let known: Vec<&str> = own.chain(["custom"]).collect();
    let column_of = |name: &str| {
        let found = known.iter().find(|column| (dialect.change_words.column)(table, column) == name);
        found.filter(|_| by_table(table).is_some()).map_or(name, |column| *column).to_owned()
    };
    let stored = row.iter().filter(|(name, _)| *name != "object").map(|(name, value)| {
        let column = column_of(name);
        let value = match value {
            Value::String(id) if column == "id" || column.ends_with("_id") => stored_id(id).into_owned().into(),
            value => value.clone(),
        };
        (column, value)
    });
    stored.collect()
}

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
