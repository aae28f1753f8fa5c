//! A budget of memory, in bytes, for what calls hold at once. The total is bounded, and each owner may hold a share of it, so
//! that one owner's bodies or answers can't use all the memory. A call that finds no room waits for it in a queue.
//!
//! All callers of a network who have no account use one share. So that a busy workspace there does not delay the others, a
//! workspace that holds nothing gets a first part beyond the share.
//!
//! A call that has started must be able to finish; otherwise calls that each hold a part would wait for each other. The oldest
//! holder therefore always gets what it asks for, and the oldest holder of an owner may exceed the share. So the bound is
//! exceeded by at most what one call may hold.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// The owner to which a call's memory is charged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A claimed workspace.
    Workspace(Arc<str>),
    /// All callers of a network who have no account. Anybody can create workspaces there.
    Network(IpAddr),
}

/// The bytes that a workspace that holds nothing may get beyond its network's share.
pub const FIRST_PART: usize = 256 * 1024;

/// The size of a budget.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The bound for all owners together, in bytes.
    pub whole: usize,
    /// The bound for one owner, in bytes.
    pub share: usize,
    /// How long a call waits for room.
    pub patience: Duration,
}

/// A budget and its current holders.
#[derive(Debug)]
pub struct Budget {
    bounds: Size,
    state: Mutex<BudgetState>,
}

#[derive(Debug, Default)]
struct BudgetState {
    held: usize,
    owners: HashMap<Owner, usize>,
    /// The bytes that each workspace of a network holds, without those that hold nothing.
    workspaces: HashMap<Arc<str>, usize>,
    /// Ordered by age.
    holders: BTreeMap<u64, Holding>,
    next: u64,
    waiting: VecDeque<WaitingHolder>,
}

#[derive(Debug)]
struct Holding {
    owner: Owner,
    workspace_id: Arc<str>,
    bytes: usize,
}

#[derive(Debug)]
struct WaitingHolder {
    holder: u64,
    bytes: usize,
    /// The receiver is closed if the call has given up.
    granted: oneshot::Sender<()>,
}

/// The bytes that a call holds. Dropping it frees all of them.
#[derive(Debug)]
pub struct Held {
    budget: Arc<Budget>,
    holder: u64,
}

/// No room became free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Why a call has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// The owner already holds its share.
    Share,
    /// All owners together hold the total, or others are already waiting for it.
    Whole,
}

impl Budget {
    /// Creates a budget of which nothing is held.
    pub fn new(bounds: Size) -> Arc<Budget> {
        Arc::new(Budget { bounds, state: Mutex::default() })
    }

    /// Creates a holder for a call to this workspace. It holds nothing yet.
    pub fn holder(self: &Arc<Budget>, owner: Owner, workspace_id: Arc<str>) -> Held {
        let mut state = self.state();
        let holder = state.next;
        state.next += 1;
        state.holders.insert(holder, Holding { owner, workspace_id, bytes: 0 });
        drop(state);
        Held { budget: self.clone(), holder }
    }

    /// The number of bytes that are held.
    pub fn held(&self) -> usize {
        self.state().held
    }

    /// Whether an owner with less than its share is waiting because all owners together hold too much.
    pub fn is_scarce(&self) -> bool {
        let mut state = self.state();
        state.forget_who_gave_up();
        state.waiting.iter().any(|it| self.obstacle(&state, it.holder, it.bytes) == Some(Obstacle::Whole))
    }

    /// The owners of the waiting calls.
    pub fn waited_for(&self) -> Vec<Owner> {
        let mut state = self.state();
        state.forget_who_gave_up();
        let holders = state.waiting.iter().filter_map(|it| state.holders.get(&it.holder));
        let mut owners: Vec<Owner> = Vec::new();
        for holder in holders {
            if !owners.contains(&holder.owner) {
                owners.push(holder.owner.clone());
            }
        }
        owners
    }

