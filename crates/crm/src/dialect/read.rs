//! Requests as asks: what all dialects have in common. How a dialect names and writes things is its [`Words`].

use serde_json::{Map, Value};

use crate::dialect::route::{Route, methods, route};
use crate::dialect::stored_id;
use crate::model::ask::{Ask, PipelineName, RecordName, Related, UnknownStage};
use crate::model::call::{Call, Method};
use crate::model::fault::Fault;
use crate::model::filter::{Deleted, Filter};
use crate::model::page::{PageAsk, parse_limit};
use crate::model::value::name_of;

/// How a dialect writes what a request says of a table.
#[derive(Debug)]
pub struct Words {
    /// The column that a field of a body means.
    pub column: fn(&str, &str) -> Result<String, Fault>,
    /// The condition that a query parameter is: of the table, the parameter's name and its value.
    pub filter: fn(&str, &str, &str) -> Result<Filter, Fault>,
    /// What is shown with a record, as the value of a query parameter says; all of it where the dialect has no such parameter.
    pub related: Option<RelatedWords>,
    /// What becomes of a deal's stage that its pipeline lacks.
    pub unknown_stage: UnknownStage,
}

/// How a request says what is to be shown with a record.
#[derive(Debug)]
pub struct RelatedWords {
    /// The parameter's names.
    pub parameters: &'static [&'static str],
    /// The relation that a name means.
    pub relation: fn(&str, &str) -> Result<String, Fault>,
}

/// Members of a static list that one request may add.
const MAX_MEMBERS: usize = 1000;

/// Parameters of a list that are no conditions.
const LIST_PARAMETERS: &[&str] = &["limit", "cursor", "include_deleted", "only_deleted"];

/// The columns by which a batch knows a record again where the request does not say.
const DEDUP_ON: &[&str] = &["email"];

/// Reads a call in a dialect's words.
pub fn read(call: &Call<'_>, words: &Words) -> Result<Ask, Fault> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let Some(route) = route(call.method, &path) else {
        let allow: Vec<_> = methods(&path).into_iter().map(Method::name).collect();
        return Err(match allow.is_empty() {
            true => Fault::NoSuchPath { path: format!("/v1/{}", path.join("/")) },
            false => Fault::MethodNotAllowed { allow },
        });
    };
    match route {
        Route::Sql => sql(call),
        Route::Tables => call.only_parameters(&[]).map(|()| Ask::Tables),
        Route::Schema => call.only_parameters(&[]).map(|()| Ask::Schema),
        Route::SearchAll => {
            let (words, page) = search(call)?;
            Ok(Ask::SearchAll { words, page })
        }
        Route::Search(table) => {
            let (words, page) = search(call)?;
            Ok(Ask::Search { table: table.into(), words, page })
        }
        Route::List(table) => list(call, table, words),
        Route::Find(table, id) => find(call, table, stored_id(id).into(), words),
        Route::Create(table) => {
            call.only_parameters(&[])?;
            let (values, unknown_stage) = (body(call, table, words)?, words.unknown_stage);
            Ok(Ask::Create { table: table.into(), values, unknown_stage })
        }
        Route::Batch(table) => batch(call, table, words),
        Route::Update(table, id) => update(call, table, stored_id(id).into(), words),
        Route::Delete(table, id) => delete(call, table, stored_id(id).into()),
        Route::Restore(table, id) => {
            call.only_parameters(&[])?;
            call.no_fields()?;
            Ok(Ask::Restore { table: table.into(), id: stored_id(id).into() })
        }
        Route::ListRows(id) => {
            call.only_parameters(&["limit", "cursor"])?;
            Ok(Ask::ListRows { list_id: id.to_owned(), page: page(call)? })
        }
        Route::AddMembers(id) => add_members(call, id),
        Route::RemoveMember(id, member) => {
            call.only_parameters(&[])?;
            call.no_fields()?;
            Ok(Ask::RemoveMember { list_id: id.to_owned(), id: stored_id(member).into() })
        }
        Route::Stages(pipeline) => {
            call.only_parameters(&["limit", "cursor"])?;
            Ok(Ask::Stages { pipeline, page: page(call)? })
        }
        Route::CreateStage(pipeline) => {
            call.only_parameters(&[])?;
            Ok(Ask::CreateStage { pipeline, values: body(call, STAGES, words)? })
        }
        Route::FindStage(pipeline, key) => find(call, STAGES, stage(pipeline, key), words),
        Route::UpdateStage(pipeline, key) => update(call, STAGES, stage(pipeline, key), words),
        Route::DeleteStage(pipeline, key) => delete(call, STAGES, stage(pipeline, key)),
    }
}

