//! The form of a record: a field per column by its label. `fields.js` reads it, so that amounts, references and JSON are typed as
//! people write them.

use maud::{Markup, html};
use serde_json::Value;

use crate::door::pages::parts::{self, icon};
use crate::door::pages::shape::{self, Choice, RecordNames, ShownColumn, TableShape, ValueKind};

/// The fields of a form. `record` has the values that they begin with.
pub fn fields(shape: &TableShape, record: &Value, names: &RecordNames) -> Markup {
    html! {
        @for column in shape.columns.iter().filter(|column| column.is_typed()) { (field(&shape.table, column, record, names)) }
        @for (key, value) in free(shape, record) {
            (field(&shape.table, &undefined(key, value), record, names))
        }
    }
}

/// The field that edits a cell of a column, as a template. The cell holds what the field begins with.
pub fn editor(column: &ShownColumn) -> Markup {
    let id = format!("cell-{}", column.field());
    html! { template data-editor=(column.field()) { (input(&id, column, &Value::Null, &RecordNames::new())) } }
}

/// What a field of a column begins with in a record, where that is one text: the name of a record that it refers to, lines of texts.
pub fn before(column: &ShownColumn, record: &Value, names: &RecordNames) -> String {
    let value = column.value(record);
    let text = parts::text(value);
    match &column.kind {
        _ if value.is_null() => String::new(),
        ValueKind::Amount => shape::typed_amount(value, record),
        ValueKind::Bool => (value == true).to_string(),
        ValueKind::Json => serde_json::to_string_pretty(value).unwrap_or_default(),
        ValueKind::Record(table) => names.get(&(table.clone(), text.clone())).cloned().unwrap_or(text),
        ValueKind::Texts => value.as_array().into_iter().flatten().map(parts::text).collect::<Vec<_>>().join("\n"),
        _ => text,
    }
}

/// The keys of a record's `custom` that have no definition.
pub fn free<'a>(shape: &TableShape, record: &'a Value) -> Vec<(&'a String, &'a Value)> {
    let is_defined = |key: &str| shape.columns.iter().any(|column| column.in_custom && column.name == key);
    let custom = if shape.entity.is_some() { record["custom"].as_object() } else { None };
    custom.into_iter().flatten().filter(|(key, _)| !is_defined(key)).collect()
}

/// A key of `custom` without a definition, by the value that it has.
pub fn undefined(key: &str, value: &Value) -> ShownColumn {
    let kind = match value {
        Value::Bool(_) => ValueKind::Bool,
        Value::Number(_) => ValueKind::Number,
        Value::Array(_) | Value::Object(_) => ValueKind::Json,
        Value::Null | Value::String(_) => ValueKind::Text,
    };
    ShownColumn {
        name: key.to_owned(),
        label: key.to_owned(),
        kind,
        required: false,
        in_custom: true,
        read_only: false,
    }
}

fn field(table: &str, column: &ShownColumn, record: &Value, names: &RecordNames) -> Markup {
    let id = format!("f-{}", column.field());
    html! {
        div.field {
            label for=(id) { (column.label) }
            (input(&id, column, record, names))
            @if column.kind == ValueKind::Texts { p.soft.small id={ (id) "-note" } { "One a line." } }
            @if column.kind == ValueKind::Amount {
                p.soft.small id={ (id) "-note" } { @if table == "deals" { "In the currency’s main unit, for example 1,234.50." } @else { "In the main unit, for example 1,234.50." } }
            }
        }
    }
}

