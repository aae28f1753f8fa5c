//! OAuth 2.1 for programs that connect to `/mcp`: the metadata of the resource and of the server, registration, tokens and
//! revocation. The page on which a person agrees is among the pages.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crm::model::call::parse_query;
use crm::model::fault::Fault;

use crate::app::App;
use crate::door::request::HttpRequest;
use crate::people::apps::grants::{self, AppTokens, CodeExchange};
use crate::people::apps::scopes::{SCOPES, Scopes};
use crate::people::apps::{Failure, OauthError, clients};

/// The metadata of the resource. Clients look below its path first (RFC 9728).
const OF_RESOURCE: &[&str] = &["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"];
/// The metadata of the server (RFC 8414).
const OF_SERVER: &[&str] = &["/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/mcp"];
const REGISTER: &str = "/oauth/register";
const TOKEN: &str = "/oauth/token";
const REVOKE: &str = "/oauth/revoke";

/// The address that tokens are good for.
pub fn resource(public_url: &str) -> String {
    format!("{public_url}/mcp")
}

/// The address of the resource's metadata.
pub fn resource_metadata(public_url: &str) -> String {
    format!("{public_url}{}", OF_RESOURCE[0])
}

/// Whether this module serves a path.
pub fn is_here(path: &str) -> bool {
    OF_RESOURCE.contains(&path) || OF_SERVER.contains(&path) || matches!(path, REGISTER | TOKEN | REVOKE)
}

/// Serves a request. None of these addresses reads a cookie, so that pages of any site may call them, as clients in browsers do.
pub async fn serve(app: &Arc<App>, request: Request<Body>) -> Response {
    let id = app.clock.id("req");
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let is_document = OF_RESOURCE.contains(&&*path) || OF_SERVER.contains(&&*path);
    let allow = if is_document { "GET, HEAD, OPTIONS" } else { "POST, OPTIONS" };
    let mut response = match (&head.method, is_document) {
        (&Method::OPTIONS, _) => empty(StatusCode::NO_CONTENT),
        (&Method::GET | &Method::HEAD, true) => answer(StatusCode::OK, &document(&path, &app.public_url)),
        (&Method::POST, false) => {
            let mut request = HttpRequest::new(app, &id, &head, body);
            posted(&mut request, &path).await.unwrap_or_else(|failure| refusal(&failure, &id, &head.headers))
        }
        _ => {
            let mut refused = empty(StatusCode::METHOD_NOT_ALLOWED);
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            refused
        }
    };
    let headers = response.headers_mut();
    let kept = if is_document { "public, max-age=300" } else { "no-store" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("content-type, authorization, mcp-protocol-version"),
    );
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", value);
    }
    response
}

fn document(path: &str, public_url: &str) -> Value {
    let scopes: Vec<_> = SCOPES.iter().map(|scope| scope.name).collect();
    if OF_RESOURCE.contains(&path) {
        return json!({
            "resource": resource(public_url),
            "authorization_servers": [public_url],
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
            "resource_name": "Kith",
            "resource_documentation": format!("{public_url}/docs"),
        });
    }
    json!({
        "issuer": public_url,
        "authorization_endpoint": format!("{public_url}/oauth/authorize"),
        "token_endpoint": format!("{public_url}{TOKEN}"),
        "registration_endpoint": format!("{public_url}{REGISTER}"),
        "revocation_endpoint": format!("{public_url}{REVOKE}"),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "client_id_metadata_document_supported": true,
        "authorization_response_iss_parameter_supported": true,
        "service_documentation": format!("{public_url}/docs"),
    })
}

