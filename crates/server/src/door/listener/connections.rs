//! The connections of a door: their number, the number per network, and which one is closed for the next.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::access::limits;
use crate::bounds::Bounds;
use crate::budget::Budget;
use crate::door::listener::connection::{Connection, Ending, Exchange, now_ms};
use crate::proxies::Proxies;

/// How long the next connection waits for those that end. Some say goodbye first, which must not keep others out.
const TURNOVER: Duration = Duration::from_millis(100);

/// All connections of a door.
#[derive(Debug)]
pub struct Connections {
    bounds: Arc<Bounds>,
    /// The most connections at once.
    most: usize,
    proxies: Arc<Proxies>,
    table: Mutex<ConnectionTable>,
    /// The sockets that are open: more than there are places, because a connection frees its place before it has ended.
    open: AtomicUsize,
    has_closed: Notify,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    next: u64,
    all: HashMap<u64, Arc<Connection>>,
    networks: HashMap<IpAddr, Vec<u64>>,
    /// The connections that were idle at the last check, the longest idle first.
    idle: VecDeque<(u64, u64)>,
}

/// A connection's place among the others. Dropping it frees the place.
#[derive(Debug)]
pub struct Admitted {
    connections: Arc<Connections>,
    number: u64,
    /// The state of the connection.
    pub connection: Arc<Connection>,
}

impl Connections {
    /// Creates the set of a door's connections, at most `most` of them.
    pub fn new(bounds: Arc<Bounds>, most: usize, proxies: Arc<Proxies>) -> Arc<Connections> {
        let (table, has_closed) = (Mutex::default(), Notify::new());
        Arc::new(Connections { bounds, most, proxies, table, open: AtomicUsize::new(0), has_closed })
    }

