//! What a writing tool did, in words: with a count, and with the names of what a deletion hit.

use serde_json::Value;

use crate::dialect::tools::said::View;
use crate::dialect::tools::{Act, control, log};
use crate::model::answer::{Answer, SqlResult};
use crate::model::change::ChangeSet;
use crate::model::email::EmailStatus;
use crate::model::entity::by_table;
use crate::model::naming::{called, quoted};

/// The kinds of changes, in the order in which they are told.
const VERBS: [&str; 4] = ["created", "updated", "deleted", "restored"];
/// The most records that are named.
const MOST_NAMES: usize = 5;

/// What a writing tool did. `effect` is what it changed by the change log, if that is known. `holds`: e-mail and webhooks wait.
pub fn outcome(view: &View, answer: &Answer, effect: Option<&ChangeSet>, holds: bool) -> String {
    let entity = view.table.as_deref().and_then(by_table);
    let one = match (entity, &view.table) {
        (Some(entity), _) => entity.name.replace('_', " "),
        (None, Some(table)) => format!("row of {table}"),
        (None, None) => "record".into(),
    };
    // The log has every change of a built-in table.
    let count = |verb| view.table.as_deref().filter(|_| entity.is_some()).and_then(|it| count(effect?, it, verb));
    match (view.act, answer) {
        (Act::Control(act, resource), answer) => control::outcome(act, resource, answer, view.is_empty, holds),
        (Act::Operations, Answer::Operations(answers)) => operations(answers.len(), effect),
        (Act::OpenRun | Act::FinishRun | Act::Undo, answer) => log::outcome(view.act, answer),
        // A record of an e-mail with a recipient and no sender is an e-mail to send, whatever tool creates it.
        (_, Answer::Email { status, .. }) => match status {
            EmailStatus::Sent => "Sent 1 e-mail.".into(),
            EmailStatus::Queued => "Queued 1 e-mail: it is sent as soon as the provider accepts it.".into(),
            EmailStatus::Held => "Held 1 e-mail: sending is switched off in this workspace.".into(),
            EmailStatus::Simulated => "Simulated 1 e-mail: test keys send none.".into(),
            EmailStatus::Failed => "1 e-mail failed.".into(),
        },
        (Act::Create, Answer::Written { about: (_, outcome), .. }) => match outcome.as_str() {
            Some("created") => format!("Created 1 {one}: none matched."),
            Some("updated") => format!("Updated 1 {one}, which matched."),
            _ => format!("Nothing was changed (0 of 1 {one}): the one that matches has these values already."),
        },
        (Act::Create, Answer::Record { created: false, .. }) => {
            format!("Nothing was created: this {one} existed already.")
        }
        (Act::Create | Act::CreateStage, _) => format!("Created 1 {one}."),
        (Act::Update | Act::UpdateStage | Act::Move, _) if view.is_empty => {
            format!("Nothing was changed (0 of 1 {one}): the call names no field.")
        }
        (Act::Update | Act::UpdateStage | Act::Move, _) if count("updated") == Some(0) => {
            format!("Nothing was changed (0 of 1 {one}): it has these values already.")
        }
        (Act::Move, _) => format!("Moved 1 deal to {}.", view.named.as_deref().unwrap_or("its stage")),
        (Act::Update | Act::UpdateStage, _) => format!("Updated 1 {one}."),
        (Act::Delete | Act::DeleteStage, Answer::Deleted { name, .. }) => deletion(view, &one, name.as_deref(), effect),
        (Act::Restore, _) if count("restored") == Some(0) => {
            format!("Nothing was restored (0 of 1 {one}): it was not deleted.")
        }
        (Act::Restore, _) => format!("Restored 1 {one}."),
        (Act::Merge, Answer::Written { about: (_, about), .. }) => merged(&one, about),
        (Act::Upsert, Answer::Batch(batch)) => {
            let [created, updated, failed] = batch.counts();
            format!("Created {created}, updated {updated} and refused {failed} contacts.")
        }
        (Act::Import, Answer::Imported(it)) => format!(
            "Created {}, updated {}, refused {} and skipped {} rows of {}.",
            it.created,
            it.updated,
            it.refused.len(),
            it.skipped,
            it.table
        ),
        (Act::AddMembers, Answer::Rows { rows, .. }) => members(rows.len() as u64, effect),
        (Act::AddMembers, _) => members(1, effect),
        (Act::RemoveMember, Answer::Deleted { name, .. }) => {
            format!("Removed 1 record from the list{}. The record itself stays.", quoted(name.as_deref()))
        }
        (Act::Execute, Answer::Sql(result)) => statements(result, effect),
        _ => format!("Changed 1 {one}."),
    }
}

