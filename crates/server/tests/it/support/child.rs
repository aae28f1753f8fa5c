//! The real binary as a child process that can be killed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kith::store::secrets::SecretKey;
use pg::conn::Login;
use pg::{Conn, Host, Target, Tls};
use serde_json::json;

use super::{Agent, TempDir, stranger_at};

/// A running `kith serve`. Dropping it kills it.
pub struct Child {
    process: Process,
    /// Its base URL.
    pub base: String,
    stderr: PathBuf,
}

impl Child {
    /// Starts Kith on a data directory and waits until it is ready.
    pub fn serve(dir: &TempDir) -> Child {
        Child::start(Child::command(dir, "serve"), dir.path.with_extension("log"))
    }

    /// The same, with a limit of open files for the process.
    pub fn serve_with_files(dir: &TempDir, files: u32) -> Child {
        let serve = Child::command(dir, "serve");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]).arg(serve.get_program());
        command.args(serve.get_args()).stdin(Stdio::null());
        for (name, value) in serve.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Child::start(command, dir.path.with_extension("log"))
    }

    /// The same with additional arguments or other changes to its command.
    pub fn serve_with(dir: &TempDir, set_up: impl FnOnce(&mut Command)) -> Child {
        let mut command = Child::command(dir, "serve");
        set_up(&mut command);
        Child::start(command, dir.path.with_extension("log"))
    }

    /// Starts Kith with a command of [`Child::bare`], and waits until it is ready.
    pub fn start(mut command: Command, stderr: PathBuf) -> Child {
        let log = File::options().create(true).append(true).open(&stderr).expect("a log");
        let mut process = command
            .args(["--listen", "127.0.0.1:0", "--rate-limit", "0", "--warm-databases", "1"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        let mut child = Child { process, base: String::new(), stderr };
        child.base = match line.trim_end().strip_prefix("kith listening on ") {
            Some(base) => base.to_owned(),
            None => panic!("the first line is {line:?}\n{}", child.log()),
        };
        child
    }

    /// Runs a Kith command on a data directory until it ends.
    pub fn run(dir: &TempDir, command: &str, arguments: &[&str]) -> Output {
        Child::command(dir, command).args(arguments).output().expect("the binary")
    }

    fn command(dir: &TempDir, command: &str) -> Command {
        let mut line = Child::bare(Path::new(env!("CARGO_BIN_EXE_kith")), command);
        line.arg("--data-dir").arg(&dir.path);
        line
    }

    /// A Kith command without the environment variables of this process and without a data directory.
    pub fn bare(program: &Path, command: &str) -> Command {
        let mut line = Command::new(program);
        line.arg(command).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KITH_")) {
            if name != "KITH_PG_BIN" && name != "KITH_CACHE_DIR" {
                line.env_remove(name);
            }
        }
        line
    }

    /// A client of it without a key.
    pub fn stranger(&self) -> Agent {
        stranger_at(&self.base)
    }

    /// A client of it with a workspace.
    pub async fn agent(&self) -> Agent {
        self.stranger().with_workspace().await
    }

    /// A client of it with a workspace that a user owns.
    pub async fn owned_agent(&self) -> Agent {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let email = format!("owner-{}@people.example", COUNT.fetch_add(1, Ordering::Relaxed));
        let body = json!({"email": email, "password": "correct horse battery"});
        let token = self.stranger().post("/v1/auth/signup", body).await.status(201).text("/data/session_token");
        let person = self.stranger().with_key(token, String::new());
        let made = person.post("/v1/workspaces", json!({})).await.status(201);
        self.stranger().with_key(made.text("/data/api_key"), made.text("/data/workspace_id"))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its log output.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Kills it without warning.
    pub fn kill(mut self) {
        self.process.kill().expect("a process to kill");
        self.process.wait().expect("its end");
    }

    /// Sends it SIGTERM.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a process to end");
    }

    /// Waits until it has ended, after [`Child::terminate`].
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("a child") {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(50), "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A line of `/proc/PID/status`, in kB: `VmRSS`, `VmHWM`.
    pub fn memory_kb(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a living process");
        let found = status.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
        let number = found.and_then(|it| it.split_whitespace().next());
        number.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("no {line} in {status}"))
    }
}

impl Child {
    /// Starts measuring its peak memory. Returns its current memory in kB.
    pub fn measure_memory(&self) -> u64 {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("a peak that is set back");
        self.memory_kb("VmRSS")
    }

    /// The number of its open files.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a living process").count()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        let _ = fs::remove_file(&self.stderr);
    }
}

/// The postmaster of the PostgreSQL in a data directory.
pub fn postmaster(dir: &TempDir) -> Option<rustix::process::Pid> {
    let lock = fs::read_to_string(dir.path.join("pg/postmaster.pid")).ok()?;
    rustix::process::Pid::from_raw(lock.lines().next()?.parse().ok()?)
}

/// A session of the superuser of the PostgreSQL in a data directory.
pub async fn superuser(dir: &TempDir, database: &str) -> Conn {
    let lock = fs::read_to_string(dir.path.join("pg/postmaster.pid")).expect("a server");
    let lines: Vec<&str> = lock.lines().collect();
    let host = Host::Unix(PathBuf::from(lines[4]));
    let target = Target { host, port: lines[3].parse().expect("a port"), tls: Tls::Off };
    let password = SecretKey::from_data_dir(&dir.path).expect("a key").derive("superuser", "postgres");
    let settings = [("application_name", "test"), ("search_path", "pg_catalog, pg_temp")];
    let login = Login { user: "postgres", password: password.expose(), database, settings: &settings };
    Conn::open(&target, &login).await.expect("a session")
}
