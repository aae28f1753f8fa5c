//! Acts on the e-mail integration, and on the sending domains at its provider.

use crm::model::answer::Answer;
use crm::model::control::Resource;
use crm::model::fault::Fault;
use crm::model::page::{Cursor, PageAsk, scope};
use crm::model::rows::{ResultColumn, Rows};
use crm::plan::email_settings as fields;
use crm::plan::email_settings::{Provider, SmtpServer};
use serde_json::{Map, Value, json};

use crate::hall::control::ControlCall;
use crate::hall::outgoing::{
    LOST_WEBHOOK_SECRET, not_configured, opened_settings, opened_webhook_secret, sealed_provider, sealed_webhook_secret,
};
use crate::providers::{Domain, ResendError};
use crate::store::control::integrations::NewIntegration;
use crate::store::control::transaction::ControlTransaction;
use crate::store::control::webhooks::record;
use crate::targets::BadTarget;

/// The wait that is suggested while the provider can't be reached, in seconds.
const RETRY_AFTER_SECONDS: u64 = 30;

impl ControlCall<'_> {
    /// The integration. While its sender is not verified, the provider is asked again.
    pub(super) async fn integration(&self) -> Result<Answer, Fault> {
        let (control, workspace_id) = (&self.app.store.control, self.holder().workspace_id);
        let mut error = None;
        if let Some(integration) = control.sending(workspace_id).await?.integration {
            match opened_settings(self.app, workspace_id, &integration) {
                Ok(settings) if !integration.verified && self.app.providers.accepts(&settings).await => {
                    control.note_verified(workspace_id, true).await?;
                }
                Ok(_) => {}
                Err(fault) => error = Some(fault.message()),
            }
            if let Some(receiving) = control.receiving(workspace_id).await?.filter(|_| error.is_none())
                && opened_webhook_secret(self.app, workspace_id, &receiving.webhook_secret).is_err()
            {
                error = Some(LOST_WEBHOOK_SECRET.to_owned());
            }
        }
        let found = control.integration(workspace_id, &self.inbound_url(), error.as_deref()).await?;
        found.map(|row| record(row, false)).ok_or_else(|| Fault::internal("a workspace that is none"))
    }

    /// Checks new settings. Returns whether the provider accepts their sender.
    pub(super) async fn check_settings(&self, values: &Map<String, Value>) -> Result<bool, Fault> {
        let settings = fields::settings(values)?;
        if let Provider::Smtp(server) = &settings.provider {
            self.allowed(server).await?;
        }
        Ok(self.app.providers.accepts(&settings).await)
    }

    pub(super) async fn set_integration(
        &self,
        transaction: &mut ControlTransaction<'_>,
        values: &Map<String, Value>,
        verified: bool,
    ) -> Result<Answer, Fault> {
        let settings = fields::settings(values)?;
        let (actor, now) = (&self.caller.who.actor, self.now());
        let workspace_id = self.holder().workspace_id;
        let sealed = sealed_provider(self.app, workspace_id, &settings.provider)?;
        let (provider, from_email) = (settings.provider.name(), settings.from_email.to_string());
        let secret = settings
            .webhook_secret
            .as_ref()
            .map(|secret| secret.as_ref().map(|secret| sealed_webhook_secret(self.app, workspace_id, secret)));
        let inbound_url = self.inbound_url();
        let new = NewIntegration {
            workspace_id,
            provider,
            settings: &sealed,
            from_email: &from_email,
            verified,
            webhook_secret: secret.as_ref().map(|secret| secret.as_deref()),
            inbound_url: &inbound_url,
            actor,
            now: &now,
        };
        let set = transaction.set_integration(&new).await?;
        set.map(|row| record(row, false)).ok_or_else(|| Fault::internal("an integration was not set"))
    }

    pub(super) async fn remove_integration(&self, transaction: &mut ControlTransaction<'_>) -> Result<Answer, Fault> {
        if !transaction.remove_integration(self.holder().workspace_id).await? {
            return Err(Fault::NotFound { table: "integrations".into(), id: "email".into() });
        }
        let cells = [
            ("configured", json!(false)),
            ("provider", Value::Null),
            ("from_email", Value::Null),
            ("verified", json!(false)),
            ("inbound_url", Value::Null),
            ("receives", json!(false)),
            ("last_error", Value::Null),
            ("deleted", json!(true)),
        ];
        Ok(record(rows_of(&[cells.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()]), false))
    }

    /// The beginning of the address of the provider's webhook. The workspace's id follows.
    fn inbound_url(&self) -> String {
        format!("{}/v1/inbound/resend?ws=", self.app.public_url)
    }

    /// Refuses a mail server in a private network.
    async fn allowed(&self, server: &SmtpServer) -> Result<(), Fault> {
        match self.app.targets.address_of(&server.host).await {
            Ok(_) => Ok(()),
            Err(bad @ BadTarget::Malformed(_)) => {
                Err(Fault::ValidationFailed { message: bad.to_string(), hint: None, field: Some("host".into()) })
            }
            Err(BadTarget::NotAllowed) => Err(Fault::Refused {
                code: "target_not_allowed",
                message: "The mail server is in a private network, or on this machine.".into(),
                hint: Some("E-mail is handed to public servers only.".into()),
            }),
        }
    }

    pub(super) async fn domains(&self, page: &PageAsk) -> Result<Answer, Fault> {
        let found = self.app.providers.domains(&self.resend_key().await?).await.map_err(|error| fault(error, ""))?;
        let scope = scope(["email domains", self.holder().workspace_id].into_iter());
        let start = match &page.cursor {
            Some(cursor) => {
                let last = Cursor::decode(cursor, scope, 1)?.keys.pop().flatten().unwrap_or_default();
                found.iter().position(|domain| id(domain) == last).map_or(found.len(), |at| at + 1)
            }
            None => 0,
        };
        let shown: Vec<Map<String, Value>> = found.iter().skip(start).take(page.limit).map(cells).collect();
        let last = found.get(start..).and_then(|rest| rest.get(page.limit - 1).filter(|_| rest.len() > page.limit));
        let next_cursor = last.map(|last| Cursor { scope, keys: vec![Some(id(last).to_owned())] }.encode());
        let rows = rows_of(&shown);
        let width = rows.columns().len();
        Ok(Answer::Page { entity: None, table: None, rows, width, next_cursor, limit: page.limit })
    }

    pub(super) async fn find_domain(&self, id: &str) -> Result<Answer, Fault> {
        let found = self.app.providers.find_domain(&self.resend_key().await?, id).await;
        shown(found, id, false)
    }

    pub(super) async fn create_domain(&self, values: &Map<String, Value>) -> Result<Answer, Fault> {
        let (name, region) = fields::new_domain(values)?;
        let made = self.app.providers.create_domain(&self.resend_key().await?, &name, region.as_deref()).await;
        shown(made, &name, true)
    }

    pub(super) async fn verify_domain(&self, id: &str) -> Result<Answer, Fault> {
        let found = self.app.providers.verify_domain(&self.resend_key().await?, id).await;
        shown(found, id, false)
    }

    /// The key of the connected Resend account.
    async fn resend_key(&self) -> Result<String, Fault> {
        let sending = self.app.store.control.sending(self.holder().workspace_id).await?;
        let integration = sending.integration.ok_or_else(not_configured)?;
        match opened_settings(self.app, self.holder().workspace_id, &integration)?.provider {
            Provider::Resend { api_key } => Ok(api_key),
            Provider::Smtp(_) => Err(Fault::Refused {
                code: "email_not_configured",
                message: "Sending domains are Resend's, and this workspace sends through a mail server.".into(),
                hint: Some("The mail server's operator looks after its domains.".into()),
            }),
        }
    }
}

