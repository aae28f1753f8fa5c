//! The pages /runs and /runs/:id: what an agent did under one name, and the way back.

use maud::{Markup, html};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use crm::model::fault::Fault;

use crate::door::pages::activity::affected;
use crate::door::pages::layout::Page;
use crate::door::pages::ledger::{address_of, diff};
use crate::door::pages::names::Names;
use crate::door::pages::parts::{self, blank, icon};
use crate::door::pages::visit::PageVisit;
use crate::door::pages::{IN_QUERY, IN_SEGMENT, pager};

/// The runs or changes of a page.
const LIMIT: usize = 50;
const STATUSES: &[&str] = &["open", "complete", "failed", "undone"];

/// The page.
pub async fn page(visit: &PageVisit<'_>, rest: &[&str]) -> Result<Option<Page>, Fault> {
    match rest {
        [] => list(visit).await.map(Some),
        [run] => one(visit, run).await,
        _ => Ok(None),
    }
}

async fn list(visit: &PageVisit<'_>) -> Result<Page, Fault> {
    let given =
        ["status", "agent", "actor", "since"].into_iter().filter_map(|name| Some((name, visit.parameter(name)?)));
    let filters: Vec<(&str, &str)> = given.collect();
    let query = pager::query(visit, &filters, LIMIT);
    let listed = visit.get(&format!("runs?{query}")).await?;
    let runs = listed["data"].as_array().cloned().unwrap_or_default();
    let names = Names::of(visit, &runs).await;
    let live = pager::is_first(visit).then(|| format!("runs?{query}"));
    let body = html! {
        (tools(visit, !filters.is_empty()))
        div.scroller data-live=[live] data-live-every="4" {
            @if runs.is_empty() { div.pad { (nothing(!filters.is_empty())) } } @else { (table(&runs, &names)) }
            (pager::links(visit, &listed))
        }
    };
    Ok(Page { is_full: true, scripts: &["feed.js"], ..Page::new("Runs", "/runs", body) })
}

fn tools(visit: &PageVisit<'_>, is_filtered: bool) -> Markup {
    let chosen = visit.parameter("status").unwrap_or_default();
    html! {
        form.tools method="get" action="/runs" data-filters {
            select.pick.short name="status" aria-label="Status" autocomplete="off" {
                option value="" { "All statuses" }
                @for status in STATUSES { option value=(status) selected[chosen == *status] { (status) } }
            }
            input.input.short name="agent" aria-label="Agent" placeholder="Agent" value=[visit.parameter("agent")] autocomplete="off";
            @for name in ["actor", "since"] {
                @if let Some(value) = visit.parameter(name) { input type="hidden" name=(name) value=(value); }
            }
            button.btn type="submit" { "Show" }
            @if is_filtered { a.btn.bare href="/runs" { "Clear" } }
            span.sr aria-live="polite" data-fresh-count {}
            button.btn.main.mini.push type="button" data-fresh hidden {}
        }
    }
}

fn nothing(is_filtered: bool) -> Markup {
    match is_filtered {
        true => blank(
            "No run fits these filters",
            "Choose others, or look at all runs.",
            html! { p.btns { a.btn href="/runs" { "Show all runs" } } },
        ),
        false => blank(
            "No agent has run yet",
            "All that a key does under one X-Run-Id is a run: it can be looked at and undone as a whole. An agent sends these headers with its requests:",
            html! { div.code { pre tabindex="0" { "X-Agent: scout\nX-Run-Id: enrich-2026-11-28\nX-Reason: Fill in what the web knows" } button.btn.mini type="button" data-copy="" { "Copy" } } },
        ),
    }
}

fn table(runs: &[Value], names: &Names) -> Markup {
    html! {
        table.grid.stack aria-label="Runs" {
            colgroup { col width="220"; col width="150"; col; col width="104"; col; col width="88"; col width="96"; col width="96"; }
            thead { tr {
                th scope="col" { "Run" } th scope="col" { "By" } th scope="col" { "Reason" } th scope="col" { "Status" } th scope="col" { "Changes" }
                th.num scope="col" { "Requests" } th.num scope="col" { "Started" } th.num scope="col" { "Last" }
            } }
            tbody {
                @for run in runs {
                    @let (actor, agent) = (run["actor"].as_str().unwrap_or_default(), run["agent"].as_str());
                    tr {
                        td data-m="title" { a.name href=(format!("/runs/{}", parts::text(&run["id"]))) { (name(run)) } }
                        td { (names.shown(actor, agent)) }
                        td { @if let Some(reason) = run["reason"].as_str() { span.why.cut { (reason) } } }
                        td data-m="end" { (status(run)) }
                        td data-m="sub" { (affected(run)) }
                        td.num { (parts::text(&run["requests"])) }
                        td.num { (parts::time(&parts::text(&run["started_at"]))) }
                        td.num data-m="end2" { (parts::time(&parts::text(&run["last_at"]))) }
                    }
                }
            }
        }
    }
}

