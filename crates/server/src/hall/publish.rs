//! Publishes committed changes as events: numbers them, and queues them for those who listen. What is queued first and numbered
//! afterwards is queued once: an endpoint takes each event once by its id, which follows from the change. A crash between the
//! two repeats the first step and loses nothing.

use ring::digest::{Context, SHA256};

use crm::dialect;
use crm::model::event::{Event, EventSource, chooses};
use crm::model::fault::Fault;
use crm::model::id;
use crm::plan::automation::{MAX_DEPTH, context_of};
use crm::plan::events::Change;

use crate::app::App;
use crate::clock::iso_ms;
use crate::store::cell::TenantDatabase;
use crate::store::control::automations::{NewRun, Rule};
use crate::store::control::deliveries::NewDelivery;
use crate::store::control::listeners::Listener;
use crate::store::control::webhooks::Holder;
use crate::store::tenant::{Access, Tenant};

/// The most changes that are published in one transaction.
const MOST: usize = 200;

/// Publishes all changes of a database that are committed by now.
pub async fn publish(app: &App, place: &TenantDatabase, source: EventSource<'_>) -> Result<(), Fault> {
    let tenant = app.store.tenant(place, Access::Full).await?;
    let mut most = MOST;
    loop {
        match publish_some(app, &tenant, place, source, most).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // The rows are large together. One alone is never too large, because the log shows large ones in part.
            Err(Fault::ResultTooLarge { .. }) if most > 1 => most /= 2,
            Err(fault) => return Err(fault),
        }
    }
}

/// Publishes some changes. Returns whether there may be more.
async fn publish_some(
    app: &App,
    tenant: &Tenant<'_>,
    place: &TenantDatabase,
    source: EventSource<'_>,
    most: usize,
) -> Result<bool, Fault> {
    let holder = Holder { workspace_id: source.workspace_id, mode: source.mode };
    let secret = app.store.secret_of(place);
    let since = match oldest(app, holder).await? {
        Some(since) => since,
        None => {
            // Only what this snapshot sees is published for nobody: somebody may subscribe right now.
            let now = tenant.snapshot().await?;
            oldest(app, holder).await?.unwrap_or(now)
        }
    };
    let mut unpublished = tenant.unpublished(secret.expose(), &since, most).await?;
    if unpublished.changes.is_empty() {
        let more = unpublished.more;
        if !more {
            // Other processes look at the same databases, and would each keep a connection to all of them.
            unpublished.close_at_end();
        }
        unpublished.publish(tenant, secret.expose()).await?;
        return Ok(more);
    }
    // Read again: whoever has subscribed before these changes were committed gets them.
    let listeners = app.store.control.listeners(holder).await?;
    queue(app, &place.database, &unpublished.changes, &listeners, source).await?;
    let rules = app.store.control.rules(holder).await?;
    queue_runs(app, &place.database, &unpublished.changes, &rules, source).await?;
    let more = unpublished.changes.len() == most;
    unpublished.publish(tenant, secret.expose()).await?;
    Ok(more)
}

/// The oldest snapshot of all that listen. A later one sees all that an older one sees.
async fn oldest(app: &App, holder: Holder<'_>) -> Result<Option<String>, Fault> {
    let listener = app.store.control.listeners(holder).await?.into_iter().next().map(|it| (it.since, it.since_text));
    let rule = app.store.control.rules(holder).await?.into_iter().next().map(|it| (it.since, it.since_text));
    let older = listener.into_iter().chain(rule).min_by_key(|(since, _)| since.order());
    Ok(older.map(|(_, text)| text))
}

