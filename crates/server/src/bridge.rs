//! `kith mcp`: MCP over standard input and output, for clients that start their servers as programs. Each line is a message, which
//! is sent to `/mcp` of a Kith; each answer is a line. It knows nothing of tools.

use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Response, Url, header};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use crm::model::email::MAX_SENDING_BODY_BYTES;

use crate::config::Bridge;
use crate::http_client::{client_within, with_causes};

/// The longest message, in bytes. It is the largest body that the tools take.
const MOST_BYTES: usize = MAX_SENDING_BODY_BYTES;
/// How long an answer may take. A statement has 30 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// Requests that wait for their answers at the same time.
const MOST_AT_ONCE: usize = 16;

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
/// The code of an answer that is not one of MCP: no connection, a wrong key, too many requests.
const NO_ANSWER: i64 = -32000;

/// Runs until standard input ends and all requests are answered.
pub async fn run(bridge: Bridge) -> Result<(), String> {
    let key = bridge.key_text().ok_or("KITH_KEY is not set. It is the API key with which requests are made.")?;
    let url = bridge.address()?;
    let mut key = header::HeaderValue::try_from(format!("Bearer {key}"))
        .map_err(|_| "KITH_KEY has characters that an API key has not.".to_owned())?;
    key.set_sensitive(true);
    let kith = Arc::new(RemoteKith { client: client_within(ANSWER_LIMIT)?, url, key, agent: Mutex::default() });
    serve(&kith, lines()).await
}

