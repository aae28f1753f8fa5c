//! The sentence that Kith reads as: an ask of somebody in a workspace becomes a plan, the plan becomes SQL, the store
//! runs it, and the rows become an answer. REST, and every other door, comes through here.

mod batch;
pub mod idempotency;
mod saved;
mod search;

use std::sync::Arc;
use std::time::Instant;

use crm::model::answer::Answer;
use crm::model::ask::Ask;
use crm::model::catalog::Catalog;
use crm::model::fault::Fault;
use crm::model::who::{Provenance, Who};
use crm::plan::{self, Outcome, Plan};
use crm::sql::conflict::Attempt;
use crm::sql::{self, Sql};
use serde_json::{Map, Value};

use crate::store::Store;
use crate::store::cell::TenantDatabase;
use crate::store::tenant::catalogs::DatabaseCache;
use crate::store::tenant::run::{Access, RunError};
use crate::store::tenant::transaction::Transaction;

/// How often an ask is planned again because the tables turned out to be others than the catalog said.
const PLANS: usize = 3;

/// Who asks, where, and what they say of themselves.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Who.
    pub who: &'a Who,
    /// Where their data is.
    pub place: &'a TenantDatabase,
    /// What they say of the run they are in.
    pub provenance: &'a Provenance,
}

/// Answers an ask.
pub async fn answer(store: &Store, session: &mut Transaction, caller: Caller<'_>, ask: &Ask) -> Result<Answer, Fault> {
    plan::allow(ask, caller.who)?;
    match ask {
        Ask::Sql { sql, params } => raw(store, session, caller, sql, params).await,
        Ask::ListRows { list_id, page } => saved::rows(store, caller, list_id, page).await,
        Ask::AddMembers { list_id, ids, several } => {
            saved::add_members(store, session, caller, list_id, ids, *several).await
        }
        Ask::Batch { table, rows, dedup_on } => batch::write(store, session, caller, table, rows, dedup_on).await,
        Ask::SearchAll { words, page } => search::all(store, session, caller, words, page).await,
        Ask::RemoveMember { list_id, id } => saved::remove_member(store, session, caller, list_id, id).await,
        Ask::List { .. }
        | Ask::Find { .. }
        | Ask::Stages { .. }
        | Ask::Create { .. }
        | Ask::CreateStage { .. }
        | Ask::Update { .. }
        | Ask::Delete { .. }
        | Ask::Restore { .. }
        | Ask::Search { .. }
        | Ask::Tables
        | Ask::Schema => record(store, session, caller, ask).await,
    }
}

async fn record(store: &Store, session: &mut Transaction, caller: Caller<'_>, ask: &Ask) -> Result<Answer, Fault> {
    let known = store.known(caller.place);
    let mut not_before = None;
    for _ in 0..PLANS {
        let asked_at = Instant::now();
        let catalog = store.catalog(caller.place, access(caller.who), &known, not_before).await?;
        match once(store, session, caller, &known, &catalog, ask).await {
            Ok(Outcome::Answer(answer)) => {
                if plan::changes_catalog(ask) {
                    known.forget();
                }
                return Ok(answer);
            }
            Ok(Outcome::CatalogIsOld) => {}
            // By a catalog that was read just now, what it says holds.
            Err(PlanError::Final(fault)) => return Err(fault),
            Err(PlanError::PerhapsStale(fault)) if not_before.is_some() || broken(session) => return Err(fault),
            Err(PlanError::PerhapsStale(_)) => {}
        }
        not_before = Some(asked_at);
    }
    Err(unsettled())
}

fn unsettled() -> Fault {
    Fault::Unavailable { retry_after: 1, message: "The table is being changed; it did not hold still.".into() }
}

/// A transaction in which a statement failed can't be gone on with; who opened it begins anew.
fn broken(session: &Transaction) -> bool {
    matches!(session, Transaction::Open(work) if work.catalog_was_old)
}

/// Whether a fault holds in any case, or only if the catalog is fresh.
enum PlanError {
    Final(Fault),
    PerhapsStale(Fault),
}

async fn once(
    store: &Store,
    session: &mut Transaction,
    caller: Caller<'_>,
    known: &Arc<DatabaseCache>,
    catalog: &Catalog,
    ask: &Ask,
) -> Result<Outcome, PlanError> {
    let plan = plan::plan(ask, catalog).map_err(PlanError::PerhapsStale)?;
    let statements = sql::statements(&plan);
    let context = plan::writes(ask).then(|| context(store, caller));
    let deleting = matches!(ask, Ask::Delete { .. });
    let (place, access) = (caller.place, access(caller.who));
    let rows = match (&plan, &session) {
        (plan, Transaction::PerPlan) if plan.is_quick_read() => store.look_up(place, access, known, statements).await,
        _ => store.run(session, place, access, &known.types, context.as_ref(), &statements, deleting).await,
    };
    match rows {
        Ok(rows) => plan.answer(rows).map_err(PlanError::Final),
        Err(RunError::Fault(fault)) => Err(PlanError::Final(named(fault, &plan, ask))),
        Err(RunError::CatalogIsOld(fault)) => Err(PlanError::PerhapsStale(fault)),
        Err(RunError::Taken { message, constraint }) => {
            let existing_id = conflict(store, caller, known, &plan, ask, &constraint).await.unwrap_or_else(|fault| {
                tracing::warn!(?fault, "a conflict could not be recorded");
                None
            });
            Err(PlanError::Final(Fault::Conflict { message, constraint, existing_id }))
        }
    }
}

