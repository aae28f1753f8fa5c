//! Automations: checks a rule when it is saved, decides whether an event meets its conditions, and turns its actions into asks.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::model::ask::{Ask, Single, Steps, UnknownStage};
use crate::model::email::Mailbox;
use crate::model::event::{self, Event};
use crate::model::fault::Fault;
use crate::model::value::name_of;
use crate::plan::control::{broken, flag, missing, only, text};
use crate::plan::placeholder::{ColumnLookUp, TextForm, fill, placeholders};

/// An automation's writes are one deeper than the event that fired it. Events of this depth fire none.
pub const MAX_DEPTH: i64 = 2;
/// Most conditions, and most actions, of an automation.
const MAX_PARTS: usize = 50;
const MAX_NAME_CHARACTERS: usize = 200;
const MAX_TEXT_CHARACTERS: usize = 10_000;

const FIELDS: [&str; 5] = ["name", "trigger_event", "enabled", "conditions", "actions"];
/// The types of actions.
pub const ACTION_TYPES: [&str; 4] = ["move_deal_stage", "create_activity", "set_metadata", "send_email"];
/// The operators of conditions.
pub const OPS: [&str; 5] = ["eq", "neq", "contains", "exists", "in"];
/// The types of the activities that actions log.
pub const KINDS: [&str; 5] = ["note", "email", "call", "meeting", "task"];
/// The records on which an action can set metadata.
pub const TARGETS: [&str; 4] = ["auto", "contact", "deal", "company"];

/// The fields of an automation that a request sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AutomationFields {
    /// Its name.
    pub name: Option<String>,
    /// The pattern of the events that fire it.
    pub trigger_event: Option<String>,
    /// Whether events fire it.
    pub enabled: Option<bool>,
    /// Its conditions. All of them must hold.
    pub conditions: Option<Vec<Value>>,
    /// Its actions, in order.
    pub actions: Option<Vec<Value>>,
}

/// The ids of the records that an event is about, as the database stores them.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Context {
    /// The record of the event itself: `contact`, `deal` or `company`; `None` for another one.
    pub own: Option<String>,
    /// The contact.
    pub contact: Option<String>,
    /// The deal.
    pub deal: Option<String>,
    /// The company.
    pub company: Option<String>,
}

/// Checks the fields of a new automation.
pub fn new_automation(values: &Map<String, Value>, columns: ColumnLookUp) -> Result<AutomationFields, Fault> {
    let fields = automation(values, columns)?;
    let there = [
        ("name", fields.name.is_some()),
        ("trigger_event", fields.trigger_event.is_some()),
        ("actions", fields.actions.is_some()),
    ];
    match there.into_iter().find(|(_, is_there)| !is_there) {
        Some((name, _)) => Err(missing(name)),
        None => Ok(fields),
    }
}

/// Checks the fields of an automation. Those that the request leaves out are `None`. `columns` knows the names in placeholders.
pub fn automation(values: &Map<String, Value>, columns: ColumnLookUp) -> Result<AutomationFields, Fault> {
    only(values, &FIELDS)?;
    let required = |name: &'static str, most| {
        let text =
            text(values, name, most)?.map(|text| text.filter(|it| !it.trim().is_empty()).ok_or_else(|| missing(name)));
        text.transpose()
    };
    let trigger_event = required("trigger_event", 200)?;
    if let Some(trigger) = &trigger_event {
        event::check(trigger).map_err(|(message, hint)| broken("trigger_event", message, hint))?;
    }
    let conditions = parts(values, "conditions", &condition)?;
    let actions = parts(values, "actions", &|part, path| action(part, path, columns))?;
    if actions.as_ref().is_some_and(Vec::is_empty) {
        return Err(broken("actions", "\"actions\" has at least one action.".into(), None));
    }
    let name = required("name", MAX_NAME_CHARACTERS)?;
    Ok(AutomationFields { name, trigger_event, enabled: flag(values, "enabled")?, conditions, actions })
}

type RulePart<'a> = &'a dyn Fn(&Map<String, Value>, &str) -> Result<(), Fault>;

fn parts(values: &Map<String, Value>, name: &str, check: RulePart<'_>) -> Result<Option<Vec<Value>>, Fault> {
    let items = match values.get(name) {
        None => return Ok(None),
        Some(Value::Array(items)) => items,
        Some(Value::Null) => return Err(missing(name)),
        Some(other) => return Err(Fault::invalid(format!("\"{name}\" takes an array, not {}.", name_of(other)))),
    };
    if items.len() > MAX_PARTS {
        return Err(broken(name, format!("\"{name}\" has at most {MAX_PARTS} parts."), None));
    }
    for (at, item) in items.iter().enumerate() {
        let path = format!("{name}[{at}]");
        match item {
            Value::Object(part) => check(part, &path)?,
            other => return Err(broken(&path, format!("{path} takes an object, not {}.", name_of(other)), None)),
        }
    }
    Ok(Some(items.clone()))
}

