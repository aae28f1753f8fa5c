//! The body of an answer while it is sent. An answer counts as in progress until the socket has taken its last byte, and every
//! byte that is sent counts as progress. An answer of known size counts as unread from the moment it exists, because the HTTP
//! library does not poll it while the window of an HTTP/2 client is closed.

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
    /// Bytes that the exchange counts as handed out, but that are not in a chunk yet.
    announced: usize,
}

impl AnswerBody {
    /// The body of an exchange's answer.
    pub fn new(body: Body, exchange: Arc<Exchange>) -> AnswerBody {
        let announced = body.size_hint().exact().unwrap_or_default() as usize;
        if announced > 0 {
            exchange.hands_out(announced);
        }
        AnswerBody { body, exchange, announced }
    }

    /// The next bytes. They count as handed out from now on, if they do not already.
    fn chunk(&mut self, bytes: Bytes) -> Chunk {
        let is_announced = bytes.len().min(self.announced);
        self.announced -= is_announced;
        if bytes.len() > is_announced {
            self.exchange.hands_out(bytes.len() - is_announced);
        }
        Chunk { bytes, exchange: self.exchange.clone() }
    }
}

impl HttpBody for AnswerBody {
    type Data = Chunk;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, axum::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| this.chunk(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if self.announced > 0 {
            self.exchange.gives_up(self.announced);
        }
    }
}

/// Bytes of an answer.
pub struct Chunk {
    bytes: Bytes,
    exchange: Arc<Exchange>,
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
