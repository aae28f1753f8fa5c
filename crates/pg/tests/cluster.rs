//! The embedded server from an operator's point of view: first and second start, stops, crashes, other users.

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use pg::cluster::{Binaries, Cluster};
use pg::conn::Login;
use pg::{Conn, Error, Host};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use support::{PASSWORD, TempDir, admin, one, options, until};

const LONG: Duration = Duration::from_secs(40);

fn pid_of(cluster: &Cluster) -> Pid {
    Pid::from_raw(i32::try_from(cluster.pid()).unwrap()).expect("a running postmaster")
}

async fn until_gone(pid: Pid) {
    until("the postmaster has gone", LONG, || async { test_kill_process(pid).is_err() }).await;
}

#[tokio::test]
async fn a_first_start_makes_a_durable_server_and_a_second_one_is_quick() {
    let dir = TempDir::new();
    let mut options = options(&dir.path);
    options.settings.clear();
    let start = Instant::now();
    let cluster = Cluster::start(options.clone()).await.unwrap();
    let first = start.elapsed();
    let mut conn = admin(&cluster.target()).await;
    for (setting, value) in [
        ("data_checksums", "on"),
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("server_encoding", "UTF8"),
        ("listen_addresses", ""),
        ("unix_socket_permissions", "0700"),
        ("max_locks_per_transaction", "1024"),
        ("password_encryption", "scram-sha-256"),
        ("timezone", "UTC"),
        ("jit", "off"),
    ] {
        assert_eq!(one(&mut conn, &format!("show {setting}")).await, value, "{setting}");
    }
    conn.query("create table kept (n integer)", &[]).await.unwrap();
    drop(conn);
    cluster.stop().await;
    let files = cluster.data_dir().join("pg");
    assert!(!files.join("postmaster.pid").exists(), "it was shut down cleanly");
    let left: Vec<PathBuf> = fs::read_dir(&dir.path).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!left.iter().any(|path| path.to_string_lossy().contains("pg.new")), "{left:?}");

    let start = Instant::now();
    let cluster = Cluster::start(options).await.unwrap();
    let again = start.elapsed();
    eprintln!("first start {first:?}, second {again:?}");
    assert!(again < Duration::from_secs(5));
    assert_eq!(one(&mut admin(&cluster.target()).await, "select count(*) from kept").await, "0");
    cluster.stop().await;
}

