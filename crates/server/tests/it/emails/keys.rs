//! The secret key that seals secrets: a lost one is told, a replaced one is replaced everywhere.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};

use reqwest::Method;
use serde_json::{Value, json};

use super::{apart, connect, hello, make_due, record, set, until};
use crate::mcp::result;
use crate::support::{Agent, Child, PASSWORD, Receiver, TempDir, config_of_another, dovecot, home, resend, stranger};

const KITH: &str = env!("CARGO_BIN_EXE_kith");
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const FIRST: &str = "the first secret key of this installation";
const SECOND: &str = "the second secret key of this installation";

/// Changes the id of the key in a column, as if a key had sealed it that is lost.
async fn lose(agent: &Agent, table: &str, column: &str) {
    let sql = format!(
        "UPDATE {table} SET {column} = set_byte({column}, 1, get_byte({column}, 1) # 255) WHERE workspace_id = $1"
    );
    home().control(&sql, &[&agent.workspace_id]).await;
}

#[tokio::test]
async fn a_lost_key_is_told_by_every_door_and_what_is_set_again_works() {
    for agent in &apart().await {
        let key = format!("re_{}", agent.workspace_id);
        let settings = json!({"api_key": key, "from_email": "shop@shop.example", "webhook_secret": SECRET});
        set(agent, settings.clone()).await.status(200);
        resend().will_answer(&key, 503, json!({"message": "down"}));
        let queued = record(&agent.post("/v1/emails", hello()).await.status(202))["id"].as_str().unwrap().to_owned();
        let receiver = Receiver::start().await;
        let hook = record(
            &agent.post("/v1/webhooks", json!({"url": receiver.url(), "events": ["contact.*"]})).await.status(201),
        );
        let hook = hook["id"].as_str().unwrap();
        let keyed = [("content-type", "application/json"), ("idempotency-key", "rotate")];
        agent.send(Method::POST, &format!("/v1/webhooks/{hook}/rotate-secret"), &keyed, "{}").await.status(200);
        for (table, column) in [
            ("email_integrations", "settings"),
            ("email_integrations", "webhook_secret"),
            ("outgoing_emails", "message"),
            ("webhook_endpoints", "secret"),
            ("webhook_endpoints", "old_secret"),
        ] {
            lose(agent, table, column).await;
        }
        let doctor = doctor_of_home();
        for kind in ["webhooks", "e-mail integrations", "queued e-mails"] {
            assert!(doctor.contains(&format!(" secrets of {kind} can't be opened: another secret key")), "{doctor}");
        }
        let said = record(&agent.get("/v1/integrations/email").await.status(200));
        assert!(
            said["configured"] == true && said["last_error"].as_str().unwrap().contains("another KITH_SECRET_KEY"),
            "{said}"
        );
        let refused = agent.post("/v1/emails", hello()).await.fault(422, "email_not_configured");
        assert!(
            refused.story().contains("another KITH_SECRET_KEY") && refused.story().contains("Set them again"),
            "{}",
            refused.story()
        );
        agent.get("/v1/email/domains").await.fault(422, "email_not_configured").says("KITH_SECRET_KEY");
        let mail = json!({"to": ["sarah@acme.example"], "subject": "S", "text": "T"});
        let (tool, is_error) = result(agent, "send_email", mail).await;
        assert!(is_error && tool.to_string().contains("another KITH_SECRET_KEY"), "{tool}");
        // Resend calls again, when the secret may be set again.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
        let headers = [
            ("content-type", "application/json"),
            ("svix-id", "m"),
            ("svix-timestamp", &now),
            ("svix-signature", "v1,AAAA"),
        ];
        let path = format!("/v1/inbound/resend?ws={}", agent.workspace_id);
        stranger().send(Method::POST, &path, &headers, "{}").await.fault(503, "unavailable").says("KITH_SECRET_KEY");
        make_due(agent).await;
        let failed = until(agent, &queued, "failed").await;
        assert!(failed["status_reason"].as_str().unwrap().contains("another KITH_SECRET_KEY"), "{failed}");
        // A webhook's deliveries fail with these words, and are signed again after a rotation.
        agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
        let delivery = until_tried(agent, hook).await;
        assert!(delivery["error"].as_str().unwrap().contains("another KITH_SECRET_KEY"), "{delivery}");
        assert!(receiver.received().is_empty());
        agent.post(&format!("/v1/webhooks/{hook}/rotate-secret"), json!({})).await.status(200);
        let replay = format!("/v1/webhooks/{hook}/replay/{}", delivery["id"].as_str().unwrap());
        agent.post(&replay, json!({})).await.status(200);
        assert_eq!(receiver.wait(1).await[0].header("webhook-signature").split(' ').count(), 1);
        set(agent, settings).await.status(200);
        assert_eq!(record(&agent.get("/v1/integrations/email").await.status(200))["last_error"], Value::Null);
        agent.post("/v1/emails", hello()).await.status(201);
    }
}

