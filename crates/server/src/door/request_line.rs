//! Request lines that are not quite right. curl sends `?filter[metadata->>plan]=pro` as it was typed, and the HTTP parser
//! refuses `>` in an address (RFC 3986 wants it escaped), with an empty 400. Here such characters are escaped on their way in.
//!
//! A request line is known by its beginning, where what was read begins. One that stands elsewhere (a client that sends
//! requests before it has the answers) is left as it is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a request line begins with, up to its address.
const BEGINNINGS: &[&[u8]] = &[b"GET /", b"HEAD /", b"POST /", b"PUT /", b"PATCH /", b"DELETE /"];

/// A connection whose request lines are put right.
pub struct Forgiving<S> {
    stream: S,
    state: State,
    /// What was read and escaped, and did not fit.
    rest: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// What is read next may begin a request.
    Between,
    /// Within a request line.
    Line,
    /// HTTP/2, which has no such lines.
    Never,
}

impl<S> Forgiving<S> {
    /// A connection of which nothing was read.
    pub fn new(stream: S) -> Forgiving<S> {
        Forgiving { stream, state: State::Between, rest: Vec::new() }
    }

    /// Escapes what was read, if it belongs to a request line that needs it.
    fn escape(&mut self, read: &[u8]) -> Option<Vec<u8>> {
        self.state = match self.state {
            State::Between if read.starts_with(b"PRI * HTTP/2") => State::Never,
            State::Between if BEGINNINGS.iter().any(|beginning| read.starts_with(beginning)) => State::Line,
            state => state,
        };
        if self.state != State::Line {
            return None;
        }
        let end = read.iter().position(|byte| *byte == b'\n');
        if end.is_some() {
            self.state = State::Between;
        }
        let (line, after) = read.split_at(end.unwrap_or(read.len()));
        if !line.iter().any(|byte| matches!(byte, b'<' | b'>' | b'"')) {
            return None;
        }
        let mut escaped = Vec::with_capacity(read.len() + 16);
        for byte in line {
            match byte {
                b'<' => escaped.extend_from_slice(b"%3C"),
                b'>' => escaped.extend_from_slice(b"%3E"),
                b'"' => escaped.extend_from_slice(b"%22"),
                _ => escaped.push(*byte),
            }
        }
        escaped.extend_from_slice(after);
        Some(escaped)
    }

    fn give_rest(&mut self, buffer: &mut ReadBuf<'_>) {
        let fits = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..fits]);
        self.rest.drain(..fits);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Forgiving<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            let Some(escaped) = this.escape(&buffer.filled()[before..]) else { return Poll::Ready(Ok(())) };
            buffer.set_filled(before);
            this.rest = escaped;
        }
        this.give_rest(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Forgiving<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What comes out where each piece is read by itself, `room` bytes at a time.
    async fn read(pieces: &[&str], room: usize) -> String {
        let (mut client, server) = duplex(4096);
        let (mut server, mut found) = (Forgiving::new(server), Vec::new());
        for piece in pieces {
            client.write_all(piece.as_bytes()).await.unwrap();
            let mut buffer = vec![0; room];
            while let Some(len) = server.read(&mut buffer).now_or_never() {
                found.extend_from_slice(&buffer[..len.unwrap()]);
            }
        }
        String::from_utf8(found).unwrap()
    }

    #[tokio::test]
    async fn an_address_is_escaped_and_nothing_else() {
        let rest = "Host: a\r\nX-Words: \"<b>\"\r\n\r\n{\"a\": \"<>\"}";
        let given = format!("GET /v1/contacts?filter[metadata->>\"plan\"]=<pro> HTTP/1.1\r\n{rest}");
        let expected = format!("GET /v1/contacts?filter[metadata-%3E%3E%22plan%22]=%3Cpro%3E HTTP/1.1\r\n{rest}");
        assert_eq!(read(&[&given], 4096).await, expected);
        assert_eq!(read(&[&given, &given], 4096).await, expected.repeat(2));
        assert_eq!(read(&[&given], 50).await, expected, "what does not fit comes next");
        let (begin, end) = given.split_at(40);
        assert_eq!(read(&[begin, end], 4096).await, expected);
    }

    #[tokio::test]
    async fn what_is_no_request_line_stays_as_it_is() {
        for given in [
            "{\"a\": \"<b>\"}",
            "GET <b> HTTP/1.1\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "POST /v1/sql HTTP/1.1\r\n\r\n<>",
        ] {
            assert_eq!(read(&[given], 4096).await, given);
        }
        let two = ["PRI * HTTP/2.0\r\n\r\n", "GET /<> HTTP/1.1\r\n"];
        assert_eq!(read(&two, 4096).await, two.concat());
    }
}
