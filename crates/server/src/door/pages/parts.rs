//! The parts that pages are made of: icons, hands, times, amounts, changes, empty states, fields.

use maud::{Markup, html};
use serde_json::Value;

use crm::model::currency::decimals;

use crate::door::pages::assets;

/// An icon of the sprite. The word stands beside it.
pub fn icon(name: &str) -> Markup {
    html! { svg.icon aria-hidden="true" { use href={ (assets::address("icons.svg")) "#" (name) } {} } }
}

/// Whose hand made a change. The shape says it: a person is round, an agent square, an automation a diamond, psql a slab. The style
/// sheet draws the letters, so that they are not part of the text that is read, copied or searched.
pub enum Hand {}

impl Hand {
    /// A person's hand, with initials. The hue follows from the id.
    pub fn person(id: &str, name: &str) -> Markup {
        let hue = id.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 6 + 1;
        html! { span class={ "hand person h" (hue) } aria-hidden="true" data-letters=(initials(name)) {} }
    }

    /// An agent's hand, with the first two letters of its name.
    pub fn agent(name: &str) -> Markup {
        let letters: String = name.chars().filter(|it| it.is_alphanumeric()).take(2).collect();
        let letters = if letters.is_empty() { "ag".to_owned() } else { letters.to_lowercase() };
        html! { span.hand.agent aria-hidden="true" data-letters=(letters) {} }
    }

    /// The hand of an actor of the feed, `user:u_…`, `api_key:ak_…`, `automation:auto_…` or `postgres:role`, with the agent's
    /// name if there is one.
    pub fn of(actor: &str, agent: Option<&str>) -> Markup {
        match actor.split_once(':') {
            Some(("user", id)) => Hand::person(id, id.trim_start_matches("u_")),
            Some(("automation", _)) => html! { span.hand.auto aria-hidden="true" { (icon("zap")) } },
            Some(("postgres", _)) => html! { span.hand.psql aria-hidden="true" data-letters=">_" {} },
            _ => Hand::agent(agent.unwrap_or("agent")),
        }
    }
}

/// The first letters of a name's first and last word.
pub fn initials(name: &str) -> String {
    let mut words = name.split(|it: char| !it.is_alphanumeric()).filter(|word| !word.is_empty());
    let first = words.next().and_then(|word| word.chars().next());
    let last = words.next_back().and_then(|word| word.chars().next());
    first.into_iter().chain(last).flat_map(char::to_uppercase).collect()
}

/// A moment: short in the text, exact in the title. The script makes it relative.
pub fn time(moment: &str) -> Markup {
    let short = moment.get(..16).unwrap_or(moment).replace('T', " ");
    html! { time datetime=(moment) title=(moment) data-when { (short) } }
}

/// An amount in a currency's smallest unit, written in its main unit: 123450 and EUR are "1,234.50 EUR".
pub fn amount(smallest: i64, currency: &str) -> String {
    format!("{} {currency}", main_unit(smallest, currency)).trim_end().to_owned()
}

/// An amount without its currency, as people type it: 123450 and EUR are "1,234.50".
pub fn main_unit(smallest: i64, currency: &str) -> String {
    let decimals = decimals(currency);
    let digits = format!("{:0>width$}", smallest.unsigned_abs(), width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    let sign = if smallest < 0 { "-" } else { "" };
    let point = if part.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{part}", grouped(whole.parse().unwrap_or_default()))
}

/// A number with commas between groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `2026-12-31` as "31 Dec 2026".
pub fn day(date: &str) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = date.splitn(3, '-').collect();
    let [year, month, day] = parts[..] else { return date.to_owned() };
    let month = month.parse().ok().and_then(|month: usize| MONTHS.get(month.wrapping_sub(1)));
    month.map_or_else(|| date.to_owned(), |month| format!("{} {month} {year}", day.trim_start_matches('0')))
}

/// The name of a run, as short as it tells runs apart: the one that Kith gave it is long.
pub fn short_run(run: &str) -> String {
    match run.strip_prefix("run_").filter(|rest| rest.len() == 26 && rest.is_ascii()) {
        Some(rest) => format!("…{}", &rest[20..]),
        None => run.to_owned(),
    }
}

/// A value of a record as text: what a person reads in a cell. NULL is empty.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A field with its label, and its note as the field's description.
pub fn field(id: &str, label: &str, note: &str, input: Markup) -> Markup {
    html! {
        div.field data-field=(id) {
            label for=(id) { (label) }
            (input)
            @if !note.is_empty() { p.soft.small id={ (id) "-note" } { (note) } }
        }
    }
}

/// An empty state: what goes here, and what to do.
pub fn blank(title: &str, text: &str, more: Markup) -> Markup {
    html! { div.blank { h2 { (title) } p { (text) } (more) } }
}

/// The old and new values of a changed column.
pub fn diff(column: &str, from: &Value, to: &Value) -> Markup {
    html! {
        div {
            dt { (column) }
            dd {
                @if !from.is_null() { del { (text(from)) } }
                @if !to.is_null() { ins { (text(to)) } }
                @else if from.is_null() { span.null { "nothing" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crm::model::currency::DECIMALS;

    use super::{amount, day, grouped, initials, main_unit};

    #[test]
    fn amounts_are_in_the_main_unit() {
        assert_eq!(amount(123_450, "EUR"), "1,234.50 EUR");
        assert_eq!(amount(-5, "USD"), "-0.05 USD");
        assert_eq!(amount(i64::MIN, ""), "-92,233,720,368,547,758.08");
        assert_eq!(amount(123_450, "JPY"), "123,450 JPY");
        assert_eq!(amount(1_234_500, "KWD"), "1,234.500 KWD");
        assert_eq!(amount(-5, "kwd"), "-0.005 kwd");
        assert_eq!(main_unit(0, "JPY"), "0");
        assert_eq!(grouped(1_000_000), "1,000,000");
        assert_eq!(grouped(999), "999");
    }

    #[test]
    fn the_script_has_the_same_decimals() {
        let script = include_str!("assets/amounts.js");
        let (_, table) = script.split_once("const DECIMALS = {").unwrap();
        let (table, _) = table.split_once('}').unwrap();
        let entries = table.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let own: Vec<String> = DECIMALS.iter().map(|(code, decimals)| format!("{code}: {decimals}")).collect();
        assert_eq!(entries.collect::<Vec<_>>(), own);
    }

    #[test]
    fn initials_are_of_the_first_and_last_word() {
        assert_eq!(initials("Ada Moreau"), "AM");
        assert_eq!(initials("ada@x.example"), "AE");
        assert_eq!(initials("Tomáš"), "T");
        assert_eq!(initials(""), "");
    }

    #[test]
    fn dates_are_short() {
        assert_eq!(day("2026-12-05"), "5 Dec 2026");
        assert_eq!(day("infinity"), "infinity");
        assert_eq!(day("2026-13-01"), "2026-13-01");
    }
}
