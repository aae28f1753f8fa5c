//! Pages of a list by cursor. The API leads only forward, so the address keeps the cursors of the pages before: `back` holds them,
//! and "-" for the first page.

use maud::{Markup, html};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use crate::door::pages::visit::PageVisit;
use crate::door::pages::{IN_QUERY, parts};

/// The first page, which has no cursor.
const FIRST: &str = "-";
/// The most pages that "Previous" finds again.
const MOST_BACK: usize = 30;

/// The query of a call to the API for the page that the address names: these parameters, the limit and the cursor.
pub fn query(visit: &PageVisit<'_>, filters: &[(&str, &str)], limit: usize) -> String {
    let mut query = format!("limit={limit}");
    let cursor = visit.parameter("cursor").map(|cursor| ("cursor", cursor));
    for (name, value) in filters.iter().copied().chain(cursor) {
        query += &format!("&{name}={}", utf8_percent_encode(value, IN_QUERY));
    }
    query
}

/// "Previous" and "Next" below a list. `listed` is the answer of the API.
pub fn links(visit: &PageVisit<'_>, listed: &Value) -> Markup {
    let current = visit.parameter("cursor").unwrap_or(FIRST);
    let back: Vec<&str> = visit.parameter("back").map(|back| back.split('.').collect()).unwrap_or_default();
    let next = listed["_meta"]["next_cursor"].as_str();
    let is_first = current == FIRST;
    if is_first && next.is_none() {
        return html! {};
    }
    html! {
        nav.pager.btns aria-label="Pages" {
            @if !is_first {
                // Beyond the pages that are kept, the script knows the way back, or else only the first page is known.
                @let (last, rest) = back.split_last().map_or((FIRST, &[][..]), |(last, rest)| (*last, rest));
                a.btn href=(address(visit, last, rest)) rel="prev" { (parts::icon("chevron-left")) @if back.is_empty() { "First page" } @else { "Previous" } }
            }
            @if let Some(next) = next {
                @let all: Vec<&str> = back.iter().copied().chain([current]).collect();
                @let kept = &all[all.len().saturating_sub(MOST_BACK)..];
                a.btn href=(address(visit, next, kept)) rel="next" { "Next" (parts::icon("chevron-right")) }
            }
        }
    }
}

/// Whether the address names the first page.
pub fn is_first(visit: &PageVisit<'_>) -> bool {
    visit.parameter("cursor").is_none()
}

/// This address, at another page.
fn address(visit: &PageVisit<'_>, cursor: &str, back: &[&str]) -> String {
    let others = visit.query.iter().filter(|(name, value)| !value.is_empty() && name != "cursor" && name != "back");
    let mut parameters: Vec<(&str, String)> = others.map(|(name, value)| (name.as_str(), value.clone())).collect();
    if cursor != FIRST {
        parameters.push(("cursor", cursor.to_owned()));
    }
    if !back.is_empty() {
        parameters.push(("back", back.join(".")));
    }
    let encoded = parameters.iter().map(|(name, value)| {
        format!("{}={}", utf8_percent_encode(name, IN_QUERY), utf8_percent_encode(value, IN_QUERY))
    });
    format!("?{}", encoded.collect::<Vec<_>>().join("&"))
}
