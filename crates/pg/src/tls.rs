//! TLS to a server, with the meanings of libpq's `sslmode`.
//!
//! The cryptography is ring's, named explicitly: no process-wide default is set or needed. With `prefer`, a server that
//! declines TLS is used without TLS; a server whose handshake fails is not.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::target::Tls;

/// The result of requesting TLS.
pub(crate) enum Negotiated {
    Plain(TcpStream),
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        /// The hash of the server's certificate, which SCRAM's `tls-server-end-point` binding uses.
        endpoint: Option<Vec<u8>>,
    },
}

/// Requests TLS from the server and performs the handshake.
pub(crate) async fn negotiate(mut stream: TcpStream, host: &str, tls: &Tls) -> Result<Negotiated, Error> {
    let mut request = bytes::BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    // Reads exactly one byte: any byte that an attacker inserted after it becomes part of the handshake, which then fails.
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
    let (roots, name) = match tls {
        Tls::VerifyFull { root } => (Some(Roots::read(root.as_deref())?), CertificateName::Same),
        Tls::VerifyCa { root } => (Some(Roots::read(root.as_deref())?), CertificateName::Any),
        Tls::Off | Tls::Prefer | Tls::Require => (None, CertificateName::Any),
    };
    let verifier = Arc::new(Verifier { roots, name, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Which certificates to trust.
#[derive(Debug)]
struct Roots {
    anchors: RootCertStore,
    /// The certificates of a file as they are. As in libpq, a server that presents one of them is trusted, whether or not
    /// the certificate says that it is a CA's.
    own: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// The root certificates of a PEM file. If none is given, the system's; if the system has none (a slim container),
    /// Mozilla's.
    fn read(file: Option<&Path>) -> Result<Roots, Error> {
        let mut anchors = RootCertStore::empty();
        let Some(file) = file else {
            anchors.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if anchors.is_empty() {
                anchors.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            return Ok(Roots { anchors, own: Vec::new() });
        };
        let wrong = |what: &dyn std::fmt::Display| Error::Config(format!("sslrootcert {}: {what}", file.display()));
        let mut own = Vec::new();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            anchors.add(certificate.clone()).map_err(|error| wrong(&error))?;
            own.push(certificate);
        }
        if own.is_empty() {
            return Err(wrong(&"holds no certificate"));
        }
        Ok(Roots { anchors, own })
    }
}

/// Which name the certificate must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CertificateName {
    /// The requested name.
    Same,
    /// Any name.
    Any,
}

/// Verifies the certificate's chain if there are root certificates, and its name if the mode requires it. It always verifies
/// that the server holds the certificate's key.
#[derive(Debug)]
struct Verifier {
    roots: Option<Roots>,
    name: CertificateName,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if roots.own.iter().any(|own| own == end_entity) {
            holds_at(end_entity, now)?;
        } else {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, &roots.anchors, intermediates, now, algorithms)?;
        }
        if self.name == CertificateName::Same {
            verify_server_name(&certificate, server_name)?;
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

/// The certificate's hash by RFC 5929, section 4.1. It uses the hash function of the certificate's signature, or SHA-256 if
/// that is MD5 or SHA-1. As in libpq, it is `None` if the signature names no hash function (Ed25519, RSA-PSS).
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

/// Whether a certificate is valid at a moment, by its own validity period.
fn holds_at(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let (not_before, not_after) = validity(certificate).ok_or(CertificateError::BadEncoding)?;
    let now = now.as_secs() as i64;
    if now < not_before {
        return Err(CertificateError::NotValidYet);
    }
    if now > not_after {
        return Err(CertificateError::Expired);
    }
    Ok(())
}

/// The validity period of a certificate, in Unix seconds.
fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    // TBSCertificate ::= SEQUENCE { [0] version, serialNumber INTEGER, signature SEQUENCE, issuer SEQUENCE, validity SEQUENCE, … }
    let (fields, _) = der(certificate, 0x30)?;
    let (fields, _) = der(fields, 0x30)?;
    let fields = der(fields, 0xa0).map_or(fields, |(_, rest)| rest);
    let (_, fields) = der(fields, 0x02)?;
    let (_, fields) = der(fields, 0x30)?;
    let (_, fields) = der(fields, 0x30)?;
    let (validity, _) = der(fields, 0x30)?;
    let (not_before, rest) = time(validity)?;
    let (not_after, _) = time(rest)?;
    Some((not_before, not_after))
}

/// Parses a UTCTime or GeneralizedTime (RFC 5280, section 4.1.2.5). Returns it and the bytes that follow.
fn time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, century) = match der(bytes, 0x17) {
        Some((text, rest)) => (text, rest, None),
        None => der(bytes, 0x18).map(|(text, rest)| (text.get(2..).unwrap_or_default(), rest, text.get(..2)))?,
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z').filter(|text| text.len() == 12)?;
    let two = |at: usize| text.get(at..at + 2)?.parse::<i64>().ok();
    let (year, month, day) = (two(0)?, two(2)?, two(4)?);
    let year = match century {
        Some(century) => std::str::from_utf8(century).ok()?.parse::<i64>().ok()? * 100 + year,
        None if year < 50 => 2000 + year,
        None => 1900 + year,
    };
    // Days since 1970. Years are counted from March, so that a leap day is the last day of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 719_469;
    Some((((days * 24 + two(6)?) * 60 + two(8)?) * 60 + two(10)?, rest))
}

/// Parses one DER element with the given tag. Returns its content and the bytes that follow.
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

    #[test]
    fn a_certificate_holds_as_long_as_it_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls/self.pem");
        let certificate = CertificateDer::from_pem_file(path).unwrap();
        let (not_before, not_after) = validity(&certificate).unwrap();
        assert_eq!((not_before, not_after), (1_795_367_317, 4_948_967_317), "as `openssl x509 -dates` has it");
        let at = |seconds: i64| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds as u64));
        assert_eq!(holds_at(&certificate, at(not_before - 1)), Err(CertificateError::NotValidYet));
        assert_eq!(holds_at(&certificate, at(not_before)), Ok(()));
        assert_eq!(holds_at(&certificate, at(not_after)), Ok(()));
        assert_eq!(holds_at(&certificate, at(not_after + 1)), Err(CertificateError::Expired));
        for end in 0..certificate.len() {
            let _ = validity(&CertificateDer::from(&certificate[..end]));
        }
    }

    #[test]
    fn times_are_read_in_either_form() {
        let check = |tag: u8, text: &str, expected: Option<i64>| {
            let bytes = [&[tag, text.len() as u8], text.as_bytes()].concat();
            assert_eq!(time(&bytes).map(|(time, _)| time), expected, "{text}");
        };
        check(0x17, "700101000000Z", Some(0));
        check(0x17, "000229235959Z", Some(951_868_799));
        check(0x17, "491231235959Z", Some(2_524_607_999));
        check(0x17, "500101000000Z", Some(-631_152_000));
        check(0x18, "20500101000000Z", Some(2_524_608_000));
        check(0x18, "21000301000000Z", Some(4_107_542_400));
        check(0x17, "7001010000Z", None);
        check(0x18, "2050010100000", None);
        check(0x17, "70010100000é", None);
    }
}
