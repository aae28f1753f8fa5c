//! Accounts and sessions: who may sign up and log in, and what a session gives access to. Each test uses an address of its
//! own, because an address with too many failures is locked.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kith::clock::Clock;
use kith::serve::Door;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Child, Reply, TempDir, agent, door, home, other_process, stranger, stranger_at};

pub const PASSWORD: &str = "correct horse battery";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn number() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// An address of this machine that no other test uses.
fn address() -> IpAddr {
    let [_, a, b, c] = number().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 100 + a, b, c))
}

/// An e-mail address that no other test uses.
pub fn email(name: &str) -> String {
    format!("{name}-{}-{}@people.example", number(), std::process::id())
}

/// A client without an account.
pub fn newcomer() -> Agent {
    stranger().from(address())
}

/// A client without an account, at a listener with a clock of its own.
pub async fn newcomer_at(ahead_ms: &Arc<AtomicI64>) -> Agent {
    let clock = Clock::Moved(ahead_ms.clone());
    stranger_at(&door(Door { public_url: None, clock, rate_limit: 0 }).await).from(address())
}

pub async fn sign_up(agent: &Agent, email: &str) -> Reply {
    agent.post("/v1/auth/signup", json!({"email": email, "password": PASSWORD})).await
}

pub async fn log_in(agent: &Agent, email: &str, password: &str) -> Reply {
    agent.post("/v1/auth/login", json!({"email": email, "password": password})).await
}

/// The same client with the session that was opened.
pub fn with_session(agent: &Agent, opened: &Reply) -> Agent {
    agent.clone().with_key(opened.text("/data/session_token"), String::new())
}

/// A user with an account, logged in.
pub async fn person(name: &str) -> (Agent, String) {
    let (agent, email) = (newcomer(), email(name));
    let opened = sign_up(&agent, &email).await.status(201);
    (with_session(&agent, &opened), email)
}

#[tokio::test]
async fn signing_up_opens_a_session_by_token_and_by_cookie() {
    let (agent, email) = (newcomer(), email("Ada"));
    let body = json!({"email": format!("  {} ", email.to_uppercase()), "password": PASSWORD, "name": " Ada Lovelace "});
    let opened = agent.post("/v1/auth/signup", body).await.status(201);
    let user = opened.at("/data/user");
    assert_eq!(user["email"], email.to_lowercase());
    assert_eq!((&user["name"], &user["email_verified"]), (&json!("Ada Lovelace"), &json!(false)));
    assert!(user["id"].as_str().is_some_and(|id| id.starts_with("u_")), "{user}");
    assert!(user["created_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{user}");
    let token = opened.text("/data/session_token");
    assert!(token.starts_with("kst_") && token.len() == 44, "{token}");
    let cookie = opened.header("set-cookie");
    assert_eq!(cookie, format!("kith_session={token}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"));
    assert_eq!(opened.header("cache-control"), "no-store");
    for headers in [("authorization", format!("Bearer {token}")), ("cookie", format!("a=b; kith_session={token}"))] {
        let me = agent.send(Method::GET, "/v1/auth/me", &[(headers.0, &headers.1)], "").await.status(200);
        assert_eq!(me.at("/data/user"), user);
        assert!(me.text("/_meta/request_id").starts_with("req_"));
        assert_eq!(me.header("x-ratelimit-limit"), "1000000");
    }
    let again = log_in(&agent, &email, PASSWORD).await.status(200);
    assert_eq!(again.at("/data/user"), user);
    assert_ne!(again.text("/data/session_token"), token);
}

#[tokio::test]
async fn the_cookie_is_secure_where_the_public_address_is() {
    let public_url = Some("https://kith.example".to_owned());
    let base = door(Door { public_url, clock: Clock::System, rate_limit: 0 }).await;
    let opened = sign_up(&stranger_at(&base).from(address()), &email("secure")).await.status(201);
    assert!(opened.header("set-cookie").ends_with("; HttpOnly; SameSite=Lax; Secure"), "{}", opened.story());
}

#[tokio::test]
async fn what_can_be_no_account_is_refused() {
    let agent = newcomer();
    let check = async |body: Value, part: &str| {
        agent.post("/v1/auth/signup", body).await.fault(400, "invalid_request").says(part);
    };
    check(json!({}), "email").await;
    check(json!({"email": "ada@people.example"}), "password").await;
    check(json!({"email": "ada@people.example", "password": null}), "password").await;
    check(json!({"email": "ada@people.example", "password": 1234567890}), "password").await;
    check(json!({"email": "ada@people.example", "password": PASSWORD, "emial": "x"}), "Did you mean").await;
    check(json!({"email": "ada@people.example", "password": PASSWORD, "name": "a\nb"}), "name").await;
    check(json!({"email": "ada@people.example", "password": PASSWORD, "name": "a".repeat(201)}), "name").await;
    check(json!({"email": "ada@people.example", "password": "nul\u{0}nul\u{0}nul"}), "U+0000").await;
    for bad in [
        "ada",
        "@people.example",
        "ada@people",
        "a da@people.example",
        "ada@people.example\r\nBcc: b@c.example",
        "аda@people.example",
    ] {
        check(json!({"email": bad, "password": PASSWORD}), "email").await;
    }
    for weak in ["", "short", "ninechars", "aaaaaaaaaaaaaa", "password123", "ada@people.example"] {
        check(json!({"email": "ada@people.example", "password": weak}), "assword").await;
    }
    check(json!({"email": "ada@people.example", "password": "ab1!".repeat(2560)}), "256").await;
    let parameter =
        agent.post("/v1/auth/signup?x=1", json!({"email": "ada@people.example", "password": PASSWORD})).await;
    parameter.fault(400, "invalid_request").says("x");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let sent = agent.send(Method::POST, "/v1/auth/signup", &form, "email=ada%40people.example").await;
    sent.fault(415, "unsupported_media_type");
    let wrong = agent.get("/v1/auth/signup").await.fault(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), "POST");
    agent.get("/v1/auth/nothing").await.fault(404, "not_found");
}

