//! Clerk sessions: JWTs that Clerk has signed for a person. Who shows one is a person of Kith's from then on. Clerk ends
//! a session by signing no further token for it; each lives a minute or so.

use std::sync::Arc;

use jsonwebtoken::{Validation, decode, decode_header};
use reqwest::Url;
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
use crate::people::auth::jwks::{Jwks, Key};
use crate::store::Store;

/// How far Clerk's clock may be from ours, in seconds.
const LEEWAY_SECONDS: f64 = 5.0;
/// Longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How long a person is kept after their look-up, in milliseconds.
const FRESH_MS: u64 = 1000;
/// People who are kept at most.
const CAPACITY: usize = 100_000;

/// Whose tokens are taken.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who must have issued a token, without a slash at its end.
    issuer: Option<String>,
    /// Where the keys are.
    jwks_url: Url,
    /// The sites for which a token may have been made; all where there are none.
    parties: Vec<String>,
}

impl Settings {
    /// What is configured; nothing where neither an issuer nor an address of keys is.
    pub fn new(issuer: Option<&str>, jwks_url: Option<&str>, parties: &str) -> Result<Option<Settings>, String> {
        let issuer = issuer.map(|issuer| issuer.trim_end_matches('/').to_owned());
        let jwks_url = match (&issuer, jwks_url) {
            (_, Some(url)) => http_client::trusted_url(url).map_err(|error| format!("KITH_CLERK_JWKS_URL: {error}"))?,
            (Some(issuer), None) => http_client::trusted_url(&format!("{issuer}/.well-known/jwks.json"))
                .map_err(|error| format!("KITH_CLERK_ISSUER: {error}"))?,
            (None, None) if parties.is_empty() => return Ok(None),
            (None, None) => return Err("KITH_CLERK_AUTHORIZED_PARTIES needs KITH_CLERK_ISSUER".into()),
        };
        let parties = parties.split(',').map(|party| party.trim().trim_end_matches('/').to_owned());
        Ok(Some(Settings { issuer, jwks_url, parties: parties.filter(|party| !party.is_empty()).collect() }))
    }
}

/// Clerk as this process knows it. People are kept by issuer and subject.
pub struct Clerk {
    settings: Settings,
    keys: Jwks,
    people: Cache<(String, String), Person>,
    /// The requests of each person. They are counted on when a person is forgotten.
    windows: Cache<(String, String), Arc<Window>>,
}

/// The person whose token a request has shown.
pub struct ShownPerson {
    /// Who.
    pub person: Person,
    /// How often they came this minute.
    pub window: Arc<Window>,
}

/// Whether a Bearer token has the form of a JWT. No key and no session of ours has.
pub fn is_jwt(token: &str) -> bool {
    token.split('.').count() == 3 && token.starts_with("ey")
}

impl Clerk {
    /// Clerk with these settings. Nothing is fetched yet.
    pub fn new(settings: Settings) -> Result<Clerk, String> {
        let keys = Jwks::new(settings.jwks_url.clone(), http_client::client()?);
        let (people, windows) = (Cache::fresh_for(FRESH_MS, CAPACITY), Cache::until_forgotten(CAPACITY));
        Ok(Clerk { settings, keys, people, windows })
    }

    /// The person whose session a token is.
    pub async fn shown(
        &self,
        store: &Store,
        accounts: &Accounts,
        clock: &Clock,
        token: &str,
    ) -> Result<ShownPerson, Fault> {
        let now_ms = clock.unix_ms();
        let kid = key_id(token).map_err(refused)?;
        let key = self.keys.find(&kid, now_ms).await?.ok_or_else(|| refused("its key is not known"))?;
        let claims = verify(&self.settings, &key, token, clock.unix_seconds()).map_err(refused)?;
        let who = (claims.issuer.clone(), claims.subject.clone());
        let window = self.windows.get_or_insert_with(who.clone(), Arc::default);
        let otherwise = placeholder(&claims.issuer, &claims.subject);
        let look_up = identities::recognise((store, accounts, clock), &claims, Some(&otherwise));
        let person = self.people.get_or_look_up(who, now_ms, look_up).await?;
        let person = person.ok_or_else(|| Fault::internal("somebody of Clerk's is not known"))?;
        Ok(ShownPerson { person, window })
    }

