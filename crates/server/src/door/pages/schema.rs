//! The page /schema: custom fields, pipelines with their stages, and the tables of the workspace.

use futures_util::future::join_all;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crm::model::entity::ENTITIES;
use crm::model::fault::Fault;
use crm::sql::pages::first_rows;

use crate::door::pages::control::{rows, word};
use crate::door::pages::layout::{Page, dialog};
use crate::door::pages::parts::{self, icon};
use crate::door::pages::sql::short;
use crate::door::pages::visit::PageVisit;

const TYPES: [&str; 5] = ["text", "number", "date", "bool", "select"];

/// The page.
pub async fn page(visit: &PageVisit<'_>) -> Result<Option<Page>, Fault> {
    let fields = visit.get("schema/fields?limit=200").await?;
    let pipelines = visit.get("pipelines?limit=200").await?;
    let pipelines = rows(&pipelines);
    let stages = pipelines.iter().map(|it| stages_of(visit, word(it, "key")));
    let stages = join_all(stages).await.into_iter().collect::<Result<Vec<_>, Fault>>()?;
    let schema = visit.get("schema").await?;
    let tables = schema["data"]["tables"].as_array().map_or(&[][..], Vec::as_slice);
    let (own, builtin): (Vec<&Value>, Vec<&Value>) = tables.iter().partition(|it| it["kind"] == "custom");
    let body = html! {
        div.split.slim {
            nav.tables aria-label="On this page" {
                h2 { "Settings" }
                a.nav href="#fields" { (icon("table-properties")) span { "Fields" } }
                a.nav href="#pipelines" { (icon("square-kanban")) span { "Pipelines" } }
                @if !own.is_empty() { h2 { "Yours" } @for it in &own { (link(it)) } }
                h2 { "Built in" }
                @for it in &builtin { (link(it)) }
            }
            div.case { div.body {
                (fields_section(visit, rows(&fields)))
                section.sect #pipelines {
                    header { h2 { "Pipelines" } @if visit.may_write() { button.btn.push type="button" data-open="new-pipeline" { (icon("plus")) "New pipeline" } } }
                    @for (it, stages) in pipelines.iter().zip(&stages) { (pipeline(visit, it, rows(stages))) }
                }
                @for it in own.iter().chain(&builtin) { (table(it)) }
            } }
        }
        @if visit.may_write() { (dialogs()) }
    };
    let mut page = Page::new("Schema", "/schema", body);
    if visit.may_write() {
        page.actions = html! { button.btn.main type="button" data-open="new-field" data-new { (icon("plus")) span { "New field" } } };
    }
    (page.is_full, page.scripts) = (true, &["schema.js"]);
    Ok(Some(page))
}

async fn stages_of(visit: &PageVisit<'_>, key: &str) -> Result<Value, Fault> {
    visit.get(&format!("pipelines/{}/stages?limit=200", utf8_percent_encode(key, NON_ALPHANUMERIC))).await
}

fn link(table: &Value) -> Markup {
    html! { a.nav href={ "#table-" (word(table, "name")) } { (icon("table-2")) span.mono { (word(table, "name")) } } }
}

fn fields_section(visit: &PageVisit<'_>, fields: &[Value]) -> Markup {
    html! {
        section.sect.first #fields {
            header { h2 { "Custom fields" } @if !fields.is_empty() { span.count { (fields.len()) } } }
            @if fields.is_empty() {
                (parts::blank("No field of your own yet", "Records keep any key in custom. A field gives a key a type, so that each write is checked, SQL included, and a name that people read.", html! {}))
            } @else {
                table.grid.plain.stack aria-label="Custom fields" {
                    colgroup { col width="120"; col; col width="180"; col width="90"; col; col width="110"; @if visit.may_write() { col width="100"; } }
                    thead { tr {
                        th scope="col" { "Object" } th scope="col" { "Name" } th scope="col" { "Key" } th scope="col" { "Type" } th scope="col" { "Options" } th scope="col" { "Required" }
                        @if visit.may_write() { th scope="col" { span.sr { "Delete" } } }
                    } }
                    tbody { @for it in fields {
                        tr {
                            td data-m="sub" { (word(it, "object_type")) }
                            td.name data-m="title" { (if word(it, "label").is_empty() { word(it, "key") } else { word(it, "label") }) }
                            td.mono { (word(it, "key")) }
                            td.mono.soft data-m="end" { (word(it, "type")) }
                            td.options { @for option in it["options"].as_array().map_or(&[][..], Vec::as_slice) { span.chip { (parts::text(option)) } " " } }
                            td { @if it["required"] == true { (icon_and("check", "required")) } @else { span.faint { "optional" } } }
                            @if visit.may_write() {
                                td.acts { button.btn.mini.bare.danger type="button" data-delete-field=(word(it, "id")) data-name=(word(it, "key")) { "Delete" span.sr { " " (word(it, "key")) } } }
                            }
                        }
                    } }
                }
            }
        }
    }
}

fn icon_and(name: &str, said: &str) -> Markup {
    html! { span.chip.calm { (icon(name)) (said) } }
}

