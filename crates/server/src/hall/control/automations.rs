//! Acts on automations.

use serde_json::{Map, Value, json};

use crm::dialect::{self, column_of_any, stored_id};
use crm::model::answer::{Answer, DryRun};
use crm::model::ask::{Ask, STAGES, Single};
use crm::model::control::Resource;
use crm::model::event::{EventSource, chooses};
use crm::model::fault::Fault;
use crm::model::filter::Deleted;
use crm::model::page::{MAX_LIMIT, PageAsk};
use crm::model::who::Provenance;
use crm::plan;
use crm::plan::automation as fields;
use crm::plan::automation::AutomationFields;

use crate::access;
use crate::hall::action::ask_of;
use crate::hall::control::{Ahead, ControlCall, one_row};
use crate::hall::{Controls, Effect, Performed, perform_allowed, perform_dry};
use crate::store::control::automations::{AUTOMATIONS, MOST_AUTOMATIONS, NewAutomation, RUNS};
use crate::store::control::transaction::ControlTransaction;
use crate::store::control::webhooks::record;

/// What a run's status can be.
const STATUSES: [&str; 3] = ["success", "error", "skipped"];

impl ControlCall<'_> {
    pub(super) async fn automations(&self, page: &PageAsk) -> Result<Answer, Fault> {
        let holder = self.holder();
        self.app.store.control.page(&AUTOMATIONS, holder.workspace_id, &[holder.mode], page).await
    }

    pub(super) async fn find_automation(&self, id: &str) -> Result<Answer, Fault> {
        let found = self.app.store.control.find_automation(self.holder(), id).await?;
        found.map(|row| record(row, false)).ok_or_else(|| unknown(id))
    }

    /// Checks a new automation.
    pub(super) async fn check_new_automation(&self, values: &Map<String, Value>) -> Result<Ahead, Fault> {
        let fields = fields::new_automation(values, column_of_any)?;
        self.check_stages(fields.actions.as_deref()).await?;
        Ok(Ahead::NewAutomation(fields, self.snapshot().await?))
    }

    /// Checks changes to an automation.
    pub(super) async fn check_automation(&self, values: &Map<String, Value>) -> Result<Ahead, Fault> {
        let fields = fields::automation(values, column_of_any)?;
        self.check_stages(fields.actions.as_deref()).await?;
        let since = self.snapshot_to_enable(fields.enabled).await?;
        Ok(Ahead::Automation(fields, since))
    }

    pub(super) async fn create_automation(
        &self,
        transaction: &mut ControlTransaction<'_>,
        fields: &AutomationFields,
        since: &str,
        dialect: &str,
    ) -> Result<Answer, Fault> {
        let new = NewAutomation {
            id: &self.app.clock.id(Resource::Automations.prefix()),
            dialect,
            fields,
            since,
            created_by: &self.caller.who.actor,
            public_url: &self.app.public_url,
            now: &self.now(),
        };
        let made = transaction.create_automation(self.holder(), &new).await?;
        made.map(|row| record(row, true)).ok_or_else(|| Fault::ValidationFailed {
            message: format!("A workspace has at most {MOST_AUTOMATIONS} automations."),
            hint: None,
            field: None,
        })
    }

    pub(super) async fn update_automation(
        &self,
        transaction: &mut ControlTransaction<'_>,
        id: &str,
        (fields, since): (&AutomationFields, &str),
    ) -> Result<Answer, Fault> {
        let changed = transaction.update_automation(self.holder(), id, (fields, since), &self.now()).await?;
        changed.map(|row| record(row, false)).ok_or_else(|| unknown(id))
    }

    pub(super) async fn delete_automation(
        &self,
        transaction: &mut ControlTransaction<'_>,
        id: &str,
    ) -> Result<Answer, Fault> {
        let (name, runs) = transaction.delete_automation(self.holder(), id).await?.ok_or_else(|| unknown(id))?;
        let (id, deleted_at) = (json!(id).to_string(), json!(self.now()).to_string());
        Ok(Answer::Deleted { entity: None, id, deleted_at, name: Some(name), with: vec![("runs", runs)], note: None })
    }

    pub(super) async fn runs(&self, id: &str, status: Option<&str>, page: &PageAsk) -> Result<Answer, Fault> {
        if let Some(status) = status.filter(|status| !STATUSES.contains(status)) {
            return Err(Fault::invalid(format!("status is {}, not \"{status}\".", STATUSES.join(", "))));
        }
        self.find_automation(id).await?;
        self.app.store.control.page(&RUNS, id, &[status.unwrap_or_default()], page).await
    }
}

