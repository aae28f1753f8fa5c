//! Clerk sessions: which ones are accepted, which ones are refused, and that their users are the same as other users.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use kith::clock::Clock;
use kith::serve::Door;
use serde_json::{Value, json};

use crate::belongings::{owned, person};
use crate::support::{Agent, agent, door, home, stranger, stranger_at};

/// The site that tokens must be issued for.
pub const PARTY: &str = "https://app.example.com";

/// Keys only for tests, in PEM.
pub const RS256: &str = include_str!("data/clerk/rs256.pem");
pub const ES256: &str = include_str!("data/clerk/es256.pem");
pub const ROTATED: &str = include_str!("data/clerk/rotated.pem");
/// Their public halves.
pub const JWKS: &str = include_str!("data/clerk/jwks.json");

/// A simulated Clerk: an address that returns its keys.
pub struct Issuer {
    /// `http://127.0.0.1:…`
    pub base: String,
    keys: Mutex<Vec<Value>>,
    asked: AtomicU32,
}

/// The simulated Clerk of this process. The first call starts it.
pub fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<&'static Issuer> = OnceLock::new();
    ISSUER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let keys = Mutex::new(all_keys()[..2].to_vec());
        let issuer: &'static Issuer = Box::leak(Box::new(Issuer { base, keys, asked: AtomicU32::new(0) }));
        std::thread::spawn(move || issuer.serve(&listener));
        issuer
    })
}

fn all_keys() -> Vec<Value> {
    let set: Value = serde_json::from_str(JWKS).expect("a set of keys");
    set["keys"].as_array().expect("keys").clone()
}

impl Issuer {
    fn serve(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(read @ 1..) => request.extend_from_slice(&piece[..read]),
                    _ => break,
                }
            }
            self.asked.fetch_add(1, Ordering::SeqCst);
            let found = request.starts_with(b"GET /.well-known/jwks.json ");
            let body =
                if found { json!({"keys": *self.keys.lock().expect("keys")}).to_string() } else { String::new() };
            let (status, length) = (if found { "200 OK" } else { "404 Not Found" }, body.len());
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes());
        }
    }
}

pub fn der(pem: &str) -> Vec<u8> {
    let lines: String =
        pem.lines().skip_while(|line| !line.starts_with("-----BEGIN")).filter(|line| !line.starts_with("--")).collect();
    STANDARD.decode(lines).expect("a PEM")
}

/// A user at Clerk that Kith has not seen.
fn subject() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("user_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The claims of a user's session at Clerk.
fn claims(subject: &str) -> Value {
    let now = Clock::System.unix_seconds();
    json!({"iss": issuer().base, "sub": subject, "azp": PARTY, "iat": now, "nbf": now - 10, "exp": now + 60, "sid": "sess_1"})
}

pub fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.into()), ..Header::new(algorithm) }
}

fn rs256(claims: &Value) -> String {
    let key = EncodingKey::from_rsa_der(&der(RS256));
    encode(&header(Algorithm::RS256, "rs256"), claims, &key).expect("a token")
}

fn es256(claims: &Value) -> String {
    let key = EncodingKey::from_ec_der(&der(ES256));
    encode(&header(Algorithm::ES256, "es256"), claims, &key).expect("a token")
}

/// The claims, with one value changed.
fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn shows(token: String) -> Agent {
    stranger().with_key(token, String::new())
}

#[tokio::test]
async fn who_comes_from_clerk_is_a_person_at_first_sight_and_the_same_ever_after() {
    let (ada, grace) = (subject(), subject());
    let first = shows(rs256(&claims(&ada))).get("/v1/auth/me").await.status(200);
    let again = shows(es256(&claims(&ada))).get("/v1/auth/me").await.status(200);
    assert_eq!(first.text("/data/user/id"), again.text("/data/user/id"));
    let other = shows(rs256(&claims(&grace))).get("/v1/auth/me").await.status(200);
    assert_ne!(first.text("/data/user/id"), other.text("/data/user/id"));
    assert!(first.text("/data/user/email").ends_with("@clerk.invalid"));
    shows(rs256(&claims(&ada))).post("/v1/auth/logout", json!({})).await.status(200);
    shows(rs256(&claims(&ada))).post("/v1/auth/request-verification", json!({})).await.fault(400, "invalid_request");
}

