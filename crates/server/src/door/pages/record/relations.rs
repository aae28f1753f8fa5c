//! What a record is related to: the records that it refers to, those that refer to it, associations, and lists.

use std::collections::BTreeSet;

use futures_util::future::{join, join_all, join4};
use maud::{Markup, html};
use serde_json::Value;

use crm::model::entity::{ENTITIES, by_table};

use crate::door::pages::addresses::{address, encoded};
use crate::door::pages::layout;
use crate::door::pages::parts::{self, icon};
use crate::door::pages::shape::{self, RecordNames, TableShape, ValueKind, name_of};
use crate::door::pages::visit::PageVisit;

/// The title of the associations.
const RELATIONS: &str = "Relations";
/// The records of a relation that are shown.
const MOST: usize = 8;

/// A relation: its name, and the records.
pub struct Relation {
    title: String,
    rows: Vec<RelatedRecord>,
    has_more: bool,
}

struct RelatedRecord {
    table: String,
    id: String,
    name: String,
    beside: String,
    /// The association, if it is one.
    association: Option<String>,
}

/// What is needed to relate a record to others.
#[derive(Clone, Copy)]
pub struct Adding<'a> {
    /// The record's table.
    pub shape: &'a TableShape,
    /// The record.
    pub id: &'a str,
    /// Whether the person may.
    pub is_offered: bool,
}

/// Reads the relations of a record. What can't be read, for example because the plan lacks associations, is left out.
pub async fn read(visit: &PageVisit<'_>, shape: &TableShape, id: &str, record: &Value) -> Vec<Relation> {
    let referring = referring(shape);
    let reads = referring.iter().map(|(table, filter)| rows(visit, table, filter, id));
    let (listed, associated, lists, mail) =
        join4(join_all(reads), associations(visit, id), lists(visit, id), of_mail(visit, shape, record)).await;
    let mut relations: Vec<Relation> = listed.into_iter().flatten().collect();
    relations.extend(mail);
    relations.extend(associated);
    relations.extend(lists);
    relations.retain(|relation| !relation.rows.is_empty());
    relations
}

/// The tables whose records refer to this one, with the parameter that finds them.
fn referring(shape: &TableShape) -> Vec<(String, String)> {
    let built_in: &[(&str, &str)] = match shape.table.as_str() {
        "contacts" => &[("deals", "contact_id"), ("activities", "contact_id"), ("emails", "involves_contact")],
        "companies" => &[
            ("contacts", "company_id"),
            ("deals", "company_id"),
            ("activities", "company_id"),
            ("emails", "involves_company"),
        ],
        "deals" => &[("activities", "deal_id"), ("emails", "involves_deal")],
        _ => &[],
    };
    let own = shape.referrers.iter().map(|it| (it.table.clone(), it.column.clone()));
    built_in.iter().map(|(table, filter)| ((*table).to_owned(), (*filter).to_owned())).chain(own).collect()
}

async fn rows(visit: &PageVisit<'_>, table: &str, filter: &str, id: &str) -> Option<Relation> {
    let path = format!("{}?{}={}&limit={MOST}", encoded(table), encoded(filter), quoted(id));
    let read = visit.get(&path).await.ok()?;
    let rows = read["data"].as_array()?.iter().map(|row| related(table, row)).collect();
    Some(Relation { title: title(table), rows, has_more: read["_meta"]["has_more"] == true })
}

fn title(table: &str) -> String {
    if table == "emails" { "E-mails".to_owned() } else { shape::title(table) }
}

/// A value of a filter that may have a comma.
fn quoted(value: &str) -> String {
    if value.contains([',', '"']) { encoded(&format!("\"{}\"", value.replace('"', "\"\""))) } else { encoded(value) }
}

fn related(table: &str, row: &Value) -> RelatedRecord {
    let beside = match table {
        "deals" => match &row["amount_cents"] {
            Value::Null => parts::text(&row["stage"]),
            cents => shape::amount(cents, row),
        },
        "contacts" => parts::text(&row["title"]),
        "activities" => parts::text(&row["type"]),
        "companies" => parts::text(&row["domain"]),
        "emails" => parts::text(&row["from_addr"]),
        _ => String::new(),
    };
    RelatedRecord {
        table: table.to_owned(),
        id: parts::text(&row["id"]),
        name: name_of(table, row),
        beside,
        association: None,
    }
}

