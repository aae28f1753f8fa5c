//! A provider that lies: it returns what the test configured for the code that a browser brings. Every lie must be detected.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, encode};
use kith::clock::Clock;
use kith::serve::Door;
use reqwest::Url;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{Browser, base, parameter};
use crate::clerk::{ES256, JWKS, ROTATED, RS256, der, header};
use crate::support::door;

/// The client that tokens must be for.
pub const CLIENT: &str = "kith there";

/// The simulated provider.
pub struct Rogue {
    /// `http://127.0.0.1:…`
    pub base: String,
    /// The answers of the token endpoint, by code, and of the userinfo endpoint, by access token.
    said: Mutex<HashMap<String, Value>>,
    /// The last request to the token endpoint.
    asked: Mutex<String>,
}

/// The provider of this process. The first call starts it.
pub fn rogue() -> &'static Rogue {
    static ROGUE: OnceLock<&'static Rogue> = OnceLock::new();
    ROGUE.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let rogue: &'static Rogue =
            Box::leak(Box::new(Rogue { base, said: Mutex::default(), asked: Mutex::default() }));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || rogue.serve(stream));
            }
        });
        rogue
    })
}

impl Rogue {
    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let (mut first, mut length, mut bearer) = (String::new(), 0, String::new());
        let _ = reader.read_line(&mut first);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" => bearer = value.trim().trim_start_matches("Bearer ").to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        let _ = reader.read_exact(&mut body);
        let body = String::from_utf8_lossy(&body).into_owned();
        let said = |key: &str| self.said.lock().expect("what to say").get(key).cloned();
        let answer = match first.split(' ').nth(1).unwrap_or_default() {
            "/.well-known/openid-configuration" => Some(self.metadata()),
            "/jwks" => {
                let set: Value = serde_json::from_str(JWKS).expect("a set of keys");
                Some(json!({"keys": set["keys"].as_array().expect("keys")[..2]}))
            }
            "/token" => {
                let form = Url::parse(&format!("http://form/?{body}")).expect("a form");
                *self.asked.lock().expect("what was asked") = body.clone();
                parameter(&form, "code").and_then(|code| said(&code))
            }
            "/userinfo" => said(&bearer),
            _ => None,
        };
        let (status, text) = match answer {
            Some(answer) => ("200 OK", answer.to_string()),
            None => ("400 Bad Request", json!({"error": "invalid_grant"}).to_string()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            text.len()
        );
        let _ = stream.write_all((head + &text).as_bytes());
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.base);
        json!({
            "issuer": self.base, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
            "userinfo_endpoint": at("/userinfo"), "jwks_uri": at("/jwks"), "response_types_supported": ["code"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
        })
    }
}

/// A sign-in that has reached the callback with the lie.
struct Way {
    browser: Browser,
    state: String,
    nonce: String,
    challenge: String,
}

async fn begin() -> Way {
    let mut browser = Browser::new();
    let shown = browser.visit(&format!("{}/v1/auth/oidc/google/start", base()), None, &[]).await;
    let there = shown.location.unwrap_or_else(|| panic!("{}: {}", shown.code, shown.text));
    let expect = |name: &str| parameter(&there, name).unwrap_or_else(|| panic!("no {name} in {there}"));
    assert!(there.as_str().starts_with(&format!("{}/authorize?", rogue().base)), "{there}");
    assert_eq!(expect("redirect_uri"), format!("{}/v1/auth/oidc/google/callback", base()));
    assert_eq!((expect("response_type"), expect("code_challenge_method")), ("code".into(), "S256".into()));
    assert_eq!(expect("scope"), "openid email profile");
    Way { browser, state: expect("state"), nonce: expect("nonce"), challenge: expect("code_challenge") }
}