#[tokio::test]
async fn of_many_first_sights_at_once_one_makes_the_account() {
    let token = rs256(&claims(&subject()));
    let visits = (0..8).map(|_| shows(token.clone())).collect::<Vec<_>>();
    let replies = futures_util::future::join_all(visits.iter().map(|visit| visit.get("/v1/auth/me"))).await;
    let mut ids: Vec<String> = replies.into_iter().map(|reply| reply.status(200).text("/data/user/id")).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test]
async fn a_session_from_clerk_owns_claims_and_rotates() {
    let ada = shows(es256(&claims(&subject())));
    let owned = ada.post("/v1/workspaces", json!({})).await.status(201);
    assert!(owned.text("/data/api_key").starts_with("acrm_live_"));
    let dev = agent().await;
    let contact = dev.post("/v1/contacts", json!({"email": "kept@b.example"})).await.status(201).id();
    let claimed = ada.post(&format!("/v1/claim/{}", dev.workspace_id), json!({})).await.status(200);
    dev.get("/v1/contacts").await.fault(401, "unauthorized");
    let live = stranger().with_key(claimed.text("/data/api_key"), dev.workspace_id.clone());
    live.get(&format!("/v1/contacts/{contact}")).await.status(200);
    let rotated = ada.post(&format!("/v1/keys/rotate?ws={}", dev.workspace_id), json!({})).await.status(200);
    live.get("/v1/contacts").await.fault(401, "unauthorized");
    stranger().with_key(rotated.text("/data/api_key"), String::new()).get("/v1/contacts").await.status(200);
    let stranger = shows(rs256(&claims(&subject())));
    stranger.get(&format!("/v1/keys?ws={}", dev.workspace_id)).await.fault(404, "not_found");
}

#[tokio::test]
async fn what_clerk_did_not_sign_so_is_refused() {
    let good = claims(&subject());
    let now = Clock::System.unix_seconds();
    shows(rs256(&good)).get("/v1/auth/me").await.status(200);
    shows(rs256(&with(good.clone(), "exp", json!(now - 2)))).get("/v1/auth/me").await.status(200);
    shows(rs256(&with(good.clone(), "iss", json!(format!("{}/", issuer().base))))).get("/v1/auth/me").await.status(200);
    let public_half = URL_SAFE_NO_PAD.decode(all_keys()[0]["n"].as_str().expect("a modulus")).expect("bytes");
    let by_secret = |kid: &str| {
        encode(&header(Algorithm::HS256, kid), &good, &EncodingKey::from_secret(&public_half)).expect("a token")
    };
    let unsigned = |alg: &str| {
        let head = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "JWT", "kid": "rs256"}).to_string());
        format!("{head}.{}.", URL_SAFE_NO_PAD.encode(good.to_string()))
    };
    let tampered = {
        let token = rs256(&good);
        let parts: Vec<&str> = token.split('.').collect();
        let other = URL_SAFE_NO_PAD.encode(with(good.clone(), "sub", json!("user_other")).to_string());
        format!("{}.{other}.{}", parts[0], parts[2])
    };
    let access_token = Header { typ: Some("at+jwt".into()), ..header(Algorithm::RS256, "rs256") };
    let critical = Header { crit: Some(vec!["b64".into()]), ..header(Algorithm::RS256, "rs256") };
    let rsa = || EncodingKey::from_rsa_der(&der(RS256));
    let mut anonymous = good.clone();
    anonymous.as_object_mut().expect("claims").remove("sub");
    let bad = [
        ("expired", rs256(&with(good.clone(), "exp", json!(now - 60)))),
        ("without an end", rs256(&with(good.clone(), "exp", Value::Null))),
        ("not yet valid", rs256(&with(good.clone(), "nbf", json!(now + 60)))),
        ("another issuer's", rs256(&with(good.clone(), "iss", json!("https://clerk.evil.example")))),
        ("for another site", rs256(&with(good.clone(), "azp", json!("https://evil.example")))),
        ("for no site", rs256(&with(good.clone(), "azp", Value::Null))),
        ("nobody's", rs256(&anonymous)),
        ("pending", rs256(&with(good.clone(), "sts", json!("pending")))),
        ("alg none", unsigned("none")),
        ("RS256 without a signature", unsigned("RS256")),
        ("signed by the public key", by_secret("rs256")),
        ("signed by the public key, as EC", by_secret("es256")),
        ("tampered", tampered),
        (
            "by another key",
            encode(&header(Algorithm::RS256, "rs256"), &good, &EncodingKey::from_rsa_der(&der(ROTATED)))
                .expect("a token"),
        ),
        (
            "by the key for another algorithm",
            encode(&header(Algorithm::RS256, "es256"), &good, &rsa()).expect("a token"),
        ),
        ("RS512 by an RS256 key", encode(&header(Algorithm::RS512, "rs256"), &good, &rsa()).expect("a token")),
        ("an access token", encode(&access_token, &good, &rsa()).expect("a token")),
        ("critical beyond us", encode(&critical, &good, &rsa()).expect("a token")),
        ("without a key's id", encode(&Header::new(Algorithm::RS256), &good, &rsa()).expect("a token")),
        ("no token", "eyJ.eyJ.eyJ".to_owned()),
    ];
    for (what, token) in bad {
        for path in ["/v1/auth/me", "/v1/contacts"] {
            let reply = shows(token.clone()).get(path).await;
            assert_eq!(reply.code, 401, "{what}\n{}", reply.story());
        }
        let reply = shows(token).post("/v1/workspaces", json!({})).await;
        assert_eq!(reply.code, 401, "{what} makes no workspace\n{}", reply.story());
    }
    shows(rs256(&good)).get("/v1/contacts").await.fault(401, "unauthorized");
}