/// The table of a pipeline's stages.
const STAGES: &str = "pipeline_stages";

fn stage(pipeline: PipelineName, key: &str) -> RecordName {
    RecordName::Stage { pipeline, key: key.to_owned() }
}

/// The table that an ask is about, if it is about one.
pub fn table_of(ask: &Ask) -> Option<&str> {
    match ask {
        Ask::List { table, .. }
        | Ask::Find { table, .. }
        | Ask::Create { table, .. }
        | Ask::Batch { table, .. }
        | Ask::Update { table, .. }
        | Ask::Delete { table, .. }
        | Ask::Restore { table, .. }
        | Ask::Search { table, .. } => Some(table),
        Ask::CreateStage { .. } | Ask::Stages { .. } => Some(STAGES),
        Ask::AddMembers { .. } | Ask::RemoveMember { .. } => Some("list_members"),
        Ask::SearchAll { .. } | Ask::ListRows { .. } | Ask::Tables | Ask::Schema | Ask::Sql { .. } => None,
    }
}

fn find(call: &Call<'_>, table: &str, id: RecordName, words: &Words) -> Result<Ask, Fault> {
    const OWN: &[&str] = &["include_deleted", "only_deleted"];
    let related = match &words.related {
        None => {
            call.only_parameters(OWN)?;
            Related::All
        }
        Some(RelatedWords { parameters, relation }) => {
            call.only_parameters(&[OWN, parameters].concat())?;
            let said = call.query.iter().filter(|(name, _)| parameters.contains(&name.as_str()));
            let names = said.flat_map(|(_, value)| value.split(',')).filter(|name| !name.is_empty());
            Related::Named(names.map(|name| relation(table, name)).collect::<Result<_, _>>()?)
        }
    };
    Ok(Ask::Find { table: table.into(), id, deleted: deleted(call)?, related })
}

fn update(call: &Call<'_>, table: &str, id: RecordName, words: &Words) -> Result<Ask, Fault> {
    call.only_parameters(&[])?;
    let (values, unknown_stage) = (body(call, table, words)?, words.unknown_stage);
    Ok(Ask::Update { table: table.into(), id, values, unknown_stage })
}

fn delete(call: &Call<'_>, table: &str, id: RecordName) -> Result<Ask, Fault> {
    call.only_parameters(&["hard"])?;
    call.no_fields()?;
    Ok(Ask::Delete { table: table.into(), id, hard: flag(call, "hard")? })
}

fn search(call: &Call<'_>) -> Result<(String, PageAsk), Fault> {
    call.only_parameters(&["q", "limit", "cursor"])?;
    Ok((call.parameter("q").unwrap_or_default().to_owned(), page(call)?))
}

fn body(call: &Call<'_>, table: &str, words: &Words) -> Result<Map<String, Value>, Fault> {
    values(call.object()?, table, words)
}

/// The values of a record under their columns' names, with ids in their stored form.
fn values(fields: Map<String, Value>, table: &str, words: &Words) -> Result<Map<String, Value>, Fault> {
    let mut values = Map::with_capacity(fields.len());
    for (name, mut value) in fields {
        let column = (words.column)(table, &name)?;
        store_ids(&column, &mut value);
        values.insert(column, value);
    }
    Ok(values)
}

/// Puts the ids in an `…_id` or `…_ids` column into their stored form, and those among the parameters of a list's SQL.
fn store_ids(column: &str, value: &mut Value) {
    match value {
        Value::String(text) if column.ends_with("_id") => *text = stored_id(text).into_owned(),
        Value::Array(items) if column.ends_with("_ids") || column == "filter_params" => {
            items.iter_mut().for_each(store)
        }
        _ => {}
    }
}

fn store(value: &mut Value) {
    if let Value::String(text) = value {
        *text = stored_id(text).into_owned();
    }
}

