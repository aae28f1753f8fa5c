//! Publishes committed changes as events: numbers them, and queues them for those who listen. What is queued first and numbered
//! afterwards is queued once: an endpoint takes each event once by its id, which follows from the change. A crash between the
//! two repeats the first step and loses nothing.
//!
//! Queues are bounded, because all workspaces share the control database. What is published while the queue of one that listens is
//! full stays in the log of its own workspace, and is queued for it once there is room.

use std::future::Future;
use std::time::Instant;

use crm::model::event::EventSource;
use crm::model::fault::Fault;
use crm::plan::events::{Change, Snapshot};

use crate::app::App;
use crate::clock::iso_ms;
use crate::hall::queue::{queue_deliveries, queue_runs};
use crate::store::cell::TenantDatabase;
use crate::store::control::listeners::{Hearer, QueueState};
use crate::store::control::webhooks::Holder;
use crate::store::tenant::{Access, Tenant};

/// The most changes that are published in one transaction.
const MOST: usize = 200;
/// The most bytes that are queued for all who listen in one transaction, unless they are of one change. The workspace's session waits
/// meanwhile, and PostgreSQL ends one that waits for a minute.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// How often publishing one change is tried before its row is left out.
const TRIES: u32 = 3;
/// Why something is switched off that is behind the beginning of the log.
const TOO_FAR_BEHIND: &str = "Its queue was full for so long that the change log no longer has what it has missed.";

/// The changes to publish in one transaction.
#[derive(Clone, Copy)]
struct Portion {
    /// The most changes.
    most: usize,
    /// Whether the events leave the row out.
    is_bare: bool,
}

/// When publishing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishUntil {
    /// All is published.
    Done,
    /// This moment has come.
    Time(Instant),
}

/// How publishing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishEnd {
    /// All is done.
    Done,
    /// There is more to do.
    More,
}

/// A database whose changes are published.
#[derive(Clone, Copy)]
struct Publisher<'a> {
    app: &'a App,
    tenant: &'a Tenant<'a>,
    place: &'a TenantDatabase,
    source: EventSource<'a>,
}

/// Publishes the changes of a database that are committed by now.
pub async fn publish(
    app: &App,
    place: &TenantDatabase,
    source: EventSource<'_>,
    until: PublishUntil,
) -> Result<PublishEnd, Fault> {
    let tenant = app.store.tenant(place, Access::Full).await?;
    let published = Publisher { app, tenant: &tenant, place, source };
    in_portions(source, until, |portion| published.publish_some(portion)).await
}

/// Queues what is published for those whose queues were full, as far as there is room now.
pub async fn catch_up(
    app: &App,
    place: &TenantDatabase,
    source: EventSource<'_>,
    until: PublishUntil,
) -> Result<PublishEnd, Fault> {
    let holder = Holder { workspace_id: source.workspace_id, mode: source.mode };
    if !app.store.control.is_anybody_behind(holder).await? {
        return Ok(PublishEnd::Done);
    }
    let tenant = app.store.tenant(place, Access::Full).await?;
    let published = Publisher { app, tenant: &tenant, place, source };
    in_portions(source, until, |portion| published.catch_up_some(portion)).await
}

