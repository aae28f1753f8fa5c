//! Checks how a workspace sends e-mail: its provider, its sender, and sending domains.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::model::email::Mailbox;
use crate::model::fault::Fault;
use crate::plan::control::{broken, missing, only, text};
use crate::plan::email::{line, mailboxes};

/// Where a workspace's mail is handed over.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "provider", rename_all = "lowercase")]
pub enum Provider {
    /// Resend's API.
    Resend {
        /// `re_…`
        api_key: String,
    },
    /// A mail server.
    Smtp(SmtpServer),
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SmtpServer {
    /// Its name or address.
    pub host: String,
    /// Its port; `None` for the usual one.
    pub port: Option<u16>,
    /// The user's name and password.
    pub login: Option<(String, String)>,
    /// How the connection is encrypted.
    pub tls: SmtpTls,
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// From the start (`smtps://`).
    Implicit,
    /// By STARTTLS, without which nothing is sent.
    Required,
    /// By STARTTLS if the server offers it.
    Opportunistic,
    /// Never.
    None,
}

impl Provider {
    /// The name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Provider::Resend { .. } => "resend",
            Provider::Smtp(_) => "smtp",
        }
    }
}

/// How a workspace sends e-mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailSettings {
    /// Where mail is handed over.
    pub provider: Provider,
    /// The sender of mail that names none.
    pub from_email: Mailbox,
    /// The secret with which Resend signs its webhook about received mail. `None` leaves the present one, `Some(None)` removes it.
    pub webhook_secret: Option<Option<String>>,
}

/// Checks the settings of a request.
pub fn settings(values: &Map<String, Value>) -> Result<EmailSettings, Fault> {
    const RESEND: &[&str] = &["provider", "api_key", "from_email", "webhook_secret"];
    const SMTP: &[&str] = &["provider", "url", "host", "port", "username", "password", "tls", "from_email"];
    let provider = text(values, "provider", 50)?.flatten();
    let is_smtp = match provider.as_deref() {
        Some("smtp") => true,
        None | Some("resend") => false,
        Some(other) => {
            let said = format!("There is no provider \"{}\"; there are resend and smtp.", other.escape_debug());
            return Err(broken("provider", said, None));
        }
    };
    only(values, if is_smtp { SMTP } else { RESEND })?;
    let provider = match is_smtp {
        true => Provider::Smtp(smtp(values)?),
        false => {
            let api_key = word(values, "api_key")?.ok_or_else(|| missing("api_key"))?;
            if !api_key.starts_with("re_") || !api_key.bytes().all(|it| it.is_ascii_graphic()) {
                return Err(broken("api_key", "\"api_key\" is a key of Resend, which begins with re_.".into(), None));
            }
            Provider::Resend { api_key }
        }
    };
    let mut from = mailboxes(values, "from_email")?;
    if from.len() > 1 {
        return Err(broken("from_email", "\"from_email\" has one address.".into(), None));
    }
    let from_email = from.pop().ok_or_else(|| missing("from_email"))?;
    let webhook_secret = match (is_smtp, values.get("webhook_secret")) {
        // Another provider sends no webhook.
        (true, _) => Some(None),
        (false, None) => None,
        (false, Some(_)) => Some(word(values, "webhook_secret")?.map(secret).transpose()?),
    };
    Ok(EmailSettings { provider, from_email, webhook_secret })
}

fn secret(text: String) -> Result<String, Fault> {
    let is_fine =
        text.strip_prefix("whsec_").is_some_and(|rest| STANDARD.decode(rest).is_ok_and(|key| key.len() >= 16));
    match is_fine {
        true => Ok(text),
        false => Err(broken(
            "webhook_secret",
            "\"webhook_secret\" is the signing secret of a webhook at Resend, which begins with whsec_.".into(),
            Some("Resend shows it on the webhook's page.".into()),
        )),
    }
}

