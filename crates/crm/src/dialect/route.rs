//! The routes under `/v1`: the operation for each method and path. Both dialects have all routes. The key decides only
//! how a request is read and a response is written.

use crate::model::ask::{PipelineName, Undoable};
use crate::model::call::Method;
use crate::model::control::Resource;
use crate::model::entity::by_table;

/// First segments that are never tables, even if the workspace has a table of that name.
pub const RESERVED: &[&str] = &[
    "auth",
    "automations",
    "batch",
    "claim",
    "connection",
    "duplicates",
    "email",
    "events",
    "exports",
    "files",
    "imports",
    "inbound",
    "integrations",
    "keys",
    "logs",
    "members",
    "notes",
    "pipeline",
    "policies",
    "proposals",
    "requests",
    "runs",
    "schema",
    "search",
    "sql",
    "tables",
    "tags",
    "tasks",
    "usage",
    "views",
    "webhooks",
    "workspaces",
];

/// The reserved segments under which a batch may have operations. The others are not about the workspace's tables.
const RESERVED_FOR_OPERATIONS: &[&str] = &["pipeline", "schema", "search", "sql", "tables"];

/// Whether a batch may have operations on paths with this first segment.
pub fn is_for_operations(first: &str) -> bool {
    RESERVED_FOR_OPERATIONS.contains(&first) || !RESERVED.contains(&first)
}

