//! The queue of e-mails that leave, as the hall uses it: what is put into it, and one attempt to send. Records are `mail.rs`' affair.

use std::sync::Arc;
use std::time::Duration;

use crm::model::email::Mailbox;
use crm::model::fault::Fault;
use crm::plan::email_settings::{EmailSettings, Provider, SmtpServer};
use ring::digest::{SHA256, digest};

use crate::access::Caller;
use crate::app::App;
use crate::budget::Held;
use crate::clock::{iso_ms, random};
use crate::providers::{Handed, Mail, MailRoom, key_known_ms};
use crate::store::control::integrations::Integration;
use crate::store::control::outgoing::{EmailOutcome, NewOutgoing, PutOff, SentBy};

/// After this time another process may send a taken e-mail. No attempt takes so long.
pub const LEASE_SECONDS: u64 = 90;
/// The most attempts for an e-mail.
const ATTEMPTS: u32 = 8;
/// The longest wait after each attempt, in seconds. The wait is a random part of its second half.
const WAITS_SECONDS: [u64; ATTEMPTS as usize - 1] = [5, 30, 2 * 60, 10 * 60, 30 * 60, 2 * 3600, 8 * 3600];
/// The longest wait that a provider can ask for, in seconds.
const LONGEST_WAIT_SECONDS: u64 = 8 * 3600;
/// An e-mail is not tried again so long before its provider forgets its idempotency key, because an attempt takes a while and clocks differ.
const FORGETS_EARLY_MS: i64 = 3600 * 1000;
/// Why an e-mail is not tried again then.
const UNSURE: &str = "An earlier attempt may have been accepted. It is not repeated after a day, because the provider would send it again.";
/// Why an e-mail is not tried again through another account.
const OTHER_ACCOUNT: &str = "An earlier attempt through another e-mail account may have been accepted. It is not repeated, because this account would send it again.";
/// What is said of a failure after an attempt whose answer was lost.
const MAYBE: &str = "An earlier attempt may have been accepted.";
/// What is said of an e-mail that a provider without idempotency keys has accepted after such an attempt.
const MAYBE_TWICE: &str =
    "An earlier attempt may have been accepted too. Then the message has arrived twice, with the same Message-ID.";
/// How long a large message waits for room to leave: while its request waits, and while it has a place of the queue, which others need.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_IN_QUEUE: Duration = Duration::from_secs(2);
/// How long one waits for room to be put into the queue, which takes no long time.
const PATIENCE_TO_QUEUE: Duration = Duration::from_secs(10);
/// The wait before it is looked for room again, in milliseconds.
const ROOM_WAIT_MS: i64 = 5_000;

/// An e-mail that leaves once the transaction that records it is committed.
#[derive(Clone, Debug)]
pub(super) struct OutgoingEmail {
    /// The message, with the id of its record.
    pub(super) mail: Arc<Mail>,
    /// Whether it waits until the workspace may send again.
    pub(super) is_held: bool,
    /// A hash that names the account through which it is tried first.
    pub(super) account: String,
}

/// The outcome of an attempt.
pub(super) enum SendAttempt {
    /// It is over.
    Over(EmailOutcome),
    /// It is tried again later. If the provider was asked, this says what it has answered, and when the next attempt is.
    Later(Option<String>),
}

/// A taken row of the queue.
#[derive(Clone, Copy)]
pub(super) struct Taken<'a> {
    /// `ws_…`
    pub(super) workspace_id: &'a str,
    /// `e_…`
    pub(super) id: &'a str,
    /// Names the attempt.
    pub(super) taken_by: &'a str,
    /// How often it was tried, this time included.
    pub(super) attempts: u32,
    /// The first attempt before this one that the provider may have accepted, in Unix milliseconds.
    pub(super) tried_ms: Option<i64>,
    /// A hash that names the account through which it was last tried, if that is known.
    pub(super) account: Option<&'a str>,
}

impl<'a> Taken<'a> {
    /// A row that was not tried yet.
    fn new(workspace_id: &'a str, id: &'a str, taken_by: &'a str, account: Option<&'a str>) -> Taken<'a> {
        Taken { workspace_id, id, taken_by, attempts: 0, tried_ms: None, account }
    }
}

