//! The pages /webhooks and /webhooks/:id: the endpoints that events are sent to, and what was sent to one of them.

use futures_util::future::join_all;
use maud::{Markup, html};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use crm::model::entity::ENTITIES;
use crm::model::event::{PIPELINE_CHANGED, STAGE_CHANGED, VERBS};
use crm::model::fault::Fault;

use crate::door::pages::control::{actor, back, chip, rows, took, until, word};
use crate::door::pages::layout::{Page, dialog};
use crate::door::pages::parts::{self, icon, time};
use crate::door::pages::visit::PageVisit;
use crate::door::pages::{IN_QUERY, own_tables};

/// The records whose events most subscribers want.
const MAIN: [&str; 4] = ["contact", "company", "deal", "activity"];
/// The attempts of a delivery.
const ATTEMPTS: u64 = 8;

/// The page.
pub async fn page(visit: &PageVisit<'_>, rest: &[&str]) -> Result<Option<Page>, Fault> {
    match rest {
        [] => list(visit).await.map(Some),
        [id] => one(visit, id).await,
        _ => Ok(None),
    }
}

// -- The endpoints --

async fn list(visit: &PageVisit<'_>) -> Result<Page, Fault> {
    let listed = visit.get("webhooks?limit=200").await?;
    let endpoints = rows(&listed);
    let newest = endpoints.iter().map(|it| last_delivery(visit, it));
    let newest = join_all(newest).await.into_iter().collect::<Result<Vec<_>, Fault>>()?;
    let tables = own_tables(visit).await?;
    let body = html! {
        @if endpoints.is_empty() { div.cols { div.c8 { (nothing_yet(visit)) } } }
        @else {
            div.scroller tabindex="0" role="region" aria-label="Endpoints" {
                table.grid.stack aria-label="Webhooks" {
                    colgroup { col; col width="290"; col width="140"; col width="230"; }
                    thead { tr {
                        th scope="col" { "Endpoint" } th scope="col" { "Events" } th scope="col" { "State" } th scope="col" { "Last delivery" }
                    } }
                    tbody { @for (it, last) in endpoints.iter().zip(&newest) { (endpoint(it, last.as_ref())) } }
                }
            }
            div.foot { span { "Each change is sent at least once, and the changes of one record in their order." } }
        }
        (new_dialog(&tables))
    };
    let mut page = Page::new("Webhooks", "/webhooks", body);
    page.beside = html! { @if !endpoints.is_empty() { span.count { (endpoints.len()) } } };
    if visit.may_write() {
        page.actions = html! {
            button.btn.main type="button" data-open="new-webhook" data-new { (icon("plus")) span { "New webhook" } }
        };
    }
    (page.is_full, page.scripts) = (true, &["webhooks.js"]);
    Ok(page)
}

async fn last_delivery(visit: &PageVisit<'_>, endpoint: &Value) -> Result<Option<Value>, Fault> {
    let found = visit.get(&format!("webhooks/{}/deliveries?limit=1", word(endpoint, "id"))).await?;
    Ok(rows(&found).first().cloned())
}

fn endpoint(it: &Value, last: Option<&Value>) -> Markup {
    let events = it["events"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        tr.gone[it["enabled"] != true] {
            td data-m="title" { a.mono.name href={ "/webhooks/" (word(it, "id")) } { (word(it, "url")) } @if !word(it, "description").is_empty() { " " span.soft { (word(it, "description")) } } }
            td data-m="sub" { (patterns(events, 2)) }
            td data-m="end" { (state(it)) }
            td data-m="end2" {
                @match last {
                    None => span.faint { "nothing yet" },
                    Some(last) => { (status(last)) " " span.soft { (time(word(last, "created_at"))) } }
                }
            }
        }
    }
}

/// The patterns of events, and how many more there are.
fn patterns(events: &[Value], most: usize) -> Markup {
    html! {
        @for event in events.iter().take(most) { span.chip.mono { (if event == "*" { "all events" } else { event.as_str().unwrap_or("") }) } " " }
        @if events.len() > most { span.chip { "+" (events.len() - most) } }
    }
}

fn state(it: &Value) -> Markup {
    if it["enabled"] != true {
        return match it["disabled_reason"].as_str() {
            Some(why) => html! { span title=(why) { (chip("bad", "x", "switched off")) } },
            None => chip("calm", "pause", "off"),
        };
    }
    match (it["failing_since"].as_str(), it["behind_since"].as_str()) {
        (Some(_), _) => chip("wait", "triangle-alert", "failing"),
        (None, Some(_)) => chip("wait", "clock", "behind"),
        (None, None) => chip("calm", "check", "on"),
    }
}

