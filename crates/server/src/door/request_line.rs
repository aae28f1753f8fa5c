//! Tolerates slightly invalid request lines. curl and Go send `?filter[metadata->>plan]=pro` as it was typed, and the HTTP
//! parser refuses `>` in an address with an empty 400, because RFC 3986 requires it to be escaped. Such characters are escaped
//! here before the parser reads them.
//!
//! Only request lines may be changed. If a part of a body were taken for a request line, the body would end elsewhere, and the
//! rest of it would become the next request on a connection that several clients may share. So each request is followed to its
//! end. If its end is not certain (chunks, two lengths, HTTP/2, an upgrade), the rest of the connection is left unchanged.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes of a line that are kept: enough for the name and value of a header that gives a body's length.
const LOOKED_AT: usize = 64;

/// A connection whose request lines are corrected.
pub struct Forgiving<S> {
    stream: S,
    requests: Requests,
    /// Bytes that were read and escaped but did not fit into the reader's buffer.
    rest: Vec<u8>,
}

impl<S> Forgiving<S> {
    /// Wraps a connection of which nothing was read yet.
    pub fn new(stream: S) -> Forgiving<S> {
        let requests = Requests { position: Position::RequestLine, line: [0; LOOKED_AT], seen: 0, length: None };
        Forgiving { stream, requests, rest: Vec::new() }
    }

    fn give_rest(&mut self, buffer: &mut ReadBuf<'_>) {
        let fits = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..fits]);
        self.rest.drain(..fits);
    }
}

/// Tracks the requests of a connection.
struct Requests {
    position: Position,
    /// The start of the current line, and the line's length so far.
    line: [u8; LOOKED_AT],
    seen: usize,
    /// The length of the body that follows the headers, once they give it.
    length: Option<u64>,
}

/// The position in a connection's requests.
#[derive(Clone, Copy, PartialEq)]
enum Position {
    /// In a request line, or before one.
    RequestLine,
    /// In the header lines after it.
    Headers,
    /// This many bytes before the end of a body.
    Body(u64),
    /// In input that is not tracked any more.
    Beyond,
}

impl Requests {
    /// Returns the input with its request lines escaped, or nothing if it needs no change.
    fn escape(&mut self, read: &[u8]) -> Option<Vec<u8>> {
        let mut escaped: Option<Vec<u8>> = None;
        let mut at = 0;
        while at < read.len() {
            let rest = &read[at..];
            let len = match self.position {
                Position::Beyond => rest.len(),
                Position::Body(left) => rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
                Position::RequestLine | Position::Headers => {
                    rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1)
                }
            };
            let part = &rest[..len];
            if self.position == Position::RequestLine && part.iter().any(|byte| escape_of(*byte).is_some()) {
                let out = escaped.get_or_insert_with(|| read[..at].to_vec());
                part.iter().for_each(|byte| match escape_of(*byte) {
                    Some(escape) => out.extend_from_slice(escape),
                    None => out.push(*byte),
                });
            } else if let Some(out) = &mut escaped {
                out.extend_from_slice(part);
            }
            self.pass(part);
            at += len;
        }
        escaped
    }

    /// Moves past a part of a line or body.
    fn pass(&mut self, part: &[u8]) {
        match self.position {
            Position::Beyond => {}
            Position::Body(left) => {
                let left = left - part.len() as u64;
                self.position = if left == 0 { Position::RequestLine } else { Position::Body(left) };
            }
            Position::RequestLine | Position::Headers => {
                let more = part.len().min(LOOKED_AT - self.seen);
                self.line[self.seen..self.seen + more].copy_from_slice(&part[..more]);
                self.seen += more;
                if part.last() == Some(&b'\n') {
                    let (line, seen) = (self.line, self.seen);
                    self.seen = 0;
                    self.position = self.end_of_line(line[..seen].trim_ascii_end());
                }
            }
        }
    }

    /// The position after a line.
    fn end_of_line(&mut self, line: &[u8]) -> Position {
        match (self.position, line) {
            // Empty lines before a request line are skipped.
            (Position::RequestLine, []) => Position::RequestLine,
            (Position::RequestLine, line) if line.starts_with(b"PRI ") || line.starts_with(b"CONNECT ") => {
                Position::Beyond
            }
            (Position::RequestLine, _) => Position::Headers,
            (_, []) => match self.length.take() {
                None | Some(0) => Position::RequestLine,
                Some(length) => Position::Body(length),
            },
            (_, line) => match self.header(line) {
                Some(()) => Position::Headers,
                None => Position::Beyond,
            },
        }
    }

    /// Reads a header. Returns `None` if the end of the request is no longer certain.
    fn header(&mut self, line: &[u8]) -> Option<()> {
        let Some(end) = line.iter().position(|byte| *byte == b':') else {
            // The name is longer than the names of the relevant headers.
            return (line.len() == LOOKED_AT && line.iter().all(u8::is_ascii_graphic)).then_some(());
        };
        let name = &line[..end];
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(&line[end + 1..]).ok()?.trim();
            let is_plain = self.length.is_none()
                && line.len() < LOOKED_AT
                && digits.len() < 16
                && digits.bytes().all(|it| it.is_ascii_digit());
            self.length = Some(digits.parse().ok().filter(|_| is_plain)?);
        }
        let is_plain = name.first().is_some_and(|first| !first.is_ascii_whitespace())
            && name.last().is_some_and(|last| !last.is_ascii_whitespace());
        let elsewhere = ["transfer-encoding", "upgrade"].iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()));
        (is_plain && !elsewhere).then_some(())
    }
}

