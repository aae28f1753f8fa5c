//! Invalid heads of requests: the check of a head, and the error response in the usual shape, even if the HTTP library could
//! not parse a request.

use axum::extract::Request;
use axum::http::{HeaderMap, Version, header};
use axum::response::Response;

use crm::dialect::{self, Dialect, Reply};
use crm::model::call::parse_path;
use crm::model::fault::{Fault, HeadPart};

use crate::app::App;
use crate::door::people;
use crate::door::reply::Envelope;

/// The most bytes of a head's fields, including the overhead that HTTP/2 counts for each field.
const MAX_FIELDS_BYTES: usize = 64 * 1024;
const FIELD_BYTES: usize = 32;

/// Checks that a head can be served.
pub fn check<B>(request: &Request<B>) -> Result<(), Fault> {
    if request.version() == Version::HTTP_11 {
        // RFC 9112, section 3.2.
        match request.headers().get_all(header::HOST).iter().count() {
            1 => {}
            0 => return Err(Fault::invalid("An HTTP/1.1 request has a Host header; this one has none.")),
            _ => return Err(Fault::invalid("An HTTP/1.1 request has one Host header; this one has several.")),
        }
    }
    match fields_bytes(request.headers()) > MAX_FIELDS_BYTES {
        true => Err(Fault::HeadTooLarge { part: HeadPart::Headers }),
        false => Ok(()),
    }
}

fn fields_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

/// The dialect of the key in a head. The key may be unknown: only its prefix is read.
pub fn dialect_of<B>(request: &Request<B>) -> Option<&'static Dialect> {
    let below = request.uri().path().strip_prefix("/v1/")?;
    // Paths for people have one shape, whatever key is sent.
    parse_path(below).ok().filter(|segments| !people::is_here(segments))?;
    let (scheme, token) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    dialect::of_key(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"))
}

/// The response that refuses a request because of its head. `dialect` is that of the request's key, if it was seen.
pub fn refuse(app: &App, dialect: Option<&'static Dialect>, fault: Fault) -> Response {
    let id = app.clock.id("req");
    let mut envelope = Envelope::new(app, &id);
    envelope.dialect = dialect.unwrap_or(envelope.dialect);
    let reply = envelope.show(&Err(fault));
    envelope.respond(reply, None)
}

/// A whole HTTP/1.1 response with the status that the HTTP library sends if it can't parse a request.
pub fn written(app: &App, status: u16) -> Vec<u8> {
    write(
        app,
        match status {
            414 => Fault::HeadTooLarge { part: HeadPart::Address },
            431 => Fault::HeadTooLarge { part: HeadPart::Headers },
            _ => Fault::invalid("What was sent is not an HTTP request."),
        },
    )
}

/// A whole HTTP/1.1 response for a client for which there is no place.
pub fn no_room(app: &App) -> Vec<u8> {
    write(app, Fault::Unavailable { retry_after: 1, message: "Too many connections are open.".into() })
}

fn write(app: &App, fault: Fault) -> Vec<u8> {
    let id = app.clock.id("req");
    let Reply { status, headers, body } = Envelope::new(app, &id).show(&Err(fault));
    let reason = axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason.unwrap_or_default());
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!(
        "content-type: application/json\r\ncache-control: no-store\r\nx-request-id: {id}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    ));
    let mut whole = head.into_bytes();
    whole.extend_from_slice(&body);
    whole
}
