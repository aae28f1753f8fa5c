//! Limits how often an address can cause look-ups of unknown tokens. A well-formed token costs a query before it is known to
//! be invalid, and anybody can generate such tokens.
//!
//! Beyond an allowance an address is slowed down, not blocked, because other clients behind it may have valid tokens. Each of
//! its look-ups then waits for the previous one and a short time more. A token that was just unknown is not looked up again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crm::model::fault::Fault;

use crate::access::limits::network;
use crate::cache::Cache;

/// Look-ups of unknown tokens that an address may make without delay, per minute.
const ALLOWED: u32 = 30;
const WINDOW_SECONDS: i64 = 60;
/// The time between two look-ups beyond the allowance.
const PACE: Duration = Duration::from_millis(50);
/// The most look-ups of an address that wait.
const WAITING: usize = 32;
/// How long an unknown token is not looked up again, and how many such tokens are remembered.
const UNKNOWN_MS: u64 = 5_000;
const REMEMBERED: usize = 20_000;
/// The most addresses that are counted. Beyond that, counts of past minutes are dropped.
const COUNTED: usize = 100_000;

/// The look-ups of all addresses.
#[derive(Debug)]
pub struct LookUps {
    pace: Duration,
    networks: Mutex<HashMap<IpAddr, Arc<NetworkLookUps>>>,
    unknown: Cache<[u8; 32], ()>,
    /// The tokens that are being looked up.
    asked: Mutex<HashMap<[u8; 32], Arc<tokio::sync::Mutex<()>>>>,
}

/// One of the look-ups of the same token.
pub struct Ask<'a> {
    look_ups: &'a LookUps,
    hash: [u8; 32],
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Ask<'_> {
    /// Waits until no other look-up of the token is running.
    pub async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

impl Drop for Ask<'_> {
    fn drop(&mut self) {
        let mut asked = self.look_ups.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // One reference is the table's and one is this one: no other call looks it up.
        if Arc::strong_count(&self.turn) <= 2 {
            asked.remove(&self.hash);
        }
    }
}

impl Default for LookUps {
    fn default() -> LookUps {
        LookUps::at_pace(PACE)
    }
}

#[derive(Debug, Default)]
struct NetworkLookUps {
    /// The minute, and the look-ups in it.
    count: Mutex<(i64, u32)>,
    waiting: AtomicUsize,
    turn: tokio::sync::Mutex<()>,
}

impl LookUps {
    fn at_pace(pace: Duration) -> LookUps {
        let unknown = Cache::fresh_for(UNKNOWN_MS, REMEMBERED);
        LookUps { pace, networks: Mutex::default(), unknown, asked: Mutex::default() }
    }

    /// Starts a look-up of a token, by the hash under which it would be stored.
    pub fn ask(&self, hash: [u8; 32]) -> Ask<'_> {
        let turn = self.asked.lock().unwrap_or_else(PoisonError::into_inner).entry(hash).or_default().clone();
        Ask { look_ups: self, hash, turn }
    }

    /// Looks a token up by the hash under which it would be stored. Returns `None` if it is unknown.
    pub async fn run<T>(
        &self,
        address: Option<IpAddr>,
        hash: [u8; 32],
        now_ms: i64,
        look_up: impl Future<Output = Result<Option<T>, Fault>>,
    ) -> Result<Option<T>, Fault> {
        let Some(address) = address else { return look_up.await };
        let counted = self.network(network(address), now_ms);
        if counted.take(now_ms) {
            let found = look_up.await;
            if matches!(found, Ok(Some(_))) {
                counted.give_back(now_ms);
            }
            return found;
        }
        if self.was_unknown(&hash, now_ms) {
            return Ok(None);
        }
        let _waiting = WaitingLookUp::begin(&counted)?;
        let _turn = counted.turn.lock().await;
        tokio::time::sleep(self.pace).await;
        let begun = self.unknown.begin(now_ms);
        let found = look_up.await?;
        if found.is_none() {
            self.unknown.store(begun, hash, ());
        }
        Ok(found)
    }

    /// Records by its hash that a token is unknown.
    pub fn note_unknown(&self, hash: [u8; 32], now_ms: i64) {
        self.unknown.store(self.unknown.begin(now_ms), hash, ());
    }

    /// Whether a token was recently found to be unknown.
    pub fn was_unknown(&self, hash: &[u8; 32], now_ms: i64) -> bool {
        self.unknown.get(hash, now_ms).is_some()
    }

    /// Forgets which tokens were unknown, for example after a token was created.
    pub fn forget(&self) {
        self.unknown.forget_all();
    }

    fn network(&self, network: IpAddr, now_ms: i64) -> Arc<NetworkLookUps> {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if networks.len() >= COUNTED {
            networks.retain(|_, it| Arc::strong_count(it) > 1 || it.is_of(minute(now_ms)));
        }
        networks.entry(network).or_default().clone()
    }
}

