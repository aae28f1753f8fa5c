//! Saved lists: the list is looked up first, then its rows are found or its members changed.

use std::time::Instant;

use crm::model::answer::Answer;
use crm::model::catalog::{Catalog, Table};
use crm::model::entity::by_table;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::model::rows::Rows;
use crm::plan::Outcome;
use crm::plan::saved::{self, Kind, Saved};
use crm::sql::{self, Sql};

use crate::hall::{Caller, PLANS, access, context, unsettled};
use crate::store::Store;
use crate::store::tenant::catalogs::DatabaseCache;
use crate::store::tenant::run::RunError;
use crate::store::tenant::transaction::Transaction;

/// A page of a list's rows. The predicate is SQL of the workspace's own: it runs read-only, under the limits of raw SQL.
pub async fn rows(store: &Store, caller: Caller<'_>, list_id: &str, page: &PageAsk) -> Result<Answer, Fault> {
    let known = store.known(caller.place);
    let list = find(store, &mut Transaction::PerPlan, caller, &known, list_id).await?;
    let mut not_before = None;
    for _ in 0..PLANS {
        let asked_at = Instant::now();
        let catalog = store.catalog(caller.place, access(caller.who), &known, not_before).await?;
        match page_of(store, caller, &known, &catalog, &list, page).await {
            Ok(Outcome::Answer(answer)) => return Ok(answer),
            // By a catalog that was read just now, what it says holds.
            Err(fault) if not_before.is_some() || !matches!(fault, Fault::Sql(_) | Fault::ValidationFailed { .. }) => {
                return Err(fault);
            }
            Ok(Outcome::CatalogIsOld) | Err(_) => not_before = Some(asked_at),
        }
    }
    Err(unsettled())
}

async fn page_of(
    store: &Store,
    caller: Caller<'_>,
    known: &DatabaseCache,
    catalog: &Catalog,
    list: &Saved,
    page: &PageAsk,
) -> Result<Outcome, Fault> {
    let plan = saved::plan(list, catalog, page)?;
    let statement = sql::saved::rows(&plan);
    match store.run_query(caller.place, access(caller.who), &known.types, &statement, plan.params()).await {
        Ok((rows, truncated)) => Ok(plan.answer(rows, truncated)),
        // The position is one in a statement that the caller has never seen.
        Err(Fault::Sql(mut fault)) => {
            fault.position = None;
            Err(Fault::Sql(fault))
        }
        Err(fault) => Err(fault),
    }
}

/// Adds records to a static list. Those that are members already stay as they are.
pub async fn add_members(
    store: &Store,
    session: &mut Transaction,
    caller: Caller<'_>,
    list_id: &str,
    ids: &[String],
    several: bool,
) -> Result<Answer, Fault> {
    let known = store.known(caller.place);
    let list = find_static(store, session, caller, &known, list_id).await?;
    let mut catalog = store.catalog(caller.place, access(caller.who), &known, None).await?;
    if catalog.table(&list.target_table).and_then(Table::key).is_err() {
        catalog = store.catalog(caller.place, access(caller.who), &known, Some(Instant::now())).await?;
    }
    let table = catalog.table(&list.target_table)?;
    let missing = sql::saved::missing(table, table.key()?, ids);
    let missing = run(store, session, caller, &known, None, vec![missing]).await?;
    if let Some(id) = missing.first().and_then(|rows| rows.string(0, "id")) {
        return Err(Fault::ValidationFailed {
            message: format!("There is no \"{id}\" in {}, which this list is of; no member was added.", table.name),
            hint: None,
            field: Some("member_id".into()),
        });
    }
    let statements = sql::saved::add_members(list_id, ids, &caller.who.actor).to_vec();
    let context = context(store, caller);
    let mut results = run(store, session, caller, &known, Some(&context), statements).await?;
    let rows = results.pop().unwrap_or_default();
    if several {
        return Ok(Answer::Rows { rows, created: true });
    }
    let width = rows.columns().len();
    let entity = crm::model::entity::by_table("list_members");
    let record = crm::model::answer::Record { entity, row: rows, width, parts: Vec::new(), related: Vec::new() };
    Ok(Answer::Record { record, created: true })
}

/// Removes a record from a static list.
pub async fn remove_member(
    store: &Store,
    session: &mut Transaction,
    caller: Caller<'_>,
    list_id: &str,
    id: &str,
) -> Result<Answer, Fault> {
    let known = store.known(caller.place);
    find_static(store, session, caller, &known, list_id).await?;
    let context = context(store, caller);
    let statements = vec![sql::saved::remove_member(list_id, id)];
    let results = run(store, session, caller, &known, Some(&context), statements).await?;
    let Some(rows) = results.into_iter().next().filter(|rows| !rows.is_empty()) else {
        return Err(Fault::NotFound { table: "the list's members".into(), id: id.to_owned() });
    };
    let text = |name| String::from_utf8_lossy(rows.named(0, name).unwrap_or(b"null")).into_owned();
    let entity = by_table("list_members");
    Ok(Answer::Deleted { entity, id: text("id"), deleted_at: text("deleted_at"), note: None })
}

async fn find_static(
    store: &Store,
    session: &mut Transaction,
    caller: Caller<'_>,
    known: &DatabaseCache,
    list_id: &str,
) -> Result<Saved, Fault> {
    let list = find(store, session, caller, known, list_id).await?;
    if list.kind == Kind::Static {
        return Ok(list);
    }
    Err(Fault::ValidationFailed {
        message: "This list is dynamic: its predicate says who is in it.".into(),
        hint: Some("PATCH its filter_predicate, or make a list of kind \"static\".".into()),
        field: None,
    })
}

async fn find(
    store: &Store,
    session: &mut Transaction,
    caller: Caller<'_>,
    known: &DatabaseCache,
    list_id: &str,
) -> Result<Saved, Fault> {
    let results = run(store, session, caller, known, None, vec![sql::saved::find(list_id)]).await?;
    match results.first() {
        Some(rows) if !rows.is_empty() => saved::read(rows),
        _ => Err(Fault::NotFound { table: "lists".into(), id: list_id.to_owned() }),
    }
}

async fn run(
    store: &Store,
    session: &mut Transaction,
    caller: Caller<'_>,
    known: &DatabaseCache,
    context: Option<&Sql>,
    statements: Vec<Sql>,
) -> Result<Vec<Rows>, Fault> {
    let access = access(caller.who);
    store.run(session, caller.place, access, &known.types, context, &statements, false).await.map_err(|trouble| {
        match trouble {
            RunError::Fault(fault) | RunError::CatalogIsOld(fault) => fault,
            RunError::Taken { message, constraint } => Fault::Conflict { message, constraint, existing_id: None },
        }
    })
}
