//! The state of a connection that decides how long it may stay: when it last sent a request, which answers are in progress,
//! and whether its client reads them.
//!
//! A request counts from its arrival until the last byte of its answer was written to the socket.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::http::Version;
use tokio::sync::Notify;

use crate::bounds::Bounds;
use crate::store::room::Room;

/// How long a client may take to read the reason why its connection is being closed.
const PARTING: Duration = Duration::from_secs(2);

/// Milliseconds since this process first called this function, plus one: 0 means never.
pub fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64 + 1
}

fn is_over(since_ms: u64, limit: Duration, now_ms: u64) -> bool {
    Duration::from_millis(now_ms.saturating_sub(since_ms)) >= limit
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is told to close, because no request is in progress.
    Idle = 1,
    /// It is closed at once.
    Cut = 2,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// The network that the connection counts against; `None` for trusted proxies.
    pub network: Option<IpAddr>,
    /// When it was accepted or last had a request.
    active_ms: AtomicU64,
    has_asked: AtomicBool,
    is_http2: AtomicBool,
    /// When the head that is being read started.
    head_ms: AtomicU64,
    /// Since when the socket has not accepted the bytes to be written.
    blocked_ms: AtomicU64,
    /// Since when it has been closing.
    parting_ms: AtomicU64,
    under_way: Mutex<Vec<Weak<Exchange>>>,
    asked: AtomicUsize,
    end: AtomicU8,
    ended: Notify,
}

impl Connection {
    /// Creates the state of a connection that was just accepted.
    pub fn accepted(network: Option<IpAddr>, now_ms: u64) -> Arc<Connection> {
        Arc::new(Connection {
            network,
            active_ms: AtomicU64::new(now_ms),
            has_asked: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            head_ms: AtomicU64::new(0),
            blocked_ms: AtomicU64::new(0),
            parting_ms: AtomicU64::new(0),
            under_way: Mutex::default(),
            asked: AtomicUsize::new(0),
            end: AtomicU8::new(0),
            ended: Notify::new(),
        })
    }

    /// Records that a request has arrived.
    pub fn ask(self: &Arc<Connection>, version: Version) -> Arc<Exchange> {
        let now_ms = now_ms();
        self.active_ms.store(now_ms, Ordering::Relaxed);
        self.head_ms.store(0, Ordering::Relaxed);
        self.has_asked.store(true, Ordering::Relaxed);
        self.is_http2.store(version == Version::HTTP_2, Ordering::Relaxed);
        self.asked.fetch_add(1, Ordering::Relaxed);
        let exchange = Arc::new(Exchange::begun(self.clone(), now_ms));
        self.under_way().push(Arc::downgrade(&exchange));
        exchange
    }

    /// Whether the connection uses HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// Records that bytes arrived.
    pub fn has_read(&self) {
        if self.asked.load(Ordering::Relaxed) == 0 && self.head_ms.load(Ordering::Relaxed) == 0 {
            self.head_ms.store(now_ms(), Ordering::Relaxed);
        }
    }

    /// Records that the socket accepted bytes.
    pub fn has_written(&self) {
        if self.blocked_ms.load(Ordering::Relaxed) != 0 {
            self.blocked_ms.store(0, Ordering::Relaxed);
        }
    }

    /// Records that the socket accepted no bytes.
    pub fn is_blocked(&self) {
        if self.blocked_ms.load(Ordering::Relaxed) == 0 {
            self.blocked_ms.store(now_ms(), Ordering::Relaxed);
        }
    }

    /// Records that the connection is closing. Further input is discarded for a short time, so that the client reads the reason.
    pub fn is_parting(&self) {
        if self.parting_ms.load(Ordering::Relaxed) == 0 {
            self.parting_ms.store(now_ms(), Ordering::Relaxed);
        }
    }

    /// Since when it has been idle; `None` while a request is in progress or the connection is ending.
    pub fn idle_since_ms(&self) -> Option<u64> {
        let is_idle = self.asked.load(Ordering::Relaxed) == 0 && self.end.load(Ordering::Relaxed) == 0;
        is_idle.then(|| self.active_ms.load(Ordering::Relaxed))
    }

    /// The requests in progress.
    pub fn exchanges(&self) -> Vec<Arc<Exchange>> {
        if self.asked.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        self.under_way().iter().filter_map(Weak::upgrade).collect()
    }

