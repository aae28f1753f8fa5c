//! Mailboxes on IMAP servers. The server's address comes from a caller, so it is looked up under the guard of `targets.rs`, and the connection goes
//! to the address that was checked. The server may be hostile too: each answer takes limited memory and limited time.
//!
//! The folder is opened read-only and messages are fetched without marking them as read, so that people who use the mailbox notice nothing.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use async_imap::error::Error;
use async_imap::extensions::idle::IdleResponse;
use async_imap::types::Fetch;
use async_imap::{Authenticator, Client, Session};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use futures_util::TryStreamExt;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crm::plan::mailbox::{ImapTls, MailboxSettings};

use crate::providers::strike::struck;
use crate::providers::tidy;
use crate::targets::{BadTarget, Targets};

/// The longest time for a step of the server.
const STEP_LIMIT: Duration = Duration::from_secs(30);
/// The longest time for a whole message.
const MESSAGE_LIMIT: Duration = Duration::from_secs(60);
/// The most bytes of a message that are fetched. What is beyond is left out.
const MOST_MESSAGE_BYTES: usize = 10 * 1024 * 1024;
/// The most bytes of a message that is fetched at any time. Of larger ones a process has few at once, because each takes several times its
/// size in memory.
const SMALL_MESSAGE_BYTES: usize = 512 * 1024;
/// How many messages larger than that a process has at once.
pub(super) const LARGE_AT_ONCE: usize = 2;
/// The most bytes of the answers to one command, the text of a message not counted.
const MOST_ANSWER_BYTES: usize = 1024 * 1024;

/// Why a mailbox can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImapError {
    /// The settings are wrong: this field, in these words.
    Wrong(&'static str, String),
    /// The server is in a private network.
    NotAllowed,
    /// The server can't be reached, or does not answer as it should.
    Down(String),
}

impl ImapError {
    /// The reason in words.
    pub fn words(&self) -> String {
        match self {
            ImapError::Wrong(_, words) | ImapError::Down(words) => words.clone(),
            ImapError::NotAllowed => "The server is in a private network, or on this machine.".into(),
        }
    }
}

/// A message as the server has it.
#[derive(Debug)]
pub struct FetchedMessage {
    /// The raw message, or its beginning.
    pub raw: Vec<u8>,
    /// When the server received it, in Unix milliseconds.
    pub received_ms: Option<i64>,
    /// The place of a large message.
    _place: Option<OwnedSemaphorePermit>,
}

/// An open folder.
pub struct ImapFolder {
    session: Session<ImapWire>,
    /// Names the numbering of the messages.
    pub uid_validity: u32,
    /// The number that the next message gets, if the server says so.
    uid_next: Option<u32>,
    can_idle: bool,
    /// The places of large messages.
    large: Arc<Semaphore>,
}

impl ImapFolder {
    /// Logs in and opens the folder of a mailbox.
    pub async fn open(
        targets: &Targets,
        settings: &MailboxSettings,
        large: Arc<Semaphore>,
    ) -> Result<ImapFolder, ImapError> {
        let client = step(connect(targets, settings)).await??;
        let logged_in = step(log_in(client, settings)).await?;
        // A server may repeat what it refuses.
        let strike = |words: String| struck(&words, &[&settings.password]);
        let mut session = logged_in.map_err(|error| match error {
            ImapError::Wrong(field, words) => ImapError::Wrong(field, strike(words)),
            ImapError::Down(words) => ImapError::Down(strike(words)),
            ImapError::NotAllowed => ImapError::NotAllowed,
        })?;
        session.as_mut().refill();
        let capabilities = step(session.capabilities()).await?.map_err(broken)?;
        let can_idle = capabilities.has_str("IDLE");
        let opened = step(session.examine(in_utf7(&settings.folder))).await?;
        let folder = opened.map_err(|error| match error {
            Error::No(words) => {
                ImapError::Wrong("folder", format!("The server does not open the folder: {}", said(&words)))
            }
            error => broken(error),
        })?;
        let uid_validity = folder.uid_validity.ok_or_else(|| down("The server does not number its messages."))?;
        Ok(ImapFolder { session, uid_validity, uid_next: folder.uid_next, can_idle, large })
    }