impl Taken<'_> {
    fn place(&self) -> (&str, &str, &str) {
        (self.workspace_id, self.id, self.taken_by)
    }

    /// A failure in these words, and that an earlier attempt may have been accepted if that is so.
    pub(super) fn failure(&self, words: &str) -> String {
        match self.tried_ms {
            Some(_) => format!("{words} {MAYBE}"),
            None => words.to_owned(),
        }
    }

    /// Waits for room for a large message of this size. If there is none, the e-mail is put off.
    pub(super) async fn room(&self, app: &App, bytes: usize, patience: Duration) -> Result<Option<MailRoom>, Fault> {
        let room = app.providers.leaving.to_hand(bytes, patience).await;
        if room.is_none() {
            self.put_off_unasked(app, ROOM_WAIT_MS).await?;
        }
        Ok(room)
    }

    /// Puts the e-mail off without an attempt.
    pub(super) async fn put_off_unasked(&self, app: &App, wait_ms: i64) -> Result<(), Fault> {
        let at = iso_ms(app.clock.unix_ms() + wait_ms);
        self.put_off(app, PutOff { why: "", at: &at, tried_ms: self.tried_ms, is_attempt: false }).await
    }

    /// Opens the message of the queue. `None` if it is put off because there is no room for it, or if another attempt has taken over.
    pub(super) async fn message(
        &self,
        app: &App,
        bytes: usize,
    ) -> Result<Option<(Result<Mail, Fault>, MailRoom)>, Fault> {
        let Some(room) = self.room(app, bytes, PATIENCE_IN_QUEUE).await? else { return Ok(None) };
        let Some(sealed) = app.store.control.outgoing_message(self.place()).await? else { return Ok(None) };
        Ok(Some((opened(app, *self, &sealed), room)))
    }

    /// Puts the e-mail off.
    pub(super) async fn put_off(&self, app: &App, put_off: PutOff<'_>) -> Result<(), Fault> {
        app.store.control.put_email_off(self.place(), put_off).await
    }
}

/// A provider's answer.
struct ProviderAnswer {
    handed: Handed,
    /// The provider's name.
    provider: String,
    /// How long it knows an idempotency key, in milliseconds.
    key_known_ms: Option<i64>,
}

/// Sends an e-mail at once. A client that goes away does not end the attempt. `values` is the room of the request's values.
pub(super) async fn attempt_now(
    app: &App,
    caller: &Caller,
    outgoing: OutgoingEmail,
    taken_by: String,
    values: Option<&Held>,
) -> Result<SendAttempt, Fault> {
    let (app, workspace_id) = (app.clone(), caller.who.workspace_id.clone());
    let OutgoingEmail { mail, account, .. } = outgoing;
    let (bytes, id) = (mail.message.bytes(), mail.id.clone());
    let room = {
        let taken = Taken { attempts: 1, ..Taken::new(&workspace_id, &id, &taken_by, Some(&account)) };
        match taken.room(&app, bytes, PATIENCE).await? {
            Some(room) => room,
            None => return Ok(SendAttempt::Later(None)),
        }
    };
    if let Some(values) = values.filter(|_| room.is_counted()) {
        // A slow provider does not keep the room of other requests.
        values.resize(0);
    }
    let sending = tokio::spawn(async move {
        let _room = room;
        attempt(&app, Taken { attempts: 1, ..Taken::new(&workspace_id, &id, &taken_by, Some(&account)) }, &mail).await
    });
    sending.await.map_err(Fault::internal)?
}

/// The fault of a workspace that has no provider.
pub(super) fn not_configured() -> Fault {
    Fault::Refused {
        code: "email_not_configured",
        message: "This workspace has no e-mail provider.".into(),
        hint: Some(
            "Connect one: PUT /v1/integrations/email {\"api_key\": \"re_…\", \"from_email\": \"you@example.com\"}."
                .into(),
        ),
    }
}

