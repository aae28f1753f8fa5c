//! The only module that uses axum: receives HTTP requests and sends the responses.

mod body_buffer;
mod cookie;
mod csv;
mod docs;
mod form;
mod heads;
mod health;
mod inbound;
pub mod listener;
mod logged_path;
mod mcp;
mod oauth;
mod operations;
mod pages;
mod people;
mod reply;
mod request;
pub mod request_line;
mod rest;
mod session;
mod sign_in;
mod stream;
mod v1;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;

use crate::app::App;

pub use request::MAX_BODY_BYTES;

/// The address of the other end. The listener adds it to each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The routes of all paths that Kith serves.
pub fn router(app: App) -> Router {
    let providers = app.accounts.providers.iter().map(|provider| &provider.settings);
    let offers: Vec<_> = providers.map(|it| pages::SignInOffer { key: it.key, name: it.name.clone() }).collect();
    let clock = app.clock.clone();
    // Requests that fall through to `/v1` assign their own id, because it is in the body too.
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .merge(docs::router(&app.public_url))
        .merge(pages::router(&offers))
        .layer(from_fn(move |request, next| named(clock.id("req"), request, next)))
        .fallback(fallback)
        .with_state(Arc::new(app))
}

/// The id of a request, `req_…`, for its handler.
#[derive(Clone)]
struct RequestId(Arc<str>);

/// Assigns an id to a request and returns it with the answer.
async fn named(id: String, mut request: Request<Body>, next: Next) -> Response {
    let header = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id.into()));
    let mut response = next.run(request).await;
    if let Ok(header) = header {
        response.headers_mut().insert("x-request-id", header);
    }
    response
}

async fn fallback(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match request.uri().path() {
        // On the heap, because it is large and would enlarge the future of every other request.
        "/mcp" | "/mcp/" => Box::pin(mcp::serve(&app, request)).await,
        path if oauth::is_here(path) => Box::pin(oauth::serve(&app, request)).await,
        path if path.starts_with("/v1/") => v1::serve(&app, request).await,
        // On the heap, like all that is no call of the API.
        _ => match Box::pin(pages::serve(&app, request)).await {
            Ok(response) => response,
            Err(request) => v1::serve(&app, request).await,
        },
    }
}
