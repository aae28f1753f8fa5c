//! Apps that a person connects by OAuth: what clients discover, the way to a token, and everything that ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kith::http_client;
use reqwest::Method;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use url::Url;

use super::{call, request, send};
use crate::accounts::{newcomer, newcomer_at, person, sign_up, with_session};
use crate::support::{Agent, Receiver, Reply};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const CALLBACK: &str = "https://app.example/callback";
const VERIFIER: &str = "a-verifier-of-forty-three-characters-or-more-0123456789";

/// A person with a workspace, and the app that they connect.
struct Scene {
    ada: Agent,
    workspace_id: String,
    client_id: String,
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()))
}

fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

async fn scene_of(ada: Agent) -> Scene {
    let workspace_id =
        ada.post("/v1/workspaces", json!({"name": "Fernhill"})).await.status(201).text("/data/workspace_id");
    let registered = json!({"client_name": "Scout", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post"});
    let client = newcomer().at(&ada.base).post("/oauth/register", registered).await.status(201);
    assert_eq!(client.at("/token_endpoint_auth_method"), "none");
    assert_eq!(client.header("cache-control"), "no-store");
    Scene { client_id: client.text("/client_id"), workspace_id, ada }
}

async fn scene() -> Scene {
    scene_of(person("oauth").await.0).await
}

impl Scene {
    fn asked(&self, scope: &str) -> String {
        let resource = format!("{}/mcp", self.ada.base);
        form(&[
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", CALLBACK),
            ("code_challenge", &challenge()),
            ("code_challenge_method", "S256"),
            ("state", "a state & more"),
            ("scope", scope),
            ("resource", &resource),
        ])
    }

    fn cookie(&self) -> String {
        format!("kith_session={}", self.ada.key)
    }

    /// The page of consent, for this query. The answer is not followed.
    async fn page(&self, query: &str) -> reqwest::Response {
        let client = http_client::client().unwrap();
        let url = format!("{}/oauth/authorize?{query}", self.ada.base);
        client.get(url).header("cookie", self.cookie()).send().await.unwrap()
    }

    /// Sends the page's form. Returns the address to which it leads.
    async fn decide(&self, query: &str, fields: &[(&str, &str)]) -> Url {
        let page = self.page(query).await.text().await.unwrap();
        let csrf = page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
        let mut all = vec![("request", query), ("csrf", csrf), ("workspace", &*self.workspace_id)];
        all.extend(fields);
        let client = http_client::client().unwrap();
        let sent = client.post(format!("{}/oauth/authorize", self.ada.base)).header("cookie", self.cookie());
        let reply = sent.header("content-type", FORM.1).body(form(&all)).send().await.unwrap();
        assert_eq!(reply.status(), 303, "{reply:?}");
        Url::parse(reply.headers()["location"].to_str().unwrap()).unwrap()
    }

    /// Agrees to these rights. Returns the code.
    async fn code(&self, scopes: &[&str]) -> String {
        let mut fields = vec![("decision", "allow")];
        fields.extend(scopes.iter().map(|scope| (*scope, "yes")));
        let url = self.decide(&self.asked(&scopes.join(" ")), &fields).await;
        assert!(url.as_str().starts_with(CALLBACK), "{url}");
        let get = |name: &str| url.query_pairs().find(|(it, _)| it == name).map(|(_, value)| value.into_owned());
        assert_eq!((get("state").as_deref(), get("iss")), (Some("a state & more"), Some(self.ada.base.clone())));
        get("code").expect("a code")
    }

    async fn token(&self, fields: &[(&str, &str)]) -> Reply {
        let mut all = vec![("client_id", &*self.client_id)];
        all.extend(fields);
        newcomer().at(&self.ada.base).send(Method::POST, "/oauth/token", &[FORM], form(&all)).await
    }

    async fn exchange(&self, code: &str) -> Reply {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
        ];
        self.token(&fields).await
    }

    async fn refresh(&self, token: &str) -> Reply {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    fn with(&self, tokens: &Reply) -> Agent {
        self.ada.clone().with_key(tokens.text("/access_token"), String::new())
    }

    /// An app with these rights.
    async fn connected(&self, scopes: &[&str]) -> (Agent, Reply) {
        let tokens = self.exchange(&self.code(scopes).await).await.status(200);
        (self.with(&tokens), tokens)
    }
}

/// The id of another app.
async fn another_app() -> String {
    let fields = json!({"client_name": "Another", "redirect_uris": [CALLBACK]});
    newcomer().post("/oauth/register", fields).await.status(201).text("/client_id")
}

async fn is_refused(app: &Agent) {
    send(app, json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await.fault(401, "unauthorized");
}

/// Calls a tool for which the app lacks a right. Returns the rights that it should ask for.
async fn step_up(app: &Agent, tool: &str, arguments: Value) -> String {
    let params = json!({"name": tool, "arguments": arguments});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let challenge = send(app, call).await.fault(403, "forbidden").header("www-authenticate");
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && challenge.contains("resource_metadata="),
        "{challenge}"
    );
    challenge.split("scope=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a scope").to_owned()
}

async fn names(app: &Agent) -> Vec<String> {
    let tools = request(app, "tools/list", json!({})).await["tools"].clone();
    tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn clients_discover_all_they_need() {
    let stranger = newcomer();
    let base = &stranger.base;
    for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"] {
        let resource = stranger.get(path).await.status(200);
        assert_eq!(resource.at("/resource"), format!("{base}/mcp"));
        assert_eq!(resource.at("/authorization_servers"), json!([base]));
        assert_eq!(resource.header("access-control-allow-origin"), "*");
    }
    let server = stranger.get("/.well-known/oauth-authorization-server").await.status(200);
    assert_eq!(server.at("/issuer"), *base);
    assert_eq!(server.at("/code_challenge_methods_supported"), json!(["S256"]));
    assert_eq!(server.at("/client_id_metadata_document_supported"), true);
    assert_eq!(server.at("/authorization_response_iss_parameter_supported"), true);
    assert!(server.at("/token_endpoint_auth_methods_supported").as_array().unwrap().contains(&json!("none")));
    for name in ["authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"] {
        assert!(server.text(&format!("/{name}")).starts_with(base), "{name}");
    }
    stranger.send(Method::OPTIONS, "/oauth/token", &[("origin", "https://a.example")], "").await.status(204);
    stranger.get("/oauth/token").await.status(405);
}

#[tokio::test]
async fn an_app_gets_what_was_agreed_to_and_no_more() {
    let scene = scene().await;
    let (app, tokens) = scene.connected(&["crm:read", "crm:write"]).await;
    assert_eq!((tokens.text("/scope"), tokens.text("/token_type")), ("crm:read crm:write".into(), "Bearer".into()));
    let made = call(&app, "create_contact", json!({"email": "ada@fernhill.example"})).await;
    let all = names(&app).await;
    assert!(all.contains(&"create_contact".into()) && !all.iter().any(|name| name.ends_with("_sql")), "{all:?}");
    for sql in ["execute_sql", "query_sql"] {
        let refused = step_up(&app, sql, json!({"sql": "select 1"})).await;
        assert_eq!(refused, "crm:read crm:write crm:sql", "{sql}");
    }
    let batch = json!({"operations": [{"method": "POST", "path": "/v1/sql", "body": {"sql": "select 1"}}]});
    let refused = request(&app, "tools/call", json!({"name": "batch", "arguments": batch})).await;
    assert_eq!(refused["isError"], true, "{refused}");
    // What it does is the person's, by the app.
    let key = scene
        .ada
        .post(&format!("/v1/keys?ws={}", scene.workspace_id), json!({}))
        .await
        .status(201)
        .text("/data/api_key");
    let feed = scene.ada.clone().with_key(key, String::new()).get("/v1/activity?verb=created").await.status(200);
    let entry = feed.at("/data/0");
    assert_eq!(entry["actor"], format!("user:{}", scene.ada.get("/v1/auth/me").await.text("/data/user/id")));
    assert_eq!(entry["custom"]["agent"], "Scout", "{entry}");
    assert!(made.to_string().contains("ada@fernhill.example"), "{made}");

    let (reader, _) = scene.connected(&["crm:read", "crm:sql"]).await;
    assert!(!names(&reader).await.contains(&"create_contact".into()));
    let wrote = json!({"name": "query_sql", "arguments": {"sql": "delete from contacts"}});
    assert_eq!(request(&reader, "tools/call", wrote).await["isError"], true);
    let asked = step_up(&reader, "create_contact", json!({"email": "x@fernhill.example"})).await;
    assert_eq!(asked, "crm:read crm:write crm:sql");
    // A token is good for /mcp alone.
    app.get("/v1/contacts").await.fault(401, "unauthorized");
    app.get("/v1/auth/me").await.status(401);
}

#[tokio::test]
async fn a_code_works_once_for_who_began_and_soon() {
    let ahead = Arc::new(AtomicI64::new(0));
    let base = newcomer_at(&ahead).await;
    let opened = sign_up(&base, &crate::accounts::email("code")).await.status(201);
    let scene = scene_of(with_session(&base, &opened)).await;
    let invalid = |reply: Reply| {
        assert_eq!((reply.code, reply.text("/error")), (400, "invalid_grant".into()), "{}", reply.story())
    };
    let code = scene.code(&["crm:read"]).await;
    let grant = ("grant_type", "authorization_code");
    let right = [("code_verifier", VERIFIER), ("redirect_uri", CALLBACK)];
    invalid(scene.token(&[grant, ("code", "kac_unknown"), right[0], right[1]]).await);
    let missing = scene.token(&[grant, ("code", &code), right[1]]).await;
    assert_eq!((missing.code, missing.text("/error")), (400, "invalid_request".into()));
    // Another verifier uses the code up.
    let other = "x".repeat(50);
    invalid(scene.token(&[grant, ("code", &code), ("code_verifier", &other), right[1]]).await);
    invalid(scene.exchange(&code).await);
    let code = scene.code(&["crm:read"]).await;
    invalid(scene.token(&[grant, ("code", &code), right[0], ("redirect_uri", "https://app.example/other")]).await);
    let late = scene.code(&["crm:read"]).await;
    ahead.fetch_add(3 * 60 * 1000, Ordering::Relaxed);
    invalid(scene.exchange(&late).await);
    // A code that comes a second time ends what the first has given.
    let code = scene.code(&["crm:read"]).await;
    let app = scene.with(&scene.exchange(&code).await.status(200));
    names(&app).await;
    invalid(scene.exchange(&code).await);
    is_refused(&app).await;
}

#[tokio::test]
async fn tokens_expire_and_are_renewed_one_by_one() {
    let ahead = Arc::new(AtomicI64::new(0));
    let base = newcomer_at(&ahead).await;
    let opened = sign_up(&base, &crate::accounts::email("tokens")).await.status(201);
    let scene = scene_of(with_session(&base, &opened)).await;
    let (app, first) = scene.connected(&["crm:read"]).await;
    ahead.fetch_add(61 * 60 * 1000, Ordering::Relaxed);
    is_refused(&app).await;
    let second = scene.refresh(&first.text("/refresh_token")).await.status(200);
    assert_eq!(second.text("/scope"), "crm:read");
    let app = scene.with(&second);
    names(&app).await;
    // A refresh token that comes again was stolen: neither thief nor owner goes on.
    let reused = scene.refresh(&first.text("/refresh_token")).await;
    assert_eq!((reused.code, reused.text("/error")), (400, "invalid_grant".into()));
    is_refused(&app).await;
    assert_eq!(scene.refresh(&second.text("/refresh_token")).await.code, 400);
}

#[tokio::test]
async fn an_app_ends_with_the_person_the_membership_or_its_own_word() {
    let scene = scene().await;
    let ws = &scene.workspace_id;
    let (one, _) = scene.connected(&["crm:read"]).await;
    let apps = scene.ada.get(&format!("/v1/auth/apps?ws={ws}")).await.status(200);
    assert_eq!((apps.text("/data/0/name"), apps.at("/data/0/scopes")), ("Scout".into(), json!(["crm:read"])));
    assert!(!apps.body.windows(4).any(|part| part == b"kat_"));
    scene.ada.delete(&format!("/v1/auth/apps/{}?ws={ws}", apps.text("/data/0/id"))).await.status(200);
    is_refused(&one).await;
    assert_eq!(scene.ada.get(&format!("/v1/auth/apps?ws={ws}")).await.at("/data"), json!([]));

    let (two, tokens) = scene.connected(&["crm:read"]).await;
    let revoke = async |client: &str, token: &str| {
        let fields = form(&[("client_id", client), ("token", token)]);
        newcomer().send(Method::POST, "/oauth/revoke", &[FORM], fields).await.status(200);
    };
    revoke(&scene.client_id, "krt_nothing").await;
    revoke(&another_app().await, &tokens.text("/refresh_token")).await;
    names(&two).await;
    revoke(&scene.client_id, &tokens.text("/refresh_token")).await;
    is_refused(&two).await;

    // A member's app ends with the membership, and a viewer's never writes.
    let (bob, email) = person("member").await;
    let invited = json!({"workspace_id": ws, "email": email, "role": "viewer"});
    let token = scene.ada.post("/v1/members/invite", invited).await.status(201).text("/data/token");
    bob.post(&format!("/v1/members/accept/{token}"), json!({})).await.status(200);
    let his = Scene { ada: bob.clone(), workspace_id: ws.clone(), client_id: scene.client_id.clone() };
    let (app, tokens) = his.connected(&["crm:read", "crm:write"]).await;
    assert_eq!(tokens.text("/scope"), "crm:read");
    assert!(!names(&app).await.contains(&"create_contact".into()));
    // No right that he could give would let it write.
    let wrote = json!({"name": "create_contact", "arguments": {"email": "x@fernhill.example"}});
    assert_eq!(request(&app, "tools/call", wrote).await["isError"], true);
    assert_eq!(step_up(&app, "query_sql", json!({"sql": "select 1"})).await, "crm:read crm:sql");
    let bob_id = bob.get("/v1/auth/me").await.text("/data/user/id");
    scene.ada.delete(&format!("/v1/members?ws={ws}&user_id={bob_id}")).await.status(200);
    is_refused(&app).await;
}

#[tokio::test]
async fn what_is_wrong_is_told_to_the_person_or_the_app() {
    let scene = scene().await;
    let right = scene.asked("crm:read");
    // Nobody is sent to an address that the app did not name.
    let foreign = CALLBACK.replace("app.example", "evil.example");
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    for (query, words) in [
        (right.replace(&encode(CALLBACK), &encode(&foreign)), "did not name"),
        (right.replace(&scene.client_id, "app_00000000000000000000000000"), "not known"),
        (String::new(), "client_id"),
    ] {
        let page = scene.page(&query).await;
        assert_eq!(page.status(), 400, "{query}");
        assert!(page.headers().get("location").is_none());
        let text = page.text().await.unwrap();
        assert!(text.contains("role=\"alert\"") && text.contains(words), "{text}");
    }
    for (query, code) in [
        (right.replace("response_type=code", "response_type=token"), "unsupported_response_type"),
        (right.replace("S256", "plain"), "invalid_request"),
        (right.replace(&challenge(), "short"), "invalid_request"),
        (right.replace("crm%3Aread", "admin"), "invalid_scope"),
        (right.replace(&encode(&format!("{}/mcp", scene.ada.base)), "https%3A%2F%2Fother.example"), "invalid_target"),
    ] {
        let reply = scene.page(&query).await;
        assert_eq!(reply.status(), 303, "{query}");
        let location = reply.headers()["location"].to_str().unwrap();
        assert!(location.starts_with(CALLBACK) && location.contains(&format!("error={code}")), "{location}");
        assert!(location.contains("iss="), "{location}");
    }
    let denied = scene.decide(&right, &[("decision", "deny")]).await;
    assert!(denied.as_str().contains("error=access_denied"), "{denied}");

    // The form needs the page's token, and the page a session.
    let forged = form(&[("request", &right), ("csrf", ""), ("workspace", &scene.workspace_id), ("decision", "allow")]);
    let client = http_client::client().unwrap();
    let url = format!("{}/oauth/authorize", scene.ada.base);
    let sent = client.post(&url).header("cookie", scene.cookie()).header("content-type", FORM.1).body(forged.clone());
    assert_eq!(sent.send().await.unwrap().status(), 400);
    let sent = client.post(&url).header("cookie", scene.cookie()).header("origin", "https://evil.example").body(forged);
    assert_eq!(sent.send().await.unwrap().status(), 403);
    // A stranger signs in first, whatever is asked: they are led nowhere else, and nothing is fetched for them.
    for query in [right.clone(), right.replace("S256", "plain"), "client_id=https%3A%2F%2Fapp.example%2Fa.json".into()]
    {
        let away = client.get(format!("{url}?{query}")).send().await.unwrap();
        assert!(away.headers()["location"].to_str().unwrap().starts_with("/login?next=/oauth/authorize"), "{away:?}");
    }
    // An app that is not known registers again. One whose grant has ended still has its registration.
    for path in ["/oauth/token", "/oauth/revoke"] {
        let fields = "grant_type=refresh_token&refresh_token=x&token=x&client_id=app_00000000000000000000000000";
        let reply = newcomer().send(Method::POST, path, &[FORM], fields).await.status(401);
        assert_eq!(reply.text("/error"), "invalid_client", "{path}");
    }
    // What is said twice counts as not said.
    for twice in
        ["code_challenge_method=S256", "response_type=code", "redirect_uri=https%3A%2F%2Fapp.example%2Fcallback"]
    {
        let reply = scene.page(&format!("{right}&{twice}")).await;
        assert!(!reply.status().is_success(), "{twice}: {}", reply.status());
    }
}

#[tokio::test]
async fn a_page_asks_for_nothing_that_the_app_did_not_ask_for() {
    let scene = scene().await;
    let reply = scene.page(&scene.asked("crm:read")).await;
    let policy = reply.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.contains("form-action 'self' https://app.example;") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    let page = reply.text().await.unwrap();
    assert!(
        page.contains("<b>Scout</b>") && page.contains("nobody has checked") && page.contains("app.example"),
        "{page}"
    );
    let ticked = |name: &str| {
        let input = page.split("<input").find(|it| it.contains(&format!("name=\"{name}\""))).expect(name);
        input.split('>').next().unwrap().contains("checked")
    };
    assert_eq!([ticked("crm:read"), ticked("crm:write"), ticked("crm:sql")], [true, false, false]);
    assert_eq!(reply_header(&scene, "x-frame-options").await, "DENY");
    assert!(!page.contains("did not say what it needs"), "{page}");
}

#[tokio::test]
async fn an_app_that_asks_for_nothing_reads_unless_the_person_ticks_more() {
    let scene = scene().await;
    let without = scene.asked("");
    let left_out = without.replace("scope=&", "");
    assert_ne!(left_out, without);
    for query in [&without, &left_out] {
        let page = scene.page(query).await.text().await.unwrap();
        let ticked = |name: &str| {
            let input = page.split("<input").find(|it| it.contains(&format!("name=\"{name}\""))).expect(name);
            input.split('>').next().unwrap().contains("checked")
        };
        assert_eq!([ticked("crm:read"), ticked("crm:write"), ticked("crm:sql")], [true, false, false]);
        assert!(page.contains("did not say what it needs"), "{page}");
        for (fields, scopes) in [
            (vec![("decision", "allow")], "crm:read"),
            (vec![("decision", "allow"), ("crm:write", "yes")], "crm:read crm:write"),
        ] {
            let url = scene.decide(query, &fields).await;
            let code = url.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
            assert_eq!(scene.exchange(&code).await.status(200).text("/scope"), scopes, "{query}");
        }
    }
}

async fn reply_header(scene: &Scene, name: &str) -> String {
    scene.page(&scene.asked("crm:read")).await.headers()[name].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn only_sound_clients_are_registered() {
    let stranger = newcomer();
    for (body, code) in [
        (json!({"redirect_uris": ["http://app.example/cb"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": ["javascript:alert(1)"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": []}), "invalid_redirect_uri"),
        (json!({}), "invalid_redirect_uri"),
        (json!([1]), "invalid_client_metadata"),
    ] {
        let reply = stranger.post("/oauth/register", body).await.status(400);
        assert_eq!(reply.text("/error"), code);
    }
    let huge: Value = json!({"redirect_uris": [format!("https://app.example/{}", "x".repeat(20_000))]});
    stranger.post("/oauth/register", huge).await.status(413);
    let twice = "grant_type=refresh_token&client_id=a&client_id=b";
    let reply = stranger.send(Method::POST, "/oauth/token", &[FORM], twice).await.status(400);
    assert_eq!(reply.text("/error"), "invalid_request");
}

/// An app's document about itself, where this client_id leads.
async fn documented(change: impl Fn(&mut Value) + Send + Sync + 'static) -> String {
    let own = Arc::new(std::sync::OnceLock::<String>::new());
    let address = own.clone();
    let change = Arc::new(change);
    let receiver = Receiver::answering(move |_, _| {
        let (own, change) = (own.clone(), change.clone());
        async move {
            let mut document = json!({"client_id": own.get(), "client_name": "Chat", "redirect_uris": [CALLBACK]});
            change(&mut document);
            axum::response::IntoResponse::into_response(document.to_string())
        }
    })
    .await;
    let client_id = format!("{}/app.json", receiver.base);
    address.set(client_id.clone()).expect("set once");
    client_id
}

#[tokio::test]
async fn an_app_may_be_named_by_a_document_about_itself() {
    let mut scene = scene().await;
    scene.client_id = documented(|_| {}).await;
    let page = scene.page(&scene.asked("crm:read")).await.text().await.unwrap();
    assert!(page.contains("<b>Chat</b>") && page.contains("It is an app of <b>127.0.0.1</b>"), "{page}");
    let (app, _) = scene.connected(&["crm:read"]).await;
    names(&app).await;
    for (change, words) in [
        (json!({"client_id": "https://other.example/app.json"}), "is not the client_id"),
        (json!({"redirect_uris": ["https://other.example/cb"]}), "did not name"),
        (json!({"redirect_uris": ["javascript:alert(1)"]}), "javascript"),
        (json!({"client_name": "x".repeat(20_000)}), "longer than"),
    ] {
        let fields = change.as_object().unwrap().clone();
        scene.client_id = documented(move |document| document.as_object_mut().unwrap().extend(fields.clone())).await;
        let page = scene.page(&scene.asked("crm:read")).await;
        assert_eq!(page.status(), 400, "{change}");
        let text = page.text().await.unwrap();
        assert!(text.contains(words), "{change}: {text}");
    }
    // A document that is elsewhere, or fails, or is no JSON.
    for status in [301, 302, 404, 500] {
        let receiver = Receiver::answering(move |_, _| async move {
            let headers = [("location", "http://127.0.0.1:9/app.json")];
            let status = axum::http::StatusCode::from_u16(status).unwrap();
            axum::response::IntoResponse::into_response((status, headers, "{}"))
        })
        .await;
        scene.client_id = format!("{}/app.json", receiver.base);
        let page = scene.page(&scene.asked("crm:read")).await;
        assert_eq!(page.status(), 400, "{status}");
        assert!(page.text().await.unwrap().contains(&format!("it answers {status}")), "{status}");
    }
    for wrong in
        ["https://app.example", "https://app.example/", "https://app.example/a.json?x=1", "http://app.example/a.json"]
    {
        scene.client_id = wrong.to_owned();
        assert_eq!(scene.page(&scene.asked("crm:read")).await.status(), 400, "{wrong}");
    }
}

/// A server of a document that has no end. It counts the bytes that were taken from it.
async fn endless(pause: Duration) -> (String, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let receiver = Receiver::answering(move |_, _| {
        let counted = counted.clone();
        async move {
            let part: &'static [u8] = if pause.is_zero() { &[b' '; 64 * 1024] } else { b" " };
            let parts = futures_util::stream::unfold(counted, move |counted| async move {
                tokio::time::sleep(pause).await;
                counted.fetch_add(part.len(), Ordering::Relaxed);
                Some((Ok::<_, std::io::Error>(axum::body::Bytes::from_static(part)), counted))
            });
            axum::response::IntoResponse::into_response(axum::body::Body::from_stream(parts))
        }
    })
    .await;
    (format!("{}/app.json", receiver.base), taken)
}

#[tokio::test]
async fn a_document_without_end_is_given_up() {
    let mut scene = scene().await;
    let began = std::time::Instant::now();
    let (vast, taken) = endless(Duration::ZERO).await;
    let (slow, drops) = endless(Duration::from_secs(1)).await;
    for (client_id, words) in [(&vast, "longer than 16384 bytes"), (&slow, "No answer within 5 seconds")] {
        scene.client_id = client_id.clone();
        let page = scene.page(&scene.asked("crm:read")).await;
        assert_eq!(page.status(), 400, "{words}");
        let text = page.text().await.unwrap();
        assert!(text.contains("role=\"alert\"") && text.contains(words), "{words}: {text}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // What is in the buffers of the connection was read too, and no more.
    assert!(taken.load(Ordering::Relaxed) < 32 * 1024 * 1024 && drops.load(Ordering::Relaxed) < 20);
}

#[tokio::test]
async fn tokens_are_for_the_resource_that_was_agreed_to() {
    let scene = scene().await;
    let base = scene.ada.base.clone();
    let exchange = async |code: &str, resource: &str| {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
            ("resource", resource),
        ];
        scene.token(&fields).await
    };
    let other = exchange(&scene.code(&["crm:read"]).await, "https://other.example/mcp").await;
    assert_eq!((other.code, other.text("/error")), (400, "invalid_target".into()));
    // The address of the tools, or that of the whole server.
    for own in [format!("{base}/mcp"), format!("{base}/mcp/"), base.clone()] {
        let tokens = exchange(&scene.code(&["crm:read"]).await, &own).await.status(200);
        let refresh = tokens.text("/refresh_token");
        let fields = [("grant_type", "refresh_token"), ("refresh_token", &*refresh), ("resource", &*own)];
        names(&scene.with(&scene.token(&fields).await.status(200))).await;
    }
    // Of two programs, none can use the other's code or refresh token.
    let tokens = exchange(&scene.code(&["crm:read"]).await, &base).await.status(200);
    let (code, refresh) = (scene.code(&["crm:read"]).await, tokens.text("/refresh_token"));
    let thief = newcomer().at(&base).post("/oauth/register", json!({"redirect_uris": [CALLBACK]})).await.status(201);
    let thief = Scene { client_id: thief.text("/client_id"), ada: scene.ada.clone(), workspace_id: String::new() };
    for reply in [thief.exchange(&code).await, thief.refresh(&refresh).await] {
        assert_eq!((reply.code, reply.text("/error")), (400, "invalid_grant".into()));
    }
    names(&scene.with(&scene.refresh(&refresh).await.status(200))).await;
}
