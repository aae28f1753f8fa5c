//! What people grant programs: a code for the program, tokens for the code, new tokens for the old ones, and the end.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::json;
use subtle::ConstantTimeEq;

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::id;
use crm::model::page::PageAsk;
use crm::model::who::{Mode, Role};

use crate::access::api_key;
use crate::access::keys::APP_TOKEN_PREFIX;
use crate::app::App;
use crate::clock::{iso, random};
use crate::people::apps::scopes::Scopes;
use crate::people::apps::{Failure, OauthError};
use crate::people::context::PersonContext;
use crate::people::paging;
use crate::store::control::apps::{APPS, NewGrant, NewToken};

/// The prefix of a refresh token.
const REFRESH_PREFIX: &str = "krt_";
/// The prefix of a code.
const CODE_PREFIX: &str = "kac_";
/// Random characters of a code: 200 bits.
const CODE_CHARACTERS: usize = 40;
/// How long a code, an access token and a refresh token are valid, in seconds.
const CODE_SECONDS: i64 = 2 * 60;
const ACCESS_SECONDS: i64 = 60 * 60;
const REFRESH_SECONDS: i64 = 60 * 24 * 60 * 60;
/// The length of a verifier (RFC 7636).
const VERIFIER_BYTES: std::ops::RangeInclusive<usize> = 43..=128;

/// What a person agrees to.
pub struct Consent<'a> {
    /// The program's id.
    pub client_id: &'a str,
    /// Its name.
    pub client_name: &'a str,
    /// The workspace, `ws_…`.
    pub workspace_id: &'a str,
    /// The rights.
    pub scopes: Scopes,
    /// Where the code goes.
    pub redirect_uri: &'a str,
    /// The verifier's challenge.
    pub challenge: &'a str,
    /// The address that tokens will be good for.
    pub resource: &'a str,
}

/// Tokens for a program. They are secrets and are never printed.
pub struct AppTokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
    /// The rights.
    pub scopes: String,
    /// How long the access token is valid, in seconds.
    pub expires_in: i64,
}

/// A program's request for its first tokens.
pub struct CodeExchange<'a> {
    /// The program's id.
    pub client_id: &'a str,
    /// The code.
    pub code: &'a str,
    /// The verifier.
    pub verifier: &'a str,
    /// The address that the code was sent to.
    pub redirect_uri: &'a str,
    /// The address that tokens should be good for, if it is said again.
    pub resource: Option<&'a str>,
}

/// Whether a text is the challenge of a verifier: 43 characters of base64url.
pub fn is_challenge(text: &str) -> bool {
    text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether a program's `resource` is this one. Some programs name the whole server.
pub fn names_resource(app: &App, said: &str, resource: &str) -> bool {
    let said = said.trim_end_matches('/');
    said == resource || said == &*app.public_url
}

/// Grants rights to a program in the name of a member. Returns the code that the program exchanges for tokens.
pub async fn agree(context: &PersonContext<'_>, consent: &Consent<'_>) -> Result<String, Fault> {
    let member = context.member(consent.workspace_id).await?;
    let allowed = match member.role {
        Role::Viewer => Scopes::parse(Some("crm:read crm:sql")).unwrap_or_default(),
        Role::Member | Role::Owner => Scopes::ALL,
    };
    let clock = &context.app.clock;
    let code = format!("{CODE_PREFIX}{}", id::token(&random::<CODE_CHARACTERS>()));
    let entry = member.audit_entry(clock);
    let new = NewGrant {
        id: &clock.id("og"),
        client_id: consent.client_id,
        client_name: consent.client_name,
        mode: Mode::Live.name(),
        scopes: &consent.scopes.and(allowed).to_string(),
        resource: consent.resource,
        code_hash: api_key::hash(&code),
        redirect_uri: consent.redirect_uri,
        challenge: consent.challenge,
        expires_at: &iso(clock.unix_seconds() + CODE_SECONDS),
    };
    context.app.store.control.grant_app(&entry, &new).await?;
    Ok(code)
}

/// Exchanges a code for tokens. A code that comes twice was stolen by somebody, so the grant ends.
pub async fn exchange(app: &App, exchange: &CodeExchange<'_>) -> Result<AppTokens, Failure> {
    let refused = |what: &str| Failure::from(OauthError::new("invalid_grant", what));
    let now = iso(app.clock.unix_seconds());
    let used = app.store.control.use_app_code(&api_key::hash(exchange.code), &now).await?;
    let used = used.filter(|it| it.client_id == exchange.client_id);
    let used = used.ok_or_else(|| refused("This code is not known to this client."))?;
    if used.is_repeated {
        end(app, &used.grant_id, "code_repeated").await?;
        return Err(refused("This code was used before. The access that it gave has ended."));
    }
    if !used.is_valid {
        return Err(refused("This code has expired."));
    }
    if used.redirect_uri != exchange.redirect_uri {
        return Err(refused("redirect_uri is not the one that the code was sent to."));
    }
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, exchange.verifier.as_bytes()));
    let fits = bool::from(challenge.as_bytes().ct_eq(used.challenge.as_bytes()));
    if !fits || !VERIFIER_BYTES.contains(&exchange.verifier.len()) {
        return Err(refused("code_verifier does not fit the code_challenge."));
    }
    if exchange.resource.is_some_and(|said| !names_resource(app, said, &used.resource)) {
        return Err(OauthError::new("invalid_target", "resource is not the one that was agreed to.").into());
    }
    issue(app, &used.grant_id, used.scopes).await
}

