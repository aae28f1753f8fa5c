//! `kith serve`: starts all parts, opens the door, and closes everything in order.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::access::Keys;
use crate::access::billing::{BillingPlans, Subscriptions};
use crate::access::limits::Limits;
use crate::app::App;
use crate::bounds::{Bounds, Memory};
use crate::clock::{Clock, iso_ms};
use crate::config::{Config, LogFormat};
use crate::door::listener;
use crate::mailer::Mailer;
use crate::people::auth::accounts::Accounts;
use crate::people::auth::clerk::{Clerk, ClerkSettings};
use crate::people::auth::oidc::{self, Provider, ProviderSettings};
use crate::providers::Providers;
use crate::store::cell::migrate::WORKSPACE;
use crate::store::cell::provision;
use crate::store::cell::server::DatabaseServer;
use crate::targets::{SystemLookUp, Targets};
use crate::work::Supervisor;
use crate::work::automate::Automate;
use crate::work::change_log::SweepChanges;
use crate::work::deliver::Deliver;
use crate::work::direct::HoldDirect;
use crate::work::drain::Drain;
use crate::work::excess::EndExcesses;
use crate::work::key_last_used::NoteKeyUse;
use crate::work::mail::SendMail;
use crate::work::mailboxes::ReadMailboxes;
use crate::work::maintain::Maintain;
use crate::work::monthly_usage::NoteMonthlyUsage;
use crate::work::reap::Reap;
use crate::work::request_log::LogRequests;
use crate::work::send::SendEmails;
use crate::work::warm::KeepWarm;
use crate::work::watch::WatchAccess;

/// Serves until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), String> {
    log_to_stderr(&config);
    say_where_the_data_is(&config);
    listener::raise_file_limit();
    let (stop, again) = stop_signals()?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("can't listen on {}: {error}", config.listen))?;
    let kith = Kith::start(&config, Clock::System).await?;
    if let Err(error) = kith.server.warn_of_known_holes().await {
        tracing::warn!(error, "can't ask PostgreSQL for its version");
    }
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    // The first line on standard output says that requests are served. An error is ignored, because the reader may have
    // closed it.
    let _ = writeln!(std::io::stdout(), "kith listening on http://{address}");
    let served = kith.serve(listener, config.public_url.as_deref(), stop);
    tokio::select! {
        served = served => served,
        () = again => {
            tracing::warn!("a second signal; stopping at once");
            kith.server.close_at_once().await;
            Ok(())
        }
    }
}

/// The settings that may differ between the doors of one process.
#[derive(Clone, Debug)]
pub struct Door {
    /// The address at which clients reach the door. If none is given, the address that it listens on.
    pub public_url: Option<String>,
    /// The door's clock.
    pub clock: Clock,
    /// Requests per minute and key; 0 means no limit.
    pub rate_limit: u32,
}

/// A Kith that is ready to serve: with its database and workers, but without a door.
pub struct Kith {
    /// The state that doors and workers share. Each door has its own public URL, limits and clock.
    pub app: App,
    server: DatabaseServer,
    clerk: Option<ClerkSettings>,
    providers: Vec<ProviderSettings>,
    workers: Mutex<Option<Supervisor>>,
}

impl Kith {
    /// Starts the embedded database if there is one, sets up what is missing, and starts the workers.
    pub async fn start(config: &Config, clock: Clock) -> Result<Kith, String> {
        Kith::start_with(config, clock, WORKSPACE).await
    }

