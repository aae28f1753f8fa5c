//! The rules of the books: fairness, caps, and that the books are always consistent.

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::pool::Lane;

/// The function that ends a holder's work is represented by its number.
type Trial = Books<u32, u32, u64>;

fn key(role: u8) -> Key {
    of(0, role)
}

/// A role of a tenant.
fn of(tenant: u8, role: u8) -> Key {
    let database = Arc::from(format!("db{tenant}"));
    Key { cell: 0, database, role: Arc::from(format!("role{role}")), lane: Lane::Rest }
}

fn limits(max_total: usize, max_per_role: usize) -> Limits {
    Limits {
        max_total,
        max_per_role,
        max_queue_per_role: 3,
        wait: Duration::from_secs(1),
        max_age: Duration::from_secs(1000),
        max_idle: Duration::from_secs(100),
    }
}

/// Invariants that must hold between any two calls.
fn assert_balanced(books: &Trial) {
    let used: usize = books.slots.values().map(|slot| slot.used).sum();
    let idle: usize = books.slots.values().map(|slot| slot.idle.len()).sum();
    let waiting: usize = books.slots.values().map(|slot| slot.waiters.len()).sum();
    assert_eq!((books.total, books.idle, books.waiting), (used + idle, idle, waiting));
    assert_eq!(books.lru.len(), idle);
    assert!(books.total <= books.limits.max_total);
    for (sequence, key) in &books.lru {
        assert!(books.slots[key].idle.iter().any(|idle| idle.sequence == *sequence));
    }
    let mut ring = HashSet::new();
    for (tenant, account) in &books.tenants {
        let of_tenant = |key: &Key| Tenant::of(key) == *tenant;
        let its_slots = || books.slots.iter().filter(|(key, _)| of_tenant(key));
        assert_eq!(account.used, its_slots().map(|(_, slot)| slot.used).sum::<usize>());
        assert!(account.used <= books.limits.max_per_tenant());
        assert!(account.used > 0 || account.rank.is_some(), "an account stays behind: {tenant:?}");
        assert!(account.keys.iter().all(|key| of_tenant(key) && ring.insert(key)), "a key has one turn");
        assert!(account.rank.is_some() || account.keys.is_empty(), "{tenant:?}");
        assert!(account.rank.is_none_or(|rank| rank.0 == account.used && books.line.get(&rank) == Some(tenant)));
    }
    assert_eq!(books.line.len(), books.tenants.values().filter(|account| account.rank.is_some()).count());
    assert_eq!(books.holders.len(), used);
    assert_eq!(books.small, books.holders.values().filter(|holder| holder.is_small).count());
    for (key, slot) in &books.slots {
        assert!(slot.used + slot.idle.len() <= books.limits.max_per_role, "{key:?}");
        assert!(slot.resetting <= slot.used && slot.waiters.len() <= books.limits.max_queue_per_role);
        assert!(!slot.is_empty(), "an empty slot stays behind: {key:?}");
        assert_eq!(slot.in_turn, ring.contains(key), "{key:?}");
        if slot.could_use_one(&books.limits) {
            assert!(slot.in_turn, "somebody waits and has no turn: {key:?}");
        }
        if slot.could_use_one(&books.limits) && books.has_room(&books.tenants[&Tenant::of(key)]) {
            assert!(books.total == books.limits.max_total && idle == 0, "somebody waits beside a free place: {key:?}");
        }
    }
}

fn granted(books: &mut Trial, role: u8, now: Instant) -> Grant<u32> {
    match books.ask(&key(role), Share::Whole, now, || unreachable!("a place is free"), &mut Vec::new()) {
        Ask::Granted(grant) => grant,
        _ => panic!("no place for {role}"),
    }
}

fn waits(books: &mut Trial, role: u8, now: Instant, name: u32) -> u64 {
    match books.ask(&key(role), Share::Whole, now, || name, &mut Vec::new()) {
        Ask::Wait(number) => number,
        _ => panic!("{role} does not wait"),
    }
}

/// Returns a place with connection `c`. Returns the waiters that were served.
fn back(books: &mut Trial, mut grant: Grant<u32>, c: u32, now: Instant) -> (Vec<(u32, Grant<u32>)>, Vec<u32>) {
    grant.connection = Some(c);
    let outcome = books.give_back(grant, false, now);
    (outcome.granted, outcome.close)
}

#[test]
fn the_same_connection_comes_back_to_the_same_key() {
    let (mut books, now) = (Trial::new(limits(2, 2)), Instant::now());
    let grant = granted(&mut books, 1, now);
    assert!(grant.connection.is_none());
    back(&mut books, grant, 7, now);
    assert_eq!(granted(&mut books, 1, now).connection, Some(7));
}

