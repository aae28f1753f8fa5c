//! A connection's socket. It records reads and writes. The HTTP library answers a head that is too large or not HTTP with an
//! empty error, before there is a request; the socket replaces it with the usual error.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::door::listener::connection::Connection;

/// The start of a header line that all of Kith's answers have and the library's own answers lack.
const OURS: &[u8] = b"\r\nx-request-id:";
/// The start of the library's own refusals.
const REFUSAL: &[u8] = b"HTTP/1.1 4";
/// The most bytes that a client may still send after a refusal, so that it gets to read the refusal.
const PARTING_BYTES: usize = 4 * 1024 * 1024;

/// Returns the bytes of a whole answer with this status.
pub type Refuse = dyn Fn(u16) -> Vec<u8> + Send + Sync;

/// The socket of a connection.
pub struct Socket<S> {
    stream: S,
    connection: Arc<Connection>,
    refuse: Arc<Refuse>,
    /// The bytes that replace a refusal and are not written yet.
    instead: Vec<u8>,
    parting: Option<usize>,
}

impl<S> Socket<S> {
    /// Creates the socket of this connection.
    pub fn new(stream: S, connection: Arc<Connection>, refuse: Arc<Refuse>) -> Socket<S> {
        Socket { stream, connection, refuse, instead: Vec::new(), parting: None }
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(_)) => self.connection.has_written(),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.connection.is_blocked(),
        }
    }
}

/// The status of a refusal that the library itself has written.
fn refusal(head: &[u8]) -> Option<u16> {
    if !head.starts_with(REFUSAL) || !head.ends_with(b"\r\n\r\n") || head.windows(OURS.len()).any(|it| it == OURS) {
        return None;
    }
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// Writes the remaining bytes of the replacement.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.instead);
            self.note(&written);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => drop(self.instead.drain(..count)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Replaces a refusal of the library, which counts as written.
    fn take(&mut self, head: &[u8], status: u16, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.instead = (self.refuse)(status);
        self.parting = Some(0);
        match self.poll_instead(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(head.len())),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.connection.has_read();
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        if let Some(status) = refusal(bytes) {
            return this.take(bytes, status, cx);
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.note(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        if let [head] = slices
            && let Some(status) = refusal(head)
        {
            return this.take(head, status, cx);
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    /// Closes the connection. After a refusal, the rest of the client's input is read first, within bounds. If a connection is
    /// closed before its input is read, it is reset, and the client may never read the refusal.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        let Some(mut thrown_away) = this.parting else { return Poll::Ready(Ok(())) };
        if thrown_away == 0 {
            this.connection.is_parting();
        }
        let mut space = [0; 4096];
        while thrown_away <= PARTING_BYTES {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => thrown_away += buffer.filled().len(),
                Poll::Ready(_) => break,
                Poll::Pending => {
                    this.parting = Some(thrown_away);
                    return Poll::Pending;
                }
            }
        }
        this.parting = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn only_what_the_library_says_by_itself_is_replaced() {
        let check = |head: &str, status| assert_eq!(refusal(head.as_bytes()), status, "{head}");
        let own = "connection: close\r\ncontent-length: 0\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
        check(&format!("HTTP/1.1 414 URI Too Long\r\n{own}"), Some(414));
        check(&format!("HTTP/1.1 400 Bad Request\r\n{own}"), Some(400));
        check(&format!("HTTP/1.1 405 Method Not Allowed\r\nx-request-id: req_1\r\n{own}"), None);
        check(&format!("HTTP/1.1 200 OK\r\n{own}"), None);
        check("HTTP/1.1 100 Continue\r\n\r\n", None);
        check("HTTP/1.1 404 Not Found\r\n\r\n{}", None);
        check("HTTP/1.1 4", None);
    }
}
