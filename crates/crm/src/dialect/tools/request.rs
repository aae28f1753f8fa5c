//! Requests of the REST API that a tool makes: the tool for any request that writes, and the paths that the tools for any table
//! take in the place of a table.

use serde_json::{Map, Value, json};

use crate::dialect::Dialect;
use crate::dialect::arguments::Arguments;
use crate::dialect::route::{ControlOperation, Operation, RESERVED, route};
use crate::dialect::tools::argument::{Argument, optional, required, text};
use crate::dialect::tools::names::in_own_names;
use crate::dialect::tools::said::{Said, View};
use crate::dialect::tools::{Act, ControlAct};
use crate::model::ask::{Ask, EMAILS, STAGES};
use crate::model::call::{Method, parse_path, parse_query};
use crate::model::control::Resource::{Automations, Domains, Webhooks};
use crate::model::entity::by_table;
use crate::model::fault::Fault;
use crate::model::operation;

/// The methods of requests that write.
const WRITING: [Method; 4] = [Method::Post, Method::Put, Method::Patch, Method::Delete];

/// The arguments of the tool for any request.
pub fn arguments() -> Vec<Argument> {
    vec![
        required("method", json!({"type": "string", "enum": WRITING.map(Method::name)})),
        required("path", text("/v1/…, with its parameters.")),
        optional("body", json!({"type": "object"})),
    ]
}

/// What an operation does, as a tool's act, and its table.
pub fn act_of(operation: &Operation<'_>) -> (Act, Option<String>) {
    let of = |act, table: &str| (act, Some(table.to_owned()));
    match operation {
        Operation::Sql => (Act::Execute, None),
        Operation::Operations => (Act::Operations, None),
        Operation::Tables => (Act::List, None),
        Operation::Schema => (Act::Describe, None),
        Operation::SearchAll => (Act::Search, None),
        Operation::List(table) => of(Act::List, table),
        Operation::Search(table) => of(Act::List, table),
        Operation::Create(table) => of(Act::Create, table),
        Operation::Find(table, _) => of(Act::Find, table),
        Operation::Update(table, _) => of(Act::Update, table),
        Operation::Delete(table, _) => of(Act::Delete, table),
        Operation::Restore(table, _) => of(Act::Restore, table),
        Operation::Assert(table) => of(Act::Create, table),
        Operation::Merge(table, _) => of(Act::Merge, table),
        Operation::Batch(table) => of(Act::Upsert, table),
        Operation::SendEmail => of(Act::SendEmail, EMAILS),
        Operation::ReceiveEmail => of(Act::Create, EMAILS),
        Operation::Import => (Act::Import, None),
        Operation::ListRows(_) => (Act::ListRows, None),
        Operation::AddMembers(_) => of(Act::AddMembers, "list_members"),
        Operation::RemoveMember(..) => of(Act::RemoveMember, "list_members"),
        Operation::Stages(_) => of(Act::ListStages, STAGES),
        Operation::CreateStage(_) => of(Act::CreateStage, STAGES),
        Operation::FindStage(..) => of(Act::Find, STAGES),
        Operation::UpdateStage(..) => of(Act::UpdateStage, STAGES),
        Operation::DeleteStage(..) => of(Act::DeleteStage, STAGES),
        Operation::Events => (Act::ListEvents, None),
        Operation::ListRuns => (Act::ListRuns, None),
        Operation::OpenRun => (Act::OpenRun, None),
        Operation::FindRun(_) => (Act::FindRun, None),
        Operation::RunChanges(_) => (Act::ListChanges, None),
        Operation::FinishRun(_) => (Act::FinishRun, None),
        Operation::Undo(_) => (Act::Undo, None),
        Operation::Control(operation) => (control_act(operation), None),
    }
}

fn control_act(operation: &ControlOperation<'_>) -> Act {
    let (act, resource) = match operation {
        ControlOperation::List(resource) => (ControlAct::List, *resource),
        ControlOperation::Create(resource) => (ControlAct::Create, *resource),
        ControlOperation::Find(resource, _) => (ControlAct::Find, *resource),
        ControlOperation::Update(resource, _) => (ControlAct::Update, *resource),
        ControlOperation::Delete(resource, _) => (ControlAct::Delete, *resource),
        ControlOperation::RotateSecret(_) => (ControlAct::RotateSecret, Webhooks),
        ControlOperation::TestWebhook(_) => (ControlAct::Test, Webhooks),
        ControlOperation::TestAutomation(_) => (ControlAct::Test, Automations),
        ControlOperation::Deliveries(_) => (ControlAct::History, Webhooks),
        ControlOperation::Runs(_) => (ControlAct::History, Automations),
        ControlOperation::Logs => (ControlAct::Logs, Domains),
        ControlOperation::Replay(..) | ControlOperation::ReplayFailed(_) => (ControlAct::Replay, Webhooks),
        ControlOperation::Integration => (ControlAct::Integration, Domains),
        ControlOperation::SetIntegration => (ControlAct::SetIntegration, Domains),
        ControlOperation::RemoveIntegration => (ControlAct::RemoveIntegration, Domains),
        ControlOperation::VerifyDomain(_) => (ControlAct::Verify, Domains),
        ControlOperation::Mailbox => (ControlAct::Integration, Domains),
        ControlOperation::ConnectMailbox => (ControlAct::ConnectMailbox, Domains),
        ControlOperation::DisconnectMailbox => (ControlAct::DisconnectMailbox, Domains),
    };
    Act::Control(act, resource)
}

