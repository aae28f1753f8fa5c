//! A client's connection as one type, with or without TLS, and the way it is opened.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::message::{Packet, Refusal};
use crate::error::Error;

/// How long it may take to tell a client why it is refused.
const FAREWELL: Duration = Duration::from_millis(200);
/// The protocol's name in TLS. A client that begins with TLS without asking must give it, so that no client of another protocol
/// is served.
const ALPN: &[u8] = b"postgresql";
/// The first byte of a client that begins with TLS without asking.
const TLS_HANDSHAKE: u8 = 0x16;

/// The certificate that clients see, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The server's certificate, followed by the intermediate certificates.
    pub certificate: PathBuf,
    /// Its private key, without a passphrase.
    pub key: PathBuf,
}

impl Certificate {
    /// Reads the files.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, Error> {
        let unreadable = |path: &PathBuf, error: &dyn std::fmt::Display| {
            Error::Config(format!("cannot read {}: {error}", path.display()))
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(&self.certificate, &error))?;
        if chain.is_empty() {
            return Err(unreadable(&self.certificate, &"it holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unreadable(&self.key, &error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(chain, key))
            .map_err(|error| {
                let (certificate, key) = (self.certificate.display(), self.key.display());
                Error::Config(format!("cannot use {certificate} with {key}: {error}"))
            })?;
        // As in PostgreSQL, TLS sessions are not resumed.
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A client's connection.
pub(super) enum Client {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Client {
    /// Reads the client's first packets, and performs the TLS handshake if it asks for that.
    pub(super) async fn open(mut stream: TcpStream, acceptor: Option<&TlsAcceptor>) -> io::Result<(Client, Packet)> {
        if let Some(acceptor) = acceptor
            && begins_with(&stream, TLS_HANDSHAKE).await?
        {
            let stream = acceptor.accept(stream).await?;
            if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            return Client::Tls(Box::new(stream)).with_next_packet().await;
        }
        let (mut may_ask_for_tls, mut may_ask_for_gss) = (true, true);
        loop {
            match (Packet::read(&mut stream).await?, acceptor) {
                (Packet::Tls, Some(acceptor)) => {
                    stream.write_all(b"S").await?;
                    // Plain bytes that were sent along with the request make the handshake fail.
                    return Client::Tls(Box::new(acceptor.accept(stream).await?)).with_next_packet().await;
                }
                (Packet::Tls, None) if may_ask_for_tls => may_ask_for_tls = false,
                (Packet::Gss, _) if may_ask_for_gss => may_ask_for_gss = false,
                (Packet::Tls | Packet::Gss, _) => return Err(io::ErrorKind::InvalidData.into()),
                (packet, _) => return Ok((Client::Plain(stream), packet)),
            }
            stream.write_all(b"N").await?;
        }
    }

    /// Reads the packet that follows the handshake. It can't be another request for encryption.
    async fn with_next_packet(mut self) -> io::Result<(Client, Packet)> {
        match Packet::read(&mut self).await? {
            Packet::Tls | Packet::Gss => Err(io::ErrorKind::InvalidData.into()),
            packet => Ok((self, packet)),
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Client::Tls(_))
    }

    /// Sends the refusal, if there is one, and closes the connection.
    pub(super) async fn refuse(mut self, refusal: Option<&Refusal>) {
        let farewell = async {
            self.write_all(&refusal.map(Refusal::encode).unwrap_or_default()).await?;
            self.shutdown().await
        };
        // Does not wait for a client that does not read.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

async fn begins_with(stream: &TcpStream, byte: u8) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first == [byte])
}

/// Calls the same method of either stream.
macro_rules! on_stream {
    ($this:expr, $stream:ident => $act:expr) => {
        match $this.get_mut() {
            Client::Plain($stream) => $act,
            Client::Tls($stream) => $act,
        }
    };
}

impl AsyncRead for Client {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
