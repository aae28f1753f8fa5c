//! Home: what the workspace holds and what was done in it last.

use maud::{Markup, html};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use crm::model::fault::Fault;
use crm::sql::pages::FIGURES;

use crate::door::pages::IN_QUERY;
use crate::door::pages::layout::Page;
use crate::door::pages::ledger::{LedgerOptions, ledger};
use crate::door::pages::names::Names;
use crate::door::pages::parts::{self, icon};
use crate::door::pages::visit::PageVisit;

/// The entries of the latest activity.
const LATEST: usize = 12;

/// Home of a person who has no workspace yet.
pub fn without_workspace(visit: &PageVisit<'_>) -> Result<Page, Fault> {
    let claim = format!("{}/claim/ws_…", visit.app.public_url);
    let body = html! {
        div.cols { div.c8 {
            (parts::blank(
                "You have no workspace yet",
                "Make one, claim the one that an agent of yours has made, or open the link of an invitation.",
                html! {
                    p.btns { button.btn.main type="button" data-open="new-workspace" { "New workspace" } }
                    p.soft { "An agent that makes a workspace gets a link like " code.inline { (claim) } " in each answer; open it to claim the workspace." }
                },
            ))
        } }
    };
    Ok(Page::new("Home", "/", body))
}

/// Home of a workspace.
pub async fn home(visit: &PageVisit<'_>) -> Result<Page, Fault> {
    let path = format!("activity?limit={LATEST}");
    let (listed, figures) = tokio::join!(visit.get(&path), visit.sql(FIGURES));
    let listed = listed?;
    let has_more = listed["_meta"]["has_more"] == true;
    let entries = listed["data"].as_array().cloned().unwrap_or_default();
    // The figures may be missing, for example while the workspace's own locks keep its tables.
    let figures = figures.ok().and_then(|rows| rows.into_iter().next());
    let list = |name: &str| figures.as_ref().and_then(|it| it[name].as_array().cloned()).unwrap_or_default();
    let (days, agents, soon) = (list("days"), list("agents"), list("soon"));
    let names = Names::of(visit, &[&entries[..], &agents].concat()).await;
    let options = LedgerOptions { may_undo: visit.may_write(), has_days: false, has_more };
    let place = visit.place()?;
    let body = html! {
        div.cols data-live="activity?limit=1" data-live-every="5" {
            @match &figures {
                Some(figures) => (sums(figures, &list("open"))),
                None => p.note.wait.c12 { (icon("circle-alert")) span { "The figures could not be read in time. " a.link href="/" { "Try again" } } },
            }
            section.sect.c8 aria-labelledby="latest-heading" {
                header { h2 #latest-heading { "Latest activity" } button.btn.main.mini type="button" data-fresh hidden {} span.sr aria-live="polite" data-fresh-count {} a.link.push href="/activity" { "All activity" } }
                @if entries.is_empty() { (begin(visit)) } @else { (ledger("Latest activity, newest first", &entries, &names, options)) }
            }
            div.c4 {
                (agents_this_week(&agents, &names))
                (closing_soon(&soon))
            }
            @if !days.is_empty() { (writes_by_source(&days)) }
        }
    };
    let beside = html! { span.count { (place.workspace.name) } };
    Ok(Page { beside, scripts: &["feed.js", "runs.js"], ..Page::new("Home", "/", body) })
}

/// The most new records that are counted (`home.sql` counts one more).
const MOST_COUNTED: u64 = 10_000;

/// A count in words: "10,000+", if there are more.
fn at_most(count: u64) -> String {
    let more = if count > MOST_COUNTED { "+" } else { "" };
    format!("{}{more}", parts::grouped(count.min(MOST_COUNTED)))
}

fn number(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or_default()
}

/// An amount of cents, which PostgreSQL sums up as a number of any size.
fn cents(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| value.as_f64().unwrap_or_default() as i64)
}

fn sums(figures: &Value, open: &[Value]) -> Markup {
    let currency = |row: &Value| parts::text(&row["currency"]);
    html! {
        dl.figures.c12 {
            @if open.is_empty() { div { dt { "Open deals" } dd { "0" } } }
            @for (at, row) in open.iter().enumerate() {
                div {
                    dt { @if at == 0 { "Open deals" } @else { "in " (currency(row)) } }
                    dd { a.num href="/deals" { (parts::amount(cents(&row["cents"]), &currency(row))) } " " small { (parts::grouped(number(row, "deals"))) @if number(row, "deals") == 1 { " deal" } @else { " deals" } } }
                }
            }
            @for (label, name, address) in [("New contacts, 7 days", "contacts", "/contacts"), ("New companies, 7 days", "companies", "/companies"), ("New deals, 7 days", "deals", "/deals")] {
                div { dt { (label) } dd { a.num href=(address) { (at_most(number(figures, name))) } } }
            }
            div { dt { "Writes, 24 hours" } dd { a.num href="/activity" { (parts::grouped(number(figures, "writes"))) @if figures["has_more_writes"] == true { "+" } } } }
        }
    }
}

fn begin(visit: &PageVisit<'_>) -> Markup {
    parts::blank(
        "Nothing has happened yet",
        "Give an agent a key, and what it does appears here as it does it. You can take each change back.",
        html! { p.btns { @if visit.may_write() { a.btn.main href="/api-keys" { "Make an API key" } } a.btn href="/docs" { "Read how to connect" } } },
    )
}