/// Repeats a step with portions of changes. If some cannot be queued, it tries fewer and fewer. One that fails alone is queued without
/// its row, so that what a row holds can't stop a workspace's events.
async fn in_portions<S: Future<Output = Result<Option<usize>, Fault>>>(
    source: EventSource<'_>,
    until: PublishUntil,
    step: impl Fn(Portion) -> S,
) -> Result<PublishEnd, Fault> {
    let (mut most, mut failures) = (MOST, 0);
    loop {
        let portion = Portion { most, is_bare: failures >= TRIES };
        match step(portion).await {
            Ok(None) => return Ok(PublishEnd::Done),
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
                if matches!(until, PublishUntil::Time(end) if Instant::now() >= end) {
                    return Ok(PublishEnd::More);
                }
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

impl<'a> Publisher<'a> {
    fn holder(&self) -> Holder<'a> {
        Holder { workspace_id: self.source.workspace_id, mode: self.source.mode }
    }

    /// Publishes some changes. Returns their number, or nothing if there are no more.
    async fn publish_some(self, portion: Portion) -> Result<Option<usize>, Fault> {
        let Publisher { app, tenant, place, source } = self;
        let (holder, control) = (self.holder(), &app.store.control);
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
        let (mut listeners, mut rules) = (control.listeners(holder).await?, control.rules(holder).await?);
        // Whose queue is full gets these events later, from the log. What it has is published up to here.
        let full = listeners.iter().map(|it| (Hearer::Webhook, &it.id, it.queue));
        let full = full.chain(rules.iter().map(|it| (Hearer::Automation, &it.id, it.queue)));
        let full: Vec<_> = full.filter(|(_, _, queue)| queue.is_full && queue.behind_at.is_none()).collect();
        if !full.is_empty() {
            let position = unpublished.position(tenant, secret.expose()).await?;
            for (hearer, id, _) in full {
                let now = iso_ms(app.clock.unix_ms());
                control.note_progress((hearer, id), None, Some(position), &now).await?;
                metrics::counter!("kith_queues_full_total").increment(1);
                tracing::info!(id, "a queue is full; later events wait in the log");
            }
        }
        listeners.retain(|it| it.queue.is_open());
        rules.retain(|it| it.queue.is_open());
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

    /// Queues some published changes for one of those that are behind and have room. Returns their number, or nothing if there is
    /// nobody.
    async fn catch_up_some(self, portion: Portion) -> Result<Option<usize>, Fault> {
        let Publisher { app, tenant, place, source } = self;
        let (holder, control) = (self.holder(), &app.store.control);
        let waits = |queue: QueueState| queue.behind_at.filter(|_| !queue.is_full);
        let listeners = control.listeners(holder).await?;
        let rules = control.rules(holder).await?;
        let listener = listeners.iter().find_map(|it| Some((waits(it.queue)?, std::slice::from_ref(it), &[][..])));
        let rule = rules.iter().find_map(|it| Some((waits(it.queue)?, &[][..], std::slice::from_ref(it))));
        let Some((behind_at, listeners, rules)) = listener.or(rule) else { return Ok(None) };
        let who = match (listeners, rules) {
            ([listener], _) => (Hearer::Webhook, &*listener.id),
            (_, rules) => (Hearer::Automation, rules.first().map_or("", |it| it.id.as_str())),
        };
        let secret = app.store.secret_of(place);
        // Nothing is published meanwhile, so that whoever reaches the end has all.
        let mut logged = tenant.logged(secret.expose(), behind_at, portion.most).await?;
        let is_whole = match logged.changes.first() {
            Some(first) => first.position == Some(behind_at + 1),
            None => logged.position <= behind_at,
        };
        if !is_whole {
            logged.close().await?;
            self.give_up(who).await?;
            return Ok(Some(portion.most));
        }
        let fitting = fitting(&logged.changes, 1);
        logged.changes.truncate(fitting);
        if portion.is_bare {
            logged.changes.iter_mut().for_each(Change::forget_row);
        }
        queue_deliveries(app, &place.database, &logged.changes, listeners, source).await?;
        queue_runs(app, &place.database, &logged.changes, rules, source).await?;
        let reached = logged.changes.last().and_then(|it| it.position).unwrap_or(behind_at);
        let after = Some(reached).filter(|reached| *reached < logged.position);
        control.note_progress(who, Some(behind_at), after, &iso_ms(app.clock.unix_ms())).await?;
        let queued = logged.changes.len();
        logged.close().await?;
        Ok(Some(queued))
    }

    /// Switches off what is so far behind that the log has no longer what it has missed.
    async fn give_up(&self, (hearer, id): (Hearer, &str)) -> Result<(), Fault> {
        let (control, now, mail) =
            (&self.app.store.control, iso_ms(self.app.clock.unix_ms()), self.app.clock.id("mail"));
        let disabled = match hearer {
            Hearer::Webhook => control.disable_webhook(id, TOO_FAR_BEHIND, &now, &mail).await?,
            Hearer::Automation => control.disable_automation(id, TOO_FAR_BEHIND, &now, &mail).await?,
        };
        if disabled {
            tracing::warn!(id, "switched off what was too far behind the log");
            self.app.accounts.mail_queued.notify_one();
        }
        Ok(())
    }
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
    let texts = app.store.control.snapshots(holder).await?.into_iter();
    let parsed = texts.map(|text| Some((Snapshot::parse(&text)?.order(), text))).collect::<Option<Vec<_>>>();
    let parsed = parsed.ok_or_else(|| Fault::internal("a snapshot that is none"))?;
    Ok(parsed.into_iter().min().map(|(_, text)| text))
}