/// The name of a run: the caller's own, or what it is.
fn name(run: &Value) -> String {
    let (id, own) = (parts::text(&run["id"]), parts::text(&run["run_id"]));
    match own.is_empty() || own == id {
        true if !run["undo_of"].is_null() => "Undo".to_owned(),
        true => format!("Run {}", parts::short_run(&id)),
        false => own,
    }
}

fn status(run: &Value) -> Markup {
    html! {
        @match run["status"].as_str().unwrap_or_default() {
            "complete" => span.chip.calm { (icon("check")) "complete" },
            "failed" => span.chip.bad { (icon("circle-alert")) "failed" },
            "undone" => span.chip { (icon("undo-2")) "undone" },
            other => span.chip.calm { (other) },
        }
    }
}

async fn one(visit: &PageVisit<'_>, id: &str) -> Result<Option<Page>, Fault> {
    let Some(run) = found(visit, id).await? else { return Ok(None) };
    let id = parts::text(&run["id"]);
    let query = pager::query(visit, &[], LIMIT);
    let changes = visit.get(&format!("runs/{id}/changes?net=true&{query}")).await?;
    let rows = changes["data"].as_array().cloned().unwrap_or_default();
    let records = ChangedRecords::of(visit, &rows).await;
    let names = Names::of(visit, &[std::slice::from_ref(&run), &rows[..]].concat()).await;
    let can_undo = visit.may_write() && run["undoable"] != "no";
    let body = html! {
        div.cols {
            @if run["undone_by"].is_string() { (undone(visit, &run)) }
            section.sect.first.c4 aria-label="About the run" { (facts(&run, &names)) }
            section.sect.first.c8 aria-labelledby="changes-heading" {
                header { h2 #changes-heading { "Changes" } span.push { (affected(&run)) } }
                @if rows.is_empty() { p.soft { "No change of this run stands, or none is kept." } }
                @else { ol.net { @for change in &rows { (net(change, &records, &names)) } } }
                (pager::links(visit, &changes))
            }
        }
    };
    let title = name(&run);
    let title = if title.to_lowercase().starts_with("run") || title == "Undo" { title } else { format!("Run {title}") };
    let actions = html! {
        @if can_undo {
            button.btn type="button" data-undo-run=(id) { (icon("undo-2")) "Undo run" }
        }
    };
    let beside = html! { (status(&run)) };
    Ok(Some(Page { beside, actions, scripts: &["feed.js", "runs.js"], ..Page::new(title, "/runs", body) }))
}

/// A run by its id, or by the name that an actor has given it (`?actor=`).
async fn found(visit: &PageVisit<'_>, id: &str) -> Result<Option<Value>, Fault> {
    if let Some(mut found) = visit.find(&format!("runs/{}", utf8_percent_encode(id, IN_SEGMENT))).await? {
        return Ok(Some(found["data"].take()));
    }
    let Some(actor) = visit.parameter("actor") else { return Ok(None) };
    let encoded = |text| utf8_percent_encode(text, IN_QUERY);
    let listed = visit.get(&format!("runs?actor={}&run_id={}&limit=1", encoded(actor), encoded(id))).await?;
    Ok(listed["data"].get(0).cloned())
}

fn facts(run: &Value, names: &Names) -> Markup {
    let text = |name: &str| run[name].as_str().filter(|text| !text.is_empty());
    let actor = text("actor").unwrap_or_default();
    let undoable = match run["undoable"].as_str() {
        Some("whole") => "All of it",
        Some("partly") => "A part of it",
        _ => "No",
    };
    let why: Vec<String> = run["why"].as_array().into_iter().flatten().map(parts::text).collect();
    html! {
        dl.facts {
            dt { "By" } dd { (names.shown(actor, text("agent"))) }
            dt { "Actor" } dd { a.link href=(format!("/activity?actor={}", utf8_percent_encode(actor, IN_QUERY))) { code { (actor) } } }
            @if let Some(agent) = text("agent") { dt { "Agent" } dd { (agent) } }
            @if let Some(reason) = text("reason") { dt { "Reason" } dd { span.why { (reason) } } }
            @if let Some(summary) = text("summary") { dt { "Summary" } dd { (summary) } }
            dt { "Status" } dd { (status(run)) }
            dt { "Started" } dd { (parts::time(text("started_at").unwrap_or_default())) }
            dt { "Last change" } dd { (parts::time(text("last_at").unwrap_or_default())) }
            dt { "Requests" } dd.num { (parts::text(&run["requests"])) }
            dt { "Can be undone" } dd { (undoable) @if !why.is_empty() { ": " (why.join("; ")) "." } }
            @if let Some(other) = text("undo_of") { dt { "Undoes" } dd { (link_to_undone(other)) } }
            @if let Some(other) = text("undone_by") { dt { "Undone by" } dd { (run_link(other)) } }
            @if let Some(cause) = text("caused_by") { dt { "Fired by" } dd { @if cause.starts_with("run_") { (run_link(cause)) } @else { code { (cause) } } } }
            dt { "Id" } dd { code { (parts::text(&run["id"])) } }
        }
    }
}

fn run_link(id: &str) -> Markup {
    html! { a.link href=(format!("/runs/{}", utf8_percent_encode(id, IN_SEGMENT))) { code { (id) } } }
}

/// What an undo has undone: a run, a request or an entry of the feed.
fn link_to_undone(target: &str) -> Markup {
    match target.starts_with("run_") {
        true => run_link(target),
        false => html! { code { (target) } },
    }
}

fn undone(visit: &PageVisit<'_>, run: &Value) -> Markup {
    let by = parts::text(&run["undone_by"]);
    html! {
        div.c12.undone-note {
            div.note {
                (icon("undo-2"))
                span { "This run is undone, by the run " (run_link(&by)) "." }
                @if visit.may_write() {
                    button.btn.mini.push type="button" data-undo-run=(by) data-title="Undo the undo" { (icon("redo-2")) "Undo the undo" }
                }
            }
        }
    }
}

/// The names of records, from the entries of the feed about them.
struct ChangedRecords(Vec<(String, String)>);

impl ChangedRecords {
    async fn of(visit: &PageVisit<'_>, changes: &[Value]) -> ChangedRecords {
        let ids: Vec<&str> = changes.iter().filter_map(|change| change["activity_id"].as_str()).collect();
        if ids.is_empty() {
            return ChangedRecords(Vec::new());
        }
        let found = visit.get(&format!("activity?limit={}&id={}", ids.len(), ids.join(","))).await.unwrap_or_default();
        let named = found["data"].as_array().into_iter().flatten().filter_map(|entry| {
            let name = entry["subject_repr"].as_str().map(str::trim).filter(|name| !name.is_empty())?;
            Some((entry["subject_id"].as_str()?.to_owned(), name.to_owned()))
        });
        ChangedRecords(named.collect())
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.iter().find(|(other, _)| other == id).map_or(id, |(_, name)| name)
    }
}

/// The net change of a record.
fn net(change: &Value, records: &ChangedRecords, names: &Names) -> Markup {
    let (table, id) = (parts::text(&change["table"]), parts::text(&change["id"]));
    let verb = change["verb"].as_str().unwrap_or_default();
    let word = if verb == "updated" { "changed" } else { verb };
    html! {
        li {
            p.say {
                span.soft { (word) } " "
                @match address_of(&table, &id) {
                    Some(address) => a.link href=(address) data-record=(id) { (records.name(&id)) },
                    None => span.name data-record=(id) { (records.name(&id)) },
                }
                " " span.meta { (table) @if change["via"] == "cascade" { ", by a foreign key" } @if change["via"] == "trigger" { ", by a trigger" } }
            }
            @if let Some(columns) = change["changes"].as_object() {
                @let shown = told(columns);
                @if !shown.is_empty() && verb != "restored" { (diff(&shown, names.currency(&id))) }
            }
        }
    }
}

/// The columns that tell something: not the id, times of the row itself, and empty objects.
fn told(columns: &serde_json::Map<String, Value>) -> serde_json::Map<String, Value> {
    let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    let tells = |(name, sides): &(&String, &Value)| {
        let is_quiet = matches!(name.as_str(), "id" | "created_at" | "updated_at" | "deleted_at");
        !is_quiet && [&sides["from"], &sides["to"]].into_iter().any(|side| !is_empty(side))
    };
    columns.iter().filter(tells).map(|(name, sides)| (name.clone(), sides.clone())).collect()
}
