//! A stand-in of Resend's API. It demands what the real one does: a key, a user agent, the fields of its reference and no others, and
//! one body for each idempotency key. What it answers otherwise is scripted for each account.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crm::model::email::RECORD_HEADER;
use serde_json::{Value, json};

/// How long a test waits for an e-mail.
const PATIENCE: Duration = Duration::from_secs(60);

/// The stand-in of this process.
pub struct Resend {
    /// `http://127.0.0.1:…`
    pub url: String,
    accounts: Mutex<HashMap<String, ResendAccount>>,
}

/// An account of it.
#[derive(Clone, Debug, Default)]
pub struct ResendAccount {
    /// The e-mails that it has sent, without the header that names the record.
    pub emails: Vec<Value>,
    /// The records that they name.
    pub records: Vec<String>,
    /// Its idempotency keys, each with the body and the id of the answer.
    keys: HashMap<String, (Value, String)>,
    /// The next answers to `POST /emails`; without any, it sends.
    script: VecDeque<ScriptedAnswer>,
    /// The attempts to send.
    pub attempts: usize,
    /// The idempotency key of each attempt.
    pub keys_of_attempts: Vec<String>,
    /// Whether it does not tell Message-IDs yet.
    hides_message_ids: bool,
    domains: Vec<Value>,
    /// The messages that it has received, by id.
    received: HashMap<String, Value>,
}

/// An answer to `POST /emails`.
#[derive(Clone, Debug)]
enum ScriptedAnswer {
    /// It refuses, before it looks at the e-mail.
    Refused { status: u16, body: Value, retry_after: Option<u64> },
    /// It sends, and the connection breaks before its answer.
    Lost,
    /// It sends, and does not answer.
    HeldBack,
}

/// What becomes of the answer to a request.
enum AnswerFate {
    Given(Option<u64>),
    Lost,
    HeldBack,
}

/// The stand-in of this process. An account is made by its first request.
pub fn resend() -> &'static Resend {
    static RESEND: OnceLock<Resend> = OnceLock::new();
    RESEND.get_or_init(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                axum::serve(listener, Router::new().fallback(serve)).await
            })
        });
        Resend { url, accounts: Mutex::default() }
    })
}

impl Resend {
    fn accounts(&self) -> MutexGuard<'_, HashMap<String, ResendAccount>> {
        self.accounts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What an account has done.
    pub fn account(&self, key: &str) -> ResendAccount {
        self.accounts().entry(key.to_owned()).or_default().clone()
    }

    /// Scripts an answer to `POST /emails`.
    pub fn will_answer(&self, key: &str, status: u16, body: Value) {
        self.script(key, ScriptedAnswer::Refused { status, body, retry_after: None });
    }

    /// Scripts an answer to `POST /emails` that asks to wait.
    pub fn will_ask_to_wait(&self, key: &str, status: u16, retry_after: u64) {
        let body = json!({"statusCode": status, "name": "x", "message": "Too busy."});
        self.script(key, ScriptedAnswer::Refused { status, body, retry_after: Some(retry_after) });
    }

    /// Lets an account send the next e-mail, and break the connection before its answer.
    pub fn will_lose_answer(&self, key: &str) {
        self.script(key, ScriptedAnswer::Lost);
    }

    /// Lets an account send the next e-mail, and never answer.
    pub fn will_hold_answer_back(&self, key: &str) {
        self.script(key, ScriptedAnswer::HeldBack);
    }

    /// Sets whether an account does not tell the Message-IDs of its e-mails yet.
    pub fn hides_message_ids(&self, key: &str, hides: bool) {
        self.accounts().entry(key.to_owned()).or_default().hides_message_ids = hides;
    }

    fn script(&self, key: &str, answer: ScriptedAnswer) {
        self.accounts().entry(key.to_owned()).or_default().script.push_back(answer);
    }

    /// Gives an account a message that it has received.
    pub fn has_received(&self, key: &str, id: &str, message: Value) {
        self.accounts().entry(key.to_owned()).or_default().received.insert(id.to_owned(), message);
    }

    /// Makes a domain verified.
    pub fn verify(&self, key: &str, name: &str) {
        let domain = domain(name, "verified");
        self.accounts().entry(key.to_owned()).or_default().domains.push(domain);
    }

    /// Waits until an account has sent this many e-mails.
    pub async fn wait(&self, key: &str, count: usize) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let emails = self.account(key).emails;
            if emails.len() >= count {
                return emails;
            }
            assert!(start.elapsed() < PATIENCE, "{} of {count} e-mails came", emails.len());
            tokio::task::yield_now().await;
        }
    }
}