#[tokio::test]
async fn passwords_and_names_are_in_any_script() {
    let agent = newcomer();
    for password in ["пароль из пяти слов", "🦊🐻🐼🐨🐯🦁🐮🐷🐸🐵", "  spaces count  ", &"ab1!".repeat(64)]
    {
        let email = email("script");
        let body = json!({"email": email, "password": password, "name": "Žofie 🦊"});
        let opened = agent.post("/v1/auth/signup", body).await.status(201);
        assert_eq!(opened.at("/data/user/name"), "Žofie 🦊");
        log_in(&agent, &email, password).await.status(200);
        log_in(&agent, &email, password.trim_end_matches(['5', '🐵', ' ', '!', 'в'])).await.fault(401, "unauthorized");
    }
}

#[tokio::test]
async fn a_taken_address_is_409_however_it_is_written_and_few_may_be_tried() {
    let (owner, email) = person("taken").await;
    let agent = newcomer();
    sign_up(&agent, &email.to_uppercase()).await.fault(409, "conflict").says("login");
    for _ in 0..49 {
        sign_up(&agent, &email).await.fault(409, "conflict");
    }
    let refused = sign_up(&agent, &email).await.fault(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|wait| (1..=900).contains(&wait)));
    sign_up(&agent, &self::email("free")).await.fault(429, "rate_limited");
    // This does not lock a user out of their account.
    log_in(&owner, &email, PASSWORD).await.status(200);
}