/// The contacts, companies and deals of an e-mail.
async fn of_mail(visit: &PageVisit<'_>, shape: &TableShape, record: &Value) -> Vec<Relation> {
    let mut relations = Vec::new();
    for column in &shape.columns {
        let ValueKind::Records(table) = &column.kind else { continue };
        let ids: Vec<&str> = record[&column.name].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let rows = by_ids(visit, table, &ids).await;
        relations.push(Relation { title: title(table), rows, has_more: ids.len() > MOST });
    }
    relations
}

async fn by_ids(visit: &PageVisit<'_>, table: &str, ids: &[&str]) -> Vec<RelatedRecord> {
    if ids.is_empty() {
        return Vec::new();
    }
    let ids: Vec<String> = ids.iter().take(MOST).map(|id| encoded(id)).collect();
    let read = visit.get(&format!("{}?id={}&limit={MOST}", encoded(table), ids.join(","))).await.unwrap_or_default();
    read["data"].as_array().into_iter().flatten().map(|row| related(table, row)).collect()
}

/// The records that are associated with this one, by either end.
async fn associations(visit: &PageVisit<'_>, id: &str) -> Option<Relation> {
    let (from, to) = (
        format!("associations?from_id={}&limit={MOST}", quoted(id)),
        format!("associations?to_id={}&limit={MOST}", quoted(id)),
    );
    let (from, to) = join(visit.get(&from), visit.get(&to)).await;
    let (from, to) = (from.ok()?, to.ok()?);
    let has_more = [&from, &to].iter().any(|read| read["_meta"]["has_more"] == true);
    let ends = |read: &Value, end: &str| -> Vec<[String; 4]> {
        let one = |row: &Value| {
            let (kind, id) = (parts::text(&row[format!("{end}_type")]), parts::text(&row[format!("{end}_id")]));
            let table =
                ENTITIES.iter().find(|entity| entity.name == kind).map_or(kind, |entity| entity.table.to_owned());
            [table, id, parts::text(&row["label"]), parts::text(&row["id"])]
        };
        read["data"].as_array().into_iter().flatten().map(one).collect()
    };
    let ends: Vec<[String; 4]> = ends(&from, "to").into_iter().chain(ends(&to, "from")).collect();
    let mut names = RecordNames::new();
    for [table, id, ..] in &ends {
        name(visit, &mut names, table, id).await;
    }
    let rows = ends.into_iter().map(|[table, id, beside, association]| {
        let name = names.get(&(table.clone(), id.clone())).cloned().unwrap_or_else(|| id.clone());
        RelatedRecord { name, table, id, beside, association: Some(association) }
    });
    Some(Relation { title: RELATIONS.to_owned(), rows: rows.collect(), has_more })
}

/// The lists that a record was put into.
async fn lists(visit: &PageVisit<'_>, id: &str) -> Option<Relation> {
    let read = visit.get(&format!("list_members?member_id={}&limit={MOST}", quoted(id))).await.ok()?;
    let ids: Vec<&str> = read["data"].as_array()?.iter().filter_map(|row| row["list_id"].as_str()).collect();
    let rows = by_ids(visit, "lists", &ids).await;
    Some(Relation { title: "Lists".to_owned(), rows, has_more: read["_meta"]["has_more"] == true })
}

/// Reads a record's name, once.
async fn name(visit: &PageVisit<'_>, names: &mut RecordNames, table: &str, id: &str) {
    let key = (table.to_owned(), id.to_owned());
    if names.contains_key(&key) {
        return;
    }
    if let Ok(read) = visit.get(&format!("{}/{}?include_deleted=true", encoded(table), encoded(id))).await {
        names.insert(key, name_of(table, &read["data"]));
    }
}

/// Adds the names of other records, one read for each table.
pub async fn add_names(visit: &PageVisit<'_>, names: &mut RecordNames, wanted: BTreeSet<(String, String)>) {
    let missing: Vec<(String, String)> = wanted.into_iter().filter(|key| !names.contains_key(key)).collect();
    for of_table in missing.chunk_by(|one, next| one.0 == next.0) {
        let ids: Vec<String> = of_table.iter().map(|(_, id)| encoded(id)).collect();
        let table = &of_table[0].0;
        let path = format!("{}?id={}&include_deleted=true&limit=200", encoded(table), ids.join(","));
        let Ok(read) = visit.get(&path).await else { continue };
        for record in read["data"].as_array().into_iter().flatten() {
            names.insert((table.clone(), parts::text(&record["id"])), name_of(table, record));
        }
    }
}

