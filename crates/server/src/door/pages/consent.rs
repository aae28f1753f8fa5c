//! `/oauth/authorize`: the page on which a person lets a program act in a workspace. A program that is not known, or that wants
//! the code sent to an address that it did not name, gets no answer; the person is told. All other errors go to the program.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use maud::{DOCTYPE, Markup, html};
use subtle::ConstantTimeEq;
use url::Url;

use crm::model::call::parse_query;
use crm::model::fault::Fault;
use crm::model::who::Role;

use crate::app::App;
use crate::door::pages::account::problem;
use crate::door::pages::visit::{PageRequest, PageVisit};
use crate::door::pages::{layout, lead_to_login, parts, respond, said};
use crate::door::request::HttpRequest;
use crate::door::{cookie, oauth};
use crate::people::apps::clients::{self, AppClient};
use crate::people::apps::grants::{self, Consent};
use crate::people::apps::scopes::{SCOPES, Scopes};
use crate::people::apps::{Failure, OauthError};
use crate::people::context::PersonContext;

/// The path of the page.
pub const PATH: &str = "/oauth/authorize";

/// A program's request, checked.
struct AppRequest {
    client: AppClient,
    redirect_uri: String,
    state: Option<String>,
    scopes: Scopes,
    /// Whether it named the rights that it asks for.
    names_scopes: bool,
    challenge: String,
}

/// Why a request can't be shown to a person.
enum ConsentRefused {
    /// The person is told, because nobody may be sent to the address in the request.
    Here(String),
    /// The program is told.
    There { redirect_uri: String, state: Option<String>, error: OauthError },
    /// Kith itself fails.
    Fault(Fault),
}

/// Serves the page and its form.
pub async fn serve(app: &Arc<App>, request: Request<Body>) -> Response {
    let id = app.clock.id("req");
    let (head, body) = request.into_parts();
    let mut request = HttpRequest::new(app, &id, &head, body);
    let served = match head.method {
        Method::GET | Method::HEAD => shown(PageRequest::of(&request)).await,
        Method::POST => decided(&mut request).await,
        _ => Err(ConsentRefused::Fault(Fault::MethodNotAllowed { allow: vec!["GET", "HEAD", "POST"] })),
    };
    let mut response = served.unwrap_or_else(|refused| refusal(app, &id, refused));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

fn refusal(app: &App, id: &str, refused: ConsentRefused) -> Response {
    match refused {
        ConsentRefused::Here(words) => respond(StatusCode::BAD_REQUEST, problem("This app can't be connected", &words)),
        ConsentRefused::There { redirect_uri, state, error } => {
            let fields = [("error", error.code), ("error_description", &*error.description)];
            leads_back(app, &redirect_uri, state.as_deref(), &fields)
        }
        ConsentRefused::Fault(fault) => {
            let (status, words, _) = said(app, id, &fault);
            respond(status, problem("This app can't be connected", &words))
        }
    }
}

impl From<Fault> for ConsentRefused {
    fn from(fault: Fault) -> ConsentRefused {
        ConsentRefused::Fault(fault)
    }
}

/// Reads and checks a program's request.
async fn read(app: &App, query: &str) -> Result<AppRequest, ConsentRefused> {
    let fields = parse_query(query)?;
    let get = |name: &str| {
        let mut found = fields.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str());
        let first = found.next().filter(|value| !value.is_empty());
        if found.next().is_some() { None } else { first }
    };
    let client_id = get("client_id").ok_or_else(|| ConsentRefused::Here("The request names no client_id.".into()))?;
    let client = clients::find(app, client_id).await.map_err(|failure| match failure {
        Failure::Oauth(error) => ConsentRefused::Here(error.description),
        Failure::Fault(fault) => ConsentRefused::Fault(fault),
    })?;
    let redirect_uri = get("redirect_uri").unwrap_or_default();
    if !client.allows(redirect_uri) {
        let words =
            format!("{} wants the answer sent to an address that it did not name before: {redirect_uri}", client.name);
        return Err(ConsentRefused::Here(words));
    }
    let state = get("state").map(str::to_owned);
    let there =
        |error: OauthError| ConsentRefused::There { redirect_uri: redirect_uri.into(), state: state.clone(), error };
    if get("response_type") != Some("code") {
        return Err(there(OauthError::new("unsupported_response_type", "response_type is code.")));
    }
    let challenge = get("code_challenge").filter(|it| grants::is_challenge(it));
    let challenge = challenge.filter(|_| get("code_challenge_method") == Some("S256")).ok_or_else(|| {
        there(OauthError::invalid_request("code_challenge with code_challenge_method=S256 is needed (PKCE)."))
    })?;
    let resource = oauth::resource(&app.public_url);
    if get("resource").is_some_and(|said| !grants::names_resource(app, said, &resource)) {
        return Err(there(OauthError::new("invalid_target", format!("resource is {resource}."))));
    }
    let scopes = Scopes::parse(get("scope")).map_err(there)?;
    let names_scopes = get("scope").is_some_and(|text| !text.trim().is_empty());
    let (redirect_uri, challenge) = (redirect_uri.to_owned(), challenge.to_owned());
    Ok(AppRequest { client, redirect_uri, state, scopes, names_scopes, challenge })
}

