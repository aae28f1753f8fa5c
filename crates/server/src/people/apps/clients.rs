//! The programs that ask for rights. One is known by its registration (RFC 7591), or by the address of a document about itself
//! (client-id metadata document), which is fetched under the guard against private addresses.

use std::net::IpAddr;

use serde_json::{Map, Value};
use url::{Host, Url};

use crate::app::App;
use crate::clock::iso;
use crate::people::apps::{Failure, OauthError};
use crate::store::control::apps::RegisteredApp;

/// The longest name of a program that is shown, in characters.
const MAX_NAME_CHARACTERS: usize = 100;
/// The most addresses to which a program may have codes sent, and the longest of them.
const MAX_REDIRECT_URIS: usize = 20;
const MAX_URI_BYTES: usize = 2000;
/// The most bytes of a document.
const MAX_DOCUMENT_BYTES: usize = 16 * 1024;
/// Schemes that a browser itself would act on.
const FORBIDDEN_SCHEMES: &[&str] = &[
    "javascript",
    "data",
    "vbscript",
    "file",
    "about",
    "blob",
    "filesystem",
    "view-source",
    "ws",
    "wss",
    "ftp",
    "mailto",
];

/// A program that asks for rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppClient {
    /// Its id: `app_…`, or the address of its document.
    pub id: String,
    /// Its name, as it says.
    pub name: String,
    redirect_uris: Vec<String>,
}

impl AppClient {
    /// The host that vouches for the program: that of its document. One that registered itself is vouched for by nobody.
    pub fn host(&self) -> Option<String> {
        Url::parse(&self.id).ok()?.host_str().map(str::to_owned)
    }

    /// Whether codes may be sent to this address: one that the program has named, letter by letter. On this machine the port
    /// may differ, because such a program listens where it finds room (RFC 8252).
    pub fn allows(&self, redirect_uri: &str) -> bool {
        self.redirect_uris.iter().any(|named| named == redirect_uri || is_same_but_port(named, redirect_uri))
    }
}

