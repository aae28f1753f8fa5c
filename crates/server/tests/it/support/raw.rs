//! Clients that send exactly the given input: bytes over a connection, or streams of HTTP/2.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long a test waits for expected data.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connection.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer over such a connection.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub code: u16,
    /// Status line and headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Raw {
    /// Connects to `http://address`.
    pub async fn connect(base: &str) -> Raw {
        let address = base.strip_prefix("http://").expect("an address");
        Raw { stream: TcpStream::connect(address).await.expect("a connection"), read: Vec::new() }
    }

    /// Connects and sends this.
    pub async fn saying(base: &str, text: &str) -> Raw {
        let mut raw = Raw::connect(base).await;
        raw.say(text).await;
        raw
    }

    /// Sends this, as far as the other side accepts it.
    pub async fn say(&mut self, text: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(text.as_ref()).await;
    }

    /// The next answer.
    pub async fn answer(&mut self) -> Answer {
        self.try_answer().await.unwrap_or_else(|| panic!("no answer, but {:?}", String::from_utf8_lossy(&self.read)))
    }

    /// The next answer. `None` if the connection ends before it.
    pub async fn try_answer(&mut self) -> Option<Answer> {
        let end = loop {
            match self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.more().await.then_some(())?,
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).to_lowercase();
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        self.read.drain(..end + 4);
        while self.read.len() < length {
            self.more().await.then_some(())?;
        }
        Some(Answer { code, head, body: self.read.drain(..length).collect() })
    }

    async fn more(&mut self) -> bool {
        let mut space = [0; 16 * 1024];
        let read = timeout(PATIENCE, self.stream.read(&mut space)).await.expect("something in time");
        let count = read.unwrap_or_default();
        self.read.extend_from_slice(&space[..count]);
        count > 0
    }

    /// Waits for the end of the connection and ignores the data before it. Returns how long it took.
    pub async fn end(&mut self) -> Duration {
        let start = Instant::now();
        let mut space = [0; 16 * 1024];
        while timeout(PATIENCE, self.stream.read(&mut space)).await.expect("its end").is_ok_and(|count| count > 0) {}
        start.elapsed()
    }

    /// Waits until the other side has closed the connection, without reading.
    pub async fn until_closed(&mut self) {
        let closed = async {
            while self.stream.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, closed).await.expect("its end");
    }

    /// Whether the connection is still open, as far as is known.
    pub fn is_open(&self) -> bool {
        let mut space = [0; 16 * 1024];
        !matches!(self.stream.try_read(&mut space), Ok(0))
            && !matches!(self.stream.try_read(&mut space), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock)
    }
}

impl Answer {
    /// Fails unless this is an error with that status and code in the usual shape.
    #[track_caller]
    pub fn fault(&self, code: u16, name: &str) {
        let error: Value = serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!((self.code, &error["error"]), (code, &Value::from(name)), "{self:?}");
        let request_id = error["request_id"].as_str().unwrap_or_default();
        assert!(request_id.starts_with("req_"), "{self:?}");
        assert!(self.head.contains(&format!("x-request-id: {request_id}")), "{self:?}");
        assert!(self.head.contains("content-type: application/json"), "{self:?}");
    }
}

/// An HTTP/2 connection.
pub struct Streams {
    /// Sends requests.
    pub requests: SendRequest<Bytes>,
}

impl Streams {
    /// Connects to `http://address`. The server may send this many bytes of an answer before the client reads it.
    pub async fn connect(base: &str, window: u32) -> Streams {
        let address = base.strip_prefix("http://").expect("an address");
        let stream = TcpStream::connect(address).await.expect("a connection");
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(window.max(65_535));
        let (requests, connection) = builder.handshake(stream).await.expect("a handshake");
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Streams { requests }
    }

    /// A request to a path, with these headers.
    pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(format!("http://kith.example{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    /// Sends a request without a body. Returns status, headers and body.
    pub async fn ask(&self, request: Request<()>) -> Result<(u16, HeaderMap, Vec<u8>), h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (response, _) = requests.send_request(request, true)?;
        let (head, mut body) = response.await?.into_parts();
        let mut whole = Vec::new();
        while let Some(part) = body.data().await {
            let part = part?;
            let _ = body.flow_control().release_capacity(part.len());
            whole.extend_from_slice(&part);
        }
        Ok((head.status.as_u16(), head.headers, whole))
    }
}
