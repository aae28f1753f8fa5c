//! `kith serve`: puts the house together, opens the door, and closes everything in order.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::access::Keys;
use crate::access::billing::{Plans, Subscriptions};
use crate::access::limits::Hourly;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, LogFormat};
use crate::door::request_line::Forgiving;
use crate::door::{self, Peer};
use crate::people::auth::accounts::Accounts;
use crate::people::auth::clerk::{self, Clerk};
use crate::people::auth::oidc::{self, Provider};
use crate::proxies::Proxies;
use crate::store::Store;
use crate::store::cell::migrate::WORKSPACE;
use crate::store::cell::provision;
use crate::store::cell::server::DatabaseServer;
use crate::work::mail::{self, Mailer};
use crate::work::{direct, key_last_used, maintain, monthly_usage, reap, watch};

/// How long requests that are being served may take to finish after SIGTERM: longer than any statement may run.
const DRAIN_LIMIT: Duration = Duration::from_secs(40);

/// Sign-ins at providers that an address may begin in an hour: whole offices share one.
const SIGN_INS_AN_HOUR: u32 = 600;

/// Serves until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), String> {
    log_to_stderr(&config);
    let stop = stop_signal()?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("can't listen on {}: {error}", config.listen))?;
    let kith = Kith::start(&config, Clock::System).await?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    // The first line on standard output says that requests are served; who reads it may have gone.
    let _ = writeln!(std::io::stdout(), "kith listening on http://{address}");
    kith.serve(listener, config.public_url.as_deref(), stop).await
}

/// What doors to one house may differ in.
#[derive(Clone, Debug)]
pub struct Door {
    /// The address under which clients reach it; where it listens, if nothing is said.
    pub public_url: Option<String>,
    /// Its time.
    pub clock: Clock,
    /// Requests a minute and key; 0 for no limit.
    pub rate_limit: u32,
}

/// Kith, ready to serve: over its database, but without a door yet.
pub struct Kith {
    /// Everything that is stored.
    pub store: Store,
    server: DatabaseServer,
    clock: Clock,
    rate_limit: u32,
    metrics: PrometheusHandle,
    database_taken: Arc<Notify>,
    keys: Keys,
    accounts: Accounts,
    clerk: Option<clerk::Settings>,
    providers: Vec<oidc::Settings>,
    proxies: Arc<Proxies>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Kith {
    /// Starts the embedded database if there is one, and sets up what is missing.
    pub async fn start(config: &Config, clock: Clock) -> Result<Kith, String> {
        Kith::start_with(config, clock, WORKSPACE).await
    }

    /// The same with other migrations of workspaces' databases than this version has.
    pub async fn start_with(
        config: &Config,
        clock: Clock,
        migrations: &'static [&'static str],
    ) -> Result<Kith, String> {
        let post = Mailer::new(config.smtp_url_text().as_deref(), config.mail_from_text().as_deref())?;
        let [clerk_issuer, clerk_jwks_url, clerk_parties] = config.clerk_texts();
        let clerk_parties = clerk_parties.unwrap_or_default();
        let clerk = clerk::Settings::new(clerk_issuer.as_deref(), clerk_jwks_url.as_deref(), &clerk_parties)?;
        let providers = oidc::settings(&config.sign_in_given())?;
        let subscriptions = Subscriptions::new(config.plans.as_deref().map(Plans::read).transpose()?);
        let server = DatabaseServer::open(config).await?;
        let store = server.store(migrations);
        let set_up = provision::set_up(&store, &server.cells, &server.key_check()).await;
        if let Err(error) = set_up {
            server.close().await;
            return Err(format!("can't set the database up: {error}"));
        }
        let database_taken = Arc::new(Notify::new());
        let warming = provision::keep_warm(store.clone(), config.warm_databases, database_taken.clone());
        let keys = Keys::new(subscriptions.clone());
        let watching = watch::run(store.clone(), keys.clone());
        let reaping = reap::run(store.clone(), clock.clone());
        let accounts = Accounts::default();
        let mailing = mail::run(store.clone(), clock.clone(), post, accounts.letters.clone());
        let mut tasks =
            vec![tokio::spawn(warming), tokio::spawn(reaping), tokio::spawn(watching), tokio::spawn(mailing)];
        tasks.push(tokio::spawn(direct::run(store.clone())));
        tasks.push(tokio::spawn(maintain::run(store.clone())));
        if config.plans.is_some() {
            tasks.push(tokio::spawn(monthly_usage::run(store.clone(), subscriptions)));
        }
        tasks.push(tokio::spawn(key_last_used::run(store.clone(), keys.clone())));
        let rate_limit = config.rate_limit;
        let proxies = Arc::new(config.trusted_proxies.clone());
        let metrics = metrics_handle();
        Ok(Kith {
            store,
            server,
            clock,
            rate_limit,
            metrics,
            database_taken,
            keys,
            accounts,
            clerk,
            providers,
            proxies,
            tasks,
        })
    }

