//! A reader of the stream of events.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::{Agent, parse};

/// How long a test waits for the next event.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a reader waits before it comes back.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// An open stream of events.
pub struct StreamReader {
    response: reqwest::Response,
    text: String,
}

/// An event of a stream.
#[derive(Debug)]
pub struct StreamedEvent {
    /// Its cursor.
    pub id: String,
    /// Its type.
    pub event: String,
    /// Its body.
    pub data: Value,
}

impl StreamReader {
    /// Opens the stream at this address, after the event with the id `last`.
    pub async fn open(agent: &Agent, base: &str, query: &str, last: Option<&str>) -> StreamReader {
        StreamReader::try_open(agent, base, query, last).await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same, for a server that may not answer.
    pub async fn try_open(agent: &Agent, base: &str, query: &str, last: Option<&str>) -> Result<StreamReader, String> {
        kith::http_client::use_ring();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let mut request = client
            .get(format!("{base}/v1/events{query}"))
            .bearer_auth(&agent.key)
            .header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.map_err(|error| error.to_string())?;
        if response.status() != 200 {
            return Err(format!("{}: {}", response.status(), response.text().await.unwrap_or_default()));
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Ok(StreamReader { response, text: String::new() })
    }

    /// Reads the stream, and goes on after the last event when it ends, at the address that the server then has. Tells the ids of the
    /// events.
    pub async fn follow(agent: Agent, base: watch::Receiver<String>, query: &str, seen: watch::Sender<Vec<String>>) {
        let mut last: Option<String> = None;
        loop {
            let base = base.borrow().clone();
            if let Ok(mut stream) = StreamReader::try_open(&agent, &base, query, last.as_deref()).await {
                while let Ok(next) = stream.try_next().await {
                    let Some(event) = next else { continue };
                    last = Some(event.id);
                    let id = event.data["id"].as_str().expect("an id").to_owned();
                    seen.send_modify(|seen| seen.push(id));
                }
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    /// The next event. `None` for a comment.
    pub async fn next(&mut self) -> Option<StreamedEvent> {
        self.try_next().await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same, for a stream that may end.
    pub async fn try_next(&mut self) -> Result<Option<StreamedEvent>, String> {
        let block = loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                break block;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.map_err(|_| "nothing came")?;
            let chunk = chunk.map_err(|error| error.to_string())?.ok_or("the stream has ended")?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        };
        if block.starts_with(':') {
            return Ok(None);
        }
        let field = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {name} in {block}")).to_owned()
        };
        Ok(Some(StreamedEvent { id: field("id"), event: field("event"), data: parse(&field("data")) }))
    }
}