fn minute(now_ms: i64) -> i64 {
    now_ms.div_euclid(1000 * WINDOW_SECONDS)
}

impl NetworkLookUps {
    /// Counts a look-up, unless this minute's allowance is used up.
    fn take(&self, now_ms: i64) -> bool {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        if count.0 != minute(now_ms) {
            *count = (minute(now_ms), 0);
        }
        if count.1 >= ALLOWED {
            return false;
        }
        count.1 += 1;
        true
    }

    /// Takes back the count of a look-up that found something.
    fn give_back(&self, now_ms: i64) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        if count.0 == minute(now_ms) {
            count.1 = count.1.saturating_sub(1);
        }
    }

    fn is_of(&self, minute: i64) -> bool {
        self.count.lock().unwrap_or_else(PoisonError::into_inner).0 == minute
    }
}

/// A look-up that waits.
struct WaitingLookUp<'a>(&'a NetworkLookUps);

impl<'a> WaitingLookUp<'a> {
    fn begin(network: &'a NetworkLookUps) -> Result<WaitingLookUp<'a>, Fault> {
        let waiting = WaitingLookUp(network);
        if network.waiting.fetch_add(1, Ordering::Relaxed) < WAITING {
            return Ok(waiting);
        }
        let message = "Too many unknown keys and sessions come from this address.".into();
        Err(Fault::RateLimited { retry_after: 2, message })
    }
}

impl Drop for WaitingLookUp<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
    const NOW_MS: i64 = 1_000_000;

    struct Asked {
        look_ups: LookUps,
        queries: Cell<u32>,
    }

    impl Asked {
        async fn ask(&self, token: u8, found: Option<u8>) -> Result<Option<u8>, Fault> {
            let query = async {
                self.queries.set(self.queries.get() + 1);
                Ok(found)
            };
            self.look_ups.run(HERE, [token; 32], NOW_MS, query).await
        }
    }

    fn fresh() -> Asked {
        Asked { look_ups: LookUps::at_pace(Duration::ZERO), queries: Cell::new(0) }
    }

    #[tokio::test]
    async fn unknown_tokens_are_remembered_past_the_allowance_only() {
        let asked = fresh();
        for _ in 0..ALLOWED {
            assert_eq!(asked.ask(1, None).await, Ok(None));
        }
        assert_eq!(asked.queries.get(), ALLOWED, "each was looked up: it could have been made in between");
        for _ in 0..3 {
            assert_eq!(asked.ask(2, None).await, Ok(None));
        }
        assert_eq!(asked.queries.get(), ALLOWED + 1);
        asked.look_ups.forget();
        assert_eq!(asked.ask(2, Some(7)).await, Ok(Some(7)));
    }

    #[tokio::test]
    async fn known_tokens_do_not_count() {
        let asked = fresh();
        for _ in 0..3 * ALLOWED {
            assert_eq!(asked.ask(1, Some(1)).await, Ok(Some(1)));
        }
        assert!(asked.look_ups.networks.lock().unwrap().values().all(|it| it.take(NOW_MS)));
    }

    #[tokio::test]
    async fn of_look_ups_of_the_same_token_one_is_under_way() {
        let look_ups = LookUps::default();
        let (first, second) = (look_ups.ask([1; 32]), look_ups.ask([1; 32]));
        let alone = first.alone().await;
        assert!(second.turn.try_lock().is_err() && look_ups.ask([2; 32]).turn.try_lock().is_ok());
        drop(alone);
        drop(first);
        assert!(second.turn.try_lock().is_ok() && look_ups.asked.lock().unwrap().len() == 1);
        drop(second);
        assert!(look_ups.asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_flood_waits_and_is_refused_in_the_end() {
        let asked = fresh();
        for token in 0..ALLOWED {
            assert_eq!(asked.ask(token as u8, None).await, Ok(None));
        }
        let flood = (0..WAITING + 8).map(|number| asked.ask(100 + number as u8, None));
        let outcomes = futures_util::future::join_all(flood).await;
        assert_eq!(outcomes.iter().filter(|it| it.is_err()).count(), 8);
        assert_eq!(asked.ask(99, Some(1)).await, Ok(Some(1)), "who is known comes through");
    }
}
