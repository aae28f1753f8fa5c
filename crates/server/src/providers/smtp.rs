//! Mail servers. The address comes from a caller, so it is looked up under the guard of `targets.rs`, and the connection goes to the
//! address that was checked.
//!
//! A mail server knows no idempotency keys. A message whose acceptance was not heard of is sent again, with the same Message-ID.

use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crm::model::email;
use crm::plan::email_settings::{SmtpServer, SmtpTls};

use crate::providers::bounded::Bounded;
use crate::providers::imap::tls;
use crate::providers::strike::struck;
use crate::providers::{Handed, Mail, references, tidy, with_ascii};
use crate::targets::{BadTarget, Targets};

/// The longest time for the log-in to a mail server, and for all of a message.
const STEP_LIMIT: Duration = Duration::from_secs(15);
const LIMIT: Duration = Duration::from_secs(40);
/// The longest time for the end of a session.
const GOODBYE: Duration = Duration::from_secs(1);
/// The most bytes of all replies of a session.
const MOST_REPLIES: usize = 256 * 1024;

/// Hands a message over.
pub async fn hand(targets: &Targets, server: &SmtpServer, mail: &Mail) -> Handed {
    let message = match message(mail) {
        Ok(message) => message,
        Err(words) => return Handed::Refused(tidy(&words)),
    };
    let work = async {
        let mut session = session(targets, server).await?;
        let sent = session.send(message.envelope(), &message.formatted()).await;
        // Whether the server says goodbye does not matter.
        let _ = tokio::time::timeout(GOODBYE, session.quit()).await;
        sent.map(drop).map_err(verdict)
    };
    let handed = match tokio::time::timeout(LIMIT, work).await {
        Ok(Ok(())) => Handed::Accepted { message_id: mail.message_id() },
        Ok(Err(handed)) => handed,
        Err(_) => Handed::Down {
            words: "The mail server gave no answer in time.".into(),
            retry_after: None,
            may_be_accepted: true,
        },
    };
    shown(handed, server)
}

/// Whether the server can be reached and accepts the log-in.
pub async fn accepts(targets: &Targets, server: &SmtpServer) -> bool {
    match session(targets, server).await {
        Ok(mut session) => session.test_connected().await,
        Err(_) => false,
    }
}

/// The server's words as they are shown. Secrets are struck first: of one that is cut, a part would stay.
fn shown(handed: Handed, server: &SmtpServer) -> Handed {
    let (user, password) = server.login.as_ref().map_or(("", ""), |(user, password)| (user, password));
    let plain = format!("\0{user}\0{password}");
    let words_of = |words: String| tidy(&struck(&words, &[&plain, password]));
    match handed {
        Handed::Refused(words) => Handed::Refused(words_of(words)),
        Handed::Down { words, retry_after, may_be_accepted } => {
            Handed::Down { words: words_of(words), retry_after, may_be_accepted }
        }
        accepted => accepted,
    }
}

fn down(words: &str) -> Handed {
    Handed::Down { words: words.to_owned(), retry_after: None, may_be_accepted: false }
}

/// What follows from an error of the transport.
fn verdict(error: lettre::transport::smtp::Error) -> Handed {
    let words = match (error.status(), std::error::Error::source(&error)) {
        (Some(code), Some(words)) => format!("{code} {words}"),
        (None, Some(words)) if error.is_client() => format!("The mail server can't be used: {words}."),
        _ => error.to_string(),
    };
    // An error of the client is one of its settings: the server offers no way to log in.
    match error.is_permanent() || error.is_client() {
        true => Handed::Refused(words),
        false => Handed::Down {
            words: format!("The mail server can't take it now: {words}"),
            retry_after: None,
            may_be_accepted: error.status().is_none(),
        },
    }
}

/// A session with the server at the address that its name has now, if that may be used.
async fn session(targets: &Targets, server: &SmtpServer) -> Result<AsyncSmtpConnection, Handed> {
    let address = match targets.address_of(&server.host).await {
        Ok(Some(address)) => address,
        Ok(None) => return Err(down("The mail server's name has no address.")),
        Err(BadTarget::NotAllowed) => {
            return Err(Handed::Refused("The mail server is in a private network, or on this machine.".into()));
        }
        Err(bad) => return Err(Handed::Refused(bad.to_string())),
    };
    let usual = match server.tls {
        SmtpTls::Implicit => 465,
        SmtpTls::Required => 587,
        SmtpTls::Opportunistic | SmtpTls::None => 25,
    };
    let address = SocketAddr::new(address, server.port.unwrap_or(usual));
    let opened = tokio::time::timeout(STEP_LIMIT, open(server, address));
    opened.await.unwrap_or_else(|_| Err(down("The mail server gave no answer in time.")))
}

async fn open(server: &SmtpServer, address: SocketAddr) -> Result<AsyncSmtpConnection, Handed> {
    let unreachable = |error: io::Error| down(&format!("The mail server can't be reached: {error}."));
    let no_name = || Handed::Refused("The mail server's name can't be that of a certificate.".into());
    let plain = TcpStream::connect(address).await.map_err(unreachable)?;
    let hello = ClientId::default();
    let stream: Box<dyn AsyncTokioStream> = match server.tls {
        SmtpTls::Implicit => {
            let name = ServerName::try_from(server.host.clone()).map_err(|_| no_name())?;
            let encrypted = TlsConnector::from(tls()).connect(name, plain).await.map_err(unreachable)?;
            Box::new(Bounded::new(encrypted, address, MOST_REPLIES))
        }
        _ => Box::new(Bounded::new(plain, address, MOST_REPLIES)),
    };
    let mut session = AsyncSmtpConnection::connect_with_transport(stream, &hello).await.map_err(verdict)?;
    let encrypts = match server.tls {
        SmtpTls::Required => true,
        SmtpTls::Opportunistic => session.can_starttls(),
        SmtpTls::Implicit | SmtpTls::None => false,
    };
    if encrypts {
        session.starttls(parameters(&server.host).map_err(|_| no_name())?, &hello).await.map_err(verdict)?;
    }
    if let Some((user, password)) = &server.login {
        let login = Credentials::new(user.clone(), password.clone());
        session.auth(&[Mechanism::Plain, Mechanism::Login], &login).await.map_err(verdict)?;
    }
    Ok(session)
}

