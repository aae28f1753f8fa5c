//! The settings of `kith`, each a flag or an environment variable. The README lists them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use reqwest::Url;

use crate::http_client::trusted_url;
use crate::proxies::Proxies;

/// Kith: the CRM that AI agents run on.
#[derive(Debug, Parser)]
#[command(name = "kith", version, about)]
pub struct Line {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `kith`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API.
    Serve(Config),
    /// Check whether everything that Kith needs is available.
    Doctor(Config),
    /// Give a workspace a plan.
    Plan(SetPlan),
    /// Serve MCP on standard input and output, for clients that start their servers as programs. The API key is that of the
    /// environment variable KITH_KEY.
    Mcp(Bridge),
}

/// The settings of `kith mcp`.
#[derive(Clone, Debug, Args)]
pub struct Bridge {
    /// The address of the Kith.
    #[arg(long, env = "KITH_URL", default_value = "http://127.0.0.1:8484", global = true)]
    pub url: String,

    /// The tools that are listed: all, or the small set that covers everything.
    #[arg(long, value_enum, default_value_t = Tools::All, global = true)]
    pub tools: Tools,

    /// What to do instead of serving.
    #[command(subcommand)]
    pub instead: Option<BridgeCommand>,

    /// The API key. It is not a flag, because flags are visible in the process list.
    #[arg(skip)]
    pub key: Option<String>,
}

impl Bridge {
    /// The address of the tools.
    pub fn address(&self) -> Result<Url, String> {
        let mut url = trusted_url(&self.url)?.join("/mcp").map_err(|error| format!("{:?}: {error}", self.url))?;
        url.set_query(match self.tools {
            Tools::All => None,
            Tools::Core => Some("tools=core"),
        });
        Ok(url)
    }

    /// The API key, if the environment sets it.
    pub fn key_text(&self) -> Option<String> {
        given(&self.key, "KITH_KEY")
    }
}

/// What `kith mcp` does instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum BridgeCommand {
    /// Add Kith to the configuration of an MCP client, after showing the change.
    Install(Install),
}

/// The settings of `kith mcp install`.
#[derive(Clone, Debug, Args)]
pub struct Install {
    /// The client.
    #[arg(value_enum)]
    pub client: McpClient,

    /// Write without asking.
    #[arg(long)]
    pub yes: bool,
}

/// A client whose configuration is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum McpClient {
    /// Claude Code.
    Claude,
    /// Cursor.
    Cursor,
    /// Codex.
    Codex,
    /// VS Code.
    Vscode,
}

/// The tools that MCP lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tools {
    /// All tools.
    All,
    /// The small set.
    Core,
}

