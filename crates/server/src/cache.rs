//! A bounded cache of looked-up values. It never keeps a value that was forgotten during its look-up.
//!
//! What a look-up reads can end meanwhile: a key is revoked, a session is closed. The code that ends it calls
//! [`Cache::forget_all`] or [`Cache::forget`] afterwards. A look-up that started before that call may have read the old state,
//! so its result is returned to its caller but not stored.

use std::borrow::Borrow;
use std::hash::Hash;
use std::mem;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::{HashMap, HashMapExt};

/// Values by key. `V` is cloned for each reader, so it must be cheap to clone, such as an `Arc`.
#[derive(Debug)]
pub struct Cache<K, V> {
    /// How long a value is fresh, in milliseconds. With `None`, until it is forgotten.
    lifetime_ms: Option<u64>,
    /// The most entries in one of the two generations.
    half_capacity: usize,
    entries: RwLock<Entries<K, V>>,
}

/// Two generations. A new value is put into the young generation, and so is an old value that is read. When the young generation
/// is full, it becomes the old one, and values of the previous old one are dropped.
#[derive(Debug)]
struct Entries<K, V> {
    young: HashMap<K, CachedValue<V>>,
    old: HashMap<K, CachedValue<V>>,
    /// The number of calls that forgot something.
    forgotten: u64,
}

#[derive(Clone, Debug)]
struct CachedValue<V> {
    value: V,
    /// When its look-up started.
    looked_up_ms: i64,
}

/// A look-up that has started, with the state that is required to store its result.
#[derive(Debug)]
pub struct LookUp {
    forgotten: u64,
    began_ms: i64,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// Creates a cache of at most `capacity` values, each fresh until it is forgotten.
    pub fn until_forgotten(capacity: usize) -> Cache<K, V> {
        Cache::new(capacity, None)
    }

    /// Creates a cache of at most `capacity` values, each fresh for this many milliseconds after its look-up started.
    pub fn fresh_for(lifetime_ms: u64, capacity: usize) -> Cache<K, V> {
        Cache::new(capacity, Some(lifetime_ms))
    }

    fn new(capacity: usize, lifetime_ms: Option<u64>) -> Cache<K, V> {
        let entries = Entries { young: HashMap::new(), old: HashMap::new(), forgotten: 0 };
        Cache { lifetime_ms, half_capacity: capacity.div_ceil(2).max(1), entries: RwLock::new(entries) }
    }

    /// The value of a key, if it is cached and still fresh at `now_ms`.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, now_ms: i64) -> Option<V>
    where
        K: Borrow<Q>,
    {
        {
            let entries = self.read();
            if let Some(entry) = entries.young.get(key) {
                return self.is_fresh(entry, now_ms).then(|| entry.value.clone());
            }
            entries.old.get(key).filter(|entry| self.is_fresh(entry, now_ms))?;
        }
        let mut entries = self.write();
        // It may have been removed between the two locks.
        let (key, entry) = entries.old.remove_entry(key)?;
        let value = entry.value.clone();
        self.add(&mut entries, key, entry);
        Some(value)
    }

    /// Returns the value of a key. If it is not cached, it is looked up with `look_up`. `Ok(None)` and errors are not stored. The
    /// look-up is created only if it is needed, and on the heap: it is large, and most calls find the value in the cache.
    pub async fn get_or_look_up<E>(
        &self,
        key: K,
        now_ms: i64,
        look_up: impl AsyncFnOnce() -> Result<Option<V>, E>,
    ) -> Result<Option<V>, E> {
        if let Some(value) = self.get(&key, now_ms) {
            return Ok(Some(value));
        }
        let begun = self.begin(now_ms);
        let found = Box::pin(look_up()).await?;
        if let Some(value) = &found {
            self.store(begun, key, value.clone());
        }
        Ok(found)
    }

    /// Returns the value of a key. If it is not cached, it is created with `make`. For values that are not looked up, such as
    /// counters.
    pub fn get_or_insert_with(&self, key: K, make: impl FnOnce() -> V) -> V {
        if let Some(value) = self.get(&key, 0) {
            return value;
        }
        let mut entries = self.write();
        if let Some(entry) = entries.young.get(&key) {
            return entry.value.clone();
        }
        let entry = entries.old.remove(&key).unwrap_or_else(|| CachedValue { value: make(), looked_up_ms: 0 });
        let value = entry.value.clone();
        self.add(&mut entries, key, entry);
        value
    }

    /// Starts a look-up at `now_ms`. Call it before reading anything that the value depends on.
    pub fn begin(&self, now_ms: i64) -> LookUp {
        LookUp { forgotten: self.read().forgotten, began_ms: now_ms }
    }

    /// Stores the result of a look-up, unless something was forgotten since it started. Returns whether it was stored.
    pub fn store(&self, begun: LookUp, key: K, value: V) -> bool {
        let mut entries = self.write();
        if entries.forgotten != begun.forgotten {
            return false;
        }
        entries.old.remove(&key);
        self.add(&mut entries, key, CachedValue { value, looked_up_ms: begun.began_ms });
        true
    }

