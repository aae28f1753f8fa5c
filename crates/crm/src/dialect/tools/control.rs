//! Tools for what lives in the control plane: webhooks, their deliveries, automations and their runs.

use serde_json::{Value, json};

use crate::dialect::route::{ControlOperation, Operation};
use crate::dialect::tools::argument::{Argument, optional, required, text};
use crate::dialect::tools::said::{Said, View};
use crate::dialect::tools::{Act, ControlAct};
use crate::model::answer::Answer;
use crate::model::ask::Ask;
use crate::model::control::{ControlAsk, Resource};
use crate::model::fault::Fault;
use crate::model::naming::quoted;

/// The arguments of a tool, without those that many tools have.
pub fn arguments(act: ControlAct, resource: Resource) -> Vec<Argument> {
    let id = || required("id", text(""));
    match act {
        ControlAct::List | ControlAct::Logs => Vec::new(),
        // They have no tools of their own: call_api makes these requests.
        ControlAct::RemoveIntegration | ControlAct::ConnectMailbox | ControlAct::DisconnectMailbox => Vec::new(),
        ControlAct::Integration | ControlAct::SetIntegration => integration(act),
        ControlAct::Verify => vec![id()],
        ControlAct::Find | ControlAct::Delete | ControlAct::RotateSecret | ControlAct::Test => vec![id()],
        ControlAct::Create => fields(resource, true),
        ControlAct::Update => [id()].into_iter().chain(fields(resource, false)).collect(),
        ControlAct::History => {
            let statuses = match resource {
                Resource::Webhooks => json!(["pending", "delivered", "failed"]),
                Resource::Automations | Resource::Domains => json!(["success", "error", "skipped"]),
            };
            vec![id(), optional("status", json!({"type": "string", "enum": statuses}))]
        }
        ControlAct::Replay => vec![id(), optional("delivery_id", text("")), optional("since", text("RFC 3339"))],
    }
}

fn fields(resource: Resource, is_new: bool) -> Vec<Argument> {
    let needed = |name: &str, schema: Value| Argument { name: name.into(), schema, is_required: is_new };
    let enabled = optional("enabled", json!({"type": "boolean"}));
    let list = |of: &str, about: &str| json!({"type": "array", "items": {"type": of}, "description": about});
    match resource {
        Resource::Webhooks => vec![
            needed("url", text("")),
            needed("events", list("string", "For example deal.updated, contact.*, *.")),
            enabled,
            optional("description", json!({"type": ["string", "null"]})),
        ],
        Resource::Domains => vec![needed("name", text("")), optional("region", text(""))],
        Resource::Automations => vec![
            needed("name", text("")),
            needed("trigger_event", text("For example deal.stage_changed, contact.*, *.")),
            optional(
                "conditions",
                list(
                    "object",
                    "{field, op, value}: a path into the event's data such as new_stage; op is eq, neq, contains, exists or in.",
                ),
            ),
            needed(
                "actions",
                list(
                    "object",
                    "{type: move_deal_stage, stage, pipeline?}, {type: create_activity, activity_type, subject?, body?}, {type: set_metadata, target?, key, value} or {type: send_email, to, subject, html?, text?, from?} with {{contact.first_name}} and the like.",
                ),
            ),
            enabled,
        ],
    }
}

/// The arguments of the tools of the e-mail integration.
fn integration(act: ControlAct) -> Vec<Argument> {
    match act {
        ControlAct::SetIntegration => vec![
            optional("provider", json!({"type": "string", "enum": ["resend", "smtp"]})),
            optional("api_key", text("Resend's, re_….")),
            optional("url", text("smtp://user:password@host:587")),
            required("from_email", text("")),
        ],
        _ => Vec::new(),
    }
}

/// The resource of a table's name, for the tools that take any table.
pub fn resource_of(table: &str) -> Option<Resource> {
    [Resource::Webhooks, Resource::Automations].into_iter().find(|it| it.name() == table || it.one() == table)
}

impl Said<'_> {
    /// Reads the call of a tool for something in the control plane. The arguments that are left are its fields or options.
    pub(super) fn control(&mut self, act: ControlAct, resource: Resource, view: &mut View) -> Result<Ask, Fault> {
        view.act = Act::Control(act, resource);
        view.is_detailed = true;
        let id = match act {
            ControlAct::List
            | ControlAct::Create
            | ControlAct::Integration
            | ControlAct::SetIntegration
            | ControlAct::RemoveIntegration
            | ControlAct::ConnectMailbox
            | ControlAct::DisconnectMailbox
            | ControlAct::Logs => String::new(),
            ControlAct::Find
            | ControlAct::Update
            | ControlAct::Delete
            | ControlAct::History
            | ControlAct::RotateSecret
            | ControlAct::Test
            | ControlAct::Replay
            | ControlAct::Verify => self.required("id")?,
        };
        let operation = match act {
            ControlAct::List => ControlOperation::List(resource),
            ControlAct::Find => ControlOperation::Find(resource, &id),
            ControlAct::Create => ControlOperation::Create(resource),
            ControlAct::Update => ControlOperation::Update(resource, &id),
            ControlAct::Delete => ControlOperation::Delete(resource, &id),
            ControlAct::RotateSecret => ControlOperation::RotateSecret(&id),
            ControlAct::Test => match resource {
                Resource::Automations => ControlOperation::TestAutomation(&id),
                Resource::Webhooks | Resource::Domains => ControlOperation::TestWebhook(&id),
            },
            ControlAct::History => match resource {
                Resource::Webhooks => ControlOperation::Deliveries(&id),
                Resource::Automations | Resource::Domains => ControlOperation::Runs(&id),
            },
            ControlAct::Logs => ControlOperation::Logs,
            ControlAct::RemoveIntegration => ControlOperation::RemoveIntegration,
            ControlAct::ConnectMailbox => ControlOperation::ConnectMailbox,
            ControlAct::DisconnectMailbox => ControlOperation::DisconnectMailbox,
            ControlAct::Integration => ControlOperation::Integration,
            ControlAct::SetIntegration => ControlOperation::SetIntegration,
            ControlAct::Verify => ControlOperation::VerifyDomain(&id),
            ControlAct::Replay => return self.replay(&id),
        };
        self.rest(Operation::Control(operation))
    }

    fn replay(&mut self, id: &str) -> Result<Ask, Fault> {
        match (self.text("delivery_id")?, self.values.contains_key("since")) {
            (Some(delivery), false) => self.rest(Operation::Control(ControlOperation::Replay(id, &delivery))),
            (None, true) => self.rest(Operation::Control(ControlOperation::ReplayFailed(id))),
            _ => Err(Fault::invalid_with_hint(
                "Name either \"delivery_id\" or \"since\".",
                "list_webhook_deliveries has the ids of deliveries.",
            )),
        }
    }
}

