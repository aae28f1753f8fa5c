//! The timeline of a record: what was changed and by whom, and the activities and e-mails that concern it, newest first.
//! Consecutive items of one run are one block, which can be undone as a whole.

use std::collections::BTreeSet;

use futures_util::future::try_join;
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use crm::model::ask::Steps;
use crm::model::call::Method;
use crm::model::entity::by_table;
use crm::model::fault::Fault;
use crm::sql::pages::TIMELINE;

use crate::door::pages::addresses::{self, address};
use crate::door::pages::names::Names;
use crate::door::pages::parts::{self, icon};
use crate::door::pages::shape::{self, RecordNames, ShownColumn, TableShape, ValueKind};
use crate::door::pages::visit::PageVisit;

/// The items of a page.
const MOST: usize = 50;
/// The most characters of a value in a difference.
const MOST_CHARACTERS: usize = 240;

/// The kinds of record that activities and e-mails concern, by table, with the column that names them.
const CONCERNED: &[(&str, &str)] = &[("contacts", "contact_id"), ("companies", "company_id"), ("deals", "deal_id")];

/// The column of an activity that names a record of this table.
pub fn concerned(table: &str) -> Option<&'static str> {
    CONCERNED.iter().find(|(it, _)| *it == table).map(|(_, column)| *column)
}

/// A page of a record's timeline.
pub struct Timeline {
    items: Vec<Value>,
    names: Names,
    /// The address of the older items, if there are any.
    older: Option<String>,
}

impl Timeline {
    /// The records that changed columns referred to, before or after the change, by table and id.
    pub fn referred(&self, shape: &TableShape) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        let changes = self.items.iter().filter_map(|item| item["entry"]["changes"].as_object()).flatten();
        for (name, sides) in changes {
            let Some(ValueKind::Record(table)) = shape.column(name).map(|column| &column.kind) else { continue };
            let ids = ["from", "to"].into_iter().filter_map(|side| sides[side].as_str());
            found.extend(ids.map(|id| (table.clone(), id.to_owned())));
        }
        found
    }
}

