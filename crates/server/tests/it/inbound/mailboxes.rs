//! Mailboxes that are read by IMAP, on a real server.

use std::time::Instant;

use serde_json::{Value, json};

use super::{apart, count, hello, record};
use crate::belongings::{joined, owned};
use crate::support::{Agent, Child, Dovecot, PASSWORD, Reply, TempDir, dovecot, home};

/// A user of the server with a mailbox of its own.
fn user(agent: &Agent) -> String {
    format!("{}@mail.example", agent.workspace_id)
}

fn settings(server: &Dovecot, agent: &Agent) -> Value {
    json!({"host": "127.0.0.1", "port": server.port, "username": user(agent), "password": PASSWORD, "tls": "none"})
}

async fn connect(agent: &Agent, body: Value) -> Reply {
    agent.post("/v1/integrations/mailbox", body).await
}

async fn shown(agent: &Agent) -> Value {
    record(&agent.get("/v1/integrations/mailbox").await.status(200))
}

/// Waits until a workspace has this many e-mails. Returns their subjects, the newest first.
async fn until(agent: &Agent, wanted: usize) -> Vec<String> {
    let start = Instant::now();
    loop {
        let page = agent.get("/v1/emails?limit=200").await.status(200).json();
        let found = page["data"].as_array().expect("a page");
        if found.len() >= wanted {
            return found.iter().map(|it| it["subject"].as_str().unwrap_or_default().to_owned()).collect();
        }
        if start.elapsed().as_secs() > 60 {
            panic!("{} of {wanted} e-mails came: {}", found.len(), shown(agent).await);
        }
        tokio::task::yield_now().await;
    }
}

/// Waits until the mailbox is shown in this way.
async fn until_shown(agent: &Agent, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let found = shown(agent).await;
        if is_so(&found) {
            return found;
        }
        assert!(start.elapsed().as_secs() < 60, "{found}");
        tokio::task::yield_now().await;
    }
}

/// Makes the mailbox due, as if its process had ended and its lease were over.
async fn make_due(agent: &Agent, change: &str) {
    let sql = format!("UPDATE mailboxes SET next_attempt_at = now(), taken_by = NULL{change} WHERE workspace_id = $1");
    home().control(&sql, &[&agent.workspace_id]).await;
    home().kith.app.wakes.mailboxes.notify_one();
}

#[tokio::test]
async fn a_mailbox_is_connected_read_and_disconnected() {
    for agent in &apart().await {
        assert_eq!(shown(agent).await["configured"], false);
        agent.delete("/v1/integrations/mailbox").await.fault(404, "not_found");
        let contact =
            record(&agent.post("/v1/contacts", json!({"email": "sarah@acme.example"})).await.status(201))["id"].clone();
        let old = dovecot().deliver(&user(agent), hello("old", "Old", ""));
        let made = connect(agent, settings(dovecot(), agent)).await.status(201);
        let said = record(&made);
        for (name, value) in [
            ("configured", json!(true)),
            ("host", json!("127.0.0.1")),
            ("port", json!(dovecot().port)),
            ("username", json!(user(agent))),
            ("tls", json!("none")),
            ("folder", json!("INBOX")),
            ("status", json!("connecting")),
            ("last_error", Value::Null),
            ("received", json!(0)),
        ] {
            assert_eq!(said[name], value, "{name}: {said}");
        }
        assert!(said.get("password").is_none());
        // What comes from now on is recorded; what was there is not.
        let new = dovecot().deliver(&user(agent), hello("1", "First", ""));
        assert_eq!(until(agent, 1).await, ["First"]);
        dovecot().deliver(&user(agent), hello("2", "Second", "").replace("sarah@acme.example", &user(agent)));
        assert_eq!(until(agent, 2).await.len(), 2);
        let listed = agent.get("/v1/emails").await.status(200).json()["data"].clone();
        let of = |subject: &str| listed.as_array().unwrap().iter().find(|it| it["subject"] == subject).unwrap().clone();
        assert_eq!((&of("First")["direction"], &of("First")["contact_ids"]), (&json!("inbound"), &json!([contact])));
        // The mailbox's own address is the workspace's.
        assert_eq!(of("Second")["direction"], "outbound");
        assert_eq!(count(agent, "/v1/activities").await, 1);
        let activity = agent.get("/v1/activities").await.status(200).json()["data"][0].clone();
        assert_eq!((&activity["subject"], &activity["contact_id"]), (&json!("First"), &contact));
        let now = until_shown(agent, |it| it["received"] == 2 && it["status"] == "connected").await;
        assert!(now["last_checked_at"].is_string(), "{now}");
        // Nobody who uses the mailbox notices: the messages are still new.
        assert!(old.exists() && new.exists());
        let feed = agent.get("/v1/activity?subject_type=email").await.status(200).json()["data"][0].clone();
        assert_eq!(feed[super::custom(agent)]["agent"], "mailbox", "{feed}");
        let gone = record(&agent.delete("/v1/integrations/mailbox").await.status(200));
        assert_eq!((&gone["configured"], &gone["deleted"]), (&json!(false), &json!(true)));
        assert_eq!(shown(agent).await["configured"], false);
        dovecot().deliver(&user(agent), hello("3", "After", ""));
        // Connected again, it goes on with what comes then.
        connect(agent, settings(dovecot(), agent)).await.status(201);
        dovecot().deliver(&user(agent), hello("4", "Again", ""));
        let subjects = until(agent, 3).await;
        assert!(subjects.contains(&"Again".to_owned()) && !subjects.contains(&"After".to_owned()), "{subjects:?}");
    }
}