    /// The last message that is not wanted: the one before the first that came on a day, `14-Nov-2023`, or later. Without a day, the last one.
    pub async fn position(&mut self, since: Option<&str>) -> Result<u32, ImapError> {
        if since.is_none()
            && let Some(next) = self.uid_next
        {
            return Ok(next.saturating_sub(1));
        }
        let all = self.search(&since.map_or_else(|| "ALL".to_owned(), |day| format!("SINCE {day}"))).await?;
        match since {
            Some(_) if !all.is_empty() => Ok(all[0].saturating_sub(1)),
            _ => Ok(self.uid_next.map(|next| next.saturating_sub(1)).or(all.last().copied()).unwrap_or_default()),
        }
    }

    /// The numbers of the messages after `last_uid`, in order.
    pub async fn after(&mut self, last_uid: u32) -> Result<Vec<u32>, ImapError> {
        let Some(first) = last_uid.checked_add(1) else { return Ok(Vec::new()) };
        // The range always has the last message, even if that has a lower number.
        let found = self.search(&format!("UID {first}:*")).await?;
        Ok(found.into_iter().filter(|uid| *uid > last_uid).collect())
    }

    async fn search(&mut self, query: &str) -> Result<Vec<u32>, ImapError> {
        self.session.as_mut().refill();
        let mut found: Vec<u32> = step(self.session.uid_search(query)).await?.map_err(broken)?.into_iter().collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Fetches a message. `None` if it is gone.
    pub async fn fetch(&mut self, uid: u32) -> Result<Option<FetchedMessage>, ImapError> {
        self.session.as_mut().refill();
        // A server that does not say the size may have a large one.
        let size = self.first(uid, "(UID RFC822.SIZE)", |answer| Some(answer.size.unwrap_or(u32::MAX)));
        let Some(size) = step(size).await?? else { return Ok(None) };
        let (most, place) = match size as usize > SMALL_MESSAGE_BYTES {
            true => (MOST_MESSAGE_BYTES, Some(place(self.large.clone()).await?)),
            false => (SMALL_MESSAGE_BYTES, None),
        };
        self.session.as_mut().left += most;
        let items = format!("(UID INTERNALDATE BODY.PEEK[]<0.{most}>)");
        let message = self.first(uid, &items, |answer| {
            let received_ms = answer.internal_date().map(|date| date.timestamp_millis());
            answer.body().map(|raw| (raw.to_vec(), received_ms))
        });
        let message = timeout(MESSAGE_LIMIT, message).await;
        let message = message.map_err(|_| down("The server gave no message in time."))??;
        Ok(message.map(|(raw, received_ms)| FetchedMessage { raw, received_ms, _place: place }))
    }

    /// What is wanted of the answer about a message.
    async fn first<T>(
        &mut self,
        uid: u32,
        items: &str,
        wanted: impl Fn(&Fetch) -> Option<T>,
    ) -> Result<Option<T>, ImapError> {
        let mut answers = self.session.uid_fetch(uid.to_string(), items).await.map_err(broken)?;
        let mut found = None;
        while let Some(answer) = answers.try_next().await.map_err(broken)? {
            if answer.uid.is_none_or(|it| it == uid) {
                found = wanted(&answer).or(found);
            }
        }
        Ok(found)
    }

    /// Whether the server tells when messages come.
    pub fn can_idle(&self) -> bool {
        self.can_idle
    }

    /// Waits until the server tells of a change, or for so long.
    pub async fn wait(mut self, longest: Duration) -> Result<ImapFolder, ImapError> {
        self.session.as_mut().refill();
        let ImapFolder { session, uid_validity, can_idle, large, .. } = self;
        let mut idle = session.idle();
        step(idle.init()).await?.map_err(broken)?;
        let (told, _stop) = idle.wait_with_timeout(longest);
        // A server that only says that it is still there does not make the wait longer.
        match timeout(longest, told).await {
            Ok(Ok(IdleResponse::ManualInterrupt)) => return Err(down("The server has closed the connection.")),
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => return Err(broken(error)),
        }
        let session = step(idle.done()).await?.map_err(broken)?;
        Ok(ImapFolder { session, uid_validity, uid_next: None, can_idle, large })
    }

    /// Says good-bye.
    pub async fn close(mut self) {
        let _ = timeout(Duration::from_secs(2), self.session.logout()).await;
    }
}

/// A place for a large message.
async fn place(large: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ImapError> {
    let place = timeout(STEP_LIMIT, large.acquire_owned()).await;
    place.ok().and_then(Result::ok).ok_or_else(|| down("Kith has no room for a large message now; it is tried again."))
}

/// A step within its time.
async fn step<T>(work: impl Future<Output = T>) -> Result<T, ImapError> {
    timeout(STEP_LIMIT, work).await.map_err(|_| down("The server gave no answer in time."))
}

fn down(words: &str) -> ImapError {
    ImapError::Down(tidy(words))
}

/// What follows from an error of the protocol. What the server sent is not repeated, because it may be a message.
fn broken(error: Error) -> ImapError {
    match error {
        Error::No(words) | Error::Bad(words) => ImapError::Down(format!("The server refuses: {}", said(&words))),
        Error::Io(error) if error.kind() != io::ErrorKind::Other => down(&format!("The connection failed: {error}.")),
        Error::ConnectionLost => down("The server has closed the connection."),
        _ => down("The server's answer can't be read, or is too long."),
    }
}

/// A server's own words in an error of the library: `code: …, info: Some("…")`, or `information: Some("…")`.
fn said(words: &str) -> String {
    let info = ["info: Some(\"", "information: Some(\""].iter().find_map(|before| words.split_once(before));
    let info = info.and_then(|(_, rest)| rest.rsplit_once("\")"));
    tidy(info.map_or(words, |(info, _)| info))
}

/// Connects and reads the greeting.
async fn connect(targets: &Targets, settings: &MailboxSettings) -> Result<Client<ImapWire>, ImapError> {
    let address = match targets.address_of(&settings.host).await {
        Ok(Some(address)) => address,
        Ok(None) => return Err(ImapError::Wrong("host", "The server's name has no address.".into())),
        Err(BadTarget::NotAllowed) => return Err(ImapError::NotAllowed),
        Err(bad) => return Err(ImapError::Wrong("host", bad.to_string())),
    };
    let failed = |error: io::Error| down(&format!("The server can't be reached: {error}."));
    let plain = TcpStream::connect((address, settings.port)).await.map_err(failed)?;
    let _ = plain.set_nodelay(true);
    if settings.tls == ImapTls::Implicit {
        let mut client = Client::new(ImapWire::new(encrypted(plain, &settings.host).await?));
        greeting(&mut client).await?;
        return Ok(client);
    }
    let mut client = Client::new(ImapWire::new(plain));
    greeting(&mut client).await?;
    if settings.tls == ImapTls::None {
        return Ok(client);
    }
    client.run_command_and_check_ok("STARTTLS", None).await.map_err(|error| match error {
        Error::No(_) | Error::Bad(_) => ImapError::Wrong("tls", "The server offers no STARTTLS on this port.".into()),
        error => broken(error),
    })?;
    // What the server has sent in the clear after its answer is dropped with the client.
    let wire = encrypted(client.into_inner(), &settings.host).await?;
    Ok(Client::new(ImapWire::new(wire)))
}

async fn greeting(client: &mut Client<ImapWire>) -> Result<(), ImapError> {
    match client.read_response().await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(down("The server has closed the connection.")),
        Err(_) => Err(ImapError::Wrong("port", "The server on this port does not speak IMAP in this way.".into())),
    }
}

async fn encrypted<S: ImapBytes + 'static>(plain: S, host: &str) -> Result<impl ImapBytes + 'static, ImapError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| ImapError::Wrong("host", "The server's name can't be that of a certificate.".into()))?;
    let connector = TlsConnector::from(tls());
    connector.connect(name, plain).await.map_err(|error| down(&format!("The connection can't be encrypted: {error}.")))
}

