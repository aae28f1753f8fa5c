//! Tools for batches of operations and for the log of changes: runs, their changes, undo and events.

use serde_json::{Map, Value, json};

use crate::dialect::route::Operation;
use crate::dialect::tools::argument::{Argument, optional, required, text};
use crate::dialect::tools::control::resource_of;
use crate::dialect::tools::said::{Said, View};
use crate::dialect::tools::{Act, ControlAct};
use crate::model::answer::Answer;
use crate::model::ask::{Ask, Undoable};
use crate::model::control::Resource;
use crate::model::fault::Fault;
use crate::model::value::name_of;

/// The changes that `undo` takes back: its arguments.
const UNDOABLE: [&str; 3] = ["run", "request_id", "activity_id"];

/// The arguments of a tool, without those that many tools have.
pub fn arguments(act: Act) -> Vec<Argument> {
    let one_of = |names: &[&str]| json!({"type": "string", "enum": names});
    let run = || required("id", text("run_… or the run_id."));
    match act {
        Act::Operations => vec![required("operations", operations())],
        Act::ListRuns => vec![
            optional("actor", text("")),
            optional("agent", text("")),
            optional("status", one_of(&["open", "complete", "failed", "undone"])),
            optional("since", text("RFC 3339")),
        ],
        Act::FindRun => vec![run()],
        Act::ListChanges => {
            let net = json!({"type": "boolean", "description": "One change a row: first to last value."});
            vec![run(), optional("net", net)]
        }
        Act::FinishRun => {
            vec![run(), required("status", one_of(&["complete", "failed"])), optional("summary", text(""))]
        }
        Act::Undo => vec![
            optional("run", text("run_… or a run_id.")),
            optional("request_id", text("req_… of a writing tool's answer.")),
            optional("activity_id", text("a_… of the feed: one change.")),
            optional("on_conflict", one_of(&["refuse", "skip"])),
        ],
        Act::ListEvents => vec![optional("type", text("For example deal.updated,contact.*"))],
        _ => Vec::new(),
    }
}

fn operations() -> Value {
    json!({"type": "array", "items": {
        "type": "object",
        "required": ["method", "path"],
        "properties": {
            "method": {"type": "string", "enum": ["GET", "POST", "PATCH", "DELETE"]},
            "path": {"type": "string", "description": "/v1/{table}, /v1/{table}/{id}, /v1/sql …"},
            "body": {"type": "object"},
            "ref": {"type": "string", "description": "Its name for later operations."},
        },
    }})
}

