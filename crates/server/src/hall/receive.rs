//! E-mail that was received. A message is recorded once, however often and on however many ways it comes: it is known by its Message-ID. A new one is
//! put into its conversation, attached to the people and deals that it is about, and logged as an activity if others sent it.

use crm::model::answer::Answer;
use crm::model::ask::InboundOrigin;
use crm::model::fault::Fault;
use crm::model::inbound::InboundEmail;
use crm::model::rows::Rows;
use crm::model::value::array_of_texts;
use crm::sql::email::EmailCell;
use crm::sql::inbound::{self, InboundActivity, InboundPlace};
use serde_json::{Map, Value, json};

use crate::clock::iso_ms;
use crate::hall::execution::Execution;
use crate::hall::mail::{conversation, run, shown};
use crate::hall::message_ids::is_message_id;
use crate::hall::snippet::first_words;
use crate::store::fault::RunError;

/// The provider of every received message: its id is that of RFC 5322.
const PROVIDER: &str = "rfc822";
/// How far ahead of Kith's clock a sender's may be, in milliseconds.
const MAX_AHEAD_MS: i64 = 24 * 3600 * 1000;
/// How much of the text an activity has, in characters.
const ACTIVITY_CHARACTERS: usize = 5000;
/// The most participants by whom a conversation is found.
const MAX_PARTICIPANTS: usize = 100;

/// When a message was sent and received, in Unix milliseconds.
struct InboundTimes {
    sent_ms: Option<i64>,
    received_ms: Option<i64>,
}

/// Records a message in the open transaction.
pub(super) async fn record(
    execution: &mut Execution<'_>,
    email: &InboundEmail,
    origin: InboundOrigin,
) -> Result<Answer, Fault> {
    let find = || inbound::known(&email.message_id, origin == InboundOrigin::Delivery);
    let known = run(execution, find()).await?;
    if !known.is_empty() {
        return Ok(Answer::Record { record: shown(known), created: false });
    }
    if let Some(original) = original(execution, email, origin).await? {
        return Ok(Answer::Record { record: shown(original), created: false });
    }
    let own = execution.app.store.control.own_addresses(&execution.caller.who.workspace_id).await?;
    let is_own = |address: &str| own.iter().any(|it| *it == address.to_lowercase());
    let is_outbound = email.from.as_ref().is_some_and(|from| is_own(&from.address));
    let times = times(email, is_outbound, execution.app.clock.unix_ms());
    let at = iso_ms(times.received_ms.or(times.sent_ms).unwrap_or_default());
    let sender = email.from.as_ref().map(|from| from.address.clone());
    let all = sender.iter().chain(&email.to).chain(&email.cc);
    let mut participants: Vec<String> = all.clone().filter(|it| !is_own(it)).take(MAX_PARTICIPANTS).cloned().collect();
    if participants.is_empty() {
        // The members write to each other.
        participants = all.take(MAX_PARTICIPANTS).cloned().collect();
    }
    let place = InboundPlace {
        references: array_of_texts(&email.references),
        subject: email.subject.clone(),
        at: at.clone(),
        participants: array_of_texts(&participants),
        sender: sender.filter(|_| !is_outbound),
    };
    let found = run(execution, inbound::place(&place)).await?;
    let thread_id = match found.string(0, "id") {
        Some(id) => conversation(execution, &found, id).await?,
        // What it answers may come later, and is then in the same conversation.
        None => email.references.first().unwrap_or(&email.message_id).clone(),
    };
    let mut cells = cells(email, is_outbound, &times);
    cells.push(("thread_id", Some(thread_id)));
    cells.push(("deal_ids", found.string(0, "deal_ids")));
    let recorded = run(execution, inbound::record(&cells)).await?;
    if recorded.is_empty() {
        let known = run(execution, find()).await?;
        return match known.is_empty() {
            false => Ok(Answer::Record { record: shown(known), created: false }),
            true => Err(Fault::ValidationFailed {
                message: "A trigger of the workspace's own left the e-mail's record out.".into(),
                hint: None,
                field: None,
            }),
        };
    }
    if !is_outbound {
        let id = recorded.string(0, "id").unwrap_or_default();
        let body = email.text.as_ref().map(|text| text.trim().chars().take(ACTIVITY_CHARACTERS).collect());
        let mut custom = json!({"email_id": id, "direction": "inbound"});
        if email.is_automatic {
            custom["auto_submitted"] = true.into();
        }
        let activity = InboundActivity {
            subject: email.subject.clone(),
            body,
            contact_id: found.string(0, "contact_id"),
            company_id: found.string(0, "company_id"),
            deal_id: found.string(0, "deal_id"),
            occurred_at: at,
            custom: custom.to_string(),
        };
        run(execution, inbound::activity(&activity)).await?;
    }
    Ok(Answer::Record { record: shown(recorded), created: true })
}

