//! The page /deals: the board of a pipeline, or the table.

use futures_util::future::try_join3;
use maud::{Markup, PreEscaped, html};
use serde_json::{Value, json};

use crm::model::call::Method;
use crm::model::fault::Fault;
use crm::sql::pages::{CARDS, SUMS};

use crate::door::pages::addresses::{address, encoded};
use crate::door::pages::form;
use crate::door::pages::layout::{self, Page};
use crate::door::pages::parts::{self, icon};
use crate::door::pages::shape::{self, RecordNames, TableShape, name_of};
use crate::door::pages::table;
use crate::door::pages::visit::PageVisit;

/// The most cards of a stage.
const MOST_CARDS: usize = 100;

/// The page.
pub async fn page(visit: &PageVisit<'_>) -> Result<Option<Page>, Fault> {
    if visit.parameter("view") == Some("table") {
        return table::page(visit, "deals").await;
    }
    let pipelines = visit.get("pipelines?limit=200").await?;
    let pipelines = pipelines["data"].as_array().cloned().unwrap_or_default();
    let default = pipelines.iter().find(|it| it["is_default"] == true).or(pipelines.first());
    let chosen = match visit.parameter("pipeline") {
        Some(wanted) => pipelines.iter().find(|it| it["key"] == wanted),
        None => default,
    };
    let Some(pipeline) = chosen else { return Ok(None) };
    let key = parts::text(&pipeline["key"]);
    let path = format!("pipelines/{}/stages?limit=200", encoded(&key));
    let (stages, cards, sums) = try_join3(
        visit.get(&path),
        rows(visit, json!({"sql": CARDS, "params": [key, MOST_CARDS]})),
        rows(visit, json!({"sql": SUMS, "params": [key]})),
    )
    .await?;
    let stages = stages["data"].as_array().cloned().unwrap_or_default();
    let board = Board { key: &key, stages: &stages, cards: &cards, sums: &sums, may_write: visit.may_write() };
    let body = html! {
        (board.tools(&pipelines))
        (board.shown())
    };
    let count: u64 = sums.iter().filter_map(|row| row["deals"].as_u64()).sum();
    let mut page = Page::new("Deals", "/deals", body);
    page.is_full = true;
    page.scripts = &["board.js"];
    page.beside = html! { span.count { (parts::grouped(count)) } };
    if visit.may_write()
        && let Some(shape) = shape::of(visit, "deals").await?
    {
        page.actions = new_deal(&shape, &key, &stages);
    }
    Ok(Some(page))
}

async fn rows(visit: &PageVisit<'_>, statement: Value) -> Result<Vec<Value>, Fault> {
    let read = visit.call(Method::Post, "sql", statement.to_string().as_bytes()).await?;
    Ok(read["data"]["rows"].as_array().cloned().unwrap_or_default())
}

/// The button and the dialog that make a deal.
fn new_deal(shape: &TableShape, pipeline: &str, stages: &[Value]) -> Markup {
    let stage = stages.first().map_or(&Value::Null, |stage| &stage["key"]);
    let begins = json!({"pipeline": pipeline, "stage": stage, "currency": "USD", "custom": {}});
    html! {
        button.btn.main type="button" data-new data-open="new-deal" { (icon("plus")) "New deal" }
        (layout::dialog("new-deal", "New deal", html! {
            form.form data-new-deal data-table="deals" novalidate {
                (form::fields(shape, &begins, &RecordNames::new()))
                (form::buttons("Create"))
            }
        }))
    }
}

struct Board<'a> {
    key: &'a str,
    stages: &'a [Value],
    cards: &'a [Value],
    sums: &'a [Value],
    may_write: bool,
}

