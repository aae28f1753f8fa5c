//! A client that sends exactly the given bytes, and may then send nothing more.

use std::net::SocketAddr;
use std::time::Duration;

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any step of these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that sends raw bytes.
pub struct Raw {
    pub stream: TcpStream,
    /// The process id and key, after the log-in.
    pub key: Vec<u8>,
}

/// A startup packet with these parameters.
pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    packet(&body)
}

/// A packet without a tag.
pub fn packet(body: &[u8]) -> Vec<u8> {
    [&(4 + body.len() as u32).to_be_bytes()[..], body].concat()
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        Raw { stream: TcpStream::connect(address).await.expect("a listener"), key: Vec::new() }
    }

    /// An unfinished log-in: the server has requested the password.
    pub async fn begin(address: SocketAddr, user: &str) -> Raw {
        let mut raw = Raw::send(address, &startup(&[("user", user), ("database", "postgres")])).await;
        let (tag, body) = raw.message().await.expect("an answer");
        assert_eq!((tag, &body[..4]), (b'R', &[0, 0, 0, 10][..]), "{}", String::from_utf8_lossy(&body));
        raw
    }

    /// A connection over which these bytes were sent.
    pub async fn send(address: SocketAddr, bytes: &[u8]) -> Raw {
        let mut raw = Raw::connect(address).await;
        raw.stream.write_all(bytes).await.expect("somebody who reads");
        raw
    }

    /// A session that has logged in.
    pub async fn log_in(address: SocketAddr, user: &str, password: &str) -> Raw {
        let mut raw = Raw::begin(address, user).await;
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let mut out = bytes::BytesMut::new();
        frontend::sasl_initial_response("SCRAM-SHA-256", scram.message(), &mut out).expect("a message");
        raw.stream.write_all(&out).await.expect("somebody who reads");
        let (_, challenge) = raw.message().await.expect("a challenge");
        scram.update(&challenge[4..]).expect("a challenge that fits");
        out.clear();
        frontend::sasl_response(scram.message(), &mut out).expect("a message");
        raw.stream.write_all(&out).await.expect("somebody who reads");
        loop {
            match raw.message().await.expect("a welcome") {
                (b'Z', _) => return raw,
                (b'K', key) => raw.key = key,
                (b'E', body) => panic!("{}", String::from_utf8_lossy(&body)),
                _ => {}
            }
        }
    }

    /// Sends a query.
    pub async fn ask(&mut self, sql: &str) {
        let mut out = bytes::BytesMut::new();
        frontend::query(sql, &mut out).expect("a message");
        self.stream.write_all(&out).await.expect("somebody who reads");
    }

    /// The next message. `None` if the connection has ended.
    pub async fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let tag = self.stream.read_u8().await.ok()?;
            let len = self.stream.read_u32().await.ok()? as usize - 4;
            let mut body = vec![0; len];
            self.stream.read_exact(&mut body).await.ok()?;
            Some((tag, body))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer or an end")
    }

    /// The SQLSTATE and the message of the next error. `closed` if the connection ends without one.
    pub async fn refusal(&mut self) -> String {
        loop {
            match self.message().await {
                Some((b'E', body)) => {
                    let fields = body.split(|byte| *byte == 0).map(String::from_utf8_lossy);
                    let field = |tag| fields.clone().find_map(|field| Some(field.strip_prefix(tag)?.to_owned()));
                    assert_eq!(field('V').as_deref(), Some("FATAL"));
                    return format!("{} {}", field('C').unwrap_or_default(), field('M').unwrap_or_default());
                }
                Some(_) => {}
                None => return "closed".into(),
            }
        }
    }

    /// Whether the other side has already closed the connection.
    pub async fn is_closed(&mut self) -> bool {
        let read = self.stream.read_u8();
        matches!(tokio::time::timeout(Duration::from_millis(1), read).await, Ok(Err(_)))
    }

    /// Waits for the end of the connection. Returns how long it took.
    pub async fn end(&mut self) -> Duration {
        let start = std::time::Instant::now();
        while self.message().await.is_some() {}
        start.elapsed()
    }
}
