//! Opens a connection: the socket, TLS, and the log-in.

use std::io;
use std::path::Path;

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ChannelBinding, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::net::{TcpStream, UnixStream};

use super::reply::{Keep, Reply, out_of_place};
use super::settings::Settings;
use super::statements::Statements;
use super::stream::Stream;
use super::wire::Wire;
use super::{Conn, Login};
use crate::error::Error;
use crate::target::{Host, Target, Tls};
use crate::tls;

impl Conn {
    /// Connects and logs in, without a deadline of its own.
    pub async fn open(target: &Target, login: &Login<'_>) -> Result<Conn, Error> {
        let (stream, security) = connect(target).await?;
        let mut conn = Conn {
            wire: Wire::new(stream),
            pid: 0,
            status: 0,
            busy: true,
            broken: false,
            unpaid: 0,
            at_end: None,
            resetting: None,
            settings: Settings::default(),
            statements: Statements::default(),
        };
        let identity = [("user", login.user), ("database", login.database), ("client_encoding", "UTF8")];
        let settings = login.settings.iter().copied();
        let settings = settings.filter(|(name, _)| *name != "client_encoding");
        frontend::startup_message(identity.into_iter().chain(settings), conn.wire.outbox())
            .map_err(|error| Error::Config(format!("a log-in setting: {error}")))?;

        conn.log_in(login, &security).await?;
        conn.settings.log_in();
        conn.end_request();
        Ok(conn)
    }

    async fn log_in(&mut self, login: &Login<'_>, security: &Security) -> Result<(), Error> {
        let mut scram = None;
        loop {
            match self.reply(Keep::Nothing).await? {
                Reply::Auth => self.authenticate(login, security, &mut scram)?,
                Reply::KeyData => match self.wire.bytes().first_chunk() {
                    Some(pid) => self.pid = i32::from_be_bytes(*pid),
                    None => return Err(out_of_place(&Reply::KeyData)),
                },
                Reply::Ready => return Ok(()),
                Reply::Failed(error) => return Err(Error::Server(error)),
                other => return Err(out_of_place(&other)),
            }
        }
    }

    /// Answers an authentication request. If SCRAM was started, the log-in counts as successful only after the server has
    /// proved that it knows the password too.
    fn authenticate(&mut self, login: &Login<'_>, security: &Security, scram: &mut Option<Scram>) -> Result<(), Error> {
        let body = self.wire.bytes().to_vec();
        let Some((kind, data)) = body.split_first_chunk() else {
            return Err(out_of_place(&Reply::Auth));
        };
        let failed = |error: io::Error| Error::Auth(error.to_string());
        let outbox = self.wire.outbox();
        match (i32::from_be_bytes(*kind), scram) {
            (0, None | Some(Scram { is_finished: true, .. })) => Ok(()),
            (3, None) if security.is_private => {
                frontend::password_message(login.password.as_bytes(), outbox).map_err(failed)
            }
            (3, None) => Err(Error::Auth("the server asks for the password in clear, without TLS".into())),
            (5, None) => {
                let salt = *data.first_chunk().ok_or_else(|| out_of_place(&Reply::Auth))?;
                let hash = md5_hash(login.user.as_bytes(), login.password.as_bytes(), salt);
                frontend::password_message(hash.as_bytes(), outbox).map_err(failed)
            }
            (10, scram @ None) => {
                let offered: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
                let offers = |name: &str| offered.contains(&name.as_bytes());
                let (mechanism, binding) = match &security.endpoint {
                    Some(hash) if offers(sasl::SCRAM_SHA_256_PLUS) => {
                        let binding = ChannelBinding::tls_server_end_point(hash.clone());
                        (sasl::SCRAM_SHA_256_PLUS, binding)
                    }
                    // The client supports channel binding and the server did not offer it. The server notices if an attacker
                    // removed the offer.
                    Some(_) => (sasl::SCRAM_SHA_256, ChannelBinding::unrequested()),
                    None => (sasl::SCRAM_SHA_256, ChannelBinding::unsupported()),
                };
                if !offers(mechanism) {
                    return Err(Error::Auth("the server offers no SCRAM-SHA-256".into()));
                }
                let exchange = ScramSha256::new(login.password.as_bytes(), binding);
                let sent = frontend::sasl_initial_response(mechanism, exchange.message(), outbox);
                *scram = Some(Scram { exchange, is_finished: false });
                sent.map_err(failed)
            }
            (11, Some(Scram { exchange, is_finished: false })) => {
                exchange.update(data).map_err(failed)?;
                frontend::sasl_response(exchange.message(), outbox).map_err(failed)
            }
            (12, Some(Scram { exchange, is_finished })) => {
                exchange.finish(data).map_err(failed)?;
                *is_finished = true;
                Ok(())
            }
            (kind, _) => Err(Error::Auth(format!("method {kind} is not supported here"))),
        }
    }
}

struct Scram {
    exchange: ScramSha256,
    is_finished: bool,
}

/// How secure the path to the server is.
struct Security {
    /// Nobody can read the traffic: it is a Unix socket, TLS, or on this machine.
    is_private: bool,
    /// The hash of the server's certificate, for SCRAM's channel binding.
    endpoint: Option<Vec<u8>>,
}

async fn connect(target: &Target) -> Result<(Stream, Security), Error> {
    let host = match &target.host {
        Host::Unix(directory) => {
            let path = directory.join(format!(".s.PGSQL.{}", target.port));
            let stream = UnixStream::connect(&path).await.map_err(|error| at(error, &path))?;
            return Ok((Stream::Unix(stream), Security { is_private: true, endpoint: None }));
        }
        Host::Tcp(host) => host,
    };
    let stream = TcpStream::connect((host.as_str(), target.port)).await?;
    stream.set_nodelay(true)?;
    let is_local = stream.peer_addr()?.ip().is_loopback();
    let plain = Security { is_private: is_local, endpoint: None };
    if target.tls == Tls::Off {
        return Ok((Stream::Tcp(stream), plain));
    }
    match tls::negotiate(stream, host, &target.tls).await? {
        tls::Negotiated::Plain(stream) => Ok((Stream::Tcp(stream), plain)),
        tls::Negotiated::Tls { stream, endpoint } => Ok((Stream::Tls(stream), Security { is_private: true, endpoint })),
    }
}

/// Adds the socket's address to the error.
fn at(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
