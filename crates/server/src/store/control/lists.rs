//! Paged lists in the control database. A list is data; one statement reads all of them.

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::page::{Cursor, PageAsk, scope};
use crm::model::rows::Rows;

use crate::store::control::Control;
use crate::store::results::rows;

/// A list that belongs to an owner. In its conditions `$1` is the owner; further arguments start at `$5`.
#[derive(Debug)]
pub struct PagedList {
    /// The columns: names and expressions.
    pub columns: &'static [(&'static str, &'static str)],
    /// The FROM clause.
    pub from: &'static str,
    /// The conditions of the WHERE clause, all of which must hold.
    pub conditions: &'static [&'static str],
    /// The columns that order the list: a time, then an id for rows with the same time.
    pub order: [&'static str; 2],
    /// Which end comes first.
    pub first: First,
}

/// The end of a list that comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The newest row.
    Newest,
    /// The oldest row.
    Oldest,
}

impl PagedList {
    fn expression(&self, name: &str) -> &'static str {
        self.columns.iter().find(|(column, _)| *column == name).map_or("NULL", |(_, expression)| expression)
    }

    /// The statement that reads a page. Its parameters are the owner, the time and the id to start after, and the number of
    /// rows.
    fn statement(&self) -> String {
        let [at, id] = self.order.map(|name| self.expression(name));
        let (beyond, direction) = match self.first {
            First::Newest => ("<", "DESC"),
            First::Oldest => (">", "ASC"),
        };
        format!(
            "SELECT {} FROM {} WHERE {} AND ($2::timestamptz IS NULL OR ({at}, {id}) {beyond} ($2::timestamptz, $3))
             ORDER BY {at} {direction}, {id} {direction} LIMIT $4::bigint",
            json_columns(self.columns),
            self.from,
            self.conditions.join(" AND "),
        )
    }
}

/// The select list of some columns. Every cell is JSON text; NULL is `null`.
pub(super) fn json_columns(columns: &[(&str, &str)]) -> String {
    let columns = columns.iter().map(|(name, it)| format!("COALESCE(to_jsonb({it}), 'null')::text AS {name}"));
    columns.collect::<Vec<_>>().join(", ")
}

impl Control {
    /// A page of an owner's list, with the same rules as pages of records. `arguments` are for the list's conditions.
    pub async fn page(
        &self,
        list: &PagedList,
        owner: &str,
        arguments: &[&str],
        ask: &PageAsk,
    ) -> Result<Answer, Fault> {
        let scope = scope([list.from, owner].into_iter());
        let after = ask.cursor.as_deref().map(|cursor| place(cursor, scope)).transpose()?;
        let mut rows = self.list(list, owner, arguments, after.as_ref(), ask.limit + 1).await?;
        let has_more = rows.len() > ask.limit;
        rows.truncate(ask.limit);
        let next_cursor = has_more.then(|| {
            let at = |name: &str| rows.columns().iter().position(|column| *column.name == *name);
            let keys = list.order.map(|name| at(name).and_then(|column| rows.reread(ask.limit - 1, column)));
            Cursor { scope, keys: keys.into() }.encode()
        });
        let width = rows.columns().len();
        Ok(Answer::Page { entity: None, table: None, rows, width, next_cursor, limit: ask.limit })
    }

    /// Up to `limit` rows of an owner's list, as JSON, after the row with this time and id. `arguments` are for the list's
    /// conditions.
    pub async fn list(
        &self,
        list: &PagedList,
        owner: &str,
        arguments: &[&str],
        after: Option<&(String, String)>,
        limit: usize,
    ) -> Result<Rows, Fault> {
        let limit = limit.to_string();
        let (at, id) = (after.map(|(at, _)| at.as_str()), after.map(|(_, id)| id.as_str()));
        let own = [Some(owner), at, id, Some(&*limit)];
        let params: Vec<_> = own.into_iter().chain(arguments.iter().map(|argument| Some(*argument))).collect();
        self.query(&list.statement(), &params).await.map(|found| rows(found.0))
    }
}

/// The row that a cursor names: its time and id. A time that PostgreSQL can't parse does not come from a list.
fn place(cursor: &str, scope: u64) -> Result<(String, String), Fault> {
    let Ok([Some(at), Some(id)]) = <[Option<String>; 2]>::try_from(Cursor::decode(cursor, scope, 2)?.keys) else {
        return Err(Fault::InvalidCursor);
    };
    let time: jiff::Timestamp = at.parse().map_err(|_| Fault::InvalidCursor)?;
    if time.as_second() < 0 {
        return Err(Fault::InvalidCursor);
    }
    Ok((time.to_string(), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(at: Option<&str>, id: Option<&str>, expected: bool) {
        let cursor = Cursor { scope: 7, keys: vec![at.map(str::to_owned), id.map(str::to_owned)] }.encode();
        assert_eq!(place(&cursor, 7).is_ok(), expected, "{at:?} {id:?}");
        assert!(place(&cursor, 8).is_err());
    }

    #[test]
    fn only_times_are_places() {
        check(Some("2026-11-22T18:16:08.123456+00:00"), Some("ak_1"), true);
        check(Some("2026-11-22T18:16:08Z"), Some(""), true);
        for bad in ["", "infinity", "now", "-009999-01-02T01:59:59Z", "1969-12-31T23:59:59Z", "2026-11-22"] {
            check(Some(bad), Some("ak_1"), false);
        }
        check(None, Some("ak_1"), false);
        check(Some("2026-11-22T18:16:08Z"), None, false);
    }
}
