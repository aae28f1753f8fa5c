//! The real binary: killed, stopped, started twice, restarted, and its memory use.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::automations::{create, rule, runs};
use crate::support::{Child, TempDir, agent, config_of_another, home, postmaster};

const KITH: &str = env!("CARGO_BIN_EXE_kith");
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// The limit for a debug build, in kB: about 40 MB when idle, 97 MB with a result of the maximum size in its several forms
/// (rows, answer, data being sent), 116 to 139 MB on a busy machine. The smallest result that is asked for and not kept has 200 MB.
const MOST_MEMORY_KB: u64 = 190 * 1024;

#[tokio::test]
async fn every_acknowledged_row_survives_a_kill() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let (agent, other) = (child.agent().await, child.agent().await);
    let killed = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (agent, killed) = (if writer % 2 == 0 { agent.clone() } else { other.clone() }, killed.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    let email = format!("w{writer}n{number}@b.example");
                    let made =
                        agent.try_send(Method::POST, "/v1/contacts", JSON, json!({"email": email}).to_string()).await;
                    match made {
                        Ok(reply) => {
                            acknowledged.push(json!(reply.status(201).id()));
                            // Its statement and its feed entry are one transaction.
                            assert!(number < 100_000);
                        }
                        Err(why) => {
                            assert!(killed.load(Ordering::SeqCst), "{why}");
                            return acknowledged;
                        }
                    }
                }
                acknowledged
            })
        })
        .collect();
    // Enough requests are running for the kill to interrupt some.
    while agent.get("/v1/contacts?limit=200").await.status(200).at("/_meta/has_more") == false {}
    killed.store(true, Ordering::SeqCst);
    child.kill();
    let mut acknowledged = [Vec::new(), Vec::new()];
    for (writer, made) in writers.into_iter().enumerate() {
        acknowledged[writer % 2].extend(made.await.expect("a writer"));
    }
    assert!(acknowledged[0].len() + acknowledged[1].len() > 200);

    let child = Child::serve(&dir);
    for (agent, acknowledged) in [agent, other].iter().map(|agent| agent.at(&child.base)).zip(acknowledged) {
        let sql = "select coalesce(jsonb_agg(c.id), '[]') as v from contacts c";
        let kept = agent.sql(sql).await.status(200).v();
        let kept = kept.as_array().unwrap();
        let lost: Vec<&Value> = acknowledged.iter().filter(|id| !kept.contains(id)).collect();
        assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
        let sql =
            "select count(*) as v from contacts c where not exists (select from activity a where a.subject_id = c.id)";
        assert_eq!(agent.sql(sql).await.status(200).v(), 0, "every row has its entry in the feed");
        agent.post("/v1/contacts", json!({"email": "after@b.example"})).await.status(201);
    }
}

