//! Sends the queued e-mails of workspaces: those that their providers could not take at once, those of batches, and those that a
//! crash has left.
//!
//! A workspace has few places, so that one with a slow provider delays no other one.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinSet;

use crm::model::fault::Fault;

use crate::app::App;
use crate::clock::iso_ms;
use crate::hall::mail;
use crate::hall::outgoing::LEASE_SECONDS;
use crate::work::{Failed, Worker};

/// The most e-mails that a process sends at once, and of a workspace.
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
    let (mut sending, mut places): (JoinSet<String>, HashMap<String, usize>) = (JoinSet::new(), HashMap::new());
    loop {
        while sending.len() < PLACES {
            let full = |(id, count): (&String, &usize)| (*count >= PLACES_OF_WORKSPACE).then(|| id.clone());
            let busy: Vec<String> = places.iter().filter_map(full).collect();
            let (taken_by, now) = (app.clock.id("try"), iso_ms(app.clock.unix_ms()));
            let taken = app.store.control.take_email(&taken_by, &now, LEASE_SECONDS, &busy).await?;
            let Some(taken) = taken else { break };
            let (app, workspace_id) = (app.clone(), taken.workspace_id.clone());
            *places.entry(workspace_id.clone()).or_default() += 1;
            sending.spawn(async move {
                let id = taken.id.clone();
                if let Err(fault) = mail::work(&app, taken).await {
                    tracing::error!(
                        fault = fault.in_log(),
                        id,
                        "an e-mail could not be sent or recorded; it is tried again"
                    );
                }
                workspace_id
            });
        }
        let ended = tokio::select! {
            ended = sending.join_next() => ended,
            () = app.wakes.emails.notified(), if !sending.is_empty() => continue,
        };
        match ended {
            None => return Ok(()),
            Some(Ok(workspace_id)) => {
                if let Some(count) = places.get_mut(&workspace_id) {
                    *count -= 1;
                }
                places.retain(|_, count| *count > 0);
            }
            // Its place stays taken until nothing is being sent.
            Some(Err(error)) => tracing::error!(%error, "the sending of an e-mail panicked"),
        }
    }
}