/// What encrypts a connection to this server after its greeting: with the system's certificates too, as from the start.
fn parameters(host: &str) -> Result<TlsParameters, lettre::transport::smtp::Error> {
    static SYSTEM: LazyLock<Vec<Certificate>> = LazyLock::new(|| {
        let found = rustls_native_certs::load_native_certs().certs;
        found.into_iter().filter_map(|der| Certificate::from_der(der.to_vec()).ok()).collect()
    });
    let builder = TlsParameters::builder(host.to_owned());
    SYSTEM.iter().fold(builder, |builder, it| builder.add_root_certificate(it.clone())).build()
}

/// The message in the form of mail servers. The error says what can't be written.
fn message(mail: &Mail) -> Result<Message, String> {
    let said = &mail.message;
    let from = said.from.as_ref().ok_or("The message has no sender.")?;
    let mut builder = Message::builder()
        .from(mailbox(from)?)
        .subject(said.subject.clone())
        .message_id(Some(mail.message_id()))
        .date_now();
    for to in &said.to {
        builder = builder.to(mailbox(to)?);
    }
    for cc in &said.cc {
        builder = builder.cc(mailbox(cc)?);
    }
    // Only the envelope has them.
    for bcc in &said.bcc {
        builder = builder.bcc(mailbox(bcc)?);
    }
    for reply_to in &said.reply_to {
        builder = builder.reply_to(mailbox(reply_to)?);
    }
    if let Some(answered) = &said.in_reply_to {
        builder = builder.in_reply_to(answered.clone());
    }
    if let Some(references) = references(said) {
        builder = builder.references(references);
    }
    for (name, value) in &said.headers {
        let name =
            HeaderName::new_from_ascii(name.clone()).map_err(|_| format!("The header {name} can't be written."))?;
        builder = builder.raw_header(HeaderValue::new(name, value.clone()));
    }
    let part = |kind: ContentType, text: &str| SinglePart::builder().header(kind).body(text.to_owned());
    let text = said.text.as_deref().map(|text| part(ContentType::TEXT_PLAIN, text));
    let html = said.html.as_deref().map(|html| part(ContentType::TEXT_HTML, html));
    let body = match (text, html) {
        (Some(text), Some(html)) => MultiPart::alternative().singlepart(text).singlepart(html),
        (Some(one), None) | (None, Some(one)) if said.attachments.is_empty() => {
            return builder.singlepart(one).map_err(|error| error.to_string());
        }
        (Some(one), None) | (None, Some(one)) => MultiPart::mixed().singlepart(one),
        (None, None) => return Err("The message is empty.".into()),
    };
    if said.attachments.is_empty() {
        return builder.multipart(body).map_err(|error| error.to_string());
    }
    let mut whole = match (&said.text, &said.html) {
        (Some(_), Some(_)) => MultiPart::mixed().multipart(body),
        _ => body,
    };
    for file in &said.attachments {
        whole = whole.singlepart(attachment(file)?);
    }
    builder.multipart(whole).map_err(|error| error.to_string())
}

fn attachment(file: &email::Attachment) -> Result<SinglePart, String> {
    let content = STANDARD.decode(&file.content).map_err(|_| format!("{} is no base64.", file.filename))?;
    let kind = file.content_type.as_deref().unwrap_or("application/octet-stream");
    let kind = ContentType::parse(kind).map_err(|_| format!("{kind} is no media type."))?;
    let part = match &file.content_id {
        Some(id) => Attachment::new_inline_with_name(id.clone(), file.filename.clone()),
        None => Attachment::new(file.filename.clone()),
    };
    Ok(part.body(content, kind))
}

fn mailbox(mailbox: &email::Mailbox) -> Result<Mailbox, String> {
    let ascii = with_ascii(mailbox);
    let address: Address =
        ascii.address.parse().map_err(|_| format!("{} is no address for a mail server.", mailbox.address))?;
    Ok(Mailbox::new(ascii.name, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_blind_and_files_are_parts() {
        let of = |text: &str| email::Mailbox::parse(text).unwrap();
        let file = email::Attachment {
            filename: "Zoë.txt".into(),
            content_type: Some("text/plain".into()),
            content_id: None,
            content: "aGk=".into(),
        };
        let said = email::EmailMessage {
            from: Some(of("Ada <ada@a.example>")),
            to: vec![of("b@c.example")],
            bcc: vec![of("secret@d.example")],
            subject: "Grüße".into(),
            text: Some("T".into()),
            html: Some("<p>T</p>".into()),
            headers: vec![("X-Ref".into(), "1".into())],
            attachments: vec![file],
            in_reply_to: Some("<x@y>".into()),
            references: vec!["<w@y>".into(), "<x@y>".into()],
            ..email::EmailMessage::default()
        };
        let message = message(&Mail { id: "e_1".into(), message: said }).unwrap();
        assert_eq!(message.envelope().to().len(), 2);
        let text = String::from_utf8(message.formatted()).unwrap();
        for part in [
            "Message-ID: <e_1@a.example>",
            "In-Reply-To: <x@y>",
            "References: <w@y> <x@y>",
            "X-Ref: 1",
            "multipart/mixed",
            "multipart/alternative",
            "text/html",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("secret@"), "{text}");
    }
}