#[tokio::test]
async fn a_killed_postgres_is_started_again() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let agent = child.agent().await;
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    let killed = postmaster(&dir).expect("a server");
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).expect("its end");
    let start = Instant::now();
    // Its backends continue for a moment. They have ended when another server runs in their place.
    let is_another = || postmaster(&dir).is_some_and(|server| server != killed);
    while !is_another()
        || child.stranger().get("/readyz").await.code != 200
        || agent.get("/v1/contacts").await.code != 200
    {
        assert!(start.elapsed() < Duration::from_secs(30), "{}", child.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(agent.get("/v1/contacts").await.status(200).column("email"), ["a@b.example"]);
    agent.post("/v1/contacts", json!({})).await.status(201);
}

#[tokio::test]
async fn sigterm_lets_requests_finish_and_stops_the_database() {
    let dir = TempDir::new();
    let mut child = Child::serve(&dir);
    let agent = child.agent().await;
    let database = agent.sql("select current_database() as v").await.status(200).v();
    let database = database.as_str().expect("a name").to_owned();
    let slow = tokio::spawn({
        let agent = agent.clone();
        async move {
            agent.sql("insert into contacts (email) values ('late@b.example'); select pg_sleep(1.5), 1 as v").await
        }
    });
    // It is running when the workspace's backend shows it as its query.
    let sleeping =
        || fs::read_dir("/proc").is_ok_and(|all| all.flatten().any(|process| is_at_select(&process.path(), &database)));
    let start = Instant::now();
    while !sleeping() {
        assert!(start.elapsed() < Duration::from_secs(10), "no statement runs");
        tokio::task::yield_now().await;
    }
    let server = postmaster(&dir).expect("a server");
    child.terminate();
    let reply = slow.await.expect("an answer").status(200);
    assert_eq!(reply.v(), 1);
    assert!(child.wait().success(), "{}", child.log());
    assert!(agent.try_send(Method::GET, "/healthz", &[], "").await.is_err(), "nobody listens any more");
    assert!(rustix::process::test_kill_process(server).is_err(), "PostgreSQL has ended too");
    assert!(!dir.path.join("pg/postmaster.pid").exists());

    let doctor = Child::run(&dir, "doctor", &[]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned() + &String::from_utf8_lossy(&doctor.stderr);
    assert!(doctor.status.success() && said.contains("ok") && !said.contains("LACK"), "{said}");
    assert!(said.contains("PostgreSQL") && said.contains("extension vector"), "{said}");
    for queue in ["deliveries of webhooks", "e-mails of workspaces", "runs of automations", "letters to people"] {
        assert!(said.contains(&format!("{queue}: 0 are due")), "{said}");
    }

    // A start on an existing data directory.
    let child = Child::serve(&dir);
    child.stranger().get("/readyz").await.status(200);
    assert_eq!(agent.at(&child.base).get("/v1/contacts").await.status(200).column("email"), ["late@b.example"]);
}

#[tokio::test]
async fn doctor_warns_of_a_queue_that_is_stuck() {
    let agent = agent().await;
    let id =
        rule(&agent, "contact.created", json!([]), json!([{"type": "create_activity", "activity_type": "note"}])).await;
    create(&agent, "/v1/contacts", json!({"email": "a@b.example"})).await;
    create(&agent, "/v1/contacts", json!({"email": "b@b.example"})).await;
    runs(&agent, &id, 2).await;
    // Runs of a rule are done in their order. The first one waits for an hour, so nobody takes the second one, which is late.
    let stuck = "UPDATE automation_runs AS r SET status = 'pending',
                     next_attempt_at = now() + CASE r.place WHEN o.first THEN interval '1 hour' ELSE interval '-25 minutes' END
                 FROM (SELECT min(place) AS first FROM automation_runs WHERE automation_id = $1) AS o WHERE r.automation_id = $1";
    home().control(stuck, &[&id]).await;
    let (config, dir) = (config_of_another(), TempDir::new());
    let mut command = Child::bare(Path::new(KITH), "doctor");
    command.arg("--data-dir").arg(&dir.path).arg("--database-url").arg(config.database_url.expect("an address"));
    let doctor = command.env("KITH_SECRET_KEY", config.secret_key.expect("a key")).output().expect("the binary");
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let line = said.lines().find(|line| line.contains("runs of automations: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.starts_with("WARN runs of automations: "), "{line}");
    assert!(line.contains("are due, the oldest for 25 minutes: is `kith serve` running?"), "{line}");
    // A warning is no failure.
    assert!(doctor.status.success(), "{said}{}", String::from_utf8_lossy(&doctor.stderr));
    agent.delete(&format!("/v1/automations/{id}")).await.status(200);
}

#[tokio::test]
async fn a_second_start_on_a_data_dir_says_so_in_one_line() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let agent = child.agent().await;
    for command in ["serve", "doctor"] {
        let arguments: &[&str] = if command == "serve" { &["--listen", "127.0.0.1:0"] } else { &[] };
        let second = Child::run(&dir, command, arguments);
        assert!(!second.status.success());
        let said = String::from_utf8_lossy(&second.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("kith: ")).collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(lines[0].contains(&*dir.path.to_string_lossy()) || lines[0].contains("in use"), "{said}");
        assert_eq!(second.stdout, b"", "{command}");
    }
    agent.get("/v1/contacts").await.status(200);
}

#[tokio::test]
async fn memory_stays_flat_whatever_is_asked() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let agent = child.agent().await;
    for sql in [
        "select g from generate_series(1, 10000000) g",
        "select generate_series(1, 10000000), repeat('x', 1000)",
        "select repeat('x', 200 * 1024 * 1024)",
        "select repeat('x', 9 * 1024 * 1024) from generate_series(1, 50)",
        "select array_agg(g) from generate_series(1, 2000000) g",
    ] {
        for _ in 0..2 {
            let reply = agent.sql(sql).await;
            assert!(matches!(reply.code, 200 | 413), "{}", reply.story());
        }
        let (most, now) = (child.memory_kb("VmHWM"), child.memory_kb("VmRSS"));
        assert!(most < MOST_MEMORY_KB, "{most} kB, now {now} kB, after {sql}");
    }
    for _ in 0..3 {
        agent
            .send_json(Method::POST, "/v1/contacts", vec![b'x'; 11 * 1024 * 1024])
            .await
            .fault(413, "payload_too_large");
    }
    let most = child.memory_kb("VmHWM");
    println!("at most {most} kB");
    assert!(most < MOST_MEMORY_KB, "{most} kB");
}

#[test]
fn help_and_version_are_there() {
    let dir = TempDir::new();
    let help = Child::run(&dir, "serve", &["--help"]);
    let said = String::from_utf8_lossy(&help.stdout).into_owned();
    for flag in
        ["--listen", "--data-dir", "--database-url", "--public-url", "--rate-limit", "KITH_LISTEN", "127.0.0.1:8484"]
    {
        assert!(said.contains(flag), "no {flag}\n{said}");
    }
    let given =
        Child::run(&dir, "serve", &["--listen", "127.0.0.1:0", "--database-url", "postgres://nobody@127.0.0.1:1/none"]);
    let said = String::from_utf8_lossy(&given.stderr).into_owned();
    assert!(!given.status.success() && said.contains("KITH_SECRET_KEY"), "{said}");
}

#[test]
fn the_data_dir_does_not_depend_on_the_current_directory() {
    let home = TempDir::new();
    let home = home.path.display();
    let is_root = rustix::process::geteuid().is_root();
    for (data_home, plain) in [("", format!("{home}/.local/share/kith")), ("/srv/x", "/srv/x/kith".to_owned())] {
        let expected = if is_root { "/var/lib/kith".to_owned() } else { plain };
        for command in ["serve", "doctor", "plan"] {
            let mut help = Child::bare(Path::new(KITH), command);
            help.arg("--help").env("HOME", home.to_string()).env("XDG_DATA_HOME", data_home).current_dir("/usr");
            let said = String::from_utf8_lossy(&help.output().expect("the binary").stdout).into_owned();
            assert!(said.contains(&format!("[default: {expected}]")), "{command}: no {expected}\n{said}");
        }
    }
}

#[tokio::test]
async fn an_empty_home_is_all_that_a_plain_user_needs() {
    let (program, home) = (TempDir::new(), TempDir::new());
    // The build directory may be in root's home, which the plain user can't enter.
    let kith = program.path.join("kith");
    fs::copy(KITH, &kith).expect("a copy");
    let user = plain_user();
    std::os::unix::fs::chown(&home.path, Some(user), Some(user)).expect("a home");
    for (variable, data_dir) in [(None, ".local/share/kith"), (Some(home.path.join("data")), "data/kith")] {
        let mut command = Child::bare(&kith, "serve");
        command.env("HOME", &home.path).env_remove("XDG_DATA_HOME").current_dir("/usr");
        command.envs(variable.iter().map(|path| ("XDG_DATA_HOME", path)));
        if user != rustix::process::geteuid().as_raw() {
            command.uid(user).gid(user);
        }
        let mut child = Child::start(command, home.path.with_extension(data_dir.replace('/', "-")));
        child.agent().await.post("/v1/contacts", json!({})).await.status(201);
        let data_dir = home.path.join(data_dir);
        let log = child.log();
        let first = log.lines().next().unwrap_or_default();
        assert!(first.contains(&format!("data_dir={}", data_dir.display())), "{log}");
        assert_eq!(fs::metadata(data_dir.join("pg")).expect("the server's files").uid(), user);
        let mode = fs::metadata(&data_dir).expect("the data dir").mode() & 0o777;
        assert_eq!(mode, 0o700, "it is this user's alone");
        child.terminate();
        assert!(child.wait().success(), "{}", child.log());
    }
}

/// The current user. For root, another one that has a name.
fn plain_user() -> u32 {
    let me = rustix::process::geteuid();
    let users = fs::read_to_string("/etc/passwd").expect("the users");
    let mut uids = users.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok());
    if me.is_root() { uids.find(|uid| *uid != 0).expect("a plain user") } else { me.as_raw() }
}

/// Whether a process is a backend of this database that runs a SELECT.
fn is_at_select(process: &Path, database: &str) -> bool {
    let title = fs::read(process.join("cmdline")).unwrap_or_default();
    let title = String::from_utf8_lossy(&title);
    title.starts_with("postgres:") && title.contains(database) && title.contains("SELECT")
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_the_checkpoint() {
    let dir = TempDir::new();
    let mut child = Child::serve(&dir);
    let agent = child.agent().await;
    agent.post("/v1/contacts", json!({"email": "a@b.example"})).await.status(201);
    let server = postmaster(&dir).expect("a server").as_raw_pid();
    let is_checkpointer = |pid: &rustix::process::Pid| {
        let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_pid())).unwrap_or_default();
        read("stat").contains(&format!(") S {server} ")) && read("cmdline").contains("checkpointer")
    };
    let pids = || {
        let names = fs::read_dir("/proc").expect("processes").flatten();
        names.filter_map(|name| rustix::process::Pid::from_raw(name.file_name().to_str()?.parse().ok()?))
    };
    // A disk that does not answer.
    let checkpointer = pids().find(is_checkpointer).expect("a checkpointer");
    rustix::process::kill_process(checkpointer, rustix::process::Signal::STOP).expect("a stop");
    child.terminate();
    let start = Instant::now();
    while !child.log().contains("a second signal stops it at once") {
        assert!(start.elapsed() < Duration::from_secs(30), "{}", child.log());
        tokio::task::yield_now().await;
    }
    child.terminate();
    assert!(child.wait().success(), "{}", child.log());
    assert!(start.elapsed() < Duration::from_secs(25), "{}", child.log());
    let child = Child::serve(&dir);
    assert_eq!(agent.at(&child.base).get("/v1/contacts").await.status(200).column("email"), ["a@b.example"]);
}
