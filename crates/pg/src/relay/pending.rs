//! Connections that have not logged in: how many there may be, which one is next, and which one is closed to make room.
//!
//! A new connection is never refused because others are slow. If there are too many, the oldest connection of the network
//! that has the most is closed. Few of them may be at the server at the same time: the newest connection is next, and one
//! that has been there for some time is closed as soon as another one waits.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How often a waiting connection tries to get a place at the server.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The minimum interval between log lines about too many connections.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Limits for connections that have not logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingLimits {
    /// Connections in total.
    pub max: usize,
    /// Connections of one network.
    pub max_per_network: usize,
    /// Connections that occupy a process of the server.
    pub max_at_server: usize,
    /// The same for one network.
    pub max_at_server_per_network: usize,
    /// How long a connection keeps its place at the server while others wait for one.
    pub grace: Duration,
}

/// The origin of a connection: an IPv4 address, or the first 64 bits of an IPv6 address, which belong to one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Network(IpAddr);

impl Network {
    pub(super) fn of(address: IpAddr) -> Network {
        Network(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            v4 => v4,
        })
    }
}

/// All connections that have not logged in.
pub(super) struct PendingConnections {
    limits: PendingLimits,
    /// A permit for each open connection. It is released after the socket is closed.
    open: Arc<Semaphore>,
    table: Mutex<PendingTable>,
}

#[derive(Default)]
struct PendingTable {
    next_id: u64,
    /// Ordered by their time of arrival.
    entries: BTreeMap<u64, PendingLogIn>,
    warned_at: Option<Instant>,
}

struct PendingLogIn {
    network: Network,
    stage: Stage,
    /// Notified when the connection is to be closed.
    close: Arc<Notify>,
}

enum Stage {
    /// The client has not sent its startup packet.
    Greeting,
    /// It waits for a place at the server, and is notified when it gets one.
    Waiting(Arc<Notify>),
    /// It has a place at the server, since then.
    AtServer(Instant),
    /// It is being closed. If it has a place at the server, it keeps the place until it is closed.
    Closing { at_server: bool },
}

impl PendingConnections {
    pub(super) fn new(limits: PendingLimits) -> Arc<PendingConnections> {
        let open = Arc::new(Semaphore::new(limits.max));
        Arc::new(PendingConnections { limits, open, table: Mutex::default() })
    }

    /// Adds a new connection. If there are too many, this closes another one and waits until it is closed.
    pub(super) async fn add(self: &Arc<Self>, network: Network) -> PendingConnection {
        self.make_room(network);
        let permit = Arc::clone(&self.open).acquire_owned().await.expect("it is never closed");
        let close = Arc::new(Notify::new());
        let mut table = self.table();
        let id = table.next_id;
        table.next_id += 1;
        table.entries.insert(id, PendingLogIn { network, stage: Stage::Greeting, close: Arc::clone(&close) });
        PendingConnection { all: Arc::clone(self), id, close, _permit: permit }
    }

    /// Closes all connections.
    pub(super) fn close_all(&self) {
        self.table().entries.values_mut().for_each(PendingLogIn::close);
    }

    /// Closes the oldest connection of the network that has the most.
    pub(super) fn close_one(&self) {
        let mut table = self.table();
        if let Some(network) = table.largest_network(PendingLogIn::is_open) {
            table.close_oldest(network);
        }
    }

    fn make_room(&self, newcomer: Network) {
        let mut table = self.table();
        let of_newcomer = table.count(|entry| entry.is_open() && entry.network == newcomer);
        let crowded = if of_newcomer >= self.limits.max_per_network {
            Some(newcomer)
        } else if table.count(PendingLogIn::is_open) >= self.limits.max {
            table.largest_network(PendingLogIn::is_open)
        } else {
            None
        };
        if let Some(network) = crowded {
            table.close_oldest(network);
            table.warn(network);
        }
    }

