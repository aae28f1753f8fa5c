//! A reader of the stream of events.

use std::time::Duration;

use serde_json::Value;

use super::{Agent, parse};

/// How long a test waits for the next event.
const PATIENCE: Duration = Duration::from_secs(60);

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
