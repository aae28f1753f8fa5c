//! An answer on its way out. It counts as under way until its last byte is with the socket, and every byte that goes counts
//! as progress.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use bytes::Buf;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::door::listener::connection::Exchange;

/// The body of an answer.
pub struct AnswerBody {
    body: Body,
    exchange: Arc<Exchange>,
}

impl AnswerBody {
    /// The answer of an exchange.
    pub fn new(body: Body, exchange: Arc<Exchange>) -> AnswerBody {
        AnswerBody { body, exchange }
    }
}

impl HttpBody for AnswerBody {
    type Data = Chunk;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, axum::Error>>> {
        let AnswerBody { body, exchange } = self.get_mut();
        let frame = ready!(Pin::new(body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| Chunk::new(bytes, exchange.clone())))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of an answer.
pub struct Chunk {
    bytes: Bytes,
    exchange: Arc<Exchange>,
}

impl Chunk {
    fn new(bytes: Bytes, exchange: Arc<Exchange>) -> Chunk {
        exchange.hands_out(bytes.len());
        Chunk { bytes, exchange }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.exchange.has_sent(count);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.exchange.gives_up(self.bytes.len());
        }
    }
}
