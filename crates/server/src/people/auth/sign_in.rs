//! Sign-in at a provider: a browser goes to the provider, returns with a code, and gets a session.
//!
//! The sign-in's secrets are derived from a token that only the browser holds, so that a sign-in which started in one browser
//! can't finish in another. Its state works once, within ten minutes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use subtle::ConstantTimeEq;

use crm::model::fault::Fault;
use crm::model::id;

use crate::access::api_key;
use crate::clock::random;
use crate::people::auth::identities;
use crate::people::auth::oidc::{Provider, SignInError, SignInSecrets};
use crate::people::auth::sessions::IssuedSession;
use crate::people::context::PersonContext;

/// How long a sign-in may take, in seconds.
pub const LASTS_SECONDS: i64 = 10 * 60;
/// Random characters of the browser's token: 200 bits.
const TOKEN_CHARACTERS: usize = 40;
/// The longest path to which a sign-in may lead.
const MAX_NEXT_BYTES: usize = 2000;
/// The longest code that is sent to a provider.
const MAX_CODE_BYTES: usize = 4096;

/// Why a sign-in failed, as shown on a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its name in the address of the page.
    pub code: &'static str,
    /// The text of the page.
    pub words: &'static str,
}

const fn problem(code: &'static str, words: &'static str) -> Problem {
    Problem { code, words }
}

const EXPIRED: Problem = problem(
    "expired",
    "This sign-in has expired: it took longer than ten minutes, was used already, or began in another browser. Try again.",
);
const DECLINED: Problem = problem("declined", "You were not signed in there, so you are not signed in here.");
const UNVERIFIED: Problem = problem(
    "unverified",
    "Your account there has no verified e-mail address. Verify it there and try again, or sign up here with e-mail and \
     password.",
);
const REFUSED: Problem =
    problem("refused", "The provider's answer was not accepted. Try again, or sign in with a password.");
const UNAVAILABLE: Problem = problem(
    "unavailable",
    "The provider can't be reached at the moment. Try again in a while, or sign in with a password.",
);
const TOO_MANY: Problem = problem("too_many", "Too many sign-ins from your address. Try again in an hour.");
const ELSEWHERE: Problem = problem("elsewhere", "Another site sent you here. If you want to sign in, choose how.");

/// All problems. The pages read their texts here.
pub const PROBLEMS: &[&Problem] = &[&EXPIRED, &DECLINED, &UNVERIFIED, &REFUSED, &UNAVAILABLE, &TOO_MANY, &ELSEWHERE];

/// For an IP address with too many sign-ins.
pub const TOO_OFTEN: &Problem = &TOO_MANY;
/// For a browser that came from another site.
pub const FROM_ANOTHER_SITE: &Problem = &ELSEWHERE;

/// A sign-in that has started. It holds a secret, so it is never printed.
pub struct StartedSignIn {
    /// The provider's address, to which the browser goes.
    pub url: String,
    /// The token that the browser keeps.
    pub token: String,
}

/// The provider's parameters in the address of the callback.
#[derive(Clone, Copy, Default)]
pub struct Callback<'a> {
    /// `state`
    pub state: Option<&'a str>,
    /// `code`
    pub code: Option<&'a str>,
    /// `error`
    pub error: Option<&'a str>,
    /// `iss` (RFC 9207)
    pub issuer: Option<&'a str>,
}

/// A sign-in that succeeded. It holds a secret, so it is never printed.
pub struct FinishedSignIn {
    /// The session's token.
    pub session_token: String,
    /// The path that the visitor asked for.
    pub next: String,
}

/// Finds a provider by its name in paths.
pub fn provider<'a>(context: &PersonContext<'a>, key: &str) -> Option<&'a Arc<Provider>> {
    context.app.accounts.providers.iter().find(|provider| provider.settings.key == key)
}

/// Returns the path to go to, if it is one of this Kith's pages, else `/`. Any other address could lead people to another site,
/// or perform an action in their name.
pub fn local(next: Option<&str>) -> &str {
    let is_local = |next: &&str| {
        next.starts_with('/')
            && !next.starts_with("//")
            && !next.starts_with("/v1/")
            && !next.contains("/.")
            && next.len() <= MAX_NEXT_BYTES
            && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    next.filter(is_local).unwrap_or("/")
}

/// Starts a sign-in at a provider, which leads to `next` afterwards.
pub async fn begin(
    context: &PersonContext<'_>,
    provider: &Provider,
    next: &str,
) -> Result<StartedSignIn, &'static Problem> {
    let token = id::token(&random::<TOKEN_CHARACTERS>());
    let secrets = secrets(&token);
    let url = provider
        .authorize_url(&secrets, &redirect_uri(context, provider), context.app.clock.unix_ms())
        .await
        .map_err(problem_of)?;
    let expires_at = context.app.clock.unix_seconds() + LASTS_SECONDS;
    let state_hash = api_key::hash(&secrets.state);
    context
        .app
        .store
        .control
        .keep_sign_in(&state_hash, provider.settings.key, next, expires_at)
        .await
        .map_err(failed)?;
    Ok(StartedSignIn { url, token })
}