fn pipeline(visit: &PageVisit<'_>, it: &Value, stages: &[Value]) -> Markup {
    let (key, label) = (word(it, "key"), word(it, "label"));
    html! {
        div.pipeline data-pipeline=(key) {
            header.bar {
                h3 { (label) } code.faint { (key) }
                @if it["is_default"] == true { span.chip { "default" } }
                @if visit.may_write() {
                    span.push.btns {
                        button.btn.mini type="button" data-new-stage { (icon("plus")) "New stage" span.sr { " in " (label) } }
                        button.btn.mini.bare type="button" data-rename-pipeline data-now=(label) { "Rename" span.sr { " " (label) } }
                        @if it["is_default"] != true {
                            button.btn.mini.bare type="button" data-make-default { "Make it the default" }
                            button.btn.mini.bare.danger type="button" data-delete-pipeline { "Delete" span.sr { " " (label) } }
                        }
                    }
                }
            }
            ol.rows aria-label={ "Stages of " (label) } {
                @for (at, stage) in stages.iter().enumerate() {
                    li data-stage=(word(stage, "key")) {
                        span.num.faint { (at + 1) } span.name { (word(stage, "label")) } code.faint { (word(stage, "key")) }
                        @if stage["is_won"] == true { span.chip.ok { "won" } }
                        @if stage["is_lost"] == true { span.chip { "lost" } }
                        @if visit.may_write() {
                            span.push.btns {
                                @if at > 0 { (mover(stage, "up", &stages[at - 1]["position"])) }
                                @if let Some(next) = stages.get(at + 1) { (mover(stage, "down", &next["position"])) }
                                button.btn.mini.bare type="button" data-rename-stage data-now=(word(stage, "label")) { "Rename" span.sr { " " (word(stage, "label")) } }
                                button.btn.mini.bare.danger type="button" data-delete-stage data-name=(word(stage, "label")) { "Delete" span.sr { " " (word(stage, "label")) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn mover(stage: &Value, way: &str, position: &Value) -> Markup {
    let label = format!("Move {} {way}", word(stage, "label"));
    html! { button.btn.mini.bare.square type="button" data-move=(position) aria-label=(label) title=(label) { (icon(if way == "up" { "arrow-up" } else { "arrow-down" })) } }
}

fn table(it: &Value) -> Markup {
    let name = word(it, "name");
    let columns = it["columns"].as_array().map_or(&[][..], Vec::as_slice);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let keys = list(&it["primary_key"]);
    let refers = |column: &Value| {
        let found = list(&it["foreign_keys"]).into_iter().find(|key| list(&key["columns"]).contains(column));
        found.map(|key| format!("{}.{}", word(&key["references"], "table"), parts::text(&key["references"]["columns"])))
    };
    html! {
        section.sect id={ "table-" (name) } {
            header {
                h2.mono { (name) }
                @if it["kind"] == "custom" { span.chip { "yours" } }
                span.soft.cut { (word(it, "comment")) }
                a.btn.mini.push href={ "/sql?q=" (utf8_percent_encode(&first_rows(name), NON_ALPHANUMERIC)) } { (icon("square-terminal")) "Open in SQL" }
            }
            table.grid.plain.stack aria-label={ "Columns of " (name) } {
                colgroup { col width="200"; col width="150"; col width="220"; col; }
                thead { tr { th scope="col" { "Column" } th scope="col" { "Type" } th scope="col" { "Rule" } th scope="col" { "Meaning" } } }
                tbody { @for column in columns {
                    tr {
                        td.mono data-m="title" { (word(column, "name")) }
                        td.mono.soft data-m="sub" { (short(word(column, "type"))) }
                        td data-m="end" {
                            @if keys.contains(&column["name"]) { "primary key" }
                            @else if let Some(target) = refers(&column["name"]) { span.who { (icon("arrow-right")) code { (target) } } }
                            @else if column["nullable"] == false { "not null" }
                        }
                        td.soft title=(word(column, "comment")) { (word(column, "comment")) }
                    }
                } }
            }
        }
    }
}

fn dialogs() -> Markup {
    let buttons = |name: &str| html! { p.btns { button.btn.main type="submit" { (name) } button.btn.bare type="button" data-close { "Cancel" } } };
    let input = |id: &str, name: &str, required: bool| html! { input.input id=(id) name=(name) required[required] autocomplete="off" spellcheck="false"; };
    html! {
        (dialog("new-field", "New field", html! {
            form.form data-new-field novalidate {
                div.pair {
                    (parts::field("field-object", "Object", "", html! { select.pick #field-object name="object_type" {
                        @for it in ENTITIES.iter().filter(|it| it.custom_fields) { option value=(it.name) { (it.name) } }
                    } }))
                    (parts::field("field-type", "Type", "", html! { select.pick #field-type name="type" { @for it in TYPES { option value=(it) { (it) } } } }))
                }
                (parts::field("field-key", "Key", "", input("field-key", "key", true)))
                (parts::field("field-label", "Label", "", input("field-label", "label", false)))
                (parts::field("field-options", "Options", "One a line, for the type select.", html! { textarea.input.area #field-options name="options" rows="4" aria-describedby="field-options-note" {} }))
                label.who { input.tick type="checkbox" name="required"; "Required" }
                (buttons("Create"))
            }
        }))
        (dialog("new-pipeline", "New pipeline", html! {
            form.form data-new-pipeline-form novalidate {
                (parts::field("pipeline-label", "Label", "", input("pipeline-label", "label", true)))
                (parts::field("pipeline-key", "Key", "", input("pipeline-key", "key", true)))
                (buttons("Create"))
            }
        }))
        (dialog("new-stage", "New stage", html! {
            form.form data-new-stage-form novalidate {
                (parts::field("stage-label", "Label", "", input("stage-label", "label", true)))
                (parts::field("stage-key", "Key", "", input("stage-key", "key", true)))
                label.who { input.tick type="checkbox" name="is_won"; "Deals in it are won" }
                label.who { input.tick type="checkbox" name="is_lost"; "Deals in it are lost" }
                (buttons("Create"))
            }
        }))
        (dialog("rename", "Rename", html! {
            form.form data-rename-form novalidate {
                (parts::field("rename-label", "Label", "", input("rename-label", "label", true)))
                (buttons("Save"))
            }
        }))
    }
}
