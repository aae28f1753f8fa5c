//! Reads the mailboxes that workspaces have connected. A mailbox is read up to its end; if the server tells when messages come, the process waits for
//! that for a while, otherwise it looks again after a minute.
//!
//! A message is recorded first, and then the position moves on. After a crash between the two it is fetched again, and its Message-ID says that
//! it is there.

use std::time::Duration;

use tokio::task::JoinSet;

use crm::model::fault::Fault;
use crm::model::inbound::InboundEmail;
use crm::plan::mailbox::imap_day;

use crate::app::App;
use crate::clock::{iso_ms, random};
use crate::hall::inbound::{InboundSource, bring, opened_mailbox_password};
use crate::providers::{ImapError, ImapFolder};
use crate::store::control::mailboxes::{MailboxOutcome, MailboxPosition, TakenMailbox};
use crate::work::{Failed, Worker};

/// The most mailboxes that a process reads at once.
const PLACES: usize = 64;
/// After this time without a sign another process may take a mailbox. No step takes so long.
const LEASE_SECONDS: u64 = 150;
/// How long a server is asked to tell of messages at a time, and how often in a row. Then others have their turn.
const WAIT: Duration = Duration::from_secs(45);
const WAITS: u32 = 10;
/// The time between two looks at a mailbox whose server does not tell.
const LOOK_EVERY_MS: i64 = 60_000;
/// The first wait after a failure, and the longest.
const FIRST_BACKOFF_MS: i64 = 15_000;
const LONGEST_BACKOFF_MS: i64 = 60 * 60 * 1000;
/// How often a message is tried that the workspace refuses for a reason that may pass, and one at which Kith itself fails. Then it is skipped.
const TRIES: u32 = 3;
const TRIES_AT_FAULTS: u32 = 10;
/// The name of a mailbox in the feed.
const AGENT: &str = "mailbox";
const DAY_MS: i64 = 24 * 3600 * 1000;

/// Reads mailboxes.
#[derive(Default)]
pub struct ReadMailboxes {
    running: JoinSet<String>,
    workspaces: Vec<String>,
}

impl Worker for ReadMailboxes {
    const NAME: &'static str = "mailboxes";

