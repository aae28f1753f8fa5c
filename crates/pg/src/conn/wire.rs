//! Messages over the socket: a buffer for requests, and replies one at a time. Each reply's header is checked before any of
//! its body is kept.
//!
//! Requests are written while replies are read. Otherwise a long pipeline would deadlock, with both sides waiting for the
//! other to read.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::stream::Stream;
use crate::alarm::Alarm;

/// Tag and length of a message.
const HEADER: usize = 5;
/// The minimum space for a read.
const READ_CHUNK: usize = 32 * 1024;
/// Buffers that grew larger than this are freed when a request is finished.
const KEPT_CAPACITY: usize = 64 * 1024;
/// A buffer that grew larger than this is freed as soon as it is empty.
const LARGE_CAPACITY: usize = 1024 * 1024;
/// How often the socket is read for what the server sent unrequested.
const GLANCES: usize = 8;

pub(super) struct Wire {
    stream: Stream,
    inbox: BytesMut,
    outbox: BytesMut,
    /// The length of the message at the front of the inbox. It has been read, and is removed for the next one.
    current: usize,
    /// The number of bytes of the previous message that are still to arrive and are not needed.
    unwanted: usize,
    /// TLS may hold written bytes back until it is flushed.
    unflushed: bool,
    /// Writing failed. The server's last messages may still be readable.
    write_error: Option<io::Error>,
    /// Ends the wait for a server that does not answer.
    alarm: Option<Arc<Alarm>>,
}

/// A message whose header has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) tag: u8,
    /// The length of the body.
    pub(super) len: usize,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Wire {
        let (inbox, outbox) = (BytesMut::with_capacity(READ_CHUNK), BytesMut::new());
        Wire { stream, inbox, outbox, current: 0, unwanted: 0, unflushed: false, write_error: None, alarm: None }
    }

    /// Sets the alarm that ends later waits, until another one is set.
    pub(super) fn set_alarm(&mut self, alarm: Option<Arc<Alarm>>) {
        self.alarm = alarm;
    }

    pub(super) fn alarm(&self) -> Option<&Alarm> {
        self.alarm.as_deref()
    }

    /// The buffer for requests. They are sent during the next wait for a reply.
    pub(super) fn outbox(&mut self) -> &mut BytesMut {
        &mut self.outbox
    }

    /// Waits for the next message, and drops the previous one.
    pub(super) async fn header(&mut self) -> io::Result<Header> {
        self.leave_current();
        while self.unwanted > 0 {
            if self.inbox.is_empty() {
                self.fill(READ_CHUNK).await?;
            }
            let gone = self.unwanted.min(self.inbox.len());
            self.inbox.advance(gone);
            self.unwanted -= gone;
        }
        self.ensure(HEADER).await?;
        Header::read(&self.inbox)
    }

    /// Waits for the first `len` bytes of the body of the message whose header was read last.
    pub(super) async fn body(&mut self, len: usize) -> io::Result<()> {
        self.ensure(HEADER + len).await?;
        self.current = HEADER + len;
        Ok(())
    }

    /// The bytes that [`Wire::body`] waited for.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.inbox[HEADER.min(self.current)..self.current]
    }

    /// Drops the message whose header was read last: bytes that [`Wire::body`] did not wait for are not kept. They are not
    /// read until the next message is requested; until then a server with much to send waits.
    pub(super) fn skip(&mut self, header: Header) {
        self.unwanted = HEADER + header.len - self.current;
        self.leave_current();
    }

    fn leave_current(&mut self) {
        self.inbox.advance(self.current);
        self.current = 0;
        if self.inbox.is_empty() && self.inbox.capacity() > LARGE_CAPACITY {
            self.inbox = BytesMut::with_capacity(READ_CHUNK);
        }
    }

    /// Frees the memory that a large request or answer used.
    pub(super) fn shrink(&mut self) {
        self.leave_current();
        if self.inbox.is_empty() && self.inbox.capacity() > KEPT_CAPACITY {
            self.inbox = BytesMut::with_capacity(READ_CHUNK);
        }
        if self.outbox.is_empty() && self.outbox.capacity() > KEPT_CAPACITY {
            self.outbox = BytesMut::new();
        }
    }

    /// Reads, without waiting, what the server sent unrequested. `None` if it closed the connection.
    pub(super) fn glance(&mut self) -> Option<impl Iterator<Item = u8>> {
        self.leave_current();
        let mut cx = Context::from_waker(Waker::noop());
        // The end comes after what was sent before: the result of a reset, or the notice of a crash.
        for _ in 0..GLANCES {
            self.inbox.reserve(READ_CHUNK);
            match pin!(self.stream.read_buf(&mut self.inbox)).poll(&mut cx) {
                Poll::Ready(Ok(0) | Err(_)) => return None,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        let mut rest = &self.inbox[..];
        Some(std::iter::from_fn(move || {
            let header = Header::read(rest.get(..HEADER)?).ok()?;
            rest = rest.get(HEADER + header.len..).unwrap_or_default();
            Some(header.tag)
        }))
    }

    /// Sends Terminate as far as that is possible without waiting.
    pub(super) fn farewell(&mut self) {
        postgres_protocol::message::frontend::terminate(&mut self.outbox);
        self.poll_write(&mut Context::from_waker(Waker::noop()));
    }

    async fn ensure(&mut self, len: usize) -> io::Result<()> {
        while self.inbox.len() < len {
            self.fill(len - self.inbox.len()).await?;
        }
        Ok(())
    }

    /// Reads at least one byte, with space for `want` bytes, and meanwhile writes what is pending.
    async fn fill(&mut self, want: usize) -> io::Result<()> {
        self.inbox.reserve(want.max(READ_CHUNK));
        poll_fn(|cx| {
            if self.alarm.as_ref().is_some_and(|alarm| alarm.is_over()) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.poll_write(cx);
            match pin!(self.stream.read_buf(&mut self.inbox)).poll(cx) {
                Poll::Ready(Ok(0)) => Poll::Ready(Err(self.closed())),
                Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending if self.alarm.as_ref().is_some_and(|alarm| alarm.poll_over(cx)) => {
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    fn closed(&mut self) -> io::Error {
        let eof = || io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed it");
        self.write_error.take().unwrap_or_else(eof)
    }

    /// Writes as much as the socket accepts. An error is kept until reading ends too.
    fn poll_write(&mut self, cx: &mut Context<'_>) {
        while !self.outbox.is_empty() {
            self.unflushed = true;
            match Pin::new(&mut self.stream).poll_write(cx, &self.outbox) {
                Poll::Ready(Ok(len)) if len > 0 => self.outbox.advance(len),
                Poll::Ready(Ok(_)) => self.fail_write(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Err(error)) => self.fail_write(error),
                Poll::Pending => return,
            }
        }
        if self.outbox.capacity() > LARGE_CAPACITY {
            self.outbox = BytesMut::new();
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => self.fail_write(error),
                Poll::Pending => {}
            }
        }
    }

    fn fail_write(&mut self, error: io::Error) {
        self.outbox.clear();
        self.unflushed = false;
        self.write_error.get_or_insert(error);
    }
}

impl Header {
    /// Parses the first bytes of a message.
    fn read(bytes: &[u8]) -> io::Result<Header> {
        let header = match *bytes {
            [tag, a, b, c, d, ..] => (tag, i32::from_be_bytes([a, b, c, d])),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        // The length includes itself.
        match usize::try_from(header.1).ok().and_then(|len| len.checked_sub(4)) {
            Some(len) => Ok(Header { tag: header.0, len }),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "a message of impossible length")),
        }
    }
}
