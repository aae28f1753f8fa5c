//! OpenID Connect: the requests to a provider (authorization code flow with PKCE), and the claims in its answer.

use chrono::DateTime;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreGenderClaim, CoreIdTokenClaims,
    CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreTokenResponse,
};
use openidconnect::{
    AccessTokenHash, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EmptyAdditionalClaims, EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, SignatureVerificationError, TokenResponse, UserInfoClaims,
};
use reqwest::Client as Http;

use crate::config::SignIn;
use crate::http_client::{self, with_causes};
use crate::people::auth::identities::Claims;
use crate::people::auth::signing_keys::{KeysUnavailable, SigningKeys, bounded};

/// The largest accepted difference between a provider's clock and this one, in seconds.
const LEEWAY_SECONDS: i64 = 5;
/// The accepted algorithms of signatures. Shared secrets and tokens without a signature are not accepted.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 4] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EdDsa,
];
/// The scopes that are requested besides `openid`.
const SCOPES: [&str; 2] = ["email", "profile"];

const GOOGLE_ISSUER: &str = "https://accounts.google.com";

/// The configuration of a provider. It holds a secret, so it is never printed.
#[derive(Clone)]
pub struct ProviderSettings {
    /// Its name in paths: `google`, `oidc`.
    pub key: &'static str,
    /// Its display name.
    pub name: String,
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: ClientSecret,
}

/// The settings of all configured providers.
pub fn settings(given: &SignIn) -> Result<Vec<ProviderSettings>, String> {
    let google = pair(&given.google_client_id, &given.google_client_secret, "KITH_GOOGLE_CLIENT")?;
    let other = pair(&given.oidc_client_id, &given.oidc_client_secret, "KITH_OIDC_CLIENT")?;
    let mut found = Vec::new();
    if let Some((id, secret)) = google {
        let issuer = given.google_issuer.as_deref().unwrap_or(GOOGLE_ISSUER);
        found.push(ProviderSettings::new("google", "Google", issuer, id, secret)?);
    }
    match (&given.oidc_issuer, other) {
        (Some(issuer), Some((id, secret))) => {
            let url = http_client::trusted_url(issuer).map_err(|error| format!("KITH_OIDC_ISSUER: {error}"))?;
            let name = given.oidc_name.as_deref().or(url.host_str()).unwrap_or(issuer);
            found.push(ProviderSettings::new("oidc", name, issuer, id, secret)?);
        }
        (None, None) => {}
        (Some(_), None) => return Err("KITH_OIDC_ISSUER needs KITH_OIDC_CLIENT_ID and KITH_OIDC_CLIENT_SECRET".into()),
        (None, Some(_)) => return Err("KITH_OIDC_CLIENT_ID needs KITH_OIDC_ISSUER".into()),
    }
    Ok(found)
}

fn pair<'a>(
    id: &'a Option<String>,
    secret: &'a Option<String>,
    variable: &str,
) -> Result<Option<(&'a str, &'a str)>, String> {
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Some((id, secret))),
        (None, None) => Ok(None),
        _ => Err(format!("{variable}_ID and {variable}_SECRET go together")),
    }
}

impl ProviderSettings {
    fn new(key: &'static str, name: &str, issuer: &str, id: &str, secret: &str) -> Result<ProviderSettings, String> {
        Ok(ProviderSettings {
            key,
            name: name.to_owned(),
            issuer: IssuerUrl::new(issuer.to_owned())
                .map_err(|error| format!("{issuer:?} is not an issuer: {error}"))?,
            client_id: ClientId::new(id.to_owned()),
            client_secret: ClientSecret::new(secret.to_owned()),
        })
    }
}

/// The secrets that bind a sign-in to the browser in which it started.
pub struct SignInSecrets {
    /// Returned in the address of the callback.
    pub state: String,
    /// Returned in the ID token.
    pub nonce: String,
    /// Required to use the code (RFC 7636).
    pub verifier: String,
}

