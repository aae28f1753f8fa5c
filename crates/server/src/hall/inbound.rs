//! E-mail that is brought from outside, by the provider's webhook or from a mailbox. It is recorded as an ask of the actor who has connected the
//! provider or the mailbox.

use std::net::IpAddr;

use crm::model::answer::Answer;
use crm::model::ask::{Ask, InboundOrigin, Steps};
use crm::model::fault::Fault;
use crm::model::inbound::InboundEmail;
use crm::model::who::Provenance;
use crm::plan::email_settings::Provider;
use serde_json::Value;

use crate::access;
use crate::app::App;
use crate::hall::outgoing::{LOST_WEBHOOK_SECRET, opened_settings, opened_webhook_secret};
use crate::hall::{Controls, Performed, perform};
use crate::providers::{ResendError, WebhookCall, is_signed};
use crate::store::control::integrations::Receiving;

/// The event of a received message.
const RECEIVED: &str = "email.received";
/// The wait that is suggested while the provider can't be reached, in seconds.
const RETRY_AFTER_SECONDS: u64 = 30;

/// Where a message comes from.
#[derive(Clone, Copy, Debug)]
pub struct InboundSource<'a> {
    /// `ws_…`
    pub workspace_id: &'a str,
    /// The actor who has connected it.
    pub actor: &'a str,
    /// Its name in the feed.
    pub agent: &'a str,
    /// `req_…`
    pub request_id: &'a str,
}

/// The record of a message that was brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroughtEmail {
    /// `e_…`
    pub id: String,
    /// Whether it is new.
    pub is_new: bool,
}

/// Records a message. `None` if the workspace is gone.
pub async fn bring(app: &App, source: InboundSource<'_>, email: InboundEmail) -> Result<Option<BroughtEmail>, Fault> {
    let said = |text: &str| Some(text.to_owned());
    let provenance =
        Provenance { agent: said(source.agent), request_id: source.request_id.to_owned(), ..Provenance::default() };
    let Some(caller) = access::admit_receiver(app, source.workspace_id, source.actor, provenance).await? else {
        return Ok(None);
    };
    let ask = Ask::Steps(Steps::ReceiveEmail { email: Box::new(email), origin: InboundOrigin::Delivery });
    match perform(app, &caller, &ask, &Controls::default()).await? {
        Performed::Done(Answer::Record { record, created }, _) => {
            let id = record.row.string(0, "id").unwrap_or_default();
            Ok(Some(BroughtEmail { id, is_new: created }))
        }
        _ => Err(Fault::internal("a received e-mail without a record")),
    }
}

/// Refuses a call of a webhook that can't be signed, before its body is read.
pub fn check_head(app: &App, call: &WebhookCall<'_>) -> Result<(), Fault> {
    if call.may_be_signed(app.clock.unix_seconds()) { Ok(()) } else { Err(not_signed()) }
}

/// Takes a call of Resend's webhook from this address. Returns the record of the message; `None` if the event is another one.
pub async fn take_resend_webhook(
    app: &App,
    workspace_id: &str,
    call: &WebhookCall<'_>,
    address: Option<IpAddr>,
    request_id: &str,
) -> Result<Option<BroughtEmail>, Fault> {
    let said = format!("{workspace_id} {} {}", call.id, call.signatures);
    let receiving = access::believe(app, &said, address, signer(app, workspace_id, call)).await?;
    let receiving = receiving.ok_or_else(not_signed)?;
    let event: Value =
        serde_json::from_slice(call.body).map_err(|error| Fault::InvalidJson { reason: error.to_string() })?;
    if event["type"] != RECEIVED {
        return Ok(None);
    }
    let Some(id) = event["data"]["email_id"].as_str() else {
        return Err(Fault::invalid("The event has no data.email_id."));
    };
    let settings = opened_settings(app, workspace_id, &receiving.integration);
    let Provider::Resend { api_key } = settings.map_err(|fault| unavailable(fault.message(), None))?.provider else {
        return Err(not_signed());
    };
    // The event has no content.
    let email = app.providers.received(&api_key, id).await.map_err(|error| match error {
        // Resend calls again, when it may know the message or the key may have the right.
        ResendError::NotFound => unavailable("Resend does not know the message.".into(), None),
        ResendError::Refused(words) => unavailable(words, None),
        ResendError::Down { words, retry_after, .. } => unavailable(words, retry_after),
    })?;
    let source = InboundSource { workspace_id, actor: &receiving.actor, agent: "resend", request_id };
    bring(app, source, email).await
}

/// How the workspace receives e-mail that has signed a call.
async fn signer(app: &App, workspace_id: &str, call: &WebhookCall<'_>) -> Result<Option<Receiving>, Fault> {
    let Some(receiving) = app.store.control.receiving(workspace_id).await? else { return Ok(None) };
    match opened_webhook_secret(app, workspace_id, &receiving.webhook_secret) {
        Ok(secret) => Ok(is_signed(call, &secret, app.clock.unix_seconds()).then_some(receiving)),
        Err(fault) => {
            tracing::error!(fault = fault.in_log(), workspace_id, "the secret of a webhook can't be opened");
            // The provider calls again, when the secret may have been set again.
            Err(unavailable(LOST_WEBHOOK_SECRET.into(), None))
        }
    }
}

fn not_signed() -> Fault {
    Fault::NotSignedIn {
        message: "The webhook's signature is missing, wrong or too old.".into(),
        hint: "Resend signs its calls. PUT /v1/integrations/email {\"webhook_secret\": \"whsec_…\"} sets the secret, which Resend shows on the webhook's page, and GET shows the inbound_url with ?ws=."
            .into(),
    }
}

fn unavailable(message: String, retry_after: Option<u64>) -> Fault {
    Fault::Unavailable { retry_after: retry_after.unwrap_or(RETRY_AFTER_SECONDS), message }
}

/// The password of a workspace's mailbox, sealed.
pub(super) fn sealed_mailbox_password(app: &App, workspace_id: &str, password: &str) -> Vec<u8> {
    app.store.sealer.seal(&mailbox_seal_name(workspace_id), password.as_bytes())
}

/// Opens a sealed password of a mailbox.
pub fn opened_mailbox_password(app: &App, workspace_id: &str, sealed: &[u8]) -> Result<String, Fault> {
    let opened = app.store.sealer.open(&mailbox_seal_name(workspace_id), sealed)?;
    String::from_utf8(opened).map_err(Fault::internal)
}

fn mailbox_seal_name(workspace_id: &str) -> String {
    format!("mailbox {workspace_id}")
}
