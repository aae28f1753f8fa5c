//! Checks the settings of a mailbox that is read by IMAP.

use serde_json::{Map, Value};

use crate::model::email::Mailbox;
use crate::model::fault::Fault;
use crate::plan::control::{broken, missing, only};
use crate::plan::email::line;
use crate::plan::email_settings::is_host;

/// The folder that is read if none is named.
const INBOX: &str = "INBOX";
const FIELDS: &[&str] = &["host", "port", "username", "password", "tls", "folder", "address", "since"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How a connection to an IMAP server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImapTls {
    /// From the start.
    Implicit,
    /// By STARTTLS, without which nothing is sent.
    Required,
    /// Never.
    None,
}

impl ImapTls {
    const ALL: [ImapTls; 3] = [ImapTls::Implicit, ImapTls::Required, ImapTls::None];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ImapTls::Implicit => "implicit",
            ImapTls::Required => "required",
            ImapTls::None => "none",
        }
    }

    /// The way of that name.
    pub fn parse(name: &str) -> Option<ImapTls> {
        ImapTls::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// A mailbox on an IMAP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxSettings {
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: String,
    /// How the connection is encrypted.
    pub tls: ImapTls,
    /// The folder that is read.
    pub folder: String,
    /// The address whose mail it has, if the user's name is none.
    pub address: Option<String>,
}

/// A mailbox to be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMailbox {
    /// The settings.
    pub settings: MailboxSettings,
    /// The day from which messages are taken that are there already, as IMAP writes it: `14-Nov-2023`.
    pub since: Option<String>,
}

/// Checks the settings of a request.
pub fn new_mailbox(values: &Map<String, Value>) -> Result<NewMailbox, Fault> {
    only(values, FIELDS)?;
    let host = line(values, "host")?.ok_or_else(|| missing("host"))?;
    if !is_host(&host) {
        return Err(broken("host", "\"host\" is the name or the address of an IMAP server.".into(), None));
    }
    let port = match values.get("port") {
        None | Some(Value::Null) => None,
        Some(port) => {
            let port = port.as_u64().and_then(|it| u16::try_from(it).ok()).filter(|it| *it > 0);
            Some(port.ok_or_else(|| broken("port", "\"port\" is a number from 1 to 65535.".into(), None))?)
        }
    };
    let tls = match line(values, "tls")? {
        Some(name) => {
            let said = "\"tls\" is implicit, required or none.";
            ImapTls::parse(&name).ok_or_else(|| broken("tls", said.into(), None))?
        }
        None if port == Some(143) => ImapTls::Required,
        None => ImapTls::Implicit,
    };
    let address = line(values, "address")?.map(|text| {
        let said = "\"address\" is an e-mail address.";
        Mailbox::parse(&text).map(|it| it.address).ok_or_else(|| broken("address", said.into(), None))
    });
    let since = line(values, "since")?.map(|text| {
        let said = "\"since\" is a day like 2026-11-01.";
        imap_day(&text).ok_or_else(|| broken("since", said.into(), None))
    });
    let settings = MailboxSettings {
        host,
        port: port.unwrap_or(if tls == ImapTls::Implicit { 993 } else { 143 }),
        username: line(values, "username")?.ok_or_else(|| missing("username"))?,
        password: line(values, "password")?.ok_or_else(|| missing("password"))?,
        tls,
        folder: line(values, "folder")?.unwrap_or_else(|| INBOX.to_owned()),
        address: address.transpose()?,
    };
    Ok(NewMailbox { settings, since: since.transpose()? })
}

/// A day as IMAP writes it, from an ISO 8601 date or time. Days that the calendar does not have are none.
pub fn imap_day(iso: &str) -> Option<String> {
    let digits = |from: usize, to: usize| iso.get(from..to).filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
    let number = |from: usize, to: usize| digits(from, to).and_then(|it| it.parse::<usize>().ok());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let is_shaped = year > 0 && iso.as_bytes()[4] == b'-' && iso.as_bytes()[7] == b'-';
    let is_time = match iso.get(10..)? {
        "" => true,
        time => {
            let is_clock = number(11, 13).is_some_and(|hour| hour < 24) && number(14, 16).is_some_and(|it| it < 60);
            let rest = iso.get(16..)?.trim_start_matches(|it: char| it.is_ascii_digit() || ":.+-".contains(it));
            time.starts_with(['T', 't', ' '])
                && iso.as_bytes()[13] == b':'
                && is_clock
                && matches!(rest, "" | "Z" | "z")
        }
    };
    ((1..=days).contains(&day) && is_shaped && is_time).then(|| format!("{day}-{}-{year:04}", MONTHS[month - 1]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<NewMailbox, Fault> {
        new_mailbox(value.as_object().expect("an object"))
    }

    #[test]
    fn settings_have_their_defaults() {
        let new = read(
            json!({"host": "imap.example.com", "username": "a@b.co", "password": "p", "since": "2026-11-01T00:00:00Z"}),
        )
        .unwrap();
        let MailboxSettings { port, tls, folder, address, .. } = new.settings;
        assert_eq!((port, tls, folder.as_str(), address), (993, ImapTls::Implicit, "INBOX", None));
        assert_eq!(new.since.as_deref(), Some("1-Nov-2026"));
        for (day, expected) in [
            ("2028-02-29", "29-Feb-2028"),
            ("2000-02-29", "29-Feb-2000"),
            ("2026-12-31 23:59", "31-Dec-2026"),
            ("2026-04-30T10:00:00.5+02:00", "30-Apr-2026"),
        ] {
            assert_eq!(imap_day(day).as_deref(), Some(expected), "{day}");
        }
        let with = |name: &str, value: Value| {
            let mut all = json!({"host": "h.example", "username": "u", "password": "p"});
            all[name] = value;
            read(all)
        };
        assert_eq!(with("port", json!(143)).unwrap().settings.tls, ImapTls::Required);
        assert_eq!(with("tls", json!("none")).unwrap().settings.port, 143);
        assert_eq!(with("address", json!("Ada <a@b.co>")).unwrap().settings.address.as_deref(), Some("a@b.co"));
        for (name, value) in [
            ("host", json!("a b")),
            ("host", json!(null)),
            ("port", json!(0)),
            ("port", json!(70000)),
            ("tls", json!("opportunistic")),
            ("username", json!("")),
            ("password", json!("a\r\nb")),
            ("folder", json!("a\nb")),
            ("address", json!("nobody")),
            ("since", json!("yesterday")),
            ("since", json!("2026-13-01")),
            ("since", json!("2026-11-01x")),
            ("since", json!("2026-02-29")),
            ("since", json!("2026-02-31")),
            ("since", json!("2026-04-31")),
            ("since", json!("2026-11-00")),
            ("since", json!("1900-02-29")),
            ("since", json!("0000-01-01")),
            ("since", json!("2026-11-01T")),
            ("since", json!("2026-11-01Tnoon")),
            ("since", json!("2026-11-01T25:00:00Z")),
            ("since", json!("é026-11-1")),
        ] {
            let fault = with(name, value.clone()).expect_err("a refusal");
            let Fault::ValidationFailed { field, .. } = &fault else { panic!("{fault:?}") };
            assert_eq!(field.as_deref(), Some(name), "{value}");
        }
        assert_eq!(with("hots", json!("x")).unwrap_err().status(), 400);
    }
}
