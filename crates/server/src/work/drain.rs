//! Publishes changes where somebody listens. The request that commits a change wakes this worker. Writes of direct connections
//! and of other processes show in PostgreSQL's statistics. A slow sweep catches the rest.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crm::model::event::EventSource;
use crm::model::fault::Fault;
use crm::model::who::Mode;

use crate::app::App;
use crate::hall::publish::{PublishEnd, PublishUntil, catch_up, publish};
use crate::store::control::listeners::Listened;
use crate::wakes::DataSet;
use crate::work::{Failed, Worker};

/// How often the statistics are read.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the list of workspaces is read, unless this process has changed it.
const LIST_EVERY: Duration = Duration::from_secs(3);
/// How often all of them are published.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// The most workspaces that are published at once, slow ones not counted, and with them.
const AT_ONCE: usize = 8;
const AT_ONCE_WITH_SLOW: usize = 3 * AT_ONCE;
/// How many of those that were slow the last time.
const SLOW_AT_ONCE: usize = AT_ONCE / 2;
/// How long a workspace is published before others have their turn.
const TURN: Duration = Duration::from_secs(1);
/// After this time a workspace is slow.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// Publishes changes.
#[derive(Default)]
pub struct Drain {
    listened: HashMap<DataSet, Listened>,
    /// Rows written in each database at the last look.
    written: HashMap<String, i64>,
    due: Due,
    /// Those that are being published, and since when.
    running: HashMap<DataSet, Instant>,
    /// Those whose last turn was slow or failed.
    slow: HashSet<DataSet>,
    publishing: JoinSet<(DataSet, Result<PublishEnd, Fault>)>,
    listed: Option<Instant>,
    looked: Option<Instant>,
    swept: Option<Instant>,
}

/// Workspaces that are due, in the order in which they became due.
#[derive(Default)]
struct Due {
    order: VecDeque<DataSet>,
    members: HashSet<DataSet>,
}

impl Due {
    fn add(&mut self, set: DataSet) {
        if self.members.insert(set.clone()) {
            self.order.push_back(set);
        }
    }

    /// Takes the first one that may be taken now.
    fn take(&mut self, may: impl Fn(&DataSet) -> bool) -> Option<DataSet> {
        let at = self.order.iter().position(may)?;
        let set = self.order.remove(at)?;
        self.members.remove(&set);
        Some(set)
    }

    fn retain(&mut self, is_kept: impl Fn(&DataSet) -> bool) {
        self.order.retain(|set| is_kept(set));
        self.members.retain(|set| is_kept(set));
    }
}

impl Worker for Drain {
    const NAME: &'static str = "drain";

    fn every(&self) -> Duration {
        LOOK_EVERY
    }

    async fn woken(&self, app: &App) {
        app.wakes.to_publish.notified().await;
    }

    async fn run_once(&mut self, app: &App) -> Result<(), Failed> {
        self.collect();
        let looked = self.look(app).await;
        self.begin(app);
        Ok(looked?)
    }
}

impl Drain {
    /// Finds what is due.
    async fn look(&mut self, app: &App) -> Result<(), Fault> {
        let is_over = |last: Option<Instant>, every| last.is_none_or(|at| at.elapsed() >= every);
        if app.wakes.take_subscribed() || is_over(self.listed, LIST_EVERY) {
            let listened = app.store.control.listened().await?;
            self.listened = listened.into_iter().filter_map(|it| Some((data_set(&it)?, it))).collect();
            // A data set that is new here is published at the next look at the statistics, whatever was committed until now.
            app.wakes.listened(self.listened.keys().cloned());
            self.listed = Some(Instant::now());
            let (webhooks, automations) = app.store.control.count_behind().await?;
            metrics::gauge!("kith_queues_behind", "of" => "webhooks").set(webhooks as f64);
            metrics::gauge!("kith_queues_behind", "of" => "automations").set(automations as f64);
        }
        app.wakes.take_changed().into_iter().for_each(|set| self.due.add(set));
        if is_over(self.looked, LOOK_EVERY) {
            self.look_at_statistics(app).await?;
            for (workspace_id, mode) in app.store.control.behind_with_room().await? {
                if let Some(mode) = Mode::parse(&mode) {
                    self.due.add((workspace_id.into(), mode));
                }
            }
            self.looked = Some(Instant::now());
        }
        if is_over(self.swept, SWEEP_EVERY) {
            self.listened.keys().cloned().for_each(|set| self.due.add(set));
            self.swept = Some(Instant::now());
        }
        self.due.retain(|set| self.listened.contains_key(set));
        self.slow.retain(|set| self.listened.contains_key(set));
        Ok(())
    }

    async fn look_at_statistics(&mut self, app: &App) -> Result<(), Fault> {
        let databases: Vec<String> = self.listened.values().map(|it| it.place.database.to_string()).collect();
        if databases.is_empty() {
            self.written.clear();
            return Ok(());
        }
        let written: HashMap<String, i64> = app.store.control.rows_written(&databases).await?.into_iter().collect();
        for (set, listened) in &self.listened {
            let database = &*listened.place.database;
            // A workspace that is new in the list may have been written before this look.
            if self.written.get(database) != written.get(database) {
                self.due.add(set.clone());
            }
        }
        self.written = written;
        Ok(())
    }