/// An id that PostgreSQL could not read names no record; the fault gets the words of the path.
fn named(fault: Fault, plan: &Plan<'_>, ask: &Ask) -> Fault {
    match (fault, ask, plan.table()) {
        (
            Fault::NotFound { .. },
            Ask::Find { id, .. } | Ask::Update { id, .. } | Ask::Delete { id, .. } | Ask::Restore { id, .. },
            Some(table),
        ) => Fault::NotFound { table: table.name.clone(), id: id.text().to_owned() },
        (fault, _, _) => fault,
    }
}

/// Finds the record that has the key, and puts the refusal into the activity feed.
async fn conflict(
    store: &Store,
    caller: Caller<'_>,
    known: &Arc<DatabaseCache>,
    plan: &Plan<'_>,
    ask: &Ask,
    constraint: &str,
) -> Result<Option<String>, Fault> {
    let Some(table) = plan.table() else { return Ok(None) };
    let fresh;
    let (table, index) = match table.unique(constraint) {
        Some(index) => (table, index),
        // It came after the catalog was read; or it is another table's, and a trigger of this one wrote there.
        None => {
            fresh = store.catalog(caller.place, access(caller.who), known, Some(Instant::now())).await?;
            let table = fresh.table(&table.name)?;
            let Some(index) = table.unique(constraint) else { return Ok(None) };
            (table, index)
        }
    };
    let nothing = Map::new();
    let (attempt, values) = match (plan, ask) {
        (Plan::Create(create), Ask::Create { values, .. } | Ask::CreateStage { values, .. }) => {
            (Attempt { name: None, within: create.within.as_ref(), values: create.values.clone() }, values)
        }
        (Plan::Update(update), Ask::Update { values, .. }) => {
            (Attempt { name: Some(&update.name), within: None, values: update.set_values() }, values)
        }
        (Plan::Restore(restore), _) => {
            (Attempt { name: Some(&restore.name), within: None, values: Vec::new() }, &nothing)
        }
        _ => return Ok(None),
    };
    let run = async |context: Option<&Sql>, statement: Sql| {
        let session = &mut Transaction::PerPlan;
        let results = store.run(session, caller.place, Access::Full, &known.types, context, &[statement], false).await;
        results.map(|results| results.into_iter().next().unwrap_or_default()).map_err(|trouble| match trouble {
            RunError::Fault(fault) | RunError::CatalogIsOld(fault) => fault,
            RunError::Taken { message, .. } => Fault::internal(message),
        })
    };
    let found = run(None, sql::conflict::find(table, table.key()?, index, &attempt)).await?;
    let existing_id = if found.is_empty() { None } else { found.string(0, "existing_id") };
    let secret = store.secret_of(caller.place);
    let json = serde_json::Value::Object(attempted(ask, values)).to_string();
    let statement = sql::conflict::record(secret.expose(), table.subject(), constraint, existing_id.clone(), json);
    run(Some(&context(store, caller)), statement).await?;
    Ok(existing_id)
}

/// What was attempted, in the feed's words: the values, and which row was to have them or to be shown again.
fn attempted(ask: &Ask, values: &Map<String, Value>) -> Map<String, Value> {
    let mut attempted = values.clone();
    match ask {
        Ask::Update { id, .. } => {
            attempted.entry("id").or_insert_with(|| id.text().into());
        }
        Ask::Restore { id, .. } => {
            attempted.insert("restored".to_owned(), id.text().into());
        }
        _ => {}
    }
    attempted
}

async fn raw(
    store: &Store,
    session: &mut Transaction,
    caller: Caller<'_>,
    text: &str,
    params: &[serde_json::Value],
) -> Result<Answer, Fault> {
    let raw = plan::raw::plan(text, params)?;
    let known = store.known(caller.place);
    let secret = store.secret_of(caller.place);
    let context = sql::context::begin_request(secret.expose(), caller.who, caller.provenance);
    let result =
        store.run_raw(session, caller.place, access(caller.who), &known.types, &context, &raw, text, params).await;
    if raw.may_change_catalog() {
        known.forget();
    }
    result.map(Answer::Sql).map_err(|fault| plan::raw::explain(fault, caller.who))
}

/// What goes before a write: who is asking.
fn context(store: &Store, caller: Caller<'_>) -> Sql {
    let secret = store.secret_of(caller.place);
    sql::context::begin_request(secret.expose(), caller.who, caller.provenance)
}

fn access(who: &Who) -> Access {
    if plan::reads_only(who) { Access::ReadOnly } else { Access::Full }
}
