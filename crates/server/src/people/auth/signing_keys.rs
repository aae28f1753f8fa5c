//! The public keys with which issuers sign tokens (RFC 7517), and the documents that contain them. They are fetched on demand
//! and trusted for ten minutes. If a key is not among them, they are fetched again, at most once a minute.

use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJsonWebKeyType, CoreProviderMetadata};
use openidconnect::{HttpRequest, HttpResponse, IssuerUrl, JsonWebKey, JsonWebKeySetUrl};
use reqwest::Client;
use tokio::sync::Mutex;

use crate::cache::Cache;
use crate::http_client::{self, Unanswered, with_causes};

/// How long a fetched document is trusted, in milliseconds.
const FRESH_MS: u64 = 10 * 60 * 1000;
/// Milliseconds between a fetch and the next one for an unknown key.
const REFETCH_MS: i64 = 60 * 1000;
/// Milliseconds between a failed fetch and the next one.
pub const RETRY_MS: i64 = 5 * 1000;
/// The longest answer that is read.
const MAX_BYTES: usize = 1024 * 1024;
/// The shortest RSA modulus that is trusted: 2048 bits (RFC 7518, section 3.3).
const MIN_MODULUS_BYTES: usize = 256;

/// The source of an issuer's keys.
pub trait KeySource {
    /// The fetched document: the keys, alone or together with other data.
    type Document;

    /// Its address, for the log.
    fn address(&self) -> &str;

    /// Fetches the document. Keys that are too weak are left out.
    fn fetch(&self, http: &Client) -> impl Future<Output = Result<Self::Document, String>> + Send;
}

impl KeySource for JsonWebKeySetUrl {
    type Document = CoreJsonWebKeySet;

    fn address(&self) -> &str {
        self.as_str()
    }

    async fn fetch(&self, http: &Client) -> Result<CoreJsonWebKeySet, String> {
        let keys = CoreJsonWebKeySet::fetch_async(self, &bounded(http)).await;
        keys.map(|keys| strong(&keys)).map_err(|error| with_causes(&error))
    }
}

/// An issuer that publishes its own addresses (OpenID Connect Discovery 1.0).
impl KeySource for IssuerUrl {
    type Document = CoreProviderMetadata;

    fn address(&self) -> &str {
        self.as_str()
    }

    async fn fetch(&self, http: &Client) -> Result<CoreProviderMetadata, String> {
        let metadata = CoreProviderMetadata::discover_async(self.clone(), &bounded(http)).await;
        let metadata = metadata.map_err(|error| with_causes(&error))?;
        let keys = strong(metadata.jwks());
        Ok(metadata.set_jwks(keys))
    }
}

/// An HTTP client for openidconnect. It limits the size of answers and requests only addresses that may be trusted.
pub fn bounded(
    http: &Client,
) -> impl Fn(HttpRequest) -> Pin<Box<dyn Future<Output = Result<HttpResponse, Unanswered>> + Send>> + use<> {
    let http = http.clone();
    move |request| {
        let http = http.clone();
        Box::pin(async move { http_client::send(&http, request, MAX_BYTES).await })
    }
}

/// The keys of a set that may be trusted.
fn strong(keys: &CoreJsonWebKeySet) -> CoreJsonWebKeySet {
    CoreJsonWebKeySet::new(keys.keys().iter().filter(|key| is_strong(key)).cloned().collect())
}

/// Whether a key is public and long enough. The key itself decides which algorithms it verifies.
fn is_strong(key: &CoreJsonWebKey) -> bool {
    match key.key_type() {
        CoreJsonWebKeyType::RSA => {
            // The library exposes the modulus only in the key's JSON.
            let jwk = serde_json::to_value(key).unwrap_or_default();
            let modulus = jwk["n"].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).unwrap_or_default();
            modulus.iter().skip_while(|byte| **byte == 0).count() >= MIN_MODULUS_BYTES
        }
        CoreJsonWebKeyType::EllipticCurve | CoreJsonWebKeyType::OctetKeyPair => true,
        // A shared secret, or a kind of key that this version does not know.
        _ => false,
    }
}

/// The keys can't be fetched, and the cached ones are too old.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeysUnavailable(String);

/// The cached keys of an issuer.
pub struct SigningKeys<S: KeySource> {
    source: S,
    http: Client,
    fetched: Cache<(), Arc<S::Document>>,
    /// When the next fetch may start. It is locked during a fetch, so that all waiting calls share one fetch.
    next_fetch_ms: Mutex<i64>,
}

