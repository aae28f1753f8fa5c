//! The rows of a list on the list's page.

use maud::{Markup, html};
use serde_json::Value;

use crm::model::entity::by_table;

use crate::door::pages::addresses::{address, encoded};
use crate::door::pages::parts;
use crate::door::pages::shape::{self, name_of};
use crate::door::pages::visit::PageVisit;

/// The columns that are shown if a list names none.
const COLUMNS: &[(&str, &[&str])] = &[
    ("contacts", &["email", "title", "phone"]),
    ("companies", &["domain", "industry", "size"]),
    ("deals", &["stage", "amount_cents", "close_date"]),
    ("activities", &["type", "occurred_at"]),
    ("emails", &["from_addr", "direction"]),
];
/// The most columns of a table without known ones.
const MOST_COLUMNS: usize = 5;

/// A page of a list's rows, or why they can't be read.
pub async fn read(visit: &PageVisit<'_>, id: &str, list: &Value) -> Markup {
    if !list["deleted_at"].is_null() {
        return html! {};
    }
    let cursor = visit.parameter("cursor").map(|cursor| format!("&cursor={}", encoded(cursor)));
    let path = format!("lists/{}/rows?limit=50{}", encoded(id), cursor.unwrap_or_default());
    let shown = match visit.get(&path).await {
        Ok(read) => rows(id, list, &read),
        Err(fault) => {
            let (_, message, hint) = crate::door::pages::said(visit.app, visit.id, &fault);
            html! { div.note.bad role="alert" { p { (message) @if let Some(hint) = hint { " " (hint) } } } }
        }
    };
    html! { section.sect.first aria-label="Rows" { header { h2 { "Rows" } } (shown) } }
}

fn rows(id: &str, list: &Value, read: &Value) -> Markup {
    let table = list["target_table"].as_str().unwrap_or_default();
    let rows = read["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(first) = rows.first() else {
        let text = match list["kind"].as_str() {
            Some("static") => {
                "Records are put into it one by one: select them in their table, or send them to POST /v1/lists/:id/members."
            }
            _ => "No record meets the list’s condition at the moment.",
        };
        return parts::blank("The list is empty", text, html! {});
    };
    let columns = columns(list, table, first);
    html! {
        div.scroller tabindex="0" role="region" aria-label="Rows of the list" {
            table.grid.plain.stack {
                thead { tr {
                    th scope="col" { "Name" }
                    @for column in &columns { th scope="col" { (label(table, column)) } }
                } }
                tbody {
                    @for row in rows {
                        tr {
                            td data-m="title" { a.name href=(address(table, &parts::text(&row["id"]))) { (name_of(table, row)) } }
                            @for (at, column) in columns.iter().enumerate() { td data-m=[(at == 0).then_some("sub")] { (cell(column, row)) } }
                        }
                    }
                }
            }
        }
        @if let Some(next) = read["_meta"]["next_cursor"].as_str() {
            p.after { a.btn href={ (address("lists", id)) "?cursor=" (encoded(next)) } { "Next" } }
        }
    }
}

fn columns(list: &Value, table: &str, first: &Value) -> Vec<String> {
    let named: Vec<String> = list["config"]["columns"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if !named.is_empty() {
        return named.into_iter().filter(|column| column != "id").collect();
    }
    if let Some((_, columns)) = COLUMNS.iter().find(|(name, _)| *name == table) {
        return columns.iter().map(|column| (*column).to_owned()).collect();
    }
    let own = first.as_object().into_iter().flatten().map(|(name, _)| name.clone());
    own.filter(|name| name != "id" && name != "custom").take(MOST_COLUMNS).collect()
}

fn label(table: &str, column: &str) -> String {
    match column.split_once('.') {
        Some(("custom", key)) => key.to_owned(),
        Some((relation, column)) => format!("{}: {}", shape::in_words(relation), shape::label(column)),
        None if by_table(table).is_some() => shape::label(column),
        None => column.to_owned(),
    }
}

fn cell(column: &str, row: &Value) -> Markup {
    let value = match column.strip_prefix("custom.") {
        Some(key) if row[column].is_null() => &row["custom"][key],
        _ => &row[column],
    };
    html! {
        @if column == "amount_cents" { span.num { (shape::amount(value, row)) } }
        @else if column.ends_with("_at") && value.is_string() { (parts::time(&parts::text(value))) }
        @else { (parts::text(value)) }
    }
}
