//! Unfinished connections have no effect on others.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use pg::{Target, Url};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::json;

use super::{ask, come, connection, login, person_at};
use crate::support::{Agent, Child, TempDir, home};

/// A connection to a URL's address, over which these bytes were sent.
fn begin(url: &str, bytes: &[u8]) -> TcpStream {
    let Target { port, .. } = Url::parse(url).expect("a URL").target;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a listener");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    // It may already be closed.
    let _ = stream.write_all(bytes);
    stream
}

/// A startup packet of a role.
fn startup(role: &str) -> Vec<u8> {
    let body = [b"\0\x03\0\0user\0", role.as_bytes(), b"\0\0"].concat();
    [&(4 + body.len() as u32).to_be_bytes()[..], &body].concat()
}

/// Checks that users, agents and Kith itself work normally.
async fn everybody_works(child: &Child, person: &Agent, url: &str) {
    for n in 0..3 {
        let mut conn = come(url).await.expect("a direct session");
        assert_eq!(ask(&mut conn, "select 1").await, "1");
        // A new workspace: Kith's own sessions, and new ones of a role that has none.
        let agent = child.agent().await;
        agent.post("/v1/contacts", json!({"email": format!("c{n}@b.example")})).await.status(201);
    }
    // The administrator's sessions, and those of a member who has just got a direct connection.
    let path = format!("/v1/connection?ws={}", person.workspace_id);
    let again = person.post(&path, json!({})).await.status(200).text("/data/url");
    assert_eq!(login(&again).await, "");
}

#[tokio::test]
async fn log_ins_that_are_begun_and_not_finished_lock_nobody_out() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let person = person_at(&child).await;
    let (url, role) = connection(&person).await;
    // Of the user's own role, and of a role that does not exist.
    for user in [role.as_str(), "w_0123456789abcdefghij_0123456789ab_d"] {
        let held: Vec<TcpStream> = (0..215).map(|_| begin(&url, &startup(user))).collect();
        everybody_works(&child, &person, &connection(&person).await.0).await;
        drop(held);
    }
}

#[tokio::test]
async fn thousands_of_connections_leave_the_api_its_files() {
    const FILES: u64 = 400;
    let dir = TempDir::new();
    let child = Child::serve_with(&dir, |command| {
        // SAFETY: runs between fork and exec; setrlimit is a bare system call that neither allocates nor locks.
        unsafe {
            command.pre_exec(|| {
                let limit = Rlimit { current: Some(FILES), maximum: Some(FILES) };
                setrlimit(Resource::Nofile, limit).map_err(std::io::Error::from)
            });
        }
    });
    let person = person_at(&child).await;
    let (url, role) = connection(&person).await;
    let open_files = || std::fs::read_dir(format!("/proc/{}/fd", child.pid())).expect("a living process").count();
    let (files, memory) = (open_files(), child.memory_kb("VmRSS"));
    let startup = startup(&role);
    // One sends nothing, one stops in the middle, one has an impossible length, one stops at the password request.
    let beginnings: [&[u8]; 4] = [b"", &startup[..20], b"\x7f\xff\xff\xff", &startup];
    let mut held = Vec::new();
    for n in 0..3000 {
        held.push(begin(&url, beginnings[n % 4]));
        if n % 500 == 499 {
            let now = open_files();
            assert!(now < files + 150, "{now} files are open, of {files} before");
        }
    }
    everybody_works(&child, &person, &url).await;
    let grown = child.memory_kb("VmRSS").saturating_sub(memory);
    assert!(grown < 50_000, "{grown} kB more");
    // Connections that send nothing are closed in the end: the read returns the end or a reset, and does not time out.
    for stream in &mut held {
        let end = stream.read_to_end(&mut Vec::new());
        assert!(end.as_ref().map_err(std::io::Error::kind) != Err(ErrorKind::WouldBlock), "{end:?}");
    }
}

#[tokio::test]
async fn people_can_never_have_the_connections_that_kith_needs() {
    // Kith's own sessions also have the places that the server reserves for the superuser and for `kith_control`.
    let cells = &home().kith.app.store.cells;
    let mut admin = cells.administer_cell(0).await.expect("the administrator");
    let mut setting = async |name: &str| -> u32 {
        let rows = admin.query("SELECT current_setting($1)", &[Some(name)]).await.expect("a setting");
        rows.text(0, 0).and_then(|text| text.parse().ok()).expect("a number")
    };
    let open_to_all = setting("max_connections").await
        - setting("superuser_reserved_connections").await
        - setting("reserved_connections").await;
    let (pool, direct) = (kith::store::POOL_CONNECTIONS as u32, kith::store::cell::server::DIRECT_CONNECTIONS);
    assert!(pool + direct < open_to_all, "{pool} and {direct} of {open_to_all}");
}

#[tokio::test]
async fn a_full_house_of_peoples_sessions_has_room_for_the_next_workspace() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let owner = person_at(&child).await;
    let key = owner.key.clone();
    let mut open = Vec::new();
    let mut counts = Vec::new();
    for _ in 0..5 {
        let made = owner.post("/v1/workspaces", json!({})).await.status(201).text("/data/workspace_id");
        let (url, _) = connection(&child.stranger().with_key(key.clone(), made)).await;
        let before = open.len();
        while let Ok(conn) = come(&url).await {
            open.push(conn);
        }
        assert_eq!(login(&url).await, "53300");
        counts.push(open.len() - before);
    }
    println!("sessions by workspace: {counts:?}");
    assert_eq!(counts[0], 12);
    assert!(counts.iter().all(|count| *count > 0) && open.len() <= 40, "{counts:?}");
    child.agent().await.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    // No session is ended later for exceeding the limit.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for conn in &mut open {
        assert_eq!(ask(conn, "select 1").await, "1");
    }
}

#[tokio::test]
async fn a_stopped_kith_says_good_bye_to_people() {
    let dir = TempDir::new();
    let mut child = Child::serve(&dir);
    let person = person_at(&child).await;
    let (url, role) = connection(&person).await;
    let mut conn = come(&url).await.expect("a session");
    let mut half = begin(&url, &startup(&role));
    half.read_exact(&mut [0; 9]).expect("a question");
    child.terminate();
    assert!(child.wait().success(), "{}", child.log());
    let end = conn.query("select 1", &[]).await.expect_err("an end");
    assert_eq!(end.code(), Some("57P01"), "{end}");
    let mut rest = Vec::new();
    half.read_to_end(&mut rest).expect("an end");
    assert!(String::from_utf8_lossy(&rest).contains("57P03"), "{rest:?}");
}
