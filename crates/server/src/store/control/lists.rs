//! Lists of the control plane, page by page: what a list is made of is data, and one statement reads any of them.

use pg::Error;

use crm::model::rows::Rows;

use crate::store::control::Control;
use crate::store::tenant::run::rows;

/// A list that somebody may read: `$1` in its conditions is whose it is, and what a reader hands in beside that follows
/// from `$5`.
#[derive(Debug)]
pub struct List {
    /// Each column's name and what it is.
    pub columns: &'static [(&'static str, &'static str)],
    /// What it is read from.
    pub from: &'static str,
    /// What holds of each row.
    pub conditions: &'static [&'static str],
    /// The columns that order it: a time, then what tells apart what happened at once.
    pub order: [&'static str; 2],
    /// Which end comes first.
    pub first: First,
}

/// The end of a list that comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// What is youngest.
    Newest,
    /// What is oldest.
    Oldest,
}

impl List {
    fn expression(&self, name: &str) -> &'static str {
        self.columns.iter().find(|(column, _)| *column == name).map_or("NULL", |(_, expression)| expression)
    }

    /// The statement that reads a page: whose it is, the time and the name after which it begins, how many rows.
    fn statement(&self) -> String {
        // Every cell is JSON text, a null too.
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
    /// Rows of a list, as JSON: `limit` at most of those that come after a time and a name.
    pub async fn list(
        &self,
        list: &List,
        whose: &str,
        beside: &[&str],
        after: Option<&(String, String)>,
        limit: usize,
    ) -> Result<Rows, Error> {
        let limit = limit.to_string();
        let (at, id) = (after.map(|(at, _)| at.as_str()), after.map(|(_, id)| id.as_str()));
        let params: Vec<_> =
            [Some(whose), at, id, Some(&limit)].into_iter().chain(beside.iter().map(|it| Some(*it))).collect();
        self.query(&list.statement(), &params).await.map(rows)
    }
}