/// An operation with its path arguments: `Find("contacts", "c_1")`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the names are clear
pub enum Operation<'a> {
    Sql,
    Operations,
    Tables,
    Schema,
    SearchAll,
    List(&'a str),
    Create(&'a str),
    Find(&'a str, &'a str),
    Update(&'a str, &'a str),
    Delete(&'a str, &'a str),
    Restore(&'a str, &'a str),
    Merge(&'a str, &'a str),
    Assert(&'a str),
    Search(&'a str),
    Batch(&'a str),
    /// Sends an e-mail. Over HTTP it is `Create("emails")`, and the fields decide.
    SendEmail,
    /// Records a received e-mail. Over HTTP it is `Create("emails")`, and the content type decides.
    ReceiveEmail,
    Import,
    ListRows(&'a str),
    AddMembers(&'a str),
    RemoveMember(&'a str, &'a str),
    Stages(PipelineName),
    CreateStage(PipelineName),
    FindStage(PipelineName, &'a str),
    UpdateStage(PipelineName, &'a str),
    DeleteStage(PipelineName, &'a str),
    Control(ControlOperation<'a>),
    Events,
    ListRuns,
    OpenRun,
    FindRun(&'a str),
    RunChanges(&'a str),
    FinishRun(&'a str),
    Undo(Undoable),
}

/// An operation on what lives in the control plane, with its path arguments.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the names are clear
pub enum ControlOperation<'a> {
    List(Resource),
    Create(Resource),
    Find(Resource, &'a str),
    Update(Resource, &'a str),
    Delete(Resource, &'a str),
    RotateSecret(&'a str),
    TestWebhook(&'a str),
    TestAutomation(&'a str),
    Deliveries(&'a str),
    Runs(&'a str),
    Logs,
    Replay(&'a str, &'a str),
    ReplayFailed(&'a str),
    Integration,
    SetIntegration,
    RemoveIntegration,
    VerifyDomain(&'a str),
    Mailbox,
    ConnectMailbox,
    DisconnectMailbox,
}

impl Operation<'_> {
    /// The use of the request's body.
    pub fn body(&self) -> Body {
        match self {
            Operation::Sql
            | Operation::Operations
            | Operation::Create(_)
            | Operation::Update(..)
            | Operation::Merge(..)
            | Operation::Assert(_)
            | Operation::Batch(_)
            | Operation::SendEmail
            | Operation::AddMembers(_)
            | Operation::CreateStage(_)
            | Operation::UpdateStage(..)
            | Operation::OpenRun
            | Operation::FinishRun(_)
            | Operation::Undo(_) => Body::Fields,
            Operation::Delete(..)
            | Operation::Restore(..)
            | Operation::RemoveMember(..)
            | Operation::DeleteStage(..) => Body::Empty,
            Operation::Tables
            | Operation::Schema
            | Operation::SearchAll
            | Operation::List(_)
            | Operation::Find(..)
            | Operation::Search(_)
            | Operation::ListRows(_)
            | Operation::Stages(_)
            | Operation::FindStage(..)
            | Operation::Events
            | Operation::ListRuns
            | Operation::FindRun(_)
            | Operation::RunChanges(_) => Body::Ignored,
            Operation::Import => Body::Csv,
            Operation::ReceiveEmail => Body::Message,
            Operation::Control(operation) => operation.body(),
        }
    }
}

impl ControlOperation<'_> {
    /// The use of the request's body.
    fn body(&self) -> Body {
        match self {
            ControlOperation::Create(_)
            | ControlOperation::Update(..)
            | ControlOperation::ReplayFailed(_)
            | ControlOperation::TestAutomation(_)
            | ControlOperation::ConnectMailbox
            | ControlOperation::SetIntegration => Body::Fields,
            ControlOperation::Delete(..)
            | ControlOperation::RemoveIntegration
            | ControlOperation::DisconnectMailbox
            | ControlOperation::VerifyDomain(_)
            | ControlOperation::RotateSecret(_)
            | ControlOperation::TestWebhook(_)
            | ControlOperation::Replay(..) => Body::Empty,
            ControlOperation::List(_)
            | ControlOperation::Find(..)
            | ControlOperation::Deliveries(_)
            | ControlOperation::Integration
            | ControlOperation::Mailbox
            | ControlOperation::Logs
            | ControlOperation::Runs(_) => Body::Ignored,
        }
    }
}

/// The use of a request's body by an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The operation reads the body's fields.
    Fields,
    /// The operation refuses a body with fields.
    Empty,
    /// The operation ignores the body.
    Ignored,
    /// The operation reads the body as a table: comma-separated values.
    Csv,
    /// The operation reads the body as an e-mail message.
    Message,
}

/// Returns the operation of a method and a path below `/v1`, if there is one.
#[rustfmt::skip] // the table of routes is aligned in columns
pub fn route<'a>(method: Method, path: &[&'a str]) -> Option<Operation<'a>> {
    use Method::{Delete, Get, Patch, Post};
    let of = |key: &str| PipelineName::Key(key.to_owned());
    let default = PipelineName::Default;
    Some(match (method, path) {
        (Post,   ["sql"])                              => Operation::Sql,
        (Post,   ["batch"])                            => Operation::Operations,
        (Get,    ["tables"])                           => Operation::Tables,
        (Get,    ["search"])                           => Operation::SearchAll,
        (Get,    ["schema"])                           => Operation::Schema,
        (Get,    ["schema", "fields"])                 => Operation::List("custom_fields"),
        (Post,   ["schema", "fields"])                 => Operation::Create("custom_fields"),
        (Get,    ["schema", "fields", id])             => Operation::Find("custom_fields", id),
        (Patch,  ["schema", "fields", id])             => Operation::Update("custom_fields", id),
        (Delete, ["schema", "fields", id])             => Operation::Delete("custom_fields", id),
        (Get,    ["pipeline", "stages"])               => Operation::Stages(default),
        (Post,   ["pipeline", "stages"])               => Operation::CreateStage(default),
        (Get,    ["pipeline", "stages", stage])        => Operation::FindStage(default, stage),
        (Patch,  ["pipeline", "stages", stage])        => Operation::UpdateStage(default, stage),
        (Delete, ["pipeline", "stages", stage])        => Operation::DeleteStage(default, stage),
        (Get,    ["events"])                           => Operation::Events,
        (Get,    ["runs"])                             => Operation::ListRuns,
        (Post,   ["runs"])                             => Operation::OpenRun,
        (Get,    ["runs", run])                        => Operation::FindRun(run),
        (Get,    ["runs", run, "changes"])             => Operation::RunChanges(run),
        (Post,   ["runs", run, "finish"])              => Operation::FinishRun(run),
        (Post,   ["runs", run, "undo"])                => Operation::Undo(Undoable::Run((*run).to_owned())),
        (Post,   ["requests", id, "undo"])             => Operation::Undo(Undoable::Request((*id).to_owned())),
        (Post,   ["activity", id, "undo"])             => Operation::Undo(Undoable::Entry((*id).to_owned())),
        (Post,   ["imports"])                          => Operation::Import,
        (_,      [first, ..]) if RESERVED.contains(first) => Operation::Control(control_route(method, path)?),
        (Get,    ["pipelines", key, "stages"])         => Operation::Stages(of(key)),
        (Post,   ["pipelines", key, "stages"])         => Operation::CreateStage(of(key)),
        (Get,    ["pipelines", key, "stages", stage])  => Operation::FindStage(of(key), stage),
        (Patch,  ["pipelines", key, "stages", stage])  => Operation::UpdateStage(of(key), stage),
        (Delete, ["pipelines", key, "stages", stage])  => Operation::DeleteStage(of(key), stage),
        (Post,   ["contacts", "batch"])                => Operation::Batch("contacts"),
        (_,      ["contacts", "batch"])                => return None,
        (Get,    ["lists", id, "rows"])                => Operation::ListRows(id),
        (Post,   ["lists", id, "members"])             => Operation::AddMembers(id),
        (Delete, ["lists", id, "members", member])     => Operation::RemoveMember(id, member),
        (Get,    [table, "search"])                    => Operation::Search(table),
        (_,      [_, "search"])                        => return None,
        (Get,    [table])                              => Operation::List(table),
        (Post,   [table])                              => Operation::Create(table),
        (Get,    [table, id])                          => Operation::Find(table, id),
        (Patch,  [table, id])                          => Operation::Update(table, id),
        (Delete, [table, id])                          => Operation::Delete(table, id),
        (Post,   [table, id, "restore"])               => Operation::Restore(table, id),
        (Post,   [table, "assert"])                    => Operation::Assert(table),
        (Post,   [table, id, "merge"])                 => Operation::Merge(table, id),
        _                                              => return None,
    })
}

/// The routes of what lives in the control plane.
#[rustfmt::skip] // the table of routes is aligned in columns
fn control_route<'a>(method: Method, path: &[&'a str]) -> Option<ControlOperation<'a>> {
    use Method::{Delete, Get, Patch, Post, Put};
    use Resource::{Automations, Domains, Webhooks};
    Some(match (method, path) {
        (Get,    ["integrations", "email"])            => ControlOperation::Integration,
        (Put,    ["integrations", "email"])            => ControlOperation::SetIntegration,
        (Delete, ["integrations", "email"])            => ControlOperation::RemoveIntegration,
        (Get,    ["integrations", "mailbox"])          => ControlOperation::Mailbox,
        (Post,   ["integrations", "mailbox"])          => ControlOperation::ConnectMailbox,
        (Delete, ["integrations", "mailbox"])          => ControlOperation::DisconnectMailbox,
        (Get,    ["email", "domains"])                 => ControlOperation::List(Domains),
        (Post,   ["email", "domains"])                 => ControlOperation::Create(Domains),
        (Get,    ["email", "domains", id])             => ControlOperation::Find(Domains, id),
        (Post,   ["email", "domains", id, "verify"])   => ControlOperation::VerifyDomain(id),
        (Get,    ["automations"])                      => ControlOperation::List(Automations),
        (Post,   ["automations"])                      => ControlOperation::Create(Automations),
        (Get,    ["automations", id])                  => ControlOperation::Find(Automations, id),
        (Patch,  ["automations", id])                  => ControlOperation::Update(Automations, id),
        (Delete, ["automations", id])                  => ControlOperation::Delete(Automations, id),
        (Get,    ["automations", id, "runs"])          => ControlOperation::Runs(id),
        (Get,    ["logs"])                             => ControlOperation::Logs,
        (Post,   ["automations", id, "test"])          => ControlOperation::TestAutomation(id),
        (Get,    ["webhooks"])                         => ControlOperation::List(Webhooks),
        (Post,   ["webhooks"])                         => ControlOperation::Create(Webhooks),
        (Get,    ["webhooks", id])                     => ControlOperation::Find(Webhooks, id),
        (Patch,  ["webhooks", id])                     => ControlOperation::Update(Webhooks, id),
        (Delete, ["webhooks", id])                     => ControlOperation::Delete(Webhooks, id),
        (Post,   ["webhooks", id, "rotate-secret"])    => ControlOperation::RotateSecret(id),
        (Post,   ["webhooks", id, "test"])             => ControlOperation::TestWebhook(id),
        (Get,    ["webhooks", id, "deliveries"])       => ControlOperation::Deliveries(id),
        (Post,   ["webhooks", id, "replay", delivery]) => ControlOperation::Replay(id, delivery),
        (Post,   ["webhooks", id, "replay-failed"])    => ControlOperation::ReplayFailed(id),
        _                                              => return None,
    })
}

/// The methods of a path. A read-only table also accepts the methods that write, so that such a request gets an error
/// about the table. This function does not list those methods.
pub fn methods(path: &[&str]) -> Vec<Method> {
    let is_read_only = path.first().is_some_and(|table| by_table(table).is_some_and(|entity| !entity.writable));
    let is_undo = path.last() == Some(&"undo");
    let offered =
        |method: &Method| route(*method, path).is_some() && (*method == Method::Get || !is_read_only || is_undo);
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
        check("batch", "POST");
        check("batch/1", "");
        check("imports", "POST");
        check("imports/1", "");
        check("notes", "");
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
        check("webhooks", "GET POST");
        check("webhooks/whep_1", "GET PATCH DELETE");
        check("webhooks/whep_1/deliveries", "GET");
        check("webhooks/whep_1/replay/whd_1", "POST");
        check("webhooks/whep_1/nothing", "");
        check("integrations/email", "GET PUT DELETE");
        check("integrations/mailbox", "GET POST DELETE");
        check("inbound/resend", "");
        check("integrations", "");
        check("email/domains", "GET POST");
        check("email/domains/d", "GET");
        check("email/domains/d/verify", "POST");
        check("events", "GET");
        check("events/x", "");
        check("keys", "");
        check("logs", "GET");
        check("logs/1", "");
        check("runs", "GET POST");
        check("runs/r/changes", "GET");
        check("runs/r/undo", "POST");
        check("requests/req_1/undo", "POST");
        check("activity/a_1/undo", "POST");
        check("requests", "");
        check("notes/1", "");
        check("a/b/c/d", "");
    }
}
