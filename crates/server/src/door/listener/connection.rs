//! What a connection does, as far as it matters to how long it may stay: when it last asked something, what it is being
//! answered, and whether its client takes the answer.
//!
//! A request counts from its arrival to the moment when the last byte of its answer has gone to the socket.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::http::Version;
use tokio::sync::Notify;

use crate::bounds::Bounds;
use crate::store::room::Room;

/// How long a connection that is being closed may take to read why.
const PARTING: Duration = Duration::from_secs(2);

/// Milliseconds since this process first asked, and one more: 0 stands for never.
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
    /// It is told to close, as nothing is under way.
    Idle = 1,
    /// It is closed.
    Cut = 2,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// The network that it counts to; none for proxies that are believed.
    pub network: Option<IpAddr>,
    /// When it was accepted, or last had a request.
    active_ms: AtomicU64,
    has_asked: AtomicBool,
    is_http2: AtomicBool,
    /// When the head that is being read began.
    head_ms: AtomicU64,
    /// Since when the socket has not taken what was to be written.
    blocked_ms: AtomicU64,
    /// Since when it has been closing.
    parting_ms: AtomicU64,
    under_way: Mutex<Vec<Weak<Exchange>>>,
    asked: AtomicUsize,
    end: AtomicU8,
    ended: Notify,
}

impl Connection {
    /// A connection that was accepted just now.
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

    /// A request has come.
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

    /// Whether it speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// Bytes came in.
    pub fn has_read(&self) {
        if self.asked.load(Ordering::Relaxed) == 0 && self.head_ms.load(Ordering::Relaxed) == 0 {
            self.head_ms.store(now_ms(), Ordering::Relaxed);
        }
    }

    /// The socket took bytes.
    pub fn has_written(&self) {
        if self.blocked_ms.load(Ordering::Relaxed) != 0 {
            self.blocked_ms.store(0, Ordering::Relaxed);
        }
    }

    /// The socket took nothing.
    pub fn is_blocked(&self) {
        if self.blocked_ms.load(Ordering::Relaxed) == 0 {
            self.blocked_ms.store(now_ms(), Ordering::Relaxed);
        }
    }

    /// It is closing; what the client still sends is thrown away for a moment, so that it reads why.
    pub fn is_parting(&self) {
        if self.parting_ms.load(Ordering::Relaxed) == 0 {
            self.parting_ms.store(now_ms(), Ordering::Relaxed);
        }
    }

    /// Since when it has been idle; none while something is under way or it is ending.
    pub fn idle_since_ms(&self) -> Option<u64> {
        let is_idle = self.asked.load(Ordering::Relaxed) == 0 && self.end.load(Ordering::Relaxed) == 0;
        is_idle.then(|| self.active_ms.load(Ordering::Relaxed))
    }

    /// The requests that are under way.
    pub fn exchanges(&self) -> Vec<Arc<Exchange>> {
        if self.asked.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        self.under_way().iter().filter_map(Weak::upgrade).collect()
    }

    /// Ends it if it has stayed too long.
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

    /// Ends it so that another one finds a place. A client that has asked nothing yet is not waited for: nothing is lost, and
    /// the place is needed now.
    pub fn make_room(&self) {
        self.end(if self.has_asked.load(Ordering::Relaxed) { Ending::Idle } else { Ending::Cut });
    }

    /// Ends it.
    pub fn end(&self, end: Ending) {
        if self.end.fetch_max(end as u8, Ordering::Relaxed) < end as u8 {
            self.ended.notify_one();
        }
    }

    /// Whether it is ending.
    pub fn is_ending(&self) -> bool {
        self.end.load(Ordering::Relaxed) != 0
    }

    /// Waits until it has to end, or to end in a harder way than before.
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
    /// The connection.
    pub connection: Arc<Connection>,
    /// When the client last took something of the answer, or could first have done so.
    progress_ms: AtomicU64,
    /// Since when there has always been something for it to take.
    waiting_ms: AtomicU64,
    /// Bytes of the answer that were handed out and are not with the socket yet, and those that are.
    unsent: AtomicUsize,
    sent: AtomicUsize,
    pace: Mutex<Pace>,
    pace_where_scarce: Mutex<Pace>,
    room: OnceLock<Arc<Room>>,
}

/// How fast an answer is read, by looks at it from time to time.
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

    /// The room that the answer takes until it is gone.
    pub fn takes(&self, room: Arc<Room>) {
        let _ = self.room.set(room);
    }

    /// The room that the answer takes.
    pub fn room(&self) -> Option<&Arc<Room>> {
        self.room.get()
    }

    /// So many bytes of the answer were handed out.
    pub fn hands_out(&self, bytes: usize) {
        if self.unsent.fetch_add(bytes, Ordering::Relaxed) == 0 {
            let now_ms = now_ms();
            self.progress_ms.store(now_ms, Ordering::Relaxed);
            self.waiting_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// So many bytes of them went to the socket.
    pub fn has_sent(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, Ordering::Relaxed);
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.progress_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// So many bytes of them will never be sent.
    pub fn gives_up(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Since when the client has taken nothing of what is there for it; none where nothing is.
    pub fn unread_since_ms(&self) -> Option<u64> {
        (self.unsent.load(Ordering::Relaxed) > 0).then(|| self.progress_ms.load(Ordering::Relaxed))
    }

    /// Whether its client takes nothing, or next to nothing.
    fn is_stuck(&self, bounds: &Bounds, now_ms: u64) -> bool {
        let Some(since) = self.unread_since_ms() else { return false };
        is_over(since, bounds.unread, now_ms) || self.is_slow(&self.pace, bounds.answer_rate, bounds.unread, now_ms)
    }

    /// Whether its client takes less than it may where others wait for the room.
    pub fn is_slow_where_scarce(&self, bounds: &Bounds, now_ms: u64) -> bool {
        let Some(since) = self.unread_since_ms() else { return false };
        is_over(since, bounds.scarce_stretch, now_ms)
            || self.is_slow(&self.pace_where_scarce, bounds.rate_where_scarce, bounds.scarce_stretch, now_ms)
    }

    /// Whether less than so many bytes a second were read in the last stretch of this length; no before it is over.
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

    /// What becomes of a connection that is looked at so many milliseconds after now.
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
        // Frames of HTTP/2 that are no request (a ping) begin no head.
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