#[test]
fn what_has_been_idle_longest_makes_room() {
    let (mut books, now) = (Trial::new(limits(2, 2)), Instant::now());
    for (role, connection) in [(1, 11), (2, 22)] {
        let grant = granted(&mut books, role, now);
        back(&mut books, grant, connection, now);
    }
    let mut close = Vec::new();
    assert!(matches!(books.ask(&key(3), Share::Whole, now, || 0, &mut close), Ask::Granted(_)));
    assert_eq!((close, books.stats().evicted), (vec![11], 1));
    assert_balanced(&books);
}

#[test]
fn one_role_cannot_have_more_than_its_share_nor_wait_in_a_longer_queue() {
    let (mut books, now) = (Trial::new(limits(10, 2)), Instant::now());
    let _held = [granted(&mut books, 1, now), granted(&mut books, 1, now)];
    for name in 0..3 {
        waits(&mut books, 1, now, name);
    }
    assert!(matches!(books.ask(&key(1), Share::Whole, now, || 9, &mut Vec::new()), Ask::Full));
    granted(&mut books, 2, now);
    assert_balanced(&books);
}

#[test]
fn waiting_keys_take_turns_and_each_is_first_come_first_served() {
    let (mut books, now) = (Trial::new(limits(1, 5)), Instant::now());
    let mut grant = granted(&mut books, 9, now);
    for (role, name) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30), (2, 21)] {
        waits(&mut books, role, now, name);
    }
    let mut order = Vec::new();
    let mut now = now;
    loop {
        now += TURN;
        let (mut served, _) = back(&mut books, grant, 0, now);
        assert_balanced(&books);
        let Some((name, next)) = served.pop() else {
            break;
        };
        order.push(name);
        grant = next;
    }
    assert_eq!(order, [10, 20, 30, 11, 21, 12]);
}

#[test]
fn within_its_turn_a_key_keeps_the_place() {
    let (mut books, now) = (Trial::new(limits(1, 5)), Instant::now());
    let grant = granted(&mut books, 1, now);
    for (role, name) in [(2, 20), (1, 10), (1, 11)] {
        waits(&mut books, role, now, name);
    }
    let (mut served, closed) = back(&mut books, grant, 5, now + TURN / 2);
    let (name, next) = served.pop().unwrap();
    assert_eq!((name, next.connection, closed), (10, Some(5), vec![]), "the connection is used on");
    let (served, closed) = back(&mut books, next, 5, now + TURN);
    assert_eq!((served[0].0, closed), (20, vec![5]), "and then it is another's turn");
}

#[test]
fn a_request_waits_for_the_reset_connection_instead_of_opening_one() {
    let (mut books, now) = (Trial::new(limits(10, 5)), Instant::now());
    let mut grant = granted(&mut books, 1, now);
    books.reset_begins(&key(1));
    waits(&mut books, 1, now, 10);
    granted(&mut books, 1, now).connection.ok_or("the second one opens").unwrap_err();
    assert_balanced(&books);
    grant.connection = Some(5);
    let mut outcome = books.give_back(grant, true, now);
    let (name, next) = outcome.granted.pop().unwrap();
    assert_eq!((name, next.connection), (10, Some(5)));
}

#[test]
fn a_failed_reset_lets_the_waiter_open_one() {
    let (mut books, now) = (Trial::new(limits(10, 5)), Instant::now());
    let grant = granted(&mut books, 1, now);
    books.reset_begins(&key(1));
    waits(&mut books, 1, now, 10);
    let mut outcome = books.give_back(grant, true, now);
    let (name, next) = outcome.granted.pop().unwrap();
    assert_eq!((name, next.connection), (10, None));
    assert_balanced(&books);
}

#[test]
fn evicted_keys_lose_what_is_idle_now_and_what_is_in_use_later() {
    let (mut books, now) = (Trial::new(limits(10, 5)), Instant::now());
    let (held, idle) = (granted(&mut books, 1, now), granted(&mut books, 1, now));
    back(&mut books, idle, 1, now);
    let other = granted(&mut books, 2, now);
    back(&mut books, other, 3, now);
    assert_eq!(books.evict(|k| *k == key(1), now).close, [1]);
    assert_eq!(back(&mut books, held, 2, now).1, [2]);
    let fresh = granted(&mut books, 1, now);
    assert!(back(&mut books, fresh, 4, now).1.is_empty(), "what was opened since stays");
    assert_eq!(books.stats().idle, 2);
    assert_balanced(&books);
}

