//! How a connection learns that its time is over. The watchdog sets the alarm, and the task that reads the socket is woken
//! even though no data arrives.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::error::Error;

/// Why a backend is ended before its work is finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// Its time is over.
    Deadline = 1,
    /// Other requests wait for its place.
    Crowd = 2,
}

/// The alarm of one watch over one connection.
#[derive(Debug)]
pub(crate) struct Alarm {
    since: Instant,
    /// 0 until the alarm goes off.
    reason: AtomicU8,
    /// The backend has had time to answer. Nothing may wait for it any longer.
    over: AtomicBool,
    reader: AtomicWaker,
}

impl Alarm {
    pub(crate) fn new(since: Instant) -> Alarm {
        Alarm { since, reason: AtomicU8::new(0), over: AtomicBool::new(false), reader: AtomicWaker::new() }
    }

    /// The backend is being ended. It may still answer.
    pub(crate) fn go_off(&self, reason: Reason) {
        self.reason.store(reason as u8, Ordering::Release);
    }

    pub(crate) fn has_gone_off(&self) -> bool {
        self.reason.load(Ordering::Acquire) != 0
    }

    /// The error to return in place of the missing answer. `None` before the alarm goes off.
    pub(crate) fn error(&self) -> Option<Error> {
        match self.reason.load(Ordering::Acquire) {
            0 => None,
            reason if reason == Reason::Crowd as u8 => Some(Error::GaveWay { after: self.since.elapsed() }),
            _ => Some(Error::DeadlineExceeded),
        }
    }

    /// All waits end.
    pub(crate) fn give_up(&self) {
        self.over.store(true, Ordering::Release);
        self.reader.wake();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Whether the wait is over. If not, the reader is woken when it is.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> bool {
        self.reader.register(cx.waker());
        self.is_over()
    }
}
