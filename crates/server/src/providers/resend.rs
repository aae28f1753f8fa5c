//! Resend's API: <https://resend.com/docs/api-reference>.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crm::model::email::{Mailbox, RECORD_HEADER};
use crm::model::inbound::{self, InboundEmail, InboundFile};

use crate::http_client::{retry_after, with_causes};
use crate::providers::strike::struck;
use crate::providers::{Handed, Mail, Providers, references, tidy, written};

/// The longest time for a whole answer.
pub(super) const LIMIT: Duration = Duration::from_secs(15);
/// The longest time for finding the Message-ID of a message that was just accepted.
const MESSAGE_ID_LIMIT: Duration = Duration::from_secs(3);
/// The longest answer that is read.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A sending domain, as Resend describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain(pub Map<String, Value>);

impl Domain {
    /// Its name.
    pub fn name(&self) -> &str {
        self.0.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether its DNS records are verified.
    pub fn is_verified(&self) -> bool {
        self.0.get("status").and_then(Value::as_str) == Some("verified")
    }
}

/// Why Resend did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResendError {
    /// It knows no such domain.
    NotFound,
    /// It refused. These are its words.
    Refused(String),
    /// It can't be reached, or has no time.
    Down {
        /// Why.
        words: String,
        /// Seconds that it asks to wait.
        retry_after: Option<u64>,
        /// Whether it may have done it, and only its answer was lost.
        may_be_done: bool,
    },
}

/// A request to Resend.
struct Request<'a> {
    method: Method,
    path: &'a [&'a str],
    body: Option<Value>,
    /// Its answer to the same key within 24 hours is the same.
    idempotency_key: Option<&'a str>,
}

impl Providers {
    pub(super) async fn hand_to_resend(&self, api_key: &str, mail: &Mail) -> Handed {
        let request = Request {
            method: Method::POST,
            path: &["emails"],
            body: Some(body(mail)),
            idempotency_key: Some(&mail.id),
        };
        match self.ask(api_key, request).await {
            Ok(answer) => match answer["id"].as_str() {
                Some(id) => {
                    let known = tokio::time::timeout(MESSAGE_ID_LIMIT, self.message_id(api_key, id)).await;
                    let message_id = known.ok().and_then(Result::ok).flatten();
                    Handed::Accepted { message_id: message_id.unwrap_or_else(|| id.to_owned()) }
                }
                None => Handed::Down {
                    words: "Resend's answer has no id.".into(),
                    retry_after: None,
                    may_be_accepted: true,
                },
            },
            Err(ResendError::NotFound) => Handed::Refused("Resend knows no such path.".into()),
            Err(ResendError::Refused(words)) => Handed::Refused(words),
            Err(ResendError::Down { words, retry_after, may_be_done }) => {
                Handed::Down { words, retry_after, may_be_accepted: may_be_done }
            }
        }
    }

    /// The Message-ID of a sent message, by its id; `None` if it has none yet. Resend sets its own, whatever the message's header says.
    pub async fn message_id(&self, api_key: &str, id: &str) -> Result<Option<String>, ResendError> {
        let request = Request { method: Method::GET, path: &["emails", id], body: None, idempotency_key: None };
        let answer = self.ask(api_key, request).await?;
        Ok(answer["message_id"].as_str().filter(|it| it.contains('@')).and_then(inbound::message_id))
    }

    /// A message that the account has received.
    pub async fn received(&self, api_key: &str, id: &str) -> Result<InboundEmail, ResendError> {
        let request =
            Request { method: Method::GET, path: &["emails", "receiving", id], body: None, idempotency_key: None };
        Ok(received(&self.ask(api_key, request).await?, id))
    }

    /// The sending domains of an account.
    pub async fn domains(&self, api_key: &str) -> Result<Vec<Domain>, ResendError> {
        let request = Request { method: Method::GET, path: &["domains"], body: None, idempotency_key: None };
        let mut answer = self.ask(api_key, request).await?;
        match answer["data"].take() {
            Value::Array(items) => items.into_iter().map(domain).collect(),
            _ => Err(no_domain()),
        }
    }

    /// Creates a sending domain.
    pub async fn create_domain(&self, api_key: &str, name: &str, region: Option<&str>) -> Result<Domain, ResendError> {
        let mut body = json!({"name": name});
        if let Some(region) = region {
            body["region"] = region.into();
        }
        let request = Request { method: Method::POST, path: &["domains"], body: Some(body), idempotency_key: None };
        self.ask(api_key, request).await.and_then(domain)
    }

