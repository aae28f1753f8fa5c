//! Which place belongs to whom: the pool's state as plain data. It uses no socket, lock or task, so that every rule can be
//! tested without one. All times are arguments.

mod relief;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use tokio::time::Instant;

use super::{Key, Limits, Share, Stats};

/// How long a key may keep a place for consecutive requests while other keys wait. Moving a place to another key costs a
/// log-in of about 7 ms. If it moved after every request, the server would do nothing but log-ins.
const TURN: Duration = Duration::from_millis(20);

/// The books. `C` is a connection, `W` notifies a waiting request, `E` ends a holder's work.
pub(super) struct Books<C, W, E> {
    limits: Limits,
    slots: HashMap<Key, Slot<C, W>>,
    /// Keys that hold places or wait.
    tenants: HashMap<Tenant, Account>,
    /// Tenants that could use a place, in the order of their turns: the one with the fewest places is first. A tenant that
    /// can no longer use one is skipped.
    line: BTreeMap<Rank, Tenant>,
    /// Places in use, ordered by the time since they are held, longest first.
    holders: BTreeMap<u64, Holder<E>>,
    /// The idle connections, the one that has been idle longest first.
    lru: BTreeMap<u64, Key>,
    /// Places taken: in use, or idle.
    total: usize,
    idle: usize,
    /// Places in use by tenants with a small share.
    small: usize,
    waiting: usize,
    sequence: u64,
    epoch: u64,
    evicted: u64,
    closed: bool,
}

/// All keys of a database. Shares are given to tenants.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Tenant {
    cell: u32,
    database: Arc<str>,
}

/// Places in use, and the number of the turn.
type Rank = (usize, u64);

struct Account {
    share: Share,
    /// Places in use.
    used: usize,
    /// Its keys that could use a place, in the order of their turns.
    keys: VecDeque<Key>,
    /// Its position among the waiting tenants, if it waits.
    rank: Option<Rank>,
}

/// A place in use.
struct Holder<E> {
    tenant: Tenant,
    /// The time since which it is held. For a connection that took time to open, the time since it is working.
    since: Instant,
    /// Whether it counted as a place of a small share when it was given.
    is_small: bool,
    /// Ends the work in this place. `None` while nothing runs that could be ended.
    ender: Option<E>,
    /// When its work was told to end.
    ending: Option<Instant>,
}

struct Slot<C, W> {
    idle: VecDeque<Idle<C>>,
    /// Places in use: leased, being opened or being reset.
    used: usize,
    /// How many of them are being reset and will soon be free.
    resetting: usize,
    waiters: BTreeMap<u64, W>,
    /// A connection opened in an earlier epoch is closed when it is returned.
    epoch: u64,
    /// Whether it is among its tenant's keys.
    in_turn: bool,
}

struct Idle<C> {
    sequence: u64,
    connection: C,
    opened: Instant,
    since: Instant,
}

/// A place that a request may use, and its connection, if it has one.
pub(super) struct Grant<C> {
    pub(super) key: Key,
    pub(super) connection: Option<C>,
    /// When the connection was opened.
    pub(super) opened: Instant,
    /// When the key got the place.
    pub(super) turn: Instant,
    pub(super) epoch: u64,
    /// Identifies the holder.
    pub(super) number: u64,
}

/// The answer to a request for a place.
pub(super) enum Ask<C> {
    Granted(Grant<C>),
    /// The request waits under this number.
    Wait(u64),
    /// The number of requests that wait already.
    Full,
    Closed,
}

/// The consequences of a change to the books. They must be carried out after the lock on the books is released: notifying a
/// waiter or dropping a connection may call the books again.
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
        Slot { idle: VecDeque::new(), used: 0, resetting: 0, waiters: BTreeMap::new(), epoch, in_turn: false }
    }

    /// Whether a waiter of this key could use a place now. Waiters that a connection in reset will serve should wait for it
    /// instead of logging in.
    fn could_use_one(&self, limits: &Limits) -> bool {
        self.used < limits.max_per_role
            && !self.waiters.is_empty()
            && (!self.idle.is_empty() || self.waiters.len() > self.resetting)
    }

    fn is_empty(&self) -> bool {
        self.used == 0 && self.idle.is_empty() && self.waiters.is_empty() && !self.in_turn
    }
}

impl Limits {
    /// Places that tenants with a small share may have together.
    fn most_small(&self) -> usize {
        (self.max_total / 2).max(1)
    }

    /// While at most this many places are in use, small shares are not enforced.
    fn plenty(&self) -> usize {
        self.max_total / 4
    }

    /// The number of places of a tenant, for all its keys.
    fn max_per_tenant(&self) -> usize {
        self.max_per_role.saturating_mul(2)
    }
}

impl Tenant {
    fn of(key: &Key) -> Tenant {
        Tenant { cell: key.cell, database: key.database.clone() }
    }
}

impl<C, W, E: Clone> Books<C, W, E> {
    pub(super) fn new(limits: Limits) -> Self {
        Books {
            limits,
            slots: HashMap::new(),
            tenants: HashMap::new(),
            line: BTreeMap::new(),
            holders: BTreeMap::new(),
            lru: BTreeMap::new(),
            total: 0,
            idle: 0,
            small: 0,
            waiting: 0,
            sequence: 0,
            epoch: 0,
            evicted: 0,
            closed: false,
        }
    }

