//! Wire formats: how a request is read and how an answer is written. Only this module and the documentation have wire
//! names.
//!
//! A dialect is a struct of data and a few pure functions. Each dialect has its own folder.

pub mod agentcrm;
pub mod arguments;
mod assertion;
mod changes;
pub mod commas;
pub mod controls;
pub mod csv;
mod encoding;
pub mod event;
mod import;
pub mod json;
pub mod llms;
mod merge;
pub mod openapi;
mod operations;
mod read;
pub mod relm;
pub mod route;
mod runs;
#[cfg(test)]
mod tests;
pub mod tools;
mod words;

use std::borrow::Cow;

use serde_json::Value;

use crate::dialect::arguments::Arguments;
use crate::dialect::changes::ChangeWords;
use crate::model::answer::Answer;
use crate::model::ask::Ask;
use crate::model::call::{Call, Method};
use crate::model::change::ChangeSet;
use crate::model::entity::Entity;
use crate::model::event::{Event, EventSource};
use crate::model::fault::Fault;
use crate::model::id::is_id;
use crate::model::operation::Operation;
use crate::model::who::Mode;

/// A wire format.
#[derive(Debug)]
pub struct Dialect {
    /// Its name in the control database: `agentcrm`, `relm`.
    pub name: &'static str,
    /// The prefixes of its API keys.
    pub key_prefixes: &'static [&'static str],
    /// The versions that a request can ask for, if the dialect has versions.
    pub versions: Option<&'static Versions>,
    /// Reads the arguments of an operation as an ask.
    pub read: fn(Arguments<'_>) -> Result<Ask, Fault>,
    /// The methods of a path. The list is empty if the path does not exist.
    pub methods: fn(&[&str]) -> Vec<Method>,
    /// Writes the value of an answer, without the envelope of an HTTP response.
    pub show_value: fn(&Answer, &Meta<'_>) -> Vec<u8>,
    /// Writes an answer as an HTTP response.
    pub show: fn(&Answer, &Meta<'_>) -> Reply,
    /// Writes an event: the payload of a webhook.
    pub show_event: fn(&Event, EventSource<'_>) -> Value,
    /// Writes a fault as an HTTP response.
    pub show_fault: fn(&Fault, &Meta<'_>) -> Reply,
    /// The names in changes of rows.
    pub change_words: &'static ChangeWords,
    /// The data for the dialect's documentation.
    pub reference: &'static openapi::Reference,
}

impl Dialect {
    /// Reads an HTTP call as an ask.
    pub fn read_call(&self, call: &Call<'_>) -> Result<Ask, Fault> {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        (self.read)(Arguments::of_call(call, &path)?)
    }

    /// Reads an operation of a batch as an ask. Its references have their values.
    pub fn read_operation(&self, operation: Operation) -> Result<Ask, Fault> {
        let Operation { method, path, query, body, name: _ } = operation;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        operations::check_path(&path)?;
        (self.read)(Arguments::of_operation(method, &path, &query, body)?)
    }

    /// The record to which references to an operation refer, as a JSON object in the dialect's names: the answer's only record,
    /// or the first row of an SQL result. `None` if the answer has none.
    pub fn record(&self, answer: &Answer, meta: &Meta<'_>) -> Option<Vec<u8>> {
        match answer {
            Answer::Record { .. } | Answer::Written { .. } | Answer::Email { .. } | Answer::Deleted { .. } => {
                Some((self.show_value)(answer, meta))
            }
            Answer::Sql(result) if !result.rows.is_empty() => Some(json::row(&result.rows, 0)),
            Answer::Sql(_)
            | Answer::Page { .. }
            | Answer::Batch(_)
            | Answer::Imported(_)
            | Answer::Operations(_)
            | Answer::Events(_)
            | Answer::Found(_)
            | Answer::Rows { .. }
            | Answer::Tables { .. }
            | Answer::Object { .. }
            | Answer::DryRun(_)
            | Answer::Run { .. }
            | Answer::Runs { .. }
            | Answer::Changes { .. }
            | Answer::Undone { .. }
            | Answer::Workspace { .. } => None,
        }
    }

    /// What a dry run would have changed: `affected`, `changes` and `changes_truncated`, in the dialect's names.
    pub fn show_outcome(&self, outcome: &ChangeSet) -> [(&'static str, Value); 3] {
        changes::outcome(outcome, self.change_words)
    }

    /// The prefix of its keys for a mode. `None` if the dialect has no such keys.
    pub fn key_prefix(&self, mode: Mode) -> Option<&'static str> {
        let ending = format!("_{}_", mode.name());
        self.key_prefixes.iter().copied().find(|prefix| prefix.ends_with(&ending))
    }
}

/// The versions of a wire format.
#[derive(Debug)]
pub struct Versions {
    /// The header with the version, in requests and responses.
    pub header: &'static str,
    /// All versions, newest last.
    pub known: &'static [&'static str],
}

impl Versions {
    /// The version for a request: the one that it asks for, or else the newest.
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

    /// The default version of responses.
    pub fn newest(&self) -> &'static str {
        self.known.last().copied().unwrap_or_default()
    }
}

/// All dialects.
pub const DIALECTS: &[&Dialect] = &[&agentcrm::AGENTCRM, &relm::RELM];

/// Returns the dialect of that name.
pub fn by_name(name: &str) -> Option<&'static Dialect> {
    DIALECTS.iter().find(|dialect| dialect.name == name).copied()
}

/// Returns the dialect of a key, by the key's prefix.
pub fn of_key(key: &str) -> Option<&'static Dialect> {
    DIALECTS.iter().find(|dialect| dialect.key_prefixes.iter().any(|prefix| key.starts_with(prefix))).copied()
}

