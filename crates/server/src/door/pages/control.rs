//! What the pages of the control room share: reading the API's rows, states, and the actors of changes.

use maud::{Markup, html};
use serde_json::Value;

use crate::door::pages::parts::icon;

/// The rows of a page of the API.
pub fn rows(body: &Value) -> &[Value] {
    body["data"].as_array().map_or(&[], Vec::as_slice)
}

/// A text of a row; empty if there is none.
pub fn word<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or("")
}

/// A chip for an outcome: quiet if it went well, coloured if it is news.
pub fn chip(tone: &str, name: &str, said: &str) -> Markup {
    html! { span class={ "chip " (tone) } { (icon(name)) (said) } }
}

/// A link back to a list.
pub fn back(address: &str, label: &str) -> Markup {
    html! { a.btn.bare.mini href=(address) { (icon("chevron-left")) (label) } }
}

/// A duration in milliseconds: `118 ms`, `2.2 s`.
pub fn took(duration_ms: &Value) -> String {
    match duration_ms.as_u64() {
        None => String::new(),
        Some(ms) if ms < 1000 => format!("{ms} ms"),
        Some(ms) => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}

/// How long it is until a moment: `now`, `in 4 min`, `in 3 h`.
pub fn until(moment: &str, now_ms: i64) -> String {
    let Ok(then) = moment.parse::<jiff::Timestamp>() else { return moment.to_owned() };
    let seconds = (then.as_millisecond() - now_ms) / 1000;
    match seconds {
        ..=0 => "now".to_owned(),
        1..=90 => format!("in {seconds} s"),
        91..=5400 => format!("in {} min", (seconds + 30) / 60),
        _ => format!("in {} h", (seconds + 1800) / 3600),
    }
}

/// What made or changed something, in words: `a person`, `an API key`.
pub fn actor(actor: &str) -> &'static str {
    match actor.split_once(':').map_or(actor, |(kind, _)| kind) {
        "user" => "a person",
        "api_key" => "an API key",
        "automation" => "an automation",
        "postgres" => "psql",
        _ => "Kith",
    }
}

#[cfg(test)]
mod tests {
    use super::{took, until};
    use serde_json::json;

    #[test]
    fn durations_are_short() {
        assert_eq!(took(&json!(118)), "118 ms");
        assert_eq!(took(&json!(2210)), "2.2 s");
        assert_eq!(took(&json!(null)), "");
        let now = 1_790_000_000_000;
        let at = |ms: i64| jiff::Timestamp::from_millisecond(now + ms).unwrap().to_string();
        assert_eq!(until(&at(-5), now), "now");
        assert_eq!(until(&at(30_000), now), "in 30 s");
        assert_eq!(until(&at(240_000), now), "in 4 min");
        assert_eq!(until(&at(7_200_000), now), "in 2 h");
    }
}
