//! Sends the queued e-mails. If an e-mail can't be sent, it is tried again at growing intervals, and dropped after a day.

use std::time::Duration;

use crm::model::fault::Fault;

use crate::app::App;
use crate::clock::Clock;
use crate::mailer::{Email, Mailer, NotSent};
use crate::people::auth::emails;
use crate::store::Store;
use crate::store::control::mail::DueMail;
use crate::work::{Failed, Worker};

/// Seconds before an e-mail is tried for the second time. The interval doubles each time.
const RETRY_SECONDS: i64 = 30;
/// The most attempts for an e-mail. The last one is more than a day after the first.
const ATTEMPTS: i32 = 12;

/// Sends the queued e-mails.
pub struct SendMail;

impl Worker for SendMail {
    const NAME: &'static str = "mail";

    fn every(&self) -> Duration {
        Duration::from_secs(15)
    }

    async fn woken(&self, app: &App) {
        app.accounts.mail_queued.notified().await;
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        send_due(&app.store, &app.clock, &app.mailer).await.map_err(Failed::from)
    }
}

/// Sends the e-mails that are due at this clock's time.
pub async fn send_due(store: &Store, clock: &Clock, mailer: &Mailer) -> Result<(), Fault> {
    while let Some(due) = store.control.take_mail(clock.unix_seconds(), RETRY_SECONDS).await? {
        if let Err(fault) = send(store, clock, mailer, &due).await {
            tracing::error!(
                fault = fault.in_log(),
                kind = due.kind,
                about = due.about,
                "can't send an e-mail; trying again"
            );
        }
    }
    Ok(())
}

async fn send(store: &Store, clock: &Clock, mailer: &Mailer, due: &DueMail) -> Result<(), Fault> {
    let Some(written) = emails::compose(store, clock, due).await? else {
        tracing::error!(kind = due.kind, "this kind of e-mail is not known");
        return store.control.drop_mail(&due.id).await;
    };
    let (kind, about, attempts) = (due.kind.as_str(), due.about.as_str(), due.attempts);
    let (subject, text, link) = (written.subject, written.text.as_str(), written.link.as_str());
    let is_over = match mailer.send(&Email { id: &due.id, kind, about, to: &due.email, subject, text, link }).await {
        Ok(()) => {
            tracing::debug!(kind, about, "e-mail sent");
            true
        }
        Err(NotSent::ForGood(reason)) => {
            tracing::error!(reason, kind, about, "an e-mail was refused");
            true
        }
        Err(NotSent::Yet(reason)) if attempts >= ATTEMPTS => {
            tracing::error!(reason, kind, about, attempts, "gave an e-mail up");
            true
        }
        Err(NotSent::Yet(reason)) => {
            tracing::warn!(reason, kind, about, attempts, "an e-mail could not be sent; trying again");
            false
        }
    };
    if is_over { store.control.drop_mail(&due.id).await } else { Ok(()) }
}
