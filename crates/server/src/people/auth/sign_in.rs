//! Signing in at a provider: a browser is sent there, comes back with a code, and has a session. The browser alone holds the
//! token from which the sign-in's secrets follow, so that nobody can end in another's browser what they began in theirs;
//! the state is taken out once, within ten minutes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use subtle::ConstantTimeEq;

use crm::model::call::Call;
use crm::model::fault::Fault;
use crm::model::id;

use crate::access::api_key;
use crate::clock::random;
use crate::people::auth::identities;
use crate::people::auth::oidc::{Bonds, Provider, SignInError};
use crate::people::auth::sessions::Beginning;
use crate::people::context::PersonContext;
use crate::store::fault::of_connection;

/// How long somebody may take at the provider, in seconds.
pub const LASTS_SECONDS: i64 = 10 * 60;
/// Random characters of the browser's token: 200 bits.
const TOKEN_CHARACTERS: usize = 40;
/// Longest path to which a sign-in leads.
const MAX_NEXT_BYTES: usize = 2000;
/// Longest code that is handed on.
const MAX_CODE_BYTES: usize = 4096;

/// Why a sign-in came to nothing, as a page says it.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its name in the address of the page.
    pub code: &'static str,
    /// What the page says.
    pub words: &'static str,
}

const fn problem(code: &'static str, words: &'static str) -> Problem {
    Problem { code, words }
}

const EXPIRED: Problem = problem(
    "expired",
    "This sign-in is over: it took longer than ten minutes, was used already, or was begun in another browser. Try again.",
);
const DECLINED: Problem = problem("declined", "You were not signed in there, so you are not signed in here either.");
const UNVERIFIED: Problem = problem(
    "unverified",
    "Your account there has no e-mail address that is verified. Verify it there and try again, or sign up here with e-mail \
     and password.",
);
const REFUSED: Problem =
    problem("refused", "The other side's answer could not be taken. Try again, or sign in with a password.");
const UNAVAILABLE: Problem = problem(
    "unavailable",
    "The other side can't be reached just now. Try again in a while, or sign in with a password.",
);
const TOO_MANY: Problem = problem("too_many", "Too many sign-ins from your address. Try again in an hour.");
const ELSEWHERE: Problem = problem("elsewhere", "Another site has sent you here. If you want to sign in, choose how.");

/// Every problem; the pages look their words up here.
pub const PROBLEMS: &[&Problem] = &[&EXPIRED, &DECLINED, &UNVERIFIED, &REFUSED, &UNAVAILABLE, &TOO_MANY, &ELSEWHERE];

/// Who asks too often is told so on a page.
pub const TOO_OFTEN: &Problem = &TOO_MANY;
/// Who was sent by another site has to choose themselves.
pub const FROM_ANOTHER_SITE: &Problem = &ELSEWHERE;

/// A sign-in that has begun.
pub struct Begun {
    /// Where the browser is to go.
    pub url: String,
    /// What it is to keep. It is a secret, so this is never printed.
    pub token: String,
}

/// A sign-in that has ended well.
pub struct Arrived {
    /// The session's token; a secret too.
    pub session_token: String,
    /// Where the visitor wanted to go.
    pub next: String,
}

/// A provider by its name in paths.
pub fn provider<'a>(context: &PersonContext<'a>, key: &str) -> Option<&'a Arc<Provider>> {
    context.accounts.providers.iter().find(|provider| provider.settings.key == key)
}

/// Where a path within this Kith leads, if it is a page's: anything else would lead people who trust this address elsewhere,
/// or on to do something.
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

