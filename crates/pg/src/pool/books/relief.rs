//! Which holders must give up a place. Places that are held for long do no harm while others are free. While tenants wait,
//! half of the places should become free within a moment, so that a tenant without a place is served soon, whatever the
//! others do.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Account, Books, Holder, Share, Tenant, may_have_more};

/// A place that has been held for longer than this is slow. Most requests take a hundredth of it.
const SLOW: Duration = Duration::from_millis(250);
/// The work in a place that was told to end frees the place within this time. Otherwise it does not end, and the place
/// counts as slow again.
const ENDING: Duration = Duration::from_secs(3);

/// The tenants among whom places are divided.
#[derive(Clone, Copy, PartialEq)]
enum Among {
    Everybody,
    /// Tenants with a small share, who have half of the places together.
    TheSmall,
}

impl<E> Holder<E> {
    fn is_slow(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= SLOW
    }

    /// Whether its place will soon be returned.
    fn is_going(&self, now: Instant) -> bool {
        self.ending.is_some_and(|since| now.saturating_duration_since(since) < ENDING)
    }

    fn is_among(&self, among: Among) -> bool {
        among == Among::Everybody || self.is_small
    }
}

impl<C, W, E: Clone> Books<C, W, E> {
    /// Ends the work in slow places so that waiting tenants get them. Must be called repeatedly while requests wait.
    pub(in crate::pool) fn relieve(&mut self, now: Instant) -> Vec<E> {
        let mut enders = self.relieve_among(Among::Everybody, now);
        if self.small >= self.limits.most_small() {
            enders.extend(self.relieve_among(Among::TheSmall, now));
        }
        enders
    }

    /// While more than half of the places are slow, each waiting tenant gets one from the tenants with the most places, or
    /// from any tenant if it has none itself. Places of tenants beyond their share are taken first, then the places held
    /// longest.
    fn relieve_among(&mut self, among: Among, now: Instant) -> Vec<E> {
        let in_question = || self.holders.iter().filter(|(_, holder)| holder.is_among(among));
        let coming = in_question().filter(|(_, holder)| holder.is_going(now)).count();
        let is_slow = |holder: &Holder<E>| holder.is_slow(now) && !holder.is_going(now);
        let slow: Vec<u64> = in_question().filter(|(_, holder)| is_slow(holder)).map(|(number, _)| *number).collect();
        let mut excess = slow.len().saturating_sub(self.most_slow(among));
        if excess == 0 {
            return Vec::new();
        }
        let mut used: HashMap<Tenant, usize> =
            self.tenants.iter().map(|(tenant, account)| (tenant.clone(), account.used)).collect();
        let mut enders = Vec::new();
        for wants in self.wanting(among).into_iter().skip(coming) {
            let judged = slow.iter().filter_map(|number| Some((self.weight(*number, wants, &used)?, Reverse(*number))));
            let Some((_, Reverse(number))) = judged.max() else { continue };
            let holder = self.holders.get_mut(&number).expect("one of the slow");
            holder.ending = Some(now);
            enders.extend(holder.ender.clone());
            used.entry(holder.tenant.clone()).and_modify(|used| *used -= 1);
            excess -= 1;
            if excess == 0 {
                break;
            }
        }
        enders
    }

    /// The rank of a place that could be taken for a tenant with `wants` places: whether it is beyond its holder's share,
    /// and how many places the holder has. `None` if it can't be taken, or if the holder would then have fewer places
    /// than a waiting tenant that already has some.
    fn weight(&self, number: u64, wants: usize, used: &HashMap<Tenant, usize>) -> Option<(bool, usize)> {
        let holder = self.holders.get(&number)?;
        let held = *used.get(&holder.tenant)?;
        let is_richer = wants == 0 || held >= wants + 2;
        let may_end = holder.ending.is_none() && holder.ender.is_some();
        let share = self.tenants.get(&holder.tenant)?.share;
        (is_richer && may_end).then_some((matches!(share, Share::Small(places) if held > places), held))
    }

    /// The number of places of each tenant that waits for lack of places, in the order of their turns.
    fn wanting(&self, among: Among) -> Vec<usize> {
        let could_use = |account: &&Account| {
            let mut keys = account.keys.iter().filter_map(|key| self.slots.get(key));
            let has_room = match among {
                Among::Everybody => self.has_room(account),
                // There would be room if other tenants of the same group had fewer places.
                Among::TheSmall => {
                    matches!(account.share, Share::Small(_))
                        && may_have_more(account, &self.limits, self.total - self.idle, 0)
                }
            };
            has_room && keys.any(|slot| slot.could_use_one(&self.limits))
        };
        let in_line = self.line.values().filter_map(|tenant| self.tenants.get(tenant));
        in_line.filter(could_use).map(|account| account.used).collect()
    }

    fn most_slow(&self, among: Among) -> usize {
        let places = match among {
            Among::Everybody => self.limits.max_total,
            Among::TheSmall => self.limits.most_small(),
        };
        places / 2
    }
}
