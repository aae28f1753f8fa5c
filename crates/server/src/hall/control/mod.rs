//! Asks about the control plane: webhook endpoints, automations, the e-mail integration, and the sending domains at its provider. They
//! have the rights, the idempotency and the pages of
//! asks about records. The work is done in a transaction of the control database.

mod automations;
mod email;
mod logs;
mod mailbox;
mod webhooks;

use serde_json::Value;

use crm::dialect::Reply;
use crm::model::answer::Answer;
use crm::model::control::{ControlAsk, Resource};
use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::plan;
use crm::plan::automation::AutomationFields;
use crm::plan::control::WebhookFields;

use crate::access::Caller;
use crate::app::App;
use crate::clock::iso_ms;
use crate::hall::committed::Committed;
use crate::hall::execution::{Execution, Reserved};
use crate::hall::{Controls, Effect, Idempotency, Performed, store_refusal};
use crate::store::control::idempotency::KeyedRequest;
use crate::store::control::mailboxes::MailboxPosition;
use crate::store::control::transaction::ControlTransaction;
use crate::store::control::webhooks::Holder;

/// Marks a stored reply that is sealed. The body of any other reply is JSON.
const SEALED: &str = "sealed:";

/// Performs an ask about the control plane.
pub(super) async fn perform(
    app: &App,
    caller: &Caller,
    ask: &ControlAsk,
    controls: &Controls<'_>,
) -> Result<Performed, Fault> {
    if ask.writes() && (controls.effect == Effect::DryRun || controls.max_affected.is_some()) {
        return Err(Fault::Refused {
            code: "control_not_supported",
            message: "This path changes no rows of the workspace, so it takes no X-Dry-Run and no X-Max-Affected."
                .into(),
            hint: Some("Leave the header out.".into()),
        });
    }
    let act = ControlCall { app, caller };
    // Its dry runs have sessions of their own, so it is done before the transactions that store a reply.
    let trial = match ask {
        ControlAsk::TestAutomation { id, values, dialect } => Some(act.test_automation(id, values, dialect).await),
        _ => None,
    };
    let idempotency = controls.idempotency.as_ref().filter(|_| !plan::reads_only(&caller.who));
    let answer = match (idempotency, trial) {
        (Some(idempotency), trial) => return perform_once(&act, ask, trial, idempotency).await,
        (None, Some(trial)) => return Ok(Performed::Done(trial?, Committed::nothing())),
        (None, None) if ask.writes() => {
            let ahead = act.ahead(ask).await?;
            let mut transaction = app.store.control.begin().await?;
            match act.write(&mut transaction, ask, ahead).await {
                Ok(answer) => {
                    transaction.commit().await?;
                    answer
                }
                Err(fault) => {
                    transaction.roll_back().await;
                    return Err(fault);
                }
            }
        }
        (None, None) => act.read(ask).await?,
    };
    act.after(ask);
    Ok(Performed::Done(answer, Committed::nothing()))
}

/// Performs an ask whose reply is stored. The key is reserved in the workspace's database, so that a key stands for one request
/// there too. The reply is also stored in the transaction that does the work: after a crash between the two commits, a retry
/// finds it there.
async fn perform_once(
    act: &ControlCall<'_>,
    ask: &ControlAsk,
    trial: Option<Result<Answer, Fault>>,
    idempotency: &Idempotency<'_>,
) -> Result<Performed, Fault> {
    let ControlCall { app, caller } = *act;
    let mut execution = match Execution::reserve(app, caller, idempotency, None).await? {
        Reserved::Fresh(execution) => execution,
        Reserved::Stored(reply) => return act.unsealed(reply).map(Performed::Replayed),
    };
    let holder = act.holder();
    let request = KeyedRequest {
        workspace_id: holder.workspace_id,
        mode: holder.mode,
        key: idempotency.key,
        fingerprint: &idempotency.fingerprint,
        now: &act.now(),
    };
    let ahead = match act.ahead(ask).await {
        Ok(ahead) => ahead,
        Err(fault) => {
            execution.roll_back().await;
            return store_refusal(app, caller, fault, idempotency).await;
        }
    };
    let mut transaction = app.store.control.begin().await?;
    if let Some((status, body)) = transaction.reply_to(&request).await? {
        transaction.roll_back().await;
        let body = act.opened(&body)?;
        let reply = Reply { status, headers: Vec::new(), body };
        execution.commit(None, Some(&act.sealed(&reply))).await?;
        return Ok(Performed::Replayed(reply));
    }
    let result = match trial {
        Some(trial) => trial,
        None if ask.writes() => act.write(&mut transaction, ask, ahead).await,
        None => act.read(ask).await,
    };
    match result {
        Ok(answer) => {
            let reply = (idempotency.render)(&Ok(answer));
            let body = app.store.sealer.seal(&act.seal_name(), &reply.body);
            transaction.keep_reply(&request, reply.status, &body).await?;
            transaction.commit().await?;
            act.after(ask);
            execution.commit(None, Some(&act.sealed(&reply))).await?;
            Ok(Performed::Stored(reply))
        }
        Err(fault) => {
            transaction.roll_back().await;
            execution.roll_back().await;
            store_refusal(app, caller, fault, idempotency).await
        }
    }
}

