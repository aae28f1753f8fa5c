//! The modes of TLS, and replies that no server would send, against a simulated server.
//!
//! The certificate in `data/tls` is for `localhost` and valid for a hundred years. It is used for nothing else.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pg::conn::{Caps, Format, Frame, Login, Statement, Want};
use pg::types::TypeCache;
use pg::{Conn, Error, Host, Target, Tls};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const LOGIN: Login<'_> = Login { user: "u", password: "secret", database: "d", settings: &[] };

/// AuthenticationOk, BackendKeyData, ReadyForQuery.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x07\0\0\0\x01Z\0\0\0\x05I";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

fn acceptor(name: &str) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(data(&format!("{name}.pem"))).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(data(&format!("{name}.key"))).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Reads the startup message, sends the replies, and then reads and drops all input.
async fn play(mut stream: impl AsyncRead + AsyncWrite + Unpin, replies: Vec<u8>) -> io::Result<()> {
    let len = stream.read_i32().await?;
    let mut startup = vec![0; usize::try_from(len).unwrap() - 4];
    stream.read_exact(&mut startup).await?;
    stream.write_all(&replies).await?;
    stream.flush().await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}

/// A server that answers the request for TLS with `answer` and the log-in with `replies`. Returns its port.
async fn server(answer: u8, replies: &'static [u8]) -> u16 {
    server_with("server", answer, replies).await
}

/// The same with another certificate.
async fn server_with(certificate: &'static str, answer: u8, replies: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                if asks_for_tls(&stream).await? {
                    stream.read_exact(&mut [0; 8]).await?;
                    stream.write_u8(answer).await?;
                    if answer == b'S' {
                        return play(acceptor(certificate).accept(stream).await?, replies.to_vec()).await;
                    }
                }
                play(stream, replies.to_vec()).await
            });
        }
    });
    port
}

async fn asks_for_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; 8];
    while stream.peek(&mut first).await? < 8 {
        tokio::task::yield_now().await;
    }
    Ok(first == *b"\0\0\0\x08\x04\xd2\x16\x2f")
}

async fn open(host: &str, port: u16, tls: Tls) -> Result<Conn, Error> {
    let target = Target { host: Host::Tcp(host.into()), port, tls };
    let opened = tokio::time::timeout(Duration::from_secs(20), Conn::open(&target, &LOGIN));
    opened.await.expect("not stuck")
}

#[tokio::test]
async fn each_mode_verifies_what_it_says() {
    let port = server(b'S', WELCOME).await;
    let ca = || Some(data("ca.pem"));
    // The system does not trust the root certificate; the key file contains no certificate.
    let (none, wrong) = (|| None, || Some(data("server.key")));
    for (host, tls, is_fine) in [
        ("localhost", Tls::Off, true),
        ("127.0.0.1", Tls::Prefer, true),
        ("127.0.0.1", Tls::Require, true),
        ("127.0.0.1", Tls::VerifyCa { root: ca() }, true),
        ("127.0.0.1", Tls::VerifyCa { root: none() }, false),
        ("localhost", Tls::VerifyFull { root: ca() }, true),
        ("127.0.0.1", Tls::VerifyFull { root: ca() }, false),
        ("localhost", Tls::VerifyFull { root: none() }, false),
        ("localhost", Tls::VerifyFull { root: wrong() }, false),
    ] {
        let opened = open(host, port, tls.clone()).await;
        match opened {
            Ok(conn) => assert!(is_fine && conn.pid() == 7 && conn.is_clean(), "{host} {tls:?}"),
            Err(error) => {
                assert!(!is_fine && matches!(error, Error::Tls(_) | Error::Config(_)), "{host} {tls:?}: {error}")
            }
        }
    }
}

/// As `openssl req -x509` creates it: marked as a CA's certificate and self-signed.
#[tokio::test]
async fn a_certificate_that_signs_itself_is_its_own_root() {
    let port = server_with("self", b'S', WELCOME).await;
    let (itself, ca) = (|| Some(data("self.pem")), || Some(data("ca.pem")));
    for (host, tls, is_fine) in [
        ("localhost", Tls::VerifyFull { root: itself() }, true),
        ("127.0.0.1", Tls::VerifyFull { root: itself() }, false),
        ("127.0.0.1", Tls::VerifyCa { root: itself() }, true),
        ("localhost", Tls::VerifyFull { root: ca() }, false),
        ("localhost", Tls::VerifyFull { root: None }, false),
        ("localhost", Tls::VerifyCa { root: ca() }, false),
    ] {
        let opened = open(host, port, tls.clone()).await;
        assert_eq!(opened.is_ok(), is_fine, "{host} {tls:?}: {:?}", opened.err());
    }
}

