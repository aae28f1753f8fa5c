//! The database server under the store: the embedded cluster or a given server, with the installation's secret key.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use pg::cluster::{self, Binaries, Cluster, ClusterOptions};
use pg::{Error, Url};

use crate::config::Config;
use crate::store::Store;
use crate::store::cell::direct_address;
use crate::store::cell::migrate::WORKSPACE;
use crate::store::cell::secrets::SecretKey;
use crate::store::cell::{Administrator, Cells};

/// The name of the embedded cluster's superuser.
const SUPERUSER: &str = "postgres";

/// A database server that the store can use.
pub struct DatabaseServer {
    /// The cells, with their log-ins.
    pub cells: Arc<Cells>,
    cluster: Option<Cluster>,
    secret: SecretKey,
}

impl DatabaseServer {
    /// Starts the embedded server, or uses the given one.
    pub async fn open(config: &Config) -> Result<DatabaseServer, String> {
        match &config.database_url {
            Some(url) => DatabaseServer::given(config, url),
            None => DatabaseServer::embedded(config).await,
        }
    }

    fn given(config: &Config, url: &str) -> Result<DatabaseServer, String> {
        let url = Url::parse(url).map_err(|error| format!("--database-url: {error}"))?;
        let key = config.secret_key_text().ok_or(
            "with --database-url, KITH_SECRET_KEY must be given: the same for every process; `openssl rand -hex 32` makes one",
        )?;
        let secret = SecretKey::from_text(&key)?;
        let password = url.password.clone().unwrap_or_else(|| pg::Secret::new(""));
        let administrator = Administrator { user: url.user.clone(), password, database: url.database.clone() };
        let address = direct_address::of_given(config, &url)?;
        let cells = Cells::new(url.target.clone(), administrator, secret.clone()).reached_at(address);
        Ok(DatabaseServer { cells: Arc::new(cells), cluster: None, secret })
    }

    async fn embedded(config: &Config) -> Result<DatabaseServer, String> {
        let listener = direct_address::listener(config)?;
        let address = listener.as_ref().map(|listener| direct_address::of_embedded(config, listener)).transpose()?;
        let dir = std::path::absolute(&config.data_dir).map_err(|error| error.to_string())?;
        cluster::make_data_dir(&dir).map_err(|error| format!("can't make the data dir {}: {error}", dir.display()))?;
        let secret = match config.secret_key_text() {
            Some(text) => SecretKey::from_text(&text)?,
            None => SecretKey::from_data_dir(&dir)?,
        };
        let password = secret.derive("superuser", SUPERUSER);
        let binaries = Binaries::find(&dir).map_err(|error| error.to_string())?;
        let mut options = ClusterOptions::new(dir, binaries, password.clone());
        options.tcp = listener.as_ref().map(|listener| listener.at);
        options.tls = listener.and_then(|listener| listener.certificate);
        let at = options.tcp;
        let cluster = Cluster::start(options).await.map_err(|error| explain(&error.to_string(), at))?;
        let administrator = Administrator { user: SUPERUSER.into(), password, database: "postgres".into() };
        let cells = Cells::new(cluster.target(), administrator, secret.clone()).reached_at(address);
        let cells = cells.with_processes(cluster.processes());
        Ok(DatabaseServer { cells: Arc::new(cells), cluster: Some(cluster), secret })
    }

    /// The store over this server, whose workspaces' databases these migrations make.
    pub fn store(&self, migrations: &'static [&'static str]) -> Store {
        Store::new(self.cells.clone(), self.secret.clone(), migrations)
    }

    /// A value derived from the secret key, by which an installation recognises it.
    pub fn key_check(&self) -> String {
        self.secret.derive("key check", "kith").expose().to_owned()
    }

    /// Completes when the embedded server has failed for good. It never does for a given server.
    pub async fn lost(&self) -> Error {
        match &self.cluster {
            Some(cluster) => cluster.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Stops the embedded server.
    pub async fn close(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.stop().await;
        }
    }
}

/// PostgreSQL's error does not name the address on which it can't listen.
fn explain(error: &str, at: Option<SocketAddr>) -> String {
    match at {
        Some(at) if error.contains("TCP/IP sockets") => format!(
            "PostgreSQL can't listen on {at}, which may be taken: --postgres-listen gives it another address and port, or \
             turns direct connections off"
        ),
        _ => error.to_owned(),
    }
}

/// The store over a server that is running: the given one, or another process's embedded one.
pub fn reach(config: &Config) -> Result<Store, String> {
    match &config.database_url {
        Some(url) => Ok(DatabaseServer::given(config, url)?.store(WORKSPACE)),
        None => running(&config.data_dir, config.secret_key_text()),
    }
}

/// The store over another process's embedded server. It needs that installation's secret key, or its file.
fn running(data_dir: &Path, key: Option<String>) -> Result<Store, String> {
    let dir = std::path::absolute(data_dir).map_err(|error| error.to_string())?;
    let secret = match key {
        Some(text) => SecretKey::from_text(&text)?,
        None => SecretKey::from_data_dir(&dir)?,
    };
    // In PostgreSQL's lock file the fourth line is the port, the fifth the socket's directory.
    let lock = dir.join("pg/postmaster.pid");
    let lock = fs::read_to_string(&lock).map_err(|error| format!("no server runs on {}: {error}", dir.display()))?;
    let mut lines = lock.lines().skip(3);
    let port = lines.next().and_then(|port| port.parse().ok()).ok_or("the server's lock file has no port")?;
    let socket_dir = std::path::PathBuf::from(lines.next().ok_or("the server's lock file has no socket")?);
    let target = pg::Target { host: pg::Host::Unix(socket_dir), port, tls: pg::Tls::Off };
    let administrator = Administrator {
        user: SUPERUSER.into(),
        password: secret.derive("superuser", SUPERUSER),
        database: "postgres".into(),
    };
    Ok(Store::new(Arc::new(Cells::new(target, administrator, secret.clone())), secret, WORKSPACE))
}