/// Opens the settings of an integration.
pub(super) fn opened_settings(
    app: &App,
    workspace_id: &str,
    integration: &Integration,
) -> Result<EmailSettings, Fault> {
    let unusable = |fault: Fault| {
        tracing::error!(fault = fault.in_log(), workspace_id, "the settings of an e-mail integration can't be opened");
        Fault::Refused {
            code: "email_not_configured",
            message: "The stored e-mail settings can't be decrypted: they were encrypted with another KITH_SECRET_KEY."
                .into(),
            hint: Some("Set them again: PUT /v1/integrations/email.".into()),
        }
    };
    let opened =
        app.store.sealer.open(&integration_seal_name(workspace_id), &integration.settings).map_err(unusable)?;
    let provider: Provider = serde_json::from_slice(&opened).map_err(|_| Fault::internal("unknown e-mail settings"))?;
    let from_email =
        Mailbox::parse(&integration.from_email).ok_or_else(|| Fault::internal("a from_email that is none"))?;
    Ok(EmailSettings { provider, from_email, webhook_secret: None })
}

/// The provider of some settings with its secrets, sealed.
pub(super) fn sealed_provider(app: &App, workspace_id: &str, provider: &Provider) -> Result<Vec<u8>, Fault> {
    let text = serde_json::to_vec(provider).map_err(Fault::internal)?;
    Ok(app.store.sealer.seal(&integration_seal_name(workspace_id), &text))
}

/// The secret of a workspace's webhook at its provider, sealed.
pub(super) fn sealed_webhook_secret(app: &App, workspace_id: &str, secret: &str) -> Vec<u8> {
    app.store.sealer.seal(&webhook_seal_name(workspace_id), secret.as_bytes())
}

/// Why no call of a provider's webhook can be verified.
pub(super) const LOST_WEBHOOK_SECRET: &str =
    "The stored webhook_secret can't be decrypted: it was encrypted with another KITH_SECRET_KEY.";

/// Opens a sealed secret of a webhook.
pub(super) fn opened_webhook_secret(app: &App, workspace_id: &str, sealed: &[u8]) -> Result<String, Fault> {
    let opened = app.store.sealer.open(&webhook_seal_name(workspace_id), sealed)?;
    String::from_utf8(opened).map_err(Fault::internal)
}

fn webhook_seal_name(workspace_id: &str) -> String {
    format!("inbound webhook {workspace_id}")
}

fn integration_seal_name(workspace_id: &str) -> String {
    format!("email integration {workspace_id}")
}

/// Puts the e-mails of a transaction into the queue, before it is committed.
pub(super) async fn queue(app: &App, caller: &Caller, outgoing: &[OutgoingEmail], attempt: &str) -> Result<(), Fault> {
    let now_ms = app.clock.unix_ms();
    let (now, due_at) = (iso_ms(now_ms), iso_ms(now_ms + LEASE_SECONDS as i64 * 1000));
    let provenance = caller.provenance.to_json(&[]);
    let by = SentBy { workspace_id: &caller.who.workspace_id, actor: &caller.who.actor, provenance: &provenance };
    for OutgoingEmail { mail, account, .. } in outgoing {
        let room = app.providers.leaving.to_queue(mail.message.bytes(), PATIENCE_TO_QUEUE).await;
        let _room = room.ok_or_else(|| Fault::Unavailable {
            retry_after: 5,
            message: "Other e-mails take all the room that there is for large ones.".into(),
        })?;
        let text = serde_json::to_vec(&**mail).map_err(Fault::internal)?;
        let message = app.store.sealer.seal(&seal_name(by.workspace_id, &mail.id), &text);
        drop(text);
        let new = NewOutgoing { id: &mail.id, message, account };
        app.store.control.queue_email(by, new, (attempt, &now, &due_at)).await?;
    }
    Ok(())
}

/// Makes the e-mails of a committed transaction due, except one that its request sends itself.
pub(super) async fn release(app: &App, caller: &Caller, outgoing: &[OutgoingEmail], is_batch: bool) {
    let waiting = outgoing.iter().filter(|it| is_batch || it.is_held).map(|it| it.mail.id.clone());
    let ids: Vec<String> = waiting.collect();
    if ids.is_empty() {
        return;
    }
    let now = iso_ms(app.clock.unix_ms());
    if let Err(fault) = app.store.control.release_emails(&caller.who.workspace_id, &ids, &now).await {
        tracing::warn!(fault = fault.in_log(), "e-mails leave only after their lease");
    }
    app.wakes.emails.notify_one();
}

fn seal_name(workspace_id: &str, id: &str) -> String {
    format!("email {workspace_id} {id}")
}