/// What a merge did: the records that are gone, and the rows that refer to the one that stays now.
fn merged(one: &str, about: &Value) -> String {
    let from = about["from"].as_array().map_or(0, Vec::len);
    let counted = |name: &str| {
        let tables = about[name].as_object().into_iter().flatten();
        tables.map(|(table, count)| rows_of(table, count.as_u64().unwrap_or(0))).collect::<Vec<_>>().join(" and ")
    };
    let records = if from == 1 { format!("1 {one}") } else { format!("{from} records") };
    let moved = match counted("moved") {
        text if text.is_empty() => "Nothing referred to them".to_owned(),
        text => format!("Moved to it: {text}"),
    };
    let dropped = match counted("dropped") {
        text if text.is_empty() => text,
        text => format!("; dropped, because it has the same: {text}"),
    };
    format!("Merged {records} into this {one}. {moved}{dropped}. undo takes it back.")
}

/// What a deletion hit: the record, and what went with it.
fn deletion(view: &View, one: &str, name: Option<&str>, effect: Option<&ChangeSet>) -> String {
    let table = view.table.as_deref().unwrap_or_default();
    let is_hard = match own_change(table, effect) {
        Some(change) => change.hard,
        None => view.is_hard,
    };
    let name = quoted(name);
    let with = with_it(table, effect);
    match (is_hard, by_table(table).is_some_and(|entity| entity.stamped)) {
        (true, _) => format!("Removed 1 {one}{name} for good{with}."),
        (false, true) => format!("Deleted 1 {one}{name}{with}. restore_record undoes this."),
        (false, false) => format!("Deleted 1 {one}{name}{with}."),
    }
}

/// The change of the record that was deleted.
fn own_change<'a>(table: &str, effect: Option<&'a ChangeSet>) -> Option<&'a crate::model::change::Change> {
    effect?.changes.iter().find(|change| change.table == table && change.verb == "deleted")
}

/// What else was changed when a record of this table was deleted.
fn with_it(table: &str, effect: Option<&ChangeSet>) -> String {
    let Some(effect) = effect else { return String::new() };
    let mut rest = effect.affected.clone();
    if let Some(deleted) = rest.get_mut(table).and_then(|counts| counts.get_mut("deleted")) {
        *deleted = deleted.as_u64().unwrap_or(0).saturating_sub(1).into();
    }
    match totals(&rest) {
        text if text.is_empty() => text,
        text => format!(", and with it {text}"),
    }
}

/// What a deletion or a batch would remove for good, for a person who decides; `None` if it removes nothing for good. `answer` is that
/// to the dry run.
pub fn loss(view: &View, answer: &Answer, effect: &ChangeSet) -> Option<String> {
    if let Answer::Deleted { name, .. } = answer {
        let table = view.table.as_deref().unwrap_or_default();
        if own_change(table, Some(effect)).is_some_and(|change| !change.hard) {
            return None;
        }
        let one = by_table(table).map_or_else(|| format!("row of {table}"), |it| it.name.replace('_', " "));
        return Some(format!("1 {one}{}{}", quoted(name.as_deref()), with_it(table, Some(effect))));
    }
    let gone: Vec<_> = effect.changes.iter().filter(|change| change.hard && change.via == "request").collect();
    if gone.is_empty() && !effect.truncated {
        return None;
    }
    let name = |change: &&crate::model::change::Change| {
        let text = |column: &str| change.columns.get(column)?.get("from")?.as_str().map(str::to_owned);
        let id = change.id.as_str().map_or_else(|| change.id.to_string(), str::to_owned);
        format!("{}{}", called(text).map_or(String::new(), |it| format!("{} ", Value::from(it))), id)
    };
    let mut names: Vec<String> = gone.iter().take(MOST_NAMES).map(name).collect();
    if gone.len() > MOST_NAMES {
        names.push(format!("and {} more", gone.len() - MOST_NAMES));
    }
    Some(format!("{} (in all: {})", names.join(", "), totals(&effect.affected)))
}

fn members(asked: u64, effect: Option<&ChangeSet>) -> String {
    let added = effect.and_then(|effect| count(effect, "list_members", "created")).unwrap_or(asked).min(asked);
    match asked - added {
        0 => format!("Added {} to the list.", records(added)),
        there => format!("Added {} to the list; {} {} in it already.", records(added), there, were(there)),
    }
}

fn records(count: u64) -> String {
    if count == 1 { "1 record".into() } else { format!("{count} records") }
}

fn were(count: u64) -> &'static str {
    if count == 1 { "was" } else { "were" }
}

fn operations(count: usize, effect: Option<&ChangeSet>) -> String {
    let performed = match count {
        1 => "Performed 1 operation".to_owned(),
        count => format!("Performed {count} operations in one transaction"),
    };
    match effect.map(|effect| totals(&effect.affected)) {
        None => format!("{performed}."),
        Some(text) if text.is_empty() => format!("{performed}: no row was changed."),
        Some(text) => format!("{performed}: {text}."),
    }
}

