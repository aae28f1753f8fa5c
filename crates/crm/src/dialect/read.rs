//! Reads arguments as asks: the part that is common to all dialects. The names of a dialect are its [`Words`].

use serde_json::{Map, Value};

use crate::dialect::arguments::Arguments;
use crate::dialect::route::{ControlOperation, Operation};
use crate::dialect::words::{RelatedWords, UnknownField, Words, store, store_ids};
use crate::dialect::{assertion, import, merge, operations, runs, stored_id};
use crate::model::ask::{
    Ask, BatchRow, EMAILS, EventsAsk, InboundOrigin, PipelineName, RecordName, Related, STAGES, Single, Steps,
};
use crate::model::control::ControlAsk;
use crate::model::event;
use crate::model::fault::{Fault, nearest};
use crate::model::filter::{Deleted, Sort};
use crate::model::page::PageAsk;
use crate::model::value::name_of;

/// The fields of an e-mail to send.
const MESSAGE: &[&str] =
    &["from", "to", "cc", "bcc", "reply_to", "subject", "html", "text", "headers", "attachments", "in_reply_to"];
/// The columns of its record that a request can set.
const RECORDED: &[&str] = &["custom", "deal_ids"];

/// Maximum number of members that one request can add.
const MAX_MEMBERS: usize = 1000;

/// Parameters of a list that are not filters.
const LIST_PARAMETERS: &[&str] = &["limit", "cursor", "sort", "include_deleted", "only_deleted"];

/// The default of `dedup_on`.
const DEDUP_ON: &[&str] = &["email"];

/// Reads an operation's arguments by the names of a dialect.
pub fn read(mut arguments: Arguments<'_>, words: &Words) -> Result<Ask, Fault> {
    let said = &mut arguments;
    Ok(match said.operation.clone() {
        Operation::Sql => sql(said)?.into(),
        Operation::Operations => operations::read(said)?,
        Operation::Tables => {
            const OPTIONS: [&str; 2] = ["limit", "cursor"];
            said.only_options(&OPTIONS)?;
            let is_paged = OPTIONS.iter().any(|name| said.option(name).is_some());
            Single::Tables { page: is_paged.then(|| page(said)).transpose()? }.into()
        }
        Operation::Schema => {
            said.only_options(&["table"])?;
            Single::Schema { table: said.option("table").map(str::to_owned) }.into()
        }
        Operation::SearchAll => {
            let (words, page) = search(said)?;
            Steps::SearchAll { words, page }.into()
        }
        Operation::Search(table) => {
            let (words, page) = search(said)?;
            Single::Search { table: table.into(), words, page }.into()
        }
        Operation::List(table) => list(said, table, words)?.into(),
        Operation::Find(table, id) => find(said, table, stored_id(id).into(), words)?.into(),
        Operation::SendEmail => send_email(said, words)?.into(),
        Operation::ReceiveEmail => {
            said.only_options(&[])?;
            let email = said.message.take().unwrap_or_default();
            Steps::ReceiveEmail { email, origin: InboundOrigin::Request }.into()
        }
        Operation::Create(EMAILS) if is_sent(said) => send_email(said, words)?.into(),
        Operation::Create(table) => {
            said.only_options(&[])?;
            let (values, unknown_stage) = (record(said, table, words)?, words.unknown_stage);
            Single::Create { table: table.into(), values, unknown_stage }.into()
        }
        Operation::Batch(table) => batch(said, table, words)?.into(),
        Operation::Import => import::read(said, words)?.into(),
        Operation::Update(table, id) => update(said, table, stored_id(id).into(), words)?.into(),
        Operation::Delete(table, id) => delete(said, table, stored_id(id).into())?.into(),
        Operation::Restore(table, id) => {
            said.only_options(&[])?;
            Single::Restore { table: table.into(), id: stored_id(id).into() }.into()
        }
        Operation::Assert(table) => assertion::read(said, table, words)?.into(),
        Operation::Merge(table, id) => merge::read(said, table, id, words)?.into(),
        Operation::ListRows(id) => {
            said.only_options(&["limit", "cursor"])?;
            Steps::ListRows { list_id: id.to_owned(), page: page(said)? }.into()
        }
        Operation::AddMembers(id) => add_members(said, id)?.into(),
        Operation::RemoveMember(id, member) => {
            said.only_options(&[])?;
            Steps::RemoveMember { list_id: id.to_owned(), id: stored_id(member).into() }.into()
        }
        Operation::Stages(pipeline) => {
            said.only_options(&["limit", "cursor"])?;
            Single::Stages { pipeline, page: page(said)? }.into()
        }
        Operation::CreateStage(pipeline) => {
            said.only_options(&[])?;
            Single::CreateStage { pipeline, values: record(said, STAGES, words)? }.into()
        }
        Operation::FindStage(pipeline, key) => find(said, STAGES, stage(pipeline, key), words)?.into(),
        Operation::UpdateStage(pipeline, key) => update(said, STAGES, stage(pipeline, key), words)?.into(),
        Operation::DeleteStage(pipeline, key) => delete(said, STAGES, stage(pipeline, key))?.into(),
        Operation::Events => events(said)?.into(),
        Operation::Control(operation) => control(said, &operation, words.dialect)?.into(),
        Operation::ListRuns => runs::list(said)?.into(),
        Operation::OpenRun => runs::open(said)?.into(),
        Operation::FindRun(run) => {
            said.only_options(&[])?;
            Steps::FindRun { run: run.to_owned() }.into()
        }
        Operation::RunChanges(run) => {
            said.only_options(&["limit", "cursor", "net"])?;
            Steps::RunChanges { run: run.to_owned(), net: flag(said, "net")?, page: page(said)? }.into()
        }
        Operation::FinishRun(run) => runs::finish(said, run)?.into(),
        Operation::Undo(what) => runs::undo(said, what)?.into(),
    })
}