/// What an ask gets from other systems: the e-mail provider, the resolver of names, the workspace's database. It is fetched before
/// a connection to the control database is held, because they can be slow and the control plane has few connections. This holds
/// for reads of the control database too, which have a connection of their own.
enum Ahead {
    /// It needs nothing.
    Nothing,
    /// The checked fields of a new webhook, and the snapshot of the workspace's database after which it gets events.
    NewWebhook(WebhookFields, String),
    /// The checked fields of a webhook that is changed, and the snapshot of the workspace's database if they enable it.
    Webhook(WebhookFields, String),
    /// The checked fields of a new automation, and the snapshot of the workspace's database after which events fire it.
    NewAutomation(AutomationFields, String),
    /// The checked fields of an automation that is changed, and the snapshot of the workspace's database if they enable it.
    Automation(AutomationFields, String),
    /// How many more deliveries fit into the webhook's queue.
    Room(u64),
    /// Whether the provider of the new settings accepts their sender.
    Verified(bool),
    /// The mailbox can be read. Reading begins after this message.
    Reached(MailboxPosition),
    /// The provider has done all of it.
    Done(Answer),
}

/// An act of a caller on the control plane.
#[derive(Clone, Copy)]
struct ControlCall<'a> {
    app: &'a App,
    caller: &'a Caller,
}