/// A text without control characters that is not empty.
fn word(values: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Fault> {
    line(values, name)
}

fn smtp(values: &Map<String, Value>) -> Result<SmtpServer, Fault> {
    const TLS: &str = "\"tls\" is implicit, required, opportunistic or none.";
    let tls = |name: &str| match name {
        "implicit" => Some(SmtpTls::Implicit),
        "required" => Some(SmtpTls::Required),
        "opportunistic" => Some(SmtpTls::Opportunistic),
        "none" => Some(SmtpTls::None),
        _ => None,
    };
    if let Some(url) = word(values, "url")? {
        if let Some(other) =
            ["host", "port", "username", "password", "tls"].into_iter().find(|it| values.contains_key(*it))
        {
            return Err(broken(other, format!("\"url\" says what \"{other}\" says; send one of them."), None));
        }
        // The address is not repeated, because it may contain the password.
        let said = "\"url\" is an address like smtp://user:password@mail.example.com:587 or smtps://….";
        return server_of(&url, tls).ok_or_else(|| broken("url", said.into(), Some(TLS.replace("\"tls\"", "?tls="))));
    }
    let host = word(values, "host")?
        .ok_or_else(|| broken("host", "\"host\" must have a value, or \"url\" in its place.".into(), None))?;
    if !is_host(&host) {
        return Err(broken("host", "\"host\" is the name or the address of a mail server.".into(), None));
    }
    let port = match values.get("port") {
        None | Some(Value::Null) => None,
        Some(port) => {
            let port = port.as_u64().and_then(|it| u16::try_from(it).ok()).filter(|it| *it > 0);
            Some(port.ok_or_else(|| broken("port", "\"port\" is a number from 1 to 65535.".into(), None))?)
        }
    };
    let login = match (word(values, "username")?, word(values, "password")?) {
        (Some(username), Some(password)) => Some((username, password)),
        (None, None) => None,
        (Some(_), None) => return Err(missing("password")),
        (None, Some(_)) => return Err(missing("username")),
    };
    let tls = match word(values, "tls")? {
        Some(name) => tls(&name).ok_or_else(|| broken("tls", TLS.into(), None))?,
        None if port == Some(465) => SmtpTls::Implicit,
        // A password is not sent in the clear.
        None if login.is_some() => SmtpTls::Required,
        None => SmtpTls::Opportunistic,
    };
    Ok(SmtpServer { host, port, login, tls })
}

/// The server of `smtp://user:password@host:port?tls=required`.
fn server_of(url: &str, tls: impl Fn(&str) -> Option<SmtpTls>) -> Option<SmtpServer> {
    let (scheme, rest) = url.split_once("://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A mail server has no paths.
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (user, place) = authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse().ok().filter(|it| *it > 0)?))
        }
        _ => (place, None),
    };
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().ok().map(|it| it.into_owned());
    let login = match user {
        Some(user) => {
            let (name, password) = user.split_once(':')?;
            let login = (decoded(name)?, decoded(password)?);
            let is_fine = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
            Some(login).filter(|(name, password)| is_fine(name) && is_fine(password)).map(Some)?
        }
        None => None,
    };
    let said = match query {
        "" => None,
        query => Some(tls(query.strip_prefix("tls=")?)?),
    };
    let tls = match (scheme.to_ascii_lowercase().as_str(), said) {
        ("smtps", None | Some(SmtpTls::Implicit)) => SmtpTls::Implicit,
        ("smtp", Some(said)) => said,
        ("smtp", None) if login.is_some() => SmtpTls::Required,
        ("smtp", None) => SmtpTls::Opportunistic,
        _ => return None,
    };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|rest| rest.contains(':'))?,
        None => Some(host).filter(|host| !host.contains(':'))?,
    };
    is_host(host).then(|| SmtpServer { host: host.to_owned(), port, login, tls })
}

/// Whether a text can be the name or the address of a server.
pub(super) fn is_host(text: &str) -> bool {
    let is_address =
        || text.matches(':').count() >= 2 && text.chars().all(|it| it.is_ascii_hexdigit() || ":.".contains(it));
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|it| it.is_alphanumeric() || it == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=253).contains(&text.len()) && (text.strip_suffix('.').unwrap_or(text).split('.').all(is_label) || is_address())
}

