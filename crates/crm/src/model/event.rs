//! Events: their types, and the patterns by which webhooks and automations choose them.

use serde_json::{Map, Value};

use crate::model::entity::{ENTITIES, by_table};
use crate::model::fault::nearest;

/// Something that happened to a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `evt_…`. The same change always has the same ids.
    pub id: String,
    /// `contact.created`; for a custom table `invoices.created`.
    pub event_type: String,
    /// The time of the change, ISO 8601.
    pub created_at: String,
    /// The table.
    pub table: String,
    /// The row after the change; before it, if the row was deleted permanently.
    pub data: Map<String, Value>,
    /// The previous values of the columns that an update changed.
    pub previous: Option<Map<String, Value>>,
    /// The old and new stage and pipeline, if the event is about them.
    pub moves: Option<Map<String, Value>>,
    /// The actor of the change.
    pub actor: String,
    /// The request that made it.
    pub request_id: Option<String>,
    /// The caller's name for the run that the request belongs to.
    pub run_id: Option<String>,
    /// What the run undoes.
    pub undo_of: Option<String>,
}

/// The workspace and the data set that events come from.
#[derive(Clone, Copy, Debug)]
pub struct EventSource<'a> {
    /// `ws_…`
    pub workspace_id: &'a str,
    /// `live` or `test`.
    pub mode: &'a str,
}

/// The pattern that every event matches.
pub const EVERYTHING: &str = "*";
/// A deal is in another stage.
pub const STAGE_CHANGED: &str = "deal.stage_changed";
/// A deal is in another pipeline.
pub const PIPELINE_CHANGED: &str = "deal.pipeline_changed";
/// The event of `POST /v1/webhooks/:id/test`. No subscription names it.
pub const TEST: &str = "webhook.test";

/// What can happen to a row.
pub const VERBS: [&str; 4] = ["created", "updated", "deleted", "restored"];
/// The word for all verbs in a pattern.
const ANY: &str = "*";

/// The schema that tells a custom table from the records of its name.
const SCHEMA: &str = "public.";

/// The type of the event of a change: `contact.created`; for a custom table `invoices.created`. A custom table that is called like
/// a record has its schema in its types, `public.contact.created`, as tables of other schemas have.
pub fn type_of(table: &str, verb: &str) -> String {
    match by_table(table) {
        Some(entity) => format!("{}.{verb}", entity.name),
        None if is_record(table) => format!("{SCHEMA}{table}.{verb}"),
        None => format!("{table}.{verb}"),
    }
}

/// The table of a type's subject. It is the inverse of [`type_of`].
pub fn table_of(subject: &str) -> &str {
    match ENTITIES.iter().find(|entity| entity.name == subject && !entity.is_feed) {
        Some(entity) => entity.table,
        None => subject.strip_prefix(SCHEMA).filter(|table| is_record(table)).unwrap_or(subject),
    }
}

/// Whether a record is called so. `activity` is the name of a record, and of the feed's table. Events are named by records.
fn is_record(name: &str) -> bool {
    ENTITIES.iter().any(|entity| entity.name == name && !entity.is_feed)
}

/// Whether a subscription to a pattern gets events of this type. One to `contact.updated` gets `contact.restored` too, because a
/// restored record has changed for subscribers that do not know restoring.
pub fn chooses(pattern: &str, event_type: &str) -> bool {
    let updated = || pattern.strip_suffix(".updated");
    matches(pattern, event_type) || event_type.strip_suffix(".restored").is_some_and(|of| updated() == Some(of))
}

/// Whether a pattern stands for events of this type.
pub fn matches(pattern: &str, event_type: &str) -> bool {
    let (subject, wanted) = pattern.rsplit_once('.').unwrap_or_default();
    let is_any = || wanted == ANY && event_type.rsplit_once('.').is_some_and(|(of, _)| of == subject);
    pattern == EVERYTHING || pattern == event_type || is_any()
}

