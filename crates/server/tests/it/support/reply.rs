//! An answer with assertions: each failed assertion prints the request and the answer.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// The maximum number of bytes of a body that a failure prints.
const SHOWN: usize = 2_000;

/// An answer.
pub struct Reply {
    /// Method, path and body of the request.
    pub asked: String,
    /// The status code.
    pub code: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Fails unless the answer has this status.
    #[track_caller]
    pub fn status(self, expected: u16) -> Reply {
        assert_eq!(self.code, expected, "{}", self.story());
        self
    }

    /// Fails unless this is a complete error with that status and code in its dialect's shape.
    #[track_caller]
    pub fn fault(self, status: u16, code: &str) -> Reply {
        let reply = self.status(status);
        let error = reply.error();
        let named = if reply.speaks_relm() { &error["code"] } else { &error["error"] };
        assert_eq!(named, code, "{}", reply.story());
        assert!(error["message"].as_str().is_some_and(|text| text.len() > 5), "{}", reply.story());
        let request_id = reply.header("x-request-id");
        assert!(request_id.starts_with("req_"), "{}", reply.story());
        assert_eq!(error["request_id"], request_id, "{}", reply.story());
        let docs_url = error["docs_url"].as_str().unwrap_or_default().to_owned();
        assert!(docs_url.ends_with(&format!("/docs/errors#{code}")), "{}", reply.story());
        assert_eq!(reply.header("content-type"), "application/json", "{}", reply.story());
        reply
    }

    /// Fails unless the message or hint of the error contains this text.
    #[track_caller]
    pub fn says(self, part: &str) -> Reply {
        let error = self.error();
        let text = format!("{} {}", error["message"], error.get("hint").unwrap_or(&Value::Null));
        assert!(text.replace("\\\"", "\"").contains(part), "nothing says {part:?}\n{}", self.story());
        self
    }

    /// A field of an error, wherever its dialect puts it.
    #[track_caller]
    pub fn error(&self) -> Value {
        if self.speaks_relm() { self.at("/error") } else { self.json() }
    }

    /// Whether the answer is in Relm's dialect.
    fn speaks_relm(&self) -> bool {
        self.headers.contains_key("relm-version")
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}\n{}", self.story()))
    }

    /// The value at a JSON pointer: `/data/id`.
    #[track_caller]
    pub fn at(&self, pointer: &str) -> Value {
        self.json().pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}\n{}", self.story())).clone()
    }

    /// The text at a JSON pointer.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> String {
        let value = self.at(pointer);
        value.as_str().unwrap_or_else(|| panic!("no text at {pointer}\n{}", self.story())).to_owned()
    }

    /// `data`.
    #[track_caller]
    pub fn data(&self) -> Value {
        self.at("/data")
    }

    /// `data.id`.
    #[track_caller]
    pub fn id(&self) -> String {
        self.text("/data/id")
    }

    /// One column of a page, or of the rows of an SQL result.
    #[track_caller]
    pub fn column(&self, name: &str) -> Vec<Value> {
        let data = self.data();
        let rows = data.get("rows").unwrap_or(&data);
        let rows = rows.as_array().unwrap_or_else(|| panic!("no rows\n{}", self.story()));
        rows.iter().map(|row| row.get(name).unwrap_or_else(|| panic!("no {name}\n{}", self.story())).clone()).collect()
    }

    /// The value `v` of an SQL result's only row.
    #[track_caller]
    pub fn v(&self) -> Value {
        self.at("/data/rows/0/v")
    }

    /// A header. Empty if it is missing.
    #[track_caller]
    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header of text")).to_owned()
    }

    /// The request and the answer as text.
    pub fn story(&self) -> String {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(SHOWN)]);
        format!("{}\n→ {} {body}", self.asked, self.code)
    }
}
