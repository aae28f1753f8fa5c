//! Mails to users: verification of addresses, reset and change of passwords, and the pages that their links lead to.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use kith::clock::Clock;
use kith::mailer::Mailer;
use kith::work::mail::send_due;
use serde_json::{Value, json};

use crate::accounts::{PASSWORD, email, log_in, newcomer, newcomer_at, person, sign_up, with_session};
use crate::support::{Agent, Child, TempDir, home, mailbox};

const NEW_PASSWORD: &str = "quite another password";
const HOUR_MS: i64 = 60 * 60 * 1000;

async fn verify(agent: &Agent, token: &str) -> crate::support::Reply {
    agent.post("/v1/auth/verify-email", json!({"token": token})).await
}

async fn ask_reset(agent: &Agent, email: &str) {
    let asked = agent.post("/v1/auth/request-password-reset", json!({"email": email})).await.status(202);
    assert_eq!(asked.at("/data/email"), email.to_lowercase());
}

async fn reset(agent: &Agent, token: &str, password: &str) -> crate::support::Reply {
    agent.post("/v1/auth/reset-password", json!({"token": token, "password": password})).await
}

#[tokio::test]
async fn a_letter_verifies_an_address_once() {
    let (agent, email) = person("verify").await;
    let mail = mailbox().wait(&email, 1).await.remove(0);
    assert!(mail.text.contains("Subject: Confirm your e-mail address"), "{}", mail.text);
    assert!(
        mail.text.contains("From: Kith <kith@kith.example>")
            || mail.text.contains("From: \"Kith\" <kith@kith.example>"),
        "{}",
        mail.text
    );
    assert!(mail.link().starts_with(&format!("{}/verify-email?token=kmt_", home().base)), "{}", mail.link());
    for field in ["MIME-Version: 1.0", "Message-ID: <mail_", "@kith.example>", "Date: ", "Content-Type: text/plain"] {
        assert!(mail.text.contains(field), "{field}: {}", mail.text);
    }
    let token = mail.token();
    // A verification token can't reset a password.
    reset(&newcomer(), &token, NEW_PASSWORD).await.fault(400, "invalid_request");
    for bad in ["", "kmt_0", &token[..43], &format!("{token}0")] {
        verify(&newcomer(), bad).await.fault(400, "invalid_request").says("link");
    }
    let verified = verify(&newcomer(), &token).await.status(200);
    assert_eq!(
        (verified.at("/data/user/email"), verified.at("/data/user/email_verified")),
        (json!(email), json!(true))
    );
    assert_eq!(agent.get("/v1/auth/me").await.at("/data/user/email_verified"), true);
    verify(&newcomer(), &token).await.fault(400, "invalid_request");
    // Nothing remains to be verified.
    agent.post("/v1/auth/request-verification", json!({})).await.status(202);
    newcomer().post("/v1/auth/request-verification", json!({})).await.fault(401, "unauthorized");
    assert_eq!(mailbox().of(&email).len(), 1);
}

#[tokio::test]
async fn a_letter_ends() {
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let (agent, email) = (newcomer_at(&ahead_ms).await, email("late-reader"));
    sign_up(&agent, &email).await.status(201);
    ask_reset(&agent, &email).await;
    let mails = mailbox().wait(&email, 2).await;
    let token_of = |part: &str| mails.iter().find(|mail| mail.link().contains(part)).expect("a letter").token();
    ahead_ms.fetch_add(61 * HOUR_MS / 60, Ordering::Relaxed);
    reset(&agent, &token_of("reset-password"), NEW_PASSWORD).await.fault(400, "invalid_request").says("link");
    ahead_ms.fetch_add(72 * HOUR_MS, Ordering::Relaxed);
    verify(&agent, &token_of("verify-email")).await.fault(400, "invalid_request").says("link");
    log_in(&agent, &email, PASSWORD).await.status(200);
}

#[tokio::test]
async fn a_letter_gives_another_password_and_ends_the_other_sessions() {
    let (agent, email) = person("forgetful").await;
    let other = with_session(&agent, &log_in(&agent, &email, PASSWORD).await.status(200));
    // The account is locked, and a reset by mail still works.
    for _ in 0..10 {
        log_in(&newcomer(), &email, "not the password").await.fault(401, "unauthorized");
    }
    ask_reset(&newcomer(), &email.to_uppercase()).await;
    ask_reset(&newcomer(), &email).await;
    let tokens: Vec<String> = {
        let mails = mailbox().wait(&email, 3).await;
        mails.iter().filter(|mail| mail.link().contains("/reset-password?")).map(|mail| mail.token()).collect()
    };
    assert_eq!(tokens.len(), 2);
    verify(&newcomer(), &tokens[1]).await.fault(400, "invalid_request");
    for weak in ["short", "password123", &email] {
        reset(&agent, &tokens[1], weak).await.fault(400, "invalid_request").says("assword");
    }
    let done = reset(&agent, &tokens[1], NEW_PASSWORD).await.status(200);
    // A user who has read the mail owns the address.
    assert_eq!(done.at("/data/user/email_verified"), true);
    assert_eq!(done.json().pointer("/data/session_token"), None);
    agent.get("/v1/auth/me").await.status(200);
    other.get("/v1/auth/me").await.fault(401, "unauthorized");
    for spent in &tokens {
        reset(&newcomer(), spent, "a third password").await.fault(400, "invalid_request");
    }
    log_in(&newcomer(), &email, PASSWORD).await.fault(401, "unauthorized");
    log_in(&newcomer(), &email, NEW_PASSWORD).await.status(200);
}

