//! What tells people and models how to use Kith: `/`, `/docs`, `/docs/errors`, `/openapi.json`, `/llms.txt`, `/llms-full.txt`.
//!
//! Each is made once for the door's public address, on first demand, from the tables that the code itself reads.

pub mod page;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};

use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::{llms, openapi};

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// A document that stays the same as long as the door is open.
struct Document {
    path: &'static str,
    content_type: &'static str,
    /// Makes its text for a public address.
    make: fn(&str) -> String,
}

const DOCUMENTS: &[Document] = &[
    Document { path: "/", content_type: HTML, make: page::landing },
    Document { path: "/docs", content_type: HTML, make: page::docs },
    Document { path: "/docs/errors", content_type: HTML, make: page::errors },
    Document { path: "/openapi.json", content_type: JSON, make: openapi_json },
    Document { path: "/llms.txt", content_type: TEXT, make: |url| llms::short(AGENTCRM.reference, url) },
    Document { path: "/llms-full.txt", content_type: TEXT, make: |url| llms::full(AGENTCRM.reference, url) },
];

fn openapi_json(public_url: &str) -> String {
    openapi::document(AGENTCRM.reference, public_url).to_string()
}

/// A document as it goes out.
struct Made {
    bytes: Bytes,
    etag: HeaderValue,
}

/// The paths of all documents, for a public address.
pub fn router<S: Clone + Send + Sync + 'static>(public_url: &Arc<str>) -> Router<S> {
    DOCUMENTS.iter().fold(Router::new(), |router, document| {
        let (public_url, made) = (public_url.clone(), Arc::new(OnceLock::new()));
        let serve = move |headers: HeaderMap| {
            let made = made.get_or_init(|| make(document, &public_url));
            let response = respond(document, made, &headers);
            std::future::ready(response)
        };
        router.route(document.path, get(serve))
    })
}

fn make(document: &Document, public_url: &str) -> Made {
    let bytes = Bytes::from((document.make)(public_url));
    let hash = digest(&SHA256, &bytes);
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]));
    // Base 64 in quotes is a header value.
    let etag = HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\""));
    Made { bytes, etag }
}

fn respond(document: &Document, made: &Made, asked: &HeaderMap) -> Response {
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|tag| {
        let tag = tag.trim().trim_start_matches("W/");
        tag == "*" || tag.as_bytes() == made.etag.as_bytes()
    });
    let mut response = Response::new(if is_known { Body::empty() } else { Body::from(made.bytes.clone()) });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::ETAG, made.etag.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0, must-revalidate"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(document.content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if document.content_type == HTML {
        headers.insert(header::CONTENT_SECURITY_POLICY, page_policy());
    } else {
        // Tools that run in a browser read them too; there is nothing private in them.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

/// A page runs nothing and loads nothing; its one style sheet stands in it and is known by its hash.
fn page_policy() -> HeaderValue {
    static POLICY: OnceLock<HeaderValue> = OnceLock::new();
    let policy = POLICY.get_or_init(|| {
        let style = STANDARD.encode(digest(&SHA256, page::STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    });
    policy.clone()
}