#[tokio::test]
async fn what_is_there_is_taken_from_a_day_on() {
    let agent = &apart().await[1];
    for number in 0..5 {
        dovecot().deliver(&user(agent), hello(&number.to_string(), &format!("Number {number}"), ""));
    }
    let with = |since: &str| {
        let mut all = settings(dovecot(), agent);
        all["since"] = json!(since);
        all
    };
    connect(agent, with("2096-01-01")).await.status(201);
    until_shown(agent, |it| it["status"] == "connected").await;
    assert_eq!(count(agent, "/v1/emails").await, 0);
    connect(agent, with("2020-01-01")).await.status(201);
    assert_eq!(until(agent, 5).await.len(), 5);
    // The same again: each message is there already.
    connect(agent, with("2020-01-01")).await.status(201);
    let now = until_shown(agent, |it| it["status"] == "connected").await;
    assert_eq!((count(agent, "/v1/emails").await, &now["received"]), (5, &json!(0)));
}

#[tokio::test]
async fn wrong_settings_are_refused_by_field() {
    let agent = &apart().await[0];
    let with = |name: &str, value: Value| {
        let mut all = settings(dovecot(), agent);
        all[name] = value;
        all
    };
    for (body, field, said) in [
        (with("password", json!("wrong")), "password", "refuses the log-in"),
        (with("password", json!("falsch-ü")), "password", "refuses the log-in"),
        (with("folder", json!("Nothing")), "folder", "does not open"),
        (with("port", json!(1)), "host", "can't be reached"),
        (with("tls", json!("required")), "tls", "STARTTLS"),
        (with("tls", json!("implicit")), "host", "can't be encrypted"),
        (with("host", json!("no-such-host.invalid")), "host", "no address"),
        (with("username", Value::Null), "username", "username"),
    ] {
        let refused = connect(agent, body.clone()).await.fault(422, "validation_failed").says(said);
        assert_eq!(refused.error()["field"], field, "{body}: {}", refused.story());
        assert!(!refused.error().to_string().contains("falsch"), "{}", refused.story());
    }
    connect(agent, with("hots", json!("x"))).await.fault(400, "invalid_request");
    assert_eq!(shown(agent).await["configured"], false);
    let (owner, _) = owned().await;
    let (_, viewer, _) = joined(&owner, "viewer").await;
    connect(&viewer, settings(dovecot(), &viewer)).await.status(403);
}

#[tokio::test]
async fn a_crash_and_a_new_numbering_lose_and_repeat_nothing() {
    let agent = &apart().await[1];
    connect(agent, settings(dovecot(), agent)).await.status(201);
    for number in 0..4 {
        dovecot().deliver(&user(agent), hello(&number.to_string(), &format!("Number {number}"), ""));
    }
    // One without a Message-ID is known by its content.
    dovecot().deliver(&user(agent), "From: a@b.example\nSubject: Bare\n\nx\n");
    until(agent, 5).await;
    until_shown(agent, |it| it["received"] == 5).await;
    // The process ended after the record and before the position was moved.
    make_due(agent, ", last_uid = last_uid - 3").await;
    dovecot().deliver(&user(agent), hello("5", "Number 5", ""));
    until(agent, 6).await;
    let now = until_shown(agent, |it| it["received"] == 6).await;
    assert_eq!(now["last_error"], Value::Null);
    assert_eq!((count(agent, "/v1/emails").await, count(agent, "/v1/activities").await), (6, 6));
    // The server numbers its messages anew; meanwhile another one came.
    dovecot().renumber(&user(agent));
    dovecot().deliver(&user(agent), hello("6", "Number 6", ""));
    make_due(agent, ", uid_validity = 1").await;
    until(agent, 7).await;
    assert_eq!((count(agent, "/v1/emails").await, count(agent, "/v1/activities").await), (7, 7));
    // A deleted e-mail stays deleted, although its message is still in the mailbox.
    let listed = agent.get("/v1/emails").await.status(200).json()["data"].clone();
    agent.delete(&format!("/v1/emails/{}", listed[0]["id"].as_str().unwrap())).await.status(200);
    make_due(agent, ", last_uid = 0").await;
    dovecot().deliver(&user(agent), hello("7", "Number 7", ""));
    until(agent, 7).await;
    assert_eq!(count(agent, "/v1/emails").await, 7);
}