/// A text of a part. The error names its path.
fn part_text<'a>(part: &'a Map<String, Value>, path: &str, name: &str) -> Result<Option<&'a str>, Fault> {
    let path = format!("{path}.{name}");
    match part.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.chars().count() > MAX_TEXT_CHARACTERS || text.contains('\0') => {
            Err(broken(&path, format!("{path} has at most {MAX_TEXT_CHARACTERS} characters, and no NUL."), None))
        }
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(broken(&path, format!("{path} takes a string, not {}.", name_of(other)), None)),
    }
}

fn one_of(part: &Map<String, Value>, path: &str, name: &str, known: &[&str]) -> Result<Option<String>, Fault> {
    match part_text(part, path, name)? {
        Some(text) if !known.contains(&text) => {
            let message = format!("{path}.{name}: there is no \"{text}\"; there are {}.", known.join(", "));
            Err(broken(&format!("{path}.{name}"), message, None))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

fn needed<T>(value: Option<T>, path: &str, name: &str) -> Result<T, Fault> {
    value.ok_or_else(|| broken(&format!("{path}.{name}"), format!("{path}.{name} must have a value."), None))
}

fn known(part: &Map<String, Value>, path: &str, names: &[&str]) -> Result<(), Fault> {
    match part.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => {
            let message = format!("{path} has no field \"{name}\"; there are {}.", names.join(", "));
            Err(broken(&format!("{path}.{name}"), message, None))
        }
        None => Ok(()),
    }
}

fn condition(part: &Map<String, Value>, path: &str) -> Result<(), Fault> {
    known(part, path, &["field", "op", "value"])?;
    needed(part_text(part, path, "field")?.filter(|it| !it.trim().is_empty()), path, "field")?;
    let op = needed(one_of(part, path, "op", &OPS)?, path, "op")?;
    match (op.as_str(), part.get("value")) {
        ("exists", None | Some(Value::Bool(_))) | ("in", Some(Value::Array(_))) => Ok(()),
        ("exists", _) => {
            Err(broken(&format!("{path}.value"), format!("{path}.value is true, false or left out."), None))
        }
        ("in", _) => Err(broken(&format!("{path}.value"), format!("{path}.value takes an array."), None)),
        (_, Some(_)) => Ok(()),
        (_, None) => needed(None, path, "value"),
    }
}

fn action(part: &Map<String, Value>, path: &str, columns: ColumnLookUp) -> Result<(), Fault> {
    match needed(one_of(part, path, "type", &ACTION_TYPES)?, path, "type")?.as_str() {
        "move_deal_stage" => {
            known(part, path, &["type", "stage", "pipeline"])?;
            part_text(part, path, "pipeline")?;
            needed(part_text(part, path, "stage")?.filter(|it| !it.trim().is_empty()), path, "stage").map(drop)
        }
        "create_activity" => {
            known(part, path, &["type", "activity_type", "subject", "body"])?;
            part_text(part, path, "subject")?;
            part_text(part, path, "body")?;
            needed(one_of(part, path, "activity_type", &KINDS)?, path, "activity_type").map(drop)
        }
        "set_metadata" => {
            known(part, path, &["type", "target", "key", "value"])?;
            one_of(part, path, "target", &TARGETS)?;
            needed(part_text(part, path, "key")?.filter(|it| !it.trim().is_empty()), path, "key")?;
            needed(part.get("value"), path, "value").map(drop)
        }
        _ => email(part, path, columns),
    }
}

/// The texts of an e-mail that can have placeholders, and how their values are written.
const TEXTS: [(&str, TextForm); 4] =
    [("to", TextForm::Address), ("subject", TextForm::Line), ("html", TextForm::Html), ("text", TextForm::Text)];

fn email(part: &Map<String, Value>, path: &str, columns: ColumnLookUp) -> Result<(), Fault> {
    known(part, path, &["type", "to", "subject", "html", "text", "from"])?;
    let refused = |name: &str, said: String| broken(&format!("{path}.{name}"), format!("{path}.{name}: {said}"), None);
    for (name, written) in TEXTS {
        let Some(text) = part_text(part, path, name)? else { continue };
        placeholders(text, columns).map_err(|said| refused(name, said))?;
        if matches!(written, TextForm::Line | TextForm::Address) && text.chars().any(char::is_control) {
            return Err(refused(name, "It is one line, without line breaks and control characters.".into()));
        }
    }
    let to = needed(part_text(part, path, "to")?.filter(|it| !it.trim().is_empty()), path, "to")?;
    needed(part_text(part, path, "subject")?.filter(|it| !it.trim().is_empty()), path, "subject")?;
    let from = part_text(part, path, "from")?;
    for (name, text) in [("to", Some(to).filter(|it| !it.contains("{{"))), ("from", from)] {
        let Some(text) = text else { continue };
        let is_fine = match Mailbox::parse_list(text) {
            Ok(found) => !found.is_empty() && (name == "to" || found.len() == 1),
            Err(_) => false,
        };
        if !is_fine {
            return Err(refused(name, "It is no e-mail address such as ada@example.com.".into()));
        }
    }
    Ok(())
}

/// The records that the placeholders of an action name: `contact`, `company`, `deal`.
pub fn subjects(action: &Value, columns: ColumnLookUp) -> Vec<&'static str> {
    let texts = TEXTS.iter().filter_map(|(name, _)| action[*name].as_str());
    let all = texts.flat_map(|text| placeholders(text, columns).unwrap_or_default());
    let mut subjects: Vec<&'static str> = all.map(|it| it.subject).collect();
    subjects.sort_unstable();
    subjects.dedup();
    subjects
}

/// An action with its placeholders filled. `records` has the columns of each subject that the event is about.
pub fn filled(action: &Value, columns: ColumnLookUp, records: &Map<String, Value>) -> Result<Value, String> {
    let mut filled = action.clone();
    if action["type"] != "send_email" {
        return Ok(filled);
    }
    for (name, written) in TEXTS {
        if let Some(text) = action[name].as_str() {
            filled[name] = fill(text, written, columns, |subject| records.get(subject)?.as_object())?.into();
        }
    }
    Ok(filled)
}

/// Whether an event's body meets all conditions. A field is a path into `data`; one that begins with `previous` is a path into
/// the previous values.
/// `stored` knows the stored form of ids: a condition may name a record with the prefix of any dialect.
pub fn meets(conditions: &[Value], body: &Value, stored: StoredForm) -> bool {
    conditions.iter().all(|condition| holds(condition, body, stored))
}

/// Each condition with the value that was `found`, and whether it `holds`.
pub fn explain(conditions: &[Value], body: &Value, stored: StoredForm) -> Vec<Value> {
    let explained = conditions.iter().map(|condition| {
        let mut explained = condition.clone();
        let found = find(body, condition["field"].as_str().unwrap_or_default());
        explained["found"] = found.cloned().unwrap_or_default();
        explained["holds"] = holds(condition, body, stored).into();
        explained
    });
    explained.collect()
}

/// Returns an id in its stored form, and any other text unchanged.
pub type StoredForm = fn(&str) -> Cow<'_, str>;

fn holds(condition: &Value, body: &Value, stored: StoredForm) -> bool {
    let same = |found, wanted| same(found, wanted, stored);
    let field = condition["field"].as_str().unwrap_or_default();
    let found = find(body, field).filter(|value| !value.is_null());
    let (wanted, op) = (&condition["value"], condition["op"].as_str().unwrap_or_default());
    match op {
        "exists" => found.is_some() == wanted.as_bool().unwrap_or(true),
        "eq" => same(found, wanted),
        "neq" => !same(found, wanted),
        "in" => wanted.as_array().is_some_and(|wanted| wanted.iter().any(|wanted| same(found, wanted))),
        "contains" => match (found, wanted) {
            (Some(Value::String(text)), Value::String(part)) => {
                text.to_lowercase().contains(&part.to_lowercase()) || same(found, wanted)
            }
            (Some(Value::Array(items)), wanted) => items.iter().any(|item| same(Some(item), wanted)),
            _ => false,
        },
        _ => false,
    }
}

fn find<'a>(body: &'a Value, field: &str) -> Option<&'a Value> {
    let (start, path) = match field.strip_prefix("previous.") {
        Some(path) => (&body["previous"], path),
        None => (&body["data"], field),
    };
    path.split('.').try_fold(start, |value, key| value.get(key))
}