    /// Finds a sending domain.
    pub async fn find_domain(&self, api_key: &str, id: &str) -> Result<Domain, ResendError> {
        let request = Request { method: Method::GET, path: &["domains", id], body: None, idempotency_key: None };
        self.ask(api_key, request).await.and_then(domain)
    }

    /// Has Resend check the DNS records of a sending domain, and finds it.
    pub async fn verify_domain(&self, api_key: &str, id: &str) -> Result<Domain, ResendError> {
        let request =
            Request { method: Method::POST, path: &["domains", id, "verify"], body: None, idempotency_key: None };
        self.ask(api_key, request).await?;
        self.find_domain(api_key, id).await
    }

    async fn ask(&self, api_key: &str, request: Request<'_>) -> Result<Value, ResendError> {
        let down = |words: String, retry_after, may_be_done| ResendError::Down {
            words: tidy(&words),
            retry_after,
            may_be_done,
        };
        // A URL drops some segments, `..` for one, and some characters.
        if !request.path.iter().all(|segment| is_id(segment)) {
            return Err(ResendError::NotFound);
        }
        let mut url = self.resend.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(request.path);
        }
        let mut sent = self.client.request(request.method, url).bearer_auth(api_key);
        sent = sent.header("user-agent", concat!("Kith/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = request.idempotency_key {
            sent = sent.header("idempotency-key", key);
        }
        if let Some(body) = &request.body {
            sent = sent.json(body);
        }
        let unreachable = |error: reqwest::Error| {
            let may_be_done = !error.is_connect();
            let words = if error.is_timeout() { "no answer in time".into() } else { with_causes(&error.without_url()) };
            down(format!("Resend can't be reached: {words}."), None, may_be_done)
        };
        let mut response = sent.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if text.len() + chunk.len() > MOST_BYTES {
                return Err(down("Resend's answer is too long.".into(), None, true));
            }
            text.extend_from_slice(&chunk);
        }
        let answer: Value = serde_json::from_slice(&text).unwrap_or_default();
        let words = match answer["message"].as_str() {
            Some(message) => tidy(&struck(message, &[api_key])),
            None => format!("Resend answered {status}."),
        };
        match status {
            200..300 if answer.is_object() => Ok(answer),
            // A request with the same key is being served.
            409 if answer["name"] == "concurrent_idempotent_requests" => Err(down(words, retry_after, true)),
            429 => Err(down(words, retry_after, false)),
            408 | 425 | 500.. => Err(down(words, retry_after, true)),
            404 => Err(ResendError::NotFound),
            400..500 => Err(ResendError::Refused(words)),
            _ => Err(down(words, retry_after, true)),
        }
    }
}

/// Whether this may be an id in a path.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn domain(value: Value) -> Result<Domain, ResendError> {
    match value {
        Value::Object(fields) => Ok(Domain(fields)),
        _ => Err(no_domain()),
    }
}

fn no_domain() -> ResendError {
    let words = "Resend's answer is not what its documentation says.".into();
    ResendError::Down { words, retry_after: None, may_be_done: true }
}

/// A received message in Resend's form: <https://resend.com/docs/api-reference/emails/retrieve-received-email>.
fn received(answer: &Value, id: &str) -> InboundEmail {
    let text = |value: &Value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
    let header = |name: &str| {
        let headers = answer["headers"].as_object();
        let found = headers.and_then(|all| all.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)));
        found.and_then(|(_, value)| text(value))
    };
    let addresses = |name: &str| -> Vec<String> {
        let all = match &answer[name] {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            Value::String(one) => vec![one.as_str()],
            _ => Vec::new(),
        };
        all.into_iter().map(|it| Mailbox::parse(it).map_or_else(|| it.to_owned(), |mailbox| mailbox.address)).collect()
    };
    let file = |file: &Value| InboundFile {
        filename: text(&file["filename"]).unwrap_or_else(|| "attachment".into()),
        content_type: text(&file["content_type"]).unwrap_or_else(|| "application/octet-stream".into()),
        bytes: file["size"].as_u64().unwrap_or_default() as usize,
    };
    let ids = |name: &str| header(name).map(|text| inbound::message_ids(&text)).unwrap_or_default();
    let from = text(&answer["from"]);
    InboundEmail {
        message_id: text(&answer["message_id"])
            .and_then(|it| inbound::message_id(&it))
            .unwrap_or_else(|| format!("resend:{id}")),
        references: [ids("references"), ids("in-reply-to")].concat(),
        from: from.map(|it| Mailbox::parse(&it).unwrap_or(Mailbox { name: None, address: it })),
        to: addresses("to"),
        cc: addresses("cc"),
        reply_to: addresses("reply_to"),
        subject: text(&answer["subject"]),
        sent_ms: header("date").and_then(|text| inbound::time_ms(&text)),
        received_ms: text(&answer["created_at"]).and_then(|text| inbound::time_ms(&text)),
        text: text(&answer["text"]),
        html: text(&answer["html"]),
        files: answer["attachments"].as_array().into_iter().flatten().map(file).collect(),
        copy_of: header(RECORD_HEADER).and_then(|it| inbound::record_named(&it)),
        is_automatic: header("auto-submitted").is_some_and(|it| !it.to_lowercase().starts_with("no")),
        truncated: Vec::new(),
    }
    .within_limits()
}

