//! The body of an e-mail. Its HTML is a document of its own in a sandboxed frame, without scripts. What it would load from
//! elsewhere, and so tell its sender, is left out until somebody asks for the images.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use crm::model::fault::Fault;

use crate::app::App;
use crate::door::pages::addresses::encoded;
use crate::door::pages::mail_html;
use crate::door::pages::parts::{self, icon};
use crate::door::pages::visit::{self, PageRequest, PageVisit};
use crate::door::request::HttpRequest;

/// What a frame may do: open links elsewhere. It may not run scripts, send forms or reach this page.
const SANDBOX: &str = "allow-popups allow-popups-to-escape-sandbox";

/// The body on the page.
pub fn body(record: &Value) -> Markup {
    let said = |name: &str| record[name].as_str().filter(|text| !text.trim().is_empty());
    let id = parts::text(&record["id"]);
    let html_body = said("body_html");
    let has_remote = html_body.is_some_and(|text| mail_html::clean(text, mail_html::Images::Hidden).had_remote);
    html! {
        section.mail aria-label="Message" {
            @if html_body.is_some() {
                @if has_remote {
                    p.note {
                        (icon("eye"))
                        span.grow { "Images that load from elsewhere are not shown, because they tell the sender that you read it." }
                        button.btn.mini type="button" data-show-images { "Show images" }
                    }
                }
                iframe title="Body of the message" sandbox=(SANDBOX) src={ "/app/mail/" (encoded(&id)) } {}
                @if let Some(text) = said("body_text") {
                    details { summary { "Text part" } div.lines { (text) } }
                }
            } @else if let Some(text) = said("body_text") { div.lines { (text) } }
            @else if let Some(text) = said("snippet") { div.lines { (text) } }
            @else { p.faint { "The message has no text." } }
        }
    }
}

/// Serves `/app/mail/:id`, the document in the frame. `?images=shown` loads images from elsewhere.
pub async fn frame(app: &Arc<App>, request: Request<Body>) -> Response {
    let id = app.clock.id("req");
    let (head, body) = request.into_parts();
    let request = PageRequest::of(&HttpRequest::new(app, &id, &head, body));
    let is_shown = head.uri.query().is_some_and(|query| query.split('&').any(|it| it == "images=shown"));
    let images = if is_shown { mail_html::Images::Shown } else { mail_html::Images::Hidden };
    match found(request).await {
        Ok(Some(text)) => document(StatusCode::OK, &mail_html::clean(&text, images).html, images),
        Ok(None) => document(StatusCode::NOT_FOUND, "<p>There is no such message.</p>", images),
        Err(fault) => {
            tracing::warn!(request_id = id, fault = fault.in_log(), "the body of a message could not be shown");
            document(StatusCode::SERVICE_UNAVAILABLE, "<p>The message can’t be shown just now.</p>", images)
        }
    }
}

async fn found(request: PageRequest<'_>) -> Result<Option<String>, Fault> {
    let Some(session) = visit::session(request).await? else { return Ok(None) };
    let visit = PageVisit::begin(request, session).await?;
    let id = request.head.uri.path().trim_start_matches("/app/mail/");
    let found = visit.find(&format!("emails/{id}?include_deleted=true")).await?;
    Ok(found.and_then(|it| it["data"]["body_html"].as_str().map(str::to_owned)))
}

fn document(status: StatusCode, content: &str, images: mail_html::Images) -> Response {
    let sources = match images {
        mail_html::Images::Hidden => "data:",
        mail_html::Images::Shown => "data: https: http:",
    };
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; img-src {sources}; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; \
         sandbox {SANDBOX}"
    );
    let text = format!(
        "<!doctype html><html lang=\"\"><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\"><title>Message</title>\
         <base target=\"_blank\"><style>html{{color-scheme:light;background:#fff;color:#222;font:14px/1.5 sans-serif;overflow-wrap:anywhere}}\
         img{{max-width:100%;height:auto}}</style><body>{content}</body></html>"
    );
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
