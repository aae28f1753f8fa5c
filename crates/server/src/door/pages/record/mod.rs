//! The page of a record: its fields, which "Edit" turns into a form, what it is related to, and its timeline.

mod mail;
mod relations;
mod rows;
mod timeline;

pub use mail::frame as mail_frame;

use futures_util::future::{join, try_join3};
use maud::{Markup, html};
use serde_json::Value;

use crm::model::fault::Fault;

use crate::door::pages::addresses::{self, encoded};
use crate::door::pages::form;
use crate::door::pages::layout::Page;
use crate::door::pages::parts::{self, Hand, icon};
use crate::door::pages::shape::{self, RecordNames, TableShape, name_of};
use crate::door::pages::visit::PageVisit;

/// The page of a record; `None` if there is no such record. A deleted record is shown, with the way back.
pub async fn page(visit: &PageVisit<'_>, table: &str, id: &str) -> Result<Option<Page>, Fault> {
    if !relations::has_page(table) {
        return Ok(None);
    }
    let path = format!("{}/{}?include_deleted=true", encoded(table), encoded(id));
    let (found, shape, timeline) =
        try_join3(visit.find(&path), shape::of(visit, table), timeline::read(visit, table, id)).await?;
    let (Some(found), Some(shape)) = (found, shape) else { return Ok(None) };
    let record = &found["data"];
    let (mut names, related) =
        join(relations::names(visit, &shape, record), relations::read(visit, &shape, id, record)).await;
    relations::add_names(visit, &mut names, timeline.referred(&shape)).await;
    // A table may name its records by another column than id.
    let name = Some(name_of(table, record)).filter(|name| !name.is_empty()).unwrap_or_else(|| id.to_owned());
    let rows = if table == "lists" {
        rows::read(visit, id, record).await
    } else {
        html! {}
    };
    let may_write = visit.may_write();
    let is_live = record["deleted_at"].is_null();
    let body = html! {
        div.record data-record data-table=(table) data-id=(id) data-name=(name) data-soft[shape.is_soft()] {
            aside aria-label="Fields" {
                (lede(&shape, record, &names, &name))
                @if may_write { (acts(is_live)) }
                (facts(&shape, record, &names))
                (relations::shown(&related, relations::Adding { shape: &shape, id, is_offered: may_write && is_live }))
                p.meta.origin {
                    @if shape.entity.is_some() && !record["created_at"].is_null() { "Created " (parts::time(&parts::text(&record["created_at"]))) }
                    @if shape.entity.is_some() && !record["updated_at"].is_null() { ", updated " (parts::time(&parts::text(&record["updated_at"]))) }
                    " " code { (id) }
                }
                @if may_write && is_live {
                    template data-form {
                        form.form data-record-form novalidate {
                            (form::fields(&shape, record, &names))
                            (form::buttons("Save"))
                        }
                    }
                }
            }
            div {
                @if !is_live {
                    (form::note("bad", "trash-2", html! {
                        p { "This record was deleted " (parts::time(&parts::text(&record["deleted_at"]))) ". It can be restored." }
                    }))
                }
                @if table == "emails" { (mail::body(record)) }
                (rows)
                (timeline::shown(&timeline, &shape, record, &names, may_write))
            }
        }
    };
    let mut page = Page::new(name, addresses::table_address(table), body);
    let title = if table == "emails" { "Emails".to_owned() } else { shape::title(table) };
    page.crumb = html! { a.crumb href=(addresses::table_address(table)) { (title) } };
    page.scripts = &["record.js", "runs.js"];
    Ok(Some(page))
}

/// Who or what it is, in a line. The name is the page's heading, so it is here for the eye only.
fn lede(shape: &TableShape, record: &Value, names: &RecordNames, name: &str) -> Markup {
    let id = parts::text(&record["id"]);
    let icon_name = match shape.table.as_str() {
        "companies" => "building-2",
        "deals" => "square-kanban",
        "activities" => "notebook-pen",
        "emails" => "mail",
        "lists" => "list",
        _ => "table-2",
    };
    html! {
        div.lede.bar {
            @if shape.table == "contacts" { (Hand::person(&id, name)) } @else { span.mark { (icon(icon_name)) } }
            div {
                p.shown-name data-text=(name) aria-hidden="true" {}
                (about(shape, record, names))
            }
        }
    }
}

fn about(shape: &TableShape, record: &Value, names: &RecordNames) -> Markup {
    let said = |column: &str| record[column].as_str().filter(|text| !text.is_empty());
    match shape.table.as_str() {
        "contacts" => html! {
            p.soft {
                @if let Some(title) = said("title") { (title) @if said("company_id").is_some() { ", " } }
                @if let Some(company) = said("company_id") { (shape::link("companies", company, names)) }
            }
        },
        "companies" => html! { p.soft { (said("domain").unwrap_or_default()) } },
        "deals" => html! {
            p.soft {
                @if let Some(stage) = shape.column("stage") { (shape::shown(stage, record, names)) }
                @if !record["amount_cents"].is_null() { ", " span.num { (shape::amount(&record["amount_cents"], record)) } }
            }
        },
        "emails" => html! { p.soft { (said("from_addr").unwrap_or_default()) } },
        "lists" => html! { p.soft { (said("description").unwrap_or_default()) } },
        "activities" => html! { p.soft { (shape::in_words(said("type").unwrap_or_default())) } },
        table => html! { p.soft { (table) } },
    }
}

fn acts(is_live: bool) -> Markup {
    html! {
        div.btns {
            @if is_live {
                button.btn type="button" data-edit-record { (icon("pencil")) "Edit" }
                button.btn.danger type="button" data-delete-record { (icon("trash-2")) "Delete" }
            } @else {
                button.btn.main type="button" data-restore-record { (icon("archive-restore")) "Restore" }
            }
        }
    }
}

/// The fields and their values.
fn facts(shape: &TableShape, record: &Value, names: &RecordNames) -> Markup {
    /// What is shown elsewhere on the page.
    const ELSEWHERE: &[&str] =
        &["id", "created_at", "updated_at", "deleted_at", "body_html", "body_text", "custom", "provider_msg_id"];
    let is_shown = |name: &str| shape.entity.is_none() || !ELSEWHERE.contains(&name);
    html! {
        section.sect data-facts {
            header { h2 { "Fields" } }
            dl.facts {
                @for column in &shape.columns {
                    @if column.in_custom || is_shown(&column.name) {
                        dt { (column.label) }
                        dd { (shape::shown(column, record, names)) }
                    }
                }
                @for (key, value) in form::free(shape, record) {
                    dt.mono { (key) }
                    dd { (shape::shown(&form::undefined(key, value), record, names)) }
                }
            }
        }
    }
}