    fn state(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What prevents a holder from getting this many more bytes.
    fn obstacle(&self, state: &BudgetState, holder: u64, bytes: usize) -> Option<Obstacle> {
        if state.holders.first_key_value().is_none_or(|(oldest, _)| *oldest == holder) {
            return None;
        }
        if state.held + bytes > self.bounds.whole {
            return Some(Obstacle::Whole);
        }
        let Holding { owner, workspace_id, .. } = state.holders.get(&holder)?;
        let fits = state.owners.get(owner).copied().unwrap_or_default() + bytes <= self.bounds.share;
        let is_oldest = || state.holders.iter().find(|(_, it)| it.owner == *owner).is_some_and(|(id, _)| *id == holder);
        let is_first_part = || bytes <= FIRST_PART && !state.workspaces.contains_key(workspace_id);
        (!fits && !is_first_part() && !is_oldest()).then_some(Obstacle::Share)
    }

    /// Serves the waiting calls in order. A call that exceeds its owner's share is skipped. A call that exceeds the total blocks
    /// those behind it.
    fn serve_waiting(&self, state: &mut BudgetState) {
        state.forget_who_gave_up();
        let mut at = 0;
        while let Some(next) = state.waiting.get(at) {
            match self.obstacle(state, next.holder, next.bytes) {
                Some(Obstacle::Whole) => return,
                Some(Obstacle::Share) => at += 1,
                None => {
                    let Some(WaitingHolder { holder, bytes, granted }) = state.waiting.remove(at) else { return };
                    state.add(holder, bytes);
                    // If the call gives up at this moment, it frees the bytes with everything it holds.
                    let _ = granted.send(());
                }
            }
        }
    }
}

impl BudgetState {
    fn forget_who_gave_up(&mut self) {
        self.waiting.retain(|it| !it.granted.is_closed());
    }

    fn add(&mut self, holder: u64, bytes: usize) {
        let Some(it) = self.holders.get_mut(&holder) else { return };
        if bytes == 0 {
            return;
        }
        it.bytes += bytes;
        self.held += bytes;
        *self.owners.entry(it.owner.clone()).or_default() += bytes;
        *self.workspaces.entry(it.workspace_id.clone()).or_default() += bytes;
    }

