//! The pages /automations and /automations/:id: the rules, and the runs of one of them.

use futures_util::future::join_all;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crm::model::entity::ENTITIES;
use crm::model::event::{PIPELINE_CHANGED, STAGE_CHANGED, VERBS};
use crm::model::fault::Fault;
use crm::plan::automation::{ACTION_TYPES, KINDS, OPS, TARGETS};

use crate::door::pages::control::{actor, back, chip, rows, took, word};
use crate::door::pages::layout::{Page, dialog};
use crate::door::pages::parts::{self, icon, time};
use crate::door::pages::visit::PageVisit;
use crate::door::pages::{IN_QUERY, own_tables};

/// The page.
pub async fn page(visit: &PageVisit<'_>, rest: &[&str]) -> Result<Option<Page>, Fault> {
    match rest {
        [] => list(visit).await.map(Some),
        [id] => one(visit, id).await,
        _ => Ok(None),
    }
}

// -- The rules --

async fn list(visit: &PageVisit<'_>) -> Result<Page, Fault> {
    let listed = visit.get("automations?limit=200").await?;
    let rules = rows(&listed);
    let newest = join_all(rules.iter().map(|it| last_run(visit, it))).await;
    let newest = newest.into_iter().collect::<Result<Vec<_>, Fault>>()?;
    let form = if visit.may_write() { Some(form(visit, None).await?) } else { None };
    let body = html! {
        @if rules.is_empty() {
            div.cols { div.c8 { (parts::blank(
                "No rule yet",
                "A rule waits for an event, checks its conditions, and acts: it moves the deal, logs an activity, sets a field or sends an e-mail. What it writes can be undone like any run. For example:",
                html! { div.rule {
                    h3 { "When" } div { p.clause { code.inline { "deal.stage_changed" } } }
                    h3 { "If" } div { p.clause { code.inline { "new_stage" } span.soft { "eq" } code.inline { "won" } } }
                    h3 { "Then" } div { p.clause { b.mono { "create_activity" } span.soft { "subject" } code.inline { "Send the contract" } } }
                } },
            )) } }
        } @else {
            div.scroller tabindex="0" role="region" aria-label="Rules" {
                table.grid.stack aria-label="Automations" {
                    colgroup { col; col width="200"; col width="280"; col width="130"; col width="200"; }
                    thead { tr { th scope="col" { "Rule" } th scope="col" { "When" } th scope="col" { "Then" } th scope="col" { "State" } th scope="col" { "Last run" } } }
                    tbody { @for (it, last) in rules.iter().zip(&newest) {
                        tr.gone[it["enabled"] != true] {
                            td data-m="title" { a.name href={ "/automations/" (word(it, "id")) } { (word(it, "name")) } }
                            td.mono data-m="sub" { (word(it, "trigger_event")) }
                            td { @for action in array(&it["actions"]) { span.chip.mono { (word(action, "type")) } " " } }
                            td data-m="end" { (state(it)) }
                            td data-m="end2" { @match last {
                                None => span.faint { "never" },
                                Some(run) => { (status(run)) " " span.soft { (time(word(run, "created_at"))) } }
                            } }
                        }
                    } }
                }
            }
        }
        @if let Some(form) = form { (dialog("new-automation", "New automation", form)) }
    };
    let mut page = Page::new("Automations", "/automations", body);
    page.beside = html! { @if !rules.is_empty() { span.count { (rules.len()) } } };
    if visit.may_write() {
        page.actions = html! { button.btn.main type="button" data-open="new-automation" data-new { (icon("plus")) span { "New automation" } } };
    }
    (page.is_full, page.scripts) = (true, &["automations.js"]);
    Ok(page)
}

