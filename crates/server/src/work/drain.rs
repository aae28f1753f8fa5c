//! Publishes changes where somebody listens. The request that commits a change wakes this worker. Writes of direct connections
//! and of other processes show in PostgreSQL's statistics. A slow sweep catches the rest.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crm::model::event::EventSource;
use crm::model::fault::Fault;
use crm::model::who::Mode;

use crate::app::App;
use crate::hall::publish::publish;
use crate::store::control::listeners::Listened;
use crate::wakes::DataSet;
use crate::work::{Failed, Worker};

/// How often the statistics are read.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the list of workspaces is read, unless this process has changed it.
const LIST_EVERY: Duration = Duration::from_secs(3);
/// How often all of them are published.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// The most workspaces that are published at once.
const AT_ONCE: usize = 8;

/// Publishes changes.
#[derive(Default)]
pub struct Drain {
    listened: HashMap<DataSet, Listened>,
    /// Rows written in each database at the last look.
    written: HashMap<String, i64>,
    due: HashSet<DataSet>,
    running: HashSet<DataSet>,
    publishing: JoinSet<(DataSet, Result<(), Fault>)>,
    listed: Option<Instant>,
    looked: Option<Instant>,
    swept: Option<Instant>,
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
        }
        self.due.extend(app.wakes.take_changed());
        if is_over(self.looked, LOOK_EVERY) {
            self.look_at_statistics(app).await?;
            self.looked = Some(Instant::now());
        }
        if is_over(self.swept, SWEEP_EVERY) {
            self.due.extend(self.listened.keys().cloned());
            self.swept = Some(Instant::now());
        }
        self.due.retain(|set| self.listened.contains_key(set));
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
                self.due.insert(set.clone());
            }
        }
        self.written = written;
        Ok(())
    }

    /// Begins to publish what is due.
    fn begin(&mut self, app: &App) {
        for set in self.due.iter().cloned().collect::<Vec<_>>() {
            if self.running.len() >= AT_ONCE {
                return;
            }
            // What is being published now may have begun before the last commit. It is published again afterwards.
            if self.running.contains(&set) {
                continue;
            }
            let Some(listened) = self.listened.get(&set).cloned() else { continue };
            self.due.remove(&set);
            self.running.insert(set.clone());
            let app = app.clone();
            self.publishing.spawn(async move {
                let source = EventSource { workspace_id: &listened.workspace_id, mode: &listened.mode };
                let published = publish(&app, &listened.place, source).await;
                if published.is_ok() {
                    app.wakes.to_publish.notify_one();
                }
                (set, published)
            });
        }
    }

    /// Takes note of what was published. What failed is due again at the next look.
    fn collect(&mut self) {
        while let Some(ended) = self.publishing.try_join_next() {
            match ended {
                Ok((set, published)) => {
                    self.running.remove(&set);
                    if let Err(fault) = published {
                        tracing::warn!(
                            fault = fault.in_log(),
                            workspace_id = &*set.0,
                            "changes could not be published; trying again"
                        );
                        self.due.insert(set);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "publishing changes panicked");
                    // Its data set is not known, so all of them are published again.
                    self.running.clear();
                    self.swept = None;
                }
            }
        }
    }
}

fn data_set(listened: &Listened) -> Option<DataSet> {
    Some((listened.workspace_id.as_str().into(), Mode::parse(&listened.mode)?))
}