/// The settings of a server.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// The address on which HTTP is served.
    #[arg(long, env = "KITH_LISTEN", default_value = "127.0.0.1:8484")]
    pub listen: SocketAddr,

    /// The directory of the embedded database and the secret key. The default is /var/lib/kith for root, and kith in
    /// $XDG_DATA_HOME or ~/.local/share for other users.
    #[arg(long, env = "KITH_DATA_DIR", default_value_os_t = default_data_dir())]
    pub data_dir: PathBuf,

    /// A PostgreSQL server to use instead of the embedded one (16 or newer, with pgvector):
    /// postgres://user:password@host/database. The user must be a superuser, because Kith protects tenants with event
    /// triggers.
    #[arg(long, env = "KITH_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Direct connections to PostgreSQL.
    #[command(flatten)]
    pub direct: Direct,

    /// The address at which clients reach Kith, for links. The default is http://ADDR.
    #[arg(long, env = "KITH_PUBLIC_URL")]
    pub public_url: Option<String>,

    /// Requests per minute and key; 0 turns limits off.
    #[arg(long, env = "KITH_RATE_LIMIT", default_value_t = 1200)]
    pub rate_limit: u32,

    /// Proxies that are trusted to report the client's address (X-Forwarded-For), besides those on this machine: comma-separated
    /// addresses and networks, 10.0.0.0/8,fd00::1.
    #[arg(long, env = "KITH_TRUSTED_PROXIES", default_value = "", hide_default_value = true)]
    pub trusted_proxies: Proxies,

    /// A file of plans: {"default": "free", "plans": {"free": {"monthly_requests": 1000, "features": {"associations":
    /// false}}, "team": {}}}. Without it, everything is open.
    #[arg(long, env = "KITH_PLANS", value_name = "FILE")]
    pub plans: Option<PathBuf>,

    /// Whether webhooks may be sent to private networks and this machine. Set it only if everybody who can create webhooks may
    /// reach them.
    #[arg(skip)]
    pub allow_private_targets: Option<bool>,

    /// The number of databases kept ready for new workspaces.
    #[arg(long, env = "KITH_WARM_DATABASES", default_value_t = 8)]
    pub warm_databases: usize,

    /// Days for which the change log is kept, so that changes can be undone; 0 keeps nothing.
    #[arg(long, env = "KITH_UNDO_DAYS", default_value_t = 30)]
    pub undo_days: u32,

    /// The secret from which database passwords are derived, at least 32 characters. The default is a file in the data dir.
    /// It is required with --database-url, and must be the same for every process.
    #[arg(skip)]
    pub secret_key: Option<String>,

    /// The secret key that `secret_key` replaces. A start with both replaces it everywhere.
    #[arg(skip)]
    pub old_secret_key: Option<String>,

    /// The mail server for e-mails to people, with its password: smtp://user:password@host:port or smtps://…. Without it,
    /// the links in e-mails are logged.
    #[arg(skip)]
    pub smtp_url: Option<String>,

    /// The sender of e-mails to people: `Kith <kith@example.com>`.
    #[arg(skip)]
    pub mail_from: Option<String>,

    /// The address of Resend's API, through which workspaces send e-mail. The default is https://api.resend.com.
    #[arg(skip)]
    pub resend_base_url: Option<String>,

    /// The issuer of the Clerk sessions that are accepted: https://clerk.example.com. Without it, none are accepted.
    #[arg(skip)]
    pub clerk_issuer: Option<String>,

    /// The address of Clerk's keys. The default is an address below the issuer.
    #[arg(skip)]
    pub clerk_jwks_url: Option<String>,

    /// The sites whose Clerk sessions are accepted, comma-separated. The default is all sites.
    #[arg(skip)]
    pub clerk_authorized_parties: Option<String>,

    /// Providers at which people may sign in. There are none by default.
    #[arg(skip)]
    pub sign_in: SignIn,

    /// The lowest level of messages to log.
    #[arg(long, env = "KITH_LOG", default_value = "info")]
    pub log: tracing::Level,

    /// The format of log lines.
    #[arg(long, env = "KITH_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// OpenID Connect providers at which people may sign in. These settings are not flags, because they include secrets.
#[derive(Clone, Debug, Default)]
pub struct SignIn {
    /// Google's client, from its console.
    pub google_client_id: Option<String>,
    /// The secret of Google's client.
    pub google_client_secret: Option<String>,
    /// The address of Google's issuer. Tests set another one.
    pub google_issuer: Option<String>,
    /// The issuer of any other provider: https://login.example.com
    pub oidc_issuer: Option<String>,
    /// The client at that provider.
    pub oidc_client_id: Option<String>,
    /// The secret of that client.
    pub oidc_client_secret: Option<String>,
    /// The provider's display name. The default is its host.
    pub oidc_name: Option<String>,
}

/// How people's direct connections reach PostgreSQL.
#[derive(Clone, Debug, Default, Args)]
pub struct Direct {
    /// Addresses on which direct connections to the embedded PostgreSQL are accepted, comma-separated, or `off`. The default is
    /// loopback with the HTTP port + 1. Addresses beyond loopback require a certificate.
    #[arg(id = "postgres_listen", long = "postgres-listen", env = "KITH_POSTGRES_LISTEN", value_name = "ADDR,…|off")]
    pub listen: Option<PostgresListen>,