    /// Begins to publish what is due.
    fn begin(&mut self, app: &App) {
        while let Some(set) = self.next_due(Instant::now()) {
            let Some(listened) = self.listened.get(&set).cloned() else { continue };
            self.running.insert(set.clone(), Instant::now());
            let app = app.clone();
            self.publishing.spawn(async move {
                let published = publish_in_turn(&app, &listened).await;
                if published.is_ok() {
                    app.wakes.to_publish.notify_one();
                }
                (set, published)
            });
        }
    }

    /// The next one to publish, if there is a place. What is being published now may have begun before the last commit. It is published
    /// again afterwards.
    fn next_due(&mut self, now: Instant) -> Option<DataSet> {
        let quick = self.running.values().filter(|began| now.duration_since(**began) < SLOW_AFTER).count();
        if quick >= AT_ONCE || self.running.len() >= AT_ONCE_WITH_SLOW {
            return None;
        }
        let slow = self.running.keys().filter(|set| self.slow.contains(*set)).count();
        let may = |set: &DataSet| !self.running.contains_key(set) && (slow < SLOW_AT_ONCE || !self.slow.contains(set));
        self.due.take(may)
    }

    /// Takes note of what was published. What failed is due again at the next look.
    fn collect(&mut self) {
        while let Some(ended) = self.publishing.try_join_next() {
            match ended {
                Ok((set, published)) => self.end(set, published, Instant::now()),
                Err(error) => {
                    tracing::error!(%error, "publishing changes panicked");
                    // Its data set is not known, so all of them are published again.
                    self.running.clear();
                    self.swept = None;
                }
            }
        }
    }

    fn end(&mut self, set: DataSet, published: Result<PublishEnd, Fault>, now: Instant) {
        let is_slow = self.running.remove(&set).is_some_and(|began| now.duration_since(began) >= SLOW_AFTER);
        match &published {
            Ok(_) if !is_slow => self.slow.remove(&set),
            _ => self.slow.insert(set.clone()),
        };
        match published {
            Ok(PublishEnd::Done) => {}
            Ok(PublishEnd::More) => self.due.add(set),
            Err(fault) => {
                tracing::warn!(
                    fault = fault.in_log(),
                    workspace_id = &*set.0,
                    "changes could not be published; trying again"
                );
                self.due.add(set);
            }
        }
    }
}

/// Publishes changes of a workspace until others have their turn.
async fn publish_in_turn(app: &App, listened: &Listened) -> Result<PublishEnd, Fault> {
    let source = EventSource { workspace_id: &listened.workspace_id, mode: &listened.mode };
    let until = PublishUntil::Time(Instant::now() + TURN);
    match publish(app, &listened.place, source, until).await? {
        PublishEnd::Done => catch_up(app, &listened.place, source, until).await,
        PublishEnd::More => Ok(PublishEnd::More),
    }
}

fn data_set(listened: &Listened) -> Option<DataSet> {
    Some((listened.workspace_id.as_str().into(), Mode::parse(&listened.mode)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str) -> DataSet {
        (name.into(), Mode::Live)
    }

    /// Begins all that may begin now.
    fn begin(drain: &mut Drain, now: Instant) -> Vec<DataSet> {
        let mut begun = Vec::new();
        while let Some(next) = drain.next_due(now) {
            drain.running.insert(next.clone(), now);
            begun.push(next);
        }
        begun
    }

    #[test]
    fn workspaces_that_are_slow_leave_places_for_others() {
        let (mut drain, start) = (Drain::default(), Instant::now());
        let slow: Vec<DataSet> = (0..30).map(|at| set(&format!("slow{at}"))).collect();
        slow[..8].iter().for_each(|it| drain.due.add(it.clone()));
        assert_eq!(begin(&mut drain, start), slow[..8]);
        drain.due.add(set("a"));
        assert_eq!(begin(&mut drain, start), []);
        // They are slow now, and hold no place.
        let later = start + SLOW_AFTER;
        assert_eq!(begin(&mut drain, later), [set("a")]);
        drain.end(set("a"), Ok(PublishEnd::Done), later);
        for it in &slow[..8] {
            drain.end(it.clone(), Ok(PublishEnd::More), later);
        }
        // Whoever was slow has some places only.
        assert_eq!(begin(&mut drain, later), slow[..SLOW_AT_ONCE]);
        drain.due.add(set("b"));
        assert_eq!(begin(&mut drain, later), [set("b")]);
    }

    #[test]
    fn who_has_more_to_publish_waits_for_its_turn() {
        let (mut drain, now) = (Drain::default(), Instant::now());
        ["a", "b", "a"].into_iter().for_each(|name| drain.due.add(set(name)));
        assert_eq!(drain.next_due(now), Some(set("a")));
        drain.running.insert(set("a"), now);
        // It was written to meanwhile.
        drain.due.add(set("a"));
        assert_eq!(drain.next_due(now), Some(set("b")));
        drain.running.insert(set("b"), now);
        assert_eq!(drain.next_due(now), None);
        drain.end(set("b"), Ok(PublishEnd::More), now);
        drain.end(set("a"), Ok(PublishEnd::More), now);
        assert_eq!(
            [drain.next_due(now), drain.next_due(now), drain.next_due(now)],
            [Some(set("a")), Some(set("b")), None]
        );
    }
}
