//! Saved lists: resolves a predicate or chosen members to a page of rows.

use serde_json::{Map, Value};

use crate::model::answer::Answer;
use crate::model::ask::{RecordName, Single};
use crate::model::catalog::{Catalog, Table};
use crate::model::fault::{Fault, nearest};
use crate::model::page::{Cursor, PageAsk, scope};
use crate::model::rows::Rows;
use crate::model::split::split;
use crate::model::value::TypeKind;
use crate::plan::record::Joined;
use crate::plan::{Outcome, has_columns};

/// A saved list, read from its row.
#[derive(Debug)]
pub struct Saved {
    /// The id, `l_…`.
    pub id: String,
    /// The name.
    pub name: Option<String>,
    /// The table of the list's rows.
    pub target_table: String,
    /// The kind of the list.
    pub kind: ListKind,
    /// The columns to show, in order. If it is empty, all columns are shown.
    columns: Vec<String>,
    /// The columns to sort by. A leading minus means descending.
    order: Vec<String>,
}

/// The kind of a saved list.
#[derive(Debug, PartialEq)]
pub enum ListKind {
    /// The rows match an SQL predicate.
    Dynamic {
        /// An SQL boolean expression; `true` if the list has none.
        predicate: String,
        /// The values of `$1…` in the predicate.
        params: Vec<Value>,
    },
    /// The rows are members in `list_members`.
    Static,
}

/// A plan for a page of a saved list's rows.
#[derive(Debug)]
pub struct ListRows<'a> {
    /// The saved list.
    pub saved: &'a Saved,
    /// The predicate of a dynamic list, without white space, comments and semicolons around it.
    pub predicate: Option<&'a str>,
    /// The table of the rows.
    pub table: &'a Table,
    /// The column that identifies a row.
    pub key: &'a str,
    /// The relations to single rows. The predicate, the columns and the order can use them.
    pub relations: Vec<Joined<'a>>,
    /// The columns to show. If it is empty, the whole row is shown.
    pub columns: Vec<Shown<'a>>,
    /// The sort keys. The last key is unique.
    pub order: Vec<SortKey<'a>>,
    /// The sort key of the last row of the previous page.
    pub cursor: Option<Vec<Option<String>>>,
    /// Maximum number of rows.
    pub limit: usize,
    scope: u64,
}

/// A reference to a column of the row or of a related row.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnRef<'a> {
    /// The relation's key; `None` for the row itself.
    pub relation: Option<&'static str>,
    /// The column's name.
    pub column: &'a str,
    /// A key in a JSON column.
    pub key: Option<String>,
}

/// A column with its name in the answer.
#[derive(Debug)]
pub struct Shown<'a> {
    /// The name in the answer: `email`, `company.name`.
    pub name: String,
    /// The column that is shown.
    pub column: ColumnRef<'a>,
}

/// A sort key.
#[derive(Debug)]
pub struct SortKey<'a> {
    /// The column to sort by.
    pub column: ColumnRef<'a>,
    /// True: largest first, NULLs before all values. False: smallest first, NULLs last.
    pub descending: bool,
}

/// The table of saved lists.
const LISTS: &str = "lists";
/// The table of their members.
const MEMBERS: &str = "list_members";
/// The columns that say which rows a list has, and how they are shown.
const DEFINITION: [&str; 5] = ["target_table", "kind", "filter_predicate", "filter_params", "config"];

/// A list that is about to be written. Its definition must be one that can be resolved.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The name of the list, if it exists already.
    pub existing: Option<&'a RecordName>,
    values: &'a Map<String, Value>,
}

/// The list that an ask writes, if the ask defines its rows. A list that can't be resolved any more can still be renamed.
pub fn draft(ask: &Single) -> Option<Draft<'_>> {
    let (table, existing, values) = written(ask)?;
    let defines = || DEFINITION.iter().any(|column| values.contains_key(*column));
    (table == LISTS && defines()).then_some(Draft { existing, values })
}

/// A member of a list that an ask writes as a record, and not by the list's own path.
#[derive(Debug)]
pub struct Member<'a> {
    /// The id of the member's record in the list's table.
    pub id: &'a str,
    /// The list that the ask names.
    pub list_id: Option<&'a str>,
    /// The name of the membership, if it exists already.
    pub existing: Option<&'a RecordName>,
}

