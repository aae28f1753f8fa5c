//! The page /logs: the requests that the workspace has got.

use maud::{Markup, html};
use serde_json::Value;

use crm::model::fault::Fault;

use crate::door::pages::layout::Page;
use crate::door::pages::pager;
use crate::door::pages::parts::{Hand, blank};
use crate::door::pages::visit::PageVisit;

/// The requests of a page.
const LIMIT: usize = 50;
const STATUSES: &[(&str, &str)] = &[
    ("2xx", "2xx: done"),
    ("4xx", "4xx: refused"),
    ("5xx", "5xx: failed"),
    ("401", "401"),
    ("403", "403"),
    ("404", "404"),
    ("409", "409"),
    ("422", "422"),
    ("429", "429"),
];
const METHODS: &[&str] = &["GET", "POST", "PATCH", "DELETE"];

/// The page.
pub async fn page(visit: &PageVisit<'_>) -> Result<Option<Page>, Fault> {
    let given = ["status", "method", "since"].into_iter().filter_map(|name| Some((name, visit.parameter(name)?)));
    let filters: Vec<(&str, &str)> = given.collect();
    let query = pager::query(visit, &filters, LIMIT);
    let listed = visit.get(&format!("logs?{query}")).await?;
    let rows = listed["data"].as_array().cloned().unwrap_or_default();
    let live = pager::is_first(visit).then(|| format!("logs?{query}"));
    let body = html! {
        (tools(visit, !filters.is_empty()))
        div.scroller data-live=[live] {
            @if rows.is_empty() { div.pad { (nothing(visit, !filters.is_empty())) } } @else { (table(&rows)) }
            (pager::links(visit, &listed))
        }
    };
    let beside = html! { span.count { "7 days" } };
    Ok(Some(Page { is_full: true, beside, scripts: &["feed.js"], ..Page::new("Logs", "/logs", body) }))
}

fn tools(visit: &PageVisit<'_>, is_filtered: bool) -> Markup {
    let chosen = |name: &str, value: &str| visit.parameter(name).unwrap_or_default() == value;
    let status = visit.parameter("status").filter(|status| !STATUSES.iter().any(|(it, _)| it == status));
    html! {
        form.tools method="get" action="/logs" data-filters {
            select.pick.short name="status" aria-label="Status" autocomplete="off" {
                option value="" { "All statuses" }
                @for (value, label) in STATUSES { option value=(value) selected[chosen("status", value)] { (label) } }
                @if let Some(status) = status { option value=(status) selected { (status) } }
            }
            select.pick.short name="method" aria-label="Method" autocomplete="off" {
                option value="" { "All methods" }
                @for method in METHODS { option value=(method) selected[chosen("method", method)] { (method) } }
            }
            @if let Some(since) = visit.parameter("since") { input type="hidden" name="since" value=(since); }
            noscript { button.btn type="submit" { "Show" } }
            @if is_filtered { a.btn.bare href="/logs" { "Clear" } }
            span.sr aria-live="polite" data-fresh-count {}
            button.btn.main.mini.push type="button" data-fresh hidden {}
        }
    }
}

fn nothing(visit: &PageVisit<'_>, is_filtered: bool) -> Markup {
    match is_filtered {
        true => blank(
            "No request fits these filters",
            "Choose others, or look at all requests.",
            html! { p.btns { a.btn href="/logs" { "Show all requests" } } },
        ),
        false => blank(
            "No requests in the last 7 days",
            "Each request to the API, of agents over MCP and of people too, appears here some seconds later. Queries, bodies and secrets do not. Make one with a key:",
            html! { div.code { pre tabindex="0" { "curl " (visit.app.public_url) "/v1/contacts -H \"Authorization: Bearer $KEY\"" } button.btn.mini type="button" data-copy="" { "Copy" } } },
        ),
    }
}

fn table(rows: &[Value]) -> Markup {
    html! {
        table.grid.stack.logs aria-label="Logs" {
            colgroup { col width="140"; col width="76"; col; col width="120"; col width="88"; col width="180"; col width="260"; }
            thead { tr {
                th scope="col" { "Time" } th scope="col" { "Method" } th scope="col" { "Path" } th scope="col" { "Status" }
                th.num scope="col" { "Duration" } th scope="col" { "Who" } th scope="col" { "Request" }
            } }
            tbody { @for row in rows { (line(row)) } }
        }
    }
}

fn line(row: &Value) -> Markup {
    let text = |name: &str| row[name].as_str().unwrap_or_default();
    let status = row["status"].as_u64().unwrap_or_default();
    html! {
        tr data-entry=(text("id")) {
            td data-m="time" { time datetime=(text("created_at")) title=(text("created_at")) data-moment { (text("created_at").get(..19).unwrap_or_default().replace('T', " ")) } }
            td data-m="verb" { span.verb class=(text("method").to_lowercase()) { (text("method")) } }
            td data-m="title" { code { (text("path")) } @if row["tool"].is_string() { " " span.meta { (text("tool")) } } }
            td data-m="end" {
                @match status {
                    200..=399 => span.chip.calm { (status) },
                    400..=499 => span.chip.wait { (status) },
                    _ => span.chip.bad { (status) },
                }
                @if row["code"].is_string() { " " span.faint { (text("code")) } }
            }
            td.num data-m="end2" { (duration(row["duration_ms"].as_f64().unwrap_or_default())) }
            td data-m="sub" { (who(row)) }
            td { code.faint { (text("id")) } }
        }
    }
}

fn who(row: &Value) -> Markup {
    let text = |name: &str| row[name].as_str().filter(|text| !text.is_empty());
    let (actor, agent) = (text("actor").unwrap_or_default(), text("agent"));
    let name = text("actor_name").or(text("key_hint")).unwrap_or(if actor.is_empty() { "nobody" } else { actor });
    html! {
        span.who title=[text("key_hint")] {
            @match actor.strip_prefix("user:") {
                Some(id) => (Hand::person(id, name)),
                None => (Hand::agent(agent.unwrap_or(name))),
            }
            span.cut { (agent.unwrap_or(name)) @if agent.is_some() || text("actor_name").is_some() { @if let Some(hint) = text("key_hint") { " " span.faint { (hint) } } } }
        }
    }
}

fn duration(milliseconds: f64) -> String {
    match milliseconds {
        it if it >= 10_000.0 => format!("{:.0} s", it / 1000.0),
        it if it >= 1000.0 => format!("{:.1} s", it / 1000.0),
        it if it >= 10.0 => format!("{it:.0} ms"),
        it => format!("{it:.1} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_short() {
        assert_eq!([0.4, 12.3, 1500.0, 30_000.0].map(duration), ["0.4 ms", "12 ms", "1.5 s", "30 s"]);
    }
}
