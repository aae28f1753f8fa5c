//! E-mail that is sent. Its order is what makes it safe:
//!
//! 1. The message is put into the queue (`store/control/outgoing.rs`), due only later.
//! 2. The transaction that records it as `queued` is committed. A rollback leaves a row in the queue whose record never comes.
//! 3. It is sent, under its id as idempotency key, and the outcome is noted in the queue.
//! 4. The outcome is recorded, together with the reply to the request's Idempotency-Key.
//! 5. If the provider sets the Message-ID and did not tell it yet, it is asked for it later (`message_ids.rs`).
//!
//! After a crash the queue goes on where the work ended. Between 3 and its note it may send again, and only a provider without
//! idempotency keys (a mail server) then sends twice.

use std::sync::Arc;

use crm::dialect::Reply;
use crm::model::answer::{Answer, Record};
use crm::model::ask::{Ask, EMAILS};
use crm::model::email::{EmailMessage, EmailStatus, Mailbox};
use crm::model::entity::by_table;
use crm::model::fault::Fault;
use crm::model::id::is_id;
use crm::model::rows::Rows;
use crm::model::value::array_of_texts;
use crm::model::who::{Mode, Provenance};
use crm::plan::email as fields;
use crm::sql::{self, Sql};
use serde_json::{Map, Value, json};

use crate::access::{self, Caller};
use crate::app::App;
use crate::clock::iso_ms;
use crate::hall::committed::{Changed, Committed};
use crate::hall::execution::{Execution, Reserved};
use crate::hall::message_ids::{self, is_message_id};
use crate::hall::outgoing::{
    OutgoingEmail, SendAttempt, Taken, account, attempt, attempt_now, failed, not_configured, note, opened_settings,
};
use crate::hall::snippet::snippet;
use crate::hall::{Controls, Effect, Idempotency, Performed, answer_alone, store_refusal};
use crate::providers::Mail;
use crate::store::control::outgoing::{EmailOutcome, TakenEmail};
use crate::store::fault::RunError;

/// A transaction that has not committed after so many seconds never will.
const UNRECORDED_SECONDS: i64 = 120;

/// What is known once the e-mail is recorded and before it is sent.
struct RecordedEmail {
    result: Result<Answer, Fault>,
    reply: Option<Reply>,
    committed: Committed,
}

impl RecordedEmail {
    /// The record, before it is known what becomes of the e-mail.
    fn row(&self) -> Option<&Rows> {
        match &self.result {
            Ok(Answer::Email { record, .. }) => Some(&record.row),
            _ => None,
        }
    }

    fn performed(self) -> Result<Performed, Fault> {
        match self.reply {
            Some(reply) => Ok(Performed::Stored(reply)),
            None => Ok(Performed::Done(self.result?, self.committed)),
        }
    }
}

/// Performs an ask to send one e-mail: records it, sends it at once, and answers with what became of it.
pub(super) async fn perform(
    app: &App,
    caller: &Caller,
    ask: &Ask,
    controls: &Controls<'_>,
) -> Result<Performed, Fault> {
    let idempotency = controls.idempotency.as_ref();
    let refused = async |fault| match idempotency {
        Some(idempotency) => store_refusal(app, caller, fault, idempotency).await,
        None => Err(fault),
    };
    let mut execution = match idempotency {
        Some(idempotency) => match Execution::reserve(app, caller, idempotency, controls.max_affected).await? {
            Reserved::Fresh(execution) => *execution,
            Reserved::Stored(reply) => return Ok(Performed::Replayed(reply)),
        },
        None => Execution::in_one(app, caller, controls.max_affected).await?,
    };
    let result = answer_alone(&mut execution, ask).await;
    if let Err(fault) = result {
        execution.roll_back().await;
        return refused(fault).await;
    }
    let reply = idempotency.map(|idempotency| (idempotency.render)(&result));
    let outgoing = execution.outgoing.first().filter(|it| !it.is_held).cloned();
    let taken_by = execution.attempt.clone();
    let committed = match execution.commit(Some(ask), reply.as_ref()).await {
        Ok(committed) => committed,
        Err(fault) => return refused(fault).await,
    };
    let recorded = RecordedEmail { result, reply, committed };
    let Some(outgoing) = outgoing else { return recorded.performed() };
    let id = outgoing.mail.id.clone();
    match attempt_now(app, caller, outgoing, taken_by, controls.values).await {
        Ok(SendAttempt::Later(None)) => recorded.performed(),
        Ok(SendAttempt::Later(Some(reason))) => match record_delay(app, caller, &id, &reason, idempotency).await {
            Ok(Some(performed)) => Ok(performed),
            // The queue has already gone on with it.
            Ok(None) => recorded.performed(),
            Err(fault) => {
                tracing::warn!(fault = fault.in_log(), id, "it could not be recorded why an e-mail waits");
                recorded.performed()
            }
        },
        Ok(SendAttempt::Over(outcome)) => {
            match record_outcome(app, caller, &id, &outcome, (idempotency, recorded.row())).await {
                Ok(performed) => {
                    end(app, &caller.who.workspace_id, &id, &outcome).await;
                    performed
                }
                Err(fault) => {
                    let fault = fault.in_log();
                    tracing::error!(fault, id, "the outcome of an e-mail could not be recorded; the queue does it");
                    recorded.performed()
                }
            }
        }
        Err(fault) => {
            let fault = fault.in_log();
            tracing::error!(fault, id, "the outcome of an e-mail could not be noted; it is sent again");
            recorded.performed()
        }
    }
}

