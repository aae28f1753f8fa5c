//! All methods and paths under `/v1` for API keys. Both dialects have all of them.

use crate::dialect::openapi::{Act, Alias, Endpoint};
use crate::model::call::Method::{self, Delete, Get, Patch, Post};

const fn endpoint(method: Method, path: &'static str, act: Act, about: &'static str) -> Endpoint {
    Endpoint { method, path, act, about, alias: None }
}

const fn alias(alias: &'static Alias, method: Method, path: &'static str, act: Act, about: &'static str) -> Endpoint {
    Endpoint { method, path, act, about, alias: Some(alias) }
}

const FIELDS: Alias = Alias { table: "custom_fields", one: "SchemaField", many: "SchemaFields" };
const STAGES: Alias = Alias { table: "pipeline_stages", one: "StageOfPipeline", many: "StagesOfPipeline" };
const DEFAULT_STAGES: Alias = Alias { table: "pipeline_stages", one: "DefaultStage", many: "DefaultStages" };

/// All methods and paths, in reading order. The first one requires no key.
#[rustfmt::skip] // a table
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint(Post,   "/v1/workspaces",                    Act::SignUp,       "Creates a workspace and its first key, without authentication or sign-up. `claim_url` is the page where a person claims it."),
    endpoint(Post,   "/v1/sql",                           Act::Sql,          "Raw SQL on the workspace's own database: one statement, or up to 50 without params, in one transaction. A result is cut at 10,000 rows or 10 MiB and has `truncated`. A statement is cancelled after 30 s."),
    endpoint(Post,   "/v1/batch",                         Act::Operations,   "Runs 1 to 100 operations in order in one transaction, all or none. An operation is a request on the workspace's tables: `{method, path, body?, ref?}`. A string `$ref.field` in a later body, or as a segment of its path, stands for a field of the record of the operation with that `ref`. An error is that of the operation that failed and has `operation`, its index from 0."),
    endpoint(Get,    "/v1/tables",                        Act::Tables,       "Lists the workspace's tables and views, each with its estimated number of rows."),
    endpoint(Get,    "/v1/schema",                        Act::Schema,       "The full schema graph (tables, columns, keys, foreign keys, indexes, enums) for composing joins; `?table=` for one table."),
    endpoint(Get,    "/v1/search",                        Act::SearchAll,    "Finds contacts, companies, deals and activities by a few words, best matches first. Typos are tolerated."),
    endpoint(Post,   "/v1/contacts/batch",                Act::Batch,        "Creates or updates up to 500 contacts. An existing contact is found by the fields in `dedup_on`, by default `email`. Good rows are kept if others fail. Each row has its own status."),
    endpoint(Post,   "/v1/imports",                       Act::Import,       "Imports a CSV file of up to 5,000 rows: `?table=contacts&map[Header]=field`. Records that `dedup_on` finds are updated. Refused rows are listed and stop no others. An empty cell changes nothing."),
    endpoint(Get,    "/v1/{table}",                       Act::List,         "Lists rows. Filters are combined with AND. Pages have a `cursor`, and never repeat or skip a row while others write. `Accept: text/csv`: all that match, as a file."),
    endpoint(Get,    "/v1/{table}/search",                Act::Search,       "Fuzzy search, best first: typos, accents and parts of words are found. Built-in tables only."),
    endpoint(Post,   "/v1/{table}",                       Act::Create,       "Creates a row. 409 with `existing_id` if a unique value is taken."),
    endpoint(Post,   "/v1/{table}/assert",                Act::Assert,       "Creates a record, or updates the only one that has the same values in the fields of `match`. `outcome` says which: created (201), updated or unchanged (200). 409 `ambiguous` if several match."),
    endpoint(Get,    "/v1/{table}/{id}",                  Act::Find,         "Gets one row. A built-in record has its related records; with a Relm key, only those that `?expand=` names."),
    endpoint(Patch,  "/v1/{table}/{id}",                  Act::Update,       "Changes the columns that are named. JSON objects are merged one level deep; a key set to null is removed. A list is replaced, unless its value is `{\"$append\": […]}` or `{\"$remove\": […]}`; `{\"$if_empty\": …}` sets a field that has no value."),
    endpoint(Delete, "/v1/{table}/{id}",                  Act::Delete,       "Soft-deletes a row; restore undoes this. `?hard=true` removes the row permanently, as does every delete in a table without `deleted_at`."),
    endpoint(Post,   "/v1/{table}/{id}/restore",          Act::Restore,      "Undoes a soft delete. 409 if a unique value was taken in the meantime."),
    endpoint(Post,   "/v1/{table}/{id}/merge",            Act::Merge,        "Merges up to 20 records of the table into this one, in one transaction. It keeps its values; its empty fields, and the keys of its free-form field, are filled from `from` in order, unless `prefer` names the record whose value wins. What refers to the others refers to it afterwards; a row that would be there twice is dropped. The others are deleted. `POST /v1/requests/{request_id}/undo` puts everything back."),
    endpoint(Get,    "/v1/lists/{id}/rows",               Act::ListRows,     "Resolves a saved list, dynamic or static, to pages of rows. The list's `config` has the columns and the order."),
    endpoint(Post,   "/v1/lists/{id}/members",            Act::AddMembers,   "Adds records to a static list: `{member_id}` returns the member, `{member_ids}` an array. Existing members stay."),
    endpoint(Delete, "/v1/lists/{id}/members/{member_id}", Act::RemoveMember, "Removes a record from a static list. The record itself stays."),
    endpoint(Post,   "/v1/runs",                          Act::OpenRun,      "Opens a run: all that a key does under one `X-Run-Id`. A write that names a new run opens it too. 200 if it is open already."),
    endpoint(Get,    "/v1/runs",                          Act::ListRuns,     "Lists runs, newest first."),
    endpoint(Get,    "/v1/runs/{run}",                    Act::FindRun,      "Gets one run: what it changed, and whether it can be undone."),
    endpoint(Get,    "/v1/runs/{run}/changes",            Act::RunChanges,   "Lists the changes of a run, oldest first. `?net=true` lists each row once, from its first value to its last."),
    endpoint(Post,   "/v1/runs/{run}/finish",             Act::FinishRun,    "Ends a run. Later writes in its name are 409 `run_finished`."),
    endpoint(Post,   "/v1/runs/{run}/undo",               Act::Undo,         "Puts back what a run changed, column by column, where nothing else has changed it since. 409 `undo_conflict` otherwise. An undo is a run too, and can be undone."),
    endpoint(Post,   "/v1/requests/{request_id}/undo",    Act::Undo,         "Puts back what one request changed."),
    endpoint(Post,   "/v1/activity/{id}/undo",            Act::Undo,         "Puts back the change of one entry of the activity feed."),
    alias(&FIELDS, Get,    "/v1/schema/fields",           Act::List,         "Lists the definitions of custom fields: the same as `/v1/custom_fields`."),
    alias(&FIELDS, Post,   "/v1/schema/fields",           Act::Create,       "Defines a custom field of contacts, companies, deals or activities; its values are checked on every write from then on."),
    alias(&FIELDS, Get,    "/v1/schema/fields/{id}",      Act::Find,         "Gets one definition."),
    alias(&FIELDS, Patch,  "/v1/schema/fields/{id}",      Act::Update,       "Changes a definition."),
    alias(&FIELDS, Delete, "/v1/schema/fields/{id}",      Act::Delete,       "Removes a definition. The values stay, unchecked."),
    alias(&STAGES, Get,    "/v1/pipelines/{key}/stages",  Act::Stages,       "Lists the stages of a pipeline by position."),
    alias(&STAGES, Post,   "/v1/pipelines/{key}/stages",  Act::CreateStage,  "Adds a stage to a pipeline, at the end if it has no `position`."),
    alias(&STAGES, Get,    "/v1/pipelines/{key}/stages/{stage_key}", Act::Find,   "Gets one stage."),
    alias(&STAGES, Patch,  "/v1/pipelines/{key}/stages/{stage_key}", Act::Update, "Changes a stage."),
    alias(&STAGES, Delete, "/v1/pipelines/{key}/stages/{stage_key}", Act::Delete, "Removes a stage. 409 `stage_in_use` while deals are in it."),
    alias(&DEFAULT_STAGES, Get,    "/v1/pipeline/stages",  Act::Stages,      "Lists the stages of the default pipeline."),
    alias(&DEFAULT_STAGES, Post,   "/v1/pipeline/stages",  Act::CreateStage, "Adds a stage to the default pipeline."),
    alias(&DEFAULT_STAGES, Get,    "/v1/pipeline/stages/{stage_key}", Act::Find,   "Gets a stage of the default pipeline."),
    alias(&DEFAULT_STAGES, Patch,  "/v1/pipeline/stages/{stage_key}", Act::Update, "Changes a stage of the default pipeline."),
    alias(&DEFAULT_STAGES, Delete, "/v1/pipeline/stages/{stage_key}", Act::Delete, "Removes a stage of the default pipeline. 409 `stage_in_use` while deals are in it."),
];
