//! How many deliveries are sent at once: of all endpoints, of a workspace, and of an endpoint by how it has answered. So no receiver
//! delays another one: a slow attempt holds no place for long, and a slow or failing endpoint gets one attempt at a time.
//!
//! A workspace may make as many attempts as there are free places. So its share shrinks as others come, and however many workspaces
//! take all that they may, places are left for one that has none (the rule by which switches share their buffers: Choudhury and
//! Hahne, "Dynamic queue length thresholds"). In one step at most half of what is free is taken, for the same reason.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::task::Id;

use crate::store::control::deliveries::{Capacity, EndpointRoom, TakenDelivery};

/// The most attempts of a process at once, slow ones not counted.
const PLACES: usize = 128;
/// How many of them failing endpoints may take.
const PLACES_OF_FAILING: usize = PLACES / 2;
/// The most attempts of a process at once.
const MOST: usize = 3 * PLACES;
/// The most attempts of a workspace.
const PLACES_OF_WORKSPACE: usize = 48;
/// The most attempts of an endpoint about which nothing is known, of one that answers quickly, and of one that is slow or failing.
const PLACES_OF_ENDPOINT: usize = 8;
const PLACES_OF_QUICK: usize = 32;
const PLACES_OF_SLOW: usize = 1;
/// After this time an attempt is slow.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// How many endpoints are remembered as quick.
const MOST_REMEMBERED: usize = 1000;

/// The attempts that are being made.
#[derive(Default)]
pub struct Places {
    attempts: HashMap<Id, RunningAttempt>,
    /// Whether an endpoint's last attempt was slow.
    was_slow: HashMap<String, bool>,
}

/// An attempt that is being made.
pub struct RunningAttempt {
    endpoint_id: String,
    workspace_id: String,
    is_failing: bool,
    began: Instant,
}

impl RunningAttempt {
    /// An attempt that begins now.
    pub fn new(taken: &TakenDelivery, now: Instant) -> RunningAttempt {
        let (endpoint_id, workspace_id) = (taken.endpoint_id.clone(), taken.workspace_id.clone());
        RunningAttempt { endpoint_id, workspace_id, is_failing: taken.is_failing, began: now }
    }
}

impl Places {
    /// Notes that an attempt has begun.
    pub fn begin(&mut self, id: Id, attempt: RunningAttempt) {
        self.attempts.insert(id, attempt);
    }

    /// Notes that an attempt has ended.
    pub fn end(&mut self, id: Id, now: Instant) {
        let Some(ended) = self.attempts.remove(&id) else { return };
        if self.was_slow.len() >= MOST_REMEMBERED {
            self.was_slow.retain(|_, slow| *slow);
        }
        self.was_slow.insert(ended.endpoint_id, now - ended.began >= SLOW_AFTER);
    }

