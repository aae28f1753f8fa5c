//! The filters of a table of records, as people set and read them. In the address they are the API's own parameters.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::json;

use crm::dialect::commas;

use crate::door::pages::shape::{RecordNames, ShownColumn, TableShape, ValueKind};
use crate::door::pages::{cells, layout, parts};

/// The values that a filter shows.
const SHOWN: usize = 3;
/// The conditions: what is added to the column's name, the words, and the kinds of values that have it (`cells::kind`).
const CONDITIONS: &[(&str, &str, &[&str])] = &[
    ("", "is", &["text", "email", "amount", "number", "bool", "date", "time", "choice", "record"]),
    ("_contains", "contains", &["text", "email", "choice", "record"]),
    ("_starts", "starts with", &["text", "email", "choice", "record"]),
    ("_has", "includes", &["texts", "records"]),
    ("_gte", "is at least", &["amount", "number"]),
    ("_lte", "is at most", &["amount", "number"]),
    ("_after", "is after", &["date", "time"]),
    ("_before", "is before", &["date", "time"]),
];
/// The condition whose value is true or false, and the words for each. People type no value for it.
const PRESENT: &str = "_present";
const FILLED: &[(&str, &str)] = &[("true", "is filled"), ("false", "is empty")];

/// A parameter of the address as a condition on a column.
struct Condition<'a> {
    column: &'a ShownColumn,
    suffix: &'static str,
    words: &'static str,
}

/// Reads a parameter. A column may have a name like `remind_after`.
fn condition<'a>(shape: &'a TableShape, parameter: &str) -> Option<Condition<'a>> {
    let column = |name: &str| shape.columns.iter().find(|column| column.field() == name);
    let suffixes = CONDITIONS.iter().map(|(suffix, words, _)| (*suffix, *words)).chain([(PRESENT, "")]);
    suffixes
        .filter_map(|(suffix, words)| Some((parameter.strip_suffix(suffix)?, suffix, words)))
        .find_map(|(name, suffix, words)| Some(Condition { column: column(name)?, suffix, words }))
}

/// The table whose records a filter names by their ids.
pub fn sought_in<'a>(shape: &'a TableShape, parameter: &str) -> Option<&'a str> {
    let found = condition(shape, parameter).filter(|it| !it.column.in_custom)?;
    match (&found.column.kind, found.suffix) {
        (ValueKind::Record(table), "") | (ValueKind::Records(table), "_has") => Some(table),
        _ => None,
    }
}

/// A filter in words. `names` are those of the records that it names.
pub fn said(shape: &TableShape, (parameter, value): (&str, &str), currency: &str, names: &RecordNames) -> Markup {
    let Some(found) = condition(shape, parameter) else { return html! { span { (parameter) " is " b { (value) } } } };
    if found.suffix == PRESENT {
        let words = FILLED.iter().find(|(it, _)| *it == value).map_or(value, |(_, words)| words);
        return html! { span { (found.column.label) " " (words) } };
    }
    let table = sought_in(shape, parameter);
    let shown = match table {
        Some(table) => {
            several(value, |id| names.get(&(table.to_owned(), id.to_owned())).cloned().unwrap_or_else(|| id.to_owned()))
        }
        None => value_in_words(&found, value, currency),
    };
    html! { span { (found.column.label) " " (found.words) " " b { (shown) } } }
}

fn value_in_words(found: &Condition<'_>, value: &str, currency: &str) -> String {
    let amount = |it: &str| it.parse().map_or_else(|_| it.to_owned(), |it| parts::main_unit(it, currency));
    match (&found.column.kind, found.suffix) {
        (ValueKind::Amount, _) => amount(value),
        (_, "") => several(value, |it| {
            let pairs = choices(found.column);
            let pair = pairs.iter().find(|(value, _)| value == it);
            pair.map_or_else(|| it.to_owned(), |(_, label)| label.clone())
        }),
        _ => value.to_owned(),
    }
}

/// The first of several values, which stand between commas.
fn several(value: &str, name: impl Fn(&str) -> String) -> String {
    let all = commas::values(value);
    let said = all.iter().take(SHOWN).map(|it| name(it)).collect::<Vec<_>>().join(", ");
    let more = all.len().saturating_sub(SHOWN);
    if more > 0 { format!("{said} and {more} more") } else { said }
}

