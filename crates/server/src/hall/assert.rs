//! Asserts a record: creates it, or updates the only one that matches. The execution is one transaction.

use serde_json::{Map, Value};

use crm::model::answer::{Answer, Record};
use crm::model::ask::{Single, UnknownStage};
use crm::model::fault::Fault;
use crm::model::filter::{Deleted, Filter};
use crm::model::page::PageAsk;
use crm::sql;

use crate::hall::Effect;
use crate::hall::execution::Execution;
use crate::hall::record::OnePlan;
use crate::store::fault::RunError;

/// The most matches that an error lists.
const MATCHES: usize = 20;

/// How often it is begun, while others create or delete the record without waiting for their turn.
const TRIES: usize = 3;

/// A record to be asserted.
pub struct Assertion<'a> {
    /// The table.
    pub table: &'a str,
    /// The conditions that the record matches.
    pub matching: &'a [Filter],
    /// The values, by column.
    pub values: &'a Map<String, Value>,
    /// The handling of an unknown stage, for a deal.
    pub unknown_stage: UnknownStage,
}

impl Assertion<'_> {
    /// Creates or updates the record, and says which.
    pub async fn run(&self, execution: &mut Execution<'_>) -> Result<Answer, Fault> {
        let mut tries = 1;
        loop {
            match self.once(execution).await {
                // In a batch, a conflict has undone the operations before it.
                Err(Fault::Conflict { .. } | Fault::NotFound { .. })
                    if tries < TRIES && execution.together.is_none() && execution.effect == Effect::Commit =>
                {
                    execution.restart().await?;
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    async fn once(&self, execution: &mut Execution<'_>) -> Result<Answer, Fault> {
        execution.read(&[sql::merge::take_turn()]).await.map_err(RunError::into_fault)?;
        let (table, values, unknown_stage) = (self.table.to_owned(), self.values.clone(), self.unknown_stage);
        let page = PageAsk { limit: MATCHES, cursor: None };
        let (filters, deleted) = (self.matching.to_vec(), Deleted::Exclude);
        let list = Single::List { table: table.clone(), filters, deleted, sort: None, page };
        let Answer::Page { rows, next_cursor, .. } = execution.with_fresh_catalog(&OnePlan { ask: &list }).await?
        else {
            return Err(Fault::internal("a list is no page"));
        };
        let key = {
            let catalog = execution.catalog(None).await?;
            catalog.table(&table)?.key()?.to_owned()
        };
        let id = |row| match serde_json::from_slice(rows.named(row, &key)?).ok()? {
            Value::String(id) => Some(id),
            id => Some(id.to_string()),
        };
        let ids: Vec<String> = (0..rows.len()).filter_map(id).collect();
        let (ask, id) = match ids.as_slice() {
            [] => (Single::Create { table, values, unknown_stage }, None),
            [id] => (Single::Update { table, id: id.as_str().into(), values, unknown_stage }, Some(id)),
            _ => {
                let more = if next_cursor.is_some() { " and more" } else { "" };
                return Err(Fault::Refused {
                    code: "ambiguous",
                    message: format!("Several records of {table} match: {}{more}.", ids.join(", ")),
                    hint: Some("Match by more fields, update one of them by its id, or merge them.".into()),
                });
            }
        };
        let Answer::Record { record, created } = execution.with_fresh_catalog(&OnePlan { ask: &ask }).await? else {
            return Err(Fault::internal("a write of a record returned none"));
        };
        let outcome = match id {
            None => "created",
            Some(_) if is_same(&record, &rows) => "unchanged",
            Some(_) => "updated",
        };
        Ok(Answer::Written { record, created, about: ("outcome", outcome.into()) })
    }
}

/// Whether a record has the values of this row, the time of its last change excepted.
fn is_same(record: &Record, before: &crm::model::rows::Rows) -> bool {
    let names = record.row.columns().iter().map(|column| &*column.name);
    names.filter(|name| *name != "updated_at").all(|name| record.row.named(0, name) == before.named(0, name))
}