    /// Forgets a person, as after something of them has changed.
    pub fn forget(&self, user_id: &str) {
        self.people.forget(|person| person.id == user_id);
    }
}

/// An address that nobody can have, for who comes without one.
fn placeholder(issuer: &str, subject: &str) -> String {
    let hash = api_key::hash(&format!("{issuer}\n{subject}"));
    let name: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}@clerk.invalid")
}

fn refused(why: &str) -> Fault {
    Fault::NotSignedIn {
        message: format!("This Clerk session is not taken: {why}."),
        hint: "Get a new token from Clerk and send it as Authorization: Bearer <token>.".into(),
    }
}

fn key_id(token: &str) -> Result<String, &'static str> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err("it is too long");
    }
    let header = decode_header(token).map_err(|_| "its header can't be read")?;
    // Access tokens for others' programs are signed with the same keys, and are no sessions.
    if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err("it is no session's token");
    }
    if header.crit.is_some() {
        return Err("it asks for checks that are not known here");
    }
    header.kid.ok_or("it names no key")
}

/// What a token says, if the key has signed it and it holds now.
fn verify(settings: &Settings, key: &Key, token: &str, now: i64) -> Result<Claims, &'static str> {
    let mut validation = Validation::new(key.algorithm);
    // The signature is all that is checked there: it knows neither our clock nor Clerk's azp.
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    let token = decode::<Value>(token, &key.decoding, &validation).map_err(|_| "its signature is not right")?;
    let claims = token.claims;
    let text = |name| claims.get(name).and_then(Value::as_str);
    let issuer = text("iss").map(|issuer| issuer.trim_end_matches('/')).ok_or("it names no issuer")?;
    if settings.issuer.as_deref().is_some_and(|expected| issuer != expected) {
        return Err("it is another issuer's");
    }
    if !settings.parties.is_empty() {
        let party = text("azp").ok_or("it names no authorized party")?.trim_end_matches('/');
        if !settings.parties.iter().any(|allowed| allowed == party) {
            return Err("it was made for another site");
        }
    }
    let now = now as f64;
    let expires_at = claims.get("exp").and_then(Value::as_f64).ok_or("it does not say when it ends")?;
    if now >= expires_at + LEEWAY_SECONDS {
        return Err("it has expired");
    }
    match claims.get("nbf").map(Value::as_f64) {
        None => {}
        Some(Some(not_before)) if now >= not_before - LEEWAY_SECONDS => {}
        Some(_) => return Err("it does not hold yet"),
    }
    if text("sts") == Some("pending") {
        return Err("it is still pending");
    }
    let is_verified = claims.get("email_verified") == Some(&Value::Bool(true));
    let email = text("email").filter(|_| is_verified);
    let person = Claims::new(issuer, text("sub").unwrap_or_default(), email, text("name"));
    // Where the token does not speak of verification at all, the address is what Clerk calls the person by.
    let unproven = text("email").filter(|_| claims.get("email_verified").is_none());
    person.map(|person| person.naming(unproven)).ok_or("it does not say who it is")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::auth::address;

    #[test]
    fn keys_are_where_the_issuer_has_them_unless_said() {
        let url = |issuer, url| Settings::new(issuer, url, "").unwrap().unwrap().jwks_url.to_string();
        let issuer = Some("https://clerk.example.com/");
        assert_eq!(url(issuer, None), "https://clerk.example.com/.well-known/jwks.json");
        assert_eq!(url(issuer, Some("https://keys.example.com/set")), "https://keys.example.com/set");
        assert_eq!(url(None, Some("https://keys.example.com/set")), "https://keys.example.com/set");
        assert!(Settings::new(None, None, "").unwrap().is_none());
        assert!(Settings::new(Some("http://clerk.example.com"), None, "").is_err());
        assert!(Settings::new(None, None, "https://app.example.com").is_err());
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