/// The record of the message that the workspace has sent, if this is a copy of it. Its provider may not have told the Message-ID yet.
async fn original(
    execution: &mut Execution<'_>,
    email: &InboundEmail,
    origin: InboundOrigin,
) -> Result<Option<Rows>, Fault> {
    let (Some(id), Some(from)) = (&email.copy_of, &email.from) else { return Ok(None) };
    let counts_deleted = origin == InboundOrigin::Delivery;
    let find = || inbound::original(id, &from.address, email.subject.as_deref(), counts_deleted);
    let found = run(execution, find()).await?;
    if found.is_empty() {
        return Ok(None);
    }
    let is_known = found.string(0, "provider_msg_id").is_some_and(|it| is_message_id(&it));
    if is_known || found.string(0, "status").as_deref() != Some("sent") || !is_message_id(&email.message_id) {
        return Ok(Some(found));
    }
    execution.write(&inbound::learned(id, &email.message_id)).await.map_err(RunError::into_fault)?;
    let learned = run(execution, find()).await?;
    // A trigger of the workspace's own may have changed what it is found by.
    Ok(Some(if learned.is_empty() { found } else { learned }))
}

/// The times of a message. One that lies ahead is wrong: senders of unwanted mail write it so that it comes first.
fn times(email: &InboundEmail, is_outbound: bool, now_ms: i64) -> InboundTimes {
    let sent_ms = email.sent_ms.filter(|ms| *ms <= now_ms + MAX_AHEAD_MS);
    match is_outbound {
        true => InboundTimes { sent_ms: sent_ms.or(Some(now_ms)), received_ms: None },
        false => {
            let received_ms = email.received_ms.or(sent_ms).unwrap_or(now_ms).min(now_ms);
            InboundTimes { sent_ms, received_ms: Some(received_ms) }
        }
    }
}

/// The columns of a new record.
fn cells(email: &InboundEmail, is_outbound: bool, times: &InboundTimes) -> Vec<EmailCell> {
    let mut custom = Map::new();
    let files = email
        .files
        .iter()
        .map(|file| json!({"filename": file.filename, "content_type": file.content_type, "bytes": file.bytes}));
    let from_name = email.from.as_ref().and_then(|from| from.name.clone());
    let more = [
        ("from_name", from_name.is_some(), json!(from_name)),
        ("reply_to", !email.reply_to.is_empty(), json!(email.reply_to)),
        ("attachments", !email.files.is_empty(), files.collect::<Value>()),
        ("auto_submitted", email.is_automatic, json!(true)),
        ("truncated", !email.truncated.is_empty(), json!(email.truncated)),
    ];
    custom
        .extend(more.into_iter().filter(|(_, is_there, _)| *is_there).map(|(name, _, value)| (name.to_owned(), value)));
    vec![
        ("provider", Some(PROVIDER.into())),
        ("provider_msg_id", Some(email.message_id.clone())),
        ("direction", Some(if is_outbound { "outbound" } else { "inbound" }.into())),
        ("from_addr", email.from.as_ref().map(|from| from.address.clone())),
        ("to_addrs", Some(array_of_texts(&email.to))),
        ("cc_addrs", Some(array_of_texts(&email.cc))),
        ("subject", email.subject.clone()),
        ("snippet", email.text.as_deref().map(first_words)),
        ("body_text", email.text.clone()),
        ("body_html", email.html.clone()),
        ("sent_at", times.sent_ms.map(iso_ms)),
        ("received_at", times.received_ms.map(iso_ms)),
        ("custom", Some(Value::Object(custom).to_string())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_lies_ahead_is_not_believed() {
        let check =
            |sent_ms: i64, received_ms: Option<i64>, is_outbound: bool, expected: (Option<i64>, Option<i64>)| {
                let email = InboundEmail { sent_ms: Some(sent_ms), received_ms, ..InboundEmail::default() };
                let times = times(&email, is_outbound, MAX_AHEAD_MS);
                assert_eq!((times.sent_ms, times.received_ms), expected);
            };
        let now = MAX_AHEAD_MS;
        check(5, None, false, (Some(5), Some(5)));
        check(5, Some(7), false, (Some(5), Some(7)));
        check(3 * now, None, false, (None, Some(now)));
        check(now + 1, Some(3 * now), false, (Some(now + 1), Some(now)));
        check(5, Some(7), true, (Some(5), None));
        check(3 * now, None, true, (Some(now), None));
    }
}