#[tokio::test]
async fn a_message_that_is_refused_or_huge_stops_no_other() {
    let agent = &apart().await[1];
    agent
        .sql("ALTER TABLE emails ADD CONSTRAINT emails_polite CHECK (subject IS DISTINCT FROM 'Spam')")
        .await
        .status(200);
    connect(agent, settings(dovecot(), agent)).await.status(201);
    dovecot().deliver(&user(agent), hello("1", "Spam", ""));
    let huge = hello("2", "Huge", "") + &"A long line of text, again and again.\n".repeat(400_000);
    dovecot().deliver(&user(agent), huge);
    dovecot().deliver(&user(agent), b"\xff\xfe no head \x00 at all");
    dovecot().deliver(&user(agent), "");
    dovecot().deliver(&user(agent), hello("3", "Last", ""));
    let subjects = until(agent, 4).await;
    assert!(subjects.contains(&"Huge".to_owned()) && subjects.contains(&"Last".to_owned()), "{subjects:?}");
    let now = until_shown(agent, |it| it["last_error"].is_string()).await;
    assert!(now["last_error"].as_str().unwrap().contains("emails_polite") && now["status"] == "connected", "{now}");
}

/// Makes the mailbox due as soon as no process reads it, again and again, until it is shown in this way.
async fn try_until_shown(agent: &Agent, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let sql = "UPDATE mailboxes SET next_attempt_at = now() WHERE workspace_id = $1 AND taken_by IS NULL";
        home().control(sql, &[&agent.workspace_id]).await;
        home().kith.app.wakes.mailboxes.notify_one();
        let found = shown(agent).await;
        if is_so(&found) {
            return found;
        }
        assert!(start.elapsed().as_secs() < 60, "{found}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_message_that_a_trigger_never_lets_in_is_skipped_after_some_tries() {
    for (agent, sqlstate) in apart().await.iter().zip(["42501", "57014"]) {
        let refuse = format!(
            "CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF NEW.subject = 'Poison' THEN RAISE SQLSTATE '{sqlstate}' USING MESSAGE = 'no poison here'; END IF;
               RETURN NEW;
             END $$"
        );
        agent.sql(&refuse).await.status(200);
        agent
            .sql("CREATE TRIGGER judge BEFORE INSERT ON emails FOR EACH ROW EXECUTE FUNCTION judge()")
            .await
            .status(200);
        connect(agent, settings(dovecot(), agent)).await.status(201);
        dovecot().deliver(&user(agent), hello("1", "Poison", ""));
        dovecot().deliver(&user(agent), hello("2", "After it", ""));
        let tried = until_shown(agent, |it| it["status"] == "failing").await;
        assert!(tried["last_error"].as_str().unwrap().contains("tried again"), "{tried}");
        assert_eq!(count(agent, "/v1/emails").await, 0);
        let skipped = try_until_shown(agent, |it| it["received"] == 1 && it["status"] == "connected").await;
        let said = skipped["last_error"].as_str().unwrap();
        assert!(said.contains("message 1, which is skipped"), "{skipped}");
        assert_eq!(until(agent, 1).await, ["After it"]);
        let tries = "SELECT 1 / (CASE WHEN EXISTS (SELECT FROM mailboxes WHERE workspace_id = $1 AND tries = 0 AND last_uid = 2) THEN 1 ELSE 0 END)";
        home().control(tries, &[&agent.workspace_id]).await;
    }
}

#[tokio::test]
async fn messages_wait_in_the_mailbox_of_a_read_only_workspace_until_it_is_claimed() {
    let agent = &apart().await[1];
    connect(agent, settings(dovecot(), agent)).await.status(201);
    until_shown(agent, |it| it["status"] == "connected").await;
    let age = "UPDATE workspaces SET created_at = created_at - interval '8 days', claimed_at = NULL WHERE id = $1";
    home().control(age, &[&agent.workspace_id]).await;
    let message = dovecot().deliver(&user(agent), hello("1", "Late", ""));
    let failing = try_until_shown(agent, |it| it["status"] == "failing").await;
    assert!(failing["last_error"].as_str().unwrap().contains("wait in the mailbox"), "{failing}");
    // However often it is tried.
    let tried = "UPDATE mailboxes SET failures = 100, tries = 100 WHERE workspace_id = $1";
    home().control(tried, &[&agent.workspace_id]).await;
    try_until_shown(agent, |it| it["status"] == "failing").await;
    assert!(count(agent, "/v1/emails").await == 0 && message.exists());
    home().control("UPDATE workspaces SET claimed_at = now() WHERE id = $1", &[&agent.workspace_id]).await;
    try_until_shown(agent, |it| it["received"] == 1 && it["last_error"].is_null()).await;
    assert_eq!(until(agent, 1).await, ["Late"]);
}

#[tokio::test]
async fn a_server_that_fails_is_told_and_tried_again() {
    let agent = &apart().await[1];
    let server = Dovecot::start("ssl = no\nimap_capability = IMAP4rev1 AUTH=PLAIN\n");
    connect(agent, settings(&server, agent)).await.status(201);
    until_shown(agent, |it| it["status"] == "connected").await;
    // It does not tell of messages, so it is looked at again when the time has come.
    server.deliver(&user(agent), hello("1", "Polled", ""));
    make_due(agent, "").await;
    assert_eq!(until(agent, 1).await, ["Polled"]);
    until_shown(agent, |it| it["received"] == 1).await;
    drop(server);
    make_due(agent, "").await;
    let failing = until_shown(agent, |it| it["status"] == "failing").await;
    assert!(failing["last_error"].as_str().unwrap().contains("can't be reached"), "{failing}");
    let waits = "SELECT 1 / (CASE WHEN EXISTS (SELECT FROM mailboxes WHERE workspace_id = $1 AND failures = 1 AND taken_by IS NULL
                     AND next_attempt_at > now() AND next_attempt_at < now() + interval '16 seconds') THEN 1 ELSE 0 END)";
    home().control(waits, &[&agent.workspace_id]).await;
    // The password is nowhere in the clear.
    let sealed = "SELECT 1 / (CASE WHEN EXISTS (SELECT FROM mailboxes AS m WHERE m.workspace_id = $1 AND encode(m.password, 'escape') LIKE '%secret%') THEN 0 ELSE 1 END)";
    home().control(sealed, &[&agent.workspace_id]).await;
}

