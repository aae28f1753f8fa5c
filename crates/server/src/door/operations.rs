//! A batch of operations over HTTP: reads each operation in the caller's dialect and writes its answer.

use crm::model::answer::{Answer, OperationAnswer};
use crm::model::ask::Ask;
use crm::model::fault::Fault;
use crm::model::operation::Operation;

use crate::door::reply::Envelope;
use crate::hall::Wire;

/// The caller's dialect, for the operations of a batch.
pub struct Operations<'a> {
    /// The envelope of the whole batch.
    pub envelope: &'a Envelope<'a>,
}

impl Wire for Operations<'_> {
    fn read(&self, operation: Operation) -> Result<Ask, Fault> {
        self.envelope.dialect.read_operation(operation)
    }

    fn show(&self, answer: Answer, table: Option<&str>) -> OperationAnswer {
        let reply = self.envelope.with_meta(table, |dialect, meta| (dialect.show)(&answer, meta));
        OperationAnswer { name: None, status: reply.status, body: reply.body }
    }

    fn record(&self, answer: &Answer, table: Option<&str>) -> Option<Vec<u8>> {
        self.envelope.with_meta(table, |dialect, meta| dialect.record(answer, meta))
    }

    fn holds(&self, bytes: usize) {
        if let Some(room) = &self.envelope.room {
            room.keep(bytes);
        }
    }
}
