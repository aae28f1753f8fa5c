//! The only room that knows axum: what comes in over HTTP and what goes out.

mod cookie;
mod docs;
mod health;
mod idempotency;
mod pages;
mod people;
pub mod request_line;
mod rest;
mod sign_in;
mod signup;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Notify;

use crate::access::Keys;
use crate::clock::Clock;
use crate::limits::Hourly;
use crate::people::accounts::Accounts;
use crate::proxies::Proxies;
use crate::store::Store;

/// A body at most (wire contract, section 1).
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// What the doors share.
#[derive(Clone)]
pub struct House {
    /// Everything that is stored.
    pub store: Store,
    /// The keys that were seen.
    pub keys: Keys,
    /// Requests a minute and key; 0 for no limit.
    pub rate_limit: u32,
    /// Anonymous workspaces by address.
    pub sign_ups: Arc<Hourly<IpAddr>>,
    /// Accounts by address.
    pub new_accounts: Arc<Hourly<IpAddr>>,
    /// Sign-ins elsewhere by address.
    pub sign_ins: Arc<Hourly<IpAddr>>,
    /// Workspaces by who made them.
    pub made_workspaces: Arc<Hourly<String>>,
    /// Invitations by who invited.
    pub invitations: Arc<Hourly<String>>,
    /// Passwords, sessions and letters.
    pub accounts: Accounts,
    /// The time.
    pub clock: Clock,
    /// Who may say for whom they speak.
    pub proxies: Arc<Proxies>,
    /// `http://…`, without a slash at its end.
    pub public_url: Arc<str>,
    /// Set while requests can be served.
    pub ready: Arc<AtomicBool>,
    /// Wakes the maker of warm databases.
    pub database_taken: Arc<Notify>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
}

/// The address of the other end, put into each request by the listener.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Every path that Kith serves.
pub fn router(house: House) -> Router {
    let providers = house.accounts.providers.iter().map(|provider| &provider.settings);
    let offers: Vec<_> = providers.map(|it| pages::Offer { key: it.key, name: it.name.clone() }).collect();
    let clock = house.clock.clone();
    // What falls through to `/v1` names itself, in its body too.
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .merge(docs::router(&house.public_url))
        .merge(pages::router(&house.public_url, &offers))
        .layer(from_fn(move |request, next| named(clock.id("req"), request, next)))
        .fallback(fallback)
        .with_state(Arc::new(house))
}

/// The name of a request, `req_…`, for whoever answers it.
#[derive(Clone)]
struct RequestId(Arc<str>);

/// Gives a request a name, which goes back with the answer.
async fn named(id: String, mut request: Request<Body>, next: Next) -> Response {
    let header = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id.into()));
    let mut response = next.run(request).await;
    if let Ok(header) = header {
        response.headers_mut().insert("x-request-id", header);
    }
    response
}

async fn fallback(State(house): State<Arc<House>>, request: Request<Body>) -> Response {
    rest::serve(&house, request).await
}
