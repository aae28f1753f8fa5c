//! The messages and hints of faults.

use std::collections::BTreeSet;

use super::{Fault, HeadPart};
use crate::model::email::{MAX_ATTACHMENT_BYTES, MAX_SENDING_BODY_BYTES};

impl Fault {
    pub(super) fn whole_message(&self) -> String {
        match self {
            Fault::Invalid { message, .. }
            | Fault::Unauthorized { message }
            | Fault::NotSignedIn { message, .. }
            | Fault::Forbidden { message }
            | Fault::Conflict { message, .. }
            | Fault::StillReferenced { message, .. }
            | Fault::Refused { message, .. }
            | Fault::MaxAffectedExceeded { message, .. }
            | Fault::ValidationFailed { message, .. }
            | Fault::InvalidReference { message, .. }
            | Fault::InvalidMetadata { message, .. }
            | Fault::RateLimited { message, .. }
            | Fault::QuotaExceeded { message, .. }
            | Fault::Unavailable { message, .. } => message.clone(),
            Fault::UndoConflict { conflicts, rows } => {
                // A row may have several.
                let found: BTreeSet<_> = conflicts.iter().map(|it| (it["table"].as_str(), it["id"].to_string())).collect();
                format!("{} of {rows} rows cannot be put back as they were; nothing was changed.", found.len())
            }
            Fault::InvalidJson { reason } => format!("The body is not valid JSON: {reason}."),
            Fault::Unknown { what, name, .. } => format!("Unknown {what} \"{name}\"."),
            Fault::FilterTypeMismatch { parameter, column, type_name, .. } => {
                format!("{parameter}: this comparison does not fit \"{column}\", which is {type_name}.")
            }
            Fault::IdempotencyConflict => {
                "This Idempotency-Key was used within 24 hours for another path or body, or by a key of the other dialect.".into()
            }
            Fault::IdempotencyInProgress => "The first request with this Idempotency-Key is still being served.".into(),
            Fault::InvalidCursor => {
                "This cursor belongs to another list, or to this list with another order or other filters.".into()
            }
            Fault::UnsupportedMediaType { sent } if sent.is_empty() => "The body has no Content-Type.".into(),
            Fault::UnsupportedMediaType { sent } => format!("A body of type \"{sent}\" is not understood."),
            Fault::PayloadTooLarge { limit } => format!("The body is larger than {limit} bytes."),
            Fault::TooManyValues { values } => {
                format!("The body holds {values} values, which would take too much memory at once.")
            }
            Fault::BodyTimeout => "The body was incomplete or arrived too slowly.".into(),
            Fault::HeadTooLarge { part: HeadPart::Address } => "The address is too long.".into(),
            Fault::HeadTooLarge { part: HeadPart::Headers } => "The headers are too large.".into(),
            Fault::MethodNotAllowed { allow } => format!("This path takes {}.", allow.join(", ")),
            Fault::WorkspaceReadOnly => "This workspace was not claimed within 7 days and is read-only.".into(),
            Fault::NoSuchPath { path } => format!("There is nothing at {path}."),
            Fault::NoSuchTable { name, .. } => format!("There is no table \"{name}\" in this workspace."),
            Fault::NotFound { table, id } => format!("There is no \"{id}\" in {table}."),
            Fault::NoPrimaryKey { table, .. } => {
                format!("\"{table}\" has no single-column primary key, so its rows cannot be addressed by id.")
            }
            Fault::Sql(sql) => sql.message.clone(),
            Fault::StatementTimeout { limit_seconds } => {
                format!(
                    "The statement ran into its time limit ({limit_seconds} s, or a shorter one of its own) and was ended; nothing of it was kept."
                )
            }
            Fault::GaveWay { after_ms } => {
                format!(
                    "The statement was ended after {}.{} s, because others waited for a database connection and this one was held for long; nothing of it was kept.",
                    after_ms / 1000,
                    after_ms % 1000 / 100
                )
            }
            Fault::ResultTooLarge { limit } => {
                format!(
                    "A value or record of the result is larger than {limit} bytes; nothing of the request was kept."
                )
            }
            Fault::InOperation(it) => it.fault.whole_message(),
            Fault::Internal { .. } => "Something went wrong on our side. The request id helps us to find it.".into(),
        }
    }