#[tokio::test]
async fn a_key_that_is_new_is_fetched_but_not_at_every_knock() {
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let at = door(Door { public_url: None, clock: Clock::Moved(ahead_ms.clone()), rate_limit: 0 }).await;
    let key = EncodingKey::from_rsa_der(&der(ROTATED));
    let later = with(claims(&subject()), "exp", json!(Clock::System.unix_seconds() + 3600));
    let token = encode(&header(Algorithm::RS256, "rotated"), &later, &key).expect("a token");
    let knock = || async { stranger_at(&at).with_key(token.clone(), String::new()).get("/v1/auth/me").await };
    knock().await.fault(401, "unauthorized");
    issuer().keys.lock().expect("keys").push(all_keys()[2].clone());
    for _ in 0..3 {
        knock().await.fault(401, "unauthorized");
    }
    ahead_ms.store(61_000, Ordering::SeqCst);
    knock().await.status(200);
    knock().await.status(200);
}

#[tokio::test]
async fn an_address_that_clerk_has_verified_is_the_persons() {
    let (ada, email) = person("both").await;
    let made = ada.post("/v1/workspaces", json!({})).await.status(201);
    let key = stranger().with_key(made.text("/data/api_key"), made.text("/data/workspace_id"));
    key.get("/v1/contacts").await.status(200);
    let here = ada.get("/v1/auth/me").await.status(200).text("/data/user/id");
    let claim = |verified: Value| {
        with(with(claims(&subject()), "email", json!(email.to_uppercase())), "email_verified", verified)
    };
    for unverified in [json!(false), json!("true"), Value::Null] {
        let reply = shows(rs256(&claim(unverified))).get("/v1/auth/me").await.status(200);
        assert_ne!(reply.text("/data/user/id"), here, "who only says so is somebody else");
        assert_ne!(reply.text("/data/user/email"), email);
    }
    let verified = shows(rs256(&claim(json!(true)))).get("/v1/auth/me").await.status(200);
    assert_eq!(verified.text("/data/user/id"), here);
    assert_eq!(verified.at("/data/user/email_verified"), true);
    // The address had not been verified at Kith, so another person may have signed up with it.
    ada.get("/v1/auth/me").await.fault(401, "unauthorized");
    let by_password = json!({"email": email, "password": "correct horse battery"});
    stranger().post("/v1/auth/login", by_password).await.fault(401, "unauthorized");
    crate::oidc::refused_soon(&key).await;
}