/// The member that an ask sets.
pub fn member(ask: &Single) -> Option<Member<'_>> {
    let (table, existing, values) = written(ask)?;
    let text = |column: &str| values.get(column).and_then(Value::as_str);
    Some(Member { id: text("member_id").filter(|_| table == MEMBERS)?, list_id: text("list_id"), existing })
}

/// The table, the existing record and the values of an ask that writes a record.
fn written(ask: &Single) -> Option<(&str, Option<&RecordName>, &Map<String, Value>)> {
    match ask {
        Single::Create { table, values, .. } => Some((table, None, values)),
        Single::Update { table, id, values, .. } => Some((table, Some(id), values)),
        _ => None,
    }
}

impl Draft<'_> {
    /// The list as it will be. `row` is the list as it is. Returns `None` if a required value is missing, which the
    /// database refuses.
    pub fn read(&self, row: Option<&Rows>) -> Result<Option<Saved>, Fault> {
        let stored = |name: &str| row.map_or(Value::Null, |row| stored(row, name));
        let value = |name: &str| match (self.values.get(name), stored(name)) {
            (None, old) => old,
            (Some(Value::Object(new)), Value::Object(mut old)) => {
                old.extend(new.clone());
                Value::Object(old)
            }
            (Some(new), _) => new.clone(),
        };
        if value("target_table").is_null() {
            return Ok(None);
        }
        of(value).map(Some)
    }
}

/// Reads a saved list from its row. Refuses a list with an invalid config.
pub fn read(rows: &Rows) -> Result<Saved, Fault> {
    of(|name| stored(rows, name))
}

/// The value of a column in the row of a list.
fn stored(rows: &Rows, name: &str) -> Value {
    rows.named(0, name).and_then(|cell| serde_json::from_slice(cell).ok()).unwrap_or(Value::Null)
}

fn of(json: impl Fn(&str) -> Value) -> Result<Saved, Fault> {
    let text = |name: &str| json(name).as_str().map(str::to_owned);
    let config = json("config");
    let names = |key: &str| -> Result<Vec<String>, Fault> {
        let listed = match &config[key] {
            Value::Null => Some(Vec::new()),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        listed.ok_or_else(|| unusable("config", format!("config.{key} must be an array of column names")))
    };
    let kind = match text("kind").as_deref() {
        Some("static") => ListKind::Static,
        _ => ListKind::Dynamic {
            predicate: text("filter_predicate").filter(|it| !it.trim().is_empty()).unwrap_or_else(|| "true".into()),
            params: match json("filter_params") {
                Value::Array(params) => params,
                Value::Null => Vec::new(),
                _ => {
                    let why = "filter_params must be an array: the values of $1, $2 …";
                    return Err(unusable("filter_params", why.into()));
                }
            },
        },
    };
    let target_table = text("target_table").ok_or_else(|| unusable("target_table", "it has no target_table".into()))?;
    Ok(Saved {
        id: text("id").unwrap_or_default(),
        name: text("name"),
        target_table,
        kind,
        columns: names("columns")?,
        order: names("order")?,
    })
}

/// Plans a page of a saved list's rows.
pub fn plan<'a>(saved: &'a Saved, catalog: &'a Catalog, page: &PageAsk) -> Result<ListRows<'a>, Fault> {
    let table = catalog.table(&saved.target_table).map_err(|fault| unusable("target_table", fault.message()))?;
    let key = table.key()?;
    let predicate = match &saved.kind {
        ListKind::Dynamic { predicate, params } => Some(check_predicate(predicate, params)?),
        ListKind::Static => None,
    };
    let relations = table.entity().map_or(&[][..], |entity| entity.to_one).iter();
    let relations = relations
        .map(|relation| {
            Ok(Joined { key: relation.key, column: relation.column, table: catalog.table(relation.table)? })
        })
        .collect::<Result<Vec<_>, Fault>>()?;
    let columns = saved
        .columns
        .iter()
        .map(|name| Ok(Shown { name: name.clone(), column: column_ref(name, table, &relations)? }))
        .collect::<Result<_, Fault>>()?;
    let mut order =
        saved.order.iter().map(|name| sort_key(name, table, &relations)).collect::<Result<Vec<_>, Fault>>()?;
    if order.is_empty() && table.column("created_at").is_some_and(|column| column.kind == TypeKind::Time) {
        order.push(SortKey { column: own("created_at"), descending: true });
    }
    let descending = order.last().is_some_and(|last| last.descending);
    order.push(SortKey { column: own(key), descending });
    let order_names = saved.order.iter().map(String::as_str);
    let condition = match &saved.kind {
        ListKind::Dynamic { predicate, params } => format!("{predicate} {}", Value::Array(params.clone())),
        ListKind::Static => String::new(),
    };
    let scope =
        scope([saved.id.as_str(), saved.target_table.as_str(), condition.as_str()].into_iter().chain(order_names));
    let cursor = match &page.cursor {
        Some(text) => Some(Cursor::decode(text, scope, order.len())?.keys),
        None => None,
    };
    Ok(ListRows { saved, predicate, table, key, relations, columns, order, cursor, limit: page.limit, scope })
}

/// Checks that the predicate is one expression and that each of its parameters has a value.
fn check_predicate<'a>(predicate: &'a str, params: &[Value]) -> Result<&'a str, Fault> {
    let wrong = |why: String| unusable("filter_predicate", why);
    let statements = split(predicate).map_err(|error| wrong(format!("filter_predicate: {error}")))?;
    let [one] = statements.as_slice() else {
        return Err(wrong("filter_predicate must be one SQL boolean expression".into()));
    };
    if !one.is_balanced() {
        return Err(wrong("filter_predicate must be one SQL boolean expression".into()));
    }
    let wanted = one.parameters() as usize;
    if wanted != params.len() {
        let values = params.len();
        let why = format!("filter_predicate has {wanted} parameters, but filter_params has {values} values");
        return Err(unusable("filter_params", why));
    }
    Ok(one.text)
}