/// Equality of values. Numbers are equal if they mean the same: 1 and 1.0.
fn same(found: Option<&Value>, wanted: &Value, stored: StoredForm) -> bool {
    match (found, wanted) {
        (None, wanted) => wanted.is_null(),
        (Some(Value::Number(found)), Value::Number(wanted)) => found == wanted || found.as_f64() == wanted.as_f64(),
        (Some(Value::String(found)), Value::String(wanted)) => found == wanted || stored(found) == stored(wanted),
        (Some(Value::Array(found)), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found.iter().zip(wanted).all(|(found, wanted)| same(Some(found), wanted, stored))
        }
        (Some(found), wanted) => found == wanted,
    }
}

/// The records that an event is about.
pub fn context_of(event: &Event) -> Context {
    let id = |column: &str| event.data.get(column).and_then(Value::as_str).map(str::to_owned);
    let mut context = Context { own: None, contact: id("contact_id"), deal: id("deal_id"), company: id("company_id") };
    let own = match event.table.as_str() {
        "contacts" => Some(("contact", &mut context.contact)),
        "deals" => Some(("deal", &mut context.deal)),
        "companies" => Some(("company", &mut context.company)),
        _ => None,
    };
    if let Some((name, place)) = own {
        *place = id("id");
        context.own = Some(name.to_owned());
    }
    context
}

