//! The providers to which workspaces' e-mail is handed over, and from which it comes: Resend's API, mail servers, mailboxes. This room knows their
//! protocols, and nothing of queues and records.

mod bounded;
mod imap;
mod large;
mod resend;
mod smtp;
mod strike;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url};
use tokio::sync::Semaphore;

use crm::model::email::{EmailMessage, Mailbox};
use crm::plan::email_settings::{EmailSettings, Provider};
use crm::plan::mailbox::MailboxSettings;

use crate::http_client;
use crate::targets::Targets;

pub use imap::{FetchedMessage, ImapError, ImapFolder};
pub use large::{LARGE, LargeMail, MailRoom};
pub use resend::{Domain, ResendError};
pub use webhook::{WebhookCall, is_signed};

/// The address of Resend's API.
const RESEND: &str = "https://api.resend.com";

/// The longest time for asking whether a provider accepts a sender.
const ACCEPTS_LIMIT: Duration = Duration::from_secs(4);

/// Hands e-mail over.
pub struct Providers {
    resend: Url,
    client: Client,
    targets: Arc<Targets>,
    /// The places of large messages that are received.
    large_mail: Arc<Semaphore>,
    /// The room for large messages that leave.
    pub leaving: LargeMail,
}

/// A message with what Kith adds to it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Mail {
    /// The id of its record, `e_…`. A provider that knows idempotency keys sends it once.
    pub id: String,
    /// The message. `in_reply_to` is a Message-ID.
    pub message: EmailMessage,
}

impl Mail {
    /// The Message-ID, for a provider that takes one.
    fn message_id(&self) -> String {
        let domain = self.message.from.as_ref().map_or("localhost", Mailbox::domain);
        format!("<{}@{}>", self.id, ascii(domain))
    }
}

/// What a provider said to an e-mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handed {
    /// It sends it.
    Accepted {
        /// The Message-ID, or else the provider's id of the message.
        message_id: String,
    },
    /// It will not send it. These are its words.
    Refused(String),
    /// It can't be reached, or has no time. It may be tried again.
    Down {
        /// Why.
        words: String,
        /// Seconds that it asks to wait.
        retry_after: Option<u64>,
        /// Whether it may have accepted the message, and only its answer was lost.
        may_be_accepted: bool,
    },
}

/// The Message-IDs that a message refers to, as its header has them.
fn references(message: &EmailMessage) -> Option<String> {
    match message.references.is_empty() {
        true => message.in_reply_to.clone(),
        false => Some(message.references.join(" ")),
    }
}

/// How long a provider knows an idempotency key, in milliseconds; `None` if it knows none.
pub fn key_known_ms(provider: &Provider) -> Option<i64> {
    match provider {
        // <https://resend.com/docs/dashboard/emails/idempotency-keys>
        Provider::Resend { .. } => Some(24 * 3600 * 1000),
        Provider::Smtp(_) => None,
    }
}

impl Providers {
    /// Creates the clients. `resend` replaces the address of Resend's API. Over plain HTTP it must be on this machine, unless
    /// private targets are allowed.
    pub fn new(resend: Option<&str>, allows_private: bool, targets: Arc<Targets>) -> Result<Providers, String> {
        let text = resend.unwrap_or(RESEND).trim_end_matches('/');
        let url = match (http_client::trusted_url(text), Url::parse(text)) {
            (Ok(url), _) => url,
            (Err(_), Ok(url)) if allows_private && url.scheme() == "http" && url.has_host() => url,
            (Err(error), _) => return Err(format!("KITH_RESEND_BASE_URL: {error}")),
        };
        let large_mail = Arc::new(Semaphore::new(imap::LARGE_AT_ONCE));
        let (client, leaving) = (http_client::client_within(resend::LIMIT)?, LargeMail::default());
        Ok(Providers { resend: url, client, targets, large_mail, leaving })
    }

    /// Logs in to an IMAP server and opens the folder of a mailbox.
    pub async fn open_mailbox(&self, settings: &MailboxSettings) -> Result<ImapFolder, ImapError> {
        ImapFolder::open(&self.targets, settings, self.large_mail.clone()).await
    }

    /// Hands a message over.
    pub async fn hand(&self, provider: &Provider, mail: &Mail) -> Handed {
        match provider {
            Provider::Resend { api_key } => self.hand_to_resend(api_key, mail).await,
            Provider::Smtp(server) => smtp::hand(&self.targets, server, mail).await,
        }
    }

    /// Whether the provider accepts mail with this sender, as far as it says so in time.
    pub async fn accepts(&self, settings: &EmailSettings) -> bool {
        let answer = async {
            match &settings.provider {
                Provider::Resend { api_key } => match self.domains(api_key).await {
                    Ok(domains) => {
                        let own = ascii(settings.from_email.domain()).to_lowercase();
                        domains.iter().any(|domain| domain.is_verified() && domain.name() == own)
                    }
                    // A key that may only send can't list the domains.
                    Err(_) => false,
                },
                Provider::Smtp(server) => smtp::accepts(&self.targets, server).await,
            }
        };
        tokio::time::timeout(ACCEPTS_LIMIT, answer).await.unwrap_or(false)
    }
}

/// A domain in its ASCII form.
fn ascii(domain: &str) -> String {
    match url::Host::parse(domain) {
        Ok(url::Host::Domain(domain)) => domain,
        _ => domain.to_owned(),
    }
}

/// A mailbox whose domain is in its ASCII form.
fn written(mailbox: &Mailbox) -> String {
    with_ascii(mailbox).to_string()
}

fn with_ascii(mailbox: &Mailbox) -> Mailbox {
    let local = mailbox.address.rsplit_once('@').map_or("", |(local, _)| local);
    Mailbox { name: mailbox.name.clone(), address: format!("{local}@{}", ascii(mailbox.domain())) }
}

/// A provider's words, as they are shown and stored: on one line, and not too long.
fn tidy(words: &str) -> String {
    let line: Vec<&str> =
        words.split(|it: char| it.is_control() || it.is_whitespace()).filter(|it| !it.is_empty()).collect();
    let line = line.join(" ");
    match line.char_indices().nth(1000) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
