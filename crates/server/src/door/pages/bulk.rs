//! What can be done to several rows at once: the bar that lies over a table's tools while rows are selected, and its dialogs. `bulk.js`
//! tries each act as a dry run, and shows what it would change before the person applies it.

use maud::{Markup, html};

use crate::door::pages::layout;
use crate::door::pages::parts::{field, icon};
use crate::door::pages::shape::{ShownColumn, TableShape};

/// The bar. The deletion of rows that can come back needs no dialog, so its preview stands in the bar itself.
pub fn bar() -> Markup {
    html! {
        div.bulk role="group" aria-label="Selected rows" hidden {
            b data-picked {}
            button.btn type="button" data-open="set-field" { (icon("pencil")) "Set field…" }
            button.btn type="button" data-open="add-to-list" { (icon("list")) "Add to list…" }
            button.btn type="button" data-delete-picked { (icon("trash-2")) "Delete" }
            span.foreseen.cut aria-live="polite" data-foreseen {}
            button.btn.bare type="button" data-open="foresee-deletion" { (icon("eye")) "Preview" }
            button.btn.bare.push type="button" data-unpick { "Clear selection" }
        }
    }
}

/// The dialogs. `columns` are those that people edit.
pub fn dialogs(shape: &TableShape, columns: &[&ShownColumn]) -> Markup {
    html! {
        (layout::dialog("set-field", "Set a field of the selected rows", html! {
            form.form data-bulk="set" novalidate {
                (field("bulk-column", "Field", "", html! {
                    select.pick #bulk-column name="bulk-column" autocomplete="off" {
                        @for column in columns { option value=(column.field()) { (column.label) } }
                    }
                }))
                div.field data-new-value { label { "New value" } }
                (rest())
            }
        }))
        (layout::dialog("add-to-list", "Add the selected rows to a list", html! {
            form.form data-bulk="list" data-target=(shape.table) novalidate {
                (field("bulk-list", "List", "", html! {
                    select.pick #bulk-list name="bulk-list" autocomplete="off" disabled { option value="" { "New list" } }
                }))
                div data-new-list {
                    (field("bulk-list-name", "Name", "", html! { input.input #bulk-list-name name="bulk-list-name" maxlength="200" autocomplete="off" required; }))
                }
                (rest())
            }
        }))
        (layout::dialog("foresee-deletion", "Delete the selected rows", html! {
            form.form data-bulk="delete" data-soft[shape.is_soft()] novalidate { (rest()) }
        }))
    }
}

/// What the forms have in common: the preview, and the button that makes it and then applies it.
fn rest() -> Markup {
    html! {
        div.foreseen-changes aria-live="polite" data-preview {}
        p.btns {
            button.btn.main type="submit" { "Preview" }
            button.btn.bare type="button" data-close { "Cancel" }
        }
    }
}