async fn shown(request: PageRequest<'_>) -> Result<Response, ConsentRefused> {
    let query = request.head.uri.query().unwrap_or_default();
    // A stranger could have Kith fetch any document, and be led to any address.
    let Some(session) = super::visit::session(request).await? else {
        return Ok(lead_to_login(request.head));
    };
    let asked = read(request.app, query).await?;
    let visit = PageVisit::begin(request, session).await?;
    let mut response = respond(StatusCode::OK, page(&visit, &asked, query));
    // The form's answer leads to the program, which the policy of other pages does not allow.
    if let Some(policy) = policy(&asked.redirect_uri) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// The policy of the page: like that of others, but its form may lead to the program.
fn policy(redirect_uri: &str) -> Option<HeaderValue> {
    let url = Url::parse(redirect_uri).ok()?;
    let target = match (url.scheme(), url.host_str()) {
        (scheme @ ("http" | "https"), Some(host)) => match url.port() {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        },
        (scheme, _) => format!("{scheme}:"),
    };
    HeaderValue::from_str(&format!(
        "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self' data:; form-action 'self' {target}; \
         base-uri 'none'; frame-ancestors 'none'"
    ))
    .ok()
}

fn page(visit: &PageVisit<'_>, asked: &AppRequest, query: &str) -> Markup {
    let name = &asked.client.name;
    let person = &visit.session.person.person;
    let chosen = visit.place.as_ref().map(|place| place.workspace.id.as_str());
    let leads_to = Url::parse(&asked.redirect_uri).ok().and_then(|url| url.host_str().map(str::to_owned));
    html! {
        (DOCTYPE)
        html lang="en" {
            (layout::head("Connect an app", None))
            body.apart {
                main.narrow {
                    p { (layout::logo()) }
                    h1 { "Connect an app" }
                    p { b { (name) } " wants to work in one of your workspaces." }
                    @match asked.client.host() {
                        Some(host) => p.note { (parts::icon("info")) span {
                            "It is an app of " b { (host) } "."
                            // A program on this machine could claim to be the app of another: who gets the answer is said.
                            @if leads_to.as_deref() != Some(&host) {
                                " The answer goes to " b { (leads_to.as_deref().unwrap_or("a program on your machine")) } "."
                            }
                        } },
                        None => p.note.wait { (parts::icon("triangle-alert")) span {
                            "It registered itself under this name, which nobody has checked. The answer goes to "
                            b { (leads_to.as_deref().unwrap_or("a program on your machine")) } "."
                        } },
                    }
                    @if visit.workspaces.is_empty() {
                        p { "You have no workspace yet." }
                        p.btns { a.btn.main href="/" { "Go to Home" } }
                    } @else {
                        form.form method="post" action=(PATH) {
                            input type="hidden" name="request" value=(query);
                            input type="hidden" name="csrf" value=(visit.session.csrf());
                            (parts::field("workspace", "Workspace", "", html! {
                                select.pick #workspace name="workspace" {
                                    @for workspace in &visit.workspaces {
                                        option value=(workspace.id) selected[Some(workspace.id.as_str()) == chosen] {
                                            (workspace.name) @if workspace.role == Role::Viewer { " (you may only read)" }
                                        }
                                    }
                                }
                            }))
                            fieldset.form {
                                legend { "It may" }
                                @if !asked.names_scopes {
                                    p.soft.small { "The app did not say what it needs. Tick what it may do besides reading." }
                                }
                                @for scope in SCOPES {
                                    @let asked_for = asked.scopes.has(scope.name);
                                    label.who {
                                        input.tick type="checkbox" name=(scope.name) value="yes" checked[asked_for]
                                            disabled[scope.name == SCOPES[0].name];
                                        " " (scope.words)
                                    }
                                }
                            }
                            p.soft.small { "Signed in as " (person.email) ". All that the app does is in the activity feed under your name and its own, and you can undo it. Disconnect it in the settings." }
                            p.btns {
                                button.btn.main type="submit" name="decision" value="allow" { "Allow" }
                                button.btn type="submit" name="decision" value="deny" { "Cancel" }
                            }
                        }
                    }
                }
            }
        }
    }
}