fn own(column: &str) -> ColumnRef<'_> {
    ColumnRef { relation: None, column, key: None }
}

fn sort_key<'a>(name: &str, table: &'a Table, relations: &[Joined<'a>]) -> Result<SortKey<'a>, Fault> {
    let descending = name.starts_with('-');
    let place = column_ref(name.trim_start_matches('-'), table, relations)?;
    Ok(SortKey { column: place, descending })
}

/// Resolves `email`, `company.name` or `custom.plan`.
fn column_ref<'a>(name: &str, table: &'a Table, relations: &[Joined<'a>]) -> Result<ColumnRef<'a>, Fault> {
    if let Some(column) = table.column(name) {
        return Ok(own(&column.name));
    }
    if let Some((first, rest)) = name.split_once('.') {
        if let Some(relation) = relations.iter().find(|relation| relation.key == first) {
            let column = relation.table.column(rest).ok_or_else(|| unknown_column(name, relation.table))?;
            return Ok(ColumnRef { relation: Some(relation.key), column: &column.name, key: None });
        }
        if let Some(column) = table.column(first).filter(|column| column.kind == TypeKind::Json) {
            return Ok(ColumnRef { relation: None, column: &column.name, key: Some(rest.to_owned()) });
        }
    }
    Err(unknown_column(name, table))
}

fn unknown_column(name: &str, table: &Table) -> Fault {
    let near = nearest(name, table.columns.iter().map(|column| column.name.as_str()));
    let near = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
    unusable("config", format!("config names \"{name}\", which is not a column of {}{near}", table.name))
}

fn unusable(field: &str, why: String) -> Fault {
    Fault::ValidationFailed {
        message: format!("This list can't be resolved: {why}."),
        hint: Some("PATCH the list to correct it.".into()),
        field: Some(field.to_owned()),
    }
}

impl ListRows<'_> {
    /// The values of the predicate's parameters.
    pub fn params(&self) -> &[Value] {
        match &self.saved.kind {
            ListKind::Dynamic { params, .. } => params,
            ListKind::Static => &[],
        }
    }

    /// Creates the page from the rows. The last columns are the sort keys.
    pub fn answer(&self, mut rows: Rows, truncated: bool) -> Outcome {
        let whole = self.columns.is_empty();
        let width = if whole { self.table.columns.len() } else { self.columns.len() };
        if rows.columns().len() != width + self.order.len() || (whole && !has_columns(&rows, 0, self.table)) {
            return Outcome::CatalogIsOld;
        }
        let more = rows.len() > self.limit || truncated;
        rows.truncate(self.limit);
        let next_cursor = (more && !rows.is_empty()).then(|| {
            let last = rows.len() - 1;
            let keys = (0..self.order.len()).map(|at| rows.reread(last, width + at)).collect();
            Cursor { scope: self.scope, keys }.encode()
        });
        let entity = self.table.entity().filter(|_| whole);
        let table = whole.then(|| self.table.name.clone());
        Outcome::Answer(Answer::Page { entity, table, rows, width, next_cursor, limit: self.limit })
    }
}
