//! Search in all tables: which records fit, then the records themselves.

use std::time::Instant;

use crm::model::answer::{Answer, Found};
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::plan::search_all::{self, by_table, found, hits};
use crm::sql::{self, Sql};

use crate::hall::{Caller, PLANS, access, unsettled};
use crate::store::Store;
use crate::store::tenant::run::RunError;
use crate::store::tenant::transaction::Transaction;

/// Finds records by a few words.
pub async fn all(
    store: &Store,
    session: &mut Transaction,
    caller: Caller<'_>,
    words: &str,
    page: &PageAsk,
) -> Result<Answer, Fault> {
    let plan = search_all::plan(words, page)?;
    let known = store.known(caller.place);
    let access = access(caller.who);
    let mut run = async |statements: Vec<Sql>| {
        let results = store.run(session, caller.place, access, &known.types, None, &statements, false).await;
        results.map_err(|trouble| match trouble {
            RunError::Fault(fault) | RunError::CatalogIsOld(fault) => fault,
            RunError::Taken { message, .. } => Fault::internal(message),
        })
    };
    let results = run(vec![sql::search::all(&plan)]).await?;
    let (hits, next_cursor) = plan.page(results.first().map(hits).unwrap_or_default());
    let limit = page.limit;
    if hits.is_empty() {
        return Ok(Answer::Found(Found { tables: Vec::new(), order: Vec::new(), next_cursor, limit }));
    }
    let mut not_before = None;
    for _ in 0..PLANS {
        let asked_at = Instant::now();
        let catalog = store.catalog(caller.place, access, &known, not_before).await?;
        let tables = by_table(&hits, &catalog)?;
        let statements = tables.iter().map(|(table, _, hits)| sql::search::records(table, hits)).collect();
        let results = run(statements).await?;
        let are_current = tables.iter().zip(&results).all(|((table, ..), rows)| {
            let names = rows.columns().iter().map(|column| &*column.name);
            names.eq(table.columns.iter().map(|column| column.name.as_str()).chain(["score"]))
        });
        if are_current {
            let entities = tables.iter().map(|(_, entity, _)| *entity);
            return Ok(Answer::Found(found(&hits, entities.zip(results).collect(), next_cursor, limit)));
        }
        not_before = Some(asked_at);
    }
    Err(unsettled())
}
