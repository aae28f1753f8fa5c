//! Pages of a table: their conditions, their order and their cursors.

use crate::model::answer::Answer;
use crate::model::ask::PipelineName;
use crate::model::catalog::{Column, CustomKind, Table};
use crate::model::entity::{FieldKind, Order, ToOne, by_table};
use crate::model::fault::{Fault, nearest};
use crate::model::filter::{Deleted, Filter, Sort, Subject};
use crate::model::page::{Cursor, PageAsk, scope};
use crate::model::rows::Rows;
use crate::model::value::TypeKind;
use crate::plan::filter::{self, Condition};
use crate::plan::{Outcome, has_columns, one, record};

/// The parameters of a list that are not filters.
const OWN_PARAMETERS: &[&str] = &["limit", "cursor", "sort", "include_deleted", "only_deleted"];

/// A page of a table, as the caller asks for it.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The filters. A row must match all of them.
    pub filters: &'a [Filter],
    /// Whether soft-deleted rows are listed.
    pub deleted: Deleted,
    /// The column to sort by; `None` for the table's own order.
    pub sort: Option<&'a Sort>,
    /// The limit and the cursor.
    pub page: &'a PageAsk,
}

/// A page of a table.
#[derive(Debug)]
pub struct List<'a> {
    /// The table to read.
    pub table: &'a Table,
    /// The conditions on its rows.
    pub conditions: Vec<Condition<'a>>,
    /// Whether soft-deleted rows are listed.
    pub deleted: Deleted,
    /// The sort order.
    pub order: Sorting<'a>,
    /// The sort key of the last row of the previous page.
    pub cursor: Option<Vec<Option<String>>>,
    /// Maximum number of rows.
    pub limit: usize,
    /// The pipeline of the stages, if the path names one.
    pub within: Option<PipelineName>,
    /// The hash of the list, for its cursors.
    scope: u64,
}

/// A total order. The last key is unique.
#[derive(Debug)]
pub struct Sorting<'a> {
    /// The keys, the most significant one first.
    pub keys: Vec<OrderKey<'a>>,
    /// Whether all keys descend. NULLs then come first, unless `nulls_last` is set.
    pub descending: bool,
    /// Whether rows without a value of the first key come last, in either direction.
    pub nulls_last: bool,
    /// Whether the caller chose the order.
    pub is_asked: bool,
}

/// A key of a sort order.
#[derive(Debug, PartialEq)]
pub enum OrderKey<'a> {
    /// A column with a plain text form.
    Column {
        /// The column's name.
        name: &'a str,
    },
    /// A column whose JSON form is not the text that PostgreSQL parses: an array, a jsonb, a composite.
    Reread {
        /// The column's name.
        name: &'a str,
        /// The column's type, as `format_type` writes it.
        type_name: &'a str,
    },
    /// A key of a JSON column.
    Key {
        /// The JSON column's name.
        column: &'a str,
        /// The key in that column.
        key: String,
        /// The declared type of the key. A key without one is text.
        declared: Option<CustomKind>,
    },
    /// A column of the record that a row refers to.
    Referred {
        /// The reference.
        relation: &'static ToOne,
        /// The column of that record.
        column: &'static str,
    },
    /// The time at which an e-mail was received; if null, the time at which it was sent, then that of its creation.
    MailTime,
}

impl OrderKey<'_> {
    /// Whether the result has an additional column, after those of the table, with the text for the cursor.
    pub fn is_computed(&self) -> bool {
        match self {
            OrderKey::Reread { .. } | OrderKey::Key { .. } | OrderKey::Referred { .. } | OrderKey::MailTime => true,
            OrderKey::Column { .. } => false,
        }
    }
}

