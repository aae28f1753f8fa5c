//! TLS to a server, with the meanings of libpq's `sslmode`.
//!
//! The cryptography is ring's, named explicitly: no process-wide default is set or needed. With `prefer` a server
//! that declines TLS is spoken to in clear; one that fails at it is not.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::target::Tls;

/// What came of asking for TLS.
pub(crate) enum Negotiated {
    Plain(TcpStream),
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        /// The hash of the server's certificate that SCRAM's `tls-server-end-point` binding goes by.
        endpoint: Option<Vec<u8>>,
    },
}

/// Asks the server for TLS and carries it out.
pub(crate) async fn negotiate(mut stream: TcpStream, host: &str, tls: &Tls) -> Result<Negotiated, Error> {
    let mut request = bytes::BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    // One byte and no more: anything that somebody slipped in after it belongs to the handshake, and fails it.
    match (stream.read_u8().await?, tls) {
        (b'S', _) => {}
        (b'N', Tls::Off | Tls::Prefer) => return Ok(Negotiated::Plain(stream)),
        (b'N', _) => return Err(Error::Tls("the server does not offer it".into())),
        _ => return Err(Error::Tls("the server does not know what TLS is".into())),
    }
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::Tls("the host's name is not one that a certificate can have".into()))?;
    let connector = TlsConnector::from(Arc::new(config(tls)?));
    let stream = connector.connect(name, stream).await.map_err(|error| failed(&error))?;
    let certificates = stream.get_ref().1.peer_certificates();
    let endpoint = certificates.and_then(|chain| chain.first()).and_then(endpoint_hash);
    Ok(Negotiated::Tls { stream: Box::new(stream), endpoint })
}

fn failed(error: &io::Error) -> Error {
    Error::Tls(error.to_string())
}

fn config(tls: &Tls) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Tls(error.to_string()))?;
    let roots = match tls {
        Tls::VerifyFull { root } => {
            let roots = roots(root.as_deref())?;
            return Ok(builder.with_root_certificates(roots).with_no_client_auth());
        }
        Tls::VerifyCa { root } => Some(roots(root.as_deref())?),
        Tls::Off | Tls::Prefer | Tls::Require => None,
    };
    let verifier = Arc::new(AnyName { roots, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// The roots of a PEM file; without one the system's, and where the system has none (a slim container) Mozilla's.
fn roots(file: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        return Ok(roots);
    };
    let wrong = |what: &dyn std::fmt::Display| Error::Config(format!("sslrootcert {}: {what}", file.display()));
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"holds no certificate"));
    }
    Ok(roots)
}

/// Does not look at the certificate's name, and at its chain only where there are roots. That the server holds the
/// certificate's key is verified always.
#[derive(Debug)]
struct AnyName {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate's hash by RFC 5929, section 4.1: with the hash function of its signature, or SHA-256 where that
/// is MD5 or SHA-1. `None` where the signature names none (Ed25519, RSA-PSS), as libpq has it.
fn endpoint_hash(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OID … }, … }
    let (certificate_fields, _) = der(certificate, 0x30)?;
    let (_, after_tbs) = der(certificate_fields, 0x30)?;
    let (algorithm, _) = der(after_tbs, 0x30)?;
    let (oid, _) = der(algorithm, 0x06)?;
    let hash = match oid {
        // 1.2.840.113549.1.1.{4,5,11,12,13}: RSA with MD5, SHA-1, SHA-256, SHA-384, SHA-512.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 4 | 5 | 11] => &ring::digest::SHA256,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 12] => &ring::digest::SHA384,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 13] => &ring::digest::SHA512,
        // 1.2.840.10045.4.1 and 4.3.{2,3,4}: ECDSA with SHA-1, SHA-256, SHA-384, SHA-512.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01] => &ring::digest::SHA256,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 2] => &ring::digest::SHA256,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 3] => &ring::digest::SHA384,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 4] => &ring::digest::SHA512,
        _ => return None,
    };
    Some(ring::digest::digest(hash, certificate).as_ref().to_vec())
}

/// Reads one DER element of the given tag: its content, and what follows it.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (len, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (len.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(len))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_hashed_as_its_certificate_is_signed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls/server.pem");
        // Signed with ECDSA and SHA-384.
        let certificate = CertificateDer::from_pem_file(path).unwrap();
        let expected = ring::digest::digest(&ring::digest::SHA384, &certificate);
        assert_eq!(endpoint_hash(&certificate).as_deref(), Some(expected.as_ref()));
        for end in 0..certificate.len() {
            let _ = endpoint_hash(&CertificateDer::from(&certificate[..end]));
        }
    }
}
