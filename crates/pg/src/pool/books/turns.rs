//! The order of turns. Waiting tenants are served in the order of the number of places that they hold, and for equal numbers
//! in the order of arrival. The keys of a tenant take turns.

use std::ops::Bound;

use tokio::time::Instant;

use super::{Books, Holder, Key, Outcome, Rank, Share, Slot, Tenant};

impl<C, W, E: Clone> Books<C, W, E> {
    /// Adds a place in use.
    pub(super) fn hold(&mut self, key: &Key, now: Instant) -> u64 {
        let tenant = Tenant::of(key);
        let account = self.tenants.get_mut(&tenant).expect("who asked has an account");
        account.used += 1;
        let is_small = matches!(account.share, Share::Small(_));
        self.small += usize::from(is_small);
        self.rank(&tenant);
        self.sequence += 1;
        self.holders.insert(self.sequence, Holder { tenant, since: now, is_small, ender: None, ending: None });
        self.sequence
    }

    /// Removes a place that is no longer in use.
    pub(super) fn let_go(&mut self, number: u64) {
        let Some(Holder { tenant, is_small, .. }) = self.holders.remove(&number) else {
            debug_assert!(false, "a place in use has a holder");
            return;
        };
        self.small -= usize::from(is_small);
        if let Some(account) = self.tenants.get_mut(&tenant) {
            account.used -= 1;
            self.rank(&tenant);
        }
    }

    /// Moves a waiting tenant to its position by the places that it holds.
    pub(super) fn rank(&mut self, tenant: &Tenant) {
        if let Some(account) = self.tenants.get_mut(tenant)
            && let Some((used, turn)) = account.rank
            && used != account.used
        {
            let rank = (account.used, turn);
            account.rank = Some(rank);
            self.line.remove(&(used, turn));
            self.line.insert(rank, tenant.clone());
        }
    }

    /// Gives a place to the first waiter of `key`, if it could use one and there is one.
    pub(super) fn serve(&mut self, key: &Key, now: Instant, turn: Instant, outcome: &mut Outcome<C, W>) -> bool {
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

    /// Gives places to waiting tenants, in turn, while there are places.
    pub(super) fn settle(&mut self, now: Instant, outcome: &mut Outcome<C, W>) {
        let mut passed = None;
        while let Some((rank, tenant)) = self.next_in_line(passed) {
            let account = self.tenants.get_mut(&tenant).expect("who is in line has an account");
            let Some(key) = account.keys.pop_front() else {
                account.rank = None;
                self.line.remove(&rank);
                self.close_account(&tenant);
                continue;
            };
            if !self.has_room(&self.tenants[&tenant]) {
                self.tenants.get_mut(&tenant).expect("looked up above").keys.push_front(key);
                passed = Some(rank);
                continue;
            }
            let before = outcome.granted.len();
            if !self.serve(&key, now, now, outcome) {
                self.tenants.get_mut(&tenant).expect("looked up above").keys.push_front(key);
                return;
            }
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.in_turn = false;
            }
            if outcome.granted.len() > before {
                self.end_turn(&tenant);
            }
            self.queue_up(&key);
            self.prune(&key);
        }
    }

    /// The first waiting tenant, or the first after one that was skipped.
    pub(super) fn next_in_line(&self, passed: Option<Rank>) -> Option<(Rank, Tenant)> {
        let mut rest = match passed {
            None => self.line.range(..),
            Some(rank) => self.line.range((Bound::Excluded(rank), Bound::Unbounded)),
        };
        rest.next().map(|(rank, tenant)| (*rank, tenant.clone()))
    }

    /// A tenant that was served moves behind those that now hold as many places.
    pub(super) fn end_turn(&mut self, tenant: &Tenant) {
        let Some(account) = self.tenants.get_mut(tenant) else { return };
        let Some(rank) = account.rank.take() else { return };
        self.line.remove(&rank);
        if !account.keys.is_empty() {
            self.get_in_line(tenant);
        }
    }

    pub(super) fn get_in_line(&mut self, tenant: &Tenant) {
        self.sequence += 1;
        if let Some(account) = self.tenants.get_mut(tenant)
            && account.rank.is_none()
        {
            let rank = (account.used, self.sequence);
            account.rank = Some(rank);
            self.line.insert(rank, tenant.clone());
        }
    }

    pub(super) fn queue_up(&mut self, key: &Key) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.in_turn || !slot.could_use_one(&self.limits) {
            return;
        }
        slot.in_turn = true;
        let tenant = Tenant::of(key);
        self.tenants.get_mut(&tenant).expect("who waits has an account").keys.push_back(key.clone());
        self.get_in_line(&tenant);
    }

    pub(super) fn prune(&mut self, key: &Key) {
        if self.slots.get(key).is_some_and(Slot::is_empty) {
            self.slots.remove(key);
        }
        self.close_account(&Tenant::of(key));
    }

    pub(super) fn close_account(&mut self, tenant: &Tenant) {
        if self.tenants.get(tenant).is_some_and(|account| account.used == 0 && account.rank.is_none()) {
            self.tenants.remove(tenant);
        }
    }
}