/// The Message-ID that the stand-in gives the e-mail with this id. It is the provider's own.
pub fn message_id_of(id: &str) -> String {
    format!("<{id}-000000@us-east-1.amazonses.com>")
}

fn domain(name: &str, status: &str) -> Value {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    json!({"object": "domain", "id": format!("d91cd9bd-1176-453e-8fc1-{number:012}"), "name": name, "status": status,
        "created_at": "2026-04-26T20:21:26.347412+00:00", "region": "us-east-1",
        "records": [{"record": "SPF", "name": "send", "type": "MX", "ttl": "Auto", "status": status, "value": "feedback-smtp.us-east-1.amazonses.com", "priority": 10}]})
}

type Refusal = (u16, Value);

fn refusal(status: u16, name: &str, message: &str) -> Refusal {
    (status, json!({"statusCode": status, "name": name, "message": message}))
}

async fn serve(request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut fate = AnswerFate::Given(None);
    let (status, answer) = match answer(head.method.as_str(), head.uri.path(), &head.headers, &bytes, &mut fate) {
        Ok(answer) => (200, answer),
        Err(refused) => refused,
    };
    let status = StatusCode::from_u16(status).expect("a status");
    let retry_after = match fate {
        AnswerFate::Given(retry_after) => retry_after,
        AnswerFate::HeldBack => std::future::pending().await,
        AnswerFate::Lost => {
            let broken = futures_util::stream::iter([Err::<Vec<u8>, _>(std::io::Error::other("the answer is lost"))]);
            return Body::from_stream(broken).into_response();
        }
    };
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn answer(
    method: &str,
    path: &str,
    headers: &HeaderMap,
    bytes: &[u8],
    fate: &mut AnswerFate,
) -> Result<Value, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    if text("user-agent").is_none_or(str::is_empty) {
        return Err(refusal(403, "forbidden", "error code: 1010"));
    }
    let key = text("authorization").and_then(|it| it.strip_prefix("Bearer "));
    let key = key.ok_or_else(|| refusal(401, "missing_api_key", "Missing API Key"))?;
    if !key.starts_with("re_") || key.starts_with("re_invalid") {
        return Err(refusal(401, "validation_error", "API key is invalid"));
    }
    let has_body = method == "POST" && !path.ends_with("/verify");
    let body: Value = match has_body {
        true if text("content-type") != Some("application/json") => {
            return Err(refusal(415, "validation_error", "The content type must be application/json"));
        }
        true => serde_json::from_slice(bytes).map_err(|_| refusal(400, "validation_error", "The body is no JSON"))?,
        false => Value::Null,
    };
    let mut accounts = resend().accounts();
    let account = accounts.entry(key.to_owned()).or_default();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let not_found = || refusal(404, "not_found", "Domain not found");
    match (method, &segments[..]) {
        ("POST", ["emails"]) => send(account, text("idempotency-key"), body, fate),
        ("GET", ["emails", "receiving", id]) => {
            account.received.get(*id).cloned().ok_or_else(|| refusal(404, "not_found", "Email not found"))
        }
        ("GET", ["emails", _]) if key.contains("_sends_only") => {
            Err(refusal(401, "restricted_api_key", "This API key is restricted to only send emails"))
        }
        ("GET", ["emails", id]) => {
            let number = id.rsplit('-').next().and_then(|it| it.parse::<usize>().ok());
            let email = number.and_then(|it| account.emails.get(it));
            let email = email.ok_or_else(|| refusal(404, "not_found", "Email not found"))?;
            let message_id = (!account.hides_message_ids).then(|| message_id_of(id));
            Ok(json!({"object": "email", "id": id, "message_id": message_id, "from": email["from"], "to": email["to"],
                "subject": email["subject"], "last_event": "sent"}))
        }
        ("GET", ["domains"]) => {
            let brief = |it: &Value| {
                let mut it = it.clone();
                it.as_object_mut().expect("a domain").retain(|name, _| !matches!(name.as_str(), "records" | "object"));
                it
            };
            Ok(json!({"data": account.domains.iter().map(brief).collect::<Vec<_>>()}))
        }
        ("POST", ["domains"]) => {
            let name =
                body["name"].as_str().ok_or_else(|| refusal(422, "missing_required_field", "Missing `name` field."))?;
            if account.domains.iter().any(|it| it["name"] == name) {
                return Err(refusal(
                    403,
                    "validation_error",
                    &format!("The {name} domain has been registered already."),
                ));
            }
            if let Some(region) = body.get("region").filter(|it| *it != "us-east-1" && *it != "eu-west-1") {
                return Err(refusal(422, "invalid_region", &format!("Invalid region {region}.")));
            }
            let made = domain(name, "not_started");
            account.domains.push(made.clone());
            Ok(made)
        }
        ("GET", ["domains", id]) => account.domains.iter().find(|it| it["id"] == *id).cloned().ok_or_else(not_found),
        ("POST", ["domains", id, "verify"]) => {
            let found = account.domains.iter_mut().find(|it| it["id"] == *id).ok_or_else(not_found)?;
            found["status"] = "pending".into();
            Ok(json!({"object": "domain", "id": id}))
        }
        _ => Err(refusal(405, "method_not_allowed", "This endpoint does not support the method.")),
    }
}

