//! `POST /app/place {workspace_id, mode}` chooses what the pages show. Test data is made when somebody looks at it first.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use crm::model::fault::Fault;
use crm::model::who::Mode;

use crate::app::App;
use crate::door::pages::visit::PageRequest;
use crate::door::pages::{api, said, visit};
use crate::door::request::HttpRequest;
use crate::people::context::PersonContext;

/// Serves the request.
pub async fn choose(app: &Arc<App>, request: Request<Body>) -> Response {
    let id = app.clock.id("req");
    let (head, body) = request.into_parts();
    let mut request = HttpRequest::new(app, &id, &head, body);
    let (status, body, cookie) = match chosen(&mut request).await {
        Ok((workspace_id, mode)) => {
            let body = json!({"data": {"workspace_id": workspace_id, "mode": mode.name()}});
            (StatusCode::OK, body, Some(visit::remember(&workspace_id, mode, &app.public_url)))
        }
        Err(fault) => {
            let (status, message, hint) = said(app, &id, &fault);
            (status, json!({"error": fault.code(), "message": message, "hint": hint}), None)
        }
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(value) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        headers.insert(header::SET_COOKIE, value);
    }
    response
}

async fn chosen(request: &mut HttpRequest<'_>) -> Result<(String, Mode), Fault> {
    let session = api::guarded(PageRequest::of(request)).await?;
    let body: Value = serde_json::from_slice(&request.form().await?)
        .map_err(|error| Fault::InvalidJson { reason: error.to_string() })?;
    let workspace_id = body["workspace_id"].as_str().unwrap_or_default().to_owned();
    let mode = body["mode"].as_str().and_then(Mode::parse).unwrap_or(Mode::Live);
    let visitor = session.visitor();
    let context = PersonContext { app: request.app, visitor: &visitor };
    context.member(&workspace_id).await?;
    if mode == Mode::Test && request.app.store.ensure_test_database(&workspace_id).await? {
        request.app.wakes.database_taken.notify_one();
    }
    Ok((workspace_id, mode))
}
