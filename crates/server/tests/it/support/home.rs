//! The Kith of this process, for all tests. It is served on a thread that never ends.

use std::future::pending;
use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use kith::bounds::Bounds;
use kith::clock::Clock;
use kith::config::{Config, Direct, LogFormat};
use kith::serve::{Door, Kith};
use kith::store::cell::TenantDatabase;
use kith::store::secrets::SecretKey;
use pg::{Conn, Host};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::OnceCell;

use super::{Agent, TempDir, mailbox, resend, stranger_at};

const SECRET_KEY: &str = "the secret key of the integration tests";

/// The Kith of this process.
pub struct Home {
    /// The app.
    pub kith: &'static Kith,
    /// Its base URL.
    pub base: String,
    runtime: Handle,
    _dir: TempDir,
}

/// The Kith that all tests of this process share. The first call starts it.
pub fn home() -> &'static Home {
    static HOME: OnceLock<Home> = OnceLock::new();
    HOME.get_or_init(start)
}

/// Another one, for tests that would block the server for all others.
pub fn arena() -> &'static Home {
    static ARENA: OnceLock<Home> = OnceLock::new();
    ARENA.get_or_init(start)
}

fn start() -> Home {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let dir = TempDir::new();
            let kith = Kith::start(&config(&dir), Clock::System).await.expect("a Kith for the tests");
            let kith: &'static Kith = Box::leak(Box::new(kith));
            let (listener, base) = listen().await;
            let home = Home { kith, base, runtime: Handle::current(), _dir: dir };
            tell.send(home).expect("somebody waits");
            kith.serve(listener, None, pending()).await
        })
    });
    told.recv().expect("a Kith that started")
}

impl Home {
    /// The location of a workspace's data. The call runs on the runtime that serves, because the connections of its pools
    /// belong to it.
    pub async fn place(&'static self, workspace_id: &str) -> TenantDatabase {
        let workspace_id = workspace_id.to_owned();
        let places = self.runtime.spawn(async move { self.kith.app.store.control.databases(&workspace_id).await });
        places.await.expect("an answer").expect("its places").into_iter().next().expect("a place")
    }

    /// Runs a future on the runtime that serves.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.spawn(work).await.expect("an end without a panic")
    }

    /// Runs a statement in the control database and ignores its rows.
    pub async fn control(&'static self, sql: &str, params: &[&str]) {
        let (sql, params) = (sql.to_owned(), params.iter().map(|it| Some((*it).to_owned())).collect::<Vec<_>>());
        let done = self.run(async move {
            let params: Vec<Option<&str>> = params.iter().map(Option::as_deref).collect();
            self.kith.app.store.control.query(&sql, &params).await.map(drop)
        });
        done.await.expect("a statement that works");
    }
}

/// A session of the workspace's own role outside of Kith, like one of psql.
pub async fn psql(agent: &Agent) -> Conn {
    let place = home().place(&agent.workspace_id).await;
    home().kith.app.store.cells.tenant(place.cell, &place.role, &place.database).await.expect("a session")
}

/// A second Kith on the same database, like another process. Returns its base URL.
pub async fn other_process() -> &'static str {
    static OTHER: OnceCell<String> = OnceCell::const_new();
    OTHER.get_or_init(async || home().run(async { serve_another(start_another(None).await).await }).await).await
}

/// A Kith on the same database, with workspaces that have the plans of this file.
pub async fn house_with_plans(plans: PathBuf) -> &'static Kith {
    home().run(start_another(Some(plans))).await
}

/// Another listener for this Kith, with a clock of its own. Returns its base URL.
pub async fn door_of(kith: &'static Kith, clock: Clock) -> String {
    let opened = async move {
        let (listener, base) = listen().await;
        let door = Door { public_url: None, clock, rate_limit: 0 };
        tokio::spawn(kith.open_door(listener, door, pending()));
        base
    };
    home().run(opened).await
}

/// A newer Kith on the same database, with these migrations of workspace databases. Returns its base URL.
pub async fn newer_process(migrations: &'static [&'static str]) -> String {
    let serving = async move {
        let kith = Kith::start_with(&config_of_another(), Clock::System, migrations).await.expect("a newer Kith");
        serve_another(Box::leak(Box::new(kith))).await
    };
    home().run(serving).await
}

async fn serve_another(kith: &'static Kith) -> String {
    let (listener, base) = listen().await;
    tokio::spawn(async move { kith.serve(listener, None, pending()).await });
    base
}

/// The configuration of another Kith on the same database.
pub fn config_of_another() -> Config {
    let target = home().kith.app.store.cells.target(0);
    let Host::Unix(dir) = &target.host else { panic!("an embedded server has a socket: {target:?}") };
    let password = SecretKey::from_text(SECRET_KEY).expect("a key").derive("superuser", "postgres");
    let (dir, port) = (dir.display(), target.port);
    let url = format!("postgres://postgres:{}@/postgres?host={dir}&port={port}", password.expose());
    Config { database_url: Some(url), warm_databases: 0, ..config(&home()._dir) }
}

async fn start_another(plans: Option<PathBuf>) -> &'static Kith {
    let config = Config { plans, ..config_of_another() };
    let kith = Kith::start(&config, Clock::System).await.expect("a second Kith");
    Box::leak(Box::new(kith))
}

fn config(dir: &TempDir) -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        data_dir: dir.path.clone(),
        database_url: None,
        direct: Direct::default(),
        public_url: None,
        rate_limit: 0,
        trusted_proxies: "192.0.2.0/24".parse().expect("proxies"),
        plans: None,
        allow_private_targets: Some(true),
        undo_days: 30,
        warm_databases: 4,
        secret_key: Some(SECRET_KEY.into()),
        old_secret_key: None,
        smtp_url: Some(mailbox().url.clone()),
        resend_base_url: Some(resend().url.clone()),
        mail_from: Some("Kith <kith@kith.example>".into()),
        clerk_issuer: Some(crate::clerk::issuer().base.clone()),
        clerk_jwks_url: None,
        clerk_authorized_parties: Some(crate::clerk::PARTY.into()),
        sign_in: crate::oidc::sign_in(),
        log: tracing::Level::WARN,
        log_format: LogFormat::Text,
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, format!("http://{address}"))
}

/// A client without a key.
pub fn stranger() -> Agent {
    stranger_at(&home().base)
}

/// A client with a workspace of its own.
pub async fn agent() -> Agent {
    stranger().with_workspace().await
}

/// Another listener for the same app. Returns its base URL.
pub async fn door(door: Door) -> String {
    // The listener belongs to the runtime that serves it.
    let home = home();
    let opened = home.runtime.spawn(async move {
        let (listener, base) = listen().await;
        tokio::spawn(home.kith.open_door(listener, door, pending()));
        base
    });
    opened.await.expect("a door")
}

/// Another listener for the same app, with limits of its own. Returns its base URL.
pub async fn bounded_door(bounds: Bounds) -> String {
    let home = home();
    let opened = home.runtime.spawn(async move {
        let (listener, base) = listen().await;
        let door = Door { public_url: None, clock: Clock::System, rate_limit: 0 };
        tokio::spawn(home.kith.open_bounded_door(listener, door, bounds, pending()));
        base
    });
    opened.await.expect("a door")
}

/// A client with a workspace of its own, at a listener whose clock the client controls.
pub async fn agent_at(ahead_ms: &Arc<AtomicI64>) -> Agent {
    let clock = Clock::Moved(ahead_ms.clone());
    stranger_at(&door(Door { public_url: None, clock, rate_limit: 0 }).await).with_workspace().await
}
