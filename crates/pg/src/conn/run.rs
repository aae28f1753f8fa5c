//! The hot path: a request's statements in one write, as one transaction.

use std::sync::Arc;

use postgres_protocol::message::frontend;

use super::collect::{Collect, End};
use super::statements::{Plan, bind_and_execute};
use super::{Caps, Conn, Description, Frame, Outcome, Statement, Truncated, Want, command};
use crate::error::{Error, ServerError};
use crate::types::TypeCache;

const BEGIN: &[&str] = &["BEGIN READ ONLY", "SELECT 1"];
const BEGIN_WRITE: &[&str] = &["BEGIN"];
const ROLLBACK: &[&str] = &["ROLLBACK"];

impl Frame {
    /// What is sent before the statements, and what after their Sync.
    fn around(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Frame::Implicit => (&[], &[]),
            Frame::ReadOnly => (BEGIN, ROLLBACK),
            Frame::RolledBack => (BEGIN_WRITE, ROLLBACK),
        }
    }
}

impl Conn {
    /// Runs statements as one transaction, all or nothing, in one write and one round trip. The first time that a connection
    /// sees a statement costs one more round trip, and the first time that a database's types are seen costs another.
    ///
    /// All statements are prepared before the first one runs, so none can use a table that another one creates.
    ///
    /// After [`Error::ValueTooLarge`] in [`Frame::Implicit`] the connection is broken: it is closed before the server has
    /// sent the value, which keeps the transaction from committing.
    pub async fn run(
        &mut self,
        frame: Frame,
        statements: &[Statement<'_>],
        types: &TypeCache,
        caps: Caps,
    ) -> Result<Vec<Outcome>, Error> {
        self.ready().await?;
        self.begin_request()?;
        let (before, after) = frame.around();
        let own = statements.iter().map(|statement| statement.sql);
        let all = before.iter().copied().chain(own).chain(after.iter().copied());
        let plans = match self.plans(all, types).await {
            Ok(plans) => plans,
            Err(error) => return Err(self.not_sent(error)),
        };
        let sent = self.send(frame, statements, &plans, caps).and_then(|()| self.send_due_reset());
        if let Err(error) = sent {
            return Err(self.not_sent(error));
        }

        let outdated = self.statements.outdated();
        let result = self.outcomes(frame, statements, &plans, types, caps).await?;
        self.settle().await?;
        if matches!(result, Err(Error::Stale)) && self.statements.outdated() == outdated {
            Box::pin(self.drop_statements()).await?;
        }
        self.statements.forget_excess();
        self.end_request();
        result
    }

    /// Runs independent requests in one write, each as a transaction of its own, so that simultaneous requests share a round
    /// trip. `each` is called with the results one by one, in order, as they arrive. An error of one request does not affect
    /// the others, unless the connection is lost; that is the returned error.
    pub async fn run_each(
        &mut self,
        requests: &[Vec<Statement<'_>>],
        types: &TypeCache,
        caps: Caps,
        mut each: impl FnMut(usize, Result<Vec<Outcome>, Error>),
    ) -> Result<(), Error> {
        self.begin_request()?;
        let mut plans = match self.plans(requests.iter().flatten().map(|statement| statement.sql), types).await {
            Ok(plans) => plans.into_iter(),
            Err(error) => return Err(self.not_sent(error)),
        };
        let plans: Vec<Vec<Plan>> =
            requests.iter().map(|request| plans.by_ref().take(request.len()).collect()).collect();
        for (request, plans) in requests.iter().zip(&plans) {
            if let Err(error) = self.send(Frame::Implicit, request, plans, caps) {
                return Err(self.not_sent(error));
            }
        }
        let outdated = self.statements.outdated();
        let mut is_stale = false;
        for (number, (request, plans)) in requests.iter().zip(&plans).enumerate() {
            let result = self.outcomes(Frame::Implicit, request, plans, types, caps).await?;
            is_stale |= matches!(result, Err(Error::Stale));
            each(number, result);
        }
        self.settle().await?;
        if is_stale && self.statements.outdated() == outdated {
            self.drop_statements().await?;
        }
        self.statements.forget_excess();
        self.end_request();
        Ok(())
    }

    /// Describes a statement without running it, and keeps it prepared. If it is already prepared, there is no round trip.
    pub async fn describe(&mut self, sql: &str, types: &TypeCache) -> Result<Arc<Description>, Error> {
        self.ready().await?;
        self.begin_request()?;
        match self.plans(std::iter::once(sql), types).await {
            Ok(mut plans) => {
                self.statements.forget_excess();
                self.end_request();
                let plan = plans.pop();
                plan.map(|plan| plan.description).ok_or(Error::Stale)
            }
            Err(error) => Err(self.not_sent(error)),
        }
    }

    /// Ends a request that has sent nothing since the last ReadyForQuery.
    fn not_sent(&mut self, error: Error) -> Error {
        self.wire.outbox().clear();
        if !self.broken {
            self.end_request();
        }
        error
    }

    fn send(&mut self, frame: Frame, statements: &[Statement<'_>], plans: &[Plan], caps: Caps) -> Result<(), Error> {
        let (before, after) = frame.around();
        // One more row than the limit tells whether there are more.
        let max_rows = i32::try_from(caps.max_rows).map_or(0, |rows| rows.saturating_add(1));
        let outbox = self.wire.outbox();
        for (index, plan) in plans.iter().enumerate() {
            let own = index.checked_sub(before.len()).and_then(|index| statements.get(index));
            match own {
                Some(statement) if statement.want == Want::Nothing => {
                    bind_and_execute(outbox, &plan.name, statement.params, 0)?;
                }
                Some(statement) => {
                    bind_and_execute(outbox, &plan.name, statement.params, max_rows)?;
                }
                None => bind_and_execute::<&str>(outbox, &plan.name, &[], 0)?,
            }
            // After an error the server skips messages up to the next Sync. The ROLLBACK must not be skipped.
            if plans.len() - index == after.len() + 1 {
                frontend::sync(outbox);
            }
        }
        if plans.len() == after.len() || !after.is_empty() {
            frontend::sync(outbox);
        }
        Ok(())
    }

    /// Reads the answers to [`Conn::send`]. After the outer error the connection is lost.
    async fn outcomes(
        &mut self,
        frame: Frame,
        statements: &[Statement<'_>],
        plans: &[Plan],
        types: &TypeCache,
        caps: Caps,
    ) -> Result<Result<Vec<Outcome>, Error>, Error> {
        let (before, after) = frame.around();
        let mut outcomes = Vec::with_capacity(statements.len());
        let mut result = Ok(());
        for (index, plan) in plans[..plans.len() - after.len()].iter().enumerate() {
            let own = index.checked_sub(before.len()).map(|index| &statements[index]);
            let kept = own.filter(|statement| statement.want != Want::Nothing);
            let mut collect = kept.map(|kept| Collect {
                // A statement that could commit must not be read to its end.
                breaks_off: frame == Frame::Implicit,
                ..Collect::new(&plan.description, kept.format, caps).wanted(kept.want)
            });
            let end = self.statement_end(collect.as_mut()).await?;
            if collect.as_ref().is_some_and(|collect| collect.is_too_large) {
                result = result.and(Err(Error::ValueTooLarge { limit: caps.max_value_bytes }));
            }
            match (end, own) {
                // The type of a parameter's column has changed. Only a new Parse infers the new type.
                (End::Failed { error, bound: false }, Some(statement)) if plan.is_old && is_of_types(&error) => {
                    self.statements.outdate(statement.sql);
                    result = result.and(Err(Error::Stale));
                    break;
                }
                (End::Failed { error, bound }, _) => {
                    result = result.and(Err(stale_or(error, bound)));
                    break;
                }
                (End::CopyIn | End::CopyOut | End::CopyBoth, _) => {
                    return Err(self.lost(Error::Copy));
                }
                (_, None) => {}
                (End::Complete(tag), Some(_)) => {
                    outcomes.push(outcome(collect, plan, tag, None, types));
                }
                (End::Suspended, Some(statement)) => {
                    let tag = command::of_cut_result(statement.sql);
                    let cut = Some(Truncated::Rows);
                    outcomes.push(outcome(collect, plan, tag, cut, types));
                }
            }
        }
        // Deferred constraints fail at the commit.
        if let Some(error) = self.until_ready().await? {
            result = result.and(Err(Error::Server(error)));
        }
        if !after.is_empty() && self.until_ready().await?.is_some() {
            // The prepared ROLLBACK was dropped by a statement. The rows are correct; `settle` ends the transaction.
            self.statements.clear();
        }
        Ok(result.map(|()| outcomes))
    }

    /// Ends a transaction that should no longer be open.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        // A reset that is in progress would run in place of the ROLLBACK.
        if self.status != b'I' && self.resetting.is_none() {
            self.simple("ROLLBACK").await?;
        }
        match self.status {
            b'I' => Ok(()),
            _ => Err(self.lost(Error::Protocol("a transaction that does not end".into()))),
        }
    }
}

fn outcome(
    collect: Option<Collect>,
    plan: &Plan,
    tag: String,
    suspended: Option<Truncated>,
    types: &TypeCache,
) -> Outcome {
    let Some(collect) = collect else {
        let rows = super::Rows::new(plan.description.columns.clone());
        return Outcome { rows, tag, truncated: None };
    };
    if collect.stale_type {
        types.clear();
    }
    Outcome { rows: collect.rows, tag, truncated: collect.truncated.or(suspended) }
}

/// A value that its type rejects, or types that do not match.
fn is_of_types(error: &ServerError) -> bool {
    error.code.starts_with("22") || matches!(error.code.as_str(), "42804" | "42883" | "42P18")
}

/// Distinguishes a stale prepared statement from an error that the statement raised: a stale one fails before it is bound.
fn stale_or(error: Box<ServerError>, bound: bool) -> Error {
    let is_gone = error.code == "26000";
    // "cached plan must not change result type", in any language.
    let is_changed = error.code == "0A000" && error.routine.as_deref() == Some("RevalidateCachedQuery");
    if !bound && (is_gone || is_changed) { Error::Stale } else { Error::Server(error) }
}
