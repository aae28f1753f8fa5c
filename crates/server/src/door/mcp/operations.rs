//! A batch of operations over MCP: reads each operation in the caller's dialect, and writes its answer as a tool would. What a model
//! will not see is cut here, so that all answers together take little memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use crm::dialect::tools;
use crm::model::answer::{Answer, OperationAnswer};
use crm::model::ask::Ask;
use crm::model::fault::Fault;
use crm::model::operation::Operation;

use crate::door::reply::Envelope;
use crate::hall::Wire;

/// The caller's dialect, for the operations of a batch.
pub struct Operations<'a> {
    /// The envelope of the whole call.
    pub envelope: &'a Envelope<'a>,
    /// The tokens that the answer to the batch may have.
    max_tokens: usize,
    /// The bytes of the answers so far.
    bytes: AtomicUsize,
}

impl<'a> Operations<'a> {
    /// The operations of a batch whose answer may have this many tokens.
    pub fn new(envelope: &'a Envelope<'a>, max_tokens: usize) -> Operations<'a> {
        Operations { envelope, max_tokens, bytes: AtomicUsize::new(0) }
    }
}

impl Wire for Operations<'_> {
    fn read(&self, operation: Operation) -> Result<Ask, Fault> {
        let dialect = self.envelope.dialect;
        dialect.read_operation(tools::operation_in_own_names(dialect, operation)?)
    }

    fn show(&self, answer: Answer, table: Option<&str>) -> OperationAnswer {
        let (status, bytes) = (answer.status(), self.bytes.load(Ordering::Relaxed));
        let body = self
            .envelope
            .with_meta(table, |dialect, meta| tools::operation(dialect, answer, (self.max_tokens, bytes), meta));
        self.bytes.fetch_add(body.len(), Ordering::Relaxed);
        OperationAnswer { name: None, status, body }
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
