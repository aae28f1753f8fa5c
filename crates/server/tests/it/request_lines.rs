//! Random byte streams through the code that escapes request lines, checked against the expected output and against the HTTP
//! parser behind it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kith::door::request_line::Forgiving;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// A connection that returns these pieces, one per read, and accepts all writes.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    /// The number of bytes returned.
    given: Arc<Mutex<usize>>,
}

impl Pieces {
    /// A stream cut at some positions.
    fn cut(stream: &[u8], cuts: &[prop::sample::Index]) -> Pieces {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([stream.len()]).collect();
        places.sort_unstable();
        let mut begin = 0;
        let mut pieces = VecDeque::new();
        for end in places {
            pieces.push_back(stream[begin..end].to_vec());
            begin = end;
        }
        // A read that returns nothing is the end.
        pieces.retain(|piece| !piece.is_empty());
        Pieces { pieces, given: Arc::default() }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(mut piece) = this.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            *this.given.lock().expect("the count") += piece.len();
            if !rest.is_empty() {
                this.pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The output, read with buffers of some size. At most one read is held back.
fn read(pieces: Pieces, room: usize) -> Result<Vec<u8>, TestCaseError> {
    let (given, mut found, mut buffer) = (pieces.given.clone(), Vec::new(), vec![0; room]);
    let mut stream = Forgiving::new(pieces);
    loop {
        let length = stream.read(&mut buffer).now_or_never().expect("these reads never wait").expect("nor fail");
        if length == 0 {
            return Ok(found);
        }
        found.extend_from_slice(&buffer[..length]);
        let given = *given.lock().expect("the count");
        prop_assert!(given <= found.len() + room, "{given} bytes were taken in, {} given out", found.len());
    }
}

fn escaped(line: &str) -> String {
    line.replace('<', "%3C").replace('>', "%3E").replace('"', "%22")
}

/// Possible contents of a body or header: requests, line ends, bytes that are not text.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"GET /<a> HTTP/1.1\r\n",
        b"Host: \"<b>\"\r\n",
        b"Content-Length: 5\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"<",
        b">",
        b"\"",
        b" ",
        b"a",
        b":",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"\xff",
        b"\0",
        b"PRI * HTTP/2.0\r\n\r\n",
    ];
    vec(select(pieces), 0..8).prop_map(|pieces| pieces.concat())
}

fn line_end() -> impl Strategy<Value = &'static str> {
    select(vec!["\r\n", "\r\n", "\r\n", "\n"])
}

fn request_line() -> impl Strategy<Value = String> {
    let target =
        vec(select(vec!["<", ">", "\"", "a", "%3C", "[", "?", "=", "é", "/", "Content-Length: 3", "&"]), 0..30);
    (select(vec!["GET", "POST", "PATCH", "DELETE"]), target)
        .prop_map(|(method, target)| format!("{method} /{} HTTP/1.1", target.concat()))
}

fn headers() -> impl Strategy<Value = Vec<String>> {
    let header = prop_oneof![
        Just("Host: a".to_owned()),
        Just("X-Words: \"<b>\" Content-Length: 7".to_owned()),
        Just("X-Content-Length: 9".to_owned()),
        "[a-z]{1,80}: [ -~]{0,100}".prop_map(|line| format!("x-{line}")),
    ];
    vec(header, 0..4)
}

/// A plain request: the input and the expected output.
fn plain() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let length = select(vec!["Content-Length: ", "content-length:", "CONTENT-LENGTH:\t ", "Content-Length: 000"]);
    let body = prop_oneof![Just(None), (length, noise()).prop_map(Some)];
    (vec(line_end(), 0..2), request_line(), headers(), headers(), body, line_end()).prop_map(
        |(before, line, headers, more, body, end)| {
            let mut sent = before.concat();
            let mut expected = sent.clone();
            sent.push_str(&line);
            expected.push_str(&escaped(&line));
            let (length, body) =
                body.map_or((None, Vec::new()), |(name, body)| (Some(format!("{name}{}", body.len())), body));
            let lines = headers.into_iter().chain(length).chain(more).chain([String::new()]);
            let rest: String = [String::new()].into_iter().chain(lines).collect::<Vec<_>>().join(end) + end;
            ([sent.as_bytes(), rest.as_bytes(), &body].concat(), [expected.as_bytes(), rest.as_bytes(), &body].concat())
        },
    )
}

