//! The page /import?table=contacts: a file of comma-separated values becomes records of a table. The script reads the file, tries it
//! as a dry run, and sends it in parts under one run.

use maud::{Markup, html};
use serde_json::{Value, json};

use crm::model::entity::{READ_ONLY_COLUMNS, by_table};
use crm::model::fault::Fault;

use crate::door::pages::addresses;
use crate::door::pages::layout::Page;
use crate::door::pages::parts::{blank, field};
use crate::door::pages::shape;
use crate::door::pages::visit::PageVisit;

/// A field into which a column of a file can go.
struct ImportTable {
    /// Its name for the API: `email`, `custom.segment`.
    name: String,
    label: String,
}

/// The page.
pub async fn page(visit: &PageVisit<'_>) -> Result<Option<Page>, Fault> {
    let table = visit.parameter("table").unwrap_or("contacts");
    if by_table(table).is_some_and(|entity| !entity.writable) {
        return Ok(None);
    }
    let Some(targets) = targets(visit, table).await? else { return Ok(None) };
    let nav = addresses::table_address(table);
    let title = format!("Import {}", table.replace('_', " "));
    let body = match visit.may_write() {
        true => content(table, &nav, &targets),
        false => html! {
            div.cols { div.c12 { (blank("You may read, not write", "Ask an owner of the workspace to make you a member.", html! {})) } }
        },
    };
    Ok(Some(Page { scripts: &["import.js"], ..Page::new(title, nav, body) }))
}

/// The fields of a table: its columns, and its custom fields. `None` if there is no such table.
async fn targets(visit: &PageVisit<'_>, table: &str) -> Result<Option<Vec<ImportTable>>, Fault> {
    let schema = visit.get("schema").await?;
    let tables = schema["data"]["tables"].as_array().cloned().unwrap_or_default();
    let Some(found) = tables.iter().find(|it| it["name"] == table) else { return Ok(None) };
    let entity = by_table(table);
    let mut targets = Vec::new();
    for column in found["columns"].as_array().into_iter().flatten() {
        let name = column["name"].as_str().unwrap_or_default();
        let kind = column["type"].as_str().unwrap_or_default();
        let is_own_id = entity.is_none() && name == "id";
        if name == "custom" || (READ_ONLY_COLUMNS.contains(&name) && !is_own_id) || kind.ends_with("[]") {
            continue;
        }
        // An amount is in the main unit of its currency, as people write it.
        let name = name.strip_suffix("_cents").filter(|_| entity.is_some()).unwrap_or(name);
        let label = if entity.is_some() { shape::label(name) } else { name.to_owned() };
        targets.push(ImportTable { name: name.to_owned(), label });
    }
    if let Some(entity) = entity.filter(|entity| entity.custom_fields) {
        let fields = visit.get("schema/fields?limit=200").await?;
        for field in fields["data"].as_array().into_iter().flatten().filter(|it| it["object_type"] == entity.name) {
            let key = field["key"].as_str().unwrap_or_default();
            let label = field["label"].as_str().filter(|it| !it.is_empty()).unwrap_or(key);
            targets.push(ImportTable { name: format!("custom.{key}"), label: label.to_owned() });
        }
    }
    Ok(Some(targets))
}

fn content(table: &str, back: &str, targets: &[ImportTable]) -> Markup {
    let fields: Vec<Value> = targets.iter().map(|it| json!({"name": it.name, "label": it.label})).collect();
    html! {
        div.cols {
            div.c12.form.import #import data-table=(table) data-back=(back) data-fields=(Value::from(fields)) {
                p.soft {
                    "A CSV file whose first row names its columns. "
                    @if table == "contacts" { "A contact whose e-mail address is there already is updated. " }
                    @if table == "companies" { "A company whose domain is there already is updated. " }
                    "An empty cell leaves a value as it is."
                }
                (field("import-file", "File", "", html! {
                    input.input #import-file type="file" accept=".csv,.tsv,.txt,text/csv" autocomplete="off";
                }))
                div #import-work {}
                noscript { p { "The import needs JavaScript; the same is done by " code.inline { "POST /v1/imports" } "." } }
            }
        }
    }
}
