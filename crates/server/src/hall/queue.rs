//! Queues the events of changes for webhooks and automations, slice by slice: many listeners of large rows are more than the memory
//! or a statement holds.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use serde_json::value::{RawValue, to_raw_value};

use crm::dialect;
use crm::model::event::{Event, EventSource, chooses};
use crm::model::fault::Fault;
use crm::plan::automation::{MAX_DEPTH, context_of};
use crm::plan::events::Change;

use crate::app::App;
use crate::clock::iso_ms;
use crate::hall::event::events_of;
use crate::store::control::automations::NewRun;
use crate::store::control::deliveries::NewDelivery;
use crate::store::control::listeners::{Listener, Rule};
use crate::store::control::transaction::ControlTransaction;

/// The bytes that are queued by one statement. The last one may be beyond.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// What an entry takes besides its event.
const ENTRY_BYTES: usize = 500;
/// The longest subject in bytes that is stored as it is. PostgreSQL can't index long ones.
const LONGEST_SUBJECT: usize = 200;

/// What is queued by the next statement.
struct Slice<T> {
    items: Vec<T>,
    bytes: usize,
}

impl<T> Slice<T> {
    fn new() -> Slice<T> {
        Slice { items: Vec::new(), bytes: 0 }
    }

    /// Adds an item. Returns the items if they are enough for a statement.
    fn add(&mut self, item: T, bytes: usize) -> Option<Vec<T>> {
        self.items.push(item);
        self.bytes += bytes + ENTRY_BYTES;
        (self.bytes >= MOST_BYTES).then(|| {
            self.bytes = 0;
            std::mem::take(&mut self.items)
        })
    }
}

/// An event in the dialects of those who get it, each written once.
struct Written<'a> {
    event: &'a Event,
    source: EventSource<'a>,
    bodies: Vec<(&'a str, Arc<RawValue>)>,
}

impl<'a> Written<'a> {
    fn new(event: &'a Event, source: EventSource<'a>) -> Written<'a> {
        Written { event, source, bodies: Vec::new() }
    }

    fn in_dialect(&mut self, name: &'a str) -> Result<Arc<RawValue>, Fault> {
        if let Some((_, body)) = self.bodies.iter().find(|(of, _)| *of == name) {
            return Ok(body.clone());
        }
        let dialect = dialect::by_name(name).ok_or_else(|| Fault::internal("an unknown dialect"))?;
        let body = to_raw_value(&(dialect.show_event)(self.event, self.source)).map_err(Fault::internal)?;
        let body: Arc<RawValue> = body.into();
        self.bodies.push((name, body.clone()));
        Ok(body)
    }
}

struct Delivery<'a> {
    listener: &'a Listener,
    event_id: String,
    event_type: String,
    subject: Arc<str>,
    body: Arc<RawValue>,
}

/// Queues the events of changes for their listeners.
pub async fn queue_deliveries(
    app: &App,
    database: &str,
    changes: &[Change],
    listeners: &[Listener],
    source: EventSource<'_>,
) -> Result<(), Fault> {
    let (mut transaction, mut slice, mut queued) = (None, Slice::new(), 0);
    for change in changes {
        let news: Vec<&Listener> = listeners.iter().filter(|listener| !listener.since.sees(change.xid)).collect();
        if news.is_empty() {
            continue;
        }
        let subject: Arc<str> = subject_of(change).into();
        for event in events_of(database, change)? {
            let mut written = Written::new(&event, source);
            let chosen = |listener: &&&Listener| listener.events.iter().any(|it| chooses(it, &event.event_type));
            for listener in news.iter().filter(chosen) {
                let body = written.in_dialect(&listener.dialect)?;
                let (bytes, subject) = (body.get().len(), subject.clone());
                let (event_id, event_type) = (event.id.clone(), event.event_type.clone());
                queued += 1;
                if let Some(full) = slice.add(Delivery { listener, event_id, event_type, subject, body }, bytes) {
                    send_deliveries(app, &mut transaction, &full).await?;
                }
            }
        }
    }
    send_deliveries(app, &mut transaction, &slice.items).await?;
    if let Some(transaction) = transaction {
        transaction.commit().await?;
        metrics::counter!("kith_events_queued_total").increment(queued);
        app.wakes.deliveries.notify_one();
    }
    Ok(())
}

