//! Temporary directories that contain a PostgreSQL.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed when this is dropped or after the process has ended, even if it was killed. A server in it
/// has ended by then.
pub struct TempDir {
    /// The directory's path.
    pub path: PathBuf,
    /// A process that waits for the end of its input.
    _sweeper: Child,
}

impl TempDir {
    /// Creates a new, empty directory.
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
            // Ctrl-C in the terminal must not end it.
            .process_group(0)
            .spawn()
            .expect("sh");
        TempDir { path, _sweeper: sweeper }
    }
}