    fn take_back(&mut self, owner: &Owner, workspace_id: &Arc<str>, bytes: usize) {
        self.held -= bytes;
        take_from(&mut self.owners, owner, bytes);
        take_from(&mut self.workspaces, workspace_id, bytes);
    }
}

fn take_from<K: Eq + Hash>(held: &mut HashMap<K, usize>, key: &K, bytes: usize) {
    if let Some(it) = held.get_mut(key) {
        *it -= bytes;
        if *it == 0 {
            held.remove(key);
        }
    }
}

impl Held {
    /// Waits until there is room for this many more bytes, and holds them.
    pub async fn grow(&self, bytes: usize) -> Result<(), NoRoom> {
        let waiting = {
            let mut state = self.budget.state();
            state.forget_who_gave_up();
            let others_wait = state
                .waiting
                .iter()
                .any(|it| self.budget.obstacle(&state, it.holder, it.bytes) == Some(Obstacle::Whole));
            let is_oldest = state.holders.first_key_value().is_some_and(|(oldest, _)| *oldest == self.holder);
            if (!others_wait || is_oldest) && self.budget.obstacle(&state, self.holder, bytes).is_none() {
                state.add(self.holder, bytes);
                return Ok(());
            }
            let (granted, waiting) = oneshot::channel();
            state.waiting.push_back(WaitingHolder { holder: self.holder, bytes, granted });
            waiting
        };
        match timeout(self.budget.bounds.patience, waiting).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                self.budget.serve_waiting(&mut self.budget.state());
                Err(NoRoom)
            }
        }
    }

    /// Holds exactly this many bytes from now on, even if there is no room, because they are already allocated.
    pub fn resize(&self, bytes: usize) {
        let mut state = self.budget.state();
        let Some(it) = state.holders.get_mut(&self.holder) else { return };
        let held = it.bytes;
        if bytes >= held {
            state.add(self.holder, bytes - held);
        } else {
            it.bytes = bytes;
            let (owner, workspace_id) = (it.owner.clone(), it.workspace_id.clone());
            state.take_back(&owner, &workspace_id, held - bytes);
            self.budget.serve_waiting(&mut state);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        if let Some(Holding { owner, workspace_id, bytes }) = state.holders.remove(&self.holder) {
            state.take_back(&owner, &workspace_id, bytes);
        }
        self.budget.serve_waiting(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn budget(whole: usize, share: usize) -> Arc<Budget> {
        Budget::new(Size { whole, share, patience: Duration::ZERO })
    }

    fn of(number: u8) -> Owner {
        Owner::Network([192, 0, 2, number].into())
    }

    fn holder(budget: &Arc<Budget>, number: u8) -> Held {
        budget.holder(of(number), format!("ws_{number}").into())
    }

    /// Whether the bytes fit without waiting.
    fn fits(held: &Held, bytes: usize) -> bool {
        pin!(held.grow(bytes)).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn an_owner_has_a_share_and_all_have_the_whole() {
        let budget = budget(100, 40);
        let (first, second, other) = (holder(&budget, 1), holder(&budget, 1), holder(&budget, 2));
        assert!(fits(&first, 30) && fits(&second, 10));
        assert!(!fits(&second, 1), "the share is held");
        assert!(fits(&other, 40));
        let third = holder(&budget, 3);
        assert!(fits(&third, 20) && !fits(&third, 1), "the whole is held");
        drop(other);
        assert!(fits(&third, 20));
        assert_eq!(budget.held(), 80);
        drop((first, second, third));
        assert_eq!(budget.held(), 0);
        assert!(budget.state().owners.is_empty() && budget.state().holders.is_empty());
    }

    #[tokio::test]
    async fn what_has_begun_first_can_always_go_on() {
        let budget = budget(100, 40);
        let (first, second, other) = (holder(&budget, 1), holder(&budget, 1), holder(&budget, 2));
        assert!(fits(&first, 20) && fits(&second, 20) && fits(&other, 40));
        assert!(fits(&first, 20), "the oldest of all");
        assert!(!fits(&other, 10), "the oldest of its owner, but the whole is held");
        drop(second);
        assert!(fits(&other, 10), "the oldest of its owner");
    }

    #[tokio::test]
    async fn a_workspace_that_holds_nothing_has_a_first_part_beyond_the_share() {
        let budget = budget(8 * FIRST_PART, FIRST_PART);
        let (_oldest, busy) = (holder(&budget, 1), holder(&budget, 1));
        assert!(fits(&busy, FIRST_PART) && !fits(&busy, 1));
        let beside = budget.holder(of(1), "ws_beside".into());
        assert!(!fits(&beside, FIRST_PART + 1), "that is more than a first part");
        assert!(fits(&beside, FIRST_PART) && !fits(&beside, 1));
        let more: Vec<Held> = (0..8).map(|at| budget.holder(of(1), format!("ws_more_{at}").into())).collect();
        assert_eq!(more.iter().filter(|it| fits(it, FIRST_PART)).count(), 6, "the whole is not exceeded");
        drop((busy, beside, more));
        assert!(budget.state().workspaces.is_empty());
    }

    #[tokio::test]
    async fn who_waits_is_served_in_turn() {
        let budget = budget(100, 60);
        let (first, second) = (holder(&budget, 1), holder(&budget, 2));
        assert!(fits(&first, 60) && fits(&second, 40));
        let (large, small) = (holder(&budget, 3), holder(&budget, 4));
        let (mut wants_much, mut wants_little) = (pin!(large.grow(50)), pin!(small.grow(5)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(wants_much.as_mut().poll(&mut cx).is_pending());
        assert!(wants_little.as_mut().poll(&mut cx).is_pending());
        assert!(budget.is_scarce());
        drop(second);
        assert!(wants_little.as_mut().poll(&mut cx).is_pending(), "it came later");
        drop(first);
        assert!(wants_much.as_mut().poll(&mut cx).is_ready() && wants_little.as_mut().poll(&mut cx).is_ready());
        assert_eq!(budget.held(), 55);
    }

    #[tokio::test]
    async fn who_lacks_a_share_holds_nobody_up() {
        let budget = budget(100, 40);
        let (_first, second, other) = (holder(&budget, 1), holder(&budget, 1), holder(&budget, 2));
        assert!(fits(&second, 40));
        let mut waits = pin!(second.grow(10));
        assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(!budget.is_scarce());
        assert_eq!(budget.waited_for(), [of(1)]);
        assert!(fits(&other, 10));
    }

    #[tokio::test]
    async fn who_finds_no_room_in_time_gives_up_and_is_forgotten() {
        let budget = budget(10, 10);
        let (first, second) = (holder(&budget, 1), holder(&budget, 2));
        assert!(fits(&first, 10));
        assert_eq!(second.grow(1).await, Err(NoRoom));
        assert!(!budget.is_scarce());
        assert!(!fits(&second, 1));
        drop(first);
        // The wait that was given up above does not count.
        assert_eq!(budget.held(), 0);
        assert_eq!(second.grow(10).await, Ok(()));
        second.resize(3);
        assert_eq!(budget.held(), 3);
        second.resize(30);
        assert_eq!(budget.held(), 30);
    }
}