fn nothing_yet(visit: &PageVisit<'_>) -> Markup {
    let url = &visit.app.public_url;
    let command = format!(
        "curl {url}/v1/webhooks \\\n  -H \"Authorization: Bearer $KEY\" \\\n  -H \"Content-Type: application/json\" \\\n  \
         -d '{{\"url\": \"https://example.com/hooks/kith\", \"events\": [\"deal.*\"]}}'"
    );
    parts::blank(
        "No webhook yet",
        "A webhook sends each change of a record to an address of yours: signed, in order, and again until it arrives. Changes by SQL and psql count too.",
        html! {
            div.code {
                button.btn.bare.mini type="button" data-copy { (icon("copy")) span { "Copy" } }
                pre tabindex="0" { code { (command) } }
            }
        },
    )
}

fn new_dialog(tables: &[String]) -> Markup {
    let event = |name: &str| html! { label.who { input.tick type="checkbox" name="events" value=(name); span.mono { (name) } } };
    let others = ENTITIES.iter().filter(|it| !it.is_feed && !MAIN.contains(&it.name)).map(|it| it.name);
    let others: Vec<&str> = others.chain(tables.iter().map(String::as_str)).collect();
    html! {
        (dialog("new-webhook", "New webhook", html! {
            form.form data-new-webhook novalidate {
                (parts::field("webhook-url", "URL", "", html! {
                    input.input.mono #webhook-url name="url" type="url" required maxlength="2048" placeholder="https://" autocomplete="off" spellcheck="false";
                }))
                fieldset.choices {
                    legend { "Which changes it gets" }
                    label.who { input.tick type="checkbox" name="all" value="*"; span { "All events" } }
                    div.events {
                        @for name in MAIN { @for verb in VERBS.iter().filter(|it| **it != "restored") { (event(&format!("{name}.{verb}"))) } }
                        (event(STAGE_CHANGED)) (event(PIPELINE_CHANGED))
                    }
                    details {
                        summary { "More" }
                        div.events {
                            @for name in MAIN { (event(&format!("{name}.restored"))) }
                            @for name in &others { (event(&format!("{name}.*"))) }
                        }
                    }
                }
                (parts::field("webhook-description", "Description", "", html! {
                    input.input #webhook-description name="description" maxlength="1000" placeholder="Who listens there" autocomplete="off";
                }))
                p.btns {
                    button.btn.main type="submit" { "Create" }
                    button.btn.bare type="button" data-close { "Cancel" }
                }
            }
        }))
    }
}

// -- One endpoint --

async fn one(visit: &PageVisit<'_>, id: &str) -> Result<Option<Page>, Fault> {
    let path = format!("webhooks/{}", utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC));
    let Some(found) = visit.find(&path).await? else { return Ok(None) };
    let it = &found["data"];
    let wanted = visit.parameter("status").filter(|it| matches!(*it, "pending" | "delivered" | "failed"));
    let mut listed = format!("{path}/deliveries?limit=50");
    for (name, value) in [("status", wanted), ("cursor", visit.parameter("cursor"))] {
        if let Some(value) = value {
            listed = format!("{listed}&{name}={}", utf8_percent_encode(value, IN_QUERY));
        }
    }
    let listed = visit.get(&listed).await?;
    let body = html! {
        div.split.endpoint data-webhook=(word(it, "id")) {
            section.pad aria-label="The endpoint" { (facts(visit, it)) }
            section.fill-rest.stream-of aria-labelledby="deliveries-heading" { (deliveries(visit, it, &listed, wanted)) }
        }
    };
    let mut page = Page::new(word(it, "url"), "/webhooks", body);
    page.beside = state(it);
    (page.is_full, page.scripts) = (true, &["webhooks.js"]);
    Ok(Some(page))
}

