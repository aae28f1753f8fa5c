//! Sign-in at a provider: the two addresses that a browser requests, on its way to the provider and back. In any case the
//! browser ends on one of Kith's pages, which explains the result.

use axum::http::header::HeaderMap;
use serde_json::json;

use crm::model::answer::Answer;
use crm::model::call::Call;
use crm::model::fault::Fault;

use crate::access::limits;
use crate::app::App;
use crate::door::cookie;
use crate::door::reply::PersonAnswer;
use crate::people::auth::oidc::Provider;
use crate::people::auth::sign_in::{self, Callback, Problem};
use crate::people::context::PersonContext;

/// The page that explains what went wrong.
const PAGE: &str = "/login";

/// `GET /v1/auth/oidc/:provider/start?next=…`
pub async fn start(
    app: &App,
    context: &PersonContext<'_>,
    call: &Call<'_>,
    headers: &HeaderMap,
    key: &str,
) -> Result<PersonAnswer, Fault> {
    let provider = known(context, key)?;
    call.only_parameters(&["next"])?;
    let next = sign_in::local(call.parameter("next"));
    // Another site must not sign its visitors in without their knowledge: they must come to Kith's page first, and click.
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Ok(back(sign_in::FROM_ANOTHER_SITE, next));
    }
    if let Some(address) = context.visitor.address {
        let (limits, now) = (&app.limits, app.clock.unix_seconds());
        if limits.take(&limits.sign_ins, limits::network(address), now, "sign-ins an hour").is_err() {
            return Ok(back(sign_in::TOO_OFTEN, next));
        }
    }
    Ok(match sign_in::begin(context, provider, next).await {
        Ok(started) => away(&started.url).with_cookie(cookie::set_sign_in(&started.token, &context.app.public_url)),
        Err(problem) => back(problem, next),
    })
}

/// `GET /v1/auth/oidc/:provider/callback?code=…&state=…`
pub async fn callback(
    context: &PersonContext<'_>,
    call: &Call<'_>,
    headers: &HeaderMap,
    key: &str,
) -> Result<PersonAnswer, Fault> {
    let provider = known(context, key)?;
    let token = cookie::sign_in_token(headers, &context.app.public_url);
    let [state, code, error, issuer] = ["state", "code", "error", "iss"].map(|name| call.parameter(name));
    let answer = Callback { state, code, error, issuer };
    let done = match sign_in::finish(context, provider, answer, token).await {
        Ok(finished) => away(&finished.next).with_cookie(cookie::set(&finished.session_token, &context.app.public_url)),
        Err((problem, next)) => back(problem, &next),
    };
    Ok(done.with_cookie(cookie::clear_sign_in(&context.app.public_url)))
}

fn known<'a>(context: &PersonContext<'a>, key: &str) -> Result<&'a Provider, Fault> {
    let provider = sign_in::provider(context, key).map(|provider| &**provider);
    provider.ok_or_else(|| Fault::NotFound { table: "the ways to sign in elsewhere".into(), id: key.to_owned() })
}

fn back(problem: &Problem, next: &str) -> PersonAnswer {
    let next = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
    away(&format!("{PAGE}?error={}&next={next}", problem.code))
}

fn away(location: &str) -> PersonAnswer {
    let answer = Answer::Object { text: json!({"location": location}).to_string(), created: false };
    PersonAnswer { status: Some(302), headers: vec![("location", location.to_owned())], ..PersonAnswer::from(answer) }
}
