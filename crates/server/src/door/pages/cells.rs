//! The cells of a table of records. `cells.js` edits them in place.

use maud::{Markup, html};
use serde_json::Value;

use crate::door::pages::form;
use crate::door::pages::shape::{self, RecordNames, ShownColumn, ValueKind};

/// Where a cell is, and whether people may edit it.
pub struct CellPlace {
    /// The number of its column, without that of the name.
    pub at: usize,
    /// Whether it is edited.
    pub is_edited: bool,
}

/// A cell. One that is edited holds what its field begins with.
pub fn cell(column: &ShownColumn, row: &Value, names: &RecordNames, place: CellPlace) -> Markup {
    let value = column.value(row);
    let kind = place.is_edited.then(|| kind(column));
    let currency = (kind == Some("amount")).then(|| shape::currency(row));
    let refers = kind.filter(|kind| *kind == "record").and_then(|_| value.as_str());
    let phone_place = PHONE_PLACES.get(place.at).copied();
    html! {
        td.num[is_right(column)] data-m=[phone_place] data-edit=[kind] data-column=[kind.map(|_| column.field())] data-label=[kind.map(|_| &column.label)]
            data-before=[kind.map(|_| form::before(column, row, names))] data-id=[refers] data-currency=[currency] tabindex=[kind.map(|_| "-1")]
        {
            @if !value.is_null() && value != "" { (shape::in_cell(column, row, names)) }
        }
    }
}

/// What a column's cells and its filter say of their values' kind.
pub fn kind(column: &ShownColumn) -> &'static str {
    match column.kind {
        ValueKind::Text | ValueKind::Long => "text",
        ValueKind::Records(_) => "records",
        ValueKind::Email => "email",
        ValueKind::Texts => "texts",
        ValueKind::Amount => "amount",
        ValueKind::Number => "number",
        ValueKind::Bool => "bool",
        ValueKind::Date => "date",
        ValueKind::Time => "time",
        ValueKind::Choice(_) => "choice",
        ValueKind::Record(_) => "record",
        ValueKind::Json => "json",
    }
}

/// The places of the first columns on a phone's screen, where a row is a small block.
const PHONE_PLACES: [&str; 2] = ["sub", "end"];

/// Whether the values of a column stand at the right.
pub fn is_right(column: &ShownColumn) -> bool {
    matches!(column.kind, ValueKind::Amount | ValueKind::Number | ValueKind::Time)
}

/// The width of a column, by the kind of its values.
pub fn width(column: &ShownColumn) -> &'static str {
    match &column.kind {
        ValueKind::Email | ValueKind::Json => "200",
        ValueKind::Amount | ValueKind::Texts | ValueKind::Record(_) | ValueKind::Records(_) => "150",
        ValueKind::Long => "240",
        ValueKind::Number | ValueKind::Bool => "90",
        ValueKind::Time => "100",
        ValueKind::Date | ValueKind::Choice(_) => "115",
        ValueKind::Text if column.name == "phone" => "140",
        ValueKind::Text => "160",
    }
}