    fn every(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn woken(&self, app: &App) {
        app.wakes.mailboxes.notified().await;
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        while let Some(ended) = self.running.try_join_next() {
            match ended {
                Ok(workspace_id) => self.workspaces.retain(|it| *it != workspace_id),
                Err(error) => tracing::error!(%error, "reading a mailbox panicked; it is read again after its lease"),
            }
        }
        if self.running.is_empty() {
            self.workspaces.clear();
        }
        while self.running.len() < PLACES {
            let (taken_by, now) = (app.clock.id("try"), iso_ms(app.clock.unix_ms()));
            let taken = app.store.control.take_mailbox(&taken_by, &now, LEASE_SECONDS, &self.workspaces).await?;
            let Some(taken) = taken else { break };
            let (app, workspace_id) = (app.clone(), taken.workspace_id.clone());
            self.workspaces.push(workspace_id.clone());
            self.running.spawn(async move {
                if let Err(fault) = attend(&app, taken).await {
                    tracing::error!(
                        fault = fault.in_log(),
                        workspace_id,
                        "a mailbox could not be noted; it is read again"
                    );
                }
                workspace_id
            });
        }
        Ok(())
    }
}

/// Why reading has stopped.
enum Stopped {
    /// The mailbox was disconnected, or another process has it.
    Lost,
    /// The server can't be used now.
    Failed(String),
}

impl From<ImapError> for Stopped {
    fn from(error: ImapError) -> Stopped {
        Stopped::Failed(error.words())
    }
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Stopped {
        if let Fault::WorkspaceReadOnly = fault {
            return Stopped::Failed(format!("The messages wait in the mailbox. {}", fault.message()));
        }
        tracing::warn!(fault = fault.in_log(), "a message of a mailbox could not be recorded; it is tried again");
        Stopped::Failed("Kith could not record a message; it is tried again.".into())
    }
}

/// Reads a mailbox that was taken, until it is others' turn, and notes how that has ended.
async fn attend(app: &App, mut taken: TakenMailbox) -> Result<(), Fault> {
    let read = read(app, &mut taken).await;
    let outcome = match &read {
        Ok(_) => "read",
        Err(Stopped::Lost) => "lost",
        Err(Stopped::Failed(_)) => "failed",
    };
    metrics::counter!("kith_mailbox_reads_total", "outcome" => outcome).increment(1);
    let now_ms = app.clock.unix_ms();
    let (error, note, wait_ms) = match &read {
        Ok(note) => (None, note.as_deref(), LOOK_EVERY_MS),
        Err(Stopped::Lost) => return Ok(()),
        Err(Stopped::Failed(words)) => {
            (Some(words.as_str()), None, backoff_ms(taken.failures, u64::from_be_bytes(random())))
        }
    };
    let outcome = MailboxOutcome { error, note, now: &iso_ms(now_ms), next_at: &iso_ms(now_ms + wait_ms) };
    app.store.control.end_mailbox(&taken, &outcome).await
}

/// The wait after so many failures before this one: it doubles, and is a random part of its second half.
fn backoff_ms(failures: u32, random: u64) -> i64 {
    let longest = (FIRST_BACKOFF_MS << failures.min(12)).min(LONGEST_BACKOFF_MS);
    longest / 2 + (random % (longest as u64 / 2 + 1)) as i64
}

/// Reads a mailbox up to its end, and what comes while the server tells. Returns what became of messages that could not be recorded.
async fn read(app: &App, taken: &mut TakenMailbox) -> Result<Option<String>, Stopped> {
    let password = opened_mailbox_password(app, &taken.workspace_id, &taken.password).map_err(|_| {
        Stopped::Failed("The stored password can't be decrypted: it was encrypted with another KITH_SECRET_KEY.".into())
    })?;
    taken.settings.password = password;
    let mut folder = app.providers.open_mailbox(&taken.settings).await?;
    if folder.uid_validity != taken.position.uid_validity {
        // The server has numbered its messages anew. Those of the last days come again, and are known by their Message-IDs.
        let since = imap_day(&taken.last_checked_at).and_then(|_| days_before(&taken.last_checked_at, 2));
        let last_uid = folder.position(since.as_deref()).await?;
        move_to(app, taken, MailboxPosition { uid_validity: folder.uid_validity, last_uid }, 0).await?;
    }
    let (watch, mut note) = (app.wakes.watch_mailbox(&taken.workspace_id), None);
    for waits in 0.. {
        if let Some(refused) = catch_up(app, taken, &mut folder).await? {
            note = Some(refused);
        }
        let now = iso_ms(app.clock.unix_ms());
        app.store.control.note_mailbox_read(taken, note.as_deref(), &now).await?;
        if waits == WAITS || !folder.can_idle() {
            break;
        }
        let changed = watch.notified();
        keep(app, taken).await?;
        folder = tokio::select! {
            waited = folder.wait(WAIT) => waited?,
            () = changed => return Err(Stopped::Lost),
        };
        keep(app, taken).await?;
    }
    folder.close().await;
    Ok(note)
}

/// Records the messages after the position. Returns why the workspace has refused one.
async fn catch_up(app: &App, taken: &mut TakenMailbox, folder: &mut ImapFolder) -> Result<Option<String>, Stopped> {
    let mut note = None;
    for uid in folder.after(taken.position.last_uid).await? {
        keep(app, taken).await?;
        let mut received = 0;
        // A message that is gone in the meantime was not for Kith.
        if let Some(message) = folder.fetch(uid).await? {
            let email = InboundEmail::parse(&message.raw);
            let email = InboundEmail { received_ms: message.received_ms.or(email.received_ms), ..email };
            let request_id = app.clock.id("req");
            let source = InboundSource {
                workspace_id: &taken.workspace_id,
                actor: &taken.actor,
                agent: AGENT,
                request_id: &request_id,
            };
            match bring(app, source, email).await {
                Ok(Some(brought)) => received = u32::from(brought.is_new),
                Ok(None) => return Err(Stopped::Lost),
                Err(fault) => {
                    let Some(most) = most_tries(&fault) else { return Err(fault.into()) };
                    let message = fault.message();
                    // Those behind it have to come in.
                    if most > 1 && tries_of(app, taken, uid).await? < most {
                        tracing::info!(
                            workspace_id = taken.workspace_id,
                            uid,
                            fault = fault.in_log(),
                            "a message is tried again"
                        );
                        let words = format!("The workspace refused message {uid}, which is tried again: {message}");
                        return Err(Stopped::Failed(words));
                    }
                    tracing::info!(
                        workspace_id = taken.workspace_id,
                        uid,
                        fault = fault.in_log(),
                        "a message was refused"
                    );
                    note = Some(format!("The workspace refused message {uid}, which is skipped: {message}"));
                }
            }
        }
        move_to(app, taken, MailboxPosition { last_uid: uid, ..taken.position }, received).await?;
    }
    Ok(note)
}

/// How often a message is tried that ends with this fault; `None` if the fault says nothing about the message.
fn most_tries(fault: &Fault) -> Option<u32> {
    match fault.status() {
        400 | 409 | 413 | 422 => Some(1),
        // Nothing can be recorded until the workspace is claimed or its plan is changed.
        401 | 402 | 429 => None,
        403 if matches!(fault, Fault::WorkspaceReadOnly) => None,
        400..500 => Some(TRIES),
        500 => Some(TRIES_AT_FAULTS),
        _ => None,
    }
}

/// Counts a try of a message that failed, and returns how often it has failed.
async fn tries_of(app: &App, taken: &TakenMailbox, uid: u32) -> Result<u32, Stopped> {
    app.store.control.count_mailbox_try(taken, uid).await?.ok_or(Stopped::Lost)
}

async fn keep(app: &App, taken: &TakenMailbox) -> Result<(), Stopped> {
    let now = iso_ms(app.clock.unix_ms());
    match app.store.control.keep_mailbox(taken, &now, LEASE_SECONDS).await? {
        true => Ok(()),
        false => Err(Stopped::Lost),
    }
}

async fn move_to(app: &App, taken: &mut TakenMailbox, position: MailboxPosition, received: u32) -> Result<(), Stopped> {
    taken.position = position;
    match app.store.control.move_mailbox(taken, position, received).await? {
        true => Ok(()),
        false => Err(Stopped::Lost),
    }
}

/// The day so many days before a time, as IMAP writes it.
fn days_before(iso: &str, days: i64) -> Option<String> {
    let at_ms = crm::model::inbound::time_ms(&format!("{}T00:00:00Z", iso.get(..10)?))?;
    imap_day(&iso_ms(at_ms - days * DAY_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_after_failures_grows_up_to_an_hour() {
        assert_eq!(backoff_ms(0, 0), FIRST_BACKOFF_MS / 2);
        assert_eq!(backoff_ms(1, 0), FIRST_BACKOFF_MS);
        assert!((0..100).all(|failures| backoff_ms(failures, u64::MAX) <= LONGEST_BACKOFF_MS));
        assert!(backoff_ms(100, 0) >= LONGEST_BACKOFF_MS / 2);
    }

    #[test]
    fn a_message_is_skipped_only_for_what_concerns_it() {
        let check = |fault: Fault, expected: Option<u32>| assert_eq!(most_tries(&fault), expected, "{}", fault.code());
        check(Fault::invalid("x"), Some(1));
        check(Fault::Forbidden { message: "x".into() }, Some(TRIES));
        check(Fault::internal("x"), Some(TRIES_AT_FAULTS));
        check(Fault::WorkspaceReadOnly, None);
        check(Fault::Unauthorized { message: "x".into() }, None);
        check(Fault::Unavailable { message: "x".into(), retry_after: 1 }, None);
    }

    #[test]
    fn a_day_goes_back_over_months() {
        assert_eq!(days_before("2026-03-01T10:00:00", 2).as_deref(), Some("27-Feb-2026"));
        assert_eq!(days_before("junk", 2), None);
    }
}
