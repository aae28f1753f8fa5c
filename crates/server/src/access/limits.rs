//! Rate limits: the requests a key may make per minute, and the workspaces an address may create per hour.
//!
//! Counts are kept in this process, in fixed windows. Several processes count separately.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crm::model::fault::Fault;

use crate::access::lanes::Lanes;

/// The length of a key's window, in seconds.
const KEY_WINDOW_SECONDS: i64 = 60;
/// The length of an hourly window, in seconds.
const HOUR_SECONDS: i64 = 3600;
/// The default hourly limit: for anonymous workspaces and sign-ups of an address, and for what one person creates.
const USUAL_AN_HOUR: u32 = 60;
/// The limit that headers give if there is no limit.
const UNLIMITED: u32 = 1_000_000;
/// The most addresses or people that are counted. Beyond that, counts of past hours are dropped.
const COUNTED: usize = 100_000;

/// Sign-ins at providers that an address may start per hour. The limit is high because a whole office may share an address.
const SIGN_INS_AN_HOUR: u32 = 600;

/// The rate limits. Each door counts separately.
#[derive(Debug)]
pub struct Limits {
    /// Requests per minute with a key or session. 0 turns off this limit and the hourly ones.
    pub requests_a_minute: u32,
    /// Anonymous workspaces per address.
    pub anonymous_workspaces: Hourly<IpAddr>,
    /// Accounts per address.
    pub new_accounts: Hourly<IpAddr>,
    /// Sign-ins at providers per address.
    pub sign_ins: Hourly<IpAddr>,
    /// Workspaces per person who creates them.
    pub made_workspaces: Hourly<String>,
    /// Invitations per person who invites.
    pub invitations: Hourly<String>,
    /// Apps that register themselves, per address.
    pub registrations: Hourly<IpAddr>,
    /// The calls that run at once, per address. They are bounded even if the rates are off.
    pub lanes: Arc<Lanes>,
}

impl Limits {
    /// Creates the limits of a door, with nothing counted.
    pub fn new(requests_a_minute: u32) -> Limits {
        Limits {
            requests_a_minute,
            anonymous_workspaces: Hourly::default(),
            new_accounts: Hourly::default(),
            sign_ins: Hourly::at_most(SIGN_INS_AN_HOUR),
            made_workspaces: Hourly::default(),
            invitations: Hourly::default(),
            registrations: Hourly::default(),
            lanes: Arc::default(),
        }
    }

    /// Counts one act of an hourly limit. `what` follows the number in the error: "invitations an hour by one person".
    pub fn take<K: Eq + Hash>(&self, hourly: &Hourly<K>, who: K, now: i64, what: &str) -> Result<(), Fault> {
        if self.requests_a_minute == 0 {
            return Ok(());
        }
        hourly.take(who, now).map_or(Ok(()), |retry_after| {
            Err(Fault::RateLimited { retry_after, message: format!("More than {} {what}.", hourly.most()) })
        })
    }
}

/// The state of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests allowed per window.
    pub limit: u32,
    /// Requests left in this window.
    pub remaining: u32,
    /// When the window ends, in Unix seconds.
    pub reset_at: i64,
    /// Whether this request was within the limit.
    pub allowed: bool,
}

/// A key's count: the window's number in the upper half, its requests in the lower half.
#[derive(Debug, Default)]
pub struct Window(AtomicU64);

impl Window {
    /// Counts a request. A limit of 0 means no limit.
    pub fn take(&self, limit: u32, now: i64) -> Rate {
        let window = now.div_euclid(KEY_WINDOW_SECONDS);
        let reset_at = (window + 1) * KEY_WINDOW_SECONDS;
        if limit == 0 {
            return Rate { limit: UNLIMITED, remaining: UNLIMITED, reset_at, allowed: true };
        }
        let count = |before: u64| {
            let in_window = if before >> 32 == window as u64 & 0xffff_ffff { before & 0xffff_ffff } else { 0 };
            ((window as u64 & 0xffff_ffff) << 32) | (in_window + 1).min(0xffff_fffe)
        };
        // The closure always returns a value, so this can't fail.
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| Some(count(before)));
        let used = (count(before.unwrap_or_default()) & 0xffff_ffff) as u32;
        Rate { limit, remaining: limit.saturating_sub(used), reset_at, allowed: used <= limit }
    }
}

/// Counts acts per hour.
#[derive(Debug)]
pub struct Hourly<K> {
    most: u32,
    counts: Mutex<HashMap<K, (i64, u32)>>,
}

impl<K> Default for Hourly<K> {
    fn default() -> Hourly<K> {
        Hourly::at_most(USUAL_AN_HOUR)
    }
}

impl<K> Hourly<K> {
    /// Creates a counter that allows this many per hour.
    pub fn at_most(most: u32) -> Hourly<K> {
        Hourly { most, counts: Mutex::default() }
    }

    /// The number allowed per hour.
    pub fn most(&self) -> u32 {
        self.most
    }
}

impl<K: Eq + Hash> Hourly<K> {
    /// Counts one. Returns `None` if it is allowed, else the seconds until the next one is.
    pub fn take(&self, who: K, now: i64) -> Option<u64> {
        let window = now.div_euclid(HOUR_SECONDS);
        let mut counts = self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if counts.len() >= COUNTED {
            counts.retain(|_, (counted_in, _)| *counted_in == window);
        }
        let (counted_in, count) = counts.entry(who).or_insert((window, 0));
        if *counted_in != window {
            (*counted_in, *count) = (window, 0);
        }
        if *count >= self.most {
            return Some(((window + 1) * HOUR_SECONDS - now).max(1) as u64);
        }
        *count += 1;
        None
    }
}

/// The network of an address. One customer of a provider has a whole /64 of IPv6 addresses.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_counts_down_and_starts_anew() {
        let window = Window::default();
        assert_eq!(window.take(2, 60), Rate { limit: 2, remaining: 1, reset_at: 120, allowed: true });
        assert_eq!(window.take(2, 61), Rate { limit: 2, remaining: 0, reset_at: 120, allowed: true });
        assert_eq!(window.take(2, 119), Rate { limit: 2, remaining: 0, reset_at: 120, allowed: false });
        assert_eq!(window.take(2, 120), Rate { limit: 2, remaining: 1, reset_at: 180, allowed: true });
    }

    #[test]
    fn no_limit_says_a_million() {
        assert_eq!(Window::default().take(0, 60).remaining, 1_000_000);
    }

    #[test]
    fn sixty_workspaces_an_hour_and_network() {
        let addresses = Hourly::default();
        let take = |address: &str, now| addresses.take(network(address.parse().unwrap()), now);
        for _ in 0..60 {
            assert_eq!(take("2001:db8::1", 7200), None);
        }
        assert_eq!(take("2001:db8::2", 7200 + 600), Some(3000));
        assert_eq!(take("2001:db8:0:1::2", 7200), None);
        assert_eq!(take("2001:db8::2", 10_800), None);
    }
}