/// Records an e-mail in the open transaction. It leaves once that is committed.
pub(super) async fn record(execution: &mut Execution<'_>, values: &Map<String, Value>) -> Result<Answer, Fault> {
    let mut message = fields::message(values)?;
    let (app, who) = (execution.app, &execution.caller.who);
    let mut provider = None;
    let status = match who.mode {
        Mode::Test => EmailStatus::Simulated,
        Mode::Live => {
            let sending = app.store.control.sending(&who.workspace_id).await?;
            let integration = sending.integration.ok_or_else(not_configured)?;
            let settings = opened_settings(app, &who.workspace_id, &integration)?;
            message.from.get_or_insert(settings.from_email);
            provider = Some(settings.provider);
            // A dry run shows what becomes of it if the provider accepts it. A batch sends later.
            let is_shown_sent = execution.effect == Effect::DryRun && execution.together.is_none();
            match sending.is_on {
                true if is_shown_sent => EmailStatus::Sent,
                true => EmailStatus::Queued,
                false => EmailStatus::Held,
            }
        }
    };
    let id = app.clock.id(by_table(EMAILS).map_or("e", |entity| entity.prefix));
    let thread_id = threaded(execution, &mut message, &id).await?;
    let mut cells = cells(&message, status);
    cells.push(("id", Some(id.clone())));
    cells.push(("thread_id", Some(thread_id)));
    if let EmailStatus::Simulated | EmailStatus::Sent = status {
        cells.push(("sent_at", Some(iso_ms(app.clock.unix_ms()))));
    }
    if status == EmailStatus::Sent {
        cells.push(("provider", provider.as_ref().map(|it| it.name().to_owned())));
    }
    let rows = run(execution, sql::email::record(&cells)).await?;
    if rows.string(0, "id").as_deref() != Some(&*id) {
        return Err(Fault::ValidationFailed {
            message: "A trigger of the workspace's own left the e-mail's record out, or gave it another id.".into(),
            hint: None,
            field: None,
        });
    }
    if let Some(provider) = provider.filter(|_| execution.effect == Effect::Commit) {
        execution.attempt = app.clock.id("try");
        let (mail, account) = (Arc::new(Mail { id, message }), account(&who.workspace_id, &provider));
        execution.outgoing.push(OutgoingEmail { mail, is_held: status == EmailStatus::Held, account });
    }
    Ok(Answer::Email { record: shown(rows), status })
}

