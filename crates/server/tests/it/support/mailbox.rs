//! A mail server that stores the mails that it receives, for all tests of this process.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Condvar, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for a mail.
const PATIENCE: Duration = Duration::from_secs(20);

/// A received mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The recipient.
    pub to: String,
    /// Its head and body, with folded lines joined.
    pub text: String,
}

impl Mail {
    /// The link in it.
    #[track_caller]
    pub fn link(&self) -> String {
        let found = self.text.split_whitespace().find(|word| word.starts_with("http"));
        found.unwrap_or_else(|| panic!("no link in {}", self.text)).to_owned()
    }

    /// The token in its link.
    #[track_caller]
    pub fn token(&self) -> String {
        let link = self.link();
        link.split_once("?token=").unwrap_or_else(|| panic!("no token in {link}")).1.to_owned()
    }
}

/// The received mails, and the address of the server.
pub struct Mailbox {
    /// `smtp://127.0.0.1:…`
    pub url: String,
    mails: Mutex<Vec<Mail>>,
    came: Condvar,
    /// How often each recipient was deferred.
    put_off: Mutex<HashMap<String, u32>>,
}

/// The mail server of this process. It refuses recipients that begin with `refused`, and defers recipients that begin with
/// `later` once.
pub fn mailbox() -> &'static Mailbox {
    static MAILBOX: OnceLock<Mailbox> = OnceLock::new();
    static LISTENER: OnceLock<TcpListener> = OnceLock::new();
    MAILBOX.get_or_init(|| {
        let listener = LISTENER.get_or_init(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let url = format!("smtp://{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || mailbox().receive(stream));
            }
        });
        Mailbox { url, mails: Mutex::default(), came: Condvar::new(), put_off: Mutex::default() }
    })
}

impl Mailbox {
    /// Waits until a recipient has received this many mails, and returns them.
    pub async fn wait(&'static self, to: &str, count: usize) -> Vec<Mail> {
        let to = to.to_owned();
        tokio::task::spawn_blocking(move || self.wait_here(&to, count)).await.expect("the mails")
    }

    fn wait_here(&self, to: &str, count: usize) -> Vec<Mail> {
        let start = Instant::now();
        let mut mails = self.mails.lock().expect("the mails");
        loop {
            let found: Vec<Mail> = mails.iter().filter(|mail| mail.to == to).cloned().collect();
            if found.len() >= count {
                return found;
            }
            if start.elapsed() >= PATIENCE {
                // A panic would poison the lock, and fail all other tests that read mails.
                drop(mails);
                panic!("{to} has {} of {count} mails", found.len());
            }
            mails = self.came.wait_timeout(mails, Duration::from_millis(200)).expect("the mails").0;
        }
    }

    /// The mails that a recipient has received so far.
    pub fn of(&self, to: &str) -> Vec<Mail> {
        self.mails.lock().expect("the mails").iter().filter(|mail| mail.to == to).cloned().collect()
    }

    /// How often a recipient was deferred.
    pub fn put_off(&self, to: &str) -> u32 {
        self.put_off.lock().expect("the list").get(to).copied().unwrap_or_default()
    }

    fn receive(&self, stream: TcpStream) {
        let mut answers = stream.try_clone().expect("a second handle");
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let mut say = |text: &str| answers.write_all(format!("{text}\r\n").as_bytes());
        let _ = say("220 mailbox");
        let mut to = String::new();
        while let Some(line) = lines.next() {
            let answer = match line.get(..4).unwrap_or_default().to_uppercase().as_str() {
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    self.judge(&to)
                }
                "DATA" => {
                    let _ = say("354 go on");
                    let text: Vec<String> = lines.by_ref().take_while(|line| line != ".").collect();
                    let text = text.join("\n").replace("=\n", "").replace("=3D", "=");
                    self.mails.lock().expect("the mails").push(Mail { to: to.clone(), text });
                    self.came.notify_all();
                    "250 kept"
                }
                "QUIT" => {
                    let _ = say("221 bye");
                    return;
                }
                _ => "250 mailbox",
            };
            let _ = say(answer);
        }
    }

    fn judge(&self, to: &str) -> &'static str {
        if to.starts_with("refused") {
            return "550 no such mailbox";
        }
        if to.starts_with("later") {
            let mut put_off = self.put_off.lock().expect("the list");
            let count = put_off.entry(to.to_owned()).or_default();
            *count += 1;
            if *count == 1 {
                return "451 come later";
            }
        }
        "250 fine"
    }
}