/// The column of a built-in table that has this name in any dialect.
pub fn column_of_any(entity: &Entity, name: &str) -> Option<&'static str> {
    let is_named =
        |column: &str| DIALECTS.iter().any(|dialect| (dialect.change_words.column)(entity.table, column) == name);
    entity.columns().find(|field| is_named(field.name)).map(|field| field.name)
}

/// The data that a response has besides the answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta<'a> {
    /// The id of the request, `req_…`.
    pub request_id: &'a str,
    /// The workspace, `ws_…`, if it is known.
    pub workspace_id: Option<&'a str>,
    /// The page for claiming the workspace, until somebody claims it.
    pub claim_url: Option<&'a str>,
    /// The time at which the unclaimed workspace becomes read-only, in ISO 8601.
    pub ttl_expires_at: Option<&'a str>,
    /// The public URL of this Kith, without a slash at its end.
    pub public_url: &'a str,
    /// The table of the request, if the request could be read.
    pub table: Option<&'a str>,
    /// Whether the workspace's e-mail and webhooks wait, because sending is switched off.
    pub holds: bool,
}

/// An HTTP response.
#[derive(Debug, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Additional headers of this response.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Vec<u8>,
}

/// The headers of a fault. They are the same in every dialect.
pub fn fault_headers(fault: &Fault) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if let Some(seconds) = fault.retry_after() {
        headers.push(("retry-after", seconds.to_string()));
    }
    match fault.apart().0 {
        Fault::MethodNotAllowed { allow } => headers.push(("allow", allow.join(", "))),
        Fault::Unauthorized { .. } | Fault::NotSignedIn { .. } => {
            headers.push(("www-authenticate", "Bearer".to_owned()))
        }
        _ => {}
    }
    headers
}

/// The id prefixes that differ between the dialects: the alias and the stored prefix.
const ID_ALIASES: &[(&str, &str)] = &[("con", "c"), ("cmp", "co"), ("deal", "d")];

/// Returns an id in its stored form, and any other text unchanged. Both dialects accept both prefixes.
pub fn stored_id(text: &str) -> Cow<'_, str> {
    for (alias, prefix) in ID_ALIASES {
        if is_id(text, alias) {
            return Cow::Owned(format!("{prefix}{}", &text[alias.len()..]));
        }
    }
    Cow::Borrowed(text)
}