#[test]
fn the_old_and_the_idle_retire() {
    let (mut books, start) = (Trial::new(limits(10, 5)), Instant::now());
    let grant = granted(&mut books, 1, start);
    back(&mut books, grant, 1, start);
    assert!(books.retire(start + Duration::from_secs(99)).is_empty());
    assert_eq!(books.retire(start + Duration::from_secs(100)), [1]);
    let grant = granted(&mut books, 1, start);
    assert_eq!(back(&mut books, grant, 2, start + Duration::from_secs(1000)).1, [2], "too old to go idle");
    assert_balanced(&books);
    assert_eq!(books.stats(), Stats::default());
}

/// Requests a place for a tenant's role 0. A waiter has the tenant's number.
fn ask_for(books: &mut Trial, tenant: u8, share: Share, now: Instant) -> Option<Grant<u32>> {
    match books.ask(&of(tenant, 0), share, now, || u32::from(tenant), &mut Vec::new()) {
        Ask::Granted(grant) => {
            books.begin(grant.number, grant.number, now);
            Some(grant)
        }
        Ask::Wait(_) => None,
        Ask::Full | Ask::Closed => panic!("{tenant} is sent away"),
    }
}

const SMALL: Share = Share::Small(2);
const LONG: Duration = Duration::from_secs(1);

#[test]
fn who_holds_nothing_comes_before_who_holds_something() {
    let (mut books, now) = (Trial::new(limits(4, 4)), Instant::now());
    let mut held: Vec<_> = [1, 1, 2, 3].map(|tenant| ask_for(&mut books, tenant, Share::Whole, now).unwrap()).into();
    for tenant in [1, 2, 1, 4, 5] {
        assert!(ask_for(&mut books, tenant, Share::Whole, now).is_none());
    }
    assert_balanced(&books);
    let mut order = Vec::new();
    let later = now + LONG;
    // Tenant 3 no longer wants a place.
    let (mut served, _) = back(&mut books, held.pop().unwrap(), 0, later);
    while let Some((tenant, grant)) = served.pop() {
        order.push(tenant);
        assert_balanced(&books);
        if order.len() < 3 {
            served = back(&mut books, grant, 0, later + LONG).0;
        }
    }
    assert_eq!(order, [4, 5, 2], "who holds least, and then who came first");
}

#[test]
fn a_small_share_is_two_places_once_places_are_scarce() {
    let (mut books, now) = (Trial::new(limits(16, 8)), Instant::now());
    // A quarter of the pool, before its share is enforced.
    let alone: Vec<_> = std::iter::from_fn(|| ask_for(&mut books, 1, SMALL, now)).collect();
    assert_eq!(alone.len(), 4);
    // All of them together have at most half of the pool.
    let others: Vec<_> = (2..9).filter_map(|tenant| ask_for(&mut books, tenant, SMALL, now)).collect();
    assert_eq!(others.len(), 4);
    assert_balanced(&books);
    let whole: Vec<_> = (20..28).filter_map(|tenant| ask_for(&mut books, tenant, Share::Whole, now)).collect();
    assert_eq!(whole.len(), 8, "the other half is for those with a whole share");
    assert_balanced(&books);
}

#[test]
fn the_slow_give_way_to_who_waits_until_half_of_the_places_are_quick() {
    let (mut books, now) = (Trial::new(limits(8, 8)), Instant::now());
    let held: Vec<_> =
        [1, 1, 1, 1, 1, 2, 2, 3].map(|tenant| ask_for(&mut books, tenant, Share::Whole, now).unwrap()).into();
    let numbers: Vec<u64> = held.iter().map(|grant| grant.number).collect();
    assert!(books.relieve(now + LONG).is_empty(), "nobody waits");
    for tenant in [4, 4, 5, 1, 2, 6, 7, 8] {
        assert!(ask_for(&mut books, tenant, Share::Whole, now).is_none());
    }
    assert!(books.relieve(now).is_empty(), "nobody is slow");
    // The four places beyond the share are taken first from the tenant with the most. After that it has no more than the
    // other, and the place that was held longest is taken.
    assert_eq!(books.relieve(now + LONG), numbers[..4]);
    assert!(books.relieve(now + LONG).is_empty(), "they are on their way");
    assert_balanced(&books);
}

#[test]
fn what_does_not_end_counts_as_slow_and_others_end_instead() {
    let (mut books, now) = (Trial::new(limits(4, 4)), Instant::now());
    let _held = [1, 1, 2, 2].map(|tenant| ask_for(&mut books, tenant, Share::Whole, now).unwrap());
    assert!(ask_for(&mut books, 3, Share::Whole, now).is_none());
    let first = books.relieve(now + LONG);
    assert_eq!(first.len(), 1);
    assert!(books.relieve(now + LONG * 2).is_empty());
    let second = books.relieve(now + LONG * 5);
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
}

