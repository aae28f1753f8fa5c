//! Acts on automations.

use serde_json::{Map, Value, json};

use crm::dialect::column_of_any;
use crm::model::answer::Answer;
use crm::model::control::Resource;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::plan::automation as fields;

use crate::hall::control::ControlCall;
use crate::store::control::automations::{AUTOMATIONS, MOST_AUTOMATIONS, NewAutomation, RUNS};
use crate::store::control::transaction::ControlTransaction;
use crate::store::control::webhooks::record;
use crate::store::tenant::Access;

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

    pub(super) async fn create_automation(
        &self,
        transaction: &mut ControlTransaction<'_>,
        values: &Map<String, Value>,
        dialect: &str,
    ) -> Result<Answer, Fault> {
        let fields = fields::new_automation(values, column_of_any)?;
        let since = self.app.store.tenant(&self.caller.database, Access::Full).await?.snapshot().await?;
        let new = NewAutomation {
            id: &self.app.clock.id(Resource::Automations.prefix()),
            dialect,
            fields: &fields,
            since: &since,
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
        values: &Map<String, Value>,
    ) -> Result<Answer, Fault> {
        let fields = fields::automation(values, column_of_any)?;
        let changed = transaction.update_automation(self.holder(), id, &fields, &self.now()).await?;
        changed.map(|row| record(row, false)).ok_or_else(|| unknown(id))
    }

    pub(super) async fn delete_automation(
        &self,
        transaction: &mut ControlTransaction<'_>,
        id: &str,
    ) -> Result<Answer, Fault> {
        if !transaction.delete_automation(self.holder(), id).await? {
            return Err(unknown(id));
        }
        let (id, deleted_at) = (json!(id).to_string(), json!(self.now()).to_string());
        Ok(Answer::Deleted { entity: None, id, deleted_at, note: None })
    }

    pub(super) async fn runs(&self, id: &str, status: Option<&str>, page: &PageAsk) -> Result<Answer, Fault> {
        if let Some(status) = status.filter(|status| !STATUSES.contains(status)) {
            return Err(Fault::invalid(format!("status is {}, not \"{status}\".", STATUSES.join(", "))));
        }
        self.find_automation(id).await?;
        self.app.store.control.page(&RUNS, id, &[status.unwrap_or_default()], page).await
    }
}

fn unknown(id: &str) -> Fault {
    Fault::NotFound { table: Resource::Automations.name().into(), id: id.to_owned() }
}
