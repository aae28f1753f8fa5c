//! Clerk's sessions: JWTs that Clerk signs for a person. The first token creates an account for the person. A token lives about
//! a minute. Clerk ends a session by signing no further token for it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKey, JsonWebKeySetUrl};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crm::model::fault::Fault;

use crate::access::api_key;
use crate::access::limits::Window;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::http_client;
use crate::people::Person;
use crate::people::auth::accounts::Accounts;
use crate::people::auth::identities::{self, Claims};
use crate::people::auth::signing_keys::{KeysUnavailable, RETRY_MS, SigningKeys};
use crate::store::Store;

/// The largest accepted difference between Clerk's clock and this one, in seconds.
const LEEWAY_SECONDS: f64 = 5.0;
/// The longest token that is parsed.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How long a person is cached after their look-up, in milliseconds.
const FRESH_MS: u64 = 1000;
/// The most people that are cached.
const CAPACITY: usize = 100_000;

/// The tokens that are accepted.
#[derive(Clone, Debug)]
pub struct ClerkSettings {
    /// The issuer that a token must have, without a trailing slash.
    issuer: Option<String>,
    /// The address of the issuer's keys.
    jwks_url: JsonWebKeySetUrl,
    /// The sites for which a token may be issued. If there are none, every site is accepted.
    parties: Vec<String>,
}

impl ClerkSettings {
    /// Parses the settings. Returns `None` if neither an issuer nor an address of keys is configured.
    pub fn new(issuer: Option<&str>, jwks_url: Option<&str>, parties: &str) -> Result<Option<ClerkSettings>, String> {
        let issuer = issuer.map(|issuer| issuer.trim_end_matches('/').to_owned());
        let jwks_url = match (&issuer, jwks_url) {
            (_, Some(url)) => http_client::trusted_url(url).map_err(|error| format!("KITH_CLERK_JWKS_URL: {error}"))?,
            (Some(issuer), None) => http_client::trusted_url(&format!("{issuer}/.well-known/jwks.json"))
                .map_err(|error| format!("KITH_CLERK_ISSUER: {error}"))?,
            (None, None) if parties.is_empty() => return Ok(None),
            (None, None) => return Err("KITH_CLERK_AUTHORIZED_PARTIES needs KITH_CLERK_ISSUER".into()),
        };
        let jwks_url = JsonWebKeySetUrl::from_url(jwks_url);
        let parties = parties.split(',').map(|party| party.trim().trim_end_matches('/').to_owned());
        Ok(Some(ClerkSettings { issuer, jwks_url, parties: parties.filter(|party| !party.is_empty()).collect() }))
    }
}

/// Clerk's keys, and the cached people.
pub struct Clerk {
    settings: ClerkSettings,
    keys: SigningKeys<JsonWebKeySetUrl>,
    /// The cached people, by issuer and subject.
    people: Cache<(String, String), Person>,
    /// The request counts of each person. They are kept when the person is forgotten.
    windows: Cache<(String, String), Arc<Window>>,
}

/// The person whose token a request contains.
pub struct ShownPerson {
    /// The token's person.
    pub person: Person,
    /// The person's requests in this minute.
    pub window: Arc<Window>,
}

/// Whether a Bearer token has the form of a JWT. API keys and Kith's session tokens have a different form.
pub fn is_jwt(token: &str) -> bool {
    token.split('.').count() == 3 && token.starts_with("ey")
}

impl Clerk {
    /// Creates Clerk's state from these settings. Nothing is fetched yet.
    pub fn new(settings: ClerkSettings) -> Result<Clerk, String> {
        let keys = SigningKeys::new(settings.jwks_url.clone(), http_client::client()?);
        let (people, windows) = (Cache::fresh_for(FRESH_MS, CAPACITY), Cache::until_forgotten(CAPACITY));
        Ok(Clerk { settings, keys, people, windows })
    }

    /// Returns the person of a token.
    pub async fn shown(
        &self,
        store: &Store,
        accounts: &Accounts,
        clock: &Clock,
        token: &str,
    ) -> Result<ShownPerson, Fault> {
        let now_ms = clock.unix_ms();
        let token = ClerkToken::read(token).map_err(refused)?;
        let mut keys = self.keys.current(now_ms).await.map_err(unavailable)?;
        if token.keys(&keys).next().is_none() {
            keys = self.keys.newer_than(&keys, now_ms).await.map_err(unavailable)?;
        }
        let claims = token.claims(&keys).map_err(refused)?;
        let claims = check(&self.settings, &claims, clock.unix_seconds()).map_err(refused)?;
        let who = (claims.issuer.clone(), claims.subject.clone());
        let window = self.windows.get_or_insert_with(who.clone(), Arc::default);
        let placeholder = placeholder(&claims.issuer, &claims.subject);
        let look_up = async || identities::recognise((store, accounts, clock), &claims, Some(&placeholder)).await;
        let person = self.people.get_or_look_up(who, now_ms, look_up).await?;
        let person = person.ok_or_else(|| Fault::internal("a person with a placeholder was not given an account"))?;
        Ok(ShownPerson { person, window })
    }

    /// Drops a cached person, who has changed.
    pub fn forget(&self, user_id: &str) {
        self.people.forget(|person| person.id == user_id);
    }
}

/// An address that cannot exist, for a person without one.
fn placeholder(issuer: &str, subject: &str) -> String {
    let hash = api_key::hash(&format!("{issuer}\n{subject}"));
    let name = hex::encode(&hash[..16]);
    format!("{name}@clerk.invalid")
}

fn refused(why: &str) -> Fault {
    Fault::NotSignedIn {
        message: format!("This Clerk session is not accepted: {why}."),
        hint: "Get a new token from Clerk and send it as Authorization: Bearer <token>.".into(),
    }
}