/// Plans a page of a table.
pub fn plan<'a>(table: &'a Table, asked: &Asked<'_>) -> Result<List<'a>, Fault> {
    let Asked { filters, deleted, sort, page } = *asked;
    let conditions = filter::plan(table, filters, OWN_PARAMETERS)?;
    let (order, order_name) = match sort {
        Some(sort) => sorted_by(table, sort)?,
        None => (sorting(table)?, String::new()),
    };
    // The order and the spelling of the filters do not matter.
    let mut said: Vec<String> = conditions.iter().map(Condition::identity).collect();
    said.sort_unstable();
    let of_order = Some(order_name.as_str()).filter(|name| !name.is_empty());
    let parts = [table.name.as_str(), deleted_name(deleted)].into_iter().chain(of_order);
    let scope = scope(parts.chain(said.iter().map(String::as_str)));
    let cursor = match &page.cursor {
        Some(text) => Some(Cursor::decode(text, scope, order.keys.len())?.keys),
        None => None,
    };
    Ok(List { table, conditions, deleted, order, cursor, limit: page.limit, within: None, scope })
}

/// Plans a page of a pipeline's stages.
pub fn stages<'a>(table: &'a Table, pipeline: &PipelineName, page: &PageAsk) -> Result<List<'a>, Fault> {
    let order = sorting(table)?;
    let name = match pipeline {
        PipelineName::Default => "",
        PipelineName::Key(key) => key,
    };
    let scope = scope(["stages", name].into_iter());
    let cursor = match &page.cursor {
        Some(text) => Some(Cursor::decode(text, scope, order.keys.len())?.keys),
        None => None,
    };
    let within = Some(pipeline.clone());
    Ok(List {
        table,
        conditions: Vec::new(),
        deleted: Deleted::Exclude,
        order,
        cursor,
        limit: page.limit,
        within,
        scope,
    })
}

fn deleted_name(deleted: Deleted) -> &'static str {
    match deleted {
        Deleted::Exclude => "live",
        Deleted::Include => "all",
        Deleted::Only => "deleted",
    }
}

/// The order of a built-in table. A custom table is sorted by `created_at`, newest first, or else by its key.
fn sorting(table: &Table) -> Result<Sorting<'_>, Fault> {
    let key = key_of(table)?;
    let sorted = |keys, descending| Ok(Sorting { keys, descending, nulls_last: false, is_asked: false });
    let by = |name| sorted(vec![OrderKey::Column { name }, key_of(table)?], true);
    match table.entity().map(|entity| entity.order) {
        Some(Order::Newest) => by("created_at"),
        Some(Order::NewestBy(column)) => by(column),
        Some(Order::Mail) => sorted(vec![OrderKey::MailTime, key], true),
        Some(Order::Position) => {
            let pipeline = table.has("pipeline").then_some(OrderKey::Column { name: "pipeline" });
            let position = OrderKey::Column { name: "position" };
            sorted(pipeline.into_iter().chain([position, key]).collect(), false)
        }
        None if table.column("created_at").is_some_and(|column| column.kind == TypeKind::Time) => by("created_at"),
        None => sorted(vec![key], false),
    }
}

fn key_of(table: &Table) -> Result<OrderKey<'_>, Fault> {
    let name = table.key()?;
    Ok(table.column(name).map_or(OrderKey::Column { name }, by_column))
}

fn by_column(column: &Column) -> OrderKey<'_> {
    let reads_again = match column.kind {
        TypeKind::Text | TypeKind::Integer | TypeKind::Number | TypeKind::Bool | TypeKind::Time => true,
        TypeKind::Other => column.type_name == "uuid",
        TypeKind::Json | TypeKind::Vector | TypeKind::Array(_) => false,
    };
    match reads_again {
        true => OrderKey::Column { name: &column.name },
        false => OrderKey::Reread { name: &column.name, type_name: &column.type_name },
    }
}