#[test]
fn small_shares_give_way_to_each_other_although_places_are_free() {
    let (mut books, now) = (Trial::new(limits(16, 8)), Instant::now());
    let _held: Vec<_> =
        (1..=4).flat_map(|tenant| [tenant; 2]).map(|tenant| ask_for(&mut books, tenant, SMALL, now)).collect();
    assert!(ask_for(&mut books, 5, SMALL, now).is_none(), "half of the pool is theirs");
    assert_eq!(books.relieve(now + LONG).len(), 1);
    let plenty = ask_for(&mut books, 9, Share::Whole, now + LONG);
    assert!(plenty.is_some());
    assert_balanced(&books);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_books_balance_whatever_happens(
        max_total in 1_usize..6,
        max_per_role in 1_usize..4,
        acts in proptest::collection::vec((0_u8..10, 0_u8..5, any::<proptest::sample::Index>()), 1..200),
    ) {
        let mut books = Trial::new(limits(max_total, max_per_role));
        let mut now = Instant::now();
        let (mut held, mut resetting, mut waiting) = (Vec::new(), Vec::new(), Vec::<(Key, u64, u32)>::new());
        let mut next = 0;
        for (act, role, index) in acts {
            let mut outcome = Outcome::default();
            match act {
                0..=3 => {
                    next += 1;
                    // Five roles of three tenants, two of them with a small share.
                    let (key, share) = (of(role % 3, role), if role % 3 == 0 { Share::Whole } else { Share::Small(1) });
                    match books.ask(&key, share, now, || next, &mut outcome.close) {
                        Ask::Granted(grant) => {
                            if index.index(2) == 0 {
                                books.begin(grant.number, grant.number, now);
                            }
                            held.push(grant);
                        }
                        Ask::Wait(number) => waiting.push((key, number, next)),
                        Ask::Full | Ask::Closed => {}
                    }
                }
                4 | 5 if !held.is_empty() => {
                    let mut grant: Grant<u32> = held.swap_remove(index.index(held.len()));
                    grant.connection = (act == 4).then_some(next);
                    outcome = books.give_back(grant, false, now);
                }
                6 if !held.is_empty() => {
                    let grant = held.swap_remove(index.index(held.len()));
                    books.reset_begins(&grant.key);
                    resetting.push(grant);
                }
                7 if !resetting.is_empty() => {
                    let mut grant: Grant<u32> = resetting.swap_remove(index.index(resetting.len()));
                    grant.connection = (index.index(3) > 0).then_some(next);
                    outcome = books.give_back(grant, true, now);
                }
                9 => {
                    now += Duration::from_millis(200);
                    for number in books.relieve(now) {
                        prop_assert!(held.iter().chain(&resetting).any(|grant| grant.number == number));
                    }
                }
                8 if index.index(4) == 0 => outcome = books.evict(|k| *k == of(role % 3, role), now),
                8 if index.index(4) == 1 => outcome.close = books.retire(now),
                8 if !waiting.is_empty() => {
                    let (key, number, _) = waiting.swap_remove(index.index(waiting.len()));
                    books.forget_waiter(&key, number);
                }
                _ => now += Duration::from_millis(15),
            }
            for (name, grant) in outcome.granted {
                let at = waiting.iter().position(|(_, _, waiter)| *waiter == name).expect("who is served was waiting");
                prop_assert_eq!(&waiting.swap_remove(at).0, &grant.key);
                held.push(grant);
            }
            prop_assert_eq!(books.stats().in_use, held.len() + resetting.len());
            prop_assert_eq!(books.stats().waiting, waiting.len());
            assert_balanced(&books);
        }
        // Everything is returned: nobody waits, and nothing is in use.
        while let Some(grant) = held.pop() {
            let outcome = books.give_back(grant, false, now);
            held.extend(outcome.granted.into_iter().map(|(_, grant)| grant));
            assert_balanced(&books);
        }
        for grant in std::mem::take(&mut resetting) {
            held.extend(books.give_back(grant, true, now).granted.into_iter().map(|(_, grant)| grant));
        }
        while let Some(grant) = held.pop() {
            held.extend(books.give_back(grant, false, now).granted.into_iter().map(|(_, grant)| grant));
        }
        assert_balanced(&books);
        prop_assert_eq!((books.stats().in_use, books.stats().waiting), (0, 0));
    }
}