    /// Assigns the free places at the server to waiting connections, the newest first. If no place is free, closes the
    /// connection that must make room.
    fn assign_places(&self) {
        let mut table = self.table();
        let waiting = table.entries.iter().rev().filter(|(_, entry)| matches!(entry.stage, Stage::Waiting(_)));
        let waiting: Vec<(u64, Network)> = waiting.map(|(id, entry)| (*id, entry.network)).collect();
        for (id, network) in waiting {
            let of_network = table.count(|entry| entry.is_at_server() && entry.network == network);
            if of_network >= self.limits.max_at_server_per_network {
                table.close_at_server(network, self.limits.grace);
            } else if table.count(PendingLogIn::is_at_server) < self.limits.max_at_server {
                table.entries.entry(id).and_modify(PendingLogIn::assign_place);
            } else if let Some(largest) = table.largest_network(PendingLogIn::is_at_server) {
                let of_largest = table.count(|entry| entry.is_at_server() && entry.network == largest);
                let grace = if of_largest > of_network + 1 { Duration::ZERO } else { self.limits.grace };
                table.close_at_server(largest, grace);
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, PendingTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingTable {
    fn count(&self, predicate: impl Fn(&PendingLogIn) -> bool) -> usize {
        self.entries.values().filter(|entry| predicate(entry)).count()
    }

    /// The network that has the most connections for which the predicate is true.
    fn largest_network(&self, predicate: impl Fn(&PendingLogIn) -> bool) -> Option<Network> {
        let mut counts: BTreeMap<Network, usize> = BTreeMap::new();
        for entry in self.entries.values().filter(|entry| predicate(entry)) {
            *counts.entry(entry.network).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(network, _)| network)
    }

    /// Closes a network's oldest connection, preferably one that is not at the server: those are few, and make progress.
    fn close_oldest(&mut self, network: Network) {
        let open = self.entries.iter_mut().filter(|(_, entry)| entry.is_open() && entry.network == network);
        if let Some((_, entry)) = open.min_by_key(|(id, entry)| (entry.is_at_server(), **id)) {
            entry.close();
        }
    }

    /// Closes the connection of a network that has been at the server longest, if that is at least `grace`. Closes one at a
    /// time.
    fn close_at_server(&mut self, network: Network, grace: Duration) {
        if self.entries.values().any(|entry| matches!(entry.stage, Stage::Closing { at_server: true })) {
            return;
        }
        let at_server = self.entries.values_mut().filter(|entry| entry.network == network).filter_map(|entry| {
            let Stage::AtServer(since) = entry.stage else { return None };
            Some((since, entry))
        });
        if let Some((since, longest)) = at_server.min_by_key(|(since, _)| *since)
            && since.elapsed() >= grace
        {
            longest.close();
            self.warn(network);
        }
    }

    fn warn(&mut self, network: Network) {
        if self.warned_at.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            self.warned_at = Some(Instant::now());
            tracing::warn!(network = %network.0, "too many direct connections have not logged in; the oldest are closed");
        }
    }
}

impl PendingLogIn {
    fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Closing { .. })
    }

    fn is_at_server(&self) -> bool {
        matches!(self.stage, Stage::AtServer(_) | Stage::Closing { at_server: true })
    }

    fn close(&mut self) {
        if self.is_open() {
            self.stage = Stage::Closing { at_server: self.is_at_server() };
            self.close.notify_one();
        }
    }

    fn assign_place(&mut self) {
        if let Stage::Waiting(assigned) = std::mem::replace(&mut self.stage, Stage::AtServer(Instant::now())) {
            assigned.notify_one();
        }
    }
}

/// A connection that has not logged in. Dropping it removes it, and returns its place at the server.
pub(super) struct PendingConnection {
    all: Arc<PendingConnections>,
    id: u64,
    close: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

impl PendingConnection {
    /// Notified once, when the connection is to be closed.
    pub(super) fn close_requested(&self) -> Arc<Notify> {
        Arc::clone(&self.close)
    }