async fn last_run(visit: &PageVisit<'_>, rule: &Value) -> Result<Option<Value>, Fault> {
    let found = visit.get(&format!("automations/{}/runs?limit=1", word(rule, "id"))).await?;
    Ok(rows(&found).first().cloned())
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn state(it: &Value) -> Markup {
    match (it["enabled"] == true, it["disabled_reason"].as_str()) {
        (true, _) if it["behind_since"].is_string() => chip("wait", "clock", "behind"),
        (true, _) => chip("calm", "check", "on"),
        (false, None) => chip("calm", "pause", "off"),
        (false, Some(why)) => html! { span title=(why) { (chip("bad", "x", "switched off")) } },
    }
}

/// A run's status. The API's word is in it.
fn status(run: &Value) -> Markup {
    match word(run, "status") {
        "success" => chip("calm", "check", "success"),
        "error" => chip("bad", "x", "error"),
        other => html! { span.chip { (other) } },
    }
}

// -- The form of a rule --

/// The events that can fire a rule.
fn triggers(tables: &[String]) -> Vec<String> {
    let entities = ENTITIES.iter().filter(|it| !it.is_feed).map(|it| it.name);
    let mut all = vec!["*".to_owned(), STAGE_CHANGED.to_owned(), PIPELINE_CHANGED.to_owned()];
    for name in entities.chain(tables.iter().map(String::as_str)) {
        all.push(format!("{name}.*"));
        all.extend(VERBS.map(|verb| format!("{name}.{verb}")));
    }
    all
}

async fn form(visit: &PageVisit<'_>, rule: Option<&Value>) -> Result<Markup, Fault> {
    let tables = own_tables(visit).await?;
    let stages = visit.get("pipeline_stages?limit=200").await?;
    let mut stages: Vec<&Value> = rows(&stages).iter().collect();
    stages.sort_by_key(|it| (word(it, "pipeline").to_owned(), it["position"].as_i64()));
    let pipelines: Vec<&str> =
        stages.iter().map(|it| word(it, "pipeline")).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    let options = |names: &[&str]| html! { @for name in names { option value=(name) { (name) } } };
    let chosen = rule.map_or(STAGE_CHANGED, |it| word(it, "trigger_event"));
    let mut events = triggers(&tables);
    if !events.iter().any(|it| it == chosen) {
        events.push(chosen.to_owned());
    }
    Ok(html! {
        form.form.parts data-rule=(rule.map_or("", |it| word(it, "id"))) data-now=[rule.map(Value::to_string)] novalidate {
            (parts::field("rule-name", "Name", "", html! {
                input.input #rule-name name="name" required maxlength="200" value=(rule.map_or("", |it| word(it, "name"))) autocomplete="off";
            }))
            (parts::field("rule-trigger", "Trigger", "", html! {
                select.pick #rule-trigger name="trigger_event" { @for it in &events { option value=(it) selected[it == chosen] { (it) } } }
            }))
            div.clauses data-conditions {}
            p { button.btn.mini type="button" data-add-condition { (icon("plus")) "Add condition" } }
            div.clauses data-actions {}
            p { button.btn.mini type="button" data-add-action { (icon("plus")) "Add action" } }
            datalist #event-fields {
                @for name in ["new_stage", "old_stage", "new_pipeline", "stage", "pipeline", "type", "name", "email", "amount_cents", "custom.", "previous."] { option value=(name) {} }
            }
            template data-condition {
                div.clause-of data-part {
                    div.field { span.label aria-hidden="true" { "Field" } input.input.mono aria-label="Field" data-as="field" list="event-fields" autocomplete="off" spellcheck="false"; }
                    div.field { span.label aria-hidden="true" { "Operator" } select.pick aria-label="Operator" data-as="op" { (options(&OPS)) } }
                    div.field { span.label aria-hidden="true" { "Value" } input.input aria-label="Value" data-as="value" autocomplete="off" spellcheck="false"; }
                    button.btn.bare.square type="button" data-remove aria-label="Remove" { (icon("x")) }
                }
            }
            template data-action {
                div.clause-of data-part {
                    div.field { span.label aria-hidden="true" { "Action" } select.pick aria-label="Action" data-as="type" { option value="" { "Choose what it does" } (options(&ACTION_TYPES)) } }
                    div.of-action {}
                    button.btn.bare.square type="button" data-remove aria-label="Remove" { (icon("x")) }
                }
            }
            template data-of="move_deal_stage" {
                div.field { span.label aria-hidden="true" { "Stage" } select.pick aria-label="Stage" data-as="stage" {
                    option value="" { "Choose" }
                    @for (at, it) in stages.iter().enumerate() {
                        @if !stages[..at].iter().any(|other| other["key"] == it["key"]) { option value=(word(it, "key")) { (word(it, "key")) } }
                    }
                } }
                @if pipelines.len() > 1 {
                    div.field { span.label aria-hidden="true" { "Pipeline" } select.pick aria-label="Pipeline" data-as="pipeline" data-optional { option value="" { "the deal's own" } (options(&pipelines)) } }
                }
            }
            template data-of="create_activity" {
                div.field { span.label aria-hidden="true" { "Activity type" } select.pick aria-label="Activity type" data-as="activity_type" { (options(&KINDS)) } }
                div.field { span.label aria-hidden="true" { "Subject" } input.input aria-label="Subject" data-as="subject" data-optional autocomplete="off"; }
                div.field { span.label aria-hidden="true" { "Body" } input.input aria-label="Body" data-as="body" data-optional autocomplete="off"; }
            }
            template data-of="set_metadata" {
                div.field { span.label aria-hidden="true" { "Target" } select.pick aria-label="Target" data-as="target" { (options(&TARGETS)) } }
                div.field { span.label aria-hidden="true" { "Key" } input.input.mono aria-label="Key" data-as="key" autocomplete="off" spellcheck="false"; }
                div.field { span.label aria-hidden="true" { "Set to" } input.input aria-label="Set to" data-as="value" data-json autocomplete="off"; }
            }
            template data-of="send_email" {
                div.field { span.label aria-hidden="true" { "To" } input.input.mono aria-label="To" data-as="to" autocomplete="off" spellcheck="false"; }
                div.field { span.label aria-hidden="true" { "Subject" } input.input aria-label="Subject" data-as="subject" autocomplete="off"; }
                div.field { span.label aria-hidden="true" { "Text" } input.input aria-label="Text" data-as="text" data-optional autocomplete="off"; }
                div.field { span.label aria-hidden="true" { "HTML" } input.input aria-label="HTML" data-as="html" data-optional autocomplete="off"; }
                div.field { span.label aria-hidden="true" { "From" } input.input.mono aria-label="From" data-as="from" data-optional autocomplete="off" spellcheck="false"; }
            }
            p.soft.small { "A number, true and false are taken as such; put a text like \"100\" in quotes. With in, separate the values by commas." }
            p.btns {
                button.btn.main type="submit" { (if rule.is_some() { "Save" } else { "Create" }) }
                button.btn.bare type="button" data-close { "Cancel" }
            }
        }
    })
}

