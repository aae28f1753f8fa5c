//! The address of a PostgreSQL server and how to connect to it: the parsed form of a connection URL.
//!
//! Nothing here opens a connection.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::error::Error;
use crate::secret::Secret;

/// A server, without a role or a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where it listens.
    pub host: Host,
    /// The port. For a Unix socket it is part of the file's name.
    pub port: u16,
    /// Which TLS mode is requested. A Unix socket never uses TLS.
    pub tls: Tls,
}

impl Target {
    /// The Unix socket's path, if the server listens on one.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        match &self.host {
            Host::Unix(directory) => Some(directory.join(format!(".s.PGSQL.{}", self.port))),
            Host::Tcp(_) => None,
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// The directory that holds `.s.PGSQL.<port>`.
    Unix(PathBuf),
    /// A name or an address.
    Tcp(String),
}

/// The requested TLS mode, with the meanings of libpq's `sslmode`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tls {
    /// `disable`.
    Off,
    /// `prefer` (and `allow`): TLS if the server offers it, nothing verified.
    Prefer,
    /// `require`: TLS, nothing verified.
    Require,
    /// `verify-ca`: the chain is verified, the name is not.
    VerifyCa {
        /// A PEM file of root certificates. If none is given, the system's are used.
        root: Option<PathBuf>,
    },
    /// `verify-full`: the chain and the name are verified.
    VerifyFull {
        /// A PEM file of root certificates. If none is given, the system's are used.
        root: Option<PathBuf>,
    },
}

/// A complete connection URL.
#[derive(Clone, Debug)]
pub struct Url {
    /// The server.
    pub target: Target,
    /// The role that logs in.
    pub user: String,
    /// The password, if the URL has one.
    pub password: Option<Secret>,
    /// The database. If the URL has none, the user's name.
    pub database: String,
}

/// libpq's default if a URL names no host.
const DEFAULT_SOCKET_DIR: &str = "/var/run/postgresql";
const DEFAULT_PORT: u16 = 5432;

/// Parameters of libpq that have no effect here and occur in the URLs that providers give out.
const IGNORED: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "pgbouncer",
    "sslnegotiation",
    "target_session_attrs",
];

impl Url {
    /// Parses `postgres://user:password@host:port/database?sslmode=…&sslrootcert=…&host=/directory`.
    ///
    /// Errors never quote the URL, because it holds a password.
    pub fn parse(url: &str) -> Result<Url, Error> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| wrong("must start with postgres:// or postgresql://"))?;
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (login, place),
            None => ("", authority),
        };
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };

        let (host, port) = split_place(place)?;
        let mut parts = Parts {
            user: decode(user)?,
            password: password.map(decode).transpose()?.map(Secret::from),
            host: decode(host)?,
            port: port.map(parse_port).transpose()?,
            database: decode(path)?,
            sslmode: "prefer".into(),
            root: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            parts.set(&decode(key)?, decode(value)?)?;
        }
        parts.finish()
    }
}

/// What the URL contains, before it is validated.
struct Parts {
    user: String,
    password: Option<Secret>,
    host: String,
    port: Option<u16>,
    database: String,
    sslmode: String,
    root: Option<PathBuf>,
}

impl Parts {
    fn set(&mut self, key: &str, value: String) -> Result<(), Error> {
        match key {
            "host" => self.host = value,
            "port" => self.port = Some(parse_port(&value)?),
            "user" => self.user = value,
            "password" => self.password = Some(Secret::from(value)),
            "dbname" => self.database = value,
            "sslmode" => self.sslmode = value,
            // libpq's name for the root certificates that the system trusts.
            "sslrootcert" if value == "system" => self.root = None,
            "sslrootcert" => self.root = Some(PathBuf::from(value)),
            key if IGNORED.contains(&key) => {}
            key => return Err(wrong(&format!("has a parameter that is not supported: {key}"))),
        }
        Ok(())
    }

