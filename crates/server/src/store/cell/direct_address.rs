//! Direct connections from outside: the addresses that the server listens on, and the address in people's connection URLs.

use std::net::{Ipv4Addr, SocketAddr};

use pg::relay::Certificate;
use pg::{Host, Tls, Url};

use crate::config::{Config, PostgresListen};

/// The addresses on which Kith listens for direct connections to the embedded server.
#[derive(Debug)]
pub struct DirectListener {
    /// The addresses and ports, at least one. Port 0 means any free port.
    pub at: Vec<SocketAddr>,
    /// The server's certificate. Without one there is no TLS.
    pub certificate: Option<Certificate>,
}

/// The part of people's connection URLs that follows the @.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectAddress {
    /// `host:port`
    address: String,
    /// The `sslmode` of libpq, if the URL needs one.
    sslmode: Option<&'static str>,
}

impl DirectAddress {
    /// A URL for psql and other clients.
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        let sslmode = self.sslmode.map(|mode| format!("?sslmode={mode}")).unwrap_or_default();
        format!("postgres://{role}:{password}@{}/{database}{sslmode}", self.address)
    }
}

/// The addresses to listen on for direct connections, if the configuration allows them. Addresses beyond loopback need a
/// certificate.
pub fn listener(config: &Config) -> Result<Option<DirectListener>, String> {
    let direct = &config.direct;
    let at = match &direct.listen {
        Some(PostgresListen::Off) => return Ok(None),
        Some(PostgresListen::At(at)) => at.clone(),
        None => match config.listen.port() {
            0 => vec![(Ipv4Addr::LOCALHOST, 0).into()],
            port => vec![(Ipv4Addr::LOCALHOST, port.wrapping_add(1)).into()],
        },
    };
    let certificate = match (&direct.tls_cert, &direct.tls_key) {
        (Some(certificate), Some(key)) => Some(Certificate { certificate: certificate.clone(), key: key.clone() }),
        (None, None) => None,
        _ => return Err("--postgres-tls-cert and --postgres-tls-key go together".into()),
    };
    if let Some(open) = at.iter().find(|at| !at.ip().is_loopback()).filter(|_| certificate.is_none()) {
        return Err(format!(
            "--postgres-listen {open} is reached from other machines and needs TLS: give --postgres-tls-cert and \
             --postgres-tls-key"
        ));
    }
    Ok(Some(DirectListener { at, certificate }))
}

/// The public address of the embedded server. If the configuration gives none, the first address that it listens on.
pub fn of_embedded(config: &Config, listener: &DirectListener) -> Result<DirectAddress, String> {
    // Some clients ask for TLS unless the URL says otherwise.
    let sslmode = Some(if listener.certificate.is_some() { "require" } else { "disable" });
    let at = listener.at.first().ok_or("--postgres-listen names no address")?;
    let address = match (&config.direct.public_address, at.ip().is_unspecified()) {
        (Some(address), _) => address.clone(),
        (None, false) => at.to_string(),
        (None, true) => match config.public_url.as_deref().and_then(host_of) {
            Some(host) => format!("{host}:{}", at.port()),
            None => {
                return Err(format!(
                    "--postgres-listen {at} is every address: --postgres-public-address has to say which one people use"
                ));
            }
        },
    };
    Ok(DirectAddress { address, sslmode })
}

/// The public address of a given server; `None` if it is reached only by a socket of this machine.
pub fn of_given(config: &Config, url: &Url) -> Result<Option<DirectAddress>, String> {
    if matches!(config.direct.listen, Some(PostgresListen::At(_))) || config.direct.tls_cert.is_some() {
        return Err("--postgres-listen and --postgres-tls-cert are for the embedded PostgreSQL: with --database-url, \
                    --postgres-public-address says where people reach your server"
            .into());
    }
    let address = match (&config.direct.public_address, &url.target.host) {
        (Some(address), _) => address.clone(),
        (None, Host::Tcp(host)) if host.contains(':') => format!("[{host}]:{}", url.target.port),
        (None, Host::Tcp(host)) => format!("{host}:{}", url.target.port),
        (None, Host::Unix(_)) => return Ok(None),
    };
    let sslmode = match url.target.tls {
        Tls::Off => Some("disable"),
        Tls::Prefer => None,
        Tls::Require => Some("require"),
        Tls::VerifyCa { .. } => Some("verify-ca"),
        Tls::VerifyFull { .. } => Some("verify-full"),
    };
    Ok(Some(DirectAddress { address, sslmode }))
}