/// Checks a pattern: `*`, `contact.created`, `contact.*`, `deal.stage_changed`, or the same of a custom table. The error is a
/// sentence, with advice if a known name is similar.
pub fn check(pattern: &str) -> Result<(), (String, Option<String>)> {
    if pattern == EVERYTHING || pattern == STAGE_CHANGED || pattern == PIPELINE_CHANGED {
        return Ok(());
    }
    let unknown = |near: Option<String>| {
        let hint = near.map_or_else(
            || "An event is \"contact.created\", \"deal.*\", \"deal.stage_changed\" or \"*\".".to_owned(),
            |near| format!("Did you mean \"{near}\"?"),
        );
        Err((format!("There is no event \"{pattern}\"."), Some(hint)))
    };
    let known = || {
        let of = |subject: &'static str| VERBS.map(|verb| format!("{subject}.{verb}"));
        ENTITIES.iter().filter(|entity| !entity.is_feed).flat_map(move |entity| of(entity.name))
    };
    let near = || {
        let all: Vec<String> = known().chain([STAGE_CHANGED.to_owned(), PIPELINE_CHANGED.to_owned()]).collect();
        nearest(pattern, all.iter().map(String::as_str))
    };
    let Some((subject, verb)) = pattern.rsplit_once('.') else { return unknown(near()) };
    if let Some(entity) = by_table(subject).filter(|_| !is_record(subject)) {
        return unknown(Some(format!("{}.{verb}", entity.name)).filter(|_| !entity.is_feed));
    }
    let table = match subject.split_once('.') {
        None => subject,
        // A table that is not called like a record has no schema in its types.
        Some((_, table)) if subject.starts_with(SCHEMA) && !is_record(table) => {
            return unknown(Some(type_of(table, verb)));
        }
        Some((_, table)) => table,
    };
    let is_name = |name: &str| !name.is_empty() && name.len() <= 63 && !name.contains(['.', '*', '\0']);
    let schema = subject.strip_suffix(table).and_then(|it| it.strip_suffix('.'));
    let is_event = (VERBS.contains(&verb) || verb == ANY) && is_name(table) && schema.is_none_or(is_name);
    if is_event { Ok(()) } else { unknown(near()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_events() {
        let check = |pattern: &str, expected: &[&str]| {
            let all =
                ["contact.created", "contact.updated", "contact.restored", "deal.stage_changed", "invoices.deleted"];
            let chosen: Vec<&str> = all.into_iter().filter(|it| chooses(pattern, it)).collect();
            assert_eq!(chosen, expected, "{pattern}");
        };
        check(
            "*",
            &["contact.created", "contact.updated", "contact.restored", "deal.stage_changed", "invoices.deleted"],
        );
        check("contact.*", &["contact.created", "contact.updated", "contact.restored"]);
        check("contact.updated", &["contact.updated", "contact.restored"]);
        check("contact.restored", &["contact.restored"]);
        check("deal.stage_changed", &["deal.stage_changed"]);
        check("deal.updated", &[]);
        check("invoices.deleted", &["invoices.deleted"]);
        check("con.*", &[]);
        assert!(matches("contact.*", "contact.restored") && !matches("contact.updated", "contact.restored"));
        assert!(!matches("company.*", "public.company.created") && !matches("public.*", "public.company.created"));
        assert!(!chooses("company.updated", "public.company.restored"));
    }

    #[test]
    fn a_wrong_event_is_refused_with_the_nearest() {
        for good in [
            "*",
            "contact.created",
            "deal.*",
            "deal.stage_changed",
            "activity.created",
            "invoices.updated",
            "app.invoices.updated",
            "public.contact.*",
            "list_member.deleted",
        ] {
            assert_eq!(super::check(good), Ok(()), "{good}");
        }
        let hint = |pattern: &str| super::check(pattern).expect_err(pattern).1.unwrap_or_default();
        assert_eq!(hint("contacts.created"), "Did you mean \"contact.created\"?");
        assert_eq!(hint("contact.creatd"), "Did you mean \"contact.created\"?");
        assert_eq!(hint("deal.stage_change"), "Did you mean \"deal.stage_changed\"?");
        assert_eq!(hint("public.invoices.created"), "Did you mean \"invoices.created\"?");
        assert_eq!(hint("public.contacts.*"), "Did you mean \"contact.*\"?");
        for bad in [
            "",
            ".",
            "contact",
            "contact.",
            ".created",
            "*.created",
            "a.b.c.created",
            ".b.created",
            "a..created",
            "a.*.created",
            "activity_feed.read",
        ] {
            assert!(super::check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_are_named_by_the_record() {
        assert_eq!(type_of("companies", "created"), "company.created");
        assert_eq!(type_of("invoices", "deleted"), "invoices.deleted");
        assert_eq!(type_of("company", "created"), "public.company.created");
        assert_eq!(type_of("app.company", "created"), "app.company.created");
        for table in ["companies", "activities", "company", "app.company", "invoices"] {
            let event_type = type_of(table, "created");
            assert_eq!(event_type.strip_suffix(".created").map(table_of), Some(table));
        }
    }
}