#[tokio::test]
async fn a_second_server_in_the_same_place_is_refused_in_one_line() {
    let dir = TempDir::new();
    let first = Cluster::start(options(&dir.path)).await.unwrap();
    let error = Cluster::start(options(&dir.path)).await.err().unwrap().to_string();
    assert!(error.contains("in use by another kith"), "{error}");
    assert!(error.contains(&*dir.path.to_string_lossy()) && error.lines().count() == 1, "{error}");
    first.stop().await;
    Cluster::start(options(&dir.path)).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_killed_postmaster_is_started_again_and_nothing_is_lost() {
    let dir = TempDir::new();
    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    let mut conn = admin(&cluster.target()).await;
    conn.script("set synchronous_commit = on; create table kept as select generate_series(1, 1000) n").await.unwrap();
    // A backend that does not check for signals while it works, and would hold the dead server's shared memory forever.
    let mut busy = admin(&cluster.target()).await;
    let backend = busy.pid();
    tokio::spawn(async move { busy.query("do $$ begin loop end loop; end $$", &[]).await });
    let running = format!("select count(*) from pg_stat_activity where pid = {backend} and state = 'active'");
    while one(&mut conn, &running).await != "1" {}

    let before = pid_of(&cluster);
    let start = Instant::now();
    kill_process(before, Signal::KILL).unwrap();
    until("another postmaster runs", LONG, || async { cluster.pid() != 0 && pid_of(&cluster) != before }).await;
    let login = Login { user: "postgres", password: PASSWORD, database: "postgres", settings: &[] };
    let target = cluster.target();
    until("it takes connections", LONG, || async { Conn::open(&target, &login).await.is_ok() }).await;
    eprintln!("back after {:?}", start.elapsed());
    assert_eq!(one(&mut admin(&target).await, "select count(*) from kept").await, "1000");
    cluster.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_run_says_why() {
    let dir = TempDir::new();
    let mut bad = options(&dir.path);
    bad.settings.push(("work_mem".into(), "a lot".into()));
    let error = Cluster::start(bad).await.err().unwrap().to_string();
    assert!(error.contains("work_mem"), "{error}");

    let control = dir.path.join("pg/global/pg_control");
    let aside = dir.path.join("aside");
    fs::rename(&control, &aside).unwrap();
    let error = Cluster::start(options(&dir.path)).await.err().unwrap().to_string();
    assert!(error.contains("could not find the database system"), "{error}");
    fs::rename(&aside, &control).unwrap();
}

#[tokio::test]
async fn it_listens_on_its_socket_only_and_keeps_no_certificate_of_an_earlier_version() {
    let dir = TempDir::new();
    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    let files = cluster.data_dir().join("pg");
    cluster.stop().await;
    let owner = fs::metadata(&files).unwrap();
    for name in ["kith.crt", "kith.key"] {
        fs::write(files.join(name), "of an earlier version").unwrap();
        std::os::unix::fs::chown(files.join(name), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let mut options = options(&dir.path);
    options.settings.push(("listen_addresses".into(), "*".into()));
    let cluster = Cluster::start(options).await.unwrap();
    let mut conn = admin(&cluster.target()).await;
    for (setting, value) in [("listen_addresses", ""), ("ssl", "off"), ("port", "5432")] {
        assert_eq!(one(&mut conn, &format!("show {setting}")).await, value, "{setting}");
    }
    let rules = "select string_agg(type || ' ' || auth_method, ', ' order by rule_number) from pg_hba_file_rules";
    assert_eq!(one(&mut conn, rules).await, "local reject, local scram-sha-256, host reject");
    assert!(!files.join("kith.crt").exists() && !files.join("kith.key").exists());
    cluster.stop().await;
}

#[tokio::test]
async fn a_session_that_takes_too_much_memory_fails_alone() {
    let dir = TempDir::new();
    let mut options = options(&dir.path);
    options.memory_limit_bytes = Some(1 << 30);
    let cluster = Cluster::start(options).await.unwrap();
    let mut conn = admin(&cluster.target()).await;
    let greedy = conn.query("select length(repeat('x', 1000000000) || 'y')", &[]).await;
    assert_eq!(greedy.err().and_then(|error| error.code().map(str::to_owned)), Some("53200".into()));
    assert_eq!(one(&mut conn, "select 1").await, "1", "the session lives on");
    cluster.stop().await;
}

#[tokio::test]
async fn an_initdb_that_was_cut_short_is_made_anew() {
    let dir = TempDir::new();
    fs::create_dir(dir.path.join("pg.new")).unwrap();
    fs::write(dir.path.join("pg.new/PG_VERSION"), "18\n").unwrap();
    fs::write(dir.path.join("pg.new.password"), "x").unwrap();
    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    assert!(!dir.path.join("pg.new").exists() && !dir.path.join("pg.new.password").exists());
    cluster.stop().await;
}

#[tokio::test]
async fn a_long_path_gets_its_socket_elsewhere() {
    let dir = TempDir::new();
    let cluster = Cluster::start(options(&dir.path.join("a ,\"long".repeat(15)))).await.unwrap();
    admin(&cluster.target()).await;
    let Host::Unix(socket_dir) = cluster.target().host else { panic!("a socket") };
    assert!(!socket_dir.starts_with(&dir.path));
    cluster.stop().await;
    fs::remove_dir_all(socket_dir).unwrap();
}

#[tokio::test]
async fn a_postmaster_that_was_left_behind_is_stopped_first() {
    let dir = TempDir::new();
    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    cluster.stop().await;
    // As an operator would start it by hand, or an earlier Kith without support by the kernel.
    let files = dir.path.join("pg");
    let owner = fs::metadata(&files).unwrap();
    let binaries = Binaries::find(&dir.path).unwrap();
    let mut command = Command::new(binaries.bin.join("postgres"));
    command.arg("-D").arg(&files).args(["-c", "listen_addresses=", "-c"]);
    command.arg(format!("unix_socket_directories={}", dir.path.join("run").display()));
    if let Some(lib) = &binaries.lib {
        command.env("LD_LIBRARY_PATH", lib);
    }
    if owner.uid() != rustix::process::getuid().as_raw() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut orphan = command.stderr(Stdio::null()).spawn().unwrap();
    let pid_file = files.join("postmaster.pid");
    let ready = || async { fs::read_to_string(&pid_file).is_ok_and(|text| text.contains("ready")) };
    until("the other one runs", LONG, ready).await;

    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    assert!(orphan.wait().unwrap().success(), "it was shut down, not killed");
    admin(&cluster.target()).await;
    cluster.stop().await;
}

/// A Kith that is killed: this test binary, run again for one test that never ends.
struct Victim {
    process: std::process::Child,
    postmaster: Pid,
}

impl Victim {
    /// `None` if this program cannot be run as `uid`.
    fn start(dir: &Path, uid: Option<u32>) -> Option<Victim> {
        Victim::start_with(dir, uid, &[])
    }

    fn start_with(dir: &Path, uid: Option<u32>, variables: &[(&str, &str)]) -> Option<Victim> {
        let mut command = Command::new(env::current_exe().unwrap());
        command.envs(variables.iter().copied());
        command.args(["--exact", "serve_until_killed", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env("KITH_TEST_SERVE", dir).stdout(Stdio::piped()).stdin(Stdio::null());
        if let Some(uid) = uid {
            command.uid(uid).gid(uid).current_dir("/");
        }
        let mut process = command.spawn().ok()?;
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("postmaster=")?.1.to_owned()));
        let pid = line.expect("it starts").trim().parse().unwrap();
        Some(Victim { process, postmaster: Pid::from_raw(pid).unwrap() })
    }
}

#[tokio::test]
#[ignore = "run by the other tests, in a process that they kill"]
async fn serve_until_killed() {
    let Some(dir) = env::var_os("KITH_TEST_SERVE") else {
        return;
    };
    let cluster = Cluster::start(options(Path::new(&dir))).await.unwrap();
    let mut conn = admin(&cluster.target()).await;
    conn.script("set synchronous_commit = on; create table if not exists kept as select 1 n").await.unwrap();
    println!("\npostmaster={}", cluster.pid());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_kith_takes_its_server_along_and_the_next_one_goes_on() {
    let dir = TempDir::new();
    let mut victim = Victim::start(&dir.path, None).unwrap();
    assert!(test_kill_process(victim.postmaster).is_ok());
    victim.process.kill().unwrap();
    victim.process.wait().unwrap();
    // Immediately: the old server may still be ending.
    let start = Instant::now();
    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    eprintln!("went on after {:?}", start.elapsed());
    until_gone(victim.postmaster).await;
    assert_eq!(one(&mut admin(&cluster.target()).await, "select count(*) from kept").await, "1");
    cluster.stop().await;
}

#[tokio::test]
async fn a_killed_kith_leaves_no_server_behind() {
    let dir = TempDir::new();
    let mut victim = Victim::start(&dir.path, None).unwrap();
    victim.process.kill().unwrap();
    victim.process.wait().unwrap();
    until_gone(victim.postmaster).await;
    assert!(!dir.path.join("pg/postmaster.pid").exists(), "it was shut down cleanly");
}

/// A user with a name that is neither root nor `other`. initdb requires the name.
fn somebody(other: u32) -> u32 {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let uids = users.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok());
    uids.into_iter().find(|uid| ![0, other].contains(uid)).expect("a plain user")
}

#[tokio::test]
async fn it_runs_for_root_and_for_a_plain_user() {
    if !rustix::process::geteuid().is_root() {
        // Then all other tests run as a plain user.
        return;
    }
    let dir = TempDir::new();
    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    let owner = fs::metadata(dir.path.join("pg")).unwrap();
    assert_ne!(owner.uid(), 0);
    assert_eq!(fs::metadata(format!("/proc/{}", cluster.pid())).unwrap().uid(), owner.uid());
    assert_eq!(fs::metadata(&dir.path).unwrap().uid(), 0, "the data directory itself stays Kith's");
    assert_ne!(owner.uid(), NOBODY, "no other service runs as the server's user");
    let users = fs::read_to_string("/etc/passwd").unwrap();
    assert!(users.lines().any(|line| line.starts_with(&format!("kith:x:{}:{}:", owner.uid(), owner.gid()))), "{users}");
    cluster.stop().await;

    let uid = somebody(owner.uid());
    let plain = TempDir::new();
    std::os::unix::fs::chown(&plain.path, Some(uid), Some(uid)).unwrap();
    let Some(mut victim) = Victim::start(&plain.path, Some(uid)) else {
        eprintln!("skipped: a plain user cannot run {:?}", env::current_exe());
        return;
    };
    assert_eq!(fs::metadata(plain.path.join("pg")).unwrap().uid(), uid);
    victim.process.kill().unwrap();
    victim.process.wait().unwrap();
    // Root continues with it under the same owner.
    let cluster = Cluster::start(options(&plain.path)).await.unwrap();
    assert_eq!(one(&mut admin(&cluster.target()).await, "select count(*) from kept").await, "1");
    assert_eq!(fs::metadata(plain.path.join("pg")).unwrap().uid(), uid);
    cluster.stop().await;
}

#[tokio::test]
async fn a_place_that_the_server_cannot_reach_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = TempDir::new();
    let closed = dir.path.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut options = options(&dir.path);
    options.data_dir = closed.join("data");
    let Err(Error::Config(error)) = Cluster::start(options).await else { panic!("it cannot start there") };
    assert!(error.contains("is closed to it") && error.contains(&*closed.to_string_lossy()), "{error}");
}

/// The user that earlier versions of Kith, run as root, used for PostgreSQL.
const NOBODY: u32 = 65534;

/// The server's files as such a version left them.
fn give_to_nobody(dir: &Path) {
    for name in ["pg", "run"] {
        let owner = format!("{NOBODY}:{NOBODY}");
        assert!(Command::new("chown").args(["-Rh", &owner]).arg(dir.join(name)).status().unwrap().success());
    }
}

fn owner(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}

#[tokio::test]
async fn nobodys_data_goes_to_a_user_of_its_own() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = TempDir::new();
    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    let user = owner(dir.path.join("pg"));
    admin(&cluster.target())
        .await
        .script("set synchronous_commit = on; create table kept as select 1 n")
        .await
        .unwrap();
    cluster.stop().await;
    give_to_nobody(&dir.path);
    // Files that another service that runs as nobody may have placed there.
    let outside = TempDir::new();
    fs::write(outside.path.join("file"), "root's").unwrap();
    let (to_file, to_dir) = (dir.path.join("pg/base/file"), dir.path.join("pg/base/dir"));
    std::os::unix::fs::symlink(outside.path.join("file"), &to_file).unwrap();
    std::os::unix::fs::symlink(&outside.path, &to_dir).unwrap();
    for link in [&to_file, &to_dir] {
        std::os::unix::fs::lchown(link, Some(NOBODY), Some(NOBODY)).unwrap();
    }

    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    assert_eq!(one(&mut admin(&cluster.target()).await, "select count(*) from kept").await, "1");
    assert_eq!(fs::metadata(format!("/proc/{}", cluster.pid())).unwrap().uid(), user);
    for path in ["pg", "pg/PG_VERSION", "pg/base", "pg/base/file", "pg/base/dir", "run"] {
        assert_eq!(owner(dir.path.join(path)), user, "{path}");
    }
    assert_eq!((owner(&outside.path), owner(outside.path.join("file"))), (0, 0), "links are not followed");
    cluster.stop().await;

    // A hard link to another user's file.
    give_to_nobody(&dir.path);
    fs::remove_file(&to_file).unwrap();
    fs::hard_link(outside.path.join("file"), &to_file).unwrap();
    let error = Cluster::start(options(&dir.path)).await.err().unwrap().to_string();
    assert!(error.contains("pg/base/file belongs to uid 0"), "{error}");
    assert_eq!((owner(outside.path.join("file")), owner(dir.path.join("pg"))), (0, NOBODY));
    // The next start continues where this one was interrupted.
    fs::remove_file(&to_file).unwrap();
    Cluster::start(options(&dir.path)).await.unwrap().stop().await;
    assert_eq!(owner(dir.path.join("pg")), user);
}

#[tokio::test]
async fn a_server_of_nobodys_ends_before_its_files_change_hands() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = TempDir::new();
    let Some(mut victim) = Victim::start_with(&dir.path, None, &[("KITH_PG_UID", "65534")]) else {
        panic!("root runs itself");
    };
    assert_eq!(owner(dir.path.join("pg")), NOBODY);
    // Killed in the middle: the next start finds its server running or ending.
    victim.process.kill().unwrap();
    victim.process.wait().unwrap();
    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    until_gone(victim.postmaster).await;
    assert_eq!(one(&mut admin(&cluster.target()).await, "select count(*) from kept").await, "1");
    assert_ne!(owner(dir.path.join("pg")), NOBODY);
    cluster.stop().await;
}

#[tokio::test]
async fn what_an_operator_gave_to_nobody_stays_nobodys() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = TempDir::new();
    std::os::unix::fs::chown(&dir.path, Some(NOBODY), Some(NOBODY)).unwrap();
    Cluster::start(options(&dir.path)).await.unwrap().stop().await;
    assert_eq!(owner(dir.path.join("pg")), NOBODY);

    // The write-ahead log on another disk: its ownership is the operator's task.
    let (dir, disk) = (TempDir::new(), TempDir::new());
    Cluster::start(options(&dir.path)).await.unwrap().stop().await;
    let (wal, moved) = (dir.path.join("pg/pg_wal"), disk.path.join("wal"));
    assert!(Command::new("mv").args([&wal, &moved]).status().unwrap().success());
    std::os::unix::fs::symlink(&moved, &wal).unwrap();
    give_to_nobody(&dir.path);
    assert!(Command::new("chown").args(["-R", "65534:65534"]).arg(&moved).status().unwrap().success());
    Cluster::start(options(&dir.path)).await.unwrap().stop().await;
    assert_eq!(owner(dir.path.join("pg")), NOBODY);
}

#[tokio::test]
async fn a_user_without_a_name_will_do() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = TempDir::new();
    let nameless = [("KITH_PG_UID", "61999:61998")];
    let mut victim = Victim::start_with(&dir.path, None, &nameless).expect("root runs itself");
    let files = fs::metadata(dir.path.join("pg")).unwrap();
    assert_eq!((files.uid(), files.gid(), owner(dir.path.join("pg/PG_VERSION"))), (61999, 61998, 61999));
    victim.process.kill().unwrap();
    victim.process.wait().unwrap();
    // Without `KITH_PG_UID`, the next one uses the owner of the existing files.
    let cluster = Cluster::start(options(&dir.path)).await.unwrap();
    assert_eq!(fs::metadata(format!("/proc/{}", cluster.pid())).unwrap().uid(), 61999);
    assert_eq!(one(&mut admin(&cluster.target()).await, "select count(*) from kept").await, "1");
    cluster.stop().await;
}