/// The body of `POST /emails`.
fn body(mail: &Mail) -> Value {
    let message = &mail.message;
    let all = |mailboxes: &[Mailbox]| Value::from(mailboxes.iter().map(written).collect::<Vec<_>>());
    let mut body = json!({
        "from": message.from.as_ref().map(written),
        "to": all(&message.to),
        "subject": message.subject,
    });
    for (name, mailboxes) in [("cc", &message.cc), ("bcc", &message.bcc), ("reply_to", &message.reply_to)] {
        if !mailboxes.is_empty() {
            body[name] = all(mailboxes);
        }
    }
    for (name, text) in [("html", &message.html), ("text", &message.text)] {
        if let Some(text) = text {
            body[name] = text.as_str().into();
        }
    }
    let mut headers: Map<String, Value> =
        message.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    headers.insert(RECORD_HEADER.into(), mail.id.as_str().into());
    if let Some(answered) = &message.in_reply_to {
        headers.insert("In-Reply-To".into(), answered.as_str().into());
    }
    if let Some(references) = references(message) {
        headers.insert("References".into(), references.into());
    }
    body["headers"] = headers.into();
    if !message.attachments.is_empty() {
        let attachments = message.attachments.iter().map(|it| {
            let mut file = json!({"filename": it.filename, "content": it.content});
            for (name, value) in [("content_type", &it.content_type), ("content_id", &it.content_id)] {
                if let Some(value) = value {
                    file[name] = value.as_str().into();
                }
            }
            file
        });
        body["attachments"] = attachments.collect();
    }
    body
}

#[cfg(test)]
mod tests {
    use crm::model::email::EmailMessage;

    use super::*;

    #[test]
    fn a_received_message_is_read() {
        let answer = json!({"from": "Acme <a@b.co>", "to": ["c@d.co"], "cc": [], "subject": "S", "html": "<p>Hi</p>", "text": null,
            "created_at": "2023-11-14T22:13:20.1+00:00", "message_id": "<m@b.co>", "headers": {"In-Reply-To": "<r@d.co>", "Date": "junk"},
            "attachments": [{"filename": "a.png", "content_type": "image/png", "size": 5}]});
        let email = received(&answer, "id");
        assert_eq!(
            (email.message_id.as_str(), email.references.as_slice()),
            ("<m@b.co>", &["<r@d.co>".to_owned()][..])
        );
        assert_eq!((email.text.as_deref(), email.html.as_deref()), (Some("Hi"), Some("<p>Hi</p>")));
        assert_eq!((email.received_ms, email.sent_ms), (Some(1_700_000_000_000), None));
        assert_eq!(email.files[0].bytes, 5);
        assert_eq!(received(&json!({}), "id").message_id, "resend:id");
    }

    #[test]
    fn a_message_is_written_as_resend_wants_it() {
        let mailbox = |text: &str| Mailbox::parse(text).unwrap();
        let message = EmailMessage {
            from: Some(mailbox("Ada, L <ada@müller.example>")),
            to: vec![mailbox("b@c.co")],
            bcc: vec![mailbox("d@e.co")],
            subject: "S".into(),
            html: Some("<p>".into()),
            headers: vec![("X-A".into(), "1".into())],
            in_reply_to: Some("<x@y>".into()),
            references: vec!["<w@y>".into(), "<x@y>".into()],
            ..EmailMessage::default()
        };
        let expected = json!({"from": "\"Ada, L\" <ada@xn--mller-kva.example>", "to": ["b@c.co"], "bcc": ["d@e.co"], "subject": "S", "html": "<p>",
            "headers": {"X-A": "1", "X-Kith-Email": "e_1", "In-Reply-To": "<x@y>", "References": "<w@y> <x@y>"}});
        assert_eq!(body(&Mail { id: "e_1".into(), message }), expected);
    }
}
