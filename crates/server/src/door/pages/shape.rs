//! The shape of a table for people: its columns by their labels, how a value is shown, and how it is typed. Built-in tables have
//! labels in words; a workspace's own tables and columns keep the names that they have in the database.

use std::collections::HashMap;

use futures_util::future::try_join3;
use maud::{Markup, html};
use serde_json::Value;

use crm::model::entity::{CUSTOM, Entity, FieldKind, Need, READ_ONLY_COLUMNS, by_table};
use crm::model::fault::Fault;

use crate::door::pages::addresses::{address, contact_address};
use crate::door::pages::parts;
use crate::door::pages::visit::PageVisit;

/// Columns of texts of several lines.
const LONG: &[&str] = &["body", "description", "body_text", "body_html", "filter_predicate", "snippet"];
/// Labels that don't follow from the column's name.
const LABELS: &[(&str, &str)] = &[
    ("email", "E-mail"),
    ("from_addr", "From"),
    ("to_addrs", "To"),
    ("cc_addrs", "Cc"),
    ("body_html", "HTML body"),
    ("body_text", "Text body"),
    ("provider_msg_id", "Message at the provider"),
    ("thread_id", "Thread"),
    ("target_table", "Table"),
    ("filter_predicate", "Condition"),
    ("filter_params", "Parameters"),
    ("id", "ID"),
    ("created_at", "Created"),
    ("updated_at", "Updated"),
    ("deleted_at", "Deleted"),
];

/// A choice of a column: the value and what people read.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The value.
    pub value: String,
    /// What people read.
    pub label: String,
    /// The pipeline that a stage belongs to.
    pub pipeline: Option<String>,
}

/// The kind of a column's values, as far as people see a difference.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum ValueKind {
    Text,
    /// A text of several lines.
    Long,
    Email,
    /// Texts, one a line.
    Texts,
    /// A number of a currency's smallest unit, typed and shown in the main unit.
    Amount,
    Number,
    Bool,
    Date,
    Time,
    Choice(Vec<Choice>),
    /// The id of a record in the table.
    Record(String),
    /// The ids of several records in the table.
    Records(String),
    Json,
}

/// A column, or a key of `custom`.
#[derive(Clone, Debug)]
pub struct ShownColumn {
    /// The column's name, or the key.
    pub name: String,
    /// What people read.
    pub label: String,
    /// The kind of its values.
    pub kind: ValueKind,
    /// Whether a new record must have a value.
    pub required: bool,
    /// Whether it is a key of `custom`.
    pub in_custom: bool,
    /// Whether only Kith writes it.
    pub read_only: bool,
}

impl ShownColumn {
    fn new(name: &str, label: String, kind: ValueKind) -> ShownColumn {
        ShownColumn { name: name.to_owned(), label, kind, required: false, in_custom: false, read_only: false }
    }

    /// The name of its field in a form: the keys of `custom` are below it.
    pub fn field(&self) -> String {
        if self.in_custom { format!("custom.{}", self.name) } else { self.name.clone() }
    }

    /// Its value in a record.
    pub fn value<'a>(&self, record: &'a Value) -> &'a Value {
        if self.in_custom { &record["custom"][&self.name] } else { &record[&self.name] }
    }

    /// Whether people type it.
    pub fn is_typed(&self) -> bool {
        !self.read_only && !matches!(self.kind, ValueKind::Records(_))
    }
}

/// A reference of another table to this one.
#[derive(Clone, Debug)]
pub struct Referrer {
    /// The other table.
    pub table: String,
    /// Its column.
    pub column: String,
}

/// A table.
pub struct TableShape {
    /// Its name.
    pub table: String,
    /// The built-in table, if it is one.
    pub entity: Option<&'static Entity>,
    /// The column that names a record.
    pub key: String,
    /// The columns, then the defined keys of `custom`.
    pub columns: Vec<ShownColumn>,
    /// The workspace's own tables that refer to it.
    pub referrers: Vec<Referrer>,
}