fn number() -> u32 {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn claims(way: &Way) -> Value {
    let (now, id) = (Clock::System.unix_seconds(), format!("{}-{}", std::process::id(), number()));
    json!({"iss": rogue().base, "aud": CLIENT, "sub": id, "nonce": way.nonce, "iat": now, "exp": now + 60,
        "email": format!("rogue-{id}@elsewhere.example"), "email_verified": true})
}

fn rs256(claims: &Value) -> String {
    encode(&header(Algorithm::RS256, "rs256"), claims, &EncodingKey::from_rsa_der(&der(RS256))).expect("a token")
}

/// The provider returns these tokens, and the browser visits the callback.
async fn told(way: &mut Way, id_token: &str, access_token: &str) -> super::Shown {
    let code = format!("code-{}", number());
    let tokens = json!({"access_token": access_token, "token_type": "Bearer", "id_token": id_token, "expires_in": 60});
    rogue().said.lock().expect("what to say").insert(code.clone(), tokens);
    let callback = format!("{}/v1/auth/oidc/google/callback?code={code}&state={}", base(), way.state);
    way.browser.visit(&callback, None, &[]).await
}

#[tokio::test]
async fn who_tells_the_truth_is_believed_and_gets_the_verifier_of_the_challenge() {
    for es256 in [false, true] {
        let mut way = begin().await;
        let said = claims(&way);
        let token = match es256 {
            false => rs256(&said),
            true => {
                let key = EncodingKey::from_ec_der(&der(ES256));
                encode(&header(Algorithm::ES256, "es256"), &said, &key).expect("a token")
            }
        };
        let shown = told(&mut way, &token, "a").await;
        assert_eq!(shown.location.map(|to| to.path().to_owned()).as_deref(), Some("/"));
        assert_eq!(way.browser.me(base()).await.expect("somebody")["email"], said["email"]);
        if !es256 {
            continue;
        }
        let asked =
            Url::parse(&format!("http://form/?{}", rogue().asked.lock().expect("what was asked"))).expect("a form");
        if let Some(verifier) = parameter(&asked, "code_verifier") {
            let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
            assert!(hash.len() == way.challenge.len() && verifier.len() >= 43, "RFC 7636");
        } else {
            panic!("no verifier in {asked}");
        }
    }
}

#[tokio::test]
async fn behind_tls_the_cookie_is_for_tls_and_this_host_alone() {
    let public_url = Some("https://crm.example/".to_owned());
    let behind = door(Door { public_url, clock: Clock::System, rate_limit: 0 }).await;
    let shown = Browser::new().visit(&format!("{behind}/v1/auth/oidc/google/start"), None, &[]).await;
    let there = shown.location.expect("an address");
    let back = "https://crm.example/v1/auth/oidc/google/callback";
    assert_eq!(parameter(&there, "redirect_uri").as_deref(), Some(back));
    let [cookie] = &shown.cookies[..] else { panic!("{:?}", shown.cookies) };
    assert!(cookie.starts_with("__Host-kith_sign_in="), "{cookie}");
    for part in ["; Path=/;", "; HttpOnly", "; SameSite=Lax", "; Secure", "; Max-Age=600"] {
        assert!(cookie.contains(part), "{cookie} lacks {part}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
}

#[tokio::test]
async fn tokens_that_are_not_for_this_sign_in_are_refused() {
    let now = Clock::System.unix_seconds();
    for (what, value) in [
        ("iss", json!("https://accounts.example.com")),
        ("iss", Value::Null),
        ("aud", json!("another client")),
        ("aud", json!([CLIENT, "another client"])),
        ("aud", Value::Null),
        ("nonce", json!("another sign-in")),
        ("nonce", Value::Null),
        ("exp", json!(now - 60)),
        ("exp", Value::Null),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
    ] {
        let mut way = begin().await;
        let mut said = claims(&way);
        said[what] = value.clone();
        if value.is_null() {
            said.as_object_mut().expect("claims").remove(what);
        }
        let shown = told(&mut way, &rs256(&said), "a").await;
        is_refused(&mut way, shown, &format!("{what}: {value}")).await;
    }
}

#[tokio::test]
async fn tokens_that_its_keys_have_not_signed_are_refused() {
    let tokens = |said: &Value| {
        let rotated = encode(&header(Algorithm::RS256, "rotated"), said, &EncodingKey::from_rsa_der(&der(ROTATED)));
        let renamed = encode(&header(Algorithm::RS256, "rs256"), said, &EncodingKey::from_rsa_der(&der(ROTATED)));
        // The client's secret, and the public key, each used as an HMAC secret.
        let shared =
            |secret: &[u8]| encode(&header(Algorithm::HS256, "rs256"), said, &EncodingKey::from_secret(secret));
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let unsigned = format!("{}.{}.", part(&json!({"alg": "none"})), part(said));
        let stripped = rs256(said).rsplit_once('.').expect("parts").0.to_owned() + ".";
        [
            rotated.expect("a token"),
            renamed.expect("a token"),
            shared(b"the secret of the client there").expect("a token"),
            shared(JWKS.as_bytes()).expect("a token"),
            unsigned,
            stripped,
            "nonsense".into(),
        ]
    };
    for at in 0..7 {
        let mut way = begin().await;
        let token = tokens(&claims(&way))[at].clone();
        let shown = told(&mut way, &token, "a").await;
        is_refused(&mut way, shown, &format!("token {at}")).await;
    }
}

#[tokio::test]
async fn what_userinfo_says_of_somebody_else_is_refused() {
    for (sub, good) in [("the same", true), ("another", false)] {
        let mut way = begin().await;
        let mut said = claims(&way);
        let fields = said.as_object_mut().expect("claims");
        fields.remove("email");
        fields.remove("email_verified");
        let access_token = format!("access-{}", number());
        let sub = if sub == "the same" { said["sub"].clone() } else { json!(sub) };
        let told_there =
            json!({"sub": sub, "email": format!("told-{}@elsewhere.example", number()), "email_verified": "true"});
        rogue().said.lock().expect("what to say").insert(access_token.clone(), told_there);
        let shown = told(&mut way, &rs256(&said), &access_token).await;
        if good {
            assert!(way.browser.me(base()).await.is_some(), "{shown:?}");
        } else {
            is_refused(&mut way, shown, "userinfo of another").await;
        }
    }
}

#[tokio::test]
async fn an_answer_in_another_issuers_name_is_refused() {
    let mut way = begin().await;
    let code = format!("code-{}", number());
    let tokens = json!({"access_token": "a", "token_type": "Bearer", "id_token": rs256(&claims(&way))});
    rogue().said.lock().expect("what to say").insert(code.clone(), tokens);
    let (base, state) = (base(), &way.state);
    let callback =
        format!("{base}/v1/auth/oidc/google/callback?code={code}&state={state}&iss=https%3A%2F%2Fevil.example");
    let shown = way.browser.visit(&callback, None, &[]).await;
    is_refused(&mut way, shown, "RFC 9207").await;
}

async fn is_refused(way: &mut Way, shown: super::Shown, what: &str) {
    let page = shown.location.unwrap_or_else(|| panic!("{what}: {} {}", shown.code, shown.text));
    assert_eq!((page.path(), parameter(&page, "error").as_deref()), ("/login", Some("refused")), "{what}");
    assert!(way.browser.me(base()).await.is_none(), "{what}: nobody is signed in");
}