#[tokio::test]
async fn of_sign_ups_at_once_one_wins() {
    let (agent, email) = (newcomer(), email("race"));
    let mut codes: Vec<u16> =
        join_all((0..6).map(|_| sign_up(&agent, &email))).await.iter().map(|it| it.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [201, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_are_answered_alike() {
    // A process of its own, whose metrics count only this test's work.
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let (agent, known) = (child.stranger(), email("known"));
    sign_up(&agent, &known).await.status(201);
    let checks = async || {
        let metrics = agent.get("/metrics").await.status(200);
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        let count = metrics.lines().find_map(|line| line.strip_prefix("kith_password_checks_total "));
        count.map_or(0, |count| count.parse::<u64>().expect("a number"))
    };
    let guess = async |email: &str| {
        let before = checks().await;
        let refused = log_in(&agent, email, "not the password").await.fault(401, "unauthorized");
        let mut answer = refused.json();
        answer["request_id"].take();
        (answer, checks().await - before)
    };
    let (wrong, unknown) = (guess(&known).await, guess(&email("unknown")).await);
    assert_eq!(wrong, unknown);
    assert_eq!(wrong.1, 1, "the work of one check");
}

#[tokio::test]
async fn sql_in_what_is_sent_is_text() {
    let (agent, email) = person("sql").await;
    log_in(&agent, "' OR 1=1 --@people.example", PASSWORD).await.fault(400, "invalid_request");
    log_in(&agent, "x'||(select 1)||'@people.example", PASSWORD).await.fault(400, "invalid_request");
    log_in(&agent, "o'or'1'='1@people.example", PASSWORD).await.fault(401, "unauthorized");
    log_in(&agent, &email, "' OR '1'='1' --").await.fault(401, "unauthorized");
    agent.delete("/v1/auth/sessions/'%20OR%201=1%20--").await.fault(404, "not_found");
    let body = json!({"token": "' OR 1=1 --"});
    agent.post("/v1/auth/verify-email", body).await.fault(400, "invalid_request");
    let body = json!({"email": self::email("sql"), "password": PASSWORD, "name": "'); DROP TABLE users; --"});
    let made = agent.post("/v1/auth/signup", body).await;
    assert_eq!(made.status(201).at("/data/user/name"), "'); DROP TABLE users; --");
}

#[tokio::test]
async fn ten_failures_lock_an_account_for_a_quarter_of_an_hour() {
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let agent = newcomer_at(&ahead_ms).await;
    let (locked, free) = (email("locked"), email("free"));
    sign_up(&agent, &locked).await.status(201);
    sign_up(&agent, &free).await.status(201);
    // Nine failures and a successful log-in: the count restarts.
    for _ in 0..9 {
        log_in(&agent.clone().from(address()), &locked, "not the password").await.fault(401, "unauthorized");
    }
    log_in(&agent, &locked, PASSWORD).await.status(200);
    for _ in 0..10 {
        log_in(&agent.clone().from(address()), &locked, "not the password").await.fault(401, "unauthorized");
        ahead_ms.fetch_add(6_000, Ordering::Relaxed);
    }
    let elsewhere = agent.clone().from(address());
    let refused = log_in(&elsewhere, &locked.to_uppercase(), PASSWORD).await.fault(429, "rate_limited");
    let wait: i64 = refused.header("retry-after").parse().expect("seconds");
    assert!((800..=840).contains(&wait), "{wait}");
    log_in(&agent, &free, PASSWORD).await.status(200);
    ahead_ms.fetch_add((wait - 10) * 1000, Ordering::Relaxed);
    log_in(&elsewhere, &locked, PASSWORD).await.fault(429, "rate_limited");
    ahead_ms.fetch_add(11_000, Ordering::Relaxed);
    log_in(&elsewhere, &locked, PASSWORD).await.status(200);
}

#[tokio::test]
async fn an_account_that_is_not_there_is_locked_alike() {
    let email = email("nobody");
    for _ in 0..10 {
        log_in(&newcomer(), &email, PASSWORD).await.fault(401, "unauthorized");
    }
    log_in(&newcomer(), &email, PASSWORD).await.fault(429, "rate_limited");
}

#[tokio::test]
async fn ten_failures_of_a_colleague_lock_the_colleague_alone() {
    let office = newcomer();
    let (forgetful, other) = (email("forgetful"), email("other"));
    sign_up(&office, &forgetful).await.status(201);
    sign_up(&office, &other).await.status(201);
    for _ in 0..10 {
        log_in(&office, &forgetful, "not the password").await.fault(401, "unauthorized");
    }
    let refused = log_in(&office, &forgetful, PASSWORD).await.fault(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|wait| (1..=900).contains(&wait)));
    log_in(&office, &other, PASSWORD).await.status(200);
    sign_up(&office, &email("third")).await.status(201);
    log_in(&newcomer(), &forgetful, PASSWORD).await.fault(429, "rate_limited");
}

#[tokio::test]
async fn fifty_failures_lock_an_address() {
    let (owner, known) = person("neighbour").await;
    let guesser = newcomer();
    for _ in 0..49 {
        log_in(&guesser, &email("any"), PASSWORD).await.fault(401, "unauthorized");
    }
    log_in(&guesser, &known, PASSWORD).await.status(200);
    log_in(&guesser, &email("any"), PASSWORD).await.fault(401, "unauthorized");
    log_in(&guesser, &known, PASSWORD).await.fault(429, "rate_limited");
    log_in(&owner, &known, PASSWORD).await.status(200);
    // Also in the other process.
    log_in(&guesser.at(other_process().await), &known, PASSWORD).await.fault(429, "rate_limited");
}

#[tokio::test]
async fn behind_a_proxy_on_this_machine_everybody_has_their_own_address() {
    let (proxy, owner) = (newcomer(), email("proxied"));
    sign_up(&proxy, &owner).await.status(201);
    let from = async |forwarded: &str, email: &str| {
        let headers = [("x-forwarded-for", forwarded), ("content-type", "application/json")];
        let body = json!({"email": email, "password": PASSWORD}).to_string();
        proxy.send(Method::POST, "/v1/auth/login", &headers, body).await.code
    };
    // The client's own value stands before the one that the proxy adds.
    for n in 0..50 {
        assert_eq!(from(&format!("203.0.113.{n}, 198.51.100.7"), &email("any")).await, 401);
    }
    assert_eq!(from("198.51.100.7", &owner).await, 429);
    assert_eq!(from("198.51.100.8", &owner).await, 200);
    assert_eq!(from("nonsense", &owner).await, 200);
    // Configured proxies are skipped, and no others: the same client is locked, others are not.
    assert_eq!(from("203.0.113.1, 198.51.100.7, 192.0.2.7, 192.0.2.8", &owner).await, 429);
    assert_eq!(from("198.51.100.7, 203.0.113.1, 192.0.2.7", &owner).await, 200);
    assert_eq!(from("198.51.100.7, 192.0.3.7", &owner).await, 200);
}

#[tokio::test]
async fn guesses_sent_all_at_once_are_counted() {
    let (agent, email) = person("flood").await;
    let guesses = (0..24).map(|_| log_in(&agent, &email, "not the password"));
    let codes: Vec<u16> = join_all(guesses).await.iter().map(|it| it.code).collect();
    let tried = codes.iter().filter(|code| **code == 401).count();
    // Two run at the same time, so one more may be tried.
    assert!((10..=11).contains(&tried), "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, 401 | 429)), "{codes:?}");
}

#[tokio::test]
async fn a_session_lives_for_30_days_after_its_last_use() {
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let agent = newcomer_at(&ahead_ms).await;
    let opened = sign_up(&agent, &email("slow")).await.status(201);
    let session = with_session(&agent, &opened);
    let cookie = format!("kith_session={}", opened.text("/data/session_token"));
    for _ in 0..3 {
        ahead_ms.fetch_add(29 * DAY_MS, Ordering::Relaxed);
        let me = agent.send(Method::GET, "/v1/auth/me", &[("cookie", &cookie)], "").await.status(200);
        // A cookie is renewed with its session.
        assert!(me.header("set-cookie").starts_with(&cookie), "{}", me.story());
        let again = agent.send(Method::GET, "/v1/auth/me", &[("cookie", &cookie)], "").await.status(200);
        assert_eq!(again.header("set-cookie"), "");
    }
    ahead_ms.fetch_add(31 * DAY_MS, Ordering::Relaxed);
    session.get("/v1/auth/me").await.fault(401, "unauthorized");
    agent.send(Method::GET, "/v1/auth/me", &[("cookie", &cookie)], "").await.fault(401, "unauthorized");
}

#[tokio::test]
async fn logging_out_ends_this_session_at_once_and_everywhere() {
    let (agent, email) = person("leaver").await;
    let other = with_session(&agent, &log_in(&agent, &email, PASSWORD).await.status(200));
    let elsewhere = agent.at(other_process().await);
    elsewhere.get("/v1/auth/me").await.status(200);
    let left = agent.post("/v1/auth/logout", json!({})).await.status(200);
    assert!(left.id().starts_with("ses_"));
    assert_eq!(left.header("set-cookie"), "kith_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    agent.get("/v1/auth/me").await.fault(401, "unauthorized");
    agent.post("/v1/auth/logout", json!({})).await.fault(401, "unauthorized");
    other.get("/v1/auth/me").await.status(200);
    let start = Instant::now();
    while elsewhere.get("/v1/auth/me").await.code != 401 {
        assert!(start.elapsed() < Duration::from_secs(20), "the other process goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_their_owner_alone() {
    let (agent, email) = person("lister").await;
    let body = json!({"email": email, "password": PASSWORD}).to_string();
    let headers = [("user-agent", "Browser/1.0 (Ünïx)"), ("content-type", "application/json"), ("authorization", "")];
    let opened = agent.clone().with_key(String::new(), String::new());
    let opened = opened.send(Method::POST, "/v1/auth/login", &headers[..2], body).await.status(200);
    let browser = with_session(&agent, &opened);
    let listed = agent.get("/v1/auth/sessions").await.status(200);
    let sessions = listed.data();
    let sessions = sessions.as_array().expect("a list");
    assert_eq!(sessions.len(), 2, "{}", listed.story());
    assert!(!listed.story().contains("kst_"), "{}", listed.story());
    let other = sessions.iter().find(|it| it["current"] == false).expect("the browser's");
    assert_eq!(other["user_agent"], "Browser/1.0 (Ünïx)");
    assert!(other["created_at"].is_string() && other["last_used_at"].is_string());
    let path = format!("/v1/auth/sessions/{}", other["id"].as_str().expect("an id"));
    let (stranger, _) = person("stranger").await;
    stranger.delete(&path).await.fault(404, "not_found");
    newcomer().delete(&path).await.fault(401, "unauthorized");
    browser.get("/v1/auth/me").await.status(200);
    assert_eq!(agent.delete(&path).await.status(200).id(), other["id"]);
    browser.get("/v1/auth/me").await.fault(401, "unauthorized");
    agent.delete(&path).await.fault(404, "not_found");
    agent.delete("/v1/auth/sessions/ses_nonsense").await.fault(404, "not_found");
    assert_eq!(agent.get("/v1/auth/sessions").await.column("current"), [json!(true)]);
}

#[tokio::test]
async fn a_cookie_speaks_for_our_own_pages_alone() {
    let public_url = Some("https://kith.example".to_owned());
    let base = door(Door { public_url, clock: Clock::System, rate_limit: 0 }).await;
    let agent = stranger_at(&base).from(address());
    let token = sign_up(&agent, &email("csrf")).await.status(201).text("/data/session_token");
    let cookie = format!("kith_session={token}");
    let host = base.trim_start_matches("http://");
    let own_host = format!("http://{host}");
    let post = async |headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers.iter().copied().chain([("cookie", cookie.as_str())]).collect();
        agent.send(Method::POST, "/v1/auth/request-verification", &headers, "").await.code
    };
    for own in [
        &[("sec-fetch-site", "same-origin")][..],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://kith.example")],
        &[("origin", "https://kith.example")],
        &[("origin", &own_host)],
        &[("referer", "https://kith.example/claim/ws_1")],
        // No browser omits all of these headers.
        &[],
    ] {
        assert_eq!(post(own).await, 202, "{own:?}");
    }
    for foreign in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://kith.example")],
        &[("origin", "https://evil.example")],
        &[("origin", "http://kith.example")],
        &[("origin", "https://kith.example.evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
        &[("referer", "https://kith.example.evil.example/")],
        &[("referer", "https://evil.example/?https://kith.example/")],
    ] {
        assert_eq!(post(foreign).await, 403, "{foreign:?}");
    }
    // Reading changes nothing, and a token in a header was set by the sender. A DELETE is refused like a POST.
    agent
        .send(Method::GET, "/v1/auth/me", &[("cookie", &cookie), ("sec-fetch-site", "cross-site")], "")
        .await
        .status(200);
    let bearer = format!("Bearer {token}");
    let headers = [("cookie", cookie.as_str()), ("authorization", &bearer), ("sec-fetch-site", "cross-site")];
    agent.send(Method::POST, "/v1/auth/request-verification", &headers, "").await.status(202);
    let headers = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    let refused = agent.send(Method::DELETE, "/v1/auth/sessions/ses_x", &headers, "").await;
    refused.fault(403, "forbidden").says("Bearer");
    let unknown = agent.send(Method::DELETE, "/v1/auth/sessions/ses_x", &headers[..1], "").await;
    unknown.fault(404, "not_found");
}

#[tokio::test]
async fn an_old_cookie_stands_in_nobodys_way() {
    let (agent, email) = person("old-cookie").await;
    let opened = log_in(&agent.clone().with_key(String::new(), String::new()), &email, PASSWORD).await.status(200);
    let alive = format!("kith_session={}", opened.text("/data/session_token"));
    let ended = format!("kith_session={}", agent.key);
    agent.post("/v1/auth/logout", json!({})).await.status(200);
    let json_type = ("content-type", "application/json");
    let visitor = newcomer();
    for cookie in [&alive, &ended, "kith_session=junk", "kith_session=\"", "=; kith_session"] {
        let body = |email: &str| json!({"email": email, "password": PASSWORD}).to_string();
        let fresh = self::email("fresh");
        for (path, email, status) in [("/v1/auth/signup", &fresh, 201), ("/v1/auth/login", &email, 200)] {
            let send = async |headers: &[(&str, &str)]| {
                let headers: Vec<_> = headers.iter().copied().chain([("cookie", cookie), json_type]).collect();
                visitor.send(Method::POST, path, &headers, body(email)).await
            };
            send(&[("origin", "https://evil.example")]).await.fault(403, "forbidden").says("another site");
            send(&[("sec-fetch-site", "cross-site")]).await.fault(403, "forbidden");
            send(&[]).await.status(status).text("/data/session_token");
        }
    }
    let make = async |cookie: &str, origin: &str| {
        visitor.send(Method::POST, "/v1/workspaces", &[("cookie", cookie), ("origin", origin)], "").await
    };
    for origin in [visitor.base.as_str(), "https://evil.example"] {
        // A token that is not a session's is ignored; for a session that has ended, the answer says so.
        let made = make("kith_session=junk", origin).await.status(201);
        assert!(made.text("/data/api_key").starts_with("acrm_dev_"), "{}", made.story());
        make(&ended, origin).await.fault(401, "unauthorized").says("has ended");
    }
    let owned = make(&alive, &visitor.base).await.status(201);
    assert!(owned.text("/data/api_key").starts_with("acrm_live_"), "{}", owned.story());
    make(&alive, "https://evil.example").await.fault(403, "forbidden");
}

#[tokio::test]
async fn a_bearer_that_is_neither_key_nor_session_is_401_everywhere() {
    let (session, _) = person("bearer").await;
    let cookie = format!("kith_session={}", session.key);
    let invented = format!("Bearer kst_{}", "0".repeat(40));
    for bearer in
        ["Bearer nonsense", "Bearer kst_short", &invented, "Bearer acrm_dev_nonsense", "Basic YTpi", "Bearer "]
    {
        for (method, path) in [
            (Method::GET, "/v1/auth/me"),
            (Method::POST, "/v1/auth/logout"),
            (Method::POST, "/v1/auth/login"),
            (Method::POST, "/v1/workspaces"),
            (Method::GET, "/v1/contacts"),
            (Method::GET, "/v1/auth/nothing"),
        ] {
            let headers = [("authorization", bearer), ("cookie", &cookie), ("sec-fetch-site", "same-origin")];
            newcomer().send(method, path, &headers, "").await.fault(401, "unauthorized");
        }
    }
    session.get("/v1/contacts").await.fault(401, "unauthorized");
    let key = agent().await;
    key.get("/v1/auth/me").await.fault(401, "unauthorized").says("session");
    key.post("/v1/workspaces", json!({})).await.fault(401, "unauthorized").says("session");
    // An expired cookie counts as no cookie.
    let headers = [("cookie", "kith_session=kst_gone"), ("sec-fetch-site", "same-origin")];
    newcomer().send(Method::POST, "/v1/workspaces", &headers, "").await.status(201);
    newcomer().get("/v1/auth/me").await.fault(401, "unauthorized").says("login");
}

#[tokio::test]
async fn a_persons_workspace_is_theirs_from_the_beginning() {
    let (owner, _) = person("owner").await;
    let made = owner.post("/v1/workspaces", json!({"name": "Ours"})).await.status(201);
    let (key, workspace_id) = (made.text("/data/api_key"), made.text("/data/workspace_id"));
    assert!(key.starts_with("acrm_live_"), "{key}");
    for absent in ["/data/claim_url", "/data/ttl_expires_at", "/_meta/claim_url"] {
        assert_eq!(made.json().pointer(absent), None, "{}", made.story());
    }
    let read = stranger().with_key(key, workspace_id.clone()).get("/v1/contacts").await.status(200);
    assert_eq!(read.at("/_meta/workspace_id"), workspace_id);
    assert_eq!(read.json().pointer("/_meta/claim_url"), None);
    // Another user can't claim it, and a year later it still exists.
    let (other, _) = person("other").await;
    other.post(&format!("/v1/claim/{workspace_id}"), json!({})).await.fault(409, "conflict");
}

#[tokio::test]
async fn sessions_and_sign_ups_are_limited() {
    let hour_ms = 60 * 60 * 1000;
    let ahead_ms = Arc::new(AtomicI64::new(hour_ms - Clock::System.unix_ms() % hour_ms));
    let clock = Clock::Moved(ahead_ms.clone());
    let base = door(Door { public_url: None, clock, rate_limit: 5 }).await;
    let (session, _) = person("busy").await;
    let session = session.at(&base);
    for left in (0..5).rev() {
        let me = session.get("/v1/auth/me").await.status(200);
        assert_eq!(me.header("x-ratelimit-remaining"), left.to_string());
    }
    session.get("/v1/auth/me").await.fault(429, "rate_limited");
    let agent = stranger_at(&base).from(address());
    for _ in 0..60 {
        agent.post("/v1/auth/signup", json!({})).await.fault(400, "invalid_request");
    }
    sign_up(&agent, &email("late")).await.fault(429, "rate_limited");
    ahead_ms.fetch_add(hour_ms, Ordering::Relaxed);
    sign_up(&agent, &email("late")).await.status(201);
}

#[tokio::test]
async fn tokens_and_passwords_are_stored_as_hashes() {
    let (agent, email) = person("hashed").await;
    let (hash, token) = (kith::access::api_key::hash(&agent.key), agent.key.clone());
    let (session, account) = home()
        .run(async move {
            let control = &home().kith.app.store.control;
            let session = control.session(&hash, Clock::System.unix_seconds()).await.expect("an answer");
            (
                session.expect("a session"),
                control.account_of_email(&email).await.expect("an answer").expect("an account"),
            )
        })
        .await;
    assert_eq!(session.user, account.user);
    let stored = account.password_hash.expect("a hash");
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    let in_clear = "SELECT 1 / (CASE WHEN s::text LIKE '%' || $1 || '%' THEN 0 ELSE 1 END) FROM sessions AS s";
    home().control(in_clear, &[&token]).await;
}
