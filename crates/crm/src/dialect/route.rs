//! Where the paths under `/v1` lead. Both dialects have them all: a key decides how a request is read and answered, not what
//! there is.

use crate::model::ask::PipelineName;
use crate::model::call::Method;
use crate::model::entity::by_table;

/// First segments that are never tables, whatever the workspace calls its own.
const RESERVED: &[&str] = &[
    "auth",
    "claim",
    "connection",
    "keys",
    "members",
    "pipeline",
    "schema",
    "search",
    "sql",
    "tables",
    "webhooks",
    "workspaces",
];

/// Where a path leads.
#[derive(Debug, PartialEq)]
pub enum Route<'a> {
    Sql,
    Tables,
    Schema,
    SearchAll,
    List(&'a str),
    Create(&'a str),
    Find(&'a str, &'a str),
    Update(&'a str, &'a str),
    Delete(&'a str, &'a str),
    Restore(&'a str, &'a str),
    Search(&'a str),
    Batch(&'a str),
    ListRows(&'a str),
    AddMembers(&'a str),
    RemoveMember(&'a str, &'a str),
    Stages(PipelineName),
    CreateStage(PipelineName),
    FindStage(PipelineName, &'a str),
    UpdateStage(PipelineName, &'a str),
    DeleteStage(PipelineName, &'a str),
}

/// Where a path below `/v1` leads, if it has the method.
#[rustfmt::skip] // the table of routes is read in columns
pub fn route<'a>(method: Method, path: &[&'a str]) -> Option<Route<'a>> {
    use Method::{Delete, Get, Patch, Post};
    let of = |key: &str| PipelineName::Key(key.to_owned());
    let default = PipelineName::Default;
    Some(match (method, path) {
        (Post,   ["sql"])                              => Route::Sql,
        (Get,    ["tables"])                           => Route::Tables,
        (Get,    ["search"])                           => Route::SearchAll,
        (Get,    ["schema"])                           => Route::Schema,
        (Get,    ["schema", "fields"])                 => Route::List("custom_fields"),
        (Post,   ["schema", "fields"])                 => Route::Create("custom_fields"),
        (Get,    ["schema", "fields", id])             => Route::Find("custom_fields", id),
        (Patch,  ["schema", "fields", id])             => Route::Update("custom_fields", id),
        (Delete, ["schema", "fields", id])             => Route::Delete("custom_fields", id),
        (Get,    ["pipeline", "stages"])               => Route::Stages(default),
        (Post,   ["pipeline", "stages"])               => Route::CreateStage(default),
        (Get,    ["pipeline", "stages", stage])        => Route::FindStage(default, stage),
        (Patch,  ["pipeline", "stages", stage])        => Route::UpdateStage(default, stage),
        (Delete, ["pipeline", "stages", stage])        => Route::DeleteStage(default, stage),
        (_,      [first, ..]) if RESERVED.contains(first) => return None,
        (Get,    ["pipelines", key, "stages"])         => Route::Stages(of(key)),
        (Post,   ["pipelines", key, "stages"])         => Route::CreateStage(of(key)),
        (Get,    ["pipelines", key, "stages", stage])  => Route::FindStage(of(key), stage),
        (Patch,  ["pipelines", key, "stages", stage])  => Route::UpdateStage(of(key), stage),
        (Delete, ["pipelines", key, "stages", stage])  => Route::DeleteStage(of(key), stage),
        (Post,   ["contacts", "batch"])                => Route::Batch("contacts"),
        (_,      ["contacts", "batch"])                => return None,
        (Get,    ["lists", id, "rows"])                => Route::ListRows(id),
        (Post,   ["lists", id, "members"])             => Route::AddMembers(id),
        (Delete, ["lists", id, "members", member])     => Route::RemoveMember(id, member),
        (Get,    [table, "search"])                    => Route::Search(table),
        (_,      [_, "search"])                        => return None,
        (Get,    [table])                              => Route::List(table),
        (Post,   [table])                              => Route::Create(table),
        (Get,    [table, id])                          => Route::Find(table, id),
        (Patch,  [table, id])                          => Route::Update(table, id),
        (Delete, [table, id])                          => Route::Delete(table, id),
        (Post,   [table, id, "restore"])               => Route::Restore(table, id),
        _                                              => return None,
    })
}

/// The methods that a path has. What is only read has those of writing as well, so that they are refused in its own words;
/// they are not offered.
pub fn methods(path: &[&str]) -> Vec<Method> {
    let is_read_only = path.first().is_some_and(|table| by_table(table).is_some_and(|entity| !entity.writable));
    let offered = |method: &Method| route(*method, path).is_some() && (*method == Method::Get || !is_read_only);
    Method::ALL.into_iter().filter(offered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let segments: Vec<&str> = path.split('/').collect();
        let names: Vec<&str> = methods(&segments).into_iter().map(Method::name).collect();
        assert_eq!(names.join(" "), expected, "{path}");
    }

    #[test]
    fn paths_have_their_methods() {
        check("contacts", "GET POST");
        check("contacts/con_1", "GET PATCH DELETE");
        check("contacts/batch", "POST");
        check("contacts/search", "GET");
        check("activity", "GET");
        check("activity/a_1", "GET");
        check("search", "GET");
        check("sql", "POST");
        check("schema", "GET");
        check("schema/fields", "GET POST");
        check("schema/fields/fld_1", "GET PATCH DELETE");
        check("schema/other", "");
        check("pipelines/sales", "GET PATCH DELETE");
        check("pipelines/sales/stages", "GET POST");
        check("pipelines/sales/stages/won", "GET PATCH DELETE");
        check("pipeline", "");
        check("pipeline/stages", "GET POST");
        check("pipeline/stages/won", "GET PATCH DELETE");
        check("associations", "GET POST");
        check("keys", "");
        check("a/b/c/d", "");
    }
}
