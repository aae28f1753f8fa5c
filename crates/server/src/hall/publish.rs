//! Publishes committed changes as events: numbers them, and queues them for those who listen. What is queued first and numbered
//! afterwards is queued once: an endpoint takes each event once by its id, which follows from the change. A crash between the
//! two repeats the first step and loses nothing.

use crm::model::event::EventSource;
use crm::model::fault::Fault;
use crm::plan::events::Change;

use crate::app::App;
use crate::hall::queue::{queue_deliveries, queue_runs};
use crate::store::cell::TenantDatabase;
use crate::store::control::webhooks::Holder;
use crate::store::tenant::{Access, Tenant};

/// The most changes that are published in one transaction.
const MOST: usize = 200;
/// The most bytes that are queued for all who listen in one transaction, unless they are of one change. The workspace's session waits
/// meanwhile, and PostgreSQL ends one that waits for a minute.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// How often publishing one change is tried before its row is left out.
const TRIES: u32 = 3;

/// The changes to publish in one transaction.
#[derive(Clone, Copy)]
struct Portion {
    /// The most changes.
    most: usize,
    /// Whether the events leave the row out.
    is_bare: bool,
}

/// Publishes all changes of a database that are committed by now. If some cannot be published, it tries fewer and fewer. One that
/// fails alone is published without its row, so that what a row holds can't stop a workspace's events.
pub async fn publish(app: &App, place: &TenantDatabase, source: EventSource<'_>) -> Result<(), Fault> {
    let tenant = app.store.tenant(place, Access::Full).await?;
    let (mut most, mut failures) = (MOST, 0);
    loop {
        let portion = Portion { most, is_bare: failures >= TRIES };
        match publish_some(app, &tenant, place, source, portion).await {
            Ok(None) => return Ok(()),
            Ok(Some(published)) => {
                if portion.is_bare {
                    metrics::counter!("kith_changes_without_row_total").increment(1);
                    tracing::error!(
                        workspace_id = source.workspace_id,
                        "the events of a change leave its row out, because they could not be queued with it"
                    );
                }
                // Next time about as much as has worked, or more.
                (most, failures) = ((2 * published).clamp(1, MOST), 0);
            }
            Err(fault @ (Fault::Unavailable { .. } | Fault::GaveWay { .. })) => return Err(fault),
            Err(_) if most > 1 => most /= 2,
            // It may be the time that is short, or nothing can be queued at all.
            Err(fault @ Fault::StatementTimeout { .. }) => return Err(fault),
            Err(fault) if portion.is_bare => return Err(fault),
            Err(fault) => {
                tracing::warn!(
                    fault = fault.in_log(),
                    workspace_id = source.workspace_id,
                    "a change was not published"
                );
                failures += 1;
            }
        }
    }
}

/// Publishes some changes. Returns their number, or nothing if there are no more.
async fn publish_some(
    app: &App,
    tenant: &Tenant<'_>,
    place: &TenantDatabase,
    source: EventSource<'_>,
    portion: Portion,
) -> Result<Option<usize>, Fault> {
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
    let mut unpublished = tenant.unpublished(secret.expose(), &since, portion.most).await?;
    if unpublished.changes.is_empty() {
        let more = unpublished.more;
        if !more {
            // Other processes look at the same databases, and would each keep a connection to all of them.
            unpublished.close_at_end();
        }
        unpublished.publish(tenant, secret.expose()).await?;
        return Ok(more.then_some(portion.most));
    }
    // Read again: whoever has subscribed before these changes were committed gets them.
    let listeners = app.store.control.listeners(holder).await?;
    let rules = app.store.control.rules(holder).await?;
    unpublished.keep(fitting(&unpublished.changes, listeners.len() + rules.len()));
    if portion.is_bare {
        unpublished.changes.iter_mut().for_each(Change::forget_row);
    }
    queue_deliveries(app, &place.database, &unpublished.changes, &listeners, source).await?;
    queue_runs(app, &place.database, &unpublished.changes, &rules, source).await?;
    let published = unpublished.more.then_some(unpublished.changes.len());
    unpublished.publish(tenant, secret.expose()).await?;
    Ok(published)
}

/// How many of these changes are queued together.
fn fitting(changes: &[Change], hearers: usize) -> usize {
    let mut left = MOST_BYTES;
    let fits = |change: &&Change| match left.checked_sub(change.bytes * hearers) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    changes.iter().take_while(fits).count().max(1)
}

/// The oldest snapshot of all that listen. A later one sees all that an older one sees.
async fn oldest(app: &App, holder: Holder<'_>) -> Result<Option<String>, Fault> {
    let listeners = app.store.control.listeners(holder).await?.into_iter().map(|it| (it.since, it.since_text));
    let rules = app.store.control.rules(holder).await?.into_iter().map(|it| (it.since, it.since_text));
    Ok(listeners.chain(rules).min_by_key(|(since, _)| since.order()).map(|(_, text)| text))
}