/// The head of a request after which nothing is changed any more.
fn not_plain() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let odd = select(vec![
        "Transfer-Encoding: chunked",
        "transfer-encoding:identity",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\ncontent-length: 2",
        "Content-Length: -1",
        "Content-Length: 0x1",
        "Content-Length: 1_0",
        "Content-Length:",
        "Content-Length : 1",
        "Content-Length                                                                : 1",
        " Content-Length: 1",
        "Content-Length: 18446744073709551617",
        "Upgrade: websocket",
        "no header",
    ]);
    (request_line(), odd).prop_map(|(line, odd)| {
        let head = |line: &str| format!("{line}\r\n{odd}\r\n\r\n").into_bytes();
        (head(&line), head(&escaped(&line)))
    })
}

/// A connection: the input and the expected output.
fn stream() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let end = prop_oneof![Just(None), (not_plain(), noise()).prop_map(Some)];
    (vec(plain(), 0..5), end).prop_map(|(requests, end)| {
        let (mut sent, mut expected): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        if let Some(((head, out), noise)) = end {
            sent.extend([head, noise.clone()]);
            expected.extend([out, noise]);
        }
        (sent.concat(), expected.concat())
    })
}

/// Streams that are nearly valid, for comparison with the parser.
fn rough() -> impl Strategy<Value = Vec<u8>> {
    let chunked = noise().prop_map(|body| {
        let head = "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        [format!("{head}{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat()
    });
    let whole = Just(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    vec(prop_oneof![2 => plain().prop_map(|(sent, _)| sent), 2 => whole, 2 => chunked, 1 => noise()], 0..6)
        .prop_map(|pieces| pieces.concat())
}

type Seen = (String, String, Vec<u8>);

/// The requests on a connection that the HTTP parser sees completely.
async fn seen(connection: impl AsyncRead + AsyncWrite + Unpin) -> Vec<Seen> {
    let all = Mutex::new(Vec::new());
    let service = service_fn(async |request: Request<Incoming>| {
        // In some places the parser accepts bytes that are escaped.
        let (method, address) = (request.method().to_string(), escaped(&request.uri().to_string()));
        if let Ok(body) = request.into_body().collect().await {
            all.lock().expect("the requests").push((method, address, body.to_bytes().to_vec()));
        }
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    // However the connection ends, the requests seen so far count.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
    all.into_inner().expect("the requests")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn request_lines_are_escaped_and_nothing_else_is_changed((sent, expected) in stream()) {
        let found = read(Pieces::cut(&sent, &[]), sent.len().max(1))?;
        prop_assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn how_a_stream_is_cut_and_read_makes_no_difference(
        sent in prop_oneof![stream().prop_map(|(sent, _)| sent), rough()],
        cuts in vec(any::<prop::sample::Index>(), 0..40),
        room in 1_usize..80,
    ) {
        let whole = read(Pieces::cut(&sent, &[]), sent.len().max(1))?;
        prop_assert_eq!(read(Pieces::cut(&sent, &cuts), room)?, whole.clone());
        prop_assert_eq!(read(Pieces::cut(&sent, &[]), 1)?, whole);
    }

    /// A request that the parser accepts unescaped reaches it unchanged.
    #[test]
    fn the_parser_sees_the_same_requests(sent in rough(), cuts in vec(any::<prop::sample::Index>(), 0..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (plain, through) = runtime.block_on(async {
            (seen(Pieces::cut(&sent, &[])).await, seen(Forgiving::new(Pieces::cut(&sent, &cuts))).await)
        });
        prop_assert!(through.len() >= plain.len() && through[..plain.len()] == plain, "{plain:?}\n{through:?}");
    }
}