/// A sending domain to be created: its name and region.
pub fn new_domain(values: &Map<String, Value>) -> Result<(String, Option<String>), Fault> {
    only(values, &["name", "region"])?;
    let name = word(values, "name")?.ok_or_else(|| missing("name"))?.trim().to_lowercase();
    if Mailbox::parse(&format!("a@{name}")).is_none() {
        return Err(broken("name", "\"name\" is a domain such as mail.example.com.".into(), None));
    }
    Ok((name, word(values, "region")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn settings_are_for_resend_or_a_mail_server() {
        let resend = settings(&of(json!({"api_key": "re_1", "from_email": "Shop <a@b.co>"}))).unwrap();
        assert_eq!(resend.provider, Provider::Resend { api_key: "re_1".into() });
        let smtp = |url: &str| match settings(&of(json!({"provider": "smtp", "url": url, "from_email": "a@b.co"}))) {
            Ok(EmailSettings { provider: Provider::Smtp(server), .. }) => Some(server),
            _ => None,
        };
        let server = smtp("smtp://u%40x:p%3A@mail.example:587").unwrap();
        assert_eq!((server.host.as_str(), server.port, server.tls), ("mail.example", Some(587), SmtpTls::Required));
        assert_eq!(server.login, Some(("u@x".to_owned(), "p:".to_owned())));
        assert_eq!(smtp("smtps://u:p@mail.example").unwrap().tls, SmtpTls::Implicit);
        assert_eq!(smtp("smtp://[::1]:25").unwrap().host, "::1");
        assert_eq!(smtp("smtp://127.0.0.1:2525?tls=none").unwrap().tls, SmtpTls::None);
        assert_eq!(smtp("smtp://mail.example/?tls=none").unwrap().host, "mail.example");
        for wrong in [
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://u@mail.example",
            "smtp://h:99999",
            "smtp://h?x=1",
            "smtp://h/path",
            "smtp://h//",
            "smtp://u:p@h:25/a?tls=none",
            "smtp://h/?tls=none#x",
            "smtp://h#x",
            "smtp://a:b:c",
            "smtp://[h]",
            "smtp://[::1",
            "smtp://::1",
            "smtp://h..x",
            "smtp://-h",
            "smtp://.",
        ] {
            assert_eq!(smtp(wrong), None, "{wrong}");
        }
        for (wrong, field) in [
            (json!({"from_email": "a@b.co"}), "api_key"),
            (json!({"api_key": "sk_1", "from_email": "a@b.co"}), "api_key"),
            (json!({"api_key": "re_1\r\nX: y", "from_email": "a@b.co"}), "api_key"),
            (json!({"api_key": "re_1"}), "from_email"),
            (json!({"api_key": "re_1", "from_email": "nobody"}), "from_email"),
            (json!({"api_key": "re_1", "from_email": "a@b.co", "webhook_secret": "whsec_short"}), "webhook_secret"),
            (json!({"api_key": "re_1", "from_email": "a@b.co", "webhook_secret": "secret"}), "webhook_secret"),
            (json!({"provider": "gmail", "from_email": "a@b.co"}), "provider"),
            (json!({"provider": "smtp", "from_email": "a@b.co"}), "host"),
            (json!({"provider": "smtp", "host": "a b", "from_email": "a@b.co"}), "host"),
            (json!({"provider": "smtp", "host": "a:25", "from_email": "a@b.co"}), "host"),
            (json!({"provider": "smtp", "host": "a", "port": 0, "from_email": "a@b.co"}), "port"),
            (json!({"provider": "smtp", "host": "a", "username": "u", "from_email": "a@b.co"}), "password"),
        ] {
            let fault = settings(&of(wrong.clone())).expect_err("a refusal");
            let Fault::ValidationFailed { field: said, .. } = &fault else { panic!("{fault:?}") };
            assert_eq!(said.as_deref(), Some(field), "{wrong}");
        }
        assert!(new_domain(&of(json!({"name": "Mail.Example.com"}))).is_ok());
        assert!(new_domain(&of(json!({"name": "x"}))).is_err());
    }
}