/// The order that the caller chose, and a text that is the same for the same order. The table's key comes after the column,
/// so that the order is total.
fn sorted_by<'a>(table: &'a Table, sort: &Sort) -> Result<(Sorting<'a>, String), Fault> {
    let key = key_of(table)?;
    if let Some(first) = sort.subjects.iter().find_map(|subject| referred(table, subject)) {
        let name = format!("sorted {} {}", direction(sort), sort.said);
        let keys = vec![first, key];
        return Ok((Sorting { keys, descending: sort.descending, nulls_last: true, is_asked: true }, name));
    }
    let found = sort.subjects.iter().find_map(|subject| match subject {
        Subject::Column(name) => table.column(name).map(|column| (column, None)),
        Subject::Key { column, key } => {
            let column = table.column(column).filter(|column| column.kind == TypeKind::Json)?;
            Some((column, Some(key)))
        }
        Subject::Mail(_) => None,
    });
    let Some((column, of_key)) = found else {
        let near = nearest(&sort.said, table.columns.iter().map(|column| column.name.as_str()));
        return Err(Fault::Invalid {
            message: format!("sort: there is no column \"{}\".", sort.said),
            hint: near.map(|near| format!("Did you mean \"{near}\"?")),
        });
    };
    let first = match (of_key, &column.kind) {
        (Some(key), _) => {
            let declared = table.custom_kind(&column.name, key);
            OrderKey::Key { column: &column.name, key: key.clone(), declared }
        }
        (None, TypeKind::Json | TypeKind::Vector | TypeKind::Array(_)) => {
            let (said, type_name) = (&sort.said, &column.type_name);
            return Err(Fault::invalid(format!("sort: rows can't be sorted by \"{said}\", which is {type_name}.")));
        }
        (None, _) => by_column(column),
    };
    let nulls_last = column.nullable || of_key.is_some();
    let name = format!("sorted {} {}\n{}", direction(sort), column.name, of_key.map_or("", String::as_str));
    let keys = if first == key { vec![first] } else { vec![first, key] };
    Ok((Sorting { keys, descending: sort.descending, nulls_last, is_asked: true }, name))
}

fn direction(sort: &Sort) -> &'static str {
    if sort.descending { "descending" } else { "ascending" }
}

/// `company.name`: a text of the record that a built-in table's rows refer to. A column of the table's own comes first.
fn referred<'a>(table: &Table, subject: &Subject) -> Option<OrderKey<'a>> {
    let Subject::Key { column, key } = subject else { return None };
    let relation = table.entity()?.to_one.iter().find(|relation| relation.key == column.as_str())?;
    let field = by_table(relation.table)?.columns().find(|field| field.name == key.as_str())?;
    let is_text = matches!(field.kind, FieldKind::Text | FieldKind::Email);
    (is_text && !table.has(column)).then_some(OrderKey::Referred { relation, column: field.name })
}

impl List<'_> {
    /// Removes the additional row and creates the cursor of the last row.
    pub(super) fn answer(&self, results: Vec<Rows>) -> Result<Outcome, Fault> {
        let is_there = results.get(1).is_some_and(|found| !found.is_empty());
        if let (Some(pipeline), false) = (&self.within, is_there) {
            return Err(record::no_pipeline(pipeline));
        }
        let mut rows = one(results)?;
        let computed = self.order.keys.iter().filter(|key| key.is_computed()).count();
        if !has_columns(&rows, 0, self.table) || rows.columns().len() != self.table.columns.len() + computed {
            return Ok(Outcome::CatalogIsOld);
        }
        if rows.is_empty() && rows.is_cut {
            return Err(Fault::ResultTooLarge { limit: MAX_PAGE_BYTES });
        }
        let more = rows.len() > self.limit || rows.is_cut;
        rows.truncate(self.limit);
        let next_cursor = more.then(|| {
            let last = rows.len() - 1;
            let keys = self.order.keys.iter().enumerate().map(|(at, key)| cursor_key(&rows, last, at, key)).collect();
            Cursor { scope: self.scope, keys }.encode()
        });
        let (entity, width, limit) = (self.table.entity(), self.table.columns.len(), self.limit);
        Ok(Outcome::Answer(Answer::Page { entity, table: None, rows, width, next_cursor, limit }))
    }
}

/// Maximum bytes of a page's rows, as for a result of SQL. A larger page is cut to fewer rows and has `has_more`.
pub(super) const MAX_PAGE_BYTES: usize = 10 * 1024 * 1024;

/// The name of the column with a computed sort key, by the key's place in the order.
pub fn order_column(at: usize) -> &'static str {
    if at == 0 { "kith:order" } else { "kith:key" }
}

fn cursor_key(rows: &Rows, row: usize, at: usize, key: &OrderKey<'_>) -> Option<String> {
    let name = match key {
        OrderKey::Column { name } => name,
        OrderKey::Reread { .. } | OrderKey::Key { .. } | OrderKey::Referred { .. } | OrderKey::MailTime => {
            order_column(at)
        }
    };
    rows.reread(row, rows.columns().iter().position(|column| *column.name == *name)?)
}
