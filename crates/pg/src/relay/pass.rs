//! Forwards bytes between a client and its session, in both directions, without parsing them.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;

use super::client::Client;

/// Size of the buffer for the client, in bytes. PostgreSQL sends 8 KiB at a time.
const TO_CLIENT: usize = 32 * 1024;
/// Size of the buffer for the server, in bytes.
const TO_SERVER: usize = 16 * 1024;
/// How long the end of the connection may take after the session has ended.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// Forwards bytes until the session ends or the client disconnects. When the client stops sending, the server is told.
pub(super) async fn pass(client: &mut Client, server: &mut UnixStream) -> io::Result<()> {
    let (mut to_server, mut to_client) = (Flow::new(TO_SERVER), Flow::new(TO_CLIENT));
    let mut has_client_ended = false;
    poll_fn(|cx| {
        // Even if this direction has failed, the client receives what the server still sends.
        if !has_client_ended && to_server.poll(cx, client, server).is_ready() {
            has_client_ended = true;
            let _ = Pin::new(&mut *server).poll_shutdown(cx);
        }
        to_client.poll(cx, server, client)
    })
    .await?;
    tokio::time::timeout(LAST_BYTES, client.shutdown()).await.unwrap_or(Ok(()))
}

/// Tells the server that the client has disconnected, and waits until the server's process has ended.
pub(super) async fn end(mut server: UnixStream) {
    // The embedded server checks for this every two seconds while it runs a statement.
    let _ = server.shutdown().await;
    let mut ignored = vec![0; 8 * 1024];
    while let Ok(1..) = server.read(&mut ignored).await {}
}

/// One direction.
struct Flow {
    buffer: Box<[u8]>,
    /// The bytes from here to `end` are still to be written.
    start: usize,
    end: usize,
    is_unflushed: bool,
    has_ended: bool,
}

impl Flow {
    fn new(size: usize) -> Flow {
        Flow { buffer: vec![0; size].into(), start: 0, end: 0, is_unflushed: false, has_ended: false }
    }

    /// Moves as many bytes as possible. Ready when the reader has ended and everything is written.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        loop {
            while self.start < self.end {
                let len = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer[self.start..self.end]))?;
                if len == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.start += len;
                self.is_unflushed = true;
            }
            if !self.has_ended {
                let mut room = ReadBuf::new(&mut self.buffer);
                if let Poll::Ready(read) = Pin::new(&mut *from).poll_read(cx, &mut room) {
                    read?;
                    (self.start, self.end) = (0, room.filled().len());
                    self.has_ended = self.end == 0;
                    continue;
                }
            }
            if self.is_unflushed {
                ready!(Pin::new(&mut *to).poll_flush(cx))?;
                self.is_unflushed = false;
            }
            return if self.has_ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flow_ends_when_everything_is_written() {
        let (mut from, mut filled) = tokio::io::duplex(64);
        let (mut to, mut read) = tokio::io::duplex(16);
        let text: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let expected = text.clone();
        let write = async move {
            filled.write_all(&text).await.unwrap();
            drop(filled);
        };
        let pass = async move {
            let mut flow = Flow::new(100);
            poll_fn(|cx| flow.poll(cx, &mut from, &mut to)).await.unwrap();
        };
        let read = async {
            let mut all = Vec::new();
            read.read_to_end(&mut all).await.unwrap();
            all
        };
        let ((), (), all) = tokio::join!(write, pass, read);
        assert!(all == expected);
    }
}