impl<S: KeySource> SigningKeys<S> {
    /// Creates the cache of a source. Nothing is fetched yet.
    pub fn new(source: S, http: Client) -> SigningKeys<S> {
        SigningKeys { source, http, fetched: Cache::fresh_for(FRESH_MS, 1), next_fetch_ms: Mutex::new(i64::MIN) }
    }

    /// Returns the document, at most ten minutes old.
    pub async fn current(&self, now_ms: i64) -> Result<Arc<S::Document>, KeysUnavailable> {
        self.wanted(|_| true, now_ms).await
    }

    /// Returns the document for a token whose key is not in `known`: a newer one if there is one or a fetch is due, else
    /// `known`.
    pub async fn newer_than(&self, known: &Arc<S::Document>, now_ms: i64) -> Result<Arc<S::Document>, KeysUnavailable> {
        self.wanted(|fetched| !Arc::ptr_eq(fetched, known), now_ms).await
    }

    async fn wanted(
        &self,
        is_wanted: impl Fn(&Arc<S::Document>) -> bool,
        now_ms: i64,
    ) -> Result<Arc<S::Document>, KeysUnavailable> {
        if let Some(wanted) = self.fetched.get(&(), now_ms).filter(&is_wanted) {
            return Ok(wanted);
        }
        let mut next_fetch_ms = self.next_fetch_ms.lock().await;
        // The previous call may have fetched it.
        let fetched = self.fetched.get(&(), now_ms);
        if let Some(fetched) = fetched.as_ref().filter(|fetched| is_wanted(fetched) || now_ms < *next_fetch_ms) {
            return Ok(fetched.clone());
        }
        if now_ms < *next_fetch_ms {
            return Err(KeysUnavailable("the last try has just failed".into()));
        }
        let begun = self.fetched.begin(now_ms);
        match self.source.fetch(&self.http).await {
            Ok(document) => {
                let document = Arc::new(document);
                self.fetched.store(begun, (), document.clone());
                *next_fetch_ms = now_ms + REFETCH_MS;
                Ok(document)
            }
            Err(error) => {
                tracing::warn!(address = self.source.address(), error, "can't fetch the keys of an issuer");
                *next_fetch_ms = now_ms + RETRY_MS;
                fetched.ok_or(KeysUnavailable(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use openidconnect::core::CoreJwsSigningAlgorithm::{
        EcdsaP256Sha256, HmacSha256, RsaSsaPkcs1V15Sha256, RsaSsaPkcs1V15Sha512,
    };
    use openidconnect::{JsonWebKeyId, SignatureVerificationError};

    use super::*;

    /// A source that counts its fetches, and fails while it is told to.
    #[derive(Default)]
    struct Counted {
        fetches: AtomicU32,
        is_away: AtomicBool,
    }

    impl KeySource for &Counted {
        type Document = u32;

        fn address(&self) -> &str {
            "https://issuer.example"
        }

        async fn fetch(&self, _: &Client) -> Result<u32, String> {
            let number = self.fetches.fetch_add(1, Ordering::Relaxed) + 1;
            if self.is_away.load(Ordering::Relaxed) { Err("away".into()) } else { Ok(number) }
        }
    }

    #[tokio::test]
    async fn a_document_is_trusted_for_ten_minutes_and_renewed_for_a_new_key_once_a_minute() {
        let source = Counted::default();
        let keys = SigningKeys::new(&source, http_client::client().unwrap());
        let current = async |now_ms| keys.current(now_ms).await.ok().map(|document| *document);
        let fetches = || source.fetches.load(Ordering::Relaxed);
        assert_eq!((current(0).await, current(1).await, fetches()), (Some(1), Some(1), 1));
        let first = keys.current(1).await.unwrap();
        assert_eq!(*keys.newer_than(&first, REFETCH_MS - 1).await.unwrap(), 1, "not so soon again");
        assert_eq!(*keys.newer_than(&first, REFETCH_MS).await.unwrap(), 2);
        assert_eq!(*keys.newer_than(&first, REFETCH_MS).await.unwrap(), 2, "this one is newer already");
        let until = REFETCH_MS + FRESH_MS as i64;
        assert_eq!((current(until - 1).await, fetches()), (Some(2), 2));
        assert_eq!((current(until).await, fetches()), (Some(3), 3), "it may have changed");
    }

    #[tokio::test]
    async fn an_issuer_that_is_away_is_believed_as_long_as_its_document_is_fresh() {
        let source = Counted::default();
        let keys = SigningKeys::new(&source, http_client::client().unwrap());
        let first = keys.current(0).await.unwrap();
        source.is_away.store(true, Ordering::Relaxed);
        assert_eq!(*keys.newer_than(&first, REFETCH_MS).await.unwrap(), 1);
        let fetches = source.fetches.load(Ordering::Relaxed);
        assert_eq!(*keys.newer_than(&first, REFETCH_MS + RETRY_MS - 1).await.unwrap(), 1);
        assert_eq!(source.fetches.load(Ordering::Relaxed), fetches, "it is not asked so soon again");
        let until = FRESH_MS as i64;
        assert!(keys.current(until).await.is_err(), "an old document is not trusted");
        source.is_away.store(false, Ordering::Relaxed);
        assert!(keys.current(until + RETRY_MS - 1).await.is_err(), "it is not asked so soon again");
        assert!(keys.current(until + RETRY_MS).await.is_ok());
    }

    /// Checks whether a key of a set is kept, and whether it can then verify signatures of an algorithm.
    #[track_caller]
    fn check(jwk: &str, algorithm: &openidconnect::core::CoreJwsSigningAlgorithm, expected: bool) {
        let keys: CoreJsonWebKeySet = serde_json::from_str(&format!(r#"{{"keys": [{jwk}]}}"#)).unwrap();
        let keys = strong(&keys);
        let id = JsonWebKeyId::new("k".into());
        let tries = keys.keys().iter().filter(|key| key.key_id() == Some(&id)).any(|key| {
            let verified = key.verify_signature(algorithm, b"message", &[7; 64]);
            matches!(verified, Err(SignatureVerificationError::CryptoError(_)))
        });
        assert_eq!(tries, expected, "{algorithm:?} {jwk}");
    }

    #[test]
    fn a_key_is_taken_for_its_own_algorithm_alone() {
        let (rsa, ec) = (RsaSsaPkcs1V15Sha256, EcdsaP256Sha256);
        let (n, short) = (URL_SAFE_NO_PAD.encode([7; 256]), URL_SAFE_NO_PAD.encode([7; 255]));
        check(&format!(r#"{{"kty":"RSA","kid":"k","n":"{n}","e":"AQAB"}}"#), &rsa, true);
        let whole = format!(r#"{{"kty":"RSA","kid":"k","n":"{n}","e":"AQAB","use":"sig","alg":"RS256","exp":1}}"#);
        check(&whole, &rsa, true);
        check(&whole, &RsaSsaPkcs1V15Sha512, false);
        check(&whole, &HmacSha256, false);
        check(&format!(r#"{{"kty":"RSA","kid":"k","n":"{n}","e":"AQAB","alg":"RS512"}}"#), &rsa, false);
        check(&format!(r#"{{"kty":"RSA","kid":"k","n":"{n}","e":"AQAB","use":"enc"}}"#), &rsa, false);
        check(&format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"}}"#), &rsa, false);
        check(&format!(r#"{{"kty":"RSA","kid":"k","n":"{short}","e":"AQAB"}}"#), &rsa, false);
        let zeros = URL_SAFE_NO_PAD.encode([&[0][..], &[7; 255]].concat());
        check(&format!(r#"{{"kty":"RSA","kid":"k","n":"{zeros}","e":"AQAB"}}"#), &rsa, false);
        // RFC 7515, appendix A.3.
        let x = r#""x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU""#;
        let point = format!(r#"{x},"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#);
        check(&format!(r#"{{"kty":"EC","kid":"k","crv":"P-256",{point}}}"#), &ec, true);
        check(&format!(r#"{{"kty":"EC","kid":"k","crv":"P-256",{point}}}"#), &rsa, false);
        check(&format!(r#"{{"kty":"EC","kid":"k","crv":"P-384",{point}}}"#), &ec, false);
        check(&format!(r#"{{"kty":"EC","kid":"k","crv":"P-256",{x},"y":"AA"}}"#), &ec, false);
        check(&format!(r#"{{"kty":"oct","kid":"k","k":"{n}"}}"#), &HmacSha256, false);
    }
}