impl ControlCall<'_> {
    /// Refuses actions that move deals to stages that do not exist.
    async fn check_stages(&self, actions: Option<&[Value]>) -> Result<(), Fault> {
        let actions = actions.unwrap_or_default();
        if !actions.iter().any(|action| action["type"] == "move_deal_stage") {
            return Ok(());
        }
        let (mut stages, mut cursor) = (Vec::new(), None);
        loop {
            let page = PageAsk { limit: MAX_LIMIT, cursor };
            let (filters, deleted) = (Vec::new(), Deleted::Exclude);
            let ask = Ask::from(Single::List { table: STAGES.to_owned(), filters, sort: None, deleted, page });
            let performed = Box::pin(perform_allowed(self.app, self.caller, &ask, &Controls::default())).await?;
            let Performed::Done(Answer::Page { rows, next_cursor, .. }, _) = performed else {
                return Err(Fault::internal("a list of stages that is no page"));
            };
            stages.extend((0..rows.len()).map(|at| {
                let text = |name: &str| rows.string(at, name).unwrap_or_default();
                let position: i64 =
                    rows.named(at, "position").and_then(|it| serde_json::from_slice(it).ok()).unwrap_or(0);
                (text("pipeline"), position, text("key"))
            }));
            cursor = next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        stages.sort();
        let stages: Vec<(String, String)> = stages.into_iter().map(|(pipeline, _, key)| (pipeline, key)).collect();
        crm::plan::automation_stages::check_stages(actions, &stages)
    }

    /// Says what an automation would do with an event. Its actions are dry runs as the automation, each by itself.
    pub(super) async fn test_automation(
        &self,
        id: &str,
        values: &Map<String, Value>,
        dialect: &str,
    ) -> Result<Answer, Fault> {
        if let Some(name) = values.keys().find(|name| *name != "event") {
            return Err(Fault::unknown_field(name, ["event"].into_iter()));
        }
        let trial = self.app.store.control.trial_of(self.holder(), id).await?.ok_or_else(|| unknown(id))?;
        let of = |name: &str| dialect::by_name(name).ok_or_else(|| Fault::internal("an unknown dialect"));
        let (words, own) = (of(dialect)?, of(&trial.dialect)?);
        let event = dialect::event::read(words, values.get("event"))?;
        let holder = self.holder();
        let source = EventSource { workspace_id: holder.workspace_id, mode: holder.mode };
        let body = (own.show_event)(&event, source);
        let fires = chooses(&trial.trigger_event, &event.event_type);
        let (mut outcomes, mut error) = (Vec::new(), None);
        if fires && fields::meets(&trial.conditions, &body, stored_id) {
            let context = fields::context_of(&event);
            for (number, action) in trial.actions.iter().enumerate() {
                match self.try_action(id, &trial.name, action, &context).await {
                    Ok(dry) => {
                        let mut outcome = json!({"type": action["type"], "status": "success"});
                        for (name, value) in words.show_outcome(&dry.outcome) {
                            outcome[name] = value;
                        }
                        outcomes.push(outcome);
                    }
                    Err(fault) if fault.status() >= 500 => return Err(fault),
                    Err(fault) => {
                        let why = fault.message();
                        error = Some(format!("actions[{number}]: {why}"));
                        outcomes.push(json!({"type": action["type"], "status": "error", "error": why}));
                        // A run ends there too.
                        break;
                    }
                }
            }
        }
        let status = match (&error, outcomes.is_empty()) {
            (Some(_), _) => "error",
            (None, true) => "skipped",
            (None, false) => "success",
        };
        let conditions = fields::explain(&trial.conditions, &body, stored_id);
        Ok(record(
            one_row(&[
                ("automation_id", json!(id)),
                ("event_type", json!(event.event_type)),
                ("fires", json!(fires)),
                ("status", json!(status)),
                ("conditions", json!(conditions)),
                ("actions", json!(outcomes)),
                ("error", json!(error)),
            ]),
            false,
        ))
    }

    async fn try_action(
        &self,
        id: &str,
        name: &str,
        action: &Value,
        context: &fields::Context,
    ) -> Result<Box<DryRun>, Fault> {
        let Provenance { request_id, .. } = &self.caller.provenance;
        let provenance = Provenance::new(request_id, Some(name.as_bytes()), None, None);
        let (workspace_id, mode) = (&self.caller.who.workspace_id, self.caller.who.mode);
        let caller = access::admit_automation(self.app, id, workspace_id, mode, provenance).await;
        let caller = caller.map_err(|refused| refused.fault)?;
        let ask = ask_of(self.app, &caller, action, context).await?;
        plan::allow(&ask, &caller.who)?;
        let controls = Controls { effect: Effect::DryRun, ..Controls::default() };
        match Box::pin(perform_dry(self.app, &caller, &ask, &controls)).await? {
            Performed::Done(Answer::DryRun(dry), _) => Ok(dry),
            _ => Err(Fault::internal("a dry run without its outcome")),
        }
    }
}

fn unknown(id: &str) -> Fault {
    Fault::NotFound { table: Resource::Automations.name().into(), id: id.to_owned() }
}
