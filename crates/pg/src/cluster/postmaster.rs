//! One run of the postmaster: start, readiness check, and wait.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, setrlimit, waitid};

use super::binaries::Binaries;
use super::identity::Identity;
use super::log::{self, Complaint};

/// A running postmaster, a child of this process.
pub(crate) struct Postmaster {
    child: Child,
    pid: Pid,
    complaint: Complaint,
    /// Disconnected once the log has been read to its end.
    log_end: mpsc::Receiver<()>,
}

/// The server's answer to a connection attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// It requests authentication.
    Open,
    /// It is running but accepts no connections yet.
    NotYet,
    /// It is not running.
    Closed,
}

impl Postmaster {
    /// Starts it. It shuts down when the calling THREAD ends, so the caller must be a long-lived thread.
    pub(crate) fn spawn(
        binaries: &Binaries,
        identity: &Identity,
        arguments: &[OsString],
        memory_limit_bytes: Option<u64>,
    ) -> io::Result<Postmaster> {
        let mut command = binaries.command("postgres");
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
        // Ctrl-C in the terminal is for Kith, which stops the server when its own work is finished.
        command.process_group(0);
        identity.apply(&mut command);
        limit(&mut command, memory_limit_bytes);
        die_with_parent(&mut command, Signal::INT);
        let mut child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let complaint = Complaint::default();
        let (alive, log_end) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            let complaint = complaint.clone();
            std::thread::Builder::new().name("postgres-log".into()).spawn(move || {
                log::relay(stderr, &complaint);
                drop(alive);
            })?;
        }
        Ok(Postmaster { child, pid, complaint, log_end })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Blocks until it has ended, and does not reap it: until it is reaped, no other process gets its pid.
    pub(crate) fn wait_for_end(&self) {
        while let Err(rustix::io::Errno::INTR) =
            waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
    }

    /// Whether it has ended. Does not reap it.
    pub(crate) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None) | Err(rustix::io::Errno::INTR))
    }

    /// Reaps it. Returns its exit status and its last error.
    pub(crate) fn reap(mut self) -> (io::Result<ExitStatus>, Option<String>) {
        let status = self.child.wait();
        // The error is among its last lines. Backends that are still ending keep the log open; this does not wait for them.
        let _ = self.log_end.recv_timeout(Duration::from_millis(300));
        (status, self.complaint.take())
    }
}

/// Limits each process of the server: its address space, if a limit is given, and no core files, which would contain the
/// tenants' data and fill the disk.
fn limit(command: &mut Command, memory_limit_bytes: Option<u64>) {
    let bound = move |resource: Resource, bytes: u64| {
        setrlimit(resource, Rlimit { current: Some(bytes), maximum: Some(bytes) }).map_err(io::Error::from)
    };
    // SAFETY: runs between fork and exec; `setrlimit` is a bare system call that neither allocates nor locks.
    unsafe {
        command.pre_exec(move || {
            bound(Resource::Core, 0)?;
            memory_limit_bytes.map_or(Ok(()), |bytes| bound(Resource::As, bytes))
        });
    }
}

/// Makes the kernel send `signal` to the child when the calling thread ends, however it ends.
pub(crate) fn die_with_parent(command: &mut Command, signal: Signal) {
    #[cfg(target_os = "linux")]
    {
        let parent = rustix::process::getpid();
        // SAFETY: runs between fork and exec, after the change of identity (which would clear the setting);
        // prctl and getppid are bare system calls that neither allocate nor lock.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(signal))?;
                // The parent may have ended before the line above took effect.
                match rustix::process::getppid() {
                    Some(now) if now == parent => Ok(()),
                    _ => Err(io::Error::from(rustix::io::Errno::SRCH)),
                }
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (command, signal);
}

/// Sends a startup packet. That the socket accepts a connection is not enough: a server in recovery does too.
pub(crate) fn knock(socket: &Path) -> Door {
    let ask = || -> io::Result<u8> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(&startup_packet())?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        Ok(answer[0])
    };
    match ask() {
        Ok(b'R') => Door::Open,
        Ok(_) => Door::NotYet,
        Err(_) => Door::Closed,
    }
}

fn startup_packet() -> Vec<u8> {
    const VERSION_3_0: u32 = 196_608;
    let body = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(4 + 4 + body.len()).expect("a few bytes");
    [&length.to_be_bytes()[..], &VERSION_3_0.to_be_bytes()[..], body].concat()
}