/// What `kith doctor` says of the installation of this process.
fn doctor_of_home() -> String {
    let (config, dir) = (config_of_another(), TempDir::new());
    let mut command = Child::bare(Path::new(KITH), "doctor");
    command.arg("--data-dir").arg(&dir.path).arg("--database-url").arg(config.database_url.expect("an address"));
    let doctor = command.env("KITH_SECRET_KEY", config.secret_key.expect("a key")).output().expect("the binary");
    String::from_utf8_lossy(&doctor.stdout).into_owned()
}

/// Waits until a webhook's delivery was tried.
async fn until_tried(agent: &Agent, hook: &str) -> Value {
    let start = std::time::Instant::now();
    loop {
        let page = agent.get(&format!("/v1/webhooks/{hook}/deliveries")).await.status(200).json();
        if let Some(tried) = page["data"].as_array().and_then(|all| all.iter().find(|it| it["error"].is_string())) {
            return tried.clone();
        }
        assert!(start.elapsed().as_secs() < 60, "{page}");
        tokio::task::yield_now().await;
    }
}

/// The settings of a process with these keys.
fn with_keys(command: &mut std::process::Command, key: &str, old: Option<&str>) {
    command
        .env("KITH_SECRET_KEY", key)
        .env("KITH_ALLOW_PRIVATE_TARGETS", "1")
        .env("KITH_RESEND_BASE_URL", &resend().url);
    if let Some(old) = old {
        command.env("KITH_SECRET_KEY_OLD", old);
    }
}

/// Runs a command until it ends.
fn run(dir: &TempDir, command: &str, key: &str, old: Option<&str>) -> Output {
    let mut line = Child::bare(Path::new(KITH), command);
    line.arg("--data-dir").arg(&dir.path);
    if command == "serve" {
        line.args(["--listen", "127.0.0.1:0"]);
    }
    with_keys(&mut line, key, old);
    line.output().expect("the binary")
}

/// Starts Kith with both keys, and kills it when its log has this line.
fn kill_at(dir: &TempDir, line: &str) {
    let mut command = Child::bare(Path::new(KITH), "serve");
    command.arg("--data-dir").arg(&dir.path).args(["--listen", "127.0.0.1:0"]);
    with_keys(&mut command, SECOND, Some(FIRST));
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary");
    let mut log = BufReader::new(process.stderr.take().expect("its log")).lines();
    let found = log.by_ref().map_while(Result::ok).any(|said| said.contains(line));
    process.kill().expect("a process to kill");
    process.wait().expect("its end");
    assert!(found, "{line}");
}

#[track_caller]
fn refused(output: &Output, part: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(part), "{said}");
}

