//! The settings of `kith`, each a flag or an environment variable. The README lists them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::proxies::Proxies;

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
    /// Give a workspace a plan.
    Plan(SetPlan),
}

/// Where things are and what is allowed.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Address to serve HTTP on.
    #[arg(long, env = "KITH_LISTEN", default_value = "127.0.0.1:8484")]
    pub listen: SocketAddr,

    /// Where the embedded database and the secret key live. The default is /var/lib/kith for root, and kith in $XDG_DATA_HOME or
    /// ~/.local/share for others.
    #[arg(long, env = "KITH_DATA_DIR", default_value_os_t = default_data_dir())]
    pub data_dir: PathBuf,

    /// An own PostgreSQL server (16 or newer, with pgvector) instead of the embedded one: postgres://user:password@host/database.
    /// The user must be a superuser, since Kith guards tenants by event triggers.
    #[arg(long, env = "KITH_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Where people reach PostgreSQL.
    #[command(flatten)]
    pub direct: Direct,

    /// The address under which clients reach Kith, for links; http://ADDR by default.
    #[arg(long, env = "KITH_PUBLIC_URL")]
    pub public_url: Option<String>,

    /// Requests a minute and key; 0 turns limits off.
    #[arg(long, env = "KITH_RATE_LIMIT", default_value_t = 1200)]
    pub rate_limit: u32,

    /// Proxies that are believed about whom they speak for (X-Forwarded-For), beside those on this machine: addresses and
    /// networks with commas between them, 10.0.0.0/8,fd00::1.
    #[arg(long, env = "KITH_TRUSTED_PROXIES", default_value = "", hide_default_value = true)]
    pub trusted_proxies: Proxies,

    /// A file of plans: {"default": "free", "plans": {"free": {"monthly_requests": 1000, "features": {"associations":
    /// false}}, "team": {}}}. Without one everything is open.
    #[arg(long, env = "KITH_PLANS", value_name = "FILE")]
    pub plans: Option<PathBuf>,

    /// Databases kept ready for new workspaces.
    #[arg(long, env = "KITH_WARM_DATABASES", default_value_t = 8)]
    pub warm_databases: usize,

    /// Secret from which database passwords are derived, at least 32 characters. By default a file in the data dir; required
    /// with --database-url, and the same for every process.
    #[arg(skip)]
    pub secret_key: Option<String>,

    /// The mail server for e-mails to people, with its password: smtp://user:password@host:port or smtps://…. By default
    /// the links in them are logged.
    #[arg(skip)]
    pub smtp_url: Option<String>,

    /// The sender of e-mails to people: `Kith <kith@example.com>`.
    #[arg(skip)]
    pub mail_from: Option<String>,

    /// Who issues the Clerk sessions that are taken: https://clerk.example.com. None are by default.
    #[arg(skip)]
    pub clerk_issuer: Option<String>,

    /// The address of Clerk's keys; below the issuer by default.
    #[arg(skip)]
    pub clerk_jwks_url: Option<String>,

    /// The sites whose Clerk sessions are taken, with commas between them; all by default.
    #[arg(skip)]
    pub clerk_authorized_parties: Option<String>,

    /// Where people may sign in elsewhere; none by default.
    #[arg(skip)]
    pub sign_in: SignIn,

    /// The least serious messages to log.
    #[arg(long, env = "KITH_LOG", default_value = "info")]
    pub log: tracing::Level,

    /// How log lines look.
    #[arg(long, env = "KITH_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// OpenID Connect providers at which people may sign in. None of it is a flag, since a secret is among it.
#[derive(Clone, Debug, Default)]
pub struct SignIn {
    /// Google's client, from its console.
    pub google_client_id: Option<String>,
    /// That client's secret.
    pub google_client_secret: Option<String>,
    /// Where Google is; tests have it elsewhere.
    pub google_issuer: Option<String>,
    /// Any other provider: https://login.example.com
    pub oidc_issuer: Option<String>,
    /// The client there.
    pub oidc_client_id: Option<String>,
    /// That client's secret.
    pub oidc_client_secret: Option<String>,
    /// What people call it; its host by default.
    pub oidc_name: Option<String>,
}

/// Where people's direct connections to PostgreSQL come in.
#[derive(Clone, Debug, Default, Args)]
pub struct Direct {
    /// Addresses on which direct connections to the embedded PostgreSQL are taken, with commas between them, or `off`; by
    /// default loopback with the HTTP port + 1. Beyond loopback only with a certificate.
    #[arg(id = "postgres_listen", long = "postgres-listen", env = "KITH_POSTGRES_LISTEN", value_name = "ADDR,…|off")]
    pub listen: Option<PostgresListen>,

    /// The certificate for it, PEM; with one, direct connections must use TLS.
    #[arg(id = "postgres_tls_cert", long = "postgres-tls-cert", env = "KITH_POSTGRES_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key, PEM.
    #[arg(id = "postgres_tls_key", long = "postgres-tls-key", env = "KITH_POSTGRES_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// HOST:PORT in people's connection URLs, where it is not the one listened on, or the one of --database-url.
    #[arg(
        id = "postgres_public_address",
        long = "postgres-public-address",
        env = "KITH_POSTGRES_PUBLIC_ADDRESS",
        value_name = "HOST:PORT"
    )]
    pub public_address: Option<String>,
}