fn escape_of(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'<' => Some(b"%3C"),
        b'>' => Some(b"%3E"),
        b'"' => Some(b"%22"),
        _ => None,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Forgiving<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            let Some(escaped) = this.requests.escape(&buffer.filled()[before..]) else { return Poll::Ready(Ok(())) };
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
    use tokio::task::unconstrained;

    use super::*;

    /// The output if each piece is read separately, `room` bytes at a time.
    async fn read(pieces: &[&str], room: usize) -> String {
        let (mut client, server) = duplex(4096);
        let (mut server, mut found) = (Forgiving::new(server), Vec::new());
        for piece in pieces {
            client.write_all(piece.as_bytes()).await.unwrap();
            let mut buffer = vec![0; room];
            while let Some(len) = unconstrained(server.read(&mut buffer)).now_or_never() {
                found.extend_from_slice(&buffer[..len.unwrap()]);
            }
        }
        String::from_utf8(found).unwrap()
    }

    /// Checks that the output is the same however the input is split.
    async fn check(given: &str, expected: &str) {
        assert_eq!(read(&[given], 4096).await, expected);
        assert_eq!(read(&[given], 7).await, expected, "what does not fit comes next");
        for cut in 1..given.len() {
            let (begin, end) = given.split_at(cut);
            assert_eq!(read(&[begin, end], 4096).await, expected, "cut at {cut}");
        }
    }

    const GET: &str =
        "GET /v1/contacts?filter[metadata->>\"plan\"]=<pro> HTTP/1.1\r\nHost: a\r\nX-Words: \"<b>\"\r\n\r\n";
    const ESCAPED: &str =
        "GET /v1/contacts?filter[metadata-%3E%3E%22plan%22]=%3Cpro%3E HTTP/1.1\r\nHost: a\r\nX-Words: \"<b>\"\r\n\r\n";

    #[tokio::test]
    async fn addresses_are_escaped_one_request_after_the_other() {
        check(GET, ESCAPED).await;
        check(&GET.repeat(3), &ESCAPED.repeat(3)).await;
        check(&format!("\r\n\r\n{GET}\r\n{GET}"), &format!("\r\n\r\n{ESCAPED}\r\n{ESCAPED}")).await;
        check(&GET.replace('\r', ""), &ESCAPED.replace('\r', "")).await;
    }

    #[tokio::test]
    async fn a_body_stays_as_it_is_whatever_it_looks_like() {
        for body in [GET, "<>", "\r\n\r\n<>", "{\"a\": \"<b>\"}"] {
            for name in ["Content-Length", "content-length", "CONTENT-LENGTH"] {
                let post = format!("POST /v1/sql HTTP/1.1\r\nHost: a\r\n{name}: {}\r\n\r\n{body}", body.len());
                check(&format!("{post}{GET}"), &format!("{post}{ESCAPED}")).await;
            }
        }
        let empty = "POST /v1/x HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
        check(&format!("{empty}{GET}"), &format!("{empty}{ESCAPED}")).await;
    }

    #[tokio::test]
    async fn what_is_not_plain_is_left_alone_from_there_on() {
        for headers in [
            "Transfer-Encoding: chunked",
            "transfer-encoding: identity",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: +1",
            "Content-Length: 1, 1",
            "Content-Length: 99999999999999999999",
            "Content-Length : 1",
            "Content-Length:\t1\r\n 2",
            "Content-Length:                                                                  1",
            "Upgrade: websocket",
            "no header at all",
        ] {
            let given = format!("POST /v1/x HTTP/1.1\r\n{headers}\r\n\r\nx{GET}{GET}");
            check(&given, &given).await;
        }
        for first in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n\r\n"] {
            let given = format!("{first}{GET}");
            check(&given, &given).await;
        }
    }
}