impl Board<'_> {
    fn tools(&self, pipelines: &[Value]) -> Markup {
        let table = format!("/deals?view=table&pipeline={}", encoded(self.key));
        html! {
            div.tools.bar {
                form action="/deals" method="get" {
                    select.pick.short name="pipeline" aria-label="Pipeline" data-pipeline autocomplete="off" {
                        @for it in pipelines { option value=(parts::text(&it["key"])) selected[it["key"] == self.key] { (parts::text(&it["label"])) } }
                    }
                    noscript { button.btn type="submit" { "Show" } }
                }
                div.seg {
                    a href={ "/deals?pipeline=" (encoded(self.key)) } aria-current="page" { (icon("square-kanban")) "Board" }
                    a href=(table) { (icon("table-2")) "Table" }
                }
                @if self.sums.is_empty() { span.push.soft { "No deal is in this pipeline yet." } }
                @else { span.push.soft { "Open " @for (at, sum) in self.open().iter().enumerate() { @if at > 0 { ", " } span.num.sum { (sum) } } } }
            }
        }
    }

    /// The sums of the stages that are neither won nor lost, by currency.
    fn open(&self) -> Vec<String> {
        let is_open = |row: &&Value| {
            let stage = self.stages.iter().find(|stage| stage["key"] == row["stage"]);
            stage.is_some_and(|stage| stage["is_won"] != true && stage["is_lost"] != true)
        };
        let mut sums: Vec<(String, i128)> = Vec::new();
        for row in self.sums.iter().filter(is_open) {
            let (currency, sum) = (parts::text(&row["currency"]), cents(row));
            match sums.iter_mut().find(|(known, _)| *known == currency) {
                Some((_, known)) => *known += sum,
                None => sums.push((currency, sum)),
            }
        }
        told(sums)
    }

    fn shown(&self) -> Markup {
        html! {
            div.board tabindex="0" role="region" aria-label="Board" data-board {
                @for (at, stage) in self.stages.iter().enumerate() { (self.lane(at, stage)) }
            }
        }
    }

    /// A stage. The whole column is the list, so that its sum belongs to it. A list without items may have no other content
    /// either; then only the place of the cards is the list.
    fn lane(&self, at: usize, stage: &Value) -> Markup {
        let (key, label) = (parts::text(&stage["key"]), parts::text(&stage["label"]));
        let sums: Vec<&Value> = self.sums.iter().filter(|row| row["stage"] == stage["key"]).collect();
        let count: u64 = sums.iter().filter_map(|row| row["deals"].as_u64()).sum();
        let cards: Vec<&Value> = self.cards.iter().filter(|card| card["stage"] == stage["key"]).collect();
        let listed: Vec<(String, i128)> = sums.iter().map(|row| (parts::text(&row["currency"]), cents(row))).collect();
        let more = count.saturating_sub(cards.len() as u64);
        html! {
            div.lane role=[(count > 0).then_some("list")] aria-label=[(count > 0).then_some(&label)] data-stage=(key) data-label=(label) {
                div.head {
                    (rail(at, self.stages))
                    span.stage-name.cut { (label) }
                    span.count { (parts::grouped(count)) }
                    span.push.sums { @for sum in told(listed) { span.num.sum { (sum) } } }
                }
                div.cards role=[(count == 0).then_some("list")] aria-label=[(count == 0).then_some(&label)] {
                    @for card in &cards { (self.card(card)) }
                    @if more > 0 {
                        div.more role="listitem" { a.link href={ "/deals?view=table&pipeline=" (encoded(self.key)) "&stage=" (encoded(&key)) } { (parts::grouped(more)) " more in the table" } }
                    }
                }
            }
        }
    }

    fn card(&self, card: &Value) -> Markup {
        let (id, name) = (parts::text(&card["id"]), name_of("deals", card));
        let whom = card["company"].as_str().or(card["contact"].as_str());
        let closes = card["close_date"].as_str();
        html! {
            div.card role="listitem" tabindex="0" draggable=[self.may_write.then_some("true")] data-id=(id) data-name=(name) {
                header.bar {
                    a.name href=(address("deals", &id)) draggable="false" { (name) }
                    @if self.may_write {
                        button.btn.bare.mini.square.push type="button" data-move aria-haspopup="menu" aria-label="Move to" title="Move to another stage" { (icon("arrow-right")) }
                    }
                }
                @if let Some(whom) = whom { p.soft.cut { (whom) } }
                footer {
                    @if !card["amount_cents"].is_null() { span.num { (shape::amount(&card["amount_cents"], card)) } }
                    @if let Some(closes) = closes { span { "closes " time datetime=(closes) { (parts::day(closes)) } } }
                }
            }
        }
    }
}

fn cents(row: &Value) -> i128 {
    row["sum"].as_str().and_then(|sum| sum.parse().ok()).unwrap_or_default()
}

/// Sums as texts. Deals without an amount have no sum.
fn told(mut sums: Vec<(String, i128)>) -> Vec<String> {
    if sums.len() > 1 {
        sums.retain(|(currency, sum)| *sum != 0 || !currency.is_empty());
    }
    if sums.is_empty() {
        sums.push((String::new(), 0));
    }
    sums.into_iter().map(|(currency, sum)| parts::amount(i64::try_from(sum).unwrap_or(i64::MAX), &currency)).collect()
}

/// How far a stage is: as many ticks as the pipeline has stages that are not lost.
fn rail(at: usize, stages: &[Value]) -> Markup {
    let ticks = stages.iter().filter(|stage| stage["is_lost"] != true).count().max(1);
    let stage = &stages[at];
    let is_lost = stage["is_lost"] == true;
    let filled = stages.iter().take(at + 1).filter(|stage| stage["is_lost"] != true).count();
    let width = ticks * 6;
    let mut drawing = String::new();
    for tick in 0..ticks {
        let class = if tick < filled && !is_lost { "on" } else { "" };
        drawing.push_str(&format!("<rect class=\"{class}\" x=\"{}\" width=\"4.5\" height=\"6\" rx=\"1\"/>", tick * 6));
    }
    if is_lost {
        drawing.push_str(&format!("<line x1=\"0\" x2=\"{width}\" y1=\"3\" y2=\"3\"/>"));
    }
    let class = if stage["is_won"] == true { "rail won" } else { "rail" };
    PreEscaped(format!("<svg class=\"{class}\" viewBox=\"0 0 {width} 6\" aria-hidden=\"true\">{drawing}</svg>"))
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn each_currency_has_a_sum() {
        assert_eq!(told(vec![("EUR".into(), 123_450), (String::new(), 0)]), ["1,234.50 EUR"]);
        assert_eq!(told(vec![("EUR".into(), 100), ("USD".into(), 200)]), ["1.00 EUR", "2.00 USD"]);
        assert_eq!(told(Vec::new()), ["0.00"]);
    }
}
