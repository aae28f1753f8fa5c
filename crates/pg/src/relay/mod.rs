//! Accepts connections from the network for a PostgreSQL server that listens only on a Unix socket.
//!
//! PostgreSQL gives every connection one of its places before the client is authenticated. A client that opens many
//! connections and does not log in locks out all others, including the superuser. So the relay accepts the connections
//! instead. It reads the startup packet, terminates TLS, checks the role's name, and lets few clients at a time log in at
//! the server, which checks the password. Then it counts the session and forwards bytes.
//!
//! It does not know what roles mean. Its caller says which ones may log in, and which ones count together.

mod client;
mod login;
mod message;
mod pass;
mod pending;
mod sessions;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

pub use self::client::Certificate;
use self::client::Client;
use self::message::{Packet, Refusal, Startup};
pub use self::pending::PendingLimits;
use self::pending::{Network, PendingConnection, PendingConnections};
use self::sessions::{Session, Sessions};
use crate::error::Error;
use crate::target::Target;

/// Connections that the kernel accepts while this process is busy.
const BACKLOG: u32 = 1024;
/// How long a cancel request may take.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
/// This fraction of the process's file descriptors is for connections that have not logged in.
const SHARE_OF_FILES: u64 = 8;

/// The settings of a relay.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// The server's Unix socket.
    pub server: Target,
    /// Returns the group that counts a role's sessions; `None` for a role that may not log in from the network.
    pub group_of: fn(&str) -> Option<&str>,
    /// Limits of connections that have not logged in.
    pub pending: PendingLimits,
    /// The number of sessions.
    pub max_sessions: usize,
    /// The maximum number of sessions of a group. It decreases when few sessions are free in total.
    pub max_sessions_per_group: usize,
    /// How long a client may take to send its startup packet, TLS handshake included.
    pub startup_limit: Duration,
    /// How long a log-in may take after that.
    pub login_limit: Duration,
}

impl RelayOptions {
    /// Defaults for a number of sessions and a number of simultaneous log-ins. The relay opens at most the sum of both as
    /// connections to the server, not counting cancel requests.
    pub fn new(
        server: Target,
        group_of: fn(&str) -> Option<&str>,
        max_sessions: usize,
        max_at_server: usize,
    ) -> RelayOptions {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let max = (files / SHARE_OF_FILES).clamp(16, 128) as usize;
        RelayOptions {
            server,
            group_of,
            pending: PendingLimits {
                max,
                max_per_network: max / 2,
                max_at_server,
                max_at_server_per_network: max_at_server.div_ceil(2),
                grace: Duration::from_millis(1500),
            },
            max_sessions,
            max_sessions_per_group: max_sessions,
            startup_limit: Duration::from_secs(10),
            login_limit: Duration::from_secs(10),
        }
    }
}

/// Listening sockets. No connection is accepted before [`Relay::start`].
pub struct Listeners {
    listeners: Vec<TcpListener>,
    acceptor: Option<TlsAcceptor>,
}

impl Listeners {
    /// Binds the addresses and reads the certificate. With a certificate, clients must use TLS. An IPv6 address does not accept
    /// IPv4 connections.
    ///
    /// # Errors
    /// One line for the operator: [`Error::Io`] for an address that can't be listened on, [`Error::Config`] for a file that
    /// does not contain a certificate or key.
    pub fn bind(addresses: &[SocketAddr], certificate: Option<&Certificate>) -> Result<Listeners, Error> {
        let acceptor = certificate.map(Certificate::acceptor).transpose()?;
        let listeners = addresses.iter().map(|address| {
            listen(*address)
                .map_err(|error| io::Error::new(error.kind(), format!("can't listen on {address}: {error}")))
        });
        Ok(Listeners { listeners: listeners.collect::<io::Result<_>>()?, acceptor })
    }

    /// The addresses in the order in which they were given, each with its port.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A running relay. Dropping it closes its listeners; sessions continue until the server ends them.
pub struct Relay {
    shared: Arc<RelayState>,
    accepting: JoinSet<()>,
    /// Closed when the last connection has ended.
    connections: mpsc::Receiver<Infallible>,
}

/// State that all connections share.
struct RelayState {
    socket: PathBuf,
    acceptor: Option<TlsAcceptor>,
    options: RelayOptions,
    pending: Arc<PendingConnections>,
    sessions: Arc<Sessions>,
    is_closing: AtomicBool,
}

impl Relay {
    /// Starts accepting connections.
    ///
    /// # Errors
    /// The server has no Unix socket.
    pub fn start(listeners: Listeners, options: RelayOptions) -> Result<Relay, Error> {
        let socket = options.server.socket().ok_or_else(|| Error::Config("the server has no Unix socket".into()))?;
        let shared = Arc::new(RelayState {
            socket,
            acceptor: listeners.acceptor,
            pending: PendingConnections::new(options.pending),
            sessions: Sessions::new(options.max_sessions, options.max_sessions_per_group),
            options,
            is_closing: AtomicBool::new(false),
        });
        let (open, connections) = mpsc::channel(1);
        let mut accepting = JoinSet::new();
        for listener in listeners.listeners {
            accepting.spawn(accept(listener, Arc::clone(&shared), open.clone()));
        }
        Ok(Relay { shared, accepting, connections })
    }

    /// Closes the listeners and the connections that have not logged in. Sessions continue until the server ends them.
    pub async fn close(&mut self) {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        self.accepting.shutdown().await;
        self.shared.pending.close_all();
    }