/// Makes one attempt, and notes the outcome in the queue.
pub(super) async fn attempt(app: &App, taken: Taken<'_>, mail: &Mail) -> Result<SendAttempt, Fault> {
    let began_ms = app.clock.unix_ms();
    let (provider, handed, key_known_ms) = match hand(app, taken, mail).await {
        Ok(Some(ProviderAnswer { handed, provider, key_known_ms })) => (Some(provider), handed, key_known_ms),
        // Sending was switched off in the meantime. It is due, but not taken until that is lifted.
        Ok(None) => {
            taken.put_off_unasked(app, 0).await?;
            return Ok(SendAttempt::Later(None));
        }
        Err(fault @ Fault::Refused { .. }) => (None, Handed::Refused(taken.failure(&fault.message())), None),
        Err(fault) => return Err(fault),
    };
    let name = match &handed {
        Handed::Accepted { .. } => "accepted",
        Handed::Refused(_) => "refused",
        Handed::Down { .. } => "down",
    };
    metrics::counter!("kith_email_attempts_total", "outcome" => name).increment(1);
    let failed = |words: String| (None, Some(words));
    let (provider_msg_id, error) = match handed {
        Handed::Accepted { message_id } => {
            let is_doubtful = taken.tried_ms.is_some() && key_known_ms.is_none();
            (Some(message_id), is_doubtful.then(|| MAYBE_TWICE.to_owned()))
        }
        Handed::Refused(words) => failed(words),
        Handed::Down { words, retry_after, may_be_accepted } => {
            let tried_ms = taken.tried_ms.or(may_be_accepted.then_some(began_ms));
            match wait_ms(taken.attempts, retry_after, u64::from_be_bytes(random())) {
                Some(wait) => {
                    let at_ms = app.clock.unix_ms() + wait as i64;
                    if is_forgotten(tried_ms, key_known_ms, at_ms) {
                        failed(format!("{words} {UNSURE}"))
                    } else {
                        let at = iso_ms(at_ms);
                        taken.put_off(app, PutOff { why: &words, at: &at, tried_ms, is_attempt: true }).await?;
                        let words = words.trim_end_matches('.');
                        return Ok(SendAttempt::Later(Some(format!("{words}. The next attempt is at {at}."))));
                    }
                }
                None => failed(Taken { tried_ms, ..taken }.failure(&words)),
            }
        }
    };
    let is_sent = provider_msg_id.is_some();
    note(app, taken, EmailOutcome { is_sent, provider, provider_msg_id, error, at: iso_ms(app.clock.unix_ms()) }).await
}

/// Notes an outcome. If another attempt has taken over, that one records it.
pub(super) async fn note(app: &App, taken: Taken<'_>, outcome: EmailOutcome) -> Result<SendAttempt, Fault> {
    let due_at = iso_ms(app.clock.unix_ms() + LEASE_SECONDS as i64 * 1000);
    match app.store.control.note_email(taken.place(), &outcome, &due_at).await? {
        true => Ok(SendAttempt::Over(outcome)),
        false => Ok(SendAttempt::Later(None)),
    }
}

/// Hands a message to the workspace's provider, unless it is too late. Returns `None` if sending is switched off.
async fn hand(app: &App, taken: Taken<'_>, mail: &Mail) -> Result<Option<ProviderAnswer>, Fault> {
    let workspace_id = taken.workspace_id;
    let sending = app.store.control.sending(workspace_id).await?;
    if !sending.is_on {
        return Ok(None);
    }
    let integration = sending.integration.ok_or_else(not_configured)?;
    let settings = opened_settings(app, workspace_id, &integration)?;
    let (name, key_known_ms) = (settings.provider.name().to_owned(), key_known_ms(&settings.provider));
    let refused = |words: &str| {
        Ok(Some(ProviderAnswer { handed: Handed::Refused(words.into()), provider: name.clone(), key_known_ms }))
    };
    if is_forgotten(taken.tried_ms, key_known_ms, app.clock.unix_ms()) {
        return refused(UNSURE);
    }
    let account = account(workspace_id, &settings.provider);
    if let Some(last) = taken.account.filter(|last| *last != account) {
        if taken.tried_ms.is_some() {
            tracing::info!(
                workspace_id,
                id = taken.id,
                last,
                account,
                "an e-mail is not tried through another account"
            );
            return refused(OTHER_ACCOUNT);
        }
        app.store.control.note_email_account(taken.place(), &account).await?;
    }
    let handed = match app.providers.hand(&settings.provider, mail).await {
        // A mail server does not know what it has accepted before.
        Handed::Refused(words) if key_known_ms.is_none() => Handed::Refused(taken.failure(&words)),
        handed => handed,
    };
    let is_own = mail.message.from.as_ref().map(|it| it.address.as_str()) == Some(&settings.from_email.address);
    if is_own && !integration.verified && matches!(handed, Handed::Accepted { .. }) {
        // What the provider accepts, it has verified.
        app.store.control.note_verified(workspace_id, true).await?;
    }
    if let (Provider::Smtp(_), Handed::Down { words, .. }) = (&settings.provider, &handed) {
        tracing::debug!(workspace_id, words, "a mail server is down");
    }
    Ok(Some(ProviderAnswer { handed, provider: name, key_known_ms }))
}

