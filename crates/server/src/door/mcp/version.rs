//! The versions of MCP. Up to 2025-11-25 a client begins with `initialize`; from 2026-07-28 on each request carries its
//! version, in `_meta` and in headers that must agree with the body.

use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::rpc::{INVALID_PARAMS, RpcError};

/// The versions in which each request stands alone, newest first.
const MODERN: &[&str] = &["2026-07-28"];
/// The versions that begin with `initialize`, newest first.
const LEGACY: &[&str] = &["2025-11-25", "2025-06-18"];
/// Older versions. Their clients understand the answers too, except for those that they never ask for.
const OLDER: &[&str] = &["2025-03-26", "2024-11-05"];

const HEADER_MISMATCH: i64 = -32020;
const UNSUPPORTED_VERSION: i64 = -32022;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const CLIENT: &str = "io.modelcontextprotocol/clientInfo";

/// The kind of version that a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// A version that begins with `initialize`.
    Legacy,
    /// A version in which each request stands alone.
    Modern,
}

/// All versions, newest first.
pub fn supported() -> Vec<&'static str> {
    [MODERN, LEGACY].concat()
}

/// The version for a client that asks for this one in `initialize`.
pub fn negotiated(asked: Option<&str>) -> &'static str {
    LEGACY.iter().chain(OLDER).copied().find(|known| Some(*known) == asked).unwrap_or(LEGACY[0])
}

/// The client's name and version, if the request has them.
pub fn client(params: &Map<String, Value>) -> Option<String> {
    named(params.get("_meta")?.get(CLIENT)?)
}

/// The name and version that a client says in `initialize`.
pub fn initialized(params: &Map<String, Value>) -> Option<String> {
    named(params.get("clientInfo")?)
}

fn named(client: &Value) -> Option<String> {
    let name = client.get("name")?.as_str().filter(|name| !name.is_empty())?;
    match client.get("version").and_then(Value::as_str).filter(|version| !version.is_empty()) {
        Some(version) => Some(format!("{name}/{version}")),
        None => Some(name.to_owned()),
    }
}

/// Whether the client of a request can ask the person by a form. Without a mode, it means forms.
pub fn can_ask(params: &Map<String, Value>) -> bool {
    let capabilities = params.get("_meta").and_then(|meta| meta.get(CAPABILITIES));
    match capabilities.and_then(|capabilities| capabilities.get("elicitation")) {
        Some(Value::Object(modes)) => modes.is_empty() || modes.contains_key("form"),
        _ => false,
    }
}

/// Checks the version of a request, and that its headers agree with its body.
pub fn era(head: &Parts, method: &str, params: &Map<String, Value>) -> Result<Era, RpcError> {
    let header = text(head, "mcp-protocol-version");
    let meta = params.get("_meta");
    match meta.and_then(|meta| meta.get(VERSION)) {
        Some(Value::String(version)) => {
            agrees("MCP-Protocol-Version", header, version)?;
            if !MODERN.contains(&version.as_str()) {
                return Err(unsupported(version));
            }
            if !meta.and_then(|meta| meta.get(CAPABILITIES)).is_some_and(Value::is_object) {
                return Err(incomplete(CAPABILITIES));
            }
            agrees("Mcp-Method", text(head, "mcp-method"), method)?;
            if let Some(name) = name(method, params) {
                let sent = text(head, "mcp-name").map(decoded);
                agrees("Mcp-Name", sent.as_deref(), name)?;
            }
            Ok(Era::Modern)
        }
        Some(_) => Err(incomplete(VERSION)),
        None if method == "initialize" => Ok(Era::Legacy),
        None => match header {
            None => Ok(Era::Legacy),
            Some(version) if LEGACY.contains(&version) || OLDER.contains(&version) => Ok(Era::Legacy),
            Some(version) if MODERN.contains(&version) => Err(incomplete(VERSION)),
            Some(version) => Err(unsupported(version)),
        },
    }
}

/// The name or address that the header `Mcp-Name` repeats.
fn name<'a>(method: &str, params: &'a Map<String, Value>) -> Option<&'a str> {
    let key = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        _ => return None,
    };
    params.get(key).and_then(Value::as_str)
}

fn text<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name).map(|value| value.to_str().unwrap_or("").trim())
}

/// A header's value, which is encoded if it is not plain ASCII.
fn decoded(value: &str) -> String {
    let encoded = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let bytes = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| value.to_owned())
}

fn agrees(header: &str, sent: Option<&str>, body: &str) -> Result<(), RpcError> {
    let message = match sent {
        Some(sent) if sent == body => return Ok(()),
        Some(sent) => format!("The header {header} says \"{sent}\", and the body \"{body}\"."),
        None => format!("The header {header} is missing. It must repeat \"{body}\" of the body."),
    };
    Err(RpcError::bad_request(HEADER_MISMATCH, message))
}

fn incomplete(key: &str) -> RpcError {
    RpcError::bad_request(INVALID_PARAMS, format!("params._meta lacks \"{key}\"."))
}

fn unsupported(version: &str) -> RpcError {
    let message = format!("Unsupported protocol version. This server speaks {}.", supported().join(", "));
    let data = json!({"supported": supported(), "requested": version});
    RpcError { data: Some(data), ..RpcError::bad_request(UNSUPPORTED_VERSION, message) }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn modern(version: &str, more: Value) -> Map<String, Value> {
        let mut params = json!({"_meta": {VERSION: version, CAPABILITIES: {}}});
        for (key, value) in more.as_object().into_iter().flatten() {
            params[key] = value.clone();
        }
        params.as_object().expect("an object").clone()
    }

    #[track_caller]
    fn check(headers: &[(&str, &str)], method: &str, params: &Map<String, Value>, expected: Result<Era, i64>) {
        assert_eq!(era(&head(headers), method, params).map_err(|error| error.code), expected, "{headers:?}");
    }

    #[test]
    fn a_request_without_meta_is_of_the_old_kind() {
        let none = Map::new();
        check(&[], "ping", &none, Ok(Era::Legacy));
        check(&[("mcp-protocol-version", "2025-06-18")], "ping", &none, Ok(Era::Legacy));
        check(&[("mcp-protocol-version", "2099-01-01")], "ping", &none, Err(UNSUPPORTED_VERSION));
        check(&[("mcp-protocol-version", "2099-01-01")], "initialize", &none, Ok(Era::Legacy));
        check(&[("mcp-protocol-version", "2026-07-28")], "ping", &none, Err(INVALID_PARAMS));
    }

    #[test]
    fn the_headers_of_a_new_request_repeat_its_body() {
        let version = ("mcp-protocol-version", "2026-07-28");
        let call = modern("2026-07-28", json!({"name": "get_contact"}));
        let right = [version, ("mcp-method", "tools/call"), ("mcp-name", "get_contact")];
        check(&right, "tools/call", &call, Ok(Era::Modern));
        let encoded = [version, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?Z2V0X2NvbnRhY3Q=?=")];
        check(&encoded, "tools/call", &call, Ok(Era::Modern));
        check(&right[..2], "tools/call", &call, Err(HEADER_MISMATCH));
        check(&right[1..], "tools/call", &call, Err(HEADER_MISMATCH));
        check(&[version, ("mcp-method", "tools/list")], "tools/call", &call, Err(HEADER_MISMATCH));
        let old = modern("2025-11-25", json!({}));
        check(&[("mcp-protocol-version", "2025-11-25")], "tools/list", &old, Err(UNSUPPORTED_VERSION));
    }
}
