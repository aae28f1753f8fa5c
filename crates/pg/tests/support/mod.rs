//! A real PostgreSQL for a test binary: one server in a temporary directory. The first test that needs it starts it, and it
//! is removed with the process, however the process ends.

#![allow(dead_code, reason = "every test binary uses its own part of this")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pg::cluster::{Binaries, Cluster, ClusterOptions};
use pg::conn::Login;
use pg::{Conn, Secret, Target};
use tokio::sync::OnceCell;

/// The superuser's password on every trial server.
pub const PASSWORD: &str = "a password of the superuser's";

/// The server of this test binary.
pub struct Server {
    cluster: Cluster,
    _dir: TempDir,
}

/// A database for one test and the role that owns it.
pub struct Tenant {
    /// The database's name.
    pub database: String,
    /// The role's name.
    pub role: String,
    /// The role's password.
    pub password: String,
    target: Target,
}

/// The server that all tests of a binary share.
pub async fn server() -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            let dir = TempDir::new();
            let cluster = Cluster::start(options(&dir.path)).await.expect("a PostgreSQL for the tests");
            Server { cluster, _dir: dir }
        })
        .await
}

/// Options for a server that may lose its data.
pub fn options(data_dir: &Path) -> ClusterOptions {
    let binaries = Binaries::find(data_dir).expect("PostgreSQL's programs");
    let mut options = ClusterOptions::new(data_dir, binaries, Secret::new(PASSWORD));
    let settings =
        [("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off"), ("shared_buffers", "32MB")];
    options.settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    options
}

impl Server {
    /// The server's address.
    pub fn target(&self) -> Target {
        self.cluster.target()
    }

    /// A superuser's connection to the database `postgres`.
    pub async fn admin(&self) -> Conn {
        admin(&self.target()).await
    }

    /// A new role with a new database that it owns and only it may connect to.
    pub async fn tenant(&self) -> Tenant {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let password = format!("password of {name}");
        let mut admin = self.admin().await;
        for sql in [
            // Cheap log-ins: these tests are not about SCRAM.
            "set scram_iterations = 1".to_owned(),
            format!("create role {name} login password '{password}'"),
            format!("create database {name} owner {name}"),
            format!("revoke all on database {name} from public"),
        ] {
            admin.query(&sql, &[]).await.expect("a tenant");
        }
        Tenant { database: name.clone(), role: name, password, target: self.target() }
    }
}

impl Tenant {
    /// A connection as the tenant.
    pub async fn connect(&self) -> Conn {
        let login = Login { user: &self.role, password: &self.password, database: &self.database, settings: &[] };
        Conn::open(&self.target, &login).await.expect("a connection of the tenant's")
    }
}

/// A superuser's connection to the database `postgres` of any trial server.
pub async fn admin(target: &Target) -> Conn {
    let login = Login { user: "postgres", password: PASSWORD, database: "postgres", settings: &[] };
    Conn::open(target, &login).await.expect("a connection of the superuser's")
}

/// The first column of the first row of the result.
pub async fn one(conn: &mut Conn, sql: &str) -> String {
    let rows = conn.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.text(0, 0).unwrap_or_else(|| panic!("{sql}: null")).to_owned()
}

/// Waits until a condition is true, and fails if it does not become true in time.
#[track_caller]
pub fn until<'a, F>(
    what: &'a str,
    limit: Duration,
    mut condition: impl FnMut() -> F + 'a,
) -> impl Future<Output = ()> + 'a
where
    F: Future<Output = bool> + 'a,
{
    let place = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !condition().await {
            assert!(start.elapsed() < limit, "{place}: not within {limit:?}: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A directory that is removed after this process has ended, even if it was killed. A server in it is ended too.
pub struct TempDir {
    /// The directory's path.
    pub path: PathBuf,
    /// A process that waits for the end of this one: its input is closed then.
    _sweeper: Child,
}

impl TempDir {
    /// Creates a new, empty directory.
    pub fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("kith-pg-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a temporary directory");
        let script = "cat >/dev/null; n=0; \
                      while [ -e \"$1/pg/postmaster.pid\" ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done; \
                      rm -rf \"$1\"";
        let sweeper = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal must not end it.
            .process_group(0)
            .spawn()
            .expect("sh");
        TempDir { path, _sweeper: sweeper }
    }
}
