//! Who has which place: the pool's book-keeping as plain data. It knows no socket, no lock and no task, so that
//! every rule can be tried without one. All times come in as arguments.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::{Key, Limits, Stats};

/// How long a place may stay with a key whose requests follow each other while other keys wait. Handing it to
/// another key costs a log-in of some 7 ms, so that passing it on after every request would leave the server with
/// nothing but log-ins.
const TURN: Duration = Duration::from_millis(20);

/// The books. `C` is a connection, `W` what a waiting request is told by.
pub(super) struct Books<C, W> {
    limits: Limits,
    slots: HashMap<Key, Slot<C, W>>,
    /// The idle connections, the one that has been idle longest first.
    lru: BTreeMap<u64, Key>,
    /// Keys that could use a place, in the order of their turns. One that no longer could is passed over.
    ring: VecDeque<Key>,
    /// Places taken: in use, or idle.
    total: usize,
    idle: usize,
    waiting: usize,
    sequence: u64,
    epoch: u64,
    evicted: u64,
    closed: bool,
}

struct Slot<C, W> {
    idle: VecDeque<Idle<C>>,
    /// Places in use: leased, being opened or being reset.
    used: usize,
    /// Those of them that are being reset and will be free in a moment.
    resetting: usize,
    waiters: BTreeMap<u64, W>,
    /// What was opened in an earlier epoch is closed when it comes back.
    epoch: u64,
    in_ring: bool,
}

struct Idle<C> {
    sequence: u64,
    connection: C,
    opened: Instant,
    since: Instant,
}

/// A place that a request may use, and the connection in it, if there is one.
pub(super) struct Grant<C> {
    pub(super) key: Key,
    pub(super) connection: Option<C>,
    /// Since when the connection is open.
    pub(super) opened: Instant,
    /// Since when the key has had the place.
    pub(super) turn: Instant,
    pub(super) epoch: u64,
}

/// The answer to a request for a place.
pub(super) enum Ask<C> {
    Granted(Grant<C>),
    /// Wait under this number.
    Wait(u64),
    /// So many wait already.
    Full,
    Closed,
}

/// What follows from a change of the books. To be done after the lock on them was let go: telling a waiter or
/// dropping a connection may come back to the books.
pub(super) struct Outcome<C, W> {
    pub(super) granted: Vec<(W, Grant<C>)>,
    pub(super) close: Vec<C>,
}

impl<C, W> Default for Outcome<C, W> {
    fn default() -> Self {
        Outcome { granted: Vec::new(), close: Vec::new() }
    }
}

impl<C, W> Slot<C, W> {
    fn new(epoch: u64) -> Self {
        Slot { idle: VecDeque::new(), used: 0, resetting: 0, waiters: BTreeMap::new(), epoch, in_ring: false }
    }

    /// Whether a waiter of this key could do with a place now. Those for whom a reset connection is on its way are
    /// better off waiting for it than logging in.
    fn could_use_one(&self, limits: &Limits) -> bool {
        self.used < limits.max_per_role
            && !self.waiters.is_empty()
            && (!self.idle.is_empty() || self.waiters.len() > self.resetting)
    }

    fn is_empty(&self) -> bool {
        self.used == 0 && self.idle.is_empty() && self.waiters.is_empty() && !self.in_ring
    }
}

impl<C, W> Books<C, W> {
    pub(super) fn new(limits: Limits) -> Self {
        Books {
            limits,
            slots: HashMap::new(),
            lru: BTreeMap::new(),
            ring: VecDeque::new(),
            total: 0,
            idle: 0,
            waiting: 0,
            sequence: 0,
            epoch: 0,
            evicted: 0,
            closed: false,
        }
    }