#[tokio::test]
async fn a_server_without_tls_is_spoken_to_only_where_that_is_allowed() {
    let port = server(b'N', WELCOME).await;
    assert!(open("localhost", port, Tls::Prefer).await.is_ok());
    assert!(matches!(open("localhost", port, Tls::Require).await, Err(Error::Tls(_))));
    let port = server(b'E', WELCOME).await;
    assert!(matches!(open("localhost", port, Tls::Prefer).await, Err(Error::Tls(_))));
}

#[tokio::test]
async fn nobody_is_believed_before_scram_is_finished() {
    // SASL with SCRAM-SHA-256, and then AuthenticationOk without a proof.
    const CHEAT: &[u8] =
        b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x07\0\0\0\x01Z\0\0\0\x05I";
    let port = server(b'N', CHEAT).await;
    assert!(matches!(open("localhost", port, Tls::Prefer).await, Err(Error::Auth(_))));
    const ODD: &[u8] = b"R\0\0\0\x08\0\0\0\x07";
    let port = server(b'N', ODD).await;
    assert!(matches!(open("localhost", port, Tls::Prefer).await, Err(Error::Auth(_))));
}

#[tokio::test]
async fn replies_that_make_no_sense_break_the_connection_and_nothing_else() {
    let welcomed = |rest: &[u8]| -> &'static [u8] { Vec::leak([WELCOME, rest].concat()) };
    // One column of type text, as the answer to Parse and Describe; then the end of the request.
    let described =
        b"1\0\0\0\x04t\0\0\0\x06\0\0T\0\0\0\x1a\0\x01v\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0Z\0\0\0\x05I";
    let after = |rest: &[u8]| welcomed(&[&described[..], b"2\0\0\0\x04", rest].concat());
    for replies in [
        welcomed(b"1\0\0\0\x03"),
        welcomed(b"1\xff\xff\xff\xff"),
        welcomed(b"?\0\0\0\x04"),
        welcomed(b"Z\0\0\0\x05?"),
        welcomed(b"1\0\0\0\x04t\0\0\0\x06\0\x05"),
        welcomed(b"1\0\0\0\x04t\0\0\0\x06\0\0T\0\0\0\x08\0\x02a\0"),
        welcomed(b"T\x7f\xff\xff\xff"),
        welcomed(b"W\0\0\0\x07\0\0\0"),
        after(b"D\0\0\0\x05\0"),
        after(b"D\0\0\0\x06\0\x02"),
        after(b"D\0\0\0\x0a\0\x01\0\0\0\x09"),
        // A gigabyte that is never sent.
        after(b"D\x40\0\0\0\0\x01\x3f\0\0\0"),
        after(b"D\x40\0\0\0\xff\xff\xff\xff\xff\xff"),
        after(b"C\x40\0\0\0"),
        after(b"EFATAL"),
        after(b"E\0\0\0\x0cVFATAL\0\0"),
        after(b"G\0\0\0\x07\0\0\0"),
        after(b"K\0\0\0\x04"),
    ] {
        let port = server(b'N', replies).await;
        let mut conn = open("localhost", port, Tls::Off).await.unwrap();
        let statement = Statement { sql: "select v", params: &[], format: Format::Json, want: Want::Rows };
        let caps = Caps { max_rows: 10, max_bytes: 1000, max_value_bytes: 100 };
        let types = TypeCache::default();
        let (statements, short) = ([statement], Duration::from_millis(300));
        let run = conn.run(Frame::Implicit, &statements, &types, caps);
        if let Ok(result) = tokio::time::timeout(short, run).await {
            assert!(result.is_err(), "{replies:?}");
        }
        assert!(!conn.is_clean(), "{:?}", String::from_utf8_lossy(&replies[WELCOME.len()..]));
    }
}
