//! The page /activity: who changed what, and why. New entries come while the page is open.

use maud::{Markup, html};
use serde_json::Value;

use crm::model::entity::ENTITIES;
use crm::model::fault::Fault;
use crm::sql::pages::WRITES_OF_A_DAY;

use crate::door::pages::layout::Page;
use crate::door::pages::ledger::{LedgerOptions, by_verb, ledger, many, run_address};
use crate::door::pages::names::Names;
use crate::door::pages::pager;
use crate::door::pages::parts::{self, blank};
use crate::door::pages::visit::PageVisit;

/// The entries of a page.
const LIMIT: usize = 50;
/// Kinds of actors: the parameter, its words, and how the names of such actors begin.
const ACTORS: &[(&str, &str, &str)] = &[
    ("agents", "Agents", "api_key:"),
    ("people", "People", "user:"),
    ("automations", "Automations", "automation:"),
    ("psql", "psql", "postgres:"),
];
const VERBS: &[(&str, &str)] = &[
    ("created", "Created"),
    ("updated", "Changed"),
    ("deleted", "Deleted"),
    ("restored", "Restored"),
    ("conflict", "Conflicts"),
];

/// The page.
pub async fn page(visit: &PageVisit<'_>) -> Result<Option<Page>, Fault> {
    let filters = filters(visit);
    let filters: Vec<(&str, &str)> = filters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let query = pager::query(visit, &filters, LIMIT);
    let path = format!("activity?{query}");
    let (listed, runs, writes) = tokio::join!(visit.get(&path), visit.get("runs?limit=6"), visit.sql(WRITES_OF_A_DAY));
    let listed = listed?;
    let rows = |answer: &Value| answer["data"].as_array().cloned().unwrap_or_default();
    let entries = rows(&listed);
    let runs = runs.map(|runs| rows(&runs)).unwrap_or_default();
    let writes = writes.unwrap_or_default();
    let names = Names::of(visit, &[&entries[..], &runs, &writes].concat()).await;
    let options =
        LedgerOptions { may_undo: visit.may_write(), has_days: true, has_more: listed["_meta"]["has_more"] == true };
    let live = pager::is_first(visit).then_some(path);
    let body = html! {
        (tools(visit, live.is_some()))
        div.split.feed {
            div.stream data-live=[live] {
                @if entries.is_empty() { (nothing(visit, filters.is_empty())) }
                @else {
                    (ledger("Activity, newest first", &entries, &names, options))
                    (pager::links(visit, &listed))
                }
            }
            aside.pad aria-label="Latest runs and writes" {
                (latest_runs(&runs, &names))
                (writes_today(&writes, &names))
            }
        }
    };
    Ok(Some(Page { is_full: true, scripts: &["feed.js", "runs.js"], ..Page::new("Activity", "/activity", body) }))
}

/// The filters of the address, in the words of the API.
fn filters(visit: &PageVisit<'_>) -> Vec<(&'static str, String)> {
    let mut filters = Vec::new();
    if let Some(actor) = visit.parameter("actor") {
        let kind = ACTORS.iter().find(|(name, _, _)| *name == actor);
        filters.push(kind.map_or(("actor", actor.to_owned()), |(_, _, prefix)| ("actor_starts", (*prefix).to_owned())));
    }
    let same = [("verb", "verb"), ("kind", "subject_type"), ("agent", "custom.agent"), ("record", "subject_id")];
    for (parameter, filter) in same {
        if let Some(value) = visit.parameter(parameter) {
            filters.push((filter, value.to_owned()));
        }
    }
    filters
}

