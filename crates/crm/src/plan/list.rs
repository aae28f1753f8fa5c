//! Pages of a table: their conditions, their order and their cursors.

use crate::model::answer::Answer;
use crate::model::ask::PipelineName;
use crate::model::catalog::{Column, Table};
use crate::model::entity::Order;
use crate::model::fault::Fault;
use crate::model::filter::{Deleted, Filter};
use crate::model::page::{Cursor, PageAsk, scope};
use crate::model::rows::Rows;
use crate::model::value::TypeKind;
use crate::plan::filter::{self, Condition};
use crate::plan::{Outcome, has_columns, one, record};

/// The parameters of a list that are not filters.
const OWN_PARAMETERS: &[&str] = &["limit", "cursor", "include_deleted", "only_deleted"];

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
    /// Whether all keys descend. NULLs then come first.
    pub descending: bool,
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
    /// The time at which an e-mail was received; if null, the time at which it was sent, then that of its creation.
    MailTime,
}

impl OrderKey<'_> {
    /// Whether the result has an additional column, after those of the table, with the text for the cursor.
    pub fn is_computed(&self) -> bool {
        matches!(self, OrderKey::Reread { .. } | OrderKey::MailTime)
    }
}

/// Plans a page of a table.
pub fn plan<'a>(table: &'a Table, filters: &[Filter], deleted: Deleted, page: &PageAsk) -> Result<List<'a>, Fault> {
    let conditions = filter::plan(table, filters, OWN_PARAMETERS)?;
    let order = sorting(table)?;
    // The order and the spelling of the filters do not matter.
    let mut said: Vec<String> = conditions.iter().map(Condition::identity).collect();
    said.sort_unstable();
    let scope = scope([table.name.as_str(), deleted_name(deleted)].into_iter().chain(said.iter().map(String::as_str)));
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
    let by = |name| Ok(Sorting { keys: vec![OrderKey::Column { name }, key_of(table)?], descending: true });
    match table.entity().map(|entity| entity.order) {
        Some(Order::Newest) => by("created_at"),
        Some(Order::NewestBy(column)) => by(column),
        Some(Order::Mail) => Ok(Sorting { keys: vec![OrderKey::MailTime, key], descending: true }),
        Some(Order::Position) => {
            let pipeline = table.has("pipeline").then_some(OrderKey::Column { name: "pipeline" });
            let position = OrderKey::Column { name: "position" };
            Ok(Sorting { keys: pipeline.into_iter().chain([position, key]).collect(), descending: false })
        }
        None if table.column("created_at").is_some_and(|column| column.kind == TypeKind::Time) => by("created_at"),
        None => Ok(Sorting { keys: vec![key], descending: false }),
    }
}

fn key_of(table: &Table) -> Result<OrderKey<'_>, Fault> {
    let name = table.key()?;
    let reads_again = |column: &Column| match column.kind {
        TypeKind::Text | TypeKind::Integer | TypeKind::Number | TypeKind::Bool | TypeKind::Time => true,
        TypeKind::Other => column.type_name == "uuid",
        TypeKind::Json | TypeKind::Vector | TypeKind::Array(_) => false,
    };
    Ok(match table.column(name) {
        Some(column) if !reads_again(column) => OrderKey::Reread { name, type_name: &column.type_name },
        _ => OrderKey::Column { name },
    })
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
            let keys = self.order.keys.iter().map(|key| cursor_key(&rows, last, key)).collect();
            Cursor { scope: self.scope, keys }.encode()
        });
        let (entity, width, limit) = (self.table.entity(), self.table.columns.len(), self.limit);
        Ok(Outcome::Answer(Answer::Page { entity, table: None, rows, width, next_cursor, limit }))
    }
}

/// Maximum bytes of a page's rows, as for a result of SQL. A larger page is cut to fewer rows and has `has_more`.
pub(super) const MAX_PAGE_BYTES: usize = 10 * 1024 * 1024;

/// The name of the column with a computed sort key.
pub const ORDER_COLUMN: &str = "kith:order";

fn cursor_key(rows: &Rows, row: usize, key: &OrderKey<'_>) -> Option<String> {
    let name = match key {
        OrderKey::Column { name } => name,
        OrderKey::Reread { .. } | OrderKey::MailTime => ORDER_COLUMN,
    };
    rows.reread(row, rows.columns().iter().position(|column| *column.name == *name)?)
}
