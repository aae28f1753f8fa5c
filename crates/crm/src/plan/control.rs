//! Checks the fields of asks about the control plane, and turns them into what is stored.

use serde_json::{Map, Value};

use crate::model::event;
use crate::model::fault::Fault;
use crate::model::value::name_of;

/// Longest address of a webhook, in characters.
/// The most characters of an address, as it is sent and in its normal form.
pub const MAX_URL_CHARACTERS: usize = 2048;
/// Longest description, in characters.
const MAX_DESCRIPTION_CHARACTERS: usize = 1000;
/// Most events that a webhook can name.
const MAX_EVENTS: usize = 100;

const WEBHOOK_FIELDS: [&str; 4] = ["url", "events", "enabled", "description"];

/// The fields of a webhook endpoint that a request sets. The address is not parsed yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebhookFields {
    /// The address.
    pub url: Option<String>,
    /// The patterns of the events.
    pub events: Option<Vec<String>>,
    /// Whether events are sent.
    pub enabled: Option<bool>,
    /// The description; `Some(None)` removes it.
    pub description: Option<Option<String>>,
}

/// Checks the fields of a new webhook endpoint.
pub fn new_webhook(values: &Map<String, Value>) -> Result<WebhookFields, Fault> {
    let fields = webhook(values)?;
    for (field, is_there) in [("url", fields.url.is_some()), ("events", fields.events.is_some())] {
        if !is_there {
            return Err(broken(field, format!("\"{field}\" must have a value."), None));
        }
    }
    Ok(fields)
}

/// Checks the fields of a webhook endpoint. Those that the request leaves out are `None`.
pub fn webhook(values: &Map<String, Value>) -> Result<WebhookFields, Fault> {
    only(values, &WEBHOOK_FIELDS)?;
    let url = text(values, "url", MAX_URL_CHARACTERS)?.map(|url| url.ok_or_else(|| missing("url"))).transpose()?;
    let description = text(values, "description", MAX_DESCRIPTION_CHARACTERS)?;
    Ok(WebhookFields { url, events: events(values)?, enabled: flag(values, "enabled")?, description })
}

fn events(values: &Map<String, Value>) -> Result<Option<Vec<String>>, Fault> {
    let items = match values.get("events") {
        None => return Ok(None),
        Some(Value::Array(items)) => items,
        Some(Value::Null) => return Err(missing("events")),
        Some(other) => {
            return Err(Fault::invalid_with_hint(
                format!("\"events\" takes an array of names, not {}.", name_of(other)),
                "Send [\"contact.created\", \"deal.*\"], or [\"*\"] for everything.",
            ));
        }
    };
    if items.is_empty() || items.len() > MAX_EVENTS {
        let message = format!("\"events\" has 1 to {MAX_EVENTS} names.");
        return Err(broken("events", message, Some("[\"*\"] chooses everything.".into())));
    }
    let mut events: Vec<String> = Vec::with_capacity(items.len());
    for item in items {
        let Value::String(name) = item else {
            return Err(Fault::invalid(format!("\"events\" takes names, not {}.", name_of(item))));
        };
        event::check(name).map_err(|(message, hint)| broken("events", message, hint))?;
        if !events.contains(name) {
            events.push(name.clone());
        }
    }
    Ok(Some(events))
}

/// The time of a `replay-failed` request, as the request writes it.
pub fn since(values: &Map<String, Value>) -> Result<String, Fault> {
    only(values, &["since"])?;
    text(values, "since", 100)?.flatten().ok_or_else(|| missing("since"))
}

/// Refuses fields that are not in `known`.
pub(super) fn only(values: &Map<String, Value>, known: &[&str]) -> Result<(), Fault> {
    match values.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Fault::unknown_field(name, known.iter().copied())),
    }
}

/// A text; `Some(None)` is null.
pub(super) fn text(values: &Map<String, Value>, name: &str, most: usize) -> Result<Option<Option<String>>, Fault> {
    match values.get(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(text)) if text.contains('\0') => {
            Err(Fault::invalid(format!("\"{name}\" contains a NUL character, which PostgreSQL does not take.")))
        }
        Some(Value::String(text)) if text.chars().count() > most => {
            Err(broken(name, format!("\"{name}\" has at most {most} characters."), None))
        }
        Some(Value::String(text)) => Ok(Some(Some(text.clone()))),
        Some(other) => Err(Fault::invalid(format!("\"{name}\" takes a string, not {}.", name_of(other)))),
    }
}

pub(super) fn flag(values: &Map<String, Value>, name: &str) -> Result<Option<bool>, Fault> {
    match values.get(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(Value::Null) => Err(missing(name)),
        Some(other) => Err(Fault::invalid(format!("\"{name}\" takes true or false, not {}.", name_of(other)))),
    }
}

pub(super) fn missing(field: &str) -> Fault {
    broken(field, format!("\"{field}\" must have a value."), None)
}

pub(super) fn broken(field: &str, message: String, hint: Option<String>) -> Fault {
    Fault::ValidationFailed { message, hint, field: Some(field.to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn a_webhook_has_an_address_and_events() {
        let made = new_webhook(&fields(json!({"url": "https://a.example/", "events": ["*", "*", "deal.updated"]})));
        assert_eq!(made.unwrap().events, Some(vec!["*".to_owned(), "deal.updated".to_owned()]));
        let check = |value: Value, status: u16, said: &str| {
            let fault = new_webhook(&fields(value.clone())).expect_err("a refusal");
            assert_eq!(fault.status(), status, "{value}");
            let all = format!("{} {}", fault.message(), fault.hint().unwrap_or_default());
            assert!(all.contains(said), "{value}: {all}");
        };
        check(json!({"events": ["*"]}), 422, "\"url\"");
        check(json!({"url": "https://a.example/"}), 422, "\"events\"");
        check(json!({"url": "https://a.example/", "events": []}), 422, "1 to 100");
        check(json!({"url": "https://a.example/", "events": "*"}), 400, "an array");
        check(json!({"url": "https://a.example/", "events": ["contacts.created"]}), 422, "contact.created");
        check(json!({"url": 1, "events": ["*"]}), 400, "a string");
        check(json!({"url": "https://a.example/", "events": ["*"], "enabled": "yes"}), 400, "true or false");
        check(json!({"url": "https://a.example/", "event": ["*"]}), 400, "events");
    }

    #[test]
    fn a_change_may_leave_everything_out() {
        assert_eq!(webhook(&Map::new()).unwrap(), WebhookFields::default());
        let fields = webhook(&fields(json!({"description": null, "enabled": false}))).unwrap();
        assert_eq!((fields.description, fields.enabled), (Some(None), Some(false)));
    }
}