fn is_same_but_port(named: &str, asked: &str) -> bool {
    let (Ok(mut named), Ok(mut asked)) = (Url::parse(named), Url::parse(asked)) else { return false };
    if named.scheme() != "http" || !is_loopback(&named) || !is_loopback(&asked) {
        return false;
    }
    named.set_port(None).is_ok() && asked.set_port(None).is_ok() && named == asked
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Registers a program with the fields of RFC 7591. All programs are public: they have no secret.
pub async fn register(app: &App, address: Option<IpAddr>, fields: &Map<String, Value>) -> Result<AppClient, Failure> {
    if let Some(address) = address {
        let (limits, now) = (&app.limits, app.clock.unix_seconds());
        let network = crate::access::limits::network(address);
        limits.take(&limits.registrations, network, now, "apps registered an hour from this address")?;
    }
    let (name, redirect_uris) = described(fields)?;
    let registered = RegisteredApp { id: app.clock.id("app"), name, redirect_uris };
    app.store.control.register_app(&registered, &iso(app.clock.unix_seconds())).await?;
    Ok(client(registered))
}

fn client(registered: RegisteredApp) -> AppClient {
    AppClient { id: registered.id, name: registered.name, redirect_uris: registered.redirect_uris }
}

/// Finds a program by its id.
pub async fn find(app: &App, id: &str) -> Result<AppClient, Failure> {
    if is_address(id) {
        return documented(app, id).await;
    }
    registered(app, id).await
}

/// Refuses the id of a program that has not registered. Programs then register again. Nothing is fetched: what a program with a
/// document may do was settled when a person agreed.
pub async fn check(app: &App, id: &str) -> Result<(), Failure> {
    if is_address(id) {
        return Ok(());
    }
    registered(app, id).await.map(drop)
}

async fn registered(app: &App, id: &str) -> Result<AppClient, Failure> {
    let found = app.store.control.registered_app(id).await?;
    let unknown = || OauthError::new("invalid_client", "This client_id is not known. Register again.");
    Ok(client(found.ok_or_else(unknown)?))
}

fn is_address(id: &str) -> bool {
    id.starts_with("https://") || id.starts_with("http://")
}

/// The program that a document describes.
async fn documented(app: &App, id: &str) -> Result<AppClient, Failure> {
    let wrong = |what: &str| OauthError::new("invalid_client", format!("The client_id {what}"));
    let url = Url::parse(id).map_err(|_| wrong("is no address."))?;
    let is_plain = url.as_str() == id && url.path().len() > 1 && url.query().is_none() && id.len() <= MAX_URI_BYTES;
    if !is_plain || (url.scheme() != "https" && !is_loopback(&url)) {
        return Err(wrong("must be an https address with a path and without a query.").into());
    }
    let fetched = app.targets.fetch_json(id, MAX_DOCUMENT_BYTES).await;
    let text = fetched.map_err(|why| wrong(&format!("leads to no document about the app: {why}")))?;
    let document: Map<String, Value> = serde_json::from_str(&text).map_err(|_| wrong("leads to no JSON object."))?;
    if document.get("client_id").and_then(Value::as_str) != Some(id) {
        return Err(wrong("is not the client_id in the document that it leads to.").into());
    }
    let (name, redirect_uris) = described(&document)?;
    Ok(AppClient { id: id.to_owned(), name, redirect_uris })
}

/// The name and the addresses in a description of a program.
fn described(fields: &Map<String, Value>) -> Result<(String, Vec<String>), OauthError> {
    let name = fields.get("client_name").and_then(Value::as_str).unwrap_or_default();
    // What can't be seen, or turns the direction of writing, could make a name look like another.
    let name: String =
        name.chars().filter(|it| !it.is_control() && !is_invisible(*it)).take(MAX_NAME_CHARACTERS).collect();
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let wrong = |what: String| OauthError::new("invalid_redirect_uri", what);
    let uris = fields.get("redirect_uris").and_then(Value::as_array).filter(|uris| !uris.is_empty());
    let uris = uris.ok_or_else(|| wrong("redirect_uris must name one address or more.".into()))?;
    if uris.len() > MAX_REDIRECT_URIS {
        return Err(wrong(format!("There are at most {MAX_REDIRECT_URIS} redirect_uris.")));
    }
    let uris: Result<Vec<String>, OauthError> = uris.iter().map(|uri| checked_redirect(uri).map_err(wrong)).collect();
    let uris = uris?;
    let host = || Url::parse(&uris[0]).ok().and_then(|url| url.host_str().map(str::to_owned));
    let name = if name.is_empty() { host().unwrap_or_else(|| "An app without a name".into()) } else { name };
    Ok((name, uris))
}

fn is_invisible(it: char) -> bool {
    matches!(it, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn checked_redirect(uri: &Value) -> Result<String, String> {
    let text = uri.as_str().ok_or("Each of redirect_uris is text.")?;
    let url = Url::parse(text).map_err(|error| format!("The redirect URI {text:?} is no address: {error}."))?;
    if text.len() > MAX_URI_BYTES || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some()
    {
        return Err(format!("The redirect URI {text:?} is too long, or has a fragment, a user or a password."));
    }
    let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_' | ':' | '[' | ']');
    if !url.host_str().unwrap_or_default().chars().all(is_plain) {
        // It will be in the policy of the page, where some signs have a meaning.
        return Err(format!("The redirect URI {text:?} has a host with unusual signs."));
    }
    match url.scheme() {
        "https" => Ok(text.to_owned()),
        "http" if is_loopback(&url) => Ok(text.to_owned()),
        "http" => Err(format!("The redirect URI {text:?} must begin with https; http is for this machine alone.")),
        scheme if FORBIDDEN_SCHEMES.contains(&scheme) => Err(format!("Codes are not sent to {scheme}: addresses.")),
        _ => Ok(text.to_owned()),
    }
}

impl From<AppClient> for Map<String, Value> {
    /// The answer to a registration.
    fn from(client: AppClient) -> Map<String, Value> {
        let Value::Object(fields) = serde_json::json!({
            "client_id": client.id,
            "client_name": client.name,
            "redirect_uris": client.redirect_uris,
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        }) else {
            return Map::new();
        };
        fields
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(uris: &[&str]) -> AppClient {
        let redirect_uris = uris.iter().map(|it| (*it).to_owned()).collect();
        AppClient { id: "app_1".into(), name: "x".into(), redirect_uris }
    }

    #[test]
    fn codes_go_only_where_the_program_said() {
        let client = with(&["https://claude.ai/api/mcp/auth_callback", "http://127.0.0.1/cb", "cursor://anysphere/cb"]);
        assert!(client.allows("https://claude.ai/api/mcp/auth_callback"));
        assert!(client.allows("http://127.0.0.1:54321/cb"));
        assert!(client.allows("cursor://anysphere/cb"));
        for other in [
            "https://claude.ai/api/mcp/auth_callback?x=1",
            "https://claude.ai/api/mcp/auth_callback/",
            "https://claude.ai.evil.example/api/mcp/auth_callback",
            "http://127.0.0.1:54321/other",
            "http://localhost:54321/cb",
            "http://evil.example/cb",
            "cursor://other/cb",
        ] {
            assert!(!client.allows(other), "{other}");
        }
        assert!(!with(&["https://a.example:8443/cb"]).allows("https://a.example:9443/cb"));
    }

    #[test]
    fn only_sound_addresses_are_registered() {
        let described = |uris: Value| described(json!({"redirect_uris": uris}).as_object().unwrap());
        for good in ["https://a.example/cb?x=y", "http://localhost:1/cb", "http://[::1]/cb", "vscode://x/cb"] {
            assert!(described(json!([good])).is_ok(), "{good}");
        }
        for bad in [
            "http://a.example/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://a.example/#x",
            "https://u:p@a.example/",
            "https://a;script-src/",
            "https://a,b.example/",
            "x",
            "",
        ] {
            assert_eq!(described(json!([bad])).unwrap_err().code, "invalid_redirect_uri", "{bad}");
        }
        assert!(described(json!([])).is_err() && described(json!("x")).is_err() && described(json!([1])).is_err());
    }

    #[test]
    fn a_name_can_not_hide_what_it_says() {
        let name = |text: &str| {
            described(json!({"client_name": text, "redirect_uris": ["https://a.example/"]}).as_object().unwrap())
                .unwrap()
                .0
        };
        assert_eq!(name("Clau\u{202e}de\n \u{200b}x"), "Claude x");
        assert_eq!(name(" \u{200b}"), "a.example");
        assert_eq!(name(&"x".repeat(500)).len(), 100);
    }
}