/// Finishes a sign-in when the browser returns. `token` is the one that the browser kept. A failure includes the path that the
/// visitor asked for.
pub async fn finish(
    context: &PersonContext<'_>,
    provider: &Provider,
    callback: Callback<'_>,
    token: Option<&str>,
) -> Result<FinishedSignIn, (&'static Problem, String)> {
    let to_start = |problem| (problem, String::from("/"));
    let secrets = token.map(secrets).ok_or(to_start(&EXPIRED))?;
    let state = callback.state.unwrap_or_default();
    if !bool::from(secrets.state.as_bytes().ct_eq(state.as_bytes())) {
        return Err(to_start(&EXPIRED));
    }
    let control = &context.app.store.control;
    let next =
        control.take_sign_in(&api_key::hash(state), provider.settings.key, context.app.clock.unix_seconds()).await;
    let next = next.map_err(|fault| to_start(failed(fault)))?.ok_or(to_start(&EXPIRED))?;
    match begin_session(context, provider, callback, &secrets).await {
        Ok(session_token) => Ok(FinishedSignIn { session_token, next }),
        Err(problem) => Err((problem, next)),
    }
}

async fn begin_session(
    context: &PersonContext<'_>,
    provider: &Provider,
    callback: Callback<'_>,
    secrets: &SignInSecrets,
) -> Result<String, &'static Problem> {
    if callback.issuer.is_some_and(|issuer| !provider.is_issuer(issuer)) {
        return Err(&REFUSED);
    }
    let code = match (callback.error, callback.code) {
        (Some("access_denied"), _) => return Err(&DECLINED),
        (Some("temporarily_unavailable" | "server_error"), _) => return Err(&UNAVAILABLE),
        (None, Some(code)) if !code.is_empty() && code.len() <= MAX_CODE_BYTES => code,
        (error, _) => {
            tracing::warn!(provider = provider.settings.key, ?error, "a provider sent a browser back without a code");
            return Err(&REFUSED);
        }
    };
    let redirect_uri = redirect_uri(context, provider);
    let claims =
        provider.claims(code, secrets, &redirect_uri, context.app.clock.unix_ms()).await.map_err(problem_of)?;
    let parts = (&context.app.store, &context.app.accounts, &context.app.clock);
    let person = identities::recognise(parts, &claims, None).await.map_err(failed)?.ok_or(&UNVERIFIED)?;
    let session = IssuedSession::new(&context.app.clock, context.visitor);
    context.app.store.control.create_session(&person.id, &session.row()).await.map_err(failed)?;
    tracing::info!(user_id = person.id, provider = provider.settings.key, "signed in");
    Ok(session.token)
}

fn redirect_uri(context: &PersonContext<'_>, provider: &Provider) -> String {
    format!("{}/v1/auth/oidc/{}/callback", &context.app.public_url, provider.settings.key)
}

/// The secrets of a sign-in, derived from the browser's token. One of them reveals neither the token nor another secret.
fn secrets(token: &str) -> SignInSecrets {
    let derive = |purpose: &str| {
        let hash = digest::digest(&digest::SHA256, format!("kith sign-in {purpose}\0{token}").as_bytes());
        URL_SAFE_NO_PAD.encode(hash)
    };
    SignInSecrets { state: derive("state"), nonce: derive("nonce"), verifier: derive("verifier") }
}

fn problem_of(error: SignInError) -> &'static Problem {
    tracing::warn!(%error, "a sign-in at a provider failed");
    match error {
        SignInError::Unavailable(_) => &UNAVAILABLE,
        SignInError::Refused(_) => &REFUSED,
    }
}

fn failed(fault: Fault) -> &'static Problem {
    tracing::error!(fault = fault.in_log(), "a sign-in failed");
    &UNAVAILABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_to_paths_of_this_kith_alone() {
        for good in ["/", "/claim/ws_1", "/invite/inv_x?a=b&c=%2F", "/sql#x", "/a//b"] {
            assert_eq!(local(Some(good)), good);
        }
        let long = format!("/{}", "a".repeat(MAX_NEXT_BYTES));
        let bad = [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "evil",
            "/\t/evil.example",
            "/a\r\nSet-Cookie: x",
            "\\\\evil",
            " /x",
            "javascript:alert(1)",
            "/v1/auth/oidc/oidc/start",
            "/a/../v1/auth/me",
            "/.//evil.example",
            "/ü",
            &long,
        ];
        for next in bad {
            assert_eq!(local(Some(next)), "/", "{next:?}");
        }
        assert_eq!(local(None), "/");
    }

    #[test]
    fn the_secrets_of_a_sign_in_differ_and_fit_pkce() {
        let (one, other) = (secrets("a"), secrets("b"));
        assert!(one.state != one.nonce && one.nonce != one.verifier && one.state != one.verifier);
        assert!(one.state != other.state && one.verifier != other.verifier);
        assert!((43..=128).contains(&one.verifier.len()), "RFC 7636, section 4.1");
    }

    #[test]
    fn problems_have_different_names() {
        let mut codes: Vec<_> = PROBLEMS.iter().map(|problem| problem.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), PROBLEMS.len());
    }
}
