//! Requests of agentCRM's dialect as asks.

use serde_json::Value;

use crate::dialect::agentcrm::filter::filter;
use crate::dialect::{store_ids, stored_id};
use crate::model::ask::{Ask, UnknownStage};
use crate::model::call::{Call, Method};
use crate::model::fault::Fault;
use crate::model::filter::Deleted;
use crate::model::page::{PageAsk, parse_limit};

/// First segments that are never tables, whatever the workspace calls its own.
const RESERVED: &[&str] =
    &["auth", "claim", "connection", "keys", "members", "schema", "sql", "tables", "webhooks", "workspaces"];

/// Where a path leads.
enum Route<'a> {
    Sql,
    Tables,
    Schema,
    List(&'a str),
    Create(&'a str),
    Find(&'a str, &'a str),
    Update(&'a str, &'a str),
    Delete(&'a str, &'a str),
    Restore(&'a str, &'a str),
    ListRows(&'a str),
    Search(&'a str),
    AddMembers(&'a str),
    RemoveMember(&'a str, &'a str),
}

#[rustfmt::skip] // the table of routes is read in columns
fn route<'a>(method: Method, path: &[&'a str]) -> Option<Route<'a>> {
    use Method::{Delete, Get, Patch, Post};
    Some(match (method, path) {
        (Post,   ["sql"])                => Route::Sql,
        (Get,    ["tables"])             => Route::Tables,
        (Get,    ["schema"])             => Route::Schema,
        (_,      [first, ..]) if RESERVED.contains(first) => return None,
        (Get,    ["lists", id, "rows"])        => Route::ListRows(id),
        (Post,   ["lists", id, "members"])     => Route::AddMembers(id),
        (Delete, ["lists", id, "members", member]) => Route::RemoveMember(id, member),
        (Get,    [table, "search"])      => Route::Search(table),
        (Get,    [table])                => Route::List(table),
        (Post,   [table])                => Route::Create(table),
        (Get,    [table, id])            => Route::Find(table, id),
        (Patch,  [table, id])            => Route::Update(table, id),
        (Delete, [table, id])            => Route::Delete(table, id),
        (Post,   [table, id, "restore"]) => Route::Restore(table, id),
        _                                => return None,
    })
}

/// The methods that a path has.
pub fn methods(path: &[&str]) -> Vec<Method> {
    Method::ALL.into_iter().filter(|method| route(*method, path).is_some()).collect()
}

/// Reads a call.
pub fn read(call: &Call<'_>) -> Result<Ask, Fault> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let Some(route) = route(call.method, &path) else {
        let allow: Vec<_> = methods(&path).into_iter().map(Method::name).collect();
        return Err(match allow.is_empty() {
            true => Fault::NoSuchPath { path: format!("/v1/{}", path.join("/")) },
            false => Fault::MethodNotAllowed { allow },
        });
    };
    match route {
        Route::ListRows(id) => {
            call.only_parameters(&["limit", "cursor"])?;
            Ok(Ask::ListRows { list_id: id.to_owned(), page: page(call)? })
        }
        Route::Search(table) => {
            call.only_parameters(&["q", "limit"])?;
            let words = call.parameter("q").unwrap_or_default().to_owned();
            Ok(Ask::Search { table: table.into(), words, limit: parse_limit(call.parameter("limit"))? })
        }
        Route::AddMembers(id) => add_members(call, id),
        Route::RemoveMember(id, member) => {
            call.only_parameters(&[])?;
            Ok(Ask::RemoveMember { list_id: id.to_owned(), id: stored_id(member).into() })
        }
        Route::Sql => sql(call),
        Route::Tables => call.only_parameters(&[]).map(|()| Ask::Tables),
        Route::Schema => call.only_parameters(&[]).map(|()| Ask::Schema),
        Route::Restore(table, id) => {
            call.only_parameters(&[])?;
            no_body(call)?;
            Ok(Ask::Restore { table: table.into(), id: stored_id(id).into() })
        }
        Route::List(table) => list(call, table),
        Route::Create(table) => {
            call.only_parameters(&[])?;
            Ok(Ask::Create { table: table.into(), values: body(call)?, unknown_stage: UnknownStage::Add })
        }
        Route::Find(table, id) => {
            call.only_parameters(&["include_deleted", "only_deleted"])?;
            Ok(Ask::Find { table: table.into(), id: stored_id(id).into(), deleted: deleted(call)? })
        }
        Route::Update(table, id) => {
            call.only_parameters(&[])?;
            let (id, values) = (stored_id(id).into(), body(call)?);
            Ok(Ask::Update { table: table.into(), id, values, unknown_stage: UnknownStage::Add })
        }
        Route::Delete(table, id) => {
            call.only_parameters(&["hard"])?;
            Ok(Ask::Delete { table: table.into(), id: stored_id(id).into(), hard: flag(call, "hard")? })
        }
    }
}

fn no_body(call: &Call<'_>) -> Result<(), Fault> {
    match call.object()?.keys().next() {
        None => Ok(()),
        Some(name) => Err(Fault::unknown_field(name, std::iter::empty())),
    }
}

fn body(call: &Call<'_>) -> Result<serde_json::Map<String, Value>, Fault> {
    let mut values = call.object()?;
    store_ids(&mut values);
    Ok(values)
}

/// Members of a static list that one request may add.
const MAX_MEMBERS: usize = 1000;

fn add_members(call: &Call<'_>, list_id: &str) -> Result<Ask, Fault> {
    call.only_parameters(&[])?;
    let body = call.object()?;
    if let Some(name) = body.keys().find(|key| !["member_id", "member_ids"].contains(&key.as_str())) {
        return Err(Fault::unknown_field(name, ["member_id", "member_ids"].into_iter()));
    }
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

fn sql(call: &Call<'_>) -> Result<Ask, Fault> {
    call.only_parameters(&[])?;
    let mut object = call.object()?;
    if let Some(name) = object.keys().find(|key| !["sql", "params"].contains(&key.as_str())) {
        return Err(Fault::unknown_field(name, ["sql", "params"].into_iter()));
    }
    let sql = match object.remove("sql") {
        Some(Value::String(sql)) => sql,
        _ => {
            return Err(Fault::invalid_with_hint(
                "\"sql\" must be a string with an SQL statement.",
                "Send {\"sql\": \"SELECT …\", \"params\": [ … ]}.",
            ));
        }
    };
    let params = match object.remove("params") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(params)) => params,
        Some(_) => return Err(Fault::invalid("\"params\" must be an array: the values of $1, $2 …")),
    };
    Ok(Ask::Sql { sql, params })
}

fn list(call: &Call<'_>, table: &str) -> Result<Ask, Fault> {
    let page = page(call)?;
    let is_filter = |name: &str| !["limit", "cursor", "include_deleted", "only_deleted"].contains(&name);
    let filters =
        call.query.iter().filter(|(name, _)| is_filter(name)).map(|(name, value)| filter(name, value)).collect();
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