/// Why something is held.
const HELD: &str = "sending is switched off in this workspace";

/// What a writing tool did, with a count. `holds`: webhooks wait.
/// `is_empty`: an update names no fields.
pub fn outcome(act: ControlAct, resource: Resource, answer: &Answer, is_empty: bool, holds: bool) -> String {
    let one = resource.one().replace('_', " ");
    match act {
        ControlAct::SetIntegration => "Set the e-mail integration.".into(),
        ControlAct::Verify => "Asked the provider to check the DNS records of 1 domain.".into(),
        ControlAct::Integration => String::new(),
        ControlAct::Create => format!("Created 1 {one}."),
        ControlAct::Update if is_empty => format!("Nothing was changed (0 of 1 {one}): the call names no field."),
        ControlAct::Update => format!("Updated 1 {one}."),
        ControlAct::Delete => deletion(&one, answer),
        ControlAct::RemoveIntegration => "Disconnected 1 e-mail provider, and forgot its secrets.".into(),
        ControlAct::ConnectMailbox => "Connected 1 mailbox.".into(),
        ControlAct::DisconnectMailbox => "Disconnected 1 mailbox, and forgot its password.".into(),
        ControlAct::Test if resource == Resource::Automations => "Tested 1 automation. Nothing was kept.".into(),
        ControlAct::RotateSecret => format!("Replaced the secret of 1 {one}."),
        ControlAct::Test if holds => format!("Held 1 test event: {HELD}."),
        ControlAct::Test => "Queued 1 test event.".into(),
        ControlAct::Replay if holds => match replayed(answer) {
            Some(count) => format!("Held {count} deliveries: {HELD}."),
            None => format!("Held 1 delivery: {HELD}."),
        },
        ControlAct::Replay => match replayed(answer) {
            Some(count) => format!("Queued {count} deliveries again."),
            None => "Queued 1 delivery again.".into(),
        },
        ControlAct::List | ControlAct::Find | ControlAct::History | ControlAct::Logs => String::new(),
    }
}

/// What a deletion hit, and how much went with it.
fn deletion(one: &str, answer: &Answer) -> String {
    let Answer::Deleted { name, with, .. } = answer else { return format!("Deleted 1 {one} for good.") };
    let with: Vec<String> = with.iter().map(|(many, count)| format!(", and with it {count} {many}")).collect();
    format!("Deleted 1 {one}{} for good{}.", quoted(name.as_deref()), with.concat())
}

/// What is removed for good, for a person who decides. `answer` has what is there.
pub fn loss(ask: &ControlAsk, answer: &Answer) -> String {
    let text = |column: &str| match answer {
        Answer::Record { record, .. } => record.row.string(0, column),
        _ => None,
    };
    match ask {
        ControlAsk::RemoveIntegration => {
            format!("the e-mail integration{} with its secrets", quoted(text("from_email").as_deref()))
        }
        ControlAsk::DisconnectMailbox => format!("the mailbox{} with its password", quoted(text("address").as_deref())),
        ask => {
            let (one, with) = match ask.object() {
                "webhook" => ("webhook", " and its deliveries"),
                "automation" => ("automation", " and its runs"),
                other => (other, ""),
            };
            format!("1 {one}{}{with}", quoted(text("url").or(text("name")).as_deref()))
        }
    }
}

/// The ask that shows what an ask would remove.
pub fn shows(ask: &ControlAsk) -> Option<ControlAsk> {
    match ask {
        ControlAsk::Delete { resource, id } => Some(ControlAsk::Find { resource: *resource, id: id.clone() }),
        ControlAsk::RemoveIntegration => Some(ControlAsk::Integration),
        ControlAsk::DisconnectMailbox => Some(ControlAsk::Mailbox),
        _ => None,
    }
}

/// The number of deliveries that are sent again, if the call did not name one.
fn replayed(answer: &Answer) -> Option<String> {
    let Answer::Record { record, .. } = answer else { return None };
    let row = &record.row;
    let at = row.columns().iter().position(|column| &*column.name == "replayed")?;
    Some(String::from_utf8_lossy(row.cell(0, at)).into_owned())
}
