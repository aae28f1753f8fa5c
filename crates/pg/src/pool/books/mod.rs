//! Who has which place: the pool's book-keeping as plain data. It knows no socket, no lock and no task, so that
//! every rule can be tried without one. All times come in as arguments.

mod relief;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Key, Limits, Share, Stats};

/// How long a place may stay with a key whose requests follow each other while other keys wait. Handing it to
/// another key costs a log-in of some 7 ms, so that passing it on after every request would leave the server with
/// nothing but log-ins.
const TURN: Duration = Duration::from_millis(20);

/// The books. `C` is a connection, `W` what a waiting request is told by, `E` what ends what a holder is doing.
pub(super) struct Books<C, W, E> {
    limits: Limits,
    slots: HashMap<Key, Slot<C, W>>,
    /// Those that hold places or are in line.
    tenants: HashMap<Tenant, Account>,
    /// Tenants that could use a place, in the order of their turns: who holds fewer comes first. One that no longer could
    /// use one is passed over.
    line: BTreeMap<Rank, Tenant>,
    /// Places in use, the one that has been held longest first.
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

/// All keys of a database: what shares are given to.
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
    /// Its place in the line, where it has one.
    rank: Option<Rank>,
}

/// A place in use.
struct Holder<E> {
    tenant: Tenant,
    /// Since when it is held; with a connection that took time to open, since that is at work.
    since: Instant,
    /// Whether it counted as one of a small share when it was given.
    is_small: bool,
    /// Ends what is done there; none while nothing is that could be ended.
    ender: Option<E>,
    /// When it was told to end.
    ending: Option<Instant>,
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
    /// Whether it is among the keys of its tenant's account.
    in_turn: bool,
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
    /// By which the holder is known.
    pub(super) number: u64,
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
        Slot { idle: VecDeque::new(), used: 0, resetting: 0, waiters: BTreeMap::new(), epoch, in_turn: false }
    }

    /// Whether a waiter of this key could do with a place now. Those for whom a reset connection is on its way are
    /// better off waiting for it than logging in.
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

    /// While no more places than this are in use, nobody is kept to a small share.
    fn plenty(&self) -> usize {
        self.max_total / 4
    }

    /// Places of a tenant, whatever its keys.
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

    /// Asks for a place. `waiter` is called only where there is none now. What is to be closed to make room is put
    /// into `close`.
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
        // Nobody is passed by: where more wait than resets will serve, there is no place, or they would have it.
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

    /// What is done in a place begins, and this ends it.
    pub(super) fn begin(&mut self, number: u64, ender: E, now: Instant) {
        if let Some(holder) = self.holders.get_mut(&number) {
            holder.ender = Some(ender);
            holder.since = now;
        }
    }

    /// Nothing is done any more in a place that could be ended.
    pub(super) fn finish(&mut self, number: u64) {
        if let Some(holder) = self.holders.get_mut(&number) {
            holder.ender = None;
        }
    }

    /// A place comes back, with its connection where that can be used again.
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

    /// A place for `key`: its own idle connection, else a free place, else the place of what has been idle longest.
    fn take_place(&mut self, key: &Key, now: Instant, close: &mut Vec<C>) -> Option<Grant<C>> {
        let slot = self.slots.get_mut(key)?;
        let epoch = slot.epoch;
        let (mut connection, mut opened, mut evicted) = (None, now, None);
        // The one used last: its caches are warm, and the others may grow old.
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