fn tools(visit: &PageVisit<'_>, is_live: bool) -> Markup {
    let chosen = |name: &str, value: &str| visit.parameter(name).unwrap_or_default() == value;
    let kinds = ENTITIES.iter().filter(|entity| !entity.is_feed).map(|entity| entity.name);
    // What the address names and no list has.
    let other = |name: &str, known: bool| visit.parameter(name).filter(|_| !known).map(str::to_owned);
    let actor = other("actor", ACTORS.iter().any(|(name, _, _)| chosen("actor", name)));
    let kind = other("kind", kinds.clone().any(|name| chosen("kind", name)));
    html! {
        form.tools method="get" action="/activity" data-filters {
            select.pick.short name="actor" aria-label="Actor" autocomplete="off" {
                option value="" { "All actors" }
                @for (name, label, _) in ACTORS { option value=(name) selected[chosen("actor", name)] { (label) } }
                @if let Some(actor) = actor { option value=(actor) selected { (actor) } }
            }
            select.pick.short name="verb" aria-label="Verb" autocomplete="off" {
                option value="" { "All changes" }
                @for (name, label) in VERBS { option value=(name) selected[chosen("verb", name)] { (label) } }
            }
            select.pick.short name="kind" aria-label="Kind" autocomplete="off" {
                option value="" { "All kinds" }
                @for name in kinds { option value=(name) selected[chosen("kind", name)] { (name.replace('_', " ")) } }
                @if let Some(kind) = kind { option value=(kind) selected { (kind) } }
            }
            @for name in ["agent", "record"] {
                @if let Some(value) = visit.parameter(name) {
                    label.chip { (name) ": " (value) input type="hidden" name=(name) value=(value); }
                }
            }
            noscript { button.btn type="submit" { "Show" } }
            @if ["actor", "verb", "kind", "agent", "record"].iter().any(|name| visit.parameter(name).is_some()) {
                a.btn.bare href="/activity" { "Clear" }
            }
            @if is_live {
                span.push.who.soft data-live-state hidden { span.live {} span.hide-s { "Live" } }
                span.sr aria-live="polite" data-fresh-count {}
                button.btn.main.mini type="button" data-fresh hidden {}
                button.btn.bare type="button" data-pause aria-pressed="false" hidden { (parts::icon("pause")) "Pause" }
            }
        }
    }
}

fn nothing(visit: &PageVisit<'_>, is_unfiltered: bool) -> Markup {
    let command = format!(
        "curl -X POST {}/v1/contacts \\\n  -H \"Authorization: Bearer $KEY\" -H \"Content-Type: application/json\" \\\n  -H \"X-Agent: scout\" -H \"X-Run-Id: first\" -H \"X-Reason: Try it\" \\\n  -d '{{\"email\": \"sarah@acme.example\"}}'",
        visit.app.public_url
    );
    html! {
        div.pad {
            @match is_unfiltered {
                true => (blank(
                    "Nothing has happened yet",
                    "Each change of a record appears here: who made it, why, what stood there before, and a way back. Make one with a key of yours:",
                    html! { div.code { pre tabindex="0" { (command) } button.btn.mini type="button" data-copy="" { "Copy" } } p.btns { a.btn href="/api-keys" { "API keys" } } },
                )),
                false => (blank(
                    "Nothing fits these filters",
                    "Choose others, or look at everything.",
                    html! { p.btns { a.btn href="/activity" { "Show everything" } } },
                )),
            }
        }
    }
}

fn latest_runs(runs: &[Value], names: &Names) -> Markup {
    html! {
        section.sect.first {
            header { h2 { "Latest runs" } a.link.push href="/runs" { "All runs" } }
            @if runs.is_empty() { p.soft { "A request with the header " code { "X-Run-Id" } " begins a run." } }
            ul.rows {
                @for run in runs {
                    @let (actor, agent) = (run["actor"].as_str().unwrap_or_default(), run["agent"].as_str());
                    li {
                        (names.hand(actor, agent))
                        div.grow {
                            p.cut { a.name href=(run_address(run["id"].as_str().unwrap_or_default(), actor)) { (names.who(actor, agent)) } " " span.faint { (parts::time(run["last_at"].as_str().unwrap_or_default())) } }
                            p.soft.cut { (affected(run)) }
                        }
                        @if run["status"] == "undone" { span.chip.push { "undone" } }
                    }
                }
            }
        }
    }
}

/// What a run has changed, in words.
pub fn affected(run: &Value) -> String {
    let tables = run["affected"].as_object();
    let mut done = Vec::new();
    for (verb, word) in
        [("created", "created"), ("updated", "changed"), ("deleted", "deleted"), ("restored", "restored")]
    {
        for (table, counts) in tables.into_iter().flatten() {
            let count = counts[verb].as_u64().unwrap_or_default();
            if count > 0 {
                done.push((word, many(count as usize, table)));
            }
        }
    }
    if done.is_empty() { "changed nothing".to_owned() } else { by_verb(done.into_iter()) }
}

fn writes_today(writes: &[Value], names: &Names) -> Markup {
    let count = |row: &Value| row["writes"].as_u64().unwrap_or_default();
    html! {
        @if !writes.is_empty() {
            section.sect {
                header { h2 { "Writes, 24 hours" } span.push.num { (parts::grouped(writes.iter().map(count).sum())) " writes" } }
                table.grid.plain aria-label="Writes in 24 hours, by source" {
                    colgroup { col; col width="72"; }
                    tbody {
                        @for row in writes {
                            @let (actor, agent) = (row["actor"].as_str().unwrap_or_default(), row["agent"].as_str());
                            tr { td { (names.shown(actor, agent)) } td.num { (parts::grouped(count(row))) } }
                        }
                    }
                }
            }
        }
    }
}
