//! Sends the letters that are queued: by SMTP where that is configured, else into the log, where the operator finds the
//! link. A letter that can't be sent is tried again, ever more rarely, and given up after a day.

use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::sync::Notify;

use crate::clock::Clock;
use crm::model::fault::Fault;

use crate::people::auth::emails::{self, Email};
use crate::store::Store;
use crate::store::control::mail::DueMail;

/// How often the queue is looked at when nobody says that there is something in it.
const EVERY: Duration = Duration::from_secs(15);
/// How long the mail server may take for a step.
const LIMIT: Duration = Duration::from_secs(20);
/// Seconds before a letter is tried for the second time; each time it is twice as long.
const RETRY_SECONDS: i64 = 30;
/// How often a letter is tried: the last time, more than a day has gone by.
const ATTEMPTS: i32 = 12;

/// How letters leave.
pub enum Mailer {
    /// Through a mail server.
    Smtp {
        /// The way there.
        transport: Box<AsyncSmtpTransport<Tokio1Executor>>,
        /// Whom letters are from.
        from: Box<Mailbox>,
    },
    /// Not at all: the link is logged, and shown to nobody else.
    Log,
}

impl Mailer {
    /// The way that the settings say. What is wrong with them is said without the password that the URL may hold.
    pub fn new(smtp_url: Option<&str>, mail_from: Option<&str>) -> Result<Mailer, String> {
        let Some(url) = smtp_url else { return Ok(Mailer::Log) };
        let from = mail_from
            .ok_or("KITH_SMTP_URL needs KITH_MAIL_FROM: whom letters are from, like Kith <kith@example.com>")?;
        let from: Mailbox = from.parse().map_err(|_| "KITH_MAIL_FROM is no mailbox like Kith <kith@example.com>")?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(&with_tls(url))
            .map_err(|_| "KITH_SMTP_URL is no address like smtp://user:password@mail.example.com:587 or smtps://…")?;
        Ok(Mailer::Smtp { transport: Box::new(transport.timeout(Some(LIMIT)).build()), from: Box::new(from) })
    }
}

/// STARTTLS is asked for unless the URL says otherwise (`?tls=`); where a password is sent, it is insisted on.
fn with_tls(url: &str) -> String {
    let Some(rest) = url.strip_prefix("smtp://") else { return url.to_owned() };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let tls = match rest.split_once('?') {
        Some((_, query)) if query.split('&').any(|pair| pair == "tls=none") => return url.replace("tls=none", ""),
        Some((_, query)) if query.split('&').any(|pair| pair.starts_with("tls=")) => return url.to_owned(),
        _ if authority.contains('@') => "tls=required",
        _ => "tls=opportunistic",
    };
    // Without a port, lettre would go on from a TLS parameter to port 587; smtp:// without more is port 25.
    let has_port =
        authority.rsplit('@').next().is_some_and(|host| host.rsplit(']').next().unwrap_or(host).contains(':'));
    let url = if has_port || tls == "tls=required" {
        url.to_owned()
    } else {
        format!("smtp://{authority}:25{}", &rest[authority.len()..])
    };
    format!("{url}{}{tls}", if rest.contains('?') { '&' } else { '?' })
}

/// Sends for ever.
pub async fn run(store: Store, clock: Clock, post: Mailer, waiting: Arc<Notify>) {
    loop {
        send_due(&store, &clock, &post).await;
        let _ = tokio::time::timeout(EVERY, waiting.notified()).await;
    }
}

/// Sends what is due by this clock.
pub async fn send_due(store: &Store, clock: &Clock, post: &Mailer) {
    while let Some(due) = take(store, clock).await {
        if let Err(fault) = send(store, clock, post, &due).await {
            tracing::error!(?fault, letter = due.kind, about = due.about, "can't send a letter; trying again");
        }
    }
}

async fn take(store: &Store, clock: &Clock) -> Option<DueMail> {
    match store.control.take_mail(clock.unix_seconds(), RETRY_SECONDS).await {
        Ok(due) => due,
        Err(fault) => {
            tracing::error!(?fault, "can't look for letters; trying again");
            None
        }
    }
}

async fn send(store: &Store, clock: &Clock, post: &Mailer, due: &DueMail) -> Result<(), Fault> {
    let Some(written) = emails::compose(store, clock, due).await? else {
        tracing::error!(letter = due.kind, "nobody knows how to write this letter");
        return store.control.drop_mail(&due.id).await;
    };
    let (letter, about, attempts) = (&due.kind, &due.about, due.attempts);
    let over = match deliver(post, due, &written).await {
        Ok(()) => {
            tracing::debug!(letter, about, "letter sent");
            true
        }
        Err(Failure::ForGood(reason)) => {
            tracing::error!(reason, letter, about, "a letter was refused");
            true
        }
        Err(Failure::NotNow(reason)) if attempts >= ATTEMPTS => {
            tracing::error!(reason, letter, about, attempts, "gave a letter up");
            true
        }
        Err(Failure::NotNow(reason)) => {
            tracing::warn!(reason, letter, about, attempts, "a letter could not be sent; trying again");
            false
        }
    };
    if over { store.control.drop_mail(&due.id).await } else { Ok(()) }
}

/// Why a letter did not leave.
enum Failure {
    /// It never will.
    ForGood(String),
    /// It may later.
    NotNow(String),
}

async fn deliver(post: &Mailer, due: &DueMail, written: &Email) -> Result<(), Failure> {
    match post {
        Mailer::Log => {
            let (letter, about, link) = (&due.kind, &due.about, &written.link);
            tracing::info!(letter, about, link, "no KITH_SMTP_URL: a letter's link is here instead");
            Ok(())
        }
        Mailer::Smtp { transport, from } => {
            let to: Mailbox = due.email.parse().map_err(|error| Failure::ForGood(format!("{error}")))?;
            let message = Message::builder()
                .from((**from).clone())
                .to(to)
                .subject(written.subject)
                .header(ContentType::TEXT_PLAIN)
                .body(written.text.clone())
                .map_err(|error| Failure::ForGood(error.to_string()))?;
            match transport.send(message).await {
                Ok(_) => Ok(()),
                Err(error) if error.is_permanent() => Err(Failure::ForGood(error.to_string())),
                Err(error) => Err(Failure::NotNow(error.to_string())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_sent_in_the_clear() {
        let check = |url: &str, expected: &str| assert_eq!(with_tls(url), expected);
        check("smtps://a:b@mail.example", "smtps://a:b@mail.example");
        check("smtp://a:b@mail.example:587", "smtp://a:b@mail.example:587?tls=required");
        check("smtp://a:b@mail.example", "smtp://a:b@mail.example?tls=required");
        check("smtp://localhost", "smtp://localhost:25?tls=opportunistic");
        check("smtp://[::1]", "smtp://[::1]:25?tls=opportunistic");
        check("smtp://127.0.0.1:2525/me", "smtp://127.0.0.1:2525/me?tls=opportunistic");
        check("smtp://a:b@mail.example?tls=opportunistic", "smtp://a:b@mail.example?tls=opportunistic");
        check("smtp://a:b@relay.internal:25?tls=none", "smtp://a:b@relay.internal:25?");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, from) in [
            ("smtp://u:hunter2@", Some("a@b.example")),
            ("ftp://u:hunter2@x", Some("a@b.example")),
            ("smtp://u:hunter2@x", None),
            ("smtp://u:hunter2@x", Some("nobody")),
        ] {
            let said = Mailer::new(Some(url), from).err().expect("a refusal");
            assert!(said.contains("KITH_") && !said.contains("hunter2"), "{said}");
        }
    }
}