    /// Forgets everything. The results of current look-ups are not stored.
    pub fn forget_all(&self) {
        let mut entries = self.write();
        entries.forgotten += 1;
        entries.young.clear();
        entries.old.clear();
    }

    /// Forgets the values that `is_meant` selects. The results of all current look-ups are not stored.
    pub fn forget(&self, is_meant: impl Fn(&V) -> bool) {
        let mut entries = self.write();
        entries.forgotten += 1;
        entries.young.retain(|_, entry| !is_meant(&entry.value));
        entries.old.retain(|_, entry| !is_meant(&entry.value));
    }

    fn add(&self, entries: &mut Entries<K, V>, key: K, entry: CachedValue<V>) {
        if entries.young.len() >= self.half_capacity && !entries.young.contains_key(&key) {
            entries.old = mem::take(&mut entries.young);
        }
        entries.young.insert(key, entry);
    }

    /// A reader may have read the time a moment before the look-up started. A value from further in the future is stale, because
    /// the clock was set back.
    fn is_fresh(&self, entry: &CachedValue<V>, now_ms: i64) -> bool {
        self.lifetime_ms.is_none_or(|lifetime_ms| now_ms.abs_diff(entry.looked_up_ms) < lifetime_ms)
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries<K, V>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries<K, V>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tokio::sync::oneshot;

    use super::*;

    /// Starts a look-up, runs `meanwhile` during it, and returns what is stored afterwards.
    async fn stored_after(meanwhile: impl FnOnce(&Cache<&'static str, u32>)) -> Option<u32> {
        let cache = Cache::until_forgotten(10);
        let (answer, answered) = oneshot::channel();
        let mut look_up = pin!(cache.get_or_look_up("key", 0, async || { Ok::<_, Infallible>(answered.await.ok()) }));
        assert!(look_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "it waits for the answer");
        meanwhile(&cache);
        answer.send(7).expect("the look-up waits");
        assert_eq!(look_up.await, Ok(Some(7)), "its caller gets the answer in any case");
        cache.get("key", 0)
    }

    #[tokio::test]
    async fn what_is_forgotten_during_its_look_up_is_not_stored() {
        assert_eq!(stored_after(|_| {}).await, Some(7));
        assert_eq!(stored_after(Cache::forget_all).await, None);
        // The value is not cached yet, so `is_meant` can't exclude it.
        assert_eq!(stored_after(|cache| cache.forget(|_| false)).await, None);
    }

    #[tokio::test]
    async fn a_look_up_that_begins_after_the_forgetting_is_stored() {
        let cache = Cache::until_forgotten(10);
        let before = cache.begin(0);
        cache.forget_all();
        let after = cache.begin(0);
        assert!(!cache.store(before, "key", 1));
        assert!(cache.store(after, "key", 2));
        assert_eq!(cache.get("key", 0), Some(2));
    }

    #[tokio::test]
    async fn only_what_is_found_is_stored() {
        let cache: Cache<&str, u32> = Cache::until_forgotten(10);
        let nothing = cache.get_or_look_up("key", 0, async || Ok::<_, &str>(None)).await;
        let error = cache.get_or_look_up("key", 0, async || Err("away")).await;
        assert_eq!((nothing, error, cache.get("key", 0)), (Ok(None), Err("away"), None));
        let found = cache.get_or_look_up("key", 0, async || Ok::<_, &str>(Some(1))).await;
        let again = cache.get_or_look_up("key", 0, async || Err("it is not asked again")).await;
        assert_eq!((found, again), (Ok(Some(1)), Ok(Some(1))));
    }

    #[test]
    fn a_value_is_fresh_from_the_beginning_of_its_look_up() {
        let cache = Cache::fresh_for(1000, 10);
        cache.store(cache.begin(5000), "key", 1);
        let check = |now_ms, expected| assert_eq!(cache.get("key", now_ms), expected, "{now_ms}");
        check(5000, Some(1));
        check(5999, Some(1));
        check(6000, None);
        check(4999, Some(1));
        check(4000, None);
    }

    #[test]
    fn only_those_that_are_meant_are_forgotten() {
        let cache = Cache::until_forgotten(4);
        for number in 0..4 {
            cache.store(cache.begin(0), number, number);
        }
        cache.forget(|number| number % 2 == 0);
        assert_eq!([0, 1, 2, 3].map(|number| cache.get(&number, 0)), [None, Some(1), None, Some(3)]);
    }

    #[test]
    fn a_full_cache_drops_what_is_not_read() {
        let cache = Cache::until_forgotten(10);
        cache.store(cache.begin(0), 0, 0);
        for number in 1..1000 {
            cache.store(cache.begin(0), number, number);
            assert_eq!(cache.get(&0, 0), Some(0), "it is read all the time");
            let entries = cache.read();
            assert!(entries.young.len() + entries.old.len() <= 10);
        }
        assert_eq!(cache.get(&1, 0), None);
        assert_eq!(cache.get(&999, 0), Some(999));
    }
}
