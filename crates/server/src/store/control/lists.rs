//! Paged lists in the control database. A list is data; one statement reads all of them.

use crm::model::fault::Fault;
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
        // Every cell is JSON text; NULL is `null`.
        let columns = self.columns.iter().map(|(name, it)| format!("COALESCE(to_jsonb({it}), 'null')::text AS {name}"));
        let [at, id] = self.order.map(|name| self.expression(name));
        let (beyond, direction) = match self.first {
            First::Newest => ("<", "DESC"),
            First::Oldest => (">", "ASC"),
        };
        format!(
            "SELECT {} FROM {} WHERE {} AND ($2::timestamptz IS NULL OR ({at}, {id}) {beyond} ($2::timestamptz, $3))
             ORDER BY {at} {direction}, {id} {direction} LIMIT $4::bigint",
            columns.collect::<Vec<_>>().join(", "),
            self.from,
            self.conditions.join(" AND "),
        )
    }
}

impl Control {
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