async fn send_deliveries<'a>(
    app: &'a App,
    transaction: &mut Option<ControlTransaction<'a>>,
    deliveries: &[Delivery<'_>],
) -> Result<(), Fault> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let new: Vec<NewDelivery<'_>> = deliveries
        .iter()
        .map(|it| NewDelivery {
            id: app.clock.id("whd"),
            endpoint_id: &it.listener.id,
            event_id: &it.event_id,
            event_type: &it.event_type,
            subject: &it.subject,
            body: it.body.get(),
        })
        .collect();
    let transaction = begun(app, transaction).await?;
    transaction.queue_deliveries(&new, &iso_ms(app.clock.unix_ms())).await
}

struct Run<'a> {
    rule: &'a Rule,
    event_id: String,
    event_type: String,
    event: Arc<RawValue>,
    context: Arc<RawValue>,
    depth: i64,
    caused_by: Option<String>,
}

/// Queues the runs of automations that changes fire. Undoing fires none.
pub async fn queue_runs(
    app: &App,
    database: &str,
    changes: &[Change],
    rules: &[Rule],
    source: EventSource<'_>,
) -> Result<(), Fault> {
    let (mut transaction, mut slice) = (None, Slice::new());
    for change in changes.iter().filter(|change| change.undo_of.is_none()) {
        let news: Vec<&Rule> = rules.iter().filter(|rule| !rule.since.sees(change.xid)).collect();
        if news.is_empty() {
            continue;
        }
        let Some((depth, caused_by)) = cause_of(app, change).await? else { continue };
        for event in events_of(database, change)? {
            let mut written = Written::new(&event, source);
            let context: Arc<RawValue> = to_raw_value(&context_of(&event)).map_err(Fault::internal)?.into();
            for rule in news.iter().filter(|rule| chooses(&rule.trigger_event, &event.event_type)) {
                let run = Run {
                    rule,
                    event_id: event.id.clone(),
                    event_type: event.event_type.clone(),
                    event: written.in_dialect(&rule.dialect)?,
                    context: context.clone(),
                    depth,
                    caused_by: caused_by.clone(),
                };
                let bytes = run.event.get().len() + run.context.get().len();
                if let Some(full) = slice.add(run, bytes) {
                    send_runs(app, &mut transaction, &full).await?;
                }
            }
        }
    }
    send_runs(app, &mut transaction, &slice.items).await?;
    if let Some(transaction) = transaction {
        transaction.commit().await?;
        app.wakes.runs.notify_one();
    }
    Ok(())
}

/// The depth of a change's events, and the run or request that caused them. Nothing if they fire no automation.
async fn cause_of(app: &App, change: &Change) -> Result<Option<(i64, Option<String>)>, Fault> {
    if !change.actor.starts_with("automation:") {
        return Ok(Some((0, change.request_id.clone())));
    }
    let Some(request) = &change.request_id else { return Ok(None) };
    // The writes of a run are one deeper than its event. A run that is gone, because its automation was deleted, may have been the deepest.
    let run = app.store.control.run_of_request(request).await?;
    Ok(run.map(|(run, depth)| (depth + 1, Some(run))).filter(|(depth, _)| *depth < MAX_DEPTH))
}

async fn send_runs<'a>(
    app: &'a App,
    transaction: &mut Option<ControlTransaction<'a>>,
    runs: &[Run<'_>],
) -> Result<(), Fault> {
    if runs.is_empty() {
        return Ok(());
    }
    let new: Vec<NewRun<'_>> = runs
        .iter()
        .map(|it| NewRun {
            id: app.clock.id("run"),
            automation_id: &it.rule.id,
            event_id: &it.event_id,
            event_type: &it.event_type,
            event: &it.event,
            context: &it.context,
            depth: it.depth,
            caused_by: it.caused_by.as_deref(),
            request_id: app.clock.id("req"),
        })
        .collect();
    let transaction = begun(app, transaction).await?;
    transaction.queue_runs(&new, &iso_ms(app.clock.unix_ms())).await
}

/// The transaction, opened if there is none.
async fn begun<'a, 't>(
    app: &'a App,
    transaction: &'t mut Option<ControlTransaction<'a>>,
) -> Result<&'t mut ControlTransaction<'a>, Fault> {
    if transaction.is_none() {
        *transaction = Some(app.store.control.begin().await?);
    }
    transaction.as_mut().ok_or_else(|| Fault::internal("no transaction was opened"))
}

/// The record that a change is about. A long one is its hash, which no other subject looks like: they have a space.
fn subject_of(change: &Change) -> String {
    let subject = change.subject();
    if subject.len() <= LONGEST_SUBJECT { subject } else { hex::encode(digest(&SHA256, subject.as_bytes())) }
}