    /// Serves requests until `stop` is done or the database is lost, lets those under way finish, and stops the database.
    pub async fn serve(
        &self,
        listener: TcpListener,
        public_url: Option<&str>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), String> {
        let public_url = public_url.map(str::to_owned);
        let door = Door { public_url, clock: self.clock.clone(), rate_limit: self.rate_limit };
        let lost = tokio::select! {
            lost = self.open_door(listener, door, stop) => lost,
            error = self.server.lost() => Err(format!("the database is lost: {error}")),
        };
        self.tasks.iter().for_each(|task| task.abort());
        key_last_used::note(&self.store, &self.keys).await;
        self.store.close().await;
        self.server.close().await;
        lost
    }

    /// Serves requests until `stop` is done, and lets those under way finish. A house may have several doors, each with a
    /// time of its own.
    pub async fn open_door(
        &self,
        listener: TcpListener,
        door: Door,
        stop: impl Future<Output = ()>,
    ) -> Result<(), String> {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let public_url =
            door.public_url.map_or_else(|| format!("http://{address}"), |url| url.trim_end_matches('/').to_owned());
        let clerk = self.clerk.clone().map(Clerk::new).transpose()?.map(Arc::new);
        let providers = self.providers.iter().map(|settings| Provider::new(settings.clone()).map(Arc::new));
        let providers = providers.collect::<Result<Vec<_>, _>>()?.into();
        let app = App {
            store: self.store.clone(),
            keys: self.keys.clone(),
            rate_limit: door.rate_limit,
            sign_ups: Arc::default(),
            new_accounts: Arc::default(),
            made_workspaces: Arc::default(),
            invitations: Arc::default(),
            sign_ins: Arc::new(Hourly::at_most(SIGN_INS_AN_HOUR)),
            accounts: Accounts { clerk, providers, ..self.accounts.clone() },
            clock: door.clock,
            proxies: self.proxies.clone(),
            public_url: public_url.into(),
            ready: Arc::new(AtomicBool::new(true)),
            database_taken: self.database_taken.clone(),
            metrics: self.metrics.clone(),
        };
        let ready = app.ready.clone();
        accept(listener, door::router(app), ready, stop).await
    }
}

/// Accepts connections until `stop`; then those that are being served finish.
async fn accept(
    listener: TcpListener,
    router: Router,
    ready: Arc<AtomicBool>,
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or the client left already: neither is a reason to stop.
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = hyper_util::service::TowerToHyperService::new(tower::service_fn(
            move |mut request: Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(Peer(peer));
                router.clone().oneshot(request.map(axum::body::Body::new))
            },
        ));
        let connection =
            server.serve_connection_with_upgrades(TokioIo::new(Forgiving::new(stream)), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended badly");
            }
        });
    }
    ready.store(false, Ordering::Relaxed);
    drop(listener);
    if tokio::time::timeout(DRAIN_LIMIT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
    Ok(())
}

/// Done when SIGTERM or SIGINT comes. Registered before anything slow, so that no signal is missed.
fn stop_signal() -> Result<impl Future<Output = ()>, String> {
    let register = |kind| signal(kind).map_err(|error| format!("can't wait for signals: {error}"));
    let (mut terminate, mut interrupt) = (register(SignalKind::terminate())?, register(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn log_to_stderr(config: &Config) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(config.log);
    // A second subscriber in one process (a test that serves twice) keeps the first.
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