/// Why a sign-in at a provider failed.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The provider can't be reached.
    #[error("the provider can't be reached: {0}")]
    Unavailable(String),
    /// The provider's answer is not accepted.
    #[error("the provider's answer is not accepted: {0}")]
    Refused(String),
}

type OidcClient =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

impl From<KeysUnavailable> for SignInError {
    fn from(error: KeysUnavailable) -> SignInError {
        SignInError::Unavailable(error.to_string())
    }
}

/// A provider, with its cached addresses and keys.
pub struct Provider {
    /// Its configuration.
    pub settings: ProviderSettings,
    http: Http,
    metadata: SigningKeys<IssuerUrl>,
}

impl Provider {
    /// Creates the provider with these settings. Nothing is fetched yet.
    pub fn new(settings: ProviderSettings) -> Result<Provider, String> {
        let http = http_client::client()?;
        let metadata = SigningKeys::new(settings.issuer.clone(), http.clone());
        Ok(Provider { settings, http, metadata })
    }

    /// The address to which a browser goes to sign in.
    pub async fn authorize_url(
        &self,
        secrets: &SignInSecrets,
        redirect_uri: &str,
        now_ms: i64,
    ) -> Result<String, SignInError> {
        let metadata = self.metadata.current(now_ms).await?;
        let client = self.client(&metadata, redirect_uri)?;
        let (state, nonce) = (secrets.state.clone(), secrets.nonce.clone());
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let mut request = client.authorize_url(flow, || CsrfToken::new(state), || Nonce::new(nonce));
        for scope in SCOPES {
            request = request.add_scope(Scope::new(scope.to_owned()));
        }
        let verifier = PkceCodeVerifier::new(secrets.verifier.clone());
        let (url, ..) = request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier)).url();
        http_client::trusted_url(url.as_str()).map_err(SignInError::Refused)?;
        Ok(url.into())
    }

    /// Whether an issuer named in a callback is this one (RFC 9207).
    pub fn is_issuer(&self, issuer: &str) -> bool {
        self.settings.issuer.as_str() == issuer
    }

    /// Returns the provider's claims about the person whose browser returned with this code.
    pub async fn claims(
        &self,
        code: &str,
        secrets: &SignInSecrets,
        redirect_uri: &str,
        now_ms: i64,
    ) -> Result<Claims, SignInError> {
        let http = bounded(&self.http);
        let metadata = self.metadata.current(now_ms).await?;
        let mut client = self.client(&metadata, redirect_uri)?;
        let exchange = client.exchange_code(AuthorizationCode::new(code.to_owned())).map_err(refused)?;
        let exchange = exchange.set_pkce_verifier(PkceCodeVerifier::new(secrets.verifier.clone()));
        let tokens: CoreTokenResponse = exchange.request_async(&http).await.map_err(|error| match error {
            openidconnect::RequestTokenError::Request(error) => SignInError::Unavailable(error.to_string()),
            other => refused(other),
        })?;
        let mut verified = verify(&client, &tokens, secrets, now_ms);
        if matches!(
            verified,
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey))
        ) {
            client = self.client(&*self.metadata.newer_than(&metadata, now_ms).await?, redirect_uri)?;
            verified = verify(&client, &tokens, secrets, now_ms);
        }
        let id = verified.map_err(refused)?;
        let mut email = id.email().filter(|_| id.email_verified() == Some(true)).map(|email| email.to_string());
        let mut name = id.name().and_then(|name| name.get(None)).map(|name| name.to_string());
        // Some providers give the address only in exchange for the access token.
        if id.email().is_none()
            && let Ok(request) = client.user_info(tokens.access_token().clone(), Some(id.subject().clone()))
        {
            let told: UserInfoClaims<EmptyAdditionalClaims, CoreGenderClaim> =
                request.request_async(&http).await.map_err(|error| match error {
                    openidconnect::UserInfoError::Request(error) => SignInError::Unavailable(error.to_string()),
                    other => refused(other),
                })?;
            email = told.email().filter(|_| told.email_verified() == Some(true)).map(|email| email.to_string());
            name = name.or_else(|| told.name().and_then(|name| name.get(None)).map(|name| name.to_string()));
        }
        Claims::new(id.issuer().as_str(), id.subject().as_str(), email.as_deref(), name.as_deref())
            .ok_or_else(|| SignInError::Refused("it names no person".into()))
    }

    fn client(&self, metadata: &CoreProviderMetadata, redirect_uri: &str) -> Result<OidcClient, SignInError> {
        let settings = &self.settings;
        let redirect_uri = RedirectUrl::new(redirect_uri.to_owned()).map_err(refused)?;
        let secret = Some(settings.client_secret.clone());
        let client = CoreClient::from_provider_metadata(metadata.clone(), settings.client_id.clone(), secret);
        let by_header = metadata
            .token_endpoint_auth_methods_supported()
            .is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let auth = if by_header { AuthType::BasicAuth } else { AuthType::RequestBody };
        Ok(client.set_redirect_uri(redirect_uri).set_auth_type(auth))
    }
}

