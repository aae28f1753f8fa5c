//! Wire formats: how a request is read and how an answer is written. Nothing else in Kith knows a wire name.
//!
//! A dialect is a struct of data plus a few pure functions, one folder each.

pub mod agentcrm;
pub mod arguments;
mod commas;
pub mod json;
pub mod llms;
pub mod openapi;
mod read;
pub mod relm;
pub mod route;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::dialect::arguments::Arguments;
use crate::model::answer::Answer;
use crate::model::ask::Ask;
use crate::model::call::{Call, Method};
use crate::model::fault::Fault;
use crate::model::id::is_id;
use crate::model::who::Mode;

/// One wire format.
#[derive(Debug)]
pub struct Dialect {
    /// Its name in the control database: `agentcrm`, `relm`.
    pub name: &'static str,
    /// What its keys begin with.
    pub key_prefixes: &'static [&'static str],
    /// The versions of it that requests may ask for, where it has them.
    pub versions: Option<&'static Versions>,
    /// Reads an operation's arguments.
    pub read: fn(Arguments<'_>) -> Result<Ask, Fault>,
    /// The methods that a path has; none if it leads nowhere.
    pub methods: fn(&[&str]) -> Vec<Method>,
    /// Writes an answer's bare value, without what HTTP puts around it.
    pub show_value: fn(&Answer, &Meta<'_>) -> Vec<u8>,
    /// Writes an answer.
    pub show: fn(&Answer, &Meta<'_>) -> Reply,
    /// Writes a fault.
    pub show_fault: fn(&Fault, &Meta<'_>) -> Reply,
    /// What its documentation is written from.
    pub reference: &'static openapi::Reference,
}

impl Dialect {
    /// Reads a call over HTTP.
    pub fn read_call(&self, call: &Call<'_>) -> Result<Ask, Fault> {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        (self.read)(Arguments::of_call(call, &path)?)
    }

    /// What its keys to the data of a mode begin with; nothing where it has no such keys.
    pub fn key_prefix(&self, mode: Mode) -> Option<&'static str> {
        let ending = format!("_{}_", mode.name());
        self.key_prefixes.iter().copied().find(|prefix| prefix.ends_with(&ending))
    }
}

/// The versions of a wire format.
#[derive(Debug)]
pub struct Versions {
    /// The header that names one, in requests and in every answer.
    pub header: &'static str,
    /// Every version, the newest last.
    pub known: &'static [&'static str],
}

impl Versions {
    /// The version that a request gets: the one that it asks for, else the newest.
    pub fn choose(&self, asked: Option<&str>) -> Result<&'static str, Fault> {
        let known = self.known.iter().copied();
        match asked {
            None => Ok(self.newest()),
            Some(asked) => known.clone().find(|it| *it == asked).ok_or_else(|| {
                Fault::invalid_with_hint(
                    format!("There is no version \"{asked}\" of this API."),
                    format!(
                        "Leave the header {} out, or send one of: {}.",
                        self.header,
                        known.collect::<Vec<_>>().join(", ")
                    ),
                )
            }),
        }
    }

    /// The version that answers are in where nothing else is asked for.
    pub fn newest(&self) -> &'static str {
        self.known.last().copied().unwrap_or_default()
    }
}

/// Every dialect.
pub const DIALECTS: &[&Dialect] = &[&agentcrm::AGENTCRM, &relm::RELM];

/// The dialect whose keys begin like this one.
pub fn of_key(key: &str) -> Option<&'static Dialect> {
    DIALECTS.iter().find(|dialect| dialect.key_prefixes.iter().any(|prefix| key.starts_with(prefix))).copied()
}

/// What stands around an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta<'a> {
    /// `req_…`
    pub request_id: &'a str,
    /// `ws_…`, where one is known.
    pub workspace_id: Option<&'a str>,
    /// Where to claim the workspace, while nobody has.
    pub claim_url: Option<&'a str>,
    /// When an unclaimed workspace turns read-only, ISO 8601.
    pub ttl_expires_at: Option<&'a str>,
    /// The address of this Kith, without a slash at its end.
    pub public_url: &'a str,
    /// The table that was asked about, once the request was read.
    pub table: Option<&'a str>,
}

/// An answer in words.
#[derive(Debug, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Headers beyond the usual ones.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Vec<u8>,
}

/// The headers that a fault brings, the same in every dialect.
pub fn fault_headers(fault: &Fault) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if let Some(seconds) = fault.retry_after() {
        headers.push(("retry-after", seconds.to_string()));
    }
    match fault {
        Fault::MethodNotAllowed { allow } => headers.push(("allow", allow.join(", "))),
        Fault::Unauthorized { .. } | Fault::NotSignedIn { .. } => {
            headers.push(("www-authenticate", "Bearer".to_owned()))
        }
        _ => {}
    }
    headers
}

/// Id prefixes that one dialect writes and the stored form that all of them mean.
const ID_ALIASES: &[(&str, &str)] = &[("con", "c"), ("cmp", "co"), ("deal", "d")];

/// An id in its stored form; any other text stays as it is. Either prefix is accepted in either dialect.
pub fn stored_id(text: &str) -> Cow<'_, str> {
    for (alias, prefix) in ID_ALIASES {
        if is_id(text, alias) {
            return Cow::Owned(format!("{prefix}{}", &text[alias.len()..]));
        }
    }
    Cow::Borrowed(text)
}