/// Queues the runs of automations that changes fire. Undoing fires none.
async fn queue_runs(
    app: &App,
    database: &str,
    changes: &[Change],
    rules: &[Rule],
    source: EventSource<'_>,
) -> Result<(), Fault> {
    let mut queued: Vec<(&Rule, Event, i64, Option<String>)> = Vec::new();
    for change in changes.iter().filter(|change| change.undo_of.is_none()) {
        let news: Vec<&Rule> = rules.iter().filter(|rule| !rule.since.sees(change.xid)).collect();
        if news.is_empty() {
            continue;
        }
        // The writes of a run are one deeper than its event.
        let cause = match &change.request_id {
            Some(request) if change.actor.starts_with("automation:") => {
                app.store.control.run_of_request(request).await?
            }
            _ => None,
        };
        let depth = cause.as_ref().map_or(0, |(_, depth)| depth + 1);
        if depth >= MAX_DEPTH {
            continue;
        }
        let caused_by = cause.map(|(run, _)| run).or_else(|| change.request_id.clone());
        for event in events_of(database, change)? {
            let chosen = news.iter().filter(|rule| chooses(&rule.trigger_event, &event.event_type));
            queued.extend(chosen.map(|rule| (*rule, event.clone(), depth, caused_by.clone())));
        }
    }
    if queued.is_empty() {
        return Ok(());
    }
    let runs: Vec<NewRun<'_>> = queued
        .iter()
        .map(|(rule, event, depth, caused_by)| {
            let dialect = dialect::by_name(&rule.dialect).ok_or_else(|| Fault::internal("an unknown dialect"))?;
            Ok(NewRun {
                id: app.clock.id("run"),
                automation_id: &rule.id,
                event_id: &event.id,
                event_type: &event.event_type,
                event: (dialect.show_event)(event, source),
                context: serde_json::to_value(context_of(event)).map_err(Fault::internal)?,
                depth: *depth,
                caused_by: caused_by.as_deref(),
                request_id: app.clock.id("req"),
            })
        })
        .collect::<Result<_, Fault>>()?;
    let mut transaction = app.store.control.begin().await?;
    transaction.queue_runs(&runs, &iso_ms(app.clock.unix_ms())).await?;
    transaction.commit().await?;
    app.wakes.runs.notify_one();
    Ok(())
}

/// Queues the events of changes for their listeners.
async fn queue(
    app: &App,
    database: &str,
    changes: &[Change],
    listeners: &[Listener],
    source: EventSource<'_>,
) -> Result<(), Fault> {
    let mut queued: Vec<(&Listener, &Change, Event)> = Vec::new();
    for change in changes {
        let news: Vec<&Listener> = listeners.iter().filter(|listener| !listener.since.sees(change.xid)).collect();
        if news.is_empty() {
            continue;
        }
        for event in events_of(database, change)? {
            let chosen = |listener: &&&Listener| listener.events.iter().any(|it| chooses(it, &event.event_type));
            queued.extend(news.iter().filter(chosen).map(|listener| (*listener, change, event.clone())));
        }
    }
    if queued.is_empty() {
        return Ok(());
    }
    let subjects: Vec<String> = queued.iter().map(|(_, change, _)| change.subject()).collect();
    let bodies: Vec<String> = queued
        .iter()
        .map(|(listener, _, event)| {
            let dialect = dialect::by_name(&listener.dialect).ok_or_else(|| Fault::internal("an unknown dialect"))?;
            Ok((dialect.show_event)(event, source).to_string())
        })
        .collect::<Result<_, Fault>>()?;
    let deliveries: Vec<NewDelivery<'_>> = queued
        .iter()
        .zip(subjects.iter().zip(&bodies))
        .map(|((listener, _, event), (subject, body))| NewDelivery {
            id: app.clock.id("whd"),
            endpoint_id: &listener.id,
            event_id: &event.id,
            event_type: &event.event_type,
            subject,
            body,
        })
        .collect();
    let mut transaction = app.store.control.begin().await?;
    transaction.queue_deliveries(&deliveries, &iso_ms(app.clock.unix_ms())).await?;
    transaction.commit().await?;
    metrics::counter!("kith_events_queued_total").increment(deliveries.len() as u64);
    app.wakes.deliveries.notify_one();
    Ok(())
}

/// The events of a change. Their ids follow from the database and the change.
pub(super) fn events_of(database: &str, change: &Change) -> Result<Vec<Event>, Fault> {
    let at: jiff::Timestamp = change.at.parse().map_err(|error| Fault::internal(format!("{}: {error}", change.at)))?;
    let at = at.as_millisecond().unsigned_abs();
    Ok(change.events(|number| event_id(database, &change.seq.to_string(), at, number)))
}

/// The id of an event of a change. `at` is the time of the change, Unix milliseconds.
pub(super) fn event_id(database: &str, seq: &str, at: u64, number: usize) -> String {
    let mut hash = Context::new(&SHA256);
    hash.update(format!("{database} {seq} {number}").as_bytes());
    let mut tail = [0; 10];
    tail.copy_from_slice(&hash.finish().as_ref()[..10]);
    id::make("evt", at, tail)
}
