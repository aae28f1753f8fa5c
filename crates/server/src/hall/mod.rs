//! The hall, which every door calls. [`perform`] runs one call from start to end: reserve its Idempotency-Key, begin, plan,
//! run, commit or roll back, and return what changed. Rights, limits and provenance are therefore the same for every door.
//!
//! A caller's ask becomes a plan, the plan becomes SQL, the store runs it, and the rows become an answer. The hall knows no
//! protocol.

pub mod action;
mod assert;
mod batch;
mod committed;
mod conflict;
mod control;
mod dry;
mod event;
mod events;
mod execution;
mod fingerprint;
mod idempotency;
mod import;
pub mod inbound;
mod log;
pub mod mail;
mod message_ids;
mod operations;
pub mod outgoing;
pub mod publish;
mod queue;
mod receive;
mod record;
mod saved;
mod search;
mod snippet;
mod together;

use std::borrow::Cow;

use crm::dialect::Reply;
use crm::dialect::controls::Limits;
use crm::model::answer::{Answer, DryRun};
use crm::model::ask::{Ask, Steps};
use crm::model::change::ChangeSet;
use crm::model::fault::Fault;
use crm::plan;

use crate::access::Caller;
use crate::app::App;
use crate::budget::Held;
use crate::hall::batch::BatchWrite;
use crate::hall::execution::{Execution, Reserved};
use crate::hall::import::Import;
use crate::hall::record::OnePlan;
use crate::hall::saved::NewMembers;

pub use committed::{Changed, Committed};
pub use idempotency::Idempotency;
pub use operations::Wire;
pub use together::read_together;

/// How a call is performed.
#[derive(Default)]
pub struct Controls<'a> {
    /// The key under which the reply is stored.
    pub idempotency: Option<Idempotency<'a>>,
    /// Whether the call's changes are kept.
    pub effect: Effect,
    /// The most rows that the call may change.
    pub max_affected: Option<u32>,
    /// How the operations of a batch are read and their answers written; `None` if the door has no batches.
    pub wire: Option<&'a dyn Wire>,
    /// Is told how far the call is, if its caller wants to know.
    pub progress: Option<&'a dyn Progress>,
    /// The room of the call's values, if they are counted. It is freed where other room counts them.
    pub values: Option<&'a Held>,
    /// Whether the caller wants to know which rows were changed, as the change log has them.
    pub tells: bool,
}

/// Is told how far a call with several steps is: the operations of a batch, the statements of SQL.
pub trait Progress: Sync {
    /// This many of so many steps are done. If a batch runs again, it counts from the beginning again.
    fn done(&self, steps: usize, of: usize);
}

impl Controls<'_> {
    /// The controls that a caller has given.
    pub fn of(limits: &Limits) -> Controls<'static> {
        let effect = if limits.dry_run == Some(true) { Effect::DryRun } else { Effect::Commit };
        Controls { effect, max_affected: limits.max_affected, ..Controls::default() }
    }
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
#[expect(clippy::large_enum_variant, reason = "nearly all calls end in the large one, and none is kept")]
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
    let performed = match ask {
        Ask::Steps(Steps::SendEmail { .. }) if controls.effect == Effect::Commit => {
            Box::pin(mail::perform(app, caller, ask, controls)).await
        }
        ask => perform_allowed(app, caller, ask, controls).await,
    };
    performed.map_err(|fault| app.store.excesses.explain(&caller.database.database, fault))
}

async fn perform_allowed(app: &App, caller: &Caller, ask: &Ask, controls: &Controls<'_>) -> Result<Performed, Fault> {
    if controls.effect == Effect::DryRun && ask.writes() {
        // On the heap, because it is large and other calls do not need it.
        return Box::pin(perform_dry(app, caller, ask, controls)).await;
    }
    // A read does not need the key. A caller who can only read must not take a key from callers who write.
    if let Some(idempotency) = controls.idempotency.as_ref().filter(|_| !plan::reads_only(&caller.who)) {
        // On the heap, because it is large and reads do not need it.
        return Box::pin(perform_once(app, caller, ask, controls, idempotency)).await;
    }
    let tells = controls.tells && ask.writes() && !plan::reads_only(&caller.who);
    if is_together(ask, tells) {
        return Box::pin(perform_together(app, caller, ask, controls)).await;
    }
    let mut execution = Execution::per_plan(app, caller).await?.at_most(controls.max_affected);
    (execution.progress, execution.tells) = (controls.progress, tells);
    match answer_alone(&mut execution, ask).await {
        Ok(answer) => {
            let committed = execution.commit(Some(ask), None).await?;
            Ok(Performed::Done(answer, committed))
        }
        Err(fault) => {
            execution.roll_back().await;
            Err(fault)
        }
    }
}

/// Whether all of an ask runs in one open transaction.
fn is_together(ask: &Ask, tells: bool) -> bool {
    match ask {
        Ask::Operations(_)
        | Ask::Steps(
            Steps::Assert { .. }
            | Steps::Import { .. }
            | Steps::ReceiveEmail { .. }
            | Steps::AddMembers { several: true, .. },
        ) => true,
        // What it has changed is read before the commit.
        Ask::Steps(Steps::Sql { sql, .. }) => tells && !plan::raw::tells_all(sql),
        _ => false,
    }
}