/// The conversation of a message. If it answers a recorded one, both are in the same, and `in_reply_to` becomes a Message-ID.
async fn threaded(execution: &mut Execution<'_>, message: &mut EmailMessage, id: &str) -> Result<String, Fault> {
    let Some(named) = message.in_reply_to.take() else { return Ok(id.to_owned()) };
    let is_record = is_id(&named, "e");
    let statement = if is_record { sql::email::answered(&named) } else { sql::email::answered_by_message_id(&named) };
    let found = run(execution, statement).await?;
    let Some(answered) = found.string(0, "id") else {
        if is_record {
            return Err(Fault::InvalidReference {
                message: format!("There is no live e-mail \"{named}\"."),
                hint: Some("GET /v1/emails lists them.".into()),
                field: "in_reply_to".into(),
            });
        }
        // Its record may come later, and is then in the same conversation.
        message.in_reply_to = Some(named.clone());
        return Ok(named);
    };
    let message_id = found.string(0, "provider_msg_id").filter(|it| is_message_id(it));
    message.in_reply_to = message_id.or((!is_record).then_some(named));
    let thread = conversation(execution, &found, answered.clone()).await?;
    let chain = run(execution, sql::email::chain(&thread, &answered)).await?;
    let mut references: Vec<String> =
        (0..chain.len()).rev().filter_map(|row| chain.string(row, "provider_msg_id")).collect();
    // The first message of the conversation need not be recorded.
    if is_message_id(&thread) && !references.contains(&thread) {
        references.insert(0, thread.clone());
    }
    message.references = references;
    Ok(thread)
}

/// The conversation of a recorded message, of which `found` has the id and names. If it is in none, it begins one.
pub(super) async fn conversation(execution: &mut Execution<'_>, found: &Rows, id: String) -> Result<String, Fault> {
    if let Some(thread) = found.string(0, "thread_id").filter(|thread| !thread.is_empty()) {
        return Ok(thread);
    }
    let thread = found.string(0, "provider_msg_id").unwrap_or_else(|| id.clone());
    run(execution, sql::email::outcome(&id, &[("thread_id", Some(thread.clone()))])).await?;
    Ok(thread)
}

/// The columns of a new record.
fn cells(message: &EmailMessage, status: EmailStatus) -> Vec<sql::email::EmailCell> {
    let addresses =
        |all: &[Mailbox]| Some(array_of_texts(&all.iter().map(|it| it.address.clone()).collect::<Vec<_>>()));
    let mut custom = message.custom.clone();
    let files = message.attachments.iter().map(|file| json!({"filename": file.filename, "content_type": file.content_type, "bytes": file.content.len() / 4 * 3}));
    let listed = |all: &[Mailbox]| Value::from(all.iter().map(ToString::to_string).collect::<Vec<_>>());
    // What has no column of its own.
    let more = [
        ("bcc", !message.bcc.is_empty(), listed(&message.bcc)),
        ("reply_to", !message.reply_to.is_empty(), listed(&message.reply_to)),
        ("attachments", !message.attachments.is_empty(), files.collect()),
    ];
    for (name, is_there, value) in more {
        if is_there && !custom.contains_key(name) {
            custom.insert(name.to_owned(), value);
        }
    }
    vec![
        ("direction", Some("outbound".into())),
        ("status", Some(status.name().into())),
        ("from_addr", message.from.as_ref().map(|from| from.address.clone())),
        ("to_addrs", addresses(&message.to)),
        ("cc_addrs", addresses(&message.cc)),
        ("subject", Some(message.subject.clone())),
        ("snippet", snippet(message)),
        ("body_text", message.text.clone()),
        ("body_html", message.html.clone()),
        ("deal_ids", Some(array_of_texts(&message.deal_ids))),
        ("custom", Some(Value::Object(custom).to_string())),
    ]
}

