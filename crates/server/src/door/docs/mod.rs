//! The documents that tell people and models how to use Kith: `/docs`, `/docs/reference`, `/docs/errors`, `/docs/api`, `/openapi.json`,
//! `/openapi.yaml`, `/llms.txt`, `/llms-full.txt`, `/changelog`, `/changelog.rss`.
//!
//! Each is rendered once for the door's public address, on the first request, from the tables that the code itself reads.

mod calls;
mod changelog;
mod explorer;
mod guides;
pub mod page;
mod paths;
mod reference;

use std::sync::{Arc, OnceLock};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::relm::RELM;
use crm::dialect::{DIALECTS, Dialect, Meta, llms, openapi};
use crm::model::call::parse_query;
use crm::model::fault::Fault;

use crate::door::RequestId;

const HTML: &str = "text/html; charset=utf-8";
const RSS: &str = "application/rss+xml; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// A document that does not change while the door is open.
struct ServedDocument {
    path: &'static str,
    content_type: &'static str,
    text: DocumentText,
}

/// How a document's text is rendered for a public address.
enum DocumentText {
    /// One text for all callers.
    One(fn(&str) -> String),
    /// One text per dialect, chosen with `?dialect=`. The default is this dialect.
    Each(&'static Dialect, fn(&Dialect, &str) -> String),
}

const DOCUMENTS: &[ServedDocument] = &[
    ServedDocument { path: "/docs", content_type: HTML, text: DocumentText::One(page::docs) },
    ServedDocument { path: "/docs/reference", content_type: HTML, text: DocumentText::One(reference::page) },
    ServedDocument { path: "/docs/errors", content_type: HTML, text: DocumentText::One(page::errors) },
    ServedDocument { path: "/docs/api", content_type: HTML, text: DocumentText::One(explorer::page) },
    ServedDocument { path: "/changelog", content_type: HTML, text: DocumentText::One(changelog::page) },
    ServedDocument { path: "/changelog.rss", content_type: RSS, text: DocumentText::One(changelog::rss) },
    ServedDocument { path: "/openapi.json", content_type: JSON, text: DocumentText::Each(&AGENTCRM, openapi_json) },
    ServedDocument { path: "/openapi.yaml", content_type: YAML, text: DocumentText::Each(&RELM, openapi_yaml) },
    ServedDocument { path: "/llms.txt", content_type: TEXT, text: DocumentText::One(llms::short) },
    ServedDocument { path: "/llms-full.txt", content_type: TEXT, text: DocumentText::One(llms::full) },
];

fn openapi_json(dialect: &Dialect, public_url: &str) -> String {
    openapi::document(dialect.reference, public_url).to_string()
}

fn openapi_yaml(dialect: &Dialect, public_url: &str) -> String {
    openapi::yaml::write(&openapi::document(dialect.reference, public_url))
}

/// A rendered document.
struct Made {
    bytes: Bytes,
    etag: HeaderValue,
}

/// The paths of all documents, for a public address.
pub fn router<S: Clone + Send + Sync + 'static>(public_url: &Arc<str>) -> Router<S> {
    DOCUMENTS.iter().fold(Router::new(), |router, document| {
        let made: Arc<Vec<OnceLock<Made>>> = Arc::new(DIALECTS.iter().map(|_| OnceLock::new()).collect());
        let public_url = public_url.clone();
        let serve = move |uri: Uri, headers: HeaderMap, Extension(request_id): Extension<RequestId>| {
            let response = match edition(document, uri.query().unwrap_or("")) {
                Ok((at, make)) => {
                    let made = made[at].get_or_init(|| finish(make(&public_url)));
                    respond(document, made, &headers)
                }
                Err(fault) => refuse(&fault, &public_url, &request_id),
            };
            std::future::ready(response)
        };
        router.route(document.path, get(serve))
    })
}

/// The edition of a document that the query asks for: its index among all editions, and the function that renders it.
fn edition(document: &'static ServedDocument, query: &str) -> Result<(usize, impl Fn(&str) -> String), Fault> {
    let (at, dialect) = match &document.text {
        DocumentText::One(_) => (0, DIALECTS[0]),
        DocumentText::Each(usual, _) => {
            let query = parse_query(query)?;
            let name = query.iter().rev().find(|(name, _)| name == "dialect").map_or(usual.name, |(_, value)| value);
            let found = DIALECTS.iter().enumerate().find(|(_, dialect)| dialect.name == name);
            let (at, dialect) = found.ok_or_else(|| {
                let names: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name).collect();
                let hint = format!("The dialects are {}.", names.join(" and "));
                Fault::invalid_with_hint(format!("There is no dialect \"{name}\"."), hint)
            })?;
            (at, *dialect)
        }
    };
    Ok((at, move |public_url: &str| match document.text {
        DocumentText::One(make) => make(public_url),
        DocumentText::Each(_, make) => make(dialect, public_url),
    }))
}

fn refuse(fault: &Fault, public_url: &str, RequestId(request_id): &RequestId) -> Response {
    let reply = (AGENTCRM.show_fault)(fault, &Meta { public_url, request_id, ..Meta::default() });
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

fn finish(text: String) -> Made {
    let bytes = Bytes::from(text);
    let hash = digest(&SHA256, &bytes);
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]));
    // Base64 in quotes is a valid header value.
    let etag = HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\""));
    Made { bytes, etag }
}

fn respond(document: &ServedDocument, made: &Made, asked: &HeaderMap) -> Response {
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
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    } else {
        // Tools that run in a browser read the documents too. They hold nothing private.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

/// A page loads only what this Kith serves, and no page of others may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; font-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