/// The host in a URL, an IPv6 address with its brackets.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.find(']') {
        Some(end) => &authority[..=end],
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::{Command, Line};

    fn config(words: &[&str]) -> Config {
        let line = ["kith", "serve"].iter().chain(words);
        match Line::parse_from(line).command {
            Command::Serve(config) => config,
            other => panic!("{other:?}"),
        }
    }

    fn listener_of(words: &[&str]) -> Result<Option<String>, String> {
        let text = |at: &[SocketAddr]| at.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ");
        listener(&config(words)).map(|found| found.map(|listener| text(&listener.at)))
    }

    #[test]
    fn it_listens_beside_http_and_beyond_loopback_only_with_tls() {
        let tls = ["--postgres-tls-cert", "/c", "--postgres-tls-key", "/k"];
        assert_eq!(listener_of(&["--listen", "0.0.0.0:9000"]), Ok(Some("127.0.0.1:9001".into())));
        assert_eq!(listener_of(&["--postgres-listen", "off"]), Ok(None));
        assert_eq!(listener_of(&["--postgres-listen", "[::1]:7000"]), Ok(Some("[::1]:7000".into())));
        assert!(listener_of(&["--postgres-listen", "0.0.0.0:7000"]).unwrap_err().contains("needs TLS"));
        assert!(listener_of(&["--postgres-listen", "10.0.0.1:7000"]).unwrap_err().contains("needs TLS"));
        let open = [&["--postgres-listen", "0.0.0.0:7000"][..], &tls].concat();
        assert_eq!(listener_of(&open), Ok(Some("0.0.0.0:7000".into())));
        assert!(listener_of(&tls[..2]).unwrap_err().contains("go together"));
        assert_eq!(listener_of(&["--listen", "127.0.0.1:0"]), Ok(Some("127.0.0.1:0".into())));
        let several = ["--postgres-listen", "127.0.0.1:7000, [::1]:7000"];
        assert_eq!(listener_of(&several), Ok(Some("127.0.0.1:7000 [::1]:7000".into())));
        let mixed = ["--postgres-listen", "127.0.0.1:7000,10.0.0.1:7000"];
        assert!(listener_of(&mixed).unwrap_err().contains("10.0.0.1:7000 is reached from other machines"));
    }

    #[test]
    fn the_url_has_what_the_client_needs() {
        let tls = ["--postgres-listen", "0.0.0.0:7000", "--postgres-tls-cert", "/c", "--postgres-tls-key", "/k"];
        let url = |words: &[&str]| {
            let config = config(words);
            let listener = listener(&config)?.ok_or("off")?;
            of_embedded(&config, &listener).map(|address| address.url("r", "p", "d"))
        };
        assert_eq!(url(&["--listen", "127.0.0.1:80"]).unwrap(), "postgres://r:p@127.0.0.1:81/d?sslmode=disable");
        assert!(url(&tls).unwrap_err().contains("--postgres-public-address"));
        let known = [&tls[..], &["--public-url", "https://crm.example:444/kith"]].concat();
        assert_eq!(url(&known).unwrap(), "postgres://r:p@crm.example:7000/d?sslmode=require");
        let several = ["--postgres-listen", "[::1]:7000,127.0.0.1:7001"];
        assert_eq!(url(&several).unwrap(), "postgres://r:p@[::1]:7000/d?sslmode=disable");
        let named = [&tls[..], &["--postgres-public-address", "db.example:5432"]].concat();
        assert_eq!(url(&named).unwrap(), "postgres://r:p@db.example:5432/d?sslmode=require");
        assert_eq!(host_of("http://[::1]:8484"), Some("[::1]"));
    }

    #[test]
    fn a_given_server_has_the_configured_address_or_kiths_own() {
        let given = |url: &str, words: &[&str]| {
            let found = of_given(&config(words), &Url::parse(url).unwrap())?;
            Ok::<_, String>(found.map(|address| address.url("r", "p", "d")))
        };
        let plain = "postgres://k:s@db.internal:6000/k?sslmode=require";
        assert_eq!(given(plain, &[]).unwrap().unwrap(), "postgres://r:p@db.internal:6000/d?sslmode=require");
        let public = ["--postgres-public-address", "db.example:5432"];
        assert_eq!(given(plain, &public).unwrap().unwrap(), "postgres://r:p@db.example:5432/d?sslmode=require");
        assert_eq!(given("postgres://k:s@/k?host=/run/pg", &[]).unwrap(), None);
        assert!(given(plain, &["--postgres-listen", "127.0.0.1:1"]).unwrap_err().contains("embedded"));
    }
}