    /// Asks for a place. `waiter` is called only where there is none now. What is to be closed to make room is put
    /// into `close`.
    pub(super) fn ask(&mut self, key: &Key, now: Instant, waiter: impl FnOnce() -> W, close: &mut Vec<C>) -> Ask<C> {
        if self.closed {
            return Ask::Closed;
        }
        if !self.slots.contains_key(key) {
            self.slots.insert(key.clone(), Slot::new(self.epoch));
        }
        let slot = self.slots.get_mut(key).expect("just put there");
        // Nobody is passed by: where more wait than resets will serve, there is no place, or they would have it.
        let in_order = slot.waiters.len() <= slot.resetting;
        let wants_new = slot.idle.is_empty() && slot.resetting > slot.waiters.len();
        if in_order
            && !wants_new
            && slot.used < self.limits.max_per_role
            && let Some(grant) = self.take_place(key, now, close)
        {
            return Ask::Granted(grant);
        }
        let slot = self.slots.get_mut(key).expect("put there above");
        if slot.waiters.len() >= self.limits.max_queue_per_role {
            self.prune(key);
            return Ask::Full;
        }
        self.sequence += 1;
        slot.waiters.insert(self.sequence, waiter());
        self.waiting += 1;
        let number = self.sequence;
        self.queue_up(key);
        Ask::Wait(number)
    }

    /// A waiter has gone away. Nothing happens where it was told already.
    pub(super) fn forget_waiter(&mut self, key: &Key, number: u64) {
        if let Some(slot) = self.slots.get_mut(key)
            && slot.waiters.remove(&number).is_some()
        {
            self.waiting -= 1;
            self.prune(key);
        }
    }