async fn decided(request: &mut HttpRequest<'_>) -> Result<Response, ConsentRefused> {
    let app = request.app;
    cookie::keep_to_own_pages(request.head, &app.public_url)?;
    let session = super::visit::session(PageRequest::of(request)).await?;
    let session = session.ok_or_else(|| {
        ConsentRefused::Here("You are not signed in any more. Go back to the app and try again.".into())
    })?;
    let body = request.form().await?;
    let text = String::from_utf8_lossy(&body);
    let fields = parse_query(&text)?;
    let get =
        |name: &str| fields.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str()).unwrap_or_default();
    if !bool::from(get("csrf").as_bytes().ct_eq(session.csrf().as_bytes())) {
        return Err(ConsentRefused::Here("This page is out of date. Go back to the app and try again.".into()));
    }
    let asked = read(app, get("request")).await?;
    let state = asked.state.as_deref();
    if get("decision") != "allow" {
        let fields = [("error", "access_denied"), ("error_description", "The person did not agree.")];
        return Ok(leads_back(app, &asked.redirect_uri, state, &fields));
    }
    let ticked: Vec<_> = SCOPES.iter().map(|scope| scope.name).filter(|name| get(name) == "yes").collect();
    let scopes = Scopes::parse(Some(&format!("{} {}", SCOPES[0].name, ticked.join(" ")))).unwrap_or_default();
    let visitor = session.visitor();
    let context = PersonContext { app, visitor: &visitor };
    let resource = oauth::resource(&app.public_url);
    let consent = Consent {
        client_id: &asked.client.id,
        client_name: &asked.client.name,
        workspace_id: get("workspace"),
        scopes,
        redirect_uri: &asked.redirect_uri,
        challenge: &asked.challenge,
        resource: &resource,
    };
    let code = grants::agree(&context, &consent).await?;
    Ok(leads_back(app, &asked.redirect_uri, state, &[("code", &code)]))
}

/// Leads to the program, with the parameters of an answer. The issuer tells clients of several servers which one answers
/// (RFC 9207).
fn leads_back(app: &App, redirect_uri: &str, state: Option<&str>, fields: &[(&str, &str)]) -> Response {
    let mut response = Response::new(Body::empty());
    let Ok(mut url) = Url::parse(redirect_uri) else { return response };
    {
        let mut pairs = url.query_pairs_mut();
        pairs.extend_pairs(fields);
        if let Some(state) = state {
            pairs.append_pair("state", state);
        }
        pairs.append_pair("iss", &app.public_url);
    }
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(url.as_str()) {
        headers.insert(header::LOCATION, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