#[tokio::test]
async fn asking_for_a_reset_tells_nothing_and_sends_no_more_than_three() {
    let (_, known) = person("asked").await;
    let unknown = email("nobody");
    let ask = async |email: &str| {
        let asked = newcomer().post("/v1/auth/request-password-reset", json!({"email": email})).await.status(202);
        let mut answer = asked.json();
        answer["_meta"].take();
        answer["data"]["email"].take();
        answer
    };
    mailbox().wait(&known, 1).await;
    // No mail can be queued for a locked account. The answer is still returned, so it does not wait for that work.
    let mut locked = home().kith.app.store.cells.control().await.expect("a session");
    locked.script("BEGIN").await.expect("a transaction");
    locked.query("SELECT id FROM users WHERE email = $1 FOR UPDATE", &[Some(&known)]).await.expect("a lock");
    assert_eq!(ask(&known).await, ask(&unknown).await);
    assert_eq!(mailbox().of(&known).len(), 1);
    locked.script("COMMIT").await.expect("the end of the lock");
    for mails in 2..=4 {
        mailbox().wait(&known, mails).await;
        assert_eq!(ask(&known).await, ask(&unknown).await);
    }
    assert_eq!(ask(&known).await, ask(&unknown).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(mailbox().of(&known).len(), 4, "one to verify, three to reset");
    assert!(mailbox().of(&unknown).is_empty());
    let agent = newcomer();
    agent.post("/v1/auth/request-password-reset", json!({"email": "nobody"})).await.fault(400, "invalid_request");
    agent.post("/v1/auth/request-password-reset", json!({})).await.fault(400, "invalid_request").says("email");
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let (agent, email) = person("changer").await;
    let other = with_session(&agent, &log_in(&agent, &email, PASSWORD).await.status(200));
    let change = async |agent: &Agent, current: &str, password: &str| {
        agent.post("/v1/auth/change-password", json!({"current_password": current, "password": password})).await
    };
    change(&newcomer(), PASSWORD, NEW_PASSWORD).await.fault(401, "unauthorized");
    change(&agent, "not the password", NEW_PASSWORD).await.fault(403, "forbidden");
    change(&agent, PASSWORD, "short").await.fault(400, "invalid_request");
    agent.post("/v1/auth/change-password", json!({"password": NEW_PASSWORD})).await.fault(400, "invalid_request");
    change(&agent, PASSWORD, NEW_PASSWORD).await.status(200);
    agent.get("/v1/auth/me").await.status(200);
    other.get("/v1/auth/me").await.fault(401, "unauthorized");
    log_in(&newcomer(), &email, PASSWORD).await.fault(401, "unauthorized");
    log_in(&newcomer(), &email, NEW_PASSWORD).await.status(200);
    // Guesses with a stolen session are counted too. The log-in above has reset the earlier count.
    for _ in 0..10 {
        change(&agent, PASSWORD, "a third password").await.fault(403, "forbidden");
    }
    change(&agent, NEW_PASSWORD, "a third password").await.fault(429, "rate_limited");
}

#[tokio::test]
async fn a_letter_that_is_put_off_is_sent_later_and_one_that_is_refused_is_not() {
    let agent = newcomer();
    let (later, refused) = (email("later"), email("refused"));
    sign_up(&agent, &later).await.status(201);
    sign_up(&agent, &refused).await.status(201);
    let start = Instant::now();
    while mailbox().put_off(&later) == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody tried");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The attempt is recorded before it is made, so the next one waits for its time.
    let store = home().kith.app.store.clone();
    let soon = Clock::Moved(Arc::new(AtomicI64::new(40_000)));
    let post = Mailer::new(Some(&mailbox().url), Some("kith@kith.example")).expect("a way");
    home().run(async move { send_due(&store, &soon, &post).await }).await.expect("the queue was looked at");
    let mail = mailbox().wait(&later, 1).await.remove(0);
    verify(&agent, &mail.token()).await.status(200);
    assert!(mailbox().of(&refused).is_empty());
}

#[tokio::test]
async fn without_a_mail_server_the_link_is_logged_and_nothing_secret_else() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let (agent, email) = (child.stranger(), email("logged"));
    let opened = sign_up(&agent, &email).await.status(201);
    log_in(&agent, &email, "not the password").await.status(401);
    let start = Instant::now();
    let line = loop {
        let log = child.log();
        if let Some(line) = log.lines().find(|line| line.contains("/verify-email?token=kmt_")) {
            break line.to_owned();
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let token = line.split_once("?token=").expect("a token").1[..44].to_owned();
    verify(&agent, &token).await.status(200);
    let log = child.log();
    for secret in [PASSWORD, "not the password", &opened.text("/data/session_token"), &email] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn pages_lead_through_all_of_it_and_load_only_their_own() {
    let agent = newcomer();
    for (path, post) in [
        ("/login", "/v1/auth/login"),
        ("/signup", "/v1/auth/signup"),
        ("/forgot-password", "/v1/auth/request-password-reset"),
        ("/reset-password?token=kmt_x%22%3E%3Cscript%3E", "/v1/auth/reset-password"),
        ("/verify-email?token=kmt_x", "/v1/auth/verify-email"),
    ] {
        let page = agent.get(path).await.status(200);
        let text = String::from_utf8(page.body.clone()).expect("text");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(text.contains(&format!("data-post=\"{post}\"")), "{text}");
        assert!(!text.contains("kmt_x"), "nothing of the address is written into a page");
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        for never in ["<script>", "<style", "@import", "url(", " onclick", " onsubmit", " style=\""] {
            assert!(!text.contains(never), "{never} in {text}");
        }
        for source in text.split(" src=\"").skip(1) {
            assert!(source.starts_with("/assets/"), "{source}");
        }
        let wrong: Value = agent.post(path, json!({})).await.code.into();
        assert_eq!(wrong, 405);
    }
}