    /// What may be taken now.
    pub fn capacity(&self, now: Instant) -> Capacity {
        let (mut quick, mut quick_of_failing) = (0, 0);
        let mut endpoints: HashMap<&str, EndpointRoom> = HashMap::new();
        let mut workspaces: HashMap<&str, usize> = HashMap::new();
        for (endpoint, slow) in &self.was_slow {
            let limit = if *slow { PLACES_OF_SLOW } else { PLACES_OF_QUICK };
            endpoints.insert(endpoint, EndpointRoom { limit, busy: 0 });
        }
        for attempt in self.attempts.values() {
            let is_slow = now - attempt.began >= SLOW_AFTER;
            quick += usize::from(!is_slow);
            quick_of_failing += usize::from(!is_slow && attempt.is_failing);
            let room =
                endpoints.entry(&attempt.endpoint_id).or_insert(EndpointRoom { limit: PLACES_OF_ENDPOINT, busy: 0 });
            room.busy += 1;
            if is_slow {
                room.limit = PLACES_OF_SLOW;
            }
            *workspaces.entry(&attempt.workspace_id).or_default() += 1;
        }
        let free = PLACES.saturating_sub(quick).min(MOST.saturating_sub(self.attempts.len()));
        let total = free.div_ceil(2);
        Capacity {
            total,
            of_failing: PLACES_OF_FAILING.saturating_sub(quick_of_failing).min(total),
            per_endpoint: PLACES_OF_ENDPOINT,
            per_failing_endpoint: PLACES_OF_SLOW,
            per_workspace: free.min(PLACES_OF_WORKSPACE),
            endpoints: endpoints.into_iter().map(|(id, room)| (id.to_owned(), room)).collect(),
            workspaces: workspaces.into_iter().map(|(id, busy)| (id.to_owned(), busy)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(endpoint: &str, is_failing: bool, began: Instant) -> RunningAttempt {
        RunningAttempt { endpoint_id: endpoint.into(), workspace_id: "w".into(), is_failing, began }
    }

    /// Ids of tasks.
    async fn ids(count: usize) -> Vec<Id> {
        (0..count).map(|_| tokio::spawn(async {}).id()).collect()
    }

    fn room(capacity: &Capacity, endpoint: &str) -> Option<(usize, usize)> {
        let found = capacity.endpoints.iter().find(|(id, _)| id == endpoint);
        found.map(|(_, room)| (room.limit, room.busy))
    }

    #[tokio::test]
    async fn a_slow_attempt_holds_no_place_and_its_endpoint_gets_one_at_a_time() {
        let (mut places, start, ids) = (Places::default(), Instant::now(), ids(9).await);
        for id in &ids[..8] {
            places.begin(*id, attempt("slow", false, start));
        }
        let early = places.capacity(start);
        assert_eq!((early.total, room(&early, "slow")), ((PLACES - 8) / 2, Some((PLACES_OF_ENDPOINT, 8))));
        let later = start + SLOW_AFTER;
        places.begin(ids[8], attempt("failing", true, later));
        let late = places.capacity(later);
        assert_eq!((late.total, late.of_failing), (PLACES / 2, PLACES_OF_FAILING - 1));
        assert_eq!((room(&late, "slow"), &late.workspaces), (Some((PLACES_OF_SLOW, 8)), &vec![("w".to_owned(), 9)]));
        for id in &ids {
            places.end(*id, later);
        }
        let end = places.capacity(later);
        assert_eq!(
            (room(&end, "slow"), room(&end, "failing")),
            (Some((PLACES_OF_SLOW, 0)), Some((PLACES_OF_QUICK, 0)))
        );
        assert_eq!((end.total, end.workspaces.len()), (PLACES / 2, 0));
    }

    #[tokio::test]
    async fn all_attempts_together_are_bounded() {
        let (mut places, start) = (Places::default(), Instant::now());
        for (at, id) in ids(MOST - 1).await.into_iter().enumerate() {
            places.begin(id, attempt(&at.to_string(), false, start));
        }
        assert_eq!(places.capacity(start).total, 0);
        assert_eq!(places.capacity(start + SLOW_AFTER).total, 1);
    }

    /// Lets workspaces take what they may, again and again, with attempts that never end. `taken` is how many each has.
    async fn fill(places: &mut Places, taken: &mut [usize], now: Instant) {
        loop {
            let capacity = places.capacity(now);
            let mut chosen = Vec::new();
            while chosen.len() < capacity.total {
                // As the statement chooses: the workspace that has the fewest comes first.
                let next =
                    (0..taken.len()).min_by_key(|at| taken[*at]).filter(|at| taken[*at] < capacity.per_workspace);
                let Some(next) = next else { break };
                taken[next] += 1;
                chosen.push(next);
            }
            if chosen.is_empty() {
                return;
            }
            for (id, workspace) in ids(chosen.len()).await.into_iter().zip(chosen) {
                let one = attempt(&format!("{workspace}.{}", taken[workspace]), false, now);
                places.begin(id, RunningAttempt { workspace_id: workspace.to_string(), ..one });
            }
        }
    }

    #[tokio::test]
    async fn workspaces_that_take_all_they_may_leave_places_for_one_that_comes_later() {
        for crowd in [1, 3, 8, 50, 200] {
            let (mut places, start) = (Places::default(), Instant::now());
            // All attempts get slow and stay.
            let mut taken = vec![0; crowd];
            for round in 0..10 {
                let now = start + SLOW_AFTER * round;
                fill(&mut places, &mut taken, now).await;
                // More workspaces than there are places may have one each, until these attempts are slow.
                let then = if crowd < PLACES { now } else { now + SLOW_AFTER };
                assert!(places.capacity(then).total > 0, "{crowd} workspaces have all places");
            }
            let (least, most) = (taken.iter().min().copied(), taken.iter().max().copied());
            assert!(most <= least.map(|it| it + 1), "{crowd}: {taken:?}");
            // A step takes some beyond the share, so at least half of it is left.
            let left = places.capacity(start + SLOW_AFTER * 10).per_workspace;
            assert!(left >= (MOST / (crowd + 1) / 2).clamp(1, PLACES_OF_WORKSPACE), "{crowd}: {left}");
        }
    }
}