    /// Waits for a place at the server.
    pub(super) async fn wait_for_place(&self) {
        let assigned = Arc::new(Notify::new());
        self.all.table().entries.entry(self.id).and_modify(|entry| {
            if entry.is_open() {
                entry.stage = Stage::Waiting(Arc::clone(&assigned));
            }
        });
        loop {
            self.all.assign_places();
            if tokio::time::timeout(LOOK_EVERY, assigned.notified()).await.is_ok() {
                return;
            }
        }
    }
}

impl Drop for PendingConnection {
    fn drop(&mut self) {
        self.all.table().entries.remove(&self.id);
        self.all.assign_places();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PendingLimits = PendingLimits {
        max: 6,
        max_per_network: 4,
        max_at_server: 3,
        max_at_server_per_network: 2,
        grace: Duration::from_secs(3600),
    };

    fn network(last: u8) -> Network {
        Network::of([192, 0, 2, last].into())
    }

    /// Whether a connection is to be closed.
    async fn is_closing(connection: &PendingConnection) -> bool {
        tokio::time::timeout(Duration::ZERO, connection.close_requested().notified()).await.is_ok()
    }

    /// Whether a connection gets a place at the server at once.
    async fn gets_a_place(connection: &PendingConnection) -> bool {
        tokio::time::timeout(Duration::from_millis(10), connection.wait_for_place()).await.is_ok()
    }

    #[test]
    fn a_network_is_what_one_subscriber_has() {
        let same = |a: &str, b: &str| Network::of(a.parse().unwrap()) == Network::of(b.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::") && !same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
    }

    #[tokio::test]
    async fn the_oldest_connection_of_the_largest_network_is_closed_for_a_new_one() {
        let pending = PendingConnections::new(LIMITS);
        let mut connections = Vec::new();
        for _ in 0..4 {
            connections.push(pending.add(network(1)).await);
        }
        // The fifth of that network: the first one is closed to make room for it.
        connections.push(pending.add(network(1)).await);
        assert!(is_closing(&connections[0]).await && !is_closing(&connections[1]).await);
        drop(connections.remove(0));
        // Other networks use the remaining places. A connection of the largest network is closed, not the oldest one of all.
        let other = pending.add(network(2)).await;
        let another = pending.add(network(3)).await;
        let waits = tokio::time::timeout(Duration::from_millis(10), pending.add(network(4))).await;
        assert!(waits.is_err(), "six are open");
        assert!(is_closing(&connections[0]).await, "the oldest of the largest network");
        drop(connections.remove(0));
        let newcomer = pending.add(network(4)).await;
        for connection in [&other, &another, &newcomer] {
            assert!(!is_closing(connection).await);
        }
    }

    #[tokio::test]
    async fn a_network_with_fewer_places_at_the_server_is_next() {
        let pending = PendingConnections::new(LIMITS);
        let (one, two, three) =
            (pending.add(network(1)).await, pending.add(network(1)).await, pending.add(network(1)).await);
        assert!(gets_a_place(&one).await && gets_a_place(&two).await && !gets_a_place(&three).await);
        assert!(!is_closing(&one).await, "its grace is not over");
        let other = pending.add(network(2)).await;
        assert!(gets_a_place(&other).await);
        let newcomer = pending.add(network(3)).await;
        assert!(!gets_a_place(&newcomer).await);
        assert!(is_closing(&one).await && !is_closing(&two).await && !is_closing(&other).await);
        drop(one);
        assert!(gets_a_place(&newcomer).await, "before the third connection of the larger network");
        drop(other);
        assert!(gets_a_place(&three).await);
    }

    #[tokio::test]
    async fn after_its_grace_a_connection_is_closed_and_the_newest_is_next() {
        let pending = PendingConnections::new(PendingLimits { grace: Duration::ZERO, ..LIMITS });
        let (one, two) = (pending.add(network(1)).await, pending.add(network(1)).await);
        assert!(gets_a_place(&one).await && gets_a_place(&two).await);
        let (three, four) = (pending.add(network(1)).await, pending.add(network(1)).await);
        assert!(!gets_a_place(&three).await);
        assert!(is_closing(&one).await && !is_closing(&two).await, "one at a time");
        assert!(!gets_a_place(&four).await);
        drop(one);
        assert!(gets_a_place(&four).await && !gets_a_place(&three).await);
        assert!(is_closing(&two).await);
    }
}
