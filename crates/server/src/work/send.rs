//! Sends the queued e-mails of workspaces: those that their providers could not take at once, those of batches, and those that a
//! crash has left.

use std::time::{Duration, Instant};

use crm::model::fault::Fault;

use crate::app::App;
use crate::clock::iso_ms;
use crate::hall::mail;
use crate::hall::outgoing::LEASE_SECONDS;
use crate::work::shares::Shares;
use crate::work::{Failed, Worker};

/// The most e-mails that a process sends at once, slow ones not counted, and of a workspace.
const PLACES: usize = 32;
const PLACES_OF_WORKSPACE: usize = 2;
/// How often ended e-mails are swept, in runs of the worker.
const SWEEP_EVERY: u64 = 1000;
/// For so many days it is known which e-mails have left, or as long as changes can be undone.
const KEPT_DAYS: u32 = 90;
const SECONDS_A_DAY: i64 = 86_400;

/// Sends queued e-mails.
#[derive(Default)]
pub struct SendEmails {
    runs: u64,
}

impl Worker for SendEmails {
    const NAME: &'static str = "send";

    fn every(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn woken(&self, app: &App) {
        app.wakes.emails.notified().await;
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        if self.runs.is_multiple_of(SWEEP_EVERY) {
            let days = i64::from(app.undo_days.max(KEPT_DAYS));
            app.store.control.sweep_emails(app.clock.unix_seconds() - days * SECONDS_A_DAY).await?;
        }
        self.runs += 1;
        send_due(app).await.map_err(Failed::from)
    }
}

/// Sends all e-mails that are due, and those that become due meanwhile.
pub async fn send_due(app: &App) -> Result<(), Fault> {
    let mut shares = Shares::new(PLACES, PLACES_OF_WORKSPACE);
    loop {
        let mut failed = Ok(());
        while shares.has_room(Instant::now()) {
            let (taken_by, now) = (app.clock.id("try"), iso_ms(app.clock.unix_ms()));
            let taken = match app
                .store
                .control
                .take_email(&taken_by, &now, LEASE_SECONDS, &shares.full(Instant::now()))
                .await
            {
                Ok(Some(taken)) => taken,
                Ok(None) => break,
                // What is being sent goes on.
                Err(fault) => {
                    failed = Err(fault);
                    break;
                }
            };
            let app = app.clone();
            shares.begin(taken.workspace_id.clone(), Instant::now(), async move {
                let id = taken.id.clone();
                if let Err(fault) = mail::work(&app, taken).await {
                    let fault = fault.in_log();
                    tracing::error!(fault, id, "an e-mail could not be sent or recorded; it is tried again");
                }
            });
        }
        if !shares.next(&app.wakes.emails).await {
            return failed;
        }
    }
}
