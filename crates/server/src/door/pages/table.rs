//! The records of a table, newest first: `/contacts` and its like, `/deals?view=table`, `/tables/:name`. The filters and the order
//! in the address are the API's own parameters.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use maud::{Markup, html};
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use crm::model::fault::Fault;
use crm::sql::pages::first_rows;

use crate::door::pages::addresses::{self, encoded};
use crate::door::pages::cells::CellPlace;
use crate::door::pages::layout::{self, Page};
use crate::door::pages::parts::{self, icon};
use crate::door::pages::shape::{self, RecordNames, ShownColumn, TableShape, ValueKind, name_of};
use crate::door::pages::visit::PageVisit;
use crate::door::pages::{IN_QUERY, bulk, cells, filters, form, pager, said};

/// The rows of a page.
const ROWS: usize = 50;
/// The columns that are shown before somebody chooses, besides the name and the time of creation: the first ones that fit.
const USUAL: usize = 6;
/// Where the first columns say too little, the ones that are shown instead. The workspace's own fields follow.
const CHOSEN: &[(&str, &[&str])] = &[
    ("deals", &["stage", "amount_cents", "close_date", "contact_id", "company_id"]),
    ("activities", &["type", "contact_id", "company_id", "deal_id", "occurred_at"]),
    ("emails", &["direction", "from_addr", "to_addrs", "contact_id", "status"]),
];
/// Parameters of the page that are no filters.
const OWN: &[&str] = &["cursor", "back", "view", "sort", "limit", COLUMNS];
/// The parameter of the chosen columns: their names with "~" between them, or "~" alone for none.
const COLUMNS: &str = "columns";