    /// Requests a place. `waiter` is called only if there is none now. Connections to be closed to make room are added to
    /// `close`.
    pub(super) fn ask(
        &mut self,
        key: &Key,
        share: Share,
        now: Instant,
        waiter: impl FnOnce() -> W,
        close: &mut Vec<C>,
    ) -> Ask<C> {
        if self.closed {
            return Ask::Closed;
        }
        if !self.slots.contains_key(key) {
            self.slots.insert(key.clone(), Slot::new(self.epoch));
        }
        let tenant = Tenant::of(key);
        let new = || Account { share, used: 0, keys: VecDeque::new(), rank: None };
        let account = self.tenants.entry(tenant).or_insert_with(new);
        account.share = share;
        let has_room = may_have_more(account, &self.limits, self.total - self.idle, self.small);
        let slot = self.slots.get_mut(key).expect("just put there");
        // This does not overtake a waiter: if more wait than resets will serve, no place is free, because they would have
        // got it.
        let in_order = slot.waiters.len() <= slot.resetting;
        let wants_new = slot.idle.is_empty() && slot.resetting > slot.waiters.len();
        if has_room
            && in_order
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

    /// Removes a waiter that was cancelled. If it was already notified, nothing happens.
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

    /// Work in a place begins, and `E` ends it.
    pub(super) fn begin(&mut self, number: u64, ender: E, now: Instant) {
        if let Some(holder) = self.holders.get_mut(&number) {
            holder.ender = Some(ender);
            holder.since = now;
        }
    }

    /// The work in a place has finished, so there is nothing to end.
    pub(super) fn finish(&mut self, number: u64) {
        if let Some(holder) = self.holders.get_mut(&number) {
            holder.ender = None;
        }
    }

    /// A place is returned, with its connection if that can be reused.
    pub(super) fn give_back(&mut self, grant: Grant<C>, was_reset: bool, now: Instant) -> Outcome<C, W> {
        let mut outcome = Outcome::default();
        let Grant { key, connection, opened, turn, epoch, number } = grant;
        self.let_go(number);
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
        let has_room = self.tenants.get(&Tenant::of(&key)).is_some_and(|account| self.has_room(account));
        if reusable && has_room && now.saturating_duration_since(turn) < TURN {
            self.serve(&key, now, turn, &mut outcome);
        }
        self.settle(now, &mut outcome);
        self.prune(&key);
        outcome
    }

    /// Closes the idle connections of the keys that `which` selects, and marks those in use for closing.
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

    /// Removes connections that have been idle or open for too long.
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

    /// Stops giving places. Waiters are released (by being dropped) and idle connections are closed.
    pub(super) fn close(&mut self) -> (Vec<W>, Vec<C>) {
        self.closed = true;
        let (mut waiters, mut close) = (Vec::new(), Vec::new());
        for slot in self.slots.values_mut() {
            slot.in_turn = false;
            waiters.extend(std::mem::take(&mut slot.waiters).into_values());
            close.extend(slot.idle.drain(..).map(|idle| idle.connection));
        }
        self.total -= self.idle;
        (self.idle, self.waiting) = (0, 0);
        self.lru.clear();
        self.line.clear();
        self.slots.retain(|_, slot| slot.used > 0);
        for account in self.tenants.values_mut() {
            account.keys.clear();
            account.rank = None;
        }
        self.tenants.retain(|_, account| account.used > 0);
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

    fn has_room(&self, account: &Account) -> bool {
        may_have_more(account, &self.limits, self.total - self.idle, self.small)
    }

    /// A place for `key`: its own idle connection, else a free place, else the place of the connection that has been idle
    /// longest.
    fn take_place(&mut self, key: &Key, now: Instant, close: &mut Vec<C>) -> Option<Grant<C>> {
        let slot = self.slots.get_mut(key)?;
        let epoch = slot.epoch;
        let (mut connection, mut opened, mut evicted) = (None, now, None);
        // The connection used last: its caches are warm, and the others can reach their idle limit.
        if let Some(idle) = slot.idle.pop_back() {
            self.idle -= 1;
            self.lru.remove(&idle.sequence);
            (connection, opened) = (Some(idle.connection), idle.opened);
        } else if self.total < self.limits.max_total {
            self.total += 1;
        } else {
            let (_, victim) = self.lru.pop_first()?;
            let idle = self.slots.get_mut(&victim).and_then(|slot| slot.idle.pop_front());
            close.push(idle.expect("what the LRU names is idle").connection);
            self.idle -= 1;
            self.evicted += 1;
            evicted = Some(victim);
        }
        self.slots.get_mut(key)?.used += 1;
        let number = self.hold(key, now);
        if let Some(victim) = evicted {
            self.prune(&victim);
        }
        Some(Grant { key: key.clone(), connection, opened, turn: now, epoch, number })
    }
}

/// Whether a tenant may have one more place, if there is one.
fn may_have_more(account: &Account, limits: &Limits, in_use: usize, small: usize) -> bool {
    account.used < limits.max_per_tenant()
        && match account.share {
            Share::Whole => true,
            Share::Small(places) => small < limits.most_small() && (account.used < places || in_use < limits.plenty()),
        }
}