/// Whether a new e-mail is one to send. One with a `from_addr`, or without sender and recipients, is only recorded.
fn is_sent(said: &Arguments<'_>) -> bool {
    let has = |name| said.fields.contains_key(name);
    !has("from_addr") && (has("from") || has("to"))
}

/// Reads an e-mail to send. Besides the message's own fields it has two columns of its record.
fn send_email(said: &mut Arguments<'_>, words: &Words) -> Result<Steps, Fault> {
    said.only_options(&[])?;
    let mut values = Map::with_capacity(said.fields.len());
    for (name, mut value) in std::mem::take(&mut said.fields) {
        if MESSAGE.contains(&name.as_str()) {
            values.insert(name, value);
            continue;
        }
        let column = match (words.column)(EMAILS, &name) {
            Ok(column) if RECORDED.contains(&column.as_str()) => column,
            Ok(_) => return Err(Fault::unknown_field(&name, MESSAGE.iter().copied())),
            Err(unknown) => {
                // A name of the other dialect, or one that is nearly a field of the message.
                let of_message = || nearest(&name, MESSAGE.iter().copied());
                let own = |near: &String| (words.column)(EMAILS, near).is_ok_and(|it| RECORDED.contains(&it.as_str()));
                let nearest = unknown.nearest.filter(own).or_else(of_message);
                return Err(Fault::Unknown { what: "field", name, nearest });
            }
        };
        store_ids(&column, &mut value);
        values.insert(column, value);
    }
    Ok(Steps::SendEmail { values })
}

fn stage(pipeline: PipelineName, key: &str) -> RecordName {
    RecordName::Stage { pipeline, key: key.to_owned() }
}

fn find(said: &Arguments<'_>, table: &str, id: RecordName, words: &Words) -> Result<Single, Fault> {
    const OWN: &[&str] = &["include_deleted", "only_deleted"];
    let related = match &words.related {
        None => {
            said.only_options(OWN)?;
            Related::All
        }
        Some(RelatedWords { parameters, relation }) => {
            said.only_options(&[OWN, parameters].concat())?;
            let said = said.options.iter().filter(|(name, _)| parameters.contains(&name.as_str()));
            let names = said.flat_map(|(_, value)| value.split(',')).filter(|name| !name.is_empty());
            Related::Named(names.map(|name| relation(table, name)).collect::<Result<_, _>>()?)
        }
    };
    Ok(Single::Find { table: table.into(), id, deleted: deleted(said)?, related })
}

fn update(said: &mut Arguments<'_>, table: &str, id: RecordName, words: &Words) -> Result<Single, Fault> {
    said.only_options(&[])?;
    let (values, unknown_stage) = (record(said, table, words)?, words.unknown_stage);
    Ok(Single::Update { table: table.into(), id, values, unknown_stage })
}

fn delete(said: &Arguments<'_>, table: &str, id: RecordName) -> Result<Single, Fault> {
    said.only_options(&["hard"])?;
    Ok(Single::Delete { table: table.into(), id, hard: flag(said, "hard")? })
}

fn search(said: &Arguments<'_>) -> Result<(String, PageAsk), Fault> {
    said.only_options(&["q", "limit", "cursor"])?;
    Ok((said.option("q").unwrap_or_default().to_owned(), page(said)?))
}

fn record(said: &mut Arguments<'_>, table: &str, words: &Words) -> Result<Map<String, Value>, Fault> {
    values(std::mem::take(&mut said.fields), table, words).map_err(UnknownField::into_fault)
}

