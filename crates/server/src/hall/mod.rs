//! The hall, which every door calls. [`perform`] runs one call from start to end: reserve its Idempotency-Key, begin, plan,
//! run, commit or roll back, and return what changed. Rights, limits and provenance are therefore the same for every door.
//!
//! A caller's ask becomes a plan, the plan becomes SQL, the store runs it, and the rows become an answer. The hall knows no
//! protocol.

mod batch;
mod conflict;
mod control;
mod events;
mod execution;
mod fingerprint;
mod idempotency;
pub mod publish;
mod record;
mod saved;
mod search;

use std::borrow::Cow;

use crm::dialect::Reply;
use crm::model::answer::Answer;
use crm::model::ask::{Ask, Steps};
use crm::model::fault::Fault;
use crm::plan;

use crate::access::Caller;
use crate::app::App;
use crate::hall::batch::BatchWrite;
use crate::hall::execution::{Execution, Reserved};
use crate::hall::record::OnePlan;
use crate::hall::saved::NewMembers;

pub use execution::{Changed, Committed};
pub use idempotency::Idempotency;

/// How a call is performed.
#[derive(Default)]
pub struct Controls<'a> {
    /// The key under which the reply is stored.
    pub idempotency: Option<Idempotency<'a>>,
    /// Whether the call's changes are kept.
    pub effect: Effect,
}

/// Whether a call's changes are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// The changes are committed.
    #[default]
    Commit,
    /// The changes are rolled back after the result is known.
    DryRun,
}

/// The result of a call.
#[derive(Debug)]
pub enum Performed {
    /// The call was performed.
    Done(Answer, Committed),
    /// The call was performed, and this reply is stored under its key.
    Stored(Reply),
    /// The call had been performed before. This was its reply.
    Replayed(Reply),
}

/// Performs a caller's ask.
pub async fn perform(app: &App, caller: &Caller, ask: &Ask, controls: &Controls<'_>) -> Result<Performed, Fault> {
    // A caller without the right must not see the stored result of another caller's call, and their refusal must not be the
    // reply to that caller's retry.
    plan::allow(ask, &caller.who)?;
    let _turn = caller.turn(app).await?;
    if let Ask::Control(ask) = ask {
        // On the heap, like all that most calls do not need.
        return Box::pin(control::perform(app, caller, ask, controls)).await;
    }
    let performed = perform_allowed(app, caller, ask, controls).await;
    performed.map_err(|fault| app.store.excesses.explain(&caller.database.database, fault))
}

async fn perform_allowed(app: &App, caller: &Caller, ask: &Ask, controls: &Controls<'_>) -> Result<Performed, Fault> {
    if controls.effect == Effect::DryRun {
        let mut execution = Execution::dry(app, caller).await?;
        let answer = answer(&mut execution, ask).await;
        execution.roll_back().await;
        return answer.map(|answer| Performed::Done(answer, Committed { changed: Changed::Nothing }));
    }
    // A read does not need the key. A caller who can only read must not take a key from callers who write.
    if let Some(idempotency) = controls.idempotency.as_ref().filter(|_| !plan::reads_only(&caller.who)) {
        // On the heap, because it is large and reads do not need it.
        return Box::pin(perform_once(app, caller, ask, idempotency)).await;
    }
    let mut execution = Execution::per_plan(app, caller).await?;
    let answer = answer(&mut execution, ask).await?;
    let committed = execution.commit(Some(ask), None).await?;
    Ok(Performed::Done(answer, committed))
}

/// Refuses a call that could not be parsed into an ask. The refusal is stored under the call's key.
pub async fn refuse(app: &App, caller: &Caller, fault: Fault, controls: &Controls<'_>) -> Result<Performed, Fault> {
    match &controls.idempotency {
        Some(idempotency) if !plan::reads_only(&caller.who) => {
            let _turn = caller.turn(app).await?;
            Box::pin(store_refusal(app, caller, fault, idempotency)).await
        }
        _ => Err(fault),
    }
}

async fn perform_once(
    app: &App,
    caller: &Caller,
    ask: &Ask,
    idempotency: &Idempotency<'_>,
) -> Result<Performed, Fault> {
    let mut execution = match Execution::reserve(app, caller, idempotency).await? {
        Reserved::Fresh(execution) => execution,
        Reserved::Stored(reply) => return Ok(Performed::Replayed(reply)),
    };
    let result = answer(&mut execution, ask).await;
    let fault = match &result {
        Ok(_) => {
            // The reply is stored as text, and a retry must get the same bytes.
            let mut reply = (idempotency.render)(&result);
            if let Cow::Owned(text) = String::from_utf8_lossy(&reply.body) {
                reply.body = text.into_bytes();
            }
            match execution.commit(Some(ask), Some(&reply)).await {
                Ok(_) => return Ok(Performed::Stored(reply)),
                Err(fault) => fault,
            }
        }
        Err(fault) => {
            execution.roll_back().await;
            fault.clone()
        }
    };
    store_refusal(app, caller, fault, idempotency).await
}

/// Stores a refusal under its key. The refused work left no changes.
async fn store_refusal(
    app: &App,
    caller: &Caller,
    fault: Fault,
    idempotency: &Idempotency<'_>,
) -> Result<Performed, Fault> {
    if !idempotency::is_stored(&fault) {
        return Err(fault);
    }
    match Execution::reserve(app, caller, idempotency).await? {
        Reserved::Stored(reply) => Ok(Performed::Replayed(reply)),
        Reserved::Fresh(execution) => {
            let reply = (idempotency.render)(&Err(fault));
            execution.commit(None, Some(&reply)).await?;
            Ok(Performed::Stored(reply))
        }
    }
}

async fn answer(execution: &mut Execution<'_>, ask: &Ask) -> Result<Answer, Fault> {
    match ask {
        Ask::Single(ask) => execution.with_fresh_catalog(&OnePlan { ask }).await,
        Ask::Steps(steps) => match steps {
            Steps::Sql { sql, params } => raw(execution, sql, params).await,
            Steps::ListRows { list_id, page } => saved::rows(execution, list_id, page).await,
            Steps::AddMembers { list_id, ids, several } => {
                execution.with_fresh_catalog(&NewMembers { list_id, ids, several: *several }).await
            }
            Steps::RemoveMember { list_id, id } => saved::remove_member(execution, list_id, id).await,
            Steps::Batch { table, rows, dedup_on } => {
                execution.with_fresh_catalog(&BatchWrite { table, rows, dedup_on }).await
            }
            Steps::SearchAll { words, page } => search::all(execution, words, page).await,
            Steps::Events(ask) => events::page(execution.app, execution.caller, ask).await,
        },
        Ask::Control(_) => Err(Fault::internal("an ask about the control plane came to a workspace's database")),
    }
}

async fn raw(execution: &mut Execution<'_>, text: &str, params: &[serde_json::Value]) -> Result<Answer, Fault> {
    let raw = plan::raw::plan(text, params)?;
    let result = execution.run_raw(&raw).await;
    if raw.may_change_catalog() {
        execution.tenant.cache().forget();
    }
    result.map(Answer::Sql).map_err(|fault| plan::raw::explain(fault, &execution.caller.who))
}
