//! A real IMAP server, dovecot, as an unprivileged process of the tests. Every user has the password `secret`, and a mailbox in a directory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::TempDir;

/// The password of every user.
pub const PASSWORD: &str = "secret";
/// Nobody.
const PLAIN_USER: u32 = 65534;

/// A running server. It ends when this is dropped, or when the process of the tests ends.
pub struct Dovecot {
    /// The port for connections in the clear, and with STARTTLS if the server has a certificate.
    pub port: u16,
    /// The port for TLS.
    pub tls_port: u16,
    /// The file with the certificate of the server's authority.
    pub authority: PathBuf,
    dir: TempDir,
    keeper: Child,
}

/// The server of this process, without TLS.
pub fn dovecot() -> &'static Dovecot {
    static SERVER: OnceLock<Dovecot> = OnceLock::new();
    SERVER.get_or_init(|| Dovecot::start("ssl = no\n"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port()
}

impl Dovecot {
    /// Starts a server with additional settings.
    pub fn start(settings: &str) -> Dovecot {
        let dir = TempDir::new();
        let (port, tls_port, at) = (free_port(), free_port(), dir.path.display());
        let is_root = rustix::process::geteuid().is_root();
        let (uid, gid) = match is_root {
            true => (PLAIN_USER, PLAIN_USER),
            false => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        };
        let name = |database: &str, id: u32| {
            let listed = fs::read_to_string(database).unwrap_or_default();
            let line = listed.lines().find(|line| line.split(':').nth(2) == Some(&id.to_string())).map(str::to_owned);
            line.and_then(|line| line.split(':').next().map(str::to_owned)).expect("a user with a name")
        };
        let (user, group) = (name("/etc/passwd", uid), name("/etc/group", gid));
        let text = format!(
            "base_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\nprotocols = imap\nlisten = 127.0.0.1\n\
             disable_plaintext_auth = no\ndefault_internal_user = {user}\ndefault_internal_group = {group}\ndefault_login_user = {user}\n\
             mail_location = maildir:{at}/mail/%u\nfirst_valid_uid = 1\nmailbox_idle_check_interval = 1 secs\n\
             mail_max_userip_connections = 100\n\
             passdb {{\n driver = static\n args = password={PASSWORD}\n}}\n\
             userdb {{\n driver = static\n args = uid={user} gid={group} home={at}/mail/%u\n}}\n\
             auth_failure_delay = 0\nservice anvil {{\n chroot =\n unix_listener anvil-auth-penalty {{\n mode = 0\n }}\n}}\nservice stats {{\n chroot =\n}}\n\
             service imap-login {{\n chroot =\n inet_listener imap {{\n port = {port}\n }}\n inet_listener imaps {{\n port = {tls_port}\n }}\n}}\n{}",
            settings.replace("{dir}", &at.to_string())
        );
        let authority = dir.path.join("ca.pem");
        if settings.contains("ssl_cert") {
            make_certificate(&dir);
        }
        fs::write(dir.path.join("dovecot.conf"), text).expect("settings");
        fs::create_dir(dir.path.join("mail")).expect("a directory");
        let mut program = vec!["/usr/sbin/dovecot".to_owned(), "-F".into(), "-c".into(), format!("{at}/dovecot.conf")];
        if is_root {
            for entry in [&dir.path, &dir.path.join("mail")]
                .into_iter()
                .chain(fs::read_dir(&dir.path).unwrap().map(|it| it.unwrap().path()).collect::<Vec<_>>().iter())
            {
                chown(entry, Some(uid), Some(gid)).expect("another owner");
            }
            let other = [format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()];
            program = ["setpriv".to_owned()].into_iter().chain(other).chain(program).collect();
        }
        // It ends with its input.
        let script = "\"$@\" >/dev/null 2>&1 & server=$!; cat >/dev/null; kill $server; wait $server";
        let keeper =
            Command::new("sh").args(["-c", script, "sh"]).args(&program).stdin(Stdio::piped()).spawn().expect("sh");
        let server = Dovecot { port, tls_port, authority, dir, keeper };
        server.wait();
        server
    }

    /// Starts a server with a certificate for `localhost`.
    pub fn with_tls() -> Dovecot {
        Dovecot::start("ssl = yes\nssl_cert = <{dir}/cert.pem\nssl_key = <{dir}/key.pem\n")
    }

    fn wait(&self) {
        let start = Instant::now();
        loop {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                let mut greeting = [0; 4];
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                if stream.read_exact(&mut greeting).is_ok() && greeting == *b"* OK" {
                    return;
                }
            }
            let log = fs::read_to_string(self.dir.path.join("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(30), "dovecot does not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The directory of a user's mailbox.
    fn mailbox(&self, user: &str) -> PathBuf {
        self.dir.path.join("mail").join(user)
    }

    /// Delivers a message, as a mail server does.
    pub fn deliver(&self, user: &str, message: impl AsRef<[u8]>) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let box_dir = self.mailbox(user);
        for folder in ["tmp", "new", "cur"] {
            fs::create_dir_all(box_dir.join(folder)).expect("a folder");
        }
        let name = format!("{:010}.M1P1.kith", NUMBER.fetch_add(1, Ordering::Relaxed));
        let (draft, there) = (box_dir.join("tmp").join(&name), box_dir.join("new").join(&name));
        File::create(&draft).and_then(|mut file| file.write_all(message.as_ref())).expect("a message");
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o666)).expect("rights");
        if rustix::process::geteuid().is_root() {
            for path in [&box_dir, &box_dir.join("tmp"), &box_dir.join("new"), &box_dir.join("cur"), &draft] {
                chown(path, Some(PLAIN_USER), Some(PLAIN_USER)).expect("another owner");
            }
        }
        fs::rename(&draft, &there).expect("a delivery");
        there
    }

    /// Makes the server number the messages of a user anew.
    pub fn renumber(&self, user: &str) {
        for entry in fs::read_dir(self.mailbox(user)).expect("a mailbox").flatten() {
            if entry.file_name().to_string_lossy().starts_with("dovecot") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Makes an authority, and a certificate of it for `localhost`.
fn make_certificate(dir: &TempDir) {
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=Kith-tests \
                    -addext basicConstraints=critical,CA:TRUE &&
                  openssl req -newkey rsa:2048 -nodes -keyout key.pem -out csr.pem -subj /CN=localhost &&
                  printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > ext &&
                  openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(&dir.path).output().expect("sh");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