impl<'a> ControlCall<'a> {
    fn holder(&self) -> Holder<'a> {
        Holder { workspace_id: &self.caller.who.workspace_id, mode: self.caller.who.mode.name() }
    }

    /// The current time, ISO 8601.
    fn now(&self) -> String {
        iso_ms(self.app.clock.unix_ms())
    }

    async fn read(&self, ask: &ControlAsk) -> Result<Answer, Fault> {
        match ask {
            ControlAsk::List { resource: Resource::Webhooks, page } => self.webhooks(page).await,
            ControlAsk::Find { resource: Resource::Webhooks, id } => self.find_webhook(id).await,
            ControlAsk::List { resource: Resource::Automations, page } => self.automations(page).await,
            ControlAsk::Find { resource: Resource::Automations, id } => self.find_automation(id).await,
            ControlAsk::Runs { id, status, page } => self.runs(id, status.as_deref(), page).await,
            ControlAsk::Integration => self.integration().await,
            ControlAsk::Mailbox => self.mailbox().await,
            ControlAsk::List { resource: Resource::Domains, page } => self.domains(page).await,
            ControlAsk::Find { resource: Resource::Domains, id } => self.find_domain(id).await,
            ControlAsk::Logs { filters, page } => self.logs(filters, page).await,
            ControlAsk::Deliveries { id, status, page } => self.deliveries(id, status.as_deref(), page).await,
            other => Err(Fault::internal(format!("{other:?} is not a read"))),
        }
    }

    async fn ahead(&self, ask: &ControlAsk) -> Result<Ahead, Fault> {
        match ask {
            ControlAsk::SetIntegration { values } => self.check_settings(values).await.map(Ahead::Verified),
            ControlAsk::ConnectMailbox { values } => self.reach_mailbox(values).await.map(Ahead::Reached),
            ControlAsk::Create { resource: Resource::Domains, values, .. } => {
                self.create_domain(values).await.map(Ahead::Done)
            }
            ControlAsk::VerifyDomain { id } => self.verify_domain(id).await.map(Ahead::Done),
            ControlAsk::Create { resource: Resource::Webhooks, values, .. } => self.check_new_webhook(values).await,
            ControlAsk::Update { resource: Resource::Webhooks, values, .. } => self.check_webhook(values).await,
            ControlAsk::Create { resource: Resource::Automations, values, .. } => {
                self.check_new_automation(values).await
            }
            ControlAsk::Update { resource: Resource::Automations, values, .. } => self.check_automation(values).await,
            ControlAsk::Replay { id, .. } => self.known(id).await.map(|()| Ahead::Nothing),
            ControlAsk::TestWebhook { id } | ControlAsk::ReplayFailed { id, .. } => {
                self.known(id).await?;
                self.app.store.control.room_of_webhook(id).await.map(Ahead::Room)
            }
            _ => Ok(Ahead::Nothing),
        }
    }

    async fn write(
        &self,
        transaction: &mut ControlTransaction<'_>,
        ask: &ControlAsk,
        ahead: Ahead,
    ) -> Result<Answer, Fault> {
        match (ask, ahead) {
            (_, Ahead::Done(answer)) => Ok(answer),
            (ControlAsk::SetIntegration { values }, Ahead::Verified(verified)) => {
                self.set_integration(transaction, values, verified).await
            }
            (ControlAsk::ConnectMailbox { values }, Ahead::Reached(position)) => {
                self.set_mailbox(transaction, values, position).await
            }
            (ControlAsk::Create { dialect, .. }, Ahead::NewWebhook(fields, since)) => {
                self.create_webhook(transaction, &fields, &since, dialect).await
            }
            (ControlAsk::Update { id, .. }, Ahead::Webhook(fields, since)) => {
                self.update_webhook(transaction, id, (&fields, &since)).await
            }
            (ControlAsk::Delete { resource: Resource::Webhooks, id }, _) => self.delete_webhook(transaction, id).await,
            (ControlAsk::Create { dialect, .. }, Ahead::NewAutomation(fields, since)) => {
                self.create_automation(transaction, &fields, &since, dialect).await
            }
            (ControlAsk::Update { id, .. }, Ahead::Automation(fields, since)) => {
                self.update_automation(transaction, id, (&fields, &since)).await
            }
            (ControlAsk::Delete { resource: Resource::Automations, id }, _) => {
                self.delete_automation(transaction, id).await
            }
            (ControlAsk::DisconnectMailbox, _) => self.remove_mailbox(transaction).await,
            (ControlAsk::RemoveIntegration, _) => self.remove_integration(transaction).await,
            (ControlAsk::RotateSecret { id }, _) => self.rotate_secret(transaction, id).await,
            (ControlAsk::TestWebhook { id }, Ahead::Room(room)) => self.test_webhook(transaction, id, room).await,
            (ControlAsk::Replay { id, delivery_id }, _) => self.replay(transaction, id, delivery_id).await,
            (ControlAsk::ReplayFailed { id, values }, Ahead::Room(room)) => {
                self.replay_failed(transaction, id, values, room).await
            }
            (other, _) => Err(Fault::internal(format!("{other:?} is not a write"))),
        }
    }

    /// Wakes whoever waits for what was committed.
    fn after(&self, ask: &ControlAsk) {
        if ask.writes() {
            self.app.wakes.deliveries.notify_one();
            self.app.wakes.runs.notify_one();
            if let ControlAsk::ConnectMailbox { .. } | ControlAsk::DisconnectMailbox = ask {
                self.app.wakes.mailbox_changed(self.holder().workspace_id);
            }
            self.app.wakes.subscribed();
        }
    }

    fn seal_name(&self) -> String {
        format!("reply {} {}", self.caller.who.workspace_id, self.caller.who.mode.name())
    }

    /// A reply as it is stored in the workspace's database. It may hold a secret.
    fn sealed(&self, reply: &Reply) -> Reply {
        let body = self.app.store.sealer.seal(&self.seal_name(), &reply.body);
        let body = format!("{SEALED}{}", hex::encode(&body)).into_bytes();
        Reply { status: reply.status, headers: Vec::new(), body }
    }

    fn unsealed(&self, reply: Reply) -> Result<Reply, Fault> {
        let Some(digits) = reply.body.strip_prefix(SEALED.as_bytes()) else { return Ok(reply) };
        let sealed = hex::decode(digits).map_err(Fault::internal)?;
        Ok(Reply { body: self.opened(&sealed)?, ..reply })
    }

    /// Opens a sealed reply. The work is done, and a reply that can't be opened does not repeat it.
    fn opened(&self, sealed: &[u8]) -> Result<Vec<u8>, Fault> {
        self.app.store.sealer.open(&self.seal_name(), sealed).map_err(|fault| {
            tracing::error!(fault = fault.in_log(), "a stored reply can't be opened");
            Fault::Refused {
                code: "idempotency_conflict",
                message: "The request was done before, and its answer can't be decrypted: it was encrypted with another KITH_SECRET_KEY.".into(),
                hint: Some("Look at what it has done. A request with another Idempotency-Key is done again.".into()),
            }
        })
    }
}

/// A row with these cells.
fn one_row(cells: &[(&str, Value)]) -> Rows {
    let column = |name: &str| crm::model::rows::ResultColumn { name: name.into(), type_name: "jsonb".into() };
    let (mut data, mut ends) = (Vec::new(), Vec::with_capacity(cells.len()));
    for (_, value) in cells {
        data.extend_from_slice(value.to_string().as_bytes());
        ends.push(data.len() as u32);
    }
    Rows::new(cells.iter().map(|(name, _)| column(name)).collect(), data, ends, 1)
}
