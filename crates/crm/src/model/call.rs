//! An HTTP request under `/v1`, before a dialect reads it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::fault::Fault;
use crate::model::json;

/// The HTTP methods that Kith supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Every method, in the order of the `Allow` header.
    pub const ALL: [Method; 5] = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];

    /// The method's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }

    /// Parses a method. HEAD is read as GET, and the HTTP layer leaves the body out.
    pub fn parse(name: &str) -> Option<Method> {
        let name = if name == "HEAD" { "GET" } else { name };
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A request under `/v1`.
#[derive(Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// The path below `/v1`, split at slashes and percent-decoded.
    pub path: Vec<String>,
    /// The query parameters in the order of the request, percent-decoded.
    pub query: Vec<(String, String)>,
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// The whole body.
    pub body: &'a [u8],
}

impl Call<'_> {
    /// The media type of the body, without parameters.
    pub fn media_type(&self) -> &str {
        self.content_type.unwrap_or("").split(';').next().unwrap_or("").trim()
    }

    /// Whether the body is an e-mail message (RFC 5322).
    pub fn is_message(&self) -> bool {
        is_message(self.content_type)
    }

    /// Parses the body as a JSON object. An empty body is an empty object.
    pub fn object(&self) -> Result<Map<String, Value>, Fault> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        let media_type = self.media_type();
        let is_json = media_type.eq_ignore_ascii_case("application/json")
            || (media_type.len() > 5 && media_type[media_type.len() - 5..].eq_ignore_ascii_case("+json"));
        if !is_json {
            return Err(Fault::UnsupportedMediaType { sent: media_type.to_owned() });
        }
        json::parse(self.body).map_err(|error| Fault::InvalidJson { reason: error.to_string() }).and_then(object)
    }

    /// Refuses fields in the body of an operation that takes none. Some clients send `null` instead of an empty body.
    pub fn no_fields(&self) -> Result<(), Fault> {
        if self.body.trim_ascii() == b"null" {
            return Ok(());
        }
        no_fields(&self.object()?)
    }

    /// Returns the value of a query parameter. If it is repeated, the last value counts.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Refuses query parameters that are not in `known`.
    pub fn only_parameters(&self, known: &[&str]) -> Result<(), Fault> {
        match self.query.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(Fault::unknown_parameter(name, known.iter().copied())),
        }
    }
}

/// Whether a content type is that of an e-mail message.
pub fn is_message(content_type: Option<&str>) -> bool {
    let media_type = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
    media_type.eq_ignore_ascii_case("message/rfc822") || media_type.eq_ignore_ascii_case("message/global")
}

/// Returns the fields of a body, which must be an object.
pub fn object(body: Value) -> Result<Map<String, Value>, Fault> {
    match body {
        Value::Object(object) => Ok(object),
        other => {
            let found = crate::model::value::name_of(&other);
            Err(Fault::invalid(format!("The body must be a JSON object, not {found}.")))
        }
    }
}

/// Refuses fields in a body that takes none.
pub fn no_fields(fields: &Map<String, Value>) -> Result<(), Fault> {
    match fields.keys().next() {
        None => Ok(()),
        Some(name) => Err(Fault::unknown_field(name, std::iter::empty())),
    }
}

/// Splits a raw query string into decoded pairs. `+` is a space, as in browsers and form encoders.
pub fn parse_query(raw: &str) -> Result<Vec<(String, String)>, Fault> {
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?))
        })
        .collect()
}

/// Splits the path below `/v1/` into decoded segments.
pub fn parse_path(raw: &str) -> Result<Vec<String>, Fault> {
    raw.trim_end_matches('/').split('/').map(decode).collect()
}

fn decode(text: &str) -> Result<String, Fault> {
    match percent_encoding::percent_decode_str(text).decode_utf8() {
        Ok(decoded) if decoded.contains('\0') => {
            Err(Fault::invalid("The address contains a NUL character, which PostgreSQL does not take."))
        }
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(Fault::invalid("The address is not valid UTF-8 text once percent-decoded.")),
    }
}
