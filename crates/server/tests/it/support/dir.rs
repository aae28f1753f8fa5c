//! Temporary directories with a PostgreSQL in them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed when this is dropped or when the process has ended, be it killed, and the server in
/// it has ended too.
pub struct TempDir {
    /// Where it is.
    pub path: PathBuf,
    /// Waits for the end of its input.
    _sweeper: Child,
}

impl TempDir {
    /// A new, empty one.
    pub fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("kith-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a temporary directory");
        let script = "cat >/dev/null; n=0; \
                      while [ -e \"$1/pg/postmaster.pid\" ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done; \
                      rm -rf \"$1\"";
        let sweeper = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // The terminal's Ctrl-C is not for it.
            .process_group(0)
            .spawn()
            .expect("sh");
        TempDir { path, _sweeper: sweeper }
    }
}
