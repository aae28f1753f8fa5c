//! Signing in at an OpenID provider: the complete flow of a browser with a real provider, and what is refused.

mod rogue;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use kith::clock::Clock;
use kith::config::SignIn;
use kith::serve::Door;
use reqwest::Url;
use serde_json::{Value, json};

use crate::belongings::person;
use crate::support::{Agent, door, home, other_process, stranger};

/// The installed packages.
const MANIFEST: &str = include_str!("package.json");

/// A real provider, at an address that is reserved before it starts.
struct Provider {
    issuer: String,
    started: OnceLock<()>,
    listener: TcpListener,
}

fn provider() -> &'static Provider {
    static PROVIDER: OnceLock<Provider> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        Provider { issuer, started: OnceLock::new(), listener }
    })
}

/// The settings of the Kith that all tests share: a real provider, and a simulated Google that lies.
pub fn sign_in() -> SignIn {
    let text = |text: &str| Some(text.to_owned());
    SignIn {
        google_issuer: Some(rogue::rogue().base.clone()),
        google_client_id: text(rogue::CLIENT),
        google_client_secret: text("the secret of the client there"),
        oidc_issuer: Some(provider().issuer.clone()),
        oidc_client_id: text("kith"),
        oidc_client_secret: text("the secret of the client kith"),
        oidc_name: text("Our house"),
    }
}

impl Provider {
    /// Starts it at the first call.
    fn start(&self) {
        self.started.get_or_init(|| {
            let dir = installed();
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/oidc/provider.mjs");
            let socket = self.listener.try_clone().expect("a second handle");
            let mut node = Command::new("node")
                .args([script.as_os_str(), dir.as_os_str(), self.issuer.as_ref()])
                .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap_or_else(|error| {
                    panic!("node can't be started ({error}): run bin/setup, or install nodejs and npm")
                });
            let mut line = String::new();
            BufReader::new(node.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
            assert_eq!(line.trim(), "serving", "the provider did not start");
            // It ends when this process ends.
            std::mem::forget(node);
        });
    }
}

/// The directory where bin/setup has installed the provider.
fn installed() -> PathBuf {
    let manifest: Value = serde_json::from_str(MANIFEST).expect("a manifest");
    let version = manifest["dependencies"]["oidc-provider"].as_str().expect("a version");
    let set = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let cache = set("KITH_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("kith")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/kith")))
        .expect("a HOME");
    let dir = cache.join(format!("oidc-provider-{version}"));
    assert!(
        dir.join("node_modules/oidc-provider").is_dir(),
        "{} has no OpenID provider for the tests: run bin/setup, which installs nodejs, npm and oidc-provider {version}",
        dir.display()
    );
    dir
}

/// A browser: it stores cookies and follows redirects one at a time.
struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

/// A page or a redirect that a browser received.
#[derive(Debug)]
struct Shown {
    url: Url,
    code: u16,
    location: Option<Url>,
    cookies: Vec<String>,
    text: String,
}

impl Browser {
    fn new() -> Browser {
        kith::http_client::use_ring();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(reqwest::redirect::Policy::none());
        Browser { http: http.build().expect("an HTTP client"), cookies: BTreeMap::new() }
    }

