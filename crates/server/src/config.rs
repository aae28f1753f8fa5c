//! What can be set, by flag or by environment variable (wire contract, section 10).

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Kith: the CRM that AI agents run on.
#[derive(Debug, Parser)]
#[command(name = "kith", version, about)]
pub struct Line {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The things that `kith` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API.
    Serve(Config),
    /// Say whether everything that Kith needs is there.
    Doctor(Config),
    /// For the benchmark: how to log in as a workspace's own role.
    #[command(hide = true)]
    BenchLogin(BenchLogin),
    /// For the benchmark: the SQL that requests become.
    #[command(hide = true)]
    BenchSql,
}

/// Where things are and what is allowed.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Address to serve HTTP on.
    #[arg(long, env = "KITH_LISTEN", default_value = "127.0.0.1:8484")]
    pub listen: SocketAddr,

    /// Where the embedded database and the secret key live.
    #[arg(long, env = "KITH_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,

    /// An own PostgreSQL server (16 or newer, with pgvector) instead of the embedded one: postgres://user:password@host/database.
    /// The user must be a superuser, since Kith guards tenants by event triggers.
    #[arg(long, env = "KITH_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// The address under which clients reach Kith, for links; http://ADDR by default.
    #[arg(long, env = "KITH_PUBLIC_URL")]
    pub public_url: Option<String>,

    /// Requests a minute and key; 0 turns limits off.
    #[arg(long, env = "KITH_RATE_LIMIT", default_value_t = 1200)]
    pub rate_limit: u32,

    /// Databases kept ready for new workspaces.
    #[arg(long, env = "KITH_WARM_DATABASES", default_value_t = 8)]
    pub warm_databases: usize,

    /// Secret from which database passwords are derived, at least 32 characters. By default a file in the data dir; required
    /// with --database-url, and the same for every process.
    #[arg(skip)]
    pub secret_key: Option<String>,

    /// The mail server for letters to people, with its password: smtp://user:password@host:port or smtps://…. By default
    /// the links in them are logged.
    #[arg(skip)]
    pub smtp_url: Option<String>,

    /// Whom letters are from: `Kith <kith@example.com>`.
    #[arg(skip)]
    pub mail_from: Option<String>,

    /// The least serious messages to log.
    #[arg(long, env = "KITH_LOG", default_value = "info")]
    pub log: tracing::Level,

    /// How log lines look.
    #[arg(long, env = "KITH_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which workspace the benchmark logs in to.
#[derive(Clone, Debug, Args)]
pub struct BenchLogin {
    /// The data dir of a running embedded server.
    #[arg(long, env = "KITH_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// `ws_…`
    #[arg(long)]
    pub workspace: String,
}

impl Config {
    /// The secret key's text, where the environment gives one. It is no flag, since flags show in the process list.
    pub fn secret_key_text(&self) -> Option<String> {
        given(&self.secret_key, "KITH_SECRET_KEY")
    }

    /// The mail server, where there is one. It is no flag, since the URL may hold a password.
    pub fn smtp_url_text(&self) -> Option<String> {
        given(&self.smtp_url, "KITH_SMTP_URL")
    }

    /// Whom letters are from.
    pub fn mail_from_text(&self) -> Option<String> {
        given(&self.mail_from, "KITH_MAIL_FROM")
    }
}

fn given(set: &Option<String>, variable: &str) -> Option<String> {
    set.clone().or_else(|| std::env::var(variable).ok()).filter(|text| !text.is_empty())
}