fn id(domain: &Domain) -> &str {
    domain.0.get("id").and_then(Value::as_str).unwrap_or_default()
}

/// A domain's fields. Resend's own `object` is left out.
fn cells(domain: &Domain) -> Map<String, Value> {
    domain.0.iter().filter(|(name, _)| *name != "object").map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn shown(found: Result<Domain, ResendError>, id: &str, created: bool) -> Result<Answer, Fault> {
    let domain = found.map_err(|error| fault(error, id))?;
    Ok(record(rows_of(&[cells(&domain)]), created))
}

fn fault(error: ResendError, id: &str) -> Fault {
    match error {
        ResendError::NotFound => Fault::NotFound { table: Resource::Domains.name().into(), id: id.to_owned() },
        ResendError::Refused(message) => {
            Fault::Refused { code: "email_rejected", message, hint: Some("These are Resend's words.".into()) }
        }
        ResendError::Down { words, retry_after, .. } => {
            Fault::Unavailable { retry_after: retry_after.unwrap_or(RETRY_AFTER_SECONDS), message: words }
        }
    }
}

/// Objects as rows. A field that a row lacks is null.
pub(super) fn rows_of(objects: &[Map<String, Value>]) -> Rows {
    let mut names: Vec<&String> = Vec::new();
    for name in objects.iter().flat_map(Map::keys) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let column = |name: &String| ResultColumn { name: name.as_str().into(), type_name: "jsonb".into() };
    let (mut data, mut ends) = (Vec::new(), Vec::with_capacity(names.len() * objects.len()));
    for object in objects {
        for name in &names {
            data.extend_from_slice(object.get(*name).unwrap_or(&Value::Null).to_string().as_bytes());
            ends.push(data.len() as u32);
        }
    }
    Rows::new(names.iter().map(|name| column(name)).collect(), data, ends, objects.len())
}