impl Said<'_> {
    /// Reads the call of a tool of this module.
    pub(super) fn log(&mut self, act: Act, view: &mut View) -> Result<Ask, Fault> {
        view.act = act;
        match act {
            Act::Operations => self.rest(Operation::Operations),
            Act::ListRuns => self.rest(Operation::ListRuns),
            Act::FindRun => {
                let run = self.required("id")?;
                self.rest(Operation::FindRun(&run))
            }
            Act::ListChanges => {
                let run = self.required("id")?;
                self.rest(Operation::RunChanges(&run))
            }
            Act::FinishRun => {
                let run = self.required("id")?;
                self.rest(Operation::FinishRun(&run))
            }
            Act::Undo => self.undo(),
            Act::ListEvents => self.rest(Operation::Events),
            other => Err(Fault::internal(format!("{other:?} is read elsewhere"))),
        }
    }

    fn undo(&mut self) -> Result<Ask, Fault> {
        let named = [self.text(UNDOABLE[0])?, self.text(UNDOABLE[1])?, self.text(UNDOABLE[2])?];
        let what = match named {
            [Some(run), None, None] => Undoable::Run(run),
            [None, Some(request), None] => Undoable::Request(request),
            [None, None, Some(entry)] => Undoable::Entry(entry),
            _ => {
                return Err(Fault::invalid_with_hint(
                    format!("undo takes one of {}.", UNDOABLE.join(", ")),
                    "run_id is the run of the undo itself; name the run that is undone as run.",
                ));
            }
        };
        self.rest(Operation::Undo(what))
    }

    /// Reads the call of a tool for any table, if the table is one of Kith's own: `runs`, `events`, `webhooks`, `automations`, and
    /// below them `runs/{id}/changes`, `webhooks/{id}/deliveries` and `automations/{id}/runs`. The workspace's own tables cannot
    /// have these names over REST either.
    pub(super) fn elsewhere(&mut self, act: Act, view: &mut View) -> Option<Result<Ask, Fault>> {
        let table = self.values.get("table")?.as_str()?.to_owned();
        if let (Act::List, [first, id, second]) = (act, table.split('/').collect::<Vec<_>>().as_slice()) {
            let act = match (*first, *second) {
                ("runs", "changes") => Some(Act::ListChanges),
                ("webhooks", "deliveries") => Some(Act::Control(ControlAct::History, Resource::Webhooks)),
                ("automations", "runs") => Some(Act::Control(ControlAct::History, Resource::Automations)),
                _ => None,
            };
            if let Some(act) = act {
                self.values.insert("id".into(), (*id).into());
                return Some(self.on_own_table(act, &table, view));
            }
        }
        if matches!(act, Act::List | Act::Find) && !matches!(&*table, "webhooks" | "automations" | "runs" | "events") {
            if let ["schema", "fields"] = table.split('/').collect::<Vec<_>>().as_slice() {
                self.values.insert("table".into(), "custom_fields".into());
                return None;
            }
            if let Some(read) = self.path(act, &table, view) {
                return Some(read);
            }
        }
        let act = match (act, resource_of(&table), table.as_str()) {
            (Act::List, Some(resource), _) => Act::Control(ControlAct::List, resource),
            (Act::Find, Some(resource), _) => Act::Control(ControlAct::Find, resource),
            (Act::Create, Some(resource), _) => Act::Control(ControlAct::Create, resource),
            (Act::Update, Some(resource), _) => Act::Control(ControlAct::Update, resource),
            (Act::Delete, Some(resource), _) => Act::Control(ControlAct::Delete, resource),
            (Act::List, None, "runs") => Act::ListRuns,
            (Act::Find, None, "runs") => Act::FindRun,
            (Act::List, None, "events") => Act::ListEvents,
            (_, None, "runs" | "events") | (_, Some(_), _) => {
                let message = format!("{} has no {table}.", self.tool.name());
                return Some(Err(Fault::invalid_with_hint(message, "Runs and events are only listed.")));
            }
            (_, None, _) => return None,
        };
        Some(self.on_own_table(act, &table, view))
    }

    fn on_own_table(&mut self, act: Act, table: &str, view: &mut View) -> Result<Ask, Fault> {
        self.values.remove("table");
        for members in ["filter", "values"] {
            let members = self.object(members)?;
            if let Some(name) = members.keys().find(|name| self.values.contains_key(*name)) {
                return Err(Fault::invalid(format!("\"{name}\" is given twice.")));
            }
            for (name, value) in members {
                self.values.insert(name, value);
            }
        }
        match act {
            Act::Control(ControlAct::Delete, resource) => {
                self.flag("hard")?;
                self.control(ControlAct::Delete, resource, view)
            }
            Act::Control(act, resource) => self.control(act, resource, view),
            act => {
                if let (Act::ListRuns | Act::ListEvents, Some(other)) =
                    (act, self.values.values().find(|value| value.is_object()))
                {
                    let found = name_of(other);
                    return Err(Fault::invalid(format!("A filter of {table} takes a text, not {found}.")));
                }
                self.log(act, view)
            }
        }
    }
}

/// What a writing tool did, with a count.
pub fn outcome(act: Act, answer: &Answer) -> String {
    match answer {
        Answer::Run { created: true, .. } if act == Act::OpenRun => "Opened 1 run.".into(),
        Answer::Run { .. } if act == Act::OpenRun => "Nothing was opened (0 runs): this run is open already.".into(),
        Answer::Undone { undone, skipped, .. } if skipped.is_empty() => format!("Undid the changes of {undone} rows."),
        Answer::Undone { undone, skipped, .. } => {
            format!("Undid the changes of {undone} rows and skipped {}.", skipped.len())
        }
        Answer::Run { run, .. } => {
            let status = run.get("status").and_then(Value::as_str).unwrap_or("ended");
            format!("Ended 1 run: {status}.")
        }
        _ => String::new(),
    }
}

/// The argument that a common other name stands for, of the tools of this module and of the control plane.
pub fn alias(act: Act, name: &str) -> Option<&'static str> {
    match (act, name) {
        (Act::FindRun | Act::ListChanges | Act::FinishRun, "run_id" | "run") => Some("id"),
        (Act::ListEvents, "after") => Some("cursor"),
        (Act::Control(_, resource), name) if name.strip_suffix("_id") == Some(resource.one()) => Some("id"),
        _ => None,
    }
}

/// The members of an answer that lead to the next page.
pub fn page_of(answer: &Answer) -> Option<Map<String, Value>> {
    let (has_more, next_cursor) = match answer {
        Answer::Page { next_cursor, .. } | Answer::Runs { next_cursor, .. } | Answer::Changes { next_cursor, .. } => {
            (next_cursor.is_some(), next_cursor.as_deref())
        }
        Answer::Found(found) => (found.next_cursor.is_some(), found.next_cursor.as_deref()),
        // An empty page of events has a cursor too.
        Answer::Events(page) => (page.has_more, Some(&*page.cursor)),
        _ => return None,
    };
    Some(
        [("has_more".to_owned(), has_more.into()), ("next_cursor".to_owned(), next_cursor.into())]
            .into_iter()
            .collect(),
    )
}