/// Examples of new records of built-in tables.
const EXAMPLES: &[(&str, &str)] = &[
    ("contacts", r#"{"first_name": "Sarah", "email": "sarah@acme.com"}"#),
    ("companies", r#"{"name": "Acme", "domain": "acme.com"}"#),
    ("deals", r#"{"name": "Rollout", "amount_cents": 1250000, "currency": "EUR"}"#),
    ("activities", r#"{"type": "note", "subject": "Asked about lead times"}"#),
    (
        "emails",
        r#"{"direction": "inbound", "from_addr": "sarah@acme.com", "to_addrs": ["you@example.com"], "subject": "Hello"}"#,
    ),
    ("lists", r#"{"name": "Customers", "target_table": "contacts", "kind": "static"}"#),
];

/// A table as it is shown.
struct Listed<'a> {
    visit: &'a PageVisit<'a>,
    shape: &'a TableShape,
    /// The column whose value is the record's name, if one is.
    lead: Option<&'a ShownColumn>,
    columns: Vec<&'a ShownColumn>,
}

/// The page.
pub async fn page(visit: &PageVisit<'_>, table: &str) -> Result<Option<Page>, Fault> {
    let Some(shape) = shape::of(visit, table).await? else { return Ok(None) };
    let given: Vec<(&str, &str)> = given(visit).collect();
    let sort = visit.parameter("sort").map(|sort| ("sort", sort));
    let asked: Vec<(&str, &str)> = given.iter().copied().chain(sort).collect();
    let listed = match visit.get(&format!("{}?{}", encoded(table), pager::query(visit, &asked, ROWS))).await {
        Err(Fault::NoPrimaryKey { .. }) => return Ok(Some(without_key(&shape))),
        // An old address may have a filter of a column that is gone.
        Err(
            fault @ (Fault::Invalid { .. }
            | Fault::Unknown { .. }
            | Fault::FilterTypeMismatch { .. }
            | Fault::InvalidCursor),
        ) => return Ok(Some(Listed::new(visit, &shape).unfit(&given, &fault).await)),
        listed => listed?,
    };
    let rows = listed["data"].as_array().cloned().unwrap_or_default();
    let of = Listed::new(visit, &shape);
    let names = of.names(&rows, &given).await;
    let title = shape::title(table);
    let body = html! {
        (of.tools(&given, &names))
        @if rows.is_empty() { (of.blank(given.is_empty())) } @else { (of.grid(&title, &rows, &names)) }
        (pager::links(visit, &listed))
    };
    let mut page = Page::new(title, addresses::table_address(table), body);
    page.scripts = &["table.js", "bulk.js"];
    page.is_full = true;
    if visit.may_write() {
        page.actions = of.new_record();
    }
    Ok(Some(page))
}

/// The page of a table whose rows have no address.
fn without_key(shape: &TableShape) -> Page {
    let title = shape::title(&shape.table);
    let body = html! {
        div.cols { div.c8 {
            (parts::blank(
                "The rows can’t be shown here",
                "Each row needs a name of its own, so a table needs a primary key of one column, and a view a column named id. This one has none. \
                 SQL reads and writes its rows all the same.",
                html! { p.btns { a.btn.main href={ "/sql?q=" (encoded(&first_rows(&shape.table))) } { "Open it in SQL" } a.btn.bare href="/schema" { "Schema" } } },
            ))
        } }
    };
    Page::new(title, addresses::table_address(&shape.table), body)
}

fn given<'a>(visit: &'a PageVisit<'_>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let all = visit.query.iter().filter(|(name, value)| !value.is_empty() && !OWN.contains(&name.as_str()));
    all.map(|(name, value)| (name.as_str(), value.as_str()))
}

/// What people call one record of a table.
fn one(table: &str) -> &str {
    match table {
        "contacts" => "contact",
        "companies" => "company",
        "deals" => "deal",
        "activities" => "activity",
        "emails" => "email",
        "lists" => "list",
        other => other,
    }
}

fn lead(shape: &TableShape) -> Option<&ShownColumn> {
    const NAMES: &[&str] = &["name", "title", "subject", "label", "code", "number", "key"];
    let names = if shape.table == "contacts" { &["first_name"] } else { NAMES };
    names.iter().find_map(|name| shape.column(name)).or_else(|| shape.column("id"))
}

/// The cookie that remembers the columns of a table of the workspace. Names of tables may have letters that a cookie's name can't.
fn cookie_name(visit: &PageVisit<'_>, table: &str) -> String {
    let workspace = visit.place.as_ref().map_or("", |place| place.workspace.id.as_str());
    format!("kith_columns_{workspace}_{}", encoded(table))
}

/// The columns that the person has chosen: those of the address, or else those that the browser remembers.
fn chosen<'a>(visit: &'a PageVisit<'_>, table: &str) -> Option<Cow<'a, str>> {
    let remembered = || visit.cookie(&cookie_name(visit, table)).map(|it| percent_decode_str(it).decode_utf8_lossy());
    visit.parameter(COLUMNS).map(Cow::Borrowed).or_else(remembered)
}

/// The columns that are shown: those that the person has chosen, or else the first ones that fit a cell.
fn columns<'a>(visit: &PageVisit<'_>, shape: &'a TableShape) -> Vec<&'a ShownColumn> {
    let others = || shape.columns.iter().filter(|column| is_offered(shape, column));
    if let Some(chosen) = chosen(visit, &shape.table) {
        return others().filter(|column| chosen.split('~').any(|name| name == column.field())).collect();
    }
    let fits = |column: &&ShownColumn| {
        let is_quiet =
            matches!(column.kind, ValueKind::Long | ValueKind::Json | ValueKind::Records(_) | ValueKind::Texts);
        let is_in_name = shape.table == "contacts" && column.name == "last_name";
        !is_quiet && !column.read_only && !is_in_name
    };
    let created = shape.columns.iter().filter(|column| column.name == "created_at" && !column.in_custom);
    if let Some((_, names)) = CHOSEN.iter().find(|(table, _)| *table == shape.table) {
        let own = || others().filter(|column| column.in_custom && fits(column));
        return names.iter().filter_map(|name| shape.column(name)).chain(own().take(2)).chain(created).collect();
    }
    others().filter(fits).take(USUAL).chain(created).collect()
}

/// Whether a column can be shown beside the name.
fn is_offered(shape: &TableShape, column: &ShownColumn) -> bool {
    !lead(shape).is_some_and(|lead| lead.name == column.name && lead.in_custom == column.in_custom)
        && (column.in_custom || !matches!(column.name.as_str(), "id" | "custom" | "deleted_at"))
}

/// The parameters of the address that say how the table is shown, whatever its filters and order.
fn look<'a>(visit: &'a PageVisit<'_>) -> impl Iterator<Item = (&'a str, &'a str)> {
    ["view", COLUMNS].into_iter().filter_map(|name| Some((name, visit.parameter(name)?)))
}

/// The address of this page with other filters and another order.
fn address(visit: &PageVisit<'_>, parameters: &[(&str, &str)]) -> String {
    query(&look(visit).chain(parameters.iter().copied()).collect::<Vec<_>>())
}

/// Parameters as the query of an address.
fn query(parameters: &[(&str, &str)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| {
        format!("{}={}", utf8_percent_encode(name, IN_QUERY), utf8_percent_encode(value, IN_QUERY))
    });
    format!("?{}", pairs.collect::<Vec<_>>().join("&"))
}

impl<'a> Listed<'a> {
    fn new(visit: &'a PageVisit<'_>, shape: &'a TableShape) -> Listed<'a> {
        Listed { visit, shape, lead: lead(shape), columns: columns(visit, shape) }
    }

    /// The page for filters or an order that the API refuses: it says why, and the filters can be taken away.
    async fn unfit(&self, given: &[(&str, &str)], fault: &Fault) -> Page {
        let names = self.names(&[], given).await;
        let (_, message, hint) = said(self.visit.app, self.visit.id, fault);
        let body = html! {
            (self.tools(given, &names))
            div.cols { div.c8 { div.blank role="alert" {
                h2 { "These rows can’t be shown" }
                p { (message) @if let Some(hint) = hint { " " (hint) } }
                p.btns { a.btn.main href=(address(self.visit, &[])) { "Show all rows" } }
            } } }
        };
        let mut page = Page::new(shape::title(&self.shape.table), addresses::table_address(&self.shape.table), body);
        (page.scripts, page.is_full) = (&["table.js", "bulk.js"], true);
        page
    }

    /// The names of the records that the rows and the filters refer to, one read for each table.
    async fn names(&self, rows: &[Value], given: &[(&str, &str)]) -> RecordNames {
        let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for column in &self.columns {
            let ValueKind::Record(table) = &column.kind else { continue };
            ids.entry(table).or_default().extend(rows.iter().filter_map(|row| column.value(row).as_str()));
        }
        for (parameter, value) in given {
            if let Some(table) = filters::sought_in(self.shape, parameter) {
                ids.entry(table).or_default().extend(value.split(','));
            }
        }
        let read = ids.into_iter().filter(|(_, ids)| !ids.is_empty()).map(|(table, ids)| async move {
            let ids = Vec::from_iter(ids).join(",");
            let path = format!("{}?id={}&include_deleted=true&limit=200", encoded(table), encoded(&ids));
            (table, self.visit.get(&path).await.unwrap_or_default())
        });
        let mut names = RecordNames::new();
        for (table, found) in join_all(read).await {
            for record in found["data"].as_array().into_iter().flatten() {
                names.insert((table.to_owned(), parts::text(&record["id"])), name_of(table, record));
            }
        }
        names
    }

    fn tools(&self, given: &[(&str, &str)], names: &RecordNames) -> Markup {
        let sort = self.visit.parameter("sort").map(|sort| ("sort", sort));
        html! {
            div.tools data-table-of=(self.shape.table) {
                @for (at, (name, value)) in given.iter().enumerate() {
                    @let rest: Vec<_> = given.iter().enumerate().filter(|(it, _)| *it != at).map(|(_, it)| *it).chain(sort).collect();
                    a.btn.filter.on href=(address(self.visit, &rest)) {
                        (filters::said(self.shape, (*name, *value), self.visit.parameter("currency").unwrap_or_default(), names)) (icon("x")) span.sr { "Remove this filter" }
                    }
                }
                button.btn.filter type="button" data-open="filter" { (icon("plus")) "Filter" }
                span.push {}
                @if self.shape.table == "deals" {
                    @let pipeline: Vec<_> = given.iter().copied().filter(|(name, _)| *name == "pipeline").collect();
                    @let board = if pipeline.is_empty() { "/deals".to_owned() } else { format!("/deals{}", query(&pipeline)) };
                    div.seg { a href=(board) { (icon("square-kanban")) span { "Board" } } a href=(address(self.visit, &pipeline)) aria-current="page" { (icon("table-2")) span { "Table" } } }
                }
                @let table = encoded(&self.shape.table);
                @if self.visit.may_write() { a.btn.bare.slim href={ "/import?table=" (table) } { (icon("upload")) span { "Import" } } }
                a.btn.bare.slim href={ "/export/" (table) ".csv" (query(given)) } { (icon("download")) span { "Export" } }
                button.btn.bare.slim type="button" data-open="columns" { (icon("columns-3")) span { "Columns" } }
                @if self.visit.may_write() {
                    (bulk::bar())
                }
            }
            (filters::dialog(self.shape))
            (self.columns_dialog())
            @if self.visit.may_write() { (bulk::dialogs(self.shape, &self.edited().collect::<Vec<_>>())) }
        }
    }

    fn columns_dialog(&self) -> Markup {
        let is_shown = |column: &ShownColumn| self.columns.iter().any(|it| it.field() == column.field());
        layout::dialog(
            "columns",
            "Shown beside the name",
            html! {
                form.form data-columns=(cookie_name(self.visit, &self.shape.table)) {
                    @for column in self.shape.columns.iter().filter(|column| is_offered(self.shape, column)) {
                        label.who { input.tick type="checkbox" name=(column.field()) checked[is_shown(column)]; " " (column.label) }
                    }
                    p.btns { button.btn type="button" data-close { "Close" } }
                }
            },
        )
    }

    fn grid(&self, title: &str, rows: &[Value], names: &RecordNames) -> Markup {
        let may_write = self.visit.may_write();
        let lead = self.lead.map(|lead| if self.shape.table == "contacts" { "Name" } else { &lead.label });
        html! {
            form #sort method="get" {
                @for (name, value) in look(self.visit).chain(given(self.visit)) { input type="hidden" name=(name) value=(value); }
            }
            div.scroller tabindex="0" role="region" aria-label="Rows" {
                table.grid.stack aria-label=(title) data-pickable data-table=(self.shape.table) {
                    colgroup {
                        @if may_write { col width="40"; }
                        col width="220";
                        @for column in &self.columns { col width=(cells::width(column)); }
                    }
                    thead { tr {
                        @if may_write { th.sel scope="col" { input.tick type="checkbox" aria-label="Select all" data-all; } }
                        (self.head(lead.unwrap_or("ID"), self.lead.map(ShownColumn::field).as_deref(), false))
                        @for column in &self.columns {
                            @let is_sorted = !matches!(column.kind, ValueKind::Json | ValueKind::Texts | ValueKind::Records(_));
                            (self.head(&column.label, Some(self.sort_name(column)).filter(|_| is_sorted).as_deref(), cells::is_right(column)))
                        }
                    } }
                    tbody { @for row in rows { (self.row(row, names, may_write)) } }
                }
            }
            @for column in self.edited() { (form::editor(column)) }
        }
    }

    /// What rows are sorted by for a column: a reference by the name of the record.
    fn sort_name(&self, column: &ShownColumn) -> String {
        let own = self.shape.entity.filter(|_| !column.in_custom);
        let relation = own.and_then(|entity| entity.to_one.iter().find(|it| it.column == column.name));
        let named =
            relation.map(|it| format!("{}.{}", it.key, if it.table == "contacts" { "first_name" } else { "name" }));
        named.unwrap_or_else(|| column.field())
    }

    /// A head with the button that sorts: first upwards, then downwards.
    fn head(&self, label: &str, column: Option<&str>, is_number: bool) -> Markup {
        let Some(column) = column else { return html! { th.num[is_number] scope="col" { (label) } } };
        let current = self.visit.parameter("sort").unwrap_or("");
        let is_up = current == column;
        let is_down = current.strip_prefix('-') == Some(column);
        let next = if is_up { format!("-{column}") } else { column.to_owned() };
        let said = if is_up { Some("ascending") } else { is_down.then_some("descending") };
        html! {
            th.num[is_number] scope="col" aria-sort=[said] {
                button type="submit" form="sort" name="sort" value=(next) {
                    (label) @if is_up { (icon("arrow-up")) } @if is_down { (icon("arrow-down")) }
                }
            }
        }
    }

    fn row(&self, row: &Value, names: &RecordNames, may_write: bool) -> Markup {
        let key = &row[&self.shape.key];
        let id = parts::text(if key.is_null() { &row["id"] } else { key });
        let name = Some(name_of(&self.shape.table, row)).filter(|name| !name.is_empty()).unwrap_or_else(|| id.clone());
        html! {
            tr data-id=(id) data-pipeline=[row["pipeline"].as_str().filter(|_| self.shape.table == "deals")] data-currency=[row["currency"].as_str()] {
                @if may_write { td.sel { input.tick type="checkbox" aria-label={ "Select " (name) } data-pick; } }
                @let lead = self.lead.filter(|lead| self.is_edited(lead));
                @let also = self.last_name().filter(|_| lead.is_some());
                td data-m="title" data-edit=[lead.map(|_| "name")] data-column=[lead.map(ShownColumn::field)] data-label=[lead.map(|lead| &lead.label)]
                    data-before=[lead.map(|lead| form::before(lead, row, names))] tabindex=[lead.map(|_| "-1")]
                    data-also=[also.map(ShownColumn::field)] data-also-label=[also.map(|it| &it.label)] data-also-before=[also.map(|it| form::before(it, row, names))]
                {
                    span.who {
                        @if self.shape.table == "contacts" { (parts::Hand::person(&id, &name)) }
                        a.name.cut href=(addresses::address(&self.shape.table, &id)) { (name) }
                    }
                }
                @for (at, column) in self.columns.iter().enumerate() { (cells::cell(column, row, names, CellPlace { at, is_edited: self.is_edited(column) })) }
            }
        }
    }

    /// Whether the cells of a column are edited. A record keeps its key.
    fn is_edited(&self, column: &ShownColumn) -> bool {
        self.visit.may_write() && column.is_typed() && (column.in_custom || column.name != self.shape.key)
    }

    /// The columns that are edited, in cells or for several rows at once.
    fn edited(&self) -> impl Iterator<Item = &ShownColumn> {
        self.shape.columns.iter().filter(|column| self.is_edited(column))
    }

    /// The second column of a contact's name.
    fn last_name(&self) -> Option<&ShownColumn> {
        self.shape.column("last_name").filter(|_| self.shape.table == "contacts")
    }

    fn new_record(&self) -> Markup {
        let (table, one) = (&self.shape.table, one(&self.shape.table));
        let title = format!("New {one}");
        let begins = if table == "deals" { json!({"currency": "USD", "custom": {}}) } else { json!({"custom": {}}) };
        html! {
            button.btn.main type="button" data-new data-open="new-record" { (icon("plus")) (title) }
            (layout::dialog("new-record", &title, html! {
                form.form data-new-record data-table=(table) novalidate {
                    (form::fields(self.shape, &begins, &RecordNames::new()))
                    (form::buttons("Create"))
                }
            }))
        }
    }

    /// An example of a row of an own table: the columns that a new one must have, or else the first one.
    fn example(&self) -> String {
        let typed = || self.shape.columns.iter().filter(|column| column.is_typed() && !column.in_custom);
        let needed: Vec<&ShownColumn> = typed().filter(|column| column.required).collect();
        let chosen = if needed.is_empty() { typed().take(1).collect() } else { needed };
        let row: serde_json::Map<String, Value> =
            chosen.iter().map(|column| (column.name.clone(), json!("…"))).collect();
        Value::from(row).to_string()
    }

    fn blank(&self, is_whole: bool) -> Markup {
        let (base, table) = (&self.visit.app.public_url, &self.shape.table);
        let body = EXAMPLES
            .iter()
            .find(|(name, _)| name == table)
            .map_or_else(|| self.example(), |(_, body)| (*body).to_owned());
        html! {
            div.cols { div.c8 {
                @if is_whole {
                    (parts::blank(
                        &format!("No {} yet", shape::title(table).to_lowercase()),
                        "Let an agent bring the first ones, import a CSV file, or make one by hand.",
                        html! {
                            div.code {
                                button.btn.bare.mini type="button" data-copy { (icon("copy")) span { "Copy" } }
                                pre tabindex="0" { code {
                                    "curl -X POST " (base) "/v1/" (encoded(table)) " \\\n  -H \"Authorization: Bearer $KEY\" \\\n  -H \"Content-Type: application/json\" \\\n  -d '" (body) "'"
                                } }
                            }
                            @if self.visit.may_write() { p.btns.after { a.btn href={ "/import?table=" (encoded(table)) } { (icon("upload")) "Import a CSV file" } } }
                        },
                    ))
                } @else {
                    (parts::blank("No rows fit these filters", "Take one away to see more.", html! {}))
                }
            } }
        }
    }
}