fn facts(visit: &PageVisit<'_>, it: &Value) -> Markup {
    let events = it["events"].as_array().map_or(&[][..], Vec::as_slice);
    let may_write = visit.may_write();
    html! {
        p { (back("/webhooks", "All webhooks")) }
        @if let Some(why) = it["disabled_reason"].as_str() { p.note.bad { (icon("circle-alert")) span { "Kith has switched it off: " (why) } } }
        dl.facts {
            @if may_write {
                dt { label for="enabled" { "Enabled" } }
                dd { input.switch #enabled type="checkbox" role="switch" data-enabled checked[it["enabled"] == true] autocomplete="off"; }
            } @else {
                dt { "State" } dd { (state(it)) }
            }
            dt { "Address" } dd.mono { (word(it, "url")) }
            dt { "Description" } dd { @if word(it, "description").is_empty() { span.faint { "none" } } @else { (word(it, "description")) } }
            dt { "Events" } dd.chips { (patterns(events, 100)) }
            @if let Some(since) = it["failing_since"].as_str() { dt { "Failing" } dd { "since " (time(since)) } }
            @if let Some(since) = it["behind_since"].as_str() { dt { "Behind" } dd { "since " (time(since)) ": its queue is full, and later events wait in the change log" } }
            dt { "Created" } dd { "by " (actor(word(it, "created_by"))) ", " (time(word(it, "created_at"))) }
            dt { "Id" } dd { code { (word(it, "id")) } }
        }
        @if may_write {
            div.btns.after {
                button.btn type="button" data-test { (icon("send")) "Send a test event" }
                button.btn type="button" data-rotate { (icon("key-round")) "Rotate secret" }
                button.btn.danger type="button" data-delete { (icon("trash-2")) "Delete" }
            }
            (dialog("webhook-secret", "The new secret", html! {
                p.soft { "It signs what is sent from now on, and is shown this once. For 24 hours the old one signs too, so that your receiver can change over." }
                p.secret { code.grow {} button.btn.mini type="button" data-copy { (icon("copy")) span { "Copy" } } }
                p.btns { button.btn.main type="button" data-close { "Done" } }
            }))
        }
    }
}

fn deliveries(visit: &PageVisit<'_>, it: &Value, listed: &Value, wanted: Option<&str>) -> Markup {
    let (id, found) = (word(it, "id"), rows(listed));
    let tab = |name: &str, status: Option<&str>| {
        let address =
            status.map_or_else(|| format!("/webhooks/{id}"), |status| format!("/webhooks/{id}?status={status}"));
        html! { a href=(address) aria-current=[(wanted == status).then_some("true")] { (name) } }
    };
    let signature: String =
        found.iter().map(|it| format!("{}{}{} ", word(it, "id"), word(it, "status"), it["attempts"])).collect();
    html! {
        div.tools {
            h2 #deliveries-heading { "Deliveries" }
            nav.seg.push aria-label="Status" {
                (tab("All", None)) (tab("Delivered", Some("delivered"))) (tab("Failed", Some("failed"))) (tab("Waiting", Some("pending")))
            }
        }
        div.scroller tabindex="0" role="region" aria-label="What was sent" data-signature=(signature.trim_end()) {
            @if found.is_empty() {
                div.pad {
                    @if wanted.is_some() || visit.parameter("cursor").is_some() { p.soft { "There is no such delivery." } }
                    @else { (parts::blank("Nothing was sent yet", "Change a record that it listens to, or send a test event: it shows here at once, with what the receiver said.", html! {})) }
                }
            } @else {
                table.grid.stack aria-label="Deliveries" {
                    colgroup { col width="180"; col width="110"; col width="76"; col width="66"; col width="72"; col; col width="84"; col width="76"; @if visit.may_write() { col width="100"; } }
                    thead { tr {
                        th scope="col" { "Event" } th scope="col" { "Status" } th.num scope="col" { "Answer" } th.num scope="col" { "Tries" }
                        th.num scope="col" { "Took" } th scope="col" { "What came back" } th.num scope="col" { "Next try" } th.num scope="col" { "When" }
                        @if visit.may_write() { th scope="col" { span.sr { "Again" } } }
                    } }
                    tbody { @for it in found { (delivery(visit, it)) } }
                }
            }
        }
        div.foot {
            @if visit.parameter("cursor").is_some() { a.btn.bare href={ "/webhooks/" (id) } { "Newest" } }
            @if let Some(cursor) = listed["_meta"]["next_cursor"].as_str() {
                a.btn href={ "/webhooks/" (id) "?cursor=" (utf8_percent_encode(cursor, IN_QUERY)) @if let Some(status) = wanted { "&status=" (status) } } { "Next" }
            }
            span { "Deliveries are kept for 30 days, the newest 10,000 of each status." }
            @if visit.may_write() { button.btn.push type="button" data-replay-failed { (icon("rotate-ccw")) "Send the failed ones again" } }
        }
    }
}

fn delivery(visit: &PageVisit<'_>, it: &Value) -> Markup {
    let attempts = it["attempts"].as_u64().unwrap_or(0);
    let answer = it["response_status"].as_u64();
    let came = it["error"].as_str().or(it["response_body"].as_str()).unwrap_or("");
    html! {
        tr {
            td.mono data-m="title" title=(word(it, "event_id")) { span.name { (word(it, "event_type")) } }
            td data-m="end" { (status(it)) }
            td.num.mono data-m="answer" { @if let Some(answer) = answer { (answer) } @else { span.faint { "–" } } }
            td.num { (attempts) @if attempts > 1 { span.faint { " of " (ATTEMPTS) } } }
            td.num { (took(&it["duration_ms"])) }
            td.soft data-m="sub" title=(came) { (came.chars().take(200).collect::<String>()) }
            td.num.soft {
                @if let Some(next) = it["next_attempt_at"].as_str().filter(|_| it["status"] == "pending") {
                    time datetime=(next) title=(next) { (until(next, visit.app.clock.unix_ms())) }
                }
            }
            td.num.soft data-m="end2" { (time(word(it, "created_at"))) }
            @if visit.may_write() {
                td.acts { button.btn.mini type="button" id={ "replay-" (word(it, "id")) } data-replay=(word(it, "id")) { (icon("rotate-ccw")) "Replay" } }
            }
        }
    }
}

/// A delivery's status. The API's word is in it.
fn status(it: &Value) -> Markup {
    match word(it, "status") {
        "delivered" => chip("calm", "check", "delivered"),
        "failed" => chip("bad", "x", "failed"),
        other => chip("wait", "clock", other),
    }
}