    /// Ends the connection if it has exceeded a bound.
    pub fn check(&self, bounds: &Bounds, now_ms: u64) {
        let since = |moment: &AtomicU64| Some(moment.load(Ordering::Relaxed)).filter(|moment| *moment != 0);
        let is_over = |since: Option<u64>, limit| since.is_some_and(|since| is_over(since, limit, now_ms));
        if is_over(since(&self.parting_ms), PARTING) || is_over(since(&self.blocked_ms), bounds.unread) {
            return self.end(Ending::Cut);
        }
        let Some(idle_since) = self.idle_since_ms() else {
            if self.exchanges().iter().any(|exchange| exchange.is_stuck(bounds, now_ms)) {
                self.end(Ending::Cut);
            }
            return;
        };
        if !self.has_asked.load(Ordering::Relaxed) {
            if is_over(Some(idle_since), bounds.first_request) {
                self.end(Ending::Cut);
            }
        } else if !self.is_http2() && is_over(since(&self.head_ms), bounds.head) {
            self.end(Ending::Cut);
        } else if is_over(Some(idle_since), bounds.idle) {
            self.end(Ending::Idle);
        }
    }

    /// Ends the connection to free its place for another one. A client that has not sent a request yet is cut off at once:
    /// nothing is lost, and the place is needed now.
    pub fn make_room(&self) {
        self.end(if self.has_asked.load(Ordering::Relaxed) { Ending::Idle } else { Ending::Cut });
    }

    /// Ends the connection in this way.
    pub fn end(&self, end: Ending) {
        if self.end.fetch_max(end as u8, Ordering::Relaxed) < end as u8 {
            self.ended.notify_one();
        }
    }

    /// Whether the connection is ending.
    pub fn is_ending(&self) -> bool {
        self.end.load(Ordering::Relaxed) != 0
    }

    /// Waits until the connection has to end, or has to end more abruptly than before.
    pub async fn ended(&self) -> Ending {
        self.ended.notified().await;
        if self.end.load(Ordering::Relaxed) == Ending::Cut as u8 { Ending::Cut } else { Ending::Idle }
    }

    fn under_way(&self) -> MutexGuard<'_, Vec<Weak<Exchange>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request and its answer.
#[derive(Debug)]
pub struct Exchange {
    /// The connection that the request came over.
    pub connection: Arc<Connection>,
    /// When the client last read something of the answer, or could first have done so.
    progress_ms: AtomicU64,
    /// Since when there have always been bytes for the client to read.
    waiting_ms: AtomicU64,
    /// Bytes of the answer that were handed out but not written to the socket yet, and bytes that were written.
    unsent: AtomicUsize,
    sent: AtomicUsize,
    pace: Mutex<Pace>,
    pace_where_scarce: Mutex<Pace>,
    room: OnceLock<Arc<Room>>,
}

/// How fast an answer is read, sampled from time to time.
#[derive(Debug, Default)]
struct Pace {
    looked_ms: u64,
    sent: usize,
}

impl Exchange {
    fn begun(connection: Arc<Connection>, now_ms: u64) -> Exchange {
        Exchange {
            connection,
            progress_ms: AtomicU64::new(now_ms),
            waiting_ms: AtomicU64::new(now_ms),
            unsent: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            pace: Mutex::default(),
            pace_where_scarce: Mutex::default(),
            room: OnceLock::new(),
        }
    }

    /// Sets the room that the answer holds until it is sent.
    pub fn takes(&self, room: Arc<Room>) {
        let _ = self.room.set(room);
    }

    /// The room that the answer holds.
    pub fn room(&self) -> Option<&Arc<Room>> {
        self.room.get()
    }