/// Refuses fields of a body other than those named.
fn only_fields(body: &Map<String, Value>, known: &[&str]) -> Result<(), Fault> {
    match body.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(name) => Err(Fault::unknown_field(name, known.iter().copied())),
    }
}

fn batch(call: &Call<'_>, table: &str, words: &Words) -> Result<Ask, Fault> {
    call.only_parameters(&[])?;
    let mut body = call.object()?;
    only_fields(&body, &[table, "dedup_on"])?;
    let Some(Value::Array(records)) = body.remove(table) else {
        return Err(Fault::invalid_with_hint(
            format!("\"{table}\" must be an array of records."),
            format!("Send {{\"{table}\": [{{…}}, …], \"dedup_on\": [\"email\"]}}."),
        ));
    };
    let rows = records
        .into_iter()
        .map(|record| match record {
            Value::Object(fields) => values(fields, table, words),
            other => Err(Fault::invalid(format!("A record must be a JSON object, not {}.", name_of(&other)))),
        })
        .collect();
    let dedup_on = match body.remove("dedup_on") {
        None | Some(Value::Null) => DEDUP_ON.iter().map(|column| (*column).to_owned()).collect(),
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| match name.as_str() {
                Some(name) => (words.column)(table, name),
                None => Err(dedup_on_is_no_list()),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(dedup_on_is_no_list()),
    };
    Ok(Ask::Batch { table: table.into(), rows, dedup_on })
}

fn dedup_on_is_no_list() -> Fault {
    Fault::invalid_with_hint("\"dedup_on\" must be an array of field names.", "Send \"dedup_on\": [\"email\"].")
}

fn add_members(call: &Call<'_>, list_id: &str) -> Result<Ask, Fault> {
    call.only_parameters(&[])?;
    let body = call.object()?;
    only_fields(&body, &["member_id", "member_ids"])?;
    let (ids, several) = match (body.get("member_id"), body.get("member_ids")) {
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
    Ok(Ask::AddMembers { list_id: list_id.to_owned(), ids, several })
}

fn page(call: &Call<'_>) -> Result<PageAsk, Fault> {
    let cursor = call.parameter("cursor").filter(|cursor| !cursor.is_empty()).map(str::to_owned);
    Ok(PageAsk { limit: parse_limit(call.parameter("limit"))?, cursor })
}

/// SQL sees ids in their stored form, so its parameters are put into it.
fn sql(call: &Call<'_>) -> Result<Ask, Fault> {
    call.only_parameters(&[])?;
    let mut object = call.object()?;
    only_fields(&object, &["sql", "params"])?;
    let sql = match object.remove("sql") {
        Some(Value::String(sql)) => sql,
        _ => {
            return Err(Fault::invalid_with_hint(
                "\"sql\" must be a string with an SQL statement.",
                "Send {\"sql\": \"SELECT …\", \"params\": [ … ]}.",
            ));
        }
    };
    let mut params = match object.remove("params") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(params)) => params,
        Some(_) => return Err(Fault::invalid("\"params\" must be an array: the values of $1, $2 …")),
    };
    params.iter_mut().for_each(|param| match param {
        Value::Array(items) => items.iter_mut().for_each(store),
        param => store(param),
    });
    Ok(Ask::Sql { sql, params })
}

fn list(call: &Call<'_>, table: &str, words: &Words) -> Result<Ask, Fault> {
    let page = page(call)?;
    let filters = call.query.iter().filter(|(name, _)| !LIST_PARAMETERS.contains(&name.as_str()));
    let filters = filters.map(|(name, value)| (words.filter)(table, name, value)).collect::<Result<_, _>>()?;
    Ok(Ask::List { table: table.into(), filters, deleted: deleted(call)?, page })
}

fn deleted(call: &Call<'_>) -> Result<Deleted, Fault> {
    match (flag(call, "only_deleted")?, flag(call, "include_deleted")?) {
        (true, _) => Ok(Deleted::Only),
        (false, true) => Ok(Deleted::Include),
        (false, false) => Ok(Deleted::Exclude),
    }
}

fn flag(call: &Call<'_>, name: &str) -> Result<bool, Fault> {
    match call.parameter(name) {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1" | "") => Ok(true),
        Some(other) => Err(Fault::invalid(format!("{name} must be true or false, not \"{other}\"."))),
    }
}