async fn serve(kith: &Arc<RemoteKith>, mut lines: mpsc::Receiver<io::Result<InputLine>>) -> Result<(), String> {
    let (places, mut tasks) = (Arc::new(Semaphore::new(MOST_AT_ONCE)), JoinSet::new());
    let mut running: HashMap<String, AbortHandle> = HashMap::new();
    while let Some(line) = lines.recv().await {
        let message = match line.map_err(|error| format!("can't read standard input: {error}"))? {
            InputLine::Whole(bytes) if bytes.trim_ascii().is_empty() => continue,
            InputLine::Whole(bytes) => match serde_json::from_slice::<Value>(&bytes) {
                Ok(message) => message,
                Err(error) => {
                    write(&error_of(&Value::Null, PARSE_ERROR, &format!("The line is not valid JSON: {error}.")))?;
                    continue;
                }
            },
            InputLine::TooLong => {
                let message = format!("A message has at most {MOST_BYTES} bytes.");
                write(&error_of(&Value::Null, INVALID_REQUEST, &message))?;
                continue;
            }
        };
        if message["method"] == "notifications/cancelled" {
            // Its connection ends, as if the client had gone. A cancelled request has no answer.
            if let Some(task) = running.remove(&message["params"]["requestId"].to_string()) {
                task.abort();
            }
            continue;
        }
        running.retain(|_, task| !task.is_finished());
        let place = places.clone().acquire_owned().await.map_err(|error| error.to_string())?;
        let (kith, id) = (kith.clone(), message.get("id").map(Value::to_string));
        let task = tasks.spawn(async move {
            let _place = place;
            kith.answer(&message).await.map_or(Ok(()), |answer| write(&answer))
        });
        if let Some(id) = id {
            running.insert(id, task);
        }
        while let Some(done) = tasks.try_join_next() {
            done.unwrap_or(Ok(()))?;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap_or(Ok(()))?;
    }
    Ok(())
}

/// A line of standard input.
enum InputLine {
    /// The line, with or without its end.
    Whole(Vec<u8>),
    /// A line that is longer than a message can be.
    TooLong,
}

/// Reads standard input in a thread of its own, because reading blocks.
fn lines() -> mpsc::Receiver<io::Result<InputLine>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(line) = next_line(&mut input).transpose() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn next_line(input: &mut impl BufRead) -> io::Result<Option<InputLine>> {
    let mut line = Vec::new();
    let read = input.by_ref().take(MOST_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.len() <= MOST_BYTES || line.ends_with(b"\n") {
        return Ok(Some(InputLine::Whole(line)));
    }
    input.skip_until(b'\n')?;
    Ok(Some(InputLine::TooLong))
}

/// The Kith to which messages are sent.
struct RemoteKith {
    client: Client,
    url: Url,
    key: header::HeaderValue,
    /// The client's name and version, from its `initialize`.
    agent: Mutex<Option<String>>,
}

impl RemoteKith {
    /// Sends a message. Returns the answer; `None` if the message needs none.
    async fn answer(&self, message: &Value) -> Option<Vec<u8>> {
        if message["method"] == "initialize" {
            let client = &message["params"]["clientInfo"];
            let texts = [&client["name"], &client["version"]].map(|it| it.as_str().unwrap_or_default());
            *self.agent.lock().unwrap_or_else(PoisonError::into_inner) = Some(texts.join("/"));
        }
        let id = message.get("id").filter(|_| message.get("method").is_some());
        match (self.send(message).await, id) {
            (Ok(body), _) => body,
            (Err(why), Some(id)) => Some(error_of(id, NO_ANSWER, &why)),
            (Err(why), None) => {
                eprintln!("kith: {why}");
                None
            }
        }
    }

    async fn send(&self, message: &Value) -> Result<Option<Vec<u8>>, String> {
        let agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let agent = agent.and_then(|agent| header::HeaderValue::try_from(agent).ok());
        let mut request = self
            .client
            .post(self.url.clone())
            .header(header::AUTHORIZATION, self.key.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(header::USER_AGENT, agent.unwrap_or(header::HeaderValue::from_static("kith-mcp")));
        for (name, value) in repeated(message) {
            request = request.header(name, value);
        }
        let failed = |error: reqwest::Error| format!("Kith at {} did not answer: {}", self.url, with_causes(&error));
        let response = request.body(message.to_string()).send().await.map_err(failed)?;
        let status = response.status();
        let media_type = response.headers().get(header::CONTENT_TYPE);
        if media_type.is_some_and(|it| it == "text/event-stream") {
            return events(response).await.map_err(|why| format!("Kith at {} stopped answering: {why}", self.url));
        }
        let body = response.bytes().await.map_err(failed)?;
        if body.is_empty() && status.is_success() {
            return Ok(None);
        }
        match serde_json::from_slice::<Value>(&body) {
            // A line is one message, so its text has no line ends.
            Ok(answer) if answer.get("jsonrpc").is_some() => Ok(Some(answer.to_string().into_bytes())),
            Ok(fault) => {
                let said = [&fault["error"]["message"], &fault["message"]].into_iter().find_map(Value::as_str);
                Err(format!("{status}: {}", said.unwrap_or("no reason is given")))
            }
            Err(_) => Err(format!("{status}: {} does not answer as Kith does", self.url)),
        }
    }
}

/// Reads events. Writes what Kith says about the call while it works, and returns the answer.
async fn events(mut response: Response) -> Result<Option<Vec<u8>>, String> {
    let (mut unread, mut answer) = (Vec::new(), None);
    while let Some(part) = response.chunk().await.map_err(|error| with_causes(&error))? {
        // What was unread before has no end of a line.
        let mut searched = unread.len();
        unread.extend_from_slice(&part);
        while let Some(end) = unread[searched..].iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=searched + end).collect();
            searched = 0;
            // A message is one line.
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            let message: Value = serde_json::from_slice(data).map_err(|error| error.to_string())?;
            match message.get("method") {
                Some(_) => write(&message.to_string().into_bytes())?,
                None => answer = Some(message.to_string().into_bytes()),
            }
        }
    }
    answer.map(Some).ok_or_else(|| "the answer is missing".to_owned())
}

/// The headers that repeat parts of a message, from version 2026-07-28 on.
fn repeated(message: &Value) -> Vec<(&'static str, String)> {
    let params = &message["params"];
    let Some(version) = params["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str() else { return Vec::new() };
    let method = message["method"].as_str().unwrap_or_default();
    let name = match method {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        _ => None,
    };
    let parts = [("mcp-protocol-version", Some(version)), ("mcp-method", Some(method)), ("mcp-name", name)];
    parts.into_iter().filter_map(|(header, value)| Some((header, encoded(value?)))).collect()
}

/// A value of a header. What is not plain ASCII is encoded.
fn encoded(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && value.trim() == value
        && !value.starts_with("=?base64?");
    if is_plain { value.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(value)) }
}

fn error_of(id: &Value, code: i64, message: &str) -> Vec<u8> {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}).to_string().into_bytes()
}

fn write(answer: &[u8]) -> Result<(), String> {
    let mut output = io::stdout().lock();
    let written = output.write_all(answer).and_then(|()| output.write_all(b"\n")).and_then(|()| output.flush());
    written.map_err(|error| format!("can't write to standard output: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let mut input: Vec<u8> = b"{}\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', MOST_BYTES + 5));
        input.extend(b"\n[]");
        let mut input = &input[..];
        let mut next = || next_line(&mut input).expect("a read");
        assert!(matches!(next(), Some(InputLine::Whole(line)) if line == b"{}\n"));
        assert!(matches!(next(), Some(InputLine::TooLong)));
        assert!(matches!(next(), Some(InputLine::Whole(line)) if line == b"[]"));
        assert!(next().is_none());
    }

    #[test]
    fn headers_repeat_a_message_of_2026() {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        let call = json!({"method": "tools/call", "params": {"name": "größe", "_meta": meta}});
        let expected = [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "=?base64?Z3LDtsOfZQ==?="),
        ];
        assert_eq!(repeated(&call), expected.map(|(name, value)| (name, value.to_owned())));
        assert!(repeated(&json!({"method": "tools/list"})).is_empty());
    }
}