    /// Records that this many bytes of the answer were handed out.
    pub fn hands_out(&self, bytes: usize) {
        if self.unsent.fetch_add(bytes, Ordering::Relaxed) == 0 {
            let now_ms = now_ms();
            self.progress_ms.store(now_ms, Ordering::Relaxed);
            self.waiting_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Records that this many of those bytes were written to the socket.
    pub fn has_sent(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, Ordering::Relaxed);
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.progress_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Records that this many of those bytes will never be sent.
    pub fn gives_up(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Since when the client has not read the bytes that are ready for it; `None` if no bytes are ready.
    pub fn unread_since_ms(&self) -> Option<u64> {
        (self.unsent.load(Ordering::Relaxed) > 0).then(|| self.progress_ms.load(Ordering::Relaxed))
    }

    /// Whether the client reads nothing, or almost nothing.
    fn is_stuck(&self, bounds: &Bounds, now_ms: u64) -> bool {
        let Some(since) = self.unread_since_ms() else { return false };
        is_over(since, bounds.unread, now_ms) || self.is_slow(&self.pace, bounds.answer_rate, bounds.unread, now_ms)
    }

    /// Whether the client reads more slowly than is allowed while others wait for the room.
    pub fn is_slow_where_scarce(&self, bounds: &Bounds, now_ms: u64) -> bool {
        let Some(since) = self.unread_since_ms() else { return false };
        is_over(since, bounds.scarce_stretch, now_ms)
            || self.is_slow(&self.pace_where_scarce, bounds.rate_where_scarce, bounds.scarce_stretch, now_ms)
    }

    /// Whether fewer than `rate` bytes per second were read in the last stretch of this length; `false` until a stretch is over.
    fn is_slow(&self, pace: &Mutex<Pace>, rate: usize, stretch: Duration, now_ms: u64) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
        if pace.looked_ms < self.waiting_ms.load(Ordering::Relaxed) {
            *pace = Pace { looked_ms: now_ms, sent };
        }
        if !is_over(pace.looked_ms, stretch, now_ms) {
            return false;
        }
        let wanted = rate as u64 * (now_ms - pace.looked_ms) / 1000;
        let is_slow = ((sent - pace.sent) as u64) < wanted;
        *pace = Pace { looked_ms: now_ms, sent };
        is_slow
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.active_ms.store(now_ms(), Ordering::Relaxed);
        connection.under_way().retain(|other| !std::ptr::eq(other.as_ptr(), self));
        connection.asked.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of a check of the connection this many milliseconds from now.
    fn after(connection: &Connection, ms: u64) -> Option<Ending> {
        connection.check(&Bounds::default(), now_ms() + ms);
        match connection.end.swap(0, Ordering::Relaxed) {
            0 => None,
            1 => Some(Ending::Idle),
            _ => Some(Ending::Cut),
        }
    }

    fn connection() -> Arc<Connection> {
        Connection::accepted(None, now_ms())
    }

    #[test]
    fn who_asks_nothing_stays_a_moment_and_who_asked_stays_longer() {
        let silent = connection();
        assert_eq!((after(&silent, 14_000), after(&silent, 15_100)), (None, Some(Ending::Cut)));
        silent.has_read();
        assert_eq!(after(&silent, 15_100), Some(Ending::Cut), "half a head is no request");
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let asked = connection();
            drop(asked.ask(version));
            assert_eq!((after(&asked, 70_000), after(&asked, 75_100)), (None, Some(Ending::Idle)));
        }
    }

    #[test]
    fn a_head_has_to_come_to_its_end() {
        let slow = connection();
        drop(slow.ask(Version::HTTP_11));
        slow.has_read();
        assert_eq!((after(&slow, 14_000), after(&slow, 15_100)), (None, Some(Ending::Cut)));
        // HTTP/2 frames that are not requests (such as a ping) do not start a head.
        let pinging = connection();
        drop(pinging.ask(Version::HTTP_2));
        pinging.has_read();
        assert_eq!((after(&pinging, 70_000), after(&pinging, 75_100)), (None, Some(Ending::Idle)));
    }

    #[test]
    fn what_is_under_way_has_its_time_and_what_is_not_read_has_less() {
        let busy = connection();
        let exchange = busy.ask(Version::HTTP_11);
        assert_eq!(after(&busy, 1_000_000), None, "the statement takes as long as it takes");
        exchange.hands_out(1000);
        assert_eq!((after(&busy, 29_000), after(&busy, 30_100)), (None, Some(Ending::Cut)));
        exchange.has_sent(1000);
        assert_eq!(after(&busy, 1_000_000), None);
        drop(exchange);
        assert_eq!(after(&busy, 75_100), Some(Ending::Idle));
    }

    #[test]
    fn a_byte_now_and_then_is_not_reading() {
        let bounds = Bounds::default();
        let busy = connection();
        let exchange = busy.ask(Version::HTTP_2);
        exchange.hands_out(1 << 20);
        let start = now_ms();
        assert!(!exchange.is_stuck(&bounds, start));
        exchange.has_sent(1);
        assert!(!exchange.is_stuck(&bounds, start + 20_000));
        exchange.progress_ms.store(start + 29_000, Ordering::Relaxed);
        assert!(exchange.is_stuck(&bounds, start + 30_000));
        exchange.has_sent(100_000);
        exchange.progress_ms.store(start + 59_000, Ordering::Relaxed);
        assert!(!exchange.is_stuck(&bounds, start + 60_100));
    }

    #[test]
    fn a_socket_that_takes_nothing_is_closed_whatever_is_under_way() {
        let blocked = connection();
        let _exchange = blocked.ask(Version::HTTP_2);
        blocked.is_blocked();
        assert_eq!((after(&blocked, 29_000), after(&blocked, 30_100)), (None, Some(Ending::Cut)));
        blocked.has_written();
        assert_eq!(after(&blocked, 30_100), None);
    }
}