/// The claims of the ID token, if its issuer, audience, signature, nonce, expiry and access token hash are right.
fn verify(
    client: &OidcClient,
    tokens: &CoreTokenResponse,
    secrets: &SignInSecrets,
    now_ms: i64,
) -> Result<CoreIdTokenClaims, ClaimsVerificationError> {
    let now = DateTime::from_timestamp_millis(now_ms - LEEWAY_SECONDS * 1000).unwrap_or_default();
    let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS).set_time_fn(move || now);
    let token = tokens.id_token().ok_or_else(|| ClaimsVerificationError::Other("it has no ID token".into()))?;
    let claims = token.claims(&verifier, &Nonce::new(secrets.nonce.clone()))?;
    if let Some(expected) = claims.access_token_hash() {
        let (algorithm, key) = (token.signing_alg(), token.signing_key(&verifier));
        let (algorithm, key) =
            algorithm.and_then(|it| Ok((it, key?))).map_err(ClaimsVerificationError::SignatureVerification)?;
        let found = AccessTokenHash::from_token(tokens.access_token(), algorithm, key)
            .map_err(|error| ClaimsVerificationError::Other(error.to_string()))?;
        if found != *expected {
            return Err(ClaimsVerificationError::Other("its hash is of another access token".into()));
        }
    }
    Ok(claims.clone())
}

fn refused(error: impl std::error::Error) -> SignInError {
    SignInError::Refused(with_causes(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_configured_whole_or_not_at_all() {
        let some = |text: &str| Some(text.to_owned());
        let names = |given: &SignIn| {
            settings(given).map(|found| found.into_iter().map(|it| (it.key, it.name)).collect::<Vec<_>>())
        };
        assert_eq!(names(&SignIn::default()), Ok(vec![]));
        let google = SignIn { google_client_id: some("i"), google_client_secret: some("s"), ..SignIn::default() };
        assert_eq!(names(&google), Ok(vec![("google", "Google".to_owned())]));
        let other = SignIn {
            oidc_issuer: some("https://login.example.com/realm"),
            oidc_client_id: some("i"),
            oidc_client_secret: some("s"),
            ..google
        };
        assert_eq!(names(&other).unwrap()[1], ("oidc", "login.example.com".to_owned()));
        let named = SignIn { oidc_name: some("Our house"), ..other.clone() };
        assert_eq!(names(&named).unwrap()[1].1, "Our house");
        for broken in [
            SignIn { google_client_secret: None, ..other.clone() },
            SignIn { oidc_client_secret: None, ..other.clone() },
            SignIn { oidc_issuer: None, ..other.clone() },
            SignIn { oidc_issuer: some("http://login.example.com"), ..other.clone() },
            SignIn { oidc_client_id: None, oidc_client_secret: None, ..other },
        ] {
            assert!(settings(&broken).is_err());
        }
    }
}