fn unavailable(_: KeysUnavailable) -> Fault {
    Fault::Unavailable {
        retry_after: (RETRY_MS / 1000) as u64,
        message: "Clerk's signing keys can't be fetched at the moment.".into(),
    }
}

/// The algorithms of Clerk's signatures, by their names in a token. A key decides which of them it verifies.
const ALGORITHMS: [(&str, CoreJwsSigningAlgorithm); 2] =
    [("RS256", CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256), ("ES256", CoreJwsSigningAlgorithm::EcdsaP256Sha256)];

/// The parts of a token (RFC 7515, section 7.1). Nothing is verified yet.
struct ClerkToken<'a> {
    kid: String,
    algorithm: CoreJwsSigningAlgorithm,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

impl ClerkToken<'_> {
    fn read(token: &str) -> Result<ClerkToken<'_>, &'static str> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("it is not a JWT")?;
        let (header, payload) = signed.split_once('.').ok_or("it is not a JWT")?;
        let header: TokenHeader = part(header).ok_or("its header can't be read")?;
        // Access tokens for other programs are signed with the same keys.
        if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err("it is not a session's token");
        }
        if header.crit.is_some() {
            return Err("it requires checks that Kith does not know");
        }
        let algorithm = ALGORITHMS.into_iter().find(|(name, _)| *name == header.alg);
        let (_, algorithm) = algorithm.ok_or("its algorithm is not one of Clerk's")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "its signature can't be read")?;
        Ok(ClerkToken { kid: header.kid.ok_or("it names no key")?, algorithm, signed, payload, signature })
    }

    /// The keys with the id in the token's header.
    fn keys<'k>(&self, keys: &'k CoreJsonWebKeySet) -> impl Iterator<Item = &'k CoreJsonWebKey> {
        keys.keys().iter().filter(|key| key.key_id().is_some_and(|kid| **kid == self.kid))
    }

    /// The claims, if they are signed with the key that the token names.
    fn claims(&self, keys: &CoreJsonWebKeySet) -> Result<Value, &'static str> {
        let mut named = self.keys(keys).peekable();
        named.peek().ok_or("its key is not known")?;
        if !named.any(|key| key.verify_signature(&self.algorithm, self.signed.as_bytes(), &self.signature).is_ok()) {
            return Err("its signature is wrong");
        }
        part(self.payload).ok_or("its claims can't be read")
    }
}

/// Parses a part of a token that is JSON.
fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// The person's claims, if they are valid at this time.
fn check(settings: &ClerkSettings, claims: &Value, now: i64) -> Result<Claims, &'static str> {
    let text = |name| claims.get(name).and_then(Value::as_str);
    let issuer = text("iss").map(|issuer| issuer.trim_end_matches('/')).ok_or("it names no issuer")?;
    if settings.issuer.as_deref().is_some_and(|expected| issuer != expected) {
        return Err("it is another issuer's");
    }
    if !settings.parties.is_empty() {
        let party = text("azp").ok_or("it names no authorized party")?.trim_end_matches('/');
        if !settings.parties.iter().any(|allowed| allowed == party) {
            return Err("it is for another site");
        }
    }
    let now = now as f64;
    let expires_at = claims.get("exp").and_then(Value::as_f64).ok_or("it does not say when it expires")?;
    if now >= expires_at + LEEWAY_SECONDS {
        return Err("it has expired");
    }
    match claims.get("nbf").map(Value::as_f64) {
        None => {}
        Some(Some(not_before)) if now >= not_before - LEEWAY_SECONDS => {}
        Some(_) => return Err("it is not valid yet"),
    }
    if text("sts") == Some("pending") {
        return Err("it is still pending");
    }
    let is_verified = claims.get("email_verified") == Some(&Value::Bool(true));
    let email = text("email").filter(|_| is_verified);
    let person = Claims::new(issuer, text("sub").unwrap_or_default(), email, text("name"));
    // A token without "email_verified" may name an unverified address.
    let unproven = text("email").filter(|_| claims.get("email_verified").is_none());
    person.map(|person| person.with_unproven(unproven)).ok_or("it names no person")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::auth::address;

    #[test]
    fn keys_are_at_the_issuer_unless_an_address_is_given() {
        let url = |issuer, url| ClerkSettings::new(issuer, url, "").unwrap().unwrap().jwks_url.to_string();
        let issuer = Some("https://clerk.example.com/");
        assert_eq!(url(issuer, None), "https://clerk.example.com/.well-known/jwks.json");
        assert_eq!(url(issuer, Some("https://keys.example.com/set")), "https://keys.example.com/set");
        assert_eq!(url(None, Some("https://keys.example.com/set")), "https://keys.example.com/set");
        assert!(ClerkSettings::new(None, None, "").unwrap().is_none());
        assert!(ClerkSettings::new(Some("http://clerk.example.com"), None, "").is_err());
        assert!(ClerkSettings::new(None, None, "https://app.example.com").is_err());
    }

    #[test]
    fn a_placeholder_is_an_address_that_nobody_can_sign_up_with() {
        let address = placeholder("https://clerk.example.com", "user_1");
        assert!(address::is_nobodys(&address) && address::normal(&address).is_err(), "{address}");
        assert_ne!(address, placeholder("https://clerk.example.com", "user_2"));
    }

    #[test]
    fn a_jwt_has_three_parts() {
        assert!(is_jwt("eyJhbGciOiJub25lIn0.e30."));
        assert!(!is_jwt("kst_abc") && !is_jwt("acrm_live_abc") && !is_jwt("a.b.c"));
    }
}
