//! Where attacks take place: beside all other tests, or in a server of their own, where they would take it from them.

use std::future::pending;
use std::sync::{OnceLock, mpsc};
use std::thread;

use kith::clock::Clock;
use kith::config::{Config, LogFormat};
use kith::serve::Kith;
use kith::store::cells::Place;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::support::{self, TempDir};

/// A Kith in this process.
pub struct Stage {
    /// The thing itself.
    pub kith: &'static Kith,
    /// Where it is served.
    pub base: String,
    _dir: Option<TempDir>,
}

/// The one that all tests share.
pub fn home() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let home = support::home();
        Stage { kith: home.kith, base: home.base.clone(), _dir: None }
    })
}

/// Another one, for floods.
pub fn arena() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let dir = TempDir::new();
                let kith = Kith::start(&config(&dir), Clock::System).await.expect("a Kith for the attacks");
                let kith: &'static Kith = Box::leak(Box::new(kith));
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let base = format!("http://{}", listener.local_addr().expect("an address"));
                tell.send(Stage { kith, base, _dir: Some(dir) }).expect("somebody waits");
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
        secret_key: Some("the secret key of the hostile tests".into()),
        log: tracing::Level::WARN,
        log_format: LogFormat::Text,
    }
}

impl Stage {
    /// Where a workspace's data is.
    pub async fn place(&self, workspace_id: &str) -> Place {
        let mut control = self.kith.store.cells.control().await.expect("a session of the control role");
        let sql = "SELECT id, cell_id, name, role FROM databases WHERE workspace_id = $1";
        let rows = control.query(sql, &[Some(workspace_id)]).await.expect("its databases");
        let text = |name: &str| rows.get::<String>(0, name).expect("a row");
        Place::new(rows.get(0, "id").expect("an id"), rows.get(0, "cell_id").expect("a cell"), &text("name"), &text("role"))
    }
}
