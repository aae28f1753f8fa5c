//! Runs automations whose event has fired. Each action is an ask by the automation, with a member's rights, through the hall. The
//! reply to each action is stored with its work, so that a run that is repeated after a crash does nothing twice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crm::dialect::{Reply, stored_id};
use crm::model::answer::Answer;
use crm::model::ask::{Ask, Steps};
use crm::model::fault::Fault;
use crm::model::who::{Mode, Provenance};
use crm::plan::automation::{Context, meets};

use crate::access::{self, Caller};
use crate::app::App;
use crate::clock::iso_ms;
use crate::hall::action::ask_of;
use crate::hall::{self, Controls, Idempotency, Performed};
use crate::store::control::automations::{RunOutcome, RunWork, TakenRun};
use crate::work::insist::insist;
use crate::work::shares::Shares;
use crate::work::{Failed, Worker};

/// The most runs of a process at once, slow ones not counted, and of a workspace.
const PLACES: usize = 16;
const PLACES_OF_WORKSPACE: usize = 2;
/// After this time without a new action another process may take a run over. No action takes so long.
const LEASE_SECONDS: u64 = 60;
/// The most attempts of a run whose workspace can't be reached.
const ATTEMPTS: u32 = 6;
/// The most times that a run is begun. Each process that ends in the middle of one uses one up.
const MOST_TAKEN: u32 = 10;
/// The wait before a run is tried again, in milliseconds, times the square of its attempts.
const WAIT_MS: i64 = 2000;

/// Runs automations.
pub struct Automate;

impl Worker for Automate {
    const NAME: &'static str = "automate";