fn agents_this_week(agents: &[Value], names: &Names) -> Markup {
    html! {
        section.sect aria-labelledby="agents-heading" {
            header { h2 #agents-heading { "Agents this week" } a.link.push href="/runs" { "Runs" } }
            @if agents.is_empty() { p.soft { "No agent has written in 7 days." } } @else {
                table.grid.plain aria-labelledby="agents-heading" {
                    colgroup { col; col width="52"; col width="68"; col width="60"; }
                    thead { tr { th scope="col" { "Agent" } th.num scope="col" { "Runs" } th.num scope="col" { "Writes" } th.num scope="col" { "Last" } } }
                    tbody {
                        @for row in agents {
                            @let (actor, agent) = (row["actor"].as_str().unwrap_or_default(), row["agent"].as_str());
                            @let (name, value) = agent.map_or(("actor", actor), |agent| ("agent", agent));
                            tr {
                                td { span.who { (names.hand(actor, agent)) a.name.cut href=(format!("/activity?{name}={}", utf8_percent_encode(value, IN_QUERY))) { (names.who(actor, agent)) } } }
                                td.num { (parts::grouped(number(row, "runs"))) }
                                td.num { (parts::grouped(number(row, "writes"))) }
                                td.num { (parts::time(&parts::text(&row["last_at"]))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn closing_soon(soon: &[Value]) -> Markup {
    html! {
        @if !soon.is_empty() {
            section.sect aria-labelledby="soon-heading" {
                header { h2 #soon-heading { "Closing soon" } a.link.push href="/deals" { "Board" } }
                div.rows.soon {
                    @for deal in soon {
                        a href=(format!("/deals/{}", parts::text(&deal["id"]))) {
                            time.num.soft datetime=(parts::text(&deal["close_date"])) data-date { (parts::text(&deal["close_date"])) }
                            span.cut { (deal["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("Deal without a name")) }
                            @if !deal["cents"].is_null() { span.num.push { (parts::amount(cents(&deal["cents"]), &parts::text(&deal["currency"]))) } }
                        }
                    }
                }
            }
        }
    }
}

/// The writes of each day by source: bars, and the same as a table.
fn writes_by_source(days: &[Value]) -> Markup {
    const SOURCES: [(&str, &str, &str); 4] = [
        ("agents", "Agents", "f-agent"),
        ("people", "People", "f-person"),
        ("automations", "Automations", "f-auto"),
        ("psql", "psql", "f-psql"),
    ];
    let total = |day: &Value| SOURCES.iter().map(|(name, _, _)| number(day, name)).sum::<u64>();
    let top = scale(days.iter().map(total).max().unwrap_or_default());
    let all: u64 = days.iter().map(total).sum();
    let of_agents: u64 = days.iter().map(|day| number(day, "agents")).sum();
    let finding = format!(
        "Writes a day in {} days: {} in all, {} of them by agents.",
        days.len(),
        parts::grouped(all),
        parts::grouped(of_agents)
    );
    let day_of = |day: &Value| parts::text(&day["day"]);
    html! {
        section.sect.c12 aria-labelledby="writes-heading" {
            header { h2 #writes-heading { "Writes by source" } span.push { (days.len()) " days, UTC" } }
            figure.plot {
                div.ys.num aria-hidden="true" { span { (parts::grouped(top)) } span { (parts::grouped(top / 2)) } span { "0" } }
                svg viewBox=(format!("0 0 {} 100", days.len())) preserveAspectRatio="none" role="img" aria-label=(finding) {
                    path d=(format!("M0 0H{0}M0 50H{0}", days.len())) vector-effect="non-scaling-stroke" {}
                    @for (at, day) in days.iter().enumerate() {
                        @let heights = SOURCES.map(|(name, _, class)| (class, number(day, name) as f64 * 100.0 / top as f64));
                        @for part in 0..heights.len() {
                            @let above: f64 = heights[..=part].iter().map(|(_, height)| height).sum();
                            @if heights[part].1 > 0.0 {
                                rect class=(heights[part].0) x=(format!("{at}.14")) y=(format!("{:.2}", 100.0 - above)) width=".72" height=(format!("{:.2}", heights[part].1)) {}
                            }
                        }
                    }
                    path.base d=(format!("M0 100H{}", days.len())) vector-effect="non-scaling-stroke" {}
                }
                div.xs.num aria-hidden="true" { @for day in days { span { (day_of(day).get(8..).unwrap_or_default().trim_start_matches('0')) } } }
                figcaption.legend {
                    @for (_, label, class) in SOURCES {
                        span { svg viewBox="0 0 10 10" aria-hidden="true" { rect class=(class) width="10" height="10" rx="2" {} } (label) }
                    }
                }
            }
            details.numbers {
                summary { "The numbers" }
                table.grid.plain aria-label="Writes by source" {
                    thead { tr { th scope="col" { "Day" } @for (_, label, _) in SOURCES { th.num scope="col" { (label) } } th.num scope="col" { "All" } } }
                    tbody {
                        @for day in days {
                            tr {
                                td { time datetime=(day_of(day)) { (day_of(day)) } }
                                @for (name, _, _) in SOURCES { td.num { (parts::grouped(number(day, name))) } }
                                td.num { (parts::grouped(total(day))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A round even number that is at least this one.
fn scale(most: u64) -> u64 {
    let step = 10_u64.pow(most.max(1).ilog10());
    [1, 2, 4, 6, 8, 10].into_iter().map(|times| times * step).find(|top| *top >= most && top % 2 == 0).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::{at_most, scale};

    #[test]
    fn a_count_says_that_there_are_more() {
        assert_eq!([0, 9_999, 10_000, 10_001].map(at_most), ["0", "9,999", "10,000", "10,000+"]);
    }

    #[test]
    fn a_scale_is_round_and_even() {
        assert_eq!([0, 1, 3, 10, 131, 640, 1431, 999].map(scale), [2, 2, 4, 10, 200, 800, 2000, 1000]);
    }
}
