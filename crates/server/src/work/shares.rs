//! Work of several workspaces at once, of which none takes more than its share, so that a slow one delays no other.
//!
//! Work that has become slow holds no place. A workspace may have as much work as there are free places (see `places.rs`), and those
//! whose last work was slow have some places together. So whoever is slow leaves places for those who are not.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};

/// After this time work is slow.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// How many workspaces are remembered as slow.
const MOST_REMEMBERED: usize = 10_000;

/// Running work, and how much of it is each workspace's.
pub struct Shares {
    running: JoinSet<()>,
    works: HashMap<Id, Work>,
    /// Workspaces whose last work was slow.
    slow: HashSet<String>,
    most: usize,
    most_of_one: usize,
}

struct Work {
    workspace_id: String,
    began: Instant,
}

impl Shares {
    /// No work yet. At most `most` works run at once, slow ones not counted, and `most_of_one` of a workspace.
    pub fn new(most: usize, most_of_one: usize) -> Shares {
        Shares { running: JoinSet::new(), works: HashMap::new(), slow: HashSet::new(), most, most_of_one }
    }

    /// How much work may begin. With the slow ones, twice as much as there are places may run.
    fn free(&self, now: Instant) -> usize {
        let quick = self.works.values().filter(|work| now - work.began < SLOW_AFTER).count();
        self.most.saturating_sub(quick).min((2 * self.most).saturating_sub(self.works.len()))
    }

    /// Whether more work may begin.
    pub fn has_room(&self, now: Instant) -> bool {
        self.free(now) > 0
    }

    /// The workspaces whose work may not begin.
    pub fn full(&self, now: Instant) -> Vec<String> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for work in self.works.values() {
            *counts.entry(&work.workspace_id).or_default() += 1;
        }
        let share = self.most_of_one.min(self.free(now));
        let slow: usize = self.slow.iter().filter_map(|id| counts.get(id.as_str())).sum();
        let mut full: HashSet<&str> =
            counts.into_iter().filter(|(_, count)| *count >= share).map(|(id, _)| id).collect();
        if slow >= self.most / 2 {
            full.extend(self.slow.iter().map(String::as_str));
        }
        full.into_iter().map(str::to_owned).collect()
    }

    /// Begins work of a workspace.
    pub fn begin(&mut self, workspace_id: String, now: Instant, work: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(work).id();
        self.works.insert(id, Work { workspace_id, began: now });
    }

    /// Waits until work ends or gets slow, or until there may be more to begin. Returns false if nothing runs.
    pub async fn next(&mut self, more: &Notify) -> bool {
        let now = Instant::now();
        let oldest = self.works.values().map(|work| work.began + SLOW_AFTER).filter(|at| *at > now).min();
        let gets_slow = async {
            match oldest {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = self.running.join_next_with_id() => ended,
            () = more.notified(), if !self.running.is_empty() => return true,
            () = gets_slow => return true,
        };
        match ended {
            None => return false,
            Some(Ok((id, ()))) => self.end(id, Instant::now()),
            Some(Err(error)) => {
                tracing::error!(%error, "work in the background panicked");
                self.end(error.id(), Instant::now());
            }
        }
        true
    }

    fn end(&mut self, id: Id, now: Instant) {
        let Some(Work { workspace_id, began }) = self.works.remove(&id) else { return };
        if now - began < SLOW_AFTER {
            self.slow.remove(&workspace_id);
        } else if self.slow.len() < MOST_REMEMBERED {
            self.slow.insert(workspace_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins work that never ends for each workspace of a crowd, as much as may begin.
    fn fill(shares: &mut Shares, crowd: usize, now: Instant) {
        while shares.has_room(now) {
            let full = shares.full(now);
            let mine = |shares: &Shares, id: &str| shares.works.values().filter(|work| work.workspace_id == id).count();
            let waiting = (0..crowd).map(|at| format!("w{at}")).filter(|id| !full.contains(id));
            let Some(next) = waiting.min_by_key(|id| mine(shares, id)) else { break };
            shares.begin(next, now, std::future::pending());
        }
    }

    #[tokio::test]
    async fn whoever_is_slow_leaves_places_for_another() {
        for crowd in [1, 4, 8, 13] {
            let (mut shares, start) = (Shares::new(16, 2), Instant::now());
            for round in 0..10 {
                let now = start + SLOW_AFTER * round;
                fill(&mut shares, crowd, now);
                assert!(shares.has_room(now + SLOW_AFTER), "{crowd} workspaces have all places in round {round}");
            }
            let later = start + SLOW_AFTER * 10;
            assert!(!shares.full(later).contains(&"new".to_owned()), "{crowd}");
        }
    }

    #[tokio::test]
    async fn those_that_were_slow_have_half_of_the_places_together() {
        let (mut shares, start) = (Shares::new(16, 2), Instant::now());
        fill(&mut shares, 8, start);
        let later = start + SLOW_AFTER;
        for id in shares.works.keys().copied().collect::<Vec<_>>() {
            shares.end(id, later);
        }
        for _ in 0..8 {
            let next = (0..8).map(|at| format!("w{at}")).find(|id| !shares.full(later).contains(id));
            shares.begin(next.expect("a place"), later, std::future::pending());
        }
        let full = shares.full(later);
        assert!((0..8).all(|at| full.contains(&format!("w{at}"))) && shares.has_room(later), "{full:?}");
        // One whose work is quick again is as before.
        let id = shares.works.keys().next().copied().expect("work");
        let quick = shares.works[&id].workspace_id.clone();
        shares.end(id, later + SLOW_AFTER / 2);
        assert!(!shares.full(later).contains(&quick));
    }
}