#[tokio::test]
async fn tls_is_verified_and_a_kill_loses_and_repeats_nothing() {
    let server = Dovecot::with_tls();
    let dir = TempDir::new();
    let start = |trusted: bool| {
        Child::serve_with(&dir, |command| {
            command.env("KITH_ALLOW_PRIVATE_TARGETS", "1");
            if trusted {
                command.env("SSL_CERT_FILE", &server.authority);
            }
        })
    };
    let child = start(false);
    let agent = child.agent().await;
    let body = |tls: &str, port: u16| json!({"host": "localhost", "port": port, "username": user(&agent), "password": PASSWORD, "tls": tls, "since": "2020-01-01"});
    connect(&agent, body("implicit", server.tls_port)).await.fault(422, "validation_failed").says("certificate");
    child.kill();
    for number in 0..150 {
        server.deliver(&user(&agent), hello(&number.to_string(), &format!("Number {number}"), ""));
    }
    let child = start(true);
    let agent = agent.at(&child.base);
    let by_address =
        json!({"host": "127.0.0.1", "port": server.tls_port, "username": user(&agent), "password": PASSWORD});
    connect(&agent, by_address).await.fault(422, "validation_failed").says("certificate");
    connect(&agent, body("required", server.port)).await.status(201);
    until(&agent, 5).await;
    child.kill();
    let child = start(true);
    let agent = agent.at(&child.base);
    connect(&agent, body("implicit", server.tls_port)).await.status(201);
    until(&agent, 20).await;
    child.kill();
    let child = start(true);
    let agent = agent.at(&child.base);
    connect(&agent, body("implicit", server.tls_port)).await.status(201);
    let mut subjects = until(&agent, 150).await;
    until_shown(&agent, |it| it["status"] == "connected").await;
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects.len(), 150);
    assert_eq!(
        (count(&agent, "/v1/emails?limit=200").await, count(&agent, "/v1/activities?limit=200").await),
        (150, 150)
    );
    assert!(!child.log().contains(PASSWORD), "{}", child.log());
}

