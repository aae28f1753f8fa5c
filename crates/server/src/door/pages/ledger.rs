//! The ledger: entries of the activity feed, newest first. Consecutive entries of one run stand in one block.

use maud::{Markup, html};
use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value};

use crm::model::entity::ENTITIES;

use crate::door::pages::names::Names;
use crate::door::pages::parts::{self, icon};
use crate::door::pages::{IN_QUERY, IN_SEGMENT};

/// The tables whose records have pages of their own, besides the workspace's own tables.
const WITH_PAGES: &[&str] = &["contacts", "companies", "deals", "activities", "emails", "lists"];
/// The most changes of a block that are shown.
const MOST_IN_BLOCK: usize = 8;
/// The most characters of a value.
const MOST_CHARACTERS: usize = 240;

/// How a ledger is shown.
#[derive(Clone, Copy)]
pub struct LedgerOptions {
    /// Whether changes can be undone.
    pub may_undo: bool,
    /// Whether days have headings.
    pub has_days: bool,
    /// Whether older entries follow on another page. They may be of the last run that is shown.
    pub has_more: bool,
}

/// The entries of a page of `GET /v1/activity`.
pub fn ledger(label: &str, entries: &[Value], names: &Names, options: LedgerOptions) -> Markup {
    let blocks: Vec<&[Value]> = entries.chunk_by(is_same_run).collect();
    let begins_day = |at: usize| options.has_days && (at == 0 || day(blocks[at - 1]) != day(blocks[at]));
    html! {
        ol.ledger aria-label=(label) {
            @for (at, block) in blocks.iter().enumerate() {
                @if begins_day(at) {
                    li.day { time datetime=(day(block)) data-day { (day(block)) } }
                }
                @match block {
                    [entry] if run_of(entry).is_none() => (single(entry, names, options)),
                    block => (run(block, names, LedgerOptions { has_more: options.has_more && at + 1 == blocks.len(), ..options })),
                }
            }
        }
    }
}

/// The day of a block's newest entry.
fn day(block: &[Value]) -> &str {
    block[0]["occurred_at"].as_str().and_then(|at| at.get(..10)).unwrap_or_default()
}

fn is_same_run(one: &Value, next: &Value) -> bool {
    run_of(one).is_some() && run_of(one) == run_of(next) && one["actor"] == next["actor"]
}

fn run_of(entry: &Value) -> Option<&str> {
    entry["custom"]["run_id"].as_str().filter(|run| !run.is_empty())
}

fn agent_of(entry: &Value) -> Option<&str> {
    entry["custom"]["agent"].as_str()
}

fn actor_of(entry: &Value) -> &str {
    entry["actor"].as_str().unwrap_or_default()
}

fn single(entry: &Value, names: &Names, options: LedgerOptions) -> Markup {
    html! {
        li.entry data-entry=(parts::text(&entry["id"])) {
            (when(entry))
            (names.hand(actor_of(entry), agent_of(entry)))
            div {
                p.say { b { (names.who(actor_of(entry), agent_of(entry))) } " " (did(entry)) }
                (why(entry))
                (changes(entry, names))
                @if options.may_undo { (undo(entry)) }
            }
        }
    }
}

fn run(block: &[Value], names: &Names, options: LedgerOptions) -> Markup {
    let first = &block[0];
    let (actor, run) = (actor_of(first), run_of(first).unwrap_or_default());
    let is_automation = actor.starts_with("automation:");
    // An undo is a run that has no name besides its id.
    let is_undo = run.starts_with("run_") && !is_automation;
    html! {
        li.entry.run data-entry=(parts::text(&first["id"])) data-run=(run) data-actor=(actor) {
            (when(first))
            (names.hand(actor, agent_of(first)))
            div {
                p.say {
                    b { (names.who(actor, agent_of(first))) }
                    @if block.len() == 1 && !is_undo { " " (did(first)) }
                    @else if is_undo { " put back " (counted(block)) }
                    @else { " " (summed(block)) @if options.has_more { " and more" } }
                    " "
                    a.meta.link href=(run_address(run, actor)) { @if is_undo { "undo" } @else { "run " code { (parts::short_run(run)) } } }
                }
                (why(first))
                @if block.len() == 1 && !is_undo {
                    div.do { (changes(first, names)) }
                } @else {
                    ul.do.changes {
                        @for entry in block.iter().take(MOST_IN_BLOCK) {
                            li data-entry=(parts::text(&entry["id"])) {
                                p { (icon(verb_icon(entry))) (did(entry)) }
                                (changes(entry, names))
                                @if options.may_undo && !is_undo { (undo(entry)) }
                            }
                        }
                        @if block.len() > MOST_IN_BLOCK {
                            li { a.link href=(run_address(run, actor)) { "See the whole run" } }
                        }
                    }
                }
                @if options.may_undo {
                    p.undo { button.btn.bare.mini type="button" data-undo-run=(run) data-actor=(actor) { (icon("undo-2")) "Undo run" } }
                }
            }
        }
    }
}