pub(super) async fn run(execution: &mut Execution<'_>, statement: Sql) -> Result<Rows, Fault> {
    let rows = execution.write(&[statement]).await.map_err(RunError::into_fault)?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

pub(super) fn shown(row: Rows) -> Record {
    let width = row.columns().len();
    Record { entity: by_table(EMAILS), row, width, parts: Vec::new(), related: Vec::new() }
}

/// Records what became of an e-mail, with the reply to its request if that has an Idempotency-Key. The request shows the record as it was before
/// if code of the workspace's own leaves the change out.
async fn record_outcome(
    app: &App,
    caller: &Caller,
    id: &str,
    outcome: &EmailOutcome,
    (idempotency, before): (Option<&Idempotency<'_>>, Option<&Rows>),
) -> Result<Result<Performed, Fault>, Fault> {
    let status = if outcome.is_sent { EmailStatus::Sent } else { EmailStatus::Failed };
    let mut cells: Vec<sql::email::EmailCell> =
        vec![("status", Some(status.name().into())), ("status_reason", outcome.error.clone())];
    if outcome.is_sent {
        cells.push(("provider", outcome.provider.clone()));
        cells.push(("provider_msg_id", outcome.provider_msg_id.clone()));
        cells.push(("sent_at", Some(outcome.at.clone())));
    }
    let mut execution = Execution::in_one(app, caller, None).await?;
    if let Some(idempotency) = idempotency {
        execution = execution.keeping(idempotency);
    }
    let row = match run(&mut execution, sql::email::outcome(id, &cells)).await {
        Ok(row) if row.is_empty() => before.cloned().unwrap_or(row),
        Ok(row) => row,
        Err(fault) => {
            execution.roll_back().await;
            return Err(fault);
        }
    };
    let result = match outcome.is_sent {
        true => Ok(Answer::Email { record: shown(row), status }),
        false => Err(rejected(outcome.error.as_deref().unwrap_or_default(), outcome.provider.is_none())),
    };
    let reply = idempotency.map(|idempotency| (idempotency.render)(&result));
    let changed = Changed::Table(EMAILS.to_owned());
    let committed = execution.commit_changed(changed, reply.as_ref()).await?;
    Ok(match reply {
        Some(reply) => Ok(Performed::Stored(reply)),
        None => result.map(|answer| Performed::Done(answer, committed)),
    })
}

/// Records why an e-mail waits, with the reply to its request if that has an Idempotency-Key. `None` if it does not wait any more.
async fn record_delay(
    app: &App,
    caller: &Caller,
    id: &str,
    reason: &str,
    idempotency: Option<&Idempotency<'_>>,
) -> Result<Option<Performed>, Fault> {
    let mut execution = Execution::in_one(app, caller, None).await?;
    if let Some(idempotency) = idempotency {
        execution = execution.keeping(idempotency);
    }
    let row = match run(&mut execution, sql::email::delayed(id, reason)).await {
        Ok(row) if !row.is_empty() => row,
        other => {
            execution.roll_back().await;
            return other.map(|_| None);
        }
    };
    let result = Ok(Answer::Email { record: shown(row), status: EmailStatus::Queued });
    let reply = idempotency.map(|idempotency| (idempotency.render)(&result));
    let committed = execution.commit_changed(Changed::Table(EMAILS.to_owned()), reply.as_ref()).await?;
    Ok(Some(match reply {
        Some(reply) => Performed::Stored(reply),
        None => Performed::Done(result?, committed),
    }))
}

/// The fault of an e-mail that the provider refuses. It is recorded.
fn rejected(words: &str, is_unconfigured: bool) -> Fault {
    Fault::Refused {
        code: if is_unconfigured { "email_not_configured" } else { "email_rejected" },
        message: words.to_owned(),
        hint: Some("The e-mail is recorded with the status failed.".into()),
    }
}

async fn end(app: &App, workspace_id: &str, id: &str, outcome: &EmailOutcome) {
    let ask_at = message_ids::first_asked_at(app, outcome);
    if let Err(fault) = app.store.control.end_email(workspace_id, id, ask_at.as_deref()).await {
        // The outcome is recorded again.
        tracing::warn!(fault = fault.in_log(), id, "the work on an e-mail could not be ended");
    }
}

/// Works on an e-mail that was taken from the queue: sends it, if it has a record, and records the outcome.
pub async fn work(app: &App, taken: TakenEmail) -> Result<(), Fault> {
    let (workspace_id, id) = (taken.workspace_id.as_str(), taken.id.as_str());
    let place = Taken {
        workspace_id,
        id,
        taken_by: &taken.taken_by,
        attempts: taken.attempts,
        tried_ms: taken.tried_ms,
        account: taken.account.as_deref(),
    };
    let Some(caller) = access::admit_sender(app, workspace_id, &taken.actor, provenance(&taken.provenance)).await?
    else {
        return app.store.control.forget_email(workspace_id, id).await;
    };
    let outcome = match (&taken.outcome, taken.message_bytes) {
        (Some(outcome), _) if taken.is_recorded => return message_ids::ask(app, &caller, place, outcome).await,
        (Some(outcome), _) => outcome.clone(),
        (None, None) => return Err(Fault::internal("an e-mail without message and outcome")),
        (None, Some(bytes)) => match work_unsent(app, &caller, place, (bytes, taken.age_seconds)).await? {
            SendAttempt::Over(outcome) => outcome,
            SendAttempt::Later(None) => return Ok(()),
            SendAttempt::Later(Some(reason)) => {
                let said = record_delay(app, &caller, id, &reason, None).await;
                return match said {
                    Err(Fault::Refused { code: "run_finished", .. }) => {
                        record_delay(app, &without_run(&caller), id, &reason, None).await.map(drop)
                    }
                    said => said.map(drop),
                };
            }
        },
    };
    let mut recorded = record_outcome(app, &caller, id, &outcome, (None, None)).await;
    if let Err(Fault::Refused { code: "run_finished", .. }) = &recorded {
        recorded = record_outcome(app, &without_run(&caller), id, &outcome, (None, None)).await;
    }
    recorded.map(drop)?;
    app.store.control.end_email(workspace_id, id, message_ids::first_asked_at(app, &outcome).as_deref()).await
}

/// The same caller without the run of the request, which has ended in the meantime.
fn without_run(caller: &Caller) -> Caller {
    let provenance = Provenance { run_id: None, ..caller.provenance.clone() };
    Caller { provenance, ..caller.clone() }
}

/// Works on an e-mail that was not sent yet: one of this size, which was queued so many seconds ago.
async fn work_unsent(
    app: &App,
    caller: &Caller,
    place: Taken<'_>,
    (bytes, age_seconds): (usize, i64),
) -> Result<SendAttempt, Fault> {
    match record_of(app, caller, place.id).await? {
        RecordState::Absent if age_seconds < UNRECORDED_SECONDS => {
            place.put_off_unasked(app, 15_000).await?;
            Ok(SendAttempt::Later(None))
        }
        // Its transaction was rolled back, or it was undone.
        RecordState::Absent => {
            app.store.control.forget_email(place.workspace_id, place.id).await?;
            Ok(SendAttempt::Later(None))
        }
        RecordState::Deleted => {
            note(app, place, failed(app, &place.failure("It was deleted before it was sent."))).await
        }
        RecordState::Live => match place.message(app, bytes).await? {
            None => Ok(SendAttempt::Later(None)),
            Some((Ok(mail), _room)) => attempt(app, place, &mail).await,
            Some((Err(_), _room)) => {
                let words = "It can't be decrypted: it was queued with another KITH_SECRET_KEY.";
                note(app, place, failed(app, &place.failure(words))).await
            }
        },
    }
}

/// Whether an e-mail has a record.
enum RecordState {
    Live,
    Deleted,
    Absent,
}

async fn record_of(app: &App, caller: &Caller, id: &str) -> Result<RecordState, Fault> {
    let mut execution = Execution::per_plan(app, caller).await?;
    let rows = execution.read(&[sql::email::state(id)]).await.map_err(RunError::into_fault)?;
    let found = rows.first().and_then(|rows| rows.named(0, "is_deleted"));
    Ok(match found {
        Some(b"true") => RecordState::Deleted,
        Some(_) => RecordState::Live,
        None => RecordState::Absent,
    })
}

/// Where the request of an e-mail came from.
fn provenance(text: &str) -> Provenance {
    let said: Value = serde_json::from_str(text).unwrap_or_default();
    let text = |name: &str| said[name].as_str().map(str::to_owned);
    Provenance {
        agent: text("agent"),
        run_id: text("run_id"),
        reason: text("reason"),
        request_id: text("request_id").unwrap_or_default(),
        caused_by: text("caused_by"),
    }
}

/// The e-mails that an undo can't take back: those whose records it has put back and that have left.
pub(super) async fn left(execution: &mut Execution<'_>, undo: &str) -> Result<Vec<Value>, Fault> {
    let (app, who) = (execution.app, execution.caller.who.clone());
    if who.mode == Mode::Test {
        return Ok(Vec::new());
    }
    let secret = app.store.secret_of(&execution.caller.database);
    let statement = sql::email::undone(secret.expose(), undo);
    let rows = execution.read(&[statement]).await.map_err(RunError::into_fault)?.into_iter().next().unwrap_or_default();
    let ids: Vec<String> = (0..rows.len()).filter_map(|row| rows.string(row, "id")).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let left = app.store.control.emails_that_left(&who.workspace_id, &ids).await?;
    Ok(left.into_iter().map(|id| json!({"effect": "email_sent", "id": id})).collect())
}