#[tokio::test]
async fn a_secret_key_is_replaced_everywhere() {
    let dir = TempDir::new();
    let serve =
        |key: &'static str, old: Option<&'static str>| Child::serve_with(&dir, |command| with_keys(command, key, old));
    let child = serve(FIRST, None);
    let mut agent = child.owned_agent().await;
    let key = connect(&agent).await;
    set(&agent, json!({"api_key": key, "from_email": "shop@shop.example", "webhook_secret": SECRET})).await.status(200);
    let receiver = Receiver::start().await;
    let hook = json!({"url": receiver.url(), "events": ["contact.*"]});
    let headers = [("content-type", "application/json"), ("idempotency-key", "hook")];
    let made = agent.send(Method::POST, "/v1/webhooks", &headers, hook.to_string()).await.status(201);
    let user = format!("{}@mail.example", agent.workspace_id);
    let mailbox =
        json!({"host": "127.0.0.1", "port": dovecot().port, "username": user, "password": PASSWORD, "tls": "none"});
    agent.post("/v1/integrations/mailbox", mailbox).await.status(201);
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    receiver.wait(1).await;
    // One waits in the queue.
    resend().will_ask_to_wait(&key, 429, 3600);
    let queued = record(&agent.post("/v1/emails", hello()).await.status(202))["id"].as_str().unwrap().to_owned();
    child.kill();
    // Neither another key, nor one with a wrong old key.
    refused(&run(&dir, "serve", SECOND, None), "give it as KITH_SECRET_KEY_OLD");
    refused(&run(&dir, "serve", SECOND, Some("some other key that never was the one")), "secret key is not the one");
    refused(&run(&dir, "serve", SECOND, Some("short")), "KITH_SECRET_KEY_OLD must be");
    let doctor = run(&dir, "doctor", SECOND, Some(FIRST));
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    for kind in [
        "1 secrets of webhooks",
        "2 secrets of e-mail integrations",
        "1 secrets of mailboxes",
        "1 secrets of queued e-mails",
    ] {
        let line = format!("WARN {kind} still need KITH_SECRET_KEY_OLD");
        assert!(said.contains(&line), "{line}: {said}{}", String::from_utf8_lossy(&doctor.stderr));
    }
    // Killed on the way, twice. The doctor has already replaced the superuser's password.
    kill_at(&dir, "replacing the secret key in all databases");
    kill_at(&dir, "replacing the secret key in all databases");
    let child = serve(SECOND, Some(FIRST));
    agent = agent.at(&child.base);
    assert!(child.log().contains("replaced the secret key"), "{}", child.log());
    works(&agent, &receiver, 2).await;
    // The reply to the request of before is still there.
    let again = agent.send(Method::POST, "/v1/webhooks", &headers, hook.to_string()).await.status(201);
    assert_eq!((record(&again), again.header("idempotent-replayed")), (record(&made), "true".into()));
    child.kill();
    let doctor = run(&dir, "doctor", SECOND, Some(FIRST));
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        said.contains("KITH_SECRET_KEY_OLD is not needed any more"),
        "{said}{}",
        String::from_utf8_lossy(&doctor.stderr)
    );
    // From now on the new key is enough, and the old one opens nothing.
    refused(&run(&dir, "serve", FIRST, None), "secret key is not the one");
    let child = serve(SECOND, None);
    agent = agent.at(&child.base);
    works(&agent, &receiver, 3).await;
    let said = record(&agent.get("/v1/integrations/email").await.status(200));
    assert_eq!((&said["receives"], &said["last_error"]), (&json!(true), &Value::Null));
    dovecot().deliver(&user, "From: s@acme.example\nSubject: Read\nMessage-ID: <1@acme.example>\n\nx\n");
    let start = std::time::Instant::now();
    while !agent.get("/v1/emails").await.status(200).column("subject").contains(&json!("Read")) {
        assert!(start.elapsed().as_secs() < 60, "{}", agent.get("/v1/integrations/mailbox").await.story());
        tokio::task::yield_now().await;
    }
    assert_eq!(record(&agent.get(&format!("/v1/emails/{queued}")).await.status(200))["status"], "queued");
    child.kill();
    // Back again: a key is replaced as often as it has to be.
    let child = serve(FIRST, Some(SECOND));
    works(&agent.at(&child.base), &receiver, 4).await;
}

/// Reads and writes data, sends an e-mail, and gets the event that a webhook has signed with its secret.
async fn works(agent: &Agent, receiver: &Receiver, events: usize) {
    agent.post("/v1/contacts", json!({"email": format!("c{events}@b.example")})).await.status(201);
    agent.sql("select count(*) from contacts").await.status(200);
    agent.post("/v1/emails", hello()).await.status(201);
    let received = receiver.wait(events).await;
    assert!(received[events - 1].header("webhook-signature").starts_with("v1,"));
}
