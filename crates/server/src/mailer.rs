//! Sends e-mail: by SMTP if it is configured, else into the log, where the operator finds the link.

use std::time::Duration;

use lettre::message::{Mailbox, SinglePart};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

/// The longest time for each step of the mail server.
const LIMIT: Duration = Duration::from_secs(20);

/// The way in which e-mail is sent.
pub enum Mailer {
    /// E-mail is sent through a mail server.
    Smtp {
        /// The connection to the mail server.
        transport: Box<AsyncSmtpTransport<Tokio1Executor>>,
        /// The sender of every e-mail.
        from: Box<Mailbox>,
    },
    /// No e-mail is sent. The link is only logged.
    Log,
}

impl Mailer {
    /// Creates the mailer of these settings. An error does not show the password that the URL may contain.
    pub fn new(smtp_url: Option<&str>, mail_from: Option<&str>) -> Result<Mailer, String> {
        let Some(url) = smtp_url else { return Ok(Mailer::Log) };
        let from = mail_from
            .ok_or("KITH_SMTP_URL needs KITH_MAIL_FROM, the sender of e-mails, like Kith <kith@example.com>")?;
        let from: Mailbox = from.parse().map_err(|_| "KITH_MAIL_FROM is no mailbox like Kith <kith@example.com>")?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(&with_tls(url))
            .map_err(|_| "KITH_SMTP_URL is no address like smtp://user:password@mail.example.com:587 or smtps://…")?;
        Ok(Mailer::Smtp { transport: Box::new(transport.timeout(Some(LIMIT)).build()), from: Box::new(from) })
    }

    /// Sends an e-mail.
    pub async fn send(&self, email: &Email<'_>) -> Result<(), NotSent> {
        let Mailer::Smtp { transport, from } = self else {
            let Email { kind, about, link, .. } = email;
            tracing::info!(kind, about, link, "no KITH_SMTP_URL: an e-mail's link is here instead");
            return Ok(());
        };
        let to: Mailbox = email.to.parse().map_err(|error| NotSent::ForGood(format!("{error}")))?;
        // An attempt that is repeated has the same Message-ID.
        let message_id = format!("<{}@{}>", email.id, from.email.domain());
        let message = Message::builder()
            .from((**from).clone())
            .to(to)
            .subject(email.subject)
            .message_id(Some(message_id))
            .singlepart(SinglePart::plain(email.text.to_owned()))
            .map_err(|error| NotSent::ForGood(error.to_string()))?;
        match transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => Err(NotSent::ForGood(error.to_string())),
            Err(error) => Err(NotSent::Yet(error.to_string())),
        }
    }
}

/// STARTTLS is requested unless the URL says otherwise (`?tls=`). If a password is sent, it is required.
fn with_tls(url: &str) -> String {
    let Some(rest) = url.strip_prefix("smtp://") else { return url.to_owned() };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let tls = match rest.split_once('?') {
        Some((_, query)) if query.split('&').any(|pair| pair == "tls=none") => return url.replace("tls=none", ""),
        Some((_, query)) if query.split('&').any(|pair| pair.starts_with("tls=")) => return url.to_owned(),
        _ if authority.contains('@') => "tls=required",
        _ => "tls=opportunistic",
    };
    // If a URL has a TLS parameter but no port, lettre would use port 587. The port of plain smtp:// is 25.
    let has_port =
        authority.rsplit('@').next().is_some_and(|host| host.rsplit(']').next().unwrap_or(host).contains(':'));
    let url = if has_port || tls == "tls=required" {
        url.to_owned()
    } else {
        format!("smtp://{authority}:25{}", &rest[authority.len()..])
    };
    format!("{url}{}{tls}", if rest.contains('?') { '&' } else { '?' })
}

/// An e-mail.
#[derive(Clone, Copy, Debug)]
pub struct Email<'a> {
    /// Its id in the queue.
    pub id: &'a str,
    /// Its kind, for the log.
    pub kind: &'a str,
    /// The person or thing it is about, for the log.
    pub about: &'a str,
    /// The recipient's address.
    pub to: &'a str,
    /// The subject line.
    pub subject: &'a str,
    /// The text, with the link in it.
    pub text: &'a str,
    /// The link in the text.
    pub link: &'a str,
}

/// Why an e-mail was not sent.
#[derive(Debug, PartialEq, Eq)]
pub enum NotSent {
    /// It can never be sent.
    ForGood(String),
    /// It may be sent later.
    Yet(String),
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
