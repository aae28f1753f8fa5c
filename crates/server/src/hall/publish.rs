//! Publishes committed changes as events: numbers them, and queues them for those who listen. What is queued first and numbered
//! afterwards is queued once: an endpoint takes each event once by its id, which follows from the change. A crash between the
//! two repeats the first step and loses nothing.

use ring::digest::{Context, SHA256};

use crm::dialect;
use crm::model::event::{Event, EventSource, chooses};
use crm::model::fault::Fault;
use crm::model::id;
use crm::plan::events::Change;

use crate::app::App;
use crate::clock::iso_ms;
use crate::store::cell::TenantDatabase;
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
    // Without listeners, only what this snapshot sees is published for nobody: somebody may subscribe right now.
    let now = tenant.snapshot().await?;
    let oldest = app.store.control.listeners(holder).await?.into_iter().next();
    let since = oldest.map_or(now, |listener| listener.since_text);
    let unpublished = tenant.unpublished(secret.expose(), &since, most).await?;
    if unpublished.changes.is_empty() {
        let more = unpublished.more;
        unpublished.publish(tenant, secret.expose()).await?;
        return Ok(more);
    }
    // Read again: whoever has subscribed before these changes were committed gets them.
    let listeners = app.store.control.listeners(holder).await?;
    queue(app, &place.database, &unpublished.changes, &listeners, source).await?;
    let more = unpublished.changes.len() == most;
    unpublished.publish(tenant, secret.expose()).await?;
    Ok(more)
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
    Ok(change.events(|number| {
        let mut hash = Context::new(&SHA256);
        hash.update(format!("{database} {} {number}", change.seq).as_bytes());
        let mut tail = [0; 10];
        tail.copy_from_slice(&hash.finish().as_ref()[..10]);
        id::make("evt", at.as_millisecond().unsigned_abs(), tail)
    }))
}
