//! Search in all tables: finds the matching ids first, then the records.

use crm::model::answer::{Answer, Found};
use crm::model::entity::Entity;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::model::rows::Rows;
use crm::plan::search_all::{self, Hit, InTable, by_table, found, hits};
use crm::sql::{self, Sql};

use crate::hall::execution::{Attempt, Execution, PlanError, Planning};
use crate::store::fault::RunError;

/// Finds records by some words.
pub async fn all(execution: &mut Execution<'_>, words: &str, page: &PageAsk) -> Result<Answer, Fault> {
    let plan = search_all::plan(words, page)?;
    let results = execution.read(&[sql::search::all(&plan)]).await.map_err(RunError::into_fault)?;
    let (hits, next_cursor) = plan.page(results.first().map(hits).unwrap_or_default());
    let limit = page.limit;
    if hits.is_empty() {
        return Ok(Answer::Found(Found { tables: Vec::new(), order: Vec::new(), next_cursor, limit }));
    }
    let tables = execution.with_fresh_catalog(&HitRecords { hits: &hits }).await?;
    Ok(Answer::Found(found(&hits, tables, next_cursor, limit)))
}

/// The records that match.
struct HitRecords<'a> {
    hits: &'a [Hit],
}

impl Attempt for HitRecords<'_> {
    type Outcome = Vec<(&'static Entity, Rows)>;

    async fn once(&self, execution: &mut Execution<'_>, planning: &Planning) -> Result<Self::Outcome, PlanError> {
        let tables = by_table(self.hits, &planning.catalog).map_err(PlanError::Final)?;
        records(execution, &tables).await
    }
}

async fn records(
    execution: &mut Execution<'_>,
    tables: &[InTable<'_>],
) -> Result<Vec<(&'static Entity, Rows)>, PlanError> {
    let statements: Vec<Sql> = tables.iter().map(|(table, _, hits)| sql::search::records(table, hits)).collect();
    let results = execution.read(&statements).await.map_err(|error| PlanError::Final(error.into_fault()))?;
    let are_current = tables.iter().zip(&results).all(|((table, ..), rows)| {
        let names = rows.columns().iter().map(|column| &*column.name);
        names.eq(table.columns.iter().map(|column| column.name.as_str()).chain(["score"]))
    });
    if !are_current {
        return Err(PlanError::Stale);
    }
    Ok(tables.iter().map(|(_, entity, _)| *entity).zip(results).collect())
}
