//! The page /sql: a console over `POST /v1/sql`, with the workspace's tables beside it.

use maud::{Markup, html};
use serde_json::Value;

use crm::model::fault::Fault;
use crm::sql::pages::EXAMPLE;

use crate::door::pages::control::word;
use crate::door::pages::layout::Page;
use crate::door::pages::parts::icon;
use crate::door::pages::visit::PageVisit;

/// The page.
pub async fn page(visit: &PageVisit<'_>) -> Result<Option<Page>, Fault> {
    let schema = visit.get("schema").await?;
    let tables = schema["data"]["tables"].as_array().map_or(&[][..], Vec::as_slice);
    let text = visit.parameter("q").unwrap_or(EXAMPLE.trim_end());
    let body = html! {
        div.sql {
            nav.tree aria-label="Tables" {
                @for table in tables.iter().filter(|it| it["kind"] == "custom") { (branch(table)) }
                @for table in tables.iter().filter(|it| it["kind"] != "custom") { (branch(table)) }
            }
            div.editor data-editor {
                pre.lines aria-hidden="true" { "1" }
                div {
                    pre aria-hidden="true" {}
                    textarea #sql aria-label="SQL" spellcheck="false" autocapitalize="off" autocomplete="off" aria-keyshortcuts="Control+Enter" { "\n" (text) }
                }
            }
            section.output aria-label="Output" {
                div.tools {
                    button.btn.main type="button" data-run { (icon("play")) "Run" }
                    @if visit.may_write() {
                        label.who.soft { input.switch type="checkbox" role="switch" data-dry autocomplete="off"; "Dry run" }
                    } @else {
                        span.who.soft { (icon("lock")) "Read-only: a viewer's SQL can change nothing" }
                    }
                    span.soft.cut data-said aria-live="polite" {}
                    button.btn.bare.push type="button" popovertarget="past" { (icon("history")) "History" }
                }
                div.scroller tabindex="0" role="region" aria-label="Rows" data-output {
                    p.pad.soft { "Ctrl Enter sends it. A dry run says what would change and keeps nothing." }
                }
            }
        }
        div.menu.end #past popover { h3 { "Sent from this browser" } ul data-past {} }
    };
    let mut page = Page::new("SQL", "/sql", body);
    (page.is_full, page.scripts) = (true, &["sql.js"]);
    Ok(Some(page))
}

fn branch(table: &Value) -> Markup {
    let name = word(table, "name");
    let columns = table["columns"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        details open[matches!(name, "contacts" | "deals") || table["kind"] == "custom"] {
            summary { code { (name) } }
            ul {
                li { button type="button" data-insert=(name) { code { (name) } } span { "whole table" } }
                @for column in columns {
                    li {
                        button type="button" data-insert=(word(column, "name")) title=(word(column, "comment")) { code { (word(column, "name")) } }
                        span { (short(word(column, "type"))) }
                    }
                }
            }
        }
    }
}

/// A type's short name.
pub fn short(name: &str) -> &str {
    match name {
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        "character varying" => "varchar",
        "double precision" => "float8",
        other => other,
    }
}
