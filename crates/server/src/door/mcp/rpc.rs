//! JSON-RPC 2.0: reads a message, and writes results and errors.

use serde_json::{Map, Value, json};

use crm::model::json;
use crm::model::value::name_of;

pub const PARSE_ERROR: i64 = -32700;
pub const INVALID_REQUEST: i64 = -32600;
pub const METHOD_NOT_FOUND: i64 = -32601;
pub const INVALID_PARAMS: i64 = -32602;
pub const INTERNAL_ERROR: i64 = -32603;
/// The code of the Language Server Protocol, as MCP has none. Clients do not read the answer to what they have cancelled.
pub const CANCELLED: i64 = -32800;

/// The most bytes of a request's id.
const MAX_ID_BYTES: usize = 1024;

/// A message of a client.
#[derive(Debug)]
pub enum Incoming {
    /// A request, which gets an answer.
    Request(Message),
    /// A notification.
    Notification,
    /// The client cancels the request with this id.
    Cancellation(Value),
    /// A response to a request that the server never made.
    Response,
}

/// A request.
#[derive(Debug)]
pub struct Message {
    /// A string or a number.
    pub id: Value,
    /// The method.
    pub method: String,
    /// The parameters by name.
    pub params: Map<String, Value>,
}

impl Message {
    /// Whether it calls this tool.
    pub fn calls(&self, tool: &str) -> bool {
        self.method == "tools/call" && self.params.get("name").and_then(Value::as_str) == Some(tool)
    }
}

/// An error of a message.
#[derive(Debug)]
pub struct RpcError {
    /// The HTTP status.
    pub status: u16,
    /// The code of JSON-RPC or MCP.
    pub code: i64,
    /// What is wrong, and what to do.
    pub message: String,
    /// More for programs.
    pub data: Option<Value>,
}

impl RpcError {
    /// An error with HTTP status 400.
    pub fn bad_request(code: i64, message: impl Into<String>) -> RpcError {
        RpcError { status: 400, code, message: message.into(), data: None }
    }

    /// A defect of Kith. Its cause is in the log.
    pub fn internal() -> RpcError {
        RpcError { status: 200, code: INTERNAL_ERROR, message: "Internal error.".into(), data: None }
    }

    /// The client does not want the answer any more.
    pub fn cancelled() -> RpcError {
        let message = "The client cancelled this request. Nothing of it was kept, unless it was about to end.".into();
        RpcError { status: 200, code: CANCELLED, message, data: None }
    }

    /// Wrong parameters of a request that is otherwise well-formed.
    pub fn invalid_params(message: impl Into<String>) -> RpcError {
        RpcError { status: 200, code: INVALID_PARAMS, message: message.into(), data: None }
    }
}

/// Reads a message.
pub fn read(body: &[u8]) -> Result<Incoming, RpcError> {
    let invalid = |message: String| RpcError::bad_request(INVALID_REQUEST, message);
    let value = json::parse(body)
        .map_err(|error| RpcError::bad_request(PARSE_ERROR, format!("The body is not valid JSON: {error}.")))?;
    let mut object = match value {
        Value::Object(object) => object,
        Value::Array(_) => return Err(invalid("Send one message a request; batches are not taken.".into())),
        other => return Err(invalid(format!("A message is a JSON object, not {}.", name_of(&other)))),
    };
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(invalid("\"jsonrpc\" must be \"2.0\".".into()));
    }
    let method = match object.remove("method") {
        Some(Value::String(method)) => method,
        None if object.contains_key("result") || object.contains_key("error") => return Ok(Incoming::Response),
        Some(_) | None => return Err(invalid("\"method\" must be a string.".into())),
    };
    let id = match object.remove("id") {
        None if method == "notifications/cancelled" => {
            let id = object.get("params").and_then(|params| params.get("requestId"));
            return Ok(id.map_or(Incoming::Notification, |id| Incoming::Cancellation(id.clone())));
        }
        None => return Ok(Incoming::Notification),
        Some(id @ (Value::String(_) | Value::Number(_))) if id.to_string().len() <= MAX_ID_BYTES => id,
        Some(Value::String(_) | Value::Number(_)) => {
            return Err(invalid(format!("\"id\" has more than {MAX_ID_BYTES} bytes.")));
        }
        Some(other) => return Err(invalid(format!("\"id\" must be a string or a number, not {}.", name_of(&other)))),
    };
    let params = match object.remove("params") {
        None => Map::new(),
        Some(Value::Object(params)) => params,
        Some(other) => return Err(invalid(format!("\"params\" must be an object, not {}.", name_of(&other)))),
    };
    Ok(Incoming::Request(Message { id, method, params }))
}

/// Writes a response with this result, which is JSON.
pub fn result(id: &Value, result: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(result.len() + 64);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.to_string().as_bytes());
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result);
    out.push(b'}');
    out
}

/// Writes a response with an error.
pub fn error(id: Option<&Value>, error: &RpcError) -> Vec<u8> {
    let mut body = json!({"code": error.code, "message": error.message});
    if let Some(data) = &error.data {
        body["data"] = data.clone();
    }
    json!({"jsonrpc": "2.0", "id": id, "error": body}).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &str, code: i64) {
        let error = read(body.as_bytes()).expect_err(body);
        assert_eq!((error.status, error.code), (400, code), "{body}: {}", error.message);
    }

    #[test]
    fn a_message_has_a_method_and_an_id() {
        let Ok(Incoming::Request(message)) = read(br#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#) else { panic!() };
        assert_eq!((message.id, message.method.as_str()), (json!("a"), "ping"));
        assert!(matches!(read(br#"{"jsonrpc":"2.0","method":"x"}"#), Ok(Incoming::Notification)));
        assert!(matches!(read(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#), Ok(Incoming::Response)));
        let cancelled = br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}"#;
        assert!(matches!(read(cancelled), Ok(Incoming::Cancellation(id)) if id == "a"));
        let of_nothing = br#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
        assert!(matches!(read(of_nothing), Ok(Incoming::Notification)));
    }

    #[test]
    fn an_id_comes_back_to_the_digit() {
        let id = "123456789012345678901234567890";
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let Ok(Incoming::Request(message)) = read(text.as_bytes()) else { panic!() };
        let answer = String::from_utf8(result(&message.id, b"{}")).unwrap();
        assert_eq!(answer, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        refused("", PARSE_ERROR);
        refused("{", PARSE_ERROR);
        refused(&"[".repeat(200), PARSE_ERROR);
        refused("[]", INVALID_REQUEST);
        refused(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, INVALID_REQUEST);
        refused("null", INVALID_REQUEST);
        refused(r#"{"id":1,"method":"ping"}"#, INVALID_REQUEST);
        refused(r#"{"jsonrpc":"2.0","id":1}"#, INVALID_REQUEST);
        refused(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, INVALID_REQUEST);
        refused(r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, INVALID_REQUEST);
        refused(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#, INVALID_REQUEST);
        let long = "x".repeat(2000);
        refused(&format!(r#"{{"jsonrpc":"2.0","id":"{long}","method":"ping"}}"#), INVALID_REQUEST);
    }
}
