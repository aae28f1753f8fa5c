//! Signing in elsewhere: the two addresses that a browser comes to, on its way to a provider and back. Whatever happens, the
//! browser ends on a page of ours that says so in words.

use axum::http::header::HeaderMap;
use serde_json::json;

use crm::model::answer::Answer;
use crm::model::call::Call;
use crm::model::fault::Fault;

use crate::door::cookie;
use crate::door::people::Done;
use crate::door::rest::Visit;
use crate::limits;
use crate::people::desk::Desk;
use crate::people::oidc::Provider;
use crate::people::sign_in::{self, Problem};

/// The page that says what went wrong.
const PAGE: &str = "/login";

/// `GET /v1/auth/oidc/:provider/start?next=…`
pub async fn start(
    visit: &Visit<'_>,
    desk: &Desk<'_>,
    call: &Call<'_>,
    headers: &HeaderMap,
    key: &str,
) -> Result<Done, Fault> {
    let provider = known(desk, key)?;
    call.only_parameters(&["next"])?;
    let next = sign_in::local(call.parameter("next"));
    // Another site must not sign its visitors in here behind their backs: they come to our page first, and click.
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Ok(back(sign_in::FROM_ANOTHER_SITE, next));
    }
    let house = visit.house;
    if let Some(peer) = visit.peer.filter(|_| house.rate_limit > 0)
        && house.sign_ins.take(limits::network(peer), house.clock.unix_seconds()).is_some()
    {
        return Ok(back(sign_in::TOO_OFTEN, next));
    }
    Ok(match sign_in::begin(desk, provider, next).await {
        Ok(begun) => away(&begun.url).with_cookie(cookie::set_sign_in(&begun.token, desk.public_url)),
        Err(problem) => back(problem, next),
    })
}

/// `GET /v1/auth/oidc/:provider/callback?code=…&state=…`
pub async fn callback(desk: &Desk<'_>, call: &Call<'_>, headers: &HeaderMap, key: &str) -> Result<Done, Fault> {
    let provider = known(desk, key)?;
    let token = cookie::sign_in_token(headers, desk.public_url);
    let done = match sign_in::finish(desk, provider, call, token).await {
        Ok(arrived) => away(&arrived.next).with_cookie(cookie::set(&arrived.session_token, desk.public_url)),
        Err((problem, next)) => back(problem, &next),
    };
    Ok(done.with_cookie(cookie::clear_sign_in(desk.public_url)))
}

fn known<'a>(desk: &Desk<'a>, key: &str) -> Result<&'a Provider, Fault> {
    let provider = sign_in::provider(desk, key).map(|provider| &**provider);
    provider.ok_or_else(|| Fault::NotFound { table: "the ways to sign in elsewhere".into(), id: key.to_owned() })
}

fn back(problem: &Problem, next: &str) -> Done {
    let next = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
    away(&format!("{PAGE}?error={}&next={next}", problem.code))
}

fn away(location: &str) -> Done {
    let answer = Answer::Object { text: json!({"location": location}).to_string(), created: false };
    Done { status: Some(302), headers: vec![("location", location.to_owned())], ..Done::from(answer) }
}