/// Reads the timeline of a record. `older` of the address says where the page begins.
pub async fn read(visit: &PageVisit<'_>, table: &str, id: &str) -> Result<Timeline, Fault> {
    let kind = by_table(table).map_or(table, |entity| entity.name);
    let after = visit.parameter("older").and_then(|older| older.split_once('~'));
    let (at, last) = (after.map(|(at, _)| at), after.map(|(_, last)| last));
    let statement = json!({"sql": TIMELINE, "params": [kind, id, concerned(table), at, last]}).to_string();
    let (read, logged) =
        try_join(visit.call(Method::Post, "sql", statement.as_bytes()), logged(visit, table, id, at)).await?;
    let mut items = read["data"]["rows"].as_array().cloned().unwrap_or_default();
    if !logged.is_empty() {
        items.extend(logged);
        // Both write a moment with its zone, UTC, and with as many decimals as it needs.
        items.sort_by_key(|item| std::cmp::Reverse(item["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok())));
    }
    let has_more = items.len() > MOST;
    items.truncate(MOST);
    let older = items.last().filter(|_| has_more).map(|last| {
        let place = format!("{}~{}", parts::text(&last["at"]), parts::text(&last["id"]));
        format!("{}?older={}", address(table, id), addresses::encoded(&place))
    });
    let acts: Vec<Value> = items.iter().map(|item| act(item).clone()).collect();
    Ok(Timeline { names: Names::of(visit, &acts).await, items, older })
}

/// The changes of a row of the workspace's own table that the feed does not have, as items.
async fn logged(visit: &PageVisit<'_>, table: &str, id: &str, before: Option<&str>) -> Result<Vec<Value>, Fault> {
    if by_table(table).is_some() {
        return Ok(Vec::new());
    }
    let (table, key, before) = (table.to_owned(), id.to_owned(), before.map(str::to_owned));
    let read = visit.perform(&Steps::RowChanges { table, key, before, most: MOST + 1 }.into()).await?;
    let item = |change: &Value| {
        let custom = json!({"agent": change["agent"], "reason": change["reason"], "run_id": change["run_id"]});
        json!({"kind": "change", "id": change["seq"], "at": change["at"], "request_id": change["request_id"],
            "entry": {"verb": change["verb"], "changes": change["changes"], "actor": change["actor"], "custom": custom}})
    };
    Ok(read["data"].as_array().into_iter().flatten().map(item).collect())
}

/// The entry of the feed that says who did it.
fn act(item: &Value) -> &Value {
    if item["kind"] == "change" { &item["entry"] } else { &item["made"] }
}

fn actor(item: &Value) -> &str {
    act(item)["actor"].as_str().unwrap_or_default()
}

fn agent(item: &Value) -> Option<&str> {
    act(item)["custom"]["agent"].as_str().filter(|agent| !agent.is_empty())
}

fn run(item: &Value) -> Option<&str> {
    act(item)["custom"]["run_id"].as_str().filter(|run| !run.is_empty())
}

fn is_same_run(one: &Value, next: &Value) -> bool {
    run(one).is_some() && run(one) == run(next) && actor(one) == actor(next)
}

/// The timeline as a region with that name.
pub fn shown(timeline: &Timeline, shape: &TableShape, record: &Value, names: &RecordNames, may_write: bool) -> Markup {
    let told = Told { timeline, shape, record, names, may_write };
    html! {
        section.timeline aria-label="Timeline" {
            @if may_write && record["deleted_at"].is_null() { (note_form(shape, record)) }
            @if timeline.items.is_empty() {
                (parts::blank(
                    "Nothing has happened yet",
                    "Changes, notes, calls and e-mails stand here, with who made them and why.",
                    html! {},
                ))
            }
            @let blocks: Vec<&[Value]> = timeline.items.chunk_by(is_same_run).collect();
            ol.ledger {
                @for (at, block) in blocks.iter().enumerate() {
                    @if at == 0 || day(blocks[at - 1]) != day(block) {
                        li.day { time datetime=(day(block)) data-day { (day(block)) } }
                    }
                    @match *block {
                        [item] if run(item).is_none() => (told.single(item)),
                        block => (told.run(block)),
                    }
                }
            }
            @if let Some(older) = &timeline.older { p.after.center { a.btn.bare href=(older) { "Older entries" } } }
        }
    }
}

/// The form that logs a note or a call.
fn note_form(shape: &TableShape, record: &Value) -> Markup {
    let Some(column) = concerned(&shape.table) else { return html! {} };
    html! {
        form.log data-log=(column) data-id=(parts::text(&record["id"])) novalidate {
            select.pick.short name="type" aria-label="Kind of activity" autocomplete="off" {
                @for kind in ["note", "call", "meeting", "task", "email"] { option value=(kind) { (shape::in_words(kind).replace("Email", "E-mail")) } }
            }
            textarea.input name="text" rows="1" aria-label="What happened" placeholder="What happened?" required {}
            button.btn type="submit" { "Log it" }
        }
    }
}

struct Told<'a> {
    timeline: &'a Timeline,
    shape: &'a TableShape,
    record: &'a Value,
    names: &'a RecordNames,
    may_write: bool,
}

impl Told<'_> {
    fn who(&self, item: &Value) -> Markup {
        let is_mail = item["kind"] == "mail" && act(item).is_null();
        html! {
            @if act(item).is_null() && !is_mail { b { "Somebody" } } @else if is_mail { b { "E-mail" } }
            @else { b { (self.timeline.names.who(actor(item), agent(item))) } }
        }
    }

    fn single(&self, item: &Value) -> Markup {
        html! {
            li.entry {
                (when(item))
                (self.timeline.names.hand(actor(item), agent(item)))
                div {
                    p.say { (self.who(item)) " " (self.did(item)) }
                    (why(item))
                    (self.about(item))
                    (self.undo(item))
                }
            }
        }
    }

    fn run(&self, block: &[Value]) -> Markup {
        let first = &block[0];
        let (actor, run) = (actor(first), run(first).unwrap_or_default());
        // The run of an undo has no name besides its id.
        let is_undo = run.starts_with("run_") && !actor.starts_with("automation:");
        let address = format!("/runs/{}?actor={}", addresses::encoded(run), addresses::encoded(actor));
        html! {
            li.entry.run {
                (when(first))
                (self.timeline.names.hand(actor, agent(first)))
                div {
                    p.say {
                        (self.who(first)) " "
                        @if let [only] = block { @if is_undo { "took a change back" } @else { (self.did(only)) } }
                        @else { (summed(block)) }
                        " "
                        a.meta.link href=(address) { @if is_undo { "undo" } @else { "run " code { (parts::short_run(run)) } } }
                    }
                    (why(first))
                    @if let [only] = block { (self.about(only)) }
                    @else {
                        ul.steps { @for item in block { li { p { (self.did(item)) } (self.about(item)) } } }
                    }
                    @if self.may_write {
                        p.undo { button.btn.bare.mini type="button" data-undo-run=(run) data-actor=(actor) { (icon("undo-2")) "Undo run" } }
                    }
                }
            }
        }
    }

    /// What was done: "changed 2 fields".
    fn did(&self, item: &Value) -> Markup {
        let entry = &item["entry"];
        let kind = self.shape.entity.map_or_else(|| "row".to_owned(), |entity| entity.name.replace('_', " "));
        html! {
            @match item["kind"].as_str() {
                Some("note") => {
                    "logged " @match entry["type"].as_str() {
                        Some("email") => "an e-mail",
                        Some(kind) => { "a " (kind) },
                        None => "an activity",
                    }
                },
                Some("mail") => {
                    "recorded an e-mail " @if entry["direction"] == "outbound" { "to " (parts::text(&entry["to_addrs"])) } @else { "from " (parts::text(&entry["from_addr"])) }
                },
                _ => @match entry["verb"].as_str() {
                    Some("created") => { "created this " (kind) },
                    Some("updated") => @match self.changes(entry).len() {
                        0 => "saved it without a change",
                        1 => "changed 1 field",
                        many => { "changed " (many) " fields" },
                    },
                    Some("deleted") => { "deleted this " (kind) },
                    Some("restored") => { "restored this " (kind) },
                    Some("conflict") => "tried to create it again",
                    _ => "did something",
                },
            }
        }
    }

    /// What an item says: the difference, the note, the e-mail.
    fn about(&self, item: &Value) -> Markup {
        let (entry, id) = (&item["entry"], parts::text(&item["id"]));
        html! {
            @match item["kind"].as_str() {
                Some("note") => {
                    @if let Some(subject) = entry["subject"].as_str().filter(|it| !it.is_empty()) { p.do { a.link href=(address("activities", &id)) { (subject) } } }
                    @if let Some(body) = entry["body"].as_str().filter(|it| !it.is_empty()) { blockquote.lines { (body) } }
                    @if entry["subject"].is_null() && entry["body"].is_null() { p.do { a.link href=(address("activities", &id)) { "Open it" } } }
                },
                Some("mail") => p.do.cut {
                    (icon("mail")) a.link href=(address("emails", &id)) { (shape::name_of("emails", entry)) }
                    @if let Some(words) = entry["snippet"].as_str() { " " span.soft { (words) } }
                },
                _ => {
                    @let changes = self.changes(entry);
                    @if !changes.is_empty() { dl.diff { @for (label, from, to) in &changes { (parts::diff(label, from, to)) } } }
                },
            }
        }
    }

    /// The changed fields with their values before and after, as people read them.
    fn changes(&self, entry: &Value) -> Vec<(String, Value, Value)> {
        let Some(columns) = entry["changes"].as_object().filter(|_| entry["verb"] == "updated") else {
            return Vec::new();
        };
        let own = shape::currency(self.record);
        let currency_on = |side: &str| columns.get("currency").and_then(|it| it[side].as_str()).unwrap_or(own);
        let mut lines = Vec::new();
        for (name, sides) in columns {
            let (from, to) = (&sides["from"], &sides["to"]);
            match name.as_str() {
                "updated_at" => {}
                "custom" if from.is_object() || to.is_object() => lines.extend(self.custom(from, to)),
                name => {
                    let read = |side: &str| self.read(self.shape.column(name), &sides[side], currency_on(side));
                    lines.push((self.shape.label(name), read("from"), read("to")));
                }
            }
        }
        lines
    }

    fn custom(&self, from: &Value, to: &Value) -> Vec<(String, Value, Value)> {
        let mut keys: Vec<&String> = [from, to].into_iter().filter_map(Value::as_object).flat_map(Map::keys).collect();
        keys.sort_unstable();
        keys.dedup();
        let line = |key: &String| (self.shape.label(key), clipped(&from[key]), clipped(&to[key]));
        keys.into_iter().filter(|key| from[*key] != to[*key]).map(line).collect()
    }

    fn read(&self, column: Option<&ShownColumn>, value: &Value, currency: &str) -> Value {
        let text = value.as_str().unwrap_or_default();
        match column.map(|column| &column.kind) {
            _ if value.is_null() => Value::Null,
            Some(ValueKind::Amount) => shape::amount_in(value, currency).into(),
            Some(ValueKind::Choice(choices)) => choices
                .iter()
                .find(|choice| choice.value == text)
                .map_or_else(|| value.clone(), |it| it.label.clone().into()),
            Some(ValueKind::Record(table)) => self
                .names
                .get(&(table.clone(), text.to_owned()))
                .map_or_else(|| value.clone(), |name| name.clone().into()),
            _ => clipped(value),
        }
    }

    fn undo(&self, item: &Value) -> Markup {
        let can_be = matches!(item["entry"]["verb"].as_str(), Some("updated" | "deleted" | "restored"));
        // What the feed does not have is undone with all that its request did, which a dialog shows first.
        let request = item["request_id"].as_str();
        let entry = item["request_id"].is_null().then(|| parts::text(&item["id"]));
        html! {
            @if self.may_write && can_be && (request.is_some() || !item["id"].is_number()) {
                p.undo { button.btn.bare.mini type="button" data-undo-entry=[entry] data-undo-request=[request] aria-label="Undo change" { (icon("undo-2")) "Undo" } }
            }
        }
    }
}

fn when(item: &Value) -> Markup {
    let at = item["at"].as_str().unwrap_or_default();
    html! { time datetime=(at) title=(at) data-clock { (at.get(11..16).unwrap_or_default()) } }
}

/// The day of a block's newest item.
fn day(block: &[Value]) -> &str {
    block[0]["at"].as_str().and_then(|at| at.get(..10)).unwrap_or_default()
}

fn why(item: &Value) -> Markup {
    html! { @if let Some(reason) = act(item)["custom"]["reason"].as_str().filter(|it| !it.is_empty()) { p.why { (reason) } } }
}

fn clipped(value: &Value) -> Value {
    let text = match value {
        Value::Null => return Value::Null,
        Value::Object(_) => value.to_string(),
        value => parts::text(value),
    };
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((at, _)) => format!("{}…", &text[..at]).into(),
        None => text.into(),
    }
}

/// "3 changes, 1 e-mail"
fn summed(block: &[Value]) -> String {
    let count = |kind: &str| block.iter().filter(|item| item["kind"] == kind).count();
    let named = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let sums = [
        named(count("change"), "change", "changes"),
        named(count("note"), "activity", "activities"),
        named(count("mail"), "e-mail", "e-mails"),
    ];
    format!("made {}", sums.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{clipped, is_same_run, summed};

    #[test]
    fn a_run_is_one_block_per_actor() {
        let change =
            |actor: &str, run: &str| json!({"kind": "change", "entry": {"actor": actor, "custom": {"run_id": run}}});
        assert!(is_same_run(&change("a", "r"), &change("a", "r")));
        assert!(!is_same_run(&change("a", "r"), &change("b", "r")));
        assert!(!is_same_run(&change("a", ""), &change("a", "")));
    }

    #[test]
    fn a_block_is_summed() {
        let block = [json!({"kind": "change"}), json!({"kind": "mail"}), json!({"kind": "change"})];
        assert_eq!(summed(&block), "made 2 changes, 1 e-mail");
        assert_eq!(clipped(&json!("é".repeat(300))).as_str().map(|it| it.chars().count()), Some(241));
    }
}