    /// Waits until the last connection has ended. Call [`Relay::close`] first.
    pub async fn closed(&mut self) {
        let None = self.connections.recv().await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<RelayState>, open: mpsc::Sender<Infallible>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let pending = shared.pending.add(Network::of(peer.ip())).await;
                let (shared, open) = (Arc::clone(&shared), open.clone());
                tokio::spawn(async move {
                    serve(&shared, stream, peer, pending).await;
                    drop(open);
                });
            }
            Err(error) => {
                // Either there are no file descriptors left, or the client has already disconnected.
                tracing::warn!(%error, "can't accept a direct connection");
                shared.pending.close_one();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Serves a connection until it ends.
async fn serve(shared: &RelayState, stream: TcpStream, peer: SocketAddr, pending: PendingConnection) {
    if let Err(error) = set_options(&stream) {
        tracing::debug!(%error, "a direct connection has ended already");
        return;
    }
    let close = pending.close_requested();
    let opening = Client::open(stream, shared.acceptor.as_ref());
    let opened = tokio::select! {
        opened = timeout(shared.options.startup_limit, opening) => opened,
        () = close.notified() => return,
    };
    // As in PostgreSQL, a client that is too slow or uses another protocol gets no answer.
    let Ok(Ok((client, packet))) = opened else { return };
    match packet {
        Packet::Startup(startup) => shared.run_session(client, &startup, peer, pending).await,
        Packet::Cancel(key) => shared.cancel(&key, &pending).await,
        Packet::Wrong(refusal) => client.refuse(Some(&refusal)).await,
        Packet::Tls | Packet::Gss => {}
    }
}

/// Makes the kernel detect within two minutes that a client has disappeared without closing the connection.
fn set_options(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;

    stream.set_nodelay(true)?;
    let socket = stream.as_fd();
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(socket, 6)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(socket, 120_000)?;
    Ok(())
}

impl RelayState {
    /// Lets a client log in, and forwards bytes until its session has ended.
    async fn run_session(&self, mut client: Client, startup: &Startup, peer: SocketAddr, pending: PendingConnection) {
        let group = startup.role().and_then(self.options.group_of).filter(|_| !startup.is_replication());
        let has_enough_tls = client.is_encrypted() || self.acceptor.is_none();
        let Some(group) = group.filter(|_| has_enough_tls) else {
            let refusal = Refusal::rejected(startup, peer.ip(), client.is_encrypted());
            return client.refuse(Some(&refusal)).await;
        };
        let close = pending.close_requested();
        let mut server = None;
        let log_in = self.log_in(&mut client, startup, group, &pending, &mut server);
        let logged_in = tokio::select! {
            // As in PostgreSQL, a client that is too slow gets no answer.
            logged_in = timeout(self.options.login_limit, log_in) => logged_in.unwrap_or(Err(None)),
            () = close.notified() => Err(Some(self.crowded())),
        };
        match (logged_in, server) {
            (Ok((inbox, mut session)), Some(mut server)) => {
                drop(pending);
                if login::settle(&mut client, &mut server, inbox, &mut session).await.is_ok() {
                    let _ = pass::pass(&mut client, &mut server).await;
                }
                drop(client);
                // The server's process may outlive the client. The session counts until the process has ended.
                pass::end(server).await;
                drop(session);
            }
            (logged_in, server) => {
                client.refuse(logged_in.err().flatten().as_ref()).await;
                if let Some(server) = server {
                    pass::end(server).await;
                }
            }
        }
    }

    /// Performs a log-in until the server accepts the client, and returns what the server has sent since then. The
    /// connection to the server remains in `server`, whether this succeeds or not.
    ///
    /// # Errors
    /// The refusal that must still be sent to the client, if there is one.
    async fn log_in(
        &self,
        client: &mut Client,
        startup: &Startup,
        group: &str,
        pending: &PendingConnection,
        server: &mut Option<UnixStream>,
    ) -> Result<(BytesMut, Session), Option<Refusal>> {
        pending.wait_for_place().await;
        let stream = UnixStream::connect(&self.socket).await.map_err(|_| Some(self.unavailable()))?;
        let server = server.insert(stream);
        server.write_all(&startup.encode()).await.map_err(|_| Some(self.unavailable()))?;
        let authenticated = login::authenticate(client, server).await.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => None,
            _ => Some(self.unavailable()),
        });
        let inbox = authenticated?.ok_or(None)?;
        let session = self.sessions.enter(group).ok_or_else(|| Some(Refusal::crowded()))?;
        Ok((inbox, session))
    }

    /// Forwards a cancel request if it is for a session of this relay. Forwarding others would let the network reach other
    /// sessions.
    async fn cancel(&self, key: &[u8], pending: &PendingConnection) {
        if !self.sessions.have_key(key) {
            return;
        }
        let pass_on = async {
            pending.wait_for_place().await;
            let mut server = UnixStream::connect(&self.socket).await?;
            server.write_all(&message::cancel_request(key)).await?;
            // The server closes the connection when it has processed the request. The client waits for that.
            server.read_to_end(&mut Vec::new()).await
        };
        let close = pending.close_requested();
        tokio::select! {
            _ = timeout(CANCEL_LIMIT, pass_on) => {}
            () = close.notified() => {}
        }
    }

    fn crowded(&self) -> Refusal {
        if self.is_closing.load(Ordering::Relaxed) { Refusal::shutting_down() } else { Refusal::crowded() }
    }

    fn unavailable(&self) -> Refusal {
        if self.is_closing.load(Ordering::Relaxed) { Refusal::shutting_down() } else { Refusal::starting_up() }
    }
}