#[tokio::test]
async fn who_has_verified_an_address_keeps_password_and_sessions() {
    let (ada, email) = person("proven").await;
    home().control("UPDATE users SET email_verified_at = now() WHERE email = $1", &[&email]).await;
    let here = ada.get("/v1/auth/me").await.status(200).text("/data/user/id");
    let known = with(with(claims(&subject()), "email", json!(email)), "email_verified", json!(true));
    assert_eq!(shows(rs256(&known)).get("/v1/auth/me").await.status(200).text("/data/user/id"), here);
    ada.get("/v1/auth/me").await.status(200);
    stranger().post("/v1/auth/login", json!({"email": email, "password": "correct horse battery"})).await.status(200);
}

#[tokio::test]
async fn an_invitation_is_accepted_by_who_has_verified_its_address() {
    let (owner, _) = owned().await;
    let who = subject();
    let email = format!("{who}@people.example");
    let invite = json!({"workspace_id": owner.workspace_id, "email": email});
    let token = owner.post("/v1/members/invite", invite).await.status(201).text("/data/token");
    let path = format!("/v1/members/accept/{token}");
    let unproven = with(with(claims(&who), "email", json!(email)), "email_verified", json!(false));
    shows(rs256(&unproven)).post(&path, json!({})).await.fault(403, "forbidden");
    let proven = with(unproven, "email_verified", json!(true));
    let ahead = Arc::new(AtomicI64::new(2_000));
    let at = door(Door { public_url: None, clock: Clock::Moved(ahead), rate_limit: 0 }).await;
    stranger_at(&at).with_key(rs256(&proven), String::new()).post(&path, json!({})).await.status(200);
}

#[tokio::test]
async fn an_address_of_which_clerk_does_not_say_more_is_a_name_and_no_key() {
    let (ada, taken) = person("taken").await;
    let here = ada.get("/v1/auth/me").await.status(200).text("/data/user/id");
    let other = shows(rs256(&with(claims(&subject()), "email", json!(taken)))).get("/v1/auth/me").await.status(200);
    assert_ne!(other.text("/data/user/id"), here);
    assert!(other.text("/data/user/email").ends_with("@clerk.invalid"), "it is another's");
    ada.get("/v1/auth/me").await.status(200);

    let (owner, _) = owned().await;
    let who = subject();
    let email = format!("{who}@people.example");
    let named = with(claims(&who), "email", json!(email));
    let me = shows(rs256(&named)).get("/v1/auth/me").await.status(200);
    assert_eq!((me.text("/data/user/email"), me.at("/data/user/email_verified")), (email.clone(), json!(false)));
    let invite = json!({"workspace_id": owner.workspace_id, "email": email});
    let token = owner.post("/v1/members/invite", invite).await.status(201).text("/data/token");
    shows(rs256(&named)).post(&format!("/v1/members/accept/{token}"), json!({})).await.status(200);
}

#[tokio::test]
async fn keys_are_fetched_once_for_all_who_wait() {
    let at = door(Door { public_url: None, clock: Clock::System, rate_limit: 0 }).await;
    let token = rs256(&claims(&subject()));
    let knocks: Vec<_> = (0..20).map(|_| stranger_at(&at).with_key(token.clone(), String::new())).collect();
    let before = issuer().asked.load(Ordering::SeqCst);
    for reply in futures_util::future::join_all(knocks.iter().map(|knock| knock.get("/v1/auth/me"))).await {
        reply.status(200);
    }
    // Other tests open listeners of their own meanwhile, and each requests the keys once or twice.
    assert!(issuer().asked.load(Ordering::SeqCst) - before < 10, "one fetch, not twenty");
}