/// What each statement did, and what all did together.
fn statements(result: &SqlResult, effect: Option<&ChangeSet>) -> String {
    let before = result.before.iter().map(|ran| (ran.command.as_str(), ran.rows));
    let all: Vec<_> = before.chain([(result.command.as_str(), Some(result.row_count))]).collect();
    let mut said = match all.as_slice() {
        [(command, rows)] => statement(command, *rows),
        many => {
            let each: Vec<String> = many.iter().map(|(command, rows)| statement(command, *rows)).collect();
            format!("Ran {} statements. {}", many.len(), each.join(" "))
        }
    };
    if let Some(effect) = effect {
        match totals(&effect.affected) {
            text if !text.is_empty() => said.push_str(&format!(" In all: {text}.")),
            // Tables without a key are not in the log.
            _ => said.push_str(" No row of a table with a primary key was changed."),
        }
    }
    said
}

fn statement(command: &str, rows: Option<u64>) -> String {
    match (command, rows) {
        ("INSERT" | "UPDATE" | "DELETE" | "MERGE", Some(count)) => format!("{command}: {} written.", rows_were(count)),
        ("SELECT" | "SHOW" | "VALUES" | "TABLE", Some(count)) => format!("{command}: {} returned.", rows_were(count)),
        _ => format!("{command}: done."),
    }
}

fn rows_were(count: u64) -> String {
    if count == 1 { "1 row was".into() } else { format!("{count} rows were") }
}

/// The number of rows of a table that were changed in a way. A table that is not named was not changed.
fn count(effect: &ChangeSet, table: &str, verb: &str) -> Option<u64> {
    let counts = effect.affected.as_object()?;
    Some(counts.get(table).and_then(|it| it.get(verb)).and_then(Value::as_u64).unwrap_or(0))
}

/// All changed rows in words: `created 2 contacts and 1 deal; updated 1 company`. Empty if there are none.
fn totals(affected: &Value) -> String {
    let tables: Vec<(&String, &Value)> = affected.as_object().into_iter().flatten().collect();
    let of = |verb: &str| {
        let counted = tables.iter().map(|(table, counts)| (table.as_str(), counts[verb].as_u64().unwrap_or(0)));
        let each: Vec<String> =
            counted.filter(|(_, count)| *count > 0).map(|(table, count)| rows_of(table, count)).collect();
        (!each.is_empty()).then(|| format!("{verb} {}", each.join(" and ")))
    };
    VERBS.iter().filter_map(|verb| of(verb)).collect::<Vec<_>>().join("; ")
}

/// `2 contacts`, `1 row of invoices`.
fn rows_of(table: &str, count: u64) -> String {
    match (by_table(table), count) {
        (Some(entity), 1) => format!("1 {}", entity.name.replace('_', " ")),
        (Some(entity), count) => format!("{count} {}", entity.table.replace('_', " ")),
        (None, 1) => format!("1 row of {table}"),
        (None, count) => format!("{count} rows of {table}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changed_rows_are_told_by_verb_and_table() {
        let counts =
            |created: u64, deleted: u64| json!({"created": created, "updated": 0, "deleted": deleted, "restored": 0});
        let affected = json!({"contacts": counts(2, 0), "invoices": counts(1, 3), "deals": counts(0, 1)});
        let text = totals(&affected);
        let mut parts: Vec<&str> = text.split("; ").collect();
        parts.sort_unstable();
        assert_eq!(parts.len(), 2, "{text}");
        assert!(
            parts[0].starts_with("created ")
                && parts[0].contains("2 contacts")
                && parts[0].contains("1 row of invoices")
        );
        assert!(parts[1].contains("1 deal") && parts[1].contains("3 rows of invoices"), "{text}");
        assert_eq!(totals(&json!({"contacts": counts(0, 0)})), "");
    }

    #[test]
    fn every_statement_is_counted() {
        use crate::model::answer::RanStatement;
        use crate::model::rows::Rows;
        let ran = |command: &str, rows| RanStatement { command: command.into(), rows };
        let result = SqlResult {
            rows: Rows::default(),
            row_count: 1,
            command: "UPDATE".into(),
            truncated: false,
            before: vec![ran("CREATE TABLE", None), ran("INSERT", Some(2))],
        };
        let said = statements(&result, Some(&ChangeSet::empty()));
        assert_eq!(
            said,
            "Ran 3 statements. CREATE TABLE: done. INSERT: 2 rows were written. UPDATE: 1 row was written. No row of a table with a primary key was changed."
        );
    }
}
