//! Acts on webhook endpoints and their deliveries.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crm::model::answer::Answer;
use crm::model::control::Resource;
use crm::model::event;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::model::rows::Rows;
use crm::plan::control as fields;
use crm::plan::control::WebhookFields;

use crate::clock::{iso_ms, random};
use crate::hall::control::{Ahead, ControlCall, one_row};
use crate::store::control::deliveries::{DELIVERIES, NewDelivery};
use crate::store::control::transaction::ControlTransaction;
use crate::store::control::webhooks::{MOST_WEBHOOKS, NewWebhook, WEBHOOKS, record};
use crate::store::tenant::Access;
use crate::targets::BadTarget;

/// The prefix of a signing secret. What follows is base64, as Standard Webhooks wants it.
const SECRET_PREFIX: &str = "whsec_";
/// How long the previous secret is valid after a rotation, in milliseconds.
const OVERLAP_MS: i64 = 24 * 60 * 60 * 1000;
/// What a delivery's status can be.
const STATUSES: [&str; 3] = ["pending", "delivered", "failed"];

impl ControlCall<'_> {
    pub(super) async fn webhooks(&self, page: &PageAsk) -> Result<Answer, Fault> {
        let holder = self.holder();
        self.app.store.control.page(&WEBHOOKS, holder.workspace_id, &[holder.mode], page).await
    }

    pub(super) async fn find_webhook(&self, id: &str) -> Result<Answer, Fault> {
        let found = self.app.store.control.find_webhook(self.holder(), id).await?;
        found.map(|row| record(row, false)).ok_or_else(|| unknown(id))
    }

    /// Checks a new webhook.
    pub(super) async fn check_new_webhook(&self, values: &Map<String, Value>) -> Result<Ahead, Fault> {
        let mut fields = fields::new_webhook(values)?;
        fields.url = Some(self.target(fields.url.as_deref().unwrap_or_default()).await?);
        Ok(Ahead::NewWebhook(fields, self.snapshot().await?))
    }

    /// Checks changes to a webhook.
    pub(super) async fn check_webhook(&self, values: &Map<String, Value>) -> Result<Ahead, Fault> {
        let mut fields = fields::webhook(values)?;
        if let Some(url) = &fields.url {
            fields.url = Some(self.target(url).await?);
        }
        let since = self.snapshot_to_enable(fields.enabled).await?;
        Ok(Ahead::Webhook(fields, since))
    }

    /// The snapshot of the workspace's database. What is created with it gets the events of all that is committed from here on.
    /// The time of the creation must be read later: of two, the one that was created first must not miss what only its own
    /// snapshot does not see.
    pub(super) async fn snapshot(&self) -> Result<String, Fault> {
        self.app.store.tenant(&self.caller.database, Access::Full).await?.snapshot().await
    }

    /// The snapshot for what may be enabled. Nothing else needs one.
    pub(super) async fn snapshot_to_enable(&self, enabled: Option<bool>) -> Result<String, Fault> {
        if enabled == Some(true) { self.snapshot().await } else { Ok(String::new()) }
    }

    pub(super) async fn create_webhook(
        &self,
        transaction: &mut ControlTransaction<'_>,
        fields: &WebhookFields,
        since: &str,
        dialect: &str,
    ) -> Result<Answer, Fault> {
        let (id, secret, now) = (self.app.clock.id(Resource::Webhooks.prefix()), new_secret(), self.now());
        let sealed = self.app.store.sealer.seal(&id, secret.as_bytes());
        let new = NewWebhook {
            id: &id,
            dialect,
            url: fields.url.as_deref().unwrap_or_default(),
            fields,
            secret: &sealed,
            since,
            created_by: &self.caller.who.actor,
            public_url: &self.app.public_url,
            now: &now,
        };
        let made = transaction.create_webhook(self.holder(), &new, &secret).await?;
        made.map(|row| record(row, true)).ok_or_else(|| Fault::ValidationFailed {
            message: format!("A workspace has at most {MOST_WEBHOOKS} webhooks."),
            hint: Some("Delete one, or let one choose more events.".into()),
            field: None,
        })
    }

    pub(super) async fn update_webhook(
        &self,
        transaction: &mut ControlTransaction<'_>,
        id: &str,
        (fields, since): (&WebhookFields, &str),
    ) -> Result<Answer, Fault> {
        let changed = transaction.update_webhook(self.holder(), id, (fields, since), &self.now()).await?;
        changed.map(|row| record(row, false)).ok_or_else(|| unknown(id))
    }

    pub(super) async fn delete_webhook(
        &self,
        transaction: &mut ControlTransaction<'_>,
        id: &str,
    ) -> Result<Answer, Fault> {
        let (name, deliveries) = transaction.delete_webhook(self.holder(), id).await?.ok_or_else(|| unknown(id))?;
        let (id, deleted_at) = (json!(id).to_string(), json!(self.now()).to_string());
        let with = vec![("deliveries", deliveries)];
        Ok(Answer::Deleted { entity: None, id, deleted_at, name: Some(name), with, note: None })
    }

    pub(super) async fn rotate_secret(
        &self,
        transaction: &mut ControlTransaction<'_>,
        id: &str,
    ) -> Result<Answer, Fault> {
        let secret = new_secret();
        let sealed = self.app.store.sealer.seal(id, secret.as_bytes());
        let (now, old_ends) = (self.now(), iso_ms(self.app.clock.unix_ms() + OVERLAP_MS));
        let rotated =
            transaction.rotate_webhook_secret(self.holder(), id, (&sealed, &secret), (&now, &old_ends)).await?;
        rotated.map(|row| record(row, false)).ok_or_else(|| unknown(id))
    }

    pub(super) async fn deliveries(&self, id: &str, status: Option<&str>, page: &PageAsk) -> Result<Answer, Fault> {
        if let Some(status) = status.filter(|status| !STATUSES.contains(status)) {
            return Err(Fault::invalid(format!("status is {}, not \"{status}\".", STATUSES.join(", "))));
        }
        self.known(id).await?;
        self.app.store.control.page(&DELIVERIES, id, &[status.unwrap_or_default()], page).await
    }

    /// Queues a test event. It is sent even if the endpoint chooses other events.
    pub(super) async fn test_webhook(
        &self,
        transaction: &mut ControlTransaction<'_>,
        id: &str,
        room: u64,
    ) -> Result<Answer, Fault> {
        if room == 0 {
            return Err(Fault::ValidationFailed {
                message: "As many deliveries as there may be are waiting for this webhook.".into(),
                hint: Some(
                    "See why its receiver does not take them: GET /v1/webhooks/:id/deliveries?status=pending".into(),
                ),
                field: None,
            });
        }
        let (delivery_id, event_id, now) = (self.app.clock.id("whd"), self.app.clock.id("evt"), self.now());
        let holder = self.holder();
        let data = json!({"webhook_id": id, "message": "This is a test event."});
        let body = json!({"id": event_id, "type": event::TEST, "created_at": now, "workspace_id": holder.workspace_id,
            "mode": holder.mode, "data": data});
        let new = NewDelivery {
            id: delivery_id.clone(),
            endpoint_id: id,
            event_id: &event_id,
            event_type: event::TEST,
            // A test waits for no other delivery.
            subject: &delivery_id,
            body: &body.to_string(),
        };
        transaction.queue_deliveries(&[new], &now).await?;
        shown(transaction.delivery(id, &delivery_id).await?, &delivery_id, true)
    }

    pub(super) async fn replay(
        &self,
        transaction: &mut ControlTransaction<'_>,
        id: &str,
        delivery_id: &str,
    ) -> Result<Answer, Fault> {
        shown(transaction.replay_delivery(id, delivery_id, &self.now()).await?, delivery_id, false)
    }

    pub(super) async fn replay_failed(
        &self,
        transaction: &mut ControlTransaction<'_>,
        id: &str,
        values: &Map<String, Value>,
        room: u64,
    ) -> Result<Answer, Fault> {
        let since = fields::since(values)?;
        let since: jiff::Timestamp = since.parse().map_err(|_| {
            Fault::invalid_with_hint(
                format!("\"since\" takes a time, not \"{since}\"."),
                "Send a time with its offset: 2026-01-31T12:00:00Z.",
            )
        })?;
        let (replayed, has_more) = transaction.replay_failed(id, &since.to_string(), &self.now(), room).await?;
        let row = one_row(&[
            ("webhook_id", json!(id)),
            ("since", json!(since.to_string())),
            ("replayed", json!(replayed)),
            ("has_more", json!(has_more)),
        ]);
        Ok(record(row, false))
    }

    /// Refuses a webhook that does not exist.
    pub(super) async fn known(&self, id: &str) -> Result<(), Fault> {
        if self.app.store.control.has_webhook(self.holder(), id).await? { Ok(()) } else { Err(unknown(id)) }
    }

    /// Checks an address, and returns its normal form.
    async fn target(&self, url: &str) -> Result<String, Fault> {
        self.app.targets.check(url).await.map_err(|bad| match bad {
            BadTarget::Malformed(_) => {
                Fault::ValidationFailed { message: bad.to_string(), hint: None, field: Some("url".into()) }
            }
            BadTarget::NotAllowed => Fault::Refused {
                code: "target_not_allowed",
                message: bad.to_string(),
                hint: Some("Events are sent to public addresses only.".into()),
            },
        })
    }
}

fn new_secret() -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(random::<24>()))
}

fn unknown(id: &str) -> Fault {
    Fault::NotFound { table: Resource::Webhooks.name().into(), id: id.to_owned() }
}

fn shown(delivery: Option<Rows>, id: &str, created: bool) -> Result<Answer, Fault> {
    let unknown = || Fault::NotFound { table: "this webhook's deliveries".into(), id: id.to_owned() };
    delivery.map(|row| record(row, created)).ok_or_else(unknown)
}