    fn every(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn woken(&self, app: &App) {
        app.wakes.runs.notified().await;
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        run_due(app).await.map_err(Failed::from)
    }
}

/// Makes all runs that are due, and those that become due meanwhile.
async fn run_due(app: &App) -> Result<(), Fault> {
    let mut shares = Shares::new(PLACES, PLACES_OF_WORKSPACE);
    loop {
        let mut failed = Ok(());
        while shares.has_room(Instant::now()) {
            let taken = match take(app, &shares).await {
                Ok(Some(taken)) => taken,
                Ok(None) => break,
                // What is running goes on.
                Err(fault) => {
                    failed = Err(fault);
                    break;
                }
            };
            let app = app.clone();
            shares.begin(taken.workspace_id.clone(), Instant::now(), async move {
                if let Err(fault) = run(&app, taken).await {
                    let fault = fault.in_log();
                    tracing::error!(fault, "the outcome of an automation's run could not be recorded; it is repeated");
                }
            });
        }
        if !shares.next(&app.wakes.runs).await {
            return failed;
        }
    }
}

/// Takes a run that is due. If the answer is lost, it is let go.
async fn take(app: &App, shares: &Shares) -> Result<Option<TakenRun>, Fault> {
    let (control, taken_by, now) = (&app.store.control, app.clock.id("try"), iso_ms(app.clock.unix_ms()));
    let taken = control.take_run(&taken_by, &now, LEASE_SECONDS, &shares.full(Instant::now())).await;
    if taken.is_err() {
        insist(|| control.free_runs(Some(&taken_by), &now)).await?;
    }
    taken
}

/// Why an action has no result yet.
enum Unfinished {
    /// It failed for good.
    Failed(String),
    /// It may succeed later.
    Later(String),
}

/// How a run has gone.
struct Gone {
    status: &'static str,
    outcomes: Vec<Value>,
    error: Option<String>,
}

impl Gone {
    fn failed(outcomes: Vec<Value>, why: String) -> Gone {
        Gone { status: "error", outcomes, error: Some(why) }
    }
}

async fn run(app: &App, taken: TakenRun) -> Result<(), Fault> {
    let started = Instant::now();
    let gone = match &taken.work {
        _ if taken.attempts > MOST_TAKEN => {
            Gone::failed(Vec::new(), format!("It was begun {MOST_TAKEN} times, and no attempt came to an end."))
        }
        Err(why) => Gone::failed(Vec::new(), why.clone()),
        Ok(work) if !meets(&work.conditions, &work.event, stored_id) => {
            Gone { status: "skipped", outcomes: Vec::new(), error: None }
        }
        Ok(work) => match act_in_order(app, &taken, work).await? {
            Some(gone) => gone,
            None => return Ok(()),
        },
    };
    let Gone { status, outcomes, error } = gone;
    if !outcomes.is_empty() {
        finish(app, &taken, error.is_none()).await;
    }
    metrics::counter!("kith_automation_runs_total", "status" => status).increment(1);
    let outcome =
        RunOutcome { status, actions: outcomes.into(), error, duration_ms: started.elapsed().as_millis() as u64 };
    let now = iso_ms(app.clock.unix_ms());
    let mail_id = app.clock.id("mail");
    if insist(|| app.store.control.end_run(&taken, &outcome, &now, &mail_id)).await? {
        tracing::info!(automation_id = taken.automation_id, "switched an automation off");
        app.accounts.mail_queued.notify_one();
        // If this fails, the next sweep ends them.
        app.store.control.end_stopped_runs(&now).await?;
    }
    Ok(())
}

/// Performs the actions, up to the first that fails. Returns nothing if the run goes on later or elsewhere.
async fn act_in_order(app: &App, taken: &TakenRun, work: &RunWork) -> Result<Option<Gone>, Fault> {
    let mut outcomes = Vec::new();
    for (number, action) in work.actions.iter().enumerate() {
        let now = iso_ms(app.clock.unix_ms());
        if number > 0 && !insist(|| app.store.control.keep_run(taken, &now, LEASE_SECONDS)).await? {
            return Ok(None);
        }
        let kind = action["type"].clone();
        match act(app, taken, number, (action, &work.context)).await {
            Ok(said) => {
                let mut outcome = json!({"type": kind, "status": "success", "id": said["id"]});
                if let Some(status) = said.get("email_status") {
                    outcome["email_status"] = status.clone();
                }
                outcomes.push(outcome);
            }
            Err(Unfinished::Later(why)) if taken.attempts < ATTEMPTS => {
                let wait_ms = WAIT_MS * i64::from(taken.attempts) * i64::from(taken.attempts);
                let at = iso_ms(app.clock.unix_ms() + wait_ms);
                insist(|| app.store.control.put_off_run(taken, &why, &at)).await?;
                return Ok(None);
            }
            Err(Unfinished::Failed(why) | Unfinished::Later(why)) => {
                outcomes.push(json!({"type": kind, "status": "error", "error": why}));
                return Ok(Some(Gone::failed(outcomes, format!("actions[{number}]: {why}"))));
            }
        }
    }
    Ok(Some(Gone { status: "success", outcomes, error: None }))
}

/// Performs one action. Returns the id of the record that it wrote, and the status of an e-mail.
async fn act(
    app: &App,
    taken: &TakenRun,
    number: usize,
    (action, context): (&Value, &Value),
) -> Result<Value, Unfinished> {
    let context: Context = serde_json::from_value(context.clone()).map_err(|it| Unfinished::Failed(it.to_string()))?;
    let caller = caller_of(app, taken).await?;
    let ask = ask_of(app, &caller, action, &context).await.map_err(|fault| unfinished(&fault))?;
    let key = format!("{} {number}", taken.id);
    let body = action.to_string();
    let idempotency = Idempotency::new(&key, [taken.id.as_str()], body.as_bytes(), &render);
    let controls =
        Controls { idempotency: Some(idempotency.map_err(|fault| unfinished(&fault))?), ..Controls::default() };
    let reply = match hall::perform(app, &caller, &ask, &controls).await {
        Ok(Performed::Stored(reply) | Performed::Replayed(reply)) => reply,
        Ok(Performed::Done(answer, _)) => render(&Ok(answer)),
        Err(fault) => return Err(unfinished(&fault)),
    };
    let said: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    match reply.status {
        200..300 => Ok(said),
        _ => Err(Unfinished::Failed(said["error"].as_str().unwrap_or_default().to_owned())),
    }
}

async fn caller_of(app: &App, taken: &TakenRun) -> Result<Caller, Unfinished> {
    let mode = Mode::parse(&taken.mode).ok_or_else(|| Unfinished::Failed("an unknown mode".into()))?;
    let (agent, run_id) = (Some(taken.name.as_bytes()), Some(taken.id.as_bytes()));
    let mut provenance = Provenance::new(&taken.request_id, agent, run_id, None);
    provenance.caused_by.clone_from(&taken.caused_by);
    let admitted = access::admit_automation(app, &taken.automation_id, &taken.workspace_id, mode, provenance).await;
    admitted.map_err(|refused| unfinished(&refused.fault))
}

/// Ends the run in the workspace's list of runs, where what it wrote can be undone. One that wrote nothing is not in it.
async fn finish(app: &App, taken: &TakenRun, is_complete: bool) {
    let Ok(caller) = caller_of(app, taken).await else { return };
    let ask = Ask::Steps(Steps::FinishRun { run: taken.id.clone(), is_complete, summary: None });
    match hall::perform(app, &caller, &ask, &Controls::default()).await {
        Ok(_) => {}
        // It is not in the list, or an earlier attempt has ended it.
        Err(fault) if matches!(fault.status(), 404 | 409) => {}
        Err(fault) => {
            tracing::warn!(fault = fault.in_log(), run_id = taken.id, "an automation's run could not be ended")
        }
    }
}

fn unfinished(fault: &Fault) -> Unfinished {
    match (fault, fault.status()) {
        // Another attempt is at the same action: the one of a process that was slow, or whose connection outlived it.
        (Fault::IdempotencyInProgress, _) | (_, 429 | 500..) => Unfinished::Later(fault.message()),
        _ => Unfinished::Failed(fault.message()),
    }
}

/// What is stored about an action: the id of the record, or the words of the refusal.
fn render(result: &Result<Answer, Fault>) -> Reply {
    let (status, said) = match result {
        Ok(Answer::Record { record, .. }) => (200, json!({"id": record.row.string(0, "id")})),
        Ok(Answer::Email { record, status }) => {
            (200, json!({"id": record.row.string(0, "id"), "email_status": status.name()}))
        }
        Ok(_) => (200, json!({})),
        Err(fault) => (fault.status(), json!({"error": fault.message()})),
    };
    Reply { status, headers: Vec::new(), body: said.to_string().into_bytes() }
}