/// The ask of an action. The error says what the event lacks.
pub fn ask(action: &Value, context: &Context) -> Result<Ask, String> {
    let said = |name: &str| action.get(name).filter(|value| !value.is_null()).cloned();
    let object = |value: Value| value.as_object().cloned().unwrap_or_default();
    let update = |table: &str, id: &str, values: Map<String, Value>| {
        Ask::from(Single::Update { table: table.into(), id: id.into(), values, unknown_stage: UnknownStage::Refuse })
    };
    match action["type"].as_str().unwrap_or_default() {
        "move_deal_stage" => {
            let deal = context.deal.as_deref().ok_or("The event is about no deal.")?;
            let mut values = object(json!({"stage": said("stage")}));
            if let Some(pipeline) = said("pipeline") {
                values.insert("pipeline".into(), pipeline);
            }
            Ok(update("deals", deal, values))
        }
        "create_activity" => {
            let values = json!({"type": said("activity_type"), "subject": said("subject"), "body": said("body"),
                "contact_id": context.contact, "deal_id": context.deal, "company_id": context.company});
            let values = object(values).into_iter().filter(|(_, value)| !value.is_null()).collect();
            Ok(Single::Create { table: "activities".into(), values, unknown_stage: UnknownStage::Refuse }.into())
        }
        "set_metadata" => {
            let target = action["target"].as_str().unwrap_or("auto");
            let ids = [
                ("deal", "deals", &context.deal),
                ("contact", "contacts", &context.contact),
                ("company", "companies", &context.company),
            ];
            let wanted = match target {
                "auto" => context.own.as_deref(),
                target => Some(target),
            };
            let found =
                ids.into_iter().find(|(name, _, id)| id.is_some() && wanted.is_none_or(|wanted| wanted == *name));
            let (_, table, id) =
                found.ok_or_else(|| format!("The event is about no {}.", wanted.unwrap_or("record")))?;
            let key = action["key"].as_str().unwrap_or_default();
            Ok(update(table, id.as_deref().unwrap_or_default(), object(json!({"custom": {key: action["value"]}}))))
        }
        "send_email" => {
            let text = match (said("html"), said("text")) {
                // A message has a body.
                (None, None) => said("subject"),
                (_, text) => text,
            };
            let values = json!({"from": said("from"), "to": said("to"), "subject": said("subject"), "html": said("html"), "text": text});
            Ok(Steps::SendEmail { values: object(values) }.into())
        }
        other => Err(format!("There is no action \"{other}\".")),
    }
}