    /// The certificate for direct connections, PEM. With a certificate, they must use TLS.
    #[arg(id = "postgres_tls_cert", long = "postgres-tls-cert", env = "KITH_POSTGRES_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key, PEM.
    #[arg(id = "postgres_tls_key", long = "postgres-tls-key", env = "KITH_POSTGRES_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// HOST:PORT in people's connection URLs, if it differs from the address listened on, or from the one in --database-url.
    #[arg(
        id = "postgres_public_address",
        long = "postgres-public-address",
        env = "KITH_POSTGRES_PUBLIC_ADDRESS",
        value_name = "HOST:PORT"
    )]
    pub public_address: Option<String>,
}

/// The addresses on which direct connections to the embedded PostgreSQL are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresListen {
    /// Direct connections are off.
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

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// A plan for a workspace.
#[derive(Clone, Debug, Args)]
pub struct SetPlan {
    /// `ws_…`
    pub workspace: String,
    /// The plan's name.
    pub plan: String,
    /// The location of the workspace, and the file of plans. The other settings are ignored.
    #[command(flatten)]
    pub config: Config,
}

impl Config {
    /// The secret key's text, if the environment sets it. It is not a flag, because flags are visible in the process list.
    pub fn secret_key_text(&self) -> Option<String> {
        given(&self.secret_key, "KITH_SECRET_KEY")
    }

    /// The text of the key that the secret key replaces, if the environment sets it.
    pub fn old_secret_key_text(&self) -> Option<String> {
        given(&self.old_secret_key, "KITH_SECRET_KEY_OLD")
    }

    /// The mail server, if it is set. It is not a flag, because the URL may contain a password.
    pub fn smtp_url_text(&self) -> Option<String> {
        given(&self.smtp_url, "KITH_SMTP_URL")
    }

    /// The sender of e-mails to people.
    pub fn mail_from_text(&self) -> Option<String> {
        given(&self.mail_from, "KITH_MAIL_FROM")
    }

    /// The Clerk sessions that are accepted: the issuer, the address of its keys, the sites.
    pub fn clerk_texts(&self) -> [Option<String>; 3] {
        [
            given(&self.clerk_issuer, "KITH_CLERK_ISSUER"),
            given(&self.clerk_jwks_url, "KITH_CLERK_JWKS_URL"),
            given(&self.clerk_authorized_parties, "KITH_CLERK_AUTHORIZED_PARTIES"),
        ]
    }

    /// Whether webhooks may be sent to private networks and this machine.
    pub fn allows_private_targets(&self) -> Result<bool, String> {
        let set = self.allow_private_targets.map(|allowed| if allowed { "1" } else { "0" }.to_owned());
        match given(&set, "KITH_ALLOW_PRIVATE_TARGETS").as_deref() {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(other) => Err(format!("KITH_ALLOW_PRIVATE_TARGETS is 0 or 1, not {other:?}")),
        }
    }

    /// The address of Resend's API, if it is set.
    pub fn resend_base_url_text(&self) -> Option<String> {
        given(&self.resend_base_url, "KITH_RESEND_BASE_URL")
    }

    /// The configured providers at which people may sign in.
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

/// The data directory for root, and for a service without a home.
const SYSTEM_DATA_DIR: &str = "/var/lib/kith";

/// The default data directory. It does not depend on the current directory.
pub fn default_data_dir() -> PathBuf {
    let is_root = rustix::process::geteuid().is_root();
    data_dir_of(is_root, std::env::var_os("XDG_DATA_HOME"), std::env::home_dir())
}

/// Relative paths in either variable are ignored, as the XDG Base Directory Specification requires.
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
        // This only parses. The environment of this process is not changed.
        let parse = |line: &[&str]| Line::try_parse_from(line).expect("a line").command;
        let Command::Serve(serve) = parse(&["kith", "serve"]) else { panic!("serve") };
        let Command::Doctor(doctor) = parse(&["kith", "doctor"]) else { panic!("doctor") };
        let Command::Plan(plan) = parse(&["kith", "plan", "ws_1", "free"]) else { panic!("plan") };
        assert_eq!((&serve.data_dir, &serve.data_dir), (&doctor.data_dir, &plan.config.data_dir));
    }
}