/// Whether an act lists.
fn lists(act: Act) -> bool {
    use Act::{List, ListChanges, ListEvents, ListRows, ListRuns, ListStages, Search};
    matches!(act, List | ListChanges | ListEvents | ListRows | ListRuns | ListStages | Search)
        || matches!(act, Act::Control(ControlAct::List | ControlAct::History | ControlAct::Logs, _))
}

/// Whether an act gets one thing.
fn finds(act: Act) -> bool {
    matches!(act, Act::Find | Act::FindRun | Act::Control(ControlAct::Find | ControlAct::Integration, _))
}

/// An operation of a batch, with the fields of its body in the dialect's names.
pub fn operation_in_own_names(
    dialect: &Dialect,
    mut operation: operation::Operation,
) -> Result<operation::Operation, Fault> {
    let path: Vec<&str> = operation.path.iter().map(String::as_str).collect();
    let table = match route(operation.method, &path) {
        Some(Operation::Create(table) | Operation::Update(table, _)) => by_table(table),
        Some(Operation::CreateStage(_) | Operation::UpdateStage(..)) => by_table(STAGES),
        _ => None,
    };
    if let (Some(entity), Some(Value::Object(body))) = (table, &mut operation.body) {
        *body = in_own_names(dialect, entity, std::mem::take(body))?;
    }
    Ok(operation)
}

impl Said<'_> {
    /// Reads the call of the tool for any request.
    pub(super) fn request(&mut self, view: &mut View) -> Result<Ask, Fault> {
        let (method, address) = (self.required("method")?, self.required("path")?);
        let known = WRITING.into_iter().find(|it| it.name() == method.to_ascii_uppercase());
        let method = known.ok_or_else(|| {
            let names = WRITING.map(Method::name).join(", ");
            Fault::invalid_with_hint(
                format!("\"method\" is one of {names}, not \"{method}\"."),
                "Read with list_records and get_record, whose table can be a path such as webhooks/{id}/deliveries.",
            )
        })?;
        let (path, query) = address.split_once('?').unwrap_or((&address, ""));
        let path = path
            .strip_prefix("/v1/")
            .ok_or_else(|| Fault::invalid(format!("\"path\" begins with /v1/, and \"{path}\" does not.")))?;
        let body = match self.values.remove("body") {
            None | Some(Value::Null) => None,
            body => body,
        };
        let (path, query) = (parse_path(path)?, parse_query(query)?);
        let request = operation::Operation { method, path, query, body, name: None };
        let request = operation_in_own_names(self.dialect, request)?;
        let segments: Vec<&str> = request.path.iter().map(String::as_str).collect();
        let arguments = Arguments::of_operation(method, &segments, &request.query, request.body)?;
        (view.act, view.table) = act_of(&arguments.operation);
        let ask = (self.dialect.read)(arguments)?;
        view.is_detailed = matches!(view.act, Act::Control(..));
        Ok(ask)
    }

    /// Reads the call of a tool that lists or gets, if its table is a path below `/v1` that is no table.
    pub(super) fn path(&mut self, act: Act, table: &str, view: &mut View) -> Option<Result<Ask, Fault>> {
        let mut segments: Vec<&str> = table.split('/').collect();
        if segments.len() == 1 && !RESERVED.contains(&table) {
            return None;
        }
        let id = match act {
            Act::Find => self.values.get("id").and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        segments.extend(id.as_deref());
        let operation = route(Method::Get, &segments)?;
        let (found, table) = act_of(&operation);
        let fits = if act == Act::Find { finds(found) } else { lists(found) };
        if !fits {
            return Some(Err(Fault::invalid_with_hint(
                format!("{} can't read /v1/{}.", self.tool.name(), segments.join("/")),
                "list_records reads what is a list, get_record one thing by its id, describe_schema the schema.",
            )));
        }
        (view.act, view.table) = (found, table);
        view.is_detailed |= matches!(found, Act::Control(..));
        Some(self.read_path(operation))
    }

    fn read_path(&mut self, operation: Operation<'_>) -> Result<Ask, Fault> {
        for name in ["table", "id"] {
            self.values.remove(name);
        }
        if matches!(operation, Operation::Tables) {
            self.values.remove("limit");
        }
        let conditions: Map<String, Value> = self.object("filter")?;
        for (name, value) in conditions {
            if value.is_object() {
                return Err(Fault::invalid(format!("\"filter.{name}\" is a value here, not an object.")));
            }
            if self.values.insert(name.clone(), value).is_some() {
                return Err(Fault::invalid(format!("\"{name}\" is given twice.")));
            }
        }
        self.rest(operation)
    }
}