impl TableShape {
    /// Whether a deleted record can come back.
    pub fn is_soft(&self) -> bool {
        self.columns.iter().any(|column| column.name == "deleted_at" && !column.in_custom)
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&ShownColumn> {
        self.columns.iter().find(|column| column.name == name && !column.in_custom)
    }

    /// The label of a column, or of a key of `custom`.
    pub fn label(&self, name: &str) -> String {
        self.columns.iter().find(|column| column.name == name).map_or_else(|| name.to_owned(), |it| it.label.clone())
    }
}

/// Reads the shape of a table; `None` if the workspace has no such table.
pub async fn of(visit: &PageVisit<'_>, table: &str) -> Result<Option<TableShape>, Fault> {
    let entity = by_table(table);
    let (schema, fields, stages) =
        try_join3(visit.get("schema"), own_fields(visit, entity), stages(visit, table)).await?;
    let tables = schema["data"]["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(found) = tables.iter().find(|it| it["name"] == table) else { return Ok(None) };
    let key = found["primary_key"][0].as_str().unwrap_or("id").to_owned();
    let enums = schema["data"]["enums"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut columns = Vec::new();
    for stored in found["columns"].as_array().into_iter().flatten() {
        let Some(name) = stored["name"].as_str() else { continue };
        if name == CUSTOM.name && entity.is_some() {
            continue;
        }
        let known = entity.and_then(|entity| entity.columns().find(|field| field.name == name));
        let mut column = match known {
            Some(field) => built_in(field.name, field.kind, &stages),
            None => own(name, stored, found, enums),
        };
        if table == "lists" && name == "target_table" {
            column.kind = ValueKind::Choice(listable(tables));
        }
        column.read_only = READ_ONLY_COLUMNS.contains(&name) && (known.is_some() || name != key);
        let has_default = !stored["generated"].is_null() || !stored["default"].is_null() || stored["nullable"] == true;
        column.required = match known {
            Some(field) => field.need == Need::Required,
            None => !has_default,
        };
        // A key that is made by itself is no field of a form.
        column.read_only |= name == key && has_default || stored["generated"] == "always";
        columns.push(column);
    }
    columns.extend(fields);
    let referrers = tables.iter().filter(|it| it["kind"] != "builtin").flat_map(|it| referrers(it, table)).collect();
    Ok(Some(TableShape { table: table.to_owned(), entity, key, columns, referrers }))
}

/// The tables whose rows a list can hold.
fn listable(tables: &[Value]) -> Vec<Choice> {
    const BUILT_IN: &[&str] = &["contacts", "companies", "deals", "activities", "emails"];
    let names =
        |kind: &'static str| tables.iter().filter(move |it| it["kind"] == kind).filter_map(|it| it["name"].as_str());
    let own = names("custom").map(|name| choice(name, name));
    BUILT_IN.iter().map(|name| choice(name, &title(name))).chain(own).collect()
}

fn built_in(name: &str, kind: FieldKind, stages: &[Vec<Choice>; 2]) -> ShownColumn {
    let kind = match kind {
        _ if name == "pipeline" && !stages[0].is_empty() => ValueKind::Choice(stages[0].clone()),
        _ if name == "stage" && !stages[1].is_empty() => ValueKind::Choice(stages[1].clone()),
        FieldKind::Text if LONG.contains(&name) => ValueKind::Long,
        FieldKind::Text => ValueKind::Text,
        FieldKind::Email => ValueKind::Email,
        FieldKind::Emails => ValueKind::Texts,
        FieldKind::Integer | FieldKind::SmallInteger if name.ends_with("_cents") => ValueKind::Amount,
        FieldKind::Integer | FieldKind::SmallInteger => ValueKind::Number,
        FieldKind::Bool => ValueKind::Bool,
        FieldKind::Date => ValueKind::Date,
        FieldKind::Time => ValueKind::Time,
        FieldKind::Json | FieldKind::JsonArray | FieldKind::JsonObject => ValueKind::Json,
        FieldKind::Id(_) if name == "id" => ValueKind::Text,
        FieldKind::Id(table) => ValueKind::Record(table.to_owned()),
        FieldKind::Ids(table) => ValueKind::Records(table.to_owned()),
        FieldKind::OneOf(values) => ValueKind::Choice(values.iter().map(|it| choice(it, &in_words(it))).collect()),
    };
    ShownColumn::new(name, label(name), kind)
}

fn own(name: &str, stored: &Value, table: &Value, enums: &[Value]) -> ShownColumn {
    let sql = stored["type"].as_str().unwrap_or_default();
    let listed = enums.iter().find(|it| it["name"] == sql);
    let kind = match sql {
        _ if listed.is_some() => {
            let values = listed.and_then(|it| it["values"].as_array()).into_iter().flatten();
            ValueKind::Choice(values.filter_map(Value::as_str).map(|it| choice(it, it)).collect())
        }
        _ if referred(table, name).is_some() => ValueKind::Record(referred(table, name).unwrap_or_default()),
        "smallint" | "integer" | "bigint" if name.ends_with("_cents") => ValueKind::Amount,
        "smallint" | "integer" | "bigint" | "real" | "double precision" => ValueKind::Number,
        _ if sql.starts_with("numeric") => ValueKind::Number,
        "boolean" => ValueKind::Bool,
        "date" => ValueKind::Date,
        "timestamp with time zone" => ValueKind::Time,
        "json" | "jsonb" => ValueKind::Json,
        "text[]" | "citext[]" => ValueKind::Texts,
        "text" if LONG.contains(&name) => ValueKind::Long,
        _ => ValueKind::Text,
    };
    let label = if kind == ValueKind::Amount { name.trim_end_matches("_cents").to_owned() } else { name.to_owned() };
    ShownColumn::new(name, label, kind)
}

/// The table that a column refers to by a foreign key of its own.
fn referred(table: &Value, column: &str) -> Option<String> {
    let keys = table["foreign_keys"].as_array()?;
    let found = keys.iter().find(|key| key["columns"].as_array().is_some_and(|it| it.len() == 1 && it[0] == column))?;
    found["references"]["table"].as_str().map(str::to_owned)
}

fn referrers(table: &Value, to: &str) -> Vec<Referrer> {
    let named = |key: &Value| {
        let is_one = key["columns"].as_array().is_some_and(|columns| columns.len() == 1);
        let refers = is_one && key["references"]["table"] == to;
        let (table, column) = (table["name"].as_str()?, key["columns"][0].as_str()?);
        refers.then(|| Referrer { table: table.to_owned(), column: column.to_owned() })
    };
    table["foreign_keys"].as_array().into_iter().flatten().filter_map(named).collect()
}

/// The defined keys of `custom`.
async fn own_fields(visit: &PageVisit<'_>, entity: Option<&'static Entity>) -> Result<Vec<ShownColumn>, Fault> {
    let Some(entity) = entity.filter(|entity| entity.custom_fields) else { return Ok(Vec::new()) };
    let listed = visit.get(&format!("schema/fields?object_type={}&limit=200", entity.name)).await?;
    let mut columns: Vec<ShownColumn> = listed["data"].as_array().into_iter().flatten().filter_map(own_field).collect();
    // The API lists the newest first.
    columns.reverse();
    Ok(columns)
}

fn own_field(row: &Value) -> Option<ShownColumn> {
    let key = row["key"].as_str()?;
    let label = row["label"].as_str().filter(|label| !label.trim().is_empty()).unwrap_or(key);
    let kind = match row["type"].as_str()? {
        "number" => ValueKind::Number,
        "date" => ValueKind::Date,
        "bool" => ValueKind::Bool,
        "select" => {
            let options = row["options"].as_array().into_iter().flatten();
            ValueKind::Choice(options.filter_map(Value::as_str).map(|it| choice(it, it)).collect())
        }
        _ => ValueKind::Text,
    };
    let required = row["required"] == true;
    Some(ShownColumn { required, in_custom: true, ..ShownColumn::new(key, label.to_owned(), kind) })
}

/// The pipelines and the stages, for a table of deals.
async fn stages(visit: &PageVisit<'_>, table: &str) -> Result<[Vec<Choice>; 2], Fault> {
    if table != "deals" {
        return Ok([Vec::new(), Vec::new()]);
    }
    let pipelines = visit.get("pipelines?limit=200").await?;
    let stages = visit.get("pipeline_stages?limit=200").await?;
    let choices = |rows: &Value| -> Vec<Choice> {
        let rows = rows["data"].as_array().into_iter().flatten();
        let one = |row: &Value| {
            let pipeline = row["pipeline"].as_str().map(str::to_owned);
            Some(Choice { pipeline, ..choice(row["key"].as_str()?, row["label"].as_str()?) })
        };
        rows.filter_map(one).collect()
    };
    Ok([choices(&pipelines), choices(&stages)])
}

fn choice(value: &str, label: &str) -> Choice {
    Choice { value: value.to_owned(), label: label.to_owned(), pipeline: None }
}

/// The label of a built-in column.
pub fn label(column: &str) -> String {
    if let Some((_, label)) = LABELS.iter().find(|(name, _)| *name == column) {
        return (*label).to_owned();
    }
    let name = column.trim_end_matches("_cents").trim_end_matches("_at");
    in_words(name.strip_suffix("_id").or(name.strip_suffix("_ids")).unwrap_or(name))
}

/// `close_date` as "Close date".
pub fn in_words(name: &str) -> String {
    let spaced = name.replace('_', " ");
    let mut letters = spaced.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The name of a record for people.
pub fn name_of(table: &str, record: &Value) -> String {
    let said = |column: &str| record[column].as_str().map(str::trim).filter(|text| !text.is_empty());
    let named = match table {
        "contacts" => {
            let names: Vec<&str> = ["first_name", "last_name"].into_iter().filter_map(said).collect();
            if names.is_empty() { said("email").map(str::to_owned) } else { Some(names.join(" ")) }
        }
        "companies" => said("name").or_else(|| said("domain")).map(str::to_owned),
        "activities" => said("subject")
            .or_else(|| said("body").and_then(|body| body.lines().next()))
            .map(str::to_owned)
            .or_else(|| said("type").map(in_words)),
        "emails" => Some(said("subject").unwrap_or("(no subject)").to_owned()),
        _ => {
            const NAMES: &[&str] = &["name", "title", "subject", "label", "code", "number", "key", "email"];
            NAMES.iter().find_map(|column| said(column)).map(str::to_owned)
        }
    };
    named.unwrap_or_else(|| parts::text(&record["id"]))
}

/// What people call a table: "Contacts", or its own name.
pub fn title(table: &str) -> String {
    if by_table(table).is_some() { in_words(table) } else { table.to_owned() }
}

/// The names of records by table and id.
pub type RecordNames = HashMap<(String, String), String>;

/// A value as people read it.
pub fn shown(column: &ShownColumn, record: &Value, names: &RecordNames) -> Markup {
    let value = column.value(record);
    let text = parts::text(value);
    html! {
        @if value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty) { span.faint { "Empty" } }
        @else {
            @match &column.kind {
                ValueKind::Amount => span.num { (amount(value, record)) },
                ValueKind::Time => (parts::time(&text)),
                ValueKind::Date => time datetime=(text) title=(text) { (parts::day(&text)) },
                ValueKind::Email => a.link href=(contact_address("mailto", &text)) { (text) },
                ValueKind::Long => div.lines { (text) },
                ValueKind::Json => code { (value.to_string()) },
                ValueKind::Choice(choices) => {
                    @match choices.iter().find(|choice| choice.value == text) {
                        Some(choice) => (choice.label),
                        None => (text),
                    }
                },
                ValueKind::Record(table) => (link(table, &text, names)),
                ValueKind::Records(table) => {
                    @for id in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
                        div { (link(table, id, names)) }
                    }
                },
                ValueKind::Texts => @for it in value.as_array().into_iter().flatten() { div { (parts::text(it)) } },
                ValueKind::Text if is_web(&text) => a.link href=(text) rel="noopener noreferrer" target="_blank" { (text) },
                ValueKind::Text if column.name == "phone" => a.link href=(contact_address("tel", &text)) { (text) },
                ValueKind::Text if value.is_object() => code { (text) },
                _ => (text),
            }
        }
    }
}

/// A value in a cell of a table, on one line. An address is text there, because a double click edits it.
pub fn in_cell(column: &ShownColumn, record: &Value, names: &RecordNames) -> Markup {
    let value = column.value(record);
    let text = parts::text(value);
    match &column.kind {
        ValueKind::Email | ValueKind::Text | ValueKind::Texts => html! { (text) },
        ValueKind::Long => html! { (text.lines().next().unwrap_or_default()) },
        ValueKind::Choice(choices) if column.in_custom => {
            let at = choices.iter().position(|choice| choice.value == text);
            let label = at.map_or(&text, |at| &choices[at].label);
            html! { span class={ "chip dot h" (at.unwrap_or_default() % 6 + 1) } { (label) } }
        }
        _ => shown(column, record, names),
    }
}

/// A link to a record, by its name where that is known.
pub fn link(table: &str, id: &str, names: &RecordNames) -> Markup {
    let name = names.get(&(table.to_owned(), id.to_owned())).map_or(id, String::as_str);
    html! { a.link href=(address(table, id)) { (name) } }
}

fn is_web(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://")) && !text.contains(char::is_whitespace)
}

/// A record's amount with its currency.
pub fn amount(amount: &Value, record: &Value) -> String {
    amount_in(amount, currency(record))
}

/// An amount with its currency.
pub fn amount_in(amount: &Value, currency: &str) -> String {
    amount.as_i64().map_or_else(|| parts::text(amount), |amount| parts::amount(amount, currency))
}

/// A record's amount as people type it.
pub fn typed_amount(amount: &Value, record: &Value) -> String {
    amount.as_i64().map_or_else(|| parts::text(amount), |amount| parts::main_unit(amount, currency(record)))
}

/// The currency of a record's amounts; empty if it has none.
pub fn currency(record: &Value) -> &str {
    record["currency"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{label, name_of};

    #[test]
    fn columns_have_labels_in_words() {
        for (column, expected) in [
            ("email", "E-mail"),
            ("first_name", "First name"),
            ("company_id", "Company"),
            ("amount_cents", "Amount"),
            ("occurred_at", "Occurred"),
            ("contact_ids", "Contact"),
            ("created_at", "Created"),
        ] {
            assert_eq!(label(column), expected);
        }
    }

    #[test]
    fn records_have_names() {
        for (table, record, expected) in [
            ("contacts", json!({"id": "c_1", "first_name": "Ada", "last_name": " "}), "Ada"),
            ("contacts", json!({"id": "c_1", "email": "a@x.example"}), "a@x.example"),
            ("contacts", json!({"id": "c_1"}), "c_1"),
            ("activities", json!({"type": "call", "body": "One\ntwo"}), "One"),
            ("activities", json!({"type": "call"}), "Call"),
            ("shipments", json!({"id": 7, "code": "SH-7"}), "SH-7"),
            ("shipments", json!({"id": 7}), "7"),
        ] {
            assert_eq!(name_of(table, &record), expected, "{record}");
        }
    }
}
