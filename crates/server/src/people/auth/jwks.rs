//! The public keys of who signs sessions elsewhere (RFC 7517). A key says itself which algorithm it is for: the token's
//! header is never asked, so none is verified by another way than its issuer meant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Client, Url};
use serde_json::Value;

use crm::model::fault::Fault;

use crate::http_client;

/// How long what was fetched holds.
const FRESH_MS: i64 = 10 * 60 * 1000;
/// How long after one fetch the next may come for a key that is not there.
const REFETCH_MS: i64 = 60 * 1000;
/// How long after a fetch that failed the next is tried.
const RETRY_MS: i64 = 5 * 1000;
/// Longest set that is read.
const MAX_BYTES: usize = 1024 * 1024;
/// Shortest RSA modulus that is trusted: 2048 bits (RFC 7518, section 3.3).
const MIN_MODULUS_BYTES: usize = 256;
/// Bytes of a coordinate on P-256.
const COORDINATE_BYTES: usize = 32;

/// A key that verifies signatures, and the one algorithm it is for.
pub struct Key {
    /// RS256 or ES256.
    pub algorithm: Algorithm,
    /// The key.
    pub decoding: DecodingKey,
}

/// The keys of a JWK set by their ids: those for RS256 and ES256 signatures; others are left out.
pub fn read(set: &[u8]) -> Result<HashMap<String, Arc<Key>>, String> {
    let set: Value = serde_json::from_slice(set).map_err(|error| error.to_string())?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or("it has no \"keys\"")?;
    let named = |jwk: &Value| Some((text(jwk, "kid")?.to_owned(), Arc::new(key(jwk)?)));
    Ok(keys.iter().filter_map(named).collect())
}

fn key(jwk: &Value) -> Option<Key> {
    let (algorithm, decoding) = match text(jwk, "kty")? {
        "RSA" => {
            let (modulus, exponent) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
            if modulus.len() < MIN_MODULUS_BYTES {
                return None;
            }
            (Algorithm::RS256, DecodingKey::from_rsa_raw_components(&modulus, &exponent))
        }
        "EC" if text(jwk, "crv")? == "P-256" => {
            let is_whole = |name| bytes(jwk, name).is_some_and(|coordinate| coordinate.len() == COORDINATE_BYTES);
            if !is_whole("x") || !is_whole("y") {
                return None;
            }
            (Algorithm::ES256, DecodingKey::from_ec_components(text(jwk, "x")?, text(jwk, "y")?).ok()?)
        }
        _ => return None,
    };
    let is_meant_so = |name, meant: &str| jwk.get(name).is_none_or(|it| it == meant);
    let is_for_this = is_meant_so("use", "sig") && is_meant_so("alg", &format!("{algorithm:?}"));
    is_for_this.then_some(Key { algorithm, decoding })
}

fn text<'a>(jwk: &'a Value, name: &str) -> Option<&'a str> {
    jwk.get(name).and_then(Value::as_str)
}

fn bytes(jwk: &Value, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(jwk, name)?).ok()
}

/// A JWK set that is fetched when it is needed, and again when it may have changed.
pub struct Jwks {
    url: Url,
    client: Client,
    held: Mutex<Arc<Held>>,
    /// Held while the set is fetched: once, for all who wait.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    keys: HashMap<String, Arc<Key>>,
    fresh_until_ms: i64,
    next_fetch_ms: i64,
}

impl Held {
    /// Whether the key is there, or is not there and will not be fetched; nothing where a fetch would tell.
    fn answer(&self, kid: &str, now_ms: i64) -> Option<Result<Option<Arc<Key>>, Fault>> {
        let is_fresh = now_ms < self.fresh_until_ms;
        match self.keys.get(kid).filter(|_| is_fresh) {
            Some(key) => Some(Ok(Some(key.clone()))),
            None if now_ms >= self.next_fetch_ms => None,
            None if is_fresh => Some(Ok(None)),
            None => Some(Err(Fault::Unavailable {
                retry_after: (RETRY_MS / 1000) as u64,
                message: "The keys that sessions are signed with can't be had just now.".into(),
            })),
        }
    }
}

impl Jwks {
    /// The set at an address. Nothing is fetched yet.
    pub fn new(url: Url, client: Client) -> Jwks {
        Jwks { url, client, held: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The key of this id, if the set has one.
    pub async fn find(&self, kid: &str, now_ms: i64) -> Result<Option<Arc<Key>>, Fault> {
        if let Some(answer) = self.held().answer(kid, now_ms) {
            return answer;
        }
        let _turn = self.fetching.lock().await;
        // Whoever had the turn before may have fetched it.
        if let Some(answer) = self.held().answer(kid, now_ms) {
            return answer;
        }
        self.fetch(now_ms).await;
        self.held().answer(kid, now_ms).unwrap_or(Ok(None))
    }

    async fn fetch(&self, now_ms: i64) {
        let body = http_client::get(&self.client, &self.url, MAX_BYTES).await;
        let held = match body.and_then(|body| read(&body)) {
            Ok(keys) => Held { keys, fresh_until_ms: now_ms + FRESH_MS, next_fetch_ms: now_ms + REFETCH_MS },
            Err(error) => {
                tracing::warn!(url = %self.url, error, "can't fetch the keys that sessions are signed with");
                let before = self.held();
                let (keys, fresh_until_ms) = (before.keys.clone(), before.fresh_until_ms);
                Held { keys, fresh_until_ms, next_fetch_ms: now_ms + RETRY_MS }
            }
        };
        *self.held.lock().expect("no panic while keys are locked") = Arc::new(held);
    }

    fn held(&self) -> Arc<Held> {
        self.held.lock().expect("no panic while keys are locked").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_for_its_own_algorithm_alone() {
        let (n, coordinate) = (URL_SAFE_NO_PAD.encode([7; 256]), URL_SAFE_NO_PAD.encode([7; 32]));
        let check = |jwk: String, expected: Option<Algorithm>| {
            let keys = read(format!(r#"{{"keys": [{jwk}]}}"#).as_bytes()).unwrap();
            assert_eq!(keys.get("k").map(|key| key.algorithm), expected, "{jwk}");
        };
        check(format!(r#"{{"kty":"RSA","kid":"k","n":"{n}","e":"AQAB"}}"#), Some(Algorithm::RS256));
        check(
            format!(r#"{{"kty":"RSA","kid":"k","n":"{n}","e":"AQAB","use":"sig","alg":"RS256","exp":1}}"#),
            Some(Algorithm::RS256),
        );
        check(format!(r#"{{"kty":"RSA","kid":"k","n":"{n}","e":"AQAB","alg":"RS512"}}"#), None);
        check(format!(r#"{{"kty":"RSA","kid":"k","n":"{n}","e":"AQAB","use":"enc"}}"#), None);
        check(format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"}}"#), None);
        check(format!(r#"{{"kty":"RSA","kid":"k","n":"{coordinate}","e":"AQAB"}}"#), None);
        let point = format!(r#""x":"{coordinate}","y":"{coordinate}""#);
        check(format!(r#"{{"kty":"EC","kid":"k","crv":"P-256",{point}}}"#), Some(Algorithm::ES256));
        check(format!(r#"{{"kty":"EC","kid":"k","crv":"P-384",{point}}}"#), None);
        check(format!(r#"{{"kty":"EC","kid":"k","crv":"P-256","x":"{coordinate}","y":"AA"}}"#), None);
        check(format!(r#"{{"kty":"oct","kid":"k","k":"{n}"}}"#), None);
        assert!(read(b"{}").is_err() && read(b"<html>").is_err());
    }
}