    /// The same, with migrations of workspaces' databases that differ from this version's.
    pub async fn start_with(
        config: &Config,
        clock: Clock,
        migrations: &'static [&'static str],
    ) -> Result<Kith, String> {
        let mailer = Mailer::new(config.smtp_url_text().as_deref(), config.mail_from_text().as_deref())?;
        let [clerk_issuer, clerk_jwks_url, clerk_parties] = config.clerk_texts();
        let clerk_parties = clerk_parties.unwrap_or_default();
        let clerk = ClerkSettings::new(clerk_issuer.as_deref(), clerk_jwks_url.as_deref(), &clerk_parties)?;
        let providers = oidc::settings(&config.sign_in_given())?;
        let subscriptions = Subscriptions::new(config.plans.as_deref().map(BillingPlans::read).transpose()?);
        let allows_private = config.allows_private_targets()?;
        let targets = Arc::new(Targets::new(allows_private, Arc::new(SystemLookUp))?);
        let resend = config.resend_base_url_text();
        let senders = Providers::new(resend.as_deref(), allows_private, targets.clone())?;
        let server = DatabaseServer::open(config).await?;
        let store = server.store(migrations);
        let set_up = provision::set_up(&store, &server.cells, server.keys()).await;
        if let Err(error) = set_up {
            server.close().await;
            return Err(format!("can't set the database up: {error}"));
        }
        let bounds = Bounds::default();
        let app = App {
            store,
            keys: Keys::new(subscriptions),
            accounts: Accounts::default(),
            clock,
            mailer: Arc::new(mailer),
            providers: Arc::new(senders),
            targets,
            limits: Arc::new(Limits::new(config.rate_limit)),
            memory: Memory::new(&bounds),
            bounds: Arc::new(bounds),
            undo_days: config.undo_days,
            public_url: config.public_url.clone().unwrap_or_else(|| format!("http://{}", config.listen)).into(),
            running: Arc::default(),
            clients: Arc::default(),
            wakes: Arc::default(),
            request_log: Arc::default(),
            proxies: Arc::new(config.trusted_proxies.clone()),
            ready: Arc::new(AtomicBool::new(true)),
            metrics: metrics_handle(),
        };
        if config.database_url.is_none() {
            // The data directory belongs to this process. What another one was doing when it was killed need not wait.
            let now = iso_ms(app.clock.unix_ms());
            let freed = async {
                app.store.control.free_deliveries(None, &now).await?;
                app.store.control.free_runs(None, &now).await?;
                app.store.control.free_emails(&now).await?;
                app.store.control.free_mailboxes(&now).await
            };
            if let Err(fault) = freed.await {
                tracing::warn!(fault = fault.in_log(), "can't free what a killed process was doing; it waits");
            }
        }
        let workers = Mutex::new(Some(workers(&app, config)));
        Ok(Kith { app, server, clerk, providers, workers })
    }

    /// Serves requests until `stop` completes or the database is lost. Then lets current requests finish, and stops the workers
    /// and the database.
    pub async fn serve(
        &self,
        listener: TcpListener,
        public_url: Option<&str>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), String> {
        let (public_url, rate_limit) = (public_url.map(str::to_owned), self.app.limits.requests_a_minute);
        let door = Door { public_url, clock: self.app.clock.clone(), rate_limit };
        let lost = tokio::select! {
            lost = self.open_door(listener, door, stop) => lost,
            error = self.server.lost() => Err(format!("the database is lost: {error}")),
        };
        let workers = self.workers.lock().expect("no panic while the workers are locked").take();
        if let Some(workers) = workers {
            workers.stop().await;
        }
        if let Err(fault) = self.app.keys.note_uses(&self.app.store, None).await {
            tracing::warn!(fault = fault.in_log(), "can't note when keys were last used");
        }
        if let Err(fault) = self.app.request_log.write(&self.app.store).await {
            tracing::warn!(fault = fault.in_log(), "can't write the last requests to the log");
        }
        self.app.store.close().await;
        self.server.close().await;
        lost
    }

    /// Serves requests until `stop` completes, and lets current requests finish. Several doors may be open at once, each with
    /// its own clock.
    pub async fn open_door(
        &self,
        listener: TcpListener,
        door: Door,
        stop: impl Future<Output = ()>,
    ) -> Result<(), String> {
        self.open_bounded_door(listener, door, Bounds::default(), stop).await
    }

    /// The same, with the given bounds.
    pub async fn open_bounded_door(
        &self,
        listener: TcpListener,
        door: Door,
        bounds: Bounds,
        stop: impl Future<Output = ()>,
    ) -> Result<(), String> {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let public_url = door.public_url.unwrap_or_else(|| format!("http://{address}"));
        let clerk = self.clerk.clone().map(Clerk::new).transpose()?.map(Arc::new);
        let providers = self.providers.iter().map(|settings| Provider::new(settings.clone()).map(Arc::new));
        let providers = providers.collect::<Result<Vec<_>, _>>()?.into();
        let app = App {
            accounts: Accounts { clerk, providers, ..self.app.accounts.clone() },
            clock: door.clock,
            limits: Arc::new(Limits::new(door.rate_limit)),
            memory: Memory::new(&bounds),
            bounds: Arc::new(bounds),
            public_url: public_url.trim_end_matches('/').into(),
            ready: Arc::new(AtomicBool::new(true)),
            ..self.app.clone()
        };
        listener::serve(listener, app, stop).await
    }
}

fn workers(app: &App, config: &Config) -> Supervisor {
    let mut workers = Supervisor::new(app.clone());
    workers.start(KeepWarm { target: config.warm_databases });
    workers.start(WatchAccess::default());
    workers.start(Maintain);
    workers.start(SweepChanges);
    workers.start(Reap);
    workers.start(SendMail);
    workers.start(Deliver);
    workers.start(Automate);
    workers.start(SendEmails::default());
    workers.start(ReadMailboxes::default());
    workers.start(Drain::default());
    workers.start(HoldDirect::default());
    workers.start(EndExcesses::default());
    workers.start(NoteKeyUse);
    workers.start(LogRequests);
    if config.plans.is_some() {
        workers.start(NoteMonthlyUsage);
    }
    workers
}

/// Two futures, which complete on the first and on the second SIGTERM or SIGINT. The handlers are registered before any slow step, so that no signal
/// is missed.
fn stop_signals() -> Result<(impl Future<Output = ()>, impl Future<Output = ()>), String> {
    let register = |kind| signal(kind).map_err(|error| format!("can't wait for signals: {error}"));
    let (mut terminate, mut interrupt) = (register(SignalKind::terminate())?, register(SignalKind::interrupt())?);
    let (seen, signals) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            seen.send_modify(|count| *count += 1);
        }
    });
    let after = |most: i32| {
        let mut signals = signals.clone();
        // The sender is never dropped.
        async move { drop(signals.wait_for(|count| *count > most).await) }
    };
    Ok((after(0), after(1)))
}

/// Logs the location of the data as the first line of the log.
fn say_where_the_data_is(config: &Config) {
    let version = env!("CARGO_PKG_VERSION");
    match &config.database_url {
        Some(_) => tracing::info!(version, "starting on the database server of --database-url"),
        None => {
            let data_dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
            tracing::info!(version, data_dir = %data_dir.display(), "starting");
        }
    }
}

fn log_to_stderr(config: &Config) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(config.log);
    // If the process already has a subscriber (a test that serves twice), the first one is kept.
    let _ = match config.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// The process's one recorder of metrics.
fn metrics_handle() -> PrometheusHandle {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets(&[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0]);
            let recorder = builder.unwrap_or_default().build_recorder();
            let handle = recorder.handle();
            let _ = metrics::set_global_recorder(recorder);
            handle
        })
        .clone()
}
