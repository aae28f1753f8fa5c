//! Health and metrics of the process: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;

/// `GET /healthz`: 200 while the process runs.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 only if requests can be served, which includes that the database answers.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    if !app.ready.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting or stopping\n").into_response();
    }
    match app.store.control.ping().await {
        Ok(()) => "ready\n".into_response(),
        Err(fault) => {
            tracing::warn!(fault = fault.in_log(), "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
    }
}

/// `GET /metrics`, in Prometheus' text format. It holds only counts, and no workspace is named.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    app.store.record_pool_metrics();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}
