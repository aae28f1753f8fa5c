//! The database server under the store: the embedded cluster or a given server, with the installation's secret key.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pg::cluster::{self, Binaries, Cluster, ClusterOptions};
use pg::relay::{Listeners, Relay, RelayOptions};
use pg::{Error, Target, Url};
use tokio::sync::Mutex;

use crate::config::Config;
use crate::store::Store;
use crate::store::cell::direct_address::{self, DirectAddress, DirectListener};
use crate::store::cell::migrate::WORKSPACE;
use crate::store::cell::{Administrator, Cells, direct, rotate};
use crate::store::secrets::{SecretKey, SecretKeys};

/// Direct connections that log in to the embedded server at the same time.
const DIRECT_LOGINS: u32 = 16;
/// The most connections to the embedded server that direct connections take. The server allows more than these plus Kith's own.
pub const DIRECT_CONNECTIONS: u32 = direct::LIMITS.sessions_in_cell + DIRECT_LOGINS;
/// How long the last bytes to direct connections may take once the embedded server has stopped.
const LAST_BYTES_LIMIT: Duration = Duration::from_secs(2);

/// A database server that the store can use.
pub struct DatabaseServer {
    /// The cells, with their log-ins.
    pub cells: Arc<Cells>,
    cluster: Option<Cluster>,
    /// Accepts the direct connections to the embedded server.
    relay: Mutex<Option<Relay>>,
    keys: SecretKeys,
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
        let keys = SecretKeys::of(SecretKey::from_text(&key)?, config)?;
        let password = url.password.clone().unwrap_or_else(|| pg::Secret::new(""));
        let administrator = Administrator { user: url.user.clone(), password, database: url.database.clone() };
        let address = direct_address::of_given(config, &url)?;
        let cells = Cells::new(url.target.clone(), administrator, keys.current.clone()).reached_at(address);
        Ok(DatabaseServer { cells: Arc::new(cells), cluster: None, relay: Mutex::new(None), keys })
    }

    async fn embedded(config: &Config) -> Result<DatabaseServer, String> {
        let listener = direct_address::listener(config)?.map(|listener| listen(config, listener)).transpose()?;
        let dir = std::path::absolute(&config.data_dir).map_err(|error| error.to_string())?;
        cluster::make_data_dir(&dir).map_err(|error| format!("can't make the data dir {}: {error}", dir.display()))?;
        let secret = match config.secret_key_text() {
            Some(text) => SecretKey::from_text(&text)?,
            None => SecretKey::from_data_dir(&dir)?,
        };
        let keys = SecretKeys::of(secret, config)?;
        let binaries = Binaries::find(&dir).map_err(|error| error.to_string())?;
        let options = ClusterOptions::new(dir, binaries, rotate::superuser(&keys.current).password);
        let cluster = Cluster::start(options).await.map_err(|error| error.to_string())?;
        let administrator = match rotate::administrator(&cluster.target(), &keys).await {
            Ok(administrator) => administrator,
            Err(error) => {
                cluster.stop().await;
                return Err(error.to_string());
            }
        };
        let (listeners, address) = listener.unzip();
        let relay = listeners.map(|listeners| relay(listeners, cluster.target())).transpose();
        let relay = relay.map_err(|error| error.to_string())?;
        let cells = Cells::new(cluster.target(), administrator, keys.current.clone())
            .reached_at(address)
            .with_processes(cluster.processes());
        Ok(DatabaseServer { cells: Arc::new(cells), cluster: Some(cluster), relay: Mutex::new(relay), keys })
    }

    /// The store on this server. It creates workspaces' databases with these migrations.
    pub fn store(&self, migrations: &'static [&'static str]) -> Store {
        Store::new(self.cells.clone(), &self.keys, migrations)
    }

    /// The installation's secret keys.
    pub fn keys(&self) -> &SecretKeys {
        &self.keys
    }

    /// Completes when the embedded server has failed for good. It never does for a given server.
    pub async fn lost(&self) -> Error {
        match &self.cluster {
            Some(cluster) => cluster.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Stops the embedded server without a checkpoint. The next start recovers, and no data is lost.
    pub async fn close_at_once(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.stop_at_once().await;
        }
    }

    /// Stops the embedded server. Clients of direct connections get a message that their connection ends.
    pub async fn close(&self) {
        let mut relay = self.relay.lock().await.take();
        if let Some(relay) = &mut relay {
            relay.close().await;
        }
        if let Some(cluster) = &self.cluster {
            cluster.stop().await;
        }
        if let Some(relay) = &mut relay {
            // A client that does not read the message is not waited for any longer.
            let _ = tokio::time::timeout(LAST_BYTES_LIMIT, relay.closed()).await;
        }
    }
}

/// Listens for direct connections. None is accepted before the embedded server runs.
fn listen(config: &Config, mut listener: DirectListener) -> Result<(Listeners, DirectAddress), String> {
    let listeners = Listeners::bind(&listener.at, listener.certificate.as_ref()).map_err(|error| match error {
        Error::Io(error) => {
            format!("{error}: --postgres-listen gives direct connections another address and port, or turns them off")
        }
        other => other.to_string(),
    })?;
    listener.at = listeners.addresses();
    let address = direct_address::of_embedded(config, &listener)?;
    Ok((listeners, address))
}

/// Accepts log-ins of members' roles, as many as leave the API enough connections.
fn relay(listeners: Listeners, server: Target) -> Result<Relay, Error> {
    let limits = [direct::LIMITS.sessions_in_cell, direct::LIMITS.sessions_in_workspace, DIRECT_LOGINS];
    let [max_sessions, max_sessions_per_group, max_logins] = limits.map(|limit| limit as usize);
    let options = RelayOptions::new(server, direct::workspace_role_of, max_sessions, max_logins);
    Relay::start(listeners, RelayOptions { max_sessions_per_group, ..options })
}

/// The store on a running server: the given one, or another process's embedded one.
pub fn reach(config: &Config) -> Result<Store, String> {
    match &config.database_url {
        Some(url) => Ok(DatabaseServer::given(config, url)?.store(WORKSPACE)),
        None => running(&config.data_dir, config.secret_key_text()),
    }
}

/// The store on another process's embedded server. It needs that installation's secret key, or its file.
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
    let keys = SecretKeys { current: secret.clone(), old: None };
    Ok(Store::new(Arc::new(Cells::new(target, rotate::superuser(&secret), secret)), &keys, WORKSPACE))
}