    fn finish(self) -> Result<Url, Error> {
        if self.host.contains(',') {
            return Err(wrong("names several hosts, one is supported"));
        }
        if self.user.is_empty() {
            return Err(wrong("names no user"));
        }
        let host = match self.host.as_str() {
            "" => Host::Unix(PathBuf::from(DEFAULT_SOCKET_DIR)),
            path if path.starts_with('/') => Host::Unix(PathBuf::from(path)),
            _ => Host::Tcp(self.host),
        };
        let tls = match self.sslmode.as_str() {
            "disable" => Tls::Off,
            "allow" | "prefer" => Tls::Prefer,
            "require" => Tls::Require,
            "verify-ca" => Tls::VerifyCa { root: self.root },
            "verify-full" => Tls::VerifyFull { root: self.root },
            other => return Err(wrong(&format!("has an unknown sslmode: {other}"))),
        };
        let database = if self.database.is_empty() { self.user.clone() } else { self.database };
        for text in [&self.user, &database] {
            if text.contains('\0') {
                return Err(wrong("contains a NUL"));
            }
        }
        Ok(Url {
            target: Target { host, port: self.port.unwrap_or(DEFAULT_PORT), tls },
            user: self.user,
            password: self.password,
            database,
        })
    }
}

/// `host:port`, `[v6]:port`, or a part of it.
fn split_place(place: &str) -> Result<(&str, Option<&str>), Error> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| wrong("has a [ without a ]"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(wrong("has something other than a port after ]")),
        };
    }
    Ok(match place.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (place, None),
    })
}

fn parse_port(text: &str) -> Result<u16, Error> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("has a port that is not one"))
}

fn decode(text: &str) -> Result<String, Error> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(wrong("is not UTF-8 after percent-decoding")),
    }
}

fn wrong(what: &str) -> Error {
    Error::Config(format!("the database URL {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Url {
        Url::parse(url).unwrap()
    }

    fn refusal(url: &str) -> String {
        Url::parse(url).unwrap_err().to_string()
    }

    #[test]
    fn a_whole_url_is_taken_apart_and_percent_decoded() {
        let url = parse("postgresql://me%40x:p%2Fw%3A@db.example:6543/crm%20two?sslmode=require");
        assert_eq!(url.user, "me@x");
        assert_eq!(url.password.unwrap().expose(), "p/w:");
        assert_eq!(url.database, "crm two");
        let host = Host::Tcp("db.example".into());
        assert_eq!(url.target, Target { host, port: 6543, tls: Tls::Require });
    }

    #[test]
    fn what_is_left_out_has_libpqs_defaults() {
        let url = parse("postgres://kith@db");
        assert_eq!(url.database, "kith");
        assert!(url.password.is_none());
        assert_eq!((url.target.port, url.target.tls), (5432, Tls::Prefer));
        assert_eq!(parse("postgres://kith@/x").target.host, Host::Unix(DEFAULT_SOCKET_DIR.into()));
    }

    #[test]
    fn a_directory_is_a_unix_socket_by_query_or_encoded() {
        for url in ["postgres://k@/d?host=/run/pg&port=7000", "postgres://k@%2Frun%2Fpg:7000/d"] {
            let target = parse(url).target;
            assert_eq!((target.host, target.port), (Host::Unix("/run/pg".into()), 7000));
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let target = parse("postgres://k@[::1]:7000/d").target;
        assert_eq!((target.host, target.port), (Host::Tcp("::1".into()), 7000));
    }

    #[test]
    fn roots_go_with_the_verifying_modes() {
        let url = parse("postgres://k@h/d?sslmode=verify-full&sslrootcert=/etc/ca.pem");
        assert_eq!(url.target.tls, Tls::VerifyFull { root: Some("/etc/ca.pem".into()) });
        let url = parse("postgres://k@h/d?sslrootcert=system&sslmode=verify-ca");
        assert_eq!(url.target.tls, Tls::VerifyCa { root: None });
    }

    #[test]
    fn nonsense_is_refused_by_name_and_without_the_password() {
        assert!(refusal("mysql://x").contains("postgres://"));
        assert!(refusal("postgres://h/d").contains("no user"));
        assert!(refusal("postgres://u:hunter2@h:99999/d").contains("port"));
        assert!(refusal("postgres://u:hunter2@h/d?sslkey=x").contains("sslkey"));
        assert!(refusal("postgres://u:hunter2@h/d?sslmode=maybe").contains("sslmode"));
        assert!(refusal("postgres://u:hunter2@a,b/d").contains("several hosts"));
        assert!(!refusal("postgres://u:hunter2@[::1/d").contains("hunter2"));
    }
}