async fn posted(request: &mut HttpRequest<'_>, path: &str) -> Result<Response, Failure> {
    let app = request.app;
    if path == REGISTER {
        let body = request.form().await?;
        let fields: Map<String, Value> = serde_json::from_slice(&body)
            .map_err(|_| OauthError::new("invalid_client_metadata", "The body must be a JSON object."))?;
        let client = clients::register(app, request.peer, &fields).await?;
        let mut shown = Map::from(client);
        shown.insert("client_id_issued_at".into(), app.clock.unix_seconds().into());
        shown.insert("scope".into(), Scopes::ALL.to_string().into());
        return Ok(answer(StatusCode::CREATED, &Value::Object(shown)));
    }
    let body = request.form().await?;
    let form = OauthForm::read(&body, &request.head.headers)?;
    let client_id = form.needed("client_id")?;
    clients::check(app, client_id).await?;
    if path == REVOKE {
        grants::revoke(app, client_id, form.needed("token")?).await?;
        return Ok(answer(StatusCode::OK, &json!({})));
    }
    let tokens = match form.needed("grant_type")? {
        "authorization_code" => {
            let exchange = CodeExchange {
                client_id,
                code: form.needed("code")?,
                verifier: form.needed("code_verifier")?,
                redirect_uri: form.needed("redirect_uri")?,
                resource: form.get("resource"),
            };
            grants::exchange(app, &exchange).await?
        }
        "refresh_token" => grants::refresh(app, client_id, form.needed("refresh_token")?, form.get("resource")).await?,
        _ => {
            let known = "grant_type is authorization_code or refresh_token.";
            return Err(OauthError::new("unsupported_grant_type", known).into());
        }
    };
    Ok(answer(StatusCode::OK, &shown(&tokens)))
}

fn shown(tokens: &AppTokens) -> Value {
    json!({
        "access_token": tokens.access,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in,
        "refresh_token": tokens.refresh,
        "scope": tokens.scopes,
    })
}

/// The fields of a form. A field that is given twice is refused (RFC 6749).
struct OauthForm(Vec<(String, String)>);

impl OauthForm {
    fn read(body: &[u8], headers: &HeaderMap) -> Result<OauthForm, OauthError> {
        let text = std::str::from_utf8(body).map_err(|_| OauthError::invalid_request("The body is not UTF-8."))?;
        let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !sent.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
            return Err(OauthError::invalid_request("The body must be application/x-www-form-urlencoded."));
        }
        let mut fields = parse_query(text).map_err(|fault| OauthError::invalid_request(fault.message()))?;
        // A public client may name itself in the header, without a secret.
        if let Some(client_id) = basic(headers)
            && !fields.iter().any(|(name, _)| name == "client_id")
        {
            fields.push(("client_id".into(), client_id));
        }
        for (at, (name, _)) in fields.iter().enumerate() {
            if fields[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(OauthError::invalid_request(format!("{name:?} is given twice.")));
            }
        }
        Ok(OauthForm(fields))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(it, _)| it == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn needed(&self, name: &str) -> Result<&str, OauthError> {
        self.get(name).ok_or_else(|| OauthError::invalid_request(format!("{name:?} is needed.")))
    }
}

fn basic(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = STANDARD.decode(value.strip_prefix("Basic ")?.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let client_id = text.split_once(':').map_or(text.as_str(), |(client_id, _)| client_id);
    percent_encoding::percent_decode_str(client_id).decode_utf8().ok().map(|it| it.into_owned())
}

fn refusal(failure: &Failure, request_id: &str, headers: &HeaderMap) -> Response {
    let (status, error) = match failure {
        // A client that is not known registers again.
        Failure::Oauth(error) if error.code == "invalid_client" => (StatusCode::UNAUTHORIZED, error.clone()),
        Failure::Oauth(error) => (StatusCode::BAD_REQUEST, error.clone()),
        Failure::Fault(fault) => {
            if matches!(fault, Fault::Internal { .. }) {
                tracing::error!(request_id, fault = fault.in_log(), "a request of OAuth failed");
            }
            let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, OauthError::of(fault))
        }
    };
    // People who set up a client see only that it could not connect.
    tracing::info!(request_id, status = status.as_u16(), %error, "OAuth request refused");
    let mut response = answer(status, &json!({"error": error.code, "error_description": error.description}));
    if let Failure::Fault(fault) = failure
        && let Some(seconds) = fault.retry_after()
    {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::UNAUTHORIZED && headers.contains_key(header::AUTHORIZATION) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Kith\""));
    }
    response
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
