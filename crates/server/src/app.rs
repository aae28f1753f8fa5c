//! The state that all doors and workers share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::access::Keys;
use crate::access::limits::Limits;
use crate::bounds::{Bounds, Memory};
use crate::clients::ClientNames;
use crate::clock::Clock;
use crate::mailer::Mailer;
use crate::people::auth::accounts::Accounts;
use crate::providers::Providers;
use crate::proxies::Proxies;
use crate::request_log::RequestLog;
use crate::running::RunningCalls;
use crate::store::Store;
use crate::targets::Targets;
use crate::wakes::Wakes;

/// The application: everything that doors and workers need. All clones share the same state.
#[derive(Clone)]
pub struct App {
    /// The store: the databases of workspaces and the control database.
    pub store: Store,
    /// The cached API keys.
    pub keys: Keys,
    /// Passwords, sessions and sign-in methods.
    pub accounts: Accounts,
    /// The source of the time.
    pub clock: Clock,
    /// Sends Kith's own e-mail.
    pub mailer: Arc<Mailer>,
    /// Hands workspaces' e-mail to their providers.
    pub providers: Arc<Providers>,
    /// Sends to the addresses that callers name.
    pub targets: Arc<Targets>,
    /// The rate limits.
    pub limits: Arc<Limits>,
    /// The door's bounds, which apply to every client.
    pub bounds: Arc<Bounds>,
    /// The memory that the door's calls may hold.
    pub memory: Memory,
    /// How many days the change log is kept.
    pub undo_days: u32,
    /// `http://…`, without a trailing slash.
    pub public_url: Arc<str>,
    /// The calls that their clients can cancel.
    pub running: Arc<RunningCalls>,
    /// What clients of MCP are called.
    pub clients: Arc<ClientNames>,
    /// Signals that wake workers.
    pub wakes: Arc<Wakes>,
    /// The requests that are not in the log yet.
    pub request_log: Arc<RequestLog>,
    /// The proxies that are trusted to report a client's address.
    pub proxies: Arc<Proxies>,
    /// Set while requests can be served.
    pub ready: Arc<AtomicBool>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
}