// -- One rule --

async fn one(visit: &PageVisit<'_>, id: &str) -> Result<Option<Page>, Fault> {
    let path = format!("automations/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
    let Some(found) = visit.find(&path).await? else { return Ok(None) };
    let it = &found["data"];
    let mut listed = format!("{path}/runs?limit=50");
    if let Some(cursor) = visit.parameter("cursor") {
        listed = format!("{listed}&cursor={}", utf8_percent_encode(cursor, IN_QUERY));
    }
    let listed = visit.get(&listed).await?;
    let may_write = visit.may_write();
    let form = if may_write { Some(form(visit, Some(it)).await?) } else { None };
    let body = html! {
        div.cols data-automation=(word(it, "id")) data-trigger=(word(it, "trigger_event")) { div.c12 {
            div.btns {
                (back("/automations", "All automations"))
                @if may_write {
                    label.who.soft { input.switch #enabled type="checkbox" role="switch" data-enabled checked[it["enabled"] == true] autocomplete="off"; "Enabled" }
                    span.push.btns {
                        button.btn type="button" data-try { (icon("play")) "Test" }
                        button.btn type="button" data-open="edit-automation" { (icon("pencil")) "Edit" }
                        button.btn.danger type="button" data-delete { (icon("trash-2")) "Delete" }
                    }
                }
            }
            @if let Some(why) = it["disabled_reason"].as_str() { p.note.bad { (icon("circle-alert")) span { "Kith has switched it off: " (why) } } }
            @if let Some(since) = it["behind_since"].as_str() { p.note { (icon("clock")) span { "Its queue is full since " (time(since)) ". Later events wait in the change log." } } }
            (sentences(it))
            p.soft { "Made by " (actor(word(it, "created_by"))) ", " (time(word(it, "created_at"))) ". It acts with a member's rights. " code { (word(it, "id")) } }
            (runs(it, &listed))
        } }
        @if let Some(form) = form {
            (dialog("edit-automation", "Edit automation", form))
            (dialog("try-automation", "Test the rule", html! {
                form.form.parts data-try-form novalidate {
                    p.soft { "This says what the rule would do. Nothing is kept, and nothing is sent." }
                    (parts::field("try-event", "Event", "", html! { textarea.input.area.mono #try-event name="event" rows="10" required spellcheck="false" {} }))
                    div data-outcome aria-live="polite" {}
                    p.btns { button.btn.main type="submit" { "Try it" } button.btn.bare type="button" data-close { "Close" } }
                }
            }))
        }
    };
    let mut page = Page::new(word(it, "name"), "/automations", body);
    page.beside = state(it);
    page.scripts = &["automations.js"];
    Ok(Some(page))
}

/// The rule in words: when, if, then.
fn sentences(it: &Value) -> Markup {
    let conditions = array(&it["conditions"]);
    html! {
        div.rule {
            h2 { "When" } div { p.clause { code.inline { (word(it, "trigger_event")) } } }
            h2 { "If" }
            div {
                @if conditions.is_empty() { p.clause.soft { "always" } }
                @for (at, part) in conditions.iter().enumerate() {
                    p.clause {
                        span.and { (if at == 0 { "" } else { "and" }) }
                        code.inline { (word(part, "field")) } span.soft { (word(part, "op")) }
                        @if !part["value"].is_null() { code.inline { (part["value"]) } }
                    }
                }
            }
            h2 { "Then" }
            div {
                @for (at, part) in array(&it["actions"]).iter().enumerate() {
                    p.clause {
                        span.and.num { (at + 1) } b.mono { (word(part, "type")) }
                        @for (name, value) in part.as_object().into_iter().flatten().filter(|(name, _)| *name != "type") {
                            span.soft { (name) } code.inline { (parts::text(value)) }
                        }
                    }
                }
            }
        }
    }
}

fn runs(it: &Value, listed: &Value) -> Markup {
    let found = rows(listed);
    let signature: String = found.iter().map(|run| format!("{} ", word(run, "id"))).collect();
    html! {
        section.sect aria-labelledby="runs-heading" data-signature=(signature.trim_end()) {
            header { h2 #runs-heading { "Runs" } span.push.soft { "kept for 30 days, the newest 10,000" } }
            @if found.is_empty() { p.soft { "It has not run yet. Each event that fires it shows here, skipped ones too." } }
            @else {
                table.grid.plain.stack aria-label="Runs" {
                    colgroup { col width="110"; col width="190"; col; col width="90"; col width="80"; col width="120"; }
                    thead { tr { th scope="col" { "Status" } th scope="col" { "Event" } th scope="col" { "What came of it" } th.num scope="col" { "Took" } th.num scope="col" { "When" } th scope="col" { "Changes" } } }
                    tbody { @for run in found {
                        tr {
                            td data-m="end" { (status(run)) }
                            td.mono data-m="title" { (word(run, "event_type")) }
                            td data-m="sub" title=(word(run, "error")) { (outcomes(run)) }
                            td.num { (took(&run["duration_ms"])) }
                            td.num.soft data-m="end2" { (time(word(run, "created_at"))) }
                            td { @if array(&run["actions"]).iter().any(|it| it["status"] == "success") { a.link href={ "/runs/" (word(run, "id")) } { "Open the run" } } }
                        }
                    } }
                }
            }
            @if let Some(cursor) = listed["_meta"]["next_cursor"].as_str() {
                p.btns.after { a.btn href={ "/automations/" (word(it, "id")) "?cursor=" (utf8_percent_encode(cursor, IN_QUERY)) } { "Next" } }
            }
        }
    }
}

fn outcomes(run: &Value) -> Markup {
    html! {
        @if run["status"] == "skipped" { span.soft { (run["error"].as_str().unwrap_or("The conditions did not hold.")) } }
        @for it in array(&run["actions"]) {
            span.who { code { (word(it, "type")) } @if let Some(why) = it["error"].as_str() { span.madder { (why) } } @else { span.soft { (word(it, "status")) } } } " "
        }
        @if array(&run["actions"]).is_empty() && run["status"] != "skipped" && !run["error"].is_null() { span.madder { (word(run, "error")) } }
    }
}
