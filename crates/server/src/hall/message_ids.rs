//! The Message-IDs of sent e-mails. A mail server takes that of the message. Resend sets its own, which is known only after it has accepted the
//! message, and only to a key with full access. Answers and copies that come back are recognized by it.

use crm::model::ask::EMAILS;
use crm::model::fault::Fault;
use crm::model::inbound::time_ms;
use crm::model::who::Provenance;
use crm::plan::email_settings::Provider;
use crm::sql;

use crate::access::Caller;
use crate::app::App;
use crate::clock::iso_ms;
use crate::hall::committed::Changed;
use crate::hall::execution::Execution;
use crate::hall::outgoing::{Taken, opened_settings};
use crate::providers::ResendError;
use crate::store::control::outgoing::EmailOutcome;

/// The first wait before the provider is asked, and the longest. Each is as long as all before it.
const FIRST_WAIT_MS: i64 = 5_000;
const LONGEST_WAIT_MS: i64 = 3600 * 1000;
/// A provider that has not told the Message-ID for so long never will.
const ASKED_FOR_MS: i64 = 24 * 3600 * 1000;

/// Whether a provider's id of a message is its Message-ID.
pub(super) fn is_message_id(id: &str) -> bool {
    id.starts_with('<') && id.ends_with('>')
}

/// When the provider is asked for the Message-ID of an e-mail with this outcome, ISO 8601; `None` if it is known or never will be.
pub(super) fn first_asked_at(app: &App, outcome: &EmailOutcome) -> Option<String> {
    let is_known = outcome.provider_msg_id.as_deref().is_none_or(is_message_id);
    (outcome.is_sent && !is_known).then(|| iso_ms(app.clock.unix_ms() + FIRST_WAIT_MS))
}

/// Asks the provider for the Message-ID of a recorded e-mail, and records it.
pub(super) async fn ask(app: &App, caller: &Caller, taken: Taken<'_>, outcome: &EmailOutcome) -> Result<(), Fault> {
    let ask_at = match asked(app, taken, outcome).await? {
        MessageIdAnswer::Told(message_id) => {
            // The run of the request may have ended in the meantime.
            let provenance = Provenance { run_id: None, ..caller.provenance.clone() };
            let caller = Caller { provenance, ..caller.clone() };
            let mut execution = Execution::in_one(app, &caller, None).await?;
            if let Err(error) = execution.write(&sql::inbound::learned(taken.id, &message_id)).await {
                execution.roll_back().await;
                return Err(error.into_fault());
            }
            execution.commit_changed(Changed::Table(EMAILS.to_owned()), None).await?;
            None
        }
        MessageIdAnswer::Later => next_asked_ms(time_ms(&outcome.at), app.clock.unix_ms()).map(iso_ms),
        MessageIdAnswer::Never => None,
    };
    app.store.control.end_email(taken.workspace_id, taken.id, ask_at.as_deref()).await
}

/// What the provider says of a Message-ID.
enum MessageIdAnswer {
    Told(String),
    Later,
    Never,
}

async fn asked(app: &App, taken: Taken<'_>, outcome: &EmailOutcome) -> Result<MessageIdAnswer, Fault> {
    let Some(id) = &outcome.provider_msg_id else { return Ok(MessageIdAnswer::Never) };
    let Some(integration) = app.store.control.sending(taken.workspace_id).await?.integration else {
        return Ok(MessageIdAnswer::Never);
    };
    let settings = opened_settings(app, taken.workspace_id, &integration);
    let Ok(Provider::Resend { api_key }) = settings.map(|it| it.provider) else { return Ok(MessageIdAnswer::Never) };
    Ok(match app.providers.message_id(&api_key, id).await {
        Ok(Some(message_id)) => MessageIdAnswer::Told(message_id),
        Ok(None) | Err(ResendError::NotFound | ResendError::Down { .. }) => MessageIdAnswer::Later,
        // The key may only send.
        Err(ResendError::Refused(_)) => MessageIdAnswer::Never,
    })
}

/// When the provider is asked again, in Unix milliseconds; `None` if never.
fn next_asked_ms(sent_ms: Option<i64>, now_ms: i64) -> Option<i64> {
    let age_ms = now_ms - sent_ms?;
    (age_ms < ASKED_FOR_MS).then(|| now_ms + age_ms.clamp(FIRST_WAIT_MS, LONGEST_WAIT_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_grow_and_end_after_a_day() {
        assert_eq!(next_asked_ms(Some(0), 1), Some(1 + FIRST_WAIT_MS));
        assert_eq!(next_asked_ms(Some(0), 60_000), Some(120_000));
        assert_eq!(next_asked_ms(Some(0), ASKED_FOR_MS - 1), Some(ASKED_FOR_MS - 1 + LONGEST_WAIT_MS));
        assert_eq!(next_asked_ms(Some(0), ASKED_FOR_MS), None);
        assert_eq!(next_asked_ms(None, 0), None);
    }
}