    /// The connection of a place in use is being reset.
    pub(super) fn reset_begins(&mut self, key: &Key) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.resetting += 1;
        }
    }

    /// A place comes back, with its connection where that can be used again.
    pub(super) fn give_back(&mut self, grant: Grant<C>, was_reset: bool, now: Instant) -> Outcome<C, W> {
        let mut outcome = Outcome::default();
        let Grant { key, connection, opened, turn, epoch } = grant;
        let Some(slot) = self.slots.get_mut(&key) else {
            debug_assert!(false, "a place in use keeps its slot");
            return outcome;
        };
        slot.used -= 1;
        slot.resetting -= usize::from(was_reset);
        match connection {
            Some(connection)
                if slot.epoch == epoch
                    && !self.closed
                    && now.saturating_duration_since(opened) < self.limits.max_age =>
            {
                self.sequence += 1;
                slot.idle.push_back(Idle { sequence: self.sequence, connection, opened, since: now });
                self.lru.insert(self.sequence, key.clone());
                self.idle += 1;
            }
            connection => {
                outcome.close.extend(connection);
                self.total -= 1;
            }
        }
        let reusable = !slot.idle.is_empty();
        self.queue_up(&key);
        if reusable && now.saturating_duration_since(turn) < TURN {
            self.serve(&key, now, turn, &mut outcome);
        }
        self.settle(now, &mut outcome);
        self.prune(&key);
        outcome
    }

    /// Closes what is idle for the keys that `which` says, and marks what is in use for closing.
    pub(super) fn evict(&mut self, which: impl Fn(&Key) -> bool, now: Instant) -> Outcome<C, W> {
        let mut outcome = Outcome::default();
        self.epoch += 1;
        let keys: Vec<Key> = self.slots.keys().filter(|key| which(key)).cloned().collect();
        for key in &keys {
            let slot = self.slots.get_mut(key).expect("a key of the map");
            slot.epoch = self.epoch;
            while let Some(idle) = slot.idle.pop_front() {
                self.lru.remove(&idle.sequence);
                self.idle -= 1;
                self.total -= 1;
                outcome.close.push(idle.connection);
            }
            self.prune(key);
        }
        self.settle(now, &mut outcome);
        outcome
    }

    /// Takes out what has been idle for too long, or open for too long.
    pub(super) fn retire(&mut self, now: Instant) -> Vec<C> {
        let limits = self.limits;
        let old = |idle: &Idle<C>| {
            now.saturating_duration_since(idle.since) >= limits.max_idle
                || now.saturating_duration_since(idle.opened) >= limits.max_age
        };
        let mut close = Vec::new();
        let keys: Vec<(u64, Key)> = self.lru.iter().map(|(sequence, key)| (*sequence, key.clone())).collect();
        for (sequence, key) in keys {
            let slot = self.slots.get_mut(&key).expect("an idle connection keeps its slot");
            if let Some(at) = slot.idle.iter().position(|idle| idle.sequence == sequence && old(idle))
                && let Some(idle) = slot.idle.remove(at)
            {
                self.lru.remove(&sequence);
                self.idle -= 1;
                self.total -= 1;
                close.push(idle.connection);
                self.prune(&key);
            }
        }
        close
    }

    /// No place is given any more; who waits is let go (by being dropped), what is idle is closed.
    pub(super) fn close(&mut self) -> (Vec<W>, Vec<C>) {
        self.closed = true;
        let (mut waiters, mut close) = (Vec::new(), Vec::new());
        for slot in self.slots.values_mut() {
            slot.in_ring = false;
            waiters.extend(std::mem::take(&mut slot.waiters).into_values());
            close.extend(slot.idle.drain(..).map(|idle| idle.connection));
        }
        self.total -= self.idle;
        (self.idle, self.waiting) = (0, 0);
        self.lru.clear();
        self.ring.clear();
        self.slots.retain(|_, slot| slot.used > 0);
        (waiters, close)
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            total: self.total,
            idle: self.idle,
            in_use: self.total - self.idle,
            waiting: self.waiting,
            evicted: self.evicted,
            ..Stats::default()
        }
    }

    /// A place for `key`: its own idle connection, else a free place, else the place of what has been idle longest.
    fn take_place(&mut self, key: &Key, now: Instant, close: &mut Vec<C>) -> Option<Grant<C>> {
        let slot = self.slots.get_mut(key)?;
        let epoch = slot.epoch;
        let mut grant = Grant { key: key.clone(), connection: None, opened: now, turn: now, epoch };
        // The one used last: its caches are warm, and the others may grow old.
        if let Some(idle) = slot.idle.pop_back() {
            slot.used += 1;
            self.idle -= 1;
            self.lru.remove(&idle.sequence);
            grant.connection = Some(idle.connection);
            grant.opened = idle.opened;
            return Some(grant);
        }
        if self.total < self.limits.max_total {
            slot.used += 1;
            self.total += 1;
            return Some(grant);
        }
        let (_, victim) = self.lru.pop_first()?;
        let idle = self.slots.get_mut(&victim).and_then(|slot| slot.idle.pop_front());
        close.push(idle.expect("what the LRU names is idle").connection);
        self.idle -= 1;
        self.evicted += 1;
        self.prune(&victim);
        self.slots.get_mut(key)?.used += 1;
        Some(grant)
    }

    /// Gives the first waiter of `key` a place, if it could use one and there is one.
    fn serve(&mut self, key: &Key, now: Instant, turn: Instant, outcome: &mut Outcome<C, W>) -> bool {
        if !self.slots.get(key).is_some_and(|slot| slot.could_use_one(&self.limits)) {
            return true;
        }
        let Some(mut grant) = self.take_place(key, now, &mut outcome.close) else {
            return false;
        };
        grant.turn = turn;
        let waiter = self.slots.get_mut(key).and_then(|slot| slot.waiters.pop_first());
        let (_, waiter) = waiter.expect("it could use one, so somebody waits");
        self.waiting -= 1;
        outcome.granted.push((waiter, grant));
        true
    }

    /// Gives places to waiting keys, in turn, as long as there are places.
    fn settle(&mut self, now: Instant, outcome: &mut Outcome<C, W>) {
        while let Some(key) = self.ring.pop_front() {
            if !self.serve(&key, now, now, outcome) {
                self.ring.push_front(key);
                return;
            }
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.in_ring = false;
            }
            self.queue_up(&key);
            self.prune(&key);
        }
    }

    fn queue_up(&mut self, key: &Key) {
        if let Some(slot) = self.slots.get_mut(key)
            && !slot.in_ring
            && slot.could_use_one(&self.limits)
        {
            slot.in_ring = true;
            self.ring.push_back(key.clone());
        }
    }

    fn prune(&mut self, key: &Key) {
        if self.slots.get(key).is_some_and(Slot::is_empty) {
            self.slots.remove(key);
        }
    }
}