/// Where direct connections to the embedded PostgreSQL are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresListen {
    /// Nowhere.
    Off,
    /// On these addresses, at least one.
    At(Vec<SocketAddr>),
}

impl FromStr for PostgresListen {
    type Err = String;

    fn from_str(text: &str) -> Result<PostgresListen, String> {
        match text {
            "off" => Ok(PostgresListen::Off),
            _ => {
                let addresses = text.split(',').map(|address| address.trim().parse());
                let addresses = addresses.collect::<Result<_, _>>().map(PostgresListen::At);
                addresses.map_err(|_| "addresses and ports with commas between them, or off".to_owned())
            }
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which workspace gets which plan.
#[derive(Clone, Debug, Args)]
pub struct SetPlan {
    /// `ws_…`
    pub workspace: String,
    /// The plan's name.
    pub plan: String,
    /// Where the workspace is, and the file of plans; the other settings don't matter.
    #[command(flatten)]
    pub config: Config,
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

    /// The sender of e-mails to people.
    pub fn mail_from_text(&self) -> Option<String> {
        given(&self.mail_from, "KITH_MAIL_FROM")
    }

    /// Which Clerk sessions are taken: the issuer, the address of its keys, the sites.
    pub fn clerk_texts(&self) -> [Option<String>; 3] {
        [
            given(&self.clerk_issuer, "KITH_CLERK_ISSUER"),
            given(&self.clerk_jwks_url, "KITH_CLERK_JWKS_URL"),
            given(&self.clerk_authorized_parties, "KITH_CLERK_AUTHORIZED_PARTIES"),
        ]
    }

    /// Where people may sign in elsewhere.
    pub fn sign_in_given(&self) -> SignIn {
        let set = &self.sign_in;
        SignIn {
            google_client_id: given(&set.google_client_id, "KITH_GOOGLE_CLIENT_ID"),
            google_issuer: set.google_issuer.clone(),
            google_client_secret: given(&set.google_client_secret, "KITH_GOOGLE_CLIENT_SECRET"),
            oidc_issuer: given(&set.oidc_issuer, "KITH_OIDC_ISSUER"),
            oidc_client_id: given(&set.oidc_client_id, "KITH_OIDC_CLIENT_ID"),
            oidc_client_secret: given(&set.oidc_client_secret, "KITH_OIDC_CLIENT_SECRET"),
            oidc_name: given(&set.oidc_name, "KITH_OIDC_NAME"),
        }
    }
}

/// Root's data directory, and that of a service without a home.
const SYSTEM_DATA_DIR: &str = "/var/lib/kith";

/// Where the data is, whatever the current directory, if nothing says otherwise.
pub fn default_data_dir() -> PathBuf {
    let is_root = rustix::process::geteuid().is_root();
    data_dir_of(is_root, std::env::var_os("XDG_DATA_HOME"), std::env::home_dir())
}

/// Relative paths in either variable are ignored, as the XDG Base Directory Specification says.
fn data_dir_of(is_root: bool, data_home: Option<OsString>, home: Option<PathBuf>) -> PathBuf {
    let data_home = data_home.map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home.filter(|path| path.is_absolute());
    match data_home.or_else(|| Some(home?.join(".local/share"))) {
        Some(data_home) if !is_root => data_home.join("kith"),
        _ => SYSTEM_DATA_DIR.into(),
    }
}

fn given(set: &Option<String>, variable: &str) -> Option<String> {
    set.clone().or_else(|| std::env::var(variable).ok()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_in_the_home_of_its_user_and_roots_in_var() {
        let check = |is_root, data_home: Option<&str>, home: Option<&str>, expected: &str| {
            let found = data_dir_of(is_root, data_home.map(OsString::from), home.map(PathBuf::from));
            assert_eq!(found, PathBuf::from(expected), "{is_root} {data_home:?} {home:?}");
        };
        check(true, None, Some("/root"), "/var/lib/kith");
        check(true, Some("/root/data"), Some("/root"), "/var/lib/kith");
        check(false, None, Some("/home/a"), "/home/a/.local/share/kith");
        check(false, Some("/home/a/data"), Some("/home/a"), "/home/a/data/kith");
        check(false, Some(""), Some("/home/a"), "/home/a/.local/share/kith");
        check(false, Some("data"), Some("/home/a"), "/home/a/.local/share/kith");
        check(false, None, None, "/var/lib/kith");
        check(false, None, Some(""), "/var/lib/kith");
    }

    #[test]
    fn every_command_has_the_same_data_dir() {
        // Only a parse: nothing of this process' environment is changed.
        let parse = |line: &[&str]| Line::try_parse_from(line).expect("a line").command;
        let Command::Serve(serve) = parse(&["kith", "serve"]) else { panic!("serve") };
        let Command::Doctor(doctor) = parse(&["kith", "doctor"]) else { panic!("doctor") };
        let Command::Plan(plan) = parse(&["kith", "plan", "ws_1", "free"]) else { panic!("plan") };
        assert_eq!((&serve.data_dir, &serve.data_dir), (&doctor.data_dir, &plan.config.data_dir));
    }
}