/// The values of a record, by column. Ids are in their stored form.
fn values(fields: Map<String, Value>, table: &str, words: &Words) -> Result<Map<String, Value>, UnknownField> {
    let mut values = Map::with_capacity(fields.len());
    for (name, mut value) in fields {
        let column = (words.column)(table, &name)?;
        store_ids(&column, &mut value);
        values.insert(column, value);
    }
    Ok(values)
}

fn batch(said: &mut Arguments<'_>, table: &str, words: &Words) -> Result<Steps, Fault> {
    said.only_options(&[])?;
    said.only_fields(&[table, "dedup_on"])?;
    let Some(Value::Array(records)) = said.fields.remove(table) else {
        return Err(Fault::invalid_with_hint(
            format!("\"{table}\" must be an array of records."),
            format!("Send {{\"{table}\": [{{…}}, …], \"dedup_on\": [\"email\"]}}."),
        ));
    };
    let rows = records
        .into_iter()
        .map(|record| match record {
            Value::Object(fields) => match values(fields, table, words) {
                Ok(values) => BatchRow::Values(values),
                Err(UnknownField { name, nearest }) => BatchRow::UnknownField { name, nearest },
            },
            other => BatchRow::NotAnObject { found: name_of(&other).to_owned() },
        })
        .collect();
    let dedup_on = match said.fields.remove("dedup_on") {
        None | Some(Value::Null) => DEDUP_ON.iter().map(|column| (*column).to_owned()).collect(),
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| match name.as_str() {
                Some(name) => (words.column)(table, name).map_err(UnknownField::into_fault),
                None => Err(dedup_on_is_no_list()),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(dedup_on_is_no_list()),
    };
    Ok(Steps::Batch { table: table.into(), rows, dedup_on })
}

fn dedup_on_is_no_list() -> Fault {
    Fault::invalid_with_hint("\"dedup_on\" must be an array of field names.", "Send \"dedup_on\": [\"email\"].")
}

fn add_members(said: &Arguments<'_>, list_id: &str) -> Result<Steps, Fault> {
    said.only_options(&[])?;
    said.only_fields(&["member_id", "member_ids"])?;
    let (ids, several) = match (said.fields.get("member_id"), said.fields.get("member_ids")) {
        (Some(Value::String(id)), None) => (vec![stored_id(id).into_owned()], false),
        (None, Some(Value::Array(ids))) => {
            let ids = ids.iter().map(|id| id.as_str().map(|id| stored_id(id).into_owned())).collect::<Option<Vec<_>>>();
            (ids.unwrap_or_default(), true)
        }
        _ => (Vec::new(), false),
    };
    if ids.is_empty() || ids.len() > MAX_MEMBERS {
        return Err(Fault::invalid(format!(
            "Send {{\"member_id\": \"…\"}} or {{\"member_ids\": [\"…\"]}} with up to {MAX_MEMBERS} ids."
        )));
    }
    Ok(Steps::AddMembers { list_id: list_id.to_owned(), ids, several })
}

fn page(said: &Arguments<'_>) -> Result<PageAsk, Fault> {
    said.page()
}

fn events(said: &Arguments<'_>) -> Result<Steps, Fault> {
    said.only_options(&["after", "cursor", "type", "limit"])?;
    let mut cursors =
        said.options.iter().filter(|(name, text)| matches!(&**name, "after" | "cursor") && !text.is_empty());
    let after = cursors.next().map(|(_, text)| text.clone());
    if cursors.any(|(_, text)| Some(text) != after.as_ref()) {
        return Err(Fault::invalid("\"after\" and \"cursor\" are two names of one parameter, and it has one value."));
    }
    let types = said.options.iter().filter(|(name, _)| name == "type").flat_map(|(_, value)| value.split(','));
    let types: Vec<String> = types.filter(|it| !it.is_empty()).map(str::to_owned).collect();
    for pattern in &types {
        event::check(pattern).map_err(|(message, hint)| Fault::Invalid { message, hint })?;
    }
    Ok(Steps::Events(EventsAsk { after, types, limit: said.page()?.limit }))
}

/// Reads an operation's arguments, in a dialect.
fn control(said: &mut Arguments<'_>, operation: &ControlOperation<'_>, dialect: &str) -> Result<ControlAsk, Fault> {
    said.only_options(match operation {
        ControlOperation::List(_) => &["limit", "cursor"],
        ControlOperation::Logs => &["status", "method", "since", "limit", "cursor"],
        ControlOperation::Deliveries(_) | ControlOperation::Runs(_) => &["status", "limit", "cursor"],
        _ => &[],
    })?;
    let id = |id: &&str| (*id).to_owned();
    let values = std::mem::take(&mut said.fields);
    Ok(match operation {
        ControlOperation::List(resource) => ControlAsk::List { resource: *resource, page: page(said)? },
        ControlOperation::Runs(it) => {
            ControlAsk::Runs { id: id(it), status: said.option("status").map(str::to_owned), page: page(said)? }
        }
        ControlOperation::Deliveries(it) => {
            ControlAsk::Deliveries { id: id(it), status: said.option("status").map(str::to_owned), page: page(said)? }
        }
        ControlOperation::Logs => {
            let given = |name: &&str| {
                let value = said.option(name).filter(|value| !value.is_empty())?;
                Some(((*name).to_owned(), Value::from(value)))
            };
            let filters = ["status", "method", "since"].iter().filter_map(given).collect();
            ControlAsk::Logs { filters, page: page(said)? }
        }
        ControlOperation::Create(resource) => {
            ControlAsk::Create { resource: *resource, values, dialect: dialect.to_owned() }
        }
        ControlOperation::Find(resource, it) => ControlAsk::Find { resource: *resource, id: id(it) },
        ControlOperation::Update(resource, it) => ControlAsk::Update { resource: *resource, id: id(it), values },
        ControlOperation::Delete(resource, it) => ControlAsk::Delete { resource: *resource, id: id(it) },
        ControlOperation::RotateSecret(it) => ControlAsk::RotateSecret { id: id(it) },
        ControlOperation::TestAutomation(it) => {
            ControlAsk::TestAutomation { id: id(it), values, dialect: dialect.to_owned() }
        }
        ControlOperation::TestWebhook(it) => ControlAsk::TestWebhook { id: id(it) },
        ControlOperation::Replay(it, delivery) => ControlAsk::Replay { id: id(it), delivery_id: id(delivery) },
        ControlOperation::Integration => ControlAsk::Integration,
        ControlOperation::SetIntegration => ControlAsk::SetIntegration { values },
        ControlOperation::RemoveIntegration => ControlAsk::RemoveIntegration,
        ControlOperation::Mailbox => ControlAsk::Mailbox,
        ControlOperation::ConnectMailbox => ControlAsk::ConnectMailbox { values },
        ControlOperation::DisconnectMailbox => ControlAsk::DisconnectMailbox,
        ControlOperation::VerifyDomain(it) => ControlAsk::VerifyDomain { id: id(it) },
        ControlOperation::ReplayFailed(it) => ControlAsk::ReplayFailed { id: id(it), values },
    })
}

/// Reads a raw SQL request. Ids in its parameters are converted to their stored form, because the database has only
/// that.
fn sql(said: &mut Arguments<'_>) -> Result<Steps, Fault> {
    said.only_options(&[])?;
    said.only_fields(&["sql", "params"])?;
    let sql = match said.fields.remove("sql") {
        Some(Value::String(sql)) => sql,
        _ => {
            return Err(Fault::invalid_with_hint(
                "\"sql\" must be a string with an SQL statement.",
                "Send {\"sql\": \"SELECT …\", \"params\": [ … ]}.",
            ));
        }
    };
    let mut params = match said.fields.remove("params") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(params)) => params,
        Some(_) => return Err(Fault::invalid("\"params\" must be an array: the values of $1, $2 …")),
    };
    params.iter_mut().for_each(|param| match param {
        Value::Array(items) => items.iter_mut().for_each(store),
        param => store(param),
    });
    Ok(Steps::Sql { sql, params })
}