fn send(account: &mut ResendAccount, key: Option<&str>, body: Value, fate: &mut AnswerFate) -> Result<Value, Refusal> {
    account.attempts += 1;
    account.keys_of_attempts.push(key.unwrap_or_default().to_owned());
    match account.script.pop_front() {
        Some(ScriptedAnswer::Refused { status, body, retry_after }) => {
            *fate = AnswerFate::Given(retry_after);
            return Err((status, body));
        }
        Some(ScriptedAnswer::Lost) => *fate = AnswerFate::Lost,
        Some(ScriptedAnswer::HeldBack) => *fate = AnswerFate::HeldBack,
        None => {}
    }
    check(&body)?;
    let key = key.filter(|it| (1..=256).contains(&it.len()));
    let key = key.ok_or_else(|| refusal(400, "invalid_idempotency_key", "The key must be between 1-256 chars."))?;
    match account.keys.get(key) {
        Some((known, id)) if *known == body => return Ok(json!({"id": id})),
        Some(_) => {
            return Err(refusal(
                409,
                "invalid_idempotent_request",
                "Same idempotency key used with a different request payload.",
            ));
        }
        None => {}
    }
    let id = format!("49a3999c-0ce1-4ea6-ab68-{:012}", account.emails.len());
    account.keys.insert(key.to_owned(), (body.clone(), id.clone()));
    let mut body = body;
    let headers = body["headers"].as_object_mut().ok_or_else(|| refusal(500, "x", "The message names no record"))?;
    let record = headers.remove(RECORD_HEADER).and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
    if headers.is_empty() {
        body.as_object_mut().expect("an object").remove("headers");
    }
    account.records.push(record);
    account.emails.push(body);
    Ok(json!({"id": id}))
}

/// Checks the fields of an e-mail.
fn check(body: &Value) -> Result<(), Refusal> {
    const FIELDS: &[&str] = &[
        "from",
        "to",
        "cc",
        "bcc",
        "reply_to",
        "subject",
        "html",
        "text",
        "headers",
        "attachments",
        "tags",
        "scheduled_at",
    ];
    let invalid = |message: String| refusal(422, "validation_error", &message);
    let fields = body.as_object().ok_or_else(|| invalid("The body is no object.".into()))?;
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(invalid(format!("Unknown field `{unknown}`.")));
    }
    let from =
        body["from"].as_str().filter(|it| it.contains('@')).ok_or_else(|| invalid("Invalid `from` field.".into()))?;
    if from.contains("unverified") {
        return Err(refusal(
            403,
            "validation_error",
            "The unverified.example domain is not verified. Please, add and verify your domain on https://resend.com/domains",
        ));
    }
    for name in ["to", "cc", "bcc", "reply_to"] {
        let Some(list) = fields.get(name) else { continue };
        let list = list.as_array().filter(|it| (1..=50).contains(&it.len()));
        let is_fine =
            |it: &Value| it.as_str().is_some_and(|it| it.contains('@') && it.is_ascii() && !it.starts_with("refused"));
        if !list.is_some_and(|list| list.iter().all(is_fine)) {
            return Err(invalid(format!("Invalid `{name}` field.")));
        }
    }
    if !fields.contains_key("to") || body["subject"].as_str().is_none_or(str::is_empty) {
        return Err(refusal(422, "missing_required_field", "Missing `to` or `subject` field."));
    }
    if body["html"].as_str().or(body["text"].as_str()).is_none() {
        return Err(refusal(422, "missing_required_field", "Missing `html` or `text` field."));
    }
    if let Some(headers) = fields.get("headers")
        && !headers.as_object().is_some_and(|it| it.values().all(Value::is_string))
    {
        return Err(invalid("Invalid `headers` field.".into()));
    }
    for file in body["attachments"].as_array().into_iter().flatten() {
        let content = file["content"].as_str().and_then(|it| STANDARD.decode(it).ok());
        if content.is_none() || !file["filename"].is_string() {
            return Err(invalid("Invalid `attachments` field.".into()));
        }
    }
    Ok(())
}