    async fn visit(&mut self, url: &str, form: Option<&[(&str, &str)]>, headers: &[(&str, &str)]) -> Shown {
        let url = Url::parse(url).unwrap_or_else(|error| panic!("{error}: {url}"));
        let mut request = match form {
            None => self.http.get(url.clone()),
            Some(form) => {
                let body =
                    Url::parse_with_params("http://form", form).expect("a form").query().unwrap_or("").to_owned();
                self.http.post(url.clone()).header("content-type", "application/x-www-form-urlencoded").body(body)
            }
        };
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request = request.header("cookie", cookies.join("; "));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let set = response.headers().get_all("set-cookie").iter();
        let set: Vec<String> = set.map(|cookie| cookie.to_str().expect("a cookie of text").to_owned()).collect();
        for cookie in &set {
            let (pair, rest) = cookie.split_once(';').unwrap_or((cookie.as_str(), ""));
            let (name, value) = pair.split_once('=').expect("a name and a value");
            if value.is_empty() || rest.contains("Max-Age=0") || rest.contains("1970") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let location = response.headers().get("location").map(|to| to.to_str().expect("an address").to_owned());
        let location = location.map(|to| url.join(&to).unwrap_or_else(|error| panic!("{error}: {to}")));
        let code = response.status().as_u16();
        Shown { url, code, location, cookies: set, text: response.text().await.expect("a text") }
    }

    /// Follows redirects until a page requires input or the next URL ends in `until`.
    async fn follow(&mut self, url: &str, until: &str) -> Shown {
        let mut url = url.to_owned();
        for _ in 0..10 {
            if Url::parse(&url).is_ok_and(|url| url.path().ends_with(until)) {
                return Shown {
                    url: Url::parse(&url).expect("an address"),
                    code: 0,
                    location: None,
                    cookies: Vec::new(),
                    text: String::new(),
                };
            }
            let shown = self.visit(&url, None, &[]).await;
            match &shown.location {
                Some(to) => url = to.to_string(),
                None => return shown,
            }
        }
        panic!("it goes round in circles: {url}");
    }

    /// From the button on Kith's page to the provider and back to Kith's callback, which is not visited yet.
    async fn sign_in_there(&mut self, base: &str, next: &str, claims: &Value) -> Url {
        self.answer_there(base, next, &[("claims", &claims.to_string())]).await
    }

    async fn answer_there(&mut self, base: &str, next: &str, form: &[(&str, &str)]) -> Url {
        provider().start();
        let start =
            Url::parse_with_params(&format!("{base}/v1/auth/oidc/oidc/start"), [("next", next)]).expect("an address");
        let login = self.follow(start.as_str(), "/callback").await;
        let back = if login.url.path().ends_with("/callback") {
            login
        } else {
            assert!(login.url.path().starts_with("/interaction/"), "{login:?}");
            let said = self.visit(login.url.as_str(), Some(form), &[]).await;
            let on = said.location.unwrap_or_else(|| panic!("{}: {}", said.code, said.text));
            self.follow(on.as_str(), "/callback").await
        };
        back.url
    }

    /// The signed-in user.
    async fn me(&mut self, base: &str) -> Option<Value> {
        let shown = self.visit(&format!("{base}/v1/auth/me"), None, &[]).await;
        let answer: Value = serde_json::from_str(&shown.text).expect("JSON");
        (shown.code == 200).then(|| answer["data"]["user"].clone())
    }

    /// Visits the callback, which must lead to a page with this problem.
    async fn ends_badly(&mut self, base: &str, callback: &Url, problem: &str) -> Shown {
        let shown = self.visit(callback.as_str(), None, &[]).await;
        let to = shown.location.as_ref().unwrap_or_else(|| panic!("{shown:?}"));
        assert_eq!((shown.code, to.path()), (302, "/login"), "{shown:?}");
        assert!(to.as_str().starts_with(base), "{shown:?}");
        assert_eq!(parameter(to, "error").as_deref(), Some(problem), "{shown:?}");
        assert!(self.me(base).await.is_none(), "nobody is signed in");
        shown
    }
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A new account at the provider.
fn somebody(verified: bool) -> Value {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let id = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    json!({"sub": format!("sub-{id}"), "email": format!("Oidc-{id}@Elsewhere.example"), "email_verified": verified, "name": "Ada"})
}

fn email(claims: &Value) -> String {
    claims["email"].as_str().expect("an address").to_lowercase()
}

fn base() -> &'static str {
    &home().base
}

#[tokio::test]
async fn somebody_signs_in_elsewhere_and_is_the_same_person_the_next_time() {
    let (mut browser, claims) = (Browser::new(), somebody(true));
    let callback = browser.sign_in_there(base(), "/claim/ws_1?x=y", &claims).await;
    let cookie = browser.cookies.get("kith_sign_in").expect("a cookie").clone();
    let shown = browser.visit(callback.as_str(), None, &[]).await;
    assert_eq!(shown.code, 302, "{shown:?}");
    assert_eq!(shown.location.as_ref().map(Url::as_str), Some(&*format!("{}/claim/ws_1?x=y", base())));
    assert!(!browser.cookies.contains_key("kith_sign_in"), "what it was for is done");
    let me = browser.me(base()).await.expect("somebody");
    assert_eq!(me["email"], email(&claims));
    assert_eq!((&me["email_verified"], &me["name"]), (&json!(true), &json!("Ada")));

    // The same link again, with the original cookie: the code and the state are used up.
    let mut thief = Browser::new();
    thief.cookies.insert("kith_sign_in".into(), cookie);
    thief.ends_badly(base(), &callback, "expired").await;

    let mut elsewhere = Browser::new();
    let changed = json!({"sub": claims["sub"], "email": "changed@elsewhere.example", "email_verified": true});
    let callback = elsewhere.sign_in_there(base(), "/", &changed).await;
    elsewhere.visit(callback.as_str(), None, &[]).await;
    let again = elsewhere.me(base()).await.expect("somebody");
    assert_eq!((&again["id"], &again["email"]), (&me["id"], &me["email"]), "who it is there counts, not the address");
}

#[tokio::test]
async fn what_one_process_has_begun_another_ends() {
    let there = other_process().await;
    let clock = Clock::System;
    // Both have one address: a sign-in that begins at one returns to the other.
    let here = door(Door { public_url: Some(there.to_owned()), clock, rate_limit: 0 }).await;
    let mut browser = Browser::new();
    let callback = browser.sign_in_there(&here, "/sql", &somebody(true)).await;
    assert!(callback.as_str().starts_with(there), "{callback}");
    let shown = browser.visit(callback.as_str(), None, &[]).await;
    assert_eq!(shown.location.map(|to| to.to_string()), Some(format!("{there}/sql")));
    assert!(browser.me(base()).await.is_some());
}

#[tokio::test]
async fn who_comes_twice_at_once_for_the_first_time_is_one_person() {
    let claims = somebody(true);
    let (mut one, mut other) = (Browser::new(), Browser::new());
    let to_one = one.sign_in_there(base(), "/", &claims).await;
    let to_other = other.sign_in_there(base(), "/", &claims).await;
    futures_util::future::join(one.visit(to_one.as_str(), None, &[]), other.visit(to_other.as_str(), None, &[])).await;
    let (one, other) = (one.me(base()).await.expect("somebody"), other.me(base()).await.expect("somebody"));
    assert_eq!(one["id"], other["id"]);
}

#[tokio::test]
async fn a_sign_in_belongs_to_the_browser_that_began_it() {
    let (mut browser, mut victim) = (Browser::new(), Browser::new());
    let callback = browser.sign_in_there(base(), "/", &somebody(true)).await;
    // Another user's link, once without a cookie and once with a cookie of one's own sign-in.
    victim.ends_badly(base(), &callback, "expired").await;
    victim.sign_in_there(base(), "/", &somebody(true)).await;
    victim.ends_badly(base(), &callback, "expired").await;
    for state in ["", "nonsense", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let (mut browser, mut forged) = (Browser::new(), callback.clone());
        browser.sign_in_there(base(), "/", &somebody(true)).await;
        let code = parameter(&callback, "code").expect("a code");
        forged.query_pairs_mut().clear().append_pair("code", &code).append_pair("state", state);
        browser.ends_badly(base(), &forged, "expired").await;
    }
    // The browser that it belongs to can still sign in: the attempts have not used it up.
    browser.visit(callback.as_str(), None, &[]).await;
    assert!(browser.me(base()).await.is_some());
}

#[tokio::test]
async fn another_sign_ins_code_is_not_taken() {
    let (mut one, mut other) = (Browser::new(), Browser::new());
    let theirs = one.sign_in_there(base(), "/", &somebody(true)).await;
    let mut own = other.sign_in_there(base(), "/", &somebody(true)).await;
    let state = parameter(&own, "state").expect("a state");
    let code = parameter(&theirs, "code").expect("a code");
    own.query_pairs_mut().clear().append_pair("code", &code).append_pair("state", &state);
    other.ends_badly(base(), &own, "refused").await;
}

#[tokio::test]
async fn a_sign_in_takes_ten_minutes_at_most() {
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let door = door(Door { public_url: None, clock: Clock::Moved(ahead_ms.clone()), rate_limit: 0 }).await;
    let mut browser = Browser::new();
    let callback = browser.sign_in_there(&door, "/", &somebody(true)).await;
    ahead_ms.store(10 * 60 * 1000 + 1, Ordering::Relaxed);
    browser.ends_badly(&door, &callback, "expired").await;
}

#[tokio::test]
async fn who_declines_there_is_told_so_here_and_may_go_on() {
    let mut browser = Browser::new();
    let callback = browser.answer_there(base(), "/sql", &[("decline", "1")]).await;
    let shown = browser.ends_badly(base(), &callback, "declined").await;
    let page = shown.location.expect("a page");
    assert_eq!(parameter(&page, "next").as_deref(), Some("/sql"));
    let page = browser.visit(page.as_str(), None, &[]).await;
    assert!(page.text.contains("You were not signed in there"), "the page knows the words");
}

#[tokio::test]
async fn an_address_that_nobody_has_verified_opens_nothing() {
    let (owner, address) = person("unverified").await;
    for claims in [
        json!({"sub": "unverified-1", "email": address, "email_verified": false}),
        json!({"sub": "unverified-2", "email": address}),
        json!({"sub": "unverified-3", "email": "nobody@elsewhere.example", "email_verified": false}),
        json!({"sub": "unverified-4"}),
    ] {
        let mut browser = Browser::new();
        let callback = browser.sign_in_there(base(), "/", &claims).await;
        browser.ends_badly(base(), &callback, "unverified").await;
    }
    owner.get("/v1/auth/me").await.status(200);
}

#[tokio::test]
async fn a_verified_address_opens_the_account_that_has_proven_it_and_leaves_it_as_it_is() {
    let claims = somebody(true);
    let body = json!({"email": email(&claims), "password": "correct horse battery"});
    let made = stranger().post("/v1/auth/signup", body.clone()).await.status(201);
    home().control("UPDATE users SET email_verified_at = now() WHERE email = $1", &[&email(&claims)]).await;
    let mut browser = Browser::new();
    let callback = browser.sign_in_there(base(), "/", &claims).await;
    browser.visit(callback.as_str(), None, &[]).await;
    assert_eq!(browser.me(base()).await.expect("somebody")["id"], made.at("/data/user/id"));
    stranger().with_key(made.text("/data/session_token"), String::new()).get("/v1/auth/me").await.status(200);
    stranger().post("/v1/auth/login", body).await.status(200);
}

#[tokio::test]
async fn a_squatter_keeps_no_way_into_an_account_whose_address_is_anothers() {
    let claims = somebody(true);
    let body = json!({"email": email(&claims), "password": "correct horse battery"});
    let made = stranger().post("/v1/auth/signup", body.clone()).await.status(201);
    let squatter = stranger().with_key(made.text("/data/session_token"), String::new());
    let workspace = squatter.post("/v1/workspaces", json!({})).await.status(201);
    let workspace_id = workspace.text("/data/workspace_id");
    let ws = |path: &str| format!("{path}?ws={workspace_id}");
    let first = stranger().with_key(workspace.text("/data/api_key"), workspace_id.clone());
    let made_key = squatter.post(&ws("/v1/keys"), json!({"dialect": "relm", "mode": "test"})).await.status(201);
    let second = first.clone().with_key(made_key.text("/data/api_key"), workspace_id.clone());
    let (guest, address) = person("accomplice").await;
    let invite = json!({"workspace_id": workspace_id, "email": address});
    let invite = squatter.post("/v1/members/invite", invite).await.status(201).text("/data/token");
    let direct = squatter.post(&ws("/v1/connection"), json!({})).await.status(200).text("/data/role");
    for agent in [&first, &second] {
        agent.get("/v1/contacts").await.status(200);
    }

    let mut browser = Browser::new();
    let callback = browser.sign_in_there(base(), "/", &claims).await;
    browser.visit(callback.as_str(), None, &[]).await;
    let me = browser.me(base()).await.expect("somebody");
    assert_eq!(me["id"], made.at("/data/user/id"), "the account is whose address it is");

    squatter.get("/v1/auth/me").await.fault(401, "unauthorized");
    stranger().post("/v1/auth/login", body).await.fault(401, "unauthorized");
    for agent in [&first, &second] {
        refused_soon(agent).await;
    }
    guest.post(&format!("/v1/members/accept/{invite}"), json!({})).await.fault(404, "not_found");
    let roles = "SELECT 1 / (CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = $1) THEN 0 ELSE 1 END)";
    home().control(roles, &[&direct]).await;
    // The workspace belongs to them, and the audit log lists what was revoked.
    let owner = stranger().with_key(browser.cookies["kith_session"].clone(), String::new());
    let audit = owner.get(&ws("/v1/workspaces/audit")).await.status(200);
    let revoked = audit.data().as_array().expect("entries").iter().filter(|it| it["action"] == "key.revoked").count();
    assert_eq!(revoked, 2, "{}", audit.story());
}

/// Revoked keys are refused within moments.
pub async fn refused_soon(agent: &Agent) {
    let since = std::time::Instant::now();
    while agent.get("/v1/contacts").await.code != 401 {
        assert!(since.elapsed() < std::time::Duration::from_secs(20), "a key that has ended works on");
    }
}

#[tokio::test]
async fn nobody_is_led_to_another_site_nor_signed_in_by_one() {
    for next in
        ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example"]
    {
        let mut browser = Browser::new();
        let callback = browser.sign_in_there(base(), next, &somebody(true)).await;
        let shown = browser.visit(callback.as_str(), None, &[]).await;
        assert_eq!(shown.location.map(|to| to.to_string()), Some(format!("{}/", base())), "{next}");
    }
    let mut browser = Browser::new();
    let start = format!("{}/v1/auth/oidc/oidc/start?next=/sql", base());
    let shown = browser.visit(&start, None, &[("sec-fetch-site", "cross-site")]).await;
    let page = shown.location.expect("a page");
    assert_eq!((page.path(), parameter(&page, "error").as_deref()), ("/login", Some("elsewhere")));
    assert!(browser.cookies.is_empty(), "nothing was begun");
    stranger().get("/v1/auth/oidc/nobody/start").await.fault(404, "not_found");
    stranger().get("/v1/auth/oidc/oidc/start?nxet=/").await.fault(400, "invalid_request").says("next");
    stranger().post("/v1/auth/oidc/oidc/start", json!({})).await.fault(405, "method_not_allowed");
}

#[tokio::test]
async fn pages_offer_what_is_configured() {
    let mut browser = Browser::new();
    for page in ["/login", "/signup", "/claim/ws_1", "/invite/inv_1"] {
        // Without a session a claim leads to the sign-in.
        let shown = browser.follow(&format!("{}{page}", base()), "nowhere").await;
        for offer in [
            "/v1/auth/oidc/google/start",
            "Continue with Google",
            "/v1/auth/oidc/oidc/start",
            "Continue with Our house",
        ] {
            assert!(shown.text.contains(offer), "{page} lacks {offer}");
        }
    }
    let shown = browser.visit(&format!("{}/forgot-password", base()), None, &[]).await;
    assert!(!shown.text.contains("Continue with"), "a page for those with passwords");
    let dir = crate::support::TempDir::new();
    let plain = crate::support::Child::serve(&dir);
    let shown = browser.visit(&format!("{}/login", plain.base), None, &[]).await;
    assert!(
        shown.text.contains("Sign in") && !shown.text.contains("Continue with"),
        "nothing is offered that is not there"
    );
    let start = browser.visit(&format!("{}/v1/auth/oidc/google/start", plain.base), None, &[]).await;
    assert_eq!(start.code, 404);
}