fn input(id: &str, column: &ShownColumn, record: &Value, names: &RecordNames) -> Markup {
    let (value, name) = (column.value(record), column.field());
    let text = parts::text(value);
    let noted = matches!(column.kind, ValueKind::Texts | ValueKind::Amount).then(|| format!("{id}-note"));
    html! {
        @match &column.kind {
            ValueKind::Long => textarea.input.tall id=(id) name=(name) data-kind="text" rows="4" required[column.required] { (text) },
            ValueKind::Json => textarea.input.tall.mono id=(id) name=(name) data-kind="json" rows="3" spellcheck="false" required[column.required] {
                @if !value.is_null() { (serde_json::to_string_pretty(value).unwrap_or_default()) }
            },
            ValueKind::Texts => textarea.input.tall id=(id) name=(name) data-kind="texts" rows="2" aria-describedby=[noted] {
                @for (at, it) in value.as_array().into_iter().flatten().enumerate() { @if at > 0 { "\n" } (parts::text(it)) }
            },
            ValueKind::Bool => span { input.tick type="checkbox" id=(id) name=(name) data-kind="bool" data-always[column.required] checked[value == true]; },
            ValueKind::Choice(choices) => (select(id, column, choices, &text)),
            ValueKind::Date => input.input type="date" id=(id) name=(name) data-kind="date" value=(text.get(..10).unwrap_or(&text)) required[column.required];,
            ValueKind::Time => input.input type="datetime-local" step="1" id=(id) name=(name) data-kind="time" data-moment=(text) required[column.required];,
            ValueKind::Amount => input.input.num type="text" inputmode="decimal" id=(id) name=(name) data-kind="amount" autocomplete="off" required[column.required]
                value=(shape::typed_amount(value, record)) aria-describedby=[noted];,
            ValueKind::Number => input.input.num type="text" inputmode="decimal" id=(id) name=(name) data-kind="number" value=(text) autocomplete="off" required[column.required];,
            ValueKind::Email => input.input type="text" inputmode="email" id=(id) name=(name) data-kind="email" value=(text) autocomplete="off" spellcheck="false" required[column.required];,
            ValueKind::Record(table) => (reference(id, column, table, &text, names)),
            _ => input.input type="text" id=(id) name=(name) data-kind="text" value=(text) autocomplete="off" required[column.required];,
        }
    }
}

fn select(id: &str, column: &ShownColumn, choices: &[Choice], value: &str) -> Markup {
    let is_known = value.is_empty() || choices.iter().any(|choice| choice.value == value);
    // A stage and a pipeline always have a value.
    let has_blank = !column.required && !matches!(column.name.as_str(), "pipeline" | "stage") || column.in_custom;
    html! {
        select.input.pick id=(id) name=(column.field()) data-kind="choice" required[column.required] autocomplete="off" {
            @if has_blank || value.is_empty() { option value="" selected[value.is_empty()] {} }
            @for choice in choices {
                option value=(choice.value) selected[choice.value == value] data-pipeline=[choice.pipeline.as_deref()] { (choice.label) }
            }
            @if !is_known { option value=(value) selected { (value) } }
        }
    }
}

/// A field that finds a record by its name. The listbox below it comes while somebody types.
fn reference(id: &str, column: &ShownColumn, table: &str, value: &str, names: &RecordNames) -> Markup {
    let known = names.get(&(table.to_owned(), value.to_owned())).map_or(value, String::as_str);
    html! {
        input.input type="text" role="combobox" aria-expanded="false" aria-autocomplete="list" aria-controls={ (id) "-list" } id=(id)
            name=(column.field()) data-kind="record" data-table=(table) data-id=(value) data-named=(known) value=(known) autocomplete="off"
            spellcheck="false" required[column.required] placeholder="Type a name";
        ul.found id={ (id) "-list" } role="listbox" aria-label="Suggestions" hidden {}
    }
}

/// The buttons at a form's end.
pub fn buttons(main: &str) -> Markup {
    html! {
        p.btns {
            button.btn.main type="submit" { (main) }
            button.btn.bare type="button" data-cancel { "Cancel" }
        }
    }
}

/// A note in a tone, with an icon.
pub fn note(tone: &str, name: &str, text: Markup) -> Markup {
    html! { div class={ "note " (tone) } { (icon(name)) (text) } }
}
