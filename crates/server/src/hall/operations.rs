//! A batch of operations: they run in order in one transaction, all or none. A session that may run the caller's SQL serves the
//! whole, because REST's sessions never do.

use std::time::{Duration, Instant};

use crm::model::answer::{Answer, OperationAnswer};
use crm::model::ask::{Ask, Steps};
use crm::model::fault::{Fault, OperationFault};
use crm::model::operation::{Operation, Records};
use crm::plan;

use crate::clock::random;
use crate::hall::Progress;
use crate::hall::execution::{Execution, PLANS, Together};
use crate::store::STATEMENT_LIMIT_SECONDS;

/// How long all operations together may take.
const TIME_LIMIT: Duration = Duration::from_secs(STATEMENT_LIMIT_SECONDS);

/// How often a batch runs again because another transaction holds a row.
const MOST_WAITS: u32 = 5;

/// The most bytes of all answers together. It is the limit of a record, so that a batch takes no more memory than other requests.
const MAX_BYTES: usize = 40 * 1024 * 1024;

/// How a door reads operations and writes their answers. The hall does not know its protocol.
pub trait Wire: Sync {
    /// Reads an operation. Its references have their values.
    fn read(&self, operation: Operation) -> Result<Ask, Fault>;

    /// Writes the answer that the operation alone would have. `table` is the operation's.
    fn show(&self, answer: Answer, table: Option<&str>) -> OperationAnswer;

    /// Writes the record to which references to the operation refer; `None` if the answer has none.
    fn record(&self, answer: &Answer, table: Option<&str>) -> Option<Vec<u8>>;

    /// Is told how many bytes the batch holds, each time when it has dropped an operation's rows.
    fn holds(&self, bytes: usize);
}

/// Runs the operations in the open transaction. If an operation shows that the cached catalog is stale, or waits in vain for another
/// transaction, all of them run again.
pub(super) async fn run(
    execution: &mut Execution<'_>,
    operations: &[Operation],
    wire: &dyn Wire,
) -> Result<Answer, Fault> {
    execution.together.get_or_insert_default();
    // The statements of an operation are no steps of the batch.
    let progress = execution.progress.take();
    let deadline = Instant::now() + TIME_LIMIT;
    let (mut runs, mut waits) = (1, 0);
    loop {
        let records = Records::wanted(operations);
        let (answers, bytes, ran_sql) = (Vec::new(), 0, false);
        let mut run = OperationsRun { wire, progress, deadline, records, answers, bytes, ran_sql };
        match run.all(execution, operations).await {
            Ok(()) => return Ok(Answer::Operations(run.answers)),
            Err(_) if runs < PLANS && is_stale(execution) => {
                runs += 1;
                begin_again(execution).await?;
            }
            // Nothing was kept, and the other transaction may have ended.
            Err(fault) if fault.is_held() && waits < MOST_WAITS && Instant::now() < deadline => {
                waits += 1;
                execution.end_aborted_batch().await;
                tokio::time::sleep(pause(waits)).await;
                begin_again(execution).await?;
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// Whether a stale catalog has undone the operations so far.
fn is_stale(execution: &Execution<'_>) -> bool {
    matches!(execution.together, Some(Together { is_stale: true, .. }))
}

/// Undoes the operations so far, and begins again.
async fn begin_again(execution: &mut Execution<'_>) -> Result<(), Fault> {
    let mut together = Together::default();
    together.not_before = execution.together.as_ref().and_then(|it| it.not_before);
    execution.together = Some(together);
    execution.restart().await
}

/// How long a batch waits before it runs again. Two that wait for each other wait for different times.
fn pause(waits: u32) -> Duration {
    let [byte] = random();
    Duration::from_millis(u64::from(waits) * (20 + u64::from(byte)))
}

/// A run of a batch.
struct OperationsRun<'a> {
    wire: &'a dyn Wire,
    progress: Option<&'a dyn Progress>,
    deadline: Instant,
    records: Records,
    answers: Vec<OperationAnswer>,
    /// The bytes of the answers.
    bytes: usize,
    /// Whether the caller's SQL has run in the session.
    ran_sql: bool,
}

impl OperationsRun<'_> {
    async fn all(&mut self, execution: &mut Execution<'_>, operations: &[Operation]) -> Result<(), Fault> {
        let progress = self.progress;
        let tell = |done| progress.into_iter().for_each(|it| it.done(done, operations.len()));
        tell(0);
        for (index, operation) in operations.iter().enumerate() {
            let mut table = None;
            let done = self.one(execution, operation, &mut table).await;
            done.map_err(|fault| {
                let name = operation.name.clone();
                Fault::InOperation(Box::new(OperationFault { index, name, table, fault }))
            })?;
            tell(index + 1);
        }
        Ok(())
    }

    /// Runs one operation. `table` becomes the table of the operation, which its fault needs too.
    async fn one(
        &mut self,
        execution: &mut Execution<'_>,
        operation: &Operation,
        table: &mut Option<String>,
    ) -> Result<(), Fault> {
        let ask = self.wire.read(operation.filled(&self.records)?)?;
        *table = ask.table().map(str::to_owned);
        plan::allow(&ask, &execution.caller.who)?;
        // What an earlier operation has left in the session must not change the answer to this one.
        if self.ran_sql || execution.tenant.cache().has_own_code() {
            execution.restore_session()?;
        }
        self.ran_sql |= matches!(ask, Ask::Steps(Steps::Sql { .. }));
        let answer = super::answer_alone(execution, &ask).await?;
        execution.operation_has_run(ask.changes_catalog());
        self.keep(operation, answer, table.as_deref())?;
        self.wire.holds(self.bytes + self.records.bytes());
        if Instant::now() > self.deadline {
            return Err(Fault::StatementTimeout { limit_seconds: STATEMENT_LIMIT_SECONDS });
        }
        Ok(())
    }

    /// Keeps an answer, and those of its fields to which later operations refer.
    fn keep(&mut self, operation: &Operation, answer: Answer, table: Option<&str>) -> Result<(), Fault> {
        if let Some(name) = operation.name.as_deref().filter(|name| self.records.want(name)) {
            self.records.keep(name, self.wire.record(&answer, table).as_deref())?;
        }
        let shown = OperationAnswer { name: operation.name.clone(), ..self.wire.show(answer, table) };
        self.bytes += shown.body.len();
        if self.bytes + self.records.bytes() > MAX_BYTES {
            return Err(Fault::Refused {
                code: "result_too_large",
                message: format!(
                    "The answers to this operation and those before it are larger than {MAX_BYTES} bytes; nothing of the batch was kept."
                ),
                hint: Some("Read less, or read it after the batch.".into()),
            });
        }
        self.answers.push(shown);
        Ok(())
    }
}