    /// Returns a place for a connection from this address. If all places, or all places of its network, are taken, it closes
    /// the one of those connections that has been idle longest. Returns `None` if none of them is idle.
    pub fn place(self: &Arc<Connections>, peer: IpAddr) -> Option<Admitted> {
        let network = (!self.proxies.trust(peer.to_canonical())).then(|| limits::network(peer));
        let mut table = self.table();
        if let Some(network) = network {
            while table.of(network).len() >= self.bounds.connections_of_network {
                let number = table.longest_idle_of(network)?;
                table.end(number);
            }
        }
        while table.all.len() >= self.most {
            let number = table.longest_idle()?;
            table.end(number);
        }
        let number = table.next;
        table.next += 1;
        let connection = Connection::accepted(network, now_ms());
        table.all.insert(number, connection.clone());
        if let Some(network) = network {
            table.networks.entry(network).or_default().push(number);
        }
        drop(table);
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Admitted { connections: self.clone(), number, connection })
    }

    /// Waits, for a short time, until few of the connections that were ended for others are still open. Without it, a flood
    /// would be accepted faster than the ended ones close, and take all file descriptors.
    pub async fn turnover(&self) {
        let too_many = || self.open.load(Ordering::Relaxed) > self.most + self.bounds.files_in_reserve / 4;
        let closed = async {
            while too_many() {
                self.has_closed.notified().await;
            }
        };
        let _ = timeout(TURNOVER, closed).await;
    }

    /// Closes the connection that has been idle longest, for example if there are no file descriptors left.
    pub fn make_room(&self) {
        let mut table = self.table();
        if let Some(number) = table.longest_idle() {
            table.end(number);
        }
    }

    /// Ends the connections that have exceeded a bound. If calls wait for room for answers, it also ends the connections whose
    /// clients do not read theirs.
    pub fn sweep(&self, answers: &Budget) {
        let all: Vec<Arc<Connection>> = self.table().all.values().cloned().collect();
        let now_ms = now_ms();
        for connection in &all {
            connection.check(&self.bounds, now_ms);
        }
        let waited_for = answers.waited_for();
        if waited_for.is_empty() {
            return;
        }
        let is_scarce = answers.is_scarce();
        let stands_in_the_way = |exchange: &Arc<Exchange>| {
            exchange.room().is_some_and(|room| is_scarce || waited_for.contains(room.owner()))
                && exchange.is_slow_where_scarce(&self.bounds, now_ms)
        };
        let open = all.iter().filter(|it| !it.is_ending()).flat_map(|it| it.exchanges());
        let mut unread: Vec<Arc<Exchange>> = open.filter(stands_in_the_way).collect();
        unread.sort_by_key(|exchange| exchange.unread_since_ms());
        for exchange in unread.iter().take(waited_for.len()) {
            exchange.connection.end(Ending::Cut);
        }
    }

    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionTable {
    fn of(&self, network: IpAddr) -> &[u64] {
        self.networks.get(&network).map_or(&[], Vec::as_slice)
    }

    /// Ends a connection and frees its place at once.
    fn end(&mut self, number: u64) {
        if let Some(connection) = self.remove(number) {
            connection.make_room();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Connection>> {
        let connection = self.all.remove(&number)?;
        if let Some(network) = connection.network
            && let Some(numbers) = self.networks.get_mut(&network)
        {
            numbers.retain(|it| *it != number);
            if numbers.is_empty() {
                self.networks.remove(&network);
            }
        }
        Some(connection)
    }

    fn idle_since_ms(&self, number: u64) -> Option<u64> {
        self.all.get(&number)?.idle_since_ms()
    }

    fn longest_idle_of(&self, network: IpAddr) -> Option<u64> {
        let idle = self.of(network).iter().filter_map(|number| Some((self.idle_since_ms(*number)?, *number)));
        idle.min().map(|(_, number)| number)
    }

    /// Checks all connections only if none of those that were idle at the last check is still idle.
    fn longest_idle(&mut self) -> Option<u64> {
        for is_first in [true, false] {
            while let Some((since_ms, number)) = self.idle.pop_front() {
                if self.idle_since_ms(number) == Some(since_ms) {
                    return Some(number);
                }
            }
            if is_first {
                let idle = self.all.iter().filter_map(|(number, it)| Some((it.idle_since_ms()?, *number)));
                let mut idle: Vec<(u64, u64)> = idle.collect();
                idle.sort_unstable();
                self.idle = idle.into();
            }
        }
        None
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.table().remove(self.number);
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        self.connections.has_closed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Version;

    use super::*;

    fn connections(most: usize, of_network: usize) -> Arc<Connections> {
        let bounds = Bounds { connections_of_network: of_network, ..Bounds::default() };
        Connections::new(Arc::new(bounds), most, Arc::new("10.0.0.0/8".parse().unwrap()))
    }

    fn from(connections: &Arc<Connections>, address: &str) -> Admitted {
        connections.place(address.parse().unwrap()).expect("a place")
    }

    /// The numbers of the connections that were told to end.
    fn gone(places: &[Admitted]) -> Vec<usize> {
        places.iter().enumerate().filter(|(_, place)| place.connection.is_ending()).map(|(at, _)| at).collect()
    }

    #[test]
    fn a_network_has_so_many_places_and_its_longest_idle_makes_room() {
        let all = connections(100, 3);
        let mut places: Vec<Admitted> = ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|it| from(&all, it)).into();
        let busy = places[0].connection.ask(Version::HTTP_11);
        from(&all, "2001:db8:0:1::1");
        assert_eq!(gone(&places), [0; 0]);
        places.push(from(&all, "2001:db8::4"));
        assert_eq!(gone(&places), [1]);
        let asks: Vec<_> = places[2..].iter().map(|place| place.connection.ask(Version::HTTP_11)).collect();
        assert!(all.place("2001:db8::5".parse().unwrap()).is_none(), "all of them are busy");
        drop((busy, asks));
        places.push(from(&all, "2001:db8::5"));
        assert_eq!(gone(&places).len(), 2);
    }

    #[test]
    fn proxies_have_as_many_as_there_are() {
        let all = connections(20, 3);
        let places: Vec<Admitted> =
            (0..20).map(|at| from(&all, if at < 10 { "10.1.2.3" } else { "127.0.0.1" })).collect();
        assert_eq!(gone(&places), [0; 0]);
    }

    #[test]
    fn where_all_places_are_taken_the_longest_idle_makes_room() {
        let all = connections(4, 100);
        let mut places: Vec<Admitted> = (1..=4).map(|at| from(&all, &format!("192.0.2.{at}"))).collect();
        let busy = places[0].connection.ask(Version::HTTP_11);
        for at in 5..=7 {
            places.push(from(&all, &format!("192.0.2.{at}")));
        }
        assert_eq!(gone(&places), [1, 2, 3]);
        assert_eq!(all.table().all.len(), 4);
        drop(busy);
        places.clear();
        let table = all.table();
        assert!(table.all.is_empty() && table.networks.is_empty());
    }

    #[test]
    fn who_has_asked_since_it_was_last_looked_is_not_the_longest_idle() {
        let all = connections(3, 100);
        let mut places: Vec<Admitted> = (1..=3).map(|at| from(&all, &format!("192.0.2.{at}"))).collect();
        places.push(from(&all, "192.0.2.4"));
        assert_eq!(gone(&places), [0]);
        std::thread::sleep(std::time::Duration::from_millis(2));
        drop(places[1].connection.ask(Version::HTTP_11));
        places.push(from(&all, "192.0.2.5"));
        assert_eq!(gone(&places), [0, 2]);
    }

    #[test]
    fn thousands_of_silent_connections_are_turned_over_quickly() {
        let all = connections(5_000, 100_000);
        let mut places = VecDeque::new();
        let begun = std::time::Instant::now();
        for number in 0..50_000_u32 {
            places.push_back(from(&all, "192.0.2.1"));
            if places.len() > 5_000 {
                assert!(places.pop_front().unwrap().connection.is_ending(), "{number}");
            }
        }
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }
}