fn list(said: &Arguments<'_>, table: &str, words: &Words) -> Result<Single, Fault> {
    let page = page(said)?;
    let filters = said.options.iter().filter(|(name, _)| !LIST_PARAMETERS.contains(&name.as_str()));
    let filters = filters.map(|(name, value)| (words.filter)(table, name, value)).collect::<Result<_, _>>()?;
    let sort = said.option("sort").filter(|name| !name.is_empty());
    let sort = sort.map(|name| sorted(table, name, words)).transpose()?;
    Ok(Single::List { table: table.into(), filters, deleted: deleted(said)?, sort, page })
}

/// Reads the column to sort by. A `-` before its name means the largest value first.
fn sorted(table: &str, said: &str, words: &Words) -> Result<Sort, Fault> {
    let (name, descending) = said.strip_prefix('-').map_or((said, false), |name| (name, true));
    Ok(Sort { said: name.to_owned(), subjects: (words.sort)(table, name)?, descending })
}

fn deleted(said: &Arguments<'_>) -> Result<Deleted, Fault> {
    match (flag(said, "only_deleted")?, flag(said, "include_deleted")?) {
        (true, _) => Ok(Deleted::Only),
        (false, true) => Ok(Deleted::Include),
        (false, false) => Ok(Deleted::Exclude),
    }
}

fn flag(said: &Arguments<'_>, name: &str) -> Result<bool, Fault> {
    match said.option(name) {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1" | "") => Ok(true),
        Some(other) => Err(Fault::invalid(format!("{name} must be true or false, not \"{other}\"."))),
    }
}