/// Sends somebody to a provider.
pub async fn begin(context: &PersonContext<'_>, provider: &Provider, next: &str) -> Result<Begun, &'static Problem> {
    let token = id::token(&random::<TOKEN_CHARACTERS>());
    let bonds = bonds(&token);
    let url = provider
        .authorize_url(&bonds, &redirect_uri(context, provider), context.clock.unix_ms())
        .await
        .map_err(said)?;
    let expires_at = context.clock.unix_seconds() + LASTS_SECONDS;
    let kept =
        context.store.control.keep_sign_in(&api_key::hash(&bonds.state), provider.settings.key, next, expires_at).await;
    kept.map_err(|error| failed(&of_connection(error)))?;
    Ok(Begun { url, token })
}

/// Takes somebody in who comes back from a provider with `?code=…&state=…`; `token` is what their browser has kept. Else
/// says why not, and where they wanted to go.
pub async fn finish(
    context: &PersonContext<'_>,
    provider: &Provider,
    call: &Call<'_>,
    token: Option<&str>,
) -> Result<Arrived, (&'static Problem, String)> {
    let nowhere = |problem| (problem, String::from("/"));
    let bonds = token.map(bonds).ok_or(nowhere(&EXPIRED))?;
    let state = call.parameter("state").unwrap_or_default();
    if !bool::from(bonds.state.as_bytes().ct_eq(state.as_bytes())) {
        return Err(nowhere(&EXPIRED));
    }
    let control = &context.store.control;
    let next = control.take_sign_in(&api_key::hash(state), provider.settings.key, context.clock.unix_seconds()).await;
    let next = next.map_err(|error| nowhere(failed(&of_connection(error))))?.ok_or(nowhere(&EXPIRED))?;
    match arrive(context, provider, call, &bonds).await {
        Ok(session_token) => Ok(Arrived { session_token, next }),
        Err(problem) => Err((problem, next)),
    }
}

async fn arrive(
    context: &PersonContext<'_>,
    provider: &Provider,
    call: &Call<'_>,
    bonds: &Bonds,
) -> Result<String, &'static Problem> {
    if call.parameter("iss").is_some_and(|issuer| !provider.is_issuer(issuer)) {
        return Err(&REFUSED);
    }
    let code = match (call.parameter("error"), call.parameter("code")) {
        (Some("access_denied"), _) => return Err(&DECLINED),
        (Some("temporarily_unavailable" | "server_error"), _) => return Err(&UNAVAILABLE),
        (None, Some(code)) if !code.is_empty() && code.len() <= MAX_CODE_BYTES => code,
        (error, _) => {
            tracing::warn!(provider = provider.settings.key, ?error, "a provider sends somebody back without a code");
            return Err(&REFUSED);
        }
    };
    let redirect_uri = redirect_uri(context, provider);
    let claims = provider.claims(code, bonds, &redirect_uri, context.clock.unix_ms()).await.map_err(said)?;
    let person = identities::recognise((context.store, context.accounts, context.clock), &claims, None).await;
    let person = person.map_err(|fault| failed(&fault))?.ok_or(&UNVERIFIED)?;
    let beginning = Beginning::new(context.clock, context.visitor);
    let begun = context.store.control.create_session(&person.id, &beginning.row()).await;
    begun.map_err(|error| failed(&of_connection(error)))?;
    tracing::info!(user_id = person.id, provider = provider.settings.key, "signed in");
    Ok(beginning.token)
}

fn redirect_uri(context: &PersonContext<'_>, provider: &Provider) -> String {
    format!("{}/v1/auth/oidc/{}/callback", context.public_url, provider.settings.key)
}

/// The secrets that follow from a browser's token; none of them gives it or another away.
fn bonds(token: &str) -> Bonds {
    let follow = |purpose: &str| {
        let hash = digest::digest(&digest::SHA256, format!("kith sign-in {purpose}\0{token}").as_bytes());
        URL_SAFE_NO_PAD.encode(hash)
    };
    Bonds { state: follow("state"), nonce: follow("nonce"), verifier: follow("verifier") }
}

fn said(trouble: SignInError) -> &'static Problem {
    tracing::warn!(error = %trouble, "somebody could not be signed in by a provider");
    match trouble {
        SignInError::Unavailable(_) => &UNAVAILABLE,
        SignInError::Refused(_) => &REFUSED,
    }
}

fn failed(fault: &Fault) -> &'static Problem {
    tracing::error!(?fault, "a sign-in failed");
    &UNAVAILABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_kith_are_gone_to() {
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
    fn a_sign_ins_secrets_differ_and_fit_pkce() {
        let (one, other) = (bonds("a"), bonds("b"));
        assert!(one.state != one.nonce && one.nonce != one.verifier && one.state != one.verifier);
        assert!(one.state != other.state && one.verifier != other.verifier);
        assert!((43..=128).contains(&one.verifier.len()), "RFC 7636, section 4.1");
    }

    #[test]
    fn problems_have_names_of_their_own() {
        let mut codes: Vec<_> = PROBLEMS.iter().map(|problem| problem.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), PROBLEMS.len());
    }
}