/// The page of a run. An actor's own name for it does not name it for others, so the address has the actor too.
pub fn run_address(run: &str, actor: &str) -> String {
    format!("/runs/{}?actor={}", utf8_percent_encode(run, IN_SEGMENT), utf8_percent_encode(actor, IN_QUERY))
}

fn when(entry: &Value) -> Markup {
    let at = entry["occurred_at"].as_str().unwrap_or_default();
    html! { time datetime=(at) title=(at) data-clock { (at.get(11..16).unwrap_or_default()) } }
}

fn why(entry: &Value) -> Markup {
    html! { @if let Some(reason) = entry["custom"]["reason"].as_str().filter(|it| !it.is_empty()) { p.why { (reason) } } }
}

fn undo(entry: &Value) -> Markup {
    html! {
        @if entry["verb"] != "conflict" {
            p.undo { button.btn.bare.mini type="button" data-undo-entry=(parts::text(&entry["id"])) { (icon("undo-2")) "Undo" } }
        }
    }
}

/// What was done to which record: "changed Ingrid Halvorsen".
fn did(entry: &Value) -> Markup {
    let words = match entry["verb"].as_str().unwrap_or_default() {
        "updated" => "changed",
        "conflict" => "tried to create again",
        verb => verb,
    };
    html! { (words) " " (record_link(entry)) @if !is_named(entry) { " " span.meta { (kind(&parts::text(&entry["subject_type"]))) } } }
}

fn is_named(entry: &Value) -> bool {
    matches!(entry["subject_type"].as_str(), Some("contact" | "company" | "deal"))
}

fn kind(subject: &str) -> String {
    match subject {
        "activity" => "activity".to_owned(),
        subject => subject.replace('_', " "),
    }
}

fn verb_icon(entry: &Value) -> &'static str {
    match entry["verb"].as_str() {
        Some("created") => "plus",
        Some("deleted") => "trash-2",
        Some("restored") => "archive-restore",
        Some("conflict") => "circle-alert",
        _ => "pencil",
    }
}

/// The record of an entry: a link by its name, where it has a page.
fn record_link(entry: &Value) -> Markup {
    let (subject, id) = (parts::text(&entry["subject_type"]), parts::text(&entry["subject_id"]));
    let name = entry["subject_repr"].as_str().map(str::trim).filter(|name| !name.is_empty());
    let name = clipped(name.unwrap_or(&id));
    html! {
        @match address_of(&subject, &id) {
            Some(address) => a.link href=(address) data-record=(id) { (name) },
            None => span.name data-record=(id) { (name) },
        }
    }
}

/// The page of a record, by its table's or its kind's name.
pub fn address_of(subject: &str, id: &str) -> Option<String> {
    if id.is_empty() {
        return None;
    }
    let id = utf8_percent_encode(id, IN_SEGMENT);
    match ENTITIES.iter().find(|entity| entity.name == subject || entity.table == subject) {
        Some(entity) if WITH_PAGES.contains(&entity.table) => Some(format!("/{}/{id}", entity.table)),
        Some(_) => None,
        // The tables of another schema have no pages.
        None if subject.contains('.') => None,
        None => Some(format!("/tables/{}/{id}", utf8_percent_encode(subject, IN_SEGMENT))),
    }
}

fn changes(entry: &Value, names: &Names) -> Markup {
    let verb = entry["verb"].as_str().unwrap_or_default();
    match entry["changes"].as_object() {
        Some(columns) if verb == "updated" => diff(columns, names.currency(&parts::text(&entry["subject_id"]))),
        _ => html! {},
    }
}

/// The old and new values of changed columns. The members of `custom` stand for themselves. An amount is in the currency, unless that
/// changed too.
pub fn diff(columns: &Map<String, Value>, currency: &str) -> Markup {
    let currency_on = |side: &str| columns.get("currency").and_then(|it| it[side].as_str()).unwrap_or(currency);
    let mut lines: Vec<(String, Value, Value)> = Vec::new();
    for (column, sides) in columns {
        let (from, to) = (&sides["from"], &sides["to"]);
        match column.as_str() {
            "updated_at" => {}
            "custom" if from.is_object() || to.is_object() => {
                let names = [from, to].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
                let mut names: Vec<&String> = names.filter(|name| from[*name] != to[*name]).collect();
                names.sort_unstable();
                names.dedup();
                lines.extend(names.into_iter().map(|name| (name.clone(), from[name].clone(), to[name].clone())));
            }
            "amount_cents" => {
                lines.push(("amount".to_owned(), amount(from, currency_on("from")), amount(to, currency_on("to"))));
            }
            _ => lines.push((column.clone(), from.clone(), to.clone())),
        }
    }
    html! {
        @if !lines.is_empty() {
            dl.diff { @for (column, from, to) in &lines { (parts::diff(column, &short(from), &short(to))) } }
        }
    }
}

