//! The Kith of this process: served on a thread that lives for ever, for all tests.

use std::future::pending;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use kith::clock::Clock;
use kith::config::{Config, LogFormat};
use kith::serve::{Door, Kith};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};

use super::{Agent, TempDir, stranger_at};

/// The Kith of this process.
pub struct Home {
    /// The thing itself.
    pub kith: &'static Kith,
    /// Where it is served.
    pub base: String,
    runtime: Handle,
    _dir: TempDir,
}

/// The Kith that all tests of this process share; the first who asks starts it.
pub fn home() -> &'static Home {
    static HOME: OnceLock<Home> = OnceLock::new();
    HOME.get_or_init(|| {
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
    })
}

fn config(dir: &TempDir) -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        data_dir: dir.path.clone(),
        database_url: None,
        public_url: None,
        rate_limit: 0,
        warm_databases: 4,
        secret_key: Some("the secret key of the integration tests".into()),
        log: tracing::Level::WARN,
        log_format: LogFormat::Text,
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, format!("http://{address}"))
}

/// A caller without a key.
pub fn stranger() -> Agent {
    stranger_at(&home().base)
}

/// A caller with a workspace of its own.
pub async fn agent() -> Agent {
    stranger().with_workspace().await
}

/// A further door to the same house, where it is served.
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

/// A caller with a workspace of its own, at a door whose time the caller moves.
pub async fn agent_at(ahead_ms: &Arc<AtomicI64>) -> Agent {
    let clock = Clock::Moved(ahead_ms.clone());
    stranger_at(&door(Door { public_url: None, clock, rate_limit: 0 }).await).with_workspace().await
}
