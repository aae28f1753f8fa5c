//! The relay in front of a real server: which clients may log in, what half-open connections can't do, and how sessions end.

mod raw;
#[path = "../support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pg::cluster::Cluster;
use pg::conn::Login;
use pg::relay::{Certificate, Listeners, PendingLimits, Relay, RelayOptions};
use pg::{Conn, Error, Host, Target, Tls};
use raw::{Raw, packet, startup};
use rustix::process::{Pid, Signal, kill_process};
use support::{PASSWORD, TempDir, admin, one, options, server, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LONG: Duration = Duration::from_secs(40);

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

fn certificate() -> Certificate {
    Certificate { certificate: data("server.pem"), key: data("server.key") }
}

/// Roles whose names end in `_d` may log in. The group is the part before the first `_`.
fn group_of(role: &str) -> Option<&str> {
    role.strip_suffix("_d").map(|name| name.split('_').next().unwrap_or(name))
}

/// Limits that a test reaches quickly.
fn limits(server: Target) -> RelayOptions {
    RelayOptions {
        pending: PendingLimits {
            max: 40,
            max_per_network: 20,
            max_at_server: 6,
            max_at_server_per_network: 4,
            grace: Duration::from_millis(500),
        },
        max_sessions_per_group: 4,
        startup_limit: Duration::from_millis(1500),
        login_limit: Duration::from_secs(4),
        ..RelayOptions::new(server, group_of, 6, 6)
    }
}

async fn relay_before(server: Target, certificate: Option<&Certificate>) -> (Relay, SocketAddr) {
    let listeners = Listeners::bind(&[(Ipv4Addr::LOCALHOST, 0).into()], certificate).expect("a port");
    let address = listeners.addresses()[0];
    (Relay::start(listeners, limits(server)).expect("a relay"), address)
}

/// A relay for this test in front of the shared server.
async fn relay() -> (Relay, SocketAddr) {
    relay_before(server().await.target(), None).await
}

/// A role with the password `p` and a name that no other test uses.
async fn role(name: &str) -> String {
    let mut conn = server().await.admin().await;
    conn.query(&format!("create role {name} login password 'p'"), &[]).await.expect("a role");
    name.to_owned()
}

/// Logs in over the network. Returns the session or the SQLSTATE of the refusal.
async fn come(address: SocketAddr, user: &str, password: &str) -> Result<Conn, String> {
    come_to("127.0.0.1", address, (user, password), Tls::Off).await
}

async fn come_to(host: &str, address: SocketAddr, login: (&str, &str), tls: Tls) -> Result<Conn, String> {
    let target = Target { host: Host::Tcp(host.into()), port: address.port(), tls };
    let login = Login { user: login.0, password: login.1, database: "postgres", settings: &[] };
    let opened = tokio::time::timeout(Duration::from_secs(20), Conn::open(&target, &login));
    let opened = opened.await.expect("an answer");
    opened.map_err(|error| error.code().map_or_else(|| error.to_string(), str::to_owned))
}

fn code<T>(result: Result<T, String>) -> String {
    result.err().unwrap_or_default()
}

/// The number of a role's sessions at the server.
async fn sessions_of(role: &str) -> String {
    let sql = format!("select count(*) from pg_stat_activity where usename = '{role}'");
    one(&mut server().await.admin().await, &sql).await
}

/// The number of them that are asleep.
async fn sleeping(role: &str) -> String {
    let sql = format!("select count(*) from pg_stat_activity where usename = '{role}' and wait_event = 'PgSleep'");
    one(&mut server().await.admin().await, &sql).await
}

#[tokio::test]
async fn from_the_network_only_direct_roles_come_in() {
    let (_relay, address) = relay().await;
    let (plain, direct) = (role("w").await, role("w_d").await);
    let mut conn = come(address, &direct, "p").await.expect("a session");
    assert_eq!(one(&mut conn, "select session_user").await, direct);
    assert_eq!(code(come(address, &direct, "wrong").await), "28P01");
    assert_eq!(code(come(address, "nobody_d", "wrong").await), "28P01");
    for (user, password) in [(&*plain, "p"), (&*plain, "wrong"), ("postgres", PASSWORD), ("nobody", "p")] {
        assert_eq!(code(come(address, user, password).await), "28000", "{user}");
    }
}

#[tokio::test]
async fn a_role_is_judged_by_the_name_that_the_server_sees() {
    let (_relay, address) = relay().await;
    let long = format!("{}_d", "x".repeat(62));
    let reject = |user: &str| {
        format!(
            "28000 pg_hba.conf rejects connection for host \"127.0.0.1\", user \"{user}\", database \"postgres\", no encryption"
        )
    };
    for (parameters, user) in [
        (&[("user", "postgres")][..], "postgres"),
        (&[("user", "x_d"), ("user", "postgres")], "postgres"),
        (&[("user", "postgres"), ("options", "-c session_authorization=x_d")], "postgres"),
        (&[("user", &long)], &long[..63]),
        (&[("user", "")], ""),
        (&[("USER", "x_d")], ""),
        (&[("user", "x_d ")], "x_d "),
    ] {
        let parameters = [parameters, &[("database", "postgres")]].concat();
        assert_eq!(Raw::send(address, &startup(&parameters)).await.refusal().await, reject(user));
    }
    // The last value counts, at the relay and at the server.
    let mut raw = Raw::send(address, &startup(&[("user", "postgres"), ("user", "nobody_d")])).await;
    assert_eq!(raw.message().await.expect("a question").0, b'R');
    for value in ["true", "database", "1", "", "maybe"] {
        let parameters = [("user", "nobody_d"), ("database", "postgres"), ("replication", value)];
        let refusal = Raw::send(address, &startup(&parameters)).await.refusal().await;
        assert_eq!(
            refusal,
            "28000 pg_hba.conf rejects replication connection for host \"127.0.0.1\", user \"nobody_d\", no encryption"
        );
    }
    let mut raw = Raw::send(address, &startup(&[("user", "nobody_d"), ("replication", "off")])).await;
    assert_eq!(raw.message().await.expect("a question").0, b'R');
}

#[tokio::test]
async fn what_is_no_startup_packet_ends_at_once() {
    let (_relay, address) = relay().await;
    let request = |code: u32| packet(&(1234 << 16 | code).to_be_bytes());
    for (bytes, answer) in [
        // A length that no packet has: the relay does not wait for any of its bytes.
        (&b"\0\0\x27\x15"[..], "closed"),
        (b"\x7f\xff\xff\xff", "closed"),
        (b"\xff\xff\xff\xff", "closed"),
        (b"\0\0\0\0", "closed"),
        (b"\0\0\0\x07", "closed"),
        (b"GET / HTTP/1.1\r\n\r\n", "closed"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "closed"),
        (&packet(b"\0\x02\0\0user\0x_d\0\0"), "0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.2"),
        (&packet(b"\0\x03\0\0user\0x_d\0"), "08P01 invalid startup packet layout: expected terminator as last byte"),
        (
            &packet(b"\0\x03\0\0user\0x_d\0\0user\0postgres\0\0"),
            "08P01 invalid startup packet layout: expected terminator as last byte",
        ),
    ] {
        let start = Instant::now();
        assert_eq!(Raw::send(address, bytes).await.refusal().await, answer, "{bytes:?}");
        assert!(start.elapsed() < Duration::from_millis(1000), "{bytes:?}");
    }
    // Neither kind of encryption is available. Each may be requested once.
    let mut raw = Raw::send(address, &[request(5680), request(5679)].concat()).await;
    let mut answers = [0; 2];
    raw.stream.read_exact(&mut answers).await.expect("two answers");
    assert_eq!(&answers, b"NN");
    raw.stream.write_all(&request(5680)).await.expect("a third request");
    assert_eq!(raw.refusal().await, "closed");
}

#[tokio::test]
async fn log_ins_that_are_begun_and_not_finished_lock_nobody_out() {
    let (_relay, address) = relay().await;
    let role = role("halfopen_d").await;
    let mut held = Vec::new();
    for user in ["halfopen_d", "nobody_d"] {
        for _ in 0..100 {
            held.push(Raw::send(address, &startup(&[("user", user), ("database", "postgres")])).await);
        }
    }
    for _ in 0..3 {
        let mut conn = come(address, &role, "p").await.expect("a session");
        assert_eq!(one(&mut conn, "select 1").await, "1");
    }
    // The server itself has a few of them at most. It lists clients that are logging in only among its processes.
    let mut at_server = 0;
    let mut open = 0;
    for raw in &mut held {
        let mut first = [0];
        let read = tokio::time::timeout(Duration::from_millis(1), raw.stream.read(&mut first)).await;
        match read {
            Ok(Ok(1)) if first == *b"R" => at_server += 1,
            Err(_) => open += 1,
            _ => {}
        }
    }
    println!("{at_server} were asked for a password, {open} wait, of {}", held.len());
    assert!(open <= 20, "{open} connections of one address are open");
    drop(held);
    assert!(come(address, &role, "p").await.is_ok());
}

#[tokio::test]
async fn the_server_has_no_more_log_ins_than_it_was_given() {
    let dir = TempDir::new();
    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    let (_relay, address) = relay_before(cluster.target(), None).await;
    let mut held = Vec::new();
    let mut most = 0;
    for _ in 0..150 {
        held.push(Raw::send(address, &startup(&[("user", "nobody_d")])).await);
        most = most.max(logging_in(cluster.pid()));
    }
    until("they have their places", LONG, || async { logging_in(cluster.pid()) > 0 }).await;
    for _ in 0..20 {
        most = most.max(logging_in(cluster.pid()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!((1..=4).contains(&most), "{most} processes for one address");
    drop(held);
    until("their processes have ended", LONG, || async { logging_in(cluster.pid()) == 0 }).await;
    cluster.stop().await;
}

/// The processes of a server that are logging a client in, recognized by their process titles.
fn logging_in(postmaster: u32) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let title = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        (parent == postmaster).then(|| std::fs::read_to_string(entry.path().join("cmdline")).ok())?
    };
    processes.filter_map(title).filter(|title| title.contains("[local]")).count()
}

#[tokio::test]
async fn those_who_say_nothing_are_closed_and_the_newest_stay() {
    let (_relay, address) = relay().await;
    let role = role("silent_d").await;
    let mut silent = Vec::new();
    for n in 0..60_usize {
        // Up to four bytes.
        silent.push(Raw::send(address, &b"\0\0\0\x40"[..n % 5]).await);
    }
    assert!(come(address, &role, "p").await.is_ok(), "in between");
    let mut closed = 0;
    for raw in &mut silent {
        closed += usize::from(raw.is_closed().await);
    }
    // At least forty of them are closed to make room: they are from one address.
    assert!(closed >= 40, "{closed} of 60 are closed");
    let last = silent.last_mut().expect("sixty");
    let trickle = async {
        // Bytes that arrive from time to time do not extend the time limit.
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if last.stream.write_all(b"\0").await.is_err() || last.is_closed().await {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(4), trickle).await.expect("an end");
    for raw in &mut silent {
        assert!(raw.end().await < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn a_password_that_never_comes_is_not_waited_for() {
    let (_relay, address) = relay().await;
    let start = Instant::now();
    let mut raw = Raw::begin(address, "nobody_d").await;
    raw.end().await;
    assert!(start.elapsed() >= Duration::from_secs(4), "{:?}", start.elapsed());
    // A password message without an end is not read either.
    let mut raw = Raw::begin(address, "nobody_d").await;
    raw.stream.write_all(b"p\x7f\xff\xff\xff").await.expect("a header");
    let flood = async { while raw.stream.write_all(&[b'x'; 4096]).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(3), flood).await.expect("an end of it");
}

#[tokio::test]
async fn with_a_certificate_nobody_comes_in_without_tls() {
    let target = server().await.target();
    let (_relay, address) = relay_before(target.clone(), Some(&certificate())).await;
    let role = role("tls_d").await;
    let come = async |tls: Tls| code(come_to("localhost", address, (&role, "p"), tls).await);
    assert_eq!(come(Tls::Off).await, "28000");
    assert_eq!(come(Tls::Prefer).await, "");
    assert_eq!(come(Tls::Require).await, "");
    assert_eq!(come(Tls::VerifyFull { root: Some(data("ca.pem")) }).await, "");
    assert_eq!(code(come_to("localhost", address, (&role, "wrong"), Tls::Require).await), "28P01");
    assert_eq!(code(come_to("localhost", address, ("postgres", PASSWORD), Tls::Require).await), "28000");
    let (_plain, address) = relay_before(target, None).await;
    assert_eq!(code(come_to("localhost", address, (&role, "p"), Tls::Off).await), "");
    assert!(code(come_to("localhost", address, (&role, "p"), Tls::Require).await).starts_with("TLS"));
}

#[tokio::test]
async fn tls_that_is_asked_for_and_not_begun_is_closed() {
    let (_relay, address) = relay_before(server().await.target(), Some(&certificate())).await;
    let role = role("shy_d").await;
    let request = packet(&(1234_u32 << 16 | 5679).to_be_bytes());
    let mut held = Vec::new();
    for n in 0..60_usize {
        // Up to the middle of a ClientHello.
        let begun = &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..n % 10];
        held.push(Raw::send(address, &[&request[..], begun].concat()).await);
    }
    let come = come_to("localhost", address, (&role, "p"), Tls::Require);
    assert!(come.await.is_ok(), "in between");
    // Plain bytes instead of TLS, sent together with the request, are treated as part of the handshake and refused.
    let stuffed = [&request[..], &startup(&[("user", &role)])].concat();
    let mut raw = Raw::send(address, &stuffed).await;
    let mut answer = Vec::new();
    let _ = raw.stream.read_to_end(&mut answer).await;
    assert_eq!(answer.first(), Some(&b'S'));
    assert!(!answer.contains(&b'R'));
    for raw in &mut held {
        let _ = raw.stream.read_to_end(&mut answer).await;
    }
}

#[tokio::test]
async fn tls_may_begin_without_being_asked_for() {
    let (_relay, address) = relay_before(server().await.target(), Some(&certificate())).await;
    for (protocols, is_taken) in [(&[&b"postgresql"[..]][..], true), (&[b"http/1.1"], false), (&[], false)] {
        let mut roots = rustls::RootCertStore::empty();
        let ca = rustls::pki_types::pem::PemObject::from_pem_file(data("ca.pem")).expect("a certificate");
        roots.add(ca).expect("a root");
        let provider = rustls::crypto::ring::default_provider().into();
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = tokio::net::TcpStream::connect(address).await.expect("a listener");
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let question = async {
            let mut stream = connector.connect("localhost".try_into().expect("a name"), stream).await?;
            stream.write_all(&startup(&[("user", "nobody_d")])).await?;
            stream.read_u8().await
        };
        assert_eq!(question.await.ok(), is_taken.then_some(b'R'), "{protocols:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_said_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listeners = Listeners::bind(&[taken], None).unwrap();
    let twice = Listeners::bind(&[taken], None).err().expect("a refusal");
    assert!(matches!(twice, Error::Io(_)) && twice.to_string().contains(&taken.to_string()), "{twice}");
    drop(listeners);
    let bad = |certificate: &str, key: &str| {
        let path = |name: &str| if name.starts_with('/') { name.into() } else { data(name) };
        let files = Certificate { certificate: path(certificate), key: path(key) };
        Listeners::bind(&[taken], Some(&files)).err().expect("a refusal").to_string()
    };
    assert!(bad("/nowhere/own.crt", "server.key").contains("cannot read /nowhere/own.crt"));
    assert!(bad("server.pem", "/nowhere/own.key").contains("cannot read /nowhere/own.key"));
    assert!(bad("server.key", "server.key").contains("holds no certificate"));
    assert!(bad("server.pem", "ca.pem").contains("cannot read"));
    assert!(bad("server.pem", "self.key").contains("cannot use"));
}

#[tokio::test]
async fn it_listens_on_every_address_that_it_is_given() {
    let v4 = |last: u8| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let listeners = Listeners::bind(&[v4(1), v4(2), v6], None).unwrap();
    let addresses = listeners.addresses();
    let _relay = Relay::start(listeners, limits(server().await.target())).unwrap();
    let role = role("several_d").await;
    for (host, address) in ["127.0.0.1", "127.0.0.2", "::1"].into_iter().zip(&addresses) {
        assert!(come_to(host, *address, (&role, "p"), Tls::Off).await.is_ok(), "{address}");
    }
    let both = Listeners::bind(&["0.0.0.0:0".parse().unwrap()], None).unwrap();
    let port = both.addresses()[0].port();
    Listeners::bind(&[(Ipv6Addr::UNSPECIFIED, port).into()], None).expect("it is another address");
}

#[tokio::test]
async fn a_crowd_from_one_address_leaves_the_places_of_others() {
    let listeners = Listeners::bind(&["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()], None).unwrap();
    let addresses = listeners.addresses();
    let mut limits = limits(server().await.target());
    // They keep their places, but these are not all places.
    (limits.pending.grace, limits.login_limit) = (Duration::from_secs(3600), Duration::from_secs(3600));
    let _relay = Relay::start(listeners, limits).unwrap();
    let role = role("other_d").await;
    let mut held = Vec::new();
    for _ in 0..30 {
        held.push(Raw::send(addresses[0], &startup(&[("user", "nobody_d")])).await);
    }
    for _ in 0..3 {
        come_to("::1", addresses[1], (&role, "p"), Tls::Off).await.expect("a session");
    }
}

#[tokio::test]
async fn sessions_are_counted_when_the_password_was_right() {
    let (_relay, address) = relay().await;
    let (one_d, two_d, other) = (role("counted_one_d").await, role("counted_two_d").await, role("fair_d").await);
    let mut open = Vec::new();
    for user in [&one_d, &two_d, &one_d, &two_d] {
        open.push(come(address, user, "p").await.expect("a session"));
    }
    // The limit is four for the group and six in total.
    assert_eq!(code(come(address, &one_d, "p").await), "53300");
    assert_eq!(code(come(address, &one_d, "wrong").await), "28P01");
    let mut others = vec![come(address, &other, "p").await.expect("a place of another group's")];
    others.push(come(address, &other, "p").await.expect("another one"));
    assert_eq!(code(come(address, &other, "p").await), "53300");
    // A refused session has no process. A session that ends frees its place.
    until("the refused are gone", LONG, || async { sessions_of("fair_d").await == "2" }).await;
    drop((open.pop(), others));
    until("there is room", LONG, || async { come(address, &one_d, "p").await.is_ok() }).await;
}

#[tokio::test]
async fn a_place_is_taken_until_the_servers_process_has_ended() {
    let (_relay, address) = relay().await;
    let role = role("busy_d").await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::log_in(address, &role, "p").await;
        raw.ask("do $$ begin for i in 1..100000000 loop perform pg_sleep(0.001); end loop; end $$").await;
        open.push(raw);
    }
    until("all are busy", LONG, || async { sessions_of("busy_d").await == "4" }).await;
    drop(open);
    let was_refused = Cell::new(false);
    until("their processes end", LONG, || async {
        let here = sessions_of("busy_d").await;
        let came = come(address, &role, "p").await;
        was_refused.set(was_refused.get() || came.is_err() && here == "4");
        came.is_ok()
    })
    .await;
    assert!(was_refused.get(), "there were four, and nobody had a fifth");
}

#[tokio::test]
async fn a_request_to_cancel_reaches_sessions_that_came_in_here_and_no_others() {
    let (_relay, address) = relay().await;
    let (_second, elsewhere) = relay().await;
    let role = role("cancel_d").await;
    let sleep = "select pg_sleep(20)";
    let cancel = |raw: &Raw| packet(&[&(1234_u32 << 16 | 5678).to_be_bytes()[..], &raw.key].concat());
    let mut raw = Raw::log_in(address, &role, "p").await;
    raw.ask(sleep).await;
    // A session of another relay has a valid key, but this relay does not accept it.
    let mut other = Raw::log_in(elsewhere, &role, "p").await;
    other.ask(sleep).await;
    until("both sleep", LONG, || async { sleeping("cancel_d").await == "2" }).await;
    assert_eq!(Raw::send(address, &cancel(&other)).await.refusal().await, "closed");
    let mut wrong = cancel(&raw);
    *wrong.last_mut().expect("a key") ^= 1;
    assert_eq!(Raw::send(address, &wrong).await.refusal().await, "closed");
    assert_eq!(sleeping("cancel_d").await, "2", "both still sleep");
    assert_eq!(Raw::send(address, &cancel(&raw)).await.refusal().await, "closed");
    let (tag, error) = loop {
        match raw.message().await.expect("an answer") {
            (b'T', _) => {}
            other => break other,
        }
    };
    assert_eq!(tag, b'E');
    assert!(String::from_utf8_lossy(&error).contains("57014"));
    assert_eq!(sleeping("cancel_d").await, "1");
    // A key is removed with its session.
    let gone = cancel(&raw);
    drop(raw);
    until("it is gone", LONG, || async { sessions_of("cancel_d").await == "1" }).await;
    assert_eq!(Raw::send(address, &gone).await.refusal().await, "closed");
}

#[tokio::test]
async fn a_session_passes_everything_on() {
    let target = server().await.target();
    let role = role("bulk_d").await;
    for certificate in [None, Some(certificate())] {
        let (_relay, address) = relay_before(target.clone(), certificate.as_ref()).await;
        let tls = if certificate.is_some() { Tls::Require } else { Tls::Off };
        let mut conn = come_to("localhost", address, (&role, "p"), tls).await.expect("a session");
        let text = "0123456789abcdef".repeat(1 << 18);
        let params = [Some(&*text)];
        let rows = conn.query("select $1::text || $1::text as twice, md5($1) as sum", &params).await.expect("a row");
        assert!(rows.text(0, 0) == Some(&text.repeat(2)));
        let sum = rows.text(0, 1).map(str::to_owned);
        assert_eq!(one(&mut conn, &format!("select md5(repeat('0123456789abcdef', {}))", 1 << 18)).await, sum.unwrap());
    }
}

#[tokio::test]
async fn a_client_that_has_said_its_last_still_hears_the_answer() {
    let (_relay, address) = relay().await;
    let role = role("last_d").await;
    let mut raw = Raw::log_in(address, &role, "p").await;
    raw.ask("select 'the answer'").await;
    raw.stream.shutdown().await.expect("half an end");
    let mut answer = Vec::new();
    raw.stream.read_to_end(&mut answer).await.expect("the rest");
    assert!(String::from_utf8_lossy(&answer).contains("the answer"));
    // The session of a client that reads nothing can be ended.
    let mut raw = Raw::log_in(address, &role, "p").await;
    raw.ask("select repeat('x', 1000) from generate_series(1, 200000)").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let end = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'last_d'";
    assert_eq!(one(&mut server().await.admin().await, end).await, "t");
}

#[tokio::test]
async fn while_the_server_is_started_again_clients_are_told_so() {
    let dir = TempDir::new();
    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    let make = "set synchronous_commit = on; create role w_d login password 'p'";
    admin(&cluster.target()).await.script(make).await.unwrap();
    let (mut relay, address) = relay_before(cluster.target(), None).await;
    let mut session = Raw::log_in(address, "w_d", "p").await;
    let pid = || Pid::from_raw(i32::try_from(cluster.pid()).unwrap());
    let before = pid().expect("a postmaster");
    kill_process(before, Signal::KILL).unwrap();
    let refusals = RefCell::new(Vec::new());
    until("it takes log-ins again", LONG, || async {
        match come(address, "w_d", "p").await {
            Ok(_) => pid().is_some_and(|pid| pid != before),
            Err(refusal) => {
                refusals.borrow_mut().push(refusal);
                false
            }
        }
    })
    .await;
    let mut refusals = refusals.into_inner();
    refusals.dedup();
    println!("told meanwhile: {refusals:?}");
    assert_eq!(refusals, ["57P03"]);
    // With an error message or without: the restart ends the sessions of the previous run.
    let end = session.refusal().await;
    assert!(["57P01 terminating connection due to unexpected postmaster exit", "closed"].contains(&&*end), "{end}");

    // When the relay and the server stop: sessions and connections that have not logged in are told, and the port is closed.
    let mut session = Raw::log_in(address, "w_d", "p").await;
    let mut half = Raw::begin(address, "w_d").await;
    relay.close().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert_eq!(half.refusal().await, "57P03 the database system is shutting down");
    session.ask("select 1").await;
    assert_eq!(session.message().await.expect("it goes on").0, b'T');
    cluster.stop().await;
    assert_eq!(session.refusal().await, "57P01 terminating connection due to administrator command");
    tokio::time::timeout(Duration::from_secs(5), relay.closed()).await.expect("all have ended");
}
