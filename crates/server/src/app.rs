//! What every door and worker shares.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Notify;

use crate::access::Keys;
use crate::access::limits::Hourly;
use crate::clock::Clock;
use crate::people::auth::accounts::Accounts;
use crate::proxies::Proxies;
use crate::store::Store;

/// What the doors share.
#[derive(Clone)]
pub struct App {
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
    /// Passwords, sessions and e-mail.
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