/// Exchanges a refresh token for new tokens. Each works once; one that comes twice was stolen, so the grant ends.
pub async fn refresh(app: &App, client_id: &str, token: &str, resource: Option<&str>) -> Result<AppTokens, Failure> {
    let refused = |what: &str| Failure::from(OauthError::new("invalid_grant", what));
    if !api_key::is_well_formed(token, REFRESH_PREFIX) {
        return Err(refused("This refresh token is not known to this client."));
    }
    let now = iso(app.clock.unix_seconds());
    let used = app.store.control.use_refresh_token(&api_key::hash(token), client_id, &now).await?;
    let used = used.ok_or_else(|| refused("This refresh token is not known to this client."))?;
    if used.is_repeated {
        end(app, &used.grant_id, "refresh_token_repeated").await?;
        return Err(refused("This refresh token was used before. The access that it gave has ended."));
    }
    if !used.is_valid {
        return Err(refused("This refresh token has expired, or the app was disconnected."));
    }
    if resource.is_some_and(|said| !names_resource(app, said, &used.resource)) {
        return Err(OauthError::new("invalid_target", "resource is not the one that was agreed to.").into());
    }
    issue(app, &used.grant_id, used.scopes).await
}

async fn issue(app: &App, grant_id: &str, scopes: String) -> Result<AppTokens, Failure> {
    let now = app.clock.unix_seconds();
    let (access, refresh) = (api_key::make(APP_TOKEN_PREFIX), api_key::make(REFRESH_PREFIX));
    let (access_until, refresh_until) = (iso(now + ACCESS_SECONDS), iso(now + REFRESH_SECONDS));
    let tokens = [
        NewToken { hash: api_key::hash(&access), kind: "access", expires_at: &access_until },
        NewToken { hash: api_key::hash(&refresh), kind: "refresh", expires_at: &refresh_until },
    ];
    app.store.control.issue_app_tokens(grant_id, &tokens, &iso(now)).await?;
    app.keys.made();
    Ok(AppTokens { access, refresh, scopes, expires_in: ACCESS_SECONDS })
}

/// Revokes a token of a program, and the grant with it. A token that is not known is no error (RFC 7009).
pub async fn revoke(app: &App, client_id: &str, token: &str) -> Result<(), Fault> {
    match app.store.control.grant_of_token(&api_key::hash(token), client_id).await? {
        Some(grant_id) => end(app, &grant_id, "revoked_by_app").await,
        None => Ok(()),
    }
}

async fn end(app: &App, grant_id: &str, why: &str) -> Result<(), Fault> {
    if app.store.control.end_app_grant(grant_id, why, &iso(app.clock.unix_seconds())).await? {
        app.keys.forget();
    }
    Ok(())
}

/// Lists the apps that are connected to a workspace: for an owner all of them, for others their own.
pub async fn list(context: &PersonContext<'_>, workspace_id: &str, ask: PageAsk) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    let whose = if member.role == Role::Owner { "" } else { member.person.id.as_str() };
    paging::page(context, &APPS, member.workspace_id, &[whose], ask).await
}

/// Disconnects an app. Owners may disconnect any app, others their own.
pub async fn disconnect(context: &PersonContext<'_>, workspace_id: &str, grant_id: &str) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    let (entry, all) = (member.audit_entry(&context.app.clock), member.role == Role::Owner);
    if !context.app.store.control.disconnect_app(&entry, grant_id, all).await? {
        return Err(Fault::NotFound { table: "the apps that you may disconnect".into(), id: grant_id.to_owned() });
    }
    context.app.keys.forget();
    Ok(Answer::Object { text: json!({"id": grant_id, "deleted_at": entry.now}).to_string(), created: false })
}