/// The names of the records that a record refers to.
pub async fn names(visit: &PageVisit<'_>, shape: &TableShape, record: &Value) -> RecordNames {
    let mut names = RecordNames::new();
    for relation in shape.entity.map(|entity| entity.to_one).unwrap_or_default() {
        if let Some(id) = record[relation.key]["id"].as_str() {
            names.insert((relation.table.to_owned(), id.to_owned()), name_of(relation.table, &record[relation.key]));
        }
    }
    for column in &shape.columns {
        match (&column.kind, column.value(record)) {
            (ValueKind::Record(_), Value::Null) => {}
            (ValueKind::Record(table), value) => name(visit, &mut names, table, &parts::text(value)).await,
            (ValueKind::Records(table), Value::Array(ids)) => {
                for related in by_ids(visit, table, &ids.iter().filter_map(Value::as_str).collect::<Vec<_>>()).await {
                    names.insert((related.table, related.id), related.name);
                }
            }
            _ => {}
        }
    }
    names
}

/// The relations as sections with links.
pub fn shown(relations: &[Relation], adding: Adding<'_>) -> Markup {
    let may_add = adding.is_offered && adding.shape.entity.is_some_and(|entity| entity.associable);
    let has_own = relations.iter().any(|relation| relation.title == RELATIONS);
    html! {
        @for relation in relations {
            section.sect {
                header {
                    h2 { (relation.title) } span.count { (relation.rows.len()) @if relation.has_more { "+" } }
                    @if may_add && relation.title == RELATIONS { (add_button()) }
                }
                ul.rows { @for row in &relation.rows { (related_row(row, may_add)) } }
            }
        }
        @if may_add {
            @if !has_own {
                section.sect {
                    header { h2 { (RELATIONS) } (add_button()) }
                    p.soft { "Relate this to any other record, in words of your own: “reports to”, “introduced by”." }
                }
            }
            (add_dialog(adding))
        }
    }
}

fn related_row(row: &RelatedRecord, may_remove: bool) -> Markup {
    html! {
        li {
            @if has_page(&row.table) && !row.id.is_empty() { a.link.cut href=(address(&row.table, &row.id)) { (row.name) } }
            @else { span.cut { (row.name) } }
            @if !row.beside.is_empty() { span.soft.push.cut { (row.beside) } }
            @if let Some(association) = row.association.as_deref().filter(|_| may_remove) {
                button.btn.bare.mini.square.push[row.beside.is_empty()] type="button" data-unrelate=(association) aria-label={ "Unrelate " (row.name) } { (icon("x")) }
            }
        }
    }
}

fn add_button() -> Markup {
    html! { button.btn.bare.mini.push type="button" data-open="relate" { (icon("plus")) "Add relation" } }
}

/// The dialog that relates the record to another one.
fn add_dialog(adding: Adding<'_>) -> Markup {
    let kinds = || ENTITIES.iter().filter(|entity| entity.associable && entity.searchable);
    let own = adding.shape.entity.map_or("", |entity| entity.name);
    html! {
        (layout::dialog("relate", "Add relation", html! {
            form.form data-relate data-type=(own) data-id=(adding.id) novalidate {
                (parts::field("relate-kind", "Kind", "", html! {
                    select.input.pick #relate-kind name="kind" autocomplete="off" {
                        @for kind in kinds() { option value=(kind.name) data-table=(kind.table) { (shape::in_words(kind.name)) } }
                    }
                }))
                div.field {
                    label for="relate-record" { "Record" }
                    input.input #relate-record type="text" role="combobox" aria-expanded="false" aria-autocomplete="list" aria-controls="relate-record-list"
                        name="record" data-kind="record" data-table=[kinds().next().map(|kind| kind.table)] data-id="" data-named="" autocomplete="off"
                        spellcheck="false" required placeholder="Type a name";
                    ul.found #relate-record-list role="listbox" aria-label="Suggestions" hidden {}
                }
                (parts::field("relate-label", "Label", "How they are related, for example: reports to.", html! {
                    input.input #relate-label name="label" maxlength="200" autocomplete="off" aria-describedby="relate-label-note";
                }))
                p.btns {
                    button.btn.main type="submit" { "Add" }
                    button.btn.bare type="button" data-close { "Cancel" }
                }
            }
        }))
    }
}

/// Whether the records of a table have pages. Those that only describe others have none.
pub fn has_page(table: &str) -> bool {
    by_table(table).is_none_or(|entity| entity.searchable)
}