/// The values that a column has, with their labels, if they are few.
fn choices(column: &ShownColumn) -> Vec<(String, String)> {
    let pair = |value: &str, label: &str| (value.to_owned(), label.to_owned());
    match &column.kind {
        ValueKind::Choice(choices) => {
            // Several pipelines may have a stage of the same key.
            let mut seen = BTreeSet::new();
            choices.iter().filter(|it| seen.insert(&it.value)).map(|it| pair(&it.value, &it.label)).collect()
        }
        ValueKind::Bool => vec![pair("true", "yes"), pair("false", "no")],
        _ => Vec::new(),
    }
}

/// The dialog in which a filter is set. `table.js` offers the conditions and the values that fit the column.
pub fn dialog(shape: &TableShape) -> Markup {
    let fits = |column: &&ShownColumn| !matches!(column.kind, ValueKind::Json);
    let (ids, others): (Vec<_>, Vec<_>) =
        shape.columns.iter().filter(fits).partition(|column| column.name == "id" && !column.in_custom);
    let table = |column: &ShownColumn| match &column.kind {
        ValueKind::Record(table) | ValueKind::Records(table) => Some(table.clone()),
        _ => None,
    };
    let listed = |column: &ShownColumn| Some(choices(column)).filter(|it| !it.is_empty()).map(|it| json!(it));
    layout::dialog(
        "filter",
        "Rows to show",
        html! {
            form.form data-filter novalidate {
                (parts::field("filter-column", "Column", "", html! {
                    select.pick #filter-column name="column" {
                        @for column in others.into_iter().chain(ids) {
                            option value=(column.field()) data-kind=(cells::kind(column)) data-table=[table(column)] data-choices=[listed(column)] { (column.label) }
                        }
                    }
                }))
                (parts::field("filter-condition", "Condition", "", html! {
                    select.pick #filter-condition name="condition" {
                        @for (suffix, words, kinds) in CONDITIONS { option value=(suffix) data-kinds=(kinds.join(" ")) { (words) } }
                        @for (value, words) in FILLED { option value=(PRESENT) data-value=(value) { (words) } }
                    }
                }))
                (parts::field("filter-value", "Value", "", html! {
                    input.input #filter-value name="value" autocomplete="off" required;
                    datalist #filter-choices {}
                    ul.found #filter-found role="listbox" aria-label="Suggestions" hidden {}
                }))
                p.btns {
                    button.btn.main type="submit" { "Apply" }
                    button.btn.bare type="button" data-close { "Cancel" }
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{condition, said};
    use crate::door::pages::shape::{Choice, RecordNames, ShownColumn, TableShape, ValueKind};

    fn shape() -> TableShape {
        let column = |name: &str, kind: ValueKind, in_custom: bool| ShownColumn {
            name: name.into(),
            label: name.to_uppercase(),
            kind,
            required: false,
            in_custom,
            read_only: false,
        };
        let won = Choice { value: "won".into(), label: "Won!".into(), pipeline: None };
        let columns = vec![
            column("name", ValueKind::Text, false),
            column("remind", ValueKind::Date, false),
            column("remind_after", ValueKind::Date, false),
            column("stage", ValueKind::Choice(vec![won]), false),
            column("amount_cents", ValueKind::Amount, false),
            column("nps", ValueKind::Number, true),
        ];
        TableShape { table: "deals".into(), entity: None, key: "id".into(), columns, referrers: Vec::new() }
    }

    #[test]
    fn a_parameter_is_a_column_before_it_is_a_condition() {
        let shape = shape();
        let read = |parameter: &str| condition(&shape, parameter).map(|it| (it.column.field(), it.suffix));
        assert_eq!(read("remind_after"), Some(("remind_after".into(), "")));
        assert_eq!(read("remind_before"), Some(("remind".into(), "_before")));
        assert_eq!(read("custom.nps_gte"), Some(("custom.nps".into(), "_gte")));
        assert_eq!(read("nps_gte"), None);
    }

    #[test]
    fn a_filter_is_told_in_words() {
        let shape = shape();
        let check = |parameter: &str, value: &str, expected: &str| {
            let shown = said(&shape, (parameter, value), "EUR", &RecordNames::new()).into_string();
            assert_eq!(shown, format!("<span>{expected}</span>"));
        };
        check("stage", "won,lost", "STAGE is <b>Won!, lost</b>");
        check("name", "\"Halden, Inc.\"", "NAME is <b>Halden, Inc.</b>");
        check("name_contains", "a,b", "NAME contains <b>a,b</b>");
        check("amount_cents_gte", "123450", "AMOUNT_CENTS is at least <b>1,234.50</b>");
        check("custom.nps_present", "false", "NPS is empty");
        check("else", "x", "else is <b>x</b>");
    }
}