impl Context {
    /// The id of a subject of placeholders.
    pub fn id_of(&self, subject: &str) -> Option<&str> {
        match subject {
            "contact" => self.contact.as_deref(),
            "company" => self.company.as_deref(),
            "deal" => self.deal.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entity::Entity;
    use crate::plan::automation_stages::check_stages;

    fn column(entity: &Entity, name: &str) -> Option<&'static str> {
        entity.columns().find(|field| field.name == name).map(|field| field.name)
    }

    #[test]
    fn a_rule_is_checked_and_the_error_names_the_path() {
        let check = |value: Value, said: &str| {
            let values = value.as_object().cloned().unwrap_or_default();
            let fault = new_automation(&values, column).expect_err("a refusal");
            assert!(fault.message().contains(said), "{value}: {}", fault.message());
        };
        let with = |name: &str, value: Value| {
            let mut rule = json!({"name": "R", "trigger_event": "deal.*", "actions": [{"type": "move_deal_stage", "stage": "won"}]});
            rule[name] = value;
            rule
        };
        assert!(new_automation(with("conditions", json!([])).as_object().unwrap(), column).is_ok());
        check(json!({"name": "R", "trigger_event": "*"}), "\"actions\"");
        check(with("trigger_event", json!("deals.created")), "deals.created");
        check(with("actions", json!([])), "at least one");
        check(with("actions", json!([{"type": "move_deal_stage"}])), "actions[0].stage must have a value");
        check(
            with("actions", json!([{"type": "move_deal_stage", "stage": " "}])),
            "actions[0].stage must have a value",
        );
        check(with("actions", json!([{"type": "fly"}])), "there are move_deal_stage");
        check(
            with("actions", json!([{"type": "create_activity", "activity_type": "fax"}])),
            "actions[0].activity_type",
        );
        let email = |name: &str, value: Value| {
            let mut action = json!({"type": "send_email", "to": "a@b.example", "subject": "x"});
            action[name] = value;
            with("actions", json!([action]))
        };
        for (name, value) in [
            ("to", json!("{{contact.email}}")),
            ("html", json!("<p>{{deal.name}}")),
            ("from", json!("A <a@b.example>")),
        ] {
            assert!(new_automation(email(name, value).as_object().unwrap(), column).is_ok(), "{name}");
        }
        check(email("subject", json!("{{contact.nmae}}")), "actions[0].subject: There is no {{contact.nmae}}");
        check(email("to", json!("nobody")), "actions[0].to");
        check(email("to", Value::Null), "actions[0].to must have a value");
        check(email("subject", json!("a\r\nBcc: x@y.example")), "actions[0].subject");
        check(email("from", json!("{{contact.email}}")), "actions[0].from");
        check(email("cc", json!("a@b.example")), "actions[0] has no field \"cc\"");
        check(with("conditions", json!([{"field": "a", "op": "like", "value": 1}])), "conditions[0].op");
        check(
            with("conditions", json!([{"field": "a", "op": "in", "value": 1}])),
            "conditions[0].value takes an array",
        );
    }

    #[test]
    fn a_stage_must_exist_in_the_pipeline_or_in_any() {
        let pair = |pipeline: &str, stage: &str| (pipeline.to_owned(), stage.to_owned());
        let stages = [pair("sales", "lead"), pair("sales", "won"), pair("renewals", "won"), pair("renewals", "due")];
        let check = |action: Value| check_stages(&[json!({"type": "set_metadata"}), action], &stages);
        let said = |action: Value| check(action).expect_err("a refusal").message().to_string();
        assert_eq!(check(json!({"type": "move_deal_stage", "stage": "due"})), Ok(()));
        assert_eq!(check(json!({"type": "move_deal_stage", "stage": "won", "pipeline": "renewals"})), Ok(()));
        assert_eq!(
            said(json!({"type": "move_deal_stage", "stage": "won2"})),
            "actions[1].stage: no such stage \"won2\"; there are lead, won, due."
        );
        assert_eq!(check(json!({"type": "move_deal_stage", "stage": "replied"})), Ok(()));
        assert_eq!(
            said(json!({"type": "move_deal_stage", "stage": "lead", "pipeline": "renewals"})),
            "actions[1].stage: no such stage \"lead\"; there are won, due."
        );
        assert!(
            said(json!({"type": "move_deal_stage", "stage": "won", "pipeline": "x"})).contains("actions[1].pipeline")
        );
    }

    #[test]
    fn conditions_look_into_data_and_previous_values() {
        let body = json!({"data": {"type": "email", "n": 1.0, "metadata": {"source": "Web form"}, "tags": ["a"], "gone": null},
            "previous": {"stage": "lead"}});
        let check = |field: &str, op: &str, value: Value, expected: bool| {
            let condition = json!({"field": field, "op": op, "value": value});
            let meets = meets(std::slice::from_ref(&condition), &body, |text| text.into());
            assert_eq!(meets, expected, "{condition}");
        };
        check("type", "eq", json!("email"), true);
        check("type", "neq", json!("email"), false);
        check("n", "eq", json!(1), true);
        check("metadata.source", "contains", json!("web"), true);
        check("tags", "contains", json!("a"), true);
        check("type", "in", json!(["note", "email"]), true);
        check("gone", "exists", json!(true), false);
        check("gone", "exists", json!(false), true);
        check("gone", "eq", json!(null), true);
        check("previous.stage", "eq", json!("lead"), true);
        check("nothing.at.all", "eq", json!("x"), false);
        assert!(meets(&[], &body, |text| text.into()));
    }
}