    pub(super) fn whole_hint(&self) -> Option<String> {
        match self {
            Fault::Invalid { hint, .. }
            | Fault::ValidationFailed { hint, .. }
            | Fault::InvalidReference { hint, .. }
            | Fault::Refused { hint, .. } => hint.clone(),
            Fault::Unknown { nearest, .. } | Fault::NoSuchTable { nearest, .. } => {
                nearest.as_ref().map(|name| format!("Did you mean \"{name}\"?"))
            }
            Fault::MaxAffectedExceeded { .. } => {
                Some("Nothing was kept. Narrow the request, or raise X-Max-Affected after a dry run.".into())
            }
            Fault::UndoConflict { .. } => {
                Some("Look at conflicts; {\"on_conflict\": \"skip\"} leaves these and puts back the rest.".into())
            }
            Fault::IdempotencyConflict => Some("Make a new key for each new request; send the same key only to retry.".into()),
            Fault::IdempotencyInProgress => Some("Send it again in a moment to get its answer.".into()),
            Fault::InvalidCursor => Some("Start again without a cursor.".into()),
            Fault::UnsupportedMediaType { .. } => Some("Send Content-Type: application/json.".into()),
            Fault::Unauthorized { .. } => Some(
                "Send Authorization: Bearer <api key>. POST /v1/workspaces creates a workspace and its first key, without sign-up."
                    .into(),
            ),
            Fault::NotSignedIn { hint, .. } => Some(hint.clone()),
            Fault::WorkspaceReadOnly => Some("Open claim_url and claim the workspace to write again.".into()),
            Fault::NoPrimaryKey { hint, .. } => Some(hint.clone()),
            Fault::Sql(sql) => sql.hint.clone(),
            Fault::InOperation(it) => it.fault.whole_hint(),
            Fault::StatementTimeout { .. } => {
                Some("Narrow the statement (WHERE, LIMIT, an index), or do the work in smaller steps.".into())
            }
            Fault::GaveWay { .. } => {
                Some("Try again in a moment, or do the work in steps of less than a quarter of a second.".into())
            }
            Fault::ResultTooLarge { .. } => Some("Select less of it, for example with left() or substring().".into()),
            Fault::Conflict { existing_id: Some(id), .. } => Some(format!("PATCH the record {id} instead.")),
            Fault::StillReferenced { .. } => {
                Some("Delete or change the rows that refer to it first, or leave out hard=true.".into())
            }
            Fault::RateLimited { retry_after, .. } | Fault::Unavailable { retry_after, .. } => {
                Some(format!("Try again in {retry_after} s."))
            }
            Fault::QuotaExceeded { .. } => {
                Some("Wait for the next month, or ask the operator of this Kith for a larger plan.".into())
            }
            Fault::InvalidMetadata { .. } => Some("The definitions are the rows of custom_fields.".into()),
            Fault::PayloadTooLarge { limit: MAX_SENDING_BODY_BYTES } => Some(format!(
                "All attachments of an e-mail together have at most {} MiB before they are encoded. Send a link instead.",
                MAX_ATTACHMENT_BYTES >> 20
            )),
            Fault::TooManyValues { .. } => Some(
                "Send fewer records at a time. A long array of numbers takes less as text: \"[0.1,0.2]\" for a vector."
                    .into(),
            ),
            Fault::BodyTimeout => Some("Send it again, in smaller parts if the connection is slow.".into()),
            Fault::HeadTooLarge { .. } => Some("Shorten the query or the headers. POST /v1/sql takes long texts.".into()),
            Fault::NotFound { table, .. } if table == "requests" => Some(
                "Only a request that changed something can be undone. A replay under an Idempotency-Key changed nothing: undo \
                 the first request. Its id is the X-Request-Id of the first answer, and _meta.request_id of a replay that \
                 has it."
                    .into(),
            ),
            // The hint of FilterTypeMismatch depends on the filter syntax, so the dialect writes it. The others have no
            // hint.
            Fault::FilterTypeMismatch { .. }
            | Fault::InvalidJson { .. }
            | Fault::PayloadTooLarge { .. }
            | Fault::MethodNotAllowed { .. }
            | Fault::Forbidden { .. }
            | Fault::NoSuchPath { .. }
            | Fault::NotFound { .. }
            | Fault::Conflict { existing_id: None, .. }
            | Fault::Internal { .. } => None,
        }
    }
}

/// Maximum length of a message, hint or detail, in characters. A workspace's own code can raise far longer texts.
pub const MAX_TEXT_CHARACTERS: usize = 2000;

/// Cuts a text that is too long. The result then ends in `…`.
pub(super) fn shortened(text: String) -> String {
    cut(text, MAX_TEXT_CHARACTERS)
}

/// Cuts a text that is far too long, before it is worded.
pub(super) fn bounded(text: String) -> String {
    cut(text, 2 * MAX_TEXT_CHARACTERS)
}

fn cut(mut text: String, most: usize) -> String {
    if let Some((last, _)) = text.char_indices().nth(most - 1)
        && text[last..].chars().nth(1).is_some()
    {
        text.truncate(last);
        text.push('…');
    }
    text
}

/// Returns the known name that is most similar to `name`, if one is similar enough.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let lower = name.to_lowercase();
    known
        .map(|it| (strsim::jaro_winkler(&lower, &it.to_lowercase()), it))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, it)| it.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        for (given, kept) in [(0, 0), (1999, 1999), (2000, 2000)] {
            assert_eq!(shortened("ä".repeat(given)), "ä".repeat(kept));
        }
        for given in [2001, 70_000] {
            assert_eq!(shortened("ä".repeat(given)), "ä".repeat(1999) + "…");
        }
    }

    #[test]
    fn the_nearest_name_is_offered_only_if_it_is_near() {
        let known = ["email", "first_name", "last_name"];
        assert_eq!(nearest("emial", known.into_iter()).as_deref(), Some("email"));
        assert_eq!(nearest("firstName", known.into_iter()).as_deref(), Some("first_name"));
        assert_eq!(nearest("zzz", known.into_iter()), None);
    }
}