#[tokio::test]
async fn a_killed_process_keeps_no_mailbox() {
    let dir = TempDir::new();
    let start = || {
        Child::serve_with(&dir, |command| {
            command.env("KITH_ALLOW_PRIVATE_TARGETS", "1");
        })
    };
    let child = start();
    let agent = child.agent().await;
    connect(&agent, settings(dovecot(), &agent)).await.status(201);
    dovecot().deliver(&user(&agent), hello("1", "Before", ""));
    until(&agent, 1).await;
    // The process waits for messages, and has the mailbox for longer than the test waits.
    child.kill();
    dovecot().deliver(&user(&agent), hello("2", "After", ""));
    let child = start();
    let agent = agent.at(&child.base);
    let mut subjects = until(&agent, 2).await;
    subjects.sort_unstable();
    assert_eq!(subjects, ["After", "Before"]);
}

/// The mailbox is not connected again: its position is that of before.
#[tokio::test]
async fn a_killed_process_goes_on_after_the_last_message() {
    let dir = TempDir::new();
    let start = || {
        Child::serve_with(&dir, |command| {
            command.env("KITH_ALLOW_PRIVATE_TARGETS", "1");
        })
    };
    let deliver = |agent: &Agent, numbers: std::ops::Range<usize>| {
        for number in numbers {
            dovecot().deliver(&user(agent), hello(&number.to_string(), &format!("Number {number}"), ""));
        }
    };
    let child = start();
    let mut agent = child.agent().await;
    connect(&agent, settings(dovecot(), &agent)).await.status(201);
    deliver(&agent, 0..40);
    until(&agent, 10).await;
    child.kill();
    deliver(&agent, 40..60);
    // Three kills, each at another place.
    for (wanted, more) in [(30, 60..80), (55, 80..100)] {
        let child = start();
        agent = agent.at(&child.base);
        until(&agent, wanted).await;
        child.kill();
        deliver(&agent, more);
    }
    let child = start();
    agent = agent.at(&child.base);
    once_each(&agent, 100).await;
    // A record that is gone for good would come again if the mailbox were read from its beginning.
    let listed = agent.get("/v1/emails?limit=200").await.status(200).json()["data"].clone();
    let of =
        |subject: &str| listed.as_array().unwrap().iter().find(|it| it["subject"] == subject).unwrap()["id"].clone();
    for number in [0, 50] {
        let id = of(&format!("Number {number}"));
        agent.delete(&format!("/v1/emails/{}?hard=true", id.as_str().unwrap())).await.status(200);
    }
    child.kill();
    deliver(&agent, 100..110);
    let child = start();
    agent = agent.at(&child.base);
    until(&agent, 108).await;
    until_shown(&agent, |it| it["status"] == "connected" && it["last_error"].is_null()).await;
    deliver(&agent, 110..111);
    once_each(&agent, 109).await;
    child.kill();
    // While no process reads, the server numbers its messages anew and has other ones too.
    dovecot().renumber(&user(&agent));
    deliver(&agent, 111..115);
    let child = start();
    agent = agent.at(&child.base);
    // All of them are looked at again, since they came within two days; each is there once. The two that were gone are new.
    once_each(&agent, 115).await;
    drop(child);
}

/// Waits until this many e-mails are there, and a moment after that: each of them once.
async fn once_each(agent: &Agent, wanted: usize) {
    until(agent, wanted).await;
    let marker = format!("marker-{wanted}");
    dovecot().deliver(&user(agent), hello(&marker, &marker, ""));
    // Messages are recorded in their order, so nothing else is on its way.
    let mut subjects = until(agent, wanted + 1).await;
    assert!(subjects.contains(&marker), "{subjects:?}");
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects.len(), wanted + 1, "{subjects:?}");
    assert_eq!(count(agent, "/v1/emails?limit=200").await, wanted + 1);
    let id = agent.get("/v1/emails?limit=200").await.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["subject"] == json!(marker))
        .unwrap()["id"]
        .clone();
    agent.delete(&format!("/v1/emails/{}", id.as_str().unwrap())).await.status(200);
}

#[tokio::test]
async fn a_server_in_a_private_network_is_refused() {
    let dir = TempDir::new();
    let strict = Child::serve(&dir);
    let agent = strict.agent().await;
    for host in ["127.0.0.1", "localhost", "10.0.0.1", "::1", "169.254.169.254"] {
        let body = json!({"host": host, "port": dovecot().port, "username": "u", "password": "p", "tls": "none"});
        connect(&agent, body).await.fault(422, "target_not_allowed");
    }
}