/// A hash that names the account at a provider. Mail that one account may have accepted must not be sent by another one.
pub(super) fn account(workspace_id: &str, provider: &Provider) -> String {
    let named = match provider {
        Provider::Resend { api_key } => format!("resend {api_key}"),
        Provider::Smtp(SmtpServer { host, port, login, .. }) => {
            let user = login.as_ref().map_or("", |(user, _)| user);
            format!("smtp {host} {} {user}", port.unwrap_or_default())
        }
    };
    hex::encode(&digest(&SHA256, format!("{workspace_id} {named}").as_bytes()).as_ref()[..16])
}

/// Whether a provider may have forgotten the idempotency key of an earlier attempt at a time, so that it would send the e-mail again.
fn is_forgotten(tried_ms: Option<i64>, key_known_ms: Option<i64>, at_ms: i64) -> bool {
    tried_ms.zip(key_known_ms).is_some_and(|(tried, known)| at_ms > tried + known - FORGETS_EARLY_MS)
}

/// The wait before the next attempt, in milliseconds; `None` if that was the last.
fn wait_ms(attempts: u32, retry_after: Option<u64>, random: u64) -> Option<u64> {
    let longest = WAITS_SECONDS.get(attempts.saturating_sub(1) as usize)? * 1000;
    let asked = retry_after.unwrap_or_default().min(LONGEST_WAIT_SECONDS) * 1000;
    Some((longest / 2 + random % (longest / 2 + 1)).max(asked))
}

/// The outcome of an e-mail that is not sent for a reason of Kith's own.
pub(super) fn failed(app: &App, words: &str) -> EmailOutcome {
    let at = iso_ms(app.clock.unix_ms());
    EmailOutcome { is_sent: false, provider: None, provider_msg_id: None, error: Some(words.to_owned()), at }
}

/// Opens a sealed message of the queue.
fn opened(app: &App, taken: Taken<'_>, sealed: &[u8]) -> Result<Mail, Fault> {
    let text = app.store.sealer.open(&seal_name(taken.workspace_id, taken.id), sealed)?;
    serde_json::from_slice(&text).map_err(Fault::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_repeated_only_while_the_provider_knows_its_key() {
        const HOUR_MS: i64 = 3600 * 1000;
        let check = |tried: Option<i64>, known: Option<i64>, at: i64, expected: bool| {
            assert_eq!(
                is_forgotten(tried.map(|it| it * HOUR_MS), known, at * HOUR_MS),
                expected,
                "{tried:?} {known:?} {at}"
            );
        };
        let day = Some(24 * HOUR_MS);
        check(Some(1), day, 24, false);
        check(Some(1), day, 25, true);
        check(Some(1), None, 100, false);
        check(None, day, 100, false);
    }

    #[test]
    fn the_waits_are_bounded() {
        let waits = (1..ATTEMPTS).map(|attempts| wait_ms(attempts, Some(u64::MAX), u64::MAX).expect("a wait"));
        assert!(WAITS_SECONDS.iter().sum::<u64>() < 24 * 3600);
        assert!(waits.into_iter().all(|wait| wait <= LONGEST_WAIT_SECONDS * 1000));
        assert_eq!(wait_ms(ATTEMPTS, None, 0), None);
        assert_eq!(wait_ms(1, None, 0), Some(2500));
        assert_eq!(wait_ms(1, Some(60), 0), Some(60_000));
    }
}