/// Performs an ask and rolls it back. The answer says what it would have changed.
async fn perform_dry(app: &App, caller: &Caller, ask: &Ask, controls: &Controls<'_>) -> Result<Performed, Fault> {
    let is_sql = matches!(ask, Ask::Steps(Steps::Sql { .. }));
    let result = if plan::reads_only(&caller.who) {
        // A session that can only read changes nothing.
        let mut execution = Execution::per_plan(app, caller).await?;
        answer(&mut execution, ask, controls).await.map(|answer| DryRun { answer, outcome: ChangeSet::empty() })
    } else {
        let mut execution = Execution::dry(app, caller, controls.max_affected).await?;
        execution.progress = controls.progress;
        execution.begin_dry(ask).await?;
        let result = match answer(&mut execution, ask, controls).await {
            Ok(answer) => execution.outcome(is_sql).await.map(|outcome| DryRun { answer, outcome }),
            Err(fault) => Err(fault),
        };
        execution.roll_back().await;
        result
    };
    result.map(|dry| Performed::Done(Answer::DryRun(Box::new(dry)), Committed::nothing()))
}

async fn perform_together(app: &App, caller: &Caller, ask: &Ask, controls: &Controls<'_>) -> Result<Performed, Fault> {
    let mut execution = Execution::in_one(app, caller, controls.max_affected).await?;
    execution.progress = controls.progress;
    let answered = answer(&mut execution, ask, controls).await;
    let told = match (&answered, controls.tells && !plan::reads_only(&caller.who)) {
        (Ok(_), true) => execution.tell().await,
        _ => Ok(()),
    };
    match told.and(answered) {
        Ok(answer) => Ok(Performed::Done(answer, execution.commit(Some(ask), None).await?)),
        Err(fault) => {
            execution.roll_back().await;
            Err(fault)
        }
    }
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
    controls: &Controls<'_>,
    idempotency: &Idempotency<'_>,
) -> Result<Performed, Fault> {
    let mut execution = match Execution::reserve(app, caller, idempotency, controls.max_affected).await? {
        Reserved::Fresh(execution) => execution,
        Reserved::Stored(reply) => return Ok(Performed::Replayed(reply)),
    };
    let result = answer(&mut execution, ask, controls).await;
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
    match Execution::reserve(app, caller, idempotency, None).await? {
        Reserved::Stored(reply) => Ok(Performed::Replayed(reply)),
        Reserved::Fresh(execution) => {
            let reply = (idempotency.render)(&Err(fault));
            execution.commit(None, Some(&reply)).await?;
            Ok(Performed::Stored(reply))
        }
    }
}

async fn answer(execution: &mut Execution<'_>, ask: &Ask, controls: &Controls<'_>) -> Result<Answer, Fault> {
    let Ask::Operations(operations) = ask else { return answer_alone(execution, ask).await };
    let wire = controls.wire.ok_or_else(|| Fault::internal("a batch from a door that has no batches"))?;
    // On the heap, because it is large and other asks do not need it.
    Box::pin(operations::run(execution, operations, wire)).await
}

/// The answer to an ask that is not a batch of operations.
async fn answer_alone(execution: &mut Execution<'_>, ask: &Ask) -> Result<Answer, Fault> {
    match ask {
        Ask::Operations(_) => Err(Fault::internal("a batch in a batch")),
        Ask::Control(_) => Err(Fault::internal("an ask about the control plane came to a workspace's database")),
        Ask::Single(ask) => execution.with_fresh_catalog(&OnePlan { ask }).await,
        // On the heap, because they are large and most calls have one step.
        Ask::Steps(steps) => Box::pin(answer_steps(execution, steps)).await,
    }
}

async fn answer_steps(execution: &mut Execution<'_>, steps: &Steps) -> Result<Answer, Fault> {
    match steps {
        Steps::Sql { sql, params } => raw(execution, sql, params).await,
        Steps::ListRows { list_id, page } => saved::rows(execution, list_id, page).await,
        Steps::AddMembers { list_id, ids, several } => {
            execution.with_fresh_catalog(&NewMembers { list_id, ids, several: *several }).await
        }
        Steps::RemoveMember { list_id, id } => saved::remove_member(execution, list_id, id).await,
        Steps::Batch { table, rows, dedup_on } => {
            execution.with_fresh_catalog(&BatchWrite { table, rows, dedup_on }).await
        }
        Steps::Assert { table, matching, values, unknown_stage } => {
            assert::Assertion { table, matching, values, unknown_stage: *unknown_stage }.run(execution).await
        }
        Steps::Import { table, columns, rows, skipped, dedup_on } => {
            // On the heap, because it is large and other calls do not need it.
            Box::pin(Import { table, columns, rows, skipped: *skipped, dedup_on }.run(execution)).await
        }
        Steps::SearchAll { words, page } => search::all(execution, words, page).await,
        Steps::SendEmail { values } => mail::record(execution, values).await,
        Steps::ReceiveEmail { email, origin } => receive::record(execution, email, *origin).await,
        Steps::Events(ask) => events::page(execution.app, execution.caller, ask).await,
        Steps::OpenRun { run_id, agent, reason } => {
            log::open(execution, run_id, agent.as_deref(), reason.as_deref()).await
        }
        Steps::FindRun { run } => log::find(execution, run).await,
        Steps::ListRuns { filters, page } => log::list(execution, filters, page).await,
        Steps::RunChanges { run, net, page } => log::changes(execution, run, *net, page).await,
        Steps::RowChanges { table, key, before, most } => {
            log::row_changes(execution, table, key, before.as_deref(), *most).await
        }
        Steps::FinishRun { run, is_complete, summary } => {
            log::finish(execution, run, *is_complete, summary.as_deref()).await
        }
        // On the heap, because it is large and other calls do not need it.
        Steps::Undo { what, skips } => Box::pin(log::undo(execution, what, *skips)).await,
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