fn amount(value: &Value, currency: &str) -> Value {
    value.as_i64().map_or_else(|| value.clone(), |amount| parts::amount(amount, currency).into())
}

fn short(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        value => clipped(&parts::text(value)).into(),
    }
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// "created 6 companies and 1 deal, changed 2 contacts"
fn summed(block: &[Value]) -> String {
    let mut sums: Vec<(&str, String, usize)> = Vec::new();
    // The oldest change comes first.
    for entry in block.iter().rev() {
        let (verb, subject) = (entry["verb"].as_str().unwrap_or_default(), parts::text(&entry["subject_type"]));
        match sums.iter_mut().find(|(other, kind, _)| *other == verb && *kind == subject) {
            Some((_, _, count)) => *count += 1,
            None => sums.push((verb, subject, 1)),
        }
    }
    let said = sums.iter().map(|(verb, subject, count)| {
        let verb = match *verb {
            "updated" => "changed",
            "conflict" => "tried to create again",
            verb => verb,
        };
        (verb, many(*count, subject))
    });
    by_verb(said)
}

/// What was done to how many records, each verb said once.
pub fn by_verb<'a>(done: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut verbs: Vec<(&str, Vec<String>)> = Vec::new();
    for (verb, records) in done {
        match verbs.iter_mut().find(|(other, _)| *other == verb) {
            Some((_, all)) => all.push(records),
            None => verbs.push((verb, vec![records])),
        }
    }
    let words: Vec<String> = verbs.into_iter().map(|(verb, records)| format!("{verb} {}", joined(records))).collect();
    words.join(", ")
}

fn counted(block: &[Value]) -> String {
    match block {
        [entry] => many(1, &parts::text(&entry["subject_type"])),
        block => format!("{} changes", block.len()),
    }
}

/// "1 contact", "2 companies", "3 rows of shipments"
pub fn many(count: usize, subject: &str) -> String {
    let entity = ENTITIES.iter().find(|entity| entity.name == subject || entity.table == subject);
    match (entity, count) {
        (Some(entity), 1) => format!("1 {}", entity.name.replace('_', " ")),
        (Some(entity), count) => format!("{} {}", parts::grouped(count as u64), entity.table.replace('_', " ")),
        (None, 1) => format!("1 row of {subject}"),
        (None, count) => format!("{} rows of {subject}", parts::grouped(count as u64)),
    }
}

/// Words joined by commas and "and".
pub fn joined(mut words: Vec<String>) -> String {
    match words.pop() {
        None => String::new(),
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} and {last}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{address_of, diff, joined, many, summed};

    #[test]
    fn a_block_is_summed_in_words() {
        let entry = |verb: &str, subject: &str| json!({"verb": verb, "subject_type": subject});
        let block = [
            entry("updated", "contact"),
            entry("created", "company"),
            entry("created", "company"),
            entry("created", "shipments"),
        ];
        assert_eq!(summed(&block), "created 1 row of shipments and 2 companies, changed 1 contact");
        assert_eq!(many(1200, "contacts"), "1,200 contacts");
        assert_eq!(joined(vec!["a".into(), "b".into(), "c".into()]), "a, b and c");
    }

    #[test]
    fn records_with_pages_have_addresses() {
        assert_eq!(address_of("contact", "c_1").as_deref(), Some("/contacts/c_1"));
        assert_eq!(address_of("companies", "co_1").as_deref(), Some("/companies/co_1"));
        assert_eq!(address_of("association", "as_1"), None);
        assert_eq!(address_of("shipments", "a/b ?").as_deref(), Some("/tables/shipments/a%2Fb%20%3F"));
        assert_eq!(address_of("other.t", "1"), None);
    }

    #[test]
    fn a_diff_shows_members_of_custom_and_amounts_in_the_main_unit() {
        let columns = json!({"custom": {"from": {"a": 1, "b": 2}, "to": {"a": 1, "b": 3}},
            "amount_cents": {"from": 100, "to": 123450}, "updated_at": {"from": "x", "to": "y"}});
        let shown = diff(columns.as_object().unwrap(), "").into_string();
        assert!(
            shown.contains("<dt>b</dt>") && !shown.contains("<dt>a</dt>") && !shown.contains("updated_at"),
            "{shown}"
        );
        assert!(shown.contains("<ins>1,234.50</ins>") && shown.contains("<dt>amount</dt>"), "{shown}");
        let shown = diff(columns.as_object().unwrap(), "JPY").into_string();
        assert!(shown.contains("<ins>123,450 JPY</ins>"), "{shown}");
        let columns = json!({"amount_cents": {"from": 100, "to": 123450}, "currency": {"from": "EUR", "to": "KWD"}});
        let shown = diff(columns.as_object().unwrap(), "KWD").into_string();
        assert!(shown.contains("<del>1.00 EUR</del>") && shown.contains("<ins>123.450 KWD</ins>"), "{shown}");
    }
}