/// The system's certificates, or those of Mozilla if it has none.
pub(super) fn tls() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let make = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    };
    CONFIG.get_or_init(make).clone()
}

async fn log_in(client: Client<ImapWire>, settings: &MailboxSettings) -> Result<Session<ImapWire>, ImapError> {
    let (user, password) = (&settings.username, &settings.password);
    let session = match user.is_ascii() && password.is_ascii() {
        true => client.login(user, password).await,
        // LOGIN has no other characters.
        false => client.authenticate("PLAIN", Plain(format!("\0{user}\0{password}"))).await,
    };
    session.map_err(|(error, _)| match error {
        Error::No(words) | Error::Bad(words) => {
            ImapError::Wrong("password", format!("The server refuses the log-in: {}", said(&words)))
        }
        error => broken(error),
    })
}

/// The answer to AUTHENTICATE PLAIN (RFC 4616).
struct Plain(String);

impl Authenticator for Plain {
    type Response = String;

    fn process(&mut self, _challenge: &[u8]) -> String {
        self.0.clone()
    }
}

/// The name of a folder in IMAP's own UTF-7 (RFC 3501, section 5.1.3).
fn in_utf7(name: &str) -> String {
    let (mut out, mut wide) = (String::with_capacity(name.len()), Vec::new());
    let flush = |out: &mut String, wide: &mut Vec<u8>| {
        if !wide.is_empty() {
            *out += &format!("&{}-", STANDARD_NO_PAD.encode(&*wide).replace('/', ","));
            wide.clear();
        }
    };
    for character in name.chars() {
        if matches!(character, ' '..='~') {
            flush(&mut out, &mut wide);
            out.push(character);
            if character == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            wide.extend(character.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut out, &mut wide);
    out
}

/// What a connection reads from and writes to.
trait ImapBytes: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> ImapBytes for S {}

/// A connection that reads only so many bytes until it is told that another command begins.
#[derive(Debug)]
struct ImapWire {
    bytes: Box<dyn ImapBytes>,
    left: usize,
}

impl ImapWire {
    fn new(bytes: impl ImapBytes + 'static) -> ImapWire {
        ImapWire { bytes: Box::new(bytes), left: MOST_ANSWER_BYTES }
    }

    fn refill(&mut self) {
        self.left = MOST_ANSWER_BYTES;
    }
}

impl AsyncRead for ImapWire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut *self.bytes).poll_read(context, buffer);
        let count = buffer.filled().len() - before;
        match self.left.checked_sub(count) {
            Some(left) => {
                self.left = left;
                read
            }
            None => Poll::Ready(Err(io::Error::other("the answer is too long"))),
        }
    }
}

impl AsyncWrite for ImapWire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.bytes).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.bytes).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.bytes).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_in_imaps_own_utf7() {
        for (name, written) in
            [("INBOX", "INBOX"), ("A & B", "A &- B"), ("Entwürfe", "Entw&APw-rfe"), ("日本語", "&ZeVnLIqe-")]
        {
            assert_eq!(in_utf7(name), written);
        }
    }

    #[test]
    fn a_servers_words_are_shown_without_the_librarys() {
        let words = "code: Some(Alert), info: Some(\"Authentication failed.\")";
        assert_eq!(said(words), "Authentication failed.");
        assert_eq!(said("nothing known"), "nothing known");
    }
}
